"""Edits over time: one photo led through keyframes, or every frame of a clip edited and steadied."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..edits import AU_CODES, AUTarget, Edit
from ..errors import BadInput
from ..images.boxes import face_box
from ..images.photo import load_photo
from ..images.video_reader import Clip, Frame, fitted
from ..images.video_writer import GIF_RATE, check_target, new_clip
from ..provenance.xmp import xmp
from ..results import ClipResult
from .tracking import FaceTrack

if TYPE_CHECKING:
    from ..editor import FaceEditor
    from ..results import Reading

MOST_FRAMES = 36_000
LANCZOS = Image.Resampling.LANCZOS
MOST_GAPS = 5  # that are told one by one
Tell = Callable[[int, "int | None"], None]
"""Is told how many frames are done, and of how many, None where nobody knows."""


@dataclass(frozen=True)
class Keyframe:
    """What is asked at one moment of an animation; what is not named stays as at the keyframe before.

    age, action_units: as for `FaceEditor.edit`; changes such as "AU12=+2" count from the photo. at: when, 0..1 of the
    whole way; either every keyframe of an animation says it or none, and then they are spread evenly and the photo
    itself comes first.
    """

    age: float | None = None
    action_units: Mapping[str, float] | Iterable[str] | None = None
    at: float | None = None


def animate(
    editor: FaceEditor,
    photo: Any,
    keyframes: Iterable[Keyframe | Mapping[str, Any]],
    frames: int,
    method: str,
    face: int,
    mark: bool,
    there_and_back: bool,
) -> Iterator[Image.Image]:
    """See `FaceEditor.animate`."""
    if not isinstance(frames, int) or not 2 <= frames <= MOST_FRAMES:
        raise BadInput(f"{frames} frames make no animation; give between 2 and {MOST_FRAMES}")
    keys = checked_keyframes(keyframes)
    editor.check_method(method)
    aligned = editor._align(photo, face)
    moments, values = targets(aligned.reading, keys)
    edits = (_edit_of(between(moments, values, at)) for at in progress(frames, there_and_back))
    return (Image.fromarray(editor._painted(aligned, edit, method, mark)) for edit in edits)


def checked_keyframes(keyframes: Iterable[Keyframe | Mapping[str, Any]]) -> list[Keyframe]:
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


def targets(reading: Reading, keyframes: list[Keyframe]) -> tuple[np.ndarray, np.ndarray]:
    """Moments (K,) in 0..1 and what is asked at each, (K,18): age in years, then the 17 action units. The photo as
    it reads comes first where no keyframe is at 0."""
    source = [reading.action_units[code] for code in AU_CODES]
    wanted = [np.array([reading.age, *source])]
    for key in keyframes:
        edit = Edit.of(key.age, key.action_units)
        age, units = edit.targets_for(reading.age, source)
        named = [edit.age is not None, *(code in edit.action_units for code in AU_CODES)]
        wanted.append(np.where(named, [age, *units], wanted[-1]))
    moments = np.array([0.0, *(key.at for key in keyframes)])
    first = int(moments[1] == 0)
    return moments[first:], np.stack(wanted[first:])


def between(moments: np.ndarray, values: np.ndarray, at: float) -> np.ndarray:
    """What is asked (18,) at a moment: smoothstep, 3 t^2 - 2 t^3, between two keyframes, so each is met at rest."""
    after = min(int(np.searchsorted(moments, at, "right")), len(moments) - 1)
    before = max(after - 1, 0)
    span = moments[after] - moments[before]
    t = min((at - moments[before]) / span, 1.0) if span else 1.0
    t = t * t * (3 - 2 * t)
    return (
        values[before]
        if t == 0
        else values[after]
        if t == 1
        else values[before] * (1 - t) + values[after] * t
    )


def progress(frames: int, there_and_back: bool = False) -> Iterator[float]:
    """When each frame is, in 0..1 of the way; there and back, the middle frame is the end of the way."""
    turn = frames // 2 if there_and_back else frames - 1
    for i in range(frames):
        yield i / turn if i <= turn else (frames - 1 - i) / (frames - 1 - turn)


def _edit_of(wanted: np.ndarray) -> Edit:
    units = {code: AUTarget(float(unit)) for code, unit in zip(AU_CODES, wanted[1:], strict=True)}
    return Edit(float(wanted[0]), units)


def edit_frames(
    editor: FaceEditor, frames: Iterable[Frame], edit: Edit, method: str, track: FaceTrack, mark: bool
) -> Iterator[Frame]:
    """Every frame with the tracked face edited; where there is none it comes back as it was."""
    for frame in frames:
        landmarks = track.follow(frame.pixels, editor.finder(frame.pixels), float(frame.time))
        if landmarks is not None:
            aligned = editor._aligned(frame.pixels, landmarks, face_box(landmarks))
            aligned = replace(aligned, reading=track.reading(aligned.reading))
            frame = frame._replace(pixels=editor._painted(aligned, edit, method, mark))
        yield frame


def edit_clip(
    editor: FaceEditor,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    edit: Edit,
    method: str,
    face: int,
    mark: bool,
    steady: bool,
    tell: Tell | None,
) -> ClipResult:
    """See `FaceEditor.edit_video`."""
    started = time.perf_counter()
    editor.check_method(method)
    if face < 0:
        raise BadInput(f"face {face} does not exist; faces are numbered from 0, the largest")
    record = {**asked(edit), "method": method, "weights": editor.weights, "seed": 0} if mark else None
    track = FaceTrack(face, steady)
    done = rewritten(
        source, target, record, track, lambda clip: edit_frames(editor, clip, edit, method, track, mark), tell
    )
    said = (*done.warnings, *told(track, "is edited"))
    return replace(done, edited=track.edited, warnings=said, seconds=time.perf_counter() - started)


def rewritten(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    record: dict[str, Any] | None,
    track: FaceTrack,
    change: Callable[[Iterable[Frame]], Iterator[Frame]],
    tell: Tell | None,
) -> ClipResult:
    """A clip written anew, with what `change` makes of its frames, which are as many, and with its sound.

    track: follows the face that counts; BadInput when it never saw it, and then nothing is left of the target.
    """
    started, frames, frame = time.perf_counter(), 0, None
    silent = check_target(target) == ".gif"
    packet = xmp(record).encode() if record else None
    with (
        Clip(source, GIF_RATE if silent else None) as clip,
        new_clip(target, clip.rate, packet, clip) as write,
    ):
        for frame in change(clip):
            write(frame)
            frames += 1
            if tell is not None:
                tell(frames, clip.count)
        assert frame is not None, "a clip holds a frame"
        track.end(float(frame.time + frame.duration))
        check_seen(track, clip.name)
    notes = (*clip.notes, *(["a GIF holds no sound; it is left out"] if silent and clip.sound else []))
    size = frame.pixels.shape[1], frame.pixels.shape[0]
    return ClipResult(frames, track.seen, float(clip.rate), size, notes, time.perf_counter() - started)


def asked(edit: Edit) -> dict[str, Any]:
    """An edit as plain numbers; a change to an action unit has its sign, as "+2"."""
    units = {code: f"{t.value:+g}" if t.relative else t.value for code, t in edit.action_units.items()}
    return {"age": edit.age, "action_units": units, "strength": edit.strength}


def check_seen(track: FaceTrack, name: str) -> None:
    """BadInput when a clip is over and the face that was asked for was never in it."""
    if not track.most:
        raise BadInput(f"no face was found in {name}; give a video with a face that looks at the camera")
    if not track.seen:
        most = "1 face" if track.most == 1 else f"{track.most} faces"
        raise BadInput(f"face {track.face} does not exist; {name} shows at most {most}, numbered from 0")


def told(track: FaceTrack, role: str, meanwhile: str | None = None) -> list[str]:
    """What the track met, in sentences. role: what the face is for. meanwhile: what was shown while it was lost."""
    said = [gap.sentence(meanwhile) for gap in track.gaps[:MOST_GAPS]]
    if track.most > 1:
        said.insert(
            0, f"up to {track.most} faces were found at once; face {track.face} {role} (0 is the largest)"
        )
    if len(track.gaps) > MOST_GAPS:
        said.append(f"it was lost {len(track.gaps) - MOST_GAPS} more times")
    return said


def write_animation(
    editor: FaceEditor,
    photo: Any,
    target: str | os.PathLike[str],
    keyframes: Iterable[Keyframe | Mapping[str, Any]],
    seconds: float = 4.0,
    fps: float = 12.0,
    method: str = "ganimation_age",
    face: int = 0,
    mark: bool = True,
    there_and_back: bool = False,
    tell: Tell | None = None,
) -> int:
    """Write `FaceEditor.animate` as an MP4 or a GIF, by the target's ending; returns the number of frames.

    A photo with a side longer than 1920 pixels is scaled down first. tell(done, of) is called after each frame.
    BadInput names what cannot be; nothing is left half-written.
    """
    limit = GIF_RATE if check_target(target) == ".gif" else 60
    seconds, fps = _number(seconds, "seconds", 0.1, 600), _number(fps, "fps", 1, limit)
    frames, keys = max(2, round(seconds * fps)), checked_keyframes(keyframes)
    rate = Fraction(fps).limit_denominator(1001)
    pictures = editor.animate(fitting(photo), keys, frames, method, face, mark, there_and_back)
    listed = [{"at": key.at, **asked(Edit.of(key.age, key.action_units))} for key in keys]
    record = {"keyframes": listed, "method": method, "weights": editor.weights, "seed": 0} if mark else None
    with new_clip(target, rate, xmp(record).encode() if record else None) as write:
        for i, picture in enumerate(pictures):
            write(Frame(np.asarray(picture), i / rate, 1 / rate))
            if tell is not None:
                tell(i + 1, frames)
    return frames


def _number(value: float | str, name: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadInput(f"{name} {value!r} is not a number; give {low:g} to {high:g}") from None
    if not low <= number <= high:
        raise BadInput(f"{name} {value} is out of range; give {low:g} to {high:g}")
    return number


def fitting(photo: Any) -> np.ndarray:
    """A photo's pixels, scaled down so that a clip can be made of them."""
    pixels = load_photo(photo)
    size = fitted(*pixels.shape[1::-1])
    return (
        pixels if size == pixels.shape[1::-1] else np.asarray(Image.fromarray(pixels).resize(size, LANCZOS))
    )
