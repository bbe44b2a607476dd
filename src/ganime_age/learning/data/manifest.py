"""The manifest of a face folder: its short columns as one table, its long ones (lists of numbers) batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...edits import AU_CODES
from ...errors import BadInput

REQUIRED = ("id", "file", "split")
LISTS = {"action_units": len(AU_CODES), "landmarks": 136, "teacher_identity": 128}
"""Columns that hold a list of so many numbers a row."""
BATCH = 2048  # rows of long columns in memory at once


class Manifest:
    """`manifest.parquet` or `manifest.csv` of a folder. BadInput names the file, or the columns that it lacks."""

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        paths = [folder / name for name in ("manifest.parquet", "manifest.csv")]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise BadInput(
                f"{folder} holds no manifest.parquet or manifest.csv; make one with training/prepare_faces.py"
            )
        self.path, self.is_parquet = path, path.suffix == ".parquet"
        try:
            self.columns = tuple(self._parquet().schema_arrow.names if self.is_parquet else self._header())
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        lacking = [column for column in REQUIRED if column not in self.columns]
        if lacking:
            raise BadInput(
                f"{self.path} lacks the column {', '.join(lacking)}; see training/README.md for the format"
            )

    def table(self) -> pd.DataFrame:
        """All rows, without the long columns."""
        short = [name for name in self.columns if name not in LISTS]
        try:
            if self.is_parquet:
                table = pq.read_table(self.path, columns=short, use_threads=False).to_pandas()
            else:
                text = dict.fromkeys([*REQUIRED, "identity"], "str")
                table = pd.read_csv(self.path, usecols=short, dtype=text)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._unreadable(error) from None
        if table.empty:
            raise BadInput(f"{self.path} lists no faces")
        pa.default_memory_pool().release_unused()
        return table

    def lists(self) -> Iterator[np.ndarray]:
        """The long columns batch by batch, side by side in the order of LISTS, (n,281) float32; a missing or odd list
        is NaN."""
        names = [name for name in LISTS if name in self.columns]
        try:
            for batch in self._batches(names or ["id"]):
                nothing = pa.nulls(len(batch))
                columns = {name: batch.column(name) if name in names else nothing for name in LISTS}
                yield np.concatenate([_matrix(column, LISTS[name]) for name, column in columns.items()], 1)
            pa.default_memory_pool().release_unused()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._unreadable(error) from None

    def _batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        if self.is_parquet:
            yield from self._parquet().iter_batches(BATCH, columns=names, use_threads=False)
            return
        for chunk in pd.read_csv(self.path, usecols=names, dtype="str", chunksize=BATCH):
            lists = {
                name: pa.array(map(_numbers, chunk[name]), pa.list_(pa.float32()))
                if name in LISTS
                else pa.array(chunk[name], pa.string())
                for name in names
            }
            yield pa.RecordBatch.from_pydict(lists)

    def _parquet(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, buffer_size=1 << 18, pre_buffer=False)

    def _header(self) -> list[str]:
        return list(pd.read_csv(self.path, nrows=0).columns)

    def _unreadable(self, error: Exception) -> BadInput:
        return BadInput(f"{self.path} cannot be read ({error}); make it again with training/prepare_faces.py")


def _matrix(column: pa.Array, width: int) -> np.ndarray:
    """A column of lists as (n,width) float32; NaN where a row has no list, or one of another length."""
    out = np.full((len(column), width), np.nan, np.float32)
    if not pa.types.is_null(column.type):
        fits = pc.fill_null(pc.equal(pc.list_value_length(column), width), False)
        flat = column.filter(fits).flatten().to_numpy(zero_copy_only=False)
        out[fits.to_numpy(zero_copy_only=False)] = flat.reshape(-1, width)
    return out


def _numbers(text: str) -> list[float] | None:
    """`[1, 2.5]` or `1 2.5` -> its numbers; None when it is empty."""
    parts = text.strip("[]() ").replace(",", " ").split() if isinstance(text, str) else []
    return [float(part) for part in parts] or None
