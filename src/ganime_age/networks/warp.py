"""Moves that landmarks lead: smooth warps (normalised Gaussian kernels, evaluated on a coarse grid), and the
least-squares similarity transform between two sets of points (Umeyama, TPAMI 1991)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import enlarge_smoothly

GRID = 32
"""Side of the grid on which a warp is computed before it is enlarged."""
STIFFNESS = 0.3
"""Weight of the unmoved background in the kernel mean: the field fades to 0 where the kernels' sum is well below it."""
NOSE_TIP, JAW_ENDS = 30, (slice(0, 3, 2), slice(14, 17, 2))
"""The nose's tip, and two landmarks at each end of the jaw."""


def displacement(points: Tensor, pull: Tensor, side: int, reach: float) -> Tensor:
    """Pulls (B,68,2) at points (B,68,2), in 0..1 of the frame, as a smooth field (B,side,side,2) that fades away from
    all points. reach: standard deviation, in frame sides, of a point's influence."""
    return enlarge_field(coarse_displacement(points, pull, reach), side)


def coarse_displacement(points: Tensor, pull: Tensor, reach: float) -> Tensor:
    """`displacement` on the coarse grid, (B,2,GRID,GRID)."""
    line = (torch.arange(GRID, device=points.device) + 0.5) / GRID
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    field = regress(pixels.expand(len(points), -1, -1), points, pull, reach)
    return field.view(-1, GRID, GRID, 2).permute(0, 3, 1, 2)


def regress(places: Tensor, points: Tensor, pull: Tensor, reach: float) -> Tensor:
    """The field (B,M,2) at places (B,M,2) of pulls (B,N,2) at points (B,N,2)."""
    # field(x) = sum_i k(x - p_i) pull_i / (sum_i k(x - p_i) + STIFFNESS),   k(d) = exp(-|d|^2 / (2 reach^2)):
    # Nadaraya-Watson regression of the pulls with a prior of no motion. Unlike a thin plate it is bounded by the
    # largest pull and vanishes far from the landmarks.
    near = torch.exp(-0.5 * (torch.cdist(places, points) / reach) ** 2)
    return near @ pull / (near.sum(2, keepdim=True) + STIFFNESS)


def enlarge_field(field: Tensor, side: int) -> Tensor:
    """A coarse field (B,2,GRID,GRID) -> (B,side,side,2). It is smooth, so it loses nothing at any side."""
    return enlarge_smoothly(field, side).permute(0, 2, 3, 1)


def identity_grid(faces: int, side: int, like: Tensor) -> Tensor:
    """(B,side,side,2): the sampling grid that changes nothing; never to be changed in place."""
    line = middles(side, like)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).expand(faces, -1, -1, -1)


def middles(side: int, like: Tensor) -> Tensor:
    """The middles of the pixels of a line, (side,) in -1..1."""
    return ((torch.arange(side, device=like.device) + 0.5) * (2 / side) - 1).to(like.dtype)


def placed_grid(side: int, scale: float, shift: tuple[float, float], like: Tensor) -> Tensor:
    """(1,side,side,2): the sampling grid scale x + shift, for places x in -1..1."""
    line = middles(side, like) * scale
    return torch.stack(torch.meshgrid(*(line + away for away in shift), indexing="xy"), -1)[None]


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


class Similarity(NamedTuple):
    """x -> matrix x + shift, of B transforms in D dimensions."""

    matrix: Tensor
    """(B,D,D), rotation times scale."""
    shift: Tensor
    """(B,D)."""

    def apply(self, points: Tensor) -> Tensor:
        """Points (B,N,D) -> (B,N,D)."""
        # A sum of products instead of a matmul, which autocast would round to half precision.
        return (self.matrix[:, None] * points[:, :, None]).sum(-1) + self.shift[:, None]


def fit_similarity(points: Tensor, goal: Tensor) -> Similarity:
    """The Similarity that brings points (B,N,D) closest to goal (B,N,D), D = 2 or 3; a batch of 1 serves all.

    Never a reflection. Points must not all coincide.
    """
    # Minimise sum |goal_i - (c R points_i + t)|^2 (Umeyama, eq. 38 to 43). With p, q relative to their means and
    # the covariance sum q p^T = U D V^T:
    #
    #     R = U S V^T,  S = diag(1, .., det(U V^T)),  c = trace(D S) / sum |p|^2,  t = mean(goal) - c R mean(points)
    middle, centre = points.mean(1, keepdim=True), goal.mean(1, keepdim=True)
    p, q = points - middle, goal - centre
    if points.shape[2] == 2:
        matrix = _plane(p, q)
    else:
        matrix = _space(p, q)
    return Similarity(matrix, centre[:, 0] - (matrix * middle).sum(-1))


def _plane(p: Tensor, q: Tensor) -> Tensor:
    """c R in two dimensions: a complex number a + ib = sum conj(p) q / sum |p|^2, without a decomposition."""
    norm = p.square().sum((1, 2))
    a = (q * p).sum((1, 2)) / norm
    b = (q[..., 1] * p[..., 0] - q[..., 0] * p[..., 1]).sum(1) / norm
    return torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)


def _space(p: Tensor, q: Tensor) -> Tensor:
    """c R in three dimensions."""
    u, d, vt = torch.linalg.svd(q.mT @ p)
    sign = torch.ones_like(d)
    sign[:, -1] = torch.linalg.det(u @ vt).sign()  # the smallest direction is turned back from a reflection
    scale = (d * sign).sum(1) / p.square().sum((1, 2))
    return scale[:, None, None] * ((u * sign[:, None]) @ vt)


def sideways(landmarks: Tensor) -> Tensor:
    """How far heads with landmarks (B,68,2) are turned, (B,) in 0..1: the difference of the nose tip's distances from
    both ends of the jaw, in their sum."""
    tip = landmarks[:, NOSE_TIP : NOSE_TIP + 1]
    left, right = ((landmarks[:, ends] - tip).norm(dim=2).sum(1) for ends in JAW_ENDS)
    return (left - right).abs() / (left + right).clamp_min(1e-3)
