"""Where a measurement computes: faces and findings lie on the CPU, networks wherever the caller has put them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")
CPU = torch.device("cpu")


def device_of(network: object) -> torch.device:
    """Where a network's parameters are; the CPU for what has none."""
    parameters = getattr(network, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return CPU if first is None else first.device


def beside(network: object, call: Callable[P, T]) -> Callable[P, T]:
    """`call` with its tensors, positional arguments, brought to where the network is and its results, a tensor or a
    named tuple of them, to the CPU."""
    device = device_of(network)

    def brought(*given: P.args, **named: P.kwargs) -> T:
        moved: Any = [moved_to(device, value) for value in given]
        result: T = moved_to(CPU, call(*moved, **named))
        return result

    return call if device == CPU else brought


def moved_to(device: torch.device, value: Any) -> Any:
    """A tensor, or a named tuple of them, on a device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved_to(device, part) for part in value))
    return value
