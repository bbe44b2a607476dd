"""What finding hair and changing it share: averages, distances from the border, filled outlines."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import Window, dilate, may_ask, recorded

BLACK = 1.06
"""Added to a brightness in [-1,1] before ratios are taken: 0.06 more than black, so that noise in black is none."""
ROOM, EVEN, MOST_OF = 32, 8, 0.8
"""Pixels around a mask that its `square_around` shows, more than what is averaged there reaches; what its borders are
multiples of, so that cells of up to so many pixels lie as in the whole picture; and the largest share of the picture's
side that it may have."""


def box(x: Tensor, radius: int) -> Tensor:
    """The mean over (2 radius + 1)^2 pixels, (B,C,H,W) -> the same; at the border over those that there are."""
    # A box filter is separable: along rows, then along columns. As products with banded matrices it costs the same at
    # any radius, and at these sides far less than pooling.
    if recorded():  # a graph would have to hold the matrices
        side = 2 * radius + 1
        x = F.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)
        return F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    down, along = (averaging(side, radius, x.dtype, x.device) for side in x.shape[-2:])
    return down @ (x @ along.mT)


@lru_cache(maxsize=64)
def averaging(side: int, radius: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side,side): each row averages the pixels of a line that are at most `radius` away."""
    with torch.inference_mode(False):  # training must be able to use what an edit made first
        line = torch.arange(side, device=device)
        near = ((line[:, None] - line).abs() <= radius).to(dtype)
        return near / near.sum(1, keepdim=True)


def smooth(x: Tensor, cell: int) -> Tensor:
    """(B,C,S,S) -> (B,C,S/cell,S/cell): means over about three cells a side."""
    return box(F.avg_pool2d(x, cell, cell, ceil_mode=True, count_include_pad=False), 1)


def square_around(mask: Tensor) -> Window | None:
    """The square of pictures that holds all of their masks (B,1,S,S) that is not 0, with ROOM around it. None, for the
    whole picture, where nobody may look or where it would hardly be smaller."""
    side = mask.shape[-1]
    if not may_ask(mask) or side % EVEN:
        return None
    used = (mask != 0).any(0)[0]
    spans = []
    for line in (used.any(1), used.any(0)):
        places = line.nonzero().flatten().tolist() or [0]
        spans.append((max(places[0] - ROOM, 0) // EVEN * EVEN, min(places[-1] + 1 + ROOM, side)))
    wide = max(end - start for start, end in spans)
    wide = -(-wide // EVEN) * EVEN
    if wide > MOST_OF * side:
        return None
    starts = (min(start, side - wide) for start, _ in spans)
    return Window(*(torch.tensor([start, start + wide]) for start in starts))


def part_of(x: Tensor, window: Window | None) -> Tensor:
    """Pictures or maps (B,C,S,S) in a window of `square_around`."""
    return x if window is None else window.cut(x)


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """(B,C,S,S) with a weight (B,1,S,S) -> (B,C,1,1)."""
    return (x * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1e-3)


def grown_mask(mask: Tensor, radius: int) -> Tensor:
    """The largest value (B,1,s,s) within a square of `radius` pixels around each."""
    return dilate(mask, radius, radius)


def border_fade(side: int, low: float, high: float, like: Tensor) -> Tensor:
    """(1,1,side,side): each pixel's distance from the nearest border of a picture, in sides, as a `ramp`; never to be
    changed in place."""
    made = faded.__wrapped__ if recorded() else faded  # a graph holds what makes it
    return made(side, low, high, like.dtype, like.device)


@lru_cache(maxsize=8)
def faded(side: int, low: float, high: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What `border_fade` has made before."""
    with torch.inference_mode(False):  # training must be able to use what an edit made first
        line = (torch.arange(side, device=device, dtype=dtype) + 0.5) / side
        near = torch.minimum(line, 1 - line)
        return ramp(torch.minimum(near[:, None], near[None, :])[None, None], low, high)


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, smooth between (a cubic)."""
    if recorded():  # a graph changes nothing in place
        share = ((x - low) / (high - low)).clamp(0, 1)
        return share.square() * (3 - 2 * share)
    share = (x - low).div_(high - low).clamp_(0, 1)
    return share.square().mul_((-2 * share).add_(3))


def within(x: Tensor, ends: tuple[float, float, float, float]) -> Tensor:
    """1 between the second and the third of four ends, 0 beyond the first and the fourth, smooth between."""
    return ramp(x, *ends[:2]) * (1 - ramp(x, *ends[2:]))


def inside_polygon(corners: Tensor, side: int, window: Window | None = None) -> Tensor:
    """Corners (B,N,2) in 0..1 of a picture -> (B,1,side,side): 1 within the polygon, else 0; or that in a window."""
    line = (torch.arange(side, device=corners.device, dtype=corners.dtype) + 0.5) / side
    x, y = line[None, None, None, :], line[None, None, :, None]
    if window is not None:
        x, y = (window.cut(part.expand(1, 1, side, side)) for part in (x, y))
        x, y = x[..., :1, :], y[..., :1]
    px, py = (part[..., None, None] for part in corners.unbind(-1))
    after = torch.cat([corners[:, 1:], corners[:, :1]], 1)
    qx, qy = (part[..., None, None] for part in after.unbind(-1))
    rise = torch.where((qy - py).abs() < 1e-6, torch.full_like(py, 1e-6), qy - py)
    # A ray to the right crosses an odd number of edges from within.
    between = ((py > y).to(corners.dtype) - (qy > y).to(corners.dtype)).abs()
    crossed = between * (x < (qx - px) * (y - py) / rise + px).to(corners.dtype)
    half = crossed.sum(1, keepdim=True) / 2
    return 2 * (half - half.floor())


def tall(mask: Tensor, radius: int) -> Tensor:
    """A mask (B,1,s,s) without what is lower than 2 radius + 1 pixels: its opening by a vertical line."""
    return dilate(-dilate(-mask, radius, 0), radius, 0)
