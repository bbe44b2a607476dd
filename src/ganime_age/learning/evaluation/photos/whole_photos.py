"""The photos that edits are measured on: folders of whole photos, and stored test faces written as photos.

A photo counts only where it can be said that none of our networks learnt from it: its identity vector is compared with
those of every face of the training and validation splits, and the same picture is left out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ....edits import check_age
from ....errors import BadInput
from ....images.photo import SUFFIXES
from ...data.faces import Faces
from ...data.picture_cache import decode, read_pictures
from ..test_faces import spread

SAME_PICTURE = 0.85
"""Cosine of two identity vectors from which on two photos count as one picture."""
MARGIN = 0.02
"""Share of the side that is cut off where a stored face ends, against the soft edge of its valid part."""


@dataclass(frozen=True, eq=False)
class WholePhoto:
    """One photo. landmarks: (68,2) iBUG points in its pixels by a network that is not ours, or None: the editor's own
    are then used. source: the name of its line in the results. age: years where known. race: as its set names it."""

    path: Path
    source: str
    landmarks: np.ndarray | None = None
    age: float | None = None
    race: str | None = None


def photos_of(folders: Sequence[Path], labels: Path | None = None) -> list[WholePhoto]:
    """Every photo file of the folders by name. A folder's `reference.json` (file -> `faces` with `landmarks68`) brings
    landmarks. labels: a CSV with the columns file and age or source, or both; without a source, the part of the name
    before the first underscore is the source.

    BadInput for a folder without photos, a CSV that names other files, and an age outside 0..100.
    """
    found: dict[str, WholePhoto] = {}
    for folder in folders:
        points = reference_points(folder)
        files = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        if not files:
            raise BadInput(
                f"{folder} holds no photos; give a folder of JPEG, PNG or WebP files with --photos"
            )
        for path in files:
            found[path.name] = WholePhoto(path, path.stem.partition("_")[0], points.get(path.name))
    if labels is not None:
        for name, change in read_labels(labels, found).items():
            found[name] = replace(found[name], **change)
    return list(found.values())


def reference_points(folder: Path) -> dict[str, np.ndarray]:
    """File name -> landmarks (68,2) of its largest face, from a folder's `reference.json`; empty without one."""
    path = folder / "reference.json"
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        seen = {n: [f for f in one["faces"] if f.get("landmarks68")] for n, one in said.items()}
        return {name: np.array(max(f, key=_area)["landmarks68"], float) for name, f in seen.items() if f}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} cannot be read as reference faces: {error!r}") from None


def _area(face: Mapping[str, Sequence[float]]) -> float:
    left, top, right, bottom = face["box"]
    return (right - left) * (bottom - top)


def rows_of(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file; BadInput where it cannot be read or lacks one of the columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a CSV: {error}") from None
    table = csv.DictReader(io.StringIO(text))
    lacking = [name for name in needed if name not in (table.fieldnames or ())]
    if lacking:
        raise BadInput(f"{path} lacks the column {', '.join(lacking)}; its first line names the columns")
    for row in table:
        yield {name: (row[name] or "").strip() for name in row if name}


def read_labels(path: Path, known: Mapping[str, WholePhoto]) -> dict[str, dict[str, Any]]:
    """File name -> its `age` and `source`, where the CSV gives them."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows_of(path, ("file",)):
        name = check_known(row["file"], known, path)
        found[name] = {"source": row["source"]} if row.get("source") else {}
        if row.get("age"):
            try:
                found[name]["age"] = check_age(row["age"])
            except BadInput as error:
                raise BadInput(f"{path}, {name}: {error}") from None
    return found


def check_known(name: str, known: Mapping[str, object], path: Path) -> str:
    """The name, or BadInput when no photo has it."""
    if name not in known:
        raise BadInput(f"{path} names {name!r}, which is no photo of the folders given; correct the column")
    return name


def stored_photos(
    faces: Faces, picks: np.ndarray, source: str, folder: Path, race: np.ndarray | None = None
) -> Iterator[WholePhoto]:
    """Aligned faces at the size they are stored at, each cut to its valid part and written to `folder` as a photo."""
    files = faces.table["file"].iloc[picks].reset_index(drop=True)
    for row, content in read_pictures(faces.folder, files):
        if isinstance(content, BadInput):
            raise content
        picture, (left, top, side) = valid_photo(content, files[row])
        path = folder / f"{source}-{Path(files[row]).stem}.png"
        Image.fromarray(picture).save(path, compress_level=1)
        landmarks = faces.labels["landmarks"][picks[row]].astype(float) * side - (left, top)
        years = float(faces.labels["age"][picks[row]])
        yield WholePhoto(
            path, source, landmarks, None if np.isnan(years) else years, None if race is None else race[row]
        )


def valid_photo(content: bytes, name: str) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A stored face (H,W,3) uint8 cut to the bounding box of what is real of it, the rest filled; and where the cut
    lies in the frame: left, top, and the frame's side in pixels."""
    side = stored_side(content, name)
    picture = decode(content, side, name)
    real = picture[3] > 250
    rows, columns = np.flatnonzero(real.any(1)), np.flatnonzero(real.any(0))
    if not len(rows):
        raise BadInput(f"{name} has no part that is real")
    edge = 0 if real.all() else max(1, round(MARGIN * side))
    top, bottom = rows[0] + edge, rows[-1] + 1 - edge
    left, right = columns[0] + edge, columns[-1] + 1 - edge
    cut = np.ascontiguousarray(picture[:3, top:bottom, left:right].transpose(1, 2, 0))
    return cut, (int(left), int(top), side)


def stored_side(content: bytes, name: str) -> int:
    """The side in pixels that a face is stored at."""
    try:
        return Image.open(io.BytesIO(content)).size[0]
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{name} is not a readable picture: {error}") from None


def in_turn(photos: Sequence[WholePhoto]) -> list[WholePhoto]:
    """The photos of all sources in turn, each source's evenly spread, so that any beginning holds some of each."""
    by_source: dict[str, list[WholePhoto]] = {}
    for photo in photos:
        by_source.setdefault(photo.source, []).append(photo)
    queues = [[own[i] for i in scattered(len(own))] for _, own in sorted(by_source.items())]
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def scattered(count: int) -> np.ndarray:
    """0..count-1 in an order of which every beginning is spread over all of it (van der Corput, base 2)."""
    width = max(1, (count - 1).bit_length())
    turned = [int(f"{i:0{width}b}"[::-1], 2) for i in range(2**width)]
    return np.array([i for i in turned if i < count], int)


def pairs_of(photos: Sequence[WholePhoto]) -> list[tuple[WholePhoto, WholePhoto]]:
    """(neutral, smiling) photos of one person: NAME_neutral_ID and NAME_smile_ID."""
    by_stem = {photo.path.stem: photo for photo in photos}
    return [
        (photo, by_stem[stem.replace("_neutral_", "_smile_")])
        for stem, photo in sorted(by_stem.items())
        if "_neutral_" in stem and stem.replace("_neutral_", "_smile_") in by_stem
    ]


class Learnt:
    """Whether a picture is one that our networks learnt from, as far as an identity network sees.

    vectors: (N,D) unit length of the faces of the training and validation splits. embed: a picture (S,S,3) uint8 and
    its landmarks (68,2) in 0..1 -> (D,). checked: whether there is anything to compare with.
    """

    def __init__(self, vectors: np.ndarray, embed: Callable[[np.ndarray, np.ndarray], np.ndarray] | None):
        known = vectors[~np.isnan(vectors).any(1)]
        self.vectors = known / np.linalg.norm(known, axis=1, keepdims=True).clip(1e-6)
        self.embed, self.checked = embed, embed is not None and len(known) > 0

    def holds(self, pixels: np.ndarray, landmarks: np.ndarray) -> bool:
        """Is it the same picture as one of the faces? False where that cannot be checked."""
        if not self.checked or self.embed is None:
            return False
        side = max(pixels.shape[:2])
        below, right = side - pixels.shape[0], side - pixels.shape[1]
        square = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        found = self.embed(square, landmarks / side)
        return bool((self.vectors @ (found / np.linalg.norm(found))).max() >= SAME_PICTURE)


def evenly(faces: Faces, fits: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most `count` of the faces that fit (N,) bool, as many of each source as can be."""
    names = faces.table["source"].to_numpy(str) if "source" in faces.table else np.full(len(faces), "faces")
    parts = [np.flatnonzero(fits & (names == name)) for name in np.unique(names[fits])]
    share = -(-count // max(1, len(parts)))
    return np.sort(np.concatenate([spread(part, share) for part in parts] or [np.zeros(0, int)]))[:count]
