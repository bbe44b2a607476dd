"""Judgements of a small square of a face, given where on the face it lies: how old is it, and is it real?

A reader of whole faces at 64 px can ask a generator for shading and for nothing finer. A patch reader sees creases:
crops of 96 px of a 256-px frame. It steers a training and judges nothing; several of them, trained on attacked crops
(Madry et al., ICLR 2018), have gradients that point at what ages show rather than at patterns of one network.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_CODES, AU_MAX
from ..layers import ResidualBlock, activate, gaussian_basis

MIDDLE, SCALE = 40.0, 25.0
"""Years: what an output of 0 of the reader means, and what one unit adds."""
AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the discriminator as."""


class PatchReader(nn.Module):
    """widths: channels at a half, a quarter and an eighth of the crop's side."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (24, 48, 96)):
        super().__init__()
        first, second, last = widths
        self.body = nn.Sequential(
            nn.Conv2d(5, first, 5, 2, 2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            ResidualBlock(first, second, 2),
            ResidualBlock(second, last, 2),
        )
        self.age = nn.Sequential(nn.Linear(last, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, crop: Tensor, place: Tensor) -> Tensor:
        """Crops (B,3,s,s) in [-1,1], the place of each pixel in the mean shape's frame (B,2,s,s) in [-1,1] -> years
        (B,), not clamped."""
        features = self.body(torch.cat([crop, place], 1))
        return MIDDLE + SCALE * self.age(features.mean((2, 3)))[:, 0]


class PatchDiscriminator(nn.Module):
    """Is each patch of a crop real, given its place, the age and the action units? widths: of the stride-2 stages."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (32, 64, 128)):
        super().__init__()
        pairs = list(zip((5, *widths[:-1]), widths, strict=True))
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        last = widths[-1]
        self.final = nn.Conv2d(last, last, 3, padding=1)
        self.real = nn.Conv2d(last, 1, 1)
        self.project = nn.Sequential(
            nn.Linear(AGE_BUMPS + len(AU_CODES), 128), nn.SiLU(), nn.Linear(128, last)
        )

    def features(self, crop: Tensor, place: Tensor) -> Tensor:
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> (B,C,s/8,s/8)."""
        x = torch.cat([crop, place], 1)
        for stage in self.stages:
            x = activate(stage(x))
        return F.leaky_relu(self.final(x), 0.2)

    def score(self, features: Tensor, age: Tensor, aus: Tensor) -> Tensor:
        """Patch logits (B,1,h,w): real, and of that age (B,) in years and those action units (B,17) in 0..5?"""
        # Projection (Miyato & Koyama, ICLR 2018): psi(phi(x)) + <phi(x), embed(y)> at each place.
        condition = self.project(torch.cat([gaussian_basis(age, 0.0, 100.0, AGE_BUMPS), aus / AU_MAX], 1))
        return self.real(features) + (features * condition[:, :, None, None]).mean(1, keepdim=True)
