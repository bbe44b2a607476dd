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
from ...errors import BadInput
from ..layers import ResidualBlock, activate, gaussian_basis, resize
from ..perceptual import Perceptual
from ..perceptual import squeezenet as pictures

MIDDLE, SCALE = 40.0, 25.0
"""Years: what an output of 0 of the reader means, and what one unit adds."""
TAPS, TAP_CHANNELS = (1, 4, 7), (64, 128, 256)
"""Layers of SqueezeNet 1.1 that are looked at: at a half, a quarter and an eighth of the crop's side."""
AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the discriminator as."""


class PatchReader(nn.Module):
    """widths: channels at a half, a quarter and an eighth of the crop's side of a network that starts from nothing.

    squeezenet: SqueezeNet 1.1 up to its last layer at an eighth of the side in place of it, whose weights `start_from`
    brings. Features that saw many pictures read an age from a crop after a hundred steps; attacked crops teach a small
    network that starts from nothing hardly anything in its first thousand."""

    body: nn.Sequential
    means: Tensor
    spreads: Tensor

    def __init__(self, widths: tuple[int, ...] | list[int] = (24, 48, 96), squeezenet: bool = False):
        super().__init__()
        self.squeezenet = squeezenet
        first, second, last = widths
        if squeezenet:
            self.body = nn.Sequential(*list(pictures())[: TAPS[-1] + 1])
            self.mix = nn.Conv2d(TAP_CHANNELS[-1] + 2, last, 3, padding=1)
            self.register_buffer("means", torch.zeros(1, 3, 1, 1))
            self.register_buffer("spreads", torch.ones(1, 3, 1, 1))
        else:
            self.body = nn.Sequential(
                nn.Conv2d(5, first, 5, 2, 2, bias=False),
                nn.BatchNorm2d(first),
                nn.ReLU(),
                ResidualBlock(first, second, 2),
                ResidualBlock(second, last, 2),
            )
        self.age = nn.Sequential(nn.Linear(last, 64), nn.ReLU(), nn.Linear(64, 1))

    def start_from(self, perceptual: Perceptual) -> None:
        """Take over SqueezeNet's first layers and what its input is normalised by; BadInput for another network."""
        if not perceptual.name.startswith("SqueezeNet"):
            raise BadInput(f"a patch reader starts from SqueezeNet 1.1, not from {perceptual.name}")
        self.body.load_state_dict(perceptual.layers[: len(self.body)].state_dict())
        order = [2, 1, 0] if perceptual.flip else [0, 1, 2]  # the readers' crops are RGB
        with torch.no_grad():
            weight = self.body[0].get_parameter("weight")
            weight.copy_(weight[:, order].clone())
            self.means.copy_(perceptual.means[:, order])
            self.spreads.copy_(perceptual.spreads[:, order])

    def taps(self, crop: Tensor) -> list[Tensor]:
        """Crops (B,3,s,s) in [-1,1] -> SqueezeNet's features after TAPS, each scaled to a mean square of 1."""
        x, found = ((crop + 1) / 2 - self.means) / self.spreads, []
        for index, layer in enumerate(self.body):
            x = layer(x)
            if index in TAPS:
                found.append(x / (x.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-3))
        return found

    def forward(self, crop: Tensor, place: Tensor) -> Tensor:
        """Crops (B,3,s,s) in [-1,1], the place of each pixel in the mean shape's frame (B,2,s,s) in [-1,1] -> years
        (B,), not clamped."""
        if self.squeezenet:
            last = self.taps(crop)[-1]
            features = F.relu(self.mix(torch.cat([last, resize(place, last.shape[-1])], 1)))
        else:
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
        """Crops (B,3,s,s) in [-1,1] and their place (B,2,s,s) in [-1,1] -> (B,C,h,w), h and w about s/8."""
        x = torch.cat([crop, place], 1)
        for stage in self.stages:
            x = activate(stage(x))
        return F.leaky_relu(self.final(x), 0.2)

    def score(self, features: Tensor, age: Tensor, aus: Tensor) -> Tensor:
        """Patch logits (B,1,h,w): real, and of that age (B,) in years and those action units (B,17) in 0..5?"""
        # Projection (Miyato & Koyama, ICLR 2018): psi(phi(x)) + <phi(x), embed(y)> at each place.
        condition = self.project(torch.cat([gaussian_basis(age, 0.0, 100.0, AGE_BUMPS), aus / AU_MAX], 1))
        return self.real(features) + (features * condition[:, :, None, None]).mean(1, keepdim=True)


class ReaderDiscriminator(PatchDiscriminator):
    """The same judgement of the features of a frozen patch reader with SqueezeNet's layers (projected GANs, Sauer et
    al., NeurIPS 2021), which see ages from the first step. The reader is no part of its weights. widths: of what it
    makes of each of TAPS; the last is that of its own layers too."""

    def __init__(self, reader: PatchReader, widths: tuple[int, ...] | list[int] = (32, 64, 128)):
        super().__init__(widths)
        self.taps = reader.taps
        self.stages = nn.ModuleList(
            nn.Conv2d(inputs + 2, outputs, 3, padding=1)
            for inputs, outputs in zip(TAP_CHANNELS, widths, strict=True)
        )
        self.join = nn.Conv2d(sum(widths), widths[-1], 3, padding=1)

    def features(self, crop: Tensor, place: Tensor) -> Tensor:
        found = []
        for stage, tap in zip(self.stages, self.taps(crop), strict=True):
            found.append(activate(stage(torch.cat([tap, resize(place, tap.shape[-1])], 1))))
        height, width = found[-1].shape[-2:]
        joined = self.join(torch.cat([F.adaptive_avg_pool2d(x, (height, width)) for x in found], 1))
        return F.leaky_relu(self.final(activate(joined)), 0.2)
