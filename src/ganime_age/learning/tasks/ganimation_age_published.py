"""Training the first GANimation-age: GANimation's losses with an age head, a perceptual loss, and two stages.

What its paper states is here as stated: the modulated age beside the action units, MSE on both, a perceptual loss, a
patch discriminator that can be switched off, two stages. What it leaves open is GANimation's: WGAN-GP, five steps of
the critic for one of the generator, cycle, penalties on A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import AGE_MAX, AU_MAX
from ...errors import BadInput
from ...networks.ganimation_age_published import Discriminator, Generator
from ...networks.layers import Edited
from ...networks.perceptual import Perceptual, perceptual_from
from .. import losses
from ..data.faces import Faces, balanced_weights, draw
from ..engine.recipe import fill
from ..engine.task import Losses, Step, Task
from . import ganimation as ganimation_task
from .frozen import load_readers
from .ganimation import asked_units, critic_first, critic_weights, held_out, mask_terms, probabilities
from .ganimation_age import usable
from .probes import CollapseLimits, Edit, prober
from .sheets import AGES, EXPRESSIONS, as_picture, save_grid, wanted


@dataclass
class Weights(ganimation_task.Weights):
    """Weights of the terms; action_units and age stand before plain mean squares of values in 0..1."""

    action_units: float = 160.0
    age: float = 160.0
    perceptual: float = 10.0


@dataclass
class Stage:
    """One stage: how many passes over the faces, how many faces a step, the learning rate, the side in pixels."""

    epochs: float = 10.0
    batch: int = 8
    lr: float = 1e-4
    size: int = 128


@dataclass
class Recipe:
    """Numbers of a recipe. stage: which of `stages` this run is, from 1. perceptual: a file of VGG19 or SqueezeNet 1.1
    weights, perceptual_input: the channels that it expects (networks.perceptual.INPUTS); without a file the features
    of `readers`, which otherwise only watch the run, are compared. balance: how evenly age groups are drawn, 0..1."""

    stage: int = 1
    stages: list[dict[str, Any]] = field(default_factory=list)
    critic_steps: int = 5
    au_noise: float = 0.1
    balance: float = 0.0
    perceptual: str = ""
    perceptual_input: str = "rgb"
    readers: str = "training/checkpoints/readers_robust"
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)

    def current(self) -> Stage:
        """The stage to run; BadInput when there is none of that number."""
        if not 1 <= self.stage <= len(self.stages):
            raise BadInput(
                f"the recipe has {len(self.stages)} stages, so --set recipe.stage={self.stage} is none"
            )
        return fill(Stage, self.stages[self.stage - 1], f"stage {self.stage}")


class Objective:
    """The losses of both players; ages in years / 100, action units as intensity / 5."""

    def __init__(
        self, recipe: Recipe, generator: Generator, discriminator: Discriminator, perceptual: Perceptual
    ):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.perceptual = perceptual
        self.weights = fill(Weights, recipe.weights, "[recipe.weights] table")

    def edit(self, batch: dict[str, Tensor]) -> tuple[Edited, Tensor, Tensor]:
        """An edit to another face's age and action units, with both targets."""
        asked = asked_units(batch, self.recipe.au_noise)
        age = batch["age"].roll(1, 0)
        return self.generator(batch["face"], age, AU_MAX * asked.nan_to_num(0.0)), age, asked

    def discriminate(self, step: Step[None]) -> Losses:
        """The critic's loss on real faces and on fresh edits of them, and what its heads misread on the real ones."""
        batch = step.batch
        with torch.no_grad():
            fake = self.edit(batch)[0].face
        judged = self.discriminator(batch["face"])
        terms = {
            "d_adversarial": losses.wasserstein(self.discriminator(fake).real, judged.real),
            "d_gradient_penalty": losses.critic_penalty(self.critic, batch["face"], fake),
            "d_action_units": losses.known_square_error(judged.aus, batch["action_units"] / AU_MAX),
            "d_age": (judged.age - batch["age"] / AGE_MAX).square().mean(),
        }
        return losses.weighted_sum(terms, critic_weights(self.weights))

    def critic(self, face: Tensor) -> Tensor:
        return self.discriminator(face).real.mean((1, 2, 3))

    def generate(self, step: Step[None]) -> Losses:
        """The generator's loss on an edit and on the way back to the face's own age and action units."""
        batch, face = step.batch, step.batch["face"]
        edited, age, asked = self.edit(batch)
        back = self.generator(edited.face, batch["age"], batch["action_units"].nan_to_num(0.0))
        judged = self.discriminator(edited.face)
        terms = {
            "adversarial": -judged.real.mean(),
            "action_units": losses.known_square_error(judged.aus, asked),
            "age": (judged.age - age / AGE_MAX).square().mean(),
            "cycle": losses.pixel_l1(back.face, face),
            "perceptual": self.perceptual(edited.face, face),
        } | mask_terms(edited, back)
        return losses.weighted_sum(terms, vars(self.weights), shown={"mask": edited.attention.mean()})


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of one stage on the faces of a folder; BadInput when they are not decoded at the stage's side.

    Exported weights hold the generator alone: one layer of the discriminator is larger than any of their files may be.
    """
    stage = recipe.current()
    if faces.size != stage.size:
        raise BadInput(f"stage {recipe.stage} is trained at {stage.size} px; add --set size={stage.size}")
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    readers = load_readers(recipe.readers)
    perceptual = perceptual_from(recipe.perceptual, recipe.perceptual_input, readers)
    objective = Objective(recipe, generator, discriminator, perceptual)
    chance = probabilities(faces, usable(faces), "an age and action units")
    chance = np.where(chance > 0, balanced_weights(faces.labels["age"], recipe.balance), 0)
    shown = held_out(faces, usable)
    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=critic_first(objective, stage.lr, recipe.critic_steps),
        batch=lambda step: faces.batch(*draw(step, seed, stage.batch, chance / chance.sum())),
        configs={"generator": recipe.generator},
        sheet=lambda networks, path: published_sheet(cast(Generator, networks["generator"]), shown, path),
        probe=prober("generator", edits, readers, "", shown),
        helpers=(perceptual, readers),
        steps=math.ceil(stage.epochs * (chance > 0).sum() / stage.batch),
        notes={"perceptual": perceptual.name},
        watch=CollapseLimits().watch(),
    )


def edits(network: nn.Module, faces: dict[str, Tensor]) -> Edit:
    """The edits of a generator, for the probe; its readers take no part in this recipe's losses."""
    generator = cast(Generator, network)
    return lambda face, age, to_age, aus, to_aus: generator(face, to_age, to_aus)


def published_sheet(generator: Generator, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, six ages, five expressions, and the attention of the last age. Writes a JPEG."""
    device = next(generator.parameters()).device
    face, age = faces["face"].to(device), faces["age"].to(device)
    aus = faces["action_units"].nan_to_num(0.0).to(device)
    edits = [generator(face, torch.full_like(age, years), aus) for years in AGES]
    mask = as_picture(edits[-1].attention)
    edits += [generator(face, age, wanted(aus, targets)) for targets in EXPRESSIONS]
    save_grid([face, *(edit.face for edit in edits), mask], path)
