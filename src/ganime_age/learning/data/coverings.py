"""Face masks of many shapes, colours and prints, drawn over aligned faces for the detector to learn from.

uint8 RGB; positions are shares of the picture's side.
"""

import cv2
import numpy as np

SHIFT = 4
"""Fractional bits of the positions that OpenCV draws at."""
CLOTH = ((235, 240, 244), (150, 190, 220), (110, 160, 200), (28, 30, 34), (170, 205, 190), (225, 190, 200))
"""Colours of masks that are often worn: white, three blues and greens, black, pink."""


def wear_mask(pixels: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a mask over mouth, chin and, most often, nose of a face (S,S,3 or more channels), in place.

    landmarks (68,2) in 0..1, iBUG order. Its edges, colour, light, print, folds and straps are random.
    """
    side = len(pixels)
    first = int(rng.integers(1, 5))  # the jaw's point that its upper corner lies at
    outline = outline_of(landmarks, first, rng)
    cloth = fabric(side, rng)
    cover = np.zeros((side, side), np.uint8)
    fill(cover, outline)
    colour = tuple(int(level) for level in cloth[side // 2, side // 2])
    if rng.random() < 0.6:  # straps, to the ears
        ears = landmarks[[0, 16]] + rng.normal(0, 0.02, 2)
        thick = max(1, round(side * rng.uniform(0.006, 0.016)))
        for corner, ear in zip(landmarks[[first, 16 - first]], ears, strict=True):
            line = np.int32(np.round(np.array([corner, ear]) * side * 2**SHIFT))
            strap = np.zeros((side, side), np.uint8)
            cv2.polylines(strap, [line], False, 255, thick, cv2.LINE_AA, SHIFT)
            lay(pixels, np.full_like(cloth, colour), strap)
    for share in rng.uniform(0.15, 0.85, rng.choice(5, p=(0.3, 0.2, 0.2, 0.2, 0.1))):  # folds
        ends = landmarks[[first, 16 - first]] * (1 - share) + landmarks[[6, 10]] * share
        middle = landmarks[30] * (1 - share) + landmarks[8] * share
        fold = np.int32(np.round(np.array([ends[0], middle, ends[1]]) * side * 2**SHIFT))
        depth = int(rng.uniform(15, 60))
        shade = [max(0, level - depth) for level in colour]
        cv2.polylines(cloth, [fold], False, shade, max(1, round(0.008 * side)), cv2.LINE_AA, SHIFT)
    lay(pixels, cloth, cover)


def outline_of(landmarks: np.ndarray, first: int, rng: np.random.Generator) -> np.ndarray:
    """The mask's edge (N,2): along the jaw from its point `first` to the other side and over the nose; one in five
    leaves the nose free."""
    jaw = landmarks[first : 17 - first]
    middle = jaw.mean(0)
    jaw = middle + (jaw - middle) * (1 + rng.uniform(-0.02, 0.16))
    if rng.random() < 0.2:
        top = landmarks[33:34] + rng.uniform(0.2, 0.8) * (landmarks[51:52] - landmarks[33:34])
    else:
        top = landmarks[27:28] + rng.uniform(0.15, 1.0) * (landmarks[30:31] - landmarks[27:28])
    cheeks = (landmarks[[16 - first, first]] + top) / 2 + rng.normal(0, 0.012, (2, 2))
    return np.concatenate([jaw, cheeks[:1], top, cheeks[1:]])


def fabric(side: int, rng: np.random.Generator) -> np.ndarray:
    """A square of cloth (side,side,3): one colour in uneven light, one in four with a print."""
    plain = CLOTH[rng.integers(len(CLOTH))] if rng.random() < 0.6 else rng.integers(0, 256, 3)
    cloth = np.full((side, side, 3), plain, np.float32)
    if rng.random() < 0.25:
        cells = int(rng.integers(4, 24))
        spots = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        method = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_CUBIC
        share = np.float32(rng.uniform(0.2, 0.8))
        cloth = (1 - share) * cloth + share * cv2.resize(spots, (side, side), interpolation=method)
    light = cv2.resize(
        rng.normal(0, 18, (3, 3)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(cloth + light[..., None], 0, 255).astype(np.uint8)


def fill(cover: np.ndarray, outline: np.ndarray) -> None:
    """Fills the hull of an outline (N,2) in 0..1 in a mask (S,S), in place: of a turned head it may cross itself."""
    hull = cv2.convexHull(np.int32(np.round(outline * len(cover) * 2**SHIFT)))
    cv2.fillConvexPoly(cover, hull, 255, cv2.LINE_AA, SHIFT)


def lay(pixels: np.ndarray, over: np.ndarray, cover: np.ndarray) -> None:
    """Blends a picture over the first three channels of another by a mask (S,S), in place."""
    share = cover[..., None] / np.float32(255)
    pixels[..., :3] = (pixels[..., :3] * (1 - share) + over * share + 0.5).astype(np.uint8)
