"""A triangle rasterizer: which triangle of a surface each pixel shows, and values interpolated inside it.

Plain tensor operations on any device, without gradients: scan lines for the pixels, a z-buffer by a scattered maximum.
nvdiffrast and pytorch3d do more, but need a compiler or a GPU; a face is 1,300 triangles.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# A pixel covered by several triangles keeps the largest of integer keys that hold depth and triangle together:
#
#     key = depth_steps * MAX_TRIANGLES + triangle
#     |<------- depth, 24 bits ------->|<- triangle, 13 bits ->|
#
# So one scatter_reduce("amax") finds the nearest, and equal depths go to the higher triangle number on every device.
MAX_TRIANGLES = 1 << 13
"""More than the triangles of any model: the factor of the depth in a z-buffer key."""
DEPTH_STEPS = 1 << 20
"""Depth steps per side of the frame. 2^-20 is the spacing of float32 between 8 and 16, so no precision is lost."""
DEPTH_OFFSET = 8.0
"""Added to depths so that keys are positive."""
DEPTH_LIMIT = 7.9
"""Depths beyond this, in sides of the frame, are clamped: less than DEPTH_OFFSET, so that no key is negative."""
EDGE_SLACK = 2e-3
"""Pixels by which a scan line is widened at both ends: neighbours share an edge, and rounding must not lose a pixel
centre that lies on it."""
LEAST_AREA = 1e-3
"""Twice the area, in pixels, below which a triangle is degenerate and covers nothing."""
LEAST_DETERMINANT = 1e-4
"""Twice the area below which values are not interpolated inside a triangle: the inverse would only amplify rounding."""
EDGES = ((0, 1), (1, 2), (2, 0))
"""Corners that each edge of a triangle connects."""


class PlaneEquations(NamedTuple):
    """Linear functions of x and y in pixels, one for each of N triangles: value = at + right * x + down * y."""

    at: Tensor
    """(N,C) values at pixel (0,0)."""
    right: Tensor
    """(N,C) change per pixel to the right."""
    down: Tensor
    """(N,C) change per pixel downwards."""

    def __call__(self, triangle: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Values (...,C) at pixels x, y (...) of triangles number `triangle` (...)."""
        at, right, down = (F.embedding(triangle, part) for part in self)
        return at.addcmul_(right, x[..., None]).addcmul_(down, y[..., None])


def plane_equations(corners: Tensor, values: Tensor) -> PlaneEquations:
    """Corners (N,3,2) in pixels with values (N,3,C) -> PlaneEquations; a triangle without area has its first corner's
    value everywhere."""
    # With edges a = p1 - p0, b = p2 - p0 and value differences u = v1 - v0, w = v2 - v0, the gradient g solves
    #
    #     | ax ay | | g_x |   | u |           | g_x |         1       |  by -ay | | u |
    #     | bx by | | g_y | = | w |    so     | g_y | = -----------   | -bx  ax | | w |
    #                                                   ax by - ay bx
    #
    # This is barycentric interpolation (v0 + l1 u + l2 w) with l1, l2 written out as linear functions of x and y.
    (ax, ay), (bx, by) = ((corners[:, k] - corners[:, 0]).unbind(1) for k in (1, 2))
    determinant = ax * by - ay * bx
    inverse = torch.where(determinant.abs() > LEAST_DETERMINANT, 1 / determinant, 0)[:, None]
    u, w = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    right = (u * by[:, None] - w * ay[:, None]) * inverse
    down = (w * ax[:, None] - u * bx[:, None]) * inverse
    return PlaneEquations(values[:, 0] - right * corners[:, 0, :1] - down * corners[:, 0, 1:], right, down)


def signed_areas(corners: Tensor) -> Tensor:
    """(...,3,2) -> (...,): twice the signed area, positive clockwise in the picture (y points down)."""
    a, b = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def expand_counts(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Counts (N,) -> two (sum(counts),): the owner of each element, and the element's number within its owner.

    [2, 0, 3] -> owners [0, 0, 2, 2, 2], numbers [0, 1, 0, 1, 2]: nested loops without a loop.
    """
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    first = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - first.index_select(0, owner)


class Lines(NamedTuple):
    """One scan line of one triangle each, (L,) all."""

    triangle: Tensor
    """Index into the B*T triangles."""
    row: Tensor
    """Pixel row, a whole number as a float."""
    left: Tensor
    """First pixel that is covered, a whole number as a float."""
    width: Tensor
    """Covered pixels, int64."""


def scan_lines(corners: Tensor, side: int, used: Tensor | None) -> Lines:
    """Corners (N,3,2) in pixels, where pixel centres are whole numbers -> the rows of all triangles that cover pixels.

    used: (N,) bool, triangles that count; None: all.
    """
    #          p0                  row y meets the edges p0p1 and p0p2 at the crossings
    #         /  \
    #   -----x----x------- y          x(t) = xa + t (xb - xa),   t = (y - ya) / (yb - ya) in 0..1
    #       /      \
    #     p1--------p2          and covers the pixels between the leftmost and the rightmost.
    x, y = corners.unbind(2)
    top = y.amin(1).ceil().clamp(0, side)
    rows = (y.amax(1).floor().clamp(-1, side - 1) - top + 1).clamp_min(0).long()
    rows[signed_areas(corners).abs() < LEAST_AREA] = 0
    if used is not None:
        rows[~used] = 0
    triangle, number = expand_counts(rows)
    row = top.index_select(0, triangle) + number
    low, high = torch.full_like(row, torch.inf), torch.full_like(row, -torch.inf)
    for a, b in EDGES:
        ends = y[:, a], y[:, b], x[:, a], x[:, b]
        ya, yb, xa, xb = (end.index_select(0, triangle) for end in ends)
        t = (row - ya) / (
            yb - ya
        )  # infinite or NaN for a horizontal edge, whose ends the other two edges meet
        crossing = xa + t * (xb - xa)
        meets = (t >= 0) & (t <= 1)
        low = torch.where(meets, torch.minimum(low, crossing), low)
        high = torch.where(meets, torch.maximum(high, crossing), high)
    left = (low - EDGE_SLACK).ceil().clamp(0, side)
    width = ((high + EDGE_SLACK).floor().clamp(-1, side - 1) - left + 1).clamp_min(0).long()
    return Lines(triangle, row, left, width)


def rasterize(corners: Tensor, depth: Tensor, side: int, used: Tensor | None = None) -> Tensor:
    """The triangle nearest to the viewer at each pixel: (B,side,side) int64 numbers 0..T-1, -1 where there is none.

    corners (B,T,3,2) in 0..1 of the frame, depth (B,T,3) in the same unit, larger is nearer to the viewer.
    used: (B*T,) bool, triangles that count; None: all.
    """
    batch, count = corners.shape[:2]
    places = corners.flatten(0, 1) * side - 0.5  # pixel centres are whole numbers
    lines = scan_lines(places, side, used)
    depths = plane_equations(places, depth.flatten(0, 1)[..., None])
    # Per line: depth at its first pixel, depth step to the right, index of its first pixel in the flat z-buffer.
    begin = depths(lines.triangle, lines.left, lines.row)[:, 0]
    step = depths.right[:, 0].index_select(0, lines.triangle)
    picture = torch.div(lines.triangle, count, rounding_mode="floor")
    start = (picture * side + lines.row.long()) * side + lines.left.long()
    # Per covered pixel ("fragment"): the same for its line, advanced by its number in the line.
    line, number = expand_counts(lines.width)
    of_lines = begin, step, start, lines.triangle - picture * count
    begin, step, start, label = (values.index_select(0, line) for values in of_lines)
    fragment_depth, pixel = torch.addcmul(begin, step, number), start + number
    steps = ((fragment_depth.clamp(-DEPTH_LIMIT, DEPTH_LIMIT) + DEPTH_OFFSET) * DEPTH_STEPS).long()
    nearest = torch.full((batch * side * side,), -1, dtype=torch.int64, device=corners.device)
    nearest.scatter_reduce_(0, pixel, steps * MAX_TRIANGLES + label, "amax")
    found = (nearest & MAX_TRIANGLES - 1).masked_fill_(nearest < 0, -1)  # the last 13 bits
    return found.view(batch, side, side)
