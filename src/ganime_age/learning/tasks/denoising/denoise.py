"""Training the denoising network: real faces with noise on them, and what they are said to be.

The loss is EDM's (Karras et al., NeurIPS 2022, table 1). The noise is about as strong as what an edit is drawn anew
from; a network as small as ours need not make faces from nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import BadInput
from ....networks.denoising.denoiser import LEAST_NOISE, MOST_NOISE, SPREAD, Condition, Denoiser
from ....networks.denoising.redraw import redrawn
from ....networks.restoring.lay import Request
from ... import losses
from ...data.faces import Faces, balanced_weights, draw
from ...data.joined_faces import JoinedFaces, in_shares, sources_of
from ...engine.task import Losses, Player, Step, Task
from ..sheets import save_grid

WEIGHTS = {"denoised": 1.0}
PROBED = (0.1, 0.25, 0.5)
"""Standard deviations of the noise at which held-out faces are measured."""
WRONG_YEARS = 30.0
"""How far off the age is that a face is said to have to see whether the network listens."""
SHOWN = (75.0, 60.0, 45.0, 15.0, 6.0)
"""Ages in years of a sheet's columns, each drawn with no prototypes."""


@dataclass
class Recipe:
    """Numbers of the recipe. noise, noise_spread: mean and standard deviation of the log of the noise's standard
    deviation. unsaid: how often the age is left unsaid, and with it the action units; each of them and the source also
    alone. balance: see `balanced_weights`. shares: source -> how often it is drawn. sides: source -> side in pixels of
    its frames, where that is below the recipe's size. colour: how far the light and the colours of faces are changed
    at random, 0..1. told_sources: sets of faces that the network tells apart."""

    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    noise: float = -1.3
    noise_spread: float = 0.9
    unsaid: float = 0.1
    balance: float = 0.5
    colour: float = 0.3
    shares: dict[str, Any] = field(default_factory=dict)
    sides: dict[str, Any] = field(default_factory=dict)
    told_sources: list[str] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an age."""
    labels = faces.labels
    has = ~np.isnan(labels["age"]) & ~np.isnan(labels["landmarks"]).any((1, 2))
    if not has.any():
        raise BadInput(f"{faces.folder} has no face with landmarks and an age, from which faces are learnt")
    told = recipe.told_sources
    keywords = {"sources": len(told)} | recipe.network
    network = Denoiser(**keywords)
    network.use_mean_shape(torch.from_numpy(np.asarray(labels["landmarks"])[has].mean(0)))
    tell(faces, told, recipe.sides)
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)

    def batch(step: int) -> dict[str, Tensor]:
        return faces.batch(*draw(step, seed, recipe.batch, chance))

    def loss(step: Step[None]) -> Losses:
        return losses.weighted_sum({"denoised": denoised(network, recipe, step.batch)}, WEIGHTS)

    held = held_out(faces, told, recipe.sides)
    return Task(
        networks={"generator": network},
        players=[
            Player(
                "generator",
                network,
                loss,
                recipe.lr,
                betas=(0.9, 0.99),
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=lambda number: WEIGHTS,
            )
        ],
        batch=batch,
        averaged=("generator",),
        configs={"generator": {"kind": "denoiser"} | keywords},
        sheet=None if held is None else sheet_of(held[1]),
        probe=None if held is None else prober(held[0]),
        compiled=("generator",),
    )


def tell(faces: Faces | JoinedFaces, told: list[str], sides: dict[str, Any]) -> None:
    """Add to the labels of faces the number of their source, -1 for one that is not told, and the side of their frames
    in pixels."""
    if isinstance(faces, JoinedFaces):
        for part in faces.parts:
            tell(part, told, sides)
    source = sources_of(faces)
    number = {name: index for index, name in enumerate(told)}
    faces.labels["source"] = np.array([number.get(name, -1) for name in source], np.int64)
    faces.labels["side"] = np.array([float(sides.get(name, faces.size)) for name in source], np.float32)


def condition_of(batch: dict[str, Tensor]) -> Condition:
    """What the faces of a batch are."""
    return Condition(batch["age"], batch["action_units"], batch["source"], batch["side"])


def partly(given: Condition, share: float) -> Condition:
    """A condition with a share of everything left unsaid, and of each part alone."""
    count, device = len(given.age), given.age.device
    all_, age, aus, source = (torch.rand(4, count, device=device) >= share).unbind(0)
    nothing = torch.full_like(given.age, torch.nan)
    return given._replace(
        age=torch.where(all_ & age, given.age, nothing),
        aus=torch.where((all_ & aus)[:, None], given.aus, nothing[:, None]),
        source=torch.where(source, given.source, -1),
    )


def relit(face: Tensor, amount: float) -> Tensor:
    """Faces (B,3,S,S) in [-1,1], each in another light: contrast, brightness, the balance of the colours."""
    one, three = (amount * torch.randn(len(face), width, 1, 1, device=face.device) for width in (1, 3))
    gain = 1 + 0.4 * one + 0.15 * three
    return ((face + 1) * gain.clamp(0.4, 1.8) - 1).clamp(-1, 1)


def denoised(network: Denoiser, recipe: Recipe, batch: dict[str, Tensor]) -> Tensor:
    """The loss: squared error of what is real, so that every level of the noise counts alike."""
    face, valid = relit(batch["face"], recipe.colour), batch["valid"]
    spread = torch.randn(len(face), device=face.device) * recipe.noise_spread
    noise = (recipe.noise + spread).exp().clamp(LEAST_NOISE, MOST_NOISE)
    level = noise[:, None, None, None]
    noisy = face + level * torch.randn_like(face)
    place = network.places(batch["landmarks"], face.shape[-1])
    out = network(noisy, noise, valid, place, partly(condition_of(batch), recipe.unsaid))
    weight = (level.square() + SPREAD**2) / (level * SPREAD).square()
    return (weight * valid * (out - face).square()).sum() / (3 * valid.sum()).clamp_min(1.0)


def held_out(
    faces: Faces | JoinedFaces, told: list[str], sides: dict[str, Any], probed: int = 64, shown: int = 10
) -> tuple[dict[str, Tensor], dict[str, Tensor]] | None:
    """Faces of the split val to measure and to show, or None where there are none."""
    folders = [part.folder for part in faces.parts] if isinstance(faces, JoinedFaces) else [faces.folder]
    found = []
    for folder in folders[:8]:
        try:
            found.append(Faces(folder, faces.size, ("val",)))
        except BadInput:
            continue
    if not found:
        return None
    held = JoinedFaces(found) if len(found) > 1 else found[0]
    tell(held, told, sides)
    has = ~np.isnan(held.labels["age"]) & ~np.isnan(held.labels["landmarks"]).any((1, 2))
    picks = np.flatnonzero(has)
    if not len(picks):
        return None
    source = sources_of(held)[picks]
    whole = picks[source != "utkface"] if (source != "utkface").any() else picks
    some = np.random.default_rng(0).permutation(picks)[:probed]
    whole = whole[np.argsort(held.labels["age"][whole])]
    return held.batch(some), held.batch(whole[np.linspace(0, len(whole) - 1, shown).astype(int)])


def prober(given: dict[str, Tensor]) -> Callable[[dict[str, nn.Module]], dict[str, float]]:
    """A probe: root mean square error of denoised held-out faces, in levels of 255, and how much larger it is, as a
    share, where a wrong age is said."""

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        network = networks["generator"]
        assert isinstance(network, Denoiser)
        device = next(network.parameters()).device
        batch = {name: value.to(device) for name, value in given.items()}
        face, valid, told = batch["face"], batch["valid"], condition_of(batch)
        wrong = torch.where(told.age < 40, told.age + WRONG_YEARS, told.age - WRONG_YEARS)
        place, out = network.places(batch["landmarks"], face.shape[-1]), {}
        for level in PROBED:
            noise = torch.full_like(told.age, level)
            noisy = face + level * torch.randn_like(face)
            errors = [
                ((network(noisy, noise, valid, place, said) - face).square() * valid).sum()
                / (3 * valid.sum())
                for said in (told, told._replace(age=wrong))
            ]
            out[f"error_{level:g}"] = float(errors[0].sqrt() * 127.5)
            out[f"wrong_age_{level:g}"] = float((errors[1] / errors[0]).sqrt() - 1)
        return out

    return probe


def sheet_of(given: dict[str, Tensor]) -> Callable[[dict[str, nn.Module], Path], None]:
    """One row a face: the photo, then SHOWN. Writes a JPEG."""

    def sheet(networks: dict[str, nn.Module], path: Path) -> None:
        network = networks["generator"]
        assert isinstance(network, Denoiser)
        device = next(network.parameters()).device
        face, marks, age, aus = (
            given[name].to(device) for name in ("face", "landmarks", "age", "action_units")
        )
        aus, columns = aus.nan_to_num(0.0), [face]
        for years in SHOWN:
            request = Request(age, torch.full_like(age, years), aus, aus)
            columns.append(redrawn(network, face, lambda: face, (marks, marks), request).face)
        save_grid(columns, path)

    return sheet
