"""Training the age reader: the labelled age of every face that has one, on faces aligned by five points.

It may start from the trunk of an identity reader, which has learnt to see faces from many more of them than have an
age. A face is shown as other cameras, other alignments and our own landmarks would show it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import BadInput
from ....images.tensors import to_unit
from ....networks.aligned.age import AgeReader
from ....networks.aligned.identity import IdentityReader
from ....networks.readers import mean_and_spread
from ... import losses
from ...data.aligned_crops import aligned_crops
from ...data.faces import Faces, balanced_weights, draw
from ...data.joined_faces import JoinedFaces, in_shares, sources_of
from ...engine.checkpoints import load_light
from ...engine.recipe import fill
from ...engine.task import Losses, Player, Step, Task
from ...evaluation.measure_identity import shown

Z80 = 1.2816
"""Standard deviations to either side of the mean that hold 80 % of a normal distribution."""


@dataclass
class Weights:
    """How much each loss counts. distribution: see `age_distribution`; mean: the years by which the mean is off;
    variance: of the distribution, in decades squared (mean-variance loss, Pan et al., CVPR 2018)."""

    distribution: float = 1.0
    mean: float = 0.1
    variance: float = 0.0


@dataclass
class Recipe:
    """Numbers of an age reader's recipe. trunk: weights, or a light folder, of an identity reader of the same form to
    start from; none when empty. softness: standard deviation in years of the target around a label. balance: see
    `balanced_weights`. shares: source -> how often it is drawn, 0..1. augment: 0..1, how far faces are changed at
    random."""

    trunk: str = ""
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    softness: float = 2.5
    balance: float = 0.25
    augment: float = 0.4
    optimizer: str = "muon"
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def start(recipe: Recipe) -> AgeReader:
    """The network to train; BadInput when the identity reader whose trunk it takes has another form."""
    network = AgeReader(**recipe.network)
    if recipe.trunk:
        learnt = load_light(IdentityReader, recipe.trunk, "identity")
        try:
            network.trunk.load_state_dict(learnt.trunk.state_dict())
        except RuntimeError:
            raise BadInput(
                f"the identity reader in {recipe.trunk} has other widths or blocks than [recipe.network]; "
                "give the same, or leave recipe.trunk empty"
            ) from None
    return network


def terms(logits: Tensor, age: Tensor, softness: float) -> dict[str, Tensor]:
    """Every loss by name, unweighted. logits (B,101), age (B,) in years."""
    mean, spread = mean_and_spread(logits)
    return {
        "distribution": losses.age_distribution(logits, age, softness),
        "mean": losses.age_l1(mean, age),
        "variance": (spread / losses.DECADE).square().mean(),
    }


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an age."""
    labels = faces.labels
    has = ~np.isnan(labels["landmarks"]).any((1, 2)) & ~np.isnan(labels["age"])
    if not has.any():
        raise BadInput(f"{faces.folder} has no face with landmarks and an age; age_reader is trained on both")
    network, weights = start(recipe), fill(Weights, recipe.weights, "[recipe.weights] table")
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)

    def loss(step: Step[None]) -> Losses:
        logits = network.last(to_unit(step.batch["face"]))
        return losses.weighted_sum(terms(logits, step.batch["age"], recipe.softness), vars(weights))

    def batch(step: int) -> dict[str, Tensor]:
        indices, mirror = draw(step, seed, recipe.batch, chance)
        random = np.random.default_rng([seed, step, 1])
        crops = aligned_crops(faces, indices, mirror, recipe.augment, random, network.ZOOM)
        return {"face": crops, "age": torch.from_numpy(labels["age"][indices].copy())}

    return Task(
        networks={"age_reader": network},
        players=[
            Player(
                "age_reader",
                network,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=lambda number: vars(weights),
            )
        ],
        batch=batch,
        averaged=("age_reader",),
        configs={"age_reader": recipe.network},
        probe=held_out_ages(faces),
    )


def held_out_ages(faces: Faces | JoinedFaces) -> Any:
    """A probe of the validation split: mean absolute error in years, also of each source, and the share of faces whose
    age lies within 1.28 standard deviations (0.8 for a normal distribution). None where no such face has an age."""
    try:
        held = Faces(faces.folder, faces.size, ("val",))
    except BadInput:
        return None
    picks = with_ages(held)
    if not len(picks):
        return None

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        age, spread = read_ages(networks["age_reader"], held, picks)
        error, source = np.abs(age - held.labels["age"][picks]), sources_of(held)[picks]
        by_source = {f"mae_{name}": float(error[source == name].mean()) for name in np.unique(source)}
        return {"mae": float(error.mean()), "covered": float((error < Z80 * spread).mean())} | by_source

    return probe


def with_ages(faces: Faces) -> np.ndarray:
    """Indices of the faces with landmarks and an age."""
    return np.flatnonzero(~np.isnan(faces.labels["age"]) & ~np.isnan(faces.labels["landmarks"]).any((1, 2)))


def read_ages(network: nn.Module, faces: Faces, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Age and spread in years, (N,) both, that an age reader sees in some faces, by their labelled landmarks."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        found = [network(face.to(device), marks.to(device)) for face, marks in shown(faces, picks)]
    age, spread = (torch.cat([one[k] for one in found]).cpu().numpy() for k in (0, 1))
    return age, spread


def spread_for(network: nn.Module, faces: Faces) -> float:
    """The factor on the spread with which 80 % of the faces' ages lie within 1.28 standard deviations."""
    picks = with_ages(faces)
    age, spread = read_ages(network, faces, picks)
    off = np.abs(age - faces.labels["age"][picks]) / (Z80 * spread)
    return float(np.quantile(off, 0.8))
