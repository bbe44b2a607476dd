"""Training the age judge that measures edits: on sources whose ages no robust reader has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import BadInput
from ...networks.age_judge import AgeJudge
from .. import losses
from ..data.faces import Faces, balanced_weights, draw
from ..engine.task import Losses, Player, Step, Task
from .readers import augmented

WEIGHTS = {"ordinal": 1.0}


@dataclass
class Recipe:
    """Numbers of the age judge's recipe. augment: 0..1, strength of the random augmentation."""

    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    balance: float = 0.5
    augment: float = 0.5
    network: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The age judge's task on the faces of a folder that carry an age."""
    age = faces.labels["age"]
    if np.isnan(age).all():
        raise BadInput(f"{faces.folder} has no face with an age; the age judge needs the column age")
    judge = AgeJudge(**recipe.network)
    chance = np.where(np.isnan(age), 0.0, balanced_weights(age, recipe.balance))

    def loss(step: Step[None]) -> Losses:
        batch = augmented(step.batch, recipe.augment)
        logits = judge.logits(batch["face"])
        terms = {"ordinal": losses.ordinal(logits, batch["age"])}
        error = losses.age_l1(logits.detach().sigmoid().sum(1), batch["age"])
        return losses.weighted_sum(terms, WEIGHTS, shown={"age_error": error})

    return Task(
        networks={"age_judge": judge},
        players=[
            Player(
                "age_judge",
                judge,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=lambda number: WEIGHTS,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance / chance.sum())),
        averaged=("age_judge",),
        configs={"age_judge": recipe.network},
    )
