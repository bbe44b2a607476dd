"""Training Re-Aging GAN (Makhmudkhujaev et al., ICCV 2021).

The paper's terms: an adversarial logit for each age group with lazy R1, L1 reconstruction, L1 cycle, a mask that parts
the face from the background, labels of low confidence left out. Ours: the prototypes' picture under it
(age_editing.py), an age and an identity read by frozen robust readers, the MI loss where a recipe gives it a weight, a
price on broad shades, and a discriminator that learns the groups of real faces alone before the generator starts. The
mask is the person of a semantic map where there is one, with the hair, and else the hull of the landmarks with the
forehead above it; outside, changes of the prototypes' picture cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.age_groups import group_code
from ...networks.prototypes import Prototypes
from ...networks.ragan import Discriminator, Generator
from .. import losses
from ..data.augment import moved_alike
from ..data.faces import Faces
from ..data.semantic_maps import FOLDER, SemanticMaps
from ..engine.task import Losses, Step, Task
from .age_editing import (
    AgeObjective,
    AgeRecipe,
    AgeRequest,
    AgeWeights,
    Extra,
    age_task,
    cycle_term,
    draw_request,
    generated,
    load_measures,
    pixel_terms,
)
from .frozen import load_prototypes

FOREHEAD = 0.5
"""Height of the mask above the brows, in distances from brow to nose tip."""
TANGENTS = 96
"""Directions in which a hull is bounded: with so many, an arc of 50 pixels is met to 0.03 pixels."""
SOFT = 64
"""The mask's edge is blurred by a standard deviation of side / 64."""
BROWS, NOSE = slice(17, 27), 30


@dataclass
class Recipe(AgeRecipe):
    """Numbers of a recipe beside those of both age GANs. doubt: a face is left out when its label and the robust
    readers disagree by more years than that; 0: never. certain: sources of the manifest whose ages are not estimates;
    their faces always stay. During lead_steps the discriminator learns the groups alone. maps: a folder of semantic
    maps (semantic_maps.py), by default the one in the face folder where there is one; what they call person is face."""

    lr_generator: float = 1e-4
    lr_discriminator: float = 1e-4
    r1: float = 1.0
    doubt: float = 25.0
    certain: tuple[str, ...] = ()
    maps: str = ""


@dataclass
class Weights(AgeWeights):
    """Weights of the generator's terms."""

    background: float = 0.0
    shade: float = 0.0


@dataclass
class Handed:
    """What both players share: which faces' labels are believed (B,) 0/1, the request for all of them, and the
    generator's edits (B,3,S,S), None as long as the discriminator learns alone."""

    believed: Tensor
    request: AgeRequest
    edit: Tensor | None = None

    def weighed(self, valid: Tensor) -> Tensor:
        """valid (B,1,S,S) as a weight of pixels: 0 for a face that is not believed, and so much more for the others
        that a mean over all faces is one over them."""
        share = self.believed * (len(self.believed) / self.believed.sum())
        return valid * share[:, None, None, None]


class Objective(AgeObjective[Recipe, Generator, Discriminator]):
    """The losses of both players."""

    def chosen(self, step: Step[Handed]) -> Handed:
        """Which faces count in the step and their request, drawn by whichever player comes first."""
        if step.result is None:
            request = draw_request(step.batch["age"], self.recipe.age_noise)
            step.result = Handed(self.believed(step.batch), request)
        return step.result

    def generate(self, step: Step[Handed]) -> Losses:
        """Every believed face in another group and in its own, and what the paper asks of both."""
        handed, weights, batch = self.chosen(step), self.weights(step.number), step.batch
        rows, request, face, landmarks = handed.believed, handed.request, batch["face"], batch["landmarks"]
        counted = batch | {"valid": handed.weighed(batch["valid"])}
        pictures = generated(self.generator, batch, request, self.recipe.kept_share)
        handed.edit = pictures.edit.detach()
        terms = pixel_terms(pictures, counted)
        if weights["age"] or weights["identity"] or weights["triplet"]:
            terms |= self.measures.reading_terms(face, pictures.edit, request, batch["person"], rows)
        outside = counted["valid"] * (1 - person_masks(batch, self.generator.prototypes))
        terms["shade"] = losses.shade((pictures.edit - pictures.base) * batch["valid"], rows=rows)
        terms["background"] = losses.masked_l1(pictures.edit, pictures.base, outside)
        if weights["adversarial"]:
            (fake,) = moved_alike(pictures.edit * batch["valid"])
            score = self.discriminator.score(fake, request.target)
            terms["adversarial"] = losses.logistic_real(score, rows)
        if weights["cycle"]:
            terms["cycle"] = cycle_term(self.generator, pictures, counted, request, self.recipe.cycle_share)
        if weights["mi"]:
            terms["mi"] = self.measures.mutual(face, pictures.edit, landmarks, rows)
        return losses.weighted_sum(terms, weights)

    @torch.no_grad()
    def believed(self, batch: dict[str, Tensor]) -> Tensor:
        """(B,) 1 for faces whose label is certain or near what the robust readers say, the nearest one at least; else
        0. Faces count with this weight instead of being left out, so that batches keep their size."""
        age = batch["age"]
        if not self.recipe.doubt:
            return torch.ones_like(age)
        read = self.measures.readers(batch["face"]).age
        off = (read - self.measures.calibration.age(age)).abs().masked_fill(batch["certain"], 0.0)
        return (off <= torch.clamp(off.min(), min=self.recipe.doubt)).float()

    def discriminate(self, step: Step[Handed]) -> Losses:
        """Real faces in their groups, the same faces in all groups far from these, from which the logits learn what a
        group is, and the generator's edits; lazy R1."""
        d, handed, batch = self.discriminator, self.chosen(step), step.batch
        rows, request = handed.believed, handed.request
        edits = () if handed.edit is None else (handed.edit,)
        real, *fakes = moved_alike(*(picture * batch["valid"] for picture in (batch["face"], *edits)))
        real.requires_grad_(step.number % self.recipe.r1_every == 0)
        logits = d(real)
        true = (logits * group_code(request.source)).sum(1)
        terms = {
            "d_real": losses.logistic_real(true, rows),
            "d_wrong": losses.wrong_groups(logits, request.source, rows),
        }
        for fake in fakes:
            terms["d_edit"] = losses.logistic_generated(d.score(fake, request.target), rows)
        if real.requires_grad:
            terms["d_r1"] = losses.gradient_penalty(true[:, None, None, None], real, rows)
        weights = self.discriminator_weights(step.number)
        return losses.weighted_sum(terms, weights, shown={"believed": rows.mean()})

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """1 for each term but R1."""
        return dict.fromkeys(("d_real", "d_wrong", "d_edit"), 1.0) | {"d_r1": self.r1}


def person_masks(batch: dict[str, Tensor], prototypes: Prototypes) -> Tensor:
    """(B,1,S,S): 1 where an age may change a picture, soft towards the background: the person of a semantic map, with
    the hair, or else the face that the landmarks tell and the hair that the prototypes find."""
    face = batch["face"]
    side = face.shape[-1]
    with torch.no_grad():
        found = torch.maximum(face_masks(batch["landmarks"], side), prototypes.find_hair(face))
    if "foreground" not in batch:
        return found
    known = batch["foreground"].isfinite()
    return torch.where(known, gaussian_blur(batch["foreground"].nan_to_num(0.0), side / SOFT), found)


def face_masks(landmarks: Tensor, side: int) -> Tensor:
    """Landmarks (B,68,2) in 0..1 -> (B,1,S,S): 1 on the face with its forehead, 0 on the background, soft between."""
    up = FOREHEAD * (landmarks[:, BROWS].mean(1, keepdim=True) - landmarks[:, NOSE : NOSE + 1])
    points = (torch.cat([landmarks, landmarks[:, BROWS] + up], 1) * side).round()
    # A convex hull is the intersection of the half planes that bound it in every direction u (its support function):
    #
    #     x is inside  <=>  u.x <= max_i u.p_i  for all u
    turns = torch.arange(TANGENTS, device=points.device) * (2 * math.pi / TANGENTS)
    line = torch.arange(side, device=points.device)
    reach = points[..., :1] * turns.cos() + points[..., 1:] * turns.sin()  # (B,P,TANGENTS)
    across, down = line[:, None] * turns.cos(), line[:, None] * turns.sin()  # (S,TANGENTS) each
    least = reach.amax(1) + 1e-3
    inside = points.new_ones(len(points), side, side)
    for k in range(TANGENTS):
        inside = inside * (across[:, k] + down[:, k, None] <= least[:, k, None, None])
    return gaussian_blur(inside[:, None], side / SOFT)


def gaussian_blur(maps: Tensor, spread: float) -> Tensor:
    """(B,1,S,S) under a Gaussian of this standard deviation in pixels, the border mirrored."""
    radius = round(4 * spread)
    at = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (at / spread) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps, [radius] * 4, mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])
    return (blurred * 2**16).round() / 2**16  # what is all 0 or all 1 around stays so, whatever the rounding


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of Re-Aging GAN on the faces of a folder; BadInput when their side or a source does not fit."""
    if faces.size % 64:
        raise BadInput(f"ragan is trained on faces whose side is a multiple of 64, not {faces.size} px")
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    generator.prototypes = load_prototypes(recipe.prototypes)
    objective = Objective(recipe, generator, discriminator, load_measures(recipe, faces, Weights), Weights)
    extra: dict[str, Extra] = {"certain": certain(recipe, faces)}
    place = Path(recipe.maps) if recipe.maps else faces.folder / FOLDER
    if recipe.maps or place.is_dir():
        extra["foreground"] = SemanticMaps(place, faces).person
    return age_task("ragan", objective, faces, seed, extra, recipe.lead_steps)


def certain(recipe: Recipe, faces: Faces) -> Tensor:
    """(N,) bool: faces of the sources that the recipe calls certain; BadInput names one that the manifest lacks."""
    sources = faces.table["source"] if "source" in faces.table else faces.table["file"].map(lambda _: "")
    unknown = sorted(set(recipe.certain) - set(sources))
    if unknown:
        raise BadInput(f"{faces.folder} has no source {', '.join(unknown)}, which the recipe's certain names")
    return torch.from_numpy(np.array(sources.isin(recipe.certain)))
