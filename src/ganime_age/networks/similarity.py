"""The least-squares similarity transform between two sets of points: turn, scale and shift (Umeyama, TPAMI 1991)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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
