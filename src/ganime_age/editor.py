"""FaceEditor: the public face of the package. Each method checks the request and hands it to a pipeline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar, overload

import torch
from PIL import Image

from .edits import Edit, check_age
from .errors import BadInput, GanimeAgeError
from .images.photo import PhotoLike
from .model.methods import DEFAULT, MethodName, method_called
from .model.model import GanimeAge
from .pipelines.animation import Keyframe, animate, check_keyframes, edit_clip, write_animation
from .pipelines.face import Crop, Detector, Face, FacePipeline, Generated, Recogniser
from .pipelines.many import edit_many
from .pipelines.notes import warn_of_bgr
from .pipelines.progress import EDIT, FIND, READ, Progress, Steps
from .pipelines.reenactment import Motion, reenact_photo
from .pipelines.reenactment_clip import is_moving, reenact_clip, reenact_frames
from .results import ClipResult, EditResult, Reading
from .runtime import enough_memory

ActionUnits: TypeAlias = Mapping[str, float] | Mapping[str, float | str] | Iterable[str] | str | None
"""Intensities 0..5 by name, as {"AU12": 3}, or strings, as ["AU12=3", "frown=+2"], or a preset, as "smile". Names are
FACS codes, FACS names, everyday words (`edits.AU_WORDS`) and presets (`edits.PRESETS`), in any case."""

Turn: TypeAlias = Mapping[str, float] | Sequence[float] | None
"""Yaw, pitch and roll in degrees: (15, 0, -5), or by name, as {"yaw": 15}; each within `edits.MOST_TURN`."""

AgeParts: TypeAlias = Iterable[str] | str | None
"""Parts of an age, of `edits.AGE_PARTS`: "skin, hair" or ["skin"]; None for all."""

Clip: TypeAlias = str | os.PathLike[str]
Driving: TypeAlias = PhotoLike | Iterable[PhotoLike]
Faces: TypeAlias = int | Literal["all"]
ALL = "all"
Made = TypeVar("Made")


class FaceEditor:
    """Edits faces in photos and clips with one model. It holds no state between calls, so threads may share an editor.

    Photos are anything `load_photo` takes: paths, open files, bytes, PIL images, arrays (H,W,3) and tensors (C,H,W),
    RGB. (OpenCV reads BGR: give `photo[..., ::-1]`.) `editor(photo, age=70)` is `editor.edit(photo, age=70)`.

    Options are keyword-only, mean the same and stand in the same order in every method that has them. What is not named
    stays as it is:

    - `age`: target in years, 0..100.
    - `action_units`: intensities 0..5 by name, as {"AU12": 3}; strings such as "AU12=3", or "AU12=+2" for a change; or
      a preset such as "smile". Names are FACS codes, FACS names, everyday words (`ganime_age.edits.AU_WORDS`) and
      presets (`ganime_age.edits.PRESETS`), in any case.
    - `turn`: yaw, pitch and roll in degrees by which the head is turned, as (15, 0, 0) or {"yaw": 15}: to the right of
      the picture, down, clockwise; at most 15, 10 and 10 to either side (`ganime_age.edits.MOST_TURN`).
    - `relative`: in edits, action units are changes to what is there; in reenactments of a clip, the source moves by
      what lies between the clip's first frame and each frame.
    - `strength`: 0..1.5, how far to go from the source to the target.
    - `parts`: what the age changes, of "shape", "skin" and "hair", by the default method; None for all.
    - `source_age`: the face's age in years, 0..100, where the reading is known to be wrong.
    - `method`: which of the weights' methods edits, by name or title, in any case.
    - `face`, `driving_face`: which face, 0 is the largest; face="all" edits every face of a photo.
    - `mark`: False leaves out the watermark and the metadata that say the picture is edited (for research).
    - `progress`: called as progress(done, total, note) as the work goes on; `total` is None for a clip, or an iterable
      of photos, that does not say how long it is.

    BadInput names what is wrong with a photo, a clip or a request, MissingModel what the weights lack, or that memory
    ran out.
    """

    def __init__(
        self,
        model: GanimeAge,
        *,
        device: str | torch.device = "cpu",
        detector: Detector | None = None,
        dtype: torch.dtype | str | None = None,
        allow_download: bool = False,
        recogniser: Recogniser | None = None,
    ):
        """An editor with one model on one device.

        Args:
            model: a GanimeAge. The editor never changes it: it shares the model's memory where the model is on
                `device`, in float32 and in eval mode (as `from_pretrained` gives it), and otherwise works on a copy
                that is.
            device: where the model works; "auto" is the fastest here.
            detector: photo (H,W,3) uint8 RGB -> list of FoundFace, the largest first; by default the model's own.
            dtype: "float16" or "bfloat16" multiplies in half precision on a CUDA device; other devices refuse it.
            allow_download: whether a photo may be a web address; without it nothing is fetched.
            recogniser: tells who somebody is instead of the weights (`images.detectors.InsightFaceIdentity` is one).

        Raises:
            BadInput: a device or a dtype that cannot be used.
            MissingModel: this machine lacks the device, or the weights lack a detector.
        """
        self.pipeline = FacePipeline(model, device, detector, dtype, allow_download, recogniser)

    @property
    def model(self) -> GanimeAge:
        """The model that edits: the one given, or a copy of it in float32 on the editor's device."""
        return self.pipeline.model

    @property
    def device(self) -> torch.device:
        """Where the model works."""
        return self.pipeline.device

    @property
    def detector(self) -> Detector:
        """What finds faces: a photo (H,W,3) uint8 RGB -> list of FoundFace, the largest first."""
        return self.pipeline.detector

    @property
    def weights(self) -> str:
        """The model's fingerprint, as it stands in the metadata of an edit."""
        return self.pipeline.weights

    def edit(
        self,
        photo: PhotoLike,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        source_age: float | None = None,
        method: MethodName | str = DEFAULT,
        face: Faces = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> EditResult:
        """Edit one face of a photo, or all.

        Args:
            photo: anything `load_photo` takes.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            turn: yaw, pitch and roll by which the head is turned, in degrees: at most 15, 10 and 10 to either side.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            parts: what the age changes, of "shape", "skin" and "hair", by the default method; None for all.
            source_age: the face's age in years, 0..100, where the reading is known to be wrong.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest; "all" edits every face of the photo.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The edited photo and its measurements.

        Raises:
            BadInput: a photo or a request that cannot be used.
            MissingModel: the weights lack what is asked, or memory ran out.
        """
        edit = self._asked(age, action_units, relative, strength, parts, turn)
        return self._edit_photo(photo, [(edit, method)], face, mark, progress, source_age)[0]

    __call__ = edit

    @overload
    def edit_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        batch: int = 16,
        errors: Literal["raise"] = "raise",
        progress: Progress | None = None,
    ) -> Iterator[EditResult]: ...

    @overload
    def edit_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        batch: int = 16,
        errors: Literal["return"],
        progress: Progress | None = None,
    ) -> Iterator[EditResult | GanimeAgeError]: ...

    def edit_many(
        self,
        photos: Iterable[PhotoLike],
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        batch: int = 16,
        errors: Literal["raise", "return"] = "raise",
        progress: Progress | None = None,
    ) -> Iterator[Any]:
        """One request for many photos.

        An edit may differ by a level or two of 255 from the one that `edit` makes alone.

        Args:
            photos: an iterable of photos, or a tensor (B,C,H,W).
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            turn: yaw, pitch and roll by which the head is turned, in degrees: at most 15, 10 and 10 to either side.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            parts: what the age changes, of "shape", "skin" and "hair", by the default method; None for all.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            batch: 1..256, how many are read, edited and read again at a time; a GPU is faster with more, a CPU hardly,
                and memory grows with it.
            errors: "raise" stops at the first photo that cannot be used; "return" gives its GanimeAgeError, mostly a
                BadInput, in its place and goes on.
            progress: called as progress(done, total, note) as the work goes on.

        Yields:
            The results, in the photos' order.

        Raises:
            BadInput: at once, for a request that cannot be used; with errors="raise" for a photo too, once its batch is
                read.
            MissingModel: the weights lack what is asked, or memory ran out.
        """
        edit = self._asked(age, action_units, relative, strength, parts, turn)
        method = self._called(method)
        results = edit_many(self.pipeline, photos, edit, method, face, mark, batch, errors, progress)
        return self._guard(results)

    def progression(
        self,
        photo: PhotoLike,
        *,
        ages: Iterable[float] = (5, 15, 30, 50, 70, 85),
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        source_age: float | None = None,
        method: MethodName | str = DEFAULT,
        face: Faces = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """The same face at several ages, each edited from the original; the face is found and read once.

        Args:
            photo: anything `load_photo` takes.
            ages: targets in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            turn: yaw, pitch and roll by which the head is turned, in degrees: at most 15, 10 and 10 to either side.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            parts: what the age changes, of "shape", "skin" and "hair", by the default method; None for all.
            source_age: the face's age in years, 0..100, where the reading is known to be wrong.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest; "all" edits every face of the photo.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            One result for each age, in their order.

        Raises:
            BadInput: a photo or a request that cannot be used.
            MissingModel: the weights lack what is asked, or memory ran out.
        """
        edits = [(self._asked(age, action_units, relative, strength, parts, turn), method) for age in ages]
        self._called(method)
        return self._edit_photo(photo, edits, face, mark, progress, source_age)

    def compare(
        self,
        photo: PhotoLike,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        source_age: float | None = None,
        face: Faces = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """One request by every loaded method that can do it, each from the original; the face is found and read once.

        Methods that change ages alone are left out where action units are asked, and the other way round.

        Args:
            photo: anything `load_photo` takes.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            turn: yaw, pitch and roll by which the head is turned, in degrees: at most 15, 10 and 10 to either side.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            source_age: the face's age in years, 0..100, where the reading is known to be wrong.
            face: which face, 0 is the largest; "all" edits every face of the photo.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            One result for each method.

        Raises:
            BadInput: a photo or a request that cannot be used, or no method is left.
            MissingModel: the weights lack what is asked, or memory ran out.
        """
        edit = self._asked(age, action_units, relative, strength, None, turn)
        asked = ["age"] * (edit.age is not None) + ["action_units"] * bool(edit.action_units)
        methods = self.model.methods_for(*asked)
        if not methods:
            held = " ".join(self.model.methods) or "no method"
            wanted = " and ".join(asked).replace("_", " ") or "anything"
            raise BadInput(f"these weights hold {held}, which cannot change {wanted}; load others")
        return self._edit_photo(
            photo, [(edit, method) for method in methods], face, mark, progress, source_age
        )

    def animate(
        self,
        photo: PhotoLike,
        *,
        keyframes: Iterable[Keyframe | Mapping[str, Any]],
        frames: int = 48,
        there_and_back: bool = False,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Image.Image]:
        """One photo led smoothly through keyframes; the face is found and read once.

        Args:
            photo: anything `load_photo` takes.
            keyframes: each a Keyframe or a mapping with its fields, as {"age": 80, "action_units": {"AU12": 4}}. The
                photo itself comes first unless a keyframe is at 0.
            frames: how many, 2..36,000.
            there_and_back: whether it returns to where it began.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Yields:
            `frames` whole photos, RGB.

        Raises:
            BadInput: at once, for a photo or a request that cannot be used.
            MissingModel: the weights lack what is asked, or memory ran out.
        """
        keys, method = check_keyframes(keyframes), self._called(method)
        with enough_memory(self.device):
            pictures = animate(
                self.pipeline, photo, keys, frames, there_and_back, method, face, mark, progress
            )
        return self._guard(pictures)

    def animate_video(
        self,
        photo: PhotoLike,
        target: Clip,
        *,
        keyframes: Iterable[Keyframe | Mapping[str, Any]],
        seconds: float = 4.0,
        fps: float = 12.0,
        there_and_back: bool = False,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """`animate`, written as an MP4 or a GIF, by the target's ending.

        Whatever stops it, no half file is left.

        Args:
            photo: anything `load_photo` takes. One with a side longer than 1920 pixels is scaled down first.
            target: the file to write, .mp4 or .gif.
            keyframes: as for `animate`.
            seconds: 0.1..600, how long it lasts.
            fps: frames a second, 1..60, of a GIF at most 50.
            there_and_back: whether it returns to where it began.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The clip's frames, size and warnings.

        Raises:
            BadInput: a photo or a request that cannot be used, or a target that cannot be written.
            MissingModel: the weights lack what is asked, PyAV is not installed, or memory ran out.
        """
        method = self._called(method)
        with enough_memory(self.device):
            return write_animation(
                self.pipeline, photo, target, keyframes, seconds, fps, there_and_back, method, face, mark, progress
            )  # fmt: skip

    def edit_video(
        self,
        source: Clip,
        target: Clip,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        turn: Turn = None,
        relative: bool = False,
        strength: float = 1.0,
        parts: AgeParts = None,
        steady: bool = True,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """Edit one face in every frame of a video or a GIF; written as MP4, with the sound, or as GIF, by the ending.

        Memory does not grow with the clip. Whatever stops it, no half file is left.

        Args:
            source: the path of a video or a GIF.
            target: the file to write, .mp4 or .gif.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            turn: yaw, pitch and roll by which the head is turned, in degrees: at most 15, 10 and 10 to either side.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            parts: what the age changes, of "shape", "skin" and "hair", by the default method; None for all.
            steady: smooth place and readings in time (see tracking.py), so that nothing flickers.
            method: which of the weights' methods edits, by name or title.
            face: which face, 0 is the largest; it counts by size in the first frame that shows so many.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The clip's frames, size and warnings.

        Raises:
            BadInput: a clip or a request that cannot be used, or a target that cannot be written.
            MissingModel: the weights lack what is asked, PyAV is not installed, or memory ran out.
        """
        edit = self._asked(age, action_units, relative, strength, parts, turn)
        method = self._called(method)
        with enough_memory(self.device):
            return edit_clip(self.pipeline, source, target, edit, steady, method, face, mark, progress)

    def reenact(
        self,
        source: PhotoLike,
        driving: Driving,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        strength: float = 1.0,
        motion: str = "both",
        multiplier: float = 1.0,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> EditResult:
        """The source person takes expression and head pose of the face in a driving photo, at the age asked for.

        Args:
            source: the photo that is shown, anything `load_photo` takes.
            driving: the photo whose face is followed, anything `load_photo` takes.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile"; they
                come on top of the driving expression, by ganimation_age.
            strength: 0..1.5, how far to go from the source to the target; it scales all that is asked.
            motion: what is taken of the driving face: "both", or the "expression" or the "pose" alone.
            multiplier: 0..2, how far the motion goes.
            method: what edits the age, once the face is moved, by name or title.
            face: which face of the source, 0 is the largest.
            driving_face: which face of the driving photo, 0 is the largest.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The source's photo, edited, and its measurements.

        Raises:
            BadInput: a photo or a request that cannot be used, a clip, or a method that edits expressions only.
            MissingModel: the weights hold no dual_generator, or not what an age or action units need.
        """
        how, method = Motion.of(motion, multiplier), method_called(method)
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        if is_moving(driving):
            raise BadInput(
                "a clip or several frames give no single edit; use reenact_frames or reenact_video"
            )
        with enough_memory(self.device):
            return reenact_photo(
                self.pipeline, source, driving, edit, face, driving_face, how, method, mark, progress
            )

    def reenact_frames(
        self,
        source: PhotoLike,
        driving: Driving,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = True,
        strength: float = 1.0,
        motion: str = "both",
        multiplier: float = 1.0,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Image.Image]:
        """The source moves as the face of a clip does.

        Where the driving face is lost the frame before is shown again. An age is edited once, before the face is moved,
        so that it neither flickers nor takes an edit a frame.

        Args:
            source: the photo that is shown, anything `load_photo` takes, scaled down to 1920 pixels.
            driving: the path of a video or a GIF, or an iterable of frames (each a photo).
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile"; they
                come on top of the driving expression, by ganimation_age.
            relative: whether the source moves by what lies between the clip's first frame and each frame. False takes
                expression and pose as they are; a tilt of the head is taken too.
            strength: 0..1.5, how far to go from the source to the target; it scales all that is asked.
            motion: what is taken of the driving face: "both", or the "expression" or the "pose" alone.
            multiplier: 0..2, how far the motion goes.
            method: what edits the age, by name or title.
            face: which face of the source, 0 is the largest.
            driving_face: which face of the clip, 0 is the largest; it counts by size in the first frame that shows so
                many.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Yields:
            The source's whole photo, one a frame, RGB.

        Raises:
            BadInput: at once, for a source or a request that cannot be used, one driving photo, or a method that edits
                expressions only.
            MissingModel: the weights hold no dual_generator, or not what an age or action units need.
        """
        how, method = Motion.of(motion, multiplier), method_called(method)
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        asked = edit, relative, face, driving_face, how, method
        if not is_moving(driving):
            raise BadInput("one driving photo gives no frames; use reenact, or give a clip or several frames")
        with enough_memory(self.device):
            pictures = reenact_frames(self.pipeline, source, driving, *asked, mark, progress)
        return self._guard(pictures)

    def reenact_video(
        self,
        source: PhotoLike,
        driving: Clip,
        target: Clip,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = True,
        strength: float = 1.0,
        motion: str = "both",
        multiplier: float = 1.0,
        method: MethodName | str = DEFAULT,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """`reenact_frames` of a video or a GIF, written as MP4, with the driving sound, or as GIF, by the ending.

        The result has the driving clip's frames and times, steadied (see tracking.py), and the size of the photo,
        scaled down to 1920 pixels. Memory does not grow with the clip. Whatever stops it, no half file is left.

        Args:
            source: the photo that is shown, anything `load_photo` takes.
            driving: the path of a video or a GIF.
            target: the file to write, .mp4 or .gif.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile"; they
                come on top of the driving expression, by ganimation_age.
            relative: whether the source moves by what lies between the clip's first frame and each frame. False takes
                expression and pose as they are; a tilt of the head is taken too.
            strength: 0..1.5, how far to go from the source to the target; it scales all that is asked.
            motion: what is taken of the driving face: "both", or the "expression" or the "pose" alone.
            multiplier: 0..2, how far the motion goes.
            method: what edits the age, before the face is moved, by name or title.
            face: which face of the source, 0 is the largest.
            driving_face: which face of the clip, 0 is the largest; it counts by size in the first frame that shows so
                many.
            mark: False leaves out the watermark and the metadata that say the picture is edited.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The clip's frames, size and warnings.

        Raises:
            BadInput: a source, a clip or a request that cannot be used, or a method that edits expressions only.
            MissingModel: the weights hold no dual_generator, or not what an age or action units need.
        """
        how, method = Motion.of(motion, multiplier), method_called(method)
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        asked = edit, relative, face, driving_face, how, method
        with enough_memory(self.device):
            return reenact_clip(self.pipeline, source, driving, target, *asked, mark, progress)

    def read(self, photo: PhotoLike, *, progress: Progress | None = None) -> list[Reading]:
        """Measure every face of a photo.

        Args:
            photo: anything `load_photo` takes.
            progress: called as progress(done, total, note) as the work goes on.

        Returns:
            The readings, the largest face first.

        Raises:
            BadInput: the photo cannot be used, or shows no face.
            MissingModel: the weights hold no readers, or memory ran out.

        Warns:
            UserWarning: red and blue of an array or a tensor look exchanged.
        """
        steps, pipeline = Steps(progress, 2), self.pipeline
        with enough_memory(self.device):
            steps(FIND)
            loaded = pipeline.load(photo)
            found = pipeline.find_faces(loaded)
            steps(READ)
            crops = [pipeline.align(loaded.pixels, one.landmarks, one.box) for one in found]
            readings = [face.reading for face in pipeline.read(crops)]
        if loaded.raw:
            warn_of_bgr(crops[0].face)
        steps.finish()
        return readings

    def _asked(
        self,
        age: float | None,
        units: ActionUnits,
        relative: bool,
        strength: float,
        parts: AgeParts,
        turn: Turn,
    ) -> Edit:
        """The request of one face, checked."""
        return Edit.of(age, units, relative, strength, self.model.editable_action_units, parts, turn)

    def check_method(self, method: str) -> None:
        """Check that an edit method can be used.

        Args:
            method: its name.

        Raises:
            BadInput: there is no such edit method.
            MissingModel: the model does not hold it.
        """
        self.pipeline.check_method(method)

    def _called(self, method: str) -> Any:
        """The method's own name; BadInput or MissingModel as `check_method`."""
        name = method_called(method)
        self.check_method(name)
        return name

    def _edit_photo(
        self,
        photo: PhotoLike,
        edits: Sequence[tuple[Edit, str]],
        index: Faces,
        mark: bool,
        progress: Progress | None,
        source_age: float | None,
    ) -> list[EditResult]:
        """Each (edit, method) of one face, or of all, made from the original."""
        started, pipeline, steps = time.perf_counter(), self.pipeline, Steps(progress, 2 + len(edits))
        wanted = [(edit, self._called(method)) for edit, method in edits]
        with enough_memory(self.device):
            steps(FIND)
            loaded = pipeline.load(photo)
            found = pipeline.find_faces(loaded)
            steps(READ)
            if isinstance(index, str):
                check_all(index)
                faces = pipeline.read_faces([(loaded, [one], 0) for one in found])
                boxes = [one.box for one in found]
                faces = [replace(face, others=(*boxes[:i], *boxes[i + 1 :])) for i, face in enumerate(faces)]
            else:
                faces = [pipeline.read_face(loaded, found, index)]
            if source_age is not None:
                years = check_age(source_age)
                faces = [replace(face, reading=face.reading.but(age=years)) for face in faces]
            results = []
            for edit, method in wanted:
                results.append(self._edit_faces(faces, edit, method, mark, started, steps))
                started = time.perf_counter()
        steps.finish()
        return results

    def _edit_faces(
        self, faces: list[Face], edit: Edit, method: str, mark: bool, started: float, steps: Steps
    ) -> EditResult:
        """The faces of one photo, each edited where the ones before have left it."""
        pipeline, pixels = self.pipeline, faces[0].photo
        steps(EDIT)
        made: list[Generated | None] = []
        for face in faces:
            now = face if pixels is face.photo else _within(face, pipeline.recrop(face, pixels))
            made.append(pipeline.generate(now, edit, method, fine=True))
            pixels = pipeline.paste(now, made[-1], mark)
        first, *others = (
            pipeline.report(
                before,
                after,
                None if generated is None else generated.attention,
                edit=edit,
                method=method,
                mark=mark,
                seconds=time.perf_counter() - started,
                edited=generated is not None,
            )
            for before, after, generated in zip(
                faces, pipeline.read_later(faces, [pixels] * len(faces), made), made, strict=True
            )
        )
        return replace(first, others=tuple(others)) if others else first

    def _guard(self, results: Iterator[Made]) -> Iterator[Made]:
        """The same pictures or results; memory that runs out while one is made is one sentence as well."""
        with enough_memory(self.device):
            yield from results


def check_all(words: str) -> None:
    """BadInput unless a face that is no number is ALL."""
    if words != ALL:
        raise BadInput(f"face {words!r} does not exist; give a number, 0 is the largest, or {ALL}")


def _within(face: Face, seen: Crop) -> Face:
    """The face as another state of its photo shows it, with what was read before."""
    return replace(face, photo=seen.photo, face=seen.face)
