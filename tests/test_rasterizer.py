"""The rasterizer against one that looks at every pixel and triangle in turn, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganime_age.networks.rasterizer import expand_counts, plane_equations, rasterize, scan_lines, signed_areas

SIDE = 24
CLEAR = 0.01
"""Pixels from an edge within which rounding may decide whether a pixel is covered."""
EVEN = 1e-4
"""Depths that differ by less are a tie."""


def covering(corners: np.ndarray, depth: np.ndarray, x: float, y: float) -> tuple[float, float] | None:
    """How far inside a triangle (3,2) in pixels a point is, in pixels, and the depth there; None without area."""
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-3:
        return None
    weights, distances = [], []
    for (px, py), (qx, qy) in (((bx, by), (cx, cy)), ((cx, cy), (ax, ay)), ((ax, ay), (bx, by))):
        edge = (qx - px) * (y - py) - (qy - py) * (x - px)
        weights.append(edge / area)
        distances.append(edge * np.sign(area) / np.hypot(qx - px, qy - py))
    return min(distances), float(np.dot(weights, depth))


def agrees(corners: np.ndarray, depth: np.ndarray, found: np.ndarray, side: int) -> int:
    """Holds one picture's result (side,side) against the brute-force one; -> pixels where that leaves no choice."""
    pixels, clear = corners * side - 0.5, 0
    for row, column in np.ndindex(side, side):
        all_of = [covering(pixels[t], depth[t], column, row) for t in range(len(pixels))]
        sure = {t: hit[1] for t, hit in enumerate(all_of) if hit and hit[0] > CLEAR}
        perhaps = {t: hit[1] for t, hit in enumerate(all_of) if hit and hit[0] > -CLEAR}
        got, front = int(found[row, column]), max(sure.values(), default=-np.inf)
        if got < 0:
            assert not sure, (row, column)
            continue
        assert perhaps[got] > front - EVEN, (row, column, got)
        if len(sure) == len(perhaps):
            ties = [t for t, z in sure.items() if z > front - EVEN]
            clear += 1
            assert got in ties
    return clear


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_triangle_is_found_at_every_pixel(seed):
    """Overlapping triangles that also reach beyond the picture, two pictures at once."""
    random = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, 12, 3, 2, generator=random) * 1.4 - 0.2
    depth = torch.rand(2, 12, 3, generator=random) * 2 - 1
    found = rasterize(corners, depth, SIDE).numpy()
    for picture in range(2):
        clear = agrees(
            corners[picture].double().numpy(), depth[picture].double().numpy(), found[picture], SIDE
        )
        assert clear > SIDE * SIDE / 2


def test_of_equal_depths_the_later_triangle_wins_and_only_used_ones_count():
    square = torch.tensor([[-1.0, -1], [3, -1], [-1, 3]])
    corners, depth = square.expand(1, 4, 3, 2), torch.tensor([[[0.5] * 3, [0.5] * 3, [0.1] * 3, [0.5] * 3]])
    assert (rasterize(corners, depth, 8) == 3).all()
    used = torch.tensor([True, True, True, False])
    assert (rasterize(corners, depth, 8, used) == 1).all()
    assert (rasterize(corners, depth, 8, used & False) == -1).all()


def test_triangles_without_area_cover_nothing():
    line = torch.tensor([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]])
    point = torch.full((3, 2), 0.4)
    outside = torch.tensor([[1.2, 0.1], [1.9, 0.1], [1.5, 0.8]])
    corners = torch.stack([line, point, outside])[None]
    assert (rasterize(corners, torch.zeros(1, 3, 3), 16) == -1).all()
    assert len(scan_lines(corners[0, :2] * 16, 16, None).row) == 0


def test_a_horizontal_edge_is_covered_to_its_ends():
    corners = torch.tensor([[[0.0, 0], [1, 0], [0.5, 1]]]) * 7 / 8 + 0.5 / 8  # pixel centres 0 to 7
    found = rasterize(corners[None], torch.zeros(1, 1, 3), 8)[0]
    assert (found[0] == 0).all()
    assert [(row == 0).sum().item() for row in found] == [8, 6, 6, 4, 4, 2, 2, 0]


def test_values_are_interpolated_as_barycentric_coordinates_say():
    torch.manual_seed(1)
    corners, values = torch.rand(5, 3, 2) * 20, torch.rand(5, 3, 4)
    planes = plane_equations(corners, values)
    share = torch.rand(5, 3).softmax(1)
    x, y = (share[..., None] * corners).sum(1).unbind(1)
    expected = (share[..., None] * values).sum(1)
    assert torch.allclose(planes(torch.arange(5), x, y), expected, atol=1e-4)
    flat = plane_equations(corners[:1, [0, 0, 1]], values[:1])
    assert torch.equal(flat(torch.tensor([0]), x[:1], y[:1])[0], values[0, 0])


def test_areas_are_positive_clockwise_and_counts_are_expanded():
    corners = torch.tensor([[0.0, 0], [2, 0], [0, 3]])  # right, then down: clockwise with y downwards
    assert signed_areas(corners) == 6 and signed_areas(corners.flip(0)) == -6
    owner, number = expand_counts(torch.tensor([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2] and number.tolist() == [0, 1, 0, 1, 2]
