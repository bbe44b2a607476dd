"""Sideburns: hair that goes on in front of the ears.

A small network ends hair at the ears, and where all other hair has turned grey what is left of it looks glued on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import enlarge, luma, resize
from ..warp import sideways
from .beard import TURNED
from .filters import BLACK, part_of, ramp, tall, within
from .finding import MATTE_SIDE, spread
from .on_head import DARK_STRANDS, EAR, Head, between, on_each_side, on_head, part_of_head, put_in

SIDE = 512
"""Largest side at which they are looked for."""
ASIDE, HEIGHT = (0.82, 0.9, 1.06, 1.14), (-0.3, -0.15, 1.2, 1.5)
"""Where they grow, in the units of `on_head`: distances from the middle, and heights, between the first two of which
they begin and between the last two of which they end."""
HANGS = (0.3, 0.5)
"""Heights, in the same units, down to which and from which on hair is none that sideburns hang from."""
BESIDE, ABOVE = (0.5, 0.7, 1.2, 1.5), (-1.2, -1.0, 0.1, 0.4)
"""ASIDE and HEIGHT of the hair whose colour they have."""
SHARE = (0.6, 0.95)
"""How far on the way from the skin's colour to the hair's what may be a sideburn lies, and surely is one."""
TIED = (0.2, 0.5)
"""The least chance on the way from other hair, as in finding.py, up to which and from which on a place is one."""
SKIN, SEEN = (-0.6, -0.3, 0.3, 0.6), (0.1, 0.25)
"""Ends of such ways that skin has, see `within`; and the share of skin where an ear lies, up to which none is seen
there and from which on one is."""
TALL = 10
"""Pixels of SIDE to each side of the middle of the lowest that is one: the arms of glasses are dark, too."""


def sideburns(picture: Tensor, landmarks: Tensor, head: Head) -> Tensor:
    """Where pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 show sideburns, (B,1,s,s) in 0..1. Of hair
    that is not much darker than the skin nothing is told, nor of a head that is turned aside."""
    side = min(SIDE, picture.shape[-1])
    small, hair = resize(picture, side), enlarge(head.hair, side)
    x, y = on_head(landmarks, side)
    ring = hair * within(x.abs(), BESIDE) * within(y, ABOVE) + 1e-4 * hair
    own = on_each_side(x, small, ring)
    # All else lies around the head.
    window = part_of_head(landmarks, side, 1.6, (-2.5, 2.0))
    small, hair, x, y, own = (part_of(part, window) for part in (small, hair, x, y, own))
    share, told = between(small, head.skin, own)
    times = (luma(head.skin) + BLACK) / (luma(own) + BLACK).clamp_min(0.02)
    aside = within(x.abs(), ASIDE)
    dark = ramp(share, *SHARE) * told * ramp(times, *DARK_STRANDS)
    # Before a dark background the shaded side of a face is as dark as hair; the ear beside sideburns is not.
    off = ((x.abs() - EAR[0]) / EAR[2]).square() + ((y - EAR[1]) / EAR[3]).square()
    ear = on_each_side(x, told * within(share, SKIN), (off < 1).to(share))
    dark = dark * ramp(ear, *SEEN)
    either = tall(torch.maximum(dark, hair), max(TALL * side // SIDE, 1)) * aside
    near = ramp(hair, 0.5, 0.9) * aside * (1 - ramp(y, *HANGS))
    ahead = (1 - ramp(sideways(landmarks), *TURNED))[:, None, None, None]
    followed = min(side, MATTE_SIDE)
    tied = spread(*(resize(put_in(part, window, side), followed) for part in (near, either)))
    tied = part_of(enlarge(ramp(tied, *TIED), side), window)
    return put_in(ahead * torch.minimum(dark * aside * within(y, HEIGHT), tied), window, side)
