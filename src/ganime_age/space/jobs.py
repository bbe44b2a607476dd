"""What the page and the API ask of one FaceEditor: each call here is one job, which says how far it is.

On a ZeroGPU Space a job runs in a process of its own that holds the GPU for so long: it takes and gives plain values,
and a file, not an event in memory, tells it to stop.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from ..edits import Edit
from ..errors import BadInput, GanimeAgeError
from ..results import ClipResult
from . import sketch
from .insightface import InsightFace
from .loader import CLIP_SECONDS

try:
    from spaces import GPU
except ImportError:
    GPU = None

WAITING = 16
"""Jobs that may wait in the queue; the next one is refused."""

ALL = "all"
STRIP_AGES = (1, 5, 8, 12, 17, 25, 35, 45, 60, 75)
MOST_RATE = 60  # frames a second of a clip whose file does not say how long it is
ANIMATION_SECONDS = 3.0
ALL_AGES_SECONDS = 4.0
MOST_FACES = 6
_running: dict[str | None, Path] = {}


class Stopped(Exception):
    """The visitor stopped the job, or left."""


class Asked(NamedTuple):
    """One request. photo (H,W,3), or None where a clip is edited; age in years or None; action_units: intensities 0..5
    by code, or "AU12=+2"; driving: another photo (H,W,3) or None; method: one of the model's or "all"; face: 0 is the
    largest; strength 0..1.5; own_age: what the face is taken for, or None for what is read; every: all faces, one after
    another; name: the photo's, for downloads; relative: whether action_units are changes to what is there; turn: yaw,
    pitch and roll in degrees; parts: what the age changes, None for all; motion, multiplier: what is taken of a driving
    face, and how far; insight: whether InsightFace finds the faces."""

    photo: Any
    age: float | None = None
    action_units: Any = None
    driving: np.ndarray | None = None
    method: str = "ganimation_age"
    face: int = 0
    strength: float = 1.0
    own_age: float | None = None
    every: bool = False
    name: str = "photo"
    relative: bool = False
    turn: Any = None
    parts: Any = None
    motion: str = "both"
    multiplier: float = 1.0
    insight: bool = False

    def key(self) -> str:
        """The same for the same request of one photo: a finished edit and its draft have one key."""
        way = (
            self.age,
            sorted((self.action_units or {}).items()),
            self.method,
            self.face,
            self.strength,
            self.own_age,
            tuple(self.turn or ()),
            tuple(self.parts or ()),
            self.insight,
        )
        return repr(way)


def on_gpu(seconds: int) -> Callable:
    """Rent the GPU for at most so long, where GPUs are rented (ZeroGPU); elsewhere nothing is changed."""
    return GPU(duration=seconds) if GPU else lambda job: job


class Jobs:
    """The jobs of one editor."""

    def __init__(self, editor: Any):
        self.editor, self.insight = editor, InsightFace(editor)
        self.methods: tuple[str, ...] = tuple(editor.model.methods)
        self.reenacts = "dual_generator" in editor.model.parts
        self.thresholds = editor.model.identity_thresholds
        self.editable: tuple[str, ...] = editor.model.editable_action_units
        self.read = on_gpu(5)(self._read)
        self.edit = on_gpu(10)(self._edit)
        self.progression = on_gpu(20)(self._progression)
        self.animate = on_gpu(60)(self._animate)
        self.video = on_gpu(120)(self._video)

    def editor_of(self, asked: Asked) -> Any:
        """The page's editor, or the one whose faces InsightFace finds."""
        return self.insight.editor if asked.insight else self.editor

    def likeness(self, asked: Asked, made: Any) -> dict[str, float]:
        """What another measure than the weights' own says of an edit, by its name."""
        return self.insight.likeness(asked.photo, made) if asked.insight and made.edited else {}

    def _read(self, photo: np.ndarray, insight: bool = False) -> list[Any]:
        return self.editor_of(Asked(photo, insight=insight)).read(photo)

    def _edit(self, asked: Asked) -> list[Any]:
        """One result, or with the method "all" one of each method that can do it."""
        editor = self.editor_of(asked)
        if asked.every:
            return [self._edit_every(asked)]
        request = {"age": asked.age, "action_units": asked.action_units, "face": asked.face}
        request |= {"strength": asked.strength, "progress": _show_steps()}
        if asked.driving is not None:
            how = {"motion": asked.motion, "multiplier": asked.multiplier, **self.of_age(asked)}
            return [editor.reenact(asked.photo, asked.driving, **request, **how)]
        request |= {"source_age": asked.own_age, "relative": asked.relative, "turn": asked.turn}
        if asked.method == ALL:
            if asked.parts is not None:
                raise BadInput(
                    "methods are compared on whole ages; tick shape, skin and hair, or choose one method"
                )
            return editor.compare(asked.photo, **request)
        request["parts"] = asked.parts
        return [editor.edit(asked.photo, **request, method=asked.method)]

    def _edit_every(self, asked: Asked) -> Any:
        """Every face of the photo edited, one after another; the report is the largest one's."""
        photo, first, editor = asked.photo, None, self.editor_of(asked)
        for reading in editor.read(asked.photo)[:MOST_FACES]:
            boxes = [found.box for found in editor.detector(photo)]
            face = min(range(len(boxes)), key=lambda i: float(np.abs(boxes[i] - reading.box).sum()))
            request = asked._replace(photo=photo, face=face, every=False, method=self.method(asked))
            (made,) = self._edit(request)
            first, photo = first or made, np.asarray(made.image)
        return replace(first, image=Image.fromarray(photo))  # type: ignore[type-var]

    def _progression(self, asked: Asked, ages: tuple[float, ...]) -> list[Any]:
        """The same face at several ages."""
        return self.editor_of(asked).progression(
            asked.photo, ages=ages, action_units=asked.action_units, strength=asked.strength, relative=asked.relative,
            source_age=asked.own_age, method=self.method(asked), face=asked.face, progress=_show_steps(),
            turn=asked.turn, parts=asked.parts,
        )  # fmt: skip

    def sketches(self, photo: np.ndarray, readings: list[Any]) -> list[sketch.Sketch]:
        """What drafts start from; none where the model works in another process."""
        return [] if GPU else sketch.sketches_of(self.editor.pipeline, photo, readings)

    def draft(self, start: sketch.Sketch, asked: Asked) -> dict[str, Any]:
        """A quick draft of an edit (`sketch.draw`)."""
        edit = Edit.of(
            asked.age, asked.action_units, strength=asked.strength, editable=self.editable, parts=asked.parts,
            turn=asked.turn,
        )  # fmt: skip
        drawn = sketch.draw(self.editor.pipeline, start, edit, self.method(asked), asked.own_age)
        return {**drawn, "key": asked.key()}

    def _animate(
        self, asked: Asked, keyframes: list, target: Path, seconds: float, running: Path, back: bool = True
    ) -> int:
        """A clip of the photo led through keyframes (and back); returns the number of frames."""
        made = self.editor_of(asked).animate_video(
            asked.photo, target, keyframes=keyframes, seconds=seconds, there_and_back=back,
            method=self.method(asked), face=asked.face, progress=_count_frames(running),
        )  # fmt: skip
        return made.frames

    def _video(
        self, asked: Asked, clip: Path, target: Path, reenact: bool, relative: bool, running: Path
    ) -> ClipResult:
        """The photo moved by a clip, or (reenact=False) the clip's own face edited."""
        request = {"age": asked.age, "action_units": asked.action_units, "strength": asked.strength}
        request["progress"] = _count_frames(running)
        editor = self.editor_of(asked)
        if not reenact:
            how = {"turn": asked.turn, "parts": asked.parts}
            return editor.edit_video(clip, target, **request, **how, method=self.method(asked))
        how = {"motion": asked.motion, "multiplier": asked.multiplier, "face": asked.face}
        how |= self.of_age(asked)
        return editor.reenact_video(asked.photo, clip, target, **request, **how, relative=relative)

    def of_age(self, asked: Asked) -> dict[str, str]:
        """What edits the age of a face that is moved, where one is asked for."""
        return {} if asked.age is None else {"method": self.method(asked)}

    def method(self, asked: Asked) -> str:
        """The one method of a request that cannot be made with several."""
        return self.methods[0] if asked.method == ALL else asked.method


def _show_steps() -> Callable[[int, int | None, str], None]:
    """Shows each step as it starts; writing the files, which comes last, is one more."""
    shown = gr.Progress()

    def progress(done: int, total: int | None, note: str) -> None:
        if total and done < total:
            shown(done / (total + 1), desc=note)

    return progress


def writing() -> None:
    """The last step of every job."""
    gr.Progress()(0.95, desc="Writing the files")


def _count_frames(running: Path) -> Callable[[int, int | None, str], None]:
    """Shows the frames as they are done; ends the job when its file is gone or its clip never ends."""
    shown = gr.Progress()

    def progress(done: int, total: int | None, note: str) -> None:
        if not running.exists():
            raise Stopped
        if done > CLIP_SECONDS * MOST_RATE:
            raise BadInput(f"the clip goes on for too long; give one of at most {CLIP_SECONDS} seconds")
        shown((done, total), desc=note, unit="frames")

    return progress


@contextmanager
def running(session: str | None) -> Iterator[Path]:
    """The file that a clip's job looks for after every frame; without it the job ends."""
    descriptor, name = tempfile.mkstemp(prefix="ganime_age-running-")
    os.close(descriptor)
    mark = _running[session] = Path(name)
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)
        if _running.get(session) == mark:
            del _running[session]


def stop(session: str | None) -> None:
    """End the clip that is being made for a visitor, if there is one."""
    if session in _running:
        _running[session].unlink(missing_ok=True)


def plainly(error: Exception) -> str:
    """One sentence for a visitor; a bug's details stay in the server's log."""
    if isinstance(error, Stopped):
        message = "stopped; nothing was written"
    elif isinstance(error, GanimeAgeError):
        message = str(error)
    elif isinstance(error, gr.Error):
        message = str(error.message)
    else:
        logging.getLogger(__name__).error("a job failed", exc_info=error)
        message = "something went wrong on our side; try another photo"
    return sentence(message)


def sentence(text: str) -> str:
    """The text with a capital and one full stop; a file's name at its start is left as it is."""
    capital = text[:1] if re.match(r"\S*\w\.\w", text) else text[:1].upper()
    return f"{capital}{text[1:].rstrip('.')}."
