"""Training the age judge that measures edits: on sources whose ages no robust reader has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import BadInput
from ...networks.age_judge import AgeJudge, ordinal_loss
from ..data.faces import Faces, balanced_weights, draw
from ..engine.task import Player, Task
from .readers import augmented


@dataclass
class Recipe:
    """Numbers of the age judge's recipe. augment: 0..1, how far faces are changed at random."""

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

    def loss(batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        batch = augmented(batch, recipe.augment)
        logits = judge.logits(batch["face"])
        total = ordinal_loss(logits, batch["age"])
        error = (logits.detach().sigmoid().sum(1) - batch["age"]).abs().mean()
        return total, {"ordinal": float(total.detach()), "age_error": float(error)}

    return Task(
        networks={"age_judge": judge},
        players=[Player("age_judge", judge, loss, recipe.lr, weight_decay=recipe.weight_decay)],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance / chance.sum())),
        averaged=("age_judge",),
        configs={"age_judge": recipe.network},
    )
