"""Layers with weights, norms, and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .registry import operator

if TYPE_CHECKING:
    from ..recorder import Recorder


@operator("convolution")
def _convolution(
    g: Recorder, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], transposed: bool, more: Sequence[int], groups: int,
) -> str:  # fmt: skip
    assert not transposed
    inputs = [g.name(x), *(g.weight(one) for one in (weight, bias) if one is not None)]
    pads = [*padding, *padding]
    return g.op("Conv", *inputs, strides=list(stride), pads=pads, dilations=list(dilation), group=groups)


@operator("addmm")
def _addmm(g: Recorder, out: Tensor, bias: Tensor, a: Tensor, b: Tensor, **more: Any) -> str:
    return g.op("Gemm", g.name(a), g.name(b), g.name(bias))


@operator("mm", "bmm")
def _matmul(g: Recorder, out: Tensor, a: Tensor, b: Tensor) -> str:
    return g.op("MatMul", g.name(a), g.name(b))


@operator("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit")
def _batch_norm(
    g: Recorder, out: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *more: Any
) -> list[str]:
    numbers = (g.name(one) for one in (weight, bias, mean, variance))
    return [g.op("BatchNormalization", g.name(x), *numbers, epsilon=more[-1])]


@operator("arange", "linspace", "full", "ones", "zeros", "eye")
def _numbers(g: Recorder, out: Tensor, *more: Any, **others: Any) -> str:
    return g.constant(out.numpy())


@operator("native_group_norm")
def _group_norm(
    g: Recorder,
    out: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    n: int,
    c: int,
    hw: int,
    groups: int,
    eps: float,
) -> list[str]:
    parts = g.op("Reshape", g.name(x), g.whole(n, groups, -1))
    ones, zeros = (g.constant(np.full(groups, value, np.float32)) for value in (1, 0))
    whole = g.op("InstanceNormalization", parts, ones, zeros, epsilon=eps)
    shaped = g.op("Reshape", whole, g.whole(*x.shape))
    scale, shift = (g.name(one.view(1, -1, 1, 1)) for one in (weight, bias))
    return [g.op("Add", g.op("Mul", shaped, scale), shift)]


@operator("_cdist_forward", "_euclidean_dist")
def _cdist(g: Recorder, out: Tensor, a: Tensor, b: Tensor, *more: Any) -> str:
    # Coordinate by coordinate: differences that lie (B,M,N,D) in memory take many times as long.
    squares = []
    for i in range(a.shape[-1]):
        at = g.whole(i), g.whole(i + 1), g.whole(2)
        other = g.op("Transpose", g.op("Slice", g.name(b), *at), perm=[0, 2, 1])
        off = g.op("Sub", g.op("Slice", g.name(a), *at), other)
        squares.append(g.op("Mul", off, off))
    return g.op("Sqrt", g.op("Sum", *squares))
