"""Training the readers' second look at mouth and eyes (networks/local_reader.py) on top of frozen readers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.local_reader import LEFT_EYE, LOOKS, MOUTH, RIGHT_EYE, SIDE, Crop, LocalReader, crops
from ...networks.readers import Readers
from ..data.augment import random_colour, random_quality
from ..data.faces import Faces, draw
from ..engine.recipe import fill
from ..engine.task import Player, Task
from ..evaluation.metrics import landmark_error
from ..prepare.age_estimators import stored_readers
from .readers import unit_spread

SEEN = [*MOUTH, *RIGHT_EYE, *LEFT_EYE]
PARTED = ((62, 66), (37, 41), (38, 40), (43, 47), (44, 46))
"""Inner lips and lids: pairs of landmarks whose distance is what one looks at."""
COMMON = 0.3
"""A face without expression is drawn as often as one whose strongest action unit has this many deviations."""


@dataclass
class Recipe:
    """Numbers of a recipe. readers: what is corrected, as `stored_readers` names them. augment: 0..1, how far colours
    and quality are changed. Shakes are standard deviations: of crops' places and of landmarks in frame sides, of crops'
    sides relatively, of their turns in radians."""

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
    """How much each loss counts; see `Objective.terms`."""

    landmarks: float = 1.0
    parted: float = 0.1
    action_units: float = 1.5


class Objective:
    """The losses of a local reader over frozen readers."""

    def __init__(self, recipe: Recipe, local: LocalReader, readers: Readers, spread: Tensor):
        self.recipe, self.local, self.readers, self.spread = recipe, local, readers, spread
        self.weights = fill(Weights, recipe.weights, "[recipe.weights] table")

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        """The sum of all terms and each of them, weighted."""
        terms = {name: getattr(self.weights, name) * value for name, value in self.terms(batch).items()}
        return reduce(torch.add, terms.values()), {
            name: float(value.detach()) for name, value in terms.items()
        }

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """landmarks: mean error of those that are looked at, in 3 % of the distance of the eyes. parted: how far lips
        and lids are apart, in % of it. action_units: in units of their spread."""
        true, units = batch["landmarks"], batch["action_units"]
        with torch.no_grad():
            read = self.readers(batch["face"])
        guess = read.landmarks + self.recipe.shake_landmarks * torch.randn_like(read.landmarks)
        strength = self.recipe.augment
        face = random_quality(
            random_colour(batch["face"], 0.3 * strength, grey=0.1 * strength), 0.3 * strength
        )
        found = self.local.look(face, self.shaken(crops(guess)), guess, read.action_units)
        out = {
            "landmarks": landmark_error(found.landmarks, true, SEEN).mean() / 3,
            "parted": 100 * (parted(found.landmarks) - parted(true)).abs().mean(),
        }
        seen = ~units.isnan()
        if seen.any():
            error = ((found.action_units - units) / self.spread.to(units))[seen]
            out["action_units"] = F.smooth_l1_loss(error, torch.zeros_like(error))
        return out

    def shaken(self, at: tuple[Crop, ...]) -> tuple[Crop, ...]:
        """The crops a little elsewhere, larger or smaller, and turned."""
        recipe = self.recipe
        return tuple(
            Crop(
                crop.centre + recipe.shake_place * torch.randn_like(crop.centre),
                crop.side * (1 + recipe.shake_side * torch.randn_like(crop.side).clamp(-2, 2)),
                crop.turn + recipe.shake_turn * torch.randn_like(crop.turn),
            )
            for crop in at
        )


def parted(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) -> distances of the pairs of PARTED in that of the outer eye corners, (B,5)."""
    first, second = (landmarks[:, [pair[i] for pair in PARTED]] for i in (0, 1))
    eyes = (landmarks[:, 36] - landmarks[:, 45]).norm(dim=1, keepdim=True)
    return (first - second).norm(dim=2) / eyes.clamp_min(1e-3)


def chances(faces: Faces, spread: Tensor) -> np.ndarray:
    """(N,) how often each face is drawn: the stronger its strongest action unit, the more; 0 without landmarks.
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
    chance = chances(faces, spread)
    mean_points(faces, local)
    objective = Objective(recipe, local, readers.eval().requires_grad_(False), spread)
    return Task(
        networks={"local_reader": local},
        players=[Player("local_reader", local, objective.loss, recipe.lr, weight_decay=recipe.weight_decay)],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("local_reader",),
        configs={"local_reader": recipe.network},
        helpers=(readers,),
    )
