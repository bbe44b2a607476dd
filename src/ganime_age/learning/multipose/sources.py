"""The pictures that a multi-pose set is made from, at their full size, one at a time from their shards."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import BadInput
from ..data.faces import Faces
from ..data.picture_cache import decode

SIDES = (512, 256, 128)
"""Pixels that an image of a set may have, largest first."""


class SourcePictures:
    """Random access to some faces of a folder. large, huge: a picture stored with at least this side is given at
    256 px, or at 512; another at 128; huge = 0: none at 512. BadInput names a shard that cannot be read."""

    def __init__(self, faces: Faces, rows: Iterable[int], large: int, huge: int = 0):
        self.folder, self.files = faces.folder, faces.table["file"]
        self.least = (huge or math.inf, large, 0)
        self.places: dict[str, tuple[Path, int, int]] = {}
        wanted: dict[str, set[str]] = {}
        for row in rows:
            shard, _, member = self.files.iloc[row].partition(".tar/")
            if member:
                wanted.setdefault(f"{shard}.tar", set()).add(member)
        for name, members in wanted.items():
            self._index(name, members)

    def __call__(self, row: int) -> np.ndarray:
        """(S,S,3) uint8; what the photo did not cover is filled smoothly. BadInput names a file that cannot be read."""
        file = self.files.iloc[row]
        path, start, size = self.places.get(file, (self.folder / file, 0, -1))
        try:
            with path.open("rb") as stream:
                stream.seek(start)
                content = stream.read(size)
            with Image.open(io.BytesIO(content)) as picture:
                stored = picture.width
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BadInput(f"{self.folder / file} is not a readable picture: {error}") from None
        side = next(side for side, least in zip(SIDES, self.least, strict=True) if stored >= least)
        return np.ascontiguousarray(decode(content, side, file)[:3].transpose(1, 2, 0))

    def _index(self, name: str, members: set[str]) -> None:
        """Where the members lie in their shard."""
        path = self.folder / name
        try:
            with tarfile.open(path) as archive:
                while (member := archive.next()) is not None:
                    vars(archive)["members"].clear()  # tarfile keeps every header that it has seen
                    if member.name in members:
                        self.places[f"{name}/{member.name}"] = (path, member.offset_data, member.size)
        except (OSError, tarfile.TarError, EOFError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from None
