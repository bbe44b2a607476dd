"""What an edit does to the parts of a photo that are none of its business: background, clothes, a hat, the border of
the frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ....errors import BadInput
from ....images.alignment import crop, frame_matrix, valid_mask, warp
from .frames import SIDE, HairChances, own_mask, within
from .whole_photos import WholePhoto, check_known, rows_of

BAND = 0.1
"""Depth, in frames, of the bands on both sides of the frame's border whose change is compared."""
SEGMENTS = 16
"""Pieces of each side of the frame."""
AROUND = 1.0 + 4 * BAND
"""Side, in frames, of the square in which the border is looked at."""
BORDERED = round(SIDE * AROUND)
"""Pixels of its side."""
SURELY = (0.1, 0.7)
"""Chances of hair up to which a pixel surely is none, and from which on it surely is."""
LEAST_ALIKE = 0.05
"""Share of a piece's band that must be hair, or must be none, for its change to be compared with the other band's."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The parts of one photo. outside (H,W) bool: within 1.2 frames, but neither face nor neck nor hair. hat (H,W)
    bool or None: the headwear that a user outlined. landmarks (68,2) in pixels. hair (S,S) in 0..1 or None: its chances
    in the square of AROUND frames."""

    outside: np.ndarray
    hat: np.ndarray | None
    landmarks: np.ndarray
    hair: np.ndarray | None

    @classmethod
    def of(
        cls, pixels: np.ndarray, landmarks: np.ndarray, hair: HairChances | None, hat: np.ndarray | None
    ) -> Surroundings:
        """hair: see `frames.HairChances`. hat: outline (N,2) in 0..1 of the photo's width and height, or None."""
        own = own_mask(pixels, landmarks, hair)
        outside = within(pixels.shape, landmarks) & ~own
        worn = None if hat is None else hat_mask(pixels.shape, landmarks, hat)
        return cls(
            outside,
            worn,
            landmarks,
            None if hair is None else hair(around(pixels, landmarks)[None], BORDERED)[0],
        )

    def change(self, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
        """Change between two states (H,W,3) uint8 of the photo, in levels of 255; NaN where there is no such part.

        outside, outside_999: mean and 99.9th percentile of the absolute change (mean of the channels) outside face,
        neck and hair. headwear: the mean in the outlined hat. border, border_alike: see `border_step`, without and with
        hair.
        """
        moved = cv2.absdiff(after, before).mean(2)
        out = moved[self.outside]
        hat = moved[self.hat] if self.hat is not None else moved[:0]
        return {
            "outside": float(out.mean()) if out.size else np.nan,
            "outside_999": float(np.percentile(out, 99.9)) if out.size else np.nan,
            "headwear": float(hat.mean()) if hat.size else np.nan,
            "border": border_step(before, after, self.landmarks),
            "border_alike": border_step(before, after, self.landmarks, self.hair),
        }


def hat_mask(shape: tuple[int, ...], landmarks: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """(H,W) bool: the outlined hat, without the face below its brim."""
    size = np.array([shape[1], shape[0]])
    hat, face = np.zeros(shape[:2], np.uint8), np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(hat, [np.round(outline * size).astype(np.int32)], 1)
    brows_down = np.concatenate([landmarks[:27], landmarks[27:31]])
    cv2.fillConvexPoly(face, np.round(cv2.convexHull(brows_down.astype(np.float32))).astype(np.int32), 1)
    return (hat > 0) & (face == 0)


def around(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The square of AROUND frames of a photo (H,W,3): (BORDERED,BORDERED,3) uint8."""
    return crop(pixels, frame_matrix(landmarks, BORDERED, AROUND), BORDERED)


def border_step(
    before: np.ndarray, after: np.ndarray, landmarks: np.ndarray, hair: np.ndarray | None = None
) -> float:
    """How far the change just inside the frame's border differs from that just outside it, in levels of 255.

    Mean over the pieces of the border, 16 a side, of |mean change within 0.1 frames inside - mean change within 0.1
    frames outside|, of brightness with its sign: noise averages out, a veil that ends at the border does not. A fade
    narrower than the band counts as a step, for a viewer sees it as one. NaN where the photo ends at the frame.

    hair (S,S), chances in `around`: hair is compared with hair and the rest with the rest, for where hair that turns
    grey takes more of one band than of the other, nobody sees a step.
    """
    matrix = frame_matrix(landmarks, BORDERED, AROUND)
    moved = after.mean(2, dtype=np.float32) - before.mean(2, dtype=np.float32)
    change = warp(cv2.blur(moved, (3, 3)), matrix, (BORDERED, BORDERED), cv2.BORDER_CONSTANT)
    covered = valid_mask(before.shape, matrix, BORDERED) > 0.99
    parts = (
        np.ones((1, *change.shape), bool)
        if hair is None
        else np.stack([hair >= SURELY[1], hair <= SURELY[0]])
    )
    steps = []
    for turn in range(4):
        steps += side_steps(np.rot90(change, turn), np.rot90(covered, turn), np.rot90(parts, turn, (1, 2)))
    return float(np.mean(steps)) if steps else np.nan


def side_steps(change: np.ndarray, covered: np.ndarray, parts: np.ndarray) -> list[float]:
    """The steps across the upper border of a frame in the middle of a square (S,S), piece by piece: of the parts
    (N,S,S) bool that lie on both sides, the mean by their size."""
    depth = round(BAND * SIDE)
    edge = 2 * depth  # the border's row: AROUND leaves two bands around the frame
    columns = np.linspace(edge, len(change) - edge, SEGMENTS + 1).astype(int)
    found = []
    for left, right in zip(columns[:-1], columns[1:], strict=True):
        outer, inner = (
            (slice(edge - depth, edge), slice(left, right)),
            (slice(edge, edge + depth), slice(left, right)),
        )
        if not (covered[outer].all() and covered[inner].all()):
            continue
        steps, sizes = [], []
        for part in parts:
            here, there = part[inner], part[outer]
            if min(here.mean(), there.mean()) >= LEAST_ALIKE:
                steps.append(abs(float(change[inner][here].mean() - change[outer][there].mean())))
                sizes.append(min(here.mean(), there.mean()))
        if steps:
            found.append(float(np.average(steps, weights=sizes)))
    return found


def outlines(path: Path | None, photos: list[WholePhoto]) -> dict[str, np.ndarray]:
    """File name -> outline (N,2) of its headwear in 0..1 of the photo, from a CSV with the columns file and outline
    (x y x y ..., three points or more). BadInput names what cannot be read."""
    if path is None:
        return {}
    known = {photo.path.name: photo for photo in photos}
    found = {}
    for row in rows_of(path, ("file", "outline")):
        name = check_known(row["file"], known, path)
        try:
            points = np.array(row["outline"].split(), float).reshape(-1, 2)
        except ValueError:
            points = np.zeros((0, 2))
        if len(points) < 3 or not ((points >= 0) & (points <= 1)).all():
            raise BadInput(f"{path}, {name}: the outline must be three or more points x y within 0..1")
        found[name] = points
    return found
