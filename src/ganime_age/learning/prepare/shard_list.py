"""A list of webdataset shards of aligned faces as a face folder: labels in our columns, links instead of copies.

A sample is a picture `KEY.webp` (or png, jpg, jpeg) in a tar file and, before or after it, its labels `KEY.json`: an
object with any of our manifest's columns (age, identity, landmarks, action_units, ...). The shards are read from
their starts to their ends, one at a time, so that memory stays flat however many there are.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...atomic import replacing
from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ..data.manifest import LISTS
from .prepare import Settings, split_of

PICTURES = (".webp", ".png", ".jpg", ".jpeg")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
TEXTS = ("id", "file", "split", "source", "identity", "cluster", "gender", "age_group")
NUMBERS = ("age", "yaw", "pitch", "roll")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [(name, pa.float32()) for name in NUMBERS]
    + [(name, pa.list_(pa.float32())) for name in LISTS]
)


def is_shard_list(source: Path) -> bool:
    """Whether a source names shards: a tar file, several by `{000..009}`, or a text file with a path a line."""
    return source.suffix == ".tar" or (source.suffix == ".txt" and source.is_file())


def shards_of(source: Path) -> list[Path]:
    """The shards that a source names, in their order; paths in a text file are relative to it. BadInput names a range
    that cannot be read, two shards of one name, and one that is not there."""
    if source.suffix == ".txt":
        lines = (line.strip() for line in source.read_text(encoding="utf-8").splitlines())
        named = [str(source.parent / line) for line in lines if line and not line.startswith("#")]
    else:
        named = [str(source)]
    shards = [Path(one) for pattern in named for one in spelled_out(pattern)]
    if not shards:
        raise BadInput(f"{source} names no shards; write the path of one tar file a line")
    seen: dict[str, Path] = {}
    for shard in shards:
        if not shard.is_file():
            raise BadInput(f"the shard {shard} is missing; {source} names it")
        if seen.setdefault(shard.name, shard) is not shard:
            raise BadInput(f"{source} names two shards {shard.name}; give every shard a name of its own")
    return shards


def spelled_out(pattern: str) -> list[str]:
    """`a-{08..10}.tar` -> a-08.tar, a-09.tar, a-10.tar, as webdataset reads it; BadInput when it runs backwards."""
    found = RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    if first > last:
        raise BadInput(f"the range {found[0]} of {pattern} runs backwards; write {{{found[2]}..{found[1]}}}")
    names = (f"{number:0{len(found[1])}d}" for number in range(first, last + 1))
    return [
        one for name in names for one in spelled_out(pattern[: found.start()] + name + pattern[found.end() :])
    ]


def link_shard_list(source: Path, out: Path, settings: Settings | None = None) -> int:
    """Write `manifest.parquet` and links to the shards into `out`; returns how many faces they hold.

    settings: their split and seed decide on faces whose labels name no split, by the person where known, else by the
    key. BadInput names what cannot be read; then no manifest is written.
    """
    shards, count = shards_of(source), 0
    out.mkdir(parents=True, exist_ok=True)
    with (
        replacing(out / "manifest.parquet") as part,
        pq.ParquetWriter(part, SCHEMA) as manifest,
    ):
        for shard in shards:
            rows = [row_of(key, file, said, settings or Settings()) for key, file, said in samples(shard)]
            count += len(rows)
            manifest.write_table(pa.Table.from_pylist(rows, SCHEMA))
        if not count:
            raise BadInput(f"{source} holds no pictures ({' '.join(PICTURES)})")
        for shard in shards:
            link = out / shard.name
            if not (link.exists() and link.samefile(shard)):
                link.unlink(missing_ok=True)
                link.symlink_to(shard.resolve())
    return count


def samples(shard: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Key, picture as `shard.tar/member`, and labels of every sample of a shard."""
    pictures: dict[str, str] = {}
    labels: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            while (member := archive.next()) is not None:
                vars(archive)["members"].clear()  # tarfile keeps every header that it has seen
                key, suffix = str(Path(member.name).with_suffix("")), Path(member.name).suffix.lower()
                stream = archive.extractfile(member) if suffix == ".json" else None
                if stream:
                    labels[key] = read_labels(shard, member.name, stream.read())
                elif suffix in PICTURES:
                    pictures[key] = f"{shard.name}/{member.name}"
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadInput(f"the shard {shard} cannot be read: {error}") from None
    for key, file in pictures.items():
        yield key, file, labels.get(key, {})


def read_labels(shard: Path, name: str, content: bytes) -> dict[str, Any]:
    """One sample's labels; BadInput names a file that is no JSON object."""
    try:
        said = json.loads(content)
    except ValueError as error:
        raise BadInput(f"{shard}/{name} is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadInput(f"{shard}/{name} holds no JSON object; write the labels as {{name: value}}")
    return said


def row_of(key: str, file: str, said: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """One row of the manifest; BadInput names a label that is of another kind."""
    try:
        row: dict[str, Any] = {
            name: None if said.get(name) is None else str(said[name])
            for name in TEXTS
            if name not in ("id", "file")
        }
        row |= {name: None if said.get(name) is None else float(said[name]) for name in NUMBERS}
        for name, width in LISTS.items():
            numbers = None if said.get(name) is None else np.asarray(said[name], np.float32).ravel()
            if numbers is not None and len(numbers) != width:
                raise BadInput(f"{name} of {file} holds {len(numbers)} numbers, not {width}")
            row[name] = numbers
    except (TypeError, ValueError) as error:
        raise BadInput(f"the labels of {file} cannot be read: {error}") from None
    if row["age"] is not None and row["age_group"] is None:
        row["age_group"] = AGE_GROUPS[age_group(row["age"])]
    row["split"] = row["split"] or split_of(row["identity"] or row["cluster"] or key, settings)
    return row | {"id": f"{Path(file.split('/')[0]).stem}/{key}", "file": file}
