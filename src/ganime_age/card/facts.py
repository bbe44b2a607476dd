"""What a results file cannot say of weights: their training sets and runs, the goals set for them, and remarks.

It stands in one file (facts.json) that belongs to certain weights. A card shows it only when that file is given, so no
statement about one training run is printed for anybody else's weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .results import Goal, Results


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
