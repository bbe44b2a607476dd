"""Which part of a mean face is skin, and none of its features."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import constant

SKIN_SIDE = 64
"""Side of the map of the skin in the mean shape's frame."""
NOSE, EYES, BROWS = 33, tuple(range(36, 48)), tuple(range(17, 27))
"""Landmarks: the lower end of the nose, above which no beard grows; those around the eyes, and on the brows."""


def skin_map(mean_shape: Tensor, forehead: float = 0.8) -> Tensor:
    """(1,1,64,64) in 0..1: skin in the frame of mean_shape (68,2), without eyes, brows, lips and nostrils. forehead:
    how high it is, in lengths of the nose."""
    pixels = pixels_like(mean_shape)
    # The jaw's outline is closed by half an ellipse above the ears.
    jaw = mean_shape[:17]
    centre, across = (jaw[0] + jaw[16]) / 2, (jaw[16, 0] - jaw[0, 0]) / 2
    brow = mean_shape[17:27, 1].mean()
    height = centre[1] - (brow - forehead * (mean_shape[33, 1] - brow))
    angle = torch.linspace(0, torch.pi, 12, device=mean_shape.device, dtype=mean_shape.dtype)[1:-1]
    arc = torch.stack([centre[0] + across * angle.cos(), centre[1] - height * angle.sin()], 1)
    skin = soft_inside(pixels, torch.cat([jaw, arc]), -0.015, 0.03)
    for points, grow in (
        (mean_shape[36:42], 0.012),
        (mean_shape[42:48], 0.012),
        (mean_shape[48:60], 0.006),
        (band(mean_shape[17:22]), 0.006),
        (band(mean_shape[22:27]), 0.006),
        (band(mean_shape[31:36]), 0.004),
    ):
        skin = skin * (1 - soft_inside(pixels, points, grow, 0.015))
    return skin.view(1, 1, SKIN_SIDE, SKIN_SIDE)


def lips_map(mean_shape: Tensor) -> Tensor:
    """(1,1,64,64) in 0..1: lips and what lies between them, in the frame of mean_shape (68,2)."""
    lips = soft_inside(pixels_like(mean_shape), mean_shape[48:60], 0.0, 0.015)
    return lips.view(1, 1, SKIN_SIDE, SKIN_SIDE)


def brows_map(mean_shape: Tensor) -> Tensor:
    """(1,1,64,64) in 0..1: brows and a little around them, in the frame of mean_shape (68,2)."""
    pixels = pixels_like(mean_shape)
    left, right = (soft_inside(pixels, band(mean_shape[first : first + 5]), 0.02, 0.03) for first in (17, 22))
    return torch.maximum(left, right).view(1, 1, SKIN_SIDE, SKIN_SIDE)


def pixels_like(mean_shape: Tensor) -> Tensor:
    """The places (N,2) in 0..1 of the pixels of such a map."""
    line = (torch.arange(SKIN_SIDE, device=mean_shape.device, dtype=mean_shape.dtype) + 0.5) / SKIN_SIDE
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(-1, 2)


def band(points: Tensor) -> Tensor:
    """A line of points (n,2) as an outline (2n,2) of a hundredth of the frame to each side."""
    away = constant((0.0, 0.01), points)
    return torch.cat([points - away, (points + away).flip(0)])


def soft_inside(pixels: Tensor, outline: Tensor, grow: float, soft: float) -> Tensor:
    """Pixels (N,2) -> (N,) in 0..1: inside an outline (n,2) grown by `grow`, with an edge of `soft`, in sides."""
    start, end = outline, outline.roll(-1, 0)
    edge = end - start
    to = pixels[:, None] - start[None]
    along = ((to * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-9)).clamp(0, 1)
    distance = (to - along[..., None] * edge).norm(dim=-1).min(1).values
    # Even-odd rule: a ray to the right crosses the outline an odd number of times from inside.
    crosses = (start[:, 1] > pixels[:, None, 1]) != (end[:, 1] > pixels[:, None, 1])
    at = start[:, 0] + (pixels[:, None, 1] - start[:, 1]) * edge[:, 0] / torch.where(
        edge[:, 1].abs() < 1e-9, torch.full_like(edge[:, 1], 1e-9), edge[:, 1]
    )
    odd = (crosses & (pixels[:, None, 0] < at)).sum(1) % 2 == 1
    signed = torch.where(odd, distance, -distance)
    return ((signed + grow) / soft + 0.5).clamp(0, 1)
