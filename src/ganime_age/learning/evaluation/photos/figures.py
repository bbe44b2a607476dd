"""Figures of edited photos from what the judges said of each: rows by age group asked, source, race and judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....edits import AGE_GROUPS, age_group
from ..metrics import response
from .age_readers import RealFaces
from .naturalness import KINDS, distance

LEAST = 3
"""Photos of a source, a race or an age below which it has no line."""


@dataclass(frozen=True, eq=False)
class Followed:
    """One photo edited to A ages, as J age judges and a matcher saw it.

    source, race, age: of the photo. asked (A,) years; read (A,J) and before (J,) years; cosine (A,) to the unedited
    photo; around: change of the surroundings at each age, or empty; crops, crops_before: features by kind.
    """

    source: str
    race: str | None
    age: float | None
    asked: np.ndarray
    read: np.ndarray
    before: np.ndarray
    cosine: np.ndarray
    around: list[dict[str, float]] = field(default_factory=list)
    crops: list[dict[str, np.ndarray]] = field(default_factory=list)
    crops_before: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Yard:
    """What edits are held against: real faces, the matcher's threshold, and the judges' names."""

    real: RealFaces
    threshold: float
    judges: list[str]

    def aim(self, years: float) -> np.ndarray:
        """(J,): each judge's mean reading of real faces of the group of an age in years."""
        return self.real.years[age_group(years)]


def age_errors(seen: Sequence[Followed], yard: Yard, edited: bool = True) -> dict[float, np.ndarray]:
    """Age asked -> |mean reading - mean reading of real faces of the group|, (J+1,): every judge's own and,
    last, that of their mean. edited: False gives the error of the photos as they are."""
    found = {}
    for years in asked_of(seen):
        read = np.stack([one.read[_place(one, years)] if edited else one.before for one in seen]).mean(0)
        aim = yard.aim(years)
        error = np.abs(np.append(read - aim, read.mean() - aim.mean()))
        if not np.isnan(error[-1]):
            found[years] = error
    return found


def asked_of(seen: Sequence[Followed]) -> list[float]:
    return [float(years) for years in seen[0].asked] if seen else []


def _place(one: Followed, years: float) -> int:
    return int(np.flatnonzero(one.asked == years)[0])


def part_row(seen: Sequence[Followed], yard: Yard) -> dict[str, Any]:
    """Figures of some of the photos.

    age_error_mean: mean over the ages asked of the error of the mean reading. slope: years read per year asked, of the
    judges' mean. single_error: mean over single photos and ages of |reading - real faces' mean|. spread: standard
    deviation of the readings over photos, mean of the ages. own_age_error: |reading - known age| of unedited photos.
    """
    errors, idle = age_errors(seen, yard), age_errors(seen, yard, edited=False)
    read = np.stack([one.read.mean(1) for one in seen])  # (photos, ages)
    asked = np.stack([one.asked for one in seen])
    aims = np.array([yard.aim(years).mean() for years in asked_of(seen)])
    known = [abs(float(one.before.mean()) - one.age) for one in seen if one.age is not None]
    return {
        "photos": len(seen),
        "age_error_mean": _mean([e[-1] for e in errors.values()]),
        "nothing_age_error_mean": _mean([e[-1] for e in idle.values()]),
        "slope": response(asked.ravel(), read.ravel())[0],
        "single_error": _mean(np.abs(read - aims)),
        "spread": float(read.std(0).mean()),
        "verification": _mean([one.cosine > yard.threshold for one in seen]),
        "cosine": _mean([one.cosine for one in seen]),
        "own_age_error": _mean(known),
    }


def group_rows(seen: Sequence[Followed], yard: Yard) -> list[dict[str, Any]]:
    """One row an age asked: read by each judge and by all, beside real faces and the photos as they are."""
    rows, errors = [], by_source(seen, yard)
    for years in asked_of(seen):
        read = np.stack([one.read[_place(one, years)] for one in seen])  # (photos, J)
        aim = yard.aim(years)
        cosine = np.array([one.cosine[_place(one, years)] for one in seen])
        before = float(np.stack([one.before for one in seen]).mean())
        rows.append(
            {
                "group": AGE_GROUPS[age_group(years)],
                "asked": years,
                "real_age": float(aim.mean()),
                "age": float(read.mean()),
                "judges": dict(zip(yard.judges, read.mean(0).tolist(), strict=True)),
                "real_judges": dict(zip(yard.judges, aim.tolist(), strict=True)),
                "age_error": _mean([own[years][-1] for own in errors.values() if years in own]),
                "spread": float(read.mean(1).std()),
                "nothing_age": before,
                "nothing_age_error": abs(before - float(aim.mean())),
                "verification": float((cosine > yard.threshold).mean()),
                "nothing_verification": 1.0,
                "cosine": float(cosine.mean()),
                **around(seen, years),
            }
        )
    return rows


def by_source(seen: Sequence[Followed], yard: Yard) -> dict[str, dict[float, np.ndarray]]:
    """Source -> `age_errors` of its photos."""
    return {name: age_errors(own, yard) for name, own in sources_of(seen).items()}


def sources_of(seen: Sequence[Followed]) -> dict[str, list[Followed]]:
    """The photos by source; all together where no source has enough of them."""
    return parts(seen, "source") or {"all": list(seen)}


def parts(seen: Sequence[Followed], column: str) -> dict[str, list[Followed]]:
    """The photos by source, race or known age group; what has too few photos is left out."""
    found: dict[str, list[Followed]] = {}
    for one in seen:
        value = getattr(one, column)
        if value is not None:
            found.setdefault(AGE_GROUPS[age_group(value)] if column == "age" else str(value), []).append(one)
    order = list(AGE_GROUPS) if column == "age" else sorted(found)
    return {name: found[name] for name in order if len(found.get(name, ())) >= LEAST}


def around(seen: Sequence[Followed], years: float | None = None) -> dict[str, float]:
    """Mean change of the surroundings, over all ages asked or at one; NaN where nothing could be measured."""
    rows = [
        row
        for one in seen
        for asked, row in zip(one.asked, one.around, strict=False)
        if years is None or asked == years
    ]
    return {
        name: _mean([row[key] for row in rows])
        for name, key in (
            ("outside_change_mean", "outside"),
            ("outside_change_999", "outside_999"),
            ("border_step", "border"),
            ("border_step_alike", "border_alike"),
        )
    }


def summary(seen: Sequence[Followed], yard: Yard) -> dict[str, Any]:
    """The figures of all photos; the age error is the mean of the sources', so that errors of one source cannot hide
    those of another."""
    sources = by_source(seen, yard)
    idle = {name: age_errors(own, yard, edited=False) for name, own in sources_of(seen).items()}
    means, still = (
        [_mean([e[-1] for e in own.values()]) for own in errors.values()] for errors in (sources, idle)
    )
    everybody = part_row(seen, yard)
    return {
        "age_error_mean": _mean(means),
        "nothing_age_error_mean": _mean(still),
        "age_slope": everybody["slope"],
        "real_age_slope": float(yard.real.slope[-1]),
        "nothing_age_slope": 0.0,
        "age_single_error": everybody["single_error"],
        "age_spread": everybody["spread"],
        "verification_mean": everybody["verification"],
        "nothing_verification_mean": 1.0,
        **around(seen),
        "nothing_outside_change_mean": 0.0,
        "nothing_border_step": 0.0,
        "nothing_border_step_alike": 0.0,
    }


def judge_rows(seen: Sequence[Followed], yard: Yard) -> dict[str, dict[str, float]]:
    """Judge -> its own age error (mean of the sources), slope, and mean absolute error on real faces."""
    sources = by_source(seen, yard).values()
    asked = np.concatenate([one.asked for one in seen])
    rows = {}
    for i, name in enumerate([*yard.judges, "mean of the judges"]):
        own = np.concatenate([one.read[:, i] if i < len(yard.judges) else one.read.mean(1) for one in seen])
        rows[name] = {
            "age_error_mean": _mean([_mean([e[i] for e in errors.values()]) for errors in sources]),
            "slope": response(asked, own)[0],
            "real_faces_slope": float(yard.real.slope[i]),
            "real_faces_error": float(yard.real.error[i]) if i < len(yard.judges) else float("nan"),
        }
    return rows


def natural(seen: Sequence[Followed], real: Mapping[int, list[dict[str, np.ndarray]]]) -> dict[str, Any]:
    """Kind of crop -> age asked -> kernel distance of edited photos, and of photos as they are, to real faces of the
    group asked."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        rows = {}
        for years in asked_of(seen):
            goal = [one[kind] for one in real.get(age_group(years), [])]
            edited = distance([one.crops[_place(one, years)][kind] for one in seen if one.crops], goal)
            idle = distance([one.crops_before[kind] for one in seen if one.crops], goal)
            if edited and idle:
                rows[AGE_GROUPS[age_group(years)]] = edited | {"nothing_distance": idle["distance"]}
        if rows:
            found[kind] = {
                "distance_mean": _mean([row["distance"] for row in rows.values()]),
                "nothing_distance_mean": _mean([row["nothing_distance"] for row in rows.values()]),
                "groups": rows,
            }
    return found


def _mean(values: Any) -> float:
    array = np.asarray(values, float)
    return float(np.nanmean(array)) if array.size and not np.isnan(array).all() else float("nan")
