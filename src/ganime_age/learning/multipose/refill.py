"""What a multi-pose set tries next when images stayed unmade: other sources, or the nearest pose that can be made."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from ...edits import age_group
from ..data.faces import Faces
from .plan import Planner, Slot, SourceRules, Wanted, held_out

ENOUGH_TRIES = 14
LEAST_RATE = 0.1
"""Of a cell and age group that was tried so often: when fewer get through, its neighbours are tried instead."""


def refill(
    faces: Faces, rows: np.ndarray, wanted: Wanted, rules: SourceRules, slots: list[Slot], tries: pd.DataFrame
) -> list[Slot]:
    """Slots for what is missing, numbered on; empty when all is made or nothing is left to try.

    slots: all so far, of which the first wanted.count are the plan. tries: what became of them (see SCHEMA), `reason`
    None for images. Every missing image keeps its split and age group. Its pose is its own cell, or where hardly a try
    succeeds or no source is left for that, the nearest cell for which there is one.
    """
    place = pd.Series(np.arange(len(rows)), faces.table["id"].to_numpy(str)[rows])
    cells = {(float(yaw), float(pitch)): i for i, (yaw, pitch) in enumerate(wanted.cells)}
    tried = pd.DataFrame(
        {
            "at": place.loc[tries["source_id"]].to_numpy(),
            "cell": [cells[pair] for pair in zip(tries["cell_yaw"], tries["cell_pitch"], strict=True)],
            "group": [age_group(age) for age in tries["age"]],
            "split": tries["split"].to_numpy(),
            "made": tries["reason"].isna().to_numpy(),
        }
    )
    apart = held_out(faces.table, wanted.test_share, wanted.seed)[rows]
    new: list[Slot] = []
    for split, here in (("train", ~apart), ("test", apart)):
        of_split = tried[tried["split"] == split]
        planner = Planner(faces, rows[here], wanted, rules)
        at = (np.cumsum(here) - 1)[of_split["at"]]
        planner.free[at, of_split["cell"]] = False
        np.add.at(planner.used, at[of_split["made"]], 1)
        keys = zip(of_split["group"], of_split["cell"], of_split["made"], strict=True)
        done, all_tries = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        for group, cell, made in keys:
            all_tries[group, cell] += 1
            done[group, cell] += made
        asked = Counter(
            (age_group(faces.labels["age"][slot.sources[0]]), cells[slot.yaw, slot.pitch])
            for slot in slots[: wanted.count]
            if slot.split == split
        )
        short = sum(asked.values()) - sum(done.values())
        hopeless = {key for key, n in all_tries.items() if n >= ENOUGH_TRIES and done[key] < LEAST_RATE * n}
        missing = sorted((asked - done).elements(), key=lambda key: done[key])[: max(short, 0)]
        chosen = [
            picked
            for key in missing
            if (picked := _nearest(planner, wanted.cells, key, hopeless)) is not None
        ]
        new += planner.with_spares(chosen, split)
    return [slot._replace(number=len(slots) + i) for i, slot in enumerate(new)]


def _nearest(
    planner: Planner, cells: np.ndarray, key: tuple[int, int], hopeless: set[tuple[int, int]]
) -> tuple[int, int, list[int]] | None:
    """Group, cell and source for a missing image of a group and cell; None when its age group is used up."""
    group, cell = key
    for other in np.argsort(np.abs(cells - cells[cell]).sum(1), kind="stable").tolist():
        if (group, other) not in hopeless:
            source = planner.pick(group, other)
            if source is not None:
                return group, other, [source]
    return None
