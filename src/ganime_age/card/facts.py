"""What a results file cannot say of weights: their training sets and runs, the goals set for them, and remarks.

It stands in one file (facts.json) that belongs to certain weights. A card shows it only when that file is given, so no
statement about one training run is printed for anybody else's weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .results import Results, shown

_GOAL = re.compile(r"(<=|>=|<) (?:(\d[\d.]*)|(\d[\d.]*) of (\w+))")
_RANGE = re.compile(r"(\d[\d.]*) to (\d[\d.]*)")


@dataclass(frozen=True)
class Goal:
    """A limit for one figure: `<= 5`, `>= 0.9`, `< 2`, `0.6 to 1.2`, or `<= 0.5 of KEY`, a share of another figure of
    the same summary. BadInput when the text is none of these."""

    file: str
    key: str
    label: str
    unit: str
    text: str

    def __post_init__(self) -> None:
        if not (_GOAL.fullmatch(self.text) or _RANGE.fullmatch(self.text)):
            raise BadInput(
                f"the goal {self.text!r} of {self.file}.{self.key} is none; write `<= 5` or `0.6 to 1.2`"
            )

    def limits(self, summary: Mapping[str, float]) -> tuple[float, float]:
        """The least and the largest value that meets the goal."""
        if between := _RANGE.fullmatch(self.text):
            return float(between[1]), float(between[2])
        sign, number, share, of = _GOAL.fullmatch(self.text).groups()  # type: ignore[union-attr]  # checked when made
        if of and of not in summary:
            raise BadInput(
                f"the goal {self.text!r} of {self.file}.{self.key} needs {of} in {self.file}.json's summary"
            )
        limit = float(number) if number else float(share) * summary[of]
        return (limit, float("inf")) if sign == ">=" else (float("-inf"), limit)

    def met(self, summary: Mapping[str, float]) -> bool:
        least, largest = self.limits(summary)
        value = summary[self.key]
        return least <= value <= largest and not (self.text.startswith("< ") and value == largest)

    def beside(self, summary: Mapping[str, float]) -> str:
        """The goal as text, marked where the figure misses it."""
        text = self.text
        if " of " in text:
            text = f"{text.split()[0]} {shown(max(v for v in self.limits(summary) if v < float('inf')))}"
        return text if self.met(summary) else f"{text}, **missed**"


@dataclass(frozen=True)
class Facts:
    """One facts file, opened."""

    given: Results

    @classmethod
    def read(cls, path: str | Path) -> Facts:
        return cls(Results.read(Path(path)))

    def goals(self) -> tuple[Goal, ...]:
        """Every goal, in the file's order."""
        rows: list[dict[str, Any]] = self.given.values.get("goals", [])
        return tuple(Goal(r["file"], r["key"], r["label"], r.get("unit", ""), r["goal"]) for r in rows)

    def remarks(self, about: str) -> list[str]:
        """Statements on a results file or a chapter of the card, by its name."""
        rows = self.given.values.get("remarks", {}).get(about, [])
        return [str(row["text"]) for row in rows]

    def about(self, name: str, results: Results) -> Results:
        """A results file with its goals and remarks; `name` is the file's, without ending."""
        goals = {goal.key: goal for goal in self.goals() if goal.file == name}
        return replace(results, goals=goals, remarks=self.remarks(name))
