"""One part of a multi-pose set: every try at its images, and what the manifest says of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ...edits import AU_CODES, AU_UNSEEN
from ...errors import BadInput
from ...images.tensors import to_pictures, to_tensor
from ..data.faces import Faces
from ..data.picture_store import PictureStore, encoded
from .gates import Examiner, Looks
from .plan import Backend, Request, Slot, SourceRules, people, source_labels
from .sources import SIDES, SourcePictures

NUMBERS = pa.list_(pa.float32())
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "file", "split", "source", "source_id", "source_set", "identity")]
    + [("gender", pa.string()), ("age", pa.float32()), ("age_group", pa.string())]
    + [(name, pa.float32()) for name in ("target_yaw", "target_pitch", "yaw", "pitch", "roll")]
    + [(name, pa.float32()) for name in ("cell_yaw", "cell_pitch", "read_yaw", "read_pitch")]
    + [(name, pa.float32()) for name in ("fit_yaw", "fit_pitch", "source_yaw")]
    + [(name, pa.float32()) for name in ("identity_cosine", "read_age", "source_read_age", "face_score")]
    + [("action_units", NUMBERS), ("au_source", pa.string()), ("landmarks", NUMBERS)]
    + [("teacher_identity", NUMBERS), ("seed", pa.int64()), ("attempt", pa.int32()), ("side", pa.int32())]
    + [("backend", pa.string()), ("versions", pa.string()), ("weights", pa.string()), ("reason", pa.string())]
)
WORK = ".parts"
"""Folder in OUT of what the parts note."""


@dataclass
class Set:
    """What a set is made of. faces: all splits, at 128 px. slots: see multipose_requests.plan; `add` adds to them.
    looks: the readers' of every row that may be turned. settings: what else decides the result (JSON-native). weights:
    fingerprint of the finder and readers that examine. part: images of a shard. batch: images made at once."""

    faces: Faces
    slots: list[Slot]
    backend: Backend
    examiner: Examiner
    looks: dict[int, Looks]
    rules: SourceRules
    out: Path
    settings: dict[str, Any]
    weights: str
    seed: int = 0
    part: int = 100
    batch: int = 8
    pictures: SourcePictures = field(init=False)

    finished: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.pictures = SourcePictures(self.faces, self.looks, self.rules.large, self.rules.huge)
        self.asked, self.last, self.dry = len(self.slots), 0, 0
        self.chunks: list[list[Slot]] = []
        self._cut(self.slots)
        self.names = self.faces.table["id"].to_numpy(str)
        self.people = people(self.faces.table)

    @property
    def work(self) -> Path:
        return self.out / WORK

    def parts(self) -> int:
        return len(self.chunks)

    def add(self, slots: list[Slot]) -> None:
        """More slots, in parts of their own."""
        self.last = len(self.slots)
        self.slots = self.slots + slots
        self._cut(slots)

    def _cut(self, slots: list[Slot]) -> None:
        self.chunks += [slots[i : i + self.part] for i in range(0, len(slots), self.part)]

    def note(self, number: int) -> Path:
        return self.work / f"{number:05d}.json"


class Part:
    """The tries of one part, and what is known of its sources while they last."""

    def __init__(self, job: Set, store: PictureStore, tell: Callable[[], object]):
        self.job, self.store, self.tell = job, store, tell
        self.rows: list[dict[str, Any]] = []
        self.rejected: Counter[str] = Counter()
        self.tried: Counter[int] = Counter()
        self.images = 0
        self.sources: dict[int, np.ndarray] = {}
        self.spoilt: set[int] = set()

    def fill(self, slots: list[Slot]) -> None:
        """Try every slot until it is filled or nothing is left to try with."""
        job = self.job
        tries = {s.number: s.requests(job.names, job.seed, job.examiner.gates.jitter) for s in slots}
        waiting = list(slots)
        while waiting:
            wanted = [(slot, next(tries[slot.number], None)) for slot in waiting]
            pairs = [(slot, request) for slot, request in wanted if request is not None]
            self._fetch({request.row for _, request in pairs})
            usable = [(slot, request) for slot, request in pairs if request.row not in self.spoilt]
            waiting = [slot for slot, request in pairs if request.row in self.spoilt]
            for side in SIDES:
                of_side = [pair for pair in usable if len(self.sources[pair[1].row]) == side]
                for i in range(0, len(of_side), job.batch):
                    waiting += self._try(of_side[i : i + job.batch])

    def _fetch(self, rows: set[int]) -> None:
        """Read sources that are new."""
        for row in sorted(rows - self.sources.keys() - self.spoilt):
            try:
                self.sources[row] = self.job.pictures(row)
            except BadInput:
                self._spoil(row, "unreadable source")

    def _spoil(self, row: int, reason: str) -> None:
        self.spoilt.add(row)
        self.rejected[reason] += 1

    def _try(self, pairs: list[tuple[Slot, Request]]) -> list[Slot]:
        """Make one batch; returns the slots that must be tried again."""
        job = self.job
        requests = [request for _, request in pairs]
        rows = [request.row for request in requests]
        pictures = made(job, np.stack([self.sources[row] for row in rows]), requests)
        looks, pose, reasons = self._examine(pictures, requests)
        again = []
        for i, (slot, request) in enumerate(pairs):
            look = Looks(*(values[i] for values in looks))
            row = self._row(slot, request, look, job.looks[request.row], pose[i])
            row |= {"side": pictures.shape[1], "reason": reasons[i]}
            self.rows.append(row)
            self.tried[slot.number] += 1
            if row["reason"]:
                self.rejected[row["reason"]] += 1
                again.append(slot)
                continue
            row["file"] = self.store.add(f"{row['id']}.webp", encoded(pictures[i], "webp"))
            self.images += 1
            self.tell()
        return again

    def _examine(
        self, pictures: np.ndarray, requests: list[Request]
    ) -> tuple[Looks, np.ndarray, list[str | None]]:
        """What is measured on pictures, their poses (B,2), and why they are rejected. The finder sees what passes the
        readers, the local reader what passes all."""
        examiner, labels = self.job.examiner, self.job.faces.labels
        rows = [request.row for request in requests]
        target = np.array([[request.yaw, request.pitch] for request in requests])
        sources, looks = [self.job.looks[row] for row in rows], examiner.look(pictures, find=False)
        cosines = [looks.identity[i] @ source.identity for i, source in enumerate(sources)]
        cosine, age, read_age = (np.array(v, np.float64) for v in (cosines, labels["age"][rows], looks.age))
        looks = examiner.found(pictures, looks, examiner.alike(cosine, age, read_age))
        before = np.stack([source.read_pose[:2] for source in sources])
        pose = examiner.measured(
            target, labels["pose"][rows, :2], before, looks.read_pose[:, :2], looks.fit_pose
        )
        told = zip(looks.score, cosine, pose, target, age, read_age, strict=True)
        reasons = [examiner.reason(*one) for one in told]
        looks = examiner.refined(pictures, looks, np.array([reason is None for reason in reasons]))
        return looks, pose, reasons

    def _row(
        self, slot: Slot, request: Request, look: Looks, source: Looks, pose: np.ndarray
    ) -> dict[str, Any]:
        """What the manifest says of a try."""
        job, row = self.job, request.row
        labels, table = job.faces.labels, job.faces.table
        told = source_labels(job.faces, row)
        return {
            "id": f"multipose-{slot.number:06d}",
            "split": slot.split,
            "source": f"multipose_{job.backend.name}",
            "source_id": job.names[row],
            "source_set": table["source"].iloc[row] if "source" in table else None,
            "identity": f"person-{job.people[row]}",
            **{name: told[name] for name in ("gender", "age", "age_group")},
            "cell_yaw": slot.yaw,
            "cell_pitch": slot.pitch,
            "target_yaw": request.yaw,
            "target_pitch": request.pitch,
            "yaw": float(pose[0]),
            "pitch": float(pose[1]),
            "roll": float(look.read_pose[2]),
            "read_yaw": float(look.read_pose[0]),
            "read_pitch": float(look.read_pose[1]),
            "fit_yaw": float(look.fit_pose[0]),
            "fit_pitch": float(look.fit_pose[1]),
            "source_yaw": told["pose"][0],
            "identity_cosine": float(look.identity @ source.identity),
            "read_age": float(look.age),
            "source_read_age": float(source.age),
            "face_score": float(look.score),
            **_action_units(labels["action_units"][row], look),
            "landmarks": look.landmarks.ravel(),
            "teacher_identity": None if np.isnan(labels["teacher"][row]).any() else labels["teacher"][row],
            "seed": request.seed,
            "attempt": self.tried[slot.number],
            "backend": job.backend.name,
            "versions": json.dumps(job.backend.versions, sort_keys=True),
            "weights": job.weights,
        }


def _action_units(labelled: np.ndarray, look: Looks) -> dict[str, Any]:
    """The source's, where it has any: a head that turns keeps its expression. Else what is read."""
    if not np.isnan(labelled).all():
        return {"action_units": labelled, "au_source": "source"}
    units = look.action_units.copy()
    units[[AU_CODES.index(code) for code in AU_UNSEEN]] = np.nan
    return {"action_units": units, "au_source": "reader"}


def made(job: Set, sources: np.ndarray, requests: list[Request]) -> np.ndarray:
    """(B,S,S,3) uint8 sources -> the images that the backend makes of them, the same shape."""
    rows, device = [request.row for request in requests], job.examiner.device
    landmarks = torch.from_numpy(job.faces.labels["landmarks"][rows].copy()).to(device)
    labels = [source_labels(job.faces, row) for row in rows]
    with torch.inference_mode():
        return to_pictures(job.backend.make(to_tensor(sources, device), landmarks, labels, requests))


def make_again(job: Set, row: Mapping[str, Any]) -> bytes:
    """The image of a row of the manifest, made once more: the bytes of its file in the shard."""
    source = int(np.flatnonzero(job.names == row["source_id"])[0])
    yaw, pitch = (round(float(row[f"target_{axis}"]), 2) for axis in ("yaw", "pitch"))
    request = Request(source, yaw, pitch, int(row["seed"]))
    return encoded(made(job, job.pictures(source)[None], [request])[0], "webp")
