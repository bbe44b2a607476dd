"""Recipes: TOML files with the numbers of one training run, checked against the dataclasses that use them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ...errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
UNIONS = (UnionType, Union)


@dataclasses.dataclass
class Tables:
    """A recipe's top level. task: which module trains. size: side of a face in pixels. sources: which ones of the
    manifest's column `source`; all when empty. hold_out: source -> the half of its people, "a" or "b", that is left
    out. The tables are for task.Plan, the task's Recipe and the limits of its collapse monitor."""

    task: str
    size: int = 128
    sources: tuple[str, ...] = ()
    hold_out: dict[str, Any] = dataclasses.field(default_factory=dict)
    run: dict[str, Any] = dataclasses.field(default_factory=dict)
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    watch: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise BadInput(f"the recipe's size is {self.size}; a face has at least 1 pixel")


def read_recipe(path: str | Path, changes: list[str]) -> dict[str, Any]:
    """The recipe as nested dicts, with `table.key=value` changes applied; BadInput names what cannot be read."""
    try:
        recipe = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"the recipe {path} cannot be read: {error}") from None
    for change in changes:
        dotted, equals, value = change.partition("=")
        if not equals:
            raise BadInput(f"cannot read --set {change}; write it as --set run.steps=100")
        *tables, key = dotted.split(".")
        table = recipe
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise BadInput(f"cannot --set {dotted}: {name} is {table!r}, which holds no other names")
        table[key] = _value(value)
    return recipe


def _value(text: str) -> Any:
    """What TOML says that a text is, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def fill(kind: type[T], numbers: dict[str, Any], where: str) -> T:
    """A dataclass from a recipe's table; BadInput names a key that it does not have or lacks, or a value of another
    type than the field's."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # no public name for a dataclass
    unknown = sorted(set(numbers) - set(fields))
    if unknown:
        raise BadInput(f"the recipe's {where} has no {', '.join(unknown)}; it has {', '.join(fields)}")
    needed = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    if needed - set(numbers):
        raise BadInput(f"the recipe's {where} lacks {', '.join(sorted(needed - set(numbers)))}")
    hints = get_type_hints(kind)
    for name, value in numbers.items():
        if not _fits(value, hints[name]):
            raise BadInput(f"{name} in the recipe's {where} is {value!r}; it must be {_named(hints[name])}")
    if numbers.get("batch", 1) < 1:
        raise BadInput(f"batch in the recipe's {where} is {numbers['batch']}; it must be at least 1")
    return kind(**numbers)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of a TOML file is of an annotated type: a whole number is a float too, an array a tuple."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind in UNIONS:
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return value in parts
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    if kind in (tuple, list):
        if not isinstance(value, (tuple, list)):
            return False
        every = parts[:1] * len(value) if kind is list or parts[1:] == (...,) else parts
        return len(value) == len(every) and all(map(_fits, value, every))
    return isinstance(value, kind)


def _named(hint: Any) -> str:
    """A type in words."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (tuple, list):
        count = f"{len(parts)} values" if kind is tuple and parts[1:] != (...,) else "values"
        return f"an array of {count}, each {_named(parts[0])}"
    if kind in UNIONS:
        return " or ".join(map(_named, parts))
    if kind is Literal:
        return " or ".join(map(str, parts))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "a table"}
    return words[kind]
