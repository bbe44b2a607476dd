"""Hair at the nape: tails and strands that hang down beside a neck, from behind it.

A small network sees a few dark pixels there and finds none of it; beside grey hair it would stay as it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import dilate, luma, resize
from ..warp import sideways
from .beard import TURNED
from .filters import BLACK, inside_polygon, part_of, ramp, within
from .on_head import Head, in_brightness, on_head, part_of_head, put_in

SIDE = 512
"""Largest side at which it is looked for."""
ASIDE, HEIGHT = (0.6, 0.7, 1.35, 1.55), (0.35, 0.5, 2.0, 2.3)
"""Where it hangs, in the units of `on_head`: distances from the middle, and heights, between the first two of which it
begins and between the last two of which it ends."""
BEGINS, LOBES, FAINTLY = (0.35, 0.5, 1.15, 1.3), (0.98, 1.06), (0.2, 0.4)
"""Heights, see `within`, at which some of it is seen, for a collar or a necklace lies lower down; distances from the
middle within which that is, for earrings hang farther out; and DARKER of it, for there it is thin."""
THIN, DARKER = 11, (0.4, 0.65)
"""Half its width at most, in pixels of SIDE, for clothes and walls are wider; and the shares of the brightness of what
lies to both sides of it, above black, that it begins to lack, and surely lacks."""
BESIDE = (0.5, 0.8)
"""Brightness above black, in that of the skin, of what lies beside it, up to which nothing is told: in the shade and on
dark walls a gap looks like it."""
AS_DARK, ALIKE = (1.0, 1.5), (0.3, 0.5)
"""Its brightness above black, in that of the hair, up to which it is as dark, and from which on it is none; and the
same of the distance of its colour from the hair's, both in their brightness: a ribbon may be red."""
TIMES = (1.5, 1.9)
"""How many times as bright as the hair skin is up to which a shadow on it may be as dark as hair, and from which on
none is."""
GAP, ASTRAY, HANGS = 40, 6, 2
"""How far below one place of it another may lie, and how far aside, in pixels of SIDE; and how often one follows
another."""


def nape(picture: Tensor, landmarks: Tensor, head: Head) -> Tensor:
    """Where pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 show such hair, (B,1,s,s) in 0..1. Of hair
    that is not much darker than the skin nothing is told, nor of a head that is turned aside."""
    side = min(SIDE, picture.shape[-1])
    small, wide = resize(picture, side), max(THIN * side // SIDE, 1)
    light = luma(small) + BLACK
    around = -dilate(-dilate(light, wide, wide), wide, wide)  # of the whole: cut, what is wide would be thin
    window = part_of_head(landmarks, side, ASIDE[3], (HEIGHT[0], HEIGHT[3]))
    small, light, around = (part_of(part, window) for part in (small, light, around))
    face = inside_polygon(landmarks[:, :17], side, window)
    x, y = on_head(landmarks, side, window)
    hair, skin = (luma(colour) + BLACK for colour in (head.colour, head.skin))
    told = (
        ramp(skin / hair.clamp_min(0.02), *TIMES)
        * (1 - ramp(sideways(landmarks), *TURNED))[:, None, None, None]
    )
    lacks = (around - light) / around.clamp_min(0.02)
    may_be = told * (1 - face) * within(x.abs(), ASIDE) * within(y, HEIGHT) * ramp(around / skin, *BESIDE)
    away = (in_brightness(small) - in_brightness(head.colour)).square().sum(1, keepdim=True).sqrt()
    may_be = may_be * (1 - ramp(light / hair.clamp_min(0.06), *AS_DARK)) * (1 - ramp(away, *ALIKE))
    begins = may_be * within(y, BEGINS) * (1 - ramp(x.abs(), *LOBES))
    found, hangs = ramp(lacks, *DARKER) * may_be, ramp(lacks, *FAINTLY) * begins
    gap, astray = GAP * side // SIDE, ASTRAY * side // SIDE
    for _ in range(HANGS):
        below = F.max_pool2d(F.pad(dilate(hangs, 0, astray), (0, 0, gap, 0)), (gap + 1, 1), 1)
        hangs = torch.minimum(found, below)
    return put_in(hangs, window, side)
