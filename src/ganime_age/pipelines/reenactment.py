"""One face moves like another: the steps of a reenactment, and the one of a photo.

The source is found and read once. Each driving face gives an Action; the shape generator answers which landmarks the
source has when it does the same, the face generator paints it there, and the difference goes back into the photo.
Action units that are named come last, on top of the driving expression.

An age is edited before the movement or after it. A face that is aged first loses years when it is moved: its wrinkles
are resampled by the mesh, and those that turn away are gone. So a photo moves first and is aged on the face as it then
lies; a clip is aged first, once, as an edit of every frame would cost its speed and flicker.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from ..edits import AU_CODES, AU_MAX, AUTarget, Edit
from ..errors import BadInput
from ..images.alignment import apply, crop, invert, paste, side_in_photo
from ..images.tensors import to_tensor
from ..model.methods import DEFAULT, PROTOTYPES
from ..model.model import check_method_edits, method_row
from ..provenance.watermark import CLIP_STRENGTH, STRENGTH, add_watermark
from ..results import EditResult, Reading
from .face import Face, FacePipeline, to_generated
from .progress import EDIT, FIND, READ, READ_AGAIN, Progress, Steps

METHOD, EXPRESSION_METHOD = "dual_generator", DEFAULT
"""What moves a face, and what changes its action units where any are asked besides."""
MOVE_FIRST, AGE_FIRST = "move_first", "age_first"
"""When an age is edited: after the movement, as a photo's is, or before it, as a clip's is."""
PHOTO_SIDE, CLIP_SIDE = 1024, 512
"""Largest side of a face in pixels while it is moved, for a photo and for a clip: near the photo's own resolution."""
MOST_TURN, MOST_SHIFT, MOST_SCALE = 30.0, 0.08, 1.15
"""Limits of a head's motion in its frame: tilt in degrees, shift in sides of the frame, scale as a factor."""
SETTLED = 0.5
"""Fraction of the missing driving intensity that EXPRESSION_METHOD adds to a moved face; 1 would cost its identity."""


MOTIONS = ("both", "expression", "pose")
"""What of a driving face a source may take."""
MOST_TIMES = 2.0


class Motion(NamedTuple):
    """What a source takes of a driving face: one of MOTIONS, so many times (0..MOST_TIMES)."""

    take: str = "both"
    times: float = 1.0

    @classmethod
    def of(cls, take: str, times: float | str) -> Motion:
        """Checked; BadInput for what is no motion."""
        if take not in MOTIONS:
            raise BadInput(f"motion {take!r} is unknown; choose from {', '.join(MOTIONS)}")
        try:
            number = float(times)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number <= MOST_TIMES:
            raise BadInput(f"multiplier {times} is out of range; give a number between 0 and {MOST_TIMES:g}")
        return cls(take, number)

    def more(self) -> dict[str, Any]:
        """What is not the usual, JSON-native."""
        take = {} if self.take == NO_CHOICE.take else {"motion": self.take}
        return take if self.times == NO_CHOICE.times else {**take, "multiplier": self.times}


NO_CHOICE = Motion()
"""All of a driving face, once."""


class Action(NamedTuple):
    """What a driving face does. landmarks (68,2) in 0..1 of its own frame; units (17,) in 0..5; place (4,): the frame's
    centre x, y, its side and its tilt (degrees, clockwise), in pixels of the photo."""

    landmarks: np.ndarray
    units: np.ndarray
    place: np.ndarray


def action_of(face: Face) -> Action:
    """What an aligned face does."""
    size, back = len(face.face), invert(face.matrix)
    centre, (x, y) = apply(back, np.full(2, size / 2)), back[:, 0]
    place = np.array([*centre, size * math.hypot(x, y), math.degrees(math.atan2(y, x))])
    units = np.array([face.reading.action_units[code] for code in AU_CODES])
    return Action(apply(face.matrix, face.reading.landmarks.astype(np.float64)) / size, units, place)


def place_landmarks(
    landmarks: np.ndarray, turn: float, scale: float = 1.0, shift: Any = (0, 0)
) -> np.ndarray:
    """Landmarks (68,2) in 0..1 of the frame turned by degrees and scaled around its centre, then shifted, within what
    the frame has room for."""
    turn = math.radians(min(max((turn + 180) % 360 - 180, -MOST_TURN), MOST_TURN))
    scale = min(max(scale, 1 / MOST_SCALE), MOST_SCALE)
    far = math.hypot(*shift)
    near = MOST_SHIFT * math.tanh(far / MOST_SHIFT) / far if far else 0.0
    around = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return 0.5 + scale * (landmarks - 0.5) @ around.T + near * np.asarray(shift)


class Mover:
    """One source face, ready to move, at the age asked for. MissingModel when the weights cannot reenact, or cannot do
    what else is asked: `check_reenactment` says so before a photo is read.

    given: the face as it was. edit: age, action units and strength. clip: whether it moves in a clip, on CLIP_SIDE
    pixels and marked for compression, or once, on PHOTO_SIDE. settle: what the moved face lacks of the driving
    expression, as the readers see it, is asked of EXPRESSION_METHOD, where that is loaded; it takes as long as an edit.
    motion: what is taken of the driving face. method: what edits the age; order: MOVE_FIRST edits it on every face that
    was moved, AGE_FIRST once.
    """

    def __init__(
        self,
        pipeline: FacePipeline,
        given: Face,
        edit: Edit,
        mark: bool,
        clip: bool,
        settle: bool = False,
        motion: Motion = NO_CHOICE,
        method: str = DEFAULT,
        order: str = AGE_FIRST,
    ):
        check_reenactment(pipeline, edit, method)
        self.pipeline, self.mark, self.take = pipeline, mark, motion.take
        self.clip = clip
        self.strength = edit.strength * motion.times
        self.settle = settle and EXPRESSION_METHOD in pipeline.model.parts
        self.given, self.method = given, method
        first = replace(edit, action_units={}) if order == AGE_FIRST else Edit()
        self.last = replace(edit, age=None) if order == AGE_FIRST else edit
        self.source = edit_face(pipeline, given, first, method)
        self.action = action_of(self.source)
        size, scale = len(self.source.face), math.hypot(*self.source.matrix[:, 0])
        side = min(max(size, 8 * round(size / scale / 8)), CLIP_SIDE if clip else PHOTO_SIDE)
        self._matrix = self.source.matrix * (side / size)
        self._face = crop(self.source.photo, self._matrix, side)

    def like(self, driving: Action, first: Action | None = None) -> np.ndarray:
        """The source's landmarks (68,2) when it does what a driving face does or, with `first`, when it moves by what
        lies between the first driving face of a clip and this one."""
        shape, own = self.pipeline.model.dual_generator.shape, self.action
        driving = self.taken(driving, first or own)
        if first is None:
            turned = place_landmarks(driving.landmarks, driving.place[3] - own.place[3])
            found = self._run(shape, own.landmarks, turned)
        else:
            shift, side = driving.place[:2] - first.place[:2], first.place[2]
            back = math.radians(-first.place[3])
            shift = (complex(*shift) * complex(math.cos(back), math.sin(back))) / side
            way = (driving.place[3] - first.place[3], driving.place[2] / side, (shift.real, shift.imag))
            found = self._run(
                shape.relative, own.landmarks, place_landmarks(driving.landmarks, *way), first.landmarks
            )
        return own.landmarks + self.strength * (found - own.landmarks)

    def units_like(self, driving: Action, first: Action | None = None) -> np.ndarray:
        """The same of the action units (17,)."""
        driving = self.taken(driving, first or self.action)
        wanted = driving.units if first is None else self.action.units + driving.units - first.units
        return (self.action.units + self.strength * (wanted - self.action.units)).clip(0, AU_MAX)

    def taken(self, driving: Action, rest: Action) -> Action:
        """A driving face's action with only its expression, or only its pose, changed from another: from a clip's first
        face, or from the source."""
        if self.take == "both":
            return driving
        head = self.pipeline.model.head
        with torch.inference_mode():
            marks = self.to_tensor(driving.landmarks)
            other, still = head.fit(marks), head.fit(self.to_tensor(rest.landmarks))
            if self.take == "expression":
                only = other._replace(pose=still.pose, scale=still.scale, shift=still.shift)
            else:
                only = other._replace(expression=still.expression)
            marks = marks + head.landmarks(only) - head.landmarks(other)
        landmarks = marks[0].double().cpu().numpy()
        if self.take == "expression":
            return Action(landmarks, driving.units, rest.place)
        return Action(landmarks, rest.units, driving.place)

    def show(self, driving: Action, first: Action | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The whole photo and how much of the face was changed when it does what a driving face does."""
        return self.paint(self.like(driving, first), self.units_like(driving, first))

    def paint(self, landmarks: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole photo (H,W,3) uint8 with the face on landmarks (68,2) in 0..1 of its frame, showing action units
        (17,); and how much of the face was changed, (S,S) uint8."""
        numbers = (self.action.landmarks, landmarks, self.action.units, units)
        with torch.inference_mode():
            face = to_tensor(self._face, self.pipeline.device)
            moved = self.pipeline.model.reenact(face, *map(self.to_tensor, numbers), hair=self._hair)
        drawn, attention, *_ = to_generated(moved)
        plain = self._paste(drawn)
        photo = self._finished(plain, units)
        if photo is plain and self.mark:
            # Where a head is turned to is not known to the pixel, so all of its frame is marked.
            strength = CLIP_STRENGTH if self.clip else STRENGTH
            side = None if self.clip else side_in_photo(self._matrix, len(drawn))
            photo = self._paste(add_watermark(drawn, strength=strength, side=side))
        return photo, attention

    @cached_property
    def _hair(self) -> torch.Tensor | None:
        """Where the source's hair is: the same in every frame of a clip."""
        if PROTOTYPES not in self.pipeline.model.parts:
            return None
        with torch.inference_mode():
            return self.pipeline.model.find_hair(to_tensor(self._face, self.pipeline.device))

    def _finished(self, moved: np.ndarray, units: np.ndarray) -> np.ndarray:
        """A photo (H,W,3) uint8 with the moved face, which bears no mark yet, with what else is asked of that face, and
        marked; the same array where nothing is."""
        photo, edits = moved, self._edits_after()
        for i, (method, ages, expresses) in enumerate(edits):
            seen = self.pipeline.read_again(self.source, photo)
            wanted = self._on_top(units, seen.reading)
            if ages:  # counted from the age before the movement: a turned head reads otherwise
                seen = replace(seen, reading=seen.reading.but(age=self.source.reading.age))
            edit = replace(
                wanted,
                age=wanted.age if ages else None,
                action_units=wanted.action_units if expresses else {},
            )
            marked = self.mark and i == len(edits) - 1
            made = self.pipeline.generate(seen, edit, method, fine=ages)
            photo = self.pipeline.paste(seen, made, marked, self.clip)
        return photo

    def _edits_after(self) -> list[tuple[str, bool, bool]]:
        """The edits of a moved face: the method of each, and whether it changes the age and the expression. One that
        can change both at once does."""
        own = self.source.reading
        age, _ = self.last.targets_for(own.age, [own.action_units[code] for code in AU_CODES])
        ages, expresses = age != own.age, bool(self.settle or self.last.action_units)
        if ages and expresses and self.method == EXPRESSION_METHOD:
            return [(self.method, True, True)]
        expression = [(EXPRESSION_METHOD, False, True)] if expresses else []
        return expression + ([(self.method, True, False)] if ages else [])

    def _paste(self, face: np.ndarray) -> np.ndarray:
        return paste(self.source.photo, self._face, face, self._matrix)

    def _on_top(self, units: np.ndarray, now: Reading) -> Edit:
        """What is still asked of the moved face, which is to show action units (17,) and reads as it does now."""
        age, wanted = self.last.targets_for(self.source.reading.age, units.tolist())
        named, asked = self.last.action_units, dict(zip(AU_CODES, wanted, strict=True))
        for code in set(AU_CODES) - set(named):
            asked[code] = now.action_units[code] + SETTLED * (asked[code] - now.action_units[code])
        targets = {code: AUTarget(asked[code]) for code in (AU_CODES if self.settle else named)}
        return Edit(None if self.last.age is None else age, targets)

    def to_tensor(self, array: np.ndarray) -> torch.Tensor:
        """(...) -> (1,...) float32 on the pipeline's device."""
        return torch.from_numpy(array).float()[None].to(self.pipeline.device)

    def _run(self, function: Any, *landmarks: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return function(*map(self.to_tensor, landmarks))[0].double().cpu().numpy()


def check_reenactment(pipeline: FacePipeline, edit: Edit, method: str = DEFAULT) -> None:
    """MissingModel when the weights cannot reenact, or cannot change the age or the expression as well; BadInput when
    `method` cannot change ages."""
    row = method_row(method)
    check_method_edits(row, age=True, expression=False)
    pipeline.model.require(METHOD)
    if edit.age is not None:
        pipeline.model.require(row.part)
    if edit.action_units:
        pipeline.model.require(EXPRESSION_METHOD)


def edit_face(pipeline: FacePipeline, face: Face, edit: Edit, method: str) -> Face:
    """The face after an edit, not marked yet, as it now reads."""
    return pipeline.read_again(face, pipeline.paste(face, pipeline.generate(face, edit, method), mark=False))


def reenact_photo(
    pipeline: FacePipeline,
    source: Any,
    driving: Any,
    edit: Edit,
    index: int,
    driving_index: int,
    motion: Motion,
    method: str,
    mark: bool,
    progress: Progress | None,
    order: str = MOVE_FIRST,
) -> EditResult:
    """See `FaceEditor.reenact`; driving: a photo. method, order: see Mover."""
    started, steps = time.perf_counter(), Steps(progress, 6)
    check_reenactment(pipeline, edit, method)
    steps(FIND)
    photo = pipeline.load(source)
    found = pipeline.find_faces(photo)
    steps(READ)
    given = pipeline.read_face(photo, found, index)
    mover = Mover(pipeline, given, edit, mark, False, True, motion, method, order)
    steps(FIND)
    photo = pipeline.load(driving, "the driving photo")
    found = pipeline.find_faces(photo)
    steps(READ)
    driver = pipeline.read_face(photo, found, driving_index, "drives")
    steps(EDIT)
    pixels, attention = mover.show(action_of(driver))
    steps(READ_AGAIN)
    after = pipeline.read_again(given, pixels)
    seconds = time.perf_counter() - started
    result = pipeline.report(
        given,
        after,
        attention,
        edit=edit,
        method=METHOD,
        mark=mark,
        seconds=seconds,
        driving=driver,
        age_method=None if edit.age is None else method,
    )
    steps.finish()
    return result
