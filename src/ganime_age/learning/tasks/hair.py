"""Training the hair network (networks/hair/finding.py): it learns a teacher's mattes, in frames and around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import BadInput
from ...networks.hair.finding import MATTE_SIDE, HairMask, HairMatte
from ...networks.layers import resize
from .. import losses
from ..data.augment import random_colour, random_quality
from ..data.faces import Faces
from ..data.headwear import dye, hang, in_larger, shine, surround, wear
from ..engine.task import Losses, Player, Step, Task
from ..prepare.hair import NEEDED, hair_masks

WEIGHTS = {"hair": 1.0}
LARGER = 224
"""Side of the pictures in which hair is learnt, with frames of about MATTE_SIDE in them."""
SOME = -1.0
"""Bias of the network's last layer when it begins to learn: about a quarter of a picture is hair."""


@dataclass
class Recipe:
    """Numbers of a hair recipe. hair_teacher: ONNX file. hair_faces: how many faces it labels; hair_sources: of which
    sets (none: all); hair_covered: the share of them that get a hat, a scarf or a bald head. optimizer: see `Player`.
    """

    hair_teacher: str = ""
    hair_faces: int = 7000
    hair_sources: list[str] = field(default_factory=list)
    hair_covered: float = 0.25
    batch: int = 24
    lr: float = 2e-3
    weight_decay: float = 0.02
    optimizer: str = "muon"
    network: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput without a teacher, or when it finds no hair there."""
    if not recipe.hair_teacher:
        raise BadInput(
            f"hair is learnt from a teacher; {NEEDED.split(',')[0]}: --set recipe.hair_teacher=FILE.onnx"
        )
    rows, masks = taught_hair(recipe.hair_teacher, faces, recipe.hair_faces, seed, recipe.hair_sources)
    hair = HairMatte(**recipe.network)
    return Task(
        networks={"hair": hair},
        players=[hair_player(hair, recipe.hair_covered, recipe.lr, recipe.weight_decay, recipe.optimizer)],
        batch=lambda step: hair_batch(faces, rows, masks, np.random.default_rng((seed, step)), recipe.batch),
        averaged=("hair",),
        configs={"hair": recipe.network},
    )


def taught_hair(
    teacher: str, faces: Faces, count: int, seed: int, sources: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """`hair_masks`; BadInput where there are none."""
    rows, masks = hair_masks(teacher, faces, count, seed, sources=sources)
    if not len(rows):
        raise BadInput(
            f"{faces.folder} has no face whose whole frame is real and whose hair the teacher finds; hair cannot "
            "be learnt from it"
        )
    return rows, masks


def hair_player(
    hair: HairMask | HairMatte, covered: float, lr: float, weight_decay: float = 0.02, optimizer: str = "muon"
) -> Player:
    """What trains a hair network, which begins by finding some hair. covered: see Recipe."""
    torch.nn.init.constant_(hair.head.get_parameter("bias"), SOME)
    return Player(
        "hair",
        hair,
        partial(hair_loss, hair, covered),
        lr,
        weight_decay=weight_decay,
        optimizer=optimizer,
        weights=lambda number: WEIGHTS,
    )


def hair_batch(
    faces: Faces, rows: np.ndarray, masks: np.ndarray, rng: np.random.Generator, size: int
) -> dict[str, Tensor]:
    """Some of the faces `rows` (N,) with the teacher's hair masks (N,S,S) uint8, half of them mirrored: face, landmarks
    and hair (B,1,S,S) in 0..1."""
    picks, mirror = rng.integers(0, len(rows), size), rng.random(size) < 0.5
    mask = masks[picks]
    mask[mirror] = mask[mirror][..., ::-1]
    shown = faces.batch(rows[picks], mirror)
    return {
        "face": shown["face"],
        "landmarks": shown["landmarks"].nan_to_num(0.5),
        "hair": torch.from_numpy(mask.copy())[:, None].float() / 255,
    }


def hair_loss(network: HairMask | HairMatte, covered: float, step: Step[None]) -> Losses:
    """A hair network against the teacher's masks. covered: the share of faces that get something on the head."""
    face, hair = resize(step.batch["face"], MATTE_SIDE), step.batch["hair"]
    face = surround(shine(dye(face, hair), hair), hair, step.batch["landmarks"], covered)
    face, hair = wear(face, hair, step.batch["landmarks"], covered)
    # Hair is looked for in a face's frame and in more of a photo around it (networks/hair/growing.py).
    seen, counts, places = in_larger(torch.cat([face, hair], 1), step.batch["landmarks"], LARGER)
    before = seen[:, 3:].clamp(0, 1)
    face, hair = hang(seen[:, :3], before, places)
    counts = torch.maximum(counts, (hair > before).to(counts))
    face = random_quality(random_colour(face, 0.3, grey=0.15), 0.3)
    found = network.logits(face, LARGER)
    wanted, counts = (F.adaptive_avg_pool2d(maps, found.shape[-1]) for maps in (hair, counts))
    apart = F.binary_cross_entropy_with_logits(found, wanted, reduction="none")
    return losses.weighted_sum({"hair": (apart * counts).sum() / counts.sum()}, WEIGHTS)
