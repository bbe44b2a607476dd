"""Making the prototypes: measured by least squares when the task is built; then the hair mask is learnt from a
teacher's masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BadInput
from ...networks.hair.finding import MATTE_SIDE
from ...networks.prototypes import Prototypes
from ...networks.skin.wrinkles import SIDE
from ..data.faces import Faces
from ..engine.task import Task
from ..prepare.hair import hair_finder
from ..prepare.open_mouths import fit_mouth
from ..prepare.unit_regions import confine
from ..prepare.wrinkle_layouts import fit_wrinkles
from .hair import hair_batch, hair_player, taught_hair
from .prototype_fitting.prototype_fit import centre, fit_hair, fit_pixels, fit_shape, set_gains


@dataclass
class Recipe:
    """Numbers of the recipe. hair_teacher: ONNX file; empty leaves hair as it is. hair_faces: how many faces it labels;
    hair_sources: of which sets (none: all); hair_covered: the share of them that get a hat, a scarf or a bald head.
    pixel_faces, mouth_faces: how many faces colours and textures, and the insides of mouths, are measured on.
    wrinkles_hold_out: source -> the half of it, "a" or "b", whose faces lend no creases. gains: see
    `prototype_fit.set_gains`."""

    hair_teacher: str = ""
    hair_faces: int = 2600
    hair_sources: list[str] = field(default_factory=list)
    hair_covered: float = 0.25
    pixel_faces: int = 10000
    mouth_faces: int = 2500
    wrinkles_hold_out: dict[str, str] = field(default_factory=dict)
    batch: int = 32
    lr: float = 2e-3
    network: dict[str, Any] = field(default_factory=dict)
    gains: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder."""
    if np.isnan(faces.labels["age"]).all():
        raise BadInput(f"{faces.folder} has no face with an age; prototypes of ages need the column age")
    network = {"teeth": True} | recipe.network
    prototypes = Prototypes(**network)
    fit_shape(faces, prototypes)
    hair = hair_finder(recipe.hair_teacher) if recipe.hair_teacher else None
    fit_pixels(faces, prototypes, recipe.pixel_faces, hair)
    fit_mouth(faces, prototypes, recipe.mouth_faces)
    if prototypes.wrinkles is not None:
        fit_wrinkles(Faces(faces.folder, SIDE, hold_out=recipe.wrinkles_hold_out), prototypes)
    rows, masks = np.arange(1), np.zeros((1, MATTE_SIDE, MATTE_SIDE), np.uint8)
    if recipe.hair_teacher:
        rows, masks = taught_hair(recipe.hair_teacher, faces, recipe.hair_faces, seed, recipe.hair_sources)
        fit_hair(faces, prototypes, rows, masks)
    centre(prototypes)
    set_gains(prototypes, recipe.gains)
    confine(prototypes)

    return Task(
        networks={"prototypes": prototypes},
        players=[
            hair_player(prototypes.hair, recipe.hair_covered, recipe.lr if recipe.hair_teacher else 0.0)
        ],
        batch=lambda step: hair_batch(faces, rows, masks, np.random.default_rng((seed, step)), recipe.batch),
        averaged=("prototypes",),
        configs={"prototypes": network},
    )
