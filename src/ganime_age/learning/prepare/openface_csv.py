"""Action units that another program measured: OpenFace's CSV files and GANimation's aus.pkl, looked up by picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ...edits import AU_CODES, AU_MAX
from ...errors import BadInput
from .celeba_aus import read_aus_pickle

FILE_COLUMNS = ("file", "filename", "file_name", "image", "input", "name", "path")

UnitsOf = Callable[[str], np.ndarray | None]
"""(path of a picture below its folder) -> (17,) float32 in 0..5, NaN for what was not measured; None: nothing known."""


def open_units(path: Path, least_confidence: float) -> tuple[UnitsOf, str]:
    """Where a picture's action units are found, and what they are called in a manifest's au_source.

    path: aus.pkl; an OpenFace CSV with a column that names the picture; or a folder with one OpenFace CSV a picture,
    of the same name. Rows that OpenFace calls a failure, or less sure than least_confidence (0..1), are left out.
    """
    if path.is_dir():
        return lambda file: _of_one_picture(path, file, least_confidence), "openface"
    if path.suffix == ".csv":
        return _by_name(_of_many_pictures(path, least_confidence)), "openface"
    if path.suffix in (".pkl", ".pickle"):
        return _by_name(read_aus_pickle(path)), "aus.pkl"
    raise BadInput(
        f"{path} holds no action units; give aus.pkl, an OpenFace CSV, or a folder of OpenFace CSVs"
    )


def read_table(path: Path, usecols: Callable[[str], bool] | None = None) -> pd.DataFrame:
    """A CSV file whose column names may have spaces around them. BadInput names it when it cannot be read."""
    try:
        table = pd.read_csv(
            path, skipinitialspace=True, usecols=usecols and (lambda name: usecols(name.strip()))
        )
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a CSV file: {error}") from None
    return table.rename(columns=str.strip)


def file_column(table: pd.DataFrame) -> str | None:
    """The column that names the picture of a row."""
    return next((name for name in table if name.lower() in FILE_COLUMNS), None)


def units_in(table: pd.DataFrame) -> np.ndarray:
    """The columns AU01_r or AU01 ... as (N,17) float32 in 0..5; NaN where one is absent or no number."""
    out = np.full((len(table), len(AU_CODES)), np.nan, np.float32)
    for i, code in enumerate(AU_CODES):
        column = next((name for name in (f"{code}_r", code) if name in table), None)
        if column:
            out[:, i] = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float32, na_value=np.nan)
    return out.clip(0, AU_MAX)


def _wanted(name: str) -> bool:
    return name in ("confidence", "success") or name.endswith("_r") or name.lower() in FILE_COLUMNS


def _sure(table: pd.DataFrame, least: float, path: Path) -> pd.DataFrame:
    """The rows of an OpenFace table that can be trusted, the surest first."""
    if not any(f"{code}_r" in table for code in AU_CODES):
        raise BadInput(f"{path} has no column AU01_r ...; run OpenFace with -aus")
    if "success" in table:
        table = table[table["success"] == 1]
    if "confidence" in table:
        table = table[table["confidence"] >= least].sort_values("confidence", ascending=False, kind="stable")
    return table


def _of_one_picture(folder: Path, file: str, least: float) -> np.ndarray | None:
    for path in (folder / Path(file).with_suffix(".csv"), folder / f"{Path(file).stem}.csv"):
        if path.is_file():
            table = _sure(read_table(path, _wanted), least, path)
            return units_in(table.iloc[:1])[0] if len(table) else None
    return None


def _of_many_pictures(path: Path, least: float) -> dict[str, np.ndarray]:
    table = _sure(read_table(path, _wanted), least, path)
    name = file_column(table)
    if name is None:
        raise BadInput(f"{path} has no column that names the picture; call it file")
    table = table.drop_duplicates(name)
    return dict(zip(table[name].astype(str), units_in(table), strict=True))


def _by_name(units: dict[str, np.ndarray]) -> UnitsOf:
    """Look up by path, file name, or file name without its ending."""

    def of(file: str) -> np.ndarray | None:
        path = Path(file)
        names = (file, path.name, path.with_suffix("").as_posix(), path.stem)
        return next((units[name] for name in names if name in units), None)

    return of
