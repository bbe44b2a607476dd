"""The local reader: crops of mouth and eyes correct the landmarks and action units that were read on a whole face.

A backbone that sees a face on 96 px knows where a mouth is better than how far it is open. Local refinement of a first
guess is cascaded pose regression (Dollár et al., CVPR 2010) with one stage, one network for the mouth and one that
reads both eyes, the left one mirrored.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES
from .layers import ResidualBlock, constant, places, resize

SIDE = 128
"""Pixels of the face that crops are taken from."""
POINT_SCALE = 0.1
"""Sides of a crop that one unit of the point outputs stands for."""
MOUTH = (*range(48, 68), *range(4, 13))
RIGHT_EYE = (*range(17, 22), *range(36, 42))
LEFT_EYE = (26, 25, 24, 23, 22, 45, 44, 43, 42, 47, 46)
"""In the order of RIGHT_EYE's mirror images. iBUG's right eye is the person's, left in the picture."""
LOOKS = ((MOUTH[:20], 0.46, 56), (RIGHT_EYE, 0.30, 40), (LEFT_EYE, 0.30, 40))
"""Mouth, right and left eye: the landmarks whose mean is a crop's centre, its side in the frame's, its pixels."""
GRID = 8
"""Pixels of a crop to one place of a network's last map."""


class Crop(NamedTuple):
    """Where a crop lies: centre (B,2) and side (B,) in 0..1 of the frame, turn (B,) in radians."""

    centre: Tensor
    side: Tensor
    turn: Tensor

    def placed(self, points: Tensor) -> Tensor:
        """Points (B,n,2) in sides of the crop from its centre -> in the frame, (B,n,2)."""
        # p' = centre + side * R(turn) p
        cos, sin = self.turn.cos()[:, None], self.turn.sin()[:, None]
        x, y = points.unbind(2)
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], 2)
        return self.centre[:, None] + self.side[:, None, None] * turned

    def cut(self, face: Tensor, size: int) -> Tensor:
        """Faces (B,3,S,S) -> their crops (B,3,size,size), bilinear."""
        line = (torch.arange(size, device=face.device, dtype=face.dtype) + 0.5) / size - 0.5
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(1, -1, 2)
        at = self.placed(grid.expand(len(face), -1, -1)).view(-1, size, size, 2)
        return F.grid_sample(face, 2 * at - 1, mode="bilinear", padding_mode="border", align_corners=False)


class Refined(NamedTuple):
    """landmarks (B,68,2) in 0..1 of the frame; action_units (B,17), unbounded."""

    landmarks: Tensor
    action_units: Tensor


class Patch(nn.Module):
    """Crops (B,3,size,size) -> features (B,128) and points (B,n,2) in sides of the crop from its centre."""

    mean: Tensor

    def __init__(self, size: int, points: int, widths: tuple[int, ...]):
        super().__init__()
        first, second, last = widths
        self.body = nn.Sequential(
            nn.Conv2d(3, first, 5, 2, 2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            ResidualBlock(first, second, 2),
            ResidualBlock(second, last, 2),
            ResidualBlock(last, last),
            nn.Conv2d(last, 32, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (size // GRID) ** 2, 128),
            nn.ReLU(),
        )
        self.points = nn.Linear(128, 2 * points)
        self.register_buffer("mean", torch.zeros(points, 2))

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(crop)
        return features, self.mean + POINT_SCALE * self.points(features).unflatten(1, (-1, 2))


class LocalReader(nn.Module):
    """Corrects what was read on a whole face; see `forward`. widths: channels of the three stages."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (24, 48, 96)):
        super().__init__()
        (_, _, mouth), (_, _, eye), _ = LOOKS
        self.mouth, self.eye = (
            Patch(size, len(points), tuple(widths)) for size, points in ((mouth, MOUTH), (eye, RIGHT_EYE))
        )
        correction = nn.Linear(192, len(AU_CODES))
        nn.init.zeros_(correction.weight)
        nn.init.zeros_(correction.bias)
        self.units = nn.Sequential(
            nn.Linear(3 * 128 + 136 + len(AU_CODES), 192), nn.ReLU(), nn.Dropout(0.1), correction
        )

    def forward(self, face: Tensor, landmarks: Tensor, action_units: Tensor) -> Refined:
        """Faces (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1 and action units (B,17) as read before -> Refined."""
        return self.look(face, crops(landmarks), landmarks, action_units)

    def look(self, face: Tensor, at: tuple[Crop, ...], landmarks: Tensor, action_units: Tensor) -> Refined:
        """The same through given crops of mouth, right and left eye."""
        face = resize(face, SIDE)
        mouth, right, left = (crop.cut(face, size) for crop, (_, _, size) in zip(at, LOOKS, strict=True))
        lips, points = self.mouth(mouth)
        # One network reads both eyes, the left one mirrored; its points are mirrored back below.
        eyes, lids = self.eye(torch.cat([right, left.flip(3)]))
        first, second = lids.chunk(2)
        out = landmarks.clone()
        # Landmarks outside the three crops stay as the backbone read them.
        back = constant((-1.0, 1.0), second)
        looks = (MOUTH, points), (RIGHT_EYE, first), (LEFT_EYE, second * back)
        for crop, (known, found) in zip(at, looks, strict=True):
            out[:, places(known, out)] = crop.placed(found).to(out)
        # Action units from both crops, the corrected shape without place, size and tilt, and the first estimate. The
        # correction starts at zero; detached, it does not pull the landmarks towards what suits the units.
        seen = torch.cat([lips, *eyes.chunk(2), normalise(out.detach()).flatten(1), action_units], 1)
        return Refined(out, action_units + self.units(seen))


def crops(landmarks: Tensor) -> tuple[Crop, ...]:
    """Landmarks (B,68,2) in 0..1 -> upright crops of mouth, right and left eye."""
    still = torch.zeros_like(landmarks[:, 0, 0])
    return tuple(
        Crop(landmarks[:, places(tuple(centre), landmarks)].mean(1), still + side, still)
        for centre, side, _ in LOOKS
    )


def normalise(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) relative to the middle of the outer eye corners, in units of their distance."""
    right, left = landmarks[:, 36:37], landmarks[:, 45:46]
    return (landmarks - (right + left) / 2) / (right - left).norm(dim=2, keepdim=True).clamp_min(1e-3)
