"""The inside of an opened mouth: mean colours of open mouths, drawn between the lips that an edit has parted.

A closed mouth holds no pixels of teeth to move, so a warp can only stretch the lips. The gap gets the colours that open
mouths have there on average (a static stand-in for teeth, as in Garrido et al., CVPR 2014).

      iBUG's inner lips, 60..67                 Gap.place

            61   62   63                   (-1,-1)---------(1,-1)   upper lip
      60 .-----------------. 64               |               |
          '---------------'                (-1, 1)---------(1, 1)   lower lip
            67   66   65
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES, AU_MAX

UPPER, LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
"""The inner lips' edges from corner to corner, iBUG's 68 points."""
PATCH = (16, 32)
"""Height and width in pixels of the stored look of the gap."""
SOFT_EDGE = 0.8 / 128
"""Distance from the lips, in sides of the frame, over which the gap's mask rises from 0 to 1: 0.8 px of 128."""
TERMS = 3
"""Columns of `terms`."""
OPEN_MEAN = 0.25
"""Opening (height over width) at which the second term is 0: about the mean of open mouths."""
OPEN_MOST = 0.8
"""Openings beyond this look like this one."""
SMILE = AU_CODES.index("AU12")
"""The action unit on which the look depends."""


class Gap(NamedTuple):
    """The gap between the lips of B faces."""

    place: Tensor
    """(B,S,S,2): each pixel's place in the gap, -1..1 from corner to corner and from the upper to the lower lip."""
    opening: Tensor
    """(B,) mean height over width."""
    inside: Tensor
    """(B,1,S,S) in 0..1 with a soft edge."""


def gap(landmarks: Tensor, side: int) -> Gap:
    """landmarks (B,68,2) in 0..1 of a frame of `side` pixels -> Gap."""
    # The mouth's own axes: `axis` from the left to the right corner in the picture, `down` at right angles, both in
    # widths of the mouth, so that a tilted mouth is handled like a level one.
    left, right = landmarks[:, 60], landmarks[:, 64]
    along = right - left
    width = along.norm(dim=1).clamp_min(1e-3)
    axis = along / width[:, None]
    down = torch.stack([-axis[:, 1], axis[:, 0]], 1)

    def local(points: Tensor) -> Tensor:
        """(B,N,2) along and across the mouth, in its widths."""
        both = [(points * direction[:, None]).sum(-1) for direction in (axis, down)]
        return torch.stack(both, -1) / width[:, None, None]

    upper, lower = (local(landmarks[:, list(ids)] - left[:, None]) for ids in (UPPER, LOWER))  # (B,5,2)
    line = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    across, height = local(pixels - left[:, None]).unbind(-1)  # (B,S*S) each, in widths of the mouth
    top, bottom = curve(upper, across), curve(lower, across)
    tall = (bottom - top).clamp_min(1e-3)  # closed lips have no inside; their place is never used
    place = torch.stack([2 * across - 1, 2 * (height - top) / tall - 1], -1)
    # Distance to the nearest border of the gap, positive inside; along the mouth at half weight, since the gap is flat.
    edge = torch.minimum(height - top, bottom - height)
    edge = torch.minimum(edge, torch.minimum(across, 1 - across) / 2)
    soft = (edge * width[:, None] / SOFT_EDGE).clamp(0, 1)
    opening = ((lower[:, 1:4, 1] - upper[:, 1:4, 1]).mean(1)).clamp_min(0)
    return Gap(place.view(-1, side, side, 2), opening, soft.view(-1, 1, side, side))


def curve(points: Tensor, at: Tensor) -> Tensor:
    """The polyline through points (B,5,2) from left to right, evaluated at (B,N): heights (B,N)."""
    # y(x) = y_0 + sum_k clamp((x - x_k) / (x_{k+1} - x_k), 0, 1) (y_{k+1} - y_k): each piece adds its rise once it is
    # passed. cummax keeps x from going back where a turned head folds the lip over.
    x, y = points[..., 0].cummax(1).values, points[..., 1]
    out = y[:, :1].expand_as(at)
    for k in range(points.shape[1] - 1):
        share = (at - x[:, k : k + 1]) / (x[:, k + 1 : k + 2] - x[:, k : k + 1]).clamp_min(1e-4)
        out = out + share.clamp(0, 1) * (y[:, k + 1 : k + 2] - y[:, k : k + 1])
    return out


def terms(opening: Tensor, smile: Tensor) -> Tensor:
    """The regressors of the look, (B,TERMS): a constant, the opening (B,), AU12 (B,) in 0..5; all about -0.5..1."""
    wide = opening.clamp(0, OPEN_MOST) - OPEN_MEAN
    return torch.stack([torch.ones_like(opening), wide, smile / AU_MAX - 0.5], 1)


class MouthInterior(nn.Module):
    """looks (TERMS,3,16,32): slopes of the colours between the lips on `terms`, relative to the skin's mean, in its
    standard deviations of brightness; measured by `learning.tasks.prototype_fit`. known: 1 once measured; 0 leaves
    every mouth as it is."""

    looks: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("looks", torch.zeros(TERMS, 3, *PATCH))
        self.register_buffer("known", torch.zeros(()))

    def forward(
        self, face: Tensor, before: Tensor, after: Tensor, aus: Tensor, skin: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """face (B,3,S,S) whose landmarks went from `before` to `after` (B,68,2), action units (B,17) asked, the skin's
        mean and spread of brightness (B,1,1,1) -> the face with its mouth filled and the share filled (B,1,S,S)."""
        now = gap(after, face.shape[-1])
        # Only the new part of the gap is filled: 1 - opening before / opening after. A mouth that was open keeps its
        # own teeth, which the warp has moved along.
        newly = (1 - gap(before, 1).opening / now.opening.clamp_min(1e-3)).clamp(0, 1)
        share = now.inside * (newly * self.known)[:, None, None, None]
        look = torch.einsum("bt,tchw->bchw", terms(now.opening, aus[:, SMILE]), self.looks)
        look = F.grid_sample(look, now.place, mode="bilinear", padding_mode="border", align_corners=False)
        mean, spread = skin
        filled = (mean + spread * look).clamp(-1, 1)
        return face + share * (filled - face), share
