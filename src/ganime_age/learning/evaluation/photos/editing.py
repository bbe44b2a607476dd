"""A photo's edits from file to file, as a user makes them, and the frames that judges look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....editor import FaceEditor
from ....errors import BadInput
from ....images.photo import load_photo
from ....model.methods import DEFAULT
from .frames import framed
from .whole_photos import WholePhoto

FAR = 0.5
"""Distance of two faces' middles, in distances of the outer eye corners, from which on they are not one face."""
AT_ONCE = 3
"""Ages for which a photo's face is found and read once; more would hold more whole photos in memory."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A test photo ready to be edited. pixels (H,W,3) uint8; landmarks (68,2) in its pixels; read_age: what the
    package's readers say."""

    photo: WholePhoto
    pixels: np.ndarray
    landmarks: np.ndarray
    read_age: float

    def frame(self, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The aligned face of a state of the photo, by default as it is, and its landmarks in 0..1."""
        return framed(self.pixels if pixels is None else pixels, self.landmarks)


def opened(editor: FaceEditor, photo: WholePhoto) -> Opened | None:
    """The photo with its landmarks; None where no face is found, or where the largest one found is not the one that
    the photo's own landmarks name, or the file is no photo that can be read."""
    try:
        pixels = load_photo(photo.path)
        reading = editor.read(photo.path)[0]
    except BadInput:
        return None
    own = np.asarray(reading.landmarks, float)
    if photo.landmarks is None:
        return Opened(photo, pixels, own, reading.age)
    eyes = np.linalg.norm(photo.landmarks[45] - photo.landmarks[36])
    apart = np.linalg.norm(own[27:48].mean(0) - photo.landmarks[27:48].mean(0))
    return Opened(photo, pixels, photo.landmarks, reading.age) if apart < FAR * eyes else None


def aged_photos(
    editor: FaceEditor,
    one: Opened,
    ages: Iterable[float],
    folder: Path,
    method: str = DEFAULT,
    mark: bool = True,
) -> Iterator[tuple[float, np.ndarray]]:
    """Every age with the photo (H,W,3) uint8 edited to it, read back from the PNG file that the editor wrote to
    `folder`, now or before."""
    asked = list(ages)
    files = [
        kept_file(editor, one, folder, f"{method}-{years:g}{'' if mark else '-plain'}") for years in asked
    ]
    for start in range(0, len(asked), AT_ONCE):
        part = [i for i in range(start, min(start + AT_ONCE, len(asked))) if not files[i].is_file()]
        wanted = [asked[i] for i in part]
        made = editor.progression(one.photo.path, ages=wanted, method=method, mark=mark) if part else []
        for i, result in zip(part, made, strict=True):
            result.save(files[i])
        for years, file in list(zip(asked, files, strict=True))[start : start + AT_ONCE]:
            yield years, load_photo(file)


def expressed_photo(
    editor: FaceEditor, one: Opened, units: Mapping[str, float], folder: Path, method: str = DEFAULT
) -> np.ndarray:
    """The photo (H,W,3) uint8 edited to action units 0..5 by code, read back from the file that the editor wrote."""
    asked = "-".join(f"{code}={value:.2f}" for code, value in units.items() if value)
    words = asked if method == DEFAULT else f"{method}-{asked}"
    path = kept_file(editor, one, folder, hashlib.sha256(words.encode()).hexdigest()[:16])
    if not path.is_file():
        editor.edit(one.photo.path, action_units=dict(units), method=method).save(path)
    return load_photo(path)


def kept_file(editor: FaceEditor, one: Opened, folder: Path, asked: str) -> Path:
    """Where an edit lies, by weights, photo and request: what is there already is not made again."""
    place = folder / "edits" / editor.weights[:16]
    place.mkdir(parents=True, exist_ok=True)
    return place / f"{one.photo.path.stem}-{asked}.png"
