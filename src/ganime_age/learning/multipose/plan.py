"""Which pictures a multi-pose set is made of: the sources that can be turned, and who is shown in which pose."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from torch import Tensor

from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ..data.faces import Faces
from ..engine.atomic_files import release

ENOUGH = 100
"""Faces of an age group that even the smallest set chooses from."""
TURN_COST = 6.0
"""Turning a source by so many degrees more weighs as much as having used it once."""


class Request(NamedTuple):
    """One image wanted of one source. row: of the sources' faces. yaw, pitch: absolute, degrees. seed: 31 bits."""

    row: int
    yaw: float
    pitch: float
    seed: int


class Backend(Protocol):
    """What makes the images. name: `mesh` or `controlnet`. versions: ids of its models and libraries."""

    name: str
    versions: dict[str, str]

    def make(
        self, faces: Tensor, landmarks: Tensor, labels: list[dict[str, Any]], requests: list[Request]
    ) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1 of the frame and B labels (age, age_group, gender, and
        pose as yaw, pitch, roll in degrees) -> the same people in the poses asked for, (B,3,S,S) in [-1,1]."""


@dataclass(frozen=True)
class SourceRules:
    """Which faces are turned, and how far.

    valid: least share of the frame that is real. yaw, pitch: how far a source may be turned already, degrees.
    min_turn, max_turn: the larger change of the two that a source is used for, degrees. most: images of one source.
    spares: how many sources stand by for an image in case the first one's is rejected. large, huge: pictures stored
    with at least this side are worked on at 256 px, or at 512; smaller ones at 128. huge = 0: none at 512.
    """

    valid: float = 0.85
    yaw: float = 35.0
    pitch: float = 20.0
    min_turn: float = 15.0
    max_turn: float = 45.0
    most: int = 10
    spares: int = 6
    large: int = 192
    huge: int = 0


@dataclass(frozen=True)
class Wanted:
    """yaws, pitches: degrees, every pair is a cell. count: images. test_share: of them, of people who are in no
    training image."""

    yaws: tuple[float, ...]
    pitches: tuple[float, ...]
    count: int
    seed: int = 0
    test_share: float = 0.1

    @property
    def cells(self) -> np.ndarray:
        """(C,2) yaw and pitch."""
        return np.array([(yaw, pitch) for yaw in self.yaws for pitch in self.pitches])


class Slot(NamedTuple):
    """One image of the set, before it is made. sources: rows of the faces, the first is used if it can be."""

    number: int
    split: str
    yaw: float
    pitch: float
    sources: tuple[int, ...]

    def requests(self, names: np.ndarray, seed: int, jitter: float) -> Iterator[Request]:
        """Every try in its order: each source, then each again with another seed, which also moves the target by up
        to `jitter` degrees. names: (N,) ids of the faces."""
        for attempt in (0, 1):
            for row in self.sources:
                key = f"{seed}/{names[row]}/{self.yaw:g}/{self.pitch:g}/{attempt}"
                number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 1
                moved = np.random.default_rng(number).uniform(-jitter, jitter, 2) * attempt
                yaw, pitch = np.round(np.array([self.yaw, self.pitch]) + moved, 2).tolist()
                yield Request(row, yaw, pitch, number)


def people(table: pd.DataFrame) -> np.ndarray:
    """(N,) numbers: rows that share an identity or a cluster are one person, a row that has neither is its own."""
    person = pd.Series(np.arange(len(table)))
    while True:
        before = person.copy()
        for column in ("identity", "cluster"):
            if column in table:
                known = table[column].notna().to_numpy()
                person[known] = person[known].groupby(table[column].to_numpy()[known]).transform("min")
        if person.equals(before):
            return person.to_numpy()


def usable(faces: Faces, rules: SourceRules) -> tuple[np.ndarray, Counter[str]]:
    """Rows (M,) of the faces that can be turned, and how many cannot, by reason. BadInput when there is none."""
    labels, left_out = faces.labels, Counter[str]()
    kept = np.arange(len(faces))
    points, pose = labels["landmarks"], labels["pose"]
    tests: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "no age": lambda rows: ~np.isnan(labels["age"][rows]),
        "no landmarks": lambda rows: np.isfinite(points[rows]).all((1, 2)),
        "no head pose": lambda rows: np.isfinite(pose[rows]).all(1),
        "turned too far": lambda rows: (np.abs(pose[rows, :2]) <= (rules.yaw, rules.pitch)).all(1),
        "cut by the border": lambda rows: (
            ((points[rows] > 0.01) & (points[rows] < 0.99)).all((1, 2)) & (_valid(faces, rows) >= rules.valid)
        ),
    }
    for reason, test in tests.items():
        good = test(kept)
        left_out[reason] += int((~good).sum())
        kept = kept[good]
    if not len(kept):
        why = ", ".join(f"{reason} {count}" for reason, count in left_out.items() if count)
        raise BadInput(f"none of the {len(faces)} faces of {faces.folder} can be turned ({why})")
    return kept, +left_out


def thinned(faces: Faces, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Some of the rows, at random: of each age group, in and outside the source set's train split, at most as many as
    the set shall have images."""
    groups = [age_group(age) for age in faces.labels["age"][rows]]
    sides = (faces.table["split"] == "train").to_numpy()[rows]
    shuffled = np.random.default_rng([seed, 3]).permutation(len(rows))
    key = pd.Series(list(zip(groups, sides, strict=True))).iloc[shuffled]
    return rows[np.sort(shuffled[(key.groupby(key).cumcount() < max(count, ENOUGH)).to_numpy()])]


def _valid(faces: Faces, rows: np.ndarray) -> np.ndarray:
    """Share of the frame that is real (M,) of some rows."""
    shares = [np.zeros(0)]
    for some in np.array_split(faces.rows[rows], max(1, len(rows) // 256)):
        shares.append(faces.pictures[some, 3].mean((1, 2)) / 255)
        release(faces.pictures)
    return np.concatenate(shares)


def held_out(table: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """(N,) bool: rows of the people kept for the test split.

    Who is in the source set's val or test split, so that no network that learnt from its train split has seen them;
    in a set that has neither, `share` of the people by chance.
    """
    person = people(table)
    apart = set(person[(table["split"] != "train").to_numpy()])
    if not apart:
        everyone = np.unique(person)
        chosen = np.random.default_rng([seed, 1]).permutation(everyone)[: round(share * len(everyone))]
        apart = set(chosen.tolist())
    return np.isin(person, list(apart))


def plan(faces: Faces, rows: np.ndarray, wanted: Wanted, rules: SourceRules) -> list[Slot]:
    """Every image of the set, evenly over age groups and cells; what comes first is as even as the whole, and the same
    arguments give the same plan. rows: faces that can be turned. BadInput when they do not make that many."""
    apart = held_out(faces.table, wanted.test_share, wanted.seed)[rows]
    tests = round(wanted.count * wanted.test_share)
    slots: list[tuple[float, Any]] = []
    for split, count, here in (("train", wanted.count - tests, ~apart), ("test", tests, apart)):
        planned = Planner(faces, rows[here], wanted, rules).slots(count, split)
        slots += [((i + 0.5) / count, slot) for i, slot in enumerate(planned)]
    ordered = [slot for _, slot in sorted(slots, key=lambda pair: pair[0])]
    return [slot._replace(number=number) for number, slot in enumerate(ordered)]


class Planner:
    """Gives sources to the images of one split: round after round through all age groups and cells."""

    def __init__(self, faces: Faces, rows: np.ndarray, wanted: Wanted, rules: SourceRules):
        self.rows, self.cells, self.rules = rows, wanted.cells, rules
        self.chance = np.random.default_rng([wanted.seed, 2])
        self.turn = np.abs(faces.labels["pose"][rows, None, :2] - self.cells[None]).max(2)  # (M,C)
        self.free = (self.turn <= rules.max_turn) & (self.turn >= rules.min_turn)
        groups = np.array([age_group(age) for age in faces.labels["age"][rows]], int)
        self.pools = {group: np.flatnonzero(groups == group) for group in np.unique(groups).tolist()}
        sets = faces.table["source"] if "source" in faces.table else pd.Series([""] * len(faces))
        self.set = pd.factorize(sets.iloc[rows])[0]
        self.used = np.zeros(len(rows), int)
        self.order = self.chance.permutation(len(rows))

    def slots(self, count: int, split: str) -> list[Slot]:
        chosen: list[tuple[int, int, list[int]]] = []
        before = -1
        while before < len(chosen) < count:  # until a round gives nothing
            before = len(chosen)
            for group, cell in self._round():
                source = self.pick(group, cell) if len(chosen) < count else None
                chosen += [] if source is None else [(group, cell, [source])]
        if len(chosen) < count:
            raise BadInput(
                f"the faces give {len(chosen)} of the {count} {split} images asked for; "
                "give a smaller --count, or a larger sources.most in the recipe"
            )
        return self.with_spares(chosen, split)

    def with_spares(self, chosen: list[tuple[int, int, list[int]]], split: str) -> list[Slot]:
        """The slots of age group, cell and sources (by their place in the rows), and who stands by for each."""
        for _ in range(self.rules.spares):
            for group, cell, sources in chosen:
                spare = self.pick(group, cell, spare=True)
                sources += [] if spare is None else [spare]
        poses = [(float(yaw), float(pitch)) for yaw, pitch in self.cells]
        return [
            Slot(0, split, *poses[cell], tuple(self.rows[sources].tolist())) for _, cell, sources in chosen
        ]

    def _round(self) -> list[tuple[int, int]]:
        """Every pair of age group and cell once, so that any stretch of it is even over both."""
        groups = self.chance.permutation(list(self.pools))
        cells = self.chance.permutation(len(self.cells))
        return [
            (int(group), int(cells[(i + turn) % len(cells)]))
            for turn in range(len(cells))
            for i, group in enumerate(groups)
        ]

    def pick(self, group: int, cell: int, spare: bool = False) -> int | None:
        """The source for one image, never twice in one cell: one that was used little, turns little, and is of a set
        that was used little. Being of the only set used so far weighs as much as having been used once."""
        pool = self.pools[group]
        pool = pool[self.free[pool, cell] & (spare | (self.used[pool] < self.rules.most))]
        if not len(pool):
            return None
        of_set = np.bincount(self.set[self.pools[group]], self.used[self.pools[group]])
        share = of_set[self.set[pool]] / max(of_set.sum(), 1)
        cost = self.used[pool] + self.turn[pool, cell] / TURN_COST + share
        best = int(pool[np.lexsort((self.order[pool], cost))[0]])
        self.free[best, cell] = False
        self.used[best] += not spare
        return best


def source_labels(faces: Faces, row: int) -> dict[str, Any]:
    """What a backend is told of a source."""
    age = float(faces.labels["age"][row])
    gender = faces.table["gender"].iloc[row] if "gender" in faces.table else None
    return {
        "age": age,
        "age_group": AGE_GROUPS[age_group(age)],
        "gender": gender if isinstance(gender, str) and gender else None,
        "pose": faces.labels["pose"][row].tolist(),
    }
