"""Pictures at other sizes and places: grids, resizing, pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .registry import operator

if TYPE_CHECKING:
    from ..recorder import Recorder


NEAR = 2.5
"""Places of a grid, in -1..1 of a picture, that one reflection brings back into it, with some room for other runs."""
WIDE = 16
"""Pixels of a window beyond which the largest is sooner found down its columns, then along its rows."""


@operator("affine_grid_generator")
def _affine_grid(g: Recorder, out: Tensor, *more: Any) -> str:
    # Without a turn x is the same in every row and y in every column: two lines make the grid.
    columns, rows = out[:, :1, :, :1], out[:, :, :1, 1:]
    if not (
        torch.equal(out[..., :1], columns.expand_as(out[..., :1]))
        and torch.equal(out[..., 1:], rows.expand_as(out[..., 1:]))
    ):
        return g.constant(out.numpy())
    whole = g.whole(*out.shape[:3], 1)
    wide = (g.op("Expand", g.constant(line.contiguous().numpy()), whole) for line in (columns, rows))
    return g.op("Concat", *wide, axis=3)


@operator("upsample_nearest2d")
def _nearest(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    return g.op(
        "Resize", g.name(x), *_sizes(g, out, x), mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


def _sizes(g: Recorder, out: Tensor, x: Tensor) -> list[str]:
    """What says to Resize how large its result is: factors rather than sizes where these are whole, as what a window
    cuts out has other sizes in every run."""
    factors = [new / old for new, old in zip(out.shape, x.shape, strict=True)]
    if all(factor.is_integer() for factor in factors):
        return ["", g.constant(np.asarray(factors, np.float32))]
    return ["", "", g.whole(*out.shape)]


@operator("avg_pool2d")
def _avg_pool(
    g: Recorder, out: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int] = (), padding: Any = (0, 0),
    ceil: bool = False, counts: bool = True, divisor: Any = None,
) -> str:  # fmt: skip
    sides, steps, pads = (_two(value) for value in (kernel, stride or kernel, padding))
    if steps == [1, 1] and not counts and max(x.shape[-2:]) <= 256:
        # A wide window slides slowly; a product with its shares of each line is fast.
        name = g.name(x)
        if sides[1] > 1:
            name = g.op("MatMul", name, g.constant(_windows(x.shape[-1], sides[1], pads[1]).T))
        return (
            g.op("MatMul", g.constant(_windows(x.shape[-2], sides[0], pads[0])), name)
            if sides[0] > 1
            else name
        )
    return g.op(
        "AveragePool", g.name(x), kernel_shape=sides, strides=steps, pads=[*pads, *pads], ceil_mode=int(ceil),
        count_include_pad=int(counts),
    )  # fmt: skip


def _windows(size: int, side: int, pad: int) -> np.ndarray:
    """(size,size): the mean over a window of `side` pixels around each of a line, over those that there are."""
    first = np.arange(size)[:, None] - pad
    at = np.arange(size)
    inside = ((at >= first) & (at < first + side)).astype(np.float32)
    return inside / inside.sum(1, keepdims=True)


@operator("max_pool2d_with_indices")
def _max_pool(
    g: Recorder, out: Any, x: Tensor, kernel: Any, stride: Any = (), padding: Any = (0, 0), *more: Any
) -> list[str]:
    sides, steps, pads = (_two(value) for value in (kernel, stride or kernel, padding))
    name, windows = g.name(x), [(sides, pads)]
    # Without padding of its own it comes after some: a browser's runtime takes that into the first window and refuses
    # one that is smaller.
    if steps == [1, 1] and max(pads) and min(sides) > 1 and math.prod(sides) > WIDE:
        windows = [([sides[0], 1], [pads[0], 0]), ([1, sides[1]], [0, pads[1]])]
    for side, pad in windows:
        name = g.op("MaxPool", name, kernel_shape=side, strides=steps, pads=[*pad, *pad])
    return [name]


@operator("_adaptive_avg_pool2d")
def _adaptive(g: Recorder, out: Tensor, x: Tensor, size: Any) -> str:
    steps = [have // want for have, want in zip(x.shape[-2:], out.shape[-2:], strict=True)]
    assert all(have % want == 0 for have, want in zip(x.shape[-2:], out.shape[-2:], strict=True))
    return g.op("AveragePool", g.name(x), kernel_shape=steps, strides=steps)


def _two(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))


@operator("upsample_bilinear2d")
def _bilinear(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    sizes = _sizes(g, out, x)
    return g.op("Resize", g.name(x), *sizes, mode="linear", coordinate_transformation_mode="half_pixel")


@operator("_upsample_bilinear2d_aa")
def _antialiased(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    # onnxruntime's own antialiasing weighs the border otherwise, by up to 0.09 in [-1,1].
    return _by_lines(g, out, x, mode="bilinear", antialias=True)


@operator("upsample_bicubic2d")
def _bicubic(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    return _by_lines(g, out, x, mode="bicubic")


def _by_lines(g: Recorder, out: Tensor, x: Tensor, **how: Any) -> str:
    """Resized as torch does it. Every line is a linear map of its points: y = rows @ x @ columns^T."""
    rows, columns = (
        torch.nn.functional.interpolate(
            torch.eye(n).view(n, 1, n, 1).expand(n, 1, n, 2), (m, 2), align_corners=False, **how
        )[:, 0, :, 0]
        for n, m in zip(x.shape[-2:], out.shape[-2:], strict=True)
    )  # (n,m) each
    wide = g.op("MatMul", g.name(x), g.constant(columns.numpy()))
    return g.op("MatMul", g.constant(rows.T.contiguous().numpy()), wide)


@operator("grid_sampler_2d")
def _grid_sample(
    g: Recorder, out: Tensor, x: Tensor, grid: Tensor, mode: int, border: int, corners: bool
) -> str:
    at, beyond = g.name(grid), ("zeros", "border", "reflection")[border]
    if (
        mode == 0
        and not corners
        and (beyond == "border" or beyond == "reflection" and grid.abs().max() <= NEAR)
    ):
        # onnxruntime takes half the time, or a third for several channels, where there are zeros beyond the picture. So
        # places out there are brought to the middles of its outermost pixels.
        if beyond == "reflection":  # once
            at = g.op("Sub", g.op("Clip", g.op("Mul", at, g.name(2.0)), g.name(-2.0), g.name(2.0)), at)
        at, beyond = _kept_within(g, at, x.shape[-1], x.shape[-2]), "zeros"
    return g.op(
        "GridSample", g.name(x), at, mode=("linear", "nearest", "cubic")[mode], padding_mode=beyond,
        align_corners=int(corners),
    )  # fmt: skip


def _kept_within(g: Recorder, at: str, width: int, height: int) -> str:
    """Places of a grid no farther out than the middles of a picture's outermost pixels."""
    if width == height:
        return g.op("Clip", at, g.name(1 / width - 1), g.name(1 - 1 / width))
    most = np.asarray([1 - 1 / width, 1 - 1 / height], np.float32)
    return g.op("Min", g.op("Max", at, g.constant(-most)), g.constant(most))
