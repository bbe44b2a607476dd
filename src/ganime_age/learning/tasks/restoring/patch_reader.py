"""Training a reader of patches: the age of a crop, given its place, under one-step L2 attacks.

Its gradient is what steers the restoring generator (restore.py); it judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import BadInput
from ....networks.layers import precise
from ....networks.perceptual import perceptual_from
from ....networks.restoring.patch_reader import SCALE, PatchReader
from ....networks.warp import canonical_grid
from ... import losses
from ...data.augment import random_colour
from ...data.faces import Faces, draw
from ...engine.task import Losses, Player, Step, Task
from ..frozen import load_prototypes
from .patches import attacked, centres, chances

WEIGHTS = {"age": 1.0}
SURE = 0.9
"""Least share of a crop that must be real."""


@dataclass
class Recipe:
    """Numbers of the recipe. crops: of each face; crop: their side. zoom: largest change of scale; turn: largest
    angle in radians. radius: L2 norm of the attacks, in units of [-1,1], from step attacked_from on; it grows
    there from 0 over as many steps again. attacked: share of the crops that are. noise: largest standard deviation of
    white noise on the crops, in units of [-1,1]. prototypes: the folder whose mean shape places the crops. perceptual:
    a file of SqueezeNet 1.1 weights that the reader starts from, "" for none; perceptual_input: see
    networks/perceptual.py."""

    prototypes: str = "src/ganime_age/weights"
    batch: int = 20
    crops: int = 3
    crop: int = 96
    lr: float = 2e-3
    weight_decay: float = 1e-3
    balance: float = 0.8
    zoom: float = 0.1
    turn: float = 0.15
    radius: float = 1.5
    attacked_from: int = 0
    attacked: float = 1.0
    noise: float = 0.0
    perceptual: str = ""
    perceptual_input: str = "bgr"
    network: dict[str, Any] = field(default_factory=dict)


class Crops(NamedTuple):
    """Crops of faces. picture (N,3,s,s) in [-1,1], place (N,2,s,s), age (N,) in years; counted (N,): 1, or 0 for a
    repeated crop that only fills the batch."""

    picture: Tensor
    place: Tensor
    age: Tensor
    counted: Tensor


def random_crops(batch: dict[str, Tensor], recipe: Recipe, mean_shape: Tensor) -> Crops:
    """`recipe.crops` crops of each face, turned and scaled. A crop of which less than SURE is real gives its place to a
    repetition of one that is real."""
    face, marks, found = batch["face"], batch["landmarks"], []
    (b, side), device = (face.shape[0], face.shape[-1]), face.device
    grid = F.interpolate(
        canonical_grid(marks, mean_shape, 64).permute(0, 3, 1, 2), size=side, mode="bilinear"
    )
    shown = torch.cat([face, grid, batch["valid"]], 1)
    for _ in range(recipe.crops):
        scale = recipe.crop / side * (1 + (2 * torch.rand(b, device=device) - 1) * recipe.zoom)
        angle = (2 * torch.rand(b, device=device) - 1) * recipe.turn
        turned = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(b, 2, 2)
        margin = recipe.crop / side / 2
        at = centres(marks).clamp(margin, 1 - margin) * 2 - 1
        place = torch.cat([(turned * scale[:, None, None]).to(face), at[:, :, None]], 2)
        with precise(face):  # a grid in bfloat16 would be off by half a pixel
            where = F.affine_grid(place, [b, 1, recipe.crop, recipe.crop], align_corners=False)
        found.append(F.grid_sample(shown, where, padding_mode="border", align_corners=False))
    crops = torch.cat(found)
    picks, counted = filled(crops[:, 5].mean((1, 2)) > SURE)
    crops, age = crops[picks], batch["age"].repeat(recipe.crops)[picks]
    return Crops(crops[:, :3], crops[:, 3:5], age, counted)


def filled(wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N,) that are wanted -> N row numbers: the wanted ones in their order, over and over; and whether each row
    number comes for the first time, 0 or 1. Where no row is wanted none counts."""
    # A batch of fixed size spares the host a wait for its length, and repetitions leave the batch normalisation's
    # statistics to the wanted rows.
    turn, count = torch.arange(len(wanted), device=wanted.device), wanted.sum()
    first = torch.argsort((~wanted).to(torch.uint8), stable=True)
    return first[turn % count.clamp_min(1)], (turn < count).float()


def radius(recipe: Recipe, number: int) -> float:
    """The attacks' L2 norm in a step: features that were never attacked lose the age at once under a full one."""
    ramp = (number - recipe.attacked_from) / recipe.attacked_from if recipe.attacked_from else 1.0
    return recipe.radius * min(1.0, max(0.0, ramp))


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when they are too small or carry no ages."""
    if faces.size < 2 * recipe.crop:
        raise BadInput(f"a patch reader looks at faces of 256 px, not of {faces.size}; set size to 256")
    chance = chances(faces, recipe.balance)
    if not chance.sum():
        raise BadInput(f"{faces.folder} has no face with an age and landmarks")
    network = {**recipe.network, "squeezenet": bool(recipe.perceptual)}
    reader, prototypes = PatchReader(**network), load_prototypes(recipe.prototypes)
    if recipe.perceptual:
        reader.start_from(perceptual_from(recipe.perceptual, recipe.perceptual_input, None))

    def loss(step: Step[None]) -> Losses:
        crop, place, age, counted = random_crops(step.batch, recipe, prototypes.mean_shape)
        crop = random_colour(crop, 0.3, grey=0.2)
        crop = crop + recipe.noise * torch.rand_like(age)[:, None, None, None] * torch.randn_like(crop)
        some = slice(round(recipe.attacked * len(crop)))
        reader.eval()  # the attack is on the network as it reads, and leaves its running statistics alone
        hit = attacked(reader, crop[some], place[some], age[some], radius(recipe, step.number))
        moved = torch.cat([hit, crop[some.stop :]])
        reader.train()
        read = reader(moved, place)
        errors = F.smooth_l1_loss(read, age, beta=8.0, reduction="none")
        terms = {"age": losses.over_rows(errors, counted) / SCALE}
        shown = {"age_error": losses.age_l1(read.detach(), age, counted)}
        return losses.weighted_sum(terms, WEIGHTS, shown)

    return Task(
        networks={"patch_reader": reader},
        players=[
            Player(
                "patch_reader",
                reader,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=lambda number: WEIGHTS,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("patch_reader",),
        helpers=(prototypes,),
        configs={"patch_reader": network},
    )
