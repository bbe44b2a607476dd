"""Is a small square of a face real, given where on the face it lies, the age and the action units?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_CODES, AU_MAX
from ..layers import activate, gaussian_basis

AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the discriminator as."""


class PatchDiscriminator(nn.Module):
    """Is each patch of a crop real, given its place, the age and the action units? widths: of the stride-2 stages."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (32, 64, 128)):
        super().__init__()
        pairs = list(zip((5, *widths[:-1]), widths, strict=True))
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        last = widths[-1]
        self.final = nn.Conv2d(last, last, 3, padding=1)
        self.real = nn.Conv2d(last, 1, 1)
        self.project = projector(last)

    def features(self, crop: Tensor, place: Tensor) -> list[Tensor]:
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> a list of one map (B,C,h,w), h and w about
        s/8."""
        x = torch.cat([crop, place], 1)
        for stage in self.stages:
            x = activate(stage(x))
        return [F.leaky_relu(self.final(x), 0.2)]

    def score(self, features: list[Tensor], age: Tensor, aus: Tensor) -> Tensor:
        """Patch logits (B,1,h,w): real, and of that age (B,) in years and those action units (B,17) in 0..5?"""
        # Projection (Miyato & Koyama, ICLR 2018): psi(phi(x)) + <phi(x), embed(y)> at each place.
        condition = self.project(condition_of(age, aus))
        (found,) = features
        return self.real(found) + (found * condition[:, :, None, None]).mean(1, keepdim=True)


def condition_of(age: Tensor, aus: Tensor) -> Tensor:
    """Ages (B,) in years and action units (B,17) in 0..5 as a discriminator is told them, (B,AGE_BUMPS+17)."""
    return torch.cat([gaussian_basis(age, 0.0, 100.0, AGE_BUMPS), aus / AU_MAX], 1)


def projector(width: int) -> nn.Sequential:
    """From `condition_of` to what features of a width are projected on."""
    return nn.Sequential(nn.Linear(AGE_BUMPS + len(AU_CODES), 128), nn.SiLU(), nn.Linear(128, width))
