"""Training the identity reader: it learns a teacher's embedding of every face, and to tell CelebA's people apart.

Only the teacher's numbers in the manifest are learnt from; the weights start at random. A face is shown as other
cameras, other alignments and our own landmarks would show it, while its embedding stays what the teacher said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import BadInput
from ....images.tensors import to_unit
from ....networks.aligned.identity import IdentityReader
from ... import losses
from ...data.aligned_crops import aligned_crops
from ...data.faces import Faces, balanced_weights, draw
from ...data.joined_faces import JoinedFaces, in_shares
from ...engine.recipe import fill
from ...engine.task import Losses, Player, Step, Task
from ...evaluation.measure_identity import embed, shown, verification
from ..aifd import start_centres


@dataclass
class Weights:
    """How much each loss counts. identity: 1 - cosine to the teacher's embedding. relations, similarities, person: see
    `relations`, `similarity_distribution`, `cosface`."""

    identity: float = 3.0
    relations: float = 3.0
    similarities: float = 0.25
    person: float = 0.1


@dataclass
class Recipe:
    """Numbers of an identity recipe. balance: see `balanced_weights`. shares: source -> how often it is drawn, 0..1.
    augment: 0..1, how far faces are changed at random. scale: of cosines in both softmax losses. margin: CosFace's.
    bank: how many of the teacher's embeddings a face is compared with."""

    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    balance: float = 0.0
    augment: float = 0.5
    optimizer: str = "muon"
    scale: float = 32.0
    margin: float = 0.2
    bank: int = 8192
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


class Objective(nn.Module):
    """What only the training needs: a centre for every named person (P,128), and the teacher's embeddings in a random
    order (N,128), of which each step sees the next few."""

    everyone: Tensor

    def __init__(self, faces: Faces | JoinedFaces, recipe: Recipe):
        super().__init__()
        person, teacher = faces.labels["person"], faces.labels["teacher"]
        self.scale, self.margin, self.named = recipe.scale, recipe.margin, bool((person >= 0).any())
        self.centres = nn.Parameter(torch.randn(max(int(person.max()) + 1, 1), teacher.shape[1]))
        start_centres(self.centres, person, teacher)
        known_to_teacher = teacher[~np.isnan(teacher).any(1)]
        order = np.random.default_rng(0).permutation(len(known_to_teacher))
        self.bank = min(recipe.bank, len(order))
        self.register_buffer("everyone", torch.from_numpy(known_to_teacher[order]), persistent=False)

    def terms(self, identity: Tensor, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Every loss by name, unweighted; `person` over the rows whose person is known. identity (B,128).

        The teacher knows all faces that are drawn.
        """
        teacher, start = batch["teacher"], step * self.bank % (len(self.everyone) - self.bank + 1)
        bank = self.everyone[start : start + self.bank]
        out = {
            "identity": losses.taught_identity(identity, teacher),
            "relations": losses.relations(identity, teacher),
            "similarities": losses.similarity_distribution(identity, teacher, bank, self.scale),
        }
        if self.named:
            out["person"] = losses.cosface(identity, self.centres, batch["person"], self.scale, self.margin)
        return out


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an embedding of the teacher."""
    labels = faces.labels
    has = ~np.isnan(labels["landmarks"]).any((1, 2)) & ~np.isnan(labels["teacher"]).any(1)
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no face with landmarks and teacher_identity; identity is trained on both"
        )
    network = IdentityReader(**recipe.network)
    objective, weights = Objective(faces, recipe), fill(Weights, recipe.weights, "[recipe.weights] table")
    chance = in_shares(
        np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0), faces, recipe.shares
    )
    chance /= chance.sum()

    def loss(step: Step[None]) -> Losses:
        identity = network.embed(to_unit(step.batch["face"]))
        return losses.weighted_sum(objective.terms(identity, step.batch, step.number), vars(weights))

    def batch(step: int) -> dict[str, Tensor]:
        indices, mirror = draw(step, seed, recipe.batch, chance)
        random = np.random.default_rng([seed, step, 1])
        crops = aligned_crops(faces, indices, mirror, recipe.augment, random)
        told = {name: torch.from_numpy(labels[name][indices].copy()) for name in ("teacher", "person")}
        return {"face": crops} | told

    return Task(
        networks={"identity": network, "objective": objective},
        players=[
            Player(
                "identity",
                nn.ModuleList([network, objective]),
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=lambda number: vars(weights),
            )
        ],
        batch=batch,
        averaged=("identity",),
        configs={"identity": recipe.network},
        probe=held_out_people(faces),
    )


def held_out_people(faces: Faces | JoinedFaces) -> Any:
    """A probe of the validation split: how alike the network and the teacher see a face, and how well two photos of one
    person are told from two of strangers. None where the folder has no such face."""
    try:
        held = Faces(faces.folder, faces.size, ("val",))
    except BadInput:
        return None

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        everyone, teacher = np.arange(len(held)), held.labels["teacher"]
        network = networks["identity"]
        device = next(network.parameters()).device

        def look(*given: Tensor) -> Tensor:
            return cast(Tensor, network(*(part.to(device) for part in given)).cpu())

        read = embed(look, shown(held, everyone))
        has = ~np.isnan(teacher).any(1)
        out = {"cosine_teacher": float((read * teacher)[has].sum(1).mean())}
        named = held.labels["person"] >= 0
        figures = verification(read[named], held.labels["person"][named])
        return out | {name: figures[name] for name in ("auc", "tar_far1e3") if figures}

    return probe
