"""Training GANimation-age against frozen robust readers and a conditional patch discriminator.

Faces are cropped around the face before the generator, so that it spends its work there; readers see the crop put
back into the frame. Every loss term has a name, a weight in the recipe and a place in the log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ..edits import AU_CODES, AU_MAX, AU_UNSEEN
from ..errors import BadInput
from ..networks.ganimation import Discriminator, Edited, Generator
from ..networks.readers import Readers, Readings
from . import losses
from .augment import random_affine, random_colour
from .calibration import Calibration
from .data import Faces, balanced_weights, draw
from .expressions import fit_motion
from .loop import Player, Task
from .sheets import edit_sheet

SEEN = torch.tensor([code not in AU_UNSEEN for code in AU_CODES])


@dataclass
class Recipe:
    """Numbers of a recipe. weights and weights_end: every term's weight at the start and after ramp_steps.
    motion_gain: least squares on noisy labels finds too little motion; this much more is used."""

    readers: str = "training/checkpoints/readers_robust"
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
    motion_gain: float = 1.6
    generator: dict = field(default_factory=dict)
    discriminator: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    weights_end: dict = field(default_factory=dict)


class Request(NamedTuple):
    """What is asked of a batch: ages (B,) in years, action units (B,17), and whether the age moves (B,)."""

    source_age: Tensor
    target_age: Tensor
    source_aus: Tensor
    target_aus: Tensor
    ages_moves: Tensor


def ask(batch: dict[str, Tensor], age_noise: float) -> Request:
    """Draw edits: 35 % of the age, 45 % of action units, 20 % of both.

    Half of the action-unit targets are another face's whole expression (GANimation), half move one to three units.
    """
    b, aus = len(batch["age"]), batch["action_units"].nan_to_num(0.0)
    device = aus.device
    kind = torch.rand(b, device=device)
    age_moves, aus_move = (kind < 0.35) | (kind > 0.8), kind >= 0.35
    source = (batch["age"] + age_noise * torch.randn(b, device=device)).clamp(0, 100)
    target = torch.where(age_moves, 1 + 84 * torch.rand(b, device=device), source)
    other = (aus.roll(1, 0) + 0.3 * torch.randn_like(aus)).clamp(0, AU_MAX)
    few = torch.rand(b, len(AU_CODES), device=device) < 0.13
    single = torch.where(few, AU_MAX * torch.rand_like(aus), aus)
    wanted = torch.where((torch.rand(b, 1, device=device) < 0.5), other, single)
    return Request(
        source, target, aus, torch.where(aus_move[:, None] & SEEN.to(device), wanted, aus), age_moves
    )


def crop_corners(valid: Tensor, crop: int) -> list[tuple[int, int]]:
    """Top-left corner of each face's crop: around the face, or anywhere in the frame where the whole frame is real."""
    side = valid.shape[-1]
    free, corners = side - crop, []
    for share in valid.mean((1, 2, 3)).tolist():
        x, y = torch.rand(2).tolist()
        if share > 0.8 and torch.rand(()) < 0.3:
            corners.append((round(y * free), round(x * free)))
        else:
            corners.append((round((0.5 + 0.5 * y) * free), round((0.3 + 0.4 * x) * free)))
    return corners


def cut(frames: Tensor, corners: list[tuple[int, int]], crop: int) -> Tensor:
    """(B,C,S,S) -> (B,C,crop,crop), each at its own corner."""
    return torch.stack([f[:, y : y + crop, x : x + crop] for f, (y, x) in zip(frames, corners, strict=True)])


def put_back(frames: Tensor, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    """The frames with the crops in their places; the gradient flows to the crops."""
    side, crop = frames.shape[-1], crops.shape[-1]
    padded = [
        F.pad(c, (x, side - crop - x, y, side - crop - y)) for c, (y, x) in zip(crops, corners, strict=True)
    ]
    inside = torch.zeros(len(frames), 1, side, side, device=frames.device)
    for i, (y, x) in enumerate(corners):
        inside[i, :, y : y + crop, x : x + crop] = 1
    return frames * (1 - inside) + torch.stack(padded)


def moved_alike(face: Tensor, fake: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DiffAugment's translation (Zhao et al. 2020), with turns and scales: a face and its edit move in the same way."""
    seen, _ = random_affine(torch.cat([face, fake, valid], 1), None, turn=5, zoom=0.08, shift=0.06)
    return seen[:, :3], seen[:, 3:6], seen[:, 6:]


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
        self.shown: tuple[Tensor, Tensor, Tensor, Request] | None = None

    def weight(self, name: str, step: int) -> float:
        """This step's weight of a term: from weights to weights_end over ramp_steps."""
        start = self.recipe.weights.get(name, 0.0)
        end = self.recipe.weights_end.get(name, start)
        return start + (end - start) * min(step / max(self.recipe.ramp_steps, 1), 1.0)

    def discriminate(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        """Each face of the batch against its own edit that `generate` saw last, against itself under a wrong age or
        wrong action units, heads on the real faces, lazy R1."""
        d, (face, valid, fake, asked) = self.discriminator, self.shown
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
        return sum(terms.values()), {name: float(value.detach()) for name, value in terms.items()}

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

    def generate(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, float]]:
        """The generator's loss: realism, the readings asked for, and everything that is to stay."""
        asked = ask(batch, self.recipe.age_noise)
        corners = crop_corners(batch["valid"], self.recipe.crop)
        face, valid = (
            cut(batch["face"], corners, self.recipe.crop),
            cut(batch["valid"], corners, self.recipe.crop),
        )
        change = asked.target_aus - asked.source_aus
        moved = self.generator.motion(batch["face"], batch["landmarks"], change)
        moved = cut(moved, corners, self.recipe.crop)
        edited = self.generator(moved, *asked[:4])
        self.shown = (face, valid, edited.face.detach(), asked)
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
        total = sum(self.weight(name, step) * value for name, value in terms.items())
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
        """What painting must leave of the moved face: pixels where no age is asked, overall colours, a calm mask."""
        still = (~asked.ages_moves).float()[:, None, None, None]
        return {
            "still": losses.masked_l1(face, edited.face, valid * still),
            "change": losses.masked_l1(face, edited.face, valid),
            "colour": losses.coarse_colour(face, edited.face),
            "mask_band": losses.band(edited.attention.mean(), *self.recipe.mask_band),
            "mask_smooth": losses.total_variation(edited.attention),
        }


def load_readers(folder: str) -> Readers:
    """Frozen readers from `readers.json` and `readers.safetensors`; BadInput names what is missing."""
    path = Path(folder)
    for name in ("readers.json", "readers.safetensors"):
        if not (path / name).is_file():
            raise BadInput(f"{path / name} is missing; train training/recipes/readers_robust.toml first")
    readers = Readers(**json.loads((path / "readers.json").read_text()))
    readers.load_state_dict(
        {
            k: v.float() if v.is_floating_point() else v
            for k, v in load_file(path / "readers.safetensors").items()
        }
    )
    return readers.eval().requires_grad_(False)


def usable(faces: Faces) -> np.ndarray:
    """(N,) bool: a known age and action units, the head turned by at most 40 degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= 40) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["action_units"][:, AU_CODES.index("AU12")])


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of GANimation-age on the faces of a folder."""
    readers = load_readers(recipe.readers)
    generator, discriminator = Generator(**recipe.generator), Discriminator(**recipe.discriminator)
    generator.motion.per_unit.copy_(recipe.motion_gain * fit_motion(faces))
    objective = Objective(
        recipe,
        generator,
        discriminator,
        readers,
        Calibration.measure(readers, faces),
    )
    chance = np.where(usable(faces), balanced_weights(faces.labels["age"], recipe.balance), 0)
    if not chance.sum():
        raise BadInput(f"{faces.folder} has no face with an age and action units to train an edit on")
    held_out = Faces(faces.folder, faces.size, ("val",))
    shown = sheet_faces(held_out)
    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=[
            Player("generator", generator, objective.generate, recipe.lr_generator, (0.0, 0.99)),
            Player(
                "discriminator", discriminator, objective.discriminate, recipe.lr_discriminator, (0.5, 0.99)
            ),
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance / chance.sum())),
        averaged=("generator",),
        configs={"generator": recipe.generator, "discriminator": recipe.discriminator},
        sheet=lambda networks, path: edit_sheet(networks["generator"], shown, path),
    )


def sheet_faces(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed, mixed handful of held-out faces: whole frames first, of many ages."""
    good = usable(faces) & (np.abs(faces.labels["pose"][:, 0]) < 20)
    sources = faces.table["source"].to_numpy()
    order = np.lexsort((faces.labels["age"], sources == "utkface"))
    picks = [i for i in order if good[i]]
    return faces.batch(np.array(picks[:: max(1, len(picks) // count)][:count]))
