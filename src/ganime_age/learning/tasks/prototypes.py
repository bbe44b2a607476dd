"""Making the prototypes: measured by least squares when the task is built; then the hair mask is learnt from a
teacher's masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.hair.finding import MATTE_SIDE
from ...networks.layers import resize
from ...networks.prototypes import Prototypes
from ...networks.wrinkles import SIDE
from .. import losses
from ..data.augment import random_colour, random_quality
from ..data.faces import Faces
from ..data.headwear import wear, wider
from ..engine.task import Losses, Player, Step, Task
from ..prepare.hair import hair_finder, hair_masks
from ..prepare.open_mouths import fit_mouth
from ..prepare.unit_regions import confine
from ..prepare.wrinkle_layouts import fit_wrinkles
from .prototype_fitting.prototype_fit import centre, fit_hair, fit_pixels, fit_shape, set_gains

WEIGHTS = {"hair": 1.0}


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
        rows, masks = hair_masks(
            recipe.hair_teacher, faces, recipe.hair_faces, seed, sources=recipe.hair_sources
        )
        if not len(rows):
            raise BadInput(
                f"{faces.folder} has no face whose whole frame is real and whose hair the teacher finds; hair cannot "
                "be learnt from it"
            )
        fit_hair(faces, prototypes, rows, masks)
        torch.nn.init.constant_(prototypes.hair.head.get_parameter("bias"), -1.0)
    centre(prototypes)
    set_gains(prototypes, recipe.gains)
    confine(prototypes)

    return Task(
        networks={"prototypes": prototypes},
        players=[
            Player(
                "hair",
                prototypes.hair,
                partial(hair_loss, prototypes, recipe.hair_covered),
                recipe.lr if recipe.hair_teacher else 0.0,
                weights=lambda number: WEIGHTS,
            )
        ],
        batch=lambda step: hair_batch(faces, rows, masks, np.random.default_rng((seed, step)), recipe.batch),
        averaged=("prototypes",),
        configs={"prototypes": network},
    )


def hair_batch(
    faces: Faces, rows: np.ndarray, masks: np.ndarray, rng: np.random.Generator, size: int
) -> dict[str, Tensor]:
    """Some of the faces `rows` (N,) with the teacher's hair masks (N,S,S) uint8, half of them mirrored: face, landmarks
    and hair (B,1,S,S) in 0..1."""
    picks, mirror = rng.integers(0, len(rows), size), rng.random(size) < 0.5
    mask = masks[picks]
    mask[mirror] = mask[mirror][..., ::-1]
    shown = faces.batch(rows[picks], mirror)
    return {
        "face": shown["face"],
        "landmarks": shown["landmarks"].nan_to_num(0.5),
        "hair": torch.from_numpy(mask.copy())[:, None].float() / 255,
    }


def hair_loss(prototypes: Prototypes, covered: float, step: Step[None]) -> Losses:
    """The hair network against the teacher's masks. covered: the share of faces that get something on the head."""
    # The frame of a photo's hair is wider than the face's (networks/hair/growing.py): both are learnt.
    face, hair = resize(step.batch["face"], MATTE_SIDE), step.batch["hair"]
    face, hair = wear(face, hair, step.batch["landmarks"], covered)
    seen = wider(torch.cat([face, hair], 1))
    face = random_quality(random_colour(seen[:, :3], 0.3, grey=0.15), 0.3)
    wanted = F.adaptive_avg_pool2d(seen[:, 3:].clamp(0, 1), prototypes.hair.side)
    terms = {"hair": losses.binary(prototypes.hair.logits(face), wanted)}
    return losses.weighted_sum(terms, WEIGHTS)
