"""Held-out faces to try edits on, a few at a time, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...edits import AU_CODES, AU_MAX
from ...errors import BadInput
from ...images.tensors import to_pictures
from ...networks.layers import Edited
from ...networks.readers import Readings
from ..data.faces import Faces
from ..data.joined_faces import sources_of
from ..engine.devices import beside

BATCH = 25
MOST_YAW = 30.0
Look = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures (B,S,S,3) uint8 RGB and the source faces' landmarks (B,68,2) -> one finding a face, (B,...)."""


class Editor(Protocol):
    """What of GanimeAge a measurement needs."""

    def read(self, faces: Tensor) -> Readings: ...

    def edit(
        self,
        faces: Tensor,
        source_age: Tensor,
        target_age: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
        method: str,
        /,
    ) -> Edited: ...


def frontal(faces: Faces) -> np.ndarray:
    """(N,) bool: the head is turned by at most 30 degrees, and there are landmarks to align by."""
    turned = np.abs(faces.labels["pose"][:, 0])
    return (turned <= MOST_YAW) & ~np.isnan(faces.labels["landmarks"]).any((1, 2))


def spread(indices: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices, evenly spread over them."""
    return indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int)]


def aged(faces: Faces, low: float, high: float, count: int) -> np.ndarray:
    """Indices of at most `count` frontal faces of an age within low..high; BadInput when there is none."""
    age = faces.labels["age"]
    fits = np.flatnonzero((age >= low) & (age <= high) & frontal(faces))
    if not len(fits):
        raise BadInput(
            f"{faces.folder} has no test face aged {low:.0f} to {high:.0f} with landmarks and a yaw within 30 degrees"
        )
    return spread(fits, count)


def batches(faces: Faces, picks: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Positions within picks, and what `Faces.batch` says of these faces, 25 at a time."""
    for part in np.array_split(np.arange(len(picks)), -(-len(picks) // BATCH)):
        yield part, faces.batch(picks[part])


def look(faces: Faces, picks: np.ndarray, looks: Mapping[str, Look]) -> dict[str, np.ndarray]:
    """What every look finds on faces as they are, (N,...) each."""
    return gather(
        {name: find(to_pictures(b["face"]), b["landmarks"].numpy()) for name, find in looks.items()}
        for _, b in batches(faces, picks)
    )


def gather(parts: Iterator[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Findings of batches -> findings of all."""
    kept = list(parts)
    return {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}


class Sitters:
    """Faces of a split and edits of them by one method, from the age and action units that the model reads on them.

    picks (N,): indices into faces. age (N,), units (N,17): the readings that edits start from.
    """

    def __init__(self, model: Editor, method: str, faces: Faces, picks: np.ndarray):
        self.model, self.method, self.faces, self.picks = model, method, faces, picks
        read = [beside(model, model.read)(batch["face"]) for _, batch in batches(faces, picks)]
        self.age = torch.cat([r.age for r in read])
        self.units = torch.cat([r.action_units for r in read])
        self.source = sources_of(faces)[picks]

    def __len__(self) -> int:
        return len(self.picks)

    def thinned(self, count: int) -> Sitters:
        """At most `count` of them, evenly spread."""
        return Sitters(self.model, self.method, self.faces, spread(self.picks, count))

    def target_units(self, code: str, change: float) -> Tensor:
        """(N,17): one action unit changed, kept within 0..5."""
        out, index = self.units.clone(), AU_CODES.index(code)
        out[:, index] = (out[:, index] + change).clamp(0, AU_MAX)
        return out

    def unedited(self, looks: Mapping[str, Look]) -> dict[str, np.ndarray]:
        """What every look finds when nothing is done."""
        return look(self.faces, self.picks, looks)

    def edited(
        self, looks: Mapping[str, Look], age: float | None = None, units: Tensor | None = None
    ) -> dict[str, np.ndarray]:
        """What every look finds after an edit to an age in years or to action units (N,17); what is not given stays.

        Besides: `mask` (N,) the mean share of each face that was changed, `change` (N,) the mean absolute
        change, of the 0..1 range.
        """
        to_age = self.age if age is None else torch.full_like(self.age, age)
        to_units = self.units if units is None else units
        return gather(
            self._edit(part, batch, looks, to_age[part], to_units[part])
            for part, batch in batches(self.faces, self.picks)
        )

    def _edit(
        self,
        part: np.ndarray,
        batch: dict[str, Tensor],
        looks: Mapping[str, Look],
        age: Tensor,
        units: Tensor,
    ) -> dict[str, np.ndarray]:
        face = batch["face"]
        edit = beside(self.model, self.model.edit)
        edited = edit(face, self.age[part], age, self.units[part], units, self.method)
        pictures, landmarks = to_pictures(edited.face), batch["landmarks"].numpy()
        return {name: find(pictures, landmarks) for name, find in looks.items()} | {
            "mask": edited.attention.flatten(1).mean(1).numpy(),
            "change": (edited.face - face).abs().flatten(1).mean(1).numpy() / 2,
        }
