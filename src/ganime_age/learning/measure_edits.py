"""Does an edit do what was asked? Read by the shipped readers, which the generator was never trained against.

Every figure stands beside what doing nothing would score.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..edits import AU_CODES, AU_MAX, AU_UNSEEN
from ..model import GanimeAge
from ..networks.readers import Readings
from .data import Faces

AGES = (5.0, 15.0, 30.0, 50.0, 70.0, 85.0)


def sources(faces: Faces, count: int, low: float = 20, high: float = 29) -> np.ndarray:
    """Indices of `count` faces of an age within low..high whose head is turned by at most 30 degrees."""
    age, yaw = faces.labels["age"], faces.labels["pose"][:, 0]
    fits = np.flatnonzero((age >= low) & (age <= high) & (np.abs(yaw) <= 30))
    return fits[np.linspace(0, len(fits) - 1, min(count, len(fits))).astype(int)]


def measure(model: GanimeAge, faces: Faces, count: int = 100, method: str = "ganimation_age") -> dict:
    """Age response, action-unit response, drift and identity on `count` held-out faces of age 20-29."""
    face = faces.batch(sources(faces, count))["face"]
    with torch.inference_mode():
        before = model.read(face)
        ages = [age_response(model, face, before, years, method) for years in AGES]
        units = {
            code: unit_response(model, face, before, code, method)
            for code in AU_CODES
            if code not in AU_UNSEEN
        }
        same = model.edit(face, before.age, before.age, before.action_units, before.action_units, method)
        own = before.age.mean().item()
    correlations = [unit["correlation"] for unit in units.values()]
    return {
        "summary": {
            "age_error_mean": float(np.mean([abs(a["mean_read"] - a["asked"]) for a in ages])),
            "nothing_age_error_mean": float(np.mean([abs(own - a["asked"]) for a in ages])),
            "identity_cosine_mean": float(np.mean([a["identity_cosine"] for a in ages])),
            "nothing_identity_cosine_mean": 1.0,
            "au12_slope": units["AU12"]["slope"],
            "au12_correlation": units["AU12"]["correlation"],
            "nothing_au12_slope": 0.0,
            "au_correlation_mean": float(np.mean(correlations)),
            "age_drift_years": float(np.mean([unit["age_drift_years"] for unit in units.values()])),
            "au_drift": float(np.mean([a["au_drift"] for a in ages])),
            "mask_mean": float(np.mean([a["mask_mean"] for a in ages])),
            "no_change_l1": float((same.face - face).abs().mean() / 2),
        },
        "faces": len(face),
        "who": "test faces of age 20-29, head turned by at most 30 degrees",
        "read_by": "the package's own readers; the generator trained against other, robust ones",
        "mean_read_before": round(own, 2),
        "ages": ages,
        "action_units": units,
    }


def age_response(model: GanimeAge, face: Tensor, before: Readings, years: float, method: str) -> dict:
    """What is read when one age is asked of all faces (B,3,S,S)."""
    asked = torch.full_like(before.age, years)
    edited = model.edit(face, before.age, asked, before.action_units, before.action_units, method)
    after = model.read(edited.face)
    return {
        "asked": years,
        "mean_read": round(after.age.mean().item(), 2),
        "identity_cosine": round((before.identity * after.identity).sum(1).mean().item(), 4),
        "au_drift": round((after.action_units - before.action_units).abs().mean().item(), 4),
        "mask_mean": round(edited.attention.mean().item(), 4),
        "mean_change": round((edited.face - face).abs().mean().item() / 2, 4),
    }


def unit_response(model: GanimeAge, face: Tensor, before: Readings, code: str, method: str) -> dict:
    """Slope and correlation of the intensity read against the intensity asked (0..5 in four steps) of one unit."""
    index, asked, read, drift = AU_CODES.index(code), [], [], []
    for level in torch.linspace(0, AU_MAX, 4).tolist():
        target = before.action_units.clone()
        target[:, index] = level
        after = model.read(model.edit(face, before.age, before.age, before.action_units, target, method).face)
        asked += [level] * len(face)
        read += after.action_units[:, index].tolist()
        drift.append((after.age - before.age).abs().mean().item())
    slope = float(np.polyfit(asked, read, 1)[0])
    moved = float(np.std(read)) > 0
    return {
        "slope": round(slope, 4),
        "correlation": round(float(np.corrcoef(asked, read)[0, 1]) if moved else 0.0, 4),
        "age_drift_years": round(float(np.mean(drift)), 3),
    }
