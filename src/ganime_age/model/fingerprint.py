"""A short name for weights, computed from the numbers themselves and from what else decides a network's results.

The names of the tensors are hashed too. They are those of format 2, so that weights keep their fingerprint when they
are converted: results files and edited photos that name it go on naming the same numbers. Most keywords of a network
show in its tensors' shapes. One with others, such as the share of its drawing that is laid, has a property `settings`
(keyword -> value now); those that differ from the constructor's default are hashed as JSON with sorted keys.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary
from zlib import crc32

import torch
from torch import Tensor, nn

from . import format2
from .methods import METHODS, PROTOTYPES

_KNOWN: WeakKeyDictionary[nn.Module, dict[bool, tuple[Any, str]]] = WeakKeyDictionary()
"""Network -> with its prototypes or without -> what tensors and settings were recognised by, and their fingerprint."""


def fingerprint(network: nn.Module) -> str:
    """16 hexadecimal digits that name a network's weights: SHA-256 over every tensor's name, shape and numbers, and
    over the `settings` of its modules.

    Weights are hashed once a process: the digits are kept for as long as tensors and settings stay as they are.
    """
    parts = getattr(network, "parts", None)  # only a whole model has them
    state = network.state_dict()
    if parts is not None:
        state = format2.under_former_names(state, parts)
    return _kept(network, state, settings(network), False)


def part_fingerprint(model: Any, part: str) -> str:
    """Fingerprint of what decides a part's figures: its network, the model's prototypes where it draws on them, and the
    model's own settings (sizes of faces).

    model: a GanimeAge, or what holds its networks under the same names.
    """
    network: nn.Module = getattr(model, part)
    prototypes = getattr(model, PROTOTYPES, None)
    chosen = settings(network) | _named("model", _own_settings(model))
    if prototypes is None or not any(row.reads for row in METHODS.values() if row.part == part):
        return _kept(network, network.state_dict(), chosen, False)
    measured = _named(PROTOTYPES, prototypes.state_dict())
    chosen |= _named(PROTOTYPES, settings(prototypes))
    return _kept(network, network.state_dict() | measured, chosen, True)


def settings(network: nn.Module) -> dict[str, Any]:
    """What decides a network's results and does not show in its tensors: the `settings` of all its modules that differ
    from the defaults of their constructors, each under the module's name and its own."""
    found: dict[str, Any] = {}
    for place, module in network.named_modules():
        own = _own_settings(module)
        found |= _named(place, own) if place else own
    return found


def _own_settings(module: Any) -> dict[str, Any]:
    """The settings of one module, as JSON holds them, but for the default ones."""
    given: Mapping[str, Any] = getattr(module, "settings", {})
    if not given:
        return {}
    defaults = inspect.signature(type(module).__init__).parameters
    plain = {key: json.loads(json.dumps(value)) for key, value in given.items()}
    return {
        key: value for key, value in plain.items() if value != json.loads(json.dumps(defaults[key].default))
    }


def _named(place: str, held: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{place}.{key}": value for key, value in held.items()}


def digest(state: Mapping[str, Tensor], chosen: Mapping[str, Any] | None = None) -> str:
    """The fingerprint of tensors and settings under the names given."""
    found = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        values = tensor.detach().cpu()
        found.update(f"{key}{tuple(values.shape)}".encode())
        found.update((values.float() if values.is_floating_point() else values).contiguous().numpy().data)
    if chosen:
        found.update(json.dumps(chosen, sort_keys=True).encode())
    return found.hexdigest()[:16]


def _kept(network: nn.Module, state: Mapping[str, Tensor], chosen: Mapping[str, Any], joined: bool) -> str:
    marks = {name: _mark(tensor) for name, tensor in state.items()}, chosen
    known = _KNOWN.setdefault(network, {})
    if joined not in known or known[joined][0] != marks:
        known[joined] = marks, digest(state, chosen)
    return known[joined][1]


def _mark(tensor: Tensor) -> tuple[Any, ...]:
    """What differs once a tensor was changed, in whatever way: where it lies, and the CRC-32 of its bits."""
    bits = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    place = tensor.device, tensor.data_ptr()
    return tuple(tensor.shape), tensor.dtype, *place, crc32(bits.numpy().data)
