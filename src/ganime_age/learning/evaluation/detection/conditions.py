"""A photo of one face, made harder for a detector: small, large, turned, dark, behind a mask, under a hat.

Positions are continuous pixels, as in images/frames.py. Photos are uint8 RGB (H,W,3).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from ....images.alignment import resample
from ....images.boxes import face_box
from ....images.frames import apply

SIDES = (24, 32, 48, 96, 256, 1000, 2000)
"""Sides of the face's box, in pixels, that the whole photo is resized to."""
LARGE = 1024
"""Side in pixels of the large photo in which a small face stands."""
SMALL_SIDES = (24, 32, 48)
ANGLES = (15, 30, 45, 60, 90)
DARK = ((2.5, 6), (4.0, 12))
"""Gamma, and standard deviation of the noise in levels of 255."""
MOST_SIDE = 4900
"""A photo is cut around its face to so many pixels, about 24 megapixels."""
MASK, HAT = (176, 205, 222), (52, 44, 60)
HOW = (
    "small and large: the whole photo is resized, cut around the face to 4,900 px, or set into 1,024 px of its own "
    "colours, blurred; turned about the face, every other photo the other way, its border repeated; dark: gamma and "
    "Gaussian noise of 6 or 12 levels; mask: a surgical mask drawn from the jaw to the bridge of the nose, not "
    "unlike those that the detector learnt from, so that worn ones may be found less often; hat: an opaque shape from "
    "above the brows over forehead and hair"
)


class Shown(NamedTuple):
    """One photo and its face."""

    photo: np.ndarray  # (H,W,3) uint8 RGB
    box: np.ndarray  # (4,) left, top, right, bottom
    landmarks: np.ndarray  # (68,2) iBUG order
    number: int = 0  # seeds the noise; the odd ones are turned the other way


Condition = Callable[[Shown], Shown]


def conditions() -> dict[str, Condition]:
    """Every condition by its name; the first leaves the photo as it is."""
    made: dict[str, Condition] = {"as it is": lambda shown: shown}
    made |= {f"{side} px": partial(sized, side=side) for side in SIDES}
    made |= {f"{side} px in {LARGE} px": partial(in_large_photo, side=side) for side in SMALL_SIDES}
    made |= {f"turned {angle} degrees": partial(turned, degrees=angle) for angle in ANGLES}
    made |= {f"dark, gamma {gamma:g}": partial(darkened, gamma=gamma, noise=noise) for gamma, noise in DARK}
    return made | {"mask": masked, "hat": hatted, "mask and hat": lambda shown: hatted(masked(shown))}


def sized(shown: Shown, side: float) -> Shown:
    """The photo resized so that its face's box has so many pixels a side (root of its area), cut to MOST_SIDE."""
    box, (height, width) = shown.box, shown.photo.shape[:2]
    scale = side / float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
    whole = np.array([width, height]) * scale
    size = np.clip(np.round(whole), 1, MOST_SIDE)
    centre = (box[:2] + box[2:]) / 2
    start = np.clip(centre * scale - size / 2, 0, np.maximum(whole - size, 0))
    return _moved(shown, np.array([[scale, 0, -start[0]], [0, scale, -start[1]]]), size)


def in_large_photo(shown: Shown, side: float) -> Shown:
    """The photo, resized as by `sized`, in the middle of one of LARGE pixels that holds its own colours, blurred until
    nothing is seen; a photo that is larger stays as it is."""
    shown = sized(shown, side)
    height, width = shown.photo.shape[:2]
    if max(height, width) > LARGE:
        return shown
    colours = cv2.resize(shown.photo, (4, 4), interpolation=cv2.INTER_AREA)
    around = cv2.resize(colours, (LARGE, LARGE), interpolation=cv2.INTER_LINEAR)
    left, top = (LARGE - width) // 2, (LARGE - height) // 2
    around[top : top + height, left : left + width] = shown.photo
    box, landmarks = shown.box + (left, top, left, top), shown.landmarks + (left, top)
    return shown._replace(photo=around, box=box, landmarks=landmarks)


def turned(shown: Shown, degrees: float) -> Shown:
    """The photo turned about its middle, clockwise if its number is even, on a canvas that holds all of it. The box is
    made anew from the turned landmarks, as the package's detector makes its own."""
    height, width = shown.photo.shape[:2]
    angle = np.deg2rad(degrees) * (-1) ** shown.number
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.ceil(np.abs(turn) @ (width, height) - 1e-6)
    shift = size / 2 - turn @ (width / 2, height / 2)
    moved = _moved(shown, np.c_[turn, shift], size)
    return moved._replace(box=face_box(moved.landmarks))


def darkened(shown: Shown, gamma: float, noise: float) -> Shown:
    """Brightness 0..1 to the power of gamma, then Gaussian noise of so many levels of 255."""
    dark = 255 * (shown.photo / np.float32(255)) ** np.float32(gamma)
    dark += noise * np.random.default_rng(shown.number).standard_normal(dark.shape, np.float32)
    return shown._replace(photo=np.clip(np.round(dark), 0, 255).astype(np.uint8))


def masked(shown: Shown) -> Shown:
    """A surgical mask: jaw to bridge of the nose, with two folds."""
    points = shown.landmarks
    outline = np.concatenate([points[1:16], points[28:29]])
    tip = points[30]
    outline[:15] += 0.06 * (outline[:15] - tip)  # over the rim of the jaw
    photo = _drawn(shown.photo, outline, MASK)
    for share in (0.35, 0.65):  # folds, from cheek to cheek
        fold = [(1 - share) * points[a] + share * points[b] for a, b in ((2, 5), (29, 8), (14, 11))]
        thick = max(1, round(0.01 * float(np.linalg.norm(points[16] - points[0]))))
        cv2.polylines(photo, [np.int32(np.round(fold))], False, [level - 40 for level in MASK], thick)
    return shown._replace(photo=photo)


def hatted(shown: Shown) -> Shown:
    """An opaque hat whose rim lies a fifth of the distance from eyes to mouth above the brows."""
    points = shown.landmarks
    up, across = points[36:48].mean(0) - points[[48, 54]].mean(0), points[16] - points[0]
    brim, crown = points[17:27].mean(0) + 0.2 * up, points[17:27].mean(0) + 1.7 * up
    outline = [brim - 0.7 * across, brim + 0.7 * across, crown + 0.5 * across, crown - 0.5 * across]
    return shown._replace(photo=_drawn(shown.photo, np.array(outline), HAT))


def _drawn(photo: np.ndarray, outline: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A copy of a photo with a filled outline (N,2)."""
    return cv2.fillPoly(photo.copy(), [np.int32(np.round(outline))], colour, cv2.LINE_AA)


def _moved(shown: Shown, matrix: np.ndarray, size: np.ndarray) -> Shown:
    """The photo through an affine (2,3) to size (width, height); a straight one keeps the box a box."""
    photo = resample(shown.photo, matrix, (int(size[0]), int(size[1])), cv2.BORDER_REPLICATE)
    corners = apply(matrix, shown.box.reshape(2, 2))
    return shown._replace(photo=photo, box=corners.reshape(4), landmarks=apply(matrix, shown.landmarks))
