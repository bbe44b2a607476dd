"""Strands where a photo shows none: black hair turned grey would be one flat grey, so noise is brushed along the hair.

Line integral convolution (Cabral & Leedom, SIGGRAPH 1993): noise averaged along a field of directions looks like what
flows along it. The directions are those of the least change of brightness, the second eigenvector of the structure
tensor (Förstner & Gülch 1987); where there is hardly any change, of a wider one, and in the end of hair that hangs
down. Short hair and long hair cannot be told apart there, so short strands and long ones are mixed.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import Window, constant, enlarge, resize
from ..skin.sharpness import no_sharper, sharpness
from .filters import box, part_of, square_around, weighted_mean

SIDE = 1024
"""Largest side at which strands are brushed."""
TILE = 128
"""Side of the square of noise that covers a picture by being repeated."""
REACHES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Pixels between the places that are averaged, at each pass: a strand is some sixty pixels long, no more to each side
than the ROOM (filters.py) around hair."""
SHORT = 2.0
"""The last of them of short strands, some twelve pixels long."""
NEAR, WIDE = 1 / 96, 1 / 24
"""Radii, in sides, over which directions are averaged, and averaged again where they are faint."""
FAINT = 1e-5
"""Squared change of brightness from pixel to pixel, in units of [-1,1], at which hair that hangs counts as much."""


def brushed(light: Tensor, hair: Tensor, head: Tensor, short: Tensor) -> Tensor:
    """Brightness in [-1,1] and hair in 0..1, (B,1,S,S) each -> strands (B,1,s,s), s at most SIDE, about standard
    normal where there is hair, and as sharp as the head (B,1,t,t in 0..1) is. short: the share of short ones, (B,1,1,1)
    in 0..1. The same for the same picture, whatever is asked of it."""
    side = min(SIDE, light.shape[-1])
    light, hair = resize(light, side), resize(hair, side)
    window = square_around(hair)
    along, sure = directions(light, hair, window)
    noisy = tiled(constant(noise(), light).view(1, 1, TILE, TILE), side).expand_as(light)
    strands = convolved(part_of(noisy, window), along, short)
    if window is not None:
        strands = window.put(torch.zeros_like(light), strands)
    strands = strands - weighted_mean(strands, hair)
    # Noise has as much of every wavelength, a photo ever less of the finer ones: so these go with the square.
    strands = no_sharper(strands, [share.square() for share in sharpness(light, head)])
    return sure * strands / weighted_mean(strands.square(), hair).clamp_min(1e-6).sqrt()


def convolved(noisy: Tensor, along: Tensor, short: Tensor) -> Tensor:
    """Noise (B,1,s,s) averaged along directions (B,2,s,s), far and, to a share of the sum (B,1,1,1), not so far."""
    side, along = noisy.shape[-1], along.permute(0, 2, 3, 1)
    line = (torch.arange(side, device=noisy.device, dtype=noisy.dtype) + 0.5) * (2 / side) - 1
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    near = noisy
    for reach in REACHES:
        ahead, behind = (
            F.grid_sample(
                noisy,
                torch.add(places, along, alpha=step),
                padding_mode="reflection",
                align_corners=False,
            )
            for step in (2 * reach / side, -2 * reach / side)
        )
        noisy = noisy / 2 + (ahead + behind) / 4
        near = noisy if reach <= SHORT else near
    far, near = (x / x.square().mean((2, 3), keepdim=True).clamp_min(1e-6).sqrt() for x in (noisy, near))
    return torch.lerp(far, near, short)


def directions(light: Tensor, hair: Tensor, window: Window | None = None) -> tuple[Tensor, Tensor]:
    """Which way hair runs at each pixel of brightness and hair (B,1,s,s) in a window: unit vectors (B,2,h,w), of either
    sign; and whether it runs any way, (B,1,s,s) in 0..1."""
    side, half = light.shape[-1], light.shape[-1] // 2
    across = F.pad(light[..., 2:] - light[..., :-2], (1, 1)) * hair
    down = F.pad(light[..., 2:, :] - light[..., :-2, :], (0, 0, 1, 1)) * hair
    tensor = resize(torch.cat([across.square(), across * down, down.square()], 1), half)
    near = box(tensor, max(1, round(NEAR * half)))
    small = resize(near, half // 4)
    wide = enlarge(box(small, max(1, round(WIDE * small.shape[-1]))), half)
    # J = near + wide / 4 + the tensor of strands that hang down, whose gradient lies across.
    xx, xy, yy = (near + wide / 4).split(1, 1)
    # The gradient's angle a: (cos 2a, sin 2a) = (xx + FAINT - yy, 2 xy) / |.|; strands run across it.
    twice = enlarge(torch.cat([xx + FAINT - yy, 2 * xy], 1), side)
    length = twice.square().sum(1, keepdim=True).clamp_min(1e-16).sqrt()
    cosine, sine = (part_of(twice, window) / part_of(length, window)).split(1, 1)
    sign = torch.where(sine < 0, -torch.ones_like(sine), torch.ones_like(sine))
    across, down = (((1 + part) / 2).clamp(0, 1).sqrt() for part in (cosine, -cosine))
    return torch.cat([-sign * down, across], 1), (2 * length / FAINT).clamp(max=1)


@lru_cache(maxsize=1)
def noise() -> tuple[float, ...]:
    """TILE times TILE numbers, standard normal, the same always."""
    return tuple(torch.randn(TILE * TILE, generator=torch.Generator().manual_seed(0)).tolist())


def tiled(tile: Tensor, side: int) -> Tensor:
    """A tile (1,1,t,t) repeated and cut to (1,1,side,side)."""
    times = -(-side // tile.shape[-1])
    return tile.repeat(1, 1, times, times)[..., :side, :side]
