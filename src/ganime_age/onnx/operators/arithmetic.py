"""Arithmetic number by number, and what it sums up along axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from onnx import TensorProto
from torch import Tensor

from .registry import OPERATORS, TYPES, Emit, operator

if TYPE_CHECKING:
    from ..recorder import Recorder


UNARY = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "sigmoid": "Sigmoid", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos",
    "neg": "Neg", "abs": "Abs", "relu": "Relu", "isnan": "IsNaN", "bitwise_not": "Not", "logical_not": "Not",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "reciprocal": "Reciprocal", "atan": "Atan", "sign": "Sign",
}  # fmt: skip
BINARY = {
    "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "eq": "Equal", "gt": "Greater", "lt": "Less",
    "ge": "GreaterOrEqual", "le": "LessOrEqual", "bitwise_and": "And", "logical_and": "And", "__and__": "And",
    "bitwise_or": "Or", "logical_or": "Or", "__or__": "Or", "mul_": "Mul", "div_": "Div", "__iand__": "And",
    "bitwise_and_": "And",
}  # fmt: skip
REDUCED = {"sum": "ReduceSum", "mean": "ReduceMean", "amax": "ReduceMax", "amin": "ReduceMin"}


def _pair(g: Recorder, a: Any, b: Any) -> tuple[str, str]:
    """Names of two operands of one type."""
    like = a if isinstance(a, Tensor) else b
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype != b.dtype:
        wide = torch.result_type(a, b)
        return _cast(g, a, wide), _cast(g, b, wide)
    if (
        isinstance(like, Tensor)
        and not like.is_floating_point()
        and any(isinstance(v, float) for v in (a, b))
    ):
        return tuple(_cast(g, v, torch.float32) if v is like else g.name(v) for v in (a, b))  # type: ignore[return-value]
    return g.name(a, like), g.name(b, like)


def _cast(g: Recorder, x: Tensor, dtype: torch.dtype) -> str:
    return g.name(x) if x.dtype == dtype else g.op("Cast", g.name(x), to=TYPES[dtype])


def _unary(kind: str) -> Emit:
    return lambda g, out, x: g.op(kind, g.name(x))


def _binary(kind: str) -> Emit:
    def emit(g: Recorder, out: Tensor, a: Any, b: Any, **more: Any) -> str:
        if (
            kind == "Mul"
            and isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and a.dtype == b.dtype == torch.bool
        ):
            return g.op("And", g.name(a), g.name(b))
        return g.op(kind, *_pair(g, a, b))

    return emit


OPERATORS.update({name: _unary(kind) for name, kind in UNARY.items()})
OPERATORS.update({name: _binary(kind) for name, kind in BINARY.items()})


@operator("detach", "detach_", "alias", "clone", "lift_fresh_copy", "lift_fresh", "contiguous", "lift")
def _same(g: Recorder, out: Tensor, x: Tensor) -> str:
    return g.name(x)


@operator("_to_copy", "to")
def _to(g: Recorder, out: Tensor, x: Tensor, dtype: torch.dtype | None = None, **more: Any) -> str:
    return _cast(g, x, out.dtype)


@operator("add", "add_")
def _add(g: Recorder, out: Tensor, a: Any, b: Any, alpha: float = 1) -> str:
    return _sum(g, "Add", a, b, alpha)


@operator("sub", "sub_")
def _sub(g: Recorder, out: Tensor, a: Any, b: Any, alpha: float = 1) -> str:
    return _sum(g, "Sub", a, b, alpha)


@operator("rsub")
def _rsub(g: Recorder, out: Tensor, a: Any, b: Any, alpha: float = 1) -> str:
    return _sum(g, "Sub", b, a, alpha)


def _sum(g: Recorder, kind: str, a: Any, b: Any, alpha: float) -> str:
    first, second = _pair(g, a, b)
    if alpha != 1:
        second = g.op("Mul", second, g.name(alpha, a if isinstance(a, Tensor) else b))
    return g.op(kind, first, second)


@operator("ne")
def _ne(g: Recorder, out: Tensor, a: Any, b: Any) -> str:
    return g.op("Not", g.op("Equal", *_pair(g, a, b)))


@operator("floor_divide")
def _floor_divide(g: Recorder, out: Tensor, a: Tensor, b: Any) -> str:
    assert not a.is_floating_point()  # of whole numbers from 0 on
    return g.op("Div", *_pair(g, a, b))


@operator("pow")
def _pow(g: Recorder, out: Tensor, a: Any, b: Any) -> str:
    if b == 2:
        return g.op("Mul", g.name(a), g.name(a))
    return g.op("Pow", *_pair(g, a, b))


@operator("rsqrt")
def _rsqrt(g: Recorder, out: Tensor, x: Tensor) -> str:
    return g.op("Reciprocal", g.op("Sqrt", g.name(x)))


@operator("log1p")
def _log1p(g: Recorder, out: Tensor, x: Tensor) -> str:
    return g.op("Log", g.op("Add", g.name(x), g.name(1.0)))


@operator("silu", "silu_")
def _silu(g: Recorder, out: Tensor, x: Tensor) -> str:
    return g.op("Mul", g.name(x), g.op("Sigmoid", g.name(x)))


@operator("leaky_relu", "leaky_relu_")
def _leaky(g: Recorder, out: Tensor, x: Tensor, slope: float = 0.01) -> str:
    return g.op("LeakyRelu", g.name(x), alpha=slope)


@operator("logit")
def _logit(g: Recorder, out: Tensor, x: Tensor, eps: float | None = None) -> str:
    return g.op("Log", g.op("Div", g.name(x), g.op("Sub", g.name(1.0), g.name(x))))


@operator("nan_to_num")
def _nan_to_num(g: Recorder, out: Tensor, x: Tensor, nan: float = 0.0, *more: Any) -> str:
    return g.op("Where", g.op("IsNaN", g.name(x)), g.name(nan), g.name(x))


@operator("atan2")
def _atan2(g: Recorder, out: Tensor, y: Tensor, x: Tensor) -> str:
    # atan(y / x), and half a turn more on the left, away from zero.
    down, along = g.name(y), g.name(x)
    turn = g.op(
        "Mul", g.name(math.pi), g.op("Where", g.op("Less", down, g.name(0.0)), g.name(-1.0), g.name(1.0))
    )
    left = g.op("Where", g.op("Less", along, g.name(0.0)), turn, g.name(0.0))
    return g.op("Add", g.op("Atan", g.op("Div", down, along)), left)


@operator("clamp", "clamp_")
def _clamp(g: Recorder, out: Tensor, x: Tensor, min: Any = None, max: Any = None) -> str:
    name = g.name(x)
    if all(not isinstance(bound, Tensor) for bound in (min, max)):
        low, high = ("" if bound is None else g.name(bound, x) for bound in (min, max))
        return g.op("Clip", name, low, high) if high else g.op("Clip", name, low)
    name = name if min is None else g.op("Max", name, g.name(min, x))
    return name if max is None else g.op("Min", name, g.name(max, x))


@operator("clamp_min", "clamp_min_")
def _clamp_min(g: Recorder, out: Tensor, x: Tensor, low: Any) -> str:
    return _clamp(g, out, x, low)


@operator("clamp_max", "clamp_max_")
def _clamp_max(g: Recorder, out: Tensor, x: Tensor, high: Any) -> str:
    return _clamp(g, out, x, None, high)


@operator("where")
def _where(g: Recorder, out: Tensor, asked: Tensor, yes: Any, no: Any) -> str:
    return g.op("Where", g.name(asked), *_pair(g, yes, no))


@operator("addcmul")
def _addcmul(g: Recorder, out: Tensor, x: Tensor, a: Tensor, b: Tensor, value: float = 1) -> str:
    product = g.op("Mul", g.name(a), g.name(b))
    product = product if value == 1 else g.op("Mul", product, g.name(float(value)))
    return g.op("Add", g.name(x), product)


@operator("lerp")
def _lerp(g: Recorder, out: Tensor, a: Tensor, b: Tensor, share: Any) -> str:
    way = g.op("Mul", g.op("Sub", g.name(b), g.name(a)), g.name(share))
    return g.op("Add", g.name(a), way)


def _reduced(kind: str) -> Emit:
    def emit(g: Recorder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False, **more: Any) -> str:
        axes = range(x.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
        name = (
            _cast(g, x, torch.float32)
            if x.dtype == torch.bool and kind != "ReduceSum"
            else _cast(g, x, out.dtype)
        )
        return g.op(kind, name, g.whole(*(axis % x.ndim for axis in axes)), keepdims=int(keepdim))

    return emit


OPERATORS.update({name: _reduced(kind) for name, kind in REDUCED.items()})


@operator("any")
def _any(g: Recorder, out: Tensor, x: Tensor, dim: Any = None, keepdim: bool = False) -> str:
    most = _reduced("ReduceMax")(g, out, x, dim, keepdim)
    return g.op("Cast", most, to=TensorProto.BOOL)


@operator("linalg_vector_norm", "norm")
def _norm(
    g: Recorder, out: Tensor, x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False
) -> str:
    assert order == 2
    return _reduced("ReduceL2")(g, out, x, dim, keepdim)


@operator("_softmax")
def _softmax(g: Recorder, out: Tensor, x: Tensor, dim: int, half: bool) -> str:
    return g.op("Softmax", g.name(x), axis=dim % x.ndim)


@operator("sort")
def _sort(g: Recorder, out: Any, x: Tensor, dim: int = -1, descending: bool = False) -> list[str]:
    return g.op(
        "TopK",
        g.name(x),
        g.whole(x.shape[dim]),
        count=2,
        axis=dim % x.ndim,
        largest=int(descending),
        sorted=1,
    )
