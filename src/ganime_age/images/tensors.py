"""Pictures as tensors and back: uint8 (H,W,3) in 0..255 <-> float32 (3,H,W) in [-1,1].

    x = p / 127.5 - 1,    p = round(127.5 (x + 1))

Both directions are exact for the 256 levels: a picture that becomes a tensor and a picture again keeps every byte.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

HALF_RANGE = 127.5
"""Half of the 255 steps of 8 bits: 0 becomes -1, 255 becomes 1."""


def to_unit(levels: Tensor) -> Tensor:
    """Levels 0..255, any shape and dtype -> float32 in [-1,1]."""
    return levels.float() / HALF_RANGE - 1


def to_levels(faces: Tensor) -> Tensor:
    """[-1,1], any shape and dtype -> float32 levels 0..255, not rounded; what lies outside is clipped."""
    return (faces.float().clamp(-1, 1) + 1) * HALF_RANGE


def to_tensor(pictures: np.ndarray, device: str | torch.device = "cpu", apart: bool = False) -> Tensor:
    """uint8 (H,W,3), or (B,H,W,3) -> float32 (1,3,H,W), or (B,3,H,W), in [-1,1] on the device.

    The bytes travel to the device, not the floats: a quarter of the transfer. apart: each channel is a picture of its
    own in memory, not the channels of a pixel side by side; arithmetic on pictures and masks is up to four times as
    fast so.
    """
    levels = torch.from_numpy(pictures).to(device)
    # One picture gets its batch axis last: with these strides convolutions round as they always did for single faces.
    planes = levels.permute(2, 0, 1)[None] if levels.ndim == 3 else levels.permute(0, 3, 1, 2)
    return to_unit(planes.contiguous() if apart else planes)


def to_pictures(faces: Tensor) -> np.ndarray:
    """(B,3,H,W) in [-1,1], any device -> (B,H,W,3) uint8, contiguous, as they would be saved."""
    return to_levels(faces).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
