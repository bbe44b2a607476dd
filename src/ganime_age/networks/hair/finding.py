"""Where hair is, to the strand.

A small network finds hair in a face's frame (`HairMatte`); a guided filter brings the matte to the edges of the photo
at the photo's own size, and the colours to both sides of its outline draw it anew (`refined`). Beyond the frame hair
goes on as far as it hangs together and has the colours of what was found (`spread_beyond`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import luma, resize
from .filters import away_from_border, box, enlarged, grown_mask, ramp, weighted_mean

MATTE_SIDE = 128
"""Side of the matte as the network gives it."""
RARE_HAIR = -9.0
"""Initial bias of a hair network: sigmoid(-9) = 0.01 %, so one that was not trained finds none."""
WINDOW = 0.031
"""Radius of the guided filter's windows, in sides of the picture."""
SURE = (0.35, 0.8)
"""A refined matte below the first is no hair, above the second it is all hair."""
LIKELY = (0.3, 0.5)
"""A matte of the network below the first is surely no hair; above the second it is hair where nothing else is near."""
CORE = 0.018
"""How far from its outline hair is all hair, in sides of the picture."""
OUTLINE = 0.05
"""Half the width of the band along a matte's outline that is redrawn, in sides of the picture."""
SEEN = (0.15, 0.95)
"""Shares of the way from the colours beside hair to those in it: below the first none is seen, above the second only
hair."""
TOLD_APART = 0.08
"""Squared distance of two colours, in units of [-1,1], at which a pixel's place between them counts half."""
COUNTS = (0.1, 0.3)
"""How sure a pixel must be before its colour begins to count, and counts fully, for the colours around it."""
EDGE = 0.08
"""Sides of the frame over which what a network saw there begins to count at its border."""
BINS = 12
"""Cells a channel of the histograms of colours."""
FLOOD = (2.0, 4.0)
"""Hair beyond the frame, in the area of the hair within: up to the first all of it counts, from the second on none."""
DOUBT = 1.2
"""Least log of how much more often a colour is hair's than not, for hair beyond the frame."""
FARTHER = 0.985
"""What is left of hair with each step of a 64th of a picture away from the frame."""


class Place(NamedTuple):
    """Where a face's frame lies in a picture: its left and upper border and its side, in 0..1 of the picture."""

    left: float
    top: float
    side: float


class HairMask(nn.Module):
    """The hair network of older weights, a U-Net on 64 px: faces (B,3,S,S) in [-1,1] -> chances (B,1,64,64)."""

    side = 64
    """Side of the mask."""

    def __init__(self, width: int = 16):
        super().__init__()
        convs = (
            (3, width, 1),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 4 * width, 2),
            (4 * width, 4 * width, 1),
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride, 1) for a, b, stride in convs)
        self.up = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1)
            for a, b in ((8 * width, 2 * width), (4 * width, width), (2 * width, width))
        )
        self.head = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.get_parameter("bias"), RARE_HAIR)

    def logits(self, faces: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,1,64,64)."""
        x, skips = resize(faces, 64), []
        for conv in self.down:
            x = F.relu(conv(x))
            skips.append(x)
        for up, skip in zip(self.up, (skips[2], skips[1], skips[0]), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.relu(up(torch.cat([x, skip], 1)))
        return self.head(x)

    def forward(self, faces: Tensor) -> Tensor:
        return self.logits(faces).sigmoid()


class HairMatte(nn.Module):
    """Hair matting, a U-Net on 128 px: faces (B,3,S,S) in [-1,1] -> chances (B,1,128,128).

    widths: channels at 1/2, 1/4, ... of the side."""

    side = MATTE_SIDE
    """Side of the matte."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (16, 32, 48, 64, 64)):
        super().__init__()
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        self.encode = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        # Each step up joins what came from below with its level's own skip, and gives the next level's channels.
        rising = [(widths[-1] + widths[-2], widths[-3])]
        rising += [(2 * widths[k], widths[max(k - 1, 0)]) for k in range(len(widths) - 3, -1, -1)]
        self.decode = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in rising)
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.get_parameter("bias"), RARE_HAIR)

    def logits(self, faces: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,1,128,128)."""
        x, skips = resize(faces, MATTE_SIDE), []
        for conv in self.encode:
            x = F.relu(conv(x))
            skips.append(x)
        for conv, skip in zip(self.decode, skips[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.relu(conv(torch.cat([x, skip], 1)))
        return F.pixel_shuffle(self.head(x), 2)

    def forward(self, faces: Tensor) -> Tensor:
        return self.logits(faces).sigmoid()


def refined(matte: Tensor, picture: Tensor) -> Tensor:
    """A network's matte (B,1,h,w) at the size of the picture (B,3,S,S), along its edges; what is surely hair or surely
    none becomes exactly 1 or 0."""
    low, high = SURE
    light = luma(picture)
    fine = guided_filter(matte, light, resize(light, min(MATTE_SIDE, light.shape[-1])))
    fine = ((fine - low) / (high - low)).clamp(0, 1)
    drawn = local_matte(fine, picture, resize(picture, min(MATTE_SIDE, picture.shape[-1])))
    # Away from its outline hair is hair, whatever its gloss looks like.
    likely = ((matte - LIKELY[0]) / (LIKELY[1] - LIKELY[0])).clamp(0, 1)
    radius = max(1, round(CORE * matte.shape[-1]))
    return torch.maximum(drawn, enlarged(1 - grown_mask(1 - likely, radius), picture.shape[-1]))


def guided_filter(mask: Tensor, light: Tensor, small: Tensor, softness: float = 0.004) -> Tensor:
    """A coarse mask (B,1,h,w) brought to the edges of `light` (B,1,S,S), of which small (B,1,s,s) is a reduced copy:
    fast guided filter (He & Sun 2015)."""
    # In each window the mask is fitted as a linear function of the brightness (He et al., TPAMI 2013, eq. 5 and 6):
    #
    #     slope = cov(mask, light) / (var(light) + softness),     level = mean(mask) - slope mean(light)
    #
    # and the mean of both over all windows of a pixel is applied at full size: mask' = slope * light + level (eq. 8).
    radius = max(1, round(WINDOW * small.shape[-1]))
    mask = enlarged(mask, small.shape[-1])
    means = box(torch.cat([mask, small, mask * small, small * small], 1), radius)
    mean, centre, product, square = means.split(1, 1)
    slope = (product - mean * centre) / (square - centre.square() + softness)
    both = box(torch.cat([slope, mean - slope * centre], 1), radius)
    slope, level = enlarged(both, light.shape[-1]).split(1, 1)
    return torch.addcmul(level, slope, light)


def local_matte(matte: Tensor, picture: Tensor, small: Tensor) -> Tensor:
    """A matte (B,1,S,S) of a picture (B,3,S,S), redrawn along its outline by the colours to both sides of it.

    small: the picture at side s. On the line from the local colour of what is surely no hair to that of what surely
    is, each pixel's share is its matte, as far as the two can be told apart (the compositing equation of Porter and
    Duff, solved for alpha with known colours)."""
    # p = alpha h + (1 - alpha) o:   alpha = <p - o, h - o> / |h - o|^2
    mask = resize(matte, small.shape[-1])
    wide = max(1, round(OUTLINE * small.shape[-1]))
    inner = (1 - 2 * grown_mask(1 - mask, wide // 2)).clamp_min(0)
    outer = (1 - 2 * grown_mask(mask, wide)).clamp_min(0)
    reach = (2 * grown_mask(mask, wide // 2)).clamp(max=1)
    own, known = nearest_mean(small, inner, wide)
    other, known_beside = nearest_mean(small, outer, wide)
    way = own - other
    far = way.square().sum(1, keepdim=True)
    way, trust = way / (far + 1e-4), far / (far + TOLD_APART) * known * known_beside
    start = (other * way).sum(1, keepdim=True)
    maps = enlarged(torch.cat([way, start, trust, inner, outer, reach], 1), picture.shape[-1])
    way, start, trust, inner, outer, reach = maps.split([3, 1, 1, 1, 1, 1], 1)
    drawn = ((picture * way).sum(1, keepdim=True) - start).clamp(0, 1)
    drawn = ((drawn - SEEN[0]) / (SEEN[1] - SEEN[0])).clamp(0, 1)
    return torch.maximum(torch.lerp(matte, drawn, trust), inner) * (1 - outer) * reach


def nearest_mean(small: Tensor, sure: Tensor, wide: int) -> tuple[Tensor, Tensor]:
    """The mean colour (B,3,s,s) of a picture's pixels that are `sure` (B,1,s,s) around each pixel, the nearest first,
    and how far there are any (B,1,s,s) in 0..1."""
    sure = sure * ramp(sure, *COUNTS)
    # A wider window counts only where a narrower one holds nothing.
    around = [
        weight * box(torch.cat([small * sure, sure], 1), radius)
        for radius, weight in ((wide + 2, 1.0), (2 * wide + 2, 0.03), (5 * wide, 0.001))
    ]
    colour, weight = torch.stack(around).sum(0).split([3, 1], 1)
    near = box(box(sure, 3 * wide), 3 * wide)
    mean = weighted_mean(small, sure + 1e-6)
    return (colour + 1e-6 * mean) / (weight + 1e-6), near / (near + 0.02)


def spread_beyond(network: nn.Module, picture: Tensor, frame: Place) -> Tensor:
    """The matte (B,1,s,s) of pictures (B,3,S,S): within the face's frame the network's, and beyond it what hangs
    together with the hair there and has its colours."""
    side, cells = picture.shape[-1], min(MATTE_SIDE, picture.shape[-1])
    wide = min(round(frame.side * side), side)
    left, top = (min(max(round(at * side), 0), side - wide) for at in (frame.left, frame.top))
    close = network(picture[..., top : top + wide, left : left + wide])
    size, x, y = (round(at * cells / side) for at in (wide, left, top))
    size = min(size, cells - x, cells - y)
    around = (x, cells - size - x, y, cells - size - y)
    weight = F.pad(ramp(away_from_border(size, picture), 0.0, EDGE), around)
    known = F.pad(torch.ones_like(close[:1, :, :1, :1]).expand(-1, -1, size, size), around)
    close = F.pad(resize(close, size), around)
    alike = (by_colour(close, known, resize(picture, cells)) - DOUBT).sigmoid()
    sure = (1.6 * close - 0.6).clamp_min(0) * weight
    near, alike = F.avg_pool2d(sure, 2), F.avg_pool2d(alike, 2)
    for _ in range(cells // 4):
        near = torch.maximum(near, torch.minimum(FARTHER * F.max_pool2d(near, 3, 1, 1), alike))
    # Dark hair before a dark background: what floods the picture is no hair.
    near = enlarged(near, cells)
    beyond, within = (x.sum((2, 3), keepdim=True) for x in (near * (1 - weight), close * weight))
    near = near * (1 - ramp(beyond / within.clamp_min(1.0), *FLOOD))
    return torch.lerp(near, close, weight)


def by_colour(matte: Tensor, known: Tensor, small: Tensor) -> Tensor:
    """How much more often each colour of pictures (B,3,s,s) is hair's than not, (B,1,s,s) in logs, by a matte (B,1,s,s)
    where it is `known` (1,1,s,s)."""
    # log p(colour | hair) / p(colour | no hair), with smooth histograms of BINS^3 cells.
    cell = ((small + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
    cell = ((cell[:, 0] * BINS + cell[:, 1]) * BINS + cell[:, 2]).flatten(1)
    seen = []
    for sure in ((2 * matte - 1).clamp_min(0), (1 - 4 * matte).clamp_min(0)):
        sure = (sure * known).flatten(1)
        count = sure.new_zeros(len(sure), BINS**3).scatter_add(1, cell, sure).view(-1, 1, BINS, BINS, BINS)
        for _ in range(2):
            count = F.avg_pool3d(count, 3, 1, 1)
        count = count.flatten(1)
        seen.append((count / count.sum(1, keepdim=True).clamp_min(1.0)).gather(1, cell) + 1e-4)
    return box((seen[0] / seen[1]).log().view_as(matte), 1)
