"""A judge's crops as other light, other cameras and imprecise landmarks would show them: on bytes, by OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from ...networks.judging.age_committee import CommitteeJudge
from ...networks.mirror import mirrored_landmarks
from .aligned_crops import degraded
from .faces import Faces
from .joined_faces import JoinedFaces

MOVES = (0.12, 0.12, 0.04, 0.04)
"""Spread of random crops at strength 1: turn (radians), logarithm of the scale, shift right and down (in crops)."""


def judged_crops(
    faces: Faces | JoinedFaces,
    indices: np.ndarray,
    mirror: np.ndarray,
    judge: CommitteeJudge,
    strength: tuple[float, float],
    chance: np.random.Generator,
) -> torch.Tensor:
    """Crops (B,K,3,side,side) uint8 of faces, those of `mirror` (B,) mirrored, all changed at random.

    strength: 0..1 of light and shade, and of crop and camera.
    """
    light, camera = strength
    frames, marks = faces.pixels(indices), faces.labels["landmarks"][indices].copy()
    marks[mirror] = mirrored_landmarks(torch.from_numpy(marks[mirror])).numpy()
    moved = chance.normal(size=(len(indices), 4)) * MOVES * camera
    places = judge.places(torch.from_numpy(marks).double(), torch.from_numpy(moved)).numpy()
    out = np.empty((*places.shape[:2], judge.side, judge.side, 3), np.uint8)
    for i, frame in enumerate(frames):
        whole = frame[:3].transpose(1, 2, 0)
        whole = np.ascontiguousarray(whole[:, ::-1] if mirror[i] else whole)
        crops = [warped(whole, place, judge.side) for place in places[i]]
        out[i] = apart(degraded(relit(side_by_side(crops), light, chance), camera, chance), len(crops))
    return torch.from_numpy(out).permute(0, 1, 4, 2, 3)


def side_by_side(crops: list[np.ndarray]) -> np.ndarray:
    """K crops (S,S,3) as one square picture of n x n crops, n^2 >= K: one light and one camera for a whole face."""
    n = math.isqrt(len(crops) - 1) + 1
    if n == 1:
        return crops[0]
    shown = [*crops, *crops[: n * n - len(crops)]]
    return np.concatenate([np.concatenate(shown[row * n : row * n + n], 1) for row in range(n)])


def apart(picture: np.ndarray, count: int) -> np.ndarray:
    """What `side_by_side` put together, (count,S,S,3)."""
    n = math.isqrt(count - 1) + 1
    side = len(picture) // n
    return picture.reshape(n, side, n, side, 3).transpose(0, 2, 1, 3, 4).reshape(n * n, side, side, 3)[:count]


def warped(whole: np.ndarray, place: np.ndarray, side: int) -> np.ndarray:
    """The crop (side,side,3) of a frame (S,S,3) at `place` (2,3), a map of -1..1 of the crop to -1..1 of the frame."""
    scale = len(whole) / side
    # Pixel u of the crop lies at (2 u + 1) / side - 1, and x of the frame at pixel ((x + 1) S - 1) / 2.
    start = place[:, :2] @ np.full(2, 1 / side - 1) + place[:, 2]
    matrix = np.column_stack([place[:, :2] * scale, ((start + 1) * len(whole) - 1) / 2])
    return cv2.warpAffine(
        whole,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def relit(crop: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    """Light and shade that say nothing of the age, for half of the crops each: a smooth random field, the crop's own
    shading weaker or up to 2.2 times as strong, its finest detail weaker or up to twice as strong.

    An edit that only darkens folds does the second: blur(luma, fine) - blur(luma, coarse) is added -0.6 to 1.2 times.
    """
    side = len(crop)
    field = np.zeros((16, 16), np.float32)
    if chance.random() < 0.5:
        cells = int(chance.integers(2, 9))
        noise = chance.standard_normal((cells, cells), np.float32) * (20 * chance.random() * strength)
        field += cv2.resize(noise, (16, 16), interpolation=cv2.INTER_CUBIC)
    if chance.random() < 0.5:
        luma = cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).mean(2)
        fine = cv2.GaussianBlur(luma, (0, 0), chance.uniform(0.3, 1.0))
        coarse = cv2.GaussianBlur(luma, (0, 0), chance.uniform(2.0, 4.0))
        field += chance.uniform(-0.6, 1.2) * strength * (fine - coarse)
    out = crop
    if field.any():
        shade = cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC)
        out = np.clip(crop + shade[..., None], 0, 255).astype(np.uint8)
    if chance.random() < 0.5:
        amount = chance.uniform(-0.7, 1.0) * strength
        soft = cv2.GaussianBlur(out, (0, 0), chance.uniform(0.7, 1.5))
        out = cv2.addWeighted(out, 1 + amount, soft, -amount, 0)
    return out
