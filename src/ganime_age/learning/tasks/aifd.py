"""Training AIFD (networks/aligned/aifd.py) as MTLFace does: persons by CosFace, ages, ages unlearnt from the identity.

Beside MTLFace's terms the identity follows a teacher's embeddings of the same faces. The identity reader whose features
are taken apart stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput
from ...images.tensors import to_unit
from ...model.storage import EMBEDDED
from ...networks.aligned.aifd import AIFD
from ...networks.aligned.identity import IdentityReader
from .. import losses
from ..data.aligned_crops import aligned_crops
from ..data.faces import Faces, balanced_weights, draw
from ..engine.checkpoints import keywords_of, load_light
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .readers import ReadersObjective, Weights, labels_of


@dataclass
class Recipe:
    """Numbers of a recipe. reader: weights with an identity reader, or the exported folder of an identity run, "" for
    the embedded ones. augment: 0..1, how far
    faces are changed at random."""

    reader: str = ""
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    balance: float = 0.4
    augment: float = 0.3
    weights: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an embedding of the teacher."""
    labels = faces.labels
    has = ~np.isnan(labels["landmarks"]).any((1, 2)) & ~np.isnan(labels["teacher"]).any(1)
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no face with landmarks and teacher_identity; aifd is trained on both"
        )
    known = recipe.reader or EMBEDDED
    reader = load_light(IdentityReader, known, "identity").requires_grad_(False)
    network = AIFD(reader)
    weights = fill(Weights, recipe.weights, "[recipe.weights] table")
    objective = ReadersObjective(int(labels["person"].max()) + 1, torch.ones(17), weights, labels_of(faces))
    start_centres(objective.centres, labels["person"], labels["teacher"])
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance /= chance.sum()

    def loss(step: Step[None]) -> Losses:
        terms = objective.person_terms(network.of_crop(to_unit(step.batch["face"])), step.batch)
        return losses.weighted_sum(terms, vars(weights))

    def batch(step: int) -> dict[str, Tensor]:
        indices, mirror = draw(step, seed, recipe.batch, chance)
        random = np.random.default_rng([seed, step, 1])
        crops = aligned_crops(faces, indices, mirror, recipe.augment, random)
        told = ("age", "teacher", "person")
        return {"face": crops} | {name: torch.from_numpy(labels[name][indices].copy()) for name in told}

    players = nn.ModuleList([network, objective])
    return Task(
        networks={"aifd": network, "identity": reader, "objective": objective},
        players=[
            Player(
                "aifd",
                players,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=objective.weight,
            )
        ],
        batch=batch,
        averaged=("aifd",),
        configs={"aifd": {}, "identity": keywords_of(known, "identity")},
    )


@torch.no_grad()
def start_centres(centres: Tensor, person: np.ndarray, teacher: np.ndarray) -> None:
    """Turn CosFace's centres (P,128) to the mean embedding (N,128) that the teacher has of each person (N,), -1 for
    nobody; those of whom it has none stay. Lengths, which decide how fast they learn, stay too."""
    sums = np.zeros(centres.shape, np.float32)
    known = (person >= 0) & ~np.isnan(teacher).any(1)
    np.add.at(sums, person[known], teacher[known])
    means = torch.from_numpy(sums)
    has = means.norm(dim=1) > 0
    centres[has] = F.normalize(means[has], dim=1) * centres[has].norm(dim=1, keepdim=True)
