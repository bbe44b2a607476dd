"""Beards: where a face has one, and the skin that takes its place. They grey with the hair, and a child has none."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import constant, enlarge, luma, places, resize
from ..warp import sideways
from .filters import BLACK, box, grown_mask, inside_polygon, ramp, weighted_mean
from .finding import MATTE_SIDE

BEARD = (0.5, 0.78)
"""Brightness above black, in that of the cheeks: where beards grow a pixel is all beard below the first, and none above
the second."""
DENSE = (0.35, 0.45)
"""The same, where it is beard whatever its detail, and where only hairy skin is."""
WHITE = (0.5, 0.75)
"""Warmth, red beyond blue in the brightness, in the cheeks': up to the first a rough place is white beard, from
the second on it is skin."""
ROUGH = (0.9, 1.3)
"""HAIRY for a white beard, which has less detail in the brightness."""
COLOURED = (0.1, 0.2)
"""Warmth of the cheeks up to which a photo does not tell white from skin, and from which on it does."""
BEARDED = (0.2, 0.4)
"""Mean share of beard where it grows, on the barer side of the face: below the first there is none, above the second it
counts fully."""
HAIRY = (1.5, 2.0)
"""Detail of the chin in that of the rougher cheek: up to the first a dark chin lies in the shade, from the second on it
is hairy. So it is in each place."""
STUBBLED, BRISTLY = (0.07, 0.13), (1.7, 2.0)
"""BEARDED and HAIRY of stubble, and of a beard that is half grey: less dark, but surely bristly."""
INNER, SURELY_BRISTLY = 0.8, (2.6, 3.2)
"""How far from the tip of the nose towards the jaw what tells of a beard that turns grey lies, and BRISTLY of such a
one: towards the jaw a bare chin is dark, too, and a shade that turned grey would be a ribbon along it."""
TURNED = (0.4, 0.55)
"""Values of `sideways`: of a head turned beyond the second, the landmarks of the jaw do not tell where a beard ends."""
GRAIN_SIDE, GRAIN_CELLS = 512, 64
"""Largest side at which that detail is measured, and cells a side than which it is finer."""
FINER, ROUGHEST = (1.02, 1.2), (5.0, 8.0)
"""HAIRY in twice as many cells, in that of GRAIN_CELLS: up to the first it is noise, or the blocks of a JPEG, on a chin
in the shade, from the second on hair, which stands out from pores the more, the closer one looks. And HAIRY of what is
hair whatever that says."""
CLOSER = (256, 448)
"""Sides of a picture up to which nobody can look closer, and from which on one can."""
LEAST_GRAIN = 0.005
"""Detail, as a standard deviation of the log of brightness, beside which less is none."""
BEARDLESS = (12.0, 20.0)
"""Years: up to the first a face has no beard, from the second on it keeps its own."""
BELOW, LIP, WIDE, LIP_KEPT = 0.2, 0.8, 1.7, 0.75
"""How far a moustache hangs below the corners of the mouth, on the way to the chin; half the width of the lip where it
is looked for, and half its own at most, in that of the mouth; and how much of the lips it leaves bare."""
GROWN, CHIN = (0.3, 0.55), (0.06, 0.18)
"""Share of the upper lip that is dark: below the first it has no moustache, above the second surely. And mean share of
beard below it: up to the first there is a moustache alone."""
CHEEKS = (1, 2, 14, 15), (29, 30, 30, 29)
"""Pairs of iBUG's points with a cheek half-way between them, the left cheek's first."""
JAW = (0.93, 0.95, 0.98, 1.0, 1.02, 1.02, 1.02, 1.0, 0.98, 0.95, 0.93)
"""How far a beard reaches towards the landmarks 3 to 13 of the jaw, from the tip of the nose: hair hangs beside it."""
UNDER_CHIN = (0.93, 0.95, 0.98, 1.02, 1.14, 1.2, 1.14, 1.02, 0.98, 0.95, 0.93)
"""The same for stubble that nothing else found: farther under the chin, whose landmark a beard draws up."""
NOSE = (35, 33, 31)
"""iBUG's points below the nose, from right to left."""
SHAVEN, SHADE = 0.97, 0.93
"""Share of a beard that goes, and the most brightness above black of the skin in its place, in that of the cheeks."""
SKIN_DETAIL, DEEPEST = 0.3, 0.1
"""How much of its own detail skin shows that takes a beard's place, and the deepest of it, in units of [-1,1]."""
FORM, STUBBLE = 0.5, (0.5, 0.75)
"""How much of the darkness of stubble, in logs, is taken for the shade of the face's own form and stays; and brightness
above black, in that of the cheeks, up to which a place is a dense beard, of which none stays, and from which on it is
stubble."""
SMOOTH, FINE = 32, 96
"""Parts of a picture's side over which the light of smooth skin is averaged, and that under a chin."""
NOT_SKIN = (0.25, 0.5)
"""How far from the light of such skin, in units of [-1,1], skin may be, and what surely is none."""
LEFT, DARKEST, FEW, LEAST_POWER = 0.9, 0.6, 0.01, 1e-4
"""How much of its own detail such skin shows where it is no rougher than the cheeks; the least of its brightness above
black, in that of the cheeks; share of it in what lies around a place, beside which less tells little; and mean square
of detail, in units of [-1,1], beside which less is none."""
REDDER = (0.0, 0.05)
"""Warmth beyond that of the cheeks up to which such skin takes their colour, and from which on it keeps its own."""
BEARD_NEAR = (0.2, 0.5)
"""Values of the stubble of a neighbouring place at which a place begins to lie, and surely lies, beside a beard."""
BARE = (0.72, 0.95)
"""Brightness above black, in that of the cheeks: where a face has a beard, all that is darker than the first goes with
it, and what is brighter than the second stays."""


SHADOW, DIM, SHADOWED = (0.7, 0.95), (0.9, 1.0), (0.1, 0.3)
"""Warmth, and brightness above black, in the cheeks', up to which a place where beards grow lies in the shadow of a
shaven one, and from which on it is bare: shade is as warm as the cheeks, and beside rosy cheeks a chin is as bright.
And mean share of shadow there, as BEARDED."""
PALE = (1.0, 1.2)
"""Mean brightness above black of the cheeks up to which skin is dark and hides such a shadow, and from which on it
shows."""
LIFTED = 0.5
"""How much of the darkness of such a shadow goes, in logs; the rest is the shade of the face's own form."""


class Beard(NamedTuple):
    """The beards of B pictures, where a face has one."""

    share: Tensor
    """(B,1,S,S) in 0..1: how much of each pixel surely is beard."""
    stubble: Tensor
    """(B,1,S,S) in 0..1: how much of each pixel goes with the beard."""
    white: Tensor
    """(B,1,S,S) in 0..1: how much of each pixel is beard that has turned white."""
    lip: Tensor
    """(B,1,S,S) in 0..1: the upper lip of a face with a dense moustache, where no hair hangs."""
    near: Tensor
    """(B,1,S,S) in 0..1: places with a beard and those beside them, where all that is dark goes with it."""
    skin: Tensor
    """(B,3,s,s): the colour of the skin there, from both cheeks, at the side of 128 or less."""
    shadow: Tensor
    """(B,3,s,s): what takes the shadow of a shaven beard away, added in shares of the colours above black."""

    @classmethod
    def of(cls, picture: Tensor, landmarks: Tensor, small: Tensor | None = None) -> Beard:
        """Of pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1. small (B,3,s,s): the pictures at a side of
        128 or less, if they are known."""
        face = LowerFace.of(picture, landmarks, small)
        upper = upper_lip(landmarks, face.small.shape[-1])
        dense = 1 - ramp(face.ratio, *DENSE)
        lip = upper * moustache(dense, upper, landmarks)
        share = ((BEARD[1] - face.ratio) / (BEARD[1] - BEARD[0])).clamp(0, 1)
        bearded = torch.maximum(face.bearded(share, upper), lip)
        rim = 1 - beard_region(landmarks, upper.shape[-1], jaw=INNER)
        surely = torch.maximum(face.bearded(share, upper, rim, SURELY_BRISTLY), lip)
        where = torch.maximum(face.where, lip)
        ahead = where * (1 - ramp(sideways(landmarks), *TURNED)[:, None, None, None])
        here = enlarge(ramp(face.rough_here, *HAIRY), share.shape[-1])
        share = box(share * torch.maximum(here, dense) * ahead, 1)
        stubble = bearded * torch.maximum(share, box((1 - ramp(box(face.ratio, 1), *BARE)) * ahead, 1))
        share = share * torch.minimum(bearded, surely)
        white = face.white(ahead, rim)
        stubble = torch.maximum(stubble, white)
        near = where * ramp(grown_mask(stubble, 1), *BEARD_NEAR)
        maps = enlarge(torch.cat([share, stubble, white, lip, near], 1), picture.shape[-1])
        share, stubble, white, lip, near = maps.split(1, 1)
        return cls(share, stubble, white, lip, near, face.skin, face.unshadowed(ahead))


class LowerFace(NamedTuple):
    """What tells of a beard in B pictures, at a side s of 128 or less."""

    small: Tensor
    """(B,3,s,s), the picture."""
    skin: Tensor
    """(B,3,s,s): the colour of the skin, from the left cheek's to the right one's."""
    ratio: Tensor
    """(B,1,s,s): brightness above black, in the skin's."""
    where: Tensor
    """(B,1,s,s) in 0..1: where beards grow."""
    halves: tuple[Tensor, Tensor]
    """Chin and moustache, left and right of the chin's middle: (B,1,s,s) in 0..1 each."""
    rough: Tensor
    """(B,1,1,1): the detail of both, in that of the rougher cheek."""
    rough_here: Tensor
    """(B,1,c,c): the same of each place."""
    fine: Tensor
    """(B,1,1,1) in 0..1: whether that detail is as fine as hair's."""

    @classmethod
    def of(cls, picture: Tensor, landmarks: Tensor, small: Tensor | None = None) -> LowerFace:
        """As `Beard.of`."""
        small = resize(picture, min(MATTE_SIDE, picture.shape[-1])) if small is None else small
        where = beard_region(landmarks, small.shape[-1])
        cheeks, line = cheeks_of(landmarks), middles(small)
        skin = between_cheeks(small, cheeks, line)
        ratio = (luma(small) + BLACK) / (luma(skin) + BLACK)
        # Chin and moustache tell whether there is a beard: beside the jaw there may be shadow.
        spread = (landmarks[:, 54, 0] - landmarks[:, 48, 0]).abs().clamp_min(0.05)[:, None, None, None]
        away = line - landmarks[:, 8, :1, None, None]
        core = where * (away.abs() < 0.6 * spread)
        rough, rough_here = roughness(grain(picture), core, cheeks)
        finer, _ = roughness(grain(picture, 2 * GRAIN_CELLS), core, cheeks)
        fine = torch.maximum(ramp(finer / rough, *FINER), ramp(rough, *ROUGHEST))
        closer = min(max((picture.shape[-1] - CLOSER[0]) / (CLOSER[1] - CLOSER[0]), 0.0), 1.0)
        fine = 1 - closer * (1 - fine)
        own = (away < 0).to(core)
        return cls(small, skin, ratio, where, (core * own, core * (1 - own)), rough, rough_here, fine)

    def on_both_sides(self, share: Tensor, left_out: Tensor | float = 0.0) -> Tensor:
        """The lesser of the mean shares (B,1,s,s) of both halves, (B,1,1,1): a beard grows on both sides, and what lies
        on one alone is shadow. left_out: of which nothing counts."""
        return torch.minimum(*(weighted_mean(share, half * (1 - left_out)) for half in self.halves))

    def bearded(
        self,
        share: Tensor,
        upper: Tensor,
        left_out: Tensor | None = None,
        bristly: tuple[float, float] = BRISTLY,
    ) -> Tensor:
        """Whether faces have a beard, and no moustache alone: (B,1,1,1) in 0..1. share: of beard by its darkness.
        upper: see `upper_lip`. left_out (B,1,s,s): of which nothing counts. bristly: see BRISTLY."""
        nothing = torch.zeros_like(upper) if left_out is None else left_out
        grows = self.on_both_sides(share, nothing)
        found = ramp(grows, *BEARDED) * ramp(self.rough, *HAIRY)
        found = torch.maximum(found, ramp(grows, *STUBBLED) * ramp(self.rough, *bristly))
        found = found * self.fine
        return found * ramp(self.on_both_sides(share, torch.maximum(upper, nothing)), *CHIN)

    def white(self, where: Tensor, rim: Tensor) -> Tensor:
        """How much of each pixel is beard that has turned white, (B,1,s,s) in 0..1: rough, and less warm than skin. rim
        (B,1,s,s): along the jaw, where a wall behind it looks like one and tells nothing."""
        own_warmth, warmth = (warm(box(colour, 2)) for colour in (self.small, self.skin))
        white = (1 - ramp(own_warmth / warmth.clamp_min(COLOURED[0]), *WHITE)) * ramp(warmth, *COLOURED)
        white = white * ramp(enlarge(self.rough_here, where.shape[-1]), *ROUGH) * where
        return box(white, 1) * ramp(self.on_both_sides(white, rim), *BEARDED)

    def unshadowed(self, where: Tensor) -> Tensor:
        """What takes a shaven beard's shadow away, in shares of the colours above black: (B,3,s,s), 0 elsewhere."""
        own, skin = box(self.small, 2) + BLACK, self.skin + BLACK
        own_warmth, warmth = warm(own - BLACK), warm(self.skin)
        light = luma(own) / luma(skin).clamp_min(0.05)
        grey = (1 - ramp(own_warmth / warmth.clamp_min(COLOURED[0]), *SHADOW)) * (1 - ramp(light, *DIM))
        grey = grey * ramp(warmth, *COLOURED) * ramp(luma(skin).mean((2, 3), keepdim=True), *PALE)
        share = box(grey * where, 2) * ramp(self.on_both_sides(grey), *SHADOWED)
        dark = light.clamp(0.05, 1) ** (1 - LIFTED)
        return share * (skin * dark / own.clamp_min(0.05) - 1).clamp(-0.5, 1)


def cheeks_of(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) -> two places on each cheek beside the nose, above all but the longest beards, (B,4,2)."""
    outer, inner = (landmarks[:, places(ids, landmarks)] for ids in CHEEKS)
    return (outer + inner) / 2


def between_cheeks(small: Tensor, cheeks: Tensor, line: Tensor) -> Tensor:
    """Pictures (B,3,s,s) in the colour of their cheeks (B,4,2), two places each, from the left to the right cheek's.
    line (s,): the middles of their columns."""
    # Light may come from one side.
    seen = at(box(small, 2), cheeks)
    left, right = seen[:, :, :2].mean(2), seen[:, :, 2:].mean(2)
    start, end = cheeks[:, :2, 0].mean(1)[:, None], cheeks[:, 2:, 0].mean(1)[:, None]
    place = ((line - start) / (end - start).abs().clamp_min(0.02)).clamp(0, 1)
    skin = torch.lerp(left[:, :, None, None], right[:, :, None, None], place[:, None, None])
    return skin.expand_as(small)


def middles(picture: Tensor) -> Tensor:
    """The middles of the columns, or rows, of square pictures (B,C,s,s): (s,) in 0..1."""
    side = picture.shape[-1]
    return (torch.arange(side, device=picture.device, dtype=picture.dtype) + 0.5) / side


def upper_lip(landmarks: Tensor, side: int) -> Tensor:
    """Where moustaches grow on faces with landmarks (B,68,2) in 0..1, over the edge of the lip: (B,1,side,side) in
    0..1."""
    where = beard_region(landmarks, side, LIP_KEPT)
    line = middles(where)
    low = (landmarks[:, 48, 1] + landmarks[:, 54, 1]) / 2
    low = low + BELOW * (landmarks[:, 8, 1] - low)
    across, half = across_mouth(landmarks, line)
    return where * (line[:, None] < low[:, None, None, None]) * (across.abs() < WIDE * half)


def across_mouth(landmarks: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """How far places of a line (s,) in 0..1 lie to the right of the middle of a mouth, (B,1,1,s); half its width."""
    middle, half = ((landmarks[:, 54, 0] + way * landmarks[:, 48, 0]) / 2 for way in (1, -1))
    return line - middle[:, None, None, None], half.clamp_min(0.02)[:, None, None, None]


def moustache(dense: Tensor, upper: Tensor, landmarks: Tensor) -> Tensor:
    """Whether faces have a dense moustache, on a shaven chin too: (B,1,1,1) in 0..1. dense: what is surely dark enough.
    upper: see `upper_lip`."""
    across, half = across_mouth(landmarks, middles(upper))
    lip = upper * (across.abs() < LIP * half)
    sides = [weighted_mean(dense, lip * (across * way > 0)) for way in (1, -1)]
    return ramp(torch.minimum(*sides), *GROWN)


def warm(colour: Tensor) -> Tensor:
    """Colours (B,3,H,W) in [-1,1] -> red beyond blue, in the brightness above black, (B,1,H,W)."""
    return (colour[:, :1] - colour[:, 2:]) / (luma(colour) + BLACK).clamp_min(0.05)


def at(maps: Tensor, points: Tensor) -> Tensor:
    """Maps (B,C,s,s) at points (B,N,2) in 0..1: (B,C,N)."""
    return F.grid_sample(maps, 2 * points[:, None] - 1, padding_mode="border", align_corners=False)[:, :, 0]


def roughness(detail: Tensor, chin: Tensor, cheeks: Tensor) -> tuple[Tensor, Tensor]:
    """The detail of chins (B,1,s,s in 0..1), (B,1,1,1), and of each place, (B,1,c,c), in that of the rougher cheek.
    detail (B,1,c,c): see `grain`; cheeks (B,4,2): places on both."""
    own, around = weighted_mean(detail, resize(chin, detail.shape[-1])), box(detail, 1)
    # The rougher cheek of both: where light comes from one side, noise is hairy in the shade.
    cheek = at(around, cheeks).unflatten(2, (2, 2)).mean(3).amax(2)[..., None, None]
    chins, everywhere = (
        (power.sqrt() + LEAST_GRAIN) / (cheek.sqrt() + LEAST_GRAIN) for power in (own, around)
    )
    return chins, everywhere


def grain(picture: Tensor, cells: int = GRAIN_CELLS) -> Tensor:
    """Mean square of the fine detail of pictures (B,3,S,S), in logs of brightness: (B,1,s,s), s at most `cells`."""
    light = (resize(luma(picture), min(GRAIN_SIDE, picture.shape[-1])) + BLACK).log()
    cells = min(cells, light.shape[-1])
    detail = light - enlarge(resize(light, cells), light.shape[-1])
    return resize(detail.square(), cells)


def beard_region(
    landmarks: Tensor, side: int, lips: float = 1.15, jaw: float = 1.0, reach: tuple[float, ...] = JAW
) -> Tensor:
    """Where beards grow on faces with landmarks (B,68,2) in 0..1: (B,1,side,side) in 0..1, with a soft edge. lips: how
    much larger than they are lips are left out. jaw: see INNER. reach: see JAW and UNDER_CHIN."""
    tip, chin = landmarks[:, 30:31], landmarks[:, 8:9]
    rim = tip + jaw * constant(reach, landmarks)[:, None] * (landmarks[:, 3:14] - tip)
    left, right = (
        0.55 * landmarks[:, i : i + 1] + 0.45 * landmarks[:, j : j + 1] for i, j in ((3, 48), (13, 54))
    )
    nose = landmarks[:, places(NOSE, landmarks)] + 0.04 * (chin - tip)
    outline = torch.cat([rim, right, nose, left], 1)
    middle = landmarks[:, 48:60].mean(1, keepdim=True)
    red = middle + lips * (landmarks[:, 48:60] - middle)
    return box(inside_polygon(outline, side) * (1 - inside_polygon(red, side)), max(1, side // 100))


def smooth_chin(picture: Tensor, landmarks: Tensor, amount: Tensor) -> Tensor:
    """Pictures (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 whose skin, where beards grow, becomes by an amount
    (B,) in 0..1 no rougher than the cheeks, and at least as red: stubble that nothing else found, and what a razor
    leaves, go, and some of the photo's grain stays."""
    side, light = picture.shape[-1], luma(picture)
    wide, fine = (max(side // part, 1) for part in (SMOOTH, FINE))
    amount = amount * (1 - ramp(sideways(landmarks), *TURNED))
    bare, under = (beard_region(landmarks, side, reach=reach) for reach in (JAW, UNDER_CHIN))
    around, near = mean_within(picture, bare, wide), box(picture, fine)
    own = torch.lerp(near, around, bare)  # under a chin its edge stays
    shade, around, near = luma(own), luma(around), luma(near)
    # A collar is no skin, nor what lies beside a chin whose landmarks are off.
    skin = box(under * (1 - ramp((near - around).abs(), *NOT_SKIN)), fine)
    cheeks, small = cheeks_of(landmarks), resize(picture, min(MATTE_SIDE, side))
    colour = enlarge(between_cheeks(small, cheeks, middles(small)), side) + BLACK
    grain = at(box((light - box(light, wide)).square(), wide), cheeks).mean(2)[..., None, None]
    rough = mean_within((light - around).square(), bare * skin, wide)
    left = LEFT * ((grain + LEAST_POWER) / (rough + LEAST_POWER)).clamp(max=1).square()
    redder = ramp(warm(own) - warm(colour - BLACK), *REDDER)
    # Where skin is redder no stubble is left, and what is dark is shade.
    lit = torch.maximum(shade + BLACK, DARKEST * (1 - redder) * luma(colour)) + left * (light - shade)
    cheek, chin = (one / luma(one).clamp_min(0.05) for one in (colour, own + BLACK))
    smooth = torch.lerp(cheek, chin, redder) * lit - BLACK
    return torch.lerp(picture, smooth, amount[:, None, None, None] * skin).clamp(-1, 1)


def mean_within(x: Tensor, where: Tensor, radius: int) -> Tensor:
    """The mean of maps (B,C,S,S) over what lies within `where` (B,1,S,S) in 0..1 and a radius; far from it, of all of
    it."""
    total, weight = box(torch.cat([where * x, where], 1), radius).split([x.shape[1], 1], 1)
    return (total + FEW * weighted_mean(x, where)) / (weight + FEW)


def shave(picture: Tensor, beard: Beard, amount: Tensor) -> Tensor:
    """Pictures (B,3,S,S) whose beards give way to the skin's colour, by an amount (B,1,1,1) in 0..1."""
    light = luma(picture)
    small = resize(light, min(MATTE_SIDE, light.shape[-1]))
    detail = (light - enlarge(box(small, 2), light.shape[-1])).clamp(-DEEPEST, DEEPEST)
    dim = (box(small, 2) + BLACK) / (luma(beard.skin) + BLACK).clamp_min(0.05)
    # Stubble lies in the shade of the face's form, a dense beard is dark itself.
    form = torch.lerp(torch.ones_like(dim), dim.clamp(0.05, 1) ** FORM, ramp(dim, *STUBBLE))
    bare = enlarge(form.clamp(max=SHADE) * (beard.skin + BLACK) - BLACK, light.shape[-1])
    # Small maps round off a beard's outline: beside it each pixel tells by itself.
    dark = beard.near * (1 - ramp((light + BLACK) / (SHADE * (luma(bare) + BLACK)), *BARE))
    goes = torch.maximum(beard.stubble, dark)
    lit = picture + (picture + BLACK) * amount * enlarge(beard.shadow, light.shape[-1])
    return lit + (amount * goes).clamp(0, 1) * (bare + SKIN_DETAIL * detail - lit)
