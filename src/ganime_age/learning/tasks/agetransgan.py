"""Training AgeTransGAN (Hsu et al., ECCV 2022), without and with the multi-task identity (MI) loss.

The paper's terms: non-saturating adversarial loss on the edit and on the reconstruction, cross-entropy of the
discriminator's classifier of ten groups on both, L1 reconstruction and cycle, cross-age identity, lazy R1, a moving
average. Ours: prototypes under it (learning/age_editing.py), an age read by frozen robust readers. MI: one less
the cosine of E_A, the identity branch of a frozen AIFD (aifd_task.py, or the readers), before and after; off where its
weight is 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.age_groups import group_code
from ...networks.agetransgan import Discriminator, Generator
from .. import losses
from ..data.faces import Faces
from ..engine.task import Task
from .age_editing import (
    Asked,
    Drawn,
    Measures,
    age_task,
    ask,
    both_weights,
    cycle,
    drawn_of,
    frozen,
    measured_prototypes,
    moved_alike,
    pictures,
    ramped,
    weighed,
)


@dataclass
class Recipe:
    """Numbers of a recipe. readers, prototypes, judge: folders of light copies; the judge only watches, and may be "".
    aifd: where E_A is, the light folder of an aifd run or weights with readers, "" for the embedded ones. weights: the
    weight of every term at the start, weights_end: of those that are another later; lead_steps stay at the start,
    ramp_steps lead over. momentum: the generator's first beta. kept_share, cycle_share: of a batch, that is drawn for
    its own group and drawn back."""

    readers: str = "training/checkpoints/readers_robust"
    prototypes: str = "training/checkpoints/prototypes"
    judge: str = "training/checkpoints/age_judge"
    aifd: str = ""
    batch: int = 8
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    momentum: float = 0.0
    balance: float = 1.0
    age_noise: float = 3.0
    kept_share: float = 0.5
    cycle_share: float = 0.25
    r1: float = 10.0
    r1_every: int = 16
    lead_steps: int = 0
    ramp_steps: int = 600
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    weights_end: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """How much each term of the generator's loss counts."""

    adversarial: float = 0.0
    adversarial_kept: float = 0.0
    group: float = 0.0
    group_kept: float = 0.0
    reconstruction: float = 0.0
    cycle: float = 0.0
    identity: float = 0.0
    mi: float = 0.0
    age: float = 0.0
    change: float = 0.0


class Objective:
    """The losses of both players."""

    def __init__(
        self, recipe: Recipe, generator: Generator, discriminator: Discriminator, measures: Measures
    ):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.measures = measures
        self.start, self.end = both_weights(Weights, recipe.weights, recipe.weights_end)

    def weight(self, name: str, step: int) -> float:
        """This step's weight of a term: from weights to weights_end; 0 for what is only shown."""
        return ramped(self.start, self.end, name, step, self.recipe.lead_steps, self.recipe.ramp_steps)

    def generate(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        """Draw every face in its own group and in another; what the paper says of both."""
        face, valid = batch["face"], batch["valid"]
        asked = ask(batch["age"], self.recipe.age_noise)
        drawn = drawn_of(self.generator, batch, asked, self.recipe.kept_share)
        batch["drawn"] = (drawn.edit.detach(), drawn.kept.detach(), asked)
        terms = pictures(drawn, batch)
        if self.weight("age", step) or self.weight("identity", step):
            terms |= self.measures.reached(face, drawn.edit, asked)
        if self.playing(step):
            terms |= self.adversary(drawn, valid, asked)
        if self.weight("cycle", step):
            terms["cycle"] = cycle(self.generator, drawn, batch, asked, self.recipe.cycle_share)
        if self.weight("mi", step):
            terms["mi"] = self.measures.mutual(face, drawn.edit, batch["landmarks"])
        return weighed(terms, partial(self.weight, step=step))

    def playing(self, step: int) -> bool:
        """Whether the discriminator counts yet; before, it only learns the groups of real faces."""
        return any(
            self.weight(name, step) for name in ("adversarial", "adversarial_kept", "group", "group_kept")
        )

    def adversary(self, drawn: Drawn, valid: Tensor, asked: Asked) -> dict[str, Tensor]:
        """Realism in its group, and the group by the discriminator's classifier, of the edit and of G(x, source)."""
        d, source = self.discriminator, asked.source[: len(drawn.kept)]
        (edit,), (kept,) = moved_alike(drawn.edit * valid), moved_alike(drawn.kept * valid[: len(drawn.kept)])
        made, same = d.features(edit), beside(d, kept, edit.detach())
        return {
            "adversarial": F.softplus(-d.score(made, asked.target)).mean(),
            "adversarial_kept": F.softplus(-d.score(same, source)).mean(),
            "group": F.cross_entropy(d.groups(made), group_code(asked.target)),
            "group_kept": F.cross_entropy(d.groups(same), group_code(source)),
        }

    def discriminate(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        """Real faces beside both pictures that `generate` drew last, the groups of the real ones, lazy R1."""
        d, (edit, kept, asked) = self.discriminator, batch["drawn"]
        valid, source = batch["valid"], asked.source[: len(kept)]
        real, edit = moved_alike(batch["face"] * valid, edit * valid)
        (kept,) = moved_alike(kept * valid[: len(kept)])
        real.requires_grad_(self.playing(step) and step % self.recipe.r1_every == 0)
        features = d.features(real)
        terms = {"d_group": F.cross_entropy(d.groups(features), group_code(asked.source))}
        if self.playing(step):
            true = d.score(features, asked.source)
            terms["d_real"] = F.softplus(-true).mean()
            terms["d_edit"] = F.softplus(d.score(d.features(edit), asked.target)).mean()
            terms["d_kept"] = F.softplus(d.score(beside(d, kept, edit), source)).mean()
        if real.requires_grad:
            penalty = losses.gradient_penalty(true[:, None, None, None], real)
            terms["d_r1"] = self.recipe.r1 / 2 * self.recipe.r1_every * penalty
        return weighed(terms, lambda name: 1.0)


def beside(d: Discriminator, few: Tensor, others: Tensor) -> Tensor:
    """Features (n,C) of a few pictures (n,3,S,S) in a batch that others (B,3,S,S) fill up to B: the discriminator sees
    how alike a batch is, and one of another size would give itself away."""
    return d.features(torch.cat([few, others[len(few) :]]))[: len(few)]


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of AgeTransGAN on the faces of a folder; BadInput when they are not of the generator's size."""
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    if not faces.size == generator.size == discriminator.size:
        raise BadInput(
            f"faces of {faces.size} px, a generator of {generator.size} and a discriminator of {discriminator.size} "
            "do not fit; set size, recipe.generator.size and recipe.discriminator.size to one number"
        )
    generator.prototypes = measured_prototypes(recipe.prototypes)
    objective = Objective(recipe, generator, discriminator, frozen(recipe, faces, Weights))
    return age_task("agetransgan", recipe, faces, seed, objective, {})
