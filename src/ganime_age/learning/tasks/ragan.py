"""Training Re-Aging GAN (Makhmudkhujaev et al., ICCV 2021).

The paper's terms: an adversarial logit for each age group with lazy R1, L1 reconstruction, L1 cycle, a mask that parts
the face from the background, labels of low confidence left out. Ours: prototypes under it (learning/age_editing.py),
an age and an identity read by frozen robust readers, AgeTransGAN's MI loss where a recipe asks it, a price on broad
shades, a discriminator that learns the groups of real faces alone before the generator starts, beside groups that are
far from theirs. The mask is the hull of the landmarks with the forehead above it; outside, nothing is to be drawn over
the prototypes' picture, as far as the weight says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.age_groups import GROUPS, group_code
from ...networks.ragan import Discriminator, Generator
from .. import losses
from ..data.faces import Faces
from ..engine.task import Task
from .age_editing import (
    Asked,
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

FOREHEAD = 0.5
"""How far the mask reaches above the brows, in distances from brow to nose tip."""
BROWS, NOSE = slice(17, 27), 30


@dataclass
class Recipe:
    """Numbers of a recipe. readers, prototypes, judge: folders of light copies; the judge only watches, and may be "".
    aifd: E_A, as in AgeTransGAN's. doubt: a face is left out when its label and the robust readers disagree by more
    years than that; 0: never. certain: sources of the manifest whose ages nobody guessed; their faces always stay.
    lead_steps: the discriminator learns the groups alone. weights: of every term when the generator starts,
    weights_end: of those that are another later; ramp_steps lead over. momentum: the generator's first beta.
    kept_share, cycle_share: of a batch, that is drawn for its own group and drawn back."""

    readers: str = "training/checkpoints/readers_robust"
    prototypes: str = "training/checkpoints/prototypes"
    judge: str = "training/checkpoints/age_judge"
    aifd: str = ""
    batch: int = 8
    lr_generator: float = 1e-4
    lr_discriminator: float = 1e-4
    momentum: float = 0.0
    balance: float = 1.0
    age_noise: float = 3.0
    doubt: float = 25.0
    certain: tuple[str, ...] = ()
    kept_share: float = 0.5
    cycle_share: float = 0.25
    r1: float = 1.0
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
    reconstruction: float = 0.0
    cycle: float = 0.0
    background: float = 0.0
    shade: float = 0.0
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
        """Draw every face that is believed in its own group and in another; what the paper says."""
        some, asked = self.chosen(batch)
        face, valid = some["face"], some["valid"]
        drawn = drawn_of(self.generator, some, asked, self.recipe.kept_share)
        batch["drawn"] = (some, asked, drawn.edit.detach())
        terms = pictures(drawn, some)
        if self.weight("age", step) or self.weight("identity", step):
            terms |= self.measures.reached(face, drawn.edit, asked)
        outside = valid * (1 - face_masks(some["landmarks"], face.shape[-1]))
        terms["shade"] = shade((drawn.edit - drawn.shown) * valid)
        terms["background"] = losses.masked_l1(drawn.edit, drawn.shown, outside)
        if self.weight("adversarial", step):
            (fake,) = moved_alike(drawn.edit * valid)
            terms["adversarial"] = F.softplus(-self.discriminator.score(fake, asked.target)).mean()
        if self.weight("cycle", step):
            terms["cycle"] = cycle(self.generator, drawn, some, asked, self.recipe.cycle_share)
        if self.weight("mi", step):
            terms["mi"] = self.measures.mutual(face, drawn.edit, some["landmarks"])
        return weighed(terms, partial(self.weight, step=step))

    def chosen(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Asked]:
        """The faces of a batch that are believed, and what is asked of them."""
        rows = self.believed(batch)
        some = {name: values[rows] for name, values in batch.items()}
        return some, ask(some["age"], self.recipe.age_noise)

    @torch.no_grad()
    def believed(self, batch: dict[str, Tensor]) -> Tensor:
        """Indices of the faces whose label is certain or near what the robust readers say; the nearest one at least."""
        age = batch["age"]
        if not self.recipe.doubt:
            return torch.arange(len(age), device=age.device)
        read = self.measures.readers(batch["face"]).age
        off = (read - self.measures.calibration.age(age)).abs().masked_fill(batch["certain"], 0.0)
        return (off <= torch.clamp(off.min(), min=self.recipe.doubt)).nonzero()[:, 0]

    def discriminate(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        """Real faces in their groups beside themselves in all that are far from these (after Reed et al., ICML 2016),
        from which the logits learn what a group is, and beside the edits that `generate` made last; lazy R1."""
        d = self.discriminator
        some, asked, *edits = batch["drawn"] if "drawn" in batch else self.chosen(batch)
        real, *fakes = moved_alike(*(picture * some["valid"] for picture in (some["face"], *edits)))
        real.requires_grad_(step % self.recipe.r1_every == 0)
        logits = d(real)
        true = (logits * group_code(asked.source)).sum(1)
        terms = {
            "d_real": F.softplus(-true).mean(),
            "d_wrong": (F.softplus(logits) * far_groups(asked.source)).sum(1).mean(),
        }
        for fake in fakes:
            terms["d_edit"] = F.softplus(d.score(fake, asked.target)).mean()
        if real.requires_grad:
            penalty = losses.gradient_penalty(true[:, None, None, None], real)
            terms["d_r1"] = self.recipe.r1 / 2 * self.recipe.r1_every * penalty
        told = {"believed": len(true) / len(batch["age"])}
        total, parts = weighed(terms, lambda name: 1.0)
        return total, parts | told


def far_groups(group: Tensor) -> Tensor:
    """Groups (B,) in 0..9 -> (B,10): an equal share for each group that is at least 1.5 away, 0 for the others."""
    numbers = torch.arange(GROUPS, device=group.device)
    far = ((numbers - group[:, None]).abs() >= 1.5).float()
    return far / far.sum(1, keepdim=True)


def shade(change: Tensor, side: int = 8) -> Tensor:
    """Mean square of a change (B,3,S,S) shrunk to side x side: broad lights and shadows, by which readers tell an age
    more easily than by what age draws. Squared, so that small ones cost next to nothing and training can start."""
    return F.adaptive_avg_pool2d(change, side).square().mean()


def face_masks(landmarks: Tensor, side: int) -> Tensor:
    """Landmarks (B,68,2) in 0..1 -> (B,1,S,S): 1 on the face with its forehead, 0 on the background, soft between."""
    up = FOREHEAD * (landmarks[:, BROWS].mean(1, keepdim=True) - landmarks[:, NOSE : NOSE + 1])
    points = torch.cat([landmarks, landmarks[:, BROWS] + up], 1).cpu().numpy()
    masks = np.zeros((len(points), side, side), np.float32)
    for mask, face in zip(masks, points, strict=True):
        hull = cv2.convexHull((face * side).round().astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1.0)
        mask[:] = cv2.GaussianBlur(mask, (0, 0), side / 64)
    return torch.from_numpy(masks)[:, None].to(landmarks.device)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of Re-Aging GAN on the faces of a folder; BadInput when their side or a source does not fit."""
    if faces.size % 64:
        raise BadInput(f"ragan is trained on faces whose side is a multiple of 64, not {faces.size} px")
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    generator.prototypes = measured_prototypes(recipe.prototypes)
    objective = Objective(recipe, generator, discriminator, frozen(recipe, faces, Weights))
    extra = {"certain": certain(recipe, faces)}
    return age_task("ragan", recipe, faces, seed, objective, extra, recipe.lead_steps)


def certain(recipe: Recipe, faces: Faces) -> Tensor:
    """(N,) bool: faces of the sources that the recipe calls certain; BadInput names one that the manifest lacks."""
    sources = faces.table["source"] if "source" in faces.table else faces.table["file"].map(lambda _: "")
    unknown = sorted(set(recipe.certain) - set(sources))
    if unknown:
        raise BadInput(f"{faces.folder} has no source {', '.join(unknown)}, which the recipe's certain names")
    return torch.from_numpy(np.array(sources.isin(recipe.certain)))
