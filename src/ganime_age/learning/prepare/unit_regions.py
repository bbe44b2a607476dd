"""The part of the face that each action unit moves, so that its prototype changes nothing else.

A least-squares slope also holds what merely comes along in photos: people who narrow their eyes laugh, wide eyes come
with a fringe. What FACS (Ekman & Friesen 1978) does not ascribe to a unit's muscles is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...edits import AU_CODES
from ...networks.prototypes import Prototypes

BROWS, NOSE, EYES = tuple(range(17, 27)), tuple(range(27, 36)), tuple(range(36, 48))
LIDS, MOUTH, JAW = (40, 41, 46, 47), tuple(range(48, 68)), tuple(range(3, 14))


class Region(NamedTuple):
    """Landmarks (iBUG's 68) around which a unit acts, those that follow it by half, and how far around the first, in
    frame sides, its maps stay whole; they end at twice the distance. shaded: landmarks around which they do as well."""

    whole: tuple[int, ...]
    half: tuple[int, ...] = ()
    reach: float = 0.045
    shaded: tuple[int, ...] = ()


REGIONS = {
    **dict.fromkeys(("AU01", "AU02", "AU04"), Region(BROWS, (37, 38, 43, 44), 0.05)),
    **dict.fromkeys(("AU05", "AU07", "AU45"), Region(EYES, BROWS, 0.03)),
    "AU06": Region((*EYES, 31, 35, 2, 14), BROWS),
    "AU09": Region((*NOSE, *MOUTH[:7], 21, 22)),
    "AU10": Region((*MOUTH, *NOSE[4:]), (), 0.05),
    # The zygomatic muscle lifts the cheeks and deepens the folds from the nose to the corners of the mouth.
    "AU12": Region(MOUTH, (*LIDS, *NOSE[4:], *JAW), 0.11, NOSE[4:]),
    **dict.fromkeys(("AU14", "AU15", "AU20", "AU23", "AU25"), Region(MOUTH, JAW[3:-3], 0.05)),
    **dict.fromkeys(("AU17", "AU26"), Region((*MOUTH, *JAW), (), 0.05)),
}
"""Action unit -> where it acts: forehead and brows, eyes, mouth and cheeks, chin (AU17 and AU26 with the mouth)."""


def confine(prototypes: Prototypes) -> None:
    """Limit the shape, tone and texture of every action unit to its region, in place."""
    for i, code in enumerate(AU_CODES):
        prototypes.unit_shape[i] *= pulls(REGIONS[code])[:, None]
        for maps in (prototypes.unit_tone, prototypes.unit_texture):
            maps[i] *= region_mask(prototypes, code, maps.shape[-1])


def is_confined(prototypes: Prototypes) -> bool:
    """Whether every action unit keeps to its region already; once more would narrow the soft edges."""
    tones = zip(AU_CODES, prototypes.unit_tone, strict=True)
    return all(not tone[:, region_mask(prototypes, code, tone.shape[-1]) == 0].any() for code, tone in tones)


def pulls(region: Region) -> Tensor:
    """(68,): how much each landmark follows."""
    out = torch.zeros(68)
    out[list(region.half)], out[list(region.whole)] = 0.5, 1.0
    return out


def region_mask(prototypes: Prototypes, code: str, side: int) -> Tensor:
    """(side,side) in 0..1: where the maps of an action unit count, in the frame of the mean shape."""
    region = REGIONS[code]
    return soft_region(prototypes.mean_shape[[*region.whole, *region.shaded]], side, region.reach)


def soft_region(points: Tensor, side: int, reach: float) -> Tensor:
    """(side,side) in 0..1: 1 within `reach` of any point (N,2), 0 from twice that on, both in 0..1 of the frame."""
    line = (torch.arange(side) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(-1, 2)
    near = (2 - torch.cdist(pixels, points).amin(1) / reach).clamp(0, 1)
    return (near**2 * (3 - 2 * near)).view(side, side)  # smoothstep
