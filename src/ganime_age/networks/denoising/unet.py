"""The network that draws edited faces anew: a U-Net whose blocks are modulated by a condition.

It works at half of the side on four pixels a place (pixel shuffle, Shi et al., CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ..layers import Modulator
from ..restoring.erase import place_maps
from ..warp import canonical_grid

STYLE = 160
"""Width of the condition after its two layers."""


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


class FaceUNet(nn.Module):
    """What the denoiser and its distilled student share. told: numbers of the condition. inputs: channels at half of
    the side. widths: channels at 1/2, 1/4, ... of the side. blocks: at each of them, on the way down; one more on the
    way up. share: how much of what it draws anew is laid on an edit, 0..1; of 0 nothing is drawn. Any side that is a
    multiple of 2 ** len(widths).

    mean_shape (68,2) in 0..1: the mean face on which places are told; `use_mean_shape` sets it before training."""

    mean_shape: Tensor
    size = 256
    """Side in pixels of the frames that it has learnt on."""

    def __init__(self, told: int, inputs: int, widths: Sequence[int], blocks: Sequence[int], share: float):
        super().__init__()
        if not 0 <= share <= 1:
            raise BadInput(f"a generator lays a share of 0 to 1 of what it draws anew, not {share:g}")
        self.share = share
        self.register_buffer("mean_shape", torch.full((68, 2), 0.5))
        self.condition = nn.Sequential(nn.Linear(told, STYLE), nn.SiLU(), nn.Linear(STYLE, STYLE), nn.SiLU())
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
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
        return {"share": self.share}

    def places(self, landmarks: Tensor, side: int) -> Tensor:
        """Landmarks (B,68,2) in 0..1 -> (B,12,side/2,side/2), see `Erased.place`."""
        return place_maps(canonical_grid(landmarks, self.mean_shape, side // 2))

    def drawn(self, x: Tensor, style: Tensor) -> Tensor:
        """Inputs (B,C,S/2,S/2) and a condition (B,STYLE) -> (B,3,S,S)."""
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
