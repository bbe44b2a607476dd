"""Edits photos with exported graphs: onnxruntime, NumPy and Pillow, and no torch."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..edits import AU_CODES, Edit
from ..errors import BadInput, MissingModel
from ..images.frames import apply, invert, reach, settled_matrix, side_in_photo
from ..images.photo import PhotoLike, is_raw, load_photo, photo_name
from ..images.plain import crop, places, shrink, shrunk
from ..images.search import FaceSearch, FoundFace
from ..pipelines.notes import count_faces, reading_of, warn_of_bgr, warnings_of
from ..results import EditResult, Reading, unmarked
from .manifest import Manifest

ANCHOR_SIDE, STRIDE = 48.0, 8
"""Of networks/detector.py: the upright frame, in level pixels, from which each cell of STRIDE pixels predicts."""


class Graphs:
    """The sessions of a folder of graphs, each opened as it is first needed. threads: 0 leaves it to onnxruntime."""

    def __init__(self, folder: str | os.PathLike[str], threads: int = 0):
        try:
            import onnxruntime
        except ImportError:
            raise MissingModel("the graphs need onnxruntime; install it: pip install onnxruntime") from None
        self.manifest = Manifest.of(folder)
        self._runtime = onnxruntime
        self._open: dict[str, Any] = {}
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3
        # Each graph has threads of its own: those of the last one must not wait busily while the next one works.
        self._options.add_session_config_entry("session.force_spinning_stop", "1")

    def run(self, name: str, **given: np.ndarray) -> list[np.ndarray]:
        """The outputs of one graph."""
        if name not in self._open:
            path = self.manifest.folder / f"{name}.onnx"
            try:
                self._open[name] = self._runtime.InferenceSession(
                    str(path), self._options, ["CPUExecutionProvider"]
                )
            except Exception as error:  # onnxruntime's own, of many kinds
                raise MissingModel(
                    f"{path} cannot be opened ({str(error).splitlines()[0]}); export again"
                ) from None
        return self._open[name].run(None, given)


class Search(FaceSearch):
    """The detector's search with two graphs."""

    def __init__(self, graphs: Graphs):
        super().__init__(graphs.manifest.crop_side)
        self.graphs = graphs

    def propose(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As FaceSearch.propose."""
        scores, frames = self.graphs.run("seek", level=np.ascontiguousarray(level)[None])
        rows, columns = scores.shape[2:]
        frames[0, 0] += (np.arange(columns, dtype=np.float32) + 0.5) * STRIDE
        frames[0, 1] += ((np.arange(rows, dtype=np.float32) + 0.5) * STRIDE)[:, None]
        frames[0, 2] += ANCHOR_SIDE
        return scores.ravel(), frames[0].reshape(4, -1).T

    def locate(self, crops: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """As FaceSearch.locate."""
        found = [self.graphs.run("mark", crop=one) for one in crops]
        landmarks, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return landmarks.astype(np.float64), scores

    def shrink(self, photo: np.ndarray, width: int, height: int) -> np.ndarray:
        """As FaceSearch.shrink."""
        return shrink(photo, width, height)

    def crop(self, photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
        """As FaceSearch.crop."""
        return crop(photo, matrix, size, rounded=False)


@dataclass(frozen=True, eq=False)
class Aligned:
    """One aligned face: matrix (2,3) from photo to face, pixels (S,S,3) uint8, and what was read on it."""

    matrix: np.ndarray
    pixels: np.ndarray
    reading: Reading


class OnnxEditor:
    """`FaceEditor.read` and `edit` for stills, with the default method, on graphs that `ganime-age export` wrote: ages,
    action units, strength, one face.

    Hair changes within the face's frame alone; there the pixels are FaceEditor's to one level of 255, but that a few of
    hair that turns grey may differ by two or three: where a level of the photo's face lies half way between two, both
    may round it otherwise, and strands tell that. MissingModel says what a folder lacks, BadInput
    what cannot be done with a photo or a request.
    """

    def __init__(self, folder: str | os.PathLike[str], *, threads: int = 0):
        """An editor with the graphs of one folder.

        Args:
            folder: of the graphs.
            threads: of onnxruntime, 0 for its own choice.

        Raises:
            MissingModel: says what the folder lacks, or that onnxruntime is not installed.
        """
        self.graphs = Graphs(folder, threads)
        self.manifest = self.graphs.manifest
        self.detector = Search(self.graphs)

    def read(self, photo: PhotoLike) -> list[Reading]:
        """Measure every face of a photo.

        Args:
            photo: anything `load_photo` takes.

        Returns:
            The readings, the largest face first.

        Raises:
            BadInput: the photo cannot be used, or shows no face.
            MissingModel: a graph cannot be opened.

        Warns:
            UserWarning: red and blue of an array or a tensor look exchanged.
        """
        pixels = load_photo(photo)
        faces = [self._aligned(pixels, one) for one in self._found(pixels, photo)]
        if is_raw(photo):
            warn_of_bgr(faces[0].pixels)
        return [face.reading for face in faces]

    def edit(
        self,
        photo: PhotoLike,
        *,
        age: float | None = None,
        action_units: Any = None,
        relative: bool = False,
        strength: float = 1.0,
        face: int = 0,
        mark: bool = True,
    ) -> EditResult:
        """Edit one face of a photo; the options are FaceEditor's.

        Args:
            photo: anything `load_photo` takes.
            age: target in years, 0..100.
            action_units: intensities 0..5 by name, as {"AU12": 3}; changes, as "AU12=+2"; or a preset, as "smile".
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            face: which face, 0 is the largest.
            mark: False leaves out the watermark and the metadata that say the picture is edited.

        Returns:
            The edited photo and its measurements.

        Raises:
            BadInput: a photo or a request that cannot be used.
            MissingModel: a graph cannot be opened.
        """
        started = time.perf_counter()
        edit = Edit.of(age, action_units, relative, strength, self.manifest.editable_action_units)
        pixels = load_photo(photo)
        found = self._found(pixels, photo)
        if face not in range(len(found)):
            has = f"{photo_name(photo)} has {count_faces(found)}, numbered from 0"
            raise BadInput(f"face {face} does not exist; {has}")
        before = self._aligned(pixels, found[face])
        after, attention = self._edited(pixels, before, edit, mark)
        again = before if attention is None else self._read(after, before.matrix, before.reading.box)
        size = self.manifest.face_size
        shown = Image.fromarray(np.zeros((size, size), np.uint8) if attention is None else attention)
        raw = before.pixels if is_raw(photo) else None
        warned = warnings_of(pixels.shape[1::-1], found, face, before.reading, raw)
        return EditResult(
            image=Image.fromarray(after),
            face=Image.fromarray(again.pixels),
            source_face=Image.fromarray(before.pixels),
            attention=shown if shown.width == size else shown.resize((size, size), Image.Resampling.BILINEAR),
            reading=again.reading,
            source_reading=before.reading,
            identity=float(np.dot(again.reading.identity, before.reading.identity)),
            edit=edit,
            method=self.manifest.method,
            warnings=(*warned, *unmarked(attention is not None, mark)),
            seconds=time.perf_counter() - started,
            weights=self.manifest.weights,
            edited=attention is not None,
            mark=mark,
        )

    def _found(self, pixels: np.ndarray, photo: PhotoLike) -> list[FoundFace]:
        found = self.detector(pixels)
        if not found:
            name = photo_name(photo)
            raise BadInput(f"no face was found in {name}; give a photo with a face that looks at the camera")
        return found

    def _aligned(self, pixels: np.ndarray, found: FoundFace) -> Aligned:
        matrix = settled_matrix(found.landmarks, self.manifest.face_size, self.manifest.crop_scale)
        return self._read(pixels, matrix, found.box)

    def _read(self, pixels: np.ndarray, matrix: np.ndarray, box: np.ndarray) -> Aligned:
        face = crop(pixels, matrix, self.manifest.face_size)
        rows = [part[0] for part in self.graphs.run("read", face=face)]
        return Aligned(matrix, face, reading_of(rows, matrix, len(face), box))

    def _edited(
        self, pixels: np.ndarray, face: Aligned, edit: Edit, mark: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The photo after an edit, and how far each pixel of the frame was changed (S,S) uint8; None for no edit."""
        units = [face.reading.action_units[code] for code in AU_CODES]
        age, wanted = edit.targets_for(face.reading.age, units)
        if age == face.reading.age and wanted == units:
            return pixels, None
        own = side_in_photo(face.matrix, len(face.pixels))
        side = self._side(own)
        matrix = face.matrix * (side / len(face.pixels))
        shown = face.pixels if side == len(face.pixels) else crop(pixels, matrix, side)
        marks = apply(matrix, face.reading.landmarks.astype(np.float64)) / side
        change, attention = self.graphs.run(
            f"edit_{side}",
            face=shown,
            landmarks=marks.astype(np.float32),
            source_age=np.array([face.reading.age], np.float32),
            target_age=np.array([age], np.float32),
            source_units=np.array([units], np.float32),
            target_units=np.array([wanted], np.float32),
            marked=np.array(mark, np.float32),
            side=np.array(own, np.float32),
        )
        return self.paste(pixels, change, matrix), np.rint(attention * 255).astype(np.uint8)

    def _side(self, own: float) -> int:
        """The side at which a face is edited: the photo's own, or the next one that there is."""
        able = self.manifest.sides
        return next((side for side in able if side >= own), able[-1])

    def paste(self, pixels: np.ndarray, change: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """A photo with a change laid on it.

        Args:
            pixels: the photo (H,W,3) uint8.
            change: levels (1,4,S,S).
            matrix: (2,3), from pixels of the photo to those of the change's frame.

        Returns:
            A new photo (H,W,3) uint8; the one given stays as it is.

        Raises:
            MissingModel: the graph cannot be opened.
        """
        size, back = change.shape[-1], invert(matrix)
        left, top, right, bottom = reach(back, (size, size), pixels.shape)
        back[:, 2] -= left, top
        picture, back = shrunk(change[0].transpose(1, 2, 0), back)
        at = np.stack(places(back, (right - left, bottom - top)), -1)
        grid = (2 * at + 1) / picture.shape[1::-1] - 1
        out = pixels.copy()
        out[top:bottom, left:right] = self.graphs.run(
            "paste",
            region=np.ascontiguousarray(out[top:bottom, left:right])[None],
            change=np.ascontiguousarray(picture.transpose(2, 0, 1))[None],
            grid=grid[None].astype(np.float32),
        )[0][0]
        return out
