"""Whether a face wears glasses with dark frames: they lie on the skin and shall not fade with its creases.

Their bridge is a dark line across the nose between the eyes, where bare skin has none as deep.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..hair.filters import BLACK, ramp
from ..layers import luma, places, resize

BROWS, NOSE, CORNERS = (21, 22), 29, (36, 45)
"""iBUG's points at the inner ends of the brows, on the ridge of the nose, and at the outer corners of the eyes."""
SIDE = 128
"""Side of the frame in whose pixels lines are looked for."""
STEPS, ACROSS = 25, 7
"""Places down the nose, and beside each other at each of them."""
WIDE = 0.08
"""Width of the strip that is looked at, in distances of the corners of the eyes."""
HALF_WIDTHS = (3, 4, 5)
"""Places from the middle of a line to the skin above and below it."""
DARK = (0.3, 0.5)
"""How much darker than that skin a line is where there may be, and surely are, frames."""


def dark_frames(face: Tensor, landmarks: Tensor, side: int = SIDE) -> Tensor:
    """How surely faces (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 wear dark frames, (B,) in 0..1. side: at
    which lines are looked for, more in pictures of more than a face's frame."""
    start = landmarks[:, places(BROWS, landmarks)].mean(1)
    down = landmarks[:, NOSE] - start
    across = (landmarks[:, CORNERS[1]] - landmarks[:, CORNERS[0]]) * WIDE
    along = torch.linspace(0, 1, STEPS, device=face.device, dtype=face.dtype)[None, :, None, None]
    beside = torch.linspace(-0.5, 0.5, ACROSS, device=face.device, dtype=face.dtype)[None, None, :, None]
    points = start[:, None, None] + along * down[:, None, None] + beside * across[:, None, None]
    light = luma(resize(face, min(side, face.shape[-1])))
    seen = F.grid_sample(light, 2 * points - 1, padding_mode="border", align_corners=False)
    line = seen.mean(3)[:, 0] + BLACK + 0.02
    depths = []
    for half in HALF_WIDTHS:
        skin = torch.minimum(line[:, : -2 * half], line[:, 2 * half :])
        depths.append(((skin - line[:, half:-half]) / skin).amax(1))
    return ramp(torch.stack(depths, 1).amax(1), *DARK)
