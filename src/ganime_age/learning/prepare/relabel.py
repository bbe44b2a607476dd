"""A face folder with its ages estimated anew: what the manifest said of them before stays in columns of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from ...atomic import new_folder, replacing
from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ...images.tensors import to_pictures
from ..data.faces import Faces
from ..data.manifest import BATCH, Manifest
from ..engine.atomic_files import is_writable
from .age_estimators import Estimator

KEPT = {"age": "age_label", "age_group": "age_group_label", "age_source": "age_label_source"}
"""Column -> where its first values stay; estimates that are estimated again are not kept."""
SHOWN = 64  # faces that an estimator gets at once


def relabel(folder: Path, estimator: Estimator, out: Path | None = None, size: int = 128) -> dict[str, Any]:
    """Write estimated ages into the manifest of a face folder, or of a new folder `out` that links to its pictures.

    age and age_group are the estimate's, age_spread its standard deviation in years, age_estimator its name; KEPT says
    where the old columns stay. A face that cannot be read or estimated keeps its age and has no spread. size: side in
    pixels at which faces are shown. Whole or not at all; returns counts and the mean distance from the old labels.
    BadInput when the folder cannot be used or `out` is in use.
    """
    manifest = Manifest(folder)
    if out is not None:
        check_free(out)
    elif not is_writable(folder):
        raise BadInput(f"{folder} cannot be written; give a new folder with --out")
    table = manifest.table()
    faces = Faces(folder, size, tuple(table["split"].dropna().unique()))
    age, spread = (np.full(len(table), np.nan, np.float32) for _ in range(2))
    age[faces.rows], spread[faces.rows] = estimate(faces, estimator)
    columns = relabelled(table, age, spread, estimator.name)
    try:
        if out is None:
            with replacing(manifest.path) as part:
                write_manifest(manifest, columns, part)
        else:
            write_folder(manifest, table["file"], columns, out)
    except OSError as error:
        raise BadInput(f"{out or manifest.path} cannot be written: {error.strerror or error}") from None
    return report(columns, age)


def estimate(faces: Faces, estimator: Estimator) -> tuple[np.ndarray, np.ndarray]:
    """Ages and their spreads in years of all faces, (N,) each, with a progress bar."""
    age, spread = np.empty((2, len(faces)), np.float32)
    with torch.inference_mode(), tqdm(total=len(faces), desc="estimating ages", unit="face") as bar:
        for part in np.array_split(np.arange(len(faces)), -(-len(faces) // SHOWN)):
            shown = faces.batch(part)
            age[part], spread[part] = estimator(to_pictures(shown["face"]), shown["landmarks"].numpy())
            bar.update(len(part))
    return age, spread


def relabelled(table: pd.DataFrame, age: np.ndarray, spread: np.ndarray, name: str) -> pd.DataFrame:
    """The new columns of a manifest's table: ages (N,) and spreads in years, NaN where a face keeps its age."""
    new = pd.DataFrame(index=table.index)
    told = pd.Series(~np.isnan(age), index=table.index)
    for column, kept in KEPT.items():
        if column != "age_source" or column in table:
            new[kept] = table.get(kept, table.get(column, np.nan if column == "age" else None))
    before = pd.to_numeric(table["age"], errors="coerce") if "age" in table else np.nan
    new["age"] = pd.Series(age, index=table.index).where(told, before).astype("float32")
    new["age_group"] = [None if np.isnan(years) else AGE_GROUPS[age_group(years)] for years in new["age"]]
    if "age_source" in table:
        new["age_source"] = table["age_source"].where(~told, "estimator")
    new["age_spread"] = spread
    new["age_estimator"] = pd.Series(name, index=table.index).where(told, None)
    return new


def report(columns: pd.DataFrame, age: np.ndarray) -> dict[str, Any]:
    """faces, estimated, and of these the mean spread and distance from the old labels in years (None: no label)."""
    told = ~np.isnan(age)
    gap = np.abs(pd.to_numeric(columns["age_label"], errors="coerce") - age)
    return {
        "faces": len(age),
        "estimated": int(told.sum()),
        "spread_mean": float(columns["age_spread"].mean()) if told.any() else None,
        "distance_mean": float(gap.mean()) if gap.notna().any() else None,
    }


def check_free(out: Path) -> None:
    """BadInput when the folder is there and holds anything."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadInput(f"{out} exists; give a new folder, or --in-place")


def write_folder(manifest: Manifest, files: pd.Series, columns: pd.DataFrame, out: Path) -> None:
    """A new folder: links to the pictures, and to what was decoded of them, and the manifest with new columns."""
    folder = manifest.path.parent.resolve()
    with new_folder(out) as part:
        for name in sorted({file.split("/")[0] for file in files}):
            (part / name).symlink_to(folder / name)
        for path in folder.glob("cache-*"):
            (part / path.name).symlink_to(path.resolve())
        write_manifest(manifest, columns, part / manifest.path.name)


def write_manifest(manifest: Manifest, columns: pd.DataFrame, path: Path) -> None:
    """The manifest in its own format with these columns (all rows) new or replaced, some thousand rows at a time."""
    if manifest.is_parquet:
        _write_parquet(manifest.path, columns, path)
        return
    chunks = pd.read_csv(manifest.path, dtype="str", keep_default_na=False, chunksize=BATCH)
    for chunk in chunks:
        kept = chunk.drop(columns=columns.columns, errors="ignore")
        whole = pd.concat([kept, columns.loc[chunk.index]], axis=1)
        whole.to_csv(path, index=False, mode="a", header=not chunk.index[0])


def _write_parquet(old: Path, columns: pd.DataFrame, path: Path) -> None:
    new = pa.Table.from_pandas(columns, preserve_index=False).replace_schema_metadata()
    file, start = pq.ParquetFile(old), 0
    kept = [name for name in file.schema_arrow.names if name not in new.column_names]
    schema = pa.schema([*(file.schema_arrow.field(name) for name in kept), *new.schema])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in file.iter_batches(BATCH, columns=kept, use_threads=False):
            added = new.slice(start, len(batch)).combine_chunks()
            given = [*pa.Table.from_batches([batch]).select(kept).columns, *added.columns]
            writer.write_table(pa.Table.from_arrays(given, schema=schema))
            start += len(batch)
