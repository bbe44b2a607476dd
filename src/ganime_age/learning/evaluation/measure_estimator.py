"""What training on turned faces does to the age estimator: its error before and after, by how far a head is turned.

The true age of a face of a multi-pose set is its source's label, also where the set was relabelled (age_label). The
test split is by person: nobody in it was trained on by whoever learnt from the set's train split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...errors import BadInput
from ...model.fingerprint import fingerprint
from ..data.faces import Faces, age_ranges
from .measure_readers import Reader, ages_by, read_all

EDGES = (0, 10, 20, 30, 45)
TURNED = 20.0
"""Degrees of yaw beyond which a head counts as turned."""
REAL_SETS = ("celeba", "fairface", "utkface")
"""Sources whose pictures are photos of turned heads as they came, of which no reader of ours chose any."""
NOTES = {
    "multipose": "test split of the multi-pose set, which is by person; the true age is the label of the source photo, "
    "whose turned picture was made, not taken",
    "real": f"real faces of the usual test split whose head is turned by more than {TURNED:.0f} degrees",
    "real_turned": f"test photos of CelebA, FairFace and UTKFace whose yaw is beyond {TURNED:.0f} degrees by the "
    "label, none of them chosen by a reader that is measured; where a set states a range of ages, as FairFace "
    "does, the error is the distance to that range, and a face without any age, as all of CelebA's, does not "
    "count",
    "constant": "what answering the median age of the same faces for everybody would score",
}


def measure(before: Reader, after: Reader, multipose: Faces, real: Sequence[Faces] = ()) -> dict[str, Any]:
    """The errors of two age estimators as one results file. multipose, real: test splits; without `real` there are no
    figures of real faces. reader_mae_yaw20 is of the first of them, real_turned of the photos of REAL_SETS of all.
    BadInput when no face of a split has an age and a yaw, or none of the real ones is turned."""
    readers = {"before": before, "after": after}
    true, yaw = true_ages(multipose), multipose.labels["pose"][:, 0]
    has = usable(multipose, true, yaw)
    out: dict[str, Any] = {
        "summary": {},
        "faces": {"multipose": int(has.sum())},
        "by_yaw": {},
        "notes": NOTES,
    }
    for when, one in readers.items():
        read = read_all(one, multipose)["age"]
        out["summary"][f"multipose_mae_{when}"] = float(np.abs(read - true)[has].mean())
        out["by_yaw"][when] = yaw_bins(read, true, yaw)
    out["summary"]["nothing_multipose_mae_after"] = float(np.abs(true - np.median(true[has]))[has].mean())
    if real:
        for when, one in readers.items():
            found = turned_error(one, real[0])
            out["summary"][f"reader_mae_yaw20_{when}"] = found["mae"]
            out["faces"]["real_turned"] = found["faces"]
            out.setdefault("real_by_yaw", {})[when] = found["by_yaw"]
        with_real_turned(out, readers, real)
    return out


def with_real_turned(out: dict[str, Any], readers: dict[str, Reader], real: Sequence[Faces]) -> None:
    """Put the figures of `real_turned` into a results file, and what made them: readers by when they are, `before` and
    `after`. Figures of other readers that stood there go."""
    for name in [name for name in out["summary"] if "real_turned" in name]:
        del out["summary"][name]
    rows = {when: real_turned(one, real) for when, one in readers.items()}
    weights = {when: fingerprint(one) for when, one in readers.items()}
    out["real_turned"] = rows | {"weights": weights}
    out["notes"] = out.get("notes", {}) | {"real_turned": NOTES["real_turned"]}
    for when, found in rows.items():
        if found["faces"]:
            out["summary"][f"real_turned_{when}"] = found["mae"]
            out["summary"][f"nothing_real_turned_{when}"] = found["constant"]


def real_turned(readers: Reader, folders: Sequence[Faces], least: float = TURNED) -> dict[str, Any]:
    """The age error on the photos of REAL_SETS in some test splits whose |yaw| exceeds `least` degrees: `faces`, `mae`
    and `constant`, the error of their median age, in years, and the first two `by_source`. See NOTES."""
    sources: list[str] = []
    ages: list[np.ndarray] = [np.zeros((3, 0), np.float32)]  # read, youngest and oldest
    for faces in folders:
        far = np.abs(faces.labels["pose"][:, 0]) > least
        ranges = np.stack(age_ranges(true_ages(faces), faces.table))
        source = faces.table["source"] if "source" in faces.table else pd.Series([""] * len(faces))
        counted = far & ~np.isnan(ranges).any(0) & source.isin(REAL_SETS).to_numpy()
        if counted.any():
            read = read_all(readers, faces)["age"]
            ages.append(np.stack([read, *ranges])[:, counted])
            sources += source[counted].tolist()
    read, low, high = np.concatenate(ages, 1)
    if not len(read):
        return {"faces": 0, "by_source": {}}
    error, median = outside(read, low, high), np.median((low + high) / 2)
    whose = np.array(sources)
    rows = {name: error[whose == name] for name in sorted(set(sources))}
    return {
        "faces": len(error),
        "mae": float(error.mean()),
        "constant": float(outside(np.full_like(low, median), low, high).mean()),
        "by_source": {
            name: {"faces": len(own), "mae": round(float(own.mean()), 3)} for name, own in rows.items()
        },
    }


def outside(read: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Years (N,) by which ages read lie outside the ranges of ages that the faces may have."""
    return np.maximum(np.maximum(low - read, read - high), 0)


def turned_error(readers: Reader, faces: Faces, least: float = TURNED) -> dict[str, Any]:
    """Mean absolute age error in years (`mae`) on the `faces` whose |yaw| exceeds `least` degrees, and `by_yaw` on all
    of them. BadInput when none is turned so far."""
    true, yaw = true_ages(faces), faces.labels["pose"][:, 0]
    far = usable(faces, true, yaw) & (np.abs(yaw) > least)
    if not far.any():
        raise BadInput(f"{faces.folder} has no test face with an age and a yaw beyond {least:.0f} degrees")
    read = read_all(readers, faces)["age"]
    return {
        "faces": int(far.sum()),
        "mae": float(np.abs(read - true)[far].mean()),
        "by_yaw": yaw_bins(read, true, yaw),
    }


def yaw_bins(read: np.ndarray, true: np.ndarray, yaw: np.ndarray) -> dict[str, dict[str, Any]]:
    """Ages read and true (N,) in years by |yaw| (N,) in degrees: bin -> a row of `ages_by`.

    The bins are those between EDGES and one for all beyond; an empty one is left out.
    """
    bins = [f"{low}-{high} degrees" for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)]
    bins.append(f"{EDGES[-1]} degrees or more")
    where = np.digitize(np.nan_to_num(np.abs(yaw)), EDGES[1:])
    names = np.where(np.isnan(yaw), "", np.array(bins)[where])
    return ages_by(read, true, {"yaw": names})["yaw"]


def true_ages(faces: Faces) -> np.ndarray:
    """(N,) years as labelled: the labels that a relabelling kept where there are any, else the ages; NaN unknown."""
    if "age_label" not in faces.table:
        return faces.labels["age"]
    return pd.to_numeric(faces.table["age_label"], errors="coerce").to_numpy(np.float32)


def usable(faces: Faces, true: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """(N,) bool: the age and the yaw are known; BadInput when that holds for none."""
    has = ~np.isnan(true) & ~np.isnan(yaw)
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no test face with an age and a yaw; the columns age and yaw are needed"
        )
    return has
