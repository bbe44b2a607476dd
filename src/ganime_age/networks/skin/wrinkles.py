"""Wrinkles: what old skin has between its pores and its shading, which no mean of faces keeps.

The creases of two people never lie at the same place, so their mean is smooth skin. What people share is which way
creases run and how much of them there is at each place. A few layouts of creases hold that
(`learning.prepare.wrinkle_layouts` draws them). A face that grows older gets, in each zone, the layout, or its mirror
image, that agrees best with the faint creases it already has: detail transferred by example, as in Tiddeman, Stirrat &
Perrett (Computer Graphics Forum 2005), with the example chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..hair.filters import ramp
from ..layers import Held, constant, enlarge, luma, resize
from ..warp import canonical_grid, sideways

SIDE = 256
"""Pixels of the mean shape's frame in which WINDOW is given."""
WINDOW = (48, 240, 48, 208)
"""Rows and columns of that frame, from and to, that a layout covers; the columns lie evenly about its middle."""
DRAWN = 512
"""Pixels of the frame of which layouts are drawn; those of older weights have SIDE."""
DEEPEST = 0.8
"""What the largest stored number, 127, stands for, in standard deviations of the skin's brightness."""
BROWS, NOSE = (19, 24), 33
"""Landmarks at whose height one zone ends and the next begins: forehead, eyes and cheeks, mouth and chin."""
TURNED, PROFILE = (0.4, 0.75), 0.25
"""Values of `sideways` up to which creases are as deep as asked, and from which on this share of it: the layouts are of
faces seen from the front, and to the far side of a head they are bent."""
CHEEK_POINTS = ((3, 31), (13, 35))
"""Pairs of landmarks, on the jaw and beside the nose, half-way between which a cheek has its middle."""
CHEEKS, WIDE = 0.5, 0.13
"""Depth of creases there, and how far from there nearly all of it is left, in frame sides: what old faces show in the
middle of a cheek is the net of their skin's texture and pores more than lines."""
ZONES = (1.0, 1.0, 0.5)
"""Depth of creases on forehead, eyes and cheeks, mouth and chin: beside a mouth they looked like hairs on the skin."""
SOFT = 0.02
"""Height, in frame sides, over which a zone fades into the next."""
CREASE = (0.7, 2.2)
"""Standard deviations, in pixels of SIDE / 2, of the Gaussians between which a face's own creases lie."""
DECISION = 2000.0
"""Factor on correlations (-1..1) before a softmax chooses a layout: .003 more gets it 400 times as much. Two layouts
mixed have the lines of neither."""
SHADE = (0.35, 1.4)
"""Least and largest light under a crease, over the skin's mean: a crease takes away a share of the light it gets."""


GROOVE = 0.2
"""Largest change of brightness by a crease, in the skin's above black: deeper ones would look drawn with a pencil."""
CONTRAST = 0.28
"""Standard deviation of a face's brightness over its mean, both above black, of the median old face."""


class Skin(NamedTuple):
    """Where creases are laid on B faces."""

    face: Tensor
    """(B,3,S,S) in [-1,1]."""
    mask: Tensor
    """(B,1,S,S) in 0..1: skin."""
    landmarks: Tensor
    """(B,68,2) in 0..1 of the frame."""
    grid: Tensor
    """(B,s,s,2): each pixel's place in the mean shape's frame, see `warp.canonical_grid`."""
    light: tuple[Tensor, Tensor]
    """Mean and standard deviation of the skin's brightness, (B,1,1,1) each."""


@dataclass
class Chosen:
    """The creases that the faces of a clip got (B,1,s,s), see `Wrinkles.chosen`: None until the first of them was
    drawn."""

    creases: Tensor | None = None


_CHOSEN: Held[Chosen] = Held("chosen")
chosen_once = _CHOSEN.within
"""A block in which layouts are chosen for the first faces that are drawn, and kept for those that follow."""


class Wrinkles(nn.Module):
    """Layouts of creases in the mean shape's frame.

    layouts (count,384,320) int8, or (count,192,160) of older weights: brightness in WINDOW, in DEEPEST / 127 standard
    deviations of the skin's brightness. onset (knots,): how deep creases are at each age knot, 1 for as deep as the
    layouts.
    """

    layouts: Tensor
    onset: Tensor

    def __init__(self, count: int, knots: int, side: int = SIDE):
        super().__init__()
        top, bottom, left, right = (edge * side // SIDE for edge in WINDOW)
        self.register_buffer("layouts", torch.zeros(count, bottom - top, right - left, dtype=torch.int8))
        self.register_buffer("onset", torch.zeros(knots))

    @property
    def side(self) -> int:
        """Pixels of the mean shape's frame that the layouts lie in."""
        return side_of(self.layouts)

    def forward(self, skin: Skin, mean_shape: Tensor, depth: Tensor) -> Tensor:
        """What creases of depth (B,) add to the brightness of faces, (B,1,S,S)."""
        creases, side = self.chosen(skin, mean_shape), skin.face.shape[-1]
        if side < creases.shape[-1]:
            creases = resize(creases, side)  # finer lines than the face can show
        grid = enlarge(skin.grid.permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)
        drawn = F.grid_sample(creases, grid, padding_mode="zeros", align_corners=False)
        # A crease is a shadow: it scales with the light that falls on it, so it is faint in the dark of a face, and in
        # a fold that is there already.
        light = resize(luma(skin.face), min(side, SIDE))
        around = enlarge(resize(light, SIDE // 8), light.shape[-1])
        around = torch.minimum(around, light)
        bright = (skin.light[0] + 1).clamp_min(0.1)
        shade = ((around + 1) / bright).clamp(*SHADE)
        # Even light flattens creases less than it flattens a face, so half of the depth goes by the face's contrast.
        contrast = (skin.light[1] * CONTRAST * bright).sqrt()
        depth = depth * (1 - (1 - PROFILE) * ramp(sideways(skin.landmarks), *TURNED))
        creases = enlarge(depth[:, None, None, None] * contrast * shade, side) * drawn
        most = GROOVE * bright
        return most * (creases / most).tanh()

    def chosen(self, skin: Skin, mean_shape: Tensor) -> Tensor:
        """The creases (B,1,side,side) of the layouts that faces get, in the mean shape's frame; within `chosen_once`
        those that were chosen first."""
        kept = _CHOSEN.get()
        if kept is not None and kept.creases is not None:
            return kept.creases
        layouts = torch.cat([self.layouts, self.layouts.flip(2)]).to(skin.face.dtype) * (DEEPEST / 127)
        side = self.side
        choice = self.choose(skin, mean_shape, layouts)
        zones = height_zones(mean_shape, side) * constant(ZONES, mean_shape)[:, None]
        rows = torch.einsum("bzk,zh->bkh", choice, zones)
        chosen = torch.einsum("bkh,khw->bhw", rows, layouts)[:, None] * on_cheeks(mean_shape, side)
        top, bottom, left, right = (edge * side // SIDE for edge in WINDOW)
        creases = F.pad(chosen, (left, side - right, top, side - bottom))
        if kept is not None:
            kept.creases = creases
        return creases

    def choose(self, skin: Skin, mean_shape: Tensor, layouts: Tensor) -> Tensor:
        """How much of each layout (K,h,w) each zone of the faces gets, (B,Z,K): nearly all of the one that agrees
        best."""
        # r_zk = sum_x zone_z own layout_k / (|own|_z |layout_k|_z), own: the face's creases in the mean shape's frame
        marks = mean_shape.expand(len(skin.face), -1, -1)
        back = canonical_grid(marks, skin.landmarks, SIDE // 2)
        seen = torch.cat([luma(skin.face), skin.mask], 1)
        light, mask = F.grid_sample(
            resize(seen, SIDE // 2), back, padding_mode="border", align_corners=False
        ).split(1, 1)
        own = blur(light, CREASE[0]) - blur(light, CREASE[1])
        top, bottom, left, right = (edge // 2 for edge in WINDOW)
        own = (own * mask)[:, 0, top:bottom, left:right]
        coarse = F.avg_pool2d(layouts[:, None], layouts.shape[1] // own.shape[1])[:, 0]
        rows = height_zones(mean_shape, SIDE // 2)
        agreement = torch.einsum("bhw,khw,zh->bzk", own, coarse, rows)
        norms = torch.einsum("bhw,zh->bz", own.square(), rows)[:, :, None] * torch.einsum(
            "khw,zh->zk", coarse.square(), rows
        )
        return torch.softmax(DECISION * agreement / norms.clamp_min(1e-12).sqrt(), 2)


def wrinkles_like(layouts: Tensor, knots: int) -> Wrinkles:
    """Room for layouts (count,h,w) of any size, at so many age knots."""
    return Wrinkles(len(layouts), knots, side_of(layouts))


def side_of(layouts: Tensor) -> int:
    """Pixels of the frame in which layouts (count,h,w) lie."""
    return layouts.shape[1] * SIDE // (WINDOW[1] - WINDOW[0])


def height_zones(mean_shape: Tensor, side: int) -> Tensor:
    """mean_shape (68,2) -> (3,h): how much each row of WINDOW, in a frame of `side` pixels, belongs to forehead, eyes
    and cheeks, mouth and chin. They sum to 1."""
    top, bottom = (edge * side // SIDE for edge in WINDOW[:2])
    rows = torch.arange(top, bottom, device=mean_shape.device, dtype=mean_shape.dtype)
    height = (rows + 0.5) / side
    brows, nose = mean_shape[BROWS[0] : BROWS[1] + 1 : BROWS[1] - BROWS[0], 1].mean(), mean_shape[NOSE, 1]
    below_brows, below_nose = ((height - line).div(SOFT).sigmoid() for line in (brows, nose))
    return torch.stack([1 - below_brows, below_brows - below_nose, below_nose])


def on_cheeks(mean_shape: Tensor, side: int) -> Tensor:
    """mean_shape (68,2) -> how deep creases are at each pixel of WINDOW in a frame of `side` pixels, (h,w)."""
    top, bottom, left, right = (edge * side // SIDE for edge in WINDOW)
    y, x = (
        (torch.arange(*span, device=mean_shape.device, dtype=mean_shape.dtype) + 0.5) / side
        for span in ((top, bottom), (left, right))
    )
    depth = torch.ones(len(y), len(x), dtype=mean_shape.dtype, device=mean_shape.device)
    for jaw, nose in CHEEK_POINTS:
        middle = (mean_shape[jaw] + mean_shape[nose]) / 2
        away = ((x[None, :] - middle[0]).square() + (y[:, None] - middle[1]).square()) / WIDE**2
        depth = depth * (1 - (1 - CHEEKS) * torch.exp(-2 * away))
    return depth


def blur(x: Tensor, spread: float) -> Tensor:
    """(B,1,H,W), blurred by a Gaussian of a standard deviation in pixels; borders are repeated."""
    reach = int(3 * spread) + 1
    line = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (line / spread) ** 2)
    kernel = kernel / kernel.sum()
    x = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
