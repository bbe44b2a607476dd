"""Photo in, photo out: the one place that strings finder, frame, readers, generator and paste together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from .edits import AU_CODES, Edit
from .errors import BadInput
from .images.alignment import crop, frame_matrix
from .images.detectors import EmbeddedFinder, FoundFace
from .images.photo import load_photo, photo_name
from .model.fingerprint import fingerprint
from .model.methods import METHODS
from .pipelines.animation import Keyframe, Tell, animate, edit_clip
from .pipelines.face import Aligned, compared, counted, pasted, pictured, reading_of, warnings_of
from .pipelines.reenactment import reenact_photo
from .pipelines.reenactment_clip import moves, reenact_clip, reenact_frames
from .results import ClipResult, EditResult, Reading
from .runtime import checked_device, enough_memory

if TYPE_CHECKING:
    from .model.model import GanimeAge

Finder = Callable[[np.ndarray], list[FoundFace]]
"""A photo (H,W,3) uint8 RGB -> its faces, the largest first."""


class FaceEditor:
    """Edits faces in photos with one model. Holds no state between calls, so threads may share an editor.

    model: a GanimeAge; it is put into eval mode on `device`, in float32: half precision, which weights may be stored
    in, is too coarse for ages and places. finder: photo (H,W,3) uint8 -> list of FoundFace,
    largest first; by default the model's own embedded finder.
    """

    def __init__(self, model: GanimeAge, device: str | torch.device = "cpu", finder: Finder | None = None):
        self.device = checked_device(device)
        self.model = model.to(self.device, torch.float32).eval()
        self.finder = finder or self._embedded_finder()
        self.weights = fingerprint(self.model)

    def edit(
        self,
        photo: Any,
        age: float | None = None,
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        method: str = "ganimation_age",
        strength: float = 1.0,
        relative: bool = False,
        face: int = 0,
        mark: bool = True,
    ) -> EditResult:
        """Edit one face of a photo (anything `load_photo` takes).

        age: target years 0..100. action_units: intensities 0..5 by code, or strings such as "AU12=+2"; with
        `relative`, changes to what is there. strength: 0..1.5, how far to go. face: 0 is the largest.
        mark: False leaves out the watermark and the metadata that say it is edited (for research). What is not named
        stays. Raises BadInput for a photo or a request that cannot be used.
        """
        started = time.perf_counter()
        edit = Edit.of(age, action_units, relative, strength)
        self.check_method(method)
        with enough_memory(self.device):
            return self._apply(self._align(photo, face), edit, method, started, mark)

    def progression(
        self,
        photo: Any,
        ages: Iterable[float] = (5, 15, 30, 50, 70, 85),
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        method: str = "ganimation_age",
        strength: float = 1.0,
        relative: bool = False,
        face: int = 0,
        mark: bool = True,
    ) -> list[EditResult]:
        """The same face at several ages, each edited from the original; the face is found and read once."""
        edits = [Edit.of(age, action_units, relative, strength) for age in ages]
        self.check_method(method)
        with enough_memory(self.device):
            aligned = self._align(photo, face)
            return [self._apply(aligned, edit, method, time.perf_counter(), mark) for edit in edits]

    def compare(
        self,
        photo: Any,
        age: float | None = None,
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        strength: float = 1.0,
        relative: bool = False,
        face: int = 0,
        mark: bool = True,
    ) -> list[EditResult]:
        """One request by every loaded method that can do it, each from the original; found and read once.

        The request is as for `edit`. Methods that change ages alone are left out where action units are asked, and the
        other way round; BadInput when none is left, or for a photo or a request that cannot be used.
        """
        edit = Edit.of(age, action_units, relative, strength)
        asked = ["age"] * (edit.age is not None) + ["action_units"] * bool(edit.action_units)
        methods = self.model.methods_for(*asked)
        if not methods:
            held = " ".join(self.model.methods) or "no method"
            wanted = " and ".join(asked).replace("_", " ") or "anything"
            raise BadInput(f"these weights hold {held}, which cannot change {wanted}; load others")
        with enough_memory(self.device):
            aligned = self._align(photo, face)
            return [self._apply(aligned, edit, method, time.perf_counter(), mark) for method in methods]

    def animate(
        self,
        photo: Any,
        keyframes: Iterable[Keyframe | Mapping[str, Any]],
        frames: int = 48,
        method: str = "ganimation_age",
        face: int = 0,
        mark: bool = True,
        there_and_back: bool = False,
    ) -> Iterator[Image.Image]:
        """One photo led smoothly through keyframes: an iterator of `frames` whole photos, RGB.

        keyframes: each a Keyframe or a mapping with its fields, as {"age": 80, "action_units": {"AU12": 4}}. The photo
        itself comes first unless a keyframe is at 0. there_and_back: returns to where it began. The face is found and
        read once. Raises BadInput at once for a photo or keyframes that cannot be used.
        """
        with enough_memory(self.device):
            pictures = animate(self, photo, keyframes, frames, method, face, mark, there_and_back)
        return self._guarded(pictures)

    def edit_video(
        self,
        source: str | Path,
        target: str | Path,
        age: float | None = None,
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        method: str = "ganimation_age",
        strength: float = 1.0,
        relative: bool = False,
        face: int = 0,
        mark: bool = True,
        steady: bool = True,
        tell: Tell | None = None,
    ) -> ClipResult:
        """Edit one face in every frame of a video or a GIF; written as MP4, with the sound, or as GIF, by the ending.

        The request is as for `edit`; face counts by size in the first frame that shows so many. steady: smooth place
        and readings in time (see tracking.py), so that nothing flickers. tell(done, of) is called after each frame.
        Memory does not grow with the clip. Raises BadInput for a clip or a request that cannot be used; whatever stops
        it, no half file is left.
        """
        edit = Edit.of(age, action_units, relative, strength)
        with enough_memory(self.device):
            return edit_clip(self, source, target, edit, method, face, mark, steady, tell)

    def reenact(
        self,
        source: Any,
        driving: Any,
        age: float | None = None,
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        relative: bool | None = None,
        face: int = 0,
        driving_face: int = 0,
        strength: float = 1.0,
        mark: bool = True,
    ) -> EditResult | Iterator[Image.Image]:
        """The source person takes the driving face's expression and head pose, at the age that is asked for.

        driving: a photo gives an EditResult; the path of a video or a GIF, or an iterable of frames (each a photo),
        gives an iterator of the source's whole photo, one a frame, in which the frame before is shown again where the
        driving face is lost. relative: the source moves by what lies between the clip's first frame and each frame, so
        that it starts as it is (default for clips), instead of taking expression and pose as they are; a tilt of the
        head is taken too. age, action_units: as for `edit`; action units come on top of the driving expression.
        face, driving_face: 0 is the largest. strength: 0..1.5, how far to go, in all of it. BadInput at once for a
        source or a request that cannot be used, MissingModel when the weights hold no dual_generator, or no
        ganimation_age for an age or action units.
        """
        edit = Edit.of(age, action_units, strength=strength)
        with enough_memory(self.device):
            if moves(driving):
                change = relative is not False
                frames = reenact_frames(self, source, driving, edit, change, face, driving_face, mark)
                return self._guarded(frames)
            if relative:
                raise BadInput("relative motion needs a clip; one driving photo has no first frame")
            return reenact_photo(self, source, driving, edit, face, driving_face, mark)

    def reenact_video(
        self,
        source: Any,
        driving: str | Path,
        target: str | Path,
        age: float | None = None,
        action_units: Mapping[str, float] | Iterable[str] | None = None,
        relative: bool = True,
        face: int = 0,
        driving_face: int = 0,
        strength: float = 1.0,
        mark: bool = True,
        tell: Tell | None = None,
    ) -> ClipResult:
        """The source's photo, moved by a driving video or GIF, written as MP4, with the driving sound, or as GIF.

        The request is as for `reenact`; driving_face counts by size in the first frame that shows so many. The result
        has the driving clip's frames and times, steadied (see tracking.py), and the size of the photo, scaled down to
        1920 pixels. tell(done, of) is called after each frame. Memory does not grow with the clip. Raises BadInput for
        what cannot be used; whatever stops it, no half file is left.
        """
        edit = Edit.of(age, action_units, strength=strength)
        with enough_memory(self.device):
            return reenact_clip(self, source, driving, target, edit, relative, face, driving_face, mark, tell)

    def read(self, photo: Any) -> list[Reading]:
        """Measure every face of a photo, largest first. BadInput when there is none."""
        with enough_memory(self.device):
            pixels = load_photo(photo)
            found = self._find(pixels, photo_name(photo))
            matrices = [self._frame(face.landmarks) for face in found]
            faces = [crop(pixels, matrix, self.model.face_size) for matrix in matrices]
            return self._read(faces, matrices, [face.box for face in found])

    def check_method(self, method: str) -> None:
        """BadInput when there is no such edit method, MissingModel when the model does not hold it."""
        if method in METHODS:
            self.model.require(method)
        elif method not in self.model.methods:
            raise BadInput(
                f"unknown method {method!r}; these weights hold {' '.join(self.model.methods) or 'none'}"
            )

    def _guarded(self, pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
        """The same pictures; memory that runs out while one is made is one sentence as well."""
        with enough_memory(self.device):
            yield from pictures

    def _embedded_finder(self) -> EmbeddedFinder:
        self.model.require("finder")
        return EmbeddedFinder(self.model.finder)

    def _find(self, pixels: np.ndarray, name: str) -> list[FoundFace]:
        with torch.inference_mode():
            found = self.finder(pixels)
        if not found:
            raise BadInput(f"no face was found in {name}; give a photo with a face that looks at the camera")
        return found

    def _frame(self, landmarks: np.ndarray) -> np.ndarray:
        return frame_matrix(landmarks, self.model.face_size, self.model.crop_scale)

    def _align(self, photo: Any, index: int, role: str = "is edited", nameless: str = "the photo") -> Aligned:
        pixels, name = load_photo(photo), photo_name(photo, nameless)
        found = self._find(pixels, name)
        if index not in range(len(found)):
            raise BadInput(f"face {index} does not exist; {name} has {counted(found)}, numbered from 0")
        aligned = self._aligned(pixels, found[index].landmarks, found[index].box)
        return replace(aligned, warnings=warnings_of(pixels, found, index, aligned.reading, role))

    def _aligned(self, pixels: np.ndarray, landmarks: np.ndarray, box: np.ndarray) -> Aligned:
        matrix = self._frame(landmarks)
        face = crop(pixels, matrix, self.model.face_size)
        (reading,) = self._read([face], [matrix], [box])
        return Aligned(pixels, matrix, box, face, reading, ())

    def _read(
        self, faces: list[np.ndarray], matrices: list[np.ndarray], boxes: list[np.ndarray]
    ) -> list[Reading]:
        with torch.inference_mode():
            batch = self.model.read(torch.cat([self._tensor(face) for face in faces]))
        rows = zip(*(part.float().cpu().numpy() for part in batch[:7]), strict=True)
        places = zip(matrices, boxes, strict=True)
        size = self.model.face_size
        return [reading_of(row, *place, size) for row, place in zip(rows, places, strict=True)]

    def _tensor(self, face: np.ndarray) -> torch.Tensor:
        """uint8 (S,S,3) -> float (1,3,S,S) in [-1,1] on the editor's device."""
        return torch.from_numpy(face).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1

    def _apply(self, aligned: Aligned, edit: Edit, method: str, started: float, mark: bool) -> EditResult:
        face, attention = self._generate(aligned, edit, method)
        after = aligned if face is None else self._seen(aligned, pasted(aligned, face, mark))
        return compared(
            aligned,
            after,
            attention,
            edit=edit,
            method=method,
            warnings=aligned.warnings,
            seconds=time.perf_counter() - started,
            weights=self.weights,
            edited=face is not None,
            mark=mark,
        )

    def _seen(self, aligned: Aligned, photo: np.ndarray) -> Aligned:
        """The face as it is in another state of its photo, cut out in the same frame and read once more."""
        face = crop(photo, aligned.matrix, self.model.face_size)
        (reading,) = self._read([face], [aligned.matrix], [aligned.box])
        return replace(aligned, photo=photo, face=face, reading=reading)

    def _painted(self, aligned: Aligned, edit: Edit, method: str, mark: bool) -> np.ndarray:
        """The whole photo (H,W,3) uint8 after an edit, and nothing measured on it."""
        after, _ = self._generate(aligned, edit, method)
        return aligned.photo if after is None else pasted(aligned, after, mark)

    def _generate(self, aligned: Aligned, edit: Edit, method: str) -> tuple[np.ndarray | None, np.ndarray]:
        """Edited face (S,S,3) float32 0..255, or None when nothing is asked, and the attention (S,S) uint8."""
        source = aligned.reading
        source_units = [source.action_units[code] for code in AU_CODES]
        age, units = edit.targets_for(source.age, source_units)
        if age == source.age and units == source_units:
            return None, np.zeros(aligned.face.shape[:2], np.uint8)
        before, wanted, units_before, units_wanted = (
            torch.tensor([v], dtype=torch.float32, device=self.device)
            for v in (source.age, age, source_units, units)
        )
        with torch.inference_mode():
            edited = self.model.edit(
                self._tensor(aligned.face), before, wanted, units_before, units_wanted, method
            )
        return pictured(edited)
