"""How well the readers read held-out faces, beside what one gets for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from ...edits import AGE_GROUPS, AU_CODES, age_group
from ...errors import BadInput
from ...model.model import GanimeAge
from ...networks.readers import Readers
from ...results import Z80
from ..data.faces import Faces, age_ranges
from ..engine.devices import beside
from .metrics import auc, correlations, landmark_error, pair_scores, threshold_at

Reader: TypeAlias = Readers | GanimeAge
"""What gives readings: readers alone, or a whole model."""


def read_all(readers: Reader, faces: Faces, batch: int = 100) -> dict[str, np.ndarray]:
    """Every reading of every face of the split, as arrays by name; by readers alone, or as a whole model reads."""
    parts, look = [], readers.read if isinstance(readers, GanimeAge) else readers
    readers.eval()
    with torch.inference_mode():
        for indices in np.array_split(np.arange(len(faces)), max(1, len(faces) // batch)):
            parts.append(beside(readers, look)(faces.batch(indices)["face"]))
    names = ("age", "age_spread", "action_units", "landmarks", "pose", "identity")
    return {name: torch.cat([getattr(part, name) for part in parts]).numpy() for name in names}


def measure(
    readers: Reader, faces: Faces, train: Faces, races: tuple[Faces, np.ndarray] | None = None
) -> dict[str, Any]:
    """Errors on the faces of a test split; `train` gives the baseline that always answers the median age. races: faces
    with an age or an age range, and the race of each (N,)."""
    read, labels, sources = read_all(readers, faces), faces.labels, faces.table["source"].to_numpy()
    constant = float(np.nanmedian(train.labels["age"]))
    age, age_details = ages(read["age"], labels["age"], sources, constant)
    age_details |= ages_by(
        read["age"], labels["age"], {"by_gender": genders(faces), "by_yaw": turns(labels["pose"])}
    )
    age["age_interval_coverage"] = covered(read, labels["age"])
    if races is not None:
        gap, age_details["by_race"] = by_race(readers, *races)
        age["age_gap_race_years"] = gap
    units = correlations(read["action_units"], labels["action_units"])
    person = labels["person"]
    same, different = pair_scores(read["identity"][person >= 0], person[person >= 0])
    teacher = pair_scores(labels["teacher"][person >= 0], person[person >= 0])
    points = landmark_error(
        torch.from_numpy(read["landmarks"]), torch.from_numpy(labels["landmarks"])
    ).numpy()
    turned = np.abs(read["pose"] - labels["pose"])[:, :2]
    return {
        "summary": age
        | {
            "au_correlation_mean": float(np.nanmean(units)),
            "identity_auc": auc(same, different),
            "identity_tar_far1e3": accepted(same, different, 1e-3)["same_accepted"],
            "landmark_error_percent": float(np.nanmean(points)),
            "yaw_error_degrees": float(np.nanmean(turned[:, 0])),
            "pitch_error_degrees": float(np.nanmean(turned[:, 1])),
        },
        "faces": len(faces),
        "age": age_details,
        "au_correlation": {
            c: None if np.isnan(v) else round(float(v), 4) for c, v in zip(AU_CODES, units, strict=True)
        },
        "identity": {
            "pairs_same": len(same),
            "pairs_different": len(different),
            "teacher_auc": auc(*teacher),
            "thresholds": {f"{rate:g}": accepted(same, different, rate) for rate in (1e-1, 1e-2, 1e-3)},
            "who": "all pairs of the CelebA test identities, none of whom was trained on",
        },
        "landmarks": "mean distance of 68 points in % of the distance of the outer eye corners (36, 45)",
    }


def covered(read: dict[str, np.ndarray], age: np.ndarray) -> float:
    """Share of the known ages (N,) that lie in the interval which is said to hold 80 %: mean and 1.28 spreads."""
    has = ~np.isnan(age)
    return float((np.abs(read["age"] - age) < Z80 * read["age_spread"])[has].mean())


def by_race(readers: Reader, faces: Faces, race: np.ndarray) -> tuple[float, dict[str, dict[str, Any]]]:
    """How many years readings lie outside of the age ranges of faces, race (N,): the gap between the best and the worst
    race, and the mean of each. BadInput when no face has an age or a range."""
    low, high = age_ranges(faces.labels["age"], faces.table)
    if np.isnan(low).all():
        raise BadInput(
            f"{faces.folder} has no face with an age, or with age_low and age_high, to compare races by"
        )
    age = read_all(readers, faces)["age"]
    outside = np.maximum(low - age, 0) + np.maximum(age - high, 0)
    rows = {
        str(one): {"faces": int(of.sum()), "outside_years": round(float(outside[of].mean()), 3)}
        for one in np.unique(race)
        if (of := (race == one) & ~np.isnan(outside)).any()
    }
    means = [row["outside_years"] for row in rows.values()]
    return max(means) - min(means), rows


def accepted(same: np.ndarray, different: np.ndarray, rate: float) -> dict[str, float]:
    """The cosine that a share `rate` of the different pairs exceeds, and the share of same-person pairs above it."""
    cosine = threshold_at(different, rate)
    return {"cosine": round(cosine, 4), "same_accepted": round(float((same > cosine).mean()), 4)}


def ages(
    read: np.ndarray, true: np.ndarray, sources: np.ndarray, constant: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and details of the age error: over all faces, by set and by FFHQ-Aging group, in years."""
    has = ~np.isnan(true)
    error, nothing = np.abs(read - true), np.abs(constant - true)
    groups = np.array([AGE_GROUPS[age_group(a)] if not np.isnan(a) else "" for a in true])
    summary = {
        "age_mae_utkface": float(error[has & (sources == "utkface")].mean())
        if (has & (sources == "utkface")).any()
        else None,
        "age_mae_all": float(error[has].mean()),
        "nothing_age_mae_all": float(nothing[has].mean()),
    }
    by_set = {str(s): round(float(error[has & (sources == s)].mean()), 3) for s in np.unique(sources[has])}
    details = {"constant_years": constant, "mae_by_set": by_set}
    return summary, details | ages_by(read, true, {"by_group": groups}, AGE_GROUPS)


def ages_by(
    read: np.ndarray, true: np.ndarray, kinds: dict[str, np.ndarray], order: Sequence[str] = ()
) -> dict[str, dict[str, dict[str, Any]]]:
    """Age readings (N,) of each kind of face. kinds: name -> what each face is (N,), "" where that is not known."""
    return {
        name: {
            str(kind): {
                "faces": int(of.sum()),
                "mae": round(float(np.abs(read - true)[of].mean()), 3),
                "mean_read": round(float(read[of].mean()), 2),
                "mean_true": round(float(true[of].mean()), 2),
            }
            for kind in order or np.unique(what[what != ""])
            if (of := (what == kind) & ~np.isnan(true)).any()
        }
        for name, what in kinds.items()
    }


def genders(faces: Faces) -> np.ndarray:
    """The sets' binary gender labels (N,), "" where there is none."""
    if "gender" not in faces.table:
        return np.full(len(faces), "")
    return faces.table["gender"].map({"f": "female", "m": "male"}).fillna("").to_numpy(str)


def turns(pose: np.ndarray) -> np.ndarray:
    """Head poses (N,3) in degrees -> how far each head is turned aside (N,), in words."""
    yaw = np.abs(pose[:, 0])
    return np.select(
        [np.isnan(yaw), yaw < 10, yaw < 20, yaw < 30],
        ["", "0-10 degrees", "10-20 degrees", "20-30 degrees"],
        "30 degrees or more",
    )
