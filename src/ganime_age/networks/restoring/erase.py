"""Erasing what an edit has to invent: creases and pores, the inside of an open mouth, the lids of a closing eye.

A restoring generator (restorer.py) learns to draw on real faces that were erased this way; an edited face is erased the
same way before the generator draws on it. So what it meets at run time is what it has learnt to complete (inpainting
as in Pathak et al., CVPR 2016, with a loss of detail in place of a hole on the skin).

      real face ---- erase ----> restore = the face         training, supervised
      prototypes' edit -- erase --> restore = the edit      run time
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import choose, may_ask, places, recorded
from ..mouth import gap
from ..warp import canonical_grid

SMOOTH_MOST = 3.6
"""Largest standard deviation of the smoothing, in pixels of a frame of 256."""
FRAME = 256
"""Side of the frame in whose pixels smoothing is given."""
RADIUS = 9
"""Pixels on each side of the smoothing kernel: 2.5 standard deviations of the strongest."""
PLACES = 12
"""Channels of `Erased.place`."""
EYES = ((36, 39, (37, 38), (17, 18, 19, 20, 21)), (42, 45, (43, 44), (22, 23, 24, 25, 26)))
"""Of each eye: both corners, the upper lid, the brow; iBUG's points."""
LID_HEIGHT, LID_WIDTH = 0.30, 0.62
"""Half axes of the ellipse that is erased around an eye, in widths of the eye: an open eye with its lashes."""


class Amounts(NamedTuple):
    """How much is erased of B faces, (B,) each. smooth: standard deviation in pixels of a frame of 256, 0..3.6; mouth,
    lids: 0..1."""

    smooth: Tensor
    mouth: Tensor
    lids: Tensor

    def vector(self) -> Tensor:
        """(B,3), each in 0..1."""
        return torch.stack([self.smooth / SMOOTH_MOST, self.mouth, self.lids], 1)


class Erased(NamedTuple):
    """Erased faces."""

    face: Tensor
    """(B,3,S,S) in [-1,1]."""
    maps: Tensor
    """(B,3,S,S) in 0..1: how far each pixel was smoothed, filled as a mouth, filled as a lid."""
    place: Tensor
    """(B,12,S/2,S/2): each pixel's place in the mean shape's frame, and sines and cosines of it."""


class Template(NamedTuple):
    """What erasing needs of a mean face. mean_shape: (68,2) in 0..1, that of the prototypes; skin: its `skin_map`."""

    mean_shape: Tensor
    skin: Tensor


def erase(face: Tensor, landmarks: Tensor, template: Template, amounts: Amounts) -> Erased:
    """Faces (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1.

    An amount of 0 leaves its part of the face exactly as it is.
    """
    side = face.shape[-1]
    grid = canonical_grid(landmarks, template.mean_shape, side // 2)
    skin = template.skin.expand(len(face), -1, -1, -1)
    skin = F.grid_sample(skin, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    skin = F.interpolate(skin, size=(side, side), mode="bilinear", align_corners=False)
    smooth, mouth, lids = amounts
    # Only skin that is smoothed at all: the first 0.4 px fade in, so that nothing jumps as an amount leaves 0.
    share = skin * (smooth / 0.4).clamp(max=1)[:, None, None, None]
    out = face + share * (blur(face, smooth * side / FRAME) - face)
    inside = gap(landmarks, side).inside * mouth[:, None, None, None]
    out = out + inside * (mean_of(out, inside) - out)
    out, closed = fill_lids(out, landmarks, lids)
    maps = torch.cat([skin * (smooth / SMOOTH_MOST)[:, None, None, None], inside, closed], 1)
    return Erased(out, maps, place_maps(grid))


def mean_of(face: Tensor, weight: Tensor) -> Tensor:
    """The mean colour (B,3,1,1) of faces (B,3,S,S) under weights (B,1,S,S)."""
    return (face * weight).sum((2, 3), keepdim=True) / (weight.sum((2, 3), keepdim=True) + 1e-6)


def blur(face: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian smoothing of faces (B,3,S,S), each with its own standard deviation (B,) in pixels."""
    b, c, h, w = face.shape
    offset = torch.arange(-RADIUS, RADIUS + 1, device=face.device, dtype=face.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp_min(0.05)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    x = face.reshape(1, b * c, h, w)
    # A Gaussian is separable: rows, then columns, with a filter of its own for every face (grouped convolution).
    x = F.pad(x, (RADIUS, RADIUS, 0, 0), mode="replicate")
    x = F.conv2d(x, kernel[:, None, None, :], groups=b * c)
    x = F.pad(x, (0, 0, RADIUS, RADIUS), mode="replicate")
    return F.conv2d(x, kernel[:, None, :, None], groups=b * c).view(b, c, h, w)


def fill_lids(face: Tensor, landmarks: Tensor, lids: Tensor) -> tuple[Tensor, Tensor]:
    """Both eyes covered with the colour of the skin between lid and brow, by shares (B,) -> faces, what was covered."""
    covered = torch.zeros_like(face[:, :1])
    if may_ask(lids) and not (lids > 0).any():
        return face, covered
    if not recorded():
        return closed_lids(face, landmarks, lids)
    face, covered = choose(
        lids > 0,
        lambda: torch.cat(closed_lids(face, landmarks, lids), 1),
        lambda: torch.cat([face, covered], 1),
    ).split([3, 1], 1)
    return face, covered


def closed_lids(face: Tensor, landmarks: Tensor, lids: Tensor) -> tuple[Tensor, Tensor]:
    """`fill_lids` where there is something to cover."""
    side, covered = face.shape[-1], torch.zeros_like(face[:, :1])
    line = (torch.arange(side, device=face.device, dtype=face.dtype) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]
    for first, last, lid, brow in EYES:
        left, right = landmarks[:, first], landmarks[:, last]
        along = right - left
        width = along.norm(dim=1).clamp_min(1e-3)
        axis = along / width[:, None]
        offset = pixels - ((left + right) / 2)[:, None, None]
        x = (offset * axis[:, None, None]).sum(-1) / width[:, None, None]
        y = (offset * torch.stack([-axis[:, 1], axis[:, 0]], 1)[:, None, None]).sum(-1) / width[:, None, None]
        far = ((x / LID_WIDTH) ** 2 + (y / LID_HEIGHT) ** 2).sqrt()
        inside = ((1.15 - far) / 0.3).clamp(0, 1)[:, None] * lids[:, None, None, None]
        # The skin above: half way from the brow to the upper lid.
        above = (
            landmarks[:, places(brow, landmarks)].mean(1) + landmarks[:, places(lid, landmarks)].mean(1)
        ) / 2
        near = (pixels - above[:, None, None]).square().sum(-1) / (0.18 * width[:, None, None]) ** 2
        face = face + inside * (mean_of(face, torch.exp(-2 * near)[:, None]) - face)
        covered = torch.maximum(covered, inside)
    return face, covered


def place_maps(grid: Tensor) -> Tensor:
    """A canonical grid (B,S,S,2) in -1..1 as features (B,12,S,S): itself, and sines and cosines at three octaves."""
    # Fourier features (Tancik et al., NeurIPS 2020): pi, 2 pi and 4 pi, enough to tell a fold from its neighbour.
    at = grid.permute(0, 3, 1, 2)
    waves = [at, *(wave(scale * torch.pi * at) for scale in (1, 2) for wave in (torch.sin, torch.cos))]
    return torch.cat([*waves, torch.sin(4 * torch.pi * at)], 1)
