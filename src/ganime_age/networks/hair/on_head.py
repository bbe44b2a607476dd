"""What is known of a head before its hair changes (`Head`): the place of each pixel on it, the colours of its hair and
its skin; what only looks like hair, a green or blue background or an ear; and tips and coloured strands on a face.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import Window, constant, dilate, enlarge, luma, may_ask, resize
from ..warp import sideways
from .beard import TURNED, warm
from .filters import BLACK, border_fade, box, part_of, ramp, square_around, tall, weighted_mean, within
from .finding import MATTE_SIDE

GREEN, BLUE = (0.07, 0.14), (0.25, 0.4)
"""How much more green than red, or more blue than either, a pixel has that begins to be, and surely is, no hair."""
SPOT, COLD, BLUER = 3, (0.02, 0.08), (0.35, 0.5)
"""Half the width, in pixels of a picture of MATTE_SIDE, up to which such a colour may be a light on hair; how much
bluer than green it begins to be one, and is; and how much more blue than either it may be, and is too blue."""
SHEEN, MOSTLY = 0.2, (0.5, 0.9)
"""How much more blue than either all of a head's hair has at most, in the light of the sky; and the share of it that is
not bluer than any hair up to which that tells nothing, and from which on all."""
BLACK_HAIR, DEEP_GREEN = (-0.7, -0.5), (0.35, 0.55)
"""Brightness up to which black hair may look green by the light or the film, and from which on it does not; and shares
of green beyond red that black hair does not have either."""
NEAR = (0.075, 0.375)
"""Half widths of a face from the outline of the head up to which hair counts for the hair's colour, and from which on
it hardly does: far from it a mask errs more often."""
FRAME_FADE = (0.03, 0.13, 0.25)
"""Distances from the border of a face's frame, in its sides: up to the first no hair changes, from the second on all
that is to change does, and up to the third more and more strands turn."""

EAR = (1.14, 0.15, 0.34, 0.6)
"""An ear in the units of `on_head`: its middle, and its half width and height with room for another one's."""
AROUND = (3.0, 6.0)
"""Up to how many of its own squared radii hair lies around an ear, and from which on it does not."""
WHOLE = (0.4, 0.7)
"""Share of skin around a place up to which it is a strand in the light, and from which on it is an ear."""
BARE, BETWEEN_STRANDS = (0.3, 0.6), (0.5, 0.95)
"""How far the colour of such a place lies on the way from the hair's to the skin's: hair, and surely skin. The same for
what shows between dark strands on a face."""
DARK_STRANDS = (2.1, 2.8)
"""How many times as bright as the hair skin is up to which BARE holds there, too, and from which on BETWEEN_STRANDS
does: of hair that is less dark, skin in the shade cannot be told from a tip that is hair in part."""
BROW, TEMPLE = (-1.05, -0.85), (0.85, 1.0)
"""Heights, and distances from the middle, in the units of `on_head`, between which a face begins and ends."""
DARKER = (1.7, 2.3)
"""How many times as bright as the hair skin is from which on a glossy strand of it no more looks like skin."""
APART = (0.1, 0.25)
"""Distance of the colours of hair and skin up to which they tell nothing, and from which on they tell all."""
ASIDE = (0.1, 0.3)
"""Squared distance of a colour from the line between the hair's and the skin's, in the line's: up to the first it lies
on it, from the second on it is neither's, such as red hair in the light."""
NIGHT = (-0.8, -0.65)
"""Brightness up to which black is all that can be seen, and from which on colours tell."""
AWAY = (0.35, 0.9)
"""Half widths of a face from the outline of the head at which hair in the dark begins to be doubtful, and is."""
FRINGE_SIDE, TIPS, TIP = 512, 14, (0.35, 1.0)
"""Largest side at which tips of strands on a forehead are looked for; how far from other hair they lie, in pixels of a
picture of 128; and the shares of the hair's colour that they begin to have, and surely have."""
SURER, DARK_ENOUGH = 0.4, (1.2, 1.45)
"""How much more of the hair's colour a tip must show, the nearer the skin's brightness in the hair's is to the first of
DARKER; and that brightness up to which nothing is told of tips, and from which on all."""
CHEEKS, BESIDE_NOSE, SHADED = (0.35, 0.45, 0.65, 0.75), (0.2, 0.35, 0.75, 0.85), (0.1, 0.25)
"""Heights of the cheeks and their distances from the middle, in the units of `on_head`, see `filters.within`; and the
share of them that looks like such tips up to which a half of the face is in the light, and from which on it lies in the
shade, where skin is as dark as hair."""
ABOVE_BROWS, CROWN, BETWEEN = (0.05, 0.15), (-1.28, -1.1), (0.75, 0.88)
"""Half widths of a face above the brows from which on what is dark may be, and is, such a tip; and heights, in the
units of `on_head`, below which, and distances from the middle within which, it is one."""
TEMPLES, BURNS, REACHES_IN, TALL = (0.68, 0.8, 1.1, 1.2), (0.3, 0.45), 4, 10
"""Distances from the middle of temples, in the units of `on_head`, see `filters.within`; heights below which what is
dark there begins to be, and is, no hair; how far from other hair it lies, in pixels of a picture of 128; and pixels of
FRINGE_SIDE to each side of the middle of the lowest that is hair: the arms of glasses are dark, too."""
VIVID, VIVID_TIP, COLOUR_SEEN = (0.2, 0.25), (0.75, 1.1), (0.15, 0.3)
"""How far hair's colour, in its brightness, lies from the skin's from which on strands on the face begin to be told by
it, and are; shares of that way from which on a place begins to be, and surely is, such a strand: skin in the shade is
redder than in the light; and brightness above black from which on colours begin to tell, and tell all."""
VIVID_NEAR, MOUTH = 5, (0.6, 0.8)
"""How far such strands lie from other hair, in pixels of a picture of 128; and heights, in the units of `on_head`, to
which they are looked for: lips are red, too."""
EYE = (0.65, 0.4, 1.0, 1.2)
"""Half the width and height of an eye with its lashes, in its widths; and parts of these up to which there is no such
strand, and from which on there may be."""
PALE_SKIN = (0.75, 0.9)
"""Value of the skin's brightest channel from which on a photo shows less and less, and nothing, of its colour."""
RUDDY = (0.02, 0.05)
"""Share of the face that looks like such a strand up to which they can be told, and from which on not: skin is as red
in warm light, and by a blush."""
LOWEST = 100.0
"""A height in these units below all pictures."""
EAR_SIDE = 512
"""Largest side at which ears, skin between strands, and shaven heads are looked for."""
AS_BRIGHT, AS_WARM = (0.78, 0.84, 1.1, 1.15), (0.35, 0.42, 1.15, 1.3)
"""Brightness above black, and warmth, of a shaven head in those of the skin, see `filters.within`. Grey hair is less
warm, and so is the gloss of black hair."""
SHORN, DETAIL_OVER, CORE = (0.04, 0.052), 3, 4
"""Standard deviation of the log of brightness, less what lies around it, up to which stubble on a head is skin, and
from which on it is hair; over how many pixels of EAR_SIDE that is; and how far within hair it is measured."""
SHOWS, ENOUGH = 256, (0.0003, 0.0008)
"""Least side of a picture that shows strands; and share of it up to which so little lies within hair that it tells
nothing, and from which on it does."""


class Head(NamedTuple):
    """What hair is changed by, of B pictures."""

    place: Tensor
    """(B,1,s,s), see `place_on_head`."""
    off: Tensor
    """(B,1,s,s), see `off_oval`."""
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
    half: Tensor
    """(B,1,1,1): half the width of the face, in pixels of the hair that was given."""

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
        x, y = on_head(landmarks, side)
        off = off_oval(x, y)
        near = (1 - ramp(off, *NEAR)).clamp_min(0.02)
        within = border_fade(side, fade[0], fade[2], like=small)
        colour = weighted_mean(small, mask * near)
        half = hair.shape[-1] * head_axes(landmarks)[1][:, None, None, None]
        return cls(place_on_head(x, y), off, small, mask, skin_colour(small, landmarks), colour, within, half)


def on_head(landmarks: Tensor, side: int, window: Window | None = None) -> tuple[Tensor, Tensor]:
    """(B,68,2) in 0..1 of a picture -> how far each pixel lies to the right of the middle of the ears and below it, in
    half widths of the face along its own axes, (B,1,side,side) each, or those in a window."""
    middle, half, axes = head_axes(landmarks)
    line = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    away = (line - middle[..., None]) / half[:, None, None]  # (B,2,side): of columns, of rows
    across, down = away[:, 0, None, None, :], away[:, 1, None, :, None]
    if window is not None:
        across, down = window.cut(across), window.cut(down)
    x, y = (
        across * axis[:, 0, None, None, None] + down * axis[:, 1, None, None, None] for axis in axes.unbind(1)
    )
    return x, y


def head_axes(landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks (B,68,2) -> the middle between the ears (B,2), half the width of the face (B,), and the directions to
    its right and down it, (B,2,2), of unit length."""
    left, right = landmarks[:, 0], landmarks[:, 16]
    across = right - left
    half = across.norm(dim=1).clamp_min(1e-3) / 2
    x_axis = across / (2 * half[:, None])
    y_axis = torch.stack([-x_axis[:, 1], x_axis[:, 0]], 1)
    return (left + right) / 2, half, torch.stack([x_axis, y_axis], 1)


def part_of_head(landmarks: Tensor, side: int, wide: float, heights: tuple[float, float]) -> Window | None:
    """The pixels of pictures of a side that lie no farther than `wide` aside and between two heights, in the units of
    `on_head`, of any of the heads, with one more around them. None, for the whole picture, where nobody may look."""
    if not may_ask(landmarks) or not torch.isfinite(landmarks).all():
        return None
    middle, half, axes = head_axes(landmarks)
    corners = constant((-wide, heights[0], wide, heights[0], -wide, heights[1], wide, heights[1]), landmarks)
    places = (middle[:, None] + half[:, None, None] * (corners.view(4, 2) @ axes)).flatten(0, 1) * side
    low, high = places.amin(0) - 1, places.amax(0) + 1
    low, high = low.floor().clamp(0, side - 1), high.ceil().clamp(1, side)
    columns, rows = torch.stack([low, torch.maximum(high, low + 1)], 1).long().unbind(0)
    return Window(rows, columns)


def put_in(part: Tensor, window: Window | None, side: int) -> Tensor:
    """A map (B,1,h,w) of a window as one of the whole pictures (B,1,side,side), 0 beyond it."""
    return part if window is None else window.put(part.new_zeros(len(part), 1, side, side), part)


def in_the_dark(small: Tensor, hair: Tensor, landmarks: Tensor) -> Tensor:
    """Where what is taken for hair (B,1,S,S) of pictures (B,3,s,s) with landmarks (B,68,2) in 0..1 is as black as what
    lies beside it, and away from the head: (B,1,s,s) in 0..1. Nobody can tell black hair from a black hat, a black
    jacket and the night there, and strands drawn on those look worse than hair that ends."""
    side, light = small.shape[-1], luma(small)
    bare = 1 - resize(hair, side)
    around, weight = box(torch.cat([light * bare, bare], 1), max(side // 10, 1)).split(1, 1)
    beside = (around + 1e-3) / (weight + 1e-3)  # within wide hair nothing lies beside
    far = ramp(off_oval(*on_head(landmarks, side)), *AWAY)
    return far * (1 - ramp(light, *NIGHT)) * (1 - ramp(beside, *NIGHT))


def bare_skin(picture: Tensor, landmarks: Tensor, head: Head) -> Tensor:
    """Where pictures (B,3,S,S) with landmarks (B,68,2) in 0..1 show skin within what is taken for hair: (B,1,s,s) in
    0..1. Ears lie within hair, and skin shows between the strands that hang into a face; a small network takes both for
    it. On the face only hair that is much darker than the skin can be told from it."""
    side = min(EAR_SIDE, picture.shape[-1])
    window = part_of_head(landmarks, side, 2.0, (BROW[0] - 0.35, LOWEST))  # all of AROUND
    small, hair = (part_of(resize(part, side), window) for part in (picture, head.hair))
    x, y = on_head(landmarks, side, window)
    middle_x, middle_y, wide, high = EAR
    off = ((x.abs() - middle_x) / wide).square() + ((y - middle_y) / high).square()
    times = (luma(head.skin) + BLACK) / (luma(head.colour) + BLACK).clamp_min(0.02)
    on_face = ramp(y, *BROW) * (1 - ramp(x.abs(), *TEMPLE)) * ramp(times, *DARKER)
    # The hair around an ear, on its own side of the head, tells it from hair that is as pale as skin.
    ring = hair * ramp(off, 1.3, 1.6) * (1 - ramp(off, *AROUND))
    (ear,) = skin_seen(small, on_each_side(x, small, ring), head.skin, BARE)
    ear = ear * ramp(box(ear, max(side // 85, 1)), *WHOLE) * (1 - ramp(off, 0.7, 1.3))
    # Tips of dark strands are hair in part: what was drawn of them stays.
    bare, tips = skin_seen(small, head.colour, head.skin, BARE, BETWEEN_STRANDS)
    seen = torch.maximum(ear, on_face * torch.lerp(bare, tips, ramp(times, *DARK_STRANDS)))
    return put_in(seen, window, side)


def on_each_side(x: Tensor, maps: Tensor, weight: Tensor) -> Tensor:
    """The mean of maps (B,C,s,s) with a weight (B,1,s,s) on a place's own side of the head, (B,C,s,s), by its `on_head`
    x (B,1,s,s)."""
    # A little of the other side: nothing may be seen of one.
    sides = (side.to(weight) + 1e-4 for side in (x < 0, x > 0))
    left, right = (weighted_mean(maps, weight * side) for side in sides)
    return torch.where(x < 0, left, right)


def fringe(picture: Tensor, landmarks: Tensor, head: Head) -> Tensor:
    """Where single dark strands of pictures (B,3,S,S) with landmarks (B,68,2) in 0..1 hang into the forehead from what
    was found of the hair, and where hair at the temples goes on towards the face, (B,1,s,s) in 0..1: a small network
    finds no such tips, and ends before the hair does. Of hair that is not much darker than the skin nothing is told,
    nor on a half of the face that lies in the shade."""
    side = min(FRINGE_SIDE, picture.shape[-1])
    window = part_of_head(landmarks, side, TEMPLES[3], (CROWN[0], 1.0))
    small = part_of(resize(picture, side), window)
    x, y = on_head(landmarks, side)
    brows = F.grid_sample(y, 2 * landmarks[:, None, 17:27] - 1, padding_mode="border", align_corners=False)
    x, y = part_of(x, window), part_of(y, window)
    above = ramp(brows.amin((2, 3), keepdim=True) - y, *ABOVE_BROWS) * ramp(y, *CROWN)
    above = above * (1 - ramp(x.abs(), *BETWEEN))
    # They hang down: above hair a hat would be taken for them.
    hangs = F.max_pool2d(F.pad(head.hair, (2, 2, TIPS, 0)), (TIPS + 1, 5), 1)
    aside = F.max_pool2d(head.hair, (1, 2 * REACHES_IN + 1), 1, (0, REACHES_IN))
    near, beside = part_of(enlarge(torch.cat([box(hangs, 2), aside], 1), side), window).split(1, 1)
    temples = within(x.abs(), TEMPLES) * ramp(y, *CROWN) * (1 - ramp(y, *BURNS)) * off_eyes(x, y, landmarks)
    temples = temples * (1 - ramp(sideways(landmarks), *TURNED))[:, None, None, None]
    times = (luma(head.skin) + BLACK) / (luma(head.colour) + BLACK).clamp_min(0.02)
    share, told = between(small, head.skin, head.colour)
    tips = told * ramp(share - SURER * (1 - ramp(times, *DARKER)), *TIP)
    hair = part_of(enlarge(head.hair, side), window)
    cheeks = within(y, CHEEKS) * within(x.abs(), BESIDE_NOSE) * (1 - hair)
    lit = 1 - ramp(on_each_side(x, tips, cheeks), *SHADED)
    rims = torch.minimum(tips, tall(torch.maximum(tips, hair), max(TALL * side // FRINGE_SIDE, 1)))
    found = torch.maximum(above * near * tips, temples * beside * rims)
    return put_in(ramp(times, *DARK_ENOUGH) * lit * found, window, side)


def vivid(picture: Tensor, landmarks: Tensor, head: Head) -> Tensor:
    """Where strands on the face in pictures (B,3,S,S) with landmarks (B,68,2) in 0..1 have a colour that skin has not,
    beside what was found of hair of that colour, (B,1,s,s) in 0..1: orange and red hair."""
    side = min(FRINGE_SIDE, picture.shape[-1])
    window = part_of_head(landmarks, side, TEMPLE[1], (CROWN[0], MOUTH[1]))
    small = part_of(resize(picture, side), window)
    x, y = on_head(landmarks, side, window)
    place = (1 - ramp(x.abs(), *TEMPLE)) * (1 - ramp(y, *MOUTH)) * ramp(y, *CROWN) * off_eyes(x, y, landmarks)
    near = part_of(enlarge(box(dilate(head.hair, VIVID_NEAR, VIVID_NEAR), 1), side), window)
    skin, hair = in_brightness(head.skin), in_brightness(head.colour)
    way = hair - skin
    length = way.square().sum(1, keepdim=True).clamp_min(1e-4)
    share = ((in_brightness(small) - skin) * way).sum(1, keepdim=True) / length
    # Black hair has less colour than skin: of that grey things have as much.
    more = (hair.square() - skin.square()).sum(1, keepdim=True) > 0
    told = ramp(length.sqrt(), *VIVID) * more * (1 - ramp(head.skin.amax(1, keepdim=True), *PALE_SKIN))
    strands = ramp(share, *VIVID_TIP) * ramp(luma(small) + BLACK, *COLOUR_SEEN)
    ruddy = weighted_mean(strands, place * (y > BROW[1]) * (1 - near))
    return put_in(place * near * told * (1 - ramp(ruddy, *RUDDY)) * strands, window, side)


def off_eyes(x: Tensor, y: Tensor, landmarks: Tensor) -> Tensor:
    """Where no eye with its lashes is, by the `on_head` x, y (B,1,s,s) of places and landmarks (B,68,2): (B,1,s,s)."""
    middle, half, axes = head_axes(landmarks)
    wide, high, *fade = EYE
    off = torch.ones_like(x)
    for first, last in ((36, 39), (42, 45)):
        ends = (landmarks[:, first : last + 1 : 3] - middle[:, None]) @ axes.mT / half[:, None, None]
        width = (ends[:, 1] - ends[:, 0]).norm(dim=1)[:, None, None, None].clamp_min(1e-3)
        at_x, at_y = ends.mean(1)[:, :, None, None, None].unbind(1)
        away = (((x - at_x) / (wide * width)).square() + ((y - at_y) / (high * width)).square()).sqrt()
        off = off * ramp(away, *fade)
    return off


def in_brightness(colour: Tensor) -> Tensor:
    """Colours (B,3,H,W) in [-1,1] without their brightness, in it above black: the same in the shade."""
    light = luma(colour)
    return (colour - light) / (light + BLACK).clamp_min(0.1)


def shaven(picture: Tensor, hair: Tensor, head: Head) -> Tensor:
    """How surely pictures (B,3,S,S) show skin and stubble where hair (B,1,S,S) was found, (B,1,1,1) in 0..1: what is
    about as bright and as warm as the face and has no strands. White it would be a cap."""
    side = min(EAR_SIDE, picture.shape[-1])
    if side < SHOWS:
        return torch.zeros_like(head.colour[:, :1])
    small, core, over = resize(picture, side), CORE * side // EAR_SIDE, DETAIL_OVER * side // EAR_SIDE
    inner = -dilate(-resize(hair, side), core, core)
    window = square_around(inner)
    detail = (luma(part_of(small, window)) + BLACK).clamp_min(0.02).log()
    power = weighted_mean((detail - box(detail, over)).square(), part_of(inner, window))
    bright = (luma(head.colour) + BLACK) / (luma(head.skin) + BLACK).clamp_min(0.1)
    as_warm = warm(head.colour) / warm(head.skin).clamp_min(0.02)
    told = ramp(inner.mean((2, 3), keepdim=True), *ENOUGH) * (1 - ramp(power.sqrt(), *SHORN))
    return told * within(bright, AS_BRIGHT) * within(as_warm, AS_WARM)


def skin_seen(picture: Tensor, hair: Tensor, skin: Tensor, *ways: tuple[float, float]) -> list[Tensor]:
    """Where pictures (B,3,s,s) have the colour of skin (B,3,1,1) and not that of hair (B,3,1,1 or s,s), if both can be
    told apart: (B,1,s,s) in 0..1 for each of `ways`, see BARE."""
    share, told = between(picture, hair, skin)
    told = ramp((skin - hair).square().sum(1, keepdim=True).sqrt(), *APART) * told
    return [told * ramp(share, *way) for way in ways]


def between(picture: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """How far on the way from one colour to another, (B,3,1,1 or s,s) each, those of pictures (B,3,s,s) lie, and
    whether they lie on it at all, in 0..1: (B,1,s,s) each."""
    way, from_start = end - start, picture - start
    length = way.square().sum(1, keepdim=True).clamp_min(1e-4)
    share = (from_start * way).sum(1, keepdim=True) / length
    aside = (from_start - share * way).square().sum(1, keepdim=True) / length
    return share, 1 - ramp(aside, *ASIDE)


def off_oval(x: Tensor, y: Tensor) -> Tensor:
    """How far a place of `on_head` lies off the head, an ellipse 1.25 times as high as wide: 0 on its outline."""
    return ((x.square() + (y / 1.25).square()).sqrt() - 1).clamp_min(0)


def place_on_head(x: Tensor, y: Tensor) -> Tensor:
    """How early hair turns at a place of `on_head`: from 1 at the temples to -0.3 at lengths a face's width away."""
    far = off_oval(x, y)
    temples = torch.exp(-((y + 0.2) / 0.7).square() - (far / 0.4).square())
    return 0.3 - 0.6 * (far / 1.2).clamp(max=1) + 0.7 * temples


def skin_colour(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Median colour (B,3,1,1) of the cheeks and the chin of pictures (B,3,S,S) with landmarks (B,68,2) in 0..1."""
    # Places two thirds of the way from the tip of the nose to the jaw, each the mean of a few pixels around it.
    places = 0.35 * landmarks[:, 30:31] + 0.65 * landmarks[:, 1:16]
    seen = F.grid_sample(picture, 2 * places[:, None] - 1, padding_mode="border", align_corners=False)
    return seen.sort(3).values[..., 7:8]  # the median of (B,3,1,15)


def unnatural(picture: Tensor, hair: Tensor | None = None) -> Tensor:
    """Where pictures (B,3,S,S) in [-1,1] have a colour that no hair has, green or deep blue: (B,1,s,s) in 0..1 at
    MATTE_SIDE or less. Melanin makes hair black, brown, red or yellow; only a sheen of the sky on it is bluish, and if
    what is taken for hair (B,1,S,S) has such a sheen, bluer places of it are hair, too. A blue hat tells nothing, and a
    small blue light on hair is none."""
    small = box(resize(picture, min(MATTE_SIDE, picture.shape[-1])), 1)
    red, green, blue = small.split(1, 1)
    deep = ramp((green - red) / (green + BLACK), *DEEP_GREEN)
    own = torch.maximum(deep, ramp(luma(small), *BLACK_HAIR))
    bluer = blue - torch.maximum(red, green)
    if hair is not None:
        natural, hair = 1 - ramp(bluer, *BLUE), resize(hair, small.shape[-1])
        sheen = weighted_mean(bluer, hair * natural).clamp(0, SHEEN)
        bluer = bluer - sheen * ramp(weighted_mean(natural, hair), *MOSTLY)
    found = torch.maximum(ramp(green - red, *GREEN) * own, ramp(bluer, *BLUE))
    # A light on hair may be as blue as the sky where it is small; a clip is bluer, a leaf greener.
    spot = SPOT * small.shape[-1] // MATTE_SIDE
    wide = dilate(-dilate(-found, spot, spot), spot, spot)
    light = ramp(blue - green, *COLD) * (1 - ramp(bluer, *BLUER))
    return torch.lerp(found, wide, light)
