"""Training the restoring generator: real faces, erased, are the questions and the answers; then edits are steered.

1. Pairs. A real face is erased (networks/restoring/erase.py); the generator, told the face's age and action units,
   draws it back. L1, a perceptual distance, and a conditional patch discriminator once half of it is learnt.
2. Edits. From `steer_from` on, prototypes edit other faces to other ages and expressions, or leave them as they are;
   these are erased the same way, and what the generator lays on them must look its age to a reader that withstands
   attacks (steering.py), remain the same person, and pass the discriminator. Broad shading and colour may not do it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....edits import AU_CODES, AU_MAX
from ....errors import BadInput
from ....networks.judging.age_judge import AgeJudge
from ....networks.layers import luma
from ....networks.mouth import gap
from ....networks.perceptual import Perceptual, perceptual_from
from ....networks.prototypes import Prototypes
from ....networks.restoring.erase import Amounts, Erased, erase
from ....networks.restoring.feature_discriminator import BothDiscriminator, FeatureDiscriminator
from ....networks.restoring.lay import Request, laid
from ....networks.restoring.patch_discriminator import PatchDiscriminator
from ....networks.restoring.restorer import Restorer
from ....networks.warp import canonical_grid
from ... import losses
from ...data.faces import Faces, draw
from ...engine.checkpoints import load_light
from ...engine.recipe import fill
from ...engine.task import Losses, Player, Step, Task
from ..edit_requests import cut, put_back
from ..frozen import load_prototypes
from .patches import centres, chances, corners
from .sheet import sheet, sheet_faces
from .steering import Steering, load, second_reader
from .watching import prober, watch

MOUTH, EYES = tuple(range(48, 68)), tuple(range(36, 48))
"""Landmarks on which crops of erased mouths and lids are put."""
Discriminator: TypeAlias = PatchDiscriminator | FeatureDiscriminator | BothDiscriminator
YOUNGEST, OLDEST, APART = 3.0, 87.0, 8.0
"""Years: the ages that are asked for, and how far from the face's own at least."""
STEERED = 2.2
"""Standard deviation, in pixels of a frame of 256, by which faces are smoothed that are edited, give or take .3."""
SMILE, PARTED, DROPPED, BLINK = (AU_CODES.index(code) for code in ("AU12", "AU25", "AU26", "AU45"))


@dataclass
class Recipe:
    """Numbers of the recipe. prototypes, judge: folders that prototypes.toml and age_judge.toml made; the judge
    only watches, and may be "". attribute_reader: folder of a run of attributes_robust.toml, or "": without it no
    edit is steered. second_reader: folder of a run of readers_robust.toml, whose say about an age is half of it; ""
    for none. identity_reader: weights, or the folder of a run of identity.toml. perceptual: a file of SqueezeNet or
    VGG19 weights, "" for none; perceptual_input: see networks/perceptual.py. faces, crops: of a step, crops of each
    face; crop: their side, even. window: side of what of an edited face is drawn, even. holes: how much more often
    open mouths and closed eyes are drawn. discriminator: keywords of PatchDiscriminator, or, with kind = "features"
    or "both", of FeatureDiscriminator or BothDiscriminator on the perceptual network. edits: faces edited a step.
    bare: share of them that no prototype edits before. creases: share of the steps in which the prototypes draw
    their creases on them; in the others it is left to the generator. adversarial_from, steer_from: steps. balance:
    of ages. radius: of the attacks on what the attribute reader sees; noise: standard deviation of white noise
    there, in units of [-1,1]."""

    prototypes: str = "src/ganime_age/weights"
    attribute_reader: str = ""
    second_reader: str = ""
    identity_reader: str = "src/ganime_age/weights"
    judge: str = "training/checkpoints/age_judge"
    perceptual: str = ""
    perceptual_input: str = "bgr"
    faces: int = 3
    crops: int = 2
    crop: int = 96
    window: int = 176
    bare: float = 0.4
    holes: float = 1.0
    edits: int = 2
    creases: float = 0.5
    lr_generator: float = 4e-4
    lr_discriminator: float = 3e-4
    balance: float = 0.8
    adversarial_from: int = 1500
    steer_from: int = 2500
    r1: float = 0.5
    r1_every: int = 8
    wrong: float = 0.3
    radius: float = 1.5
    noise: float = 0.0
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """Weights of the generator's terms; see the methods of `Objective` that name them."""

    pixels: float = 3.0
    perceptual: float = 1.5
    adversarial: float = 0.1
    age: float = 0.07
    identity: float = 1.0
    shade: float = 250.0
    chroma: float = 3000.0
    change: float = 8.0
    edit_adversarial: float = 0.3


class Crops(NamedTuple):
    """Crops of pictures with their places and conditions. picture (N,3,s,s), place (N,2,s,s), age (N,), aus (N,17)."""

    picture: Tensor
    place: Tensor
    age: Tensor
    aus: Tensor


class Handed(NamedTuple):
    """What the generator hands to the discriminator: real crops, and all that it drew."""

    real: Crops
    drawn: Crops


class Objective:
    """The losses of both players over one generator, one discriminator and frozen helpers."""

    def __init__(
        self,
        recipe: Recipe,
        generator: Restorer,
        discriminator: Discriminator,
        prototypes: Prototypes,
        perceptual: Perceptual | None,
        steering: Steering | None,
    ):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.prototypes, self.perceptual, self.steering = prototypes, perceptual, steering
        self.smooth = prototypes.without_wrinkles()
        self.given = fill(Weights, recipe.weights, "[recipe.weights] table")

    def weights(self, number: int) -> dict[str, float]:
        """A step's weights of the generator's terms: 0 before their turn."""
        out = dict(vars(self.given))
        if number < self.recipe.adversarial_from:
            out["adversarial"] = out["edit_adversarial"] = 0.0
        return out

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """A step's weights of the discriminator's terms; R1 makes up for the steps in which it is left out."""
        return {
            "d_real": 1.0,
            "d_drawn": 1.0,
            "d_wrong": self.recipe.wrong,
            "d_r1": self.recipe.r1 * self.recipe.r1_every,
        }

    def generate(self, step: Step[Handed]) -> Losses:
        """Pairs in every step, edits from `steer_from` on."""
        weights = self.weights(step.number)
        terms, real, drawn = self.pairs(step.batch, weights)
        step.result = Handed(real, drawn)
        if step.number >= self.recipe.steer_from and self.recipe.edits:
            more, edited = self.edits(step.batch, weights)
            terms |= more
            step.result = Handed(real, Crops(*map(torch.cat, zip(drawn, edited, strict=True))))
        return losses.weighted_sum(terms, weights)

    def pairs(
        self, batch: dict[str, Tensor], weights: dict[str, float]
    ) -> tuple[dict[str, Tensor], Crops, Crops]:
        """Erased faces drawn back -> terms, the real crops and the drawn ones."""
        face, marks, aus = (
            batch[name][: self.recipe.faces] for name in ("face", "landmarks", "action_units")
        )
        aus, valid, age = aus.nan_to_num(0.0), batch["valid"][: len(face)], batch["age"][: len(face)]
        amounts = random_amounts(marks, aus)
        erased = erase(face, marks, self.generator.template, amounts)
        cuts = [self.places(marks, amounts, face.shape[-1]) for _ in range(self.recipe.crops)]
        pieces, rows = crop_erased(erased, cuts, self.recipe.crop), self.rows_of(face)
        target = torch.cat([cut(face, at, self.recipe.crop) for at in cuts])
        seen = torch.cat([cut(valid, at, self.recipe.crop) for at in cuts])
        amounts = Amounts(*(value[rows] for value in amounts))
        out = self.generator(pieces, age[rows], aus[rows], amounts).face
        # Outside of what is real (a photo's border) there is nothing to learn; inside a hole there is most.
        hole = pieces.maps[:, 1:].amax(1, keepdim=True)
        terms = {"pixels": losses.masked_l1(out, target, seen * (1 + 2 * hole))}
        out, target = out * seen, target * seen
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(out, target)
        place = places_of(pieces)
        drawn = Crops(out, place, age[rows], aus[rows])
        if weights["adversarial"]:
            terms["adversarial"] = losses.logistic_real(self.judged(drawn))
        return terms, Crops(target, place, age[rows], aus[rows]), drawn._replace(picture=out.detach())

    def places(self, marks: Tensor, amounts: Amounts, side: int) -> Tensor:
        """Where a crop of each face lies: on the hole, if there is one, in two of three cases."""
        at = centres(marks)
        for points, share in ((MOUTH, amounts.mouth), (EYES, amounts.lids)):
            there = (share > 0) & (torch.rand_like(share) < 0.67)
            at = torch.where(there[:, None], centres(marks, points), at)
        return corners(at, side, self.recipe.crop)

    def edits(self, batch: dict[str, Tensor], weights: dict[str, float]) -> tuple[dict[str, Tensor], Crops]:
        """Faces that prototypes edited, or that are as they were, erased, and drawn on: terms, and crops of what is
        there then."""
        last = slice(-self.recipe.edits, None)
        face, marks = batch["face"][last], batch["landmarks"][last]
        aus = batch["action_units"][last].nan_to_num(0.0)
        request = random_request(batch["age"][last], aus, not self.generator.outward)
        with torch.no_grad():
            creased = self.prototypes if torch.rand(()) < self.recipe.creases else self.smooth
            moved = self.prototypes.moved_landmarks(marks, request[:2], request[2:])
            base = creased(face, marks, *request)
            # On a GPU one edit in some thousands was not finite.
            bare = (torch.rand_like(request[0]) < self.recipe.bare) | ~base.isfinite().flatten(1).all(1)
            base = torch.where(bare[:, None, None, None], face, base)
            moved = torch.where(bare[:, None, None], marks, moved)
            amounts = request.amounts(marks, moved, STEERED + 0.6 * (torch.rand_like(request[0]) - 0.5))
            erased = erase(base, moved, self.generator.template, amounts)
            at = corners(moved.mean(1), face.shape[-1], self.recipe.window)
        pieces = crop_erased(erased, [at], self.recipe.window)
        before = cut(base, at, self.recipe.window)
        out = laid(self.generator, before, pieces, amounts, request).face
        whole = put_back(base, out, at)
        change = (out - before) * (1 - pieces.maps[:, 1:].amax(1, keepdim=True))
        terms = {
            "shade": F.avg_pool2d(luma(change), 8).square().mean(),
            "chroma": F.avg_pool2d(change - luma(change), 8).square().mean(),
            "change": change.square().mean(),
        }
        valid = batch["valid"][last]
        if self.steering is not None:
            aged = request.source_age != request.target_age
            terms |= self.steering.terms(whole, moved, request.target_age, aged, (face, marks))
        drawn = self.crops_of(whole, moved, valid, request, amounts)
        if weights["edit_adversarial"]:
            terms["edit_adversarial"] = losses.logistic_real(self.judged(drawn))
        return terms, drawn._replace(picture=drawn.picture.detach())

    def crops_of(
        self, whole: Tensor, marks: Tensor, valid: Tensor, request: Request, amounts: Amounts
    ) -> Crops:
        """Random crops of edited faces, as the discriminator sees them."""
        cuts = [self.places(marks, amounts, whole.shape[-1]) for _ in range(self.recipe.crops)]
        grid = canonical_grid(marks, self.generator.mean_shape, whole.shape[-1]).permute(0, 3, 1, 2)
        shown = torch.cat([whole * valid, grid], 1)
        found, rows = torch.cat([cut(shown, at, self.recipe.crop) for at in cuts]), self.rows_of(whole)
        return Crops(found[:, :3], found[:, 3:], request.target_age[rows], request.target_aus[rows])

    def rows_of(self, face: Tensor) -> Tensor:
        """The number of its face for every crop of faces (B,3,S,S), in the order of `crop_erased`."""
        return torch.arange(len(face), device=face.device).repeat(self.recipe.crops)

    def judged(self, crops: Crops) -> Tensor:
        """Patch logits of crops under their own conditions."""
        d = self.discriminator
        return d.score(d.features(crops.picture, crops.place), crops.age, crops.aus)

    def discriminate(self, step: Step[Handed]) -> Losses:
        """Real crops against drawn ones and against wrong ages; lazy R1."""
        d, (real, drawn) = self.discriminator, step.handed()
        picture = real.picture.detach()
        penalised = step.number % self.recipe.r1_every == 0
        if penalised:
            picture.requires_grad_(True)
        features = d.features(picture, real.place)
        true = d.score(features, real.age, real.aus)
        other = real.age.roll(1)
        off = ((real.age - other).abs() > 15).float()
        wrong = d.score(features, other, real.aus)
        terms = {
            "d_real": losses.logistic_real(true),
            "d_drawn": losses.logistic_generated(self.judged(drawn)),
            "d_wrong": losses.mismatched(wrong, true, off),
        }
        if penalised:
            terms["d_r1"] = losses.gradient_penalty(true, picture)
        return losses.weighted_sum(terms, self.discriminator_weights(step.number))


def random_amounts(landmarks: Tensor, aus: Tensor) -> Amounts:
    """What is erased of real faces: skin of most, open mouths and closed lids of most that have them."""
    b = len(aus)
    chance = torch.rand(3, b, device=aus.device)
    smooth = torch.where(chance[0] < 0.85, 0.4 + 3.2 * torch.rand_like(chance[0]).square(), 0.0)
    opened = (gap(landmarks, 1).opening > 0.06) & (chance[1] < 0.75)
    closed = (aus[:, BLINK] > 2.2) & (chance[2] < 0.75)
    return Amounts(smooth, opened.float(), closed.float())


def random_request(age: Tensor, aus: Tensor, younger: bool = True) -> Request:
    """Edits to learn from: mostly of the age, to any that is 8 years or more away, up to 87, and more often to an older
    one, or to none but these; a third opens the mouth or closes the eyes."""
    u = torch.rand(6, len(age), device=age.device)
    older = age + APART + u[0] * (OLDEST - APART - age)
    other = YOUNGEST + u[0] * (age - APART - YOUNGEST).clamp_min(0) if younger else age
    grows = ((u[1] < torch.where(age < 45, 0.8, 0.5)) | (not younger)) & (age < OLDEST - 2 * APART)
    target = torch.where(grows, older, other)
    kind = u[2]
    target = torch.where(kind < 0.7, target, age)
    wanted = aus.clone()
    opens, closes = (kind > 0.6) & (kind < 0.9), kind >= 0.9
    wanted[:, SMILE] = torch.where(opens, AU_MAX * u[3], wanted[:, SMILE])
    wanted[:, PARTED] = torch.where(opens, 1.5 + 3.5 * u[4], wanted[:, PARTED])
    wanted[:, DROPPED] = torch.where(opens, 4 * u[5].square(), wanted[:, DROPPED])
    wanted[:, BLINK] = torch.where(closes, 3.5 + 1.5 * u[3], wanted[:, BLINK])
    return Request(age, target, aus, wanted)


def crop_erased(erased: Erased, cuts: list[Tensor], crop: int) -> Erased:
    """Crops of erased faces, all of the first cut before those of the second; corners are even."""
    half = [at // 2 for at in cuts]
    face, maps = (torch.cat([cut(whole, at, crop) for at in cuts]) for whole in erased[:2])
    return Erased(face, maps, torch.cat([cut(erased.place, at, crop // 2) for at in half]))


def places_of(erased: Erased) -> Tensor:
    """The place of each pixel (B,2,S,S) in -1..1, as readers and the discriminator take it."""
    return F.interpolate(erased.place[:, :2], scale_factor=2.0, mode="bilinear", align_corners=False)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when they are too small or carry no labels."""
    if faces.size < max(2 * recipe.crop, recipe.window):
        raise BadInput(f"the generator draws on faces of 256 px, not of {faces.size}; set size to 256")
    chance = chances(faces, recipe.balance) * interesting(faces, recipe.holes)
    if not chance.sum():
        raise BadInput(
            f"{faces.folder} has no face with an age, landmarks and action units to train an edit on"
        )
    generator = Restorer(**recipe.generator)
    prototypes = load_prototypes(recipe.prototypes)
    generator.use_mean_shape(prototypes.mean_shape)
    perceptual = (
        perceptual_from(recipe.perceptual, recipe.perceptual_input, None) if recipe.perceptual else None
    )
    discriminator = discriminator_of(recipe.discriminator, perceptual)
    judge = load_light(AgeJudge, recipe.judge, "age_judge") if recipe.judge else None
    steering = steering_of(recipe, faces)
    objective = Objective(recipe, generator, discriminator, prototypes, perceptual, steering)
    shown = sheet_faces(Faces(faces.folder, faces.size, ("val",)))
    helpers = [prototypes, *(net for net in (perceptual, judge, steering) if net is not None)]
    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=players(objective),
        batch=lambda step: faces.batch(
            *draw(step, seed, max(recipe.faces, recipe.edits), chance / chance.sum())
        ),
        averaged=("generator",),
        configs={
            "generator": {"kind": "restorer", **recipe.generator},
            "discriminator": recipe.discriminator,
        },
        sheet=lambda networks, path: sheet(networks["generator"], prototypes, shown, path),
        probe=prober(prototypes, steering, judge, shown),
        helpers=tuple(helpers),
        compiled=("generator",),
        watch=watch(recipe.steer_from),
    )


def steering_of(recipe: Recipe, faces: Faces) -> Steering | None:
    """The readers that a recipe names, None where it names none; BadInput for a second one without a first."""
    if not recipe.attribute_reader:
        if recipe.second_reader:
            raise BadInput("recipe.second_reader reads ages beside recipe.attribute_reader; name that too")
        return None
    second = second_reader(recipe.second_reader, faces)
    return load(recipe.attribute_reader, recipe.identity_reader, faces, recipe.radius, recipe.noise, second)


def discriminator_of(keywords: dict[str, Any], perceptual: Perceptual | None) -> Discriminator:
    """The discriminator of a recipe's table, see Recipe; BadInput for another kind, or without features."""
    kind = keywords.get("kind", "pixels")
    widths = {name: value for name, value in keywords.items() if name != "kind"}
    if kind == "pixels":
        return PatchDiscriminator(**widths)
    if kind not in ("features", "both"):
        raise BadInput(f"recipe.discriminator.kind is pixels, features or both, not {kind!r}")
    if perceptual is None:
        raise BadInput(
            "a discriminator on features needs a network that has them: --set recipe.perceptual=SQUEEZENET"
        )
    try:
        return (BothDiscriminator if kind == "both" else FeatureDiscriminator)(perceptual, **widths)
    except TypeError as error:
        raise BadInput(f"recipe.discriminator of the kind {kind}: {error}") from None


def interesting(faces: Faces, holes: float) -> np.ndarray:
    """(N,) how much more often faces with an open mouth or closed eyes are drawn."""
    aus = np.nan_to_num(faces.labels["action_units"])
    opened = (aus[:, PARTED] > 1.5).astype(float) + (aus[:, DROPPED] > 1.5)
    return 1 + holes * (opened + 2.0 * (aus[:, BLINK] > 2.5))


def players(objective: Objective) -> list[Player]:
    """The generator, then the discriminator on what it drew."""
    recipe = objective.recipe
    return [
        Player(
            "generator",
            objective.generator,
            objective.generate,
            recipe.lr_generator,
            (0.5, 0.99),
            weights=objective.weights,
        ),
        Player(
            "discriminator",
            objective.discriminator,
            objective.discriminate,
            recipe.lr_discriminator,
            (0.5, 0.99),
            start=max(recipe.adversarial_from - 100, 0),
            precise=True,
            weights=objective.discriminator_weights,
        ),
    ]
