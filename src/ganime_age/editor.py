"""Photo in, photo out: the one place that strings finder, frame, readers, generator and paste together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from .alignment import EmbeddedFinder, FoundFace, apply, crop, frame_matrix, invert, paste
from .animation import ClipResult, Keyframe, Tell, animate, edit_clip
from .edits import AU_CODES, AU_MAX, Edit
from .errors import BadInput
from .memory import enough_memory
from .photo import load_photo, photo_name
from .provenance import fingerprint
from .results import EditResult, Reading
from .storage import checked_device
from .watermark import marked

if TYPE_CHECKING:
    from .model import GanimeAge

Finder = Callable[[np.ndarray], list[FoundFace]]
"""A photo (H,W,3) uint8 RGB -> its faces, the largest first."""

YAW_LIMIT = 40.0
SMALL_FACE = 48


@dataclass(frozen=True, eq=False)
class _Aligned:
    """One face of one photo, ready to be edited."""

    photo: np.ndarray
    matrix: np.ndarray
    box: np.ndarray
    face: np.ndarray
    reading: Reading
    warnings: tuple[str, ...]


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

    def read(self, photo: Any) -> list[Reading]:
        """Measure every face of a photo, largest first. BadInput when there is none."""
        with enough_memory(self.device):
            pixels = load_photo(photo)
            found = self._find(pixels, photo_name(photo))
            matrices = [self._frame(face.landmarks) for face in found]
            faces = [crop(pixels, matrix, self.model.face_size) for matrix in matrices]
            return self._read(faces, matrices, [face.box for face in found])

    def check_method(self, method: str) -> None:
        """BadInput when the model holds no such edit method."""
        if method not in self.model.methods:
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

    def _align(self, photo: Any, index: int) -> _Aligned:
        pixels = load_photo(photo)
        found = self._find(pixels, photo_name(photo))
        if index not in range(len(found)):
            raise BadInput(
                f"face {index} does not exist; {photo_name(photo)} has {_count(found)}, numbered from 0"
            )
        aligned = self._aligned(pixels, found[index].landmarks, found[index].box)
        return replace(aligned, warnings=_warnings(pixels, found, index, aligned.reading))

    def _aligned(self, pixels: np.ndarray, landmarks: np.ndarray, box: np.ndarray) -> _Aligned:
        matrix = self._frame(landmarks)
        face = crop(pixels, matrix, self.model.face_size)
        (reading,) = self._read([face], [matrix], [box])
        return _Aligned(pixels, matrix, box, face, reading, ())

    def _read(
        self, faces: list[np.ndarray], matrices: list[np.ndarray], boxes: list[np.ndarray]
    ) -> list[Reading]:
        with torch.inference_mode():
            batch = self.model.read(torch.cat([self._tensor(face) for face in faces]))
        rows = zip(*(part.float().cpu().numpy() for part in batch[:6]), strict=True)
        places = zip(matrices, boxes, strict=True)
        size = self.model.face_size
        return [_reading(row, *place, size) for row, place in zip(rows, places, strict=True)]

    def _tensor(self, face: np.ndarray) -> torch.Tensor:
        """uint8 (S,S,3) -> float (1,3,S,S) in [-1,1] on the editor's device."""
        return torch.from_numpy(face).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1

    def _apply(self, aligned: _Aligned, edit: Edit, method: str, started: float, mark: bool) -> EditResult:
        after, attention = self._generate(aligned, edit, method)
        photo, face, reading = aligned.photo, aligned.face, aligned.reading
        if after is not None:
            photo = _pasted(aligned, after, mark)
            face = crop(photo, aligned.matrix, self.model.face_size)
            (reading,) = self._read([face], [aligned.matrix], [aligned.box])
        return EditResult(
            image=Image.fromarray(photo),
            face=Image.fromarray(face),
            source_face=Image.fromarray(aligned.face),
            attention=Image.fromarray(attention),
            reading=reading,
            source_reading=aligned.reading,
            identity=float(np.dot(reading.identity, aligned.reading.identity)),
            edit=edit,
            method=method,
            warnings=aligned.warnings,
            seconds=time.perf_counter() - started,
            weights=self.weights,
            edited=after is not None,
            mark=mark,
        )

    def _painted(self, aligned: _Aligned, edit: Edit, method: str, mark: bool) -> np.ndarray:
        """The whole photo (H,W,3) uint8 after an edit, and nothing measured on it."""
        after, _ = self._generate(aligned, edit, method)
        return aligned.photo if after is None else _pasted(aligned, after, mark)

    def _generate(self, aligned: _Aligned, edit: Edit, method: str) -> tuple[np.ndarray | None, np.ndarray]:
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
        face = ((edited.face[0].float().clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0)
        attention = edited.attention[0, 0].float().clamp(0, 1) * 255
        return face.cpu().numpy(), attention.round().byte().cpu().numpy()


def _pasted(aligned: _Aligned, after: np.ndarray, mark: bool) -> np.ndarray:
    return paste(aligned.photo, aligned.face, marked(after) if mark else after, aligned.matrix)


def _reading(row: tuple[Any, ...], matrix: np.ndarray, box: np.ndarray, size: int) -> Reading:
    """One row of the readers' tensors as plain numbers, its landmarks moved from the frame into the photo."""
    age, spread, units, landmarks, pose, identity = row
    points = apply(invert(matrix), landmarks.astype(np.float64) * size)
    yaw, pitch, roll = (float(v) for v in pose)
    intensities = {code: min(float(v), AU_MAX) for code, v in zip(AU_CODES, units, strict=True)}
    return Reading(
        float(age), float(spread), intensities, points.astype(np.float32), yaw, pitch, roll, box, identity
    )


def _warnings(pixels: np.ndarray, found: list[FoundFace], index: int, reading: Reading) -> tuple[str, ...]:
    face, said = found[index], []
    height, width = pixels.shape[:2]
    if len(found) > 1:
        said.append(f"{len(found)} faces were found; face {index} is edited (0 is the largest)")
    if abs(reading.yaw) > YAW_LIMIT:
        said.append(
            f"the head is turned by {abs(reading.yaw):.0f} degrees; the edit is weaker beyond {YAW_LIMIT:.0f}"
        )
    if (face.landmarks < 0).any() or (face.landmarks > (width, height)).any():
        said.append("the photo's border cuts the face; the part that is missing cannot be edited")
    if min(face.box[2] - face.box[0], face.box[3] - face.box[1]) < SMALL_FACE:
        said.append(f"the face is smaller than {SMALL_FACE} pixels; a larger photo gives a better edit")
    return tuple(said)


def _count(found: list[FoundFace]) -> str:
    return "1 face" if len(found) == 1 else f"{len(found)} faces"
