"""How far edited skin, eyes, mouths and hair are from real ones of the age asked, in the features of a network that
took no part in the edit."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..metrics import kernel_distance_error

Features = Callable[[np.ndarray], np.ndarray]
"""Pictures (B,128,128,3) uint8 RGB -> (B,D)."""
KINDS = ("skin", "eyes", "mouth", "hair")
SIDES = {"skin": 0.18, "eyes": 0.22, "mouth": 0.3, "hair": 0.25}
"""Side of each crop, in frames."""
CROP = 128
"""Pixels of a crop as the features see it."""
LEAST = 12
"""Crops of a kind below which there is no distance."""


def places(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Centres (N,2) of the crops in 0..1 of the frame: both cheeks, both eyes, the mouth, the hair above the brows."""
    eyes = np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0)])
    mouth = landmarks[48:68].mean(0)
    up = eyes.mean(0) - mouth
    cheeks = np.stack([(eyes[0] + landmarks[48]) / 2 - (0.02, 0), (eyes[1] + landmarks[54]) / 2 + (0.02, 0)])
    return {"skin": cheeks, "eyes": eyes, "mouth": mouth[None], "hair": (eyes.mean(0) + 0.95 * up)[None]}


def crops(frame: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Crops (N,128,128,3) uint8 of each kind from a frame (S,S,3) with landmarks (68,2) in 0..1; what would leave the
    frame is moved into it."""
    side, found = len(frame), {}
    for kind, centres in places(landmarks).items():
        wide = round(SIDES[kind] * side)
        corners = np.clip(np.round(centres * side - wide / 2).astype(int), 0, side - wide)
        parts = [frame[y : y + wide, x : x + wide] for x, y in corners]
        found[kind] = np.stack([cv2.resize(p, (CROP, CROP), interpolation=cv2.INTER_CUBIC) for p in parts])
    return found


def looked_at(features: Features, frame: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Kind -> features (N,D) of a frame's crops."""
    cut = crops(frame, landmarks)
    found = features(np.concatenate([cut[kind] for kind in KINDS]))
    ends = np.cumsum([len(cut[kind]) for kind in KINDS])[:-1]
    return dict(zip(KINDS, np.split(found, ends), strict=True))


def distance(edited: list[np.ndarray], real: list[np.ndarray]) -> dict[str, float] | None:
    """Kernel distance of two lists of features (N,D) and its standard error, in features whose mean square on the real
    ones is 1; None where one side has too few crops."""
    if sum(map(len, edited)) < LEAST or sum(map(len, real)) < LEAST:
        return None
    first, second = np.concatenate(edited), np.concatenate(real)
    scale = np.sqrt((second**2).mean())
    value, error = kernel_distance_error(first / scale, second / scale)
    return {"distance": value, "standard_error": error, "crops": len(first), "real": len(second)}
