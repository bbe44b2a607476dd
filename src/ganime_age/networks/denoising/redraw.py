"""An edit drawn anew by the denoising network: what prototypes make of a face shows where everything goes, the network
what skin and eyes of that age look like there, and in what light teeth lie, which the prototypes draw.

As in SDEdit (Meng et al., ICLR 2022) noise is added to a face, which leaves its forms and takes its detail, and what is
under it is estimated for a condition: an age and action units. That is done of the edit and of the face itself, moved
as in the edit, with the same noise:

    out = R(edit; target) + moved - R(moved; source)

What the network misses of the face is missing in both, so a face keeps its own eyes, moles and pores. So one
evaluation for each condition is enough: R is the mean of all faces that there may be under the noise, where SDEdit
goes on in many steps to one of them. R(edit; target) is guided away from R(edit; source) (Ho & Salimans, 2022). A
distilled student gives the mean of `out - edit` over the noise in one evaluation (distilled.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import Edited, Window, choose, luma, may_ask
from ..mouth import gap, opened
from ..restoring.lay import Request, carried_onto
from .denoiser import LIKE, Condition, Denoiser
from .distilled import Distilled

SEED = 1
"""Of the noise, which is the same for every edit."""
FAR = 12.0
"""Years of an older or younger age from which on it is drawn as OLDER and YOUNGER say."""
COLOUR = 0.4
"""How much of what guidance adds to light it adds to colour: more makes cheeks yellow and red."""
AROUND = 9
"""Side in pixels of what counts as around a pixel, an odd number."""
FAINT = 4e-4
"""Mean square of detail, in units of [-1,1], of which it matters little whether it is left."""
BESIDE, ABOVE, BELOW = 0.08, 0.22, 0.06
"""How far what is drawn anew reaches beyond the landmarks, in sides of the frame."""
STEP = 16
"""Pixels that the sides of a window are multiples of."""


class How(NamedTuple):
    """How an edit is drawn. start: standard deviation of the noise that it is drawn from, in units of [-1,1]. guidance:
    how much what is asked counts against what the face is, 1 for as much as in a photo."""

    start: float
    guidance: float


OLDER, YOUNGER, MOVED = How(1.3, 4.0), How(0.75, 1.8), How(0.75, 1.6)
"""For an older age, a younger one, and action units alone."""


STRESSED, STRESSED_YOUNGER = 1.2, 1.1
"""What is laid of a student's drawing for an older and for a younger age, in what it draws: the mean over all noise is
calmer than any drawing of its teacher."""


class Manner(NamedTuple):
    """`How` for each of B faces, (B,) each."""

    start: Tensor
    guidance: Tensor

    @classmethod
    def of(cls, request: Request) -> Manner:
        """Between MOVED and the other two, as far as the age goes."""
        years = request.target_age - request.source_age
        far = (years.abs() / FAR).clamp(max=1)
        older = (years > 0).to(years.dtype)
        return cls(
            *(
                still + far * (older * old + (1 - older) * young - still)
                for old, young, still in zip(OLDER, YOUNGER, MOVED, strict=True)
            )
        )


def noise_like(face: Tensor) -> Tensor:
    """White noise of unit variance for faces (B,3,S,S), the same for all: (1,3,S,S)."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(1, *face.shape[1:], generator=generator).to(face)


def redraw(
    denoiser: Denoiser,
    faces: tuple[Tensor, Tensor],
    noise: Tensor,
    shown: tuple[Tensor, Tensor],
    given: tuple[Condition, Condition],
    how: Manner,
) -> tuple[Tensor, Tensor]:
    """Two pictures (B,3,H,W) in [-1,1] of each face, drawn anew from the same noise (1,3,H,W): the first as the first
    condition says, against the second, the second as the second says. The noise may be one for each face, (B,3,H,W).
    shown: what of them is real, (B,1,H,W) in 0..1, and where it is, see `FaceUNet.places`."""
    start, guidance = how.start[:, None, None, None], how.guidance[:, None, None, None]
    edit, own = (face + start * noise for face in faces)
    said = Condition(*(torch.cat([one, other, other]) for one, other in zip(*given, strict=True)))
    valid, places = (part.repeat(3, 1, 1, 1) for part in shown)
    drawn = denoiser(torch.cat([edit, edit, own]), how.start.repeat(3), valid, places, said)
    asked, plain, own = drawn.chunk(3)
    wanted = asked - plain
    light = luma(wanted)
    return plain + guidance * light + (1 + COLOUR * (guidance - 1)) * (wanted - light), own


def redrawn(
    network: Denoiser | Distilled,
    face: Tensor,
    moved: Callable[[], Tensor],
    landmarks: tuple[Tensor, Tensor],
    request: Request,
) -> Edited:
    """Edited faces (B,3,S,S) in [-1,1] drawn anew. moved: gives the faces themselves where the edit moved them,
    (B,3,S,S), and is called where they are drawn, not in every frame of a clip; landmarks (B,68,2) in 0..1 each: the
    photo's, and as it moved them. Where nothing is asked the face comes back exactly."""
    asked = network.share * request.asked()
    before, after = landmarks

    def anew() -> Tensor:
        change = drawn_change(network, (face, moved()), after, request)
        share = asked[:, None, None, None]
        return torch.cat([(face + share * change).clamp(-1, 1), share.expand(-1, -1, *face.shape[2:])], 1)

    def laid() -> Tensor:
        out = carried_onto(face, after, anew)
        return torch.cat([face + in_mouth(out[:, :3] - face, before, after), out[:, 3:]], 1)

    def untouched() -> Tensor:
        return torch.cat([face, torch.zeros_like(face[:, :1])], 1)

    drawn = choose(asked > 0, laid, untouched)
    return Edited(*drawn.split([3, 1], 1))


def in_mouth(change: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """What was drawn on faces, a change (B,3,S,S), without its detail between lips that an edit parted, of landmarks
    (B,68,2) before and after it. Of teeth the mean of all that there may be is a white band: it has their light and
    colour, and the prototypes' have their form."""
    inside = opened(before, after, change.shape[-1])
    if may_ask(inside) and not inside.any():
        return change
    inside = inside.expand_as(change[:, :1])
    smooth = mean_around(change * inside) / mean_around(inside).clamp_min(1e-3)
    return torch.lerp(change, smooth, inside)


def drawn_change(
    network: Denoiser | Distilled, faces: tuple[Tensor, Tensor], landmarks: Tensor, request: Request
) -> Tensor:
    """What drawing anew changes in edited faces (B,3,S,S); faces: `face` of `redrawn`, and what `moved` gives."""
    face, side = faces[0], faces[0].shape[-1]
    window = window_on(landmarks, side)
    half = Window(window.rows // 2, window.columns // 2)
    parts = window.cut(face), window.cut(faces[1])
    shown = window.cut(torch.ones_like(face[:, :1])), half.cut(network.places(landmarks, side))
    if isinstance(network, Distilled):
        more = (stress(request) - 1)[:, None, None, None]
        # Teeth that a photo shows stay nearly as they are.
        more = more * (1 - window.cut(gap(landmarks, side).inside))
        change = (1 + more) * network(*parts, *shown, request)
    else:
        change = noisy_change(network, parts, window.cut(noise_like(face)), shown, request)
    return window.put(torch.zeros_like(face), change)


def stress(request: Request) -> Tensor:
    """(B,): 1 for action units alone, STRESSED or STRESSED_YOUNGER from FAR years on."""
    years = request.target_age - request.source_age
    older = (years > 0).to(years.dtype)
    most = older * STRESSED + (1 - older) * STRESSED_YOUNGER
    return 1 + (years.abs() / FAR).clamp(max=1) * (most - 1)


def noisy_change(
    denoiser: Denoiser,
    faces: tuple[Tensor, Tensor],
    noise: Tensor,
    shown: tuple[Tensor, Tensor],
    request: Request,
) -> Tensor:
    """`out - edit`, see above, of edited faces (B,3,H,W) and the same faces moved; noise (1,3,H,W), or one for each
    face. shown: see `redraw`."""
    nothing = torch.full_like(request.source_age, LIKE).long()
    sides = torch.full_like(request.source_age, float(denoiser.size))
    wanted = Condition(request.target_age, request.target_aus, nothing, sides)
    found = wanted._replace(age=request.source_age, aus=request.source_aus)
    drawn, own = redraw(denoiser, faces, noise, shown, (wanted, found), Manner.of(request))
    out = drawn + still_there(*faces) * (faces[1] - own)
    return out - faces[0]


def still_there(edit: Tensor, moved: Tensor) -> Tensor:
    """How much of the detail of moved faces (B,3,H,W) the prototypes left in their edits (B,3,H,W), (B,1,H,W) in 0..1:
    little where lids cover an eye or teeth a lip."""

    after, before = (light - mean_around(light) for light in (luma(edit), luma(moved)))
    # The slope of the least-squares line through the details around each pixel.
    slope = (mean_around(after * before) + FAINT) / (mean_around(before.square()) + FAINT)
    return slope.clamp(0, 1)


def mean_around(x: Tensor) -> Tensor:
    """The mean of AROUND x AROUND pixels around each of x (B,C,H,W)."""
    x = F.pad(x, [AROUND // 2] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(x, (1, AROUND), 1), (AROUND, 1), 1)  # rows, then columns: far fewer sums


def window_on(landmarks: Tensor, side: int) -> Window:
    """Rows and columns of a frame of `side` pixels that hold faces with these landmarks (B,68,2)."""
    return Window(*spans(landmarks.flatten(0, 1)[None], side)[0])


def spans(landmarks: Tensor, side: int) -> Tensor:
    """Rows and columns (B,2,2) int64 of the window of each of faces with landmarks (B,68,2): the first and the one
    after the last."""
    (left, top), (right, bottom) = landmarks.amin(1).unbind(1), landmarks.amax(1).unbind(1)
    ends = (top - ABOVE, bottom + BELOW), (left - BESIDE, right + BESIDE)
    return torch.stack([span(first, last, side) for first, last in ends], 1)


def span(first: Tensor, last: Tensor, side: int) -> Tensor:
    """From the first to the last place (B,), in sides of the frame, as pixels (B,2) int64: one STEP at least, even of a
    face that lies outside."""
    start = (first * side / STEP).floor().clamp(0, side // STEP - 1)
    end = (last * side / STEP).ceil().clamp(max=side // STEP)
    return (STEP * torch.stack([start, torch.maximum(end, start + 1)], -1)).long()
