"""Where the hairs of brows are: they grey with the hair of a head."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layers import enlarge, luma, resize
from ..skin.glasses import dark_frames
from .filters import BLACK, box, inside_polygon, ramp

SIDE, GLASSES_SIDE = 128, 256
"""Sides at which the skin beside brows, and glasses, are looked at in a picture two frames wide."""
ABOVE, BELOW = 0.2, 0.3
"""How far brows reach above and below their landmarks, in distances from the eyes."""
DARK = (0.5, 0.85)
"""Brightness above black, in that of the skin around: hair below the first, and skin above the second."""


def brows(picture: Tensor, landmarks: Tensor) -> Tensor:
    """Pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 -> the hairs of their brows, (B,1,S,S) in 0..1.
    None of a face with dark frames of glasses, which lie where its brows do."""
    light = luma(picture) + BLACK
    small = resize(light, min(SIDE, light.shape[-1]))
    side = small.shape[-1]
    down = landmarks[:, 36:48].mean(1) - landmarks[:, 17:27].mean(1)
    where = torch.zeros_like(small)
    for first, last in ((17, 22), (22, 27)):
        line = landmarks[:, first:last]
        upper, lower = line - ABOVE * down[:, None], line + BELOW * down[:, None]
        where = torch.maximum(where, inside_polygon(torch.cat([upper, lower.flip(1)], 1), side))
    # The skin beside the brows: the brighter half of what lies around.
    wide = max(side // 16, 1)
    skin = enlarge(box(torch.maximum(small, box(small, wide)), wide), light.shape[-1])
    hairs = 1 - ramp(light / skin, *DARK)
    bare = 1 - dark_frames(picture, landmarks, GLASSES_SIDE)[:, None, None, None]
    return enlarge(box(where, 1), light.shape[-1]) * hairs * bare
