"""What the judges say of real faces: the measure that edits are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ...edits import AU_CODES, GROUP_STARTS
from ...images.tensors import to_pictures
from ..data.faces import Faces
from ..data.joined_faces import sources_of
from .judges import Judge, Judges
from .metrics import auc, pair_scores, threshold_at
from .test_faces import aged, batches, frontal, gather, look, spread

FALSE_ACCEPTS = 1e-3


def verification(faces: Faces, judge: Judge, per_source: int) -> dict[str, Any]:
    """The threshold at a false-accept rate of 1e-3, and what a reader needs to judge the judge.

    Pairs are formed within each source, where they are hardest: of one person where `identity` says so, of two where
    neither `identity` nor `cluster` is the same. CelebA has some photos, and a person, under two identities; their
    cluster is one. A source without any age or identity is left out: its faces need not be anybody's.
    """
    by_source: dict[str, dict[str, Any]] = {}
    pairs_same, pairs_different = [], []
    person, cluster, sources = numbered(faces, "identity"), numbered(faces, "cluster"), sources_of(faces)
    labelled = ~np.isnan(faces.labels["age"]) | (faces.labels["person"] >= 0)
    for source in np.unique(sources[labelled]):
        picks = spread(np.flatnonzero((sources == source) & frontal(faces)), per_source)
        if len(picks) < 2:
            continue
        found = look(faces, picks, {"identity": judge})["identity"]
        alike, unlike = pair_scores(found, person[picks], cluster[picks])
        pairs_same.append(alike)
        pairs_different.append(unlike)
        by_source[source] = {"faces": len(picks), "threshold": threshold_at(unlike, FALSE_ACCEPTS)}
    same, different = np.concatenate(pairs_same), np.concatenate(pairs_different)
    threshold = threshold_at(different, FALSE_ACCEPTS)
    return {
        "threshold": threshold,
        "false_accept_rate": FALSE_ACCEPTS,
        "pairs_different": len(different),
        "pairs_same": len(same),
        "true_accept_rate": float((same > threshold).mean()) if len(same) else None,
        "auc": auc(same, different) if len(same) else None,
        "by_source": by_source,
    }


def numbered(faces: Faces, column: str) -> np.ndarray:
    """(N,) the same number for the same value of a column; every face has its own where the value is unknown."""
    names = np.array([f"face {i}" for i in range(len(faces))], object)
    if column in faces.table:
        known = faces.table[column].notna().to_numpy()
        names[known] = [f"known {name}" for name in faces.table[column][known]]
    return np.unique(names.astype(str), return_inverse=True)[1]


@dataclass
class RealAges:
    """What the age judge says of real faces of each group. age: mean (10,) years. features: (N,D) a group, in units of
    `scale`, or None. count (10,). error: the judge's mean absolute error in years, by source and over all."""

    age: list[float]
    features: list[np.ndarray] | None
    count: list[int]
    error: dict[str, float]
    by_source: dict[str, list[float | None]]
    scale: float


def real_ages(faces: Faces, judges: Judges, per_group: int) -> RealAges:
    """Ask the age judge about at most `per_group` frontal faces of every age group."""
    looks, ends = age_looks(judges), (*GROUP_STARTS[1:], 101)
    picks = [aged(faces, low, high - 1e-3, per_group) for low, high in zip(GROUP_STARTS, ends, strict=True)]
    found = [look(faces, part, looks) for part in picks]
    everyone, read = np.concatenate(picks), np.concatenate([part["age"] for part in found])
    error = np.abs(read - faces.labels["age"][everyone])
    source = sources_of(faces)
    names = np.unique(source[everyone])
    features, scale = None, 1.0
    if "features" in looks:
        scale = float(np.sqrt(np.mean(np.concatenate([part["features"] for part in found]) ** 2)))
        features = [part["features"] / scale for part in found]
    return RealAges(
        age=[float(part["age"].mean()) for part in found],
        features=features,
        count=[len(part) for part in picks],
        error={str(n): float(error[source[everyone] == n].mean()) for n in names}
        | {"all": float(error.mean())},
        by_source={
            str(n): [_mean(f["age"][source[p] == n]) for f, p in zip(found, picks, strict=True)]
            for n in names
        },
        scale=scale,
    )


def age_looks(judges: Judges) -> dict[str, Judge]:
    """The age judge's looks: `age`, and `features` where it has them."""
    looks = {} if judges.age is None else {"age": judges.age}
    features = getattr(judges.age, "features", None)
    if features:
        looks["features"] = features
    return looks


def _mean(values: np.ndarray, least: int = 5) -> float | None:
    return float(values.mean()) if len(values) >= least else None


def unit_ranges(faces: Faces, judge: Judge, count: int) -> tuple[np.ndarray, int]:
    """Distance of the 90th from the 10th percentile of every action unit's reading on real faces (17,), NaN for one
    that the judge cannot see; and on how many of them it found no face."""
    read = look(faces, spread(np.flatnonzero(frontal(faces)), count), {"units": judge})["units"]
    found = ~np.isnan(read).all(1)
    ranges = np.full(len(AU_CODES), np.nan)
    if found.any():
        low, high = np.percentile(read[found], (10, 90), axis=0)
        ranges = high - low
    return ranges, int((~found).sum())


def hair_colour(picture: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Mean CIELAB lightness L* (0..100) and chroma C* of a picture (S,S,3) uint8 within a mask (S,S) -> (2,).

    Chroma is the saturation that stays defined on dark hair; NaN when less than 2 % of the frame is hair.
    """
    if hair.mean() < 0.02:
        return np.full(2, np.nan)
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[hair]
    return np.array([lab[:, 0].mean(), np.hypot(lab[:, 1], lab[:, 2]).mean()])


def hair_of(faces: Faces, picks: np.ndarray, judge: Judge) -> tuple[np.ndarray, np.ndarray]:
    """Hair masks (N,S,S) bool within the real part of the frame, and the hair's colours (N,2), of faces as they are."""

    def part(batch: dict[str, Any]) -> dict[str, np.ndarray]:
        pictures = to_pictures(batch["face"])
        masks = judge(pictures, batch["landmarks"].numpy()) & (batch["valid"][:, 0].numpy() > 0.99)
        return {"masks": masks, "colours": np.stack([*map(hair_colour, pictures, masks)])}

    found = gather(part(batch) for _, batch in batches(faces, picks))
    return found["masks"], found["colours"]


def whole_frames(faces: Faces, picks: np.ndarray, least: float = 0.8) -> np.ndarray:
    """Those of the faces of which at least this share of the frame is real, so that there is hair to see."""
    valid = np.concatenate([batch["valid"].mean((1, 2, 3)).numpy() for _, batch in batches(faces, picks)])
    return picks[valid >= least]
