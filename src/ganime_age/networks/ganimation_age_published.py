"""GANimation-age as first published: GANimation's networks with the age joined to the action units.

The age goes through a modulation network into a 128-d style embedding, which is put beside the action units into one
condition and joined to the picture as planes. The discriminator judges patches or, switched off, the whole face
("DisPatchGAN"), and reads action units and age.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..edits import AGE_MAX, AU_CODES, AU_MAX
from . import ganimation
from .ganimation_age import AGE_BUMPS
from .layers import Edited, gaussian_basis


class Judged(NamedTuple):
    """The discriminator's output for B faces."""

    real: Tensor
    """(B,1,h,w) logits of patches, or (B,1,1,1) where patches are switched off."""
    aus: Tensor
    """(B,17), intensity / 5."""
    age: Tensor
    """(B,), years / 100."""


class AgeModulation(nn.Module):
    """Target ages (B,) in years -> style embeddings (B,style)."""

    def __init__(self, style: int = 128):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(AGE_BUMPS, style), nn.LeakyReLU(0.2), nn.Linear(style, style), nn.LeakyReLU(0.2),
            nn.Linear(style, style),
        )  # fmt: skip

    def forward(self, age: Tensor) -> Tensor:
        # A soft one-hot of the age: neighbouring ages share basis functions, so the embedding varies smoothly.
        return self.mlp(gaussian_basis(age, 0.0, AGE_MAX, AGE_BUMPS))


class Generator(nn.Module):
    """GANimation's generator under (style of the target age, target action units). Any side that divides by 4."""

    def __init__(self, style: int = 128, width: int = 64, blocks: int = 6):
        super().__init__()
        self.modulation = AgeModulation(style)
        self.painter = ganimation.Generator(style + len(AU_CODES), width, blocks)

    def forward(self, face: Tensor, age: Tensor, aus: Tensor) -> Edited:
        """Faces (B,3,S,S) in [-1,1], target ages (B,) in years, target action units (B,17) in 0..5 -> Edited."""
        return self.painter(face, torch.cat([self.modulation(age), aus / AU_MAX], 1))


def edit(
    generator: Generator,
    faces: Tensor,
    source_age: Tensor,
    target_age: Tensor,
    source_aus: Tensor,
    target_aus: Tensor,
) -> Edited:
    """The edit of this method's row (model/methods.py): the targets alone; what the face shows is not read."""
    return generator(faces, target_age, target_aus)


class Discriminator(nn.Module):
    """GANimation's six strided convolutions; heads for real or fake, action units and age. Sides of 64 upward.

    patch: one logit for each patch of 64 pixels, or one for the face. width: channels of the first stage.
    """

    def __init__(self, patch: bool = True, width: int = 64):
        super().__init__()
        self.patch = patch
        self.trunk, channels = ganimation.patch_trunk(width), width * 2 ** (ganimation.STAGES - 1)
        self.real = nn.Conv2d(channels, 1, 3 if patch else 1, padding=int(patch), bias=False)
        self.read = nn.Linear(channels, len(AU_CODES) + 1)

    def forward(self, face: Tensor) -> Judged:
        """Faces (B,3,S,S) in [-1,1] -> Judged."""
        # DisPatchGAN: the same trunk judges patches (x) or, pooled, the whole face.
        x = self.trunk(face)
        pooled = x.mean((2, 3), keepdim=True)
        read = self.read(pooled.flatten(1))
        return Judged(self.real(x if self.patch else pooled), read[:, :-1], read[:, -1])
