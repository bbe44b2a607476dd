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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..networks.layers import Window, one_graph
from .operators import CONSTANT, IGNORED, OPERATORS, TYPES

OPSET, IR_VERSION = 20, 9
"""Read by onnxruntime from 1.17 on, and by onnxruntime-web."""

LARGE = 16384
"""Numbers in a constant beyond which what makes it is written instead, where that is known."""


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
        self._written: dict[str, str] = {}  # what numbers hold -> the name of what makes them
        self._own: dict[str, str] | None = None  # in a branch: constant -> its name there
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
        graphs, results, outer = [], [], (self.nodes, self._own)
        for way in (yes, no):
            self.nodes, self._own = [], {}
            results.append(way())
            end = self._fresh()
            self.nodes.append(helper.make_node("Identity", [self.name(results[-1])], [end]))
            graphs.append(
                helper.make_graph(self._needed([end]), end, [], [_described(end, results[-1], None)])
            )
        self.nodes, self._own = outer
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
        its numbers, once for all tensors that hold the same. onnxruntime works it out once, as it loads the graph."""
        name, result, args, kwargs = self._made.pop(id(value))
        said = _digest(value.numpy())
        if said not in self._written:
            within, self.nodes = self.nodes, self._top
            self._written[said] = OPERATORS[name](self, result, *args, **kwargs)
            self.nodes = within
        self._name(result, self._written[said])
        return self._written[said]

    def weight(self, value: Tensor) -> str:
        """The name of a convolution's weight or bias, in a branch one of its own: onnxruntime takes its fastest kernels
        only for weights that belong to the convolution's graph, and works out what is made of constants as it loads."""
        name = self.name(value)
        if self._own is None or self._depends(value):
            return name
        if name not in self._own:
            self._own[name] = self.op("Reshape", name, self.whole(*value.shape))
        return self._own[name]

    def constant(self, value: np.ndarray) -> str:
        """The name of a constant."""
        if value.size > LARGE and (value == value.flat[0]).all():
            within, self.nodes = self.nodes, self._top
            one = numpy_helper.from_array(value.ravel()[:1])
            name: str = self.op("ConstantOfShape", self.whole(*value.shape), value=one)
            self.nodes = within
            return name
        value = np.ascontiguousarray(value).reshape(value.shape)
        name = f"c{_digest(value)}"
        self.constants.setdefault(name, value)
        return name

    def whole(self, *values: int) -> str:
        """A constant (N,) of int64."""
        return self.constant(np.asarray(values, np.int64))

    def op(self, kind: str, *inputs: str, count: int = 1, **attributes: Any) -> Any:
        """Write one node; the name of its output, or a list of `count` names."""
        names = [self._fresh() for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if count == 1 else names


def _digest(value: np.ndarray) -> str:
    """What tells numbers of a shape and a type from others."""
    return hashlib.sha1(value.tobytes() + repr((value.shape, value.dtype.str)).encode()).hexdigest()[:16]


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
