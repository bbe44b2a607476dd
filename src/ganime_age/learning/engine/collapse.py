"""The collapse monitor: has a network stopped doing its work, or found a way round its losses?

A task's probe measures a small fixed set of inputs and returns figures by name. `Watch` holds the limits of a healthy
run for some of these names, `CollapseMonitor` remembers the last probes and decides. Which figures there are, and what
their limits are called in sentences, the task says (see tasks/probes.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import GanimeAgeError


class Collapsed(GanimeAgeError):
    """The monitor stopped a run; the message says what is off scale and which checkpoint was kept. Exit code 4."""

    exit_code = 4


@dataclass(frozen=True)
class Limit:
    """The range low..high in which a figure of the probe must lie from step `after` on; judged only when present.

    below, above: clauses for a figure outside, with the fields {value} and {limit}.
    """

    figure: str
    low: float = -math.inf
    high: float = math.inf
    after: int = 0
    below: str = "a figure is {value:.3g}, below {limit:g}"
    above: str = "a figure is {value:.3g}, above {limit:g}"

    def fault(self, step: int, probe: dict[str, float]) -> str | None:
        """The clause of a figure outside its range, or None."""
        value = probe.get(self.figure)
        if value is None or step < self.after:
            return None
        if value < self.low:
            return self.below.format(value=value, limit=self.low)
        return self.above.format(value=value, limit=self.high) if value > self.high else None


@dataclass(frozen=True)
class Trend:
    """An alarm: a figure that rose in each of `probes` probes, by at least `growth` in all, while `reference` did not.

    Both figures stand in every probe that has the first. sentence: with the fields {probes}, {first}, {last} of the
    figure, {reference_first} and {reference_last}.
    """

    figure: str
    reference: str
    probes: int
    growth: float
    sentence: str

    def alarm(self, pairs: list[list[float]]) -> str | None:
        """pairs: the last figures with their references, oldest first -> the sentence, or None."""
        figures, references = zip(*pairs, strict=True)
        rises = all(later > earlier for earlier, later in zip(figures, figures[1:], strict=False))
        grown = figures[-1] - figures[0] >= self.growth
        if len(figures) <= self.probes or not rises or not grown or references[-1] > references[0]:
            return None
        return self.sentence.format(
            probes=self.probes,
            first=figures[0],
            last=figures[-1],
            reference_first=references[0],
            reference_last=references[-1],
        )


@dataclass(frozen=True)
class Watch:
    """Limits of a healthy run. patience: faulty probes in a row that stop it."""

    limits: tuple[Limit, ...] = ()
    trend: Trend | None = None
    patience: int = 2

    def faults(self, step: int, probe: dict[str, float]) -> list[str]:
        """What lies outside the limits or is not finite, each as a clause; empty when all is well."""
        out = [f"{name} is {value}" for name, value in probe.items() if not math.isfinite(value)]
        return out + [fault for limit in self.limits if (fault := limit.fault(step, probe))]


class Finding(NamedTuple):
    """What a probe means: clauses outside the limits, whether they stop the run, and an alarm for the log."""

    faults: list[str]
    stop: bool
    alarm: str | None


class CollapseMonitor:
    """A Watch with its memory: faulty probes in a row, and the last figures of the trend."""

    def __init__(self, watch: Watch):
        self.watch = watch
        self.faulty = 0
        self.pairs: list[list[float]] = []

    def judge(self, step: int, probe: dict[str, float], last: bool = False) -> Finding:
        """Judge one probe; on the run's last one a single fault is enough."""
        faults = self.watch.faults(step, probe)
        self.faulty = self.faulty + 1 if faults else 0
        stop = bool(faults) and (last or self.faulty >= self.watch.patience)
        return Finding(faults, stop, self.alarm(probe))

    def alarm(self, probe: dict[str, float]) -> str | None:
        """The trend's sentence when it holds over the last probes."""
        trend = self.watch.trend
        if trend is None or trend.figure not in probe:
            return None
        self.pairs = [*self.pairs, [probe[trend.figure], probe[trend.reference]]][-trend.probes - 1 :]
        return trend.alarm(self.pairs)

    def memory(self) -> dict[str, Any]:
        """What a checkpoint keeps, by the names that checkpoints have always used."""
        return {"strikes": self.faulty, "gaps": self.pairs}

    def recall(self, memory: dict[str, Any]) -> None:
        """Undo memory."""
        self.faulty, self.pairs = memory.get("strikes", 0), memory.get("gaps", [])


def largest(terms: dict[str, float], count: int = 3) -> str:
    """The terms that weigh most, those that are not finite first: `cycle 3.2, age 1.1`."""
    order = sorted(terms, key=lambda name: (math.isfinite(terms[name]), -abs(terms[name])))
    return ", ".join(f"{name} {terms[name]:.3g}" for name in order[:count])
