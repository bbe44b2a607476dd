"""Plans: which recipes are trained in which order, what each is given of the others, and how long each may take.

A plan is a TOML file: `set` (changes for every part), `least` (minutes under which no part is worth its start) and a
table `[parts.NAME]` for every training run, with the fields of `Part`. Nothing here knows what a recipe trains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ...errors import BadInput
from .recipe import read_recipe

TABLES = ("needs", "uses", "files")
WAYS = ("smaller", "larger")


@dataclass(frozen=True)
class Part:
    """One training run of a plan.

    recipe: file name without `.toml`; the part's own name when empty. share: of the minutes, in the unit of the other
    parts' shares. changes: `table.key=value`, in the file `set`. start: the part, or the folder, whose networks it
    starts from, where they are there. needs, uses: setting -> the part whose result is given there. Without that result
    and its stand-in a part that needs it is skipped, one that uses it is trained with "". files: setting -> name of a
    file from elsewhere. Where it is not at hand the part's stand-in is used, and without one the part is trained
    without the file. stand_in: a folder that takes the place of this part's result when there is none. packed: others
    are given this network in a folder of weights, as pack.py makes it, instead of the light copy. evaluate: commands,
    joined by `&&`, that tell how good the result is. In them LIGHT is the light copy's folder, RUNS that of all runs,
    NEW a folder of weights that they make, FACES and MODELS what was given. shipped: the same for what ships. better:
    dotted names of figures of both results, and whether the smaller or the larger one is better.
    """

    name: str
    recipe: str = ""
    share: float = 1.0
    changes: tuple[str, ...] = ()
    start: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    uses: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    stand_in: str = ""
    packed: str = ""
    evaluate: str = ""
    shipped: str = ""
    better: Mapping[str, str] = field(default_factory=dict)

    def given(self, names: Collection[str]) -> set[str]:
        """The parts among `names` that this one takes something from."""
        return {*self.needs.values(), *self.uses.values(), self.start} & set(names)


@dataclass(frozen=True)
class TrainingPlan:
    """A plan's parts, each after those it takes something from. least: minutes, see above."""

    name: str
    parts: tuple[Part, ...]
    least: float = 0.1

    def budget(
        self, minutes: float, had: Mapping[str, float], open_parts: Collection[str]
    ) -> dict[str, float]:
        """Minutes of every open part when `minutes` are left: by shares, less what a part has had already."""
        if minutes <= 0:
            return dict.fromkeys(open_parts, 0.0)
        shares = {part.name: part.share for part in self.parts}
        whole = minutes + sum(had.get(name, 0.0) for name in open_parts)
        total = sum(shares[name] for name in open_parts)
        wanted = {name: whole * shares[name] / total for name in open_parts}
        left = {name: max(one - had.get(name, 0.0), one / 10) for name, one in wanted.items()}
        return {name: minutes * one / sum(left.values()) for name, one in left.items()}

    def chosen(self, only: Iterable[str] = (), first: str = "") -> list[Part]:
        """The parts named, or those from one on, or all. BadInput names one that the plan does not have."""
        names = [part.name for part in self.parts]
        for name in (*only, *([first] if first else [])):
            if name not in names:
                raise BadInput(f"the plan {self.name} has no part {name}; it has {', '.join(names)}")
        start = names.index(first) if first else 0
        wanted = set(only) or set(names)
        return [part for part in self.parts[start:] if part.name in wanted]

    def check_minutes(self, minutes: float, parts: Collection[Part]) -> None:
        """BadInput when a part would get less than the least."""
        if not parts:
            raise BadInput("nothing is left to train; choose other parts")
        total = sum(part.share for part in parts)
        smallest = min(parts, key=lambda part: part.share)
        if minutes * smallest.share / total < self.least:
            needed = self.least * total / smallest.share
            raise BadInput(
                f"{minutes:g} minutes are too few for {self.name}: {smallest.name} would get "
                f"{max(minutes, 0) * smallest.share / total:.2g} and needs {self.least:g}; give --minutes {needed:.0f} "
                "or more, or fewer parts with --only"
            )


def read_plan(path: Path, recipes: Collection[str]) -> TrainingPlan:
    """The plan of a file. BadInput names what cannot be read, an unknown recipe or key, and parts in a circle."""
    try:
        tables = read_recipe(path, [])
    except BadInput as error:
        raise BadInput(str(error).replace("the recipe", "the plan", 1)) from None
    common, least = tables.pop("set", []), tables.pop("least", TrainingPlan.least)
    described = tables.pop("parts", {})
    if tables or not isinstance(described, dict) or not described:
        what = f"has no {', '.join(tables)}" if tables else "names no parts"
        raise BadInput(f"the plan {path} {what}; it takes set, least and tables [parts.NAME]")
    parts = [read_part(path, name, table) for name, table in described.items()]
    for part in parts:
        if part.recipe not in recipes:
            raise BadInput(
                f"the plan {path} names the recipe {part.recipe}, which is unknown; choose from {', '.join(recipes)}"
            )
        for other in (*part.needs.values(), *part.uses.values()):
            if other not in described:
                raise BadInput(f"{part.name} of the plan {path} is given {other}, which is no part of it")
    parts = [replace(part, changes=(*common, *part.changes)) for part in parts]
    return TrainingPlan(path.stem, tuple(ordered(parts, path)), float(least))


def read_part(path: Path, name: str, table: Any) -> Part:
    """One table of a plan; BadInput names a key that a part does not have, and a value of another type."""
    where = f"[parts.{name}] of the plan {path}"
    if not isinstance(table, dict):
        raise BadInput(f"{where} is {table!r}; it must be a table")
    known = {one.name for one in fields(Part)} - {"name", "changes"} | {"set"}
    unknown = sorted(set(table) - known)
    if unknown:
        raise BadInput(f"{where} has no {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    for key, value in table.items():
        if not fits(key, value):
            raise BadInput(f"{key} in {where} is {value!r}, which it cannot be")
    if "better" in table and not ("evaluate" in table and "shipped" in table):
        raise BadInput(f"{where} says what is better; it must have evaluate and shipped too")
    table = {"recipe": name} | table
    return Part(name=name, changes=tuple(table.pop("set", ())), **table)


def fits(key: str, value: Any) -> bool:
    """Whether a value of a plan is of its key's type."""
    if key == "share":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    if key == "set":
        return isinstance(value, list) and all(isinstance(one, str) and "=" in one for one in value)
    if key == "better":
        return isinstance(value, dict) and bool(value) and all(one in WAYS for one in value.values())
    if key in TABLES:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return isinstance(value, str)


def ordered(parts: list[Part], path: Path) -> list[Part]:
    """The parts, each after those it takes something from, otherwise as they stand; BadInput names a circle."""
    names = {part.name for part in parts}
    done: set[str] = set()
    out: list[Part] = []
    while len(out) < len(parts):
        ready = next((p for p in parts if p.name not in done and p.given(names) <= done), None)
        if ready is None:
            stuck = ", ".join(part.name for part in parts if part.name not in done)
            raise BadInput(f"the plan {path} goes in a circle: {stuck} wait for one another")
        out.append(ready)
        done.add(ready.name)
    return out
