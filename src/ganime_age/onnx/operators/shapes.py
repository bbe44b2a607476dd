"""What only moves numbers: other shapes, other orders, parts, and parts put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .registry import operator

if TYPE_CHECKING:
    from ..recorder import Recorder


@operator("view", "_unsafe_view", "reshape", "_reshape_alias")
def _view(g: Recorder, out: Tensor, x: Tensor, *size: Any) -> str:
    return g.op("Reshape", g.name(x), g.whole(*out.shape))


@operator("expand")
def _expand(g: Recorder, out: Tensor, x: Tensor, *size: Any, **more: Any) -> str:
    return g.name(x) if out.shape == x.shape else g.op("Expand", g.name(x), g.whole(*out.shape))


@operator("unsqueeze", "unsqueeze_")
def _unsqueeze(g: Recorder, out: Tensor, x: Tensor, dim: int) -> str:
    return g.op("Unsqueeze", g.name(x), g.whole(dim % out.ndim))


@operator("squeeze", "squeeze_")
def _squeeze(g: Recorder, out: Tensor, x: Tensor, *dim: Any) -> str:
    return g.op("Reshape", g.name(x), g.whole(*out.shape))


@operator("permute")
def _permute(g: Recorder, out: Tensor, x: Tensor, dims: Sequence[int]) -> str:
    return g.op("Transpose", g.name(x), perm=[axis % x.ndim for axis in dims])


@operator("transpose")
def _transpose(g: Recorder, out: Tensor, x: Tensor, first: int, second: int) -> str:
    order = list(range(x.ndim))
    order[first], order[second] = order[second], order[first]
    return g.op("Transpose", g.name(x), perm=order)


@operator("t")
def _t(g: Recorder, out: Tensor, x: Tensor) -> str:
    return g.op("Transpose", g.name(x), perm=list(range(x.ndim))[::-1])


@operator("slice")
def _slice(
    g: Recorder, out: Tensor, x: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> str:
    if out.shape == x.shape:
        return g.name(x)
    size = x.shape[dim]
    low, high = 0 if start is None else start, size if end is None else end
    return g.op(
        "Slice", g.name(x), g.whole(low), g.whole(min(high, size)), g.whole(dim % x.ndim), g.whole(step)
    )


@operator("select")
def _select(g: Recorder, out: Tensor, x: Tensor, dim: int, index: int) -> str:
    return g.op(
        "Gather", g.name(x), g.constant(np.asarray(index % x.shape[dim], np.int64)), axis=dim % x.ndim
    )


@operator("flip")
def _flip(g: Recorder, out: Tensor, x: Tensor, dims: Sequence[int]) -> str:
    least, count = -(2**62), len(dims)
    steps = (g.whole(*[value] * count) for value in (-1, least))
    return g.op(
        "Slice", g.name(x), *steps, g.whole(*(axis % x.ndim for axis in dims)), g.whole(*[-1] * count)
    )


@operator("cat")
def _cat(g: Recorder, out: Tensor, parts: Sequence[Tensor], dim: int = 0) -> str:
    return g.op("Concat", *(g.name(part) for part in parts), axis=dim % out.ndim)


@operator("stack")
def _stack(g: Recorder, out: Tensor, parts: Sequence[Tensor], dim: int = 0) -> str:
    at = g.whole(dim % out.ndim)
    return g.op("Concat", *(g.op("Unsqueeze", g.name(part), at) for part in parts), axis=dim % out.ndim)


@operator("split", "split_with_sizes", "chunk")
def _split(g: Recorder, out: Sequence[Tensor], x: Tensor, size: Any, dim: int = 0) -> list[str]:
    sizes = g.whole(*(part.shape[dim] for part in out))
    names = g.op("Split", g.name(x), sizes, count=len(out), axis=dim % x.ndim)
    return [names] if len(out) == 1 else names


@operator("unbind")
def _unbind(g: Recorder, out: Sequence[Tensor], x: Tensor, dim: int = 0) -> list[str]:
    return [_select(g, part, x, dim, i) for i, part in enumerate(out)]


@operator("repeat")
def _repeat(g: Recorder, out: Tensor, x: Tensor, times: Sequence[int]) -> str:
    name, more = g.name(x), len(times) - x.ndim
    if more:
        name = g.op("Unsqueeze", name, g.whole(*range(more)))
    return g.op("Tile", name, g.whole(*times))


@operator("index")
def _index(g: Recorder, out: Tensor, x: Tensor, at: Sequence[Tensor | None]) -> str:
    ((axis, where),) = ((i, one) for i, one in enumerate(at) if one is not None)
    return g.op("Gather", g.name(x), g.name(where), axis=axis)


@operator("index_select")
def _index_select(g: Recorder, out: Tensor, x: Tensor, dim: int, at: Tensor) -> str:
    return g.op("Gather", g.name(x), g.name(at), axis=dim % x.ndim)


@operator("index_put_", "index_put")
def _index_put(g: Recorder, out: Tensor, x: Tensor, at: Sequence[Tensor | None], values: Tensor) -> str:
    ((axis, where),) = ((i, one) for i, one in enumerate(at) if one is not None)
    last = [i for i in range(x.ndim) if i != axis]
    order = [axis, *last]
    new_shape = (*out.shape[:axis], *where.shape, *out.shape[axis + 1 :])
    new = g.op("Expand", g.name(values), g.whole(*new_shape))
    data, new = (g.op("Transpose", one, perm=order) for one in (g.name(x), new))
    put = g.op("ScatterND", data, g.op("Unsqueeze", g.name(where), g.whole(1)), new)
    return g.op("Transpose", put, perm=[order.index(i) for i in range(x.ndim)])


@operator("constant_pad_nd")
def _pad(g: Recorder, out: Tensor, x: Tensor, sizes: Sequence[int], value: float = 0.0) -> str:
    return _padded(g, x, sizes, "constant", value)


@operator("replication_pad2d")
def _pad_edge(g: Recorder, out: Tensor, x: Tensor, sizes: Sequence[int]) -> str:
    return _padded(g, x, sizes, "edge", 0.0)


def _padded(g: Recorder, x: Tensor, sizes: Sequence[int], mode: str, value: float) -> str:
    before, after = [0] * x.ndim, [0] * x.ndim
    for i in range(len(sizes) // 2):
        before[-1 - i], after[-1 - i] = sizes[2 * i : 2 * i + 2]
    return g.op("Pad", g.name(x), g.whole(*before, *after), g.name(value, x), mode=mode)


@operator("pixel_shuffle")
def _pixel_shuffle(g: Recorder, out: Tensor, x: Tensor, factor: int) -> str:
    return g.op("DepthToSpace", g.name(x), blocksize=factor, mode="CRD")


@operator("pixel_unshuffle")
def _pixel_unshuffle(g: Recorder, out: Tensor, x: Tensor, factor: int) -> str:
    # SpaceToDepth puts the places within a cell before the channels; torch puts them after.
    order = np.arange(out.shape[1]).reshape(factor * factor, x.shape[1]).T.ravel()
    return g.op("Gather", g.op("SpaceToDepth", g.name(x), blocksize=factor), g.constant(order), axis=1)
