"""The collapse watch: is the generator still editing, or has it found a way round its losses?

A task's probe measures a small fixed set of faces; `Watch` holds the limits of a healthy run, `Watcher` remembers the
last probes and decides. The names a probe may use, each judged only when present:

mask: mean share of a pixel that is changed (1 - A of GANimation), 0..1; 0 = nothing is edited, 1 = all is repainted.
age_slope, age_slope_judge: read years per asked year, by the reader trained against and by a judge that was not.
au12_slope: read intensity of AU12 per asked one. gap: age_slope - age_slope_judge, how far the reader is fooled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import GanimeAgeError


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
