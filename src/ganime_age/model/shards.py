"""Weights in several files, where one would be larger than a repository takes: the Hub's own convention.

`model-00001-of-00002.safetensors` and so on lie beside `model.safetensors.index.json`, which says what is where.
`model.safetensors` itself, where it is there, goes before them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, TypeVar

from ..errors import MissingModel

P = TypeVar("P", bound=PurePath)


def index_of(path: P) -> P:
    """`model.safetensors` -> `model.safetensors.index.json` beside it."""
    return path.with_name(f"{path.name}.index.json")


def files_of(path: Path) -> list[Path]:
    """The weights file itself, or where it is missing the files that its index names. MissingModel for an index that
    cannot be used."""
    index = index_of(path)
    if path.exists() or not index.is_file():
        return [path]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        names = set()
    own = re.compile(re.escape(path.stem) + r"-\d{5}-of-\d{5}\.safetensors")
    if not names or not all(isinstance(name, str) and own.fullmatch(name) for name in names):
        raise MissingModel(f"{index} is damaged; save or download the weights again")
    return [path.with_name(name) for name in sorted(names)]


def others_of(path: Path, kept: Iterable[str]) -> list[Path]:
    """What lies beside a weights file from saving it otherwise: itself, its index and its parts, but for `kept`."""
    found = [path, index_of(path), *path.parent.glob(f"{path.stem}-?????-of-?????.safetensors")]
    return [file for file in found if file.name not in set(kept)]


class Joined:
    """Several opened safetensors files as one."""

    def __init__(self, files: Iterable[Any]):
        self.places = {key: file for file in files for key in file.keys()}

    def keys(self) -> Iterable[str]:
        return self.places.keys()

    def get_slice(self, key: str) -> Any:
        return self.places[key].get_slice(key)

    def get_tensor(self, key: str) -> Any:
        return self.places[key].get_tensor(key)
