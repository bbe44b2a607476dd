"""A denoising network for faces: what is a noisy face without its noise, given its age and action units?

Trained on real faces alone, with no adversary, it knows how skin, hair, eyes and teeth of an age look. Preconditioning
and noise levels are those of EDM (Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
NeurIPS 2022); the conditions are left out at random in training, so that they can be stressed when it draws
(classifier-free guidance, Ho & Salimans, 2022). A U-Net whose blocks are modulated by the condition; it works at half
of the side on four pixels a place.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_CODES, AU_MAX
from ...errors import BadInput
from ..layers import Modulator, channels_together, gaussian_basis
from ..restoring.erase import PLACES, place_maps
from ..warp import canonical_grid

AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the network as."""
NOISE_BUMPS = 12
"""Gaussian basis functions over the log of the noise that its level is given to the network as."""
LEAST_NOISE, MOST_NOISE = 0.01, 3.0
"""Standard deviations of the noise between which the network is told how much there is, in units of [-1,1]."""
SPREAD = 0.5
"""Standard deviation of the faces' values, in units of [-1,1]."""
STYLE = 160
"""Width of the condition after its two layers."""
REAL_SIDE = 256.0
"""Side in pixels of a frame with all of the detail that the network draws."""


class Condition(NamedTuple):
    """What a face is said to be. age (B,) in years and aus (B,17) in 0..5, NaN where nothing is said (of single units,
    0); source (B,) int64, the number of the set it is from, -1 for none; side (B,), of its frame in pixels."""

    age: Tensor
    aus: Tensor
    source: Tensor
    side: Tensor


class Block(nn.Module):
    """x + conv(silu(norm(conv(silu(modulate(norm(x))))))), (B,C,H,W) -> the same. Normalisation is over the channels at
    each pixel (Karras et al., ICLR 2018, 4.2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.modulate = Modulator(STYLE, channels)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.convs[1].get_parameter("weight"))
        nn.init.zeros_(self.convs[1].get_parameter("bias"))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        first, second = self.convs
        h = first(F.silu(self.modulate(style).apply(normalised(x))))
        return x + second(F.silu(normalised(h)))


def normalised(x: Tensor) -> Tensor:
    """Each pixel's channels (B,C,H,W) scaled to a mean square of 1."""
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-4).to(x.dtype)


class Denoiser(nn.Module):
    """widths: channels at 1/2, 1/4, ... of the side. blocks: at each of them, on the way down; one more on the way up.
    sources: how many sets of faces it tells apart. share: how much of what it draws anew is laid on an edit, 0..1; of 0
    nothing is drawn. Any side that is a multiple of 2 ** len(widths).

    mean_shape (68,2) in 0..1: the mean face on which places are told; `use_mean_shape` sets it before training."""

    mean_shape: Tensor
    size = 256
    """Side in pixels of the frames that it has learnt on."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (48, 96, 144, 160),
        blocks: tuple[int, ...] | list[int] = (1, 2, 2, 2),
        sources: int = 0,
        share: float = 1.0,
    ):
        super().__init__()
        if not 0 <= share <= 1:
            raise BadInput(f"a denoiser lays a share of 0 to 1 of what it draws anew, not {share:g}")
        self.sources, self.share = sources, share
        self.register_buffer("mean_shape", torch.full((68, 2), 0.5))
        told = AGE_BUMPS + 1 + len(AU_CODES) + 1 + sources + 1 + NOISE_BUMPS
        self.condition = nn.Sequential(nn.Linear(told, STYLE), nn.SiLU(), nn.Linear(STYLE, STYLE), nn.SiLU())
        self.stem = nn.Conv2d(4 * 3 + 1 + PLACES, widths[0], 3, padding=1)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.fall = nn.ModuleList(level(width, count) for width, count in zip(widths, blocks, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(pairs))
        self.rise = nn.ModuleList(
            level(width, count + (width == widths[0]))
            for width, count in list(zip(widths, blocks, strict=True))[-2::-1]
        )
        self.head = nn.Conv2d(widths[0], 4 * 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def use_mean_shape(self, mean_shape: Tensor) -> None:
        """Take over a mean shape (68,2) in 0..1 of the frame."""
        self.mean_shape.copy_(mean_shape)

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        return {"sources": self.sources, "share": self.share}

    def places(self, landmarks: Tensor, side: int) -> Tensor:
        """Landmarks (B,68,2) in 0..1 -> (B,12,side/2,side/2), see `Erased.place`."""
        return place_maps(canonical_grid(landmarks, self.mean_shape, side // 2))

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

    def drawn(self, x: Tensor, style: Tensor) -> Tensor:
        """F of `forward`: (B,25,S/2,S/2) -> (B,3,S,S)."""
        x, skips = self.stem(x), []
        for number, blocks in enumerate(self.fall):
            x = through(blocks, x, style)
            if number < len(self.down):
                skips.append(x)
                x = self.down[number](F.silu(x))
        for up, blocks in zip(self.up, self.rise, strict=True):
            x = F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skips.pop()
            x = through(blocks, x, style)
        return F.pixel_shuffle(self.head(F.silu(normalised(x))), 2)


def level(width: int, count: int) -> nn.ModuleList:
    """The blocks at one resolution."""
    return nn.ModuleList(Block(width) for _ in range(count))


def through(blocks: Any, x: Tensor, style: Tensor) -> Tensor:
    """Features (B,C,H,W) after blocks, one after another."""
    for block in blocks:
        x = block(x, style)
    return x
