"""FaceEditor: the public face of the package. Each method checks the request and hands it to a pipeline."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from PIL import Image

from .edits import Edit
from .errors import BadInput
from .model.methods import DEFAULT
from .model.model import GanimeAge
from .pipelines.animation import Keyframe, animate, check_keyframes, edit_clip, write_animation
from .pipelines.face import Detector, Face, FacePipeline
from .pipelines.progress import EDIT, FIND, READ, READ_AGAIN, Progress, Steps
from .pipelines.reenactment import reenact_photo
from .pipelines.reenactment_clip import is_moving, reenact_clip, reenact_frames
from .results import ClipResult, EditResult, Reading
from .runtime import enough_memory

ActionUnits = Mapping[str, float] | Iterable[str] | None
"""Intensities 0..5 by FACS code, as {"AU12": 3}, or strings, as ["AU12=3", "AU04=+2"]."""


class FaceEditor:
    """Edits faces in photos and clips with one model. It holds no state between calls, so threads may share an editor.

    model: a GanimeAge. The editor never changes it: it shares the model's memory where the model is on `device`, in
    float32 and in eval mode (as `from_pretrained` gives it), and otherwise works on a copy that is. detector: photo
    (H,W,3) uint8 RGB -> list of FoundFace, the largest first; by default the model's own.

    Photos are anything `load_photo` takes. Options are keyword-only, mean the same and stand in the same order in every
    method:

    age: target in years, 0..100. action_units: intensities 0..5 by code, or strings such as "AU12=+2". relative: in
    edits, action units are changes to what is there; in reenactments of a clip, the source moves by what lies between
    the clip's first frame and each frame. strength: 0..1.5, how far to go from the source to the target. method: which
    of the weights' methods edits. face, driving_face: which face, 0 is the largest. mark: False leaves out the
    watermark and the metadata that say the picture is edited (for research). progress: called as
    progress(done, total, note) as the work goes on; `total` is None for a clip that does not say how long it is.

    What is not named stays as it is. BadInput names what is wrong with a photo, a clip or a request, MissingModel what
    the weights lack.
    """

    def __init__(
        self, model: GanimeAge, *, device: str | torch.device = "cpu", detector: Detector | None = None
    ):
        self.pipeline = FacePipeline(model, device, detector)

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
        photo: Any,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = False,
        strength: float = 1.0,
        method: str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> EditResult:
        """Edit one face of a photo; the options are the class's."""
        edit = Edit.of(age, action_units, relative, strength, self.model.editable_action_units)
        return self._edit_photo(photo, [(edit, method)], face, mark, progress)[0]

    def progression(
        self,
        photo: Any,
        *,
        ages: Iterable[float] = (5, 15, 30, 50, 70, 85),
        action_units: ActionUnits = None,
        relative: bool = False,
        strength: float = 1.0,
        method: str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """The same face at several ages, each edited from the original; the face is found and read once."""
        edits = [
            (Edit.of(age, action_units, relative, strength, self.model.editable_action_units), method)
            for age in ages
        ]
        self.check_method(method)
        return self._edit_photo(photo, edits, face, mark, progress)

    def compare(
        self,
        photo: Any,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = False,
        strength: float = 1.0,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> list[EditResult]:
        """One request by every loaded method that can do it, each from the original; the face is found and read once.

        Methods that change ages alone are left out where action units are asked, and the other way round; BadInput
        when none is left.
        """
        edit = Edit.of(age, action_units, relative, strength, self.model.editable_action_units)
        asked = ["age"] * (edit.age is not None) + ["action_units"] * bool(edit.action_units)
        methods = self.model.methods_for(*asked)
        if not methods:
            held = " ".join(self.model.methods) or "no method"
            wanted = " and ".join(asked).replace("_", " ") or "anything"
            raise BadInput(f"these weights hold {held}, which cannot change {wanted}; load others")
        return self._edit_photo(photo, [(edit, method) for method in methods], face, mark, progress)

    def animate(
        self,
        photo: Any,
        *,
        keyframes: Iterable[Keyframe | Mapping[str, Any]],
        frames: int = 48,
        there_and_back: bool = False,
        method: str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Image.Image]:
        """One photo led smoothly through keyframes: an iterator of `frames` whole photos, RGB.

        keyframes: each a Keyframe or a mapping with its fields, as {"age": 80, "action_units": {"AU12": 4}}. The photo
        itself comes first unless a keyframe is at 0. there_and_back: returns to where it began. The face is found and
        read once. Raises BadInput at once for a photo or keyframes that cannot be used.
        """
        keys = check_keyframes(keyframes)
        with enough_memory(self.device):
            pictures = animate(
                self.pipeline, photo, keys, frames, there_and_back, method, face, mark, progress
            )
        return self._guard(pictures)

    def animate_video(
        self,
        photo: Any,
        target: str | os.PathLike[str],
        *,
        keyframes: Iterable[Keyframe | Mapping[str, Any]],
        seconds: float = 4.0,
        fps: float = 12.0,
        there_and_back: bool = False,
        method: str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """`animate`, written as an MP4 or a GIF, by the target's ending.

        seconds: 0.1..600. fps: frames a second, 1..60, of a GIF at most 50. A photo with a side longer than 1920 pixels
        is scaled down first. Whatever stops it, no half file is left.
        """
        with enough_memory(self.device):
            return write_animation(
                self.pipeline, photo, target, keyframes, seconds, fps, there_and_back, method, face, mark, progress
            )  # fmt: skip

    def edit_video(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = False,
        strength: float = 1.0,
        steady: bool = True,
        method: str = DEFAULT,
        face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """Edit one face in every frame of a video or a GIF; written as MP4, with the sound, or as GIF, by the ending.

        face counts by size in the first frame that shows so many. steady: smooth place and readings in time (see
        tracking.py), so that nothing flickers. Memory does not grow with the clip. Whatever stops it, no half file is
        left.
        """
        edit = Edit.of(age, action_units, relative, strength, self.model.editable_action_units)
        with enough_memory(self.device):
            return edit_clip(self.pipeline, source, target, edit, steady, method, face, mark, progress)

    def reenact(
        self,
        source: Any,
        driving: Any,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        strength: float = 1.0,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> EditResult:
        """The source person takes expression and head pose of the face in a driving photo, at the age asked for.

        Action units come on top of the driving expression; strength scales all of it. MissingModel when the weights
        hold no dual_generator, or no ganimation_age for an age or action units.
        """
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        if is_moving(driving):
            raise BadInput(
                "a clip or several frames give no single edit; use reenact_frames or reenact_video"
            )
        with enough_memory(self.device):
            return reenact_photo(self.pipeline, source, driving, edit, face, driving_face, mark, progress)

    def reenact_frames(
        self,
        source: Any,
        driving: Any,
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = True,
        strength: float = 1.0,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Iterator[Image.Image]:
        """The source moves as the face of a clip does: an iterator of the source's whole photo, one a frame, RGB.

        driving: the path of a video or a GIF, or an iterable of frames (each a photo). Where the driving face is lost
        the frame before is shown again. relative=False takes expression and pose as they are; a tilt of the head is
        taken too. The rest is as for `reenact`. Raises BadInput at once for a source or a request that cannot be used.
        """
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        if not is_moving(driving):
            raise BadInput("one driving photo gives no frames; use reenact, or give a clip or several frames")
        with enough_memory(self.device):
            pictures = reenact_frames(
                self.pipeline, source, driving, edit, relative, face, driving_face, mark, progress
            )
        return self._guard(pictures)

    def reenact_video(
        self,
        source: Any,
        driving: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        age: float | None = None,
        action_units: ActionUnits = None,
        relative: bool = True,
        strength: float = 1.0,
        face: int = 0,
        driving_face: int = 0,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> ClipResult:
        """`reenact_frames` of a video or a GIF, written as MP4, with the driving sound, or as GIF, by the ending.

        driving_face counts by size in the first frame that shows so many. The result has the driving clip's frames and
        times, steadied (see tracking.py), and the size of the photo, scaled down to 1920 pixels. Memory does not grow
        with the clip. Whatever stops it, no half file is left.
        """
        edit = Edit.of(age, action_units, strength=strength, editable=self.model.editable_action_units)
        with enough_memory(self.device):
            return reenact_clip(
                self.pipeline, source, driving, target, edit, relative, face, driving_face, mark, progress
            )

    def read(self, photo: Any, *, progress: Progress | None = None) -> list[Reading]:
        """Measure every face of a photo, the largest first. BadInput when there is none."""
        steps, pipeline = Steps(progress, 2), self.pipeline
        with enough_memory(self.device):
            steps(FIND)
            loaded = pipeline.load(photo)
            found = pipeline.find_faces(loaded)
            steps(READ)
            crops = [pipeline.align(loaded.pixels, one.landmarks, one.box) for one in found]
            readings = [face.reading for face in pipeline.read(crops)]
        steps.finish()
        return readings

    def check_method(self, method: str) -> None:
        """BadInput when there is no such edit method, MissingModel when the model does not hold it."""
        self.pipeline.check_method(method)

    def _edit_photo(
        self,
        photo: Any,
        edits: list[tuple[Edit, str]],
        index: int,
        mark: bool,
        progress: Progress | None,
    ) -> list[EditResult]:
        """Each (edit, method) of one face, made from the original."""
        started, pipeline, steps = time.perf_counter(), self.pipeline, Steps(progress, 2 + 2 * len(edits))
        for _, method in edits:
            self.check_method(method)
        with enough_memory(self.device):
            steps(FIND)
            loaded = pipeline.load(photo)
            found = pipeline.find_faces(loaded)
            steps(READ)
            face = pipeline.read_face(loaded, found, index)
            results = []
            for edit, method in edits:
                results.append(self._edit_face(face, edit, method, mark, started, steps))
                started = time.perf_counter()
        steps.finish()
        return results

    def _edit_face(
        self, face: Face, edit: Edit, method: str, mark: bool, started: float, steps: Steps
    ) -> EditResult:
        pipeline = self.pipeline
        steps(EDIT)
        generated = pipeline.generate(face, edit, method, fine=True)
        pixels = pipeline.paste(face, generated, mark)
        steps(READ_AGAIN)
        return pipeline.report(
            face,
            pipeline.read_again(face, pixels),
            None if generated is None else generated.attention,
            edit=edit,
            method=method,
            mark=mark,
            seconds=time.perf_counter() - started,
            edited=generated is not None,
        )

    def _guard(self, pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
        """The same pictures; memory that runs out while one is made is one sentence as well."""
        with enough_memory(self.device):
            yield from pictures
