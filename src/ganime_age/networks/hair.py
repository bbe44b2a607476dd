"""Hair: where it is, to the strand, and how it turns grey.

A small network finds hair in a face's frame (`HairMatte`); a guided filter brings the matte to the edges of the photo
at the photo's own size, and the colours to both sides of its outline draw it anew. Grey grows strand by strand
(`turn_grey`): each strand has a threshold of its own, taken from the photo, and turns when enough of the head's hair
has turned; roots and temples come first, strands at the border of the frame last. Beyond the frame hair goes on as far
as it hangs together and has the colours of what was found (`spread_beyond`). A beard greys with the hair, and is gone
on a child.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import luma, places, recorded, resize

MATTE_SIDE = 128
"""Side of the matte as the network gives it."""
FEATURES_SIDE = 64
"""Largest side at which eyes, nose and mouth are drawn."""
RARE_HAIR = -9.0
"""Initial bias of a hair network: sigmoid(-9) = 0.01 %, so one that was not trained finds none."""
WINDOW = 0.031
"""Radius of the guided filter's windows, in sides of the picture."""
SURE = (0.35, 0.8)
"""A refined matte below the first is no hair, above the second it is all hair."""
LIKELY = (0.3, 0.5)
"""A matte of the network below the first is surely no hair; above the second it is hair where nothing else is near."""
CORE = 0.03
"""How far from its outline hair is all hair, in sides of the picture."""
BESIDE = (-0.1, 0.3)
"""Values of `place_on_head` between which the colour of the skin begins to exclude a pixel from the hair."""
ALIKE = (0.5, 0.8)
"""Shares of the way from the hair's colour to the skin's: below the first a pixel is hair, above the second skin."""
OUTLINE = 0.05
"""Half the width of the band along a matte's outline that is redrawn, in sides of the picture."""
SEEN = (0.15, 0.95)
"""Shares of the way from the colours beside hair to those in it: below the first none is seen, above the second only
hair."""
TOLD_APART = 0.08
"""Squared distance of two colours, in units of [-1,1], at which a pixel's place between them counts half."""
DISTINCT = 0.05
"""Squared distance of the skin's colour from the hair's, in units of [-1,1], below which they cannot be told apart."""
OTHER_CHROMA = 0.1
"""Distance of a chroma from the hair's mean one, in units of [-1,1] and beside 1.5 times the hair's own spread, up to
which a pixel counts as hair; at twice that it is none."""
GREEN, BLUE = (0.07, 0.14), (0.25, 0.4)
"""How much more green than red, or more blue than either, a pixel has that begins to be, and surely is, no hair."""
LIGHT_APART = 0.4
"""How much a distance in brightness counts beside one in chroma."""
NEAR = (0.1, 0.5)
"""Values of `place_on_head` between which hair begins to count for the hair's colour."""
MOST_TURNED = 0.92
"""Largest share of a head's strands that turn."""
VARIETY = 0.45
"""How much a strand's own threshold counts beside the head's share, in logits per standard deviation."""
ROOTS_FIRST = 0.6
"""How many logits earlier strands at the roots and temples turn than the mean one, and the lengths later."""
FRAME_FADE = (0.03, 0.13, 0.25)
"""Distances from the border of a face's frame, in its sides: up to the first no hair changes, from the second on all
that is to change does, and up to the third more and more strands turn."""
REACH = (-0.5, -0.35, 1.5, 1.65)
"""How far hair is changed around a face's frame, in its sides: left, top, right, bottom. Long hair hangs down."""
REACH_FADE = (0.01, 0.06, 0.1)
"""FRAME_FADE of a picture that reaches so far."""
FEW_AT_BORDER = 2.5
"""How many logits later strands turn at the picture's border."""
NOISE = 0.03
"""Standard deviation of brightness, in units of [-1,1], that a photo's noise has: less is no strand."""
BLACK = 1.06
"""Added to a brightness in [-1,1] before ratios are taken: 0.06 more than black, so that noise in black is none."""
DETAIL, GLOSS = 0.4, 1.0
"""How much of the detail of hair, in logs of brightness, white hair shows, and the most that it shows."""
GREY_CHROMA = 0.12
"""What is left of the colour of a strand that has turned."""
DEEP = 28
"""Hair deeper than this part of a picture's side lies within hair all around."""
SURROUNDED = (0.6, 0.85)
"""Mean of the hair around a pixel: below the first it does not lie deep within hair, above the second it does."""
EDGE = 0.08
"""Sides of the frame over which what a network saw there begins to count at its border."""
OFF_FACE = (0.1, 0.2)
"""Distances from the head's oval (`off_oval`): up to the first there may be face, from the second on there is none."""
ABOVE = (0.8, 1.0)
"""The same for heights over the ears, in half widths of the face: a forehead ends between them."""
PALE = 0.04
"""Mean distance from grey, in units of [-1,1], from which on up to half as much again hair still has some colour."""
NOT_DARK = (-0.55, -0.35)
"""Brightness from which on hair without colour is grey, between the two less and less black."""
SKIN_COLOUR = 0.1
"""Mean distance of skin from grey below which a photo has less and less colour to go by."""
BINS = 12
"""Cells a channel of the histograms of colours."""
FLOOD = (2.0, 4.0)
"""Hair beyond the frame, in the area of the hair within: up to the first all of it counts, from the second on none."""
DOUBT = 1.2
"""Least log of how much more often a colour is hair's than not, for hair beyond the frame."""
FARTHER = 0.985
"""What is left of hair with each step of a 64th of a picture away from the frame."""
BEARD = (0.5, 0.78)
"""Brightness above black, in that of the cheeks: where beards grow a pixel is all beard below the first, and none above
the second."""
BEARDED = (0.2, 0.4)
"""Mean share of beard where it grows: below the first a face has none, above the second it counts fully."""
BEARDLESS = (12.0, 20.0)
"""Years: up to the first a face has no beard, from the second on it keeps its own."""
CHEEKS = (1, 2, 14, 15), (29, 30, 30, 29)
"""Pairs of iBUG's points with a cheek half-way between them, the left cheek's first."""
FEATURES = (36, 37, 44, 45, 54, 57, 48)
"""iBUG's points around eyes, nose and mouth."""
NOSE = (35, 33, 31)
"""iBUG's points below the nose, from right to left."""
SHAVEN = 0.8
"""Share of a beard that goes: the chin keeps some of its shade."""
SKIN_DETAIL = 0.3
"""How much of its own detail skin shows that takes a beard's place."""
MOST_COLOUR = 1.5
"""Largest factor on the saturation of hair."""


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


def box(x: Tensor, radius: int) -> Tensor:
    """The mean over (2 radius + 1)^2 pixels, (B,C,H,W) -> the same; at the border over those that there are."""
    # A box filter is separable: along rows, then along columns. As products with banded matrices it costs the same at
    # any radius, and at these sides far less than pooling.
    if recorded():  # a graph would have to hold the matrices
        side = 2 * radius + 1
        x = F.avg_pool2d(x, (1, side), 1, (0, radius), count_include_pad=False)
        return F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    down, along = (averaging(side, radius, x.dtype, x.device) for side in x.shape[-2:])
    return down @ (x @ along.mT)


@lru_cache(maxsize=64)
def averaging(side: int, radius: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side,side): each row averages the pixels of a line that are at most `radius` away."""
    with torch.inference_mode(False):  # training must be able to use what an edit made first
        line = torch.arange(side, device=device)
        near = ((line[:, None] - line).abs() <= radius).to(dtype)
        return near / near.sum(1, keepdim=True)


def smooth(x: Tensor, cell: int) -> Tensor:
    """(B,C,S,S) -> (B,C,S/cell,S/cell): means over about three cells a side."""
    return box(F.avg_pool2d(x, cell, cell, ceil_mode=True, count_include_pad=False), 1)


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


def grown_mask(mask: Tensor, radius: int) -> Tensor:
    """The largest value (B,1,s,s) within a square of `radius` pixels around each."""
    return F.max_pool2d(mask, 2 * radius + 1, 1, radius)


def nearest_mean(small: Tensor, sure: Tensor, wide: int) -> tuple[Tensor, Tensor]:
    """The mean colour (B,3,s,s) of a picture's pixels that are `sure` (B,1,s,s) around each pixel, the nearest first,
    and how far there are any (B,1,s,s) in 0..1."""
    sure = sure * (sure > 0.2)
    # A wider window counts only where a narrower one holds nothing.
    around = [
        weight * box(torch.cat([small * sure, sure], 1), radius)
        for radius, weight in ((wide + 2, 1.0), (2 * wide + 2, 0.03), (5 * wide, 0.001))
    ]
    colour, weight = torch.stack(around).sum(0).split([3, 1], 1)
    near = box(box(sure, 3 * wide), 3 * wide)
    mean = weighted_mean(small, sure + 1e-6)
    return (colour + 1e-6 * mean) / (weight + 1e-6), near / (near + 0.02)


def enlarged(x: Tensor, side: int) -> Tensor:
    """Smooth maps (B,C,s,s) -> (B,C,side,side), bilinear."""
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def on_head(landmarks: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(B,68,2) in 0..1 of a picture -> how far each pixel lies to the right of the middle of the ears and below it, in
    half widths of the face along its own axes, (B,1,side,side) each."""
    left, right = landmarks[:, 0], landmarks[:, 16]
    across = right - left
    half = across.norm(dim=1).clamp_min(1e-3) / 2
    x_axis = across / (2 * half[:, None])
    y_axis = torch.stack([-x_axis[:, 1], x_axis[:, 0]], 1)
    line = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    away = (pixels - ((left + right) / 2)[:, None]) / half[:, None, None]
    x, y = ((away * axis[:, None]).sum(-1).view(-1, 1, side, side) for axis in (x_axis, y_axis))
    return x, y


def off_oval(x: Tensor, y: Tensor) -> Tensor:
    """How far a place of `on_head` lies off the head, an ellipse 1.25 times as high as wide: 0 on its outline."""
    return ((x.square() + (y / 1.25).square()).sqrt() - 1).clamp_min(0)


def place_on_head(x: Tensor, y: Tensor) -> Tensor:
    """How early hair turns at a place of `on_head`: from 1 at the temples to -1 at lengths a face's width away."""
    far = off_oval(x, y)
    temples = torch.exp(-((y + 0.1) / 0.45).square() - (far / 0.3).square())
    early = 0.6 - 1.6 * (far / 1.2).clamp(max=1) + 0.6 * temples
    return early.clamp(-1, 1)


def off_face(x: Tensor, y: Tensor) -> Tensor:
    """Whether a place of `on_head` lies beside the face or above its forehead, 0..1."""
    return torch.maximum(ramp(off_oval(x, y), *OFF_FACE), ramp(-y, *ABOVE))


def skin_colour(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Median colour (B,3,1,1) of the cheeks and the chin of pictures (B,3,S,S) with landmarks (B,68,2) in 0..1."""
    # Places two thirds of the way from the tip of the nose to the jaw, each the mean of a few pixels around it.
    places = 0.35 * landmarks[:, 30:31] + 0.65 * landmarks[:, 1:16]
    seen = F.grid_sample(picture, 2 * places[:, None] - 1, padding_mode="border", align_corners=False)
    return seen.sort(3).values[..., 7:8]  # the median of (B,3,1,15)


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """(B,C,S,S) with a weight (B,1,S,S) -> (B,C,1,1)."""
    return (x * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1e-3)


class Head(NamedTuple):
    """What hair is changed by, of B pictures."""

    place: Tensor
    """(B,1,s,s), see `place_on_head`."""
    off_face: Tensor
    """(B,1,s,s), see `off_face`."""
    small: Tensor
    """(B,3,s,s), the picture at a side of 128 or less."""
    hair: Tensor
    """(B,1,s,s) in 0..1."""
    skin: Tensor
    """(B,3,1,1), the skin's colour."""
    colour: Tensor
    """(B,3,1,1), the hair's mean colour."""
    within: Tensor
    """(1,1,s,s) in 0..1: 0 at the picture's border, 1 from the third of FRAME_FADE on."""

    @classmethod
    def of(
        cls,
        picture: Tensor,
        hair: Tensor,
        landmarks: Tensor,
        fade: tuple[float, float, float] = FRAME_FADE,
    ) -> Head:
        """Of pictures (B,3,S,S) with hair (B,1,S,S) and landmarks (B,68,2) in 0..1. fade: see FRAME_FADE."""
        side = min(MATTE_SIDE, picture.shape[-1])
        small, mask = resize(picture, side), resize(hair, side)
        where = on_head(landmarks, side)
        place = place_on_head(*where)
        # The hair's colour is that at the head's outline: far from it a mask errs more often.
        near = ((place - NEAR[0]) / (NEAR[1] - NEAR[0])).clamp(0.02, 1)
        within = ramp(away_from_border(side, small), fade[0], fade[2])
        colour = weighted_mean(small, mask * near)
        return cls(place, off_face(*where), small, mask, skin_colour(small, landmarks), colour, within)


def away_from_border(side: int, like: Tensor) -> Tensor:
    """(1,1,side,side): each pixel's distance from the nearest border of a picture, in sides."""
    line = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side
    near = torch.minimum(line, 1 - line)
    return torch.minimum(near[:, None], near[None, :])[None, None]


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, smooth between (a cubic)."""
    share = ((x - low) / (high - low)).clamp(0, 1)
    return share.square() * (3 - 2 * share)


def without_skin(hair: Tensor, picture: Tensor, head: Head) -> Tensor:
    """The matte (B,1,S,S) without what has the skin's colour, beside the face (ears, the hairline), and without what
    has another chroma than the hair (a coloured background)."""
    # The share of the way from the hair's mean colour h to the skin's s: <p - h, s - h> / |s - h|^2. Where both are
    # alike, as in blond hair on light skin, DISTINCT keeps it small, and everything stays.
    way = head.skin - head.colour
    way = way / (way.square().sum(1, keepdim=True) + DISTINCT)
    start = (head.colour * way).sum(1, keepdim=True)
    red, green, blue = (way * picture.new_ones(1)).split(1, 1)
    share = picture[:, :1] * red + picture[:, 1:2] * green + picture[:, 2:] * blue - start
    beside = enlarged(((head.place - BESIDE[0]) / (BESIDE[1] - BESIDE[0])).clamp(0, 1), picture.shape[-1])
    # Deep within the hair, away from the face, a colour near the skin's is a highlight.
    radius = max(1, head.hair.shape[-1] // DEEP)
    deep = ramp(box(head.hair, radius), *SURROUNDED) * head.off_face
    beside = beside * enlarged(1 - deep, picture.shape[-1])
    hair = hair * (1 - beside * ((share - ALIKE[0]) / (ALIKE[1] - ALIKE[0])).clamp(0, 1))
    away = box(head.small, 2) - head.colour
    light = luma(away)
    apart = ((away - light).square().sum(1, keepdim=True) + (LIGHT_APART * light).square() + 1e-8).sqrt()
    limit = (OTHER_CHROMA + 1.5 * weighted_mean(apart, head.hair)) * (1 + 0.5 * deep)
    return hair * enlarged((2 - apart / limit).clamp(0, 1), picture.shape[-1])


def grey_before(head: Head) -> Tensor:
    """Where a picture with colour is grey and not dark, (B,1,s,s) in 0..1: grey cloth, or hair that has turned."""
    # At the hair's outline what lies beside it must not count: the mean is that of the hair alone.
    around, weight = box(torch.cat([head.small * head.hair, head.hair], 1), 2).split([3, 1], 1)
    around = (around + 1e-3 * head.small) / (weight + 1e-3)
    skin = (head.skin - luma(head.skin)).abs().mean(1, keepdim=True)
    light = luma(around)
    chroma = (around - light).abs().mean(1, keepdim=True)
    dark, bright = NOT_DARK
    pale = (1.5 - chroma / PALE).clamp(0, 1) * ((light - dark) / (bright - dark)).clamp(0, 1)
    return pale * (skin / SKIN_COLOUR).clamp(max=1)


def threshold(light: Tensor, hair: Tensor) -> Tensor:
    """Brightness and hair (B,1,S,S) -> how early each strand turns, about standard normal: what stands out bright turns
    first. It is the photo's own fine detail, in its local standard deviations, and so the same at every edit."""
    side = light.shape[-1]
    cell = 4 if side >= 640 else 2
    total, share = smooth(torch.cat([light * hair, hair], 1), cell).split(1, 1)
    around = (total - 1e-3) / (share + 1e-3)  # black where there is no hair
    detail = (light - enlarged(around, side)) * hair
    spread = enlarged(smooth(detail.square(), 2 * cell).sqrt() + NOISE, side)
    return (detail / spread).clamp(-2, 2)


class Strands(NamedTuple):
    """What is known of the hair of B pictures before it turns grey, whatever the age."""

    white: Tensor
    """(B,1,1,1), the brightness of white hair."""
    early: Tensor
    """(B,1,S,S), see `threshold`."""
    rise: Tensor
    """(B,1,S,S), by how much a strand that turns white grows brighter."""
    chroma: Tensor
    """(B,3,S,S), the hair's own colour without its brightness."""


def strands_of(picture: Tensor, hair: Tensor, head: Head) -> Strands:
    """Of pictures (B,3,S,S) in [-1,1] with hair (B,1,S,S) in 0..1."""
    side, light, mean = picture.shape[-1], luma(picture), luma(head.colour)
    # White hair is about as bright as the skin beside it.
    white = 0.6 * luma(head.skin) + 0.05
    # A white strand keeps the photo's light: its surroundings compressed, and its own detail more so, for the gloss of
    # dark hair is a multiple of its colour and that of white hair is not.
    sure = (2 * head.hair - 1).clamp_min(0) + 1e-4 * head.hair
    total, weight = box(torch.cat([head.small * sure, sure], 1), 5).split([3, 1], 1)
    nearby = (total + 1e-6 * head.colour) / (weight + 1e-6)
    around = luma(nearby) + BLACK
    lit = (around / (mean + BLACK)).clamp(0, 2.5)
    level = torch.maximum((white + 1) * lit.pow(0.6), around)
    inner = -F.max_pool2d(-sure, 3, 1, 1)
    maps = enlarged(torch.cat([level, around, inner, nearby - luma(nearby)], 1), side)
    level, around, inner, tint = maps.split([1, 1, 1, 3], 1)
    detail = ((light + BLACK) / around.clamp_min(0.02)).clamp(0.05, 20).log()
    gloss = (GLOSS * (detail * (DETAIL / GLOSS)).tanh()).exp()
    # At the hair's edge a bright pixel is skin or background that shows through, no gloss: own = min(light, around).
    own = torch.lerp(torch.minimum(light, around - BLACK), light, inner)
    # There p = a h + (1 - a) o: only the hair's own colour h changes, by as much as the hair around does, and what
    # shows through stays.
    rise = torch.lerp(level - 1 - (around - BLACK), level * gloss - 1 - light, inner)
    return Strands(white, threshold(own, hair), rise, torch.lerp(tint, picture - light, inner))


def turn_grey(
    picture: Tensor, hair: Tensor, head: Head, strands: Strands, lighter: Tensor, colour: Tensor
) -> Tensor:
    """Hair grown older. picture (B,3,S,S) in [-1,1], hair (B,1,S,S) and its strands, lighter, the measured change of
    the hair's brightness in the skin's above black, and colour, the change of its log saturation, (B,1,1,1) each -> the
    picture with its hair changed."""
    skin_light, mean = luma(head.skin), luma(head.colour)
    # The mean brightness is to rise by lighter * (skin + 1); with strands that stay and strands that turn white, that
    # is a share of lighter * (skin + 1) / (white - mean).
    share = lighter * (skin_light + 1) / (strands.white - mean).clamp_min(0.35)
    share = share.clamp(1e-4, MOST_TURNED)
    # logit of a strand = logit(share) + VARIETY * threshold + ROOTS_FIRST * place. A logistic over a normal variable of
    # standard deviation v has the mean of one whose logit is shrunk by sqrt(1 + pi v^2 / 8) (MacKay 1992), so that the
    # mean over the strands stays the share.
    logit = torch.logit(share) * (1 + torch.pi * VARIETY**2 / 8) ** 0.5 + ROOTS_FIRST * head.place
    logit = enlarged(logit - FEW_AT_BORDER * (1 - head.within), picture.shape[-1])
    turned = torch.add(logit, strands.early, alpha=VARIETY).sigmoid() * (lighter > 0)
    kept = colour.exp().clamp(0, MOST_COLOUR)
    faded = kept - 1 + turned * (GREY_CHROMA - kept)
    return torch.addcmul(picture + hair * (strands.rise * turned), hair * faded, strands.chroma)


def turn_young(picture: Tensor, hair: Tensor, head: Head, lighter: Tensor, colour: Tensor) -> Tensor:
    """Hair grown younger, or out of childhood: brightness and saturation by one factor each. As `turn_grey`."""
    light = luma(picture)
    mean, skin_light = luma(head.colour), luma(head.skin)
    factor = (1 + lighter * (skin_light + 1) / (mean + 1).clamp_min(0.1)).clamp(0.55, 1.3)
    grown = (light + 1) * factor - 1 + (picture - light) * colour.exp().clamp(0, MOST_COLOUR)
    return picture + hair * enlarged(head.within, picture.shape[-1]) * (grown - picture)


class Beard(NamedTuple):
    """The beards of B pictures, where a face has one."""

    share: Tensor
    """(B,1,S,S) in 0..1: how much of each pixel is beard."""
    skin: Tensor
    """(B,3,s,s): the colour of the skin there, from both cheeks, at the side of 128 or less."""

    @classmethod
    def of(cls, picture: Tensor, landmarks: Tensor) -> Beard:
        """Of pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1."""
        side = picture.shape[-1]
        small = resize(picture, min(MATTE_SIDE, side))
        reduced, where = luma(small), beard_region(landmarks, small.shape[-1])
        # Cheeks beside the nose, above all but the longest beards; light may come from one side.
        outer, inner = (landmarks[:, places(ids, landmarks)] for ids in CHEEKS)
        cheeks = (outer + inner) / 2
        seen = F.grid_sample(
            box(small, 2), 2 * cheeks[:, None] - 1, padding_mode="border", align_corners=False
        )[:, :, 0]
        left, right = seen[:, :, :2].mean(2), seen[:, :, 2:].mean(2)
        line = (torch.arange(small.shape[-1], device=picture.device, dtype=picture.dtype) + 0.5) / len(
            small[0, 0]
        )
        start, end = cheeks[:, :2, 0].mean(1)[:, None], cheeks[:, 2:, 0].mean(1)[:, None]
        place = ((line - start) / (end - start).abs().clamp_min(0.02)).clamp(0, 1)
        skin = torch.lerp(left[:, :, None, None], right[:, :, None, None], place[:, None, None])
        skin = skin.expand_as(small)
        ratio = (reduced + BLACK) / (luma(skin) + BLACK)
        share = ((BEARD[1] - ratio) / (BEARD[1] - BEARD[0])).clamp(0, 1)
        # Chin and moustache tell whether there is a beard: beside the jaw there may be shadow.
        spread = (landmarks[:, 54, 0] - landmarks[:, 48, 0]).abs().clamp_min(0.05)[:, None, None, None]
        core = where * ((line - landmarks[:, 8, :1, None, None]).abs() < 0.6 * spread)
        amount = ramp(weighted_mean(share, core), *BEARDED)
        return cls(enlarged(box(share * where, 1) * amount, side), skin)


def beard_region(landmarks: Tensor, side: int) -> Tensor:
    """Where beards grow on faces with landmarks (B,68,2) in 0..1: (B,1,side,side) in 0..1, with a soft edge."""
    tip, chin = landmarks[:, 30:31], landmarks[:, 8:9]
    jaw = tip + 1.02 * (landmarks[:, 3:14] - tip)
    left, right = (
        0.55 * landmarks[:, i : i + 1] + 0.45 * landmarks[:, j : j + 1] for i, j in ((3, 48), (13, 54))
    )
    nose = landmarks[:, places(NOSE, landmarks)] + 0.04 * (chin - tip)
    outline = torch.cat([jaw, right, nose, left], 1)
    middle = landmarks[:, 48:60].mean(1, keepdim=True)
    lips = middle + 1.15 * (landmarks[:, 48:60] - middle)
    return box(inside_polygon(outline, side) * (1 - inside_polygon(lips, side)), max(1, side // 100))


def unnatural(picture: Tensor) -> Tensor:
    """Where pictures (B,3,S,S) in [-1,1] have a colour that no hair has, green or deep blue: (B,1,s,s) in 0..1 at
    MATTE_SIDE or less. Melanin makes hair black, brown, red or yellow; only a sheen of the sky on it is bluish."""
    red, green, blue = box(resize(picture, min(MATTE_SIDE, picture.shape[-1])), 1).split(1, 1)
    return torch.maximum(ramp(green - red, *GREEN), ramp(blue - torch.maximum(red, green), *BLUE))


def features(landmarks: Tensor, side: int) -> Tensor:
    """Eyes, nose and mouth of faces with landmarks (B,68,2) in 0..1: (B,1,side,side) in 0..1, with a soft edge. Dark as
    they are, they are no hair."""
    outline = landmarks[:, places(FEATURES, landmarks)]
    middle = outline.mean(1, keepdim=True)
    return box(inside_polygon(middle + 1.35 * (outline - middle), side), 1)


def inside_polygon(corners: Tensor, side: int) -> Tensor:
    """Corners (B,N,2) in 0..1 of a picture -> (B,1,side,side): 1 within the polygon, else 0."""
    line = (torch.arange(side, device=corners.device, dtype=corners.dtype) + 0.5) / side
    x, y = line[None, None, None, :], line[None, None, :, None]
    px, py = (part[..., None, None] for part in corners.unbind(-1))
    after = torch.cat([corners[:, 1:], corners[:, :1]], 1)
    qx, qy = (part[..., None, None] for part in after.unbind(-1))
    rise = torch.where((qy - py).abs() < 1e-6, torch.full_like(py, 1e-6), qy - py)
    # A ray to the right crosses an odd number of edges from within.
    between = ((py > y).to(corners.dtype) - (qy > y).to(corners.dtype)).abs()
    crossed = between * (x < (qx - px) * (y - py) / rise + px).to(corners.dtype)
    half = crossed.sum(1, keepdim=True) / 2
    return 2 * (half - half.floor())


def shave(picture: Tensor, beard: Beard, amount: Tensor) -> Tensor:
    """Pictures (B,3,S,S) whose beards give way to the skin's colour, by an amount (B,1,1,1) in 0..1."""
    light = luma(picture)
    small = resize(light, min(MATTE_SIDE, light.shape[-1]))
    detail = light - enlarged(box(small, 2), light.shape[-1])
    skin = enlarged(beard.skin.contiguous(), light.shape[-1]) + SKIN_DETAIL * detail
    return picture + (amount * beard.share).clamp(0, 1) * (skin - picture)


@dataclass(frozen=True, eq=False)
class Growth:
    """Hair of B pictures (B,3,S,S) in [-1,1] that is to grow in one direction, older or younger, by any number of
    years. hair (B,1,S,S) in 0..1, without what only looks like it."""

    picture: Tensor
    hair: Tensor
    head: Head
    beard: Beard

    @classmethod
    def of(
        cls, picture: Tensor, hair: Tensor, landmarks: Tensor, older: Tensor, fade: tuple[float, float, float]
    ) -> Growth:
        """Of hair (B,1,S,S) as it was found, landmarks (B,68,2) in 0..1, and whether each picture grows older, (B,)."""
        side = picture.shape[-1]
        hair = hair * (1 - enlarged(features(landmarks, min(FEATURES_SIDE, side)), side))
        hair = hair * (1 - enlarged(unnatural(picture), side))
        beard = Beard.of(picture, landmarks)
        beard = beard._replace(share=beard.share * (1 - hair))
        hair = torch.maximum(hair, beard.share * older[:, None, None, None])
        head = Head.of(picture, hair, landmarks, fade)
        hair = without_skin(hair, picture, head) * ramp(away_from_border(side, picture), *fade[:2])
        return cls(picture, hair, head, beard)

    @cached_property
    def greying(self) -> tuple[Tensor, Strands]:
        """The hair that is not grey yet, and its strands."""
        hair = self.hair * enlarged(1 - grey_before(self.head), self.hair.shape[-1])
        return hair, strands_of(self.picture, hair, self.head)

    def grey(self, lighter: Tensor, colour: Tensor) -> Tensor:
        """The pictures with older hair, see `turn_grey`."""
        hair, strands = self.greying
        return turn_grey(self.picture, hair, self.head, strands, lighter, colour)

    def young(self, bare: Tensor, lighter: Tensor, colour: Tensor) -> Tensor:
        """The pictures with younger hair, see `turn_young`. bare: how much of a beard goes, (B,1,1,1) in 0..1."""
        return turn_young(shave(self.picture, self.beard, bare), self.hair, self.head, lighter, colour)
