"""Crops of faces as the generator and the discriminator see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ....networks.layers import places as numbers_of
from ...data.faces import Faces, balanced_weights

REACH = 0.05
"""Standard deviation, in sides of the frame, of a crop's centre from the landmark that it is put on."""
FOREHEAD = 0.12
"""Furthest, in sides of the frame, that a crop is moved up towards the forehead, where landmarks are none."""


def centres(landmarks: Tensor, points: tuple[int, ...] = tuple(range(68))) -> Tensor:
    """Random places (B,2) on faces with landmarks (B,68,2), both in 0..1: at one of the points, or above it."""
    device, count = landmarks.device, len(landmarks)
    chosen = numbers_of(points, landmarks)[torch.randint(0, len(points), (count,), device=device)]
    at = landmarks[torch.arange(count, device=device), chosen] + REACH * torch.randn_like(landmarks[:, 0])
    up = FOREHEAD * torch.rand(count, device=device) * (torch.rand(count, device=device) < 0.3)
    at = at - torch.stack([torch.zeros_like(up), up], 1).to(at)
    return 0.85 * at + 0.15 * landmarks[:, 30]


def corners(at: Tensor, side: int, crop: int) -> Tensor:
    """Centres (B,2) in 0..1 -> even corners (B,2), row and column, of crops within a frame of `side` pixels."""
    first = ((at * side - crop / 2).clamp(0, side - crop) / 2).round().long() * 2
    return first.flip(1)


def known(faces: Faces) -> np.ndarray:
    """(N,) bool: faces with an age, landmarks and action units."""
    labels = faces.labels
    placed = np.isfinite(labels["landmarks"]).all((1, 2))
    return np.isfinite(labels["age"]) & placed & np.isfinite(labels["action_units"][:, 12])


def chances(faces: Faces, balance: float) -> np.ndarray:
    """(N,) how likely each face is drawn: balanced over the ages, 0 where a label is missing."""
    chance = np.where(known(faces), balanced_weights(faces.labels["age"], balance), 0.0)
    return chance / max(chance.sum(), 1e-12)
