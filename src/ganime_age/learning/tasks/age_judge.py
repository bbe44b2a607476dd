"""Training an age judge: the one that watches a generator's training, or one of the committee that measures edits.

The watching judge learns from sources whose ages no robust reader has seen. A judge of the committee (`sees`) sees its
own crops, in random light and quality, and may learn from age ranges (columns age_low and age_high) beside ages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...images.tensors import to_unit
from ...networks.judging.age_committee import JUDGES, CommitteeJudge
from ...networks.judging.age_judge import OLDEST, AgeJudge
from .. import losses
from ..data.faces import Faces, age_ranges, balanced_weights, draw
from ..data.joined_faces import JoinedFaces, in_shares
from ..data.judged_crops import judged_crops
from ..engine.task import Losses, Player, Step, Task
from .readers import augmented

WEIGHTS = {"ordinal": 1.0, "outside": 0.1}


@dataclass
class Recipe:
    """Numbers of an age judge's recipe. sees: `frame`, `face` or `parts` for a judge of the committee; the watching
    judge when empty. augment: 0..1, strength of the random augmentation; light: the same of light and shade, for the
    committee. shares: source -> how often it is drawn, 0..1."""

    sees: str = ""
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    balance: float = 0.5
    augment: float = 0.5
    light: float = 0.8
    optimizer: str = "adamw"
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder that carry an age or, for the committee, an age range."""
    if recipe.sees and recipe.sees not in JUDGES:
        raise BadInput(
            f"the recipe's sees is {recipe.sees!r}; choose from {', '.join(JUDGES)}, or leave it empty"
        )
    low, high = age_ranges(faces.labels["age"], faces.table) if recipe.sees else (faces.labels["age"],) * 2
    middle = (low + high) / 2
    if np.isnan(middle).all():
        raise BadInput(f"{faces.folder} has no face with an age; the age judge needs the column age")
    judge = (JUDGES[recipe.sees] if recipe.sees else AgeJudge)(**recipe.network)
    if isinstance(judge, CommitteeJudge):
        start_bias(judge, middle)
    name = f"judge_{recipe.sees}" if recipe.sees else "age_judge"
    chance = np.where(np.isnan(middle), 0.0, balanced_weights(middle, recipe.balance))
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)

    def batch(step: int) -> dict[str, Tensor]:
        indices, mirror = draw(step, seed, recipe.batch, chance)
        ranges = {"low": torch.from_numpy(low[indices]), "high": torch.from_numpy(high[indices])}
        if isinstance(judge, AgeJudge):
            return faces.batch(indices, mirror) | ranges
        random = np.random.default_rng([seed, step, 1])
        return {
            "crops": judged_crops(faces, indices, mirror, judge, (recipe.light, recipe.augment), random)
        } | ranges

    def loss(step: Step[None]) -> Losses:
        if isinstance(judge, AgeJudge):
            logits = judge.logits(augmented(step.batch, recipe.augment)["face"])
        else:
            logits = judge.logits(to_unit(step.batch["crops"]))
        return age_losses(logits, step.batch["low"], step.batch["high"], bool(recipe.sees))

    return Task(
        networks={name: judge},
        players=[
            Player(
                name,
                judge,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=lambda number: WEIGHTS,
            )
        ],
        batch=batch,
        averaged=(name,),
        configs={name: recipe.network},
    )


def start_bias(judge: CommitteeJudge, age: np.ndarray) -> None:
    """Let an untrained judge say of every face how many faces (N,) are older than each threshold, ages NaN left out."""
    older = np.stack([(age > years).sum() for years in range(OLDEST)]) + 1.0
    odds = older / ((~np.isnan(age)).sum() + 2.0 - older)
    with torch.no_grad():
        judge.last.bias.copy_(torch.from_numpy(np.log(odds)))


def age_losses(logits: Tensor, low: Tensor, high: Tensor, distance: bool) -> Losses:
    """The ordinal loss of logits (B,100) and, for a judge of the committee, the distance of the age to its range."""
    age = logits.sigmoid().sum(1)
    terms = {"ordinal": losses.ordinal_range(logits, low, high)}
    outside = losses.outside_range(age, low, high)
    if distance:
        terms["outside"] = outside / losses.DECADE
    return losses.weighted_sum(terms, WEIGHTS, shown={"age_error": outside})
