"""A network's arithmetic as an ONNX graph: one run on tensors, and every operation that depends on an input is written
down.

The run is eager, so every size and every Python number is what it was in that run, and whatever does not depend on an
input becomes a constant. `networks.layers.choose` becomes an If. (torch.export takes half a minute for one size of one
edit and fails on bounds that are tensors; TorchScript's exporter knows no antialiased resize. This takes a second.)

    graph = Recorder()
    with graph.recording({"face": face}):
        edited = network(face)
    graph.model({"edited": edited})        # an onnx.ModelProto
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..networks.layers import Window, one_graph

OPSET, IR_VERSION = 20, 9
"""Read by onnxruntime from 1.17 on, and by onnxruntime-web."""

LARGE = 16384
"""Numbers in a constant beyond which what makes it is written instead, where that is known."""
TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
    torch.uint8: TensorProto.UINT8,
}

Emit = Callable[..., Any]
OPERATORS: dict[str, Emit] = {}
"""Name of an operator of torch -> what writes it: (recorder, its result, *its arguments) -> name, or names."""


class Recorder(TorchDispatchMode):
    """Nodes and constants of one graph. Constants are named after what they hold, so that graphs can share them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[NodeProto] = []
        self._top = self.nodes
        self._made: dict[int, tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = {}
        self.constants: dict[str, np.ndarray] = {}
        self._inputs: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}
        self._kept: list[Tensor] = []  # an id belongs to one tensor only as long as that lives
        self._known: dict[int, str] = {}
        self._count = 0
        self._watching = True

    @contextmanager
    def recording(self, inputs: Mapping[str, Tensor]) -> Iterator[None]:
        """A block in which what depends on the inputs is written down."""
        for name, tensor in inputs.items():
            self._inputs[name] = tensor
            self._name(tensor, name)
        with torch.no_grad(), one_graph(self), self:
            yield

    def model(
        self, outputs: Mapping[str, Tensor], open_sizes: Mapping[str, Sequence[str | int]] = {}
    ) -> ModelProto:  # noqa: B006
        """The graph of these results. open_sizes: names of the axes of inputs and outputs that may have any size."""
        for name, tensor in outputs.items():
            self.nodes.append(helper.make_node("Identity", [self.name(tensor)], [name]))
        first, last = (
            [_described(n, t, open_sizes.get(n)) for n, t in tensors.items()]
            for tensors in (self._inputs, outputs)
        )
        graph = helper.make_graph(self._needed([*outputs]), "ganime_age", first, last)
        used = {name for node in _flat(graph) for name in node.input}
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="ganime_age",
        )

    def _needed(self, outputs: list[str]) -> list[NodeProto]:
        """The nodes that lead to these outputs."""
        wanted, kept = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted.update(name for one in _with_inner([node]) for name in one.input)
        return kept[::-1]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, given = func.overloadpacket.__name__, [*args, *kwargs.values()]
        kwargs = {key: value for key, value in kwargs.items() if key not in IGNORED}
        if not self._watching or name in CONSTANT:
            return result
        if not any(self._depends(value) for value in given):
            if isinstance(result, Tensor) and result.numel() > LARGE and name in OPERATORS:
                self._made[id(result)] = name, result, args, kwargs
                self._kept.append(result)
            return result
        if name not in OPERATORS:
            raise NotImplementedError(f"no ONNX operator is known for {func}")
        written = OPERATORS[name](self, result, *args, **kwargs)
        if isinstance(result, (tuple, list)):
            for tensor, one in zip(result, written, strict=False):
                self._name(tensor, one)
        else:
            self._name(result, written)
        return result

    def branch(self, asked: Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
        """`yes()` where a condition (one boolean) holds, else `no()`: an If. Both run while it is recorded."""
        graphs, results, outer = [], [], self.nodes
        for way in (yes, no):
            self.nodes = []
            results.append(way())
            end = self._fresh()
            self.nodes.append(helper.make_node("Identity", [self.name(results[-1])], [end]))
            graphs.append(
                helper.make_graph(self._needed([end]), end, [], [_described(end, results[-1], None)])
            )
        self.nodes = outer
        with self._unwatched():
            out = results[0 if asked.item() else 1].clone()
        names = {"then_branch": graphs[0], "else_branch": graphs[1]}
        self._name(out, self.op("If", self.name(asked), **names))
        return out

    def cut(self, x: Tensor, dim: int, span: Tensor) -> Tensor:
        """`layers.cut`, with a span that is known only as the graph runs."""
        first, end = self._values(span)
        with self._unwatched():
            out = x.narrow(dim, first, end - first)
        low, high = (self.op("Slice", self.name(span), self.whole(i), self.whole(i + 1)) for i in (0, 1))
        self._name(out, self.op("Slice", self.name(x), low, high, self.whole(dim % x.ndim)))
        return out

    def put(self, x: Tensor, part: Tensor, window: Window) -> Tensor:
        """`Window.put`, likewise: what the part adds, widened to the picture."""
        (top, bottom), (left, right) = self._values(window.rows), self._values(window.columns)
        name, ends = self.name(x), []
        for span, size in zip(window, x.shape[-2:], strict=True):
            low, high = (self.op("Slice", self.name(span), self.whole(i), self.whole(i + 1)) for i in (0, 1))
            ends.append((low, high, self.op("Sub", self.whole(size), high)))
        (y0, y1, below), (x0, x1, beside) = ends
        cut = self.op(
            "Slice",
            name,
            *(self.op("Concat", *pair, axis=0) for pair in ((y0, x0), (y1, x1))),
            self.whole(2, 3),
        )
        none = self.whole(0, 0)
        pads = self.op("Concat", none, y0, x0, none, below, beside, axis=0)
        added = self.op("Pad", self.op("Sub", self.name(part), cut), pads)
        with self._unwatched():
            out = x.clone()
            out[..., top:bottom, left:right] = part
        self._name(out, self.op("Add", name, added))
        return out

    def _values(self, x: Tensor) -> list[Any]:
        """The numbers of a tensor in this run, which the graph does not depend on."""
        with self._unwatched():
            return x.tolist()

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        self._watching = False
        try:
            yield
        finally:
            self._watching = True

    def _depends(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return id(value) in self._names
        return isinstance(value, (tuple, list)) and any(self._depends(one) for one in value)

    def _name(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._kept.append(tensor)

    def _fresh(self) -> str:
        self._count += 1
        return f"t{self._count}"

    def name(self, value: Any, like: Tensor | None = None) -> str:
        """The name of a tensor or of a number; what no input leads to becomes a constant. like: gives a number its
        type."""
        if isinstance(value, Tensor):
            if id(value) in self._names:
                return self._names[id(value)]
            if id(value) in self._made:
                return self._remade(value)
            if id(value) not in self._known:
                self._known[id(value)] = self.constant(value.detach().contiguous().numpy())
                self._kept.append(value)
            return self._known[id(value)]
        whole = like is not None and not like.is_floating_point()
        return self.constant(np.asarray(value, np.int64 if whole else np.float32))

    def _remade(self, value: Tensor) -> str:
        """The name of a large tensor that is the same in every run: what makes it of smaller ones is written instead of
        its numbers. onnxruntime works it out once, as it loads the graph."""
        name, result, args, kwargs = self._made.pop(id(value))
        within, self.nodes = self.nodes, self._top
        self._name(result, OPERATORS[name](self, result, *args, **kwargs))
        self.nodes = within
        return self._names[id(value)]

    def constant(self, value: np.ndarray) -> str:
        """The name of a constant."""
        if value.size > LARGE and (value == value.flat[0]).all():
            within, self.nodes = self.nodes, self._top
            one = numpy_helper.from_array(value.ravel()[:1])
            name: str = self.op("ConstantOfShape", self.whole(*value.shape), value=one)
            self.nodes = within
            return name
        value = np.ascontiguousarray(value).reshape(value.shape)
        said = hashlib.sha1(value.tobytes() + repr((value.shape, value.dtype.str)).encode()).hexdigest()[:16]
        self.constants.setdefault(f"c{said}", value)
        return f"c{said}"

    def whole(self, *values: int) -> str:
        """A constant (N,) of int64."""
        return self.constant(np.asarray(values, np.int64))

    def op(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """Write one node; the name of its output, or a list of `count` names."""
        names = [self._fresh() for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if count == 1 else names


def _described(name: str, tensor: Tensor, axes: Sequence[str | int] | None) -> Any:
    return helper.make_tensor_value_info(name, TYPES[tensor.dtype], list(axes or tensor.shape))


def _with_inner(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """Nodes and those of their branches."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _flat(attribute.g)


def _flat(graph: GraphProto) -> Iterator[NodeProto]:
    yield from _with_inner(graph.node)
    for end in graph.output:  # a graph whose output is an outer value
        yield helper.make_node("Identity", [end.name], [])


# ---- operators -------------------------------------------------------------------------------------------------------

CONSTANT = {
    "zeros_like",
    "ones_like",
    "new_ones",
    "new_zeros",
    "full_like",
    "new_full",
    "new_empty",
    "empty_like",
}
"""Operators whose result does not depend on the values that they are given."""
IGNORED = {"memory_format", "layout", "device", "pin_memory", "non_blocking", "requires_grad"}
"""Keywords that are of no meaning in a graph."""

UNARY = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "sigmoid": "Sigmoid", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos",
    "neg": "Neg", "abs": "Abs", "relu": "Relu", "isnan": "IsNaN", "bitwise_not": "Not", "logical_not": "Not",
    "floor": "Floor", "round": "Round", "reciprocal": "Reciprocal", "atan": "Atan", "sign": "Sign",
}  # fmt: skip
BINARY = {
    "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "eq": "Equal", "gt": "Greater", "lt": "Less",
    "ge": "GreaterOrEqual", "le": "LessOrEqual", "bitwise_and": "And", "logical_and": "And", "__and__": "And",
    "bitwise_or": "Or", "logical_or": "Or", "__or__": "Or", "mul_": "Mul", "div_": "Div", "__iand__": "And",
    "bitwise_and_": "And",
}  # fmt: skip


def operator(*names: str) -> Callable[[Emit], Emit]:
    """What writes operators of torch with these names."""

    def known(emit: Emit) -> Emit:
        OPERATORS.update(dict.fromkeys(names, emit))
        return emit

    return known


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


for _torch_name, _kind in {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "amax": "ReduceMax",
    "amin": "ReduceMin",
}.items():
    OPERATORS[_torch_name] = _reduced(_kind)


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


# ---- shapes ----


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
    return g.op(
        "Tile", g.op("Reshape", g.name(x), g.whole(*[1] * (len(times) - x.ndim), *x.shape)), g.whole(*times)
    )


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


# ---- layers ----


@operator("convolution")
def _convolution(
    g: Recorder, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int], transposed: bool, more: Sequence[int], groups: int,
) -> str:  # fmt: skip
    assert not transposed
    inputs = [g.name(x), g.name(weight), *([] if bias is None else [g.name(bias)])]
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


@operator("upsample_nearest2d")
def _nearest(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    return g.op(
        "Resize", g.name(x), "", "", g.whole(*out.shape), mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


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
    return [g.op("MaxPool", g.name(x), kernel_shape=sides, strides=steps, pads=[*pads, *pads])]


@operator("_adaptive_avg_pool2d")
def _adaptive(g: Recorder, out: Tensor, x: Tensor, size: Any) -> str:
    steps = [have // want for have, want in zip(x.shape[-2:], out.shape[-2:], strict=True)]
    assert all(have % want == 0 for have, want in zip(x.shape[-2:], out.shape[-2:], strict=True))
    return g.op("AveragePool", g.name(x), kernel_shape=steps, strides=steps)


def _two(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))


@operator("upsample_bilinear2d", "_upsample_bilinear2d_aa")
def _bilinear(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    # By factors rather than sizes where these are whole: what a window cuts out has other sizes in every run.
    factors = [new / old for new, old in zip(out.shape, x.shape, strict=True)]
    sizes = (
        ["", g.constant(np.asarray(factors, np.float32))]
        if all(factor.is_integer() for factor in factors)
        else ["", "", g.whole(*out.shape)]
    )
    return g.op(
        "Resize", g.name(x), *sizes, mode="linear", coordinate_transformation_mode="half_pixel",
        antialias=int(out.shape[-1] < x.shape[-1]),
    )  # fmt: skip


@operator("upsample_bicubic2d")
def _bicubic(g: Recorder, out: Tensor, x: Tensor, *more: Any) -> str:
    # Every line is a linear map of its points: y = rows @ x @ columns^T.
    rows, columns = (
        torch.nn.functional.interpolate(
            torch.eye(n).view(n, 1, n, 1).expand(n, 1, n, 2), (m, 2), mode="bicubic", align_corners=False
        )[:, 0, :, 0]
        for n, m in zip(x.shape[-2:], out.shape[-2:], strict=True)
    )  # (n,m) each
    wide = g.op("MatMul", g.name(x), g.constant(columns.numpy()))
    return g.op("MatMul", g.constant(rows.T.contiguous().numpy()), wide)


@operator("grid_sampler_2d")
def _grid_sample(
    g: Recorder, out: Tensor, x: Tensor, grid: Tensor, mode: int, border: int, corners: bool
) -> str:
    return g.op(
        "GridSample", g.name(x), g.name(grid), mode=("linear", "nearest", "cubic")[mode],
        padding_mode=("zeros", "border", "reflection")[border], align_corners=int(corners),
    )  # fmt: skip


@operator("_cdist_forward", "_euclidean_dist")
def _cdist(g: Recorder, out: Tensor, a: Tensor, b: Tensor, *more: Any) -> str:
    first, second = g.op("Unsqueeze", g.name(a), g.whole(2)), g.op("Unsqueeze", g.name(b), g.whole(1))
    return g.op("ReduceL2", g.op("Sub", first, second), g.whole(3), keepdims=0)
