"""Necks: a child's is thin for its head.

The head of an edited photo keeps its size, so a neck that is to suit another age gets another width. It is warped where
it lies, between the jaw and the shoulders; what lies farther aside than the cheeks does not move.
"""

from __future__ import annotations

import cv2
import numpy as np

from .frames import apply, invert

YEARS, WIDTH = (0.0, 3.0, 6.0, 10.0, 15.0, 20.0), (0.76, 0.77, 0.8, 0.86, 0.94, 1.0)
"""Ages, and the width of a neck at each of them, in that of a grown-up's whose head is as wide. Set by eye."""
BEGINS, WHOLE = 0.5, 0.44
"""Where the warp begins, from the ends of the jaw to the chin, and how far below the chin it is whole."""
ENDS = (0.73, 2.2)
"""How far below the chin it begins to fade, and has gone. Lengths are half widths of the head."""
NECK, ASIDE = 0.75, 1.05
"""Half the width of a neck, which moves as a whole, and how far aside nothing moves."""
TURNED = (0.15, 0.4)
"""How far a head is turned, as the difference of the nose's distances from both ears in their sum, from which on its
neck, which is no more below its face, changes less and less, and not at all."""
JAW, CHIN, NOSE = (2, 14), 8, 30
"""iBUG's points below the ears, the chin, and the nose's tip."""


def width_at(age: float) -> float:
    """The width of a neck at an age in years, in that of a grown-up's whose head is as wide."""
    return float(np.interp(age, YEARS, WIDTH))


def neck_at(
    photo: np.ndarray, landmarks: np.ndarray, matrix: np.ndarray, ages: tuple[float, float]
) -> np.ndarray:
    """A photo (H,W,3) uint8 in which the neck of a face is as wide as at another age: ages, from and to, in years.

    landmarks (68,2) in the photo's pixels; matrix (2,3): from the photo to any upright frame of the face. Returns the
    photo itself where nothing changes.
    """
    points = apply(matrix, np.asarray(landmarks, np.float64))
    factor = 1 + (width_at(ages[1]) / width_at(ages[0]) - 1) * (1 - _rise(_turned(points), *TURNED))
    half, chin, jaw = (points[16, 0] - points[0, 0]) / 2, points[CHIN], points[list(JAW), 1].mean()
    if factor == 1 or half <= 0:
        return photo
    middle = (points[16, 0] + points[0, 0]) / 4 + chin[0] / 2
    top, back = jaw + BEGINS * (chin[1] - jaw), invert(matrix)
    # Only the part of the photo that holds the neck is drawn anew.
    corners = [(middle + x * half, y) for x in (-ASIDE, ASIDE) for y in (top, chin[1] + ENDS[1] * half)]
    found = apply(back, np.array(corners))
    left, upper = np.clip(np.floor(found.min(0)), 0, photo.shape[1::-1]).astype(int)
    right, lower = np.clip(np.ceil(found.max(0)), 0, photo.shape[1::-1]).astype(int)
    if right <= left or lower <= upper:
        return photo
    pixels = np.stack(np.meshgrid(np.arange(left, right) + 0.5, np.arange(upper, lower) + 0.5), -1)
    places = apply(matrix, pixels.reshape(-1, 2))
    down, aside = places[:, 1], (places[:, 0] - middle) / half
    share = _rise(down, top, chin[1] + WHOLE * half)
    share *= 1 - _rise(down, *(chin[1] + end * half for end in ENDS))
    # Backward: the neck shows what was nearer to its edge, and what lies beside it is stretched, or squeezed.
    narrow, far = 1 + (factor - 1) * share, np.abs(aside)
    edge = NECK * narrow
    beside = NECK + (far - edge) * (ASIDE - NECK) / (ASIDE - edge)
    was = np.select([far < edge, far < ASIDE], [far / narrow, beside], far)
    places[:, 0] = middle + np.sign(aside) * was * half
    seen = (apply(back, places) - 0.5).astype(np.float32).reshape(*pixels.shape)
    out = photo.copy()
    out[upper:lower, left:right] = cv2.remap(
        photo, seen[..., 0], seen[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return out


def _turned(points: np.ndarray) -> np.ndarray:
    left, right = np.abs(points[[0, 16], 0] - points[NOSE, 0])
    return np.asarray(abs(left - right) / max(left + right, 1e-6))


def _rise(x: np.ndarray, low: float, high: float) -> np.ndarray:
    share = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
