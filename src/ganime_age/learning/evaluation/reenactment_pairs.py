"""Which faces of a test split drive which: by strangers, by the same person, and by how far the head is turned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...errors import BadInput
from ..data.faces import Faces
from .reference_statistics import numbered
from .test_faces import BATCH, MOST_YAW, frontal, spread

BINS = ((0, 10), (10, 20), (20, 30), (30, 45))
"""Yaw of the driving head, degrees, either way."""


@dataclass
class Pairs:
    """Rows of faces: who is moved (N,) and by whom (N,)."""

    source: np.ndarray
    driving: np.ndarray

    def batches(self, faces: Faces) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        for part in np.array_split(np.arange(len(self.source)), -(-len(self.source) // BATCH)):
            yield faces.batch(self.source[part]), faces.batch(self.driving[part])


def two_persons(faces: Faces, count: int) -> Pairs:
    """At most `count` sources, evenly spread, each with a driving face of another person, drawn with a fixed seed.

    BadInput where the split has no source, or nobody else to drive one.
    """
    sources, able = spread(np.flatnonzero(frontal(faces)), count), np.flatnonzero(drivers(faces))
    if not len(sources):
        raise BadInput(
            f"{faces.folder} has no test face with landmarks and a yaw within {MOST_YAW:.0f} degrees"
        )
    return Pairs(sources, strangers_of(faces, sources, able))


def drivers(faces: Faces, low: float = 0, high: float = BINS[-1][1]) -> np.ndarray:
    """(N,) bool: the head is turned by low..high degrees either way, and there are landmarks."""
    turned = np.abs(faces.labels["pose"][:, 0])
    return (turned >= low) & (turned < high) & ~np.isnan(faces.labels["landmarks"]).any((1, 2))


def strangers_of(faces: Faces, sources: np.ndarray, able: np.ndarray) -> np.ndarray:
    """One of the rows `able` for each source, of another person, drawn with a fixed seed; BadInput when there is none.

    Faces of one identity, or of one cluster of likenesses, are one person.
    """
    chance, picked = np.random.default_rng(0), []
    person, cluster = numbered(faces, "identity"), numbered(faces, "cluster")
    for source in sources:
        strange = (person != person[source]) & (cluster != cluster[source])
        if not strange[able].any():
            name = faces.table["id"].iloc[source]
            raise BadInput(
                f"{faces.folder} has no test face of another person to drive {name}; give more faces"
            )
        row = chance.choice(able)
        while not strange[row]:
            row = chance.choice(able)
        picked.append(row)
    return np.array(picked)


def one_person(faces: Faces, count: int) -> Pairs:
    """Two faces of each of at most `count` persons: the first, and the one turned most differently."""
    person, yaw = faces.labels["person"], faces.labels["pose"][:, 0]
    able = frontal(faces) & (person >= 0)
    pairs = []
    for one in np.unique(person[able]):
        first, *others = np.flatnonzero(able & (person == one))
        if others:
            pairs.append((first, max(others, key=lambda row: abs(yaw[row] - yaw[first]))))
    rows = np.array(pairs, int).reshape(-1, 2)
    return Pairs(*rows[spread(np.arange(len(rows)), count)].T) if len(rows) else Pairs(rows[:, 0], rows[:, 1])
