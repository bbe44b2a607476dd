"""What AgeTransGAN and Re-Aging GAN share in training: requests, pictures, the terms that do not know which one it is.

Both are trained on what the model delivers: with y the face as the prototypes change its age, y + G(y, target) -
G(y, source), so that a small generator's blur leaves the difference (networks/age_groups.py) and what it has to learn
is what no mean face shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import BadInput
from ...model.model import GanimeAge
from ...networks.age_groups import GROUPS, age_of, group_of
from ...networks.aifd import AIFD
from ...networks.prototypes import Prototypes
from ...networks.readers import Readers
from .. import losses
from ..data.augment import random_affine, random_colour
from ..data.faces import Faces, balanced_weights, draw
from ..engine.checkpoints import load_light
from ..engine.recipe import fill
from ..engine.task import Player, Task
from .age_watching import age_sheet, held_out, on_prototypes, prober, usable
from .calibration import Calibration
from .ganimation_age import load_readers


class Asked(NamedTuple):
    """What is asked of a batch: ages in years and groups in 0..9, (B,) each."""

    source_age: Tensor
    target_age: Tensor
    source: Tensor
    target: Tensor


class Drawn(NamedTuple):
    """What was drawn of a batch, (B,3,S,S) each."""

    shown: Tensor
    """y: the faces as the prototypes change their age."""
    edit: Tensor
    """y + G(y, target) - G(y, source): what the model delivers, before clamping."""
    kept: Tensor
    """G(x, source) of the first n faces, (n,3,S,S)."""


def ask(age: Tensor, noise: float) -> Asked:
    """Ages (B,) in years -> a random group for each face, half of them between two groups.

    noise: standard deviation of what is added to the source's age, as it will come from a reader.
    """
    b = len(age)
    source_age = (age + noise * torch.randn_like(age)).clamp(0, 100)
    target = torch.randint(GROUPS, (b,), device=age.device).float()
    between = (torch.rand_like(age) - 0.5) * (torch.rand_like(age) < 0.5)
    target = (target + between).clamp(0, GROUPS - 1)
    return Asked(source_age, age_of(target), group_of(source_age), target)


class Measures:
    """Everything frozen: robust readers that say an age, AIFD's identity branch.

    aifd: the network, or the readers, whose identity branch is E_A; None where the MI loss is off.
    """

    def __init__(self, readers: Readers, calibration: Calibration, aifd: AIFD | Readers | None):
        self.readers, self.calibration, self.aifd = readers, calibration, aifd

    def modules(self) -> tuple[nn.Module, ...]:
        return tuple(m for m in (self.readers, self.aifd) if m is not None)

    def reached(self, face: Tensor, edit: Tensor, asked: Asked) -> dict[str, Tensor]:
        """age: distance in decades of what is read from what real faces of that age read. identity: cross-age, less
        asked for over a wide gap."""
        read = self.readers(shaken(edit))
        with torch.no_grad():
            before = self.readers(face).identity
        weight = losses.age_gap_weight(asked.source_age, asked.target_age)
        return {
            "age": (read.age - self.calibration.age(asked.target_age)).abs().mean() / 10,
            "identity": losses.identity_loss(before, read.identity, weight),
        }

    def mutual(self, face: Tensor, edit: Tensor, landmarks: Tensor) -> Tensor:
        """L_MI = 1 - cos(E_A(I_s), E_A(I_t)), E_A the identity branch of AIFD, which sees the edit shaken, so that no
        pattern drawn for it alone serves."""
        with torch.no_grad():
            before = self.person(face, landmarks)
        return 1 - (before * self.person(*shaken_with(edit, landmarks))).sum(1).mean()

    def person(self, face: Tensor, landmarks: Tensor) -> Tensor:
        """E_A: unit length, (B,128). Landmarks (B,68,2) in 0..1 align the face where E_A wants it aligned."""
        assert self.aifd is not None, "E_A is loaded where the MI loss counts"
        found = self.aifd(face, landmarks) if isinstance(self.aifd, AIFD) else self.aifd(face)
        return found.identity


def shaken(face: Tensor) -> Tensor:
    """A copy that is shifted, scaled, turned and often grey."""
    return shaken_with(face, None)[0]


def shaken_with(face: Tensor, landmarks: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same, and the landmarks (B,68,2) where they then lie."""
    moved, points = random_affine(face, landmarks, turn=4, zoom=0.06, shift=0.02)
    return random_colour(moved, 0.3, grey=0.5), cast(Tensor, points)


def drawn_of(generator: Any, batch: dict[str, Tensor], asked: Asked, kept_share: float) -> Drawn:
    """All pictures of a batch in one pass; the reconstruction of a share of it, of one face at least."""
    face = batch["face"]
    with torch.no_grad():
        shown = on_prototypes(generator, face, batch["landmarks"], asked.source_age, asked.target_age)
    some = slice(0, max(1, round(kept_share * len(face))))
    groups = torch.cat([asked.target, asked.source, asked.source[some]])
    drawn = generator(torch.cat([shown, shown, face[some]]), groups)
    made, off, kept = drawn.split([len(face), len(face), len(drawn) - 2 * len(face)])
    return Drawn(shown, shown + made - off, kept)


def pictures(drawn: Drawn, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """reconstruction: G(x, source) is x. change: how much is drawn over the prototypes' picture. L1 both."""
    face, valid, some = batch["face"], batch["valid"], slice(0, len(drawn.kept))
    return {
        "reconstruction": losses.masked_l1(drawn.kept, face[some], valid[some]),
        "change": losses.masked_l1(drawn.edit, drawn.shown, valid),
    }


def cycle(generator: nn.Module, drawn: Drawn, batch: dict[str, Tensor], asked: Asked, share: float) -> Tensor:
    """What was drawn for target over source is drawn back on the edit: edit + G(edit, source) - G(edit, target) is the
    prototypes' picture again, L1 over a share of the batch."""
    some = slice(0, max(1, round(share * len(drawn.edit))))
    edit = drawn.edit[some]
    back, off = generator(torch.cat([edit, edit]), torch.cat([asked.source[some], asked.target[some]])).chunk(
        2
    )
    return losses.masked_l1(edit + back - off, drawn.shown[some], batch["valid"][some])


def weighed(terms: dict[str, Tensor], weight: Callable[[str], float]) -> tuple[Tensor, dict[str, float]]:
    """The total of all terms times their weights, and each of them, unweighted, for the log."""
    total = reduce(torch.add, (weight(name) * value for name, value in terms.items()))
    return total, {name: float(value.detach()) for name, value in terms.items()}


Terms = TypeVar("Terms")


def both_weights(kind: type[Terms], start: dict[str, Any], later: dict[str, Any]) -> tuple[Terms, Terms]:
    """A recipe's weights at the start and after the ramp; BadInput names a term that does not exist."""
    first = fill(kind, start, "[recipe.weights] table")
    return first, fill(kind, start | later, "[recipe.weights_end] table")


def ramped(start: object, end: object, name: str, step: int, lead: int, ramp: int) -> float:
    """The weight of a term: the start's for `lead` steps, then over `ramp` steps to the end's; 0 for one without."""
    share = (step - lead) / max(ramp, 1)
    low, high = getattr(start, name, 0.0), getattr(end, name, 0.0)
    return low + (high - low) * min(max(share, 0.0), 1.0)


def moved_alike(*faces: Tensor) -> list[Tensor]:
    """DiffAugment's translation (Zhao et al. 2020), with turns and scales: every picture of a face moves alike."""
    moved, _ = random_affine(torch.cat(faces, 1), None, turn=5, zoom=0.08, shift=0.06)
    return list(moved.split([face.shape[1] for face in faces], 1))


def frozen(recipe: Any, faces: Faces, weights: type) -> Measures:
    """The readers that a recipe names, and its aifd where one of its weights of the MI loss counts.

    weights: the method's dataclass of weights, which has `mi`.
    """
    readers = load_readers(recipe.readers)
    both: tuple[Any, ...] = both_weights(weights, recipe.weights, recipe.weights_end)
    aifd = identity_branch(recipe.aifd) if any(one.mi for one in both) else None
    return Measures(readers, Calibration.measure(readers, faces, 1000), aifd)


def identity_branch(named: str) -> AIFD | Readers:
    """E_A: the AIFD of a light folder, or the readers of weights, "" for the embedded ones."""
    if named and (Path(named) / "aifd.json").is_file():
        return load_light(AIFD, named, "aifd").requires_grad_(False)
    readers = GanimeAge.from_pretrained(named or None, parts=("readers",)).readers
    readers.local = None  # only the identity branch is asked
    return readers


def measured_prototypes(folder: str) -> Prototypes:
    """Frozen prototypes of a light copy; BadInput names what is missing or damaged."""
    return load_light(Prototypes, folder, "prototypes").requires_grad_(False)


def age_task(
    method: str,
    recipe: Any,
    faces: Faces,
    seed: int,
    objective: Any,
    extra: dict[str, Tensor],
    alone: int = 0,
) -> Task:
    """The task of a method, whose generator has its name in checkpoints.

    objective: has `generator`, `discriminator`, `generate`, `discriminate`, `weight` and `measures`. extra: further
    labels (N, ...) that every batch gets. alone: steps in which the discriminator learns before the generator does.
    BadInput when no face has an age.
    """
    chance = np.where(usable(faces), balanced_weights(faces.labels["age"], recipe.balance), 0)
    if not chance.sum():
        raise BadInput(f"{faces.folder} has no face with an age and landmarks; training ages needs both")
    chance = chance / chance.sum()
    shown = held_out(Faces(faces.folder, faces.size, ("val",)))

    def batch(step: int) -> dict[str, Tensor]:
        picks, mirror = draw(step, seed, recipe.batch, chance)
        return faces.batch(picks, mirror) | {name: values[picks] for name, values in extra.items()}

    return Task(
        networks={method: objective.generator, "discriminator": objective.discriminator},
        players=[
            Player(
                "generator",
                objective.generator,
                objective.generate,
                recipe.lr_generator,
                (recipe.momentum, 0.99),
                weight=objective.weight,
                start=alone,
            ),
            Player(
                "discriminator",
                objective.discriminator,
                objective.discriminate,
                recipe.lr_discriminator,
                (0.0, 0.99),
                precise=True,
                weight=lambda name, step: float(name.startswith("d_")),
            ),
        ],
        batch=batch,
        averaged=(method,),
        configs={method: recipe.generator, "discriminator": recipe.discriminator},
        sheet=lambda networks, path: age_sheet(cast(Any, networks[method]), shown, path),
        probe=prober(method, objective.measures.readers, recipe.judge, shown),
        helpers=objective.measures.modules(),
        compiled=(method,),
    )
