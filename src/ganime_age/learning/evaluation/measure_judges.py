"""How well the committee of age judges reads faces that none of them learnt from, and how it is calibrated on others.

`pull`: the slope of the read on the true age. 1 is right; below 1 a judge reads children too old and old people too
young, as nearly every age estimator does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from ...edits import AGE_GROUPS, GROUP_STARTS
from ...errors import BadInput
from ..data.faces import Faces, age_ranges, balanced_weights
from ..data.joined_faces import sources_of
from ..engine import devices
from .committee import Committee, fitted
from .test_faces import spread

BATCH = 32
FEWEST = 10
"""Faces below which a group, source or race has no figure of its own."""
NOTES = {
    "error": "mean absolute error in years; of an age range, the distance to it",
    "pull": "slope of the read on the true age over faces whose age is known, every age group counting alike",
    "bias_by_group": "mean of read minus true age in every age group",
    "committee": "the mean of the judges, each calibrated on validation faces",
    "race_gap": "largest minus smallest error of FairFace's race groups",
}


class Sample(NamedTuple):
    """Faces with what is known of their age. indices: rows of faces. low, high, (N,) years, equal where the age is
    known. source, race (N,) names, race empty where it is not known."""

    faces: Faces
    indices: np.ndarray
    low: np.ndarray
    high: np.ndarray
    source: np.ndarray
    race: np.ndarray


def sample(faces: Faces, count: int) -> Sample:
    """At most `count` faces of each source that have landmarks and an age or an age range. BadInput without any."""
    low, high = age_ranges(faces.labels["age"], faces.table)
    usable = ~np.isnan(low) & ~np.isnan(faces.labels["landmarks"]).any((1, 2))
    source = sources_of(faces)
    picks = [spread(np.flatnonzero(usable & (source == name)), count) for name in np.unique(source[usable])]
    if not picks:
        raise BadInput(f"{faces.folder} has no face with landmarks and an age or an age range in this split")
    chosen = np.sort(np.concatenate(picks))
    race = faces.table["race"].fillna("").to_numpy(str) if "race" in faces.table else np.full(len(faces), "")
    return Sample(faces, chosen, low[chosen], high[chosen], source[chosen], race[chosen])


def measure(committee: Committee, samples: Sequence[Sample], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of every judge, of their mean, and of other networks (B,3,S,S) -> (B,) by name, on the samples."""
    low, high, source, race = (
        np.concatenate([getattr(one, name) for one in samples]) for name in ("low", "high", "source", "race")
    )
    read = np.concatenate([readings(committee, one) for one in samples])
    columns = {name: read[:, i] for i, name in enumerate(committee.names)}
    columns["committee"] = read.mean(1)
    for name, network in beside.items():
        columns[name] = np.concatenate(
            [
                np.concatenate([devices.beside(network, network)(face).numpy() for face, _ in shown(one)])
                for one in samples
            ]
        )
    rows = {name: figures(ages, low, high, source, race) for name, ages in columns.items()}
    ours = rows["committee"]
    return {
        "summary": {
            "error_mean": ours["error"],
            "pull": ours["pull"],
            "race_gap": ours["race_gap"],
            **{f"{name}_error": rows[name]["error"] for name in columns if name != "committee"},
        },
        "faces": {name: int((source == name).sum()) for name in np.unique(source)},
        "judges": rows,
        "notes": NOTES,
    }


def figures(
    age: np.ndarray, low: np.ndarray, high: np.ndarray, source: np.ndarray, race: np.ndarray
) -> dict[str, Any]:
    """Error, pull and bias of readings (N,) by source, age group and race; None where nothing is known of it."""
    error = np.maximum(low - age, 0) + np.maximum(age - high, 0)
    known = low == high
    group = np.digitize((low + high) / 2, GROUP_STARTS[1:])
    names = np.array(AGE_GROUPS)[group]
    by_race = means(error[race != ""], race[race != ""])
    return {
        "error": mean(error),
        "pull": pull(age[known], low[known]),
        "race_gap": max(by_race.values()) - min(by_race.values()) if by_race else None,
        "error_by_source": means(error, source),
        "pull_by_source": {
            name: pull(age[own], low[own])
            for name in np.unique(source)
            if (own := known & (source == name)).any()
        },
        "error_by_group": means(error, names),
        "bias_by_group": means((age - low)[known], names[known]),
        "error_by_race": by_race,
    }


def pull(age: np.ndarray, true: np.ndarray) -> float | None:
    """Slope of the least-squares line of readings (N,) on true ages (N,), age groups weighted alike; None for few
    faces."""
    if len(true) < FEWEST:
        return None
    weight = balanced_weights(true, 1.0)
    x = true - (weight * true).sum() / weight.sum()
    spread_of_ages = (weight * x * x).sum()
    return round(float((weight * x * age).sum() / spread_of_ages), 3) if spread_of_ages else None


def mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 3)


def means(values: np.ndarray, names: np.ndarray) -> dict[str, float]:
    """The mean of the values (N,) of each name (N,) with FEWEST faces or more."""
    kept = [
        name for name in dict.fromkeys((*AGE_GROUPS, *np.unique(names))) if (names == name).sum() >= FEWEST
    ]
    return {str(name): mean(values[names == name]) for name in kept}


def fit(committee: Committee, samples: Sequence[Sample]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The calibration of every judge on validation faces whose age is known, age groups and sources counting alike."""
    true, source = (np.concatenate([getattr(one, name) for one in samples]) for name in ("low", "source"))
    known = true == np.concatenate([one.high for one in samples])
    weight = np.zeros(len(true))
    for name in np.unique(source[known]):
        own = known & (source == name)
        weight[own] = balanced_weights(true[own], 0.7)
    curves = {}
    for name in committee.names:
        read = np.concatenate(
            [committee.raw(name, (face + 1) / 2, marks) for one in samples for face, marks in shown(one)]
        )
        curves[name] = fitted(read[known], true[known], weight[known])
    return curves


def readings(committee: Committee, one: Sample) -> np.ndarray:
    """Calibrated ages (N,J) of a sample."""
    return np.concatenate([committee.read((face + 1) / 2, marks).numpy() for face, marks in shown(one)])


def shown(one: Sample) -> Iterator[tuple[Tensor, Tensor]]:
    """Faces (B,3,S,S) in [-1,1] and landmarks (B,68,2), a few at a time."""
    for part in np.array_split(one.indices, -(-len(one.indices) // BATCH)):
        batch = one.faces.batch(part)
        yield batch["face"], batch["landmarks"]
