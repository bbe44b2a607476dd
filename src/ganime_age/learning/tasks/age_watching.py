"""What the training of the age GANs looks at: held-out faces, sample sheets, and figures for the collapse watch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import AU_CODES
from ...errors import BadInput
from ...networks.age_groups import edit_by_difference, group_of
from ...networks.age_judge import AgeJudge
from ...networks.layers import Edited
from ...networks.readers import Readers
from ..data.faces import Faces
from ..engine.checkpoints import load_light
from .probes import probe_edits
from .sheets import save_grid

SHEET_AGES = (1.0, 5.0, 8.0, 12.0, 17.0, 25.0, 35.0, 45.0, 58.0, 76.0)


def usable(faces: Faces) -> np.ndarray:
    """(N,) bool: a known age and landmarks, the head turned by at most 40 degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= 40) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["landmarks"]).any((1, 2))


def on_prototypes(
    generator: Any, face: Tensor, landmarks: Tensor, source_age: Tensor, target_age: Tensor
) -> Tensor:
    """Faces (B,3,S,S) as the generator's prototypes change their age, the expression as it is."""
    still = torch.zeros(len(face), len(AU_CODES), device=face.device)
    return generator.prototypes(face, landmarks, source_age, target_age, still, still)


def held_out(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed handful of usable faces of the validation split, young to old; BadInput when there is none."""
    good = np.flatnonzero(usable(faces))
    if not len(good):
        raise BadInput(f"{faces.folder} has no face with an age in the split val to draw sample sheets of")
    whole = good[faces.table["source"].to_numpy()[good] != "utkface"] if "source" in faces.table else good
    good = whole if len(whole) >= count else good
    order = good[np.argsort(faces.labels["age"][good], kind="stable")]
    return faces.batch(order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)])


@torch.no_grad()
def age_sheet(generator: Any, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, its reconstruction, the age of each group, what changed for the last. A JPEG."""
    device = next(generator.parameters()).device
    face, age = faces["face"].to(device), faces["age"].to(device)
    columns = [face, generator(face, group_of(age))]
    for years in SHEET_AGES:
        asked = torch.full_like(age, years)
        shown = on_prototypes(generator, face, faces["landmarks"].to(device), age, asked)
        edited = edit_by_difference(generator, shown, age, asked)
        columns.append(edited.face)
    save_grid([*columns, edited.attention.repeat(1, 3, 1, 1) * 2 - 1], path)


class AgeAndPerson(NamedTuple):
    """What the collapse watch looks at: age (B,) in years and identity (B,D), as far as they are read."""

    age: Tensor
    identity: Tensor


class AgeAlone(NamedTuple):
    """What the age judge says: age (B,) in years."""

    age: Tensor


def prober(
    method: str, readers: Readers, judge: str, faces: dict[str, Tensor]
) -> Callable[[dict[str, nn.Module]], dict[str, float]]:
    """Figures for the collapse watch: edits of fixed faces, by the readers trained against and by the age judge of the
    folder `judge`, if one is named. BadInput when it cannot be loaded."""
    watcher = load_light(AgeJudge, judge, "age_judge") if judge else None

    def read(face: Tensor) -> AgeAndPerson:
        found = readers(face)
        return AgeAndPerson(found.age, found.identity)

    def judged(face: Tensor) -> AgeAlone:
        assert watcher is not None
        return AgeAlone(watcher.to(face.device)(face))

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        generator = cast(Any, networks[method])
        device = next(generator.parameters()).device
        given = {name: value.to(device) for name, value in faces.items()}

        def edit(face: Tensor, age: Tensor, to_age: Tensor, *_: Tensor) -> Edited:
            if torch.equal(age, to_age):
                return Edited(face, torch.zeros_like(face[:, :1]))
            shown = on_prototypes(generator, face, given["landmarks"], age, to_age)
            return edit_by_difference(generator, shown, age, to_age)

        return probe_edits(edit, read, judged if watcher else None, given)

    return probe
