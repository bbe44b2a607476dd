"""Large weights in eight bits: whole numbers beside one scale for each output channel, half the bytes of float16.

A weight is its number, -127..127, times the scale of its channel, max |w| / 127. The scale has 16 significant bits, so
that 127 times it is exact in float32: weights that were stored once come out the same however often they are stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

SMALLEST = 4096
"""Numbers that a tensor must have to be stored so."""
SCALES = {"F32", "F16"}
"""What scales may be in a file; they are written in the first."""

_LARGEST = 127
_SIXTEEN_BITS = -(1 << 8)  # of the 24 that a float32 has


def scale_name(name: str) -> str:
    """The name of a tensor's scales in the file, beside its own."""
    return f"{name}.scale"


def is_eight_bit(key: str, tensor: Tensor, parts: Collection[str]) -> bool:
    """Whether a model's tensor is stored in eight bits where these parts are: the large ones with channels are."""
    large = tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= SMALLEST
    return large and key.partition(".")[0] in parts


def quantised(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Finite weights (C,...) -> numbers, int8 of the same shape, and scales (C,), float32.

    Channels of zeros, or of less than float32 holds in full, have the scale 0."""
    weights = weights.float()
    scale = weights.flatten(1).abs().amax(1) / _LARGEST
    scale = scale.view(torch.int32).bitwise_and(_SIXTEEN_BITS).view(torch.float32)
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, 0.0, scale)
    steps = torch.where(scale > 0, scale, math.inf)
    return torch.round(weights / _over(steps, weights)).to(torch.int8), scale


def restored(numbers: Tensor, scale: Tensor) -> Tensor:
    """The weights (C,...), float32, of numbers (C,...) and scales (C,)."""
    return numbers.float() * _over(scale.float(), numbers)


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, those that are stored in eight bits as the float32 weights that they are."""
    scaled = {name for name in state if scale_name(name) in state}
    return {
        name: restored(tensor, state[scale_name(name)]) if name in scaled else tensor
        for name, tensor in state.items()
        if name.removesuffix(".scale") == name or name.removesuffix(".scale") not in scaled
    }


def stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file holds them in eight bits: the large ones as numbers beside their scales."""
    out = dict(state)
    for name, tensor in state.items():
        if is_eight_bit(name, tensor, (name.partition(".")[0],)):
            out[name], out[scale_name(name)] = quantised(tensor)
    return out


def _over(scale: Tensor, weights: Tensor) -> Tensor:
    """Scales (C,) in the shape that multiplies weights (C,...)."""
    return scale.reshape(-1, *[1] * (weights.ndim - 1))
