"""The page's jobs as named endpoints, for gradio_client, plain HTTP and MCP.

`consent` is an argument of each: a program, too, has to say that the people shown agreed. Files are uploads; what is
wrong with a call comes back as one sentence. The hints of the signatures make the endpoints' types, so they are not
put off by a `from __future__ import annotations`.
"""

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import gradio as gr
from gradio.context import get_blocks_context
from gradio.utils import get_function_description

from ..errors import BadInput
from ..images.video_reader import is_clip
from . import clips, files, jobs
from .jobs import ALL, STRIP_AGES, Asked
from .loader import CLIP_SECONDS, clip_of, photo_of, uploaded

PictureFormat = Literal["png", "jpg", "webp"]
ClipFormat = Literal["mp4", "gif"]
MOST_AGES = 12


class Page(gr.Blocks):
    """Blocks whose endpoints take calls that leave out parameters at the end, as calls do that are older than these,
    and whose MCP tools answer each output by itself, so that a picture comes as a picture."""

    @property
    def mcp_server_obj(self) -> Any:
        return self._mcp_server

    @mcp_server_obj.setter
    def mcp_server_obj(self, server: Any) -> None:
        self._mcp_server = server
        if server is not None:
            server._execute_tool_without_progress = self._each_output

    @staticmethod
    async def _each_output(job: Any) -> list[Any]:
        # Gradio (6.31) puts several outputs into one text where a client asks for no progress.
        result = await asyncio.to_thread(job.result)
        return list(result) if isinstance(result, tuple) else [result]

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        if block_fn.api_visibility == "public":
            inputs += [part.value for part in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)


def add(work: jobs.Jobs, **line: Any) -> None:
    """Add the endpoints to the page that is being built. line: keywords of the line they wait in, as for `gr.api`."""
    calls = Endpoints(work)
    for call in (
        calls.edit, calls.progression, calls.reenact, calls.animate, calls.edit_clip, calls.read, calls.compare,
    ):  # fmt: skip
        _describe(gr.api(_answering(call), api_name=call.__name__, **line), call)


def _describe(added: dict, call: Callable) -> None:
    """Give the parameters and the answers of an endpoint their names and descriptions, which its docstring holds."""
    parts = get_blocks_context().blocks
    _, parameters, answers = get_function_description(call)
    for number, (name, text) in zip(added["inputs"], parameters.items(), strict=True):
        parts[number].label = name
        parts[number].api_info()["additional_description"] = text
    for number, text in zip(added["outputs"], answers, strict=True):
        name, _, meaning = text.partition(": ")
        parts[number].label = name
        parts[number].api_info()["description"] = meaning


class Endpoints:
    """The functions behind the endpoints, over the jobs of one editor."""

    def __init__(self, work: jobs.Jobs):
        self._work = work

    def edit(
        self,
        photo: gr.FileData,
        age: float | None = None,
        action_units: dict[str, float] | None = None,
        method: str | None = None,
        face: int = 0,
        format: PictureFormat = "png",
        consent: bool = False,
        strength: float = 1.0,
        relative: bool = False,
        source_age: float | None = None,
        landmarks: bool = False,
        turn: list[float] | None = None,
        parts: list[str] | None = None,
    ) -> tuple[gr.FileData, dict]:
        """Edit one face of a photo: another age, another expression, or both. Returns the photo and the report.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            age: Target age in years, 0 to 100. Left out, the age stays.
            action_units: FACS action units by code and their intensities 0 to 5, such as {"AU12": 3}. Others stay.
            method: A method of the loaded weights. Left out, the first of them.
            face: Which face, 0 is the largest.
            format: How the photo is written.
            consent: True says that everyone shown agreed to this edit, or is you.
            strength: How far to go from the source to the target, 0 to 1.5; 1 goes all the way.
            relative: True adds action_units to what the face shows; False sets them.
            source_age: The age of the face in years, 0 to 100, where the reading is known to be wrong.
            landmarks: True adds the 68 landmarks of each face to the report.
            turn: Yaw, pitch and roll in degrees by which the head turns right, down and clockwise: 15, 10, 10 at most.
            parts: What the age changes, of "shape", "skin" and "hair". Left out, all of them.

        Returns:
            photo: The edited photo at its own size, marked as edited.
            report: What was asked and what is read before and after; identity is a cosine, -1 to 1.
        """
        _allowed(consent)
        asked = Asked(photo_of(photo), age, action_units, None, method or self._work.methods[0], face)
        asked = asked._replace(
            strength=strength, relative=relative, own_age=source_age, turn=turn, parts=parts
        )
        return _written(self._work.edit(asked)[0], format, landmarks)

    def compare(
        self,
        photo: gr.FileData,
        age: float | None = None,
        action_units: dict[str, float] | None = None,
        face: int = 0,
        format: PictureFormat = "png",
        consent: bool = False,
        strength: float = 1.0,
        relative: bool = False,
        source_age: float | None = None,
        landmarks: bool = False,
        turn: list[float] | None = None,
    ) -> tuple[list[gr.FileData], list[dict]]:
        """The same edit by every loaded method that can do it. Returns the photos and their reports, in one order.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            age: Target age in years, 0 to 100.
            action_units: FACS action units by code and their intensities 0 to 5.
            face: Which face, 0 is the largest.
            format: How the photos are written.
            consent: True says that everyone shown agreed to this edit, or is you.
            strength: How far to go from the source to the target, 0 to 1.5; 1 goes all the way.
            relative: True adds action_units to what the face shows; False sets them.
            source_age: The age of the face in years, 0 to 100, where the reading is known to be wrong.
            landmarks: True adds the 68 landmarks of each face to the report.
            turn: Yaw, pitch and roll in degrees by which the head turns right, down and clockwise: 15, 10, 10 at most.

        Returns:
            photos: One edited photo for each method.
            reports: The report of each, in the same order.
        """
        _allowed(consent)
        asked = Asked(photo_of(photo), age, action_units, None, ALL, face)
        asked = asked._replace(strength=strength, relative=relative, own_age=source_age, turn=turn)
        return _several(self._work.edit(asked), format, landmarks)

    def progression(
        self,
        photo: gr.FileData,
        ages: list[float] | None = None,
        action_units: dict[str, float] | None = None,
        method: str | None = None,
        face: int = 0,
        format: PictureFormat = "png",
        consent: bool = False,
        strength: float = 1.0,
        relative: bool = False,
        source_age: float | None = None,
        landmarks: bool = False,
        turn: list[float] | None = None,
        parts: list[str] | None = None,
    ) -> tuple[list[gr.FileData], list[dict]]:
        """The same face at several ages, each edited from the photo. Returns the photos and their reports.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            ages: Up to 12 ages in years, 0 to 100. Left out, one of each of ten age groups.
            action_units: FACS action units by code and their intensities 0 to 5, at every age.
            method: A method of the loaded weights. Left out, the first of them.
            face: Which face, 0 is the largest.
            format: How the photos are written.
            consent: True says that everyone shown agreed to this edit, or is you.
            strength: How far to go from the source to the target, 0 to 1.5; 1 goes all the way.
            relative: True adds action_units to what the face shows; False sets them.
            source_age: The age of the face in years, 0 to 100, where the reading is known to be wrong.
            landmarks: True adds the 68 landmarks of each face to the report.
            turn: Yaw, pitch and roll in degrees by which the head turns right, down and clockwise: 15, 10, 10 at most.
            parts: What the age changes, of "shape", "skin" and "hair". Left out, all of them.

        Returns:
            photos: One edited photo for each age.
            reports: The report of each, in the same order.
        """
        _allowed(consent)
        if ages is not None and not 1 <= len(ages) <= MOST_AGES:
            raise BadInput(f"{len(ages)} ages; give between 1 and {MOST_AGES}")
        asked = Asked(photo_of(photo), None, action_units, None, method or self._work.methods[0], face)
        asked = asked._replace(
            strength=strength, relative=relative, own_age=source_age, turn=turn, parts=parts
        )
        return _several(self._work.progression(asked, tuple(ages or STRIP_AGES)), format, landmarks)

    def reenact(
        self,
        photo: gr.FileData,
        driving: gr.FileData,
        age: float | None = None,
        action_units: dict[str, float] | None = None,
        relative: bool = True,
        face: int = 0,
        format: PictureFormat = "png",
        clip_format: ClipFormat = "mp4",
        consent: bool = False,
        strength: float = 1.0,
        landmarks: bool = False,
        motion: Literal["both", "expression", "pose"] = "both",
        multiplier: float = 1.0,
        method: str | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> tuple[gr.FileData, dict]:
        """The photo's person with the expression and head pose of a driving photo or clip. Returns a photo or a clip.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            driving: A photo, or a video or a GIF of which up to 10 seconds are used, of another face.
            age: Target age in years, 0 to 100, on top.
            action_units: FACS action units by code and their intensities 0 to 5, on top.
            relative: For a clip: only how it moves (true), or as it is filmed (false).
            face: Which face of the photo, 0 is the largest.
            format: How a photo is written.
            clip_format: How a clip is written.
            consent: True says that everyone shown agreed to this edit, or is you.
            strength: How far to go from the source to the target, 0 to 1.5; 1 goes all the way.
            landmarks: True adds the 68 landmarks of each face to the report.
            motion: What is taken of the driving face: "both", "expression" or "pose".
            multiplier: How far the motion goes, 0 to 2.
            method: What edits the age, of the methods that can. Left out, the first of the loaded weights.
            start: Of a driving clip, the second from which it counts.
            end: Of a driving clip, the second up to which it counts. Left out, its end.

        Returns:
            result: The edited photo, or the clip.
            report: The report of the photo, or the number of frames.
        """
        _allowed(consent)
        asked = Asked(
            photo_of(photo), age, action_units, None, method or self._work.methods[0], face, strength
        )
        asked = asked._replace(motion=motion, multiplier=multiplier)
        if not is_clip(uploaded(driving)):
            return _written(self._work.edit(asked._replace(driving=photo_of(driving)))[0], format, landmarks)
        target = files.new_folder() / f"edited.{_checked(clip_format, ClipFormat)}"
        with jobs.running(None) as running:
            made = self._work.video(asked, _part(driving, start, end), target, True, relative, running)
        return _given(target), _of_clip(made)

    def animate(
        self,
        photo: gr.FileData,
        keyframes: list[dict],
        seconds: float = 3.0,
        face: int = 0,
        method: str | None = None,
        format: ClipFormat = "mp4",
        consent: bool = False,
    ) -> tuple[gr.FileData, dict]:
        """A clip of the photo led smoothly through keyframes and back. Returns the clip and its number of frames.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            keyframes: Each with "age", "action_units" or both, such as [{"age": 80, "action_units": {"AU12": 4}}].
            seconds: How long, up to 10.
            face: Which face, 0 is the largest.
            method: A method of the loaded weights. Left out, the first of them.
            format: How the clip is written.
            consent: True says that everyone shown agreed to this edit, or is you.

        Returns:
            clip: The animation.
            report: Its number of frames.
        """
        _allowed(consent)
        if not 0 < seconds <= CLIP_SECONDS:
            raise BadInput(f"{seconds} seconds are out of range; give up to {CLIP_SECONDS}")
        asked = Asked(photo_of(photo), method=method or self._work.methods[0], face=face)
        target = files.new_folder() / f"animation.{_checked(format, ClipFormat)}"
        with jobs.running(None) as running:
            frames = self._work.animate(asked, keyframes, target, seconds, running)
        return _given(target), {"frames": frames}

    def edit_clip(
        self,
        clip: gr.FileData,
        age: float | None = None,
        action_units: dict[str, float] | None = None,
        method: str | None = None,
        strength: float = 1.0,
        format: ClipFormat = "mp4",
        consent: bool = False,
        turn: list[float] | None = None,
        parts: list[str] | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> tuple[gr.FileData, dict]:
        """Edit the largest face of a clip, frame by frame. Returns the clip and its report.

        Args:
            clip: A video or a GIF with a face, of which up to 10 seconds are used.
            age: Target age in years, 0 to 100. Left out, the age stays.
            action_units: FACS action units by code and their intensities 0 to 5. Others stay.
            method: A method of the loaded weights. Left out, the first of them.
            strength: How far to go from the source to the target, 0 to 1.5; 1 goes all the way.
            format: How the clip is written.
            consent: True says that everyone shown agreed to this edit, or is you.
            turn: Yaw, pitch and roll in degrees by which the head turns right, down and clockwise: 15, 10, 10 at most.
            parts: What the age changes, of "shape", "skin" and "hair". Left out, all of them.
            start: The second from which the clip counts.
            end: The second up to which it counts. Left out, its end.

        Returns:
            clip: The edited clip, as long as the part that counts.
            report: The number of frames and of edited frames, and warnings.
        """
        _allowed(consent)
        method = method or self._work.methods[0]
        asked = Asked(None, age, action_units, None, method, strength=strength, turn=turn, parts=parts)
        source = _part(clip, start, end)
        target = files.new_folder() / f"edited.{_checked(format, ClipFormat)}"
        with jobs.running(None) as running:
            made = self._work.video(asked, source, target, False, True, running)
        return _given(target), _of_clip(made)

    def read(self, photo: gr.FileData, consent: bool = False, landmarks: bool = False) -> list[dict]:
        """Measure every face of a photo, largest first: age, action units and head pose.

        Args:
            photo: A photo with a face, up to 40 megapixels.
            consent: True says that everyone shown agreed to this, or is you.
            landmarks: True adds the 68 landmarks of each face.

        Returns:
            faces: One reading for each face.
        """
        _allowed(consent)
        readings = [reading.to_dict() for reading in self._work.read(photo_of(photo))]
        return [_without(reading, landmarks) for reading in readings]


def _allowed(consent: bool) -> None:
    if consent is not True:
        raise BadInput(
            "pass consent=True; it says that everyone in these files is you or agreed to this edit"
        )


def _part(file: Any, start: float, end: float | None) -> Path:
    """The part of an uploaded clip that counts."""
    clip = clip_of(file)
    span = clips.span_of(clip, start, end)
    return clip if span.whole else clips.used(clip, span, files.new_folder())


def _given(path: Path) -> gr.FileData:
    return gr.FileData(path=str(path), orig_name=path.name)


def _of_clip(made: Any) -> dict:
    return {"frames": made.frames, "edited": made.edited, "warnings": list(made.warnings)}


def _written(result: Any, format: str, landmarks: bool) -> tuple[gr.FileData, dict]:
    """One result as a file and its report."""
    jobs.writing()
    file = _given(files.saved(result, files.new_folder(), _checked(format, PictureFormat)))
    report = result.to_dict()
    for reading in ("reading", "source_reading", "driving_reading"):
        if report[reading]:
            report[reading] = _without(report[reading], landmarks)
    return file, report


def _without(reading: dict, landmarks: bool) -> dict:
    """A reading as it is answered, with its landmarks or not."""
    return {name: value for name, value in reading.items() if landmarks or name != "landmarks"}


def _several(results: list, format: str, landmarks: bool) -> tuple[list[gr.FileData], list[dict]]:
    made = [_written(result, format, landmarks) for result in results]
    return [file for file, _ in made], [report for _, report in made]


def _checked(format: str, known: Any) -> str:
    """A file's ending; the client's types are a hint that plain HTTP can ignore."""
    if format not in get_args(known):
        raise BadInput(f"format {format!r} is unknown; choose from {', '.join(get_args(known))}")
    return format


def _answering(call: Callable) -> Callable:
    """The same function; whatever goes wrong in it reaches the client as one sentence."""

    @functools.wraps(call)
    def answer(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            raise gr.Error(jobs.plainly(error), print_exception=False) from None

    return answer
