"""What is known of a head before its hair changes (`Head`): the place of each pixel on it, the colours of its hair and
its skin; and what only looks like hair: skin, eyes, nose and mouth, a green or blue background.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import luma, places, resize
from .filters import BLACK, away_from_border, box, enlarged, inside_polygon, ramp, weighted_mean
from .finding import MATTE_SIDE

FEATURES_SIDE = 64
"""Largest side at which eyes, nose and mouth are drawn."""
FEATURES = (36, 37, 44, 45, 54, 57, 48)
"""iBUG's points around eyes, nose and mouth."""
BESIDE = (-0.1, 0.3)
"""Values of `place_on_head` between which the colour of the skin begins to exclude a pixel from the hair."""
ALIKE = (0.5, 0.8)
"""Shares of the way from the hair's colour to the skin's: below the first a pixel is hair, above the second skin."""
DISTINCT = 0.05
"""Squared distance of the skin's colour from the hair's, in units of [-1,1], below which they cannot be told apart."""
UNLIKE_SKIN = (0.18, 0.3)
"""Distances of a chroma from the skin's, in units of [-1,1]: up to the first it may be skin, from the second on it is
none."""
OTHER_CHROMA = 0.1
"""Distance of a chroma from the hair's mean one, in units of [-1,1] and beside 1.5 times the hair's own spread, up to
which a pixel counts as hair; at twice that it is none. Deep within hair it may be three times as far."""
LIGHT_APART = 0.4
"""How much a distance in brightness counts beside one in chroma."""
GREEN, BLUE = (0.07, 0.14), (0.25, 0.4)
"""How much more green than red, or more blue than either, a pixel has that begins to be, and surely is, no hair."""
BLACK_HAIR, DEEP_GREEN = (-0.7, -0.5), (0.35, 0.55)
"""Brightness up to which black hair may look green by the light or the film, and from which on it does not; and shares
of green beyond red that black hair does not have either."""
NEAR = (0.1, 0.5)
"""Values of `place_on_head` between which hair begins to count for the hair's colour."""
FRAME_FADE = (0.03, 0.13, 0.25)
"""Distances from the border of a face's frame, in its sides: up to the first no hair changes, from the second on all
that is to change does, and up to the third more and more strands turn."""
DEEP = 28
"""Hair deeper than this part of a picture's side lies within hair all around."""
SURROUNDED = (0.6, 0.85)
"""Mean of the hair around a pixel: below the first it does not lie deep within hair, above the second it does."""
OFF_FACE = (0.3, 0.5)
"""Distances from the head's oval (`off_oval`): up to the first there may be face or ear, from the second on neither."""
ABOVE = (0.8, 1.0)
"""The same for heights over the ears, in half widths of the face: a forehead ends between them."""


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
    deep = ramp(box(head.hair, radius), *SURROUNDED)
    chroma = head.small - luma(head.small) - (head.skin - luma(head.skin))
    skinlike = 1 - ramp(chroma.square().sum(1, keepdim=True).sqrt(), *UNLIKE_SKIN)
    beside = beside * enlarged((1 - deep * head.off_face) * skinlike, picture.shape[-1])
    hair = hair * (1 - beside * ((share - ALIKE[0]) / (ALIKE[1] - ALIKE[0])).clamp(0, 1))
    away = box(head.small, 2) - head.colour
    light = luma(away)
    apart = ((away - light).square().sum(1, keepdim=True) + (LIGHT_APART * light).square() + 1e-8).sqrt()
    limit = (OTHER_CHROMA + 1.5 * weighted_mean(apart, head.hair)) * (1 + 2 * deep)
    return hair * enlarged((2 - apart / limit).clamp(0, 1), picture.shape[-1])


def unnatural(picture: Tensor) -> Tensor:
    """Where pictures (B,3,S,S) in [-1,1] have a colour that no hair has, green or deep blue: (B,1,s,s) in 0..1 at
    MATTE_SIDE or less. Melanin makes hair black, brown, red or yellow; only a sheen of the sky on it is bluish."""
    small = box(resize(picture, min(MATTE_SIDE, picture.shape[-1])), 1)
    red, green, blue = small.split(1, 1)
    deep = ramp((green - red) / (green + BLACK), *DEEP_GREEN)
    own = torch.maximum(deep, ramp(luma(small), *BLACK_HAIR))
    return torch.maximum(ramp(green - red, *GREEN) * own, ramp(blue - torch.maximum(red, green), *BLUE))


def features(landmarks: Tensor, side: int) -> Tensor:
    """Eyes, nose and mouth of faces with landmarks (B,68,2) in 0..1: (B,1,side,side) in 0..1, with a soft edge. Dark as
    they are, they are no hair."""
    outline = landmarks[:, places(FEATURES, landmarks)]
    middle = outline.mean(1, keepdim=True)
    return box(inside_polygon(middle + 1.35 * (outline - middle), side), 1)
