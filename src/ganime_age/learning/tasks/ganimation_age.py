"""Training GANimation-age against frozen robust readers and a conditional patch discriminator.

Faces are cropped around the face before the generator, so that it spends its work there; readers see the crop put
back into the frame. Every loss term has a name, a weight in the recipe and a place in the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import AU_CODES
from ...errors import BadInput
from ...networks.ganimation_age import Discriminator, Generator
from ...networks.layers import Edited
from ...networks.readers import Readers, Readings
from .. import losses
from ..data.augment import moved_alike, random_affine, random_colour
from ..data.faces import Faces, balanced_weights, draw
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .edit_requests import Request, ask, crop_corners, cut, put_back, seen
from .frozen import Calibration, load_prototypes, load_readers
from .probes import CollapseLimits, Edit, prober
from .sheets import edit_sheet


@dataclass
class Recipe:
    """Numbers of a recipe. readers, prototypes, judge: folders with what training/recipes/readers_robust.toml,
    prototypes.toml and age_judge.toml made; the judge only watches, and may be "". wrong, heads, r1: weights of the
    discriminator's terms. weights: every term's weight at the start, weights_end: of those that differ after
    ramp_steps."""

    readers: str = "training/checkpoints/readers_robust"
    prototypes: str = "src/ganime_age/weights"
    judge: str = "training/checkpoints/age_judge"
    batch: int = 16
    lr_generator: float = 3e-4
    lr_discriminator: float = 4e-4
    balance: float = 0.6
    crop: int = 96
    cycle_share: float = 0.25
    r1: float = 1.0
    r1_every: int = 16
    wrong: float = 0.5
    heads: float = 0.1
    mask_band: tuple[float, float] = (0.04, 0.5)
    ramp_steps: int = 600
    age_noise: float = 3.0
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    weights_end: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """Weights of the generator's terms; see the methods of `Objective` that name them."""

    adversarial: float = 0.0
    head_age: float = 0.0
    head_aus: float = 0.0
    age: float = 0.0
    action_units: float = 0.0
    identity: float = 0.0
    pose: float = 0.0
    still: float = 0.0
    change: float = 0.0
    colour: float = 0.0
    mask_band: float = 0.0
    mask_smooth: float = 0.0
    cycle: float = 0.0


class Handed(NamedTuple):
    """What the generator hands to the discriminator: crops of the faces and of what of them is real, the edits of the
    crops (B,C,crop,crop), and the request."""

    face: Tensor
    valid: Tensor
    edit: Tensor
    request: Request


class Objective:
    """The losses of both players over one generator, one discriminator and the frozen robust readers."""

    def __init__(
        self,
        recipe: Recipe,
        generator: Generator,
        discriminator: Discriminator,
        readers: Readers,
        calibration: Calibration,
    ):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.readers, self.calibration = readers, calibration
        self.start = fill(Weights, recipe.weights, "[recipe.weights] table")
        later = recipe.weights | recipe.weights_end
        self.end = fill(Weights, later, "[recipe.weights_end] table")

    def weights(self, number: int) -> dict[str, float]:
        """A step's weights of the generator's terms: from weights to weights_end over ramp_steps."""
        fraction = min(number / max(self.recipe.ramp_steps, 1), 1.0)
        end = vars(self.end)
        return {name: low + (end[name] - low) * fraction for name, low in vars(self.start).items()}

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """A step's weights of the discriminator's terms; R1 makes up for the steps in which it is left out."""
        heads, r1 = self.recipe.heads, self.recipe.r1 * self.recipe.r1_every
        return {"d_pairs": 1.0, "d_wrong": self.recipe.wrong, "d_age": heads, "d_aus": heads, "d_r1": r1}

    def discriminate(self, step: Step[Handed]) -> Losses:
        """Each face beside the generator's edit of it, beside itself under a wrong age or wrong action units, heads on
        the real faces, lazy R1."""
        d, (face, valid, fake, request), age = self.discriminator, step.handed(), step.batch["age"]
        real, fake, valid = moved_alike(face, fake, valid)
        real.requires_grad_(step.number % self.recipe.r1_every == 0)
        features = d.features(real, valid)
        true = d.score(features, age, request.source_aus)
        false = d.score(d.features(fake, valid), request.target_age, request.target_aus)
        terms = {"d_pairs": losses.relativistic(true, false)}
        terms["d_wrong"] = self.wrong(true, features, age, request.source_aus)
        read_age, read_aus = d.readings(features)
        terms["d_age"] = losses.huber(read_age / losses.DECADE - age / losses.DECADE)
        terms["d_aus"] = losses.huber(seen(read_aus - request.source_aus))
        if real.requires_grad:
            terms["d_r1"] = losses.gradient_penalty(true, real)
        return losses.weighted_sum(terms, self.discriminator_weights(step.number))

    def wrong(self, true: Tensor, features: Tensor, age: Tensor, aus: Tensor) -> Tensor:
        """A real face under its own label must beat itself under an age at least 12 years off, or under another
        face's action units. true (B,1,h,w): its own scores."""
        score = self.discriminator.score
        off = (age - age.roll(1)).abs() > 12
        moved = (aus - aus.roll(1, 0)).abs().sum(1) > 5
        by_age = losses.mismatched(score(features, age.roll(1), aus), true, off)
        by_aus = losses.mismatched(score(features, age, aus.roll(1, 0)), true, moved)
        return by_age + by_aus

    def generate(self, step: Step[Handed]) -> Losses:
        """The generator's loss: realism, the readings of the request, and everything that is to stay."""
        batch, crop, weights = step.batch, self.recipe.crop, self.weights(step.number)
        request = ask(batch, self.recipe.age_noise)
        corners = crop_corners(batch["valid"], crop)
        face, valid = cut(batch["face"], corners, crop), cut(batch["valid"], corners, crop)
        with torch.no_grad():
            base = self.generator.prototypes(batch["face"], batch["landmarks"], *request[:4])
        base = cut(base, corners, crop)
        edited = self.generator(base, *request[:4])
        step.result = Handed(face, valid, edited.face.detach(), request)
        frame = put_back(batch["face"], edited.face, corners)
        terms = (
            self.adversary(face, edited, valid, batch["age"], request)
            | self.reading_terms(frame, batch, request)
            | self.kept(base, edited, valid, request)
        )
        if weights["cycle"] > 0:
            some = slice(0, max(1, round(self.recipe.cycle_share * len(face))))
            back = self.generator(edited.face[some], *(request[i][some] for i in (1, 0, 3, 2)))
            terms["cycle"] = losses.masked_l1(back.face, base[some], valid[some])
        return losses.weighted_sum(terms, weights, shown={"mask": edited.attention.mean()})

    def adversary(
        self, face: Tensor, edited: Edited, valid: Tensor, age: Tensor, request: Request
    ) -> dict[str, Tensor]:
        """The discriminator's scores of the edited faces beside their sources, and what its heads read on them."""
        d = self.discriminator
        real, fake, valid = moved_alike(face, edited.face, valid)
        with torch.no_grad():
            true = d.score(d.features(real, valid), age, request.source_aus)
        features = d.features(fake, valid)
        read_age, aus = d.readings(features)
        score = d.score(features, request.target_age, request.target_aus)
        return {
            "adversarial": losses.relativistic(score, true),
            "head_age": losses.huber(read_age / losses.DECADE - request.target_age / losses.DECADE),
            "head_aus": losses.huber(seen(aus - request.target_aus)),
        }

    def reading_terms(self, frame: Tensor, batch: dict[str, Tensor], request: Request) -> dict[str, Tensor]:
        """What the robust readers say of augmented copies, beside what they say of real faces of that kind."""
        read, calibration = self.read(frame), self.calibration
        with torch.no_grad():
            before = self.readers(batch["face"])
        units = calibration.action_units(request.target_aus)
        weight = losses.age_gap_weight(request.source_age, request.target_age)
        return {
            "age": losses.age_l1(read.age, calibration.age(request.target_age)) / losses.DECADE,
            "action_units": losses.trusted_units(
                read.action_units, units, calibration.au_spread, calibration.au_trust
            ),
            "identity": losses.identity_loss(before.identity, read.identity, weight),
            "pose": losses.pose_l1(read.pose, before.pose),
        }

    def read(self, frame: Tensor) -> Readings:
        """The robust readers on a copy that is shifted, scaled, turned and in half of the cases grey."""
        seen, _ = random_affine(frame, None, turn=4, zoom=0.06, shift=0.02)
        return self.readers(random_colour(seen, 0.3, grey=0.5))

    def kept(self, face: Tensor, edited: Edited, valid: Tensor, request: Request) -> dict[str, Tensor]:
        """What an edit must leave: pixels where the age stays, overall colours, a calm mask."""
        still = (~request.ages_moves).float()[:, None, None, None]
        return {
            "still": losses.masked_l1(face, edited.face, valid * still),
            "change": losses.masked_l1(face, edited.face, valid),
            "colour": losses.coarse_colour(face, edited.face),
            "mask_band": losses.band(edited.attention.mean(), *self.recipe.mask_band),
            "mask_smooth": losses.total_variation(edited.attention),
        }


def usable(faces: Faces) -> np.ndarray:
    """(N,) bool: a known age and action units, the head turned by at most 40 degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= 40) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["action_units"][:, AU_CODES.index("AU12")])


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of GANimation-age on the faces of a folder."""
    readers = load_readers(recipe.readers)
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    generator.prototypes = load_prototypes(recipe.prototypes)
    objective = Objective(recipe, generator, discriminator, readers, Calibration.measure(readers, faces))
    chance = np.where(usable(faces), balanced_weights(faces.labels["age"], recipe.balance), 0)
    if not chance.sum():
        raise BadInput(f"{faces.folder} has no face with an age and action units to train an edit on")
    shown = sheet_faces(Faces(faces.folder, faces.size, ("val",)))
    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=players(objective),
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance / chance.sum())),
        averaged=("generator",),
        configs={"generator": recipe.generator, "discriminator": recipe.discriminator},
        sheet=lambda networks, path: edit_sheet(cast(Generator, networks["generator"]), shown, path),
        probe=prober("generator", edits, readers, recipe.judge, shown),
        helpers=(readers, objective.calibration),
        compiled=("generator",),
        watch=CollapseLimits().watch(),
    )


def players(objective: Objective) -> list[Player]:
    """The generator, then the discriminator on its edits."""
    recipe = objective.recipe
    return [
        Player(
            "generator",
            objective.generator,
            objective.generate,
            recipe.lr_generator,
            (0.0, 0.99),
            weights=objective.weights,
        ),
        Player(
            "discriminator",
            objective.discriminator,
            objective.discriminate,
            recipe.lr_discriminator,
            (0.5, 0.99),
            precise=True,
            weights=objective.discriminator_weights,
        ),
    ]


def edits(network: nn.Module, faces: dict[str, Tensor]) -> Edit:
    """The edits of a generator on fixed faces, for the probe."""
    generator = cast(Generator, network)

    def edit(face: Tensor, *request: Tensor) -> Edited:
        return generator(generator.prototypes(face, faces["landmarks"], *request), *request)

    return edit


def sheet_faces(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed, mixed handful of held-out faces: whole frames first, of many ages."""
    good = usable(faces) & (np.abs(faces.labels["pose"][:, 0]) < 20)
    sources = faces.table["source"].to_numpy()
    order = np.lexsort((faces.labels["age"], sources == "utkface"))
    picks = [i for i in order if good[i]]
    return faces.batch(np.array(picks[:: max(1, len(picks) // count)][:count]))
