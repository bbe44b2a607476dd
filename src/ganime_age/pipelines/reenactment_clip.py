"""A photo moved by a clip or by frames: the driving face is followed and steadied, and every frame reenacted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..edits import Edit
from ..errors import BadInput
from ..images.photo import is_file, is_tensor, load_photo
from ..images.video_reader import Clip, Frame, is_clip
from ..model.methods import DEFAULT
from ..results import ClipResult, unmarked
from .animation import check_seen, edit_record, rewrite_clip, scaled, track_warnings
from .clip_face import ClipFace
from .face import FacePipeline
from .overlap import ahead, side_by_side
from .progress import FrameCount, Progress
from .reenactment import METHOD, Action, Motion, Mover, action_of, check_reenactment
from .tracking import FaceTrack, OneEuro

FRAME_RATE = 25  # of frames that do not say when they are shown
ACTION, PLACE = (2.0, 12.0), (1.0, 4.0)
"""One-Euro filters of landmarks and of the frame's position: minimum cutoff in Hz and its slope in Hz per (frame side
/ s)."""
MEANWHILE = "the frame before was shown again"


def is_moving(driving: Any) -> bool:
    """Is a driving face given as a clip or as frames, rather than as one photo?"""
    if isinstance(driving, np.ndarray):
        return driving.ndim == 4
    if is_tensor(driving):
        return driving.ndim == 4 and len(driving) != 1
    if isinstance(driving, (str, os.PathLike, bytes, bytearray, memoryview)):
        return is_clip(driving)
    return isinstance(driving, Iterable) and not is_file(driving)


class Follower:
    """What the driving face of a clip does from frame to frame, steadied. face: which one, 0 is the largest."""

    def __init__(self, pipeline: FacePipeline, face: int):
        if face < 0:
            raise BadInput(f"driving face {face} does not exist; faces are numbered from 0, the largest")
        self.track = FaceTrack(face)
        self._seen = ClipFace(pipeline, self.track, every=1)
        self._shot = 0

    def action(self, frame: Frame) -> Action | None:
        """Its action in a frame; None where it is not found."""
        landmarks = self._seen.find(frame.pixels, float(frame.time))
        if landmarks is None or self.track.lost:
            return None
        raw = action_of(self._seen.read(frame.pixels, landmarks))
        if self._shot != self.track.shots:
            self._shot, self._landmarks, self._place = self.track.shots, OneEuro(*ACTION), None
        if self._place is None:
            self._side, self._place = raw.place[2], OneEuro(*PLACE)
        unit = np.array([self._side] * 3 + [60.0])  # a radian, about, counts as a side
        step = self.track.step
        return Action(
            self._landmarks(raw.landmarks, step), raw.units, self._place(raw.place / unit, step) * unit
        )


class Asked(NamedTuple):
    """What the source is to show in a frame: landmarks (68,2) in 0..1 of its own frame, and action units (17,). None
    where the driving face is lost: what the frame before shows."""

    frame: Frame
    shown: tuple[np.ndarray, np.ndarray] | None


def follow_driving(
    mover: Mover, follower: Follower, frames: Iterable[Frame], relative: bool
) -> Iterator[Asked]:
    """The frames, each with what the driving face asks for; up to its first frame the source stays as it is."""
    first, still = None, (mover.action.landmarks, mover.action.units)
    for number, frame in enumerate(frames):
        action = follower.action(frame)
        if action is None:
            yield Asked(frame, None if number else still)
            continue
        first = first or action
        start = first if relative else None
        yield Asked(frame, (mover.like(action, start), mover.units_like(action, start)))


def move_frames(painted: Iterable[tuple[Frame, np.ndarray | None]]) -> Iterator[Frame]:
    """The source's photo in each frame; where it was not painted anew, as in the frame before."""
    photo = None
    for frame, now in painted:
        photo = photo if now is None else now
        assert photo is not None, "the first frame is painted"
        yield frame._replace(pixels=photo)


def paint(mover: Mover, asked: Asked) -> tuple[Frame, np.ndarray | None]:
    """A frame, and the source's whole photo as it is to be shown there."""
    return asked.frame, None if asked.shown is None else mover.paint(*asked.shown)[0]


def reenact_frames(
    pipeline: FacePipeline,
    source: Any,
    driving: Any,
    edit: Edit,
    relative: bool,
    face: int,
    driving_face: int,
    motion: Motion,
    method: str,
    mark: bool,
    progress: Progress | None,
) -> Iterator[Image.Image]:
    """See `FaceEditor.reenact_frames`; driving: the path of a clip, or frames, each a photo."""
    mover = new_mover(pipeline, source, edit, face, mark, motion, method)
    follower = Follower(pipeline, driving_face)
    if isinstance(driving, (str, os.PathLike)):
        return _of_clip(mover, follower, Clip(driving), relative, progress)
    count = FrameCount(progress, len(driving) if isinstance(driving, Sized) else None)
    return _pictures(mover, follower, _timed(driving), relative, "the driving frames", count)


def new_mover(
    pipeline: FacePipeline, source: Any, edit: Edit, face: int, mark: bool, motion: Motion, method: str
) -> Mover:
    """The source of a clip, scaled to what a clip can hold, found, read and ready to move."""
    check_reenactment(pipeline, edit, method)
    photo = scaled(pipeline.load(source))
    given = pipeline.read_face(photo, pipeline.find_faces(photo), face)
    return Mover(pipeline, given, edit, mark, clip=True, motion=motion, method=method)


def _of_clip(
    mover: Mover, follower: Follower, clip: Clip, relative: bool, progress: Progress | None
) -> Iterator[Image.Image]:
    with clip:
        yield from _pictures(mover, follower, clip, relative, clip.name, FrameCount(progress, clip.count))


def _pictures(
    mover: Mover,
    follower: Follower,
    frames: Iterable[Frame],
    relative: bool,
    name: str,
    count: FrameCount,
) -> Iterator[Image.Image]:
    asked = follow_driving(mover, follower, frames, relative)
    for frame in move_frames(paint(mover, one) for one in asked):
        count.add()
        yield Image.fromarray(frame.pixels)
    check_seen(follower.track, name)
    count.finish()


def _timed(frames: Iterable[Any]) -> Iterator[Frame]:
    for number, picture in enumerate(frames):
        yield Frame(load_photo(picture), Fraction(number, FRAME_RATE), Fraction(1, FRAME_RATE))


def reenact_clip(
    pipeline: FacePipeline,
    source: Any,
    driving: str | os.PathLike[str],
    target: str | os.PathLike[str],
    edit: Edit,
    relative: bool,
    face: int,
    driving_face: int,
    motion: Motion,
    method: str,
    mark: bool,
    progress: Progress | None,
) -> ClipResult:
    """See `FaceEditor.reenact_video`."""
    started = time.perf_counter()
    follower = Follower(pipeline, driving_face)
    mover = new_mover(pipeline, source, edit, face, mark, motion, method)
    record = (
        {**reenactment_record(edit, pipeline.weights, method), "relative": relative, **motion.more()}
        if mark
        else None
    )

    def change(frames: Iterable[Frame]) -> Iterator[Frame]:
        # The face is followed in the next frames while these are painted.
        with (
            ahead(follow_driving(mover, follower, frames, relative), share=True) as asked,
            side_by_side(partial(paint, mover), asked) as painted,
        ):
            yield from move_frames(painted)

    done = rewrite_clip(driving, target, record, follower.track, change, progress)
    of_source = (f"in the source photo, {text}" for text in mover.given.warnings)
    of_clip = (*done.warnings, *track_warnings(follower.track, "drives", MEANWHILE))
    warnings = (*of_source, *of_clip, *unmarked(True, mark))
    return replace(done, warnings=warnings, seconds=time.perf_counter() - started)


def reenactment_record(edit: Edit, weights: str, age_method: str = DEFAULT) -> dict[str, Any]:
    """The metadata of a reenactment: the request, the methods and the weights; nothing of either person."""
    aged = {} if edit.age is None else {"age_method": age_method}
    return {**edit_record(edit), "driven": True, "method": METHOD, **aged, "weights": weights}
