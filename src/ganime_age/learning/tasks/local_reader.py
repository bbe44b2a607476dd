"""Training the readers' second look at mouth and eyes (networks/local_reader.py) on top of frozen readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...networks.layers import constant, places
from ...networks.local_reader import LEFT_EYE, LOOKS, MOUTH, RIGHT_EYE, SIDE, Crop, LocalReader, crops
from ...networks.readers import Readers
from .. import losses
from ..data.augment import random_colour, random_quality
from ..data.faces import Faces, draw
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from ..prepare.age_estimators import stored_readers
from .readers import labels_of, unit_spread

SEEN = (*MOUTH, *RIGHT_EYE, *LEFT_EYE)
"""The landmarks that the second look corrects by itself: mouth and both eyes."""
COMMON = 0.3
"""Sampling weight of a face without expression, in standard deviations of an action unit: a face is drawn in proportion
to this plus its strongest action unit."""


@dataclass
class Recipe:
    """Numbers of a recipe. readers: what is corrected, as `stored_readers` names them. augment: 0..1, strength of
    the changes of colour and quality. Shakes are standard deviations: of crops' places and of landmarks in frame sides,
    of crops' sides relatively, of their turns in radians."""

    readers: str = "readers"
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    augment: float = 1.0
    shake_place: float = 0.012
    shake_side: float = 0.1
    shake_turn: float = 0.12
    shake_landmarks: float = 0.006
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """Weights of the terms; see `Objective.terms`."""

    landmarks: float = 1.0
    parted: float = 0.1
    action_units: float = 1.5


class Objective:
    """The losses of a local reader over frozen readers. labelled: whether any face has action units."""

    def __init__(
        self, recipe: Recipe, local: LocalReader, readers: Readers, spread: Tensor, labelled: bool = True
    ):
        self.recipe, self.local, self.readers, self.labelled = recipe, local, readers, labelled
        self.spread: tuple[float, ...] = tuple(spread.tolist())
        self.weights = fill(Weights, recipe.weights, "[recipe.weights] table")

    def loss(self, step: Step[None]) -> Losses:
        """The weighted sum of all terms."""
        return losses.weighted_sum(self.terms(step.batch), vars(self.weights))

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """landmarks: mean error of SEEN, see losses.eye_distances. parted: error of the openings of lips and lids.
        action_units: in units of their spread."""
        true, units = batch["landmarks"], batch["action_units"]
        with torch.no_grad():
            read = self.readers(batch["face"])
        guess = read.landmarks + self.recipe.shake_landmarks * torch.randn_like(read.landmarks)
        strength = self.recipe.augment
        face = random_quality(
            random_colour(batch["face"], 0.3 * strength, grey=0.1 * strength), 0.3 * strength
        )
        found = self.local.look(face, self.jittered(crops(guess)), guess, read.action_units)
        out = {
            "landmarks": losses.eye_distances(found.landmarks, true, places(SEEN, true)),
            "parted": losses.aperture_l1(found.landmarks, true),
        }
        if self.labelled:
            error = (found.action_units - units) / constant(self.spread, units)
            out["action_units"] = losses.huber(error, ~units.isnan())
        return out

    def jittered(self, at: tuple[Crop, ...]) -> tuple[Crop, ...]:
        """The crops randomly shifted, scaled and turned."""
        recipe = self.recipe
        return tuple(
            Crop(
                crop.centre + recipe.shake_place * torch.randn_like(crop.centre),
                crop.side * (1 + recipe.shake_side * torch.randn_like(crop.side).clamp(-2, 2)),
                crop.turn + recipe.shake_turn * torch.randn_like(crop.turn),
            )
            for crop in at
        )


def probabilities(faces: Faces, spread: Tensor) -> np.ndarray:
    """(N,) the probability of each face, growing with its strongest action unit; 0 without landmarks.
    BadInput when no face has landmarks."""
    has = np.isfinite(faces.labels["landmarks"]).all((1, 2))
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no face with landmarks; label the faces with training/prepare_faces.py"
        )
    strong = np.nan_to_num(faces.labels["action_units"] / spread.numpy()).clip(0, 6).max(1)
    chance = np.where(has, COMMON + strong, 0.0)
    return chance / chance.sum()


def mean_points(faces: Faces, local: LocalReader) -> None:
    """Fill the local reader's mean shapes with those of the faces."""
    points = torch.from_numpy(faces.labels["landmarks"])
    points = points[~points.isnan().any(2).any(1)]
    for patch, seen, (centre, side, _) in zip(
        (local.mouth, local.eye), (MOUTH, RIGHT_EYE), LOOKS, strict=False
    ):
        patch.mean.copy_(((points[:, seen] - points[:, centre].mean(1, keepdim=True)) / side).mean(0))


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when they are too small, or without landmarks."""
    if faces.size < SIDE:
        raise BadInput(f"a local reader looks at faces of {SIDE} px, not of {faces.size}; set size to {SIDE}")
    readers, _ = stored_readers(recipe.readers)
    readers.local = None
    local, spread = LocalReader(**recipe.network), unit_spread(faces)
    chance = probabilities(faces, spread)
    mean_points(faces, local)
    objective = Objective(
        recipe, local, readers.eval().requires_grad_(False), spread, "action_units" in labels_of(faces)
    )
    return Task(
        networks={"local_reader": local},
        players=[
            Player(
                "local_reader",
                local,
                objective.loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=lambda number: vars(objective.weights),
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("local_reader",),
        configs={"local_reader": recipe.network},
        helpers=(readers,),
    )
