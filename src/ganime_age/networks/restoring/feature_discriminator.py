"""Is a square of a face real? Small heads judge what a frozen network of pictures sees in it.

A discriminator that begins with pixels needs a million of them to find out what skin is; on features that know it, it
tells drawn from real after minutes (Projected GAN, Sauer et al., NeurIPS 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import activate
from ..perceptual import Perceptual
from .patch_discriminator import PatchDiscriminator, condition_of, projector


class FeatureDiscriminator(nn.Module):
    """Heads on taps of a frozen network, each with logits for every place of its map, given where on the face that
    lies, the age and the action units. seen: the network, which is no part of it: it goes to a device as a helper of
    the task. widths: channels of the heads; they look at the deepest taps of as many sizes, the smallest last (of
    SqueezeNet at 1/4, 1/8 and 1/16 of a crop's side)."""

    def __init__(self, seen: Perceptual, widths: tuple[int, ...] | list[int] = (64, 64, 64)):
        super().__init__()
        self.seen = (seen,)  # a tuple: its weights are neither trained nor stored
        with torch.no_grad():
            taps = seen.features(torch.zeros(1, 3, 64, 64))
        deepest = {found.shape[-1]: number for number, found in enumerate(taps)}
        self.taps = tuple(deepest.values())[-len(widths) :]
        channels = [taps[number].shape[1] for number in self.taps]
        pairs = list(zip(channels, widths, strict=True))
        self.narrow = nn.ModuleList(nn.Conv2d(count + 3, width, 1) for count, width in pairs)
        self.final = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths)
        self.real = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in widths)
        self.project = nn.ModuleList(projector(width) for width in widths)

    def features(self, crop: Tensor, place: Tensor) -> list[Tensor]:
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> a map (B,C,h,w) of every head."""
        maps, taps = [], self.seen[0].features(crop)
        for number, narrow, final in zip(self.taps, self.narrow, self.final, strict=True):
            found = taps[number]
            # Of unit mean square at each place, whose size is told beside it: taps differ by orders of magnitude.
            size = found.square().mean(1, keepdim=True).add(1e-4).sqrt()
            where = F.adaptive_avg_pool2d(place, (found.shape[2], found.shape[3]))
            x = activate(narrow(torch.cat([found / size, size.log(), where], 1)))
            maps.append(activate(final(x)))
        return maps

    def score(self, features: list[Tensor], age: Tensor, aus: Tensor) -> Tensor:
        """Logits (B,heads,h,w), at the places of the smallest map: real, and of that age (B,) in years and those action
        units (B,17) in 0..5? As in `PatchDiscriminator.score`."""
        told, places = condition_of(age, aus), (features[-1].shape[2], features[-1].shape[3])
        logits = []
        for found, real, project in zip(features, self.real, self.project, strict=True):
            each = real(found) + (found * project(told)[:, :, None, None]).mean(1, keepdim=True)
            logits.append(F.adaptive_avg_pool2d(each, places))  # every head has the same say
        return torch.cat(logits, 1)


class BothDiscriminator(nn.Module):
    """A `FeatureDiscriminator` and a `PatchDiscriminator` on the same crops, the one for what a frozen network knows,
    the other for what it does not see. seen, widths: of the first; pixel_widths: of the second, whose logits are one
    channel beside one of each head of the first."""

    def __init__(
        self,
        seen: Perceptual,
        widths: tuple[int, ...] | list[int] = (64, 64, 64),
        pixel_widths: tuple[int, ...] | list[int] = (32, 64, 128),
    ):
        super().__init__()
        self.by_features = FeatureDiscriminator(seen, widths)
        self.by_pixels = PatchDiscriminator(pixel_widths)

    def features(self, crop: Tensor, place: Tensor) -> list[Tensor]:
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> the maps of both, those on pixels last."""
        return [*self.by_features.features(crop, place), *self.by_pixels.features(crop, place)]

    def score(self, features: list[Tensor], age: Tensor, aus: Tensor) -> Tensor:
        """Logits (B,heads+1,h,w), those on pixels last, at the places of the frozen network's smallest map, for ages
        (B,) in years and action units (B,17) in 0..5."""
        heads = self.by_features.score(features[:-1], age, aus)
        pixels = self.by_pixels.score(features[-1:], age, aus)
        return torch.cat([heads, F.adaptive_avg_pool2d(pixels, (heads.shape[2], heads.shape[3]))], 1)
