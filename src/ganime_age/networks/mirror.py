"""What is known of a face, for its mirror image."""

from __future__ import annotations

import torch
from torch import Tensor

from .layers import places

MIRROR = (
    (*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1))
    + (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)
    + (*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65)
)
"""Where each of the 68 iBUG points goes when a face is mirrored."""


def mirrored_landmarks(landmarks: Tensor) -> Tensor:
    """Landmarks (N,68,2) in 0..1 of the mirrored faces."""
    flipped = landmarks[:, places(MIRROR, landmarks)]
    return torch.stack([1 - flipped[..., 0], flipped[..., 1]], -1)


def mirrored_pose(pose: Tensor) -> Tensor:
    """Yaw, pitch and roll (N,3) of the mirrored faces."""
    yaw, pitch, roll = pose.unbind(-1)
    return torch.stack([-yaw, pitch, -roll], -1)
