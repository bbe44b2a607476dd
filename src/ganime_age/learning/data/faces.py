"""Faces to learn from: a manifest beside tar shards or image files, decoded once into a memory-mapped cache.

A face folder holds `manifest.parquet` (or `manifest.csv`) and the files it names. Columns: id, file
(`shard.tar/member` or a path), split, age (years), age_low and age_high (a range, where no age is known), age_group,
identity, cluster (a picture or person that shows more than once), action_units (17, 0..5), landmarks (136 = 68 x,y in
0..1 of the frame), yaw, pitch, roll (degrees), source, race, teacher_identity (128). Missing is null.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ...edits import GROUP_STARTS
from ...errors import BadInput
from ...images.tensors import to_unit
from ...networks.mirror import mirrored_landmarks, mirrored_pose
from ..engine.atomic_files import RowReader, read_at_random, release
from .manifest import LISTS, Manifest
from .picture_cache import cache_place, open_cache
from .resident import ResidentFaces


class Faces:
    """The faces of a folder as arrays: pictures and long labels in memory-mapped files, so that memory stays flat.

    size: side in pixels of the decoded faces. splits, sources: which rows to keep (no source: all). limit: no more
    than so many. hold_out: source -> the half of it, "a" or "b", that is left out (see `halves`). The cache
    (`cache-SIZE.npy`, uint8, N x 4 x size x size, RGB and the share that is real) is made at the first use and shared
    by all splits. Pictures that cannot be read are named once and left out.

    pictures: the whole cache. rows (M,): which of it are these faces. table: the short columns of the manifest, M
    rows. labels: every label, M rows. BadInput names the folder or file that cannot be used.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int,
        splits: tuple[str, ...] = ("train",),
        limit: int | None = None,
        sources: tuple[str, ...] = (),
        hold_out: Mapping[str, str] | None = None,
    ):
        self.folder, self.size = Path(folder), size
        manifest = Manifest(folder)
        table = manifest.table()
        self.pictures, unreadable = open_cache(self.folder, table["file"], size)
        kept = table["split"].isin(splits)
        kept.iloc[unreadable] = False
        if sources:
            kept &= table["source"].isin(sources) if "source" in table else False
        kept &= ~held_out(table, hold_out or {})
        self.rows = np.flatnonzero(kept.to_numpy())[:limit]
        if not len(self.rows):
            of = f" of {', '.join(sources)}" if sources else ""
            raise BadInput(f"{folder} has no face{of} in the split {', '.join(splits)}")
        self.table = table.iloc[self.rows].reset_index(drop=True)
        self.labels = read_labels(manifest, self.table, self.rows, cache_place(self.folder))
        read_at_random(self.pictures, *self.labels.values())
        self.reader = RowReader(self.pictures)
        self.resident: ResidentFaces | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """The decoded pictures (B,4,S,S) uint8: RGB and the share that is real."""
        return self.reader.read(self.rows[indices])

    def batch(self, indices: np.ndarray, mirror: np.ndarray | None = None) -> dict[str, torch.Tensor]:
        """Faces (B,3,S,S) float32 in [-1,1], their valid area (B,1,S,S) in 0..1 and every label; NaN is missing.

        mirror: (B,) bool, which of them to show mirrored, landmarks and yaw and roll with them. On the CPU, or on the
        device where the faces reside (resident.py).
        """
        mirror = np.zeros(len(indices), bool) if mirror is None else mirror
        if self.resident:
            return self.resident.batch(indices, mirror)
        raw = self.pixels(indices)
        raw[mirror] = raw[mirror][..., ::-1]
        out = {name: torch.from_numpy(values[indices].copy()) for name, values in self.labels.items()}
        release(*self.labels.values())
        mirror_labels(out, torch.from_numpy(mirror))
        pixels = torch.from_numpy(raw)
        out["face"] = to_unit(pixels[:, :3])
        out["valid"] = pixels[:, 3:].float() / 255
        return out


def halves(table: pd.DataFrame) -> np.ndarray:
    """(N,) "a" or "b": the half of its source that each face of a manifest belongs to, for good.

    By a checksum of the person or picture (column cluster, else identity, else id), so that nobody is in both halves
    and a set that grows keeps its halves.
    """
    key = table["id"]
    for column in ("identity", "cluster"):
        if column in table:
            key = table[column].where(table[column].notna(), key)
    return np.array(["ab"[zlib.crc32(str(name).encode()) % 2] for name in key])


def held_out(table: pd.DataFrame, hold_out: Mapping[str, str]) -> np.ndarray:
    """(N,) bool: the faces of the halves that a recipe leaves out. BadInput for a half that is neither a nor b."""
    wrong = {source: half for source, half in hold_out.items() if half not in ("a", "b")}
    if wrong:
        raise BadInput(f'hold_out is {wrong}; write the half of each source to leave out, "a" or "b"')
    out = np.zeros(len(table), bool)
    if hold_out and "source" in table:
        half = halves(table)
        for source, left_out in hold_out.items():
            out |= (table["source"] == source).to_numpy() & (half == left_out)
    return out


def mirror_labels(labels: dict[str, torch.Tensor], mirror: torch.Tensor) -> None:
    """Mirror landmarks (N,68,2) and head pose (N,3) in place where `mirror` (N,) is true."""
    labels["landmarks"][mirror] = mirrored_landmarks(labels["landmarks"][mirror])
    labels["pose"][mirror] = mirrored_pose(labels["pose"][mirror])


def read_labels(
    manifest: Manifest, table: pd.DataFrame, rows: np.ndarray, place: Path
) -> dict[str, np.ndarray]:
    """Every label of some rows (ascending) of a manifest; NaN (identity class -1) where it is missing.

    table: the short columns of these rows. Lists of numbers are memory-mapped from nameless files in `place`, which
    go when the process goes; so memory does not grow with them. BadInput when these cannot be written.
    """
    columns = {name: _floats(table, name) for name in ("age", "yaw", "pitch", "roll")}
    people = table["identity"] if "identity" in table else pd.Series([None] * len(table))
    try:
        lists = _read_lists(manifest, rows, place)
    except OSError as error:
        raise BadInput(
            f"labels cannot be written to {place}: {error.strerror or error}; make room there"
        ) from None
    return {
        "age": columns["age"],
        "pose": np.stack([columns[k] for k in ("yaw", "pitch", "roll")], 1),
        "action_units": lists["action_units"],
        "landmarks": lists["landmarks"].reshape(len(rows), 68, 2),
        "teacher": lists["teacher_identity"],
        "person": pd.factorize(people)[0].astype(np.int64),
    }


def _floats(table: pd.DataFrame, name: str) -> np.ndarray:
    if name not in table:
        return np.full(len(table), np.nan, np.float32)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(np.float32, na_value=np.nan)


def _read_lists(manifest: Manifest, rows: np.ndarray, place: Path) -> dict[str, np.ndarray]:
    """Each list column as (len(rows),width) float32. All lists of a row lie side by side in one memory-mapped file, so
    that a random batch touches few of its pages."""
    ends = np.cumsum(list(LISTS.values()))
    with tempfile.TemporaryFile(dir=place) as file:
        start = 0
        for batch in manifest.lists():
            low, high = np.searchsorted(rows, (start, start + len(batch)))
            file.write(batch[rows[low:high] - start].tobytes())
            start += len(batch)
        file.flush()
        kept = np.memmap(file, np.float32, "r+", shape=(len(rows), ends[-1]))
    return dict(zip(LISTS, np.split(np.asarray(kept), ends[:-1], axis=1), strict=True))


def age_ranges(age: np.ndarray, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The youngest and the oldest age (N,) float32 that each face may have, from its age (N,) or else the columns
    age_low and age_high of its manifest: equal where the age is known, NaN where nothing is."""
    ends = []
    for name in ("age_low", "age_high"):
        known = _floats(table, name)
        ends.append(np.where(np.isnan(age), known, age).astype(np.float32))
    return ends[0], ends[1]


def balanced_weights(ages: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Chance of each face so that the ten age groups come more evenly; share 0 = as they are, 1 = all the same.

    ages: (N,) years, NaN where unknown (an eleventh group).
    """
    group = np.where(np.isnan(ages), 10, np.digitize(np.nan_to_num(ages), GROUP_STARTS[1:]))
    counts = np.bincount(group, minlength=11)
    weights = (1.0 / np.maximum(counts, 1))[group] ** share
    return weights / weights.sum()


def draw(step: int, seed: int, size: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (size,) and mirrorings (size,) of step number `step`: a pure function of its arguments, so that a
    run that goes on after a stop sees the same faces as one that never stopped."""
    chance = np.random.default_rng([seed, step])
    return chance.choice(len(weights), size, p=weights), chance.random(size) < 0.5
