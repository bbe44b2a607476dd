"""Raw photos -> a face folder: aligned faces in shards, readings, splits and a manifest, in steps that can be resumed.

Photos are taken in the order of their names, some hundred at a time. Such a part is one shard with its own small
manifest and a note that it is done; all parts wait in `OUT/.preparing`. When all are there they move to OUT and the
manifest of all is written last: a folder that has a manifest is complete.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ...atomic import replacing
from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ..data.picture_store import PictureStore, picture_store
from ..engine.atomic_files import locked
from .face_sources import FaceSource, Known, LeftOut
from .looking import Looks, Seen, View, one_by_one
from .pseudo_labels import CutFace, FaceReader, Measured

Viewed = tuple[str, Known | LeftOut, View]
SPLITS = ("train", "val", "test")
PART_PHOTOS = 1024  # looked at before a part is closed: what a killed run loses at most
SHARD_BYTES = 60_000_000
READ_AT_ONCE = 16
NAMED = 20  # photos that are left out by name in the report
NUMBERS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "file", "split", "source", "source_name", "identity", "gender")]
    + [("age", pa.float32()), ("age_group", pa.string()), ("age_source", pa.string())]
    + [(name, pa.float32()) for name in ("yaw", "pitch", "roll", "valid", "native_side", "face_score")]
    + [("action_units", NUMBERS), ("au_source", pa.string()), ("landmarks", NUMBERS)]
)


@dataclass(frozen=True)
class Settings:
    """split: shares of train, val and test, decided by person where known, else by the photo's bytes, and by the seed.
    format: webp or png. shards: tar files of at most 64 MB, else plain files. read_ages: let the readers tell the age
    of a face whose set does not."""

    split: tuple[float, float, float] = (0.9, 0.05, 0.05)
    seed: int = 0
    format: str = "webp"
    shards: bool = True
    read_ages: bool = False

    def __post_init__(self) -> None:
        if len(self.split) != 3 or min(self.split) < 0 or abs(sum(self.split) - 1) > 1e-6:
            raise BadInput(
                f"the split {'/'.join(map(str, self.split))} must be three shares that add up to 1"
            )


def prepare(
    source: FaceSource,
    reader: FaceReader,
    out: Path,
    settings: Settings,
    asked: dict[str, Any],
    looks: Looks | None = None,
) -> dict[str, Any]:
    """Make the face folder `out`; returns (and writes as prepared.json) the counts of what was taken and left out.

    looks: what looks at the photos (looking.py); None for this process, by the reader. The result is the same. asked:
    what else decides the result (JSON-native), so that a run that goes on under other settings is refused.
    BadInput when out is in use, no photo gives a face, or the disk is full.
    """
    check_out(out, source.folder)
    work = out / ".preparing"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with locked(work / "lock"):
            check_out(out, source.folder)
            _same_run(work, source, settings, asked)
            looks = looks or one_by_one(reader, settings.format)
            notes = _all_parts(work, source, reader, settings, looks)
            return _finish(work, out, notes, {"kind": source.kind, **asked, **dataclasses.asdict(settings)})
    except OSError as error:
        raise BadInput(
            f"{error.filename or out} cannot be written: {error.strerror or error}; "
            "mend that and run the same command again"
        ) from None


def check_out(out: Path, source: Path) -> None:
    """BadInput when a face folder cannot be made there."""
    for name in ("manifest.parquet", "manifest.csv"):
        if (out / name).exists():
            raise BadInput(f"{out / name} exists; give a new folder for the faces, or delete the old one")
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise BadInput(f"{out} lies in the folder of the photos; give one outside of it")


def split_of(key: str, settings: Settings) -> str:
    """The split of a person or a photo: a pure function of its key, the seed and the shares."""
    digest = hashlib.sha256(f"{settings.seed}/{key}".encode()).digest()
    chance = int.from_bytes(digest[:8], "big") / 2**64
    return SPLITS[min(int(np.searchsorted(np.cumsum(settings.split), chance, side="right")), 2)]


def _same_run(work: Path, source: FaceSource, settings: Settings, asked: dict[str, Any]) -> None:
    """Note what is being prepared, or make sure that what is there was the same."""
    digest = hashlib.sha256("\n".join(source.files).encode()).hexdigest()
    said = {"kind": source.kind, "photos": digest, **asked, **dataclasses.asdict(settings)}
    path, text = work / "settings.json", json.dumps(said, sort_keys=True)
    if path.is_file() and path.read_text() != text:
        raise BadInput(
            f"{work} holds an unfinished preparation of other photos or settings; finish that, or delete the folder"
        )
    with replacing(path) as part:
        part.write_text(text)


def _all_parts(
    work: Path, source: FaceSource, reader: FaceReader, settings: Settings, looks: Looks
) -> list[dict[str, Any]]:
    """The notes of all parts, in order; those that are there are not made again."""
    notes: list[dict[str, Any]] = []
    views: Iterator[Viewed] | None = None
    with tqdm(total=len(source.files), desc=f"preparing {source.kind}", unit="photo") as bar:
        while not notes or notes[-1]["next"] < len(source.files):
            first = notes[-1]["next"] if notes else 0
            name = f"faces-{len(notes):05d}"
            path = work / f"{name}.json"
            if path.is_file():
                views = None
            else:
                views = views or _viewed(source, first, looks)
                _make_part(work, name, first, source, views, reader, settings, bar.update)
            notes.append(json.loads(path.read_text()))
            bar.n = notes[-1]["next"]
            bar.refresh()
    return notes


def _make_part(
    work: Path,
    name: str,
    first: int,
    source: FaceSource,
    views: Iterator[Viewed],
    reader: FaceReader,
    settings: Settings,
    seen: Callable[[], object],
) -> None:
    """Photos from number `first` on as NAME.tar (or the folder NAME), NAME.parquet and, last, NAME.json. views: what is
    seen in them."""
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    named, last = [], first
    with picture_store(work, name, settings.shards) as store:
        waiting: list[tuple[str, Known, Seen]] = []
        for last in range(first, len(source.files)):  # noqa: B007 (used below)
            file, known, view = next(views)
            if isinstance(view, Seen) and isinstance(known, Known):
                waiting.append((file, known, view))
            else:
                reason = known if isinstance(known, LeftOut) else cast(LeftOut, view)
                left_out[reason.kind] += 1
                named.append({"photo": file, "why": f"{reason.kind}: {reason}"})
            seen()
            full = store.written > SHARD_BYTES or last - first + 1 >= PART_PHOTOS
            if full or len(waiting) == READ_AT_ONCE or last == len(source.files) - 1:
                rows += _taken(waiting, reader, store, settings, source.kind, first + len(rows))
                waiting = []
            if full:
                break
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), work / f"{name}.parquet")
    note = {
        "next": last + 1,
        "faces": len(rows),
        "left_out": left_out,
        "named": named[:NAMED],
        **{
            column: Counter(str(row[column]) for row in rows)
            for column in ("split", "au_source", "age_source")
        },
    }
    with replacing(work / f"{name}.json") as part:
        part.write_text(json.dumps(note))


def _viewed(source: FaceSource, first: int, looks: Looks) -> Iterator[Viewed]:
    """(photo's path, what its set says, what is seen in it) from photo number `first` on. A photo that its set does not
    let be used is not looked at."""
    said: deque[tuple[str, Known | LeftOut]] = deque()

    def paths() -> Iterator[Path | None]:
        for file in source.files[first:]:
            try:
                said.append((file, source.known(file)))
                yield source.folder / file
            except LeftOut as reason:
                said.append((file, reason))
                yield None

    for view in looks(paths()):
        yield *said.popleft(), view


def _taken(
    waiting: list[tuple[str, Known, Seen]],
    reader: FaceReader,
    store: PictureStore,
    settings: Settings,
    kind: str,
    number: int,
) -> list[dict[str, Any]]:
    """Store faces and return their rows of the manifest."""
    if not waiting:
        return []
    measured = reader.measure([view.face for _, _, view in waiting])
    rows = []
    for i, ((file, known, view), read) in enumerate(zip(waiting, measured, strict=True)):
        name, face = f"{kind}-{number + i:07d}", view.face
        key = f"person {known.identity}" if known.identity else view.digest
        rows.append(
            {
                "id": name,
                "file": store.add(f"{name}.{settings.format}", view.content),
                "split": known.split or split_of(key, settings),
                "source": known.source or kind,
                "source_name": file,
                "identity": known.identity,
                "gender": known.gender,
                **_age(known, read, settings.read_ages),
                **dict(zip(("yaw", "pitch", "roll"), known.pose or read.pose, strict=True)),
                "valid": face.valid,
                "native_side": face.native_side,
                "face_score": face.score,
                **_action_units(known, face, read, reader.teacher is not None),
                "landmarks": face.landmarks.ravel(),
            }
        )
    return rows


def _age(known: Known, read: Measured, by_reader: bool) -> dict[str, Any]:
    age, source = known.age, known.age_source
    if age is None and by_reader:
        age, source = read.age, "reader"
    return {
        "age": age,
        "age_group": None if age is None else AGE_GROUPS[age_group(age)],
        "age_source": source,
    }


def _action_units(known: Known, face: CutFace, read: Measured, taught: bool) -> dict[str, Any]:
    """What the set says, else MediaPipe where it is asked, else our own reader."""
    if known.action_units is not None:
        return {"action_units": known.action_units, "au_source": known.au_source}
    if taught:
        return {
            "action_units": face.action_units,
            "au_source": "mediapipe" if face.action_units is not None else None,
        }
    return {"action_units": read.action_units, "au_source": "reader"}


def _finish(work: Path, out: Path, notes: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """Move all parts to `out`, write prepared.json and, last of all, the manifest."""
    report = _report(notes, settings)
    if not report["faces"]:
        shutil.rmtree(work)
        what = ", ".join(f"{kind} {n}" for kind, n in report["left_out"].items())
        first = report["named"][0]
        raise BadInput(
            f"none of the {report['photos']} photos gave a face ({what}); the first, {first['photo']}: {first['why']}"
        )
    for i in range(len(notes)):
        for name in (f"faces-{i:05d}.tar", f"faces-{i:05d}"):
            if (work / name).exists():
                os.replace(work / name, out / name)
    with replacing(out / "prepared.json") as part:
        part.write_text(json.dumps(report, indent=1) + "\n")
    with replacing(out / "manifest.parquet") as part, pq.ParquetWriter(part, SCHEMA) as writer:
        for i in range(len(notes)):
            writer.write_table(pq.read_table(work / f"faces-{i:05d}.parquet"))
    shutil.rmtree(work)
    return report


def _report(notes: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    def total(name: str) -> dict[str, int]:
        return dict(sum((Counter(note[name]) for note in notes), Counter()).most_common())

    return {
        "photos": notes[-1]["next"],
        "faces": sum(note["faces"] for note in notes),
        "left_out": total("left_out"),
        "named": [named for note in notes for named in note["named"]][:NAMED],
        "split": total("split"),
        "au_source": total("au_source"),
        "age_source": total("age_source"),
        "settings": settings,
    }
