"""Which triangle of a surface each pixel of a picture shows, and what a value is inside it; tensors on any device."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

DEEP = 1 << 13
"""More than the triangles of any model: a depth and a triangle share one integer in the z-buffer."""


class Pieces(NamedTuple):
    """What a value (one a corner) is inside each of N triangles: at + right * x + down * y, x and y in pixels."""

    at: Tensor
    right: Tensor
    down: Tensor

    def __call__(self, which: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Values (...,C) at pixels x, y (...) of triangles which (...)."""
        at, right, down = F.embedding(which, torch.cat(self, 1)).chunk(3, -1)  # gathers whole rows, fast
        return torch.addcmul(torch.addcmul(at, right, x[..., None]), down, y[..., None])


def pieces(corners: Tensor, values: Tensor) -> Pieces:
    """Corners (N,3,2) in pixels with values (N,3,C) -> Pieces; a triangle without area has its first corner's value."""
    (ax, ay), (bx, by) = ((corners[:, k] - corners[:, 0]).unbind(1) for k in (1, 2))
    area = ax * by - ay * bx
    inverse = torch.where(area.abs() > 1e-4, 1 / area, 0)[:, None]
    a, b = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    right = (a * by[:, None] - b * ay[:, None]) * inverse
    down = (b * ax[:, None] - a * bx[:, None]) * inverse
    return Pieces(values[:, 0] - right * corners[:, 0, :1] - down * corners[:, 0, 1:], right, down)


def areas(corners: Tensor) -> Tensor:
    """(...,3,2) -> (...,): twice the signed area, positive clockwise in the picture."""
    a, b = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def counted(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Counts (N,) -> which of the N each of the sum(counts) belongs to, and its number there."""
    which = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    return which, torch.arange(len(which), device=counts.device) - first[which]


def front(corners: Tensor, depth: Tensor, side: int, some: Tensor | None = None) -> Tensor:
    """The triangle nearest to the viewer at each pixel: (B,side,side) numbers 0..T-1, -1 where there is none.

    corners (B,T,3,2) in 0..1 of the frame, depth (B,T,3), larger is nearer. some: (B*T,) bool, no other triangle
    counts. Every triangle's rows and every row's pixels are listed, and a scattered maximum keeps the nearest.
    """
    batch, count = corners.shape[:2]
    places = corners.flatten(0, 1) * side - 0.5  # pixel centres are whole numbers
    x, y = places.unbind(2)  # (B*T,3)
    top = y.amin(1).ceil().clamp(0, side)
    rows = (y.amax(1).floor().clamp(-1, side - 1) - top + 1).clamp_min(0).long()
    rows[areas(places).abs() < 1e-3] = 0
    if some is not None:
        rows[~some] = 0
    owner, number = counted(rows)
    line = top[owner] + number
    low, high = torch.full_like(line, torch.inf), torch.full_like(line, -torch.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        ya, yb, xa, xb = y[owner, a], y[owner, b], x[owner, a], x[owner, b]
        share = (line - ya) / (yb - ya)
        crossing = xa + share * (xb - xa)
        met = (share >= 0) & (share <= 1)
        low = torch.where(met, torch.minimum(low, crossing), low)
        high = torch.where(met, torch.maximum(high, crossing), high)
    slack = 2e-3  # neighbours share their edge; none of it may be missed
    left = (low - slack).ceil().clamp(0, side)
    width = ((high + slack).floor().clamp(-1, side - 1) - left + 1).clamp_min(0).long()
    span, number = counted(width)
    slope = pieces(places, depth.flatten(0, 1)[..., None])
    begin, right = slope(owner, left, line), slope.right[owner]
    picture = torch.div(owner, count, rounding_mode="floor")
    start = (picture * side + line.long()) * side + left.long()
    near, right = torch.cat([begin, right], 1)[span].unbind(1)
    start, label = torch.stack([start, owner % count], 1)[span].unbind(1)
    near, place = torch.addcmul(near, right, number), start + number
    key = ((near.clamp(-7.9, 7.9) + 8) * (1 << 20)).long() * DEEP + label
    best = torch.full((batch * side * side,), -1, dtype=torch.int64, device=corners.device)
    best.scatter_reduce_(0, place, key, "amax")
    return torch.where(best < 0, -1, best % DEEP).view(batch, side, side)
