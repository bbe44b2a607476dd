"""The inside of an opened mouth: mean colours of open mouths, drawn between the lips that an edit has parted.

A closed mouth holds no pixels of teeth to move, so a warp can only stretch the lips. The gap gets what open mouths
show there on average (a static stand-in for teeth, as in Garrido et al., CVPR 2014). OpenMouth draws a row of teeth at
its own size below the upper lip, and the tongue above the lower one; MouthInterior, of older weights, mean colours that
stretch with the gap. Lips that an edit closes are drawn over the teeth (`close_lips`).

      iBUG's inner lips, 60..67                 Gap.place

            61   62   63                   (-1,-1)---------(1,-1)   upper lip
      60 .-----------------. 64               |               |
          '---------------'                (-1, 1)---------(1, 1)   lower lip
            67   66   65
"""

from __future__ import annotations

from functools import reduce
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES, AU_MAX
from .hair.filters import ramp
from .layers import Window, luma, may_ask, places, recorded, resize

UPPER, LOWER = (60, 61, 62, 63, 64), (60, 67, 66, 65, 64)
"""The inner lips' edges from corner to corner, iBUG's 68 points."""
CORNERS = (60, 64)
"""The inner lips' corners."""
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
OUTER_UPPER, OUTER_LOWER = (48, 49, 50, 51, 52, 53, 54), (48, 59, 58, 57, 56, 55, 54)
"""The lips' outer edges from corner to corner."""
PARTING = tuple(AU_CODES.index(code) for code in ("AU25", "AU26"))
"""The action units that part the lips."""
LEAST_PARTED = 0.5
"""Sum of the intensities of PARTING below which lips are not closed: they are closed already."""
MEETING = 0.4
"""Where lips that close meet: share of the way from the upper one's edge to the lower one's."""
FOLLOWING = 0.5
"""How far a lip's outer edge follows its inner one."""
RIM = 0.009
"""Height in frame sides of the lips' edges that goes with the gap: landmarks are not exact."""
SEAM = 0.35, 0.004
"""How much darker the line is where closed lips meet, and its half width in frame sides."""
SMILE = AU_CODES.index("AU12")
"""The action unit on which the look depends."""
TEETH_PATCH = (28, 48)
"""Height and width in pixels of what OpenMouth holds."""
TEETH_REACH = 0.14
"""Height, and half the width, in frame sides, of what OpenMouth holds."""
HIDDEN = 0.022
"""How much of the teeth, in frame sides, the upper lip hides when it does not smile: of 10 mm some 4 are seen at rest
(Vig & Brundo, J. Prosthetic Dentistry 1978), and below them it is dark."""
ROUND = 0.12
"""Opening from which on the inner edge of the lower lip is as round as its outer edge."""
MILLIMETRE = 0.0039
"""One millimetre in frame sides: the mean shape's eyes lie 0.247 apart, grown people's 63 mm."""
BETWEEN = (8.5, 15.0, 21.5, 26.5, 30.0)
"""Millimetres from the middle line to where one upper tooth ends and the next begins, seen from the front: incisors of
8.5 and 6.5 mm, canine 7.5, premolars 7 each (Wheeler), the farther back the more foreshortened."""
PARTED = (0.32, 0.4)
"""How dark the line between two middle teeth is where they end, and half its width in millimetres; where the lip of a
full smile lies it is half as dark."""
ROUNDED = (0.14, 1.7)
"""How much darker a tooth is at its sides, for it is round, and how far from them, in millimetres."""
NOTCH = (1.1, 0.9)
"""How much shorter teeth are where they meet, and half the width of that, in millimetres."""
LATERAL = 0.7
"""How much shorter the lateral incisors are, in millimetres."""
TEETH_END = (0.0415, 2.8, 0.016)
"""Where the teeth end in what OpenMouth holds, in frame sides below the upper lip: in the middle; what is taken off it,
times the squared distance from the middle; and the least."""
BLURRED, CRISP = 0.0125, 3.0
"""Half the height over which they end there, for it is a mean of many mouths, and how many times as sharply they are
drawn."""
CAVITY = 0.05
"""Distance from the upper lip, in frame sides, at which the mean mouth is darkest: what lies deeper is as dark."""
DEPTH = 0.12
"""How much darker than the mean mouth it is drawn there, as a share of a mouth's contrast."""
WHITE, EYES_SIDE = 0.9, 256
"""Brightness of teeth in that of the white of the eyes; the side at which these are looked at."""
CAST, CASTS = 0.6, (0.35, 1.6)
"""How far the colour of the white of the eyes, as a power, is that of the light on teeth, for a little skin is seen
with it; and the least and largest share of its brightness that a channel counts with."""
LIT, OPEN_EYE, DARKEST_WHITE = (0.3, 0.6), (0.14, 0.22), 0.05
"""Brightness above black, and height over width of an eye, up to which the white of the eyes tells no colour, for it
lies behind dark glasses or lids, and from which on it does; and the least brightness above black to divide by."""
LIP_SHADOW, SHADOW_REACH = 0.6, 0.014
"""How much darker teeth are at the edge of an upper lip that does not smile, in whose shadow they lie, and how far down
it reaches, in frame sides, until 1/e of it is left: in a narrow gap they are no white line."""
TONGUE = (0.035, 0.02)
"""Distances from the lower lip, in frame sides, between which the tongue rises out of the dark."""


class Gap(NamedTuple):
    """The gap between the lips of B faces."""

    place: Tensor
    """(B,S,S,2): each pixel's place in the gap, -1..1 from corner to corner and from the upper to the lower lip."""
    opening: Tensor
    """(B,) mean height over width."""
    inside: Tensor
    """(B,1,S,S) in 0..1 with a soft edge."""
    lengths: Tensor
    """(B,S,S,3): each pixel's distances from the mouth's middle line, to the right, from the upper lip, down, and from
    the lower lip, up, in frame sides."""


class Axes(NamedTuple):
    """The mouth's own axes on B faces, so that a tilted mouth is handled like a level one."""

    left: Tensor
    """(B,2), its left corner in the picture."""
    axis: Tensor
    """(B,2), unit length, from there to the right corner."""
    down: Tensor
    """(B,2), at right angles to it."""
    width: Tensor
    """(B,1,1), in frame sides."""


def axes(landmarks: Tensor, corners: tuple[int, int] = CORNERS) -> Axes:
    """Of landmarks (B,68,2). corners: those of an eye give the eye's own axes."""
    left, right = (landmarks[:, corner] for corner in corners)
    along = right - left
    width = along.norm(dim=1).clamp_min(1e-3)
    axis = along / width[:, None]
    return Axes(left, axis, torch.stack([-axis[:, 1], axis[:, 0]], 1), width[:, None, None])


def local(points: Tensor, landmarks: Tensor, corners: tuple[int, int] = CORNERS) -> Tensor:
    """Points (B,N,2) along and across the mouth (or eye) of landmarks (B,68,2), in its widths."""
    left, axis, down, width = axes(landmarks, corners)
    both = [((points - left[:, None]) * direction[:, None]).sum(-1) for direction in (axis, down)]
    return torch.stack(both, -1) / width


def places_along(
    landmarks: Tensor, side: int, window: Window | None, corners: tuple[int, int] = CORNERS
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each pixel of a window of a frame of `side` pixels: x (1,w) and y (h,1) in 0..1, and its place along and
    across the mouth (or eye) of landmarks (B,68,2), in its widths, (B,h,w) each."""
    left, axis, down, width = axes(landmarks, corners)
    line = (torch.arange(side, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / side
    x, y = line[None], line[:, None]
    if window is not None:
        x, y = window.cut(x), window.cut(y)
    right, below = (at - left[:, i, None, None] for i, at in enumerate((x, y)))  # (B,1,w) and (B,h,1)
    across, height = (
        (right * direction[:, 0, None, None] + below * direction[:, 1, None, None]) / width
        for direction in (axis, down)
    )
    return x, y, across, height


def gap(landmarks: Tensor, side: int, window: Window | None = None) -> Gap:
    """landmarks (B,68,2) in 0..1 of a frame of `side` pixels -> Gap, of a window of them as large as the window."""
    width = axes(landmarks).width
    upper, lower = (local(landmarks[:, places(ids, landmarks)], landmarks) for ids in (UPPER, LOWER))
    _, _, across, height = places_along(landmarks, side, window)
    opening = ((lower[:, 1:4, 1] - upper[:, 1:4, 1]).mean(1)).clamp_min(0)
    top, bottom = curve(upper, across), lower_edge(lower, landmarks, opening, across)
    tall = (bottom - top).clamp_min(1e-3)  # closed lips have no inside; their place is never used
    place = torch.stack([2 * across - 1, 2 * (height - top) / tall - 1], -1)
    # Distance to the nearest border of the gap, positive inside; along the mouth at half weight, since the gap is flat.
    edge = torch.minimum(height - top, bottom - height)
    edge = torch.minimum(edge, torch.minimum(across, 1 - across) / 2)
    soft = (edge * width / SOFT_EDGE).clamp(0, 1)
    middle = across - upper[:, 2, 0, None, None]
    lengths = torch.stack([middle, height - top, bottom - height], -1) * width[..., None]
    return Gap(place, opening, soft[:, None], lengths)


def lower_edge(lower: Tensor, landmarks: Tensor, opening: Tensor, across: Tensor) -> Tensor:
    """The inner edge (B,h,w) of the lower lip through points (B,5,2), at places (B,h,w) along the mouth. From its
    corners to its middle an open mouth is round, where the points alone would make it a triangle: its edge runs along
    the lip's outer edge, as far from it as the points are."""
    outer = local(landmarks[:, places(OUTER_LOWER, landmarks)], landmarks)
    thick = curve(outer, lower[:, None, :, 0])[:, 0] - lower[..., 1]
    thick = curve(torch.stack([lower[..., 0], thick], -1), across)
    edge = curve(lower, across)
    rounder = (curve(outer, across) - thick - edge).clamp_min(0)
    return edge + (opening / ROUND).clamp(max=1)[:, None, None] * rounder


def opening_of(landmarks: Tensor) -> Tensor:
    """(B,): the mean height over width of the gap between the lips of landmarks (B,68,2)."""
    upper, lower = (local(landmarks[:, places(ids, landmarks)], landmarks) for ids in (UPPER, LOWER))
    return (lower[:, 1:4, 1] - upper[:, 1:4, 1]).mean(1).clamp_min(0)


def newly_open(before: Tensor, after: Tensor) -> Tensor:
    """(B,) in 0..1: the part of the gap at the landmarks `after` (B,68,2) that was closed at `before`."""
    # 1 - opening before / opening after. A mouth that was open keeps its own teeth, which the warp has moved along.
    return (1 - opening_of(before) / opening_of(after).clamp_min(1e-3)).clamp(0, 1)


def opened(before: Tensor, after: Tensor, side: int) -> Tensor:
    """Where lips were parted, (B,1,side,side) in 0..1, by moving landmarks (B,68,2) from `before` to `after`."""
    share = newly_open(before, after)[:, None, None, None]
    if may_ask(share) and not (share > 0).any():
        return torch.zeros_like(share)
    return gap(after, side).inside * share


def window_around(
    landmarks: Tensor, side: int, ids: tuple[int, ...] = UPPER + LOWER, margin: float = 0.0
) -> Window:
    """The pixels of a frame of `side` pixels around the inner lips (or other points `ids`, with a margin in frame
    sides) of all faces (B,68,2), at least one. (A GPU would have to be asked where the lips are.)"""
    lips = landmarks[:, places(ids, landmarks)].flatten(0, 1).clamp(0, 1) * side
    around = 2 + margin * side
    low, high = (lips.amin(0) - around).clamp(0, side - 1), (lips.amax(0) + around).clamp(1, side)
    columns, rows = torch.stack([low, high], 1).long().unbind(0)
    return Window(rows, columns)


def curve(points: Tensor, at: Tensor) -> Tensor:
    """The polyline through points (B,5,2) from left to right, evaluated at (B,h,w): heights (B,h,w)."""
    # y(x) = y_0 + sum_k clamp((x - x_k) / (x_{k+1} - x_k), 0, 1) (y_{k+1} - y_k): each piece adds its rise once it is
    # passed. The running maximum keeps x from going back where a turned head folds the lip over.
    x = list(accumulate(points[:, :, 0, None, None].unbind(1), torch.maximum))
    y = points[:, :, 1, None, None].unbind(1)
    out = y[0]
    for k in range(len(x) - 1):
        share = (at - x[k]) / (x[k + 1] - x[k]).clamp_min(1e-4)
        out = out + share.clamp(0, 1) * (y[k + 1] - y[k])
    return out


def closing(aus: Tensor, target_aus: Tensor) -> Tensor:
    """(B,) in 0..1: how much of the gap between the lips a request from action units to others, (B,17), closes."""
    before, after = (x[:, places(PARTING, x)].sum(1) for x in (aus, target_aus))
    share = (1 - after / before.clamp_min(LEAST_PARTED)).clamp(0, 1)
    return share * ((before - LEAST_PARTED) / LEAST_PARTED).clamp(0, 1)


def close_lips(face: Tensor, landmarks: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """face (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 -> with a share (B,) of the gap between its lips closed,
    and the lips, where that has changed them (B,1,S,S) in 0..1."""
    # A smooth warp cannot bring two edges together that move against each other. Here the heights above and below the
    # line where they meet are stretched piece by piece, so that the lips' own pixels cover the teeth:
    #
    #     above | upper lip | gap | lower lip | below        knots: outer and inner edges, and one beyond each lip
    side, share = face.shape[-1], share[:, None, None]
    window = None
    if recorded() or may_ask(face):
        window = window_around(landmarks, side, OUTER_UPPER + OUTER_LOWER, 0.06)
    left, axis, down, width = axes(landmarks)
    x, y, across, height = places_along(landmarks, side, window)
    top, upper, lower, bottom = (
        curve(local(landmarks[:, places(ids, landmarks)], landmarks), across)
        for ids in (OUTER_UPPER, UPPER, LOWER, OUTER_LOWER)
    )  # (B,h,w) each, in widths of the mouth
    rim = (RIM / width) * ((lower - upper) * width / RIM).clamp(0, 1)  # teeth show at the very edges
    upper, lower = torch.maximum(upper - rim, top), torch.minimum(lower + rim, bottom)
    tall = (lower - upper).clamp_min(0)
    meeting = upper + MEETING * tall
    fall, rise = share * MEETING * tall, share * (1 - MEETING) * tall
    was = (top - tall, top, upper, upper + tall, bottom, bottom + tall)
    now = (was[0], top + FOLLOWING * fall, upper + fall, was[3] - rise, bottom - FOLLOWING * rise, was[5])
    shifts = []  # from a place to what is shown there: 0 beyond the knots, for both ends rest
    for k in range(5):
        step = now[k + 1] - now[k]
        part = ((height - now[k]) / step.clamp_min(1e-4)).clamp(0, 1)
        shifts.append(part * (was[k + 1] - was[k] - step))
    shift = reduce(torch.add, shifts) * width  # a recorded graph has no zeros of the window's size
    grid = torch.stack([x + shift * down[:, 0, None, None], y + shift * down[:, 1, None, None]], -1)
    drawn = F.grid_sample(face, 2 * grid - 1, mode="bicubic", padding_mode="border", align_corners=False)
    darker, half = SEAM
    gone = share * (tall * width / half).clamp(0, 1)
    seam = darker * gone * (1 - (height - meeting).abs() * width / half).clamp(0, 1)
    drawn = ((drawn + 1) * (1 - seam[:, None]) - 1).clamp(-1, 1)
    lips = gone * (torch.minimum(height - now[1], now[4] - height) * width / half).clamp(0, 1)
    if window is None:
        return drawn, lips[:, None]
    return window.put(face, drawn), window.put(torch.zeros_like(face[:, :1]), lips[:, None])


def terms(opening: Tensor, smile: Tensor) -> Tensor:
    """The regressors of mean colours, (B,TERMS): a constant, the opening (B,), AU12 (B,) in 0..1; all about -0.5..1."""
    wide = opening.clamp(0, OPEN_MOST) - OPEN_MEAN
    return torch.stack([torch.ones_like(opening), wide, smile - 0.5], 1)


class Mouth(nn.Module):
    """Draws in the gap between lips that an edit has parted. known: 1 once measured; 0 leaves every mouth as it is."""

    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("known", torch.zeros(()))

    def forward(
        self,
        face: Tensor,
        before: Tensor,
        after: Tensor,
        aus: Tensor,
        skin: tuple[Tensor, Tensor],
        colour: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """face (B,3,S,S) whose landmarks went from `before` to `after` (B,68,2), action units (B,17) asked, the skin's
        mean and spread of brightness and its share of colour (B,1,1,1) each -> the face with its mouth filled and the
        share filled (B,1,S,S)."""
        fresh = newly_open(before, after) * self.known
        if may_ask(fresh) and not (fresh > 0).any():
            return face, torch.zeros_like(face[:, :1])
        # A GPU would have to be asked where the lips are.
        window = window_around(after, face.shape[-1]) if recorded() or may_ask(face) else None
        now = gap(after, face.shape[-1], window)
        share = now.inside * fresh[:, None, None, None]
        smile = aus[:, SMILE] / AU_MAX
        colours = self.colours(now, smile, skin, colour, eye_white(face, after)).clamp(-1, 1)
        if window is None:
            return face + share * (colours - face), share
        part = window.cut(face)
        out = window.put(face, part + share * (colours - part))
        return out, window.put(torch.zeros_like(face[:, :1]), share)

    def colours(
        self, now: Gap, smile: Tensor, skin: tuple[Tensor, Tensor], colour: Tensor, white: Tensor
    ) -> Tensor:
        """(B,3,h,w) in [-1,1] for each pixel of a gap; smile: AU12 (B,) in 0..1; white: `eye_white` (B,3)."""
        raise NotImplementedError


class MouthInterior(Mouth):
    """Mean colours, of older weights. looks (TERMS,3,16,32): slopes of the colours between the lips on `terms`,
    relative to the skin's mean, in its standard deviations of brightness."""

    looks: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("looks", torch.zeros(TERMS, 3, *PATCH))

    def colours(
        self, now: Gap, smile: Tensor, skin: tuple[Tensor, Tensor], colour: Tensor, white: Tensor
    ) -> Tensor:
        """As Mouth.colours."""
        look = torch.einsum("bt,tchw->bchw", terms(now.opening, smile), self.looks)
        look = F.grid_sample(look, now.place, mode="bilinear", padding_mode="border", align_corners=False)
        mean, spread = skin
        return mean + spread * without_colour(look, colour)


class OpenMouth(Mouth):
    """What open mouths show below the upper lip and above the lower one, measured by `learning.prepare.open_mouths`.

    upper, lower (3,28,48): colours, 0 the darkest of a mouth and 1 the brightest, over a width of two TEETH_REACH
    around the mouth's middle line and a height of one; the first row of `upper` lies at the upper lip, the last row of
    `lower` at the lower lip. light (3,2): the darkest level and the contrast of a mouth, linear in (1, mean, standard
    deviation) of the skin's brightness.
    """

    upper: Tensor
    lower: Tensor
    light: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("upper", torch.zeros(3, *TEETH_PATCH))
        self.register_buffer("lower", torch.zeros(3, *TEETH_PATCH))
        self.register_buffer("light", torch.zeros(3, 2))

    def colours(
        self, now: Gap, smile: Tensor, skin: tuple[Tensor, Tensor], colour: Tensor, white: Tensor
    ) -> Tensor:
        """As Mouth.colours."""
        along, below, above = now.lengths.unbind(-1)  # (B,h,w), in frame sides
        in_shadow = torch.exp(below.clamp_min(0) / -SHADOW_REACH)
        # The skull carries the upper teeth, so they have one size whatever the mouth does; a smile lifts the lip.
        below = below + HIDDEN * (1 - smile).clamp(0, 1)[:, None, None]
        parted, shorter = arch(along, below)
        below_lip = crisp(along, below + shorter).clamp(max=CAVITY)
        teeth = sample(self.upper, along, below_lip)
        teeth = teeth * (1 - parted[:, None] * luma(teeth).clamp(0, 1))
        teeth = teeth - DEPTH * ((below - CAVITY * 0.7) / (CAVITY * 0.3)).clamp(0, 1)[:, None]
        far, near = TONGUE
        share = ((far - above) / (far - near)).clamp(0, 1) * ((below - CAVITY) / (CAVITY / 2)).clamp(0, 1)
        look = torch.lerp(teeth, sample(self.lower, along, TEETH_REACH - above), share[:, None])
        lowered = LIP_SHADOW * (1 - smile).clamp(0, 1)[:, None, None, None]
        look = look * (1 - lowered * in_shadow[:, None])
        return relight(without_colour(look, colour), self.light, skin, white)


def arch(along: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
    """The upper teeth at distances (B,h,w) from the middle line and from the upper lip, in frame sides: how much darker
    they are between two of them and at their sides, in 0..1, and by how much they are shorter than the middle ones, in
    frame sides."""
    from_middle = along.abs() / MILLIMETRE
    dark, width = PARTED
    side, far_in = ROUNDED
    notch, wide = NOTCH
    away = [(from_middle - at).square() for at in (0.0, *BETWEEN)]
    lines, sides, notches = (  # a recorded graph has no zeros of the window's size
        reduce(torch.add, [torch.exp(-far / reach**2) for far in away]).clamp(max=1)
        for reach in (width, far_in, wide)
    )
    first, second = BETWEEN[:2]
    lateral = ((from_middle - first).sigmoid() * (second - from_middle).sigmoid()).clamp(0, 1)
    down = (below / TEETH_END[0]).clamp(0, 1)
    shorter = MILLIMETRE * (notch * notches + LATERAL * lateral)
    return dark * (1 + down) / 2 * lines + side * sides, shorter


def crisp(along: Tensor, down: Tensor) -> Tensor:
    """Where to look, in what OpenMouth holds, for what lies at distances (B,h,w) from the middle line and down from the
    upper lip, in frame sides, so that teeth end as sharply as teeth do."""
    middle, bend, least = TEETH_END
    end = (middle - bend * along.square()).clamp_min(least)
    near = BLURRED / CRISP
    off = down - end
    upper = down * (end - BLURRED) / (end - near)
    return torch.where(off < -near, upper, end + torch.minimum(CRISP * off, off + BLURRED - near))


def relight(look: Tensor, light: Tensor, skin: tuple[Tensor, Tensor], white: Tensor) -> Tensor:
    """Colours (B,3,h,w), 0 the darkest and 1 the brightest of a mouth, in the light on the skin, in [-1,1]; teeth are
    at least as bright as WHITE of the white of the eyes (B,3), and as warm or cold."""
    mean, spread = (part.flatten(1) for part in skin)
    levels = torch.cat([torch.ones_like(mean), mean, spread], 1) @ light
    dark, contrast = levels.clamp_min(-1)[:, :, None, None, None].unbind(1)
    white = (white[:, :, None, None] + 1).clamp_min(DARKEST_WHITE)
    bright = luma(white)
    cast = (white / bright).clamp(*CASTS) ** CAST
    least = WHITE * (bright - 1 - dark)
    return (dark + 1 + torch.maximum(contrast, least).clamp_min(0) * look) * cast - 1


def eye_white(face: Tensor, landmarks: Tensor) -> Tensor:
    """The colour (B,3) of the white of the eyes of faces (B,3,S,S) with landmarks (B,68,2), of all skins the same in
    the same light; grey where eyes are closed or too dark to tell."""
    eyes = landmarks[:, 36:48].view(-1, 2, 6, 2)
    middle = eyes.mean(2, keepdim=True)
    corners = eyes[:, :, 0:4:3]
    at = torch.cat([torch.lerp(middle, corners, share) for share in (0.45, 0.6)], 2).flatten(1, 2)
    small = resize(face, min(EYES_SIDE, face.shape[-1]))
    seen = F.grid_sample(small, 2 * at[:, None] - 1, padding_mode="border", align_corners=False)
    seen = seen[:, :, 0]
    blue = seen[:, 2]  # of which skin has less than a white beside it, in any light
    bluest = (blue >= blue.sort(1).values[:, -3:-2]).to(blue)[:, None]
    white = ((seen * bluest).sum(2) / bluest.sum(2))[:, :, None, None]
    light = luma(white)
    lids = eyes[:, :, 4:6].mean(2) - eyes[:, :, 1:3].mean(2)
    wide = (eyes[:, :, 3] - eyes[:, :, 0]).norm(dim=2).clamp_min(1e-3)
    height = (lids.norm(dim=2) / wide).amax(1)[:, None, None, None]
    told = ramp(light + 1, *LIT) * ramp(height, *OPEN_EYE)
    return torch.lerp(light.expand_as(white), white, told)[:, :, 0, 0]


def sample(patch: Tensor, along: Tensor, down: Tensor) -> Tensor:
    """A patch (3,h,w) of OpenMouth at places (B,h',w') along the mouth and down, in frame sides: (B,3,h',w')."""
    grid = torch.stack([along / TEETH_REACH, 2 * down / TEETH_REACH - 1], -1)
    patches = patch.expand(len(along), -1, -1, -1)
    return F.grid_sample(patches, grid, mode="bicubic", padding_mode="border", align_corners=False)


def without_colour(look: Tensor, colour: Tensor) -> Tensor:
    """Colours (B,3,h,w) with their chroma scaled by `colour` (B,1,1,1): of a grey photo the mouth is grey."""
    grey = luma(look)
    return grey + (look - grey) * colour
