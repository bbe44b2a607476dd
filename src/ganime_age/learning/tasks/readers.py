"""Training the readers, plainly or robustly: several teachers and labels, one backbone, missing labels skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import GROUP_STARTS
from ...networks.aifd import Identified
from ...networks.readers import YEARS, Readers, Readings
from ..data.augment import random_affine, random_colour, random_erase, random_quality
from ..data.faces import Faces, balanced_weights, draw
from ..data.joined_faces import JoinedFaces, in_shares
from ..engine.recipe import fill
from ..engine.task import Player, Task
from ..evaluation.metrics import landmark_error
from ..prepare.age_estimators import stored_readers


@dataclass
class Weights:
    """How much each loss counts; see the functions of the same names, and `ReadersObjective.age_terms`.

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
    the network's; none when empty. shares: source -> how often it is drawn, 0..1. augment: 0..1, how far faces are
    changed at random. attack_radius: L2, in [-1,1] pixels of the window; 0 trains plainly."""

    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    balance: float = 0.4
    augment: float = 1.0
    attack_radius: float = 0.0
    attack_steps: int = 2
    init: str = ""
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def age_distribution(logits: Tensor, age: Tensor, spread: float = 2.0) -> Tensor:
    """Cross-entropy with a Gaussian of `spread` years around the age (label distribution learning). (B,101), (B,)."""
    years = torch.arange(YEARS, device=age.device)
    target = torch.exp(-0.5 * ((years - age.clamp(0, 100)[:, None]) / spread) ** 2)
    return -(target / target.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()


def relations(embedding: Tensor, teacher: Tensor) -> Tensor:
    """Relational distillation: the batch's own cosine matrix must equal the teacher's. (B,D) unit length both."""
    return 10 * F.mse_loss(embedding @ embedding.T, teacher @ teacher.T)


def cosface(
    embedding: Tensor, centres: Tensor, person: Tensor, scale: float = 32.0, margin: float = 0.2
) -> Tensor:
    """CosFace (Wang et al. 2018, eq. 4): the true person's cosine must win by a margin. (B,D), (P,D), (B,)."""
    cosine = embedding @ F.normalize(centres, dim=1).T
    return F.cross_entropy(scale * (cosine - margin * F.one_hot(person, len(centres))), person)


def age_groups(age: Tensor) -> Tensor:
    """Years (B,) -> FFHQ-Aging's groups (B,) in 0..9."""
    return torch.bucketize(age, age.new_tensor(GROUP_STARTS[1:]), right=True)


def group_loss(logits: Tensor, age: Tensor) -> Tensor:
    """Cross-entropy of the ten age groups, whose chances are those of their years (MTLFace). (B,101), (B,)."""
    chance = logits.log_softmax(1)
    ends = (*GROUP_STARTS[1:], YEARS)
    groups = [chance[:, low:high].logsumexp(1) for low, high in zip(GROUP_STARTS, ends, strict=True)]
    return F.nll_loss(torch.stack(groups, 1), age_groups(age))


class Reversed(torch.autograd.Function):
    """Gradient reversal (Ganin and Lempitsky, ICML 2015): forward as it is, backward with the other sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return -gradients[0]


def known(values: Tensor) -> Tensor:
    """(B,...) -> (B,) which rows have no missing value."""
    return ~values.flatten(1).isnan().any(1) if values.dim() > 1 else ~values.isnan()


class ReadersObjective(nn.Module):
    """What only the readers' training needs: the persons' centres, each action unit's spread, and a head that seeks the
    age group in the identity, which learns to hide it."""

    au_spread: Tensor

    def __init__(self, persons: int, au_spread: Tensor, weights: Weights):
        super().__init__()
        self.weights = weights
        self.centres = nn.Parameter(torch.randn(max(persons, 1), 128))
        self.age_seeker = nn.Linear(128, len(GROUP_STARTS)) if weights.unlearnt_age else None
        self.register_buffer("au_spread", au_spread)

    def terms(self, read: Readings, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every loss by name, each over the rows that carry its label."""
        return self.weighed(self.person_terms(read, batch) | self.shape_terms(read, batch))

    def weighed(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each term times its weight."""
        return {name: getattr(self.weights, name) * value for name, value in terms.items()}

    def person_terms(self, read: Readings | Identified, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Who somebody is, and how old."""
        has = known(batch["age"])
        out = self.age_terms(read, batch["age"], has) if has.any() else {}
        has = known(batch["teacher"])
        if has.any():
            out["identity"] = (1 - (read.identity[has] * batch["teacher"][has]).sum(1)).mean()
            out["relations"] = relations(read.identity[has], batch["teacher"][has])
        has = batch["person"] >= 0
        if has.any():
            out["person"] = cosface(read.identity[has], self.centres, batch["person"][has])
        return out

    def age_terms(self, read: Readings | Identified, ages: Tensor, has: Tensor) -> dict[str, Tensor]:
        """What is learnt from ages (B,), on rows that have one. unlearnt_age: gradient-reversed age groups of the
        identity (MTLFace)."""
        age = ages[has]
        out = {
            "age": age_distribution(read.age_logits[has], age),
            "age_mean": (read.age[has] - age).abs().mean(),
        }
        if self.weights.age_group:
            out["age_group"] = group_loss(read.age_logits[has], age)
        if self.age_seeker:
            identity = Reversed.apply(read.identity[has])  # type: ignore[no-untyped-call]
            sought = self.age_seeker(identity)
            out["unlearnt_age"] = F.cross_entropy(sought, age_groups(age))
        return out

    def shape_terms(self, read: Readings, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Action units in units of their spread, landmarks in % of the eye distance, yaw and pitch in 10 degrees."""
        out = {}
        seen = ~batch["action_units"].isnan()
        if seen.any():
            error = (read.action_units - batch["action_units"]) / self.au_spread
            out["action_units"] = F.smooth_l1_loss(error[seen], torch.zeros_like(error[seen]))
        has = known(batch["landmarks"])
        if has.any():
            out["landmarks"] = landmark_error(read.landmarks[has], batch["landmarks"][has]).mean() / 3
        has = known(batch["pose"][:, :2])
        if has.any():
            out["pose"] = F.smooth_l1_loss(read.pose[has, :2] / 10, batch["pose"][has, :2] / 10)
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
        readers.local = None  # a second look is trained by itself
        return readers.train().requires_grad_(True), network
    readers, shapes = Readers(**recipe.network), torch.from_numpy(faces.labels["landmarks"])
    readers.mean_shape.copy_(shapes.nanmean(0).flatten().nan_to_num(0.5))
    return readers, recipe.network


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The readers' task on the faces of a folder."""
    readers, network = start(recipe, faces)
    weights = fill(Weights, recipe.weights, "[recipe.weights] table")
    objective = ReadersObjective(int(faces.labels["person"].max()) + 1, unit_spread(faces), weights)
    chance = in_shares(balanced_weights(faces.labels["age"], recipe.balance), faces, recipe.shares)

    def loss(batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        batch = augmented(batch, recipe.augment)
        window = readers.window(batch["face"])

        def terms(window: Tensor) -> dict[str, Tensor]:
            return objective.terms(readers.read_window(window), batch)

        def total(window: Tensor) -> Tensor:
            return reduce(torch.add, terms(window).values())

        if recipe.attack_radius:
            window = attack(total, window, recipe.attack_radius, recipe.attack_steps)
        parts = terms(window)
        return reduce(torch.add, parts.values()), {
            name: float(value.detach()) for name, value in parts.items()
        }

    return Task(
        networks={"readers": readers, "objective": objective},
        players=[
            Player(
                "readers",
                nn.ModuleList([readers, objective]),
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("readers",),
        configs={"readers": network},
    )
