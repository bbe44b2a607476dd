"""One results file, the goals of its figures, and how they become a Markdown table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput

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
class Results:
    """One file that training/evaluate.py wrote. A key that is missing is a BadInput that names file and key.

    goals (key of the summary -> Goal) and remarks are empty unless a facts file about the same weights is given."""

    path: Path
    values: Mapping[str, Any]
    goals: Mapping[str, Goal] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @classmethod
    def read(cls, path: Path) -> Results:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} cannot be read as results: {error}") from None
        if not isinstance(values, dict):
            raise BadInput(f"{path} holds no results; measure again with training/evaluate.py")
        return cls(path, values)

    def get(self, *keys: str) -> Any:
        found: Any = self.values
        for key in keys:
            if not isinstance(found, Mapping) or key not in found:
                raise BadInput(f"{self.path} lacks {'.'.join(keys)}; measure again with training/evaluate.py")
            found = found[key]
        return found

    def has(self, *keys: str) -> bool:
        try:
            return self.get(*keys) is not None
        except BadInput:
            return False

    def number(self, *keys: str) -> str:
        return shown(self.get(*keys))


def shown(value: Any) -> str:
    """A number with three significant digits, yes or no, a dash for what could not be measured."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def columns(given: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, str], first: str) -> str:
    """A table of rows that are dictionaries. wanted: key -> heading; a key that no row has is left out."""
    held = [key for key in wanted if any(key in row for row in given.values())]
    rows = [[name, *(row.get(key) for key in held)] for name, row in given.items()]
    return table([first, *(wanted[key] for key in held)], rows)


def summary(results: Results, wanted: Sequence[tuple[str, str, str]]) -> str:
    """Key, label, unit -> a table of the summary. Beside a figure stand the score of an unedited face, where that was
    measured, and the figure's goal, where there is one."""
    rows = []
    for key, label, unit in wanted:
        idle = f"nothing_{key}"
        nothing = f"{results.number('summary', idle)} {unit}" if results.has("summary", idle) else ""
        goal = results.goals[key].beside(results.get("summary")) if key in results.goals else ""
        rows.append([label, f"{results.number('summary', key)} {unit}".strip(), nothing.strip(), goal])
    head = ["measured", "value", "doing nothing", "goal"]
    kept = [i for i in range(len(head)) if i < 2 or any(row[i] for row in rows)]
    return table([head[i] for i in kept], [[row[i] for i in kept] for row in rows])


def goals_summary(results: Results) -> str:
    """A table of the figures that have a goal; empty where none has one."""
    goals = [(goal.key, goal.label, goal.unit) for goal in results.goals.values()]
    return summary(results, [goal for goal in goals if results.has("summary", goal[0])]) if goals else ""
