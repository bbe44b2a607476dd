"""A multi-pose face set: people of a face folder, turned by a backend, in parts that can be resumed and shared.

Every part is one shard, the table of its tries and, last, a note that it is done; what has a note is never made again.
A part depends on nothing but its number and the settings, so several processes share them, and a run that was killed
goes on with however many processes. The manifest is written anew at the end of each run: the folder is a face folder
(see data.py) at any time after the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from ...atomic import replacing
from ...errors import BadInput
from ..data.picture_cache import fingerprint
from ..data.picture_store import picture_store
from ..engine.atomic_files import locked
from .plan import Backend, Request, Slot
from .shards import SCHEMA, WORK, Part, Set, make_again

__all__ = [
    "Backend",
    "Request",
    "Set",
    "add_round",
    "begin",
    "check_unfinished",
    "gather",
    "make_again",
    "make_set",
]

TOLD = ["id", "split", "source_id", "age", "cell_yaw", "cell_pitch", "reason"]
More = Callable[[list[Slot], pd.DataFrame], list[Slot]]
"""See multipose_refill.refill."""
DRY_ROUNDS = 3
"""So many rounds without an image end a set."""
PER_IMAGE = 45_000
"""Bytes on the disk, rather too many than too few."""


def check_unfinished(out: Path) -> None:
    """BadInput when a set is complete there, or something else than a set."""
    report = out / "report.json"
    if report.is_file() and json.loads(report.read_text()).get("complete"):
        raise BadInput(f"{out} holds a finished set; give another --out, or delete it")
    if not (out / WORK).exists() and any((out / f"manifest.{end}").exists() for end in ("parquet", "csv")):
        raise BadInput(f"{out} is a face folder already; give another --out")


def begin(job: Set) -> None:
    """Make the folder and note what is made there, or see that it is the same. BadInput says which setting differs, or
    that there is no room."""
    with refusing(job.out):
        job.work.mkdir(parents=True, exist_ok=True)
        path, settings = job.work / "settings.json", settings_of(job)
        if path.is_file():
            said = json.loads(path.read_text())
            other = sorted(key for key in said.keys() | settings.keys() if said.get(key) != settings.get(key))
            if other:
                raise BadInput(
                    f"{job.out} holds an unfinished set with other {', '.join(other)}; give the same, or another --out"
                )
        left = sum(len(job.chunks[n]) for n in range(job.parts()) if not job.note(n).is_file())
        needed, free = max(left, 0) * PER_IMAGE, shutil.disk_usage(job.out).free
        if needed > free:
            raise BadInput(
                f"{left} images need about {needed / 1e6:.0f} MB in {job.out}, {free / 1e6:.0f} MB are free; make room"
            )
        with replacing(path) as part:
            part.write_text(json.dumps(settings, indent=1))


def settings_of(job: Set) -> dict[str, Any]:
    own = {
        "faces": fingerprint(job.faces.folder, job.faces.table["file"]),
        "backend": job.backend.name,
        "versions": job.backend.versions,
        "weights": job.weights,
        "part": job.part,
    }
    return json.loads(json.dumps(job.settings | own))


def make_set(job: Set, rank: int = 0, processes: int = 1, end: float = float("inf")) -> bool:
    """Make this process's share of the parts that are not there yet; False when the monotonic clock
    came to `end` before."""
    mine = range(rank, job.parts(), processes)
    shown = sum(len(job.chunks[number]) for number in mine)
    with refusing(job.out), tqdm(total=shown, desc=job.backend.name, unit="image", disable=rank > 0) as bar:
        for number in mine:
            if time.monotonic() > end:
                return False
            if not job.note(number).is_file():
                with locked(job.work / f"{number:05d}.lock"):
                    if not job.note(number).is_file():
                        _make_part(job, number, processes, bar)
            bar.n = max(bar.n, sum(len(job.chunks[n]) for n in mine if n <= number))
            bar.refresh()
    return True


@contextlib.contextmanager
def refusing(out: Path) -> Iterator[None]:
    """What the disk refuses, in one sentence."""
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{error.filename or out} cannot be written: {error.strerror or error}; what is made stays valid: "
            "mend that and run the same command again"
        ) from None


def _make_part(job: Set, number: int, processes: int, bar: tqdm[Any]) -> None:
    began, name = time.monotonic(), f"multipose-{number:05d}"
    slots = job.chunks[number]
    with picture_store(job.out, name, shards=True) as store:
        made = Part(job, store, bar.update)
        made.fill(slots)
    pq.write_table(pa.Table.from_pylist(made.rows, SCHEMA), job.work / f"{number:05d}.parquet")
    note = {
        "slots": len(slots),
        "images": made.images,
        "tries": len(made.rows),
        "rejected": made.rejected,
        "seconds": time.monotonic() - began,
        "processes": processes,
    }
    with replacing(job.note(number)) as part:
        part.write_text(json.dumps(note))


def add_round(job: Set, more: More) -> bool:
    """Plan what is still missing once all parts are done; False when parts are not done, and when nothing is missing or
    nothing more can be made of the faces. Every process and every later run comes to the same."""
    if not all(job.note(number).is_file() for number in range(job.parts())):
        return False
    tries = pd.concat(
        [
            pq.read_table(job.work / f"{number:05d}.parquet", columns=TOLD).to_pandas()
            for number in range(job.parts())
        ]
    )
    made = set(tries["id"][tries["reason"].isna()])
    gained = any(f"multipose-{slot.number:06d}" in made for slot in job.slots[job.last :])
    job.dry = 0 if gained else job.dry + 1
    hope = made and job.dry < DRY_ROUNDS and len(made) < job.asked
    slots = more(job.slots, tries) if hope else []
    if slots:
        job.add(slots)
    job.finished = not slots
    return bool(slots)


def gather(job: Set) -> dict[str, Any]:
    """Write the manifest of all parts that are done, and a table of the rejected tries; returns the counts, which
    report.json holds too. BadInput when there is no image."""
    done = [number for number in range(job.parts()) if job.note(number).is_file()]
    notes = [json.loads(job.note(number).read_text()) for number in done]
    if not sum(note["images"] for note in notes):
        why = ", ".join(f"{reason} {n}" for reason, n in _total(notes).items()) or "no part is done"
        raise BadInput(
            f"{job.out} holds no image ({why}); run the same command again, or loosen the recipe's gates"
        )
    with refusing(job.out), replacing(job.out / "manifest.parquet") as kept:
        with replacing(job.work / "rejected.parquet") as refused:
            with pq.ParquetWriter(kept, SCHEMA) as images, pq.ParquetWriter(refused, SCHEMA) as rejects:
                for number in done:
                    table = pq.read_table(job.work / f"{number:05d}.parquet")
                    good = table["reason"].is_null()
                    images.write_table(table.filter(good))
                    rejects.write_table(table.filter(pc.invert(good)))
    report = {
        "complete": job.finished,
        "asked": job.asked,
        **{name: sum(note[name] for note in notes) for name in ("slots", "images", "tries")},
        "rejected": _total(notes),
        "seconds": sum(note["seconds"] for note in notes),
        "images_per_second": _speed(notes),
        "processes": sorted({note["processes"] for note in notes}),
        "pose_curves": {name: curve._asdict() for name, curve in job.examiner.curves._asdict().items()},
        "gates": dataclasses.asdict(job.examiner.gates),
        "settings": settings_of(job),
    }
    with refusing(job.out), replacing(job.out / "report.json") as part:
        part.write_text(json.dumps(report, indent=1) + "\n")
    for lock in job.work.glob("*.lock"):
        lock.unlink(missing_ok=True)
    return report


def _total(notes: list[dict[str, Any]]) -> dict[str, int]:
    return dict(sum((Counter(note["rejected"]) for note in notes), Counter[str]()).most_common())


def _speed(notes: list[dict[str, Any]]) -> float:
    """Images a second of all processes together, as if none had waited for another."""
    return sum(note["images"] for note in notes) / sum(note["seconds"] / note["processes"] for note in notes)
