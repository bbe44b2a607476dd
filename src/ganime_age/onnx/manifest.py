"""The manifest of a folder of graphs: what they hold, and whether its files are whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import MissingModel

MANIFEST, WEIGHTS = "manifest.json", "weights.bin"
FORMAT = 4


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. sides: of the faces that can be edited, ascending. files: name -> size and SHA-256."""

    folder: Path
    weights: str
    method: str
    face_size: int
    crop_scale: float
    crop_side: int
    sides: tuple[int, ...]
    editable_action_units: tuple[str, ...]
    files: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: str | os.PathLike[str]) -> Manifest:
        """Read a folder's manifest and check that every file is there and whole; MissingModel says what is wrong."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise MissingModel(
                f"{folder} holds no {MANIFEST}; make the graphs with ganime-age export {folder}"
            )
        try:
            said = json.loads(path.read_text("utf-8"))
            version = said["format"]
            values = {name: said[name] for name in cls.__dataclass_fields__ if name != "folder"}
            lists = {name: tuple(values[name]) for name in ("sides", "editable_action_units")}
            found = cls(folder, **values | lists)
            sizes = {name: (int(one["bytes"]), str(one["sha256"])) for name, one in found.files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise MissingModel(f"{path} is damaged; export the graphs again") from None
        if version != FORMAT:
            raise MissingModel(f"{path} is of format {version}, this version reads {FORMAT}; export again")
        for name, (size, digest) in sizes.items():
            check_file(folder / name, size, digest)
        return found


def check_file(path: Path, size: int, digest: str) -> None:
    """MissingModel for a file that is not there or not as it was written."""
    if not path.is_file():
        raise MissingModel(f"{path} is missing; export the graphs again")
    if path.stat().st_size != size or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise MissingModel(f"{path} is damaged or cut off; export the graphs again")
