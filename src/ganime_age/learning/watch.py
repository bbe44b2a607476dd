"""The collapse watch: is the generator still editing, or has it found a way round its losses?

A task's probe measures a small fixed set of faces; `Watch` holds the limits of a healthy run, `Watcher` remembers the
last probes and decides. The names a probe may use, each judged only when present:

mask: mean share of a pixel that is changed (1 - A of GANimation), 0..1; 0 = nothing is edited, 1 = all is repainted.
age_slope, age_slope_judge: read years per asked year, by the reader trained against and by a judge that was not.
au12_slope: read intensity of AU12 per asked one. gap: age_slope - age_slope_judge, how far the reader is fooled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..edits import AU_CODES, AU_MAX
from ..errors import GanimeAgeError
from .sheets import wanted

AGES = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0)
SMILES = (0.0, AU_MAX / 2, AU_MAX)
AU12 = AU_CODES.index("AU12")


class Collapsed(GanimeAgeError):
    """The watch stopped a run; the message says what is off scale and which checkpoint was kept. Exit code 4."""

    exit_code = 4


@dataclass
class Watch:
    """Limits of a healthy run: a recipe's [watch] table.

    mask: range of the mean share changed. age_slope, au_slope: least response, asked for from step `flat_after` on, as
    is gap, the most by which the reader's response may exceed the judge's. patience: probes in a row outside a limit
    that stop the run. gap_probes, gap_growth: a gap that grew in each of so many probes, by so much in all, while the
    judge's response did not, is an alarm: a line in the log, no stop.
    """

    mask: tuple[float, float] = (0.02, 0.95)
    age_slope: float = 0.1
    au_slope: float = 0.1
    gap: float = 0.6
    flat_after: int = 1500
    patience: int = 2
    gap_probes: int = 3
    gap_growth: float = 0.05

    def faults(self, step: int, probe: dict[str, float]) -> list[str]:
        """What lies outside the limits, each as a clause; empty when all is well."""
        out = [f"{name} is {value}" for name, value in probe.items() if not math.isfinite(value)]
        low, high = self.mask
        mask = probe.get("mask", low)
        if mask < low:
            out.append(f"the mask's mean is {mask:.3g}, below {low:g}: edits change almost nothing")
        if mask > high:
            out.append(f"the mask's mean is {mask:.3g}, above {high:g}: nearly every pixel is repainted")
        if step >= self.flat_after:
            out += self.flat("age", "year", probe.get("age_slope", math.inf), self.age_slope)
            out += self.flat("AU12", "intensity", probe.get("au12_slope", math.inf), self.au_slope)
            if probe.get("gap", 0.0) > self.gap:
                out.append(
                    f"the reader's age response exceeds the judge's by {probe['gap']:.2f}, above {self.gap:g}: the "
                    "reader is fooled"
                )
        return out

    @staticmethod
    def flat(what: str, unit: str, slope: float, least: float) -> list[str]:
        clause = f"the {what} response is flat: {slope:.3f} read per {unit} asked, below {least:g}"
        return [clause] if slope < least else []


class Verdict(NamedTuple):
    """What a probe means: clauses outside the limits, whether they stop the run, and an alarm for the log."""

    faults: list[str]
    stop: bool
    alarm: str | None


class Watcher:
    """A Watch with its memory: probes in a row with a fault, and the last gaps."""

    def __init__(self, limits: Watch):
        self.limits = limits
        self.strikes = 0
        self.gaps: list[list[float]] = []

    def look(self, step: int, probe: dict[str, float], last: bool = False) -> Verdict:
        """Judge one probe; on the run's last one a single fault is enough."""
        faults = self.limits.faults(step, probe)
        self.strikes = self.strikes + 1 if faults else 0
        return Verdict(
            faults, bool(faults) and (last or self.strikes >= self.limits.patience), self.growing(probe)
        )

    def growing(self, probe: dict[str, float]) -> str | None:
        """The alarm of a gap between reader and judge that keeps growing while the judge sees no progress."""
        if "gap" not in probe:
            return None
        count = self.limits.gap_probes
        self.gaps = [*self.gaps, [probe["gap"], probe["age_slope_judge"]]][-count - 1 :]
        gaps, judged = zip(*self.gaps, strict=True)
        rises = all(later > earlier for earlier, later in zip(gaps, gaps[1:], strict=False))
        if (
            len(gaps) <= count
            or not rises
            or gaps[-1] - gaps[0] < self.limits.gap_growth
            or judged[-1] > judged[0]
        ):
            return None
        return (
            f"the gap between reader and judge grew over {count} probes, from {gaps[0]:.2f} to {gaps[-1]:.2f}, while "
            f"the judge's age response went from {judged[0]:.2f} to {judged[-1]:.2f}: the generator is learning to "
            "fool the reader"
        )

    def memory(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"strikes": self.strikes, "gaps": self.gaps}

    def recall(self, memory: dict[str, Any]) -> None:
        """Undo memory."""
        self.strikes, self.gaps = memory.get("strikes", 0), memory.get("gaps", [])


def largest(terms: dict[str, float], count: int = 3) -> str:
    """The terms that weigh most, those that are not finite first: `cycle 3.2, age 1.1`."""
    order = sorted(terms, key=lambda name: (math.isfinite(terms[name]), -abs(terms[name])))
    return ", ".join(f"{name} {terms[name]:.3g}" for name in order[:count])


Edit = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(face, source_age, target_age, source_aus, target_aus) -> (face, share changed): (B,3,S,S) in [-1,1], (B,) years,
(B,17) in 0..5; the share changed is 1 - A, (B,1,S,S) in 0..1."""

Reader = Callable[[Tensor], Any]
"""Faces (B,3,S,S) -> an object with what is read on them; see `probe_edits`."""


@torch.no_grad()
def probe_edits(
    edit: Edit, reader: Reader, judge: Reader | None, faces: dict[str, Tensor]
) -> dict[str, float]:
    """Measure an editor on a few fixed faces of known age: every face to six ages, to three smiles, and to itself.

    reader: faces (B,3,S,S) -> an object with age (B,), action_units (B,17), identity (B,D) of unit length; what the
    editor trains against. judge: one that it does not train against, with an age at least; None leaves its figures out.
    faces: `face`, `age` (NaN: as the reader reads it) and `action_units` (NaN: 0). `edit` always gets all of them, in
    this order, so it may use their other labels. Nine edits of the set.

    -> mask: mean share changed by age and AU12 edits. age_slope(_judge): least-squares slope of read on asked age.
    gap: their difference. au12_slope(_judge): the same of AU12. identity(_judge): mean cosine to the source over the
    ages. no_change_l1: mean change in 0..1 of the range when the target is the source.
    """
    face, aus = faces["face"], faces["action_units"].nan_to_num(0.0)
    before = reader(face)
    age = torch.where(faces["age"].isnan(), before.age, faces["age"])
    aged = [edit(face, age, torch.full_like(age, years), aus, aus) for years in AGES]
    smiling = [edit(face, age, age, aus, wanted(aus, {"AU12": value})) for value in SMILES]
    still, _ = edit(face, age, age, aus, aus)
    out = {"mask": float(torch.stack([share.mean() for _, share in aged + smiling]).mean())}
    for end, measure in (("", reader), ("_judge", judge)):
        if measure is not None:
            out |= {name + end: value for name, value in responses(measure, face, aged, smiling).items()}
    if judge is not None:
        out["gap"] = out["age_slope"] - out["age_slope_judge"]
    return out | {"no_change_l1": float((still - face).abs().mean() / 2)}


def responses(
    measure: Reader, face: Tensor, aged: list[tuple[Tensor, Tensor]], smiling: list[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Slopes and identity by one reader or judge, as far as it reads them."""
    before, at_age = measure(face), [measure(edited) for edited, _ in aged]
    out = {"age_slope": slope(AGES, [float(read.age.mean()) for read in at_age])}
    if hasattr(before, "action_units"):
        smiles = [float(measure(edited).action_units[:, AU12].mean()) for edited, _ in smiling]
        out["au12_slope"] = slope(SMILES, smiles)
    if hasattr(before, "identity"):
        cosines = [(before.identity * read.identity).sum(1).mean() for read in at_age]
        out["identity"] = float(torch.stack(cosines).mean())
    return out


def slope(asked: tuple[float, ...], read: list[float]) -> float:
    """Least-squares slope of read on asked; every face is asked for the same, so means over faces suffice."""
    x, y = torch.tensor(asked, dtype=torch.float64), torch.tensor(read, dtype=torch.float64)
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())
