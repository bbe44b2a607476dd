"""Training the reader of attributes: labelled ages and action units, on faces aligned by five points.

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
from ....networks.aligned.attributes import AttributeReader, Attributes
from ....networks.aligned.identity import IdentityReader
from ....networks.layers import precise
from ....results import Z80
from ... import losses
from ...data.aligned_crops import aligned_crops
from ...data.faces import Faces, balanced_weights, draw
from ...data.joined_faces import JoinedFaces, in_shares, sources_of
from ...engine.checkpoints import load_light
from ...engine.recipe import fill
from ...engine.task import Losses, Player, Step, Task
from ...evaluation.measure_identity import shown
from ...evaluation.metrics import correlations
from ..readers import attack, known, unit_spread


@dataclass
class Weights:
    """How much each loss counts. distribution: see `age_distribution`; mean: the years by which the mean is off;
    action_units: their error in units of their spread, see `huber`."""

    distribution: float = 1.0
    mean: float = 0.1
    action_units: float = 3.0


@dataclass
class Recipe:
    """Numbers of this recipe. trunk: weights, or a light folder, of an identity reader of the same form to start from;
    none when empty. softness: standard deviation in years of the target around a label. balance: see
    `balanced_weights`. shares: source -> how often it is drawn, 0..1. augment: 0..1, how far faces are changed at
    random. attack_radius: L2 norm in units of [-1,1] of the attacks that the network is trained under, of attack_steps
    steps; 0 for none."""

    trunk: str = ""
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    softness: float = 2.5
    balance: float = 0.25
    augment: float = 0.4
    attack_radius: float = 0.0
    attack_steps: int = 1
    optimizer: str = "muon"
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def start(recipe: Recipe) -> AttributeReader:
    """The network to train; BadInput when the identity reader whose trunk it takes has another form."""
    network = AttributeReader(**recipe.network)
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


class Objective(nn.Module):
    """What only the training needs: each action unit's spread over all faces (17,). softness: see Recipe."""

    au_spread: Tensor

    def __init__(self, au_spread: Tensor, softness: float):
        super().__init__()
        self.softness = softness
        self.register_buffer("au_spread", au_spread)

    def terms(self, read: Attributes, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss by name, unweighted, over the rows that have its label: age (B,) in years, action_units (B,17) in
        0..5, NaN where there is none."""
        age, units = batch["age"], batch["action_units"]
        has, years = known(age), age.nan_to_num(0.0)
        return {
            "distribution": losses.age_distribution(read.logits, years, self.softness, has),
            "mean": losses.age_l1(read.age, years, has),
            "action_units": losses.huber((read.action_units - units) / self.au_spread, ~units.isnan()),
        }


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an age or action units."""
    labels = faces.labels
    told = ~np.isnan(labels["age"]) | ~np.isnan(labels["action_units"]).all(1)
    has = told & ~np.isnan(labels["landmarks"]).any((1, 2))
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no face with landmarks and an age or action units, from which attributes are learnt"
        )
    network, weights = start(recipe), fill(Weights, recipe.weights, "[recipe.weights] table")
    objective = Objective(unit_spread(faces), recipe.softness)
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)

    def of(crop: Tensor, batch: dict[str, Tensor]) -> Losses:
        read = network.attributes(network.last(crop))
        return losses.weighted_sum(objective.terms(read, batch), vars(weights))

    def loss(step: Step[None]) -> Losses:
        crop = to_unit(step.batch["face"])
        if recipe.attack_radius:
            network.eval()  # the attack is on the network as it reads, and leaves its running statistics alone
            with precise(crop):  # small steps in a gradient's direction
                crop = attack(
                    lambda moved: of(moved, step.batch).total,
                    crop,
                    recipe.attack_radius,
                    recipe.attack_steps,
                )
            network.train()
        return of(crop, step.batch)

    def batch(step: int) -> dict[str, Tensor]:
        indices, mirror = draw(step, seed, recipe.batch, chance)
        random = np.random.default_rng([seed, step, 1])
        crops = aligned_crops(faces, indices, mirror, recipe.augment, random, network.ZOOM)
        told = {name: torch.from_numpy(labels[name][indices].copy()) for name in ("age", "action_units")}
        return {"face": crops} | told

    return Task(
        networks={"attributes": network},
        players=[
            Player(
                "attributes",
                network,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=lambda number: vars(weights),
            )
        ],
        batch=batch,
        averaged=("attributes",),
        configs={"attributes": recipe.network},
        probe=held_out(faces),
        helpers=(objective,),
    )


def held_out(faces: Faces | JoinedFaces) -> Any:
    """A probe of the validation split: mean absolute error of the age in years, of all and of each source; the share of
    ages within 1.28 standard deviations (0.8 for a normal distribution); the mean correlation of action units. None
    where no such face has an age."""
    try:
        held = Faces(faces.folder, faces.size, ("val",))
    except BadInput:
        return None
    picks = np.flatnonzero(~np.isnan(held.labels["landmarks"]).any((1, 2)))
    age = held.labels["age"][picks]
    aged, source = ~np.isnan(age), sources_of(held)[picks]
    if not aged.any():
        return None

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        read = read_all(networks["attributes"], held, picks)
        error = np.abs(read["age"] - age)
        units = correlations(read["action_units"], held.labels["action_units"][picks])
        return {
            "age_mae": float(error[aged].mean()),
            "age_covered": float((error < Z80 * read["spread"])[aged].mean()),
            "au_correlation": float(np.nanmean(units)),
        } | {
            f"age_mae_{name}": float(error[aged & (source == name)].mean())
            for name in np.unique(source[aged])
        }

    return probe


def read_all(network: nn.Module, faces: Faces, picks: np.ndarray) -> dict[str, np.ndarray]:
    """What a reader of attributes sees in some faces by their labelled landmarks, by the names of Attributes."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        found = [network(face.to(device), marks.to(device)) for face, marks in shown(faces, picks)]
    return {
        name: torch.cat([getattr(one, name) for one in found]).cpu().numpy() for name in Attributes._fields
    }


def spread_for(network: nn.Module, faces: Faces) -> float:
    """The factor on the spread with which 80 % of the faces' ages lie within 1.28 standard deviations."""
    has = ~np.isnan(faces.labels["age"]) & ~np.isnan(faces.labels["landmarks"]).any((1, 2))
    picks = np.flatnonzero(has)
    read = read_all(network, faces, picks)
    off = np.abs(read["age"] - faces.labels["age"][picks]) / (Z80 * read["spread"])
    return float(np.quantile(off, 0.8))
