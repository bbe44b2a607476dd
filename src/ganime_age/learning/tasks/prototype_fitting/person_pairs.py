"""What opens a mouth, measured on two photos of one person.

Between people a slope also holds who has which mouth, and frames lie on the mouth whose movement is to be measured.
Between photos of one person, laid over each other by eyes and nose, neither counts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from ....edits import AU_CODES
from ....networks.prototypes import UNITS, Prototypes
from ....networks.warp import fit_similarity
from ...data.faces import Faces

ReadUnits = Callable[[Tensor], Tensor]
"""Faces (B,3,S,S) in [-1,1] -> action units (B,17) in 0..5."""
STEADY = (27, 28, 29, 30, 36, 39, 42, 45)
"""Landmarks that no expression moves much: the ridge of the nose and the corners of the eyes."""
MOUTH = slice(48, 68)
"""Landmarks of the lips."""
MEASURED = ("AU10", "AU25", "AU26")
"""Units that are measured so: they part the lips. The others keep their slopes: a smile alone must stay one."""
MOST_PAIRS = 60
"""Pairs of photos of a person, at most."""
TURNED, APART = 22.0, 10.0
"""Degrees of yaw up to which a face counts; and degrees of yaw and of pitch between the photos of a pair, at most."""
STIFFNESS = 1000.0
"""Pairs of one unit's intensity that the slopes known before are worth."""
LEAST_PAIRS = 300
"""Fewer pairs tell nothing."""


@torch.no_grad()
def fit_person_pairs(faces: Faces, prototypes: Prototypes, read: ReadUnits, seed: int = 0) -> int:
    """Measure the shapes of MEASURED anew in the mouth, from faces of people who show more than once, and give the
    number of pairs; with fewer than LEAST_PAIRS they stay as they are. read: what an edit will read faces by, so that
    its units are the ones that move a mouth as far as people move theirs."""
    first, second = pairs_of(faces, seed)
    if len(first) < LEAST_PAIRS:
        return len(first)
    marks = torch.from_numpy(faces.labels["landmarks"]).double()
    units = read_all(faces, read, np.union1d(first, second))
    moved = between(marks[first], marks[second])[:, MOUTH].flatten(1)  # (N,40)
    change = units[second] - units[first]
    slopes = prototypes.unit_shape[:, MOUTH].double().flatten(1).cpu()  # (UNITS,40)
    # Ridge regression (Hoerl & Kennedy 1970) of what is left, towards the slopes that are known:
    #
    #     min sum_n |moved_n - change_n (S + D)|^2 + sum_u stiffness_u |D_u|^2
    stiff = torch.full((UNITS,), 1e12, dtype=torch.float64)
    stiff[[AU_CODES.index(code) for code in MEASURED]] = STIFFNESS
    gram = change.T @ change + torch.diag(stiff)
    slopes += torch.linalg.solve(gram, change.T @ (moved - change @ slopes))
    prototypes.unit_shape[:, MOUTH] = slopes.view(UNITS, -1, 2).to(prototypes.unit_shape)
    return len(first)


def read_all(faces: Faces, read: ReadUnits, rows: np.ndarray, batch: int = 64) -> Tensor:
    """Action units (M,17) of all faces; of those that are not in `rows`, which is not empty, 0."""
    units = torch.zeros(len(faces), UNITS, dtype=torch.float64)
    for part in np.array_split(rows, -(-len(rows) // batch)):
        units[part] = read(faces.batch(part)["face"]).double().cpu()
    return units


def pairs_of(faces: Faces, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) each of pairs of photos of one person, alike in pose, in both orders."""
    person, pose = faces.labels["person"], faces.labels["pose"]
    known = ~np.isnan(faces.labels["landmarks"]).any((1, 2)) & (person >= 0)
    known &= np.abs(pose[:, 0]) < TURNED
    rng, found = np.random.default_rng(seed), []
    for one in np.unique(person[known]):
        rows = np.flatnonzero(known & (person == one))
        both = [pair for pair in permutations(rows, 2) if alike(pose[pair[0]], pose[pair[1]])]
        found += [both[i] for i in rng.permutation(len(both))[:MOST_PAIRS]]
    pairs = np.array(found, int).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two poses (3,) in degrees are alike in yaw and pitch."""
    return bool((np.abs(one[:2] - other[:2]) < APART).all())


def between(source: Tensor, goal: Tensor) -> Tensor:
    """How landmarks (N,68,2) move to those of another photo, (N,68,2), once STEADY are laid over each other."""
    steady = list(STEADY)
    return fit_similarity(goal[:, steady], source[:, steady]).apply(goal) - source
