"""Where hair is, to the strand.

A small network finds hair in a face's frame and around it (`HairMatte`); a guided filter brings the matte to the edges
of the photo at the photo's own size, and the colours to both sides of its outline draw it anew (`refined`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import dilate, enlarge, luma, may_ask, resize
from .filters import box, grown_mask, ramp, weighted_mean

MATTE_SIDE = 128
"""Side of the matte of a face's frame as the network gives it."""
RARE_HAIR = -9.0
"""Initial bias of a hair network: sigmoid(-9) = 0.01 %, so one that was not trained finds none."""
WINDOW = 4
"""Radius of the guided filter's windows, in pixels of the matte, of which a face's frame has about MATTE_SIDE."""
SURE = (0.45, 0.88)
"""A refined matte below the first is no hair, above the second it is all hair."""
LIKELY = (0.45, 0.65)
"""A matte of the network below the first is surely no hair; above the second it is hair where nothing else is near."""
CORE = 2
"""How far from its outline hair is all hair, in pixels of the matte."""
OUTLINE = 6
"""Half the width of the band along a matte's outline that is redrawn, in pixels of the matte."""
SEEN = (0.15, 0.95)
"""Shares of the way from the colours beside hair to those in it: below the first none is seen, above the second only
hair."""
TOLD_APART = 0.08
"""Squared distance of two colours, in units of [-1,1], at which a pixel's place between them counts half."""
OFF_LINE = (0.01, 0.03)
"""Squared distance of a pixel's colour from the line between hair and what lies beside it, in the line's: up to the
first it is a mixture of the two, from the second on something else, such as gloss."""
COUNTS = (0.1, 0.3)
"""How sure a pixel must be before its colour begins to count, and counts fully, for the colours around it."""
LARGEST_MATTE = 320
"""Largest side of a matte."""
CELLS, STEPS = 96, 60
"""Cells a side in which hair beyond the frame is followed, and from how many cells to the next."""
TIED = (0.1, 0.3)
"""The least chance of hair on the way to a head's own: up to the first a place does not hang together with it, from the
second on it does."""
BEHIND, GAP, GOES_ON = ((0.2, 0.6), (0.45, 1.0)), 0.45, 0.46
"""Where ears and neck hide hair, aside of the middle of a face's frame and down from its top; how far beyond a gap it
goes on there; and the chance from which on it does. Lengths are sides of the frame."""
ROOTS = (0.5, 0.4, 0.32, 0.36)
"""An oval in the frame of a face, in its sides, in which hair is a head's own: its middle, half its width and height.
Other hair must hang together with it."""


class Place(NamedTuple):
    """Where a face's frame lies in a picture: its left and upper border and its side, in 0..1 of the picture."""

    left: float
    top: float
    side: float


def matte_side(frame: float) -> int:
    """The side at which a network looks for hair in a picture in which a face's frame takes this share of the side."""
    return min(32 * max(round(MATTE_SIDE / frame / 32), 1), LARGEST_MATTE)


class HairMask(nn.Module):
    """The hair network of older weights, a U-Net on 64 px: faces (B,3,S,S) in [-1,1] -> chances (B,1,64,64)."""

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

    def logits(self, faces: Tensor, side: int = 64) -> Tensor:
        """(B,3,S,S) -> (B,1,64,64), whatever side is asked for."""
        x, skips = resize(faces, 64), []
        for conv in self.down:
            x = F.relu(conv(x))
            skips.append(x)
        for up, skip in zip(self.up, (skips[2], skips[1], skips[0]), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.relu(up(torch.cat([x, skip], 1)))
        return self.head(x)

    def forward(self, faces: Tensor, side: int = 64) -> Tensor:
        return self.logits(faces, side).sigmoid()


class HairMatte(nn.Module):
    """Hair matting, a U-Net: pictures (B,3,S,S) in [-1,1] -> chances (B,1,s,s), s = `side`, by default 128.

    It knows heads whose frame is about 128 pixels a side, with more or less around them. widths: channels at 1/2, 1/4,
    ... of the side. deeper: whether each of these but the first has a second layer, as older weights have not."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (16, 32, 48, 64, 64), deeper: bool = False):
        super().__init__()
        pairs = zip((3, *widths[:-1]), widths, strict=True)
        self.encode = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        self.deepen = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1) for w in widths[1:] if deeper)
        # Each step up joins what came from below with its level's own skip, and gives the next level's channels.
        rising = [(widths[-1] + widths[-2], widths[-3])]
        rising += [(2 * widths[k], widths[max(k - 1, 0)]) for k in range(len(widths) - 3, -1, -1)]
        self.decode = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in rising)
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.get_parameter("bias"), RARE_HAIR)

    def logits(self, pictures: Tensor, side: int = MATTE_SIDE) -> Tensor:
        """(B,3,S,S) -> (B,1,side,side); side: a multiple of 32."""
        x, skips = resize(pictures, side), []
        for level, conv in enumerate(self.encode):
            x = F.relu(conv(x))
            if level and self.deepen:
                x = x + F.relu(self.deepen[level - 1](x))
            skips.append(x)
        for conv, skip in zip(self.decode, skips[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = F.relu(conv(torch.cat([x, skip], 1)))
        return F.pixel_shuffle(self.head(x), 2)

    def forward(self, pictures: Tensor, side: int = MATTE_SIDE) -> Tensor:
        return self.logits(pictures, side).sigmoid()


def refined(matte: Tensor, picture: Tensor, small: Tensor | None = None) -> Tensor:
    """A network's matte (B,1,h,h) at the size of the picture (B,3,S,S), along its edges; what is surely hair or surely
    none becomes exactly 1 or 0. small (B,3,h,h): the reduced picture, if it is known."""
    low, high = SURE
    side = min(matte.shape[-1], picture.shape[-1])
    small = resize(picture, side) if small is None or small.shape[-1] != side else small
    fine = guided_filter(matte, luma(picture), luma(small))
    fine = ((fine - low) / (high - low)).clamp(0, 1)
    drawn, told = local_matte(fine, picture, max(2, round(OUTLINE * min(MATTE_SIDE / side, 1))))
    # Away from its outline hair is hair, whatever its gloss looks like; near it skin shows between strands.
    likely = ((matte - LIKELY[0]) / (LIKELY[1] - LIKELY[0])).clamp(0, 1)
    core = enlarge(1 - grown_mask(1 - likely, CORE), picture.shape[-1])
    return torch.maximum(drawn, core * (1 - told))


def guided_filter(mask: Tensor, light: Tensor, small: Tensor, softness: float = 0.004) -> Tensor:
    """A coarse mask (B,1,h,w) brought to the edges of `light` (B,1,S,S), of which small (B,1,s,s) is a reduced copy:
    fast guided filter (He & Sun 2015)."""
    # In each window the mask is fitted as a linear function of the brightness (He et al., TPAMI 2013, eq. 5 and 6):
    #
    #     slope = cov(mask, light) / (var(light) + softness),     level = mean(mask) - slope mean(light)
    #
    # and the mean of both over all windows of a pixel is applied at full size: mask' = slope * light + level (eq. 8).
    mask = enlarge(mask, small.shape[-1])
    means = box(torch.cat([mask, small, mask * small, small * small], 1), WINDOW)
    mean, centre, product, square = means.split(1, 1)
    slope = (product - mean * centre) / (square - centre.square() + softness)
    both = box(torch.cat([slope, mean - slope * centre], 1), WINDOW)
    slope, level = enlarge(both, light.shape[-1]).split(1, 1)
    return torch.addcmul(level, slope, light)


def local_matte(matte: Tensor, picture: Tensor, wide: int) -> tuple[Tensor, Tensor]:
    """A matte (B,1,S,S) of a picture (B,3,S,S), redrawn along its outline by the colours to both sides of it; and how
    surely a pixel near it is a mixture of the two, (B,1,S,S) in 0..1.

    wide: half the width of the band that is redrawn, in pixels of a picture of MATTE_SIDE. On the line from the local
    colour of what is surely no hair to that of what surely is, each pixel's share is its matte, as far as both can be
    told apart (the compositing equation of Porter and Duff, solved for alpha with known colours)."""
    # p = alpha h + (1 - alpha) o:   alpha = <p - o, h - o> / |h - o|^2
    small = resize(picture, min(MATTE_SIDE, picture.shape[-1]))
    mask = resize(matte, small.shape[-1])
    inner = (1 - 2 * grown_mask(1 - mask, wide // 2)).clamp_min(0)
    outer = (1 - 2 * grown_mask(mask, wide)).clamp_min(0)
    reach = (2 * grown_mask(mask, wide // 2)).clamp(max=1)
    own, known = nearest_mean(small, inner, wide)
    other, known_beside = nearest_mean(small, outer, wide)
    way = own - other
    far = way.square().sum(1, keepdim=True)
    way, trust = way / (far + 1e-4), far / (far + TOLD_APART) * known * known_beside
    start = (other * way).sum(1, keepdim=True)
    near = grown_mask(outer, 3 * wide)
    maps = torch.cat([way, start, trust, inner, outer, reach, other, far + 1e-4, near], 1)
    maps = enlarge(maps, picture.shape[-1])
    way, start, trust, inner, outer, reach, beside, far, near = maps.split([3, 1, 1, 1, 1, 1, 3, 1, 1], 1)
    share = ((picture * way).sum(1, keepdim=True) - start).clamp(0, 1)
    drawn = ((share - SEEN[0]) / (SEEN[1] - SEEN[0])).clamp(0, 1)
    off = (picture - beside - share * far * way).square().sum(1, keepdim=True) / far
    told = near * trust * (1 - ramp(off, *OFF_LINE))
    return torch.maximum(torch.lerp(matte, drawn, trust), inner) * (1 - outer) * reach, told


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


def hanging_together(matte: Tensor, frame: Place) -> Tensor:
    """A matte (B,1,s,s) without what does not hang together with the hair of the head in `frame`: other heads, patches
    of the background."""
    side = min(CELLS, matte.shape[-1])
    share = resize(matte, side)
    line = (torch.arange(side, device=share.device, dtype=share.dtype) + 0.5) / side
    x, y = ((line - at) / frame.side for at in (frame.left, frame.top))
    middle_x, middle_y, wide, high = ROOTS
    off = ((x - middle_x) / wide).square()[None] + ((y - middle_y) / high).square()[:, None]
    near = spread(share * (off < 1), share)
    # Behind ears and necks a network finds none of the hair that goes on below them.
    (first, last), (top, end) = BEHIND
    aside = (x - middle_x).abs()
    behind = ((aside > first) & (aside < last))[None] & ((y > top) & (y < end))[:, None]
    gap = max(round(GAP * frame.side * side), 1)
    # Downwards alone, for beside it lies somebody else's.
    beyond = F.max_pool2d(F.pad(near * behind, (1, 1, gap, 0)), (gap + 1, 3), 1)
    near = torch.maximum(near, torch.minimum(beyond, share) * (behind & (share > GOES_ON)))
    own = dilate(ramp(spread(near, share), *TIED), 2, 2)
    return matte * enlarge(own, matte.shape[-1])


def spread(near: Tensor, share: Tensor) -> Tensor:
    """Chances of hair (B,1,s,s), followed from where they are near, for STEPS cells: the least on the way to each."""
    for step in range(STEPS):
        before, near = near, torch.maximum(near, torch.minimum(dilate(near, 1, 1), share))
        if step % 4 == 0 and may_ask(near) and torch.equal(before, near):
            break
    return near
