"""Training the face generator of the dual generator: from a mesh's rendering to the target's photo.

The shape generator has a recipe of its own (dual_shape.toml); its weights, if there are any, are carried along. Readers
are frozen, and robust where they are trained against. A term that compares pixels counts where the target is exactly
what is asked; two photos of a person differ in light and hair, so there it looks at the face alone, in its colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import BadInput
from ...networks.dual_generator import Discriminator, DualGenerator, dots
from ...networks.ganimation_age import Generator
from ...networks.layers import Edited
from ...networks.mirror import mirrored_landmarks
from ...networks.perceptual import perceptual_from
from ...networks.readers import Readers, Readings
from .. import losses
from ..data.augment import moved_alike
from ..data.faces import Faces
from ..data.joined_faces import sources_of
from ..engine.checkpoints import fit, load_light, read_network
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .dual_pairs import KINDS, Pairs, Shares
from .edit_requests import seen
from .frozen import load_head, load_readers
from .sheets import as_picture, save_grid

OUTSIDE, UNSEEN = 0.2, 3.0
"""Pixel weights of the reconstruction beside 1 in the face: outside it, and what is added where the source's
surface was hidden."""


@dataclass
class Recipe:
    """Numbers of a recipe. head: a weights folder with a head model, "" for the shipped one. shape, expressive,
    readers: folders with what dual_shape.toml, ganimation_age.toml and readers_robust.toml made; shape may be "", then
    the shape generator is the head model's answer. shares: how often each kind of pair comes. creases, noise: see
    Pairs. network, discriminator: keywords of both."""

    head: str = ""
    shape: str = "training/checkpoints/dual_shape"
    expressive: str = "training/checkpoints/ganimation_age"
    readers: str = "training/checkpoints/readers_robust"
    batch: int = 12
    lr_generator: float = 6e-4
    lr_discriminator: float = 1.5e-3
    creases: bool = True
    noise: float = 0.001
    r1: float = 0.5
    r1_every: int = 16
    ramp_steps: int = 200
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


@dataclass
class Weights:
    """Weights of the generator's terms; see the methods of `Objective` that name them."""

    adversarial: float = 0.3
    reconstruction: float = 10.0
    person: float = 0.5
    perceptual: float = 2.0
    identity: float = 1.0
    landmarks: float = 30.0
    action_units: float = 2.0
    pose: float = 1.0


class Objective:
    """The losses of both players over one face generator, one discriminator and the frozen robust readers."""

    def __init__(
        self, recipe: Recipe, generator: DualGenerator, discriminator: Discriminator, readers: Readers
    ):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.readers, self.perceptual = readers, perceptual_from("", "rgb", readers)
        self.weights = fill(Weights, recipe.weights, "[recipe.weights] table")

    def weights_at(self, number: int) -> dict[str, float]:
        """A step's weights of the generator's terms; the adversary's grows over the first ramp_steps."""
        ramp = min(number / max(self.recipe.ramp_steps, 1), 1.0)
        return vars(self.weights) | {"adversarial": self.weights.adversarial * ramp}

    def discriminator_weights(self, number: int) -> dict[str, float]:
        """1, and R1's, which makes up for the steps in which it is left out."""
        return {"d_pairs": 1.0, "d_r1": self.recipe.r1 * self.recipe.r1_every}

    def generate(self, step: Step[Tensor]) -> Losses:
        """The generator's loss: the target's pixels, features and readings, and realism. Leaves its faces (B,3,S,S)."""
        batch = step.batch
        edited = generated(self.generator, batch)
        step.result = edited.face.detach()
        with torch.no_grad():
            goal, before = self.readers(batch["target"]), self.readers(batch["source"])
        real, fake, valid, lines = alike(batch, edited.face)
        read = self.readers(edited.face)
        terms = pixel_terms(batch, edited.face) | reading_terms(read, goal, known(batch, goal, before))
        terms |= {
            "perceptual": self.perceptual(edited.face, batch["target"]),
            "adversarial": losses.relativistic(
                self.discriminator(fake, valid, lines), self.discriminator(real, valid, lines)
            ),
        }
        rendered = pixel_terms(batch, batch["rendered"])["reconstruction"]
        shown = {"painted": edited.attention.mean(), "drawn": rendered}
        return losses.weighted_sum(terms, self.weights_at(step.number), shown)

    def discriminate(self, step: Step[Tensor]) -> Losses:
        """Each target against the generator's face, lazy R1."""
        real, fake, valid, lines = alike(step.batch, step.handed())
        real.requires_grad_(step.number % self.recipe.r1_every == 0)
        true, false = (self.discriminator(face, valid, lines) for face in (real, fake))
        terms = {"d_pairs": losses.relativistic(true, false)}
        if real.requires_grad:
            terms["d_r1"] = losses.gradient_penalty(true, real)
        return losses.weighted_sum(terms, self.discriminator_weights(step.number))


def generated(generator: DualGenerator, batch: dict[str, Tensor]) -> Edited:
    """The face generator on a batch of Pairs."""
    return generator.face(*(batch[name] for name in ("rendered", "seen", "source", "target_landmarks")))


def pixel_terms(batch: dict[str, Tensor], face: Tensor) -> dict[str, Tensor]:
    """reconstruction: L1 to exact targets, most of all in the face. person: L1 to another photo of the person, in the
    face alone and in its colours. Faces (B,3,S,S); means over the weighted pixels of the pairs that a term is for."""
    other = (batch["kind"] == KINDS.index("people")).float()[:, None, None, None]
    region, valid = batch["face"], batch["valid"]
    exact = valid * (OUTSIDE + (1 - OUTSIDE) * region + UNSEEN * (1 - batch["seen"])) * (1 - other)
    person = region * valid * other
    return {
        "reconstruction": losses.weighted_l1(face, batch["target"], exact),
        "person": losses.recoloured_l1(face, batch["target"], batch["rendered"], region, person),
    }


def known(batch: dict[str, Tensor], goal: Readings, before: Readings) -> Tensor:
    """The identity (B,128) to keep: the target's where it is exact, else the source's, since light changes it."""
    return torch.where((batch["kind"] == KINDS.index("people"))[:, None], before.identity, goal.identity)


def reading_terms(read: Readings, goal: Readings, identity: Tensor) -> dict[str, Tensor]:
    """Readings of the result beside those of the target, and the identity (B,128) to keep."""
    units = seen(read.action_units - goal.action_units)
    return {
        "identity": losses.identity_loss(identity, read.identity, torch.ones_like(read.age)),
        "landmarks": losses.pixel_l1(read.landmarks, goal.landmarks),
        "action_units": losses.huber(units),
        "pose": losses.pose_l1(read.pose, goal.pose),
    }


def alike(batch: dict[str, Tensor], face: Tensor) -> list[Tensor]:
    """Targets, generated faces, their valid area and the landmarks' planes, all moved in the same way."""
    lines = dots(batch["target_landmarks"], face.shape[-1])
    return [part.contiguous() for part in moved_alike(batch["target"], face, batch["valid"], lines)]


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of the face generator on the faces of a folder."""
    head = load_head(recipe.head)
    readers = load_readers(recipe.readers)
    generator, discriminator = DualGenerator(head, **recipe.network), Discriminator(**recipe.discriminator)
    generator.shape.requires_grad_(False)
    if recipe.shape:
        load_part(generator.shape, recipe.shape, "shape")
    objective = Objective(recipe, generator, discriminator, readers)
    expressive = load_light(Generator, recipe.expressive, "generator").requires_grad_(False)
    numbers = (fill(Shares, recipe.shares, "[recipe.shares] table"), recipe.creases, recipe.noise)
    pairs = Pairs(faces, head, expressive, *numbers)
    shown = sheet_pairs(Pairs(held_out(faces), head, expressive, *numbers))
    rates = recipe.lr_generator, recipe.lr_discriminator
    return Task(
        networks={"dual_generator": generator, "discriminator": discriminator},
        players=[
            Player(
                "generator",
                generator.face,
                objective.generate,
                rates[0],
                (0.0, 0.99),
                weights=objective.weights_at,
            ),
            Player(
                "discriminator",
                discriminator,
                objective.discriminate,
                rates[1],
                (0.5, 0.99),
                precise=True,
                weights=objective.discriminator_weights,
            ),
        ],
        batch=Twice(lambda number: pairs.batch(np.random.default_rng([seed, number]), recipe.batch)),
        averaged=("dual_generator",),
        configs={"dual_generator": recipe.network, "discriminator": recipe.discriminator},
        sheet=lambda networks, path: pair_sheet(cast(DualGenerator, networks["dual_generator"]), shown, path),
        probe=lambda networks: probe_pairs(cast(DualGenerator, networks["dual_generator"]), readers, shown),
        helpers=(readers, objective.perceptual, head, expressive),
    )


class Twice:
    """Batches of pairs, each shown in two steps, the second time mirrored: rendering them costs as much as a step of
    training. make(number): a batch."""

    def __init__(self, make: Callable[[int], dict[str, Tensor]]):
        self.make = make
        self.last: tuple[int, dict[str, Tensor]] = (-1, {})

    def __call__(self, step: int) -> dict[str, Tensor]:
        number = step // 2
        if self.last[0] != number:
            self.last = number, self.make(number)
        pairs = self.last[1]
        return mirrored(pairs) if step % 2 else dict(pairs)


def mirrored(pairs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Pairs seen in a mirror."""
    out = {name: value.flip(-1) if value.dim() == 4 else value for name, value in pairs.items()}
    for name in ("source_landmarks", "target_landmarks"):
        out[name] = mirrored_landmarks(pairs[name])
    return out


def held_out(faces: Faces) -> Faces:
    """The faces for validation of the same sources."""
    sources = tuple(sorted(set(sources_of(faces)))) if "source" in faces.table else ()
    return Faces(faces.folder, faces.size, ("val",), sources=sources)


def sheet_pairs(pairs: Pairs, count: int = 24) -> dict[str, Tensor]:
    """A fixed handful of held-out pairs of all kinds."""
    return pairs.batch(np.random.default_rng(0), count)


def pair_sheet(generator: DualGenerator, pairs: dict[str, Tensor], path: Path) -> None:
    """One row a pair: source, the mesh's rendering, the generator's face, target, visibility, attention. A JPEG."""
    edited = generated(generator, on(generator, pairs))
    masks = (as_picture(mask.cpu()) for mask in (pairs["seen"], edited.attention))
    save_grid([pairs["source"], pairs["rendered"], edited.face, pairs["target"], *masks], path)


def probe_pairs(generator: DualGenerator, readers: Readers, pairs: dict[str, Tensor]) -> dict[str, float]:
    """For the log: the mean attention (`painted`); L1 to the targets of the generator's faces and of the mesh's
    rendering (`_drawn`); identity to the source by the readers trained against."""
    given = on(generator, pairs)
    edited = generated(generator, given)
    terms = pixel_terms(given, edited.face)
    rendered = pixel_terms(given, given["rendered"])
    identity = (readers(given["source"]).identity * readers(edited.face).identity).sum(1).mean()
    return {
        "painted": float(edited.attention.mean()),
        "identity": float(identity),
    } | {f"{k}{end}": float(t[k]) for end, t in (("", terms), ("_drawn", rendered)) for k in t}


def on(network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A batch on a network's device."""
    device = next(network.parameters()).device
    return {name: value.to(device) for name, value in batch.items()}


def load_part(network: nn.Module, folder: str, name: str) -> None:
    """Fill a network from a light copy; BadInput names what is missing or does not fit."""
    weights = read_network(Path(folder), name)
    if weights is None:
        raise BadInput(f"{folder} holds no {name}.safetensors; run the recipe that makes it first")
    fit(network, weights, Path(folder))
