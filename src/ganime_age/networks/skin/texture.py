"""The skin's detail, band by band: stronger or weaker with an age, and limited on the way back to a younger one.

Bands are those of a Laplacian pyramid (Burt & Adelson, IEEE Trans. Communications 1983) of the brightness; how much
stronger each becomes is measured (Tiddeman, Burt & Perrett, IEEE CG&A 2001). A mean can only scale what a face has: its
own folds, bags, spots and stubble would stay those of its age. They are what stands out of its grain, so on the way
back every band is held to a few times the grain's strength, as robust estimators hold outliers (Huber 1981).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ..hair.filters import ramp
from ..layers import bicubic, enlarge, luma, relit, resize, window_of, within_window

BANDS = 3
"""Octave bands of brightness whose energy is measured, from 1 pixel of TEXTURE_SIDE up."""
TEXTURE_SIDE = 128
"""Side of the frame whose finest band is the first of BANDS; still finer detail goes with that band."""
TEXTURE_GAIN = (0.3, 1.6)
"""Least and largest factor on a band of detail."""
UNMEASURED = 0.5
"""How much of the gain of the octave below one gets from the second on that is finer than what was measured: pores
shall not be pepper. The first one still holds much of what was."""
SPOT = (1.5, 3.0)
"""Standard deviations of a band of the skin's detail: more than the first begins to be a spot, such as a mole, a
freckle or a glint, and from the second on it is one and no texture: it gets no stronger."""
LARGE = 256
"""Side above which bands are split by bilinear interpolation, a third of the work."""
MAP_SIDE = 64
"""Side at which the strength of a band of texture is measured."""
FINE = 128
"""Side from which on up a band holds lines as thin as a frame of glasses."""
FINEST = 32
"""Side down to which bands are limited; coarser ones are the face's form and its light."""
CLIP = 1.5
"""Mean absolute details of a band above which one counts no more for its grain."""
GRAIN = 1.46
"""Standard deviation of Gaussian noise in its mean absolute value, of which what exceeds CLIP counts as CLIP."""


class Limit(NamedTuple):
    """How the detail of B faces is limited."""

    skin: Tensor
    """(B,1,s,s) in 0..1: skin without eyes, brows, lips and nostrils."""
    fine: Tensor
    """The same for the bands of FINE and finer: less of it around the eyes, for thin frames of glasses."""
    pure: Tensor
    """(B,1,s,s) in 0..1: the part of it whose grain counts, where no beard grows."""
    most: Tensor
    """(B,1,1,1): standard deviations of a band's grain which its detail approaches at most."""
    share: Tensor
    """(B,1,1,1) in 0..1: how much of what is beyond is taken away."""


def scale_texture(face: Tensor, skin: Tensor, change: Tensor, limit: Limit | None = None) -> Tensor:
    """Every band of brightness of faces (B,3,S,S) stronger or weaker on skin (B,1,S,S) in 0..1, by a change
    (B,BANDS,s,s) of its log energy; and held within a limit, if there is one."""
    # The maps hold log energies, so amplitudes change by the square root: L_b exp((t - s) / 2) = L_b exp(change / 2)
    # (Tiddeman et al. 2001: wavelet amplitudes scaled by the ratio of the prototypes' local standard deviations).
    light, skin, details = luma(face), resize(skin, change.shape[-1]), []
    gains = skin * ((0.5 * change).exp().clamp(*TEXTURE_GAIN) - 1)
    sides = octaves(face.shape[-1])
    finer = len(sides) - 1 - BANDS  # octaves that were never measured go with the finest one that was
    for level, (side, half) in enumerate(pairwise(sides)):
        detail, light = split_band(light, half)
        gain = gains[:, max(level - finer, 0), None]
        gain = resize(gain, side) if side < gain.shape[-1] else enlarge(gain, side)
        share = UNMEASURED ** max(finer - 1 - level, 0) * texture_share(detail, skin)
        gain = torch.minimum(gain, gain * share)  # a loss stays as it is
        if limit is not None and side > FINEST:
            gain = (1 + gain) * kept(detail, limit) - 1
        details.append(detail * gain)
    change = joined(details)
    if limit is None:
        return within_window(relighted, window_of(change), face, change)
    return face + (change + evened(face, limit))


def relighted(face: Tensor, change: Tensor) -> Tensor:
    """Faces (B,3,H,W) with a change of their brightness (B,1,H,W)."""
    return face + relit(face, change)


def evened(face: Tensor, limit: Limit) -> Tensor:
    """What holds the blotches of faces (B,3,S,S) within a limit: a change of their colour, not of its brightness."""
    colour, details = resize(face, min(face.shape[-1], TEXTURE_SIDE)), []
    colour = colour - luma(colour)
    while colour.shape[-1] >= FINEST:
        detail, colour = split_band(colour)
        details.append(detail * (kept(detail.abs().mean(1, keepdim=True), limit) - 1))
    return enlarge(joined(details), face.shape[-1])


def joined(details: list[Tensor]) -> Tensor:
    """The sum of bands, from the finest to the coarsest, at the side of the finest."""
    added = details[-1]
    for detail in reversed(details[:-1]):
        added = enlarge(added, detail.shape[-1]) + detail
    return added


def texture_share(detail: Tensor, skin: Tensor) -> Tensor:
    """How much of a band of detail (B,1,S,S) is texture of the skin (B,1,s,s in 0..1) and no spot: in 0..1."""
    # A redescending weight, as of robust estimators (Hampel 1974): 1 for what is common, 0 for what stands out.
    power = resize(detail.square(), min(detail.shape[-1], MAP_SIDE))
    weight = resize(skin, power.shape[-1]) + 1e-6
    total = weight.sum((2, 3), keepdim=True)
    variance = ((power * weight).sum((2, 3), keepdim=True) / total).clamp_min(1e-8)
    return 1 - ramp(detail.abs() / variance.sqrt(), *SPOT)


def kept(detail: Tensor, limit: Limit) -> Tensor:
    """The factor (B,1,S,S) in 0..1 on a band of detail that brings it within a limit."""
    # most s / sqrt((most s)^2 + d^2), s the standard deviation of the grain: about 1 for the grain, and what stands
    # out goes no further than to `most` of them. What stands out shall not make s larger, so it is clipped.
    size, side = detail.abs(), detail.shape[-1]
    masks = torch.cat([limit.fine if side >= FINE else limit.skin, limit.pure], 1)
    skin, pure = (resize(masks, side) if side < masks.shape[-1] else enlarge(masks, side)).split(1, 1)
    total = pure.sum((2, 3), keepdim=True) + 1e-6
    mean = (size * pure).sum((2, 3), keepdim=True) / total
    mean = (torch.minimum(size, CLIP * mean) * pure).sum((2, 3), keepdim=True) / total
    most = (limit.most * GRAIN * mean).clamp_min(1e-6)
    return 1 - limit.share * skin * (1 - most * (most.square() + size.square()).rsqrt())


def octaves(side: int) -> list[int]:
    """Sides of a Laplacian pyramid of a face of `side` pixels whose last BANDS octaves start at TEXTURE_SIDE, so that
    each band holds the same wavelengths of the frame at any size; a smaller face is halved from its own side."""
    top = min(side, TEXTURE_SIDE)
    sides = [top >> level for level in range(BANDS + 1)]
    while 2 * sides[0] <= side:
        sides.insert(0, 2 * sides[0])
    return sides if sides[0] == side else [side, *sides]


def split_band(light: Tensor, half: int | None = None) -> tuple[Tensor, Tensor]:
    """(B,1,S,S) -> what is finer than `half` pixels a side can show (B,1,S,S), and the rest at that side, by default
    half of S."""
    # One level of a Laplacian pyramid (Burt & Adelson 1983): the picture minus its enlarged half-size copy.
    side = light.shape[-1]
    coarse = resize(light, half or side // 2)
    if side > LARGE:
        return light - enlarge(coarse, side), coarse
    return light - bicubic(coarse, side), coarse
