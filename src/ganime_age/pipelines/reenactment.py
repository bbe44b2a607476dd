"""One face moves like another: the steps of a reenactment, and the one of a photo.

The source is found, read and brought to the age that is asked once. Each driving face then gives an Action; the shape
generator answers which landmarks the source has when it does the same, the face generator paints it there, and the
difference goes back into the photo. Action units that are named come last, on top of the driving expression.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..edits import AU_CODES, AU_MAX, AUTarget, Edit
from ..images.alignment import apply, crop, invert, paste
from ..provenance.watermark import marked
from ..results import EditResult, Reading
from .face import Aligned, compared, pictured

if TYPE_CHECKING:
    from ..editor import FaceEditor

METHOD, AGE_METHOD = "dual_generator", "ganimation_age"
PHOTO_SIDE, CLIP_SIDE = 1024, 512
"""Most pixels of a face's side while it is moved: near the photo's own, so that its detail moves along."""
MOST_TURN, MOST_SHIFT, MOST_SCALE = 30.0, 0.08, 1.15
"""How far a head may tilt, move and grow in its frame: degrees, sides of the frame, times."""
SETTLED = 0.5
"""How much of what a moved face lacks of the driving action units is asked of it: all of it would cost its identity."""


class Action(NamedTuple):
    """What a driving face does. landmarks (68,2) in 0..1 of its own frame; units (17,) in 0..5; place (4,): the frame's
    centre x, y, its side and its tilt (degrees, clockwise), in pixels of the photo."""

    landmarks: np.ndarray
    units: np.ndarray
    place: np.ndarray


def action_of(aligned: Aligned) -> Action:
    """What an aligned face does."""
    size, back = len(aligned.face), invert(aligned.matrix)
    centre, (x, y) = apply(back, np.full(2, size / 2)), back[:, 0]
    place = np.array([*centre, size * math.hypot(x, y), math.degrees(math.atan2(y, x))])
    units = np.array([aligned.reading.action_units[code] for code in AU_CODES])
    return Action(apply(aligned.matrix, aligned.reading.landmarks.astype(np.float64)) / size, units, place)


def placed(landmarks: np.ndarray, turn: float, scale: float = 1.0, shift: Any = (0, 0)) -> np.ndarray:
    """Landmarks (68,2) in 0..1 of the frame turned by degrees and scaled around its centre, then shifted, within what
    the frame has room for."""
    turn = math.radians(min(max((turn + 180) % 360 - 180, -MOST_TURN), MOST_TURN))
    scale = min(max(scale, 1 / MOST_SCALE), MOST_SCALE)
    far = math.hypot(*shift)
    near = MOST_SHIFT * math.tanh(far / MOST_SHIFT) / far if far else 0.0
    around = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return 0.5 + scale * (landmarks - 0.5) @ around.T + near * np.asarray(shift)


class Mover:
    """One source face, ready to move: found, read and at its age. BadInput for a photo that cannot be used,
    MissingModel when the weights cannot reenact, or cannot do what else is asked.

    given: the face as it was. edit: age, action units and strength. most_side: of the face while it is moved, in
    pixels. settle: what the moved face lacks of the driving expression, as the readers see it, is asked of
    ganimation_age, where that is loaded; it takes as long as an edit.
    """

    def __init__(
        self,
        editor: FaceEditor,
        photo: Any,
        face: int,
        edit: Edit,
        mark: bool,
        most_side: int,
        settle: bool = False,
    ):
        editor.model.require(METHOD)
        if edit.age is not None or edit.action_units:
            editor.model.require(AGE_METHOD)
        self.editor, self.mark, self.strength = editor, mark, edit.strength
        self.settle = settle and AGE_METHOD in editor.model.parts
        self.given = editor._align(photo, face)
        self.last = replace(edit, age=None)
        self.aligned = edited(editor, self.given, replace(edit, action_units={}), AGE_METHOD)
        self.action = action_of(self.aligned)
        size, scale = len(self.aligned.face), math.hypot(*self.aligned.matrix[:, 0])
        side = min(max(size, 8 * round(size / scale / 8)), most_side)
        self._matrix = self.aligned.matrix * (side / size)
        self._face = crop(self.aligned.photo, self._matrix, side)

    def like(self, driving: Action, first: Action | None = None) -> np.ndarray:
        """The source's landmarks (68,2) when it does what a driving face does or, with `first`, when it moves by what
        lies between the first driving face of a clip and this one."""
        shape, own = self.editor.model.dual_generator.shape, self.action
        if first is None:
            turned = placed(driving.landmarks, driving.place[3] - own.place[3])
            found = self._run(shape, own.landmarks, turned)
        else:
            shift, side = driving.place[:2] - first.place[:2], first.place[2]
            back = math.radians(-first.place[3])
            shift = (complex(*shift) * complex(math.cos(back), math.sin(back))) / side
            way = (driving.place[3] - first.place[3], driving.place[2] / side, (shift.real, shift.imag))
            found = self._run(shape.relative, own.landmarks, placed(driving.landmarks, *way), first.landmarks)
        return own.landmarks + self.strength * (found - own.landmarks)

    def units_like(self, driving: Action, first: Action | None = None) -> np.ndarray:
        """The same of the action units (17,)."""
        wanted = driving.units if first is None else self.action.units + driving.units - first.units
        return (self.action.units + self.strength * (wanted - self.action.units)).clip(0, AU_MAX)

    def show(self, driving: Action, first: Action | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The whole photo and how much of the face was changed when it does what a driving face does."""
        return self.paint(self.like(driving, first), self.units_like(driving, first))

    def paint(self, landmarks: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole photo (H,W,3) uint8 with the face on landmarks (68,2) in 0..1 of its frame, showing action units
        (17,); and how much of the face was changed, (S,S) uint8."""
        numbers = (self.action.landmarks, landmarks, self.action.units, units)
        with torch.inference_mode():
            moved = self.editor.model.reenact(self.editor._tensor(self._face), *map(self.number, numbers))
        face, attention = pictured(moved)
        if self.settle or self.last.action_units:
            seen = self.editor._seen(self.aligned, self._pasted(face))
            photo = self.editor._painted(seen, self._on_top(units, seen.reading), AGE_METHOD, self.mark)
            if photo is not seen.photo:
                return photo, attention
        return self._pasted(marked(face) if self.mark else face), attention

    def _pasted(self, face: np.ndarray) -> np.ndarray:
        return paste(self.aligned.photo, self._face, face, self._matrix)

    def _on_top(self, units: np.ndarray, now: Reading) -> Edit:
        """What is still asked of the moved face, which is to show action units (17,) and reads as it does now."""
        _, wanted = self.last.targets_for(self.aligned.reading.age, units.tolist())
        named, asked = self.last.action_units, dict(zip(AU_CODES, wanted, strict=True))
        for code in set(AU_CODES) - set(named):
            asked[code] = now.action_units[code] + SETTLED * (asked[code] - now.action_units[code])
        return Edit(None, {code: AUTarget(asked[code]) for code in (AU_CODES if self.settle else named)})

    def still(self) -> np.ndarray:
        """The whole photo while nobody drives it."""
        return self.paint(self.action.landmarks, self.action.units)[0]

    def number(self, array: np.ndarray) -> torch.Tensor:
        """(...) -> (1,...) float32 on the editor's device."""
        return torch.from_numpy(array).float()[None].to(self.editor.device)

    def _run(self, function: Any, *landmarks: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return function(*map(self.number, landmarks))[0].double().cpu().numpy()


def edited(editor: FaceEditor, aligned: Aligned, edit: Edit, method: str) -> Aligned:
    """The face after an edit, not marked yet, as it now reads."""
    photo = editor._painted(aligned, edit, method, mark=False)
    return aligned if photo is aligned.photo else editor._seen(aligned, photo)


def reenact_photo(
    editor: FaceEditor,
    source: Any,
    driving: Any,
    edit: Edit,
    face: int,
    driving_face: int,
    mark: bool,
) -> EditResult:
    """See `FaceEditor.reenact`; driving: a photo."""
    started = time.perf_counter()
    mover = Mover(editor, source, face, edit, mark, PHOTO_SIDE, settle=True)
    driver = editor._align(driving, driving_face, "drives", "the driving photo")
    photo, attention = mover.show(action_of(driver))
    given = mover.given
    return compared(
        given,
        editor._seen(given, photo),
        attention,
        driving_reading=driver.reading,
        edit=edit,
        method=METHOD,
        warnings=(*given.warnings, *(f"in the driving photo, {said}" for said in driver.warnings)),
        seconds=time.perf_counter() - started,
        weights=editor.weights,
        edited=True,
        mark=mark,
    )
