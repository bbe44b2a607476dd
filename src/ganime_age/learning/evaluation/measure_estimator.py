"""What training on turned faces does to the age estimator: its error before and after, by how far a head is turned.

The true age of a face of a multi-pose set is its source's label, also where the set was relabelled (age_label). The
test split is by person: nobody in it was trained on by whoever learnt from the set's train split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...errors import BadInput
from ...networks.readers import Readers
from ..data.faces import Faces
from .measure_readers import ages_by, read_all

EDGES = (0, 10, 20, 30, 45)
TURNED = 20.0
"""Degrees of yaw beyond which a head counts as turned."""
NOTES = {
    "multipose": "test split of the multi-pose set, which is by person; the true age is the label of the source photo, "
    "whose turned picture was made, not taken",
    "real": f"real faces of the usual test split whose head is turned by more than {TURNED:.0f} degrees",
    "constant": "what answering the median age of the same faces for everybody would score",
}


def measure(before: Readers, after: Readers, multipose: Faces, real: Faces | None = None) -> dict[str, Any]:
    """The errors of two age estimators as one results file. multipose, real: test splits; without `real` there are no
    figures of real faces. BadInput when no face of a split has an age and a yaw, or none of the real ones is turned."""
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
    if real is not None:
        for when, one in readers.items():
            found = turned_error(one, real)
            out["summary"][f"reader_mae_yaw20_{when}"] = found["mae"]
            out["faces"]["real_turned"] = found["faces"]
            out.setdefault("real_by_yaw", {})[when] = found["by_yaw"]
    return out


def turned_error(readers: Readers, faces: Faces, least: float = TURNED) -> dict[str, Any]:
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
    """Ages read and true (N,) in years by |yaw| (N,) in degrees: bin -> faces, mae, mean_read, mean_true.

    The bins are those between EDGES and one for all beyond; an empty one is left out.
    """
    bins = [f"{low}-{high} degrees" for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)]
    bins.append(f"{EDGES[-1]} degrees or more")
    where = np.digitize(np.nan_to_num(np.abs(yaw)), EDGES[1:])
    names = np.where(np.isnan(yaw), "", np.array(bins)[where])
    return ages_by(read, true, {"yaw": names}, bins)["yaw"]


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
