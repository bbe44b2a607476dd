"""Aligned faces as bad cameras, other crops and imprecise landmarks would show them: on bytes, by OpenCV.

Alignment and jitter are one affine warp, so a crop costs 0.3 ms and nothing needs to be kept aligned on disk.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ...networks.aligned.alignment import SIDE, five_points, zoomed_points
from ...networks.warp import fit_similarity
from .faces import Faces
from .joined_faces import JoinedFaces

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def aligned_crops(
    faces: Faces | JoinedFaces,
    indices: np.ndarray,
    mirror: np.ndarray,
    strength: float,
    chance: np.random.Generator,
    zoom: float = 1.0,
) -> torch.Tensor:
    """Aligned faces (B,3,112,112) uint8, those of `mirror` (B,) mirrored, all changed at random. strength: 0..1.
    zoom: see `aligned`."""
    frames = faces.pixels(indices)
    goal = torch.tensor(zoomed_points(zoom), dtype=torch.float64)[None]
    marks = torch.from_numpy(faces.labels["landmarks"][indices]).double()
    fit = fit_similarity(goal, five_points(marks))  # the aligned face -> the frame, both in 0..1
    turns, middle = fit.matrix.numpy(), goal[0].mean(0).numpy()
    centres = (fit.apply(goal.mean(1, keepdim=True).expand(len(marks), 1, 2))).numpy()
    crops = np.empty((len(indices), SIDE, SIDE, 3), np.uint8)
    for i, frame in enumerate(frames):
        place = jittered(turns[i], centres[i, 0], strength, chance)
        whole = np.ascontiguousarray(frame[:3].transpose(1, 2, 0))  # (S,S,3)
        crops[i] = degraded(warped(whole, *place, middle, bool(mirror[i])), strength, chance)
    return torch.from_numpy(crops).permute(0, 3, 1, 2)


def jittered(
    turn: np.ndarray, centre: np.ndarray, strength: float, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An alignment turned by about 5 degrees, scaled by 6 % and shifted by 2 % of the crop (standard deviations at
    strength 1), as by landmarks that are not quite right. turn (2,2), centre (2,)."""
    angle, zoom = chance.normal(size=2) * (0.09, 0.06) * strength
    cos, sin = np.cos(angle) * np.exp(zoom), np.sin(angle) * np.exp(zoom)
    shift = turn @ (chance.normal(size=2) * 0.02 * strength)
    return turn @ np.array([[cos, -sin], [sin, cos]]), centre + shift


def warped(
    whole: np.ndarray, turn: np.ndarray, centre: np.ndarray, middle: np.ndarray, mirror: bool
) -> np.ndarray:
    """The aligned face (112,112,3) of a frame (S,S,3): a point g of it lies at
    `turn @ (g - middle) + centre` of the frame, in 0..1. Pixel k lies at (k + 0.5) / side."""
    side = len(whole)
    if mirror:
        turn, middle = turn * (-1, 1), np.array([1 - middle[0], middle[1]])
    matrix = turn * side / SIDE
    offset = (turn @ (0.5 / SIDE - middle) + centre) * side - 0.5
    return cv2.warpAffine(
        whole,
        np.column_stack([matrix, offset]),
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def degraded(crop: np.ndarray, strength: float, chance: np.random.Generator) -> np.ndarray:
    """The crop (S,S,3) in other light, and some shrunk and enlarged again, noisy, coded as JPEG or partly covered;
    at strength 1 each of these befalls two in five."""
    side = len(crop)
    happens = chance.random(5) < np.array([0.2, 0.4, 0.4, 0.4, 0.4]) * strength
    crop = recoloured(crop, bool(happens[0]), strength, chance)
    if happens[1]:
        small = cv2.resize(crop, (int(side * chance.uniform(0.25, 0.7)),) * 2, interpolation=cv2.INTER_AREA)
        crop = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    if happens[2]:
        noise = chance.standard_normal(crop.shape, np.float32) * (chance.random() * 15)
        crop = (crop + noise).clip(0, 255).astype(np.uint8)
    if happens[3]:
        coded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(10, 70))])[1]
        crop = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if happens[4]:
        left, top = chance.integers(0, side * 3 // 4, 2)
        width, height = chance.integers(side // 10, side * 2 // 5, 2)
        crop[top : top + height, left : left + width] = chance.integers(0, 256)
    return crop


def recoloured(crop: np.ndarray, grey: bool, strength: float, chance: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and colour cast, or no colour at all: one affine map of the colours."""
    brightness, contrast, saturation = chance.uniform(-0.5, 0.5, 3) * strength
    keep = 0.0 if grey else 1 + saturation
    mixing = (
        keep * np.eye(3, dtype=np.float32) + (1 - keep) * LUMA
    )  # every row: keep own colour, fill with luma
    mixing = mixing * (1 + contrast) * (1 + chance.uniform(-0.15, 0.15, (3, 1)) * strength)
    mean = np.array(cv2.mean(crop)[:3])
    offset = mean + 127.5 * brightness * 0.8 - mixing @ mean
    return cv2.transform(crop, np.column_stack([mixing, offset]))
