"""A photo moved by a clip or by frames: the driving face is followed and steadied, and every frame reenacted."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..edits import Edit
from ..errors import BadInput
from ..images.boxes import face_box
from ..images.photo import load_photo
from ..images.video_reader import Clip, Frame, is_clip
from ..results import ClipResult
from .animation import Tell, asked, check_seen, fitting, rewritten, told
from .reenactment import CLIP_SIDE, METHOD, Action, Mover, action_of
from .tracking import FaceTrack, OneEuro

if TYPE_CHECKING:
    from ..editor import FaceEditor

FRAME_RATE = 25  # of frames that do not say when they are shown
ACTION, PLACE = (2.0, 12.0), (1.0, 4.0)
"""One-Euro, of landmarks and of the frame's place: least cutoff in hertz, hertz gained per frame side a second."""
MEANWHILE = "the frame before was shown again"


def moves(driving: Any) -> bool:
    """Is a driving face given as a clip or as frames, rather than as one photo?"""
    if isinstance(driving, np.ndarray):
        return driving.ndim == 4
    if isinstance(driving, (str, os.PathLike, bytes, bytearray, memoryview)):
        return is_clip(driving)
    return isinstance(driving, Iterable) and not isinstance(driving, io.IOBase)


class Follower:
    """What the driving face of a clip does from frame to frame, steadied. face: which one, 0 is the largest."""

    def __init__(self, editor: FaceEditor, face: int):
        if face < 0:
            raise BadInput(f"driving face {face} does not exist; faces are numbered from 0, the largest")
        self.editor, self.track = editor, FaceTrack(face)
        self._shot = 0

    def action(self, frame: Frame) -> Action | None:
        """Its action in a frame; None where it is not found."""
        landmarks = self.track.follow(frame.pixels, self.editor.finder(frame.pixels), float(frame.time))
        if landmarks is None or self.track.lost:
            return None
        aligned = self.editor._aligned(frame.pixels, landmarks, face_box(landmarks))
        raw = action_of(replace(aligned, reading=self.track.reading(aligned.reading)))
        if self._shot != self.track.shots:
            self._shot, self._landmarks, self._place = self.track.shots, OneEuro(*ACTION), None
        if self._place is None:
            self._side, self._place = raw.place[2], OneEuro(*PLACE)
        unit = np.array([self._side] * 3 + [60.0])  # a radian, about, counts as a side
        step = self.track.step
        return Action(
            self._landmarks(raw.landmarks, step), raw.units, self._place(raw.place / unit, step) * unit
        )


def moved_frames(
    mover: Mover, follower: Follower, frames: Iterable[Frame], relative: bool
) -> Iterator[Frame]:
    """The source's photo, moved as the driving face of each frame is; as in the frame before where that is lost."""
    first, photo = None, None
    for frame in frames:
        action = follower.action(frame)
        if action is not None:
            first = first or action
            photo, _ = mover.show(action, first if relative else None)
        elif photo is None:
            photo = mover.still()
        yield frame._replace(pixels=photo)


def reenact_frames(
    editor: FaceEditor,
    source: Any,
    driving: Any,
    edit: Edit,
    relative: bool,
    face: int,
    driving_face: int,
    mark: bool,
) -> Iterator[Image.Image]:
    """See `FaceEditor.reenact`; driving: the path of a clip, or frames, each a photo."""
    mover = Mover(editor, fitting(source), face, edit, mark, CLIP_SIDE)
    follower = Follower(editor, driving_face)
    if isinstance(driving, (str, os.PathLike)):
        return _of_clip(mover, follower, Clip(driving), relative)
    return _pictures(mover, follower, _timed(driving), relative, "the driving frames")


def _of_clip(mover: Mover, follower: Follower, clip: Clip, relative: bool) -> Iterator[Image.Image]:
    with clip:
        yield from _pictures(mover, follower, clip, relative, clip.name)


def _pictures(
    mover: Mover, follower: Follower, frames: Iterable[Frame], relative: bool, name: str
) -> Iterator[Image.Image]:
    for frame in moved_frames(mover, follower, frames, relative):
        yield Image.fromarray(frame.pixels)
    check_seen(follower.track, name)


def _timed(frames: Iterable[Any]) -> Iterator[Frame]:
    for number, picture in enumerate(frames):
        yield Frame(load_photo(picture), Fraction(number, FRAME_RATE), Fraction(1, FRAME_RATE))


def reenact_clip(
    editor: FaceEditor,
    source: Any,
    driving: str | os.PathLike[str],
    target: str | os.PathLike[str],
    edit: Edit,
    relative: bool,
    face: int,
    driving_face: int,
    mark: bool,
    tell: Tell | None,
) -> ClipResult:
    """See `FaceEditor.reenact_video`."""
    started = time.perf_counter()
    follower = Follower(editor, driving_face)
    mover = Mover(editor, fitting(source), face, edit, mark, CLIP_SIDE)
    record = {**reenactment_record(edit, editor.weights), "relative": relative} if mark else None
    done = rewritten(
        driving,
        target,
        record,
        follower.track,
        lambda clip: moved_frames(mover, follower, clip, relative),
        tell,
    )
    of_source = (f"in the source photo, {said}" for said in mover.given.warnings)
    said = (*of_source, *done.warnings, *told(follower.track, "drives", MEANWHILE))
    return replace(done, warnings=said, seconds=time.perf_counter() - started)


def reenactment_record(edit: Edit, weights: str) -> dict[str, Any]:
    """What is written into a file: the request, the method and the weights; nothing of either person."""
    return {**asked(edit), "driven": True, "method": METHOD, "weights": weights, "seed": 0}
