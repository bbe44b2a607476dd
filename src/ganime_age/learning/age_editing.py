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

from ..edits import AU_CODES
from ..errors import BadInput
from ..model import GanimeAge
from ..networks.age_groups import GROUPS, age_of, edit_by_difference, group_of
from ..networks.ganimation import Edited
from ..networks.judge import AgeJudge
from ..networks.prototypes import Prototypes
from ..networks.readers import Readers
from . import losses
from .augment import random_affine, random_colour
from .calibration import Calibration
from .checkpoints import load_light
from .data import Faces, balanced_weights, draw
from .ganimation_age_task import load_readers
from .recipe import fill
from .sheets import save_grid
from .task import Player, Task
from .watch import probe_edits

SHEET_AGES = (1.0, 5.0, 8.0, 12.0, 17.0, 25.0, 35.0, 45.0, 58.0, 76.0)


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

    aifd: the readers whose identity branch is E_A; None where the MI loss is off.
    """

    def __init__(self, readers: Readers, calibration: Calibration, aifd: Readers | None):
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

    def mutual(self, face: Tensor, edit: Tensor) -> Tensor:
        """L_MI = 1 - cos(E_A(I_s), E_A(I_t)), E_A the identity branch of AIFD, which sees the edit shaken, so that no
        pattern drawn for it alone serves."""
        assert self.aifd is not None, "E_A is loaded where the MI loss counts"
        with torch.no_grad():
            before = self.aifd(face).identity
        return 1 - (before * self.aifd(shaken(edit)).identity).sum(1).mean()


def shaken(face: Tensor) -> Tensor:
    """A copy that is shifted, scaled, turned and often grey."""
    moved, _ = random_affine(face, None, turn=4, zoom=0.06, shift=0.02)
    return random_colour(moved, 0.3, grey=0.5)


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


def on_prototypes(
    generator: Any, face: Tensor, landmarks: Tensor, source_age: Tensor, target_age: Tensor
) -> Tensor:
    """Faces (B,3,S,S) as the generator's prototypes change their age, the expression as it is."""
    still = torch.zeros(len(face), len(AU_CODES), device=face.device)
    return generator.prototypes(face, landmarks, source_age, target_age, still, still)


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


def usable(faces: Faces) -> np.ndarray:
    """(N,) bool: a known age and landmarks, the head turned by at most 40 degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= 40) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["landmarks"]).any((1, 2))


def frozen(recipe: Any, faces: Faces, generator: Any, with_aifd: bool) -> Measures:
    """What a recipe names: readers, prototypes, which the generator gets, and for the MI loss aifd ("": the embedded
    weights)."""
    readers = load_readers(recipe.readers)
    generator.prototypes = load_light(Prototypes, recipe.prototypes, "prototypes").requires_grad_(False)
    aifd = None
    if with_aifd:
        aifd = GanimeAge.from_pretrained(recipe.aifd or None, parts=("readers",)).readers
        aifd.local = None  # only the identity branch is asked
    return Measures(readers, Calibration.measure(readers, faces, 1000), aifd)


def age_task(
    method: str, recipe: Any, faces: Faces, seed: int, objective: Any, extra: dict[str, Tensor]
) -> Task:
    """The task of a method, whose generator has its name in checkpoints.

    objective: has `generator`, `discriminator`, `generate`, `discriminate`, `weight` and `measures`. extra: further
    labels (N, ...) that every batch gets. BadInput when no face has an age.
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
            ),
            Player(
                "discriminator",
                objective.discriminator,
                objective.discriminate,
                recipe.lr_discriminator,
                (0.0, 0.99),
                precise=True,
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


def held_out(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed handful of usable faces of the validation split, young to old; BadInput when there is none."""
    good = np.flatnonzero(usable(faces))
    if not len(good):
        raise BadInput(f"{faces.folder} has no face with an age in the split val to draw sample sheets of")
    whole = good[faces.table["source"].to_numpy()[good] != "utkface"] if "source" in faces.table else good
    good = whole if len(whole) >= count else good
    order = good[np.argsort(faces.labels["age"][good], kind="stable")]
    return faces.batch(order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)])


@torch.no_grad()
def age_sheet(generator: Any, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, its reconstruction, the age of each group, what changed for the last. A JPEG."""
    device = next(generator.parameters()).device
    face, age = faces["face"].to(device), faces["age"].to(device)
    columns = [face, generator(face, group_of(age))]
    for years in SHEET_AGES:
        asked = torch.full_like(age, years)
        shown = on_prototypes(generator, face, faces["landmarks"].to(device), age, asked)
        edited = edit_by_difference(generator, shown, age, asked)
        columns.append(edited.face)
    save_grid([*columns, edited.attention.repeat(1, 3, 1, 1) * 2 - 1], path)


class AgeAndPerson(NamedTuple):
    """What the collapse watch looks at: age (B,) in years and identity (B,D), as far as they are read."""

    age: Tensor
    identity: Tensor


class AgeAlone(NamedTuple):
    """What the age judge says: age (B,) in years."""

    age: Tensor


def prober(
    method: str, readers: Readers, judge: str, faces: dict[str, Tensor]
) -> Callable[[dict[str, nn.Module]], dict[str, float]]:
    """Figures for the collapse watch: edits of fixed faces, by the readers trained against and by the age judge of the
    folder `judge`, if one is named. BadInput when it cannot be loaded."""
    watcher = load_light(AgeJudge, judge, "age_judge") if judge else None

    def read(face: Tensor) -> AgeAndPerson:
        found = readers(face)
        return AgeAndPerson(found.age, found.identity)

    def judged(face: Tensor) -> AgeAlone:
        assert watcher is not None
        return AgeAlone(watcher.to(face.device)(face))

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        generator = cast(Any, networks[method])
        device = next(generator.parameters()).device
        given = {name: value.to(device) for name, value in faces.items()}

        def edit(face: Tensor, age: Tensor, to_age: Tensor, *_: Tensor) -> Edited:
            if torch.equal(age, to_age):
                return Edited(face, torch.zeros_like(face[:, :1]))
            shown = on_prototypes(generator, face, given["landmarks"], age, to_age)
            return edit_by_difference(generator, shown, age, to_age)

        return probe_edits(edit, read, judged if watcher else None, given)

    return probe
