"""Training GANimation-age against frozen robust readers and a conditional patch discriminator.

Faces are cropped around the face before the generator, so that it spends its work there; readers see the crop put
back into the frame. Every loss term has a name, a weight in the recipe and a place in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...edits import AU_CODES
from ...errors import BadInput
from ...networks.age_judge import AgeJudge
from ...networks.ganimation_age import Discriminator, Generator
from ...networks.layers import Edited
from ...networks.prototypes import Prototypes
from ...networks.readers import Readers, Readings
from .. import losses
from ..data.augment import random_affine, random_colour
from ..data.faces import Faces, balanced_weights, draw
from ..engine.checkpoints import load_light
from ..engine.recipe import fill
from ..engine.task import Player, Task
from .calibration import Calibration
from .edit_requests import SEEN, Request, ask, crop_corners, cut, moved_alike, put_back
from .probes import probe_edits
from .sheets import edit_sheet


@dataclass
class Recipe:
    """Numbers of a recipe. readers, prototypes, judge: folders with what training/recipes/readers_robust.toml,
    prototypes.toml and age_judge.toml made; the judge only watches, and may be "". weights: every term's weight at the
    start, weights_end: of those that are another after ramp_steps."""

    readers: str = "training/checkpoints/readers_robust"
    prototypes: str = "training/checkpoints/prototypes"
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
    """How much each term of the generator's loss counts; see the methods of `Objective` that name them."""

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


class Judged(NamedTuple):
    """What the age judge says: age (B,) in years."""

    age: Tensor


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

    def weight(self, name: str, step: int) -> float:
        """This step's weight of a term: from weights to weights_end over ramp_steps; 0 for what is only shown."""
        start, end = getattr(self.start, name, 0.0), getattr(self.end, name, 0.0)
        return start + (end - start) * min(step / max(self.recipe.ramp_steps, 1), 1.0)

    def discriminate(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        """Each face of the batch against its own edit that `generate` saw last, against itself under a wrong age or
        wrong action units, heads on the real faces, lazy R1."""
        d, (face, valid, fake, asked) = self.discriminator, batch["shown"]
        real, fake, valid = moved_alike(face, fake, valid)
        real.requires_grad_(step % self.recipe.r1_every == 0)
        features = d.features(real, valid)
        true = d.score(features, batch["age"], asked.source_aus)
        false = d.score(d.features(fake, valid), asked.target_age, asked.target_aus)
        terms = {"d_pairs": losses.relativistic(true, false)}
        terms["d_wrong"] = self.recipe.wrong * self.wrong(true, features, batch["age"], asked.source_aus)
        age, aus = d.readings(features)
        terms["d_age"] = self.recipe.heads * F.smooth_l1_loss(age / 10, batch["age"] / 10)
        terms["d_aus"] = self.recipe.heads * F.smooth_l1_loss(aus[:, SEEN], asked.source_aus[:, SEEN])
        if real.requires_grad:
            terms["d_r1"] = self.recipe.r1 * self.recipe.r1_every * losses.gradient_penalty(true, real)
        return reduce(torch.add, terms.values()), {
            name: float(value.detach()) for name, value in terms.items()
        }

    def wrong(self, true: Tensor, features: Tensor, age: Tensor, aus: Tensor) -> Tensor:
        """A real face under its own label must beat itself under an age at least 12 years off, or under another
        face's action units. true (B,1,h,w): its own scores."""
        off = (age - age.roll(1)).abs() > 12
        moved = (aus - aus.roll(1, 0)).abs().sum(1) > 5
        by_age = F.softplus(self.discriminator.score(features, age.roll(1), aus) - true).mean((1, 2, 3)) * off
        by_aus = (
            F.softplus(self.discriminator.score(features, age, aus.roll(1, 0)) - true).mean((1, 2, 3)) * moved
        )
        return by_age.mean() + by_aus.mean()

    def generate(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, float]]:
        """The generator's loss: realism, the readings asked for, and everything that is to stay."""
        asked = ask(batch, self.recipe.age_noise)
        corners = crop_corners(batch["valid"], self.recipe.crop)
        face, valid = (
            cut(batch["face"], corners, self.recipe.crop),
            cut(batch["valid"], corners, self.recipe.crop),
        )
        with torch.no_grad():
            moved = self.generator.prototypes(batch["face"], batch["landmarks"], *asked[:4])
        moved = cut(moved, corners, self.recipe.crop)
        edited = self.generator(moved, *asked[:4])
        batch["shown"] = (face, valid, edited.face.detach(), asked)
        frame = put_back(batch["face"], edited.face, corners)
        terms = (
            self.adversary(face, edited, valid, batch["age"], asked)
            | self.reached(frame, batch, asked)
            | self.kept(moved, edited, valid, asked)
        )
        quarter = slice(0, max(1, round(self.recipe.cycle_share * len(face))))
        if self.weight("cycle", step) > 0:
            back = self.generator(edited.face[quarter], *(asked[i][quarter] for i in (1, 0, 3, 2)))
            terms["cycle"] = losses.masked_l1(back.face, moved[quarter], valid[quarter])
        total = reduce(torch.add, (self.weight(name, step) * value for name, value in terms.items()))
        watch = {"mask": float(edited.attention.detach().mean())}
        return total, {name: float(value.detach()) for name, value in terms.items()} | watch

    def adversary(
        self, face: Tensor, edited: Edited, valid: Tensor, age: Tensor, asked: Request
    ) -> dict[str, Tensor]:
        """What the discriminator says of the edited faces beside their sources, and what its heads read on them."""
        real, fake, valid = moved_alike(face, edited.face, valid)
        with torch.no_grad():
            true = self.discriminator.score(self.discriminator.features(real, valid), age, asked.source_aus)
        features = self.discriminator.features(fake, valid)
        read_age, aus = self.discriminator.readings(features)
        return {
            "adversarial": losses.relativistic(
                self.discriminator.score(features, asked.target_age, asked.target_aus), true
            ),
            "head_age": F.smooth_l1_loss(read_age / 10, asked.target_age / 10),
            "head_aus": F.smooth_l1_loss(aus[:, SEEN], asked.target_aus[:, SEEN]),
        }

    def reached(self, frame: Tensor, batch: dict[str, Tensor], asked: Request) -> dict[str, Tensor]:
        """What the robust readers say, on jittered and often grey copies, beside what real faces of that kind read."""
        read = self.read(frame)
        with torch.no_grad():
            before = self.readers(batch["face"])
        wanted_age = self.calibration.age(asked.target_age)
        wanted_aus = self.calibration.action_units(asked.target_aus)
        error = (read.action_units - wanted_aus) / self.calibration.au_spread.to(frame.device)
        trust = self.calibration.au_trust.to(frame.device)
        weight = losses.age_gap_weight(asked.source_age, asked.target_age)
        return {
            "age": (read.age - wanted_age).abs().mean() / 10,
            "action_units": (trust * F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none"))
            .sum(1)
            .mean()
            / trust.sum(),
            "identity": losses.identity_loss(before.identity, read.identity, weight),
            "pose": ((read.pose[:, :2] - before.pose[:, :2]).abs().mean()) / 10,
        }

    def read(self, frame: Tensor) -> Readings:
        """The robust readers on a copy that is shifted, scaled, turned and often grey."""
        seen, _ = random_affine(frame, None, turn=4, zoom=0.06, shift=0.02)
        return self.readers(random_colour(seen, 0.3, grey=0.5))

    def kept(self, face: Tensor, edited: Edited, valid: Tensor, asked: Request) -> dict[str, Tensor]:
        """What painting must leave: pixels where no age is asked, overall colours, a calm mask."""
        still = (~asked.ages_moves).float()[:, None, None, None]
        return {
            "still": losses.masked_l1(face, edited.face, valid * still),
            "change": losses.masked_l1(face, edited.face, valid),
            "colour": losses.coarse_colour(face, edited.face),
            "mask_band": losses.band(edited.attention.mean(), *self.recipe.mask_band),
            "mask_smooth": losses.total_variation(edited.attention),
        }


def load_readers(folder: str) -> Readers:
    """Frozen readers of a light copy; BadInput names what is missing, damaged or does not fit."""
    return load_light(Readers, folder, "readers").requires_grad_(False)


def usable(faces: Faces) -> np.ndarray:
    """(N,) bool: a known age and action units, the head turned by at most 40 degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= 40) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["action_units"][:, AU_CODES.index("AU12")])


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of GANimation-age on the faces of a folder."""
    readers = load_readers(recipe.readers)
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    generator.prototypes = load_light(Prototypes, recipe.prototypes, "prototypes").requires_grad_(False)
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
        probe=prober(readers, recipe.judge, shown),
        helpers=(readers,),
        compiled=("generator",),
    )


def players(objective: Objective) -> list[Player]:
    """The generator, then the discriminator on what it made."""
    recipe, made, judge = objective.recipe, objective.generator, objective.discriminator
    generate, discriminate = objective.generate, objective.discriminate
    rates = recipe.lr_generator, recipe.lr_discriminator
    return [
        Player("generator", made, generate, rates[0], (0.0, 0.99), weight=objective.weight),
        Player("discriminator", judge, discriminate, rates[1], (0.5, 0.99), precise=True),
    ]


def prober(
    readers: Readers, judge: str, faces: dict[str, Tensor]
) -> Callable[[dict[str, Any]], dict[str, float]]:
    """What the collapse watch measures: edits of fixed faces, by the readers trained against and by the age judge of
    the folder `judge`, if one is named. BadInput when it cannot be loaded."""
    watcher: Callable[[Tensor], Judged] | None = None
    if judge:
        judge_network = load_light(AgeJudge, judge, "age_judge")
        watcher = lambda face: Judged(judge_network.to(face.device)(face))  # noqa: E731

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        generator = cast(Generator, networks["generator"])
        device = next(generator.parameters()).device
        given = {name: value.to(device) for name, value in faces.items()}

        def edit(face: Tensor, *asked: Tensor) -> Edited:
            return generator(generator.prototypes(face, given["landmarks"], *asked), *asked)

        return probe_edits(edit, readers, watcher, given)

    return probe


def sheet_faces(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed, mixed handful of held-out faces: whole frames first, of many ages."""
    good = usable(faces) & (np.abs(faces.labels["pose"][:, 0]) < 20)
    sources = faces.table["source"].to_numpy()
    order = np.lexsort((faces.labels["age"], sources == "utkface"))
    picks = [i for i in order if good[i]]
    return faces.batch(np.array(picks[:: max(1, len(picks) // count)][:count]))
