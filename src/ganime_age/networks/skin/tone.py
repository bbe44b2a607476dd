"""The tone of an age: what it changes of the colour and the shade of skin, as far as it is laid on a face."""

from __future__ import annotations

import torch
from torch import Tensor

from ..hair.filters import box, inside_polygon, ramp, weighted_mean
from ..layers import choose, luma, places, resize
from .skin_map import BROWS, EYES, NOSE, brows_map, lips_map
from .wrinkles import blur

UPPER_LIP = (50, 52)
"""Landmarks: the two peaks of the upper lip."""
LIPS = 0.5
"""How much of a younger age's tone lips do not get: small children's mouths hang open, and the mean of their lips is
dark and red with what lies behind."""
BROW_LIGHT = 0.8
"""How much of the light of a younger age brows do not get: children's are thin, not pale. Grey and smeared ones hardly
made a face younger, and by its brows it is known."""
USUAL = 0.22
"""Standard deviation of the skin's brightness in its mean, above black, of most photos: half of an age's tone goes by
it and half by the photo's own, for hard light exaggerates every shadow and even light hides them."""
TEETH = 0.8
"""How much of an age's tone what lies between the lips does not get: it is measured on mouths that are closed."""
MIDDLE, CALM = (1.5, 4.0), 0.4
"""Standard deviations, in pixels of such a map, of the Gaussians between which the middle forms of a tone lie; and how
much less of them there is at most. Of what a tone holds they change who somebody is most, for the years they add."""
INFANCY, OLD_AGE = (1.5, 5.0), (40.0, 60.0)
"""Ages asked for, in years: up to the first a tone is calmed most, and from the second on not; and from which on it is
again, and most."""
SHADE, SHADED = 0.25, (15.0, 25.0)
"""How much of the shade, and of the colour, that lies on the foreheads of the young is laid at ages up to the first of
two years; from the second on all of it is. It is that of a child's round forehead, and in part of its fringe: on a
grown-up's it ended at the brows like a patch."""
TINT = 0.4
"""How much of a young age's change of colour is laid on the whole face, at those ages: beside a grown-up's forehead,
ears and neck the pale nose and cheeks of the young looked grey."""
AGEING, MOUTH_COLOUR = (30.0, 45.0), 0.4
"""Years from which on `own_mouth` and `dimmed` begin to act, and do. And how much of an age's change of colour lips and
all skin below the nose get: what old age takes of their colour is in part white stubble."""
BRIGHTEST = 0.7
"""What the light of an older age tends to where it is brightest, in standard deviations of the skin's brightness: it is
eyes and brows that pale most, and by them a face is known."""
OLDEST, DEEPEST = (78.0, 90.0), 1.2
"""Years from which on the shade of an age begins to tend to DEEPEST where it is deepest, as light does to BRIGHTEST,
and does: folds beside a smile turned black."""
DARKEST = 0.6
"""Least share of an age's tone that a dark place gets."""


def laid(tone: Tensor, ages: tuple[Tensor, Tensor], mean_shape: Tensor, region: Tensor) -> Tensor:
    """What is laid of a tone (B,3,64,64) from the first to the second of two ages (B,), in the frame of mean_shape
    (68,2) with the face's region (1,64,64)."""
    before, after = ages
    whole = unshaded(calmed(tone, after), after, mean_shape)
    return choose(
        after < before,
        lambda: dark_brows(whole, mean_shape) * (1 - LIPS * lips_map(mean_shape)),
        lambda: dimmed(own_mouth(whole, after, mean_shape), after, region),
    )


def dark_brows(tone: Tensor, mean_shape: Tensor) -> Tensor:
    """A tone (B,3,64,64) of a younger age, in the frame of mean_shape (68,2), with less of its light on the brows."""
    return tone - BROW_LIGHT * brows_map(mean_shape) * luma(tone).clamp_min(0)


def calmed(tone: Tensor, age: Tensor) -> Tensor:
    """A tone (B,3,64,64) towards ages (B,) with less of its middle forms in infancy, where it changes a face most, and
    in old age: a face is known by these forms, and beside a nose they look like stains."""
    less = CALM * (1 - ramp(age, *INFANCY) + ramp(age, *OLD_AGE))[:, None, None, None]
    fine, coarse = (blur(tone.flatten(0, 1)[:, None], spread).view_as(tone) for spread in MIDDLE)
    return tone - less * (fine - coarse)


def unshaded(tone: Tensor, age: Tensor, mean_shape: Tensor) -> Tensor:
    """A tone (B,3,64,64) towards ages (B,), in the frame of mean_shape (68,2), with less of the shade that lies on the
    foreheads of the young, and less of all their colour."""
    shade = (1 - SHADE) * (1 - downwards(tone, mean_shape, BROWS, EYES))
    young = 1 - ramp(age, *SHADED)[:, None, None, None]
    light = luma(tone)
    return tone - young * (shade.clamp_min(1 - TINT) * (tone - light) + shade * light.clamp(max=0))


def own_mouth(tone: Tensor, age: Tensor, mean_shape: Tensor) -> Tensor:
    """A tone (B,3,64,64) towards ages (B,), in the frame of mean_shape (68,2), that leaves the lips and the skin below
    the nose of the old most of their colour."""
    below = downwards(tone, mean_shape, (NOSE,), UPPER_LIP)
    less = (1 - MOUTH_COLOUR) * ramp(age, *AGEING)[:, None, None, None] * below
    return tone - less * (tone - luma(tone))


def downwards(tone: Tensor, mean_shape: Tensor, first: tuple[int, ...], last: tuple[int, ...]) -> Tensor:
    """How far each row of a tone (B,C,h,w) lies on the way down from landmarks `first` of mean_shape (68,2) to
    landmarks `last`: (h,1) in 0..1."""
    rows = (torch.arange(tone.shape[-2], device=tone.device, dtype=tone.dtype) + 0.5) / tone.shape[-2]
    top, end = (mean_shape[places(ids, rows), 1].mean() for ids in (first, last))
    return ((rows - top) / (end - top).clamp_min(1e-3)).clamp(0, 1)[:, None]


def dimmed(tone: Tensor, age: Tensor, region: Tensor) -> Tensor:
    """A tone (B,3,64,64) towards ages (B,) whose lights tend to BRIGHTEST in old age, and its shades to DEEPEST among
    the oldest; what that takes is added evenly in the face's region (1,64,64), so that its mean stays."""
    light = luma(tone)
    bright, dark = light.clamp_min(0), (-light).clamp_min(0)
    old, oldest = (ramp(age, *years)[:, None, None, None] for years in (AGEING, OLDEST))
    beyond = old * (bright - BRIGHTEST * (bright / BRIGHTEST).tanh())
    beyond = beyond - oldest * (dark - DEEPEST * (dark / DEEPEST).tanh())
    return tone - (beyond - weighted_mean(beyond, region.expand_as(beyond)))


def in_light(tone: Tensor, face: Tensor, mean: Tensor, younger: Tensor | None = None) -> Tensor:
    """A tone (B,3,s,s) on a face (B,3,S,S) whose skin has a mean brightness (B,1,1,1), less of it in the dark: skin
    changes a share of the light it gets, so that the shaded eyes of a face in the sun turn neither black nor milky. The
    dark brows and stubble of a face that does not grow older (`younger`, (B,) bool, where it is an age's tone) do get
    all of the light of its youth."""
    lit = ((resize(luma(face), tone.shape[-1]) + 1) / (mean + 1).clamp_min(0.1)).clamp(DARKEST, 1)
    if younger is None:
        return tone * lit
    return tone * torch.where((tone > 0) & younger[:, None, None, None], 1.0, lit)


def match_colour(change: Tensor, amount: Tensor) -> Tensor:
    """A change of colours (B,3,S,S) with its chroma scaled by `amount` (B,1,1,1), see `Prototypes.colourfulness`: of a
    photo without colour only the brightness changes."""
    light = luma(change)
    return light + (change - light) * amount


def mouth_inside(landmarks: Tensor, side: int) -> Tensor:
    """What lies between the lips of faces with landmarks (B,68,2) in 0..1: (B,1,side,side) in 0..1."""
    return box(inside_polygon(landmarks[:, 60:68], side), max(side // 128, 1))
