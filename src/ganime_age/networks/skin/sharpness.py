"""How sharp a photo is: nothing that is drawn on it shall be sharper.

The bands of a Laplacian pyramid of a sharp photo fall off evenly, as 1/f spectra do (Field, JOSA A 1987); where a photo
was enlarged, blurred or compressed the finer ones lack. Edges tell that better than noise, so a band's strength is
the fourth root of its mean fourth power.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from ..hair.filters import weighted_mean
from ..layers import resize
from .texture import joined, octaves, split_band

COARSEST = 64
"""Side of the octave that no face photo lacks."""
FALL = 0.7
"""How strong an octave of a sharp photo is at least, in the strength of the next coarser one."""


def sharpness(light: Tensor, where: Tensor) -> list[Tensor]:
    """Brightness (B,1,S,S) and where it counts (B,1,s,s) -> for each octave of S from the finest to COARSEST how much
    of a sharp photo's detail there is, (B,1,1,1) in 0..1."""
    strengths, sides = [], octaves(light.shape[-1])
    for side, half in pairwise(sides):
        detail, light = split_band(light, half)
        power = weighted_mean(detail.square().square(), resize(where, detail.shape[-1]))
        strengths.append((power + 1e-12) ** 0.25)
        if side <= COARSEST:
            break
    shares = [torch.ones_like(strengths[-1])]
    for finer, coarser, side, half in reversed(
        [(*pair, *span) for pair, span in zip(pairwise(strengths), pairwise(sides), strict=False)]
    ):
        width = math.log2(side / half)  # in octaves: of a narrow band there is less
        share = finer / coarser / (FALL**width * min(width, 1) ** 0.5)
        shares.append(shares[-1] * share.clamp(max=1))
    return shares[::-1]


def no_sharper(detail: Tensor, shares: list[Tensor]) -> Tensor:
    """Detail (B,1,S,S) that is drawn on a photo, with no more of each octave than the photo has. shares: its
    `sharpness`."""
    # What a photo lacks is taken away, so that on a sharp one detail stays exactly.
    lacking, sides, rest = [], octaves(detail.shape[-1]), detail
    for share, half in zip(shares[:-1], sides[1:], strict=False):
        band, rest = split_band(rest, half)
        lacking.append(band * (1 - share))
    return detail - joined(lacking) if lacking else detail
