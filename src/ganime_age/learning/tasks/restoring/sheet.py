"""Sample sheets of the restoring generator: prototypes alone beside the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ....networks.prototypes import Prototypes
from ....networks.restoring.lay import Request, lay
from ....networks.restoring.restorer import Restorer
from ...data.faces import Faces
from ..sheets import save_grid, wanted
from .patches import known

COLUMNS: tuple[tuple[float | None, dict[str, float]], ...] = (
    (75.0, {}),
    (10.0, {}),
    (None, {"AU12": 4.5, "AU25": 4.0}),
    (None, {"AU26": 4.5, "AU25": 4.5}),
    (None, {"AU45": 5.0}),
)
"""Targets of a sheet's columns: an age in years, or the face's own, and action units in 0..5."""


def sheet_faces(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed handful of held-out faces of many ages, whole frames first."""
    sources = faces.table["source"].to_numpy() if "source" in faces.table else np.array([""] * len(faces))
    order = np.lexsort((faces.labels["age"], sources == "utkface"))
    picks = [i for i in order if known(faces)[i]]
    return faces.batch(np.array(picks[:: max(1, len(picks) // count)][:count]))


def edited(
    generator: Restorer, prototypes: Prototypes, faces: dict[str, Tensor], request: Request
) -> tuple[Tensor, Tensor]:
    """Faces after the prototypes, and after the generator on top of them."""
    base = prototypes(faces["face"], faces["landmarks"], *request)
    moved = prototypes.moved_landmarks(faces["landmarks"], request[:2], request[2:])
    return base, lay(generator, base, faces["landmarks"], moved, request).face


def sheet(network: nn.Module, prototypes: Prototypes, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, then each target by prototypes alone and by both. Writes a JPEG."""
    assert isinstance(network, Restorer)
    device = next(network.parameters()).device
    given = {name: value.to(device) for name, value in faces.items()}
    age, aus = given["age"], given["action_units"].nan_to_num(0.0)
    columns = [given["face"]]
    for years, targets in COLUMNS:
        target = age if years is None else torch.full_like(age, years)
        columns += edited(network, prototypes, given, Request(age, target, aus, wanted(aus, targets)))
    save_grid(columns, path)
