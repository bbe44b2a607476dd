"""A face folder as numbered parts that travel: each a small face folder of its own, any subset of them trains.

A part is a folder with one shard, its rows of the manifest, and `pack.json`, which says how it was made. Faces are
dealt out at random, so every part is a fair sample of the whole set.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from gzip import GzipFile
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from ...atomic import new_folder, replacing
from ...errors import BadInput
from .manifest import LISTS, Manifest
from .picture_cache import read_pictures

NOTE = "pack.json"
SEED = 0
"""Of the order in which faces are dealt out."""
MEMBER = 128
"""Bytes that the compressed header and padding of one member of a shard take at most."""
MARGIN = 64 * 1024
"""Bytes of a part that the shard's end, the note and the manifest's table of contents may take."""
SPREAD = 1.1
"""How much larger the labels of one part may be than those of an average one."""


@dataclass(frozen=True)
class Settings:
    """How pictures are packed. side: pixels, larger pictures are shrunk to it. quality: WebP's, 1..100, of the colours;
    alpha is kept exactly. splits: which rows of the manifest."""

    side: int = 192
    quality: int = 70
    splits: tuple[str, ...] = ("train", "val", "test")

    def __post_init__(self) -> None:
        if self.side < 16 or not 1 <= self.quality <= 100:
            raise BadInput(
                f"side is {self.side} and quality {self.quality}; they must be at least 16 and 1..100"
            )


def pack(folder: Path, out: Path, max_mb: float, settings: Settings) -> list[Path]:
    """Write the faces of a folder to `out/000`, `out/001`, ...; returns these folders.

    max_mb: no part has more megabytes (10^6 bytes). `out` must be absent or empty; it is written as a whole or not at
    all. BadInput names what is wrong with the folder, `out`, or the size, and a disk that is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"{out} holds other work; choose a new folder for the parts")
    table = labels(folder)
    table = table.filter(pa.array(table.column("split").to_pandas().isin(settings.splits)))
    if not len(table):
        raise BadInput(f"{folder} has no face in the split {', '.join(settings.splits)}")
    try:
        with new_folder(out) as place:
            spool = place / "spool"
            with spool.open("w+b") as file:
                spans = shrink_all(folder, table.column("file").to_pandas(), settings, file)
                parts = deal(spans, label_bytes(table), max_mb)
                for number, rows in enumerate(parts):
                    write_part(place / f"{number:03d}", table, rows, file, spans, settings, len(parts))
            spool.unlink()
    except OSError as error:
        raise BadInput(
            f"the parts cannot be written to {out}: {error.strerror or error}; make room there"
        ) from None
    return sorted(out.iterdir())


def labels(folder: Path) -> pa.Table:
    """The whole manifest of a folder. A list of numbers that is missing or has another length is null."""
    manifest = Manifest(folder)
    table = pa.Table.from_pandas(manifest.table(), preserve_index=False)
    lists, start = np.concatenate(list(manifest.lists())), 0
    for name, width in LISTS.items():
        values = lists[:, start : start + width]
        start += width
        if name in manifest.columns:
            rows = [
                None if missing else row for row, missing in zip(values, np.isnan(values).all(1), strict=True)
            ]
            table = table.append_column(name, pa.array(rows, pa.list_(pa.float32())))
    return table


def shrink_all(folder: Path, files: pd.Series, settings: Settings, out: BinaryIO) -> np.ndarray:
    """Write all pictures, shrunk, one after another -> (N,2) int64, where each one starts and ends.

    Both are 0 where a picture cannot be read. BadInput when none can.
    """
    spans = np.zeros((len(files), 2), np.int64)
    failed: list[str] = []
    for row, content in tqdm(
        read_pictures(folder, files), "packing faces", len(files), unit="face", mininterval=5
    ):
        try:
            if isinstance(content, BadInput):
                raise content
            start = out.tell()
            out.write(shrunk(content, settings, files.iloc[row]))
            spans[row] = start, out.tell()
        except BadInput as error:
            failed.append(str(error))
    if len(failed) == len(files):
        raise BadInput(f"none of the {len(files)} pictures of {folder} can be read; {failed[0]}")
    if failed:
        tqdm.write(
            f"{len(failed)} of {len(files)} pictures cannot be read and are left out, first: {failed[0]}"
        )
    return spans


def shrunk(content: bytes, settings: Settings, name: str) -> bytes:
    """A picture file as a WebP of at most the side; as it is when that is no smaller. BadInput when it is none."""
    try:
        picture = Image.open(io.BytesIO(content))
        format, mode = picture.format, "RGBA" if picture.has_transparency_data else "RGB"
        pixels = np.asarray(picture.convert(mode))
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise BadInput(f"{name} is not a readable picture: {error}") from None
    smaller = max(pixels.shape[:2]) > settings.side
    if smaller:
        pixels = resized(pixels, settings.side)
    if pixels.shape[2] == 4 and pixels[..., 3].min() == 255:
        pixels = pixels[..., :3]
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "webp", quality=settings.quality, method=4)
    keep = not smaller and format == "WEBP" and len(content) <= out.tell()
    return content if keep else out.getvalue()


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H,W,3 or 4) uint8 -> (side,side,3 or 4). Colours count by their alpha, so what is not real leaves no edge."""
    if pixels.shape[2] == 3:
        return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    alpha = pixels[..., 3:].astype(np.float32) / 255
    joined = np.concatenate([pixels[..., :3] * alpha, alpha], -1)
    small = cv2.resize(joined, (side, side), interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-4)
    return np.concatenate([colour, 255 * small[..., 3:]], -1).round().clip(0, 255).astype(np.uint8)


def label_bytes(table: pa.Table) -> float:
    """Bytes that a row of the manifest takes in a part, generously."""
    out = io.BytesIO()
    write_table(table, out)
    return SPREAD * out.tell() / len(table)


def deal(spans: np.ndarray, labels: float, max_mb: float) -> list[np.ndarray]:
    """Rows of each part, ascending, drawn at random: as few parts as hold all, of about equal size.

    spans: (N,2) of `shrink_all`. labels: bytes of a row's. BadInput when not even one face fits into a part.
    """
    rows = np.flatnonzero(spans[:, 1] > spans[:, 0])
    rows = np.random.default_rng(SEED).permutation(rows)
    sizes = 1.001 * (spans[rows, 1] - spans[rows, 0]) + MEMBER + labels
    room = max_mb * 1e6 - MARGIN - sizes.max()
    if room <= 0:
        least = (MARGIN + 2 * sizes.max()) / 1e6
        raise BadInput(f"{max_mb:g} MB hold no face; give --max-mb at least {least:.2f}")
    count = math.ceil(sizes.sum() / room)
    owner = ((np.cumsum(sizes) - sizes) * count // sizes.sum()).astype(int)
    return [np.sort(rows[owner == number]) for number in range(count) if (owner == number).any()]


def write_part(
    place: Path,
    table: pa.Table,
    rows: np.ndarray,
    spool: BinaryIO,
    spans: np.ndarray,
    settings: Settings,
    count: int,
) -> None:
    """One part: its shard, its rows of the manifest, its note.

    The shard is compressed: a fifth of a plain tar file of small pictures is headers and padding. Who reads tar files
    sees by the first bytes that it is.
    """
    place.mkdir()
    number = int(place.name)
    shard = place / f"faces-{number:03d}.tar"
    names = [f"{row:06d}.webp" for row in rows]
    with GzipFile(shard, "wb", 6, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for row, name in zip(rows, names, strict=True):
            spool.seek(spans[row, 0])
            member = tarfile.TarInfo(name)
            member.size = int(spans[row, 1] - spans[row, 0])
            archive.addfile(member, spool)
    files = pa.array([f"{shard.name}/{name}" for name in names])
    own = table.take(pa.array(rows))
    write_manifest(own.set_column(own.schema.get_field_index("file"), "file", files), place)
    ids = "\n".join(map(str, table.column("id").to_pylist()))
    said: dict[str, Any] = asdict(settings) | {
        "pack": hashlib.sha256(f"{ids}{settings}".encode()).hexdigest()[:16],
        "part": number,
        "parts": count,
        "faces": len(rows),
        "shard": shard.name,
        "bytes": shard.stat().st_size,
    }
    (place / NOTE).write_text(json.dumps(said, indent=1) + "\n")


def write_manifest(table: pa.Table, folder: Path) -> None:
    """`manifest.parquet` of a folder."""
    with replacing(folder / "manifest.parquet") as part:
        write_table(table, part)


def write_table(table: pa.Table, out: Path | BinaryIO) -> None:
    """A manifest half as large as a plain one: the bytes of long columns' numbers are sorted by their significance."""
    lists = [name for name in LISTS if name in table.column_names]
    pq.write_table(
        table,
        out,
        row_group_size=4096,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if name not in lists],
        use_byte_stream_split=[f"{name}.list.element" for name in lists],
    )


def parts_of(folders: Iterable[Path]) -> list[Path]:
    """The folders, with the parts in place of a folder that `pack` wrote."""
    out: list[Path] = []
    for folder in folders:
        inside = sorted(note.parent for note in folder.glob(f"*/{NOTE}"))
        out += inside if inside and not (folder / NOTE).is_file() else [folder]
    return out


def check_parts(folders: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """The notes of those folders that are parts.

    BadInput when one is damaged, lacks its shard or is given twice, or when two were packed with different settings.
    """
    notes = {folder: read_note(folder) for folder in folders if (folder / NOTE).is_file()}
    seen: dict[tuple[str, int], Path] = {}
    for folder, note in notes.items():
        first, said = next(iter(notes.items()))
        for name in ("side", "quality"):
            if note[name] != said[name]:
                raise BadInput(
                    f"{first} was packed with {name} {said[name]}, {folder} with {note[name]}; pack both alike"
                )
        twin = seen.setdefault((note["pack"], note["part"]), folder)
        if twin != folder:
            raise BadInput(f"{twin} and {folder} are the same part of a pack; give one of them")
    return notes


def read_note(folder: Path) -> dict[str, Any]:
    """What `pack.json` says of a part that is whole; BadInput names what is missing or damaged."""
    try:
        note = json.loads((folder / NOTE).read_text())
        shard, size = folder / note["shard"], note["bytes"]
        for name in ("side", "quality", "pack", "part"):
            note[name]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(
            f"{folder / NOTE} is damaged ({type(error).__name__}: {error}); copy the part again"
        ) from None
    if not shard.is_file():
        raise BadInput(f"{folder} lacks its shard {shard.name}; copy the part again")
    if shard.stat().st_size != size:
        raise BadInput(f"{shard} has {shard.stat().st_size} bytes of {size}; copy the part again")
    return note


def join_parts(folders: Sequence[Path], out: Path) -> list[Path]:
    """Parts of one pack as one face folder below `out`, with links to their shards; other folders as they are.

    BadInput as of `check_parts`, and when `out` cannot be written.
    """
    notes = check_parts(folders)
    packs: dict[str, list[Path]] = {}
    for folder in sorted(notes, key=lambda one: notes[one]["part"]):
        packs.setdefault(notes[folder]["pack"], []).append(folder)
    try:
        joined = [joined_pack(parts, out / name) for name, parts in packs.items()]
    except OSError as error:
        raise BadInput(f"the parts cannot be joined in {out}: {error.strerror or error}") from None
    return joined + [folder for folder in folders if folder not in notes]


def joined_pack(parts: Sequence[Path], out: Path) -> Path:
    """A face folder with the manifests of the parts one after another and links to their shards."""
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        shard = next(part.glob("faces-*.tar"))
        link = out / shard.name
        link.unlink(missing_ok=True)
        link.symlink_to(shard.resolve())
    tables = []
    for part in parts:
        Manifest(part)  # says in one sentence what is wrong with it
        tables.append(pq.read_table(part / "manifest.parquet"))
    write_manifest(pa.concat_tables(tables, promote_options="default"), out)
    return out
