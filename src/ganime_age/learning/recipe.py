"""Recipes: TOML files with the numbers of one training run, checked against the dataclasses that use them."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


def read_recipe(path: str | Path, changes: list[str]) -> dict[str, Any]:
    """The recipe as nested dicts, with `table.key=value` changes applied; BadInput names what cannot be read."""
    try:
        recipe = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"the recipe {path} cannot be read: {error}") from None
    for change in changes:
        dotted, equals, value = change.partition("=")
        if not equals:
            raise BadInput(f"cannot read --set {change}; write it as --set run.steps=100")
        *tables, key = dotted.split(".")
        table = recipe
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = _literal(value)
    return recipe


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def fill(kind: type[T], numbers: dict[str, Any], where: str) -> T:
    """A dataclass from a recipe's table; BadInput names a key that it does not have."""
    names = [f.name for f in dataclasses.fields(kind)]
    unknown = sorted(set(numbers) - set(names))
    if unknown:
        raise BadInput(f"the recipe's {where} has no {', '.join(unknown)}; it has {', '.join(names)}")
    return kind(**numbers)
