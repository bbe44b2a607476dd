"""Edits over time: one photo led through keyframes, or every frame of a clip edited and steadied."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..edits import AU_CODES, AUTarget, Edit
from ..errors import BadInput
from ..images.video_reader import Clip, Frame, scale_down
from ..images.video_writer import GIF_RATE, check_target, new_clip
from ..provenance.xmp import xmp
from ..results import ClipResult, Reading, unmarked
from .clip_face import READ_EVERY, ClipFace, Shot
from .face import Drawing, Face, FacePipeline, Photo
from .overlap import ahead, behind
from .progress import FrameCount, Progress
from .tracking import FaceTrack

MOST_FRAMES = 36_000
LANCZOS = Image.Resampling.LANCZOS
MOST_GAPS = 5
"""Gaps of a track that get a warning each; the rest is counted."""


@dataclass(frozen=True)
class Keyframe:
    """The request at one moment of an animation; an age or action unit that is not named stays as at the keyframe
    before.

    Attributes:
        age: as for `FaceEditor.edit`: target in years, 0..100.
        action_units: as for `FaceEditor.edit`; changes such as "AU12=+2" count from the photo.
        at: when, 0..1 of the whole way; either every keyframe of an animation says it or none, and then they are spread
            evenly and the photo itself comes first.
    """

    age: float | None = None
    action_units: Mapping[str, float | str] | Iterable[str] | None = None
    at: float | None = None


def animate(
    pipeline: FacePipeline,
    photo: Any,
    keyframes: list[Keyframe],
    frames: int,
    there_and_back: bool,
    method: str,
    face: int,
    mark: bool,
    progress: Progress | None,
    clip: bool = False,
) -> Iterator[Image.Image]:
    """See `FaceEditor.animate`. keyframes: as `check_keyframes` gives them; clip: whether the frames
    become a clip."""
    if not isinstance(frames, int) or not 2 <= frames <= MOST_FRAMES:
        raise BadInput(f"{frames} frames make no animation; give between 2 and {MOST_FRAMES}")
    pipeline.check_method(method)
    loaded = pipeline.load(photo)
    source = pipeline.read_face(loaded, pipeline.find_faces(loaded), face)
    moments, values = keyframe_values(source.reading, keyframes, pipeline.model.editable_action_units)

    def draw_frames() -> Iterator[Image.Image]:
        count = FrameCount(progress, frames)
        for at in frame_moments(frames, there_and_back):
            made = pipeline.generate(source, _edit_of(interpolate(moments, values, at)), method)
            pixels = pipeline.paste(source, made, mark, clip)
            count.add()
            yield Image.fromarray(pixels)

    return draw_frames()


def check_keyframes(keyframes: Iterable[Keyframe | Mapping[str, Any]]) -> list[Keyframe]:
    """Keyframes in order, each with its `at`; BadInput names what is wrong with them."""
    try:
        keys = [key if isinstance(key, Keyframe) else Keyframe(**key) for key in keyframes]
    except TypeError:
        raise BadInput(
            "a keyframe names age, action_units and at; give a list of such, as [{'age': 80}]"
        ) from None
    if not keys:
        raise BadInput("an animation needs at least one keyframe; give one such as {'age': 80}")
    if len({key.at is None for key in keys}) > 1:
        raise BadInput("some keyframes say when they are and some do not; give `at` to all or to none")
    if keys[0].at is None:
        return [replace(key, at=(i + 1) / len(keys)) for i, key in enumerate(keys)]
    moments = [key.at for key in keys if key.at is not None]
    if not all(isinstance(at, (int, float)) and 0 <= at <= 1 for at in moments) or any(
        a >= b for a, b in pairwise(moments)
    ):
        raise BadInput(f"keyframes are at {moments}; give rising numbers between 0 and 1")
    return keys


def keyframe_values(
    reading: Reading, keyframes: list[Keyframe], editable: Collection[str] = AU_CODES
) -> tuple[np.ndarray, np.ndarray]:
    """Moments (K,) in 0..1 and the targets at each, (K,18): age in years, then the 17 action units. The photo as it
    reads comes first where no keyframe is at 0."""
    source = [reading.action_units[code] for code in AU_CODES]
    wanted = [np.array([reading.age, *source])]
    for key in keyframes:
        edit = Edit.of(key.age, key.action_units, editable=editable)
        age, units = edit.targets_for(reading.age, source)
        named = [edit.age is not None, *(code in edit.action_units for code in AU_CODES)]
        wanted.append(np.where(named, [age, *units], wanted[-1]))
    moments = np.array([0.0, *(key.at for key in keyframes)])
    first = int(moments[1] == 0)
    return moments[first:], np.stack(wanted[first:])


def interpolate(moments: np.ndarray, values: np.ndarray, at: float) -> np.ndarray:
    """The targets (18,) at a moment. Between two keyframes they follow the smoothstep 3 t^2 - 2 t^3, whose slope is 0
    at both ends, so that the motion rests at each keyframe."""
    after = min(int(np.searchsorted(moments, at, "right")), len(moments) - 1)
    before = max(after - 1, 0)
    span = moments[after] - moments[before]
    t = min((at - moments[before]) / span, 1.0) if span else 1.0
    t = t * t * (3 - 2 * t)
    if t in (0, 1):  # exactly the keyframe, without rounding
        return values[after if t else before]
    return values[before] * (1 - t) + values[after] * t


def frame_moments(frames: int, there_and_back: bool = False) -> Iterator[float]:
    """When each frame is, in 0..1 of the way; there and back, the middle frame is the end of the way."""
    turn = frames // 2 if there_and_back else frames - 1
    for i in range(frames):
        yield i / turn if i <= turn else (frames - 1 - i) / (frames - 1 - turn)


def _edit_of(wanted: np.ndarray) -> Edit:
    units = {code: AUTarget(float(unit)) for code, unit in zip(AU_CODES, wanted[1:], strict=True)}
    return Edit(float(wanted[0]), units)


class Followed(NamedTuple):
    """A frame of a clip in which the face was found and read. shot: what its shot keeps."""

    frame: Frame
    face: Face
    shot: Shot


Prepared = tuple[Followed, Drawing | None]
"""What is to be drawn in a frame: nothing where it is None."""


def edit_frames(
    pipeline: FacePipeline, frames: Iterable[Frame], edit: Edit, method: str, track: FaceTrack, mark: bool
) -> Iterator[Frame]:
    """Every frame with the tracked face edited; where there is none it comes back as it was. In threads of their own
    the face is found and read in one frame, its hair grows in another, prototypes change it in a third, and in a fourth
    a generator draws on it."""

    def prepared(frames: Iterable[Frame | Followed]) -> Iterator[Frame | Prepared]:
        for one in frames:
            yield one if isinstance(one, Frame) else (one, one.shot.prepare(one.face, edit, method))

    def changed(frames: Iterable[Frame | Prepared]) -> Iterator[Frame | Prepared]:
        for one in frames:
            yield one if isinstance(one, Frame) else (one[0], one[0].shot.change(one[1], method))

    def drawn(frames: Iterable[Frame | Prepared]) -> Iterator[Frame]:
        for one in frames:
            if isinstance(one, Frame):
                yield one
            else:
                (frame, face, shot), drawing = one
                yield frame._replace(pixels=shot.draw(face, drawing, method, mark))

    with (
        ahead(follow_face(pipeline, frames, track), share=True) as followed,
        ahead(prepared(followed), share=True) as ready,
        ahead(changed(ready), share=True) as half,
        ahead(drawn(half), share=True) as done,
    ):
        yield from done


def follow_face(
    pipeline: FacePipeline, frames: Iterable[Frame], track: FaceTrack
) -> Iterator[Frame | Followed]:
    """The frames, each with its face where there is one."""
    seen = ClipFace(pipeline, track, READ_EVERY if track.steady else 1)
    for frame in frames:
        landmarks = seen.find(frame.pixels, float(frame.time))
        if landmarks is None:
            yield frame
        else:
            yield Followed(frame, seen.read(frame.pixels, landmarks), seen.shot)


def edit_clip(
    pipeline: FacePipeline,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    edit: Edit,
    steady: bool,
    method: str,
    face: int,
    mark: bool,
    progress: Progress | None,
) -> ClipResult:
    """See `FaceEditor.edit_video`."""
    started = time.perf_counter()
    pipeline.check_method(method)
    if face < 0:
        raise BadInput(f"face {face} does not exist; faces are numbered from 0, the largest")
    record = {**edit_record(edit), "method": method, "weights": pipeline.weights} if mark else None
    track = FaceTrack(face, steady)

    def change(frames: Iterable[Frame]) -> Iterator[Frame]:
        return edit_frames(pipeline, frames, edit, method, track, mark)

    done = rewrite_clip(source, target, record, track, change, progress)
    warnings = (*done.warnings, *track_warnings(track, "is edited"), *unmarked(track.edited > 0, mark))
    return replace(done, edited=track.edited, warnings=warnings, seconds=time.perf_counter() - started)


def rewrite_clip(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    record: dict[str, Any] | None,
    track: FaceTrack,
    change: Callable[[Iterable[Frame]], Iterator[Frame]],
    progress: Progress | None,
) -> ClipResult:
    """Write a clip anew, with what `change` makes of its frames, which are as many, and with its sound.

    track: follows the face that counts; BadInput when it never saw it, and then nothing is left of the target.
    """
    started, frame = time.perf_counter(), None
    silent = check_target(target) == ".gif"
    packet = xmp(record).encode() if record else None
    with (
        Clip(source, GIF_RATE if silent else None) as clip,
        new_clip(target, clip.rate, packet, clip) as write,
    ):
        count = FrameCount(progress, clip.count)
        # The next frames are decoded, and the last ones encoded, while one is edited.
        with ahead(clip) as frames, behind(write) as write_later:
            for frame in change(frames):
                write_later(frame)
                count.add()
        assert frame is not None, "a clip holds a frame"
        track.end(float(frame.time + frame.duration))
        check_seen(track, clip.name)
    count.finish()
    notes = (*clip.notes, *(["a GIF holds no sound; it is left out"] if silent and clip.sound else []))
    size = frame.pixels.shape[1], frame.pixels.shape[0]
    return ClipResult(count.done, track.seen, float(clip.rate), size, notes, time.perf_counter() - started)


def edit_record(edit: Edit) -> dict[str, Any]:
    """An edit as plain numbers, for a file's metadata; a change to an action unit has its sign, as "+2"."""
    units = {code: f"{t.value:+g}" if t.relative else t.value for code, t in edit.action_units.items()}
    return {"age": edit.age, "action_units": units, "strength": edit.strength, **edit.more()}


def check_seen(track: FaceTrack, name: str) -> None:
    """BadInput when a clip is over and the face that was asked for was never in it."""
    if not track.most:
        raise BadInput(f"no face was found in {name}; give a video with a face that looks at the camera")
    if not track.seen:
        most = "1 face" if track.most == 1 else f"{track.most} faces"
        raise BadInput(f"face {track.face} does not exist; {name} shows at most {most}, numbered from 0")


def track_warnings(track: FaceTrack, role: str, meanwhile: str | None = None) -> list[str]:
    """Gaps and other faces that the track met, in sentences. role: what the face is for. meanwhile: what was shown
    while it was lost."""
    warnings = [gap.sentence(meanwhile) for gap in track.gaps[:MOST_GAPS]]
    if track.most > 1:
        warnings.insert(
            0, f"up to {track.most} faces were found at once; face {track.face} {role} (0 is the largest)"
        )
    if len(track.gaps) > MOST_GAPS:
        warnings.append(f"it was lost {len(track.gaps) - MOST_GAPS} more times")
    return warnings


def write_animation(
    pipeline: FacePipeline,
    photo: Any,
    target: str | os.PathLike[str],
    keyframes: Iterable[Keyframe | Mapping[str, Any]],
    seconds: float,
    fps: float,
    there_and_back: bool,
    method: str,
    face: int,
    mark: bool,
    progress: Progress | None,
) -> ClipResult:
    """See `FaceEditor.animate_video`."""
    started = time.perf_counter()
    limit = GIF_RATE if check_target(target) == ".gif" else 60
    seconds, fps = _number(seconds, "seconds", 0.1, 600), _number(fps, "fps", 1, limit)
    frames, keys = max(2, round(seconds * fps)), check_keyframes(keyframes)
    rate, loaded = Fraction(fps).limit_denominator(1001), scaled(pipeline.load(photo))
    pictures = animate(
        pipeline, loaded, keys, frames, there_and_back, method, face, mark, progress, clip=True
    )
    record = animation_record(keys, method, pipeline.weights) if mark else None
    with new_clip(target, rate, xmp(record).encode() if record else None) as write:
        for i, picture in enumerate(pictures):
            write(Frame(np.asarray(picture), i / rate, 1 / rate))
    size = picture.size
    seconds = time.perf_counter() - started
    return ClipResult(frames, frames, float(rate), size, unmarked(True, mark), seconds)


def animation_record(keyframes: list[Keyframe], method: str, weights: str) -> dict[str, Any]:
    """An animation as plain numbers, for a file's metadata."""
    listed = [{"at": key.at, **edit_record(Edit.of(key.age, key.action_units))} for key in keyframes]
    return {"keyframes": listed, "method": method, "weights": weights}


def _number(value: float | str, name: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadInput(f"{name} {value!r} is not a number; give {low:g} to {high:g}") from None
    if not low <= number <= high:
        raise BadInput(f"{name} {value} is out of range; give {low:g} to {high:g}")
    return number


def scaled(photo: Photo) -> Photo:
    """A photo scaled down so that a clip can be made of it."""
    size = scale_down(*photo.pixels.shape[1::-1])
    if size == photo.pixels.shape[1::-1]:
        return photo
    return photo._replace(pixels=np.asarray(Image.fromarray(photo.pixels).resize(size, LANCZOS)))
