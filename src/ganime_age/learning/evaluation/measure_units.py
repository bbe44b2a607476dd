"""How edits of single action units are read: their response, their drift, and which of them can be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from ...edits import AU_CODES, AU_UNSEEN
from .judges import Judge, Judges
from .metrics import response
from .reference_statistics import unit_ranges
from .test_faces import Look, Sitters

CHANGES = (-2.0, 1.0, 3.0)
"""Changes of intensity that are asked of every action unit, alone."""
SMILES = (1.0, 2.0, 3.0, 4.0)
"""Changes that AU12's own slope and correlation are found from."""
SEEN = tuple(code for code in AU_CODES if code not in AU_UNSEEN)
LEAST_RANGE = 1.0
MEASURABLE = (
    "the 90th percentile of the judge's own readings on real faces lies at least 1 of 5 above the 10th"
)


def units(
    few: Sitters, judges: Judges, targets: dict[str, float], real: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and details of the action units: their response to being asked, and their drift while age is edited.

    targets: years asked, by age group. real: how many real faces tell what is measurable.
    """
    assert judges.expression, "there is nothing to measure without a judge of expression"
    looks = {"units": judges.expression} | ({"age": judges.age} if judges.age else {})
    before = few.unedited(looks)
    ranges, lost = unit_ranges(few.faces, judges.expression, real)
    tried = {code: trials(few, before, looks, code) for code in tqdm(SEEN, desc="action units", unit="unit")}
    rows = {code: unit_row(of_one, code, ranges) for code, of_one in tried.items()}
    drifts = {group: drift(few, before, years, judges.expression) for group, years in targets.items()}
    summary = smile_summary(tried["AU12"]) | {
        f"{name}au_correlation_mean": float(np.mean(found or [0.0]))
        for name, found in (
            ("", [row["correlation"] for row in rows.values() if row["measurable"]]),
            ("nothing_", [idle(tried[code], code)[1] for code in SEEN if rows[code]["measurable"]]),
        )
    }
    summary |= {"au_drift": float(np.mean(list(drifts.values()))), "nothing_au_drift": 0.0}
    everything = [trial for of_one in tried.values() for trial in of_one]
    if judges.age:
        years = np.concatenate([np.abs(trial.years) for trial in everything])
        summary |= {"age_drift_years": float(years.mean()), "nothing_age_drift_years": 0.0}
    return summary, {
        "action_units": rows,
        "response": {
            code: {other: respond(of_one, other)[0] for other in SEEN} for code, of_one in tried.items()
        },
        "au12_levels": smile_levels(tried["AU12"]),
        "au_drift_by_group": drifts,
        "no_face_found": {
            "real": lost,
            "edited": sum(trial.lost for trial in everything),
            "edits": sum(len(trial.asked) for trial in everything),
        },
    }


def smile_summary(of_smiles: list[Trial]) -> dict[str, float]:
    """AU12's slope and correlation over the changes +1 to +4, and doing nothing's."""
    smiles = [trial for trial in of_smiles if trial.level in SMILES]
    slope, correlation = respond(smiles, "AU12", anchored=False)
    idle_slope, idle_correlation = idle(smiles, "AU12", anchored=False)
    return {
        "au12_slope": slope,
        "au12_correlation": correlation,
        "nothing_au12_slope": idle_slope,
        "nothing_au12_correlation": idle_correlation,
    }


def smile_levels(of_smiles: list[Trial]) -> list[dict[str, float]]:
    """What was asked and read, on average, at each change of AU12; asked less than the level where 5 is the limit."""
    return [
        {"level": t.level, "asked": t.asked.mean(), "read": t.of_unit("AU12")[1].mean()} for t in of_smiles
    ]


@dataclass
class Trial:
    """One change of one action unit asked of N faces. asked (N,): the change that was left after the limits 0..5.
    moved (N,17): the change read, NaN where the judge saw none. years (N,): the change of the judged age, NaN without
    an age judge."""

    level: float
    asked: np.ndarray
    moved: np.ndarray
    years: np.ndarray
    lost: int

    @classmethod
    def of(
        cls, few: Sitters, before: dict[str, Any], looks: dict[str, Look], code: str, level: float
    ) -> Trial:
        target = few.target_units(code, level)
        after = few.edited(looks, units=target)
        asked = (target - few.units)[:, AU_CODES.index(code)].numpy()
        years = after["age"] - before["age"] if "age" in after else np.full(len(asked), np.nan)
        lost = np.isnan(after["units"]).all(1) & ~np.isnan(before["units"]).all(1)
        return cls(level, asked, after["units"] - before["units"], years, int(lost.sum()))

    def of_unit(self, code: str) -> tuple[np.ndarray, np.ndarray]:
        """Asked and read changes of the faces on which the judge saw that unit."""
        moved = self.moved[:, AU_CODES.index(code)]
        return self.asked[~np.isnan(moved)], moved[~np.isnan(moved)]


def trials(few: Sitters, before: dict[str, Any], looks: dict[str, Look], code: str) -> list[Trial]:
    """Every change of one action unit, the smallest first."""
    levels = sorted({*CHANGES, *(SMILES if code == "AU12" else ())})
    return [Trial.of(few, before, looks, code, level) for level in levels]


def idle(of_one: list[Trial], read: str, anchored: bool = True) -> tuple[float, float]:
    """What `respond` finds when the same is asked and nothing is done."""
    return respond([replace(trial, moved=trial.moved * 0) for trial in of_one], read, anchored)


def respond(of_one: list[Trial], read: str, anchored: bool = True) -> tuple[float, float]:
    """Slope and correlation of the change of the unit `read` against what the trials asked.

    anchored: the unedited faces count too, as no change asked and none read.
    """
    asked, moved = (np.concatenate(part) for part in zip(*(t.of_unit(read) for t in of_one), strict=True))
    if anchored:
        still = np.zeros(len(of_one[0].asked))
        asked, moved = np.r_[asked, still], np.r_[moved, still]
    return response(asked, moved)


def unit_row(of_one: list[Trial], code: str, ranges: np.ndarray) -> dict[str, Any]:
    """One row of the table of action units."""
    slope, correlation = respond(of_one, code)
    wide = ranges[AU_CODES.index(code)]
    return {
        "slope": slope,
        "correlation": correlation,
        "range_on_real_faces": wide,
        "measurable": bool(wide >= LEAST_RANGE),
        "age_drift_years": np.mean([np.abs(trial.years).mean() for trial in of_one]),
    }


def drift(few: Sitters, before: dict[str, Any], years: float, judge: Judge) -> float:
    """Mean absolute change of the action units that the judge sees while the age is edited."""
    after = few.edited({"units": judge}, age=years)
    return float(np.nanmean(np.abs(after["units"] - before["units"])))
