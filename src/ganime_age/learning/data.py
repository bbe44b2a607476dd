"""Faces to learn from: a manifest beside tar shards or image files, decoded once into a memory-mapped cache.

A face folder holds `manifest.parquet` (or `manifest.csv`) and the files it names. Columns: id, file
(`shard.tar/member` or a path), split, age, age_group, identity, action_units (17, 0..5), landmarks (136 = 68 x,y in
0..1 of the frame), yaw, pitch, roll (degrees), source, teacher_identity (128). Missing is null.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from ..edits import AU_CODES, GROUP_STARTS
from ..errors import BadInput

REQUIRED = ("id", "file", "split")
MIRROR = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        45,
        44,
        43,
        42,
        47,
        46,
        39,
        38,
        37,
        36,
        41,
    ]
    + [40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)
"""Where each of the 68 iBUG points goes when a face is mirrored."""


def read_manifest(folder: str | Path) -> pd.DataFrame:
    """The table of a face folder; BadInput names the folder, or the columns that it lacks."""
    folder = Path(folder)
    for name, read in (("manifest.parquet", pd.read_parquet), ("manifest.csv", pd.read_csv)):
        if (folder / name).is_file():
            table = read(folder / name)
            break
    else:
        raise BadInput(
            f"{folder} holds no manifest.parquet or manifest.csv; make one with training/prepare_faces.py"
        )
    lacking = [column for column in REQUIRED if column not in table]
    if lacking:
        raise BadInput(
            f"{folder / name} lacks the column {', '.join(lacking)}; see training/README.md for the format"
        )
    if table.empty:
        raise BadInput(f"{folder / name} lists no faces")
    return table


class Faces:
    """The faces of a folder as arrays: labels in memory, pictures in one memory-mapped file.

    size: side in pixels of the decoded faces. splits: which rows to keep. The cache (`cache-SIZE.npy`, uint8, N x 4 x
    size x size, RGB and the share that is real) is made at the first use and shared by all splits; memory stays flat.
    """

    def __init__(
        self, folder: str | Path, size: int, splits: tuple[str, ...] = ("train",), limit: int | None = None
    ):
        self.folder, self.size = Path(folder), size
        table = read_manifest(folder)
        self.pictures = open_cache(self.folder, table, size)
        self.rows = np.flatnonzero(table["split"].isin(splits).to_numpy())[:limit]
        if not len(self.rows):
            raise BadInput(f"{folder} has no face in the split {', '.join(splits)}")
        self.table = table.iloc[self.rows].reset_index(drop=True)
        self.labels = labels_of(self.table)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray, mirror: np.ndarray | None = None) -> dict[str, torch.Tensor]:
        """Faces (B,3,S,S) float32 in [-1,1], their valid area (B,1,S,S) in 0..1 and every label; NaN is missing.

        mirror: (B,) bool, which of them to show mirrored, landmarks and yaw and roll with them.
        """
        mirror = np.zeros(len(indices), bool) if mirror is None else mirror
        order = np.argsort(self.rows[indices])
        raw = np.empty((len(indices), 4, self.size, self.size), np.uint8)
        raw[order] = self.pictures[self.rows[indices][order]]
        raw[mirror] = raw[mirror][..., ::-1]
        out = {name: torch.from_numpy(values[indices].copy()) for name, values in self.labels.items()}
        mirror_labels(out, torch.from_numpy(mirror))
        pixels = torch.from_numpy(raw)
        out["face"] = pixels[:, :3].float() / 127.5 - 1
        out["valid"] = pixels[:, 3:].float() / 255
        return out


def mirror_labels(labels: dict[str, torch.Tensor], mirror: torch.Tensor) -> None:
    """Mirror landmarks (N,68,2) and head pose (N,3) in place where `mirror` (N,) is true."""
    flipped = labels["landmarks"][mirror][:, MIRROR]
    labels["landmarks"][mirror] = torch.stack([1 - flipped[..., 0], flipped[..., 1]], -1)
    labels["pose"][mirror] = labels["pose"][mirror] * torch.tensor([-1.0, 1.0, -1.0])


def labels_of(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Every label of a manifest as float32 arrays; NaN (identity class -1) where it is missing."""
    n = len(table)
    people = table["identity"] if "identity" in table else pd.Series([None] * n)
    columns = {name: _floats(table, name) for name in ("age", "yaw", "pitch", "roll")}
    return {
        "age": columns["age"],
        "pose": np.stack([columns[k] for k in ("yaw", "pitch", "roll")], 1),
        "action_units": _lists(table, "action_units", len(AU_CODES)),
        "landmarks": _lists(table, "landmarks", 136).reshape(n, 68, 2),
        "teacher": _lists(table, "teacher_identity", 128),
        "person": pd.factorize(people)[0].astype(np.int64),
    }


def _floats(table: pd.DataFrame, name: str) -> np.ndarray:
    if name not in table:
        return np.full(len(table), np.nan, np.float32)
    return pd.to_numeric(table[name], errors="coerce").to_numpy(np.float32)


def _lists(table: pd.DataFrame, name: str, width: int) -> np.ndarray:
    out = np.full((len(table), width), np.nan, np.float32)
    if name in table:
        for i, value in enumerate(table[name]):
            if value is not None and np.size(value) == width:
                out[i] = value
    return out


def open_cache(folder: Path, table: pd.DataFrame, size: int) -> np.ndarray:
    """Memory-map the decoded pictures of a folder, decoding them first when that was not done before."""
    path = folder / f"cache-{size}.npy"
    if path.is_file():
        pictures = np.load(path, mmap_mode="r")
        if pictures.shape[0] == len(table):
            return pictures
    shape = (len(table), 4, size, size)
    pictures = np.lib.format.open_memmap(f"{path}.part", mode="w+", dtype=np.uint8, shape=shape)
    with ShardReader(folder) as shards:
        for i, file in enumerate(tqdm(table["file"], desc=f"decoding faces at {size} px", unit="face")):
            pictures[i] = decode(shards.read(file), size, file)
    pictures.flush()
    os.replace(f"{path}.part", path)
    return np.load(path, mmap_mode="r")


class ShardReader:
    """Bytes of `shard.tar/member` or of a plain file below `folder`; tar files are opened once."""

    def __init__(self, folder: Path):
        self.folder, self.open = folder, {}

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self.open.values():
            archive.close()

    def read(self, file: str) -> bytes:
        """BadInput names the file that is not there."""
        shard, _, member = file.partition(".tar/")
        try:
            if not member:
                return (self.folder / file).read_bytes()
            if shard not in self.open:
                self.open[shard] = tarfile.open(self.folder / f"{shard}.tar")
            return self.open[shard].extractfile(member).read()
        except (OSError, KeyError, tarfile.TarError) as error:
            raise BadInput(f"{self.folder / file} cannot be read: {error}") from None


def decode(content: bytes, size: int, name: str) -> np.ndarray:
    """One picture as uint8 (4,size,size): RGB, what is not real filled smoothly, and the valid share."""
    try:
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{name} is not a readable picture: {error}") from None
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    alpha = picture[..., 3:].astype(np.float32) / 255
    shrunk = cv2.resize(
        np.concatenate([picture[..., :3] * alpha, alpha], -1), (size, size), interpolation=method
    )
    filled = fill_unreal(shrunk[..., :3], shrunk[..., 3:])
    return (
        np.concatenate([filled, shrunk[..., 3:] * 255], -1)
        .round()
        .clip(0, 255)
        .astype(np.uint8)
        .transpose(2, 0, 1)
    )


def fill_unreal(premultiplied: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Extend the real pixels smoothly over the rest: (S,S,3) colour times alpha (S,S,1) -> (S,S,3) in 0..255."""
    out = premultiplied.copy()
    left = 1 - alpha
    side = out.shape[0]
    for radius in (side // 32, side // 8, side // 2, 2 * side):
        if left.max() < 1e-3:
            break
        width = max(2 * radius + 1, 3)
        colour = cv2.blur(premultiplied, (width, width), borderType=cv2.BORDER_CONSTANT)
        share = cv2.blur(alpha, (width, width), borderType=cv2.BORDER_CONSTANT)[..., None]
        trust = np.clip(share * 8, 0, 1) * left
        out += trust * colour / np.maximum(share, 1e-4)
        left = left - trust
    return out


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
