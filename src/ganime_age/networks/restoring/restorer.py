"""The restoring generator: draws on an erased face what its age and action units show there.

GANimation's colour and attention masks (Pumarola et al., ECCV 2018) on a U-Net whose decoder is modulated by the age,
the action units and the amounts that were erased; it knows each pixel's place in the mean shape's frame. Fully
convolutional: it learns on crops and draws whole faces.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_MAX
from ...errors import BadInput
from ..layers import Edited, Modulator, channels_together, gaussian_basis
from ..skin.skin_map import SKIN_SIDE, skin_map
from .erase import PLACES, Amounts, Erased, Template

AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to the network as."""
DRAWS = ("skin", "mouth", "lids")
"""What a restorer draws, in the order of Amounts."""
MOST_LAID = 2.0
"""Largest share of what it draws on the skin that an edit lays on a face."""
STYLE = 128
"""Width of the condition after its two layers."""


class Block(nn.Module):
    """x + conv(silu(modulate(norm(conv(silu(modulate(norm(x)))))))): (B,C,H,W) -> the same. Normalisation is over
    channels at each pixel, so that a crop and the whole face are treated alike."""

    def __init__(self, channels: int):
        super().__init__()
        self.modulators = nn.ModuleList(Modulator(STYLE, channels) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = x
        for modulate, conv in zip(self.modulators, self.convs, strict=True):
            h = conv(F.silu(modulate(style).apply(normalised(h))))
        return x + h


def normalised(x: Tensor) -> Tensor:
    """Each pixel's channels scaled to a mean square of 1 (Karras et al., ICLR 2018, 4.2)."""
    # Group normalisation would take its statistics from the crop in training and from the whole face at run time.
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


class Restorer(nn.Module):
    """widths: channels at 1/2, 1/4 and 1/8 of the side. deep: blocks at 1/8. Any side that is a multiple of 8.
    draws: what an edit lets it draw, of DRAWS; weights that learnt no ages leave the skin to the prototypes. share:
    0..2, how much of what it draws on the skin an edit lays on a face. outward: whether it draws on the skin what
    an older age brings and nothing else; younger ages and expressions are left to the prototypes there. finer:
    standard deviation of a Gaussian, in pixels at which it draws; above 0 only the brightness of what it draws on the
    skin is laid on a face, without what the Gaussian leaves of it: broad shade and colour are left to the prototypes.

    The mean face on which places are told is stored with the weights: `use_mean_shape` sets it before training."""

    mean_shape: Tensor
    skin: Tensor
    size = 256
    """Side in pixels of the frames that it has learnt on."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (24, 48, 112),
        deep: int = 3,
        draws: tuple[str, ...] | list[str] = DRAWS,
        share: float = 1.0,
        outward: bool = False,
        finer: float = 0.0,
    ):
        super().__init__()
        first, second, last = widths
        if not set(draws) <= set(DRAWS):
            raise BadInput(f"a restorer draws {', '.join(draws)}; choose from {', '.join(DRAWS)}")
        if not 0 <= share <= MOST_LAID:
            raise BadInput(
                f"a restorer lays a share of 0 to {MOST_LAID:g} of what it draws on the skin, not {share:g}"
            )
        if not 0 <= finer <= self.size / 4:
            raise BadInput(
                f"a restorer draws what is finer than 0 (all of it) to {self.size // 4} px, not {finer:g}"
            )
        self.draws, self.share, self.outward, self.finer = tuple(draws), share, outward, finer
        self.register_buffer("mean_shape", torch.full((68, 2), 0.5))
        self.register_buffer("skin", torch.zeros(1, 1, SKIN_SIDE, SKIN_SIDE))
        self.condition = nn.Sequential(
            nn.Linear(AGE_BUMPS + 17 + 3, STYLE), nn.SiLU(), nn.Linear(STYLE, STYLE), nn.SiLU()
        )
        self.stem = nn.Conv2d(4 * (3 + 3) + PLACES, first, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv2d(first, second, 3, 2, 1), nn.Conv2d(second, last, 3, 2, 1)])
        self.middle = nn.ModuleList(Block(last) for _ in range(deep))
        self.up = nn.ModuleList([nn.Conv2d(last, second, 1), nn.Conv2d(second, first, 1)])
        self.refine = nn.ModuleList([Block(second), Block(first)])
        self.narrow = nn.Conv2d(first, 12, 3, padding=1)
        # The head works at full size on what a resize brings there: no sub-pixel grid can form (Odena et al. 2016).
        self.sharpen = nn.Conv2d(12 + 6, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def use_mean_shape(self, mean_shape: Tensor) -> None:
        """Take over the mean shape (68,2) of prototypes, and find its skin."""
        self.mean_shape.copy_(mean_shape)
        self.skin.copy_(skin_map(mean_shape))

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        drawn = [name for name in DRAWS if name in self.draws]
        return {"draws": drawn, "share": self.share, "outward": self.outward, "finer": self.finer}

    @property
    def template(self) -> Template:
        """The mean face, as `erase` takes it."""
        return Template(self.mean_shape, self.skin)

    def style(self, age: Tensor, aus: Tensor, amounts: Amounts) -> Tensor:
        """Ages (B,) in years, action units (B,17) in 0..5 and amounts of erasure -> (B,128)."""
        years = gaussian_basis(age, 0.0, 100.0, AGE_BUMPS)
        return self.condition(torch.cat([years, aus / AU_MAX, amounts.vector()], 1))

    def encode(self, erased: Erased) -> list[Tensor]:
        """What of the face is the same for every condition: features at 1/2, 1/4 and 1/8 of the side."""
        seen = F.pixel_unshuffle(torch.cat([erased.face, erased.maps], 1), 2)
        skips = [self.stem(channels_together(torch.cat([seen, erased.place], 1)))]
        for down in self.down:
            skips.append(down(F.silu(skips[-1])))
        return skips

    def draw(self, erased: Erased, skips: list[Tensor], style: Tensor) -> Edited:
        """The face of a style (B,128) on erased faces, from their encoded features."""
        half, quarter, x = skips
        for block in self.middle:
            x = block(x, style)
        for up, refine, skip in zip(self.up, self.refine, (quarter, half), strict=True):
            x = F.interpolate(up(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = refine(x + skip, style)
        x = F.interpolate(self.narrow(F.silu(x)), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.sharpen(channels_together(torch.cat([x, erased.face, erased.maps], 1)))
        raw = self.head(F.silu(x)).contiguous()
        # (1 - A) C + A I, with the colour C a residual on the input: raw 0 gives back the erased face.
        colour = (erased.face + 2 * raw[:, :3].tanh()).clamp(-1, 1)
        attention = raw[:, 3:].sigmoid()
        return Edited(erased.face + attention * (colour - erased.face), attention)

    def forward(self, erased: Erased, age: Tensor, aus: Tensor, amounts: Amounts) -> Edited:
        """Erased faces as they were: of ages (B,) in years, with action units (B,17) in 0..5 -> Edited."""
        return self.draw(erased, self.encode(erased), self.style(age, aus, amounts))
