"""A short name for weights, computed from the numbers themselves.

The names of the tensors are hashed too. They are those of format 2, so that weights keep their fingerprint when they
are converted: results files and edited photos that name it go on naming the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import torch
from torch import Tensor, nn

from . import format2
from .methods import METHODS, PROTOTYPES

_KNOWN: WeakKeyDictionary[nn.Module, dict[bool, tuple[Any, str]]] = WeakKeyDictionary()
"""Network -> with its prototypes or without -> what its tensors were recognised by, and their fingerprint."""


def fingerprint(network: nn.Module) -> str:
    """16 hexadecimal digits that name a network's weights: SHA-256 over every tensor's name, shape and numbers.

    Weights are hashed once a process: the digits are kept for as long as the tensors stay as they are.
    """
    parts = getattr(network, "parts", None)  # only a whole model has them
    state = network.state_dict()
    return _kept(network, state if parts is None else format2.under_former_names(state, parts), False)


def part_fingerprint(model: Any, part: str) -> str:
    """Fingerprint of what decides a part's figures: its network, and the model's prototypes where it draws on them.

    model: a GanimeAge, or what holds its networks under the same names.
    """
    network: nn.Module = getattr(model, part)
    prototypes = getattr(model, PROTOTYPES, None)
    if prototypes is None or not any(row.reads for row in METHODS.values() if row.part == part):
        return fingerprint(network)
    measured = {f"{PROTOTYPES}.{key}": value for key, value in prototypes.state_dict().items()}
    return _kept(network, network.state_dict() | measured, True)


def digest(state: Mapping[str, Tensor]) -> str:
    """The fingerprint of tensors under the names given."""
    found = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        values = tensor.detach().cpu()
        found.update(f"{key}{tuple(values.shape)}".encode())
        found.update((values.float() if values.is_floating_point() else values).contiguous().numpy().data)
    return found.hexdigest()[:16]


def _kept(network: nn.Module, state: Mapping[str, Tensor], joined: bool) -> str:
    marks = {name: _mark(tensor) for name, tensor in state.items()}
    known = _KNOWN.setdefault(network, {})
    if joined not in known or known[joined][0] != marks:
        known[joined] = marks, digest(state)
    return known[joined][1]


def _mark(tensor: Tensor) -> tuple[Any, ...]:
    """What differs once a tensor was changed, in whatever way: where it lies, and the CRC-32 of its bits."""
    bits = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    place = tensor.device, tensor.data_ptr()
    return tuple(tensor.shape), tensor.dtype, *place, crc32(bits.numpy().data)
