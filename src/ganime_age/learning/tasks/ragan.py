"""Training Re-Aging GAN (Makhmudkhujaev et al., ICCV 2021).

The paper's terms: an adversarial logit for each age group with lazy R1, L1 reconstruction, L1 cycle, a mask that parts
the face from the background, labels of low confidence left out. Ours: the prototypes' picture under it
(age_editing.py), an age and an identity read by frozen robust readers, the MI loss where a recipe gives it a weight, a
price on broad shades, and a discriminator that learns the groups of real faces alone before the generator starts. The
mask is the hull of the landmarks with the forehead above it; outside, changes of the prototypes' picture cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...networks.age_groups import group_code
from ...networks.ragan import Discriminator, Generator
from .. import losses
from ..data.augment import moved_alike
from ..data.faces import Faces
from ..engine.task import Losses, Step, Task
from .age_editing import (
    AgeObjective,
    AgeRecipe,
    AgeRequest,
    AgeWeights,
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
BROWS, NOSE = slice(17, 27), 30


@dataclass
class Recipe(AgeRecipe):
    """Numbers of a recipe beside those of both age GANs. doubt: a face is left out when its label and the robust
    readers disagree by more years than that; 0: never. certain: sources of the manifest whose ages are not estimates;
    their faces always stay. During lead_steps the discriminator learns the groups alone."""

    lr_generator: float = 1e-4
    lr_discriminator: float = 1e-4
    r1: float = 1.0
    doubt: float = 25.0
    certain: tuple[str, ...] = ()


@dataclass
class Weights(AgeWeights):
    """Weights of the generator's terms."""

    background: float = 0.0
    shade: float = 0.0


@dataclass
class Handed:
    """What both players share: the faces whose labels are believed, the request for them, and the generator's edits
    (n,3,S,S), None as long as the discriminator learns alone."""

    faces: dict[str, Tensor]
    request: AgeRequest
    edit: Tensor | None = None


class Objective(AgeObjective[Recipe, Generator, Discriminator]):
    """The losses of both players."""

    def chosen(self, step: Step[Handed]) -> Handed:
        """The step's believed faces and their request, drawn by whichever player comes first."""
        if step.result is None:
            rows = self.believed(step.batch)
            faces = {name: values[rows] for name, values in step.batch.items()}
            step.result = Handed(faces, draw_request(faces["age"], self.recipe.age_noise))
        return step.result

    def generate(self, step: Step[Handed]) -> Losses:
        """Every believed face in another group and in its own, and what the paper asks of both."""
        handed, weights = self.chosen(step), self.weights(step.number)
        some, request = handed.faces, handed.request
        face, valid = some["face"], some["valid"]
        pictures = generated(self.generator, some, request, self.recipe.kept_share)
        handed.edit = pictures.edit.detach()
        terms = pixel_terms(pictures, some)
        if weights["age"] or weights["identity"]:
            terms |= self.measures.reading_terms(face, pictures.edit, request)
        outside = valid * (1 - face_masks(some["landmarks"], face.shape[-1]))
        terms["shade"] = losses.shade((pictures.edit - pictures.base) * valid)
        terms["background"] = losses.masked_l1(pictures.edit, pictures.base, outside)
        if weights["adversarial"]:
            (fake,) = moved_alike(pictures.edit * valid)
            terms["adversarial"] = losses.logistic_real(self.discriminator.score(fake, request.target))
        if weights["cycle"]:
            terms["cycle"] = cycle_term(self.generator, pictures, some, request, self.recipe.cycle_share)
        if weights["mi"]:
            terms["mi"] = self.measures.mutual(face, pictures.edit, some["landmarks"])
        return losses.weighted_sum(terms, weights)

    @torch.no_grad()
    def believed(self, batch: dict[str, Tensor]) -> Tensor:
        """Indices of the faces whose label is certain or near what the robust readers say; the nearest one at least."""
        age = batch["age"]
        if not self.recipe.doubt:
            return torch.arange(len(age), device=age.device)
        read = self.measures.readers(batch["face"]).age
        off = (read - self.measures.calibration.age(age)).abs().masked_fill(batch["certain"], 0.0)
        return (off <= torch.clamp(off.min(), min=self.recipe.doubt)).nonzero()[:, 0]

    def discriminate(self, step: Step[Handed]) -> Losses:
        """Real faces in their groups, the same faces in all groups far from these, from which the logits learn what a
        group is, and the generator's edits; lazy R1."""
        d, handed = self.discriminator, self.chosen(step)
        some, request = handed.faces, handed.request
        edits = () if handed.edit is None else (handed.edit,)
        real, *fakes = moved_alike(*(picture * some["valid"] for picture in (some["face"], *edits)))
        real.requires_grad_(step.number % self.recipe.r1_every == 0)
        logits = d(real)
        true = (logits * group_code(request.source)).sum(1)
        terms = {
            "d_real": losses.logistic_real(true),
            "d_wrong": losses.wrong_groups(logits, request.source),
        }
        for fake in fakes:
            terms["d_edit"] = losses.logistic_generated(d.score(fake, request.target))
        if real.requires_grad:
            terms["d_r1"] = losses.gradient_penalty(true[:, None, None, None], real)
        believed = true.new_tensor(len(true) / len(step.batch["age"]))
        return losses.weighted_sum(
            terms, self.discriminator_weights(step.number), shown={"believed": believed}
        )

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """1 for each term but R1."""
        return dict.fromkeys(("d_real", "d_wrong", "d_edit"), 1.0) | {"d_r1": self.r1}


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
    generator.prototypes = load_prototypes(recipe.prototypes)
    objective = Objective(recipe, generator, discriminator, load_measures(recipe, faces, Weights), Weights)
    return age_task("ragan", objective, faces, seed, {"certain": certain(recipe, faces)}, recipe.lead_steps)


def certain(recipe: Recipe, faces: Faces) -> Tensor:
    """(N,) bool: faces of the sources that the recipe calls certain; BadInput names one that the manifest lacks."""
    sources = faces.table["source"] if "source" in faces.table else faces.table["file"].map(lambda _: "")
    unknown = sorted(set(recipe.certain) - set(sources))
    if unknown:
        raise BadInput(f"{faces.folder} has no source {', '.join(unknown)}, which the recipe's certain names")
    return torch.from_numpy(np.array(sources.isin(recipe.certain)))
