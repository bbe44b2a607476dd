"""Where the readers of aligned faces see a face: turned, scaled and shifted as ArcFace aligns it, by five points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import constant
from ..warp import fit_similarity

SIDE = 112
"""Pixels of the aligned face."""
FIVE_POINTS = ((0.3419, 0.4616), (0.6565, 0.4598), (0.5002, 0.6405), (0.3710, 0.8247), (0.6315, 0.8233))
"""Where ArcFace's alignment puts eyes, nose tip and mouth corners, in 0..1 of the side."""


def five_points(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) -> eyes, nose tip and mouth corners (B,5,2)."""
    eyes = [landmarks[:, a:b].mean(1) for a, b in ((36, 42), (42, 48))]
    return torch.stack([*eyes, *(landmarks[:, k] for k in (30, 48, 54))], 1)


def zoomed_points(zoom: float) -> tuple[tuple[float, float], ...]:
    """FIVE_POINTS, `zoom` times as far from the middle between them."""
    x, y = (sum(axis) / len(FIVE_POINTS) for axis in zip(*FIVE_POINTS, strict=True))
    return tuple((x + zoom * (a - x), y + zoom * (b - y)) for a, b in FIVE_POINTS)


def aligned(face: Tensor, landmarks: Tensor, zoom: float = 1.0) -> Tensor:
    """Faces (B,3,S,S), landmarks (B,68,2) in 0..1 -> (B,3,112,112), turned, scaled and shifted so that the five points
    come closest to ArcFace's (least squares), bilinear. zoom: how much larger, about the middle of the five points."""
    # From ArcFace's frame to the face's: grid_sample asks, for each pixel of the result, where it lies in the source.
    goal = constant(tuple(c for point in zoomed_points(zoom) for c in point), landmarks).view(1, 5, 2)
    fit = fit_similarity(goal, five_points(landmarks))
    # An affine map of a grid is a sum of what depends on its column and what depends on its row.
    line = 2 * (torch.arange(SIDE, device=face.device, dtype=face.dtype) + 0.5) / SIDE
    matrix, shift = (part.to(face)[..., None] for part in fit)  # (B,2,2,1), (B,2,1)
    columns, rows = matrix[:, :, 0] * line, matrix[:, :, 1] * line + 2 * shift - 1
    at = columns[:, :, None, :] + rows[:, :, :, None]
    return F.grid_sample(
        face, at.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
