"""Distilling the denoising generator: a student learns in one evaluation what its teacher draws in three, with
guidance.

Guided distillation (Meng et al., CVPR 2023). Prototypes edit real faces as at run time; the teacher draws the edits
anew from fresh noise, and the student, which sees no noise, learns the mean by least squares. Edits are slower to make
than to learn from, so they are kept in a pool: each step makes a few new ones, in the place of the oldest, and learns
from many.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import BadInput
from ....networks.denoising.denoiser import Denoiser
from ....networks.denoising.distilled import CHANGE, Distilled
from ....networks.denoising.redraw import mean_around, noisy_change, redrawn, spans
from ....networks.ganimation_age import network as generator_of
from ....networks.layers import precise
from ....networks.prototypes import Prototypes
from ....networks.restoring.lay import Request
from ... import losses
from ...data.faces import Faces, balanced_weights, draw
from ...data.joined_faces import JoinedFaces, in_shares
from ...engine.checkpoints import load_light
from ...engine.task import Losses, Player, Step, Task
from ..edit_requests import cut
from ..frozen import load_prototypes
from ..restoring.patches import corners
from ..sheets import save_grid, wanted
from .denoise import held_out, relit
from .requests import random_request

SHOWN = (75.0, 60.0, 8.0)
"""Ages in years of a sheet's edits."""
SMILE = {"AU12": 3.5, "AU25": 2.0}
"""The sheet's expression."""
PROBED_NOISES = 2
"""How often the teacher draws a held-out edit for each of two means, to which the student is held."""


@dataclass
class Recipe:
    """Numbers of the recipe. teacher: light folder of a run of denoise.toml, or weights with such a generator.
    prototypes: weights, or what prototypes.toml made. batch: edits that a step learns from, of `pool` that are kept;
    fresh: new ones of a step, in each `every`-th one. crop: side in pixels around the face of what it learns from, a
    multiple of 16. bare: share of the faces that no prototype edits. age_noise: standard deviation in years of what
    readers are off. precise: whether the teacher draws in float32 under mixed precision, in which it is off by .4 of
    255 on the mean. detail: weight of what differs from the mean around each pixel. balance, colour, shares: as in
    `denoise.Recipe`. network: keywords of the student, those of the teacher unless given."""

    teacher: str = "training/checkpoints/denoiser"
    prototypes: str = "src/ganime_age/weights"
    batch: int = 8
    fresh: int = 4
    every: int = 1
    pool: int = 64
    crop: int = 208
    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    bare: float = 0.08
    age_noise: float = 2.0
    precise: bool = False
    detail: float = 1.0
    balance: float = 0.8
    colour: float = 0.2
    shares: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


class Pairs(NamedTuple):
    """Edits by the prototypes and the same faces moved alone, (B,3,S,S) in [-1,1]; landmarks (B,68,2) of both, in 0..1;
    and the fields of their `Request`."""

    edit: Tensor
    moved: Tensor
    landmarks: Tensor
    source_age: Tensor
    target_age: Tensor
    source_aus: Tensor
    target_aus: Tensor

    @property
    def request(self) -> Request:
        """What the edits ask for."""
        return Request(*self[3:])


class Pool:
    """The newest `size` pairs, pictures in float16, where the first of them lay. It is in no checkpoint: a run that
    goes on fills it anew."""

    def __init__(self, size: int):
        self.size, self.made = size, 0
        self.kept: list[Tensor] = []

    def add(self, pairs: Pairs) -> None:
        """Put pairs in the place of the oldest."""
        new = [value.half() if value.ndim == 4 else value for value in pairs]
        if not self.kept:
            self.kept = [value.new_empty(self.size, *value.shape[1:]) for value in new]
        rows = (torch.arange(len(new[0]), device=new[0].device) + self.made) % self.size
        for kept, value in zip(self.kept, new, strict=True):
            kept.index_copy_(0, rows, value)
        self.made += len(new[0])

    def take(self, count: int) -> Pairs:
        """Some pairs at random, in float32."""
        most = min(self.made, self.size)
        rows = torch.randint(most, (count,), device=self.kept[0].device)
        return Pairs(*(kept.index_select(0, rows).float() for kept in self.kept))


class Objective:
    """The loss of a student over frozen prototypes and a frozen teacher."""

    def __init__(self, recipe: Recipe, student: Distilled, teacher: Denoiser, prototypes: Prototypes):
        self.recipe, self.student, self.teacher, self.prototypes = recipe, student, teacher, prototypes
        self.pool = Pool(recipe.pool)

    def weights(self, number: int) -> dict[str, float]:
        """A step's weights of the terms."""
        return {"change": 1.0, "detail": self.recipe.detail}

    def learn(self, step: Step[None]) -> Losses:
        """New pairs from the batch's faces, where it is time, then the loss on some of the pool."""
        if step.number % self.recipe.every == 0 or not self.pool.made:
            face = relit(step.batch["face"], self.recipe.colour)
            self.pool.add(self.pairs(face, step.batch))
        pairs = self.pool.take(self.recipe.batch)
        return losses.weighted_sum(self.terms(pairs), self.weights(step.number))

    @torch.no_grad()
    def pairs(self, face: Tensor, labels: dict[str, Tensor]) -> Pairs:
        """Edits of faces (B,3,S,S) that are random, or bare, as the run time hands them to the generator."""
        marks, aus = labels["landmarks"], labels["action_units"].nan_to_num(0.0)
        with precise(face):
            request = random_request(labels["age"], aus, self.recipe.age_noise)
            pairs = edited(self.prototypes, face, marks, request)
            bare = torch.rand_like(request.source_age) < self.recipe.bare
            bare |= ~(pairs.edit + pairs.moved).isfinite().flatten(1).all(1)  # as in restore.py
            there = bare[:, None, None, None]
            return pairs._replace(
                edit=torch.where(there, face, pairs.edit),
                moved=torch.where(there, face, pairs.moved),
                landmarks=torch.where(bare[:, None, None], marks, pairs.landmarks),
            )

    def terms(self, pairs: Pairs) -> dict[str, Tensor]:
        """change: mean square of what the student draws otherwise than the teacher, in units of CHANGE, within each
        face's window; detail: the same of what differs from the mean around each pixel."""
        side = pairs.edit.shape[-1]
        crop, windows = min(self.recipe.crop, side), spans(pairs.landmarks, side)
        at = corners((windows.float().mean(2) / side).flip(1), side, crop)
        edit, moved = (cut(whole, at, crop) for whole in pairs[:2])
        real, place = self.shown(pairs)
        shown = cut(real, at, crop), cut(place, at // 2, crop // 2)
        with torch.no_grad(), precise(edit) if self.recipe.precise else nullcontext():
            noise = torch.randn_like(edit)
            target = noisy_change(self.teacher, (edit, moved), noise, shown, pairs.request)
        error = (self.student(edit, moved, *shown, pairs.request) - target) / CHANGE
        inside = cut(within(windows, side), at, crop)
        count = 3 * inside.sum()
        return {
            "change": (inside * error.square()).sum() / count,
            "detail": (inside * (error - mean_around(error)).square()).sum() / count,
        }

    def shown(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """What of whole frames is real, (B,1,S,S), and where it is: see `FaceUNet.places`; the student's mean shape is
        the teacher's."""
        with torch.no_grad(), precise(pairs.edit):
            place = self.student.places(pairs.landmarks, pairs.edit.shape[-1])
            return torch.ones_like(pairs.edit[:, :1]), place


def within(windows: Tensor, side: int) -> Tensor:
    """(B,2,2) of `spans` -> (B,1,side,side), 1 in each face's window and 0 outside."""
    line = torch.arange(side, device=windows.device)
    rows, columns = ((line >= span[:, :1]) & (line < span[:, 1:]) for span in windows.unbind(1))
    return (rows[:, :, None] & columns[:, None])[:, None].float()


def edited(prototypes: Prototypes, face: Tensor, landmarks: Tensor, request: Request) -> Pairs:
    """What the run time hands to the generator of faces (B,3,S,S) with landmarks (B,68,2)."""
    edit = prototypes(face, landmarks, *request)
    moved = prototypes.moved_face(face, landmarks, request)
    after = prototypes.moved_landmarks(landmarks, request[:2], request[2:])
    return Pairs(edit, moved, after, *request)


def load_teacher(folder: str) -> Denoiser:
    """A frozen denoiser of exported weights, or the generator of a weights folder; BadInput for another network."""
    name = "ganimation_age" if (Path(folder) / "config.json").is_file() else "generator"
    teacher = load_light(generator_of, folder, name).requires_grad_(False)
    if not isinstance(teacher, Denoiser):
        raise BadInput(f"the generator in {folder} is no denoiser, from which alone a student is distilled")
    return teacher


def build(recipe: Recipe, faces: Faces | JoinedFaces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an age."""
    labels = faces.labels
    has = ~np.isnan(labels["age"]) & ~np.isnan(labels["landmarks"]).any((1, 2))
    if not has.any():
        raise BadInput(f"{faces.folder} has no face with landmarks and an age, whose edits are learnt")
    if not 1 <= recipe.fresh <= recipe.pool or recipe.every < 1 or recipe.crop % 16 or recipe.crop < 16:
        raise BadInput(
            f"recipe.pool is {recipe.pool}, recipe.fresh {recipe.fresh}, recipe.every {recipe.every} and recipe.crop "
            f"{recipe.crop}: the pool must hold the new edits of a step, 1 or more, every be 1 or more, and the crop "
            "be a multiple of 16"
        )
    teacher, prototypes = load_teacher(recipe.teacher), load_prototypes(recipe.prototypes)
    keywords = shape_of(teacher) | recipe.network
    student = Distilled(**keywords)
    student.begin_from(teacher)
    objective = Objective(recipe, student, teacher, prototypes)
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)
    # Compiled for the batches of steps, the teacher would be compiled anew for those of probes and sheets.
    watched = Objective(recipe, student, deepcopy(teacher), prototypes)
    held = held_out(faces, [], {}, probed=12, shown=5)
    return Task(
        networks={"generator": student},
        players=[
            Player(
                "generator",
                student,
                objective.learn,
                recipe.lr,
                betas=(0.9, 0.99),
                weight_decay=recipe.weight_decay,
                optimizer=recipe.optimizer,
                weights=objective.weights,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.fresh, chance)),
        averaged=("generator",),
        configs={"generator": {"kind": "distilled"} | keywords},
        sheet=None if held is None else sheet_of(watched, held[1]),
        probe=None if held is None else prober(watched, held[0]),
        helpers=(teacher, watched.teacher, prototypes),
        compiled=("generator", teacher),
    )


def shape_of(network: Denoiser) -> dict[str, Any]:
    """The keywords widths, blocks and share of a denoiser."""
    widths = [network.stem.out_channels, *(layer.out_channels for layer in network.down)]
    blocks = [len(list(level.children())) for level in network.fall]
    return {"widths": widths, "blocks": blocks, "share": network.share}


def prober(
    objective: Objective, given: dict[str, Tensor]
) -> Callable[[dict[str, nn.Module]], dict[str, float]]:
    """A probe of held-out edits within their windows, in levels of 255. difference: mean absolute difference of student
    and teacher, of whom noise is left; error: the root mean square without what noise adds. difference_nothing,
    error_nothing: the same of drawing nothing."""
    known: list[tuple[Pairs, Tensor]] = []

    def drawn(device: torch.device) -> tuple[Pairs, Tensor]:
        labels = {name: value.to(device) for name, value in given.items()}
        pairs, teacher = objective.pairs(labels["face"], labels), objective.teacher
        shown, faces = objective.shown(pairs), (pairs.edit, pairs.moved)
        halves = []
        for _ in range(2):
            noises = [torch.randn_like(pairs.edit) for _ in range(PROBED_NOISES)]
            half = [noisy_change(teacher, faces, noise, shown, pairs.request) for noise in noises]
            halves.append(torch.stack(half).mean(0))
        return pairs, torch.stack(halves)

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        student = networks["generator"]
        assert isinstance(student, Distilled)
        if not known:  # the seed of a probe is always the same, and so are its edits
            known.append(drawn(student.mean_shape.device))
        pairs, target = known[0]
        change = student(pairs.edit, pairs.moved, *objective.shown(pairs), pairs.request)
        inside = within(spans(pairs.landmarks, change.shape[-1]), change.shape[-1])
        out = {}
        for name, off in (("", change - target), ("_nothing", -target)):
            # The noise of one half does not know of the other's: E[(s - t1)(s - t2)] = (s - E[t])^2.
            square = (inside * off[0] * off[1]).sum() / (3 * inside.sum())
            out[f"error{name}"] = float(square.clamp_min(0).sqrt() * 127.5)
            most = (inside * off.mean(0).abs()).sum() / (3 * inside.sum())
            out[f"difference{name}"] = float(most * 127.5)
        return out

    return probe


def sheet_of(objective: Objective, given: dict[str, Tensor]) -> Callable[[dict[str, nn.Module], Path], None]:
    """One row a face: the photo, then for SHOWN and a smile the prototypes' edit, the teacher's and the student's.
    Writes a JPEG."""

    def sheet(networks: dict[str, nn.Module], path: Path) -> None:
        student = networks["generator"]
        assert isinstance(student, Distilled)
        labels = {name: value.to(student.mean_shape.device) for name, value in given.items()}
        face, marks, age = labels["face"], labels["landmarks"], labels["age"]
        aus = labels["action_units"].nan_to_num(0.0)
        asked = [Request(age, torch.full_like(age, years), aus, aus) for years in SHOWN]
        columns = [face]
        for request in [*asked, Request(age, age, aus, wanted(aus, SMILE))]:
            pairs = edited(objective.prototypes, face, marks, request)
            columns.append(pairs.edit)
            for network in (objective.teacher, student):
                columns.append(redrawn_pair(network, pairs, marks))
        save_grid(columns, path)

    return sheet


def redrawn_pair(network: Denoiser | Distilled, pairs: Pairs, before: Tensor) -> Tensor:
    """Edits (B,3,S,S) drawn anew as at run time; before: the landmarks (B,68,2) of the photos."""
    return redrawn(network, pairs.edit, lambda: pairs.moved, (before, pairs.landmarks), pairs.request).face
