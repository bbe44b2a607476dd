"""An edit by erasing and restoring: what is drawn for the target, less what is drawn for the source, on the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..hair.filters import ramp
from ..layers import Edited, Held, Window, choose, luma, may_ask, recorded, relit
from ..mouth import opening_of
from ..skin.skin_map import NOSE
from ..skin.wrinkles import blur
from ..warp import canonical_grid
from .erase import Amounts, Erased, erase
from .restorer import DRAWS, Restorer

SMOOTH = 3.0
"""Standard deviation, in pixels of a frame of 256, by which the skin of an edited face is smoothed before drawing: more
than where readers steered what is drawn (`restore.STEERED`), for there it has blots that please them beside its folds.
"""
ASKED_YEARS, ASKED_UNITS = 4.0, 0.6
"""Years, and sum of changes of action units (0..5 each), at which `asked` is 1 - 1/e."""
AU25, AU26, AU45 = 14, 15, 16
"""Places of the action units that open the mouth and close the eyes."""
DEEPEST_DRAWN = 0.2
"""Brightness, in units of [-1,1], that light and shade laid on the skin of an edit near and never exceed: of .1 it
leaves .09, of .2 .15, of .4 .19."""
BELOW_NOSE, NOSE_ENDS = 0.3, (0.0, 0.08)
"""How much of what is drawn is laid below the nose, where it is a pale ring around the mouth and along the jaw that
nobody reads an age from; and where that begins and is reached below the nose's end, in sides of the mean face's frame.
"""
DRAW_EVERY = 12
"""Frames of a clip after which the skin is drawn anew; between them what was drawn moves with the landmarks."""
STILL = 0.0003
"""Mean change of the landmarks, in sides of the frame, a thirteenth of a pixel, up to which what was drawn stays in
place: with a quarter of one steadied frames of the sample flickered by .380 levels instead of .376."""
TAKEN_OVER = 0.5
"""Share of what was drawn before in what is laid on a clip's face after it was drawn anew, so that it does not jump."""


@dataclass
class Carried:
    """What was laid on the skin of the faces of a clip: its change and attention (B,4,S,S), the landmarks (B,68,2) that
    they had, and the frames since."""

    change: Tensor | None = None
    landmarks: Tensor | None = None
    frames: int = 0

    def onto(self, face: Tensor, landmarks: Tensor, draw: Callable[[], Tensor]) -> Tensor:
        """Faces (B,3,S,S) of the next frame, with these landmarks, as `draw` gives them with their attention
        (B,4,S,S), or as what was drawn before changes them."""
        before, self.frames = self._moved(landmarks, face.shape[-1]), self.frames + 1
        ground = torch.cat([face, torch.zeros_like(face[:, :1])], 1)
        if before is None or self.frames >= DRAW_EVERY:
            change = draw() - ground
            before = change if before is None else torch.lerp(change, before, TAKEN_OVER)
            self.change, self.landmarks, self.frames = before, landmarks, 0
        return (ground + before).clamp(-1, 1)

    def _moved(self, landmarks: Tensor, side: int) -> Tensor | None:
        if self.change is None or self.landmarks is None:
            return None
        if may_ask(landmarks) and (landmarks - self.landmarks).abs().mean() < STILL:
            return self.change
        grid = canonical_grid(landmarks, self.landmarks, side)
        return F.grid_sample(self.change, grid, mode="bicubic", padding_mode="zeros", align_corners=False)


_CARRIED: Held[Carried] = Held("carried")
carrying = _CARRIED.within
"""A block in which the next frame of a clip is drawn, or takes over what was drawn on the frames before."""


def carried_onto(face: Tensor, landmarks: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    """What `draw` gives, faces (B,3,S,S) and their attention (B,4,S,S); within `carrying`, see `Carried.onto`."""
    carried = _CARRIED.get()
    return draw() if carried is None or recorded() else carried.onto(face, landmarks, draw)


class Request(NamedTuple):
    """An edit of B faces: ages (B,) in years, action units (B,17) in 0..5."""

    source_age: Tensor
    target_age: Tensor
    source_aus: Tensor
    target_aus: Tensor

    def asked(self) -> Tensor:
        """(B,) in 0..1: the strength of a request; exactly 0 for none, above 0.9 from 10 years or 1.5 of an AU."""
        years = (self.target_age - self.source_age).abs() / ASKED_YEARS
        action = (self.target_aus - self.source_aus).abs().sum(1) / ASKED_UNITS
        return 1 - torch.exp(-(years + action))

    def on_skin(self, restorer: Restorer) -> Request:
        """What of it a restorer draws on the skin: all, or an older age alone."""
        if not restorer.outward:
            return self
        older = torch.maximum(self.source_age, self.target_age)
        return self._replace(target_age=older, target_aus=self.source_aus)

    def amounts(self, before: Tensor, after: Tensor, smooth: float | Tensor = SMOOTH) -> Amounts:
        """What an edit erases: skin always; the mouth where it opens further; the lids where the eyes close.

        before, after: landmarks (B,68,2), as the photo has them and as the prototypes moved them."""
        change = self.target_aus - self.source_aus
        # A mouth that was open keeps its own teeth, unless less than half of the new opening was open before.
        newly = 1 - opening_of(before) / opening_of(after).clamp_min(1e-3)
        mouth = torch.maximum(change[:, AU25], change[:, AU26]) / 0.8 * ((newly - 0.3) / 0.3).clamp(0, 1)
        lids = change[:, AU45] * (self.target_aus[:, AU45] / 2.5 - 0.4).clamp(0, 1)
        return Amounts(smooth * self.asked(), mouth.clamp(0, 1), lids.clamp(0, 1))


def lay(restorer: Restorer, face: Tensor, before: Tensor, after: Tensor, request: Request) -> Edited:
    """Faces (B,3,S,S) in [-1,1] edited by prototypes; landmarks (B,68,2) before and after these moved them."""
    asked = request.amounts(before, after)._replace(smooth=SMOOTH * request.on_skin(restorer).asked())
    kept = (amount * float(name in restorer.draws) for name, amount in zip(DRAWS, asked, strict=True))
    amounts = Amounts(*kept)
    wanted = torch.stack(amounts, 1).amax(1) > 0

    def drawn() -> Tensor:
        def anew() -> Tensor:
            return torch.cat(laid_on(restorer, face, after, amounts, request), 1)

        # What is drawn into a hole replaces what is there; it is drawn in every frame.
        if not recorded() and (amounts.mouth.any() or amounts.lids.any()):
            return anew()
        return carried_onto(face, after, anew)

    def untouched() -> Tensor:
        return torch.cat([face, torch.zeros_like(face[:, :1])], 1)

    if not recorded():  # many faces: one answer for all, for which a GPU is worth waiting
        return Edited(*(drawn() if wanted.any() else untouched()).split([3, 1], 1))
    return Edited(*choose(wanted, drawn, untouched).split([3, 1], 1))


def laid_on(restorer: Restorer, face: Tensor, after: Tensor, amounts: Amounts, request: Request) -> Edited:
    """`lay` where something is erased."""
    erased = erase(face, after, restorer.template, amounts)
    # Only what was erased is drawn, about half of the frame: rows and columns with any of it, in steps of 8 px.
    touched = erased.maps.amax((0, 1))
    if not recorded() and not (touched > 0).any():  # mouth and eyes lie outside the frame
        return Edited(face, torch.zeros_like(face[:, :1]))
    window = Window(*(bounds(touched.amax(axis) > 0) for axis in (1, 0)))
    half = Window(window.rows // 2, window.columns // 2)
    part = Erased(window.cut(erased.face), window.cut(erased.maps), half.cut(erased.place))
    edited = laid(restorer, window.cut(face), part, amounts, request, DEEPEST_DRAWN)
    return Edited(window.put(face, edited.face), window.put(torch.zeros_like(face[:, :1]), edited.attention))


def bounds(used: Tensor) -> Tensor:
    """The first of some true places (S,) and the one after the last, widened to multiples of 8: (2,) int64."""
    places = torch.arange(len(used), device=used.device)
    first = torch.where(used, places, len(used) - 8).amin()
    last = torch.where(used, places, 0).amax()
    return torch.stack([first // 8 * 8, (last // 8 + 1) * 8])


def laid(
    restorer: Restorer,
    face: Tensor,
    erased: Erased,
    amounts: Amounts,
    request: Request,
    most: float = 0.0,
) -> Edited:
    """As `lay`, for faces (B,3,H,W) that are erased already, with sides that are multiples of 8. most: see
    DEEPEST_DRAWN; 0, as in training, which must see a mark to take it back, for no limit, below the nose neither."""
    # The skin keeps its own pixels and gets the difference of two drawings on the same erased face: what the network
    # blurs or misses is in both and cancels. A hole (mouth, lids) has nothing of its own left and gets the drawing.
    #
    #     out = face + share skin lit (G(t) - G(s)) + hole (G(t) - face)
    features, skin_request = restorer.encode(erased), request.on_skin(restorer)

    def drawn(age: Tensor, aus: Tensor) -> Edited:
        return restorer.draw(erased, features, restorer.style(age, aus, amounts))

    aged, attention = drawn(skin_request.target_age, skin_request.target_aus)
    after = before = aged
    if restorer.outward and restorer.draws != ("skin",):
        after, attention = drawn(request.target_age, request.target_aus)
    if "skin" in restorer.draws:
        with torch.no_grad():
            before = drawn(request.source_age, request.source_aus).face
    skin, mouth, lids = erased.maps.split(1, 1)
    hole = torch.maximum(mouth, lids)
    on_skin = (skin / skin.amax((1, 2, 3), keepdim=True).clamp_min(1e-3)) * (1 - hole) * restorer.share
    on_skin = on_skin * skin_request.asked()[:, None, None, None]
    # What it draws is light and shade: less of it falls into a fold that the face has of its own.
    lit = ((luma(face) + 1) / (luma(before) + 1).clamp_min(0.1)).clamp(0, 1)
    change = aged - before
    if restorer.finer:
        light = luma(change)
        light = light - blur(light, restorer.finer)
        if most:
            most = most / max(restorer.share, 1e-3)
            light = most * torch.tanh(below_nose(restorer, erased) * light / most)
        change = relit(face, light)
    out = face + on_skin * lit * change + hole * (after - face)
    return Edited(out.clamp(-1, 1), attention * torch.maximum(on_skin, hole).clamp(max=1))


def below_nose(restorer: Restorer, erased: Erased) -> Tensor:
    """How much of what is drawn on erased faces (B,3,H,W) is laid at each height of them: (B,1,H,W) in 0..1."""
    end = restorer.mean_shape[NOSE, 1]
    height = (F.interpolate(erased.place[:, 1:2], scale_factor=2.0, mode="bilinear") + 1) / 2
    return 1 - (1 - BELOW_NOSE) * ramp(height - end, *NOSE_ENDS)
