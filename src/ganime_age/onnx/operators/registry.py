"""Which of torch's operators are known, and what all that write them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnx import TensorProto

TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
    torch.uint8: TensorProto.UINT8,
}
"""The types of tensors in a graph, as ONNX calls them."""

Emit = Callable[..., Any]
OPERATORS: dict[str, Emit] = {}
"""Name of an operator of torch -> what writes it: (recorder, its result, *its arguments) -> name, or names."""

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


def operator(*names: str) -> Callable[[Emit], Emit]:
    """What writes operators of torch with these names."""

    def known(emit: Emit) -> Emit:
        OPERATORS.update(dict.fromkeys(names, emit))
        return emit

    return known
