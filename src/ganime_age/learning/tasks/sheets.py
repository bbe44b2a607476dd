"""Sample sheets: edits of a few held-out faces in one picture, written while a generator trains."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...edits import AU_CODES
from ...images.tensors import to_pictures
from ...networks.ganimation_age import Generator
from ...networks.layers import Edited

AGES = (5.0, 15.0, 30.0, 50.0, 70.0, 85.0)
"""Target ages of a sheet's columns, in years."""
EXPRESSIONS = (
    {"AU12": 4.5, "AU25": 3.0},
    {"AU12": 0.0, "AU10": 0.0, "AU25": 0.0},
    {"AU04": 4.5},
    {"AU01": 4.5, "AU02": 4.5},
    {"AU26": 4.5},
)
"""Target action units (0..5) of a sheet's columns; those that are not named stay."""


def edit_sheet(generator: Generator, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, six ages, five expressions, smile at 70, and the mask of age 70. Writes a JPEG."""
    face, age, aus = faces["face"], faces["age"], faces["action_units"].nan_to_num(0.0)
    device = next(generator.parameters()).device

    def run(to_age: Tensor, to_aus: Tensor) -> Edited:
        asked = [t.to(device) for t in (age, to_age, aus, to_aus)]
        return generator(generator.prototypes(face.to(device), faces["landmarks"].to(device), *asked), *asked)

    columns = [face]
    columns += [run(torch.full_like(age, years), aus).face.cpu() for years in AGES]
    columns += [run(age, wanted(aus, targets)).face.cpu() for targets in EXPRESSIONS]
    old = run(torch.full_like(age, 70.0), aus)
    columns += [
        run(torch.full_like(age, 70.0), wanted(aus, EXPRESSIONS[0])).face.cpu(),
        as_picture(old.attention.cpu()),
    ]
    save_grid(columns, path)


def save_grid(columns: list[Tensor], path: Path) -> None:
    """Columns (B,3,S,S) in [-1,1] beside each other, a row a face, as a JPEG."""
    rows = to_pictures(torch.cat([column.cpu() for column in columns], 3))
    Image.fromarray(rows.reshape(-1, *rows.shape[2:])).save(path, quality=92)


def wanted(aus: Tensor, targets: dict[str, float]) -> Tensor:
    """(B,17) with the named action units set."""
    out = aus.clone()
    for code, value in targets.items():
        out[:, AU_CODES.index(code)] = value
    return out


def as_picture(mask: Tensor) -> Tensor:
    """(B,1,S,S) in 0..1 -> (B,3,S,S) in [-1,1]."""
    return mask.repeat(1, 3, 1, 1) * 2 - 1
