"""Eyes that close: the photo's own lids, drawn over them.

A smooth warp cannot bring the two edges of an eye together, and a mean closed eye laid over an open one shows both.
Here the skin between brow and lashes is stretched down over the eye, its lashes with it, and the lower lid rises a
little to meet it, as lids do (the upper one travels most of the way; Evinger et al., IOVS 1991).

     above ------------------      was, and now, for an eye that closes by a share of its height:
     |  upper lid, stretched |
     edge of the upper lid          edge' = edge + share MEETING height
     |  eye, covered         |
     edge of the lower lid          edge' = edge - share (1 - MEETING) height
     |  lower lid, stretched |
     below ------------------
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..edits import AU_CODES
from .layers import may_ask, places, recorded
from .mouth import axes, curve, local, places_along, window_around

EYES = ((36, 37, 38, 39), (36, 41, 40, 39)), ((42, 43, 44, 45), (42, 47, 46, 45))
"""The edges of the upper and the lower lid of both eyes from corner to corner, iBUG's 68 points."""
CLOSE = AU_CODES.index("AU45")
"""The action unit that closes the eyes."""
OPEN, SHUT = 0.4, 3.2
"""Intensities of CLOSE up to which eyes are open, and from which on they are shut."""
ASKED = 0.5
"""How much more of CLOSE must be asked for, or less and less is closed."""
MEETING = 0.85
"""Where lids meet: share of the way from the upper one's edge to the lower one's."""
ABOVE, BELOW = 0.3, 0.25
"""Height of the skin that is stretched over each lid's edge, in widths of the eye."""
RIM = (0.002, 0.006, 0.02)
"""How far the eye goes on beyond the landmarks of its upper and of its lower edge, in frame sides, of an eye that is
open by the third."""
LASHES = (0.5, 0.003, 0.006)
"""How dark the lashes of a shut eye are, and how far they reach above and below the line where its lids meet, in frame
sides."""
SOFT = 0.004
"""Height in frame sides over which a lid's edge fades into the eye."""


def shut(intensity: Tensor) -> Tensor:
    """How far eyes are closed, (B,) in 0..1, at intensities (B,) of CLOSE."""
    return ((intensity - OPEN) / (SHUT - OPEN)).clamp(0, 1)


def to_close(aus: Tensor, target_aus: Tensor) -> Tensor:
    """(B,) in 0..1: which share of the eyes' height a request from action units to others, (B,17), closes. Narrow eyes
    stay as they are where nothing more is asked."""
    before, after = (shut(x[:, CLOSE]) for x in (aus, target_aus))
    share = (1 - (1 - after) / (1 - before).clamp_min(0.1)).clamp(0, 1)
    return share * ((target_aus - aus)[:, CLOSE] / ASKED).clamp(0, 1)


def close_lids(face: Tensor, landmarks: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """face (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 -> with a share (B,) of its eyes' height closed, and the
    lids with the eyes between them (B,1,S,S) in 0..1, which are not skin for what ages and action units colour."""
    covered = torch.zeros_like(face[:, :1])
    for upper, lower in EYES:
        face, one = _close(face, landmarks, share[:, None, None], upper, lower)
        covered = torch.maximum(covered, one)
    return face, covered


def _close(
    face: Tensor, landmarks: Tensor, share: Tensor, upper: tuple[int, ...], lower: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    side, corners, window = face.shape[-1], (upper[0], upper[-1]), None
    if recorded() or may_ask(face):
        window = window_around(landmarks, side, upper + lower, 0.04)
    _, _, down, width = axes(landmarks, corners)
    x, y, across, height = places_along(landmarks, side, window, corners)
    top, bottom = (
        curve(local(landmarks[:, places(ids, landmarks)], landmarks, corners), across)
        for ids in (upper, lower)
    )  # (B,h,w), in widths of the eye
    within = (across > 0) & (across < 1)
    tall = (bottom - top).clamp_min(0) * within
    # Landmarks lie a little within the eye.
    rim = (tall * width / RIM[2]).clamp(max=1) / width
    top, bottom = top - RIM[0] * rim, bottom + RIM[1] * rim
    tall = (bottom - top).clamp_min(0) * within
    fall, rise = share * MEETING * tall, share * (1 - MEETING) * tall
    # Each lid's skin keeps its far end and follows its edge: what is shown at a height lies nearer to that end.
    over = ((height - (top - ABOVE)) / (ABOVE + fall)).clamp(0, 1)
    under = ((bottom + BELOW - height) / (BELOW + rise)).clamp(0, 1)
    soft = SOFT / width
    is_upper = ((top + fall - height) / soft).clamp(0, 1)
    is_lower = ((height - (bottom - rise)) / soft).clamp(0, 1) * (1 - is_upper)
    shift = is_lower * rise * under - is_upper * fall * over
    grid = torch.stack(
        [x + shift * width * down[:, 0, None, None], y + shift * width * down[:, 1, None, None]], -1
    )
    drawn = F.grid_sample(face, 2 * grid - 1, mode="bicubic", padding_mode="border", align_corners=False)
    closed = (fall + rise) / tall.clamp_min(1e-3) * (tall * width / RIM[2]).clamp(max=1)
    drawn = (drawn + 1) * (1 - lashes((height - top - fall) * width, closed))[:, None] - 1
    near = torch.minimum(height - top + ABOVE / 2, bottom + BELOW / 2 - height) / (2 * soft)
    lids = ((fall + rise) * width / SOFT).clamp(0, 1) * near.clamp(0, 1)
    if window is None:
        return drawn, lids[:, None]
    return window.put(face, drawn), window.put(torch.zeros_like(face[:, :1]), lids[:, None])


def lashes(below: Tensor, closed: Tensor) -> Tensor:
    """How dark lashes make pixels at heights `below` the upper lid's edge, in frame sides, where eyes are closed by a
    share: 0 up to 0.6 of it."""
    dark, up, down = LASHES
    line = (1 - torch.where(below > 0, below / down, -below / up)).clamp_min(0)
    return dark * line * ((closed - 0.6) / 0.4).clamp(0, 1)
