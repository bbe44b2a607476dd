"""Is a square of a face real? Small heads judge what a frozen network of pictures sees in it.

A discriminator that begins with pixels needs a million of them to find out what skin is; on features that know it, it
tells drawn from real after minutes (Projected GAN, Sauer et al., NeurIPS 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_CODES, AU_MAX
from ..layers import activate, gaussian_basis
from ..perceptual import Perceptual
from .patch_discriminator import AGE_BUMPS

MOST = 11
"""Places along a side that a head has logits for at most, so that the finest head does not outvote the others."""


class FeatureDiscriminator(nn.Module):
    """A head on each of some taps of a frozen network, with logits for every place of its map, given where on the face
    that lies, the age and the action units. seen: the network, which is not part of it; heads: numbers of its taps,
    by default those of SqueezeNet at 1/4, 1/8 and 1/16 of a crop's side; width: channels of a head."""

    def __init__(self, seen: Perceptual, heads: tuple[int, ...] | list[int] = (1, 2, 6), width: int = 64):
        super().__init__()
        self.seen = (seen,)  # a tuple: its weights are neither trained nor stored
        self.heads = tuple(heads)
        with torch.no_grad():
            taps = seen.features(torch.zeros(1, 3, 64, 64))
            channels = [taps[head].shape[1] for head in heads]
        self.narrow = nn.ModuleList(nn.Conv2d(count + 3, width, 1) for count in channels)
        self.final = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        self.real = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in channels)
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(AGE_BUMPS + len(AU_CODES), 128), nn.SiLU(), nn.Linear(128, width))
            for _ in channels
        )

    def features(self, crop: Tensor, place: Tensor) -> list[Tensor]:
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> a map (B,C,h,w) of every head."""
        maps = []
        taps = self.seen[0].features(crop)
        for head, narrow, final in zip(self.heads, self.narrow, self.final, strict=True):
            found = taps[head]
            # Of unit mean square at each place, whose size is told beside it: taps differ by orders of magnitude.
            size = found.square().mean(1, keepdim=True).add(1e-4).sqrt()
            where = F.adaptive_avg_pool2d(place, (found.shape[2], found.shape[3]))
            x = activate(narrow(torch.cat([found / size, size.log(), where], 1)))
            maps.append(activate(final(x)))
        return maps

    def score(self, features: list[Tensor], age: Tensor, aus: Tensor) -> Tensor:
        """Logits (B,1,1,N) of all places of all heads, the finer ones averaged to MOST by MOST: real, and of that age
        (B,) in years and those action units (B,17) in 0..5? As in `PatchDiscriminator.score`."""
        told = torch.cat([gaussian_basis(age, 0.0, 100.0, AGE_BUMPS), aus / AU_MAX], 1)
        logits = []
        for found, real, project in zip(features, self.real, self.project, strict=True):
            condition = project(told)[:, :, None, None]
            places = real(found) + (found * condition).mean(1, keepdim=True)
            if places.shape[-1] > MOST:
                places = F.adaptive_avg_pool2d(places, MOST)
            logits.append(places.flatten(1))
        return torch.cat(logits, 1)[:, None, None]
