"""Training AgeTransGAN (Hsu et al., ECCV 2022), without and with the multi-task identity (MI) loss.

The paper's terms: non-saturating adversarial loss on the edit and on the reconstruction, cross-entropy of the
discriminator's classifier of ten groups on both, L1 reconstruction and cycle, cross-age identity, lazy R1, a moving
average. Ours: the prototypes' picture under it (age_editing.py), an age read by frozen robust readers. E_A of the MI
loss is the identity branch of a frozen AIFD (networks/aligned/aifd.py); the loss is off where its weight is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.age_groups import group_code
from ...networks.agetransgan import Discriminator, Generator
from .. import losses
from ..data.augment import moved_alike
from ..data.faces import Faces
from ..data.joined_faces import JoinedFaces
from ..engine.task import Losses, Step, Task
from .age_editing import (
    AgeObjective,
    AgeRecipe,
    AgeRequest,
    AgeWeights,
    Generated,
    age_task,
    cycle_term,
    draw_request,
    generated,
    load_measures,
    pixel_terms,
)
from .frozen import load_prototypes


@dataclass
class Recipe(AgeRecipe):
    """Numbers of a recipe: those of both age GANs."""


@dataclass
class Weights(AgeWeights):
    """Weights of the generator's terms; `kept` are those of the reconstruction."""

    adversarial_kept: float = 0.0
    group: float = 0.0
    group_kept: float = 0.0


ADVERSARY = ("adversarial", "adversarial_kept", "group", "group_kept")
"""The terms that need the discriminator."""


class Handed(NamedTuple):
    """What the generator hands to the discriminator: the edits (B,3,S,S), the first n reconstructions, the request."""

    edit: Tensor
    kept: Tensor
    request: AgeRequest


class Objective(AgeObjective[Recipe, Generator, Discriminator]):
    """The losses of both players."""

    def generate(self, step: Step[Handed]) -> Losses:
        """Every face in another group and in its own, and what the paper asks of both."""
        batch, weights = step.batch, self.weights(step.number)
        face, valid = batch["face"], batch["valid"]
        request = draw_request(batch["age"], self.recipe.age_noise)
        pictures = generated(self.generator, batch, request, self.recipe.kept_share)
        step.result = Handed(pictures.edit.detach(), pictures.kept.detach(), request)
        terms = pixel_terms(pictures, batch)
        if weights["age"] or weights["identity"] or weights["triplet"]:
            terms |= self.measures.reading_terms(face, pictures.edit, request, batch["person"])
        if self.playing(step.number):
            terms |= self.adversary(pictures, valid, request)
        if weights["cycle"]:
            terms["cycle"] = cycle_term(self.generator, pictures, batch, request, self.recipe.cycle_share)
        if weights["mi"]:
            terms["mi"] = self.measures.mutual(face, pictures.edit, batch["landmarks"])
        return losses.weighted_sum(terms, weights)

    def playing(self, number: int) -> bool:
        """Whether the discriminator counts yet; before, it only learns the groups of real faces."""
        weights = self.weights(number)
        return any(weights[name] for name in ADVERSARY)

    def adversary(self, pictures: Generated, valid: Tensor, request: AgeRequest) -> dict[str, Tensor]:
        """Realism in its group, and the group by the discriminator's classifier, of the edit and of G(x, source)."""
        d, count = self.discriminator, len(pictures.kept)
        source = request.source[:count]
        (edit,), (kept,) = (
            moved_alike(pictures.edit * valid),
            moved_alike(pictures.kept * valid[:count]),
        )
        of_edit, of_kept = d.features(edit), beside(d, kept, edit.detach())
        return {
            "adversarial": losses.logistic_real(d.score(of_edit, request.target)),
            "adversarial_kept": losses.logistic_real(d.score(of_kept, source)),
            "group": F.cross_entropy(d.groups(of_edit), group_code(request.target)),
            "group_kept": F.cross_entropy(d.groups(of_kept), group_code(source)),
        }

    def discriminate(self, step: Step[Handed]) -> Losses:
        """Real faces beside both pictures of the generator, the groups of the real ones, lazy R1."""
        d, (edit, kept, request) = self.discriminator, step.handed()
        valid, source = step.batch["valid"], request.source[: len(kept)]
        real, edit = moved_alike(step.batch["face"] * valid, edit * valid)
        (kept,) = moved_alike(kept * valid[: len(kept)])
        playing = self.playing(step.number)
        real.requires_grad_(playing and step.number % self.recipe.r1_every == 0)
        features = d.features(real)
        terms = {"d_group": F.cross_entropy(d.groups(features), group_code(request.source))}
        if playing:
            true = d.score(features, request.source)
            terms["d_real"] = losses.logistic_real(true)
            terms["d_edit"] = losses.logistic_generated(d.score(d.features(edit), request.target))
            terms["d_kept"] = losses.logistic_generated(d.score(beside(d, kept, edit), source))
        if real.requires_grad:
            terms["d_r1"] = losses.gradient_penalty(true[:, None, None, None], real)
        return losses.weighted_sum(terms, self.discriminator_weights(step.number))

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """1 for each term but R1."""
        return dict.fromkeys(("d_group", "d_real", "d_edit", "d_kept"), 1.0) | {"d_r1": self.r1}


def beside(d: Discriminator, few: Tensor, others: Tensor) -> Tensor:
    """Features (n,C) of a partial batch (n,3,S,S), filled up to B with `others` (B,3,S,S).

    The minibatch-stddev layer must see the same batch size for real and generated images.
    """
    return d.features(torch.cat([few, others[len(few) :]]))[: len(few)]


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task of AgeTransGAN on the faces of a folder; BadInput when they are not of the generator's size."""
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    if not faces.size == generator.size == discriminator.size:
        raise BadInput(
            f"faces of {faces.size} px, a generator of {generator.size} and a discriminator of {discriminator.size} "
            "do not fit; set size, recipe.generator.size and recipe.discriminator.size to one number"
        )
    generator.prototypes = load_prototypes(recipe.prototypes)
    measures = load_measures(recipe, faces, Weights)
    return age_task(
        "agetransgan", Objective(recipe, generator, discriminator, measures, Weights), faces, seed
    )
