"""Training GANimation with the losses of 2018: WGAN-GP, regressed action units, cycle, and a penalty on A.

The critic takes every step of the loop, the generator every fifth. Terms of the critic begin with `d_` in the log and
share the weight of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, reduce
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import AU_MAX
from ...errors import BadInput
from ...networks.ganimation import Discriminator, Generator, critic
from ...networks.layers import Edited
from .. import losses
from ..data.faces import Faces, draw
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .probes import CollapseLimits
from .sheets import EXPRESSIONS, as_picture, save_grid, wanted


@dataclass
class Weights:
    """Weights of the terms. action_units stands before a mean square divided by Recipe.au_divisor."""

    adversarial: float = 1.0
    gradient_penalty: float = 10.0
    action_units: float = 4000.0
    cycle: float = 10.0
    attention: float = 0.1
    attention_smooth: float = 1e-5


@dataclass
class Recipe:
    """Numbers of a recipe. epochs: passes over the faces by the critic, used when the plan's steps are 0.

    critic_steps: steps of the critic for one of the generator. au_noise: uniform, in intensity / 5.
    au_divisor: the batch size by which the released code divides its mean square, kept when the batch differs.
    """

    epochs: float = 30.0
    batch: int = 25
    lr: float = 1e-4
    critic_steps: int = 5
    au_noise: float = 0.1
    au_divisor: float = 25.0
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def critic_weights(weights: Weights) -> dict[str, float]:
    """The weights of the critic's terms: those of the same name, which begin with `d_` in the log."""
    return {f"d_{name}": weight for name, weight in vars(weights).items()}


def asked_units(batch: dict[str, Tensor], noise: float) -> Tensor:
    """Targets (B,17) as intensity / 5: another face's action units, moved by up to `noise`; NaN where unlabelled."""
    aus = (batch["action_units"] / AU_MAX).roll(1, 0)
    return aus + noise * (2 * torch.rand_like(aus) - 1)


def mask_terms(*edits: Edited) -> dict[str, Tensor]:
    """The penalties on A = 1 - attention, summed over the passes of a cycle."""
    copied = [1 - edit.attention for edit in edits]
    return {
        "attention": reduce(torch.add, map(losses.mask_energy, copied)),
        "attention_smooth": reduce(torch.add, map(losses.total_variation_sum, copied)),
    }


class Objective:
    """The losses of both players."""

    def __init__(self, recipe: Recipe, generator: Generator, discriminator: Discriminator):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.weights = fill(Weights, recipe.weights, "[recipe.weights] table")

    def discriminate(self, step: Step[None]) -> Losses:
        """The critic's loss on real faces and on fresh edits of them."""
        batch, face = step.batch, step.batch["face"]
        asked = asked_units(batch, self.recipe.au_noise)
        with torch.no_grad():
            fake = self.generator(face, asked.nan_to_num(0.0)).face
        patches, read = self.discriminator(face)
        terms = {
            "d_adversarial": losses.wasserstein(self.discriminator(fake)[0], patches),
            "d_gradient_penalty": losses.critic_penalty(partial(critic, self.discriminator), face, fake),
            "d_action_units": self.regression(read, batch["action_units"] / AU_MAX),
        }
        return losses.weighted_sum(terms, critic_weights(self.weights))

    def generate(self, step: Step[None]) -> Losses:
        """The generator's loss on an edit and on the way back to the face's own action units."""
        batch, face = step.batch, step.batch["face"]
        asked = asked_units(batch, self.recipe.au_noise)
        edited = self.generator(face, asked.nan_to_num(0.0))
        back = self.generator(edited.face, (batch["action_units"] / AU_MAX).nan_to_num(0.0))
        patches, read = self.discriminator(edited.face)
        terms = {
            "adversarial": -patches.mean(),
            "action_units": self.regression(read, asked),
            "cycle": losses.pixel_l1(back.face, face),
        } | mask_terms(edited, back)
        return losses.weighted_sum(terms, vars(self.weights), shown={"mask": edited.attention.mean()})

    def regression(self, read: Tensor, target: Tensor) -> Tensor:
        """The mean square as the released weight of 4000 expects it, divided by a batch size: see the recipe."""
        return losses.known_square_error(read, target) / self.recipe.au_divisor


def labelled(faces: Faces) -> np.ndarray:
    """(N,) bool: at least one action unit is known."""
    return ~np.isnan(faces.labels["action_units"]).all(1)


def probabilities(faces: Faces, usable: np.ndarray, lacking: str) -> np.ndarray:
    """(N,) the same probability for every usable face; BadInput says what the folder lacks when there is none."""
    if not usable.any():
        raise BadInput(f"{faces.folder} has no face with {lacking} to train on")
    return usable / usable.sum()


class TwoPlayers(Protocol):
    """A generator, its critic and the losses of both."""

    @property
    def generator(self) -> nn.Module: ...

    @property
    def discriminator(self) -> nn.Module: ...

    @property
    def weights(self) -> Weights: ...

    def generate(self, step: Step[None]) -> Losses: ...

    def discriminate(self, step: Step[None]) -> Losses: ...


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of GANimation on the faces of a folder; BadInput when their side does not divide by 64.

    Exported weights hold the generator alone: one layer of the discriminator is larger than any of their files may be.
    """
    if faces.size % 64:
        raise BadInput(
            f"the discriminator halves a face six times: size {faces.size} must be a multiple of 64"
        )
    generator = Generator(**recipe.generator)
    discriminator = Discriminator(**{"side": faces.size} | recipe.discriminator)
    objective = Objective(recipe, generator, discriminator)
    chance = probabilities(faces, labelled(faces), "action units")
    shown = held_out(faces, labelled)
    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=critic_first(objective, recipe.lr, recipe.critic_steps),
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        configs={"generator": recipe.generator},
        sheet=lambda networks, path: expression_sheet(cast(Generator, networks["generator"]), shown, path),
        probe=lambda networks: {
            "mask": mean_mask(expressions(cast(Generator, networks["generator"]), shown))
        },
        steps=math.ceil(recipe.epochs * (chance > 0).sum() / recipe.batch),
        watch=CollapseLimits().watch(),
    )


def critic_first(objective: TwoPlayers, lr: float, critic_steps: int) -> list[Player]:
    """The two players as WGAN-GP wants them: Adam (0.5, 0.999), several steps of the critic before the generator's."""
    betas, weights = (0.5, 0.999), objective.weights
    return [
        Player(
            "discriminator",
            objective.discriminator,
            objective.discriminate,
            lr,
            betas,
            precise=True,
            weights=lambda number: critic_weights(weights),
        ),
        Player(
            "generator",
            objective.generator,
            objective.generate,
            lr,
            betas,
            every=critic_steps,
            weights=lambda number: vars(weights),
        ),
    ]


def held_out(faces: Faces, usable: Callable[[Faces], np.ndarray], count: int = 8) -> dict[str, Tensor]:
    """The first usable faces of the validation split; BadInput when it has none."""
    others = Faces(faces.folder, faces.size, ("val",))
    picks = np.flatnonzero(usable(others))[:count]
    if not len(picks):
        raise BadInput(f"{faces.folder} has no labelled face in the split val to draw sample sheets of")
    return others.batch(picks)


def expression_sheet(generator: Generator, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, five expressions, and the attention of the first. Writes a JPEG."""
    edits = expressions(generator, faces)
    save_grid([faces["face"], *(edit.face for edit in edits), as_picture(edits[0].attention)], path)


def expressions(generator: Generator, faces: dict[str, Tensor]) -> list[Edited]:
    """All faces under each of the sample sheets' expressions."""
    device = next(generator.parameters()).device
    face, aus = faces["face"].to(device), faces["action_units"].nan_to_num(0.0).to(device)
    return [generator(face, wanted(aus, targets) / AU_MAX) for targets in EXPRESSIONS]


def mean_mask(edits: list[Edited]) -> float:
    """Mean attention over all edits: the probe of the collapse monitor."""
    return float(torch.stack([edit.attention.mean() for edit in edits]).mean())
