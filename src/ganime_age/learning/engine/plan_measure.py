"""What a plan will get done in its minutes: every part takes a few steps in a folder that is thrown away."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from .plan import Part, TrainingPlan
from .plan_runner import Runner

MOST = 15.0
"""Minutes after which a part that is measured is stopped."""


class Speed(NamedTuple):
    """start: minutes before the first step. images_per_second: median of the measured steps but the first. why: empty,
    or why the part cannot be measured."""

    start: float
    images_per_second: float
    why: str = ""

    def images(self, minutes: float) -> int:
        """Images that a part sees in its minutes."""
        return round(max(minutes - self.start, 0.0) * 60 * self.images_per_second)


def measure(
    plan: TrainingPlan, parts: Iterable[Part], steps: int, runner_in: Callable[[TrainingPlan, Path], Runner]
) -> dict[str, Speed]:
    """The speed of the parts, and of those they take something from, by name.

    steps: how many each takes. runner_in: what carries out a plan in a folder.
    """
    wanted = closure(plan, parts)
    settings = (f"run.steps={steps}", "run.log_every=1", "run.watch_every=0", f"run.save_every={steps}")
    short = replace(plan, parts=tuple(replace(p, changes=(*p.changes, *settings)) for p in wanted))
    with tempfile.TemporaryDirectory(prefix="ganime-age-plan-") as folder:
        runner = runner_in(short, Path(folder))
        for number, part in enumerate(short.parts, 1):
            runner.take(part, MOST, f"{number}/{len(short.parts)}")
        return {part.name: speed(runner, part) for part in short.parts}


def closure(plan: TrainingPlan, parts: Iterable[Part]) -> list[Part]:
    """The parts and all that they take something from, in the plan's order."""
    names = {part.name for part in parts}
    for part in reversed(plan.parts):  # each stands after those it takes something from
        if part.name in names:
            names |= part.given([other.name for other in plan.parts])
    return [part for part in plan.parts if part.name in names]


def speed(runner: Runner, part: Part) -> Speed:
    """What the log of a short run says."""
    own = runner.progress[part.name]
    if own.state != "done":
        return Speed(own.minutes, 0.0, own.why or own.state)
    log = runner.out / part.name / "log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    seen = [line["images_per_second"] for line in lines[1:] or lines if "images_per_second" in line]
    stepped = lines[-1]["minutes"] if lines else 0.0
    return Speed(max(own.minutes - stepped, 0.0), statistics.median(seen) if seen else 0.0)
