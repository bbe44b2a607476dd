"""How hair grows older and younger (`Growth`).

Grey grows strand by strand (`turn_grey`): each strand has a threshold of its own, taken from the photo, and turns when
enough of the head's hair has turned; roots and temples come first, strands at the border of the frame last. Brows, tips
on a forehead, sideburns, tails at the nape, coloured strands on the face and single strands beside the hair turn with
it, and light falls on it from above. Younger hair gets one factor on its brightness and one on its saturation
(`turn_young`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import Window, choose, constant, dilate, enlarge, luma, resize
from .beard import Beard, shave, warm
from .brows import brows
from .filters import BLACK, border_fade, box, grown_mask, part_of, ramp, smooth, square_around, weighted_mean
from .finding import MATTE_SIDE
from .nape import nape
from .on_head import EAR_SIDE, Head, bare_skin, fringe, in_the_dark, shaven, unnatural, vivid
from .sideburns import sideburns
from .strands import brushed

REACH = (-0.5, -0.35, 1.5, 1.65)
"""How far hair is changed around a face's frame, in its sides: left, top, right, bottom. Long hair hangs down."""
REACH_FADE = (0.01, 0.06, 0.1)
"""FRAME_FADE of a picture that reaches so far."""
WHITE, IN_WHITE = (0.45, 0.28), 0.92
"""Brightness of white hair: its slope on that of the skin beside it, and what it has beside; and the brightness above
black of pale skin in that of white hair beside it. Of 726 training faces of 70 years and older the brightest hair was
.4 beside skin of -.4, and .5 beside skin of .4: some of that counts, for a face may be dark for want of light."""
MOST_TURNED = 0.65
"""Share of strands that those which turn near and never reach, at a place that is neither early nor late: with all of
them hair is one even grey, which nobody takes for hair. Of .3 .28 turn there, of .6 .47, of 1 .59."""
VARIETY = 0.9
"""How much a strand's own threshold counts beside the head's share, in logits per standard deviation."""
TEMPLES_FIRST = 0.9
"""How many logits earlier strands at the temples turn than the mean one, see `place_on_head`."""
FEW_AT_BORDER = 2.5
"""How many logits later strands turn at the picture's border."""
NOISE = 0.08
"""Standard deviation of brightness, in units of [-1,1], of detail that counts half: noise and what compression leaves
in black hair are no strands, and white hair would show them several times as large."""
RINGS = 2
"""Pixels beside the outline of hair in which the photo's detail tells nothing of strands: sharpening and compression
leave dark and bright lines there, and would draw the outline."""
DETAIL, GLOSS = 0.8, 1.2
"""How much of the detail of hair, in logs of brightness, white hair shows, and the most that it shows."""
FULL = 0.28, 0.15
"""Standard deviation of the detail of hair, in logs of brightness, from which on it lacks nothing: of black hair, whose
noise is as large, and of bright hair."""
FLOWING, STRANDS, SHORT = (0.33, 0.5), (0.14, 0.22), (0.0, 0.7)
"""Of the strands that hair without detail gets, in small pictures and in large ones: the standard deviations of their
thresholds and of their brightness, in logs, and the share of short ones. Coarse strands look like worms."""
LARGE = 70.0, 150.0
"""Half widths of a face, in pixels, up to which a picture of it is small, and from which on it is large."""
PITCH_DARK = (0.15, 0.5)
"""Brightness above black up to which hair is black, and from which on it is bright."""
BRIGHTEST = 0.3
"""How much brighter than white hair a strand may grow, in units of [-1,1]."""
FEW = 0.01
"""Share of surely hair in what lies around a place, beside which less tells little of its colour there: of a thin
strand much of what is seen lies behind it."""
LINE = 340
"""Sides of a picture, in half widths of a line that lies beside hair."""
FAINT = 1e-3
"""Squared chroma, in units of [-1,1], of hair that has hardly any."""
ROUND, ROUND_LIGHT = 5, 0.25
"""Pixels of a picture of 128 over which hair is rounded off, and how much brighter it is where it faces up."""
STRAY = 6
"""How far beside hair single strands of it may lie, in pixels of a picture of 128."""
COLOURED = (0.04, 0.1)
"""Mean distance of hair's colour from grey, in units of [-1,1], from which on strands of it can be told, and are."""
ALIKE = (0.1, 0.25)
"""Share of the hair's colour in what lies beside it up to which strands can be told from it, and from which on not."""
GREY_CHROMA = 0.12
"""What is left of the colour of a strand that has turned."""
SKIN_RED, SKIN_BLUE = 1.55, (0.65, 1.0)
"""Red in the green of skin, up to which, and blue in its green, between which the light on a photo may be neutral: dark
skin is redder and less blue than pale skin in the same light."""
SHARED, WARM_SKIN = (0.18, 0.3), (0.34, -0.19)
"""How much of the skin's logs of red in green and of blue in green white hair shares, and these logs of the mean skin,
beyond which none of it counts: two thirds of what was measured on 288 training faces of 66 years and older with bright
hair, some of which still had a colour of its own."""
PALE = 0.04
"""Mean distance from grey, in units of [-1,1], from which on up to half as much again hair still has some colour."""
FADED = (0.35, 0.6)
"""Warmth, red beyond blue in the brightness, as a share of the skin's: up to the first hair has lost its pigment, from
the second on it has all of it. Light and film colour both."""
LIT = (0.22, 0.4)
"""Brightness above black, in the skin's: hair without colour is black below the first, and grey above the second."""
CLIPPED = (0.8, 0.95)
"""Value of the brightest channel up to which a photo shows the colour of hair, and from which on it is overexposed."""
STREAKS = (0.15, 0.35)
"""Share of a head's hair that is pale: up to the first it is light on hair that has its pigment, from the second on
hair that has turned."""
BLEACHED = (0.1, 0.3)
"""Share of a head's hair that is overexposed: up to the first its colour tells, from the second on nothing comes back,
for patches and hair without strands would."""
DARK_HAIR = 0.42
"""Brightness above black of the hair of the young, in the skin's, at most."""
BROWN = (1.27, 0.92, 0.7)
"""Red, green and blue of brown hair, in its brightness."""
SHADES = (0.4, 1.8)
"""Least and largest light on hair, and on a strand of it, that stay as pigment comes back."""
NOT_DARK = (-0.55, -0.35)
"""Brightness from which on hair without colour is grey, between the two less and less black."""
SKIN_COLOUR = 0.1
"""Mean distance of skin from grey below which a photo has less and less colour to go by."""
MOST_COLOUR, YOUNG_COLOUR = 1.5, 1.2
"""Largest factor on the saturation of hair, and of hair that grows younger: skin seen between it would glow."""
THIN_YOUNG = (0.05, 0.4)
"""THIN of hair that grows younger: dark it is no veil, and a white rim would be left."""
OWN, OWN_OUTSIDE = (0.85, 1.0), (0.5, 0.75)
"""Shares of hair in a pixel up to which its light may be that of what shows through, and from which on it is hair's: by
a face, and at the head's outline, where a matte is less sure of hair that lies in the light than of what it is.
"""
HAIRLINE, THROUGH = 0.2, 0.3
"""Half widths of a face from the outline of the head within which hair at its own edge borders on the face; and how
much less of it grows brighter there: skin shows between the strands of a hairline, and a bright rim looks like a wig's.
"""
HAIRLINE_SIDE, TOWARDS, SOFT = 256, 1, (0.7, 1.0)
"""Largest side at which a hairline is softened; pixels around a place of it; and shares of its own hair that lie there
up to which nothing turns, and from which on all does: what turns up to a line on the face looks like a wig, and a dark
strip looks like a fringe that was left out.
"""
TIP_WIDE, FACING_SHARE = 3, (0.4, 0.7)
"""Half the width, in pixels there, up to which hair is a tip on the skin: tips have no line to soften. And THIN of hair
on the face: along it a matte fades out on the skin, which would turn to a pale line.
"""
BROWS_TURN = 0.3
"""How much of brows turns with the hair: they keep some of their colour the longest."""
SOME = (0.002, 0.01)
"""Share of a picture that is hair up to which there is none, and from which on there is some."""
THIN = (0.2, 0.4)
"""Shares of hair in a pixel: at the first it stays as it is, as thin hair on skin would turn to a veil; from the second
on all of it may turn. Off the face single strands lose their colour alone."""


def grey_before(head: Head) -> Tensor:
    """Where a picture with colour is grey and not dark, (B,1,s,s) in 0..1: grey cloth, or hair that has turned."""
    # At the hair's outline what lies beside it must not count: the mean is that of the hair alone.
    around, weight = box(torch.cat([head.small * head.hair, head.hair], 1), 2).split([3, 1], 1)
    around = (around + 1e-3 * head.small) / (weight + 1e-3)
    dark, bright = NOT_DARK
    pale = (1.5 - chroma(around) / PALE).clamp(0, 1) * ((luma(around) - dark) / (bright - dark)).clamp(0, 1)
    return pale * told(head)


def cell_of(side: int) -> int:
    """Pixels, 2 or 4, over which the detail of strands is averaged in pictures of a side."""
    return 4 if side >= 640 else 2


def standing_out(light: Tensor, hair: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """Brightness and hair (B,1,S,S) -> how early each strand turns, and how much of the detail there is of strands, in
    0..1. What stands out bright turns first: the photo's own fine detail in its local standard deviations, and so the
    same at every edit, half of it where these are NOISE (Wiener's filter), and none on the outline. cell: `cell_of`
    the picture."""
    side = light.shape[-1]
    total, share = smooth(torch.cat([light * hair, hair], 1), cell).split(1, 1)
    around = (total - 1e-3) / (share + 1e-3)  # black where there is no hair
    detail = (light - enlarge(around, side)) * hair
    spread = enlarge(smooth(detail.square(), 2 * cell).sqrt(), side)
    off_outline = box(-dilate(-(hair > 0.5).to(hair), RINGS, RINGS), RINGS)
    told = off_outline * spread / (spread.square() + NOISE**2)
    return (detail * told).clamp(-2, 2), spread * told


def shown(detail: Tensor) -> Tensor:
    """What white hair shows of the detail of hair, in logs of brightness: a factor on its brightness."""
    return (GLOSS * (detail * (DETAIL / GLOSS)).tanh()).exp()


def lacking(detail: Tensor, hair: Tensor, around: Tensor, cell: int) -> Tensor:
    """How much the detail (B,1,S,S) of hair, in logs of brightness, lacks of what strands show: in 0..1, 1 for flat
    hair. hair: where it is. around: its brightness above black without detail. cell: `cell_of` the picture."""
    power, level, share = smooth(torch.cat([detail.square() * hair, around * hair, hair], 1), cell).split(
        1, 1
    )
    spread = ((power + 1e-6) / (share + 1e-4)).sqrt()
    black, bright = FULL
    full = black + (bright - black) * ramp(level / (share + 1e-4), *PITCH_DARK)
    return enlarge(1 - (spread / full).clamp(max=1), detail.shape[-1])


def even(flat: Tensor, cell: int) -> Tensor:
    """Where something pale is even, or beside what is even, (B,1,S,S): hair that has turned, and cloth up to its hem.
    What is pale and shows strands is light on hair. flat (B,1,S,S) in 0..1: pale without detail. cell: `cell_of`."""
    side = flat.shape[-1]
    return enlarge(dilate(resize(flat, max(side // (2 * cell), 1)), 2, 2), side)


class Strands(NamedTuple):
    """What is known of the hair of B pictures before it turns grey, whatever the age: in the part (B,_,P,P) of the
    pictures that holds all of it."""

    window: Window | None
    """Where that part lies; None for the whole pictures."""
    hair: Tensor
    """(B,1,P,P) in 0..1."""
    white: Tensor
    """(B,1,1,1), the brightness of white hair."""
    early: Tensor
    """(B,1,P,P), see `standing_out`."""
    rise: Tensor
    """(B,1,P,P), by how much a strand that turns white grows brighter."""
    chroma: Tensor
    """(B,3,P,P), the hair's own colour without its brightness."""
    stray: Tensor
    """(B,3,P,P), the same of single strands beside the hair, in their share of each pixel."""

    def cut(self, x: Tensor) -> Tensor:
        """The part of pictures or maps (B,C,S,S)."""
        return part_of(x, self.window)

    def put(self, picture: Tensor, part: Tensor) -> Tensor:
        """The pictures with their part in its place."""
        return part if self.window is None else self.window.put(picture, part)


def strands_of(picture: Tensor, hair: Tensor, head: Head, more: Tensor | None = None) -> Strands:
    """Of pictures (B,3,S,S) in [-1,1] with hair (B,1,S,S) in 0..1, without what is grey already. more (B,1,S,S): thin
    things that turn with it."""
    found, hair = hair, hair if more is None else torch.maximum(hair, more)
    side, mean = picture.shape[-1], luma(head.colour)
    white = WHITE[0] * luma(head.skin) + WHITE[1]
    # A white strand keeps the photo's light, and some from above: the shade as it is, highlights and detail compressed,
    # for the gloss of dark hair is a multiple of its colour and that of white hair is not.
    sure = (2 * head.hair - 1).clamp_min(0) + 1e-4 * head.hair
    total, weight = box(torch.cat([head.small * sure, sure], 1), 5).split([3, 1], 1)
    nearby = (total + FEW * head.colour) / (weight + FEW)
    around = luma(nearby) + BLACK
    lit = (around / (mean + BLACK)).clamp(0, 2.5)
    lit = torch.minimum(lit, lit.clamp_min(1).sqrt())
    level = torch.maximum((white + 1) * lit * rounded(head.hair), around)
    inner = -dilate(-sure, 1, 1)
    facing = 1 - ramp(head.off, 0.0, HAIRLINE)
    tint = nearby - luma(nearby)
    ground, near = beside(head, tint)
    window = square_around(torch.maximum(hair, enlarge(near, side)))
    maps = enlarge(torch.cat([level, around, inner, grey_before(head), facing, tint, ground, near], 1), side)
    flowing, strands, short = of_size(head)
    flow, cell = enlarge(brushed(luma(picture), hair, (head.off == 0).to(hair), short), side), cell_of(side)
    picture, hair, found, flow, maps = (part_of(x, window) for x in (picture, hair, found, flow, maps))
    light = luma(picture)
    level, around, inner, pale, facing, tint, ground, near = maps.split([1, 1, 1, 1, 1, 3, 1, 1], 1)
    by_face = (2 * facing).clamp(max=1)
    rim = by_face * (1 - inner) * ramp(found, *THIN)
    plain = torch.maximum(inner, ramp(hair, *OWN))
    inner = torch.maximum(inner, torch.lerp(ramp(hair, *OWN_OUTSIDE), ramp(hair, *OWN), by_face))
    detail = ((light + BLACK) / around.clamp_min(0.02)).clamp(0.05, 20).log()
    # At the edge the contrast of hair with the skin is no detail of strands: they are drawn there, too.
    flat = lacking(detail, hair, around, cell)
    # At the hair's edge a bright pixel is skin or background that shows through, no gloss: own = min(light, around).
    own = torch.lerp(torch.minimum(light, around - BLACK), light, inner)
    early, told = standing_out(own, hair, cell)
    detail = told * detail
    flow = flow * (1 - inner * (1 - lacking(detail, hair, around, cell)))
    hair, lines = hair * (1 - pale * even(pale * flat, cell)), strands * flow
    gloss, drawn = (shown(part) for part in (detail + lines, lines))
    # There p = a h + (1 - a) o: only the hair's own colour h changes, by as much as the hair around does, and what
    # shows through stays.
    # On the way to the face the hair lies ever thinner on the skin.
    thin = THROUGH * facing
    edge = (level - 1 - (around - BLACK)) * (1 - thin) + level * (drawn - 1) * (1 - thin / 2)
    rise = torch.lerp(edge, level * gloss - 1 - light, inner)
    # Background between strands is no gloss.
    rise = torch.minimum(rise, (white + BRIGHTEST - light).clamp_min(0))
    # Along a face a matte may lie a pixel too far on the skin, which would turn into a bright line.
    rise = torch.lerp(rise, torch.minimum(rise, no_line(light, hair, rise, max(side // LINE, 1))), rim)
    # Of the hair's own colour t a pixel p has <p, t> / <t, t>. No more is taken: its opposite would be left.
    present = in_tint(picture - light, tint)
    share = near * ((present - ground) / (1 - ground).clamp_min(0.3)).clamp(0, 1)
    # At its edge skin has some of it, too: taken whole that would leave a green rim, and left whole a red one.
    beyond = (present - ground / 2) / (1 - ground / 2)
    own_share = (beyond / hair.clamp_min(0.05)).clamp(0, 1)
    stray, tint = (share - hair * own_share).clamp_min(0) * tint, own_share * tint
    chroma = torch.lerp(tint, picture - light, plain)
    return Strands(window, hair, white, early + flowing * flow, rise, chroma, stray)


def of_size(head: Head) -> list[Tensor]:
    """FLOWING, STRANDS and SHORT of heads, (B,1,1,1) each."""
    large = ramp(head.half, *LARGE)
    return [low + (high - low) * large for low, high in (FLOWING, STRANDS, SHORT)]


def no_line(light: Tensor, hair: Tensor, rise: Tensor, reach: int) -> Tensor:
    """By how much hair (B,1,S,S) on pictures of a brightness may grow brighter, (B,1,S,S), so that no line of 2 reach
    pixels is brighter than what lies to both sides of it: the opening of what it would be."""
    opened = dilate(-dilate(-torch.addcmul(light, hair, rise), reach, reach), reach, reach)
    return (opened - light).clamp_min(0) / hair.clamp_min(0.05)


def rounded(hair: Tensor) -> Tensor:
    """Light from above on hair (B,1,s,s) as if it were round: a factor (B,1,s,s), above 1 where it faces up."""
    wide = box(hair, ROUND)
    below, above = (F.pad(wide, (0, 0, *pad), mode="replicate") for pad in ((0, 2 * ROUND), (2 * ROUND, 0)))
    way = (below - above)[..., ROUND:-ROUND, :]
    return (ROUND_LIGHT * way).exp()


def beside(head: Head, tint: Tensor) -> tuple[Tensor, Tensor]:
    """How much of the hair's colour without its brightness (B,3,s,s) what lies beside hair has, and where single
    strands of that colour may lie, (B,1,s,s) each: around hair that has some colour, on what has another one."""
    bare = 1 - head.hair
    present = in_tint(head.small - luma(head.small), tint)
    total, weight = box(torch.cat([present * bare, bare], 1), STRAY).split(1, 1)
    ground = ((total + 1e-3) / (weight + 1e-3)).clamp(0, 1)
    coloured = ramp(chroma(tint), *COLOURED) * (1 - ramp(ground, *ALIKE))
    near = box(grown_mask(head.hair, STRAY), STRAY // 2) * ramp(head.off, 0.0, HAIRLINE)
    return ground, coloured * near * head.within


def in_tint(colour: Tensor, tint: Tensor) -> Tensor:
    """How much of a tint (B,3,H,W) colours without their brightness (B,3,H,W) have: (B,1,H,W), 1 for all of it."""
    return (colour * tint).sum(1, keepdim=True) / (tint.square().sum(1, keepdim=True) + FAINT)


def turn_grey(picture: Tensor, head: Head, strands: Strands, lighter: Tensor, colour: Tensor) -> Tensor:
    """Hair grown older. picture (B,3,S,S) in [-1,1] with its strands, lighter, the measured change of the hair's
    brightness in the skin's above black, and colour, the change of its log saturation, (B,1,1,1) each -> the picture
    with its hair changed."""
    mean = luma(head.colour)
    # While few strands turn the mean brightness is to rise by lighter * (skin + 1), or, since dark skin does not make
    # white hair dark, by lighter * IN_WHITE * (white + 1); with strands that stay and strands that turn white, that is
    # a share of lighter * IN_WHITE * (white + 1) / (white - mean).
    share = lighter * IN_WHITE * (strands.white + 1) / (strands.white - mean).clamp_min(0.35)
    share = (MOST_TURNED * (share / MOST_TURNED).tanh()).clamp_min(1e-4)
    # logit of a strand = logit(share) + VARIETY * early + TEMPLES_FIRST * place. A logistic over a normal variable
    # of standard deviation v has the mean of one whose logit is shrunk by sqrt(1 + pi v^2 / 8) (MacKay 1992), so that
    # the mean over the strands of a place that is neither early nor late is the share.
    logit = torch.logit(share) * (1 + math.pi * VARIETY**2 / 8) ** 0.5 + TEMPLES_FIRST * head.place
    logit = strands.cut(enlarge(logit - FEW_AT_BORDER * (1 - head.within), picture.shape[-1]))
    turned = (logit + VARIETY * strands.early).sigmoid() * (lighter > 0)
    kept = colour.exp().clamp(0, MOST_COLOUR)
    part, hair = strands.cut(picture), strands.hair
    # Colour goes before white comes: lit strands that keep their colour would look like patches that were left out.
    bleached = torch.lerp(turned, turned.clamp_min(1e-6).sqrt() * (lighter > 0), ramp(hair, *OWN))
    faded = kept - 1 + bleached * (GREY_CHROMA - kept)
    rise = strands.rise * turned
    changed = torch.addcmul(part + hair * rise, hair * faded, strands.chroma) + faded * strands.stray
    # White hair has some of the skin's warmth, and the colour of the light on it.
    lit = hair * turned * (luma(part) + rise + 1)
    return strands.put(picture, torch.addcmul(changed, lit, cast(head.skin) - 1))


def cast(skin: Tensor) -> Tensor:
    """The colour of white hair beside skin (B,3,1,1): a factor (B,3,1,1) for each channel, of brightness 1. It has some
    of the skin's warmth, and all of what skin has beyond that in neutral light; beside grey skin it is exactly 1."""
    red, green, blue = (skin + BLACK).clamp_min(0.02).split(1, 1)
    low, high = (math.log(value) for value in SKIN_BLUE)
    red, blue = (red / green).log(), (blue / green).log()
    warm_light = (blue / WARM_SKIN[1]).clamp(0, 1)  # skin is red in cold light, too
    warmth = (
        SHARED[0] * red.clamp(max=WARM_SKIN[0]) * warm_light,
        SHARED[1] * WARM_SKIN[1] * warm_light,
    )
    yellow = blue - blue.clamp(low, high)
    flushed = (red - math.log(SKIN_RED)).clamp_min(0)  # more red than warm light explains is the skin's own
    beyond = torch.minimum(flushed, (-yellow).clamp_min(0)), yellow
    factor = torch.cat([warmth[0] + beyond[0], torch.zeros_like(green), warmth[1] + beyond[1]], 1).exp()
    return factor / luma(factor)


def turn_young(
    picture: Tensor, hair: Tensor, head: Head, lighter: Tensor, colour: Tensor, regained: Tensor
) -> Tensor:
    """Hair (B,1,S,S) grown younger, or out of childhood: brightness and saturation by one factor each. regained:
    how much of what has turned grey gets its pigment back, (B,1,1,1) in 0..1; where the photo's colours tell what has,
    the rest was always as it is."""
    side, light = picture.shape[-1], luma(picture)
    mean, skin_light = luma(head.colour), luma(head.skin)
    back = regained * told(head)
    factor = (1 + lighter * (skin_light + 1) / (mean + 1).clamp_min(0.1)).clamp(0.55, 1.3)
    factor, colour = (
        torch.lerp(x, torch.ones_like(x), back) for x in (factor, colour.exp().clamp(0, YOUNG_COLOUR))
    )
    grown = ((light + 1) + (picture - light) * colour) * factor - 1
    grown = torch.lerp(grown, pigmented(light, head), back * enlarge(faded(head), side))
    return picture + hair * enlarge(head.within, side) * (grown - picture)


def chroma(x: Tensor) -> Tensor:
    """Colours (B,3,H,W) -> their mean distance from grey, (B,1,H,W)."""
    return (x - luma(x)).abs().mean(1, keepdim=True)


def told(head: Head) -> Tensor:
    """How much the colours of a photo tell, (B,1,1,1) in 0..1: nothing without colour."""
    return (chroma(head.skin) / SKIN_COLOUR).clamp(max=1)


def faded(head: Head) -> Tensor:
    """Where hair has lost its pigment, (B,1,s,s) in 0..1, if the photo's colours tell."""
    around, weight = box(torch.cat([head.small * head.hair, head.hair], 1), 2).split([3, 1], 1)
    around = (around + 1e-3 * head.small) / (weight + 1e-3)
    bright = (luma(around) + BLACK) / (luma(head.skin) + BLACK).clamp_min(0.1)
    share = warm(around) / warm(head.skin).clamp_min(0.01)
    pale = (1 - ramp(share, *FADED)) * ramp(bright, *LIT)
    clipped = ramp(around.amax(1, keepdim=True), *CLIPPED)
    white, lost = weighted_mean(torch.cat([pale * (1 - clipped), clipped], 1), head.hair).split(1, 1)
    return pale * (1 - clipped) * ramp(white, *STREAKS) * (1 - ramp(lost, *BLEACHED))


def pigmented(light: Tensor, head: Head) -> Tensor:
    """Hair of a brightness (B,1,S,S) as it was before it turned grey, (B,3,S,S): its darker strands tell how dark, and
    it is brown, as most hair is; its light and its strands stay."""
    small = luma(head.small)
    around, weight = box(torch.cat([small * head.hair, head.hair], 1), 5).split(1, 1)
    around = (around + 1e-3 * small) / (weight + 1e-3)
    mean = weighted_mean(small, head.hair)
    dark = weighted_mean(small, head.hair * (small < mean))
    level = torch.minimum(dark + BLACK, DARK_HAIR * (luma(head.skin) + BLACK))
    shade = ((around + BLACK) / (mean + BLACK)).clamp(*SHADES)
    strand = (light + BLACK) / (enlarge(around, light.shape[-1]) + BLACK).clamp_min(0.02)
    bright = enlarge(level * shade, light.shape[-1]) * strand.clamp(*SHADES)
    return bright * constant(BROWN, light).view(1, 3, 1, 1) - BLACK


def soft_hairline(hair: Tensor, head: Head, bearded: Tensor) -> Tensor:
    """How much of hair (B,1,s,s) turns grey, (B,1,s,s) in 0..1: less where it ends on the face at a line, but all of
    tips that hang into it, and of a beard (B,1,s,s) on it."""
    facing = (1 - ramp(enlarge(head.off, hair.shape[-1]), 0.0, HAIRLINE)) * (1 - bearded)
    own = hair.clamp_min(0.1)
    broad = dilate(-dilate(-hair, TIP_WIDE, TIP_WIDE), TIP_WIDE, TIP_WIDE)
    turns = torch.maximum(ramp(box(hair, TOWARDS) / own, *SOFT), (hair - broad).clamp_min(0) / own)
    return 1 - facing * (1 - turns * ramp(hair, *FACING_SHARE))


def turning(
    picture: Tensor, middle: Tensor, hair: Tensor, bearded: Tensor, landmarks: Tensor, head: Head
) -> Tensor:
    """What turns grey of pictures (B,3,S,S), (B,2,S,S) in 0..1: of their hair (B,1,S,S), with the beard (B,1,S,S) that
    belongs to it, and with the hair, though no network finds it, tips on a forehead, coloured strands on a face,
    sideburns, hair at the nape, and brows, as far as they turn. middle (B,3,s,s): the pictures at a side of EAR_SIDE
    or less."""
    side, least = picture.shape[-1], min(HAIRLINE_SIDE, picture.shape[-1])
    tips, burns, tails, coloured = (
        enlarge(find(middle, landmarks, head), side) for find in (fringe, sideburns, nape, vivid)
    )
    tips = tips * ramp(tips, *THIN)
    own = resize(torch.maximum(hair, torch.maximum(tips, burns)), least)
    turns = enlarge(soft_hairline(own, head, resize(bearded, least)), side)
    # They turn to the colour of the head's hair: nothing is known of it where none is found.
    some = ramp(head.hair.mean((2, 3), keepdim=True), *SOME)
    known = some * torch.maximum(tails, BROWS_TURN * brows(picture, landmarks))
    more = torch.maximum(torch.maximum(turns * tips, burns), known)
    return torch.cat([turns * hair * ramp(hair, *THIN), torch.maximum(more, coloured)], 1)


@dataclass(frozen=True, eq=False)
class Growth:
    """Hair of B pictures (B,3,S,S) in [-1,1] that is to grow in one direction, older or younger, by any number of
    years. hair (B,1,S,S) in 0..1, without what only looks like it."""

    picture: Tensor
    hair: Tensor
    head: Head
    beard: Beard
    more: Tensor
    """(B,1,S,S) in 0..1: what turns grey with the hair, brows, sideburns, tips of a fringe, hair at the nape and
    coloured strands on the face; nothing of who grows younger."""

    @classmethod
    def of(
        cls, picture: Tensor, hair: Tensor, landmarks: Tensor, older: Tensor, fade: tuple[float, float, float]
    ) -> Growth:
        """Of hair (B,1,S,S) as it was found, landmarks (B,68,2) in 0..1, and whether each picture grows older, (B,)."""
        side = picture.shape[-1]
        small, middle = (resize(picture, min(most, side)) for most in (MATTE_SIDE, EAR_SIDE))
        no_hair = torch.maximum(unnatural(small, hair), in_the_dark(small, hair, landmarks))
        hair = hair * (1 - enlarge(no_hair, side))
        beard = Beard.of(picture, landmarks, small)
        hair = hair * (1 - beard.lip)
        bare = 1 - hair
        beard = beard._replace(
            **{name: getattr(beard, name) * bare for name in ("share", "stubble", "white", "near")},
            shadow=beard.shadow * resize(bare, beard.shadow.shape[-1]),
        )
        bearded = beard.share * older[:, None, None, None]
        known = Head.of(small, torch.maximum(hair, bearded), landmarks, fade)
        bald = shaven(middle, hair, known) * (hair > bearded)
        hair = torch.maximum(hair * (1 - bald), bearded)
        head = Head.of(small, hair, landmarks, fade)
        hair = hair * (1 - enlarge(bare_skin(middle, landmarks, head), side))
        head = head._replace(hair=resize(hair, head.hair.shape[-1]))
        inside = border_fade(side, *fade[:2], like=picture)
        turns, more = choose(
            older,
            lambda: turning(picture, middle, hair, bearded, landmarks, head),
            lambda: torch.cat([hair * ramp(hair, *THIN_YOUNG), torch.zeros_like(hair)], 1),
        ).split(1, 1)
        return cls(picture, turns * inside * (1 - bald), head, beard, inside * more)

    @cached_property
    def greying(self) -> Strands:
        """The strands of the hair that is not grey yet."""
        own = torch.maximum(self.head.hair, resize(self.more, self.head.hair.shape[-1]))
        return strands_of(self.picture, self.hair, self.head._replace(hair=own), self.more)

    def grey(self, lighter: Tensor, colour: Tensor) -> Tensor:
        """The pictures with older hair, see `turn_grey`."""
        return turn_grey(self.picture, self.head, self.greying, lighter, colour)

    def young(self, bare: Tensor, lighter: Tensor, colour: Tensor, regained: Tensor) -> Tensor:
        """The pictures with younger hair, see `turn_young`. bare: how much of a beard goes, (B,1,1,1) in 0..1."""
        shaven, white = shave(self.picture, self.beard, bare), self.beard.white
        hair = torch.maximum(self.hair, white * (1 - bare))
        head = self.head._replace(hair=torch.maximum(self.head.hair, resize(white, self.head.hair.shape[-1])))
        return turn_young(shaven, hair, head, lighter, colour, regained)
