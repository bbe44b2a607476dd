"""Several face folders to learn from as one, and how often each source is drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ...errors import BadInput
from .faces import Faces
from .picture_cache import cache_place
from .resident import ResidentFaces


class JoinedFaces:
    """The faces of several folders, one folder after the other: `table`, `labels` and `batch` as those of `Faces`.

    folder is the first one's. A face made of another one (column source_id) is the same person as that one, where its
    folder is here and its identity known; other persons are told apart by their names.
    """

    def __init__(self, parts: Sequence[Faces]):
        self.parts = parts
        self.folder, self.size = parts[0].folder, parts[0].size
        self.starts = np.cumsum([0, *map(len, parts)])
        self.table = pd.concat([part.table for part in parts], ignore_index=True)
        place = cache_place(self.folder)
        try:
            self.labels = {name: _stacked([p.labels[name] for p in parts], place) for name in parts[0].labels}
        except OSError as error:
            raise BadInput(
                f"labels cannot be written to {place}: {error.strerror}; make room there"
            ) from None
        self.labels["person"] = persons(self.table)
        self.resident: ResidentFaces | None = None

    def __len__(self) -> int:
        return int(self.starts[-1])

    def pixels(self, indices: np.ndarray) -> np.ndarray:
        """As `Faces.pixels`, in the order of the indices."""
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        raw = np.empty((len(indices), 4, self.size, self.size), np.uint8)
        for number in np.unique(owner):
            own = owner == number
            raw[own] = self.parts[number].pixels(indices[own] - self.starts[number])
        return raw

    def batch(self, indices: np.ndarray, mirror: np.ndarray | None = None) -> dict[str, torch.Tensor]:
        """As `Faces.batch`, in the order of the indices."""
        mirror = np.zeros(len(indices), bool) if mirror is None else mirror
        if self.resident:
            return self.resident.batch(indices, mirror)
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        places = [np.flatnonzero(owner == number) for number in range(len(self.parts))]
        shown = [
            part.batch(indices[place] - start, mirror[place])
            for part, place, start in zip(self.parts, places, self.starts, strict=False)
            if len(place)
        ]
        back = torch.from_numpy(np.argsort(np.concatenate(places)))
        out = {name: torch.cat([part[name] for part in shown])[back] for name in shown[0]}
        return out | {"person": torch.from_numpy(self.labels["person"][indices])}


def persons(table: pd.DataFrame) -> np.ndarray:
    """(N,) int64 the number of every face's person, -1 where it is not known."""
    if "identity" not in table:
        return np.full(len(table), -1, np.int64)
    identity = table["identity"]
    if "source_id" in table:
        source = table["source_id"].map(table.drop_duplicates("id").set_index("id")["identity"])
        identity = source.where(source.notna(), identity)
    return pd.factorize(identity)[0].astype(np.int64)


def in_shares(chance: np.ndarray, faces: Faces | JoinedFaces, shares: Mapping[str, float]) -> np.ndarray:
    """The chances (N,) changed so that each named source is drawn so often (0..1) and the others the rest of the time.

    BadInput for a source that is not there, and for shares that leave nothing to the others or are none.
    """
    if not shares:
        return chance
    if not all(isinstance(share, (int, float)) for share in shares.values()):
        raise BadInput(
            f"the shares {dict(shares)} must be numbers, each how often its source is drawn, 0 to 1"
        )
    out, source = chance.copy(), sources_of(faces)
    others, rest = ~np.isin(source, list(shares)), 1 - sum(shares.values())
    for name in shares:
        if not (source == name).any():
            raise BadInput(
                f"shares names the source {name}, of which {faces.folder} has no face; give its folder with --faces too"
            )
    if min(shares.values()) <= 0 or rest <= 0 or not others.any():
        raise BadInput(f"the shares {dict(shares)} must be above 0 and leave some to faces of other sources")
    for own, share in [(source == name, share) for name, share in shares.items()] + [(others, rest)]:
        out[own] *= share / out[own].sum()
    return out


def _stacked(arrays: Sequence[np.ndarray], place: Path) -> np.ndarray:
    """The arrays one after another in a nameless memory-mapped file."""
    with tempfile.TemporaryFile(dir=place) as file:
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)
        file.flush()
        shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
        return np.memmap(file, arrays[0].dtype, "r+", shape=shape)


def sources_of(faces: Faces | JoinedFaces) -> np.ndarray:
    """(N,) the name of the source of every face; `all` where the manifest has none."""
    return faces.table["source"].to_numpy(str) if "source" in faces.table else np.full(len(faces), "all")
