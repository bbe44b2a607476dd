"""Training the readers, plainly or robustly: several teachers and labels, one backbone, missing labels skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import GROUP_STARTS
from ...networks.aligned.aifd import Identified
from ...networks.layers import precise
from ...networks.readers import Readers, Readings
from .. import losses
from ..data.augment import random_affine, random_colour, random_erase, random_quality
from ..data.faces import Faces, balanced_weights, draw
from ..data.joined_faces import JoinedFaces, in_shares
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from ..prepare.age_estimators import stored_readers


@dataclass
class Weights:
    """Weights of the terms; see `ReadersObjective`.

    MTLFace (Huang et al., CVPR 2021) has age_group 0.001 and unlearnt_age 0.002 beside a CosFace of 1. 0 leaves them
    out.
    """

    age: float = 1.0
    age_mean: float = 0.1
    identity: float = 3.0
    relations: float = 3.0
    person: float = 0.1
    age_group: float = 0.0
    unlearnt_age: float = 0.0
    action_units: float = 1.0
    landmarks: float = 1.0
    pose: float = 0.5


@dataclass
class Recipe:
    """Numbers of a readers recipe. init: the readers to start from, as `stored_readers` names them, whose form then is
    the network's; none when empty. shares: source -> its fraction of a batch, 0..1. augment: 0..1, strength of
    the random augmentation. optimizer: see `Player`. attack_radius: L2, in [-1,1] pixels of the window; 0 trains
    plainly."""

    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    balance: float = 0.4
    augment: float = 1.0
    optimizer: str = "adamw"
    attack_radius: float = 0.0
    attack_steps: int = 2
    init: str = ""
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def known(values: Tensor) -> Tensor:
    """(B,...) -> (B,) 1.0 for rows without a missing value, else 0.0."""
    missing = values.flatten(1).isnan().any(1) if values.dim() > 1 else values.isnan()
    return (~missing).float()


LABELS = frozenset(("age", "teacher", "person", "action_units", "landmarks", "pose"))
"""The labels that readers learn from."""


def labels_of(faces: Faces | JoinedFaces) -> frozenset[str]:
    """Those of LABELS that any of the faces has."""
    found = {name for name in LABELS - {"person"} if not np.isnan(faces.labels[name]).all()}
    return frozenset(found | ({"person"} if (faces.labels["person"] >= 0).any() else set()))


class ReadersObjective(nn.Module):
    """What only the readers' training needs: CosFace's centres of persons, each action unit's spread, and the adversary
    that looks for the age group in the identity. labels: what the faces have at all; there are no other terms."""

    au_spread: Tensor

    def __init__(self, persons: int, au_spread: Tensor, weights: Weights, labels: frozenset[str] = LABELS):
        super().__init__()
        self.weights, self.labels = weights, labels
        self.centres = nn.Parameter(torch.randn(max(persons, 1), 128))
        self.age_seeker = nn.Linear(128, len(GROUP_STARTS)) if weights.unlearnt_age else None
        self.register_buffer("au_spread", au_spread)

    def weight(self, number: int) -> dict[str, float]:
        """The weights of the terms, the same in every step."""
        return vars(self.weights)

    def terms(self, read: Readings, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss by name, unweighted, each over the rows that carry its label; 0 where no row of a batch does."""
        return self.person_terms(read, batch) | self.shape_terms(read, batch)

    def person_terms(self, read: Readings | Identified, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Age and identity."""
        out: dict[str, Tensor] = {}
        if "age" in self.labels:
            out |= self.age_terms(read, batch["age"].nan_to_num(0.0), known(batch["age"]))
        if "teacher" in self.labels:
            teacher, has = batch["teacher"].nan_to_num(0.0), known(batch["teacher"])
            out["identity"] = losses.taught_identity(read.identity, teacher, has)
            out["relations"] = losses.relations(read.identity, teacher, has)
        if "person" in self.labels:
            out["person"] = losses.cosface(read.identity, self.centres, batch["person"])
        return out

    def age_terms(self, read: Readings | Identified, age: Tensor, has: Tensor) -> dict[str, Tensor]:
        """Terms of ages (B,) in years, on rows `has` (B,) 0/1 that have one. unlearnt_age: see losses.hidden_age."""
        out = {
            "age": losses.age_distribution(read.age_logits, age, rows=has),
            "age_mean": losses.age_l1(read.age, age, has),
        }
        if self.weights.age_group:
            out["age_group"] = losses.age_group(read.age_logits, age, has)
        if self.age_seeker:
            out["unlearnt_age"] = losses.hidden_age(self.age_seeker, read.identity, age, has)
        return out

    def shape_terms(self, read: Readings, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Action units in units of their spread, landmarks, yaw and pitch in tens of degrees."""
        out: dict[str, Tensor] = {}
        if "action_units" in self.labels:
            units = batch["action_units"]
            out["action_units"] = losses.huber((read.action_units - units) / self.au_spread, ~units.isnan())
        if "landmarks" in self.labels:
            marks = batch["landmarks"]
            out["landmarks"] = losses.eye_distances(read.landmarks, marks.nan_to_num(0.5), rows=known(marks))
        if "pose" in self.labels:
            pose = batch["pose"][:, :2]
            has = known(pose).bool()[:, None].expand_as(pose)
            out["pose"] = losses.huber(read.pose[:, :2] / losses.DECADE - pose / losses.DECADE, has)
        return out


def unit_spread(faces: Faces | JoinedFaces) -> Tensor:
    """(17,) standard deviation of each action unit over the faces, at least 0.1; 1 for one that no face has."""
    aus = torch.from_numpy(faces.labels["action_units"])
    return torch.nan_to_num(((aus - aus.nanmean(0)) ** 2).nanmean(0).sqrt(), nan=1.0).clamp_min(0.1)


def attack(loss_of: Callable[[Tensor], Tensor], window: Tensor, radius: float, steps: int) -> Tensor:
    """L2 projected gradient ascent on `loss_of(window)` (Madry et al. 2018), from a random start inside the ball."""
    delta = torch.randn_like(window)
    start = torch.rand(len(window), 1, 1, 1, device=window.device)
    delta *= radius * start / delta.flatten(1).norm(dim=1)[:, None, None, None]
    for _ in range(steps):
        delta.requires_grad_(True)
        loss = loss_of(window + delta)
        slope = torch.autograd.grad(loss, delta)[0]
        slope = slope / slope.flatten(1).norm(dim=1)[:, None, None, None].clamp_min(1e-12)
        delta = delta.detach() + 1.5 * radius / steps * slope
        delta *= (radius / delta.flatten(1).norm(dim=1).clamp_min(radius))[:, None, None, None]
    return (window + delta).detach()


def augmented(batch: dict[str, Tensor], strength: float) -> dict[str, Tensor]:
    """The batch as other cameras and other alignments would show it; strength 0..1 scales every kind of change."""
    turn, zoom, shift = 10 * strength, 0.1 * strength, 0.03 * strength
    face, landmarks = random_affine(batch["face"], batch["landmarks"], turn, zoom, shift)
    face = random_colour(face, 0.3 * strength, grey=0.1 * strength)
    face = random_erase(random_quality(face, 0.3 * strength), 0.3 * strength)
    return batch | {"face": face, "landmarks": cast(Tensor, landmarks)}


def start(recipe: Recipe, faces: Faces) -> tuple[Readers, dict[str, Any]]:
    """Readers to train, and what they are built from: the recipe's, whose mean shape is the faces', or those of
    `init`."""
    if recipe.init:
        readers, network = stored_readers(recipe.init)
        readers.local = None  # the second look has a task of its own (local_reader.py)
        return readers.train().requires_grad_(True), network
    readers, shapes = Readers(**recipe.network), torch.from_numpy(faces.labels["landmarks"])
    readers.mean_shape.copy_(shapes.nanmean(0).flatten().nan_to_num(0.5))
    return readers, recipe.network


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The readers' task on the faces of a folder."""
    readers, network = start(recipe, faces)
    weights = fill(Weights, recipe.weights, "[recipe.weights] table")
    objective = ReadersObjective(
        int(faces.labels["person"].max()) + 1, unit_spread(faces), weights, labels_of(faces)
    )
    chance = in_shares(balanced_weights(faces.labels["age"], recipe.balance), faces, recipe.shares)

    def loss(step: Step[None]) -> Losses:
        batch = augmented(step.batch, recipe.augment)
        window = readers.window(batch["face"])

        def of(window: Tensor) -> Losses:
            return losses.weighted_sum(objective.terms(readers.read_window(window), batch), vars(weights))

        if recipe.attack_radius:
            with precise(window):  # small steps in a gradient's direction
                window = attack(
                    lambda moved: of(moved).total, window, recipe.attack_radius, recipe.attack_steps
                )
        return of(window)

    return Task(
        networks={"readers": readers, "objective": objective},
        players=[
            Player(
                "readers",
                nn.ModuleList([readers, objective]),
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=objective.weight,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("readers",),
        configs={"readers": network},
    )
