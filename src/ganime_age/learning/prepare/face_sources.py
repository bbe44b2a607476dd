"""Raw folders of the public face sets: which photos they hold, and what is known of each before it is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...edits import AGE_GROUPS, AGE_MAX, GROUP_STARTS
from ...errors import BadInput
from ...images.photo import SUFFIXES
from ..data.semantic_maps import FOLDER as MAPS
from .openface_csv import UnitsOf, file_column, open_units, read_table, units_in

KINDS = ("ffhq", "utkface", "cacd", "celeba", "openface", "csv", "shards")
UTKFACE = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d+)(\.jpe?g)?(\.chip)?\.jpe?g", re.IGNORECASE)
CACD = re.compile(r"(\d{1,3})_(.+)_(\d{4})\.jpe?g", re.IGNORECASE)
OLDEST_GROUP_AGE = 75.0  # the middle of 70-80: few faces of the open last group are older
GLANCED = 200  # photos that are looked at to tell the kind of a folder
SURE_GENDER = 0.66
TURNED = {"head_yaw": 40.0, "head_pitch": 30.0}
HIDDEN_EYES = ("left_eye_occluded", "right_eye_occluded")
MOST_HIDDEN = (50.0, 90.0)
"""What is left out of FFHQ-Aging, as its authors do for Lifespan Age Transformation Synthesis: genders less sure, heads
turned by so many degrees, and faces one eye of which is occluded by 90 %, or both by 50 %. So are dark glasses. That
ages less sure than 0.6 are is --label-confidence; 0 keeps every face."""
PRUNED_BY = (*TURNED, *HIDDEN_EYES, "glasses")
TEXTS = ("split", "identity", "gender", "source")
NUMBERS = ("age", "yaw", "pitch", "roll")


@dataclass(frozen=True)
class Known:
    """What a data set says of one photo; what it does not say is None.

    age: years. age_source: label, or group where only a ten-year or so group is known. action_units: (17,) in 0..5.
    """

    age: float | None = None
    age_source: str | None = None
    identity: str | None = None
    gender: str | None = None
    split: str | None = None
    source: str | None = None
    pose: tuple[float, float, float] | None = None
    action_units: np.ndarray | None = field(default=None, repr=False)
    au_source: str | None = None


class LeftOut(Exception):
    """Why one photo is not taken. kind: the word it is counted under."""

    def __init__(self, kind: str, why: str):
        super().__init__(why)
        self.kind = kind

    def __reduce__(self) -> tuple[type[LeftOut], tuple[str, str]]:
        return LeftOut, (self.kind, str(self))  # as it is made, so that it comes back from another process


@dataclass(frozen=True)
class FaceSource:
    """The photos of a raw folder. files: paths below it, sorted. known: what is said of one; LeftOut when its name
    or label cannot be used."""

    kind: str
    folder: Path
    files: list[str]
    known: Callable[[str], Known]


def open_source(
    folder: Path,
    kind: str = "auto",
    labels: Path | None = None,
    units: Path | None = None,
    least: float = 0.6,
) -> FaceSource:
    """A raw folder as a FaceSource.

    kind: one of KINDS but shards, or auto. labels: FFHQ-Aging's CSV, CelebA's identity file, or a plain CSV. units: see
    open_units. least: least confidence (0..1) of a label, where the set states one. BadInput says what is missing.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder; give the folder that holds the photos")
    files = sorted(photos_in(folder))
    if not files:
        raise BadInput(f"{folder} holds no photos ({' '.join(SUFFIXES)})")
    kind = kind if kind != "auto" else kind_of(folder, files, labels, units)
    if kind == "openface" and units is None:
        units = folder
    known = _OPENERS[kind](folder, labels, least)
    return FaceSource(kind, folder, files, with_units(known, *open_units(units, least)) if units else known)


def photos_in(folder: Path) -> Iterator[str]:
    """Paths of all photos below a folder, relative to it, as they come; semantic maps are none."""
    for path in folder.rglob("*"):
        folders = path.parts[-2:]
        if path.suffix.lower() in SUFFIXES and not any(
            part.startswith(".") or part == MAPS for part in folders
        ):
            yield path.relative_to(folder).as_posix()


def kind_of(
    folder: Path, files: list[str] | None = None, labels: Path | None = None, units: Path | None = None
) -> str:
    """Tell a folder's kind by its label files, then by the names of its photos. BadInput when neither says."""
    if (folder / "labels.parquet").is_file() and (folder / "arrays.npz").is_file():
        return "shards"
    if found := labels or _labels_in(folder, "*.csv"):
        table = _columns(found)
        if "image_number" in table:
            return "ffhq"
        if (
            labels
            and labels.suffix == ".csv"
            or file_column(table)
            and not any(c.endswith("_r") for c in table)
        ):
            return "csv"
    if labels or _labels_in(folder, "identity_*.txt") or units and units.suffix in (".pkl", ".pickle"):
        return "celeba"
    names = [Path(file).name for file in islice(files if files is not None else photos_in(folder), GLANCED)]
    for kind, pattern in (("utkface", UTKFACE), ("cacd", CACD)):
        if sum(bool(pattern.fullmatch(name)) for name in names) > len(names) / 2:
            return kind
    if units or any((folder / name).with_suffix(".csv").is_file() for name in files or names):
        return "openface"
    raise BadInput(
        f"what {folder} holds cannot be told from its files; name it with --kind {'|'.join(KINDS)}"
    )


def with_units(known: Callable[[str], Known], units_of: UnitsOf, name: str) -> Callable[[str], Known]:
    """What is known of a photo, and its action units from another file."""

    def of(file: str) -> Known:
        said, units = known(file), units_of(file)
        if units is None:
            return said
        return Known(**{**vars(said), "action_units": units, "au_source": name})

    return of


def age_of_group(group: str | None) -> float | None:
    """Middle in years of an FFHQ-Aging group, written as 20-29, 70-120 or 70+; None when it is none of them."""
    start = re.match(r"\d+", str(group))
    if not start or int(start[0]) not in GROUP_STARTS:
        return None
    ends = (*GROUP_STARTS[1:], 2 * OLDEST_GROUP_AGE - GROUP_STARTS[-1])
    i = GROUP_STARTS.index(int(start[0]))
    return (GROUP_STARTS[i] + ends[i]) / 2


def _labels_in(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    return found[0] if len(found) == 1 else None


def _columns(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, nrows=1, skipinitialspace=True).rename(columns=str.strip)
    except (OSError, ValueError):
        return pd.DataFrame()


def _needed(labels: Path | None, folder: Path, pattern: str, what: str) -> Path:
    path = labels or _labels_in(folder, pattern)
    if path is None or not path.is_file():
        raise BadInput(f"{path or folder} is not {what}; name it with --labels FILE")
    return path


def _utkface(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    def known(file: str) -> Known:
        match = UTKFACE.fullmatch(Path(file).name)
        if not match:
            raise LeftOut("bad name", "the name is not [age]_[gender]_[race]_[date].jpg")
        return Known(min(float(match[1]), AGE_MAX), "label", gender="mf"[int(match[2])])

    return known


def _cacd(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    def known(file: str) -> Known:
        match = CACD.fullmatch(Path(file).name)
        if not match:
            raise LeftOut("bad name", "the name is not [age]_[Name]_[rank].jpg")
        return Known(min(float(match[1]), AGE_MAX), "label", identity=match[2])

    return known


def _openface(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    return lambda file: Known()


def _celeba(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    path = labels or _labels_in(folder, "identity_*.txt")
    if path is None:
        return lambda file: Known()
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=["file", "person"], dtype="str")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as CelebA's identity file: {error}") from None
    people = dict(zip(table["file"], table["person"], strict=True))
    return lambda file: Known(identity=people.get(Path(file).name))


def _ffhq(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    """FFHQ with FFHQ-Aging's labels (Or-El et al., ECCV 2020), which are votes: faces are left out as there, where the
    table has the columns."""
    path = _needed(labels, folder, "*.csv", "FFHQ-Aging's CSV of labels")
    wanted = {"image_number", "age_group", "age_group_confidence", "gender", "gender_confidence", *PRUNED_BY}
    table = read_table(path, lambda name: name in wanted)
    lacking = [name for name in ("image_number", "age_group") if name not in table]
    if lacking:
        raise BadInput(f"{path} lacks the column {', '.join(lacking)} of FFHQ-Aging's labels")
    table = table.drop_duplicates("image_number").set_index("image_number")

    def known(file: str) -> Known:
        number = re.fullmatch(r"(?:img)?(\d+)", Path(file).stem)
        if not number:
            raise LeftOut("bad name", "the name is not FFHQ's image number")
        if int(number[1]) not in table.index:
            raise LeftOut("no label", f"{path.name} has no row for image number {int(number[1])}")
        row = table.loc[int(number[1])]
        if least and not row.get("age_group_confidence", 1.0) >= least:
            raise LeftOut("unsure label", f"the confidence of its age group is below {least}")
        sure = row.get("gender_confidence", 1.0) >= SURE_GENDER
        if least:
            check_pruned(row, sure)
        gender = str(row.get("gender", ""))[:1] if sure else ""
        age = age_of_group(row["age_group"])
        return Known(age, None if age is None else "group", gender=gender if gender in ("m", "f") else None)

    return known


def check_pruned(row: Any, sure_gender: bool) -> None:
    """LeftOut for a face that the authors of FFHQ-Aging leave out of training. An absent column says nothing, and
    neither does an empty cell or the set's own -1 for what was not found: such a face is kept."""
    if not sure_gender:
        raise LeftOut("unsure label", f"the confidence of its gender is below {SURE_GENDER}")
    eyes = [_stated(row, name) for name in HIDDEN_EYES]
    for name, most in TURNED.items():
        if not abs(_stated(row, name)) < most:
            raise LeftOut("turned head", f"{name} is {row[name]:g} degrees; {most:g} or more is left out")
    if not (max(eyes) < MOST_HIDDEN[1] and min(eyes) < MOST_HIDDEN[0]):
        raise LeftOut("hidden eyes", "an eye is occluded by {:g} %, the other by {:g} %".format(*eyes))
    if str(row.get("glasses", "")).strip().lower() == "dark":
        raise LeftOut("dark glasses", "it wears dark glasses")


def _stated(row: Any, name: str) -> float:
    """A number of a row; 0 where the table has no such column or the cell is empty."""
    number = float(row.get(name, 0.0))
    return 0.0 if np.isnan(number) else number


def _csv(folder: Path, labels: Path | None, least: float) -> Callable[[str], Known]:
    """A plain table: file, and any of TEXTS, NUMBERS, age_group and AU01 (or AU01_r) ... AU45."""
    path = _needed(labels, folder, "*.csv", "a CSV file with a column file")
    table = read_table(path)
    name = file_column(table)
    if name is None:
        raise BadInput(f"{path} has no column file that names the photo of each row")
    units = units_in(table)
    rows = {str(file): i for i, file in enumerate(table[name])}
    columns = {column: table[column] for column in (*TEXTS, *NUMBERS, "age_group") if column in table}
    _check_numbers(columns, path)

    def known(file: str) -> Known:
        row = rows.get(file, rows.get(Path(file).name))
        if row is None:
            raise LeftOut("no label", f"{path.name} has no row for it")
        said = {k: None if pd.isna(v.iloc[row]) else v.iloc[row] for k, v in columns.items()}
        age, of_group = said.get("age"), age_of_group(said.get("age_group"))
        yaw, pitch, roll = (said.get(k) for k in ("yaw", "pitch", "roll"))
        return Known(
            age=of_group if age is None else float(age),
            age_source="label" if age is not None else "group" if of_group is not None else None,
            **{k: None if said.get(k) is None else str(said[k]) for k in TEXTS},
            pose=None if yaw is None or pitch is None or roll is None else (yaw, pitch, roll),
            action_units=None if np.isnan(units[row]).all() else units[row],
            au_source=None if np.isnan(units[row]).all() else "csv",
        )

    return known


def _check_numbers(columns: dict[str, pd.Series], path: Path) -> None:
    for name in NUMBERS:
        if name in columns:
            wrong = columns[name].notna() & pd.to_numeric(columns[name], errors="coerce").isna()
            if wrong.any():
                raise BadInput(
                    f"{path}: {columns[name][wrong].iloc[0]!r} in the column {name} is not a number"
                )
    if "age" in columns:
        ages = pd.to_numeric(columns["age"])
        if ((ages < 0) | (ages > AGE_MAX)).any():
            raise BadInput(f"{path}: an age is outside 0..{AGE_MAX:.0f} years")
    if "age_group" in columns:
        odd = columns["age_group"].dropna().map(lambda group: age_of_group(group) is None)
        if odd.any():
            group = columns["age_group"].dropna()[odd].iloc[0]
            raise BadInput(f"{path}: {group!r} is not one of the age groups {' '.join(AGE_GROUPS)}")


_OPENERS = {
    "ffhq": _ffhq, "utkface": _utkface, "cacd": _cacd, "celeba": _celeba, "openface": _openface, "csv": _csv,
}  # fmt: skip
