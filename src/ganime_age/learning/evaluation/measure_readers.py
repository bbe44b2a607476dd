"""How well the readers read held-out faces, beside what one gets for nothing."""

from __future__ import annotations

import re
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
    gender = genders(faces)
    kinds = {"by_gender": gender, "by_yaw": turns(labels["pose"])}
    kinds["by_gender_and_group"] = both(gender, age_names(labels["age"], labels["age"]))
    age_details |= ages_by(read["age"], labels["age"], kinds)
    age["age_interval_coverage"] = covered(read, labels["age"])
    if races is not None:
        age["age_gap_race_years"], by_range = by_race(readers, *races)
        age_details |= by_range
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
    race, and the means by race, by gender and range, and by gender, race and range, the last of few faces each
    (`cell_faces`). BadInput when no face has an age or a range."""
    low, high = age_ranges(faces.labels["age"], faces.table)
    if np.isnan(low).all():
        raise BadInput(
            f"{faces.folder} has no face with an age, or with age_low and age_high, to compare races by"
        )
    age = read_all(readers, faces)["age"]
    above = np.maximum(age - high, 0) - np.maximum(low - age, 0)  # below the range it is negative
    gender, group = genders(faces), age_names(low, high)
    rows = outside_by(above, race)
    means = [row["outside_years"] for row in rows.values()]
    found: dict[str, dict[str, Any]] = {
        "by_race": rows,
        "by_gender_and_range": outside_by(above, both(gender, group)),
    }
    cells = {who: outside_by(above[of], group[of]) for who, of in kinds_of(both(gender, race))}
    found["by_gender_race_range"] = {
        who: {at: row["outside_years"] for at, row in by.items()} for who, by in cells.items()
    }
    counts = [row["faces"] for by in cells.values() for row in by.values()]
    found["cell_faces"] = {"least": min(counts, default=0), "most": max(counts, default=0)}
    return max(means) - min(means), found


def outside_by(above: np.ndarray, what: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of each kind of face, what (N,): how many, the mean years outside of their ranges, and the mean of above (N,)
    itself, which is positive where faces are read too old; NaN is left out."""
    return {
        kind: {
            "faces": int(of.sum()),
            "outside_years": round(float(np.abs(above[of]).mean()), 3),
            "bias": round(float(above[of].mean()), 3),
        }
        for kind, of in kinds_of(np.where(np.isnan(above), "", what))
    }


def kinds_of(what: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Each kind that occurs in what (N,), and which faces are of it, (N,) bool. "" is no kind; what starts with an age
    comes by age."""
    found = sorted(
        set(what.tolist()) - {""},
        key=lambda kind: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", kind)],
    )
    return [(kind, what == kind) for kind in found]


def age_names(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Youngest and oldest ages (N,) -> the range in words; the age group where both are the same; "" for NaN."""
    return np.array([_age_name(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)])


def _age_name(low: float, high: float) -> str:
    if np.isnan(low) or np.isnan(high):
        return ""
    if low == high:
        return AGE_GROUPS[age_group(low)]
    return f"{low:.0f}+" if high >= 100 else f"{low:.0f}-{high:.0f}"


def both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two kinds (N,) each as one, "first, second"; "" where either is not known."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return np.array([f"{one}, {other}" if one and other else "" for one, other in pairs])


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
    summary = {
        "age_mae_utkface": float(error[has & (sources == "utkface")].mean())
        if (has & (sources == "utkface")).any()
        else None,
        "age_mae_all": float(error[has].mean()),
        "nothing_age_mae_all": float(nothing[has].mean()),
    }
    by_set = {str(s): round(float(error[has & (sources == s)].mean()), 3) for s in np.unique(sources[has])}
    details = {"constant_years": constant, "mae_by_set": by_set}
    return summary, details | ages_by(read, true, {"by_group": age_names(true, true)})


def ages_by(
    read: np.ndarray, true: np.ndarray, kinds: dict[str, np.ndarray]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Age readings (N,) of each kind of face. kinds: name -> what each face is (N,), "" where that is not known."""
    return {
        name: {
            kind: {
                "faces": int(of.sum()),
                "mae": round(float(np.abs(read - true)[of].mean()), 3),
                "bias": round(float((read - true)[of].mean()), 3),
                "mean_read": round(float(read[of].mean()), 2),
                "mean_true": round(float(true[of].mean()), 2),
            }
            for kind, of in kinds_of(np.where(np.isnan(true), "", what))
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
