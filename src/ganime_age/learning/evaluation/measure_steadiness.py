"""Repeatability of readings: of a face cut out in other ways, and of neutral and smiling photos of one person.

AU06, the cheek raiser, has no labels. What geometry shows of it, the rise of the lower lids, is measured on the same
pairs, with what of that rise AU12 and AU07 explain already: a reading that only repeats them would be none of AU06.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...editor import FaceEditor
from ...edits import AU_CODES, AU_UNSEEN
from ...errors import BadInput
from ...model.model import GanimeAge
from ..data.augment import random_affine
from ..data.faces import Faces
from ..engine.devices import beside
from .photos.whole_photos import WholePhoto

CUTS, TURN, ZOOM, SHIFT = 3, 5.0, 0.1, 0.03
"""How often a face is cut out, and what the cuts differ by at most: degrees, relative size, sides of the frame."""
STEADY = 2.0
"""Years within which the readings of one face should lie."""
FEWEST = 10
"""Pairs from which on it is said what explains the rise of the lower lids."""
LOWER_LIDS, CORNERS = (40, 41, 46, 47), ((36, 39), (42, 45))
"""Landmarks of the lower lids, and the corners of each eye."""


def recut(model: GanimeAge, faces: Faces, count: int = 500, seed: int = 0) -> dict[str, Any]:
    """How far apart the ages are that are read of one face, cut out in three ways: years, mean over `count` faces, and
    the share of faces within STEADY."""
    model.eval()
    picks = np.unique(np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int))
    spreads = []
    look = beside(model, lambda face: model.read(face, False).age)
    with torch.random.fork_rng([]), torch.inference_mode():
        torch.manual_seed(seed)
        for part in np.array_split(picks, max(1, len(picks) // 50)):
            face = faces.batch(part)["face"]
            read = torch.stack([look(random_affine(face, None, TURN, ZOOM, SHIFT)[0]) for _ in range(CUTS)])
            spreads.append(read.amax(0) - read.amin(0))
    apart = torch.cat(spreads)
    return {
        "faces": len(picks),
        "cuts": CUTS,
        "years_apart": round(float(apart.mean()), 3),
        f"within_{STEADY:g}_years": round(float((apart <= STEADY).float().mean()), 4),
        "differing_by": f"{TURN:g} degrees, {ZOOM:.0%} of the size and {SHIFT:.0%} of the frame's side, at most",
    }


def smiles(editor: FaceEditor, pairs: Sequence[tuple[WholePhoto, WholePhoto]]) -> dict[str, Any]:
    """Readings of (neutral, smiling) photos of the same people: of every action unit both means, and the share of
    people of whom the smiling photo reads higher; and the rise of the lower lids. BadInput where no pair has faces."""
    both: list[tuple[np.ndarray, np.ndarray]] = []
    lids: list[tuple[float, float]] = []
    for pair in tqdm(pairs, desc="smiles", unit="person"):
        try:
            read = [editor.read(photo.path)[0] for photo in pair]
        except BadInput:
            continue
        units = [np.array([r.action_units[code] for code in AU_CODES]) for r in read]
        both.append((units[0], units[1]))
        heights = [lid_height(np.asarray(r.landmarks, float)) for r in read]
        lids.append((heights[0], heights[1]))
    if not both:
        raise BadInput(
            "no person has a neutral and a smiling photo in which a face is found: NAME_neutral_ID"
        )
    calm, glad = (np.stack(part) for part in zip(*both, strict=True))
    rise, change = np.diff(np.array(lids), axis=1)[:, 0], glad - calm
    told = np.stack([change[:, AU_CODES.index(code)] for code in ("AU12", "AU07")], 1)
    return {
        "people": len(both),
        "left_out": len(pairs) - len(both),
        "units": {
            code: {
                "neutral": round(float(calm[:, i].mean()), 3),
                "smiling": round(float(glad[:, i].mean()), 3),
                "higher": round(float((change[:, i] > 0).mean()), 4),
            }
            for i, code in enumerate(AU_CODES)
            if code not in AU_UNSEEN
        },
        "lower_lids": {
            "rise_percent": round(float(100 * rise.mean()), 3),
            "higher": round(float((rise > 0).mean()), 4),
            "told_by_au12_and_au07": round(explained(told, rise), 4) if len(both) >= FEWEST else None,
        },
    }


def lid_height(points: np.ndarray) -> float:
    """How high the lower lids lie above the lines between the eyes' corners, in distances of the outer corners (below
    it is negative). points: (68,2), y downwards."""
    across = points[45] - points[36]
    down = np.array([-across[1], across[0]]) / np.linalg.norm(across)
    middle = np.mean([points[list(pair)].mean(0) for pair in CORNERS], 0)
    return float(-((points[list(LOWER_LIDS)].mean(0) - middle) @ down) / np.linalg.norm(across))


def explained(causes: np.ndarray, effect: np.ndarray) -> float:
    """Share of the variance of `effect` (N,) that a linear fit on `causes` (N,K) explains (R squared)."""
    design = np.column_stack([causes, np.ones(len(effect))])
    left = effect - design @ np.linalg.lstsq(design, effect, rcond=None)[0]
    return float(1 - left.var() / max(effect.var(), 1e-12))
