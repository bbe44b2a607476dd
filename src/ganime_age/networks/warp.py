"""Smooth warps that follow landmarks: normalised Gaussian kernels, evaluated on a coarse grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 32
"""Side of the grid on which a warp is computed before it is enlarged."""
STIFFNESS = 0.3
"""Weight of the unmoved background in the kernel mean: the field fades to 0 where the kernels' sum is well below it."""


def displacement(points: Tensor, pull: Tensor, side: int, reach: float) -> Tensor:
    """Pulls (B,68,2) at points (B,68,2), in 0..1 of the frame, as a smooth field (B,side,side,2) that fades away from
    all points. reach: standard deviation, in frame sides, of a point's influence."""
    # field(x) = sum_i k(x - p_i) pull_i / (sum_i k(x - p_i) + STIFFNESS),   k(d) = exp(-|d|^2 / (2 reach^2)):
    # Nadaraya-Watson regression of the pulls with a prior of no motion. Unlike a thin plate it is bounded by the
    # largest pull and vanishes far from the landmarks.
    line = (torch.arange(GRID, device=points.device) + 0.5) / GRID
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    distance = torch.cdist(pixels.expand(len(points), -1, -1), points)  # (B,GRID^2,68)
    near = torch.exp(-0.5 * (distance / reach) ** 2)
    field = near @ pull / (near.sum(2, keepdim=True) + STIFFNESS)
    field = field.view(-1, GRID, GRID, 2).permute(0, 3, 1, 2)
    return F.interpolate(field, size=(side, side), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def identity_grid(faces: int, side: int, like: Tensor) -> Tensor:
    """(B,side,side,2): the sampling grid that changes nothing."""
    still = torch.eye(2, 3, device=like.device, dtype=like.dtype).expand(faces, 2, 3)
    return F.affine_grid(still, [faces, 1, side, side], align_corners=False)


def follow(face: Tensor, field: Tensor) -> Tensor:
    """face (B,C,S,S) in [-1,1] whose pixels moved by field (B,S,S,2), in 0..1 of the frame."""
    # Backward warping: the pixel at x shows what was at x - field(x). Sampling grids span -1..1, twice the frame's.
    grid = identity_grid(len(face), face.shape[-1], face) - 2 * field
    return F.grid_sample(face, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(-1, 1)


def canonical_grid(landmarks: Tensor, mean_shape: Tensor, side: int, reach: float = 0.07) -> Tensor:
    """(B,side,side,2): for each pixel of faces with these landmarks (B,68,2), its place in the frame of mean_shape
    (68,2). With both swapped it goes the other way."""
    still = identity_grid(len(landmarks), side, landmarks)
    return still + 2 * displacement(landmarks, mean_shape - landmarks, side, reach)
