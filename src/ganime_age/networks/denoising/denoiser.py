"""A denoising network for faces: what is a noisy face without its noise, given its age and action units?

Trained on real faces alone, with no adversary, it knows how skin, hair, eyes and teeth of an age look. Preconditioning
and noise levels are those of EDM (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
NeurIPS 2022); the conditions are left out at random in training, so that they can be stressed when it draws
(classifier-free guidance, Ho & Salimans, 2022).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...edits import AU_CODES, AU_MAX
from ..layers import channels_together, gaussian_basis
from ..restoring.erase import PLACES
from .unet import FaceUNet

AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the network as."""
NOISE_BUMPS = 12
"""Gaussian basis functions over the log of the noise that its level is given to the network as."""
LEAST_NOISE, MOST_NOISE = 0.01, 3.0
"""Standard deviations of the noise between which the network is told how much there is, in units of [-1,1]."""
SPREAD = 0.5
"""Standard deviation of the faces' values, in units of [-1,1]."""
LIKE = 0
"""The number of the set whose photos are drawn: the first that the network was told of."""
REAL_SIDE = 256.0
"""Side in pixels of a frame with all of the detail that the network draws."""


class Condition(NamedTuple):
    """What a face is said to be. age (B,) in years and aus (B,17) in 0..5, NaN where nothing is said (of single units,
    0); source (B,) int64, the number of the set it is from, -1 for none; side (B,), of its frame in pixels."""

    age: Tensor
    aus: Tensor
    source: Tensor
    side: Tensor


class Denoiser(FaceUNet):
    """widths, blocks, share: see `FaceUNet`. sources: how many sets of faces it tells apart."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (48, 96, 144, 160),
        blocks: tuple[int, ...] | list[int] = (1, 2, 2, 2),
        sources: int = 0,
        share: float = 1.0,
    ):
        told = AGE_BUMPS + 1 + len(AU_CODES) + 1 + sources + 1 + NOISE_BUMPS
        super().__init__(told, 4 * 3 + 1 + PLACES, widths, blocks, share)
        self.sources = sources

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        return {"sources": self.sources, "share": self.share}

    def style(self, given: Condition, noise: Tensor) -> Tensor:
        """A condition and standard deviations (B,) of the noise -> (B,STYLE)."""
        known, moved = ~given.age.isnan(), (~given.aus.isnan()).any(1)
        years = gaussian_basis(given.age.nan_to_num(0.0), 0.0, 100.0, AGE_BUMPS) * known[:, None]
        units = given.aus.nan_to_num(0.0) / AU_MAX
        level = gaussian_basis(noise.log(), math.log(LEAST_NOISE), math.log(MOST_NOISE), NOISE_BUMPS)
        places = torch.arange(self.sources, device=noise.device)
        source = (given.source[:, None] == places).to(years.dtype)
        detail = (given.side / REAL_SIDE).log2().clamp(-2, 0)
        told = [years, known[:, None], units, moved[:, None], source, detail[:, None], level]
        return self.condition(torch.cat([part.to(years.dtype) for part in told], 1))

    def forward(self, noisy: Tensor, noise: Tensor, valid: Tensor, place: Tensor, given: Condition) -> Tensor:
        """Faces (B,3,S,S) in units of [-1,1] with white noise of standard deviations (B,); valid (B,1,S,S) in 0..1,
        what of them is real; place: see `places` -> the faces without noise, (B,3,S,S)."""
        # D(x; s) = c_skip x + c_out F(c_in x; s), so that F's input and target have unit variance at every s (EDM, 5).
        level = noise[:, None, None, None]
        total = (level.square() + SPREAD**2).sqrt()
        seen = F.pixel_unshuffle(noisy * valid / total, 2)
        real = F.avg_pool2d(valid, 2)
        x = torch.cat([seen, real, place], 1)
        if not torch.is_grad_enabled():
            x = channels_together(x)
        out = self.drawn(x, self.style(given, noise)).float()
        return noisy * (SPREAD / total).square() + out * (level * SPREAD / total)
