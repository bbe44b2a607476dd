"""Training AgeTransGAN and Re-Aging GAN: what the two methods share.

Both are trained on what the model delivers: with y the face as the prototypes change its age, the edit is
y + G(y, target) - G(y, source). A small generator's blur is in both terms and leaves the difference
(networks/age_groups.py), and the generator learns what no mean face shows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...edits import AU_CODES
from ...errors import BadInput
from ...networks.age_groups import GROUPS, age_of, edit_by_difference, edit_by_picture, group_of
from ...networks.aligned.aifd import AIFD
from ...networks.layers import Edited
from ...networks.prototypes import Prototypes
from ...networks.readers import Readers
from .. import losses
from ..data.augment import random_affine, random_colour
from ..data.faces import Faces, balanced_weights, draw
from ..data.joined_faces import JoinedFaces, in_shares
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .frozen import Calibration, load_identity_branch, load_readers
from .probes import CollapseLimits, Edit, prober
from .sheets import as_picture, save_grid

SHEET_AGES = (1.0, 5.0, 8.0, 12.0, 17.0, 25.0, 35.0, 45.0, 58.0, 76.0)
"""Target ages of a sample sheet in years, one in each age group."""


class AgeGenerator(Protocol):
    """A generator of faces in age groups: (faces (B,3,S,S) in [-1,1], groups (B,) in 0..9) -> (B,3,S,S)."""

    prototypes: Prototypes

    def __call__(self, faces: Tensor, groups: Tensor, /) -> Tensor: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...


@dataclass
class AgeRecipe:
    """Numbers that both recipes have. readers, prototypes, judge: folders of exported weights; the judge only watches,
    and may be "". aifd: where E_A is, the exported folder of an aifd run or weights that hold it, "" for the embedded
    ones. momentum: the generator's first beta. age_noise: standard deviation in years that is added to labels.
    kept_share, cycle_share: fractions of a batch for the reconstruction and the cycle. r1, r1_every: weight of R1, and
    every how many steps it is taken. weights: the weight of every term at the start, weights_end: of those that change
    later; they stay at the start for lead_steps and change over ramp_steps. most_yaw: degrees by which a head may be
    turned aside. shares: source -> how often it is drawn, 0..1."""

    readers: str = "training/checkpoints/readers_robust"
    prototypes: str = "src/ganime_age/weights"
    judge: str = "training/checkpoints/age_judge"
    aifd: str = ""
    batch: int = 8
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    momentum: float = 0.0
    balance: float = 1.0
    age_noise: float = 3.0
    kept_share: float = 0.5
    cycle_share: float = 0.25
    r1: float = 10.0
    r1_every: int = 16
    lead_steps: int = 0
    ramp_steps: int = 600
    most_yaw: float = 40.0
    shares: dict[str, Any] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    weights_end: dict[str, Any] = field(default_factory=dict)


@dataclass
class AgeWeights:
    """Weights of the terms that both generators' losses have."""

    adversarial: float = 0.0
    reconstruction: float = 0.0
    cycle: float = 0.0
    identity: float = 0.0
    triplet: float = 0.0
    mi: float = 0.0
    age: float = 0.0
    change: float = 0.0


TRIPLET_MARGIN = 0.3
"""In squared distances of unit codes, 0..4."""


class AgeRequest(NamedTuple):
    """The edits of a batch: ages in years and fractional groups in 0..9, (B,) each."""

    source_age: Tensor
    target_age: Tensor
    source: Tensor
    target: Tensor


class Generated(NamedTuple):
    """What was generated for a batch, (B,3,S,S) each."""

    base: Tensor
    """y: the faces as the prototypes change their age, or as they are where the generator draws them itself."""
    edit: Tensor
    """y + G(y, target) - G(y, source), or G(x, target): what the model delivers, before clamping."""
    kept: Tensor
    """G(x, source) of the first n faces, (n,3,S,S): their reconstruction."""


def draw_request(age: Tensor, noise: float) -> AgeRequest:
    """Ages (B,) in years -> a random target group for each face, half of them between two groups.

    noise: standard deviation of what is added to the source's age, which in use comes from a reader.
    """
    b = len(age)
    source_age = (age + noise * torch.randn_like(age)).clamp(0, 100)
    target = torch.randint(GROUPS, (b,), device=age.device).float()
    between = (torch.rand_like(age) - 0.5) * (torch.rand_like(age) < 0.5)
    target = (target + between).clamp(0, GROUPS - 1)
    return AgeRequest(source_age, age_of(target), group_of(source_age), target)


class Measures:
    """The frozen networks: robust readers that say an age, the identity branch E_A of the MI loss.

    aifd: the AIFD whose identity branch is E_A; None where the MI loss is off.
    """

    def __init__(self, readers: Readers, calibration: Calibration, aifd: AIFD | None):
        self.readers, self.calibration, self.aifd = readers, calibration, aifd

    def modules(self) -> tuple[nn.Module, ...]:
        e_a = () if self.aifd is None else (self.aifd, self.aifd.reader)
        return (self.readers, self.calibration, *e_a)

    def reading_terms(
        self, face: Tensor, edit: Tensor, request: AgeRequest, people: Tensor, rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """age: distance in decades from what readers say of real faces of the target age. identity: across ages, with
        less weight over a wide gap. triplet: nearer to the source than to somebody else of the batch; people (B,):
        who is shown, -1 unknown. rows: see losses.over_rows."""
        read = self.readers(augmented(edit))
        with torch.no_grad():
            before = self.readers(face).identity
        weight = losses.age_gap_weight(request.source_age, request.target_age)
        return {
            "age": losses.age_l1(read.age, self.calibration.age(request.target_age), rows) / losses.DECADE,
            "identity": losses.identity_loss(before, read.identity, weight, rows),
            "triplet": losses.identity_triplet(before, read.identity, TRIPLET_MARGIN, people, rows),
        }

    def mutual(self, face: Tensor, edit: Tensor, landmarks: Tensor, rows: Tensor | None = None) -> Tensor:
        """The MI loss of edits (B,3,S,S). The edit is randomly augmented first, so that the generator cannot satisfy
        E_A with an adversarial pattern. Landmarks (B,68,2) in 0..1 of the face."""
        with torch.no_grad():
            before = self.person(face, landmarks)
        return losses.mutual_identity(before, self.person(*augmented_with(edit, landmarks)), rows)

    def person(self, face: Tensor, landmarks: Tensor) -> Tensor:
        """E_A: unit length, (B,128). Landmarks (B,68,2) in 0..1 align the face as an AIFD expects it."""
        assert self.aifd is not None, "E_A is loaded where the MI loss counts"
        identity: Tensor = self.aifd(face, landmarks).identity
        return identity


def augmented(face: Tensor) -> Tensor:
    """A copy of (B,3,S,S), shifted, scaled, turned and in half of the cases grey."""
    return augmented_with(face, None)[0]


def augmented_with(face: Tensor, landmarks: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same with the landmarks (B,68,2), moved along."""
    moved, points = random_affine(face, landmarks, turn=4, zoom=0.06, shift=0.02)
    return random_colour(moved, 0.3, grey=0.5), cast(Tensor, points)


def on_prototypes(
    generator: AgeGenerator, face: Tensor, landmarks: Tensor, source_age: Tensor, target_age: Tensor
) -> Tensor:
    """Faces (B,3,S,S) as the generator's prototypes change their age; action units stay."""
    still = torch.zeros(len(face), len(AU_CODES), device=face.device)
    return generator.prototypes(face, landmarks, source_age, target_age, still, still)


def is_direct(generator: AgeGenerator) -> bool:
    """Whether an edit is the generator's picture of the face itself, not a difference on prototypes."""
    return bool(getattr(generator, "direct", False))


def edited_by(
    generator: AgeGenerator, face: Tensor, landmarks: Tensor, source_age: Tensor, target_age: Tensor
) -> Edited:
    """The edit of faces (B,3,S,S) with landmarks (B,68,2) as the model delivers it."""
    if is_direct(generator):
        return edit_by_picture(generator, face, source_age, target_age)
    base = on_prototypes(generator, face, landmarks, source_age, target_age)
    return edit_by_difference(generator, base, source_age, target_age)


def generated(
    generator: AgeGenerator, batch: dict[str, Tensor], request: AgeRequest, kept_fraction: float
) -> Generated:
    """All pictures of a batch in one pass; the reconstruction of a fraction of it, of one face at least."""
    face = batch["face"]
    some = slice(0, max(1, round(kept_fraction * len(face))))
    if is_direct(generator):
        groups = torch.cat([request.target, request.source[some]])
        edit, kept = generator(torch.cat([face, face[some]]), groups).tensor_split([len(face)])
        return Generated(face, edit, kept)
    with torch.no_grad():
        base = on_prototypes(generator, face, batch["landmarks"], request.source_age, request.target_age)
    groups = torch.cat([request.target, request.source, request.source[some]])
    pictures = generator(torch.cat([base, base, face[some]]), groups)
    at_target, at_source, kept = pictures.split([len(face), len(face), len(pictures) - 2 * len(face)])
    return Generated(base, base + at_target - at_source, kept)


def pixel_terms(pictures: Generated, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """reconstruction: G(x, source) is x. change: the edit beside the prototypes' picture. L1 both."""
    face, valid, some = batch["face"], batch["valid"], slice(0, len(pictures.kept))
    return {
        "reconstruction": losses.masked_l1(pictures.kept, face[some], valid[some]),
        "change": losses.masked_l1(pictures.edit, pictures.base, valid),
    }


def cycle_term(
    generator: AgeGenerator,
    pictures: Generated,
    batch: dict[str, Tensor],
    request: AgeRequest,
    fraction: float,
) -> Tensor:
    """Cycle consistency: edit + G(edit, source) - G(edit, target) is y again, or G(edit, source) is x, L1 over a
    fraction of the batch."""
    some = slice(0, max(1, round(fraction * len(pictures.edit))))
    edit = pictures.edit[some]
    if is_direct(generator):
        back = generator(edit, request.source[some])
        return losses.masked_l1(back, pictures.base[some], batch["valid"][some])
    groups = torch.cat([request.source[some], request.target[some]])
    back, off = generator(torch.cat([edit, edit]), groups).chunk(2)
    return losses.masked_l1(edit + back - off, pictures.base[some], batch["valid"][some])


W = TypeVar("W", bound=AgeWeights)
R = TypeVar("R", bound=AgeRecipe)
G = TypeVar("G", bound=nn.Module)
D = TypeVar("D", bound=nn.Module)


def both_weights(kind: type[W], recipe: AgeRecipe) -> tuple[W, W]:
    """A recipe's weights at the start and after the ramp; BadInput names a term that does not exist."""
    first = fill(kind, recipe.weights, "[recipe.weights] table")
    return first, fill(kind, recipe.weights | recipe.weights_end, "[recipe.weights_end] table")


class AgeObjective(ABC, Generic[R, G, D]):
    """The losses of both players; a method says its terms in `generate` and `discriminate`."""

    def __init__(self, recipe: R, generator: G, discriminator: D, measures: Measures, kind: type[AgeWeights]):
        self.recipe, self.generator, self.discriminator = recipe, generator, discriminator
        self.measures = measures
        self.start, self.end = both_weights(kind, recipe)

    def weights(self, number: int) -> dict[str, float]:
        """A step's weights of the generator's terms: the start's for lead_steps, then over ramp_steps to the end's."""
        fraction = (number - self.recipe.lead_steps) / max(self.recipe.ramp_steps, 1)
        fraction = min(max(fraction, 0.0), 1.0)
        start, end = vars(self.start), vars(self.end)
        return {name: low + (end[name] - low) * fraction for name, low in start.items()}

    @property
    def r1(self) -> float:
        """The weight of R1 in a step that takes it: gamma / 2 (Mescheder et al. 2018), times the steps between."""
        return self.recipe.r1 / 2 * self.recipe.r1_every

    @abstractmethod
    def generate(self, step: Step[Any]) -> Losses:
        """The generator's loss; leaves in the step what the discriminator needs."""

    @abstractmethod
    def discriminate(self, step: Step[Any]) -> Losses:
        """The discriminator's loss."""

    @abstractmethod
    def discriminator_weights(self, number: int) -> Mapping[str, float]:
        """A step's weights of the discriminator's terms."""


def load_measures(recipe: AgeRecipe, faces: Faces | JoinedFaces, kind: type[AgeWeights]) -> Measures:
    """The readers that a recipe names, calibrated on its faces, and E_A where one of its weights of the MI loss counts.

    kind: the method's dataclass of weights.
    """
    readers = load_readers(recipe.readers)
    counts = any(weights.mi for weights in both_weights(kind, recipe))
    aifd = load_identity_branch(recipe.aifd) if counts else None
    return Measures(readers, Calibration.measure(readers, faces, 1000), aifd)


def usable(faces: Faces | JoinedFaces, most_yaw: float = 40.0) -> np.ndarray:
    """(N,) bool: a known age and landmarks, the head turned by at most most_yaw degrees and tilted by at most 30."""
    labels = faces.labels
    turned = (np.abs(labels["pose"][:, 0]) <= most_yaw) & (np.abs(labels["pose"][:, 1]) <= 30)
    return ~np.isnan(labels["age"]) & turned & ~np.isnan(labels["landmarks"]).any((1, 2))


def held_out(faces: Faces, count: int = 8) -> dict[str, Tensor]:
    """A fixed handful of usable faces of the validation split, young to old; BadInput when there is none."""
    good = np.flatnonzero(usable(faces))
    if not len(good):
        raise BadInput(f"{faces.folder} has no face with an age in the split val to draw sample sheets of")
    # Faces of UTKFace fill their pictures: the frame around them is not real.
    whole = good[faces.table["source"].to_numpy()[good] != "utkface"] if "source" in faces.table else good
    good = whole if len(whole) >= count else good
    order = good[np.argsort(faces.labels["age"][good], kind="stable")]
    return faces.batch(order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)])


@torch.no_grad()
def age_sheet(generator: AgeGenerator, faces: dict[str, Tensor], path: Path) -> None:
    """One row a face: the source, its reconstruction, the age of each group, attention of the last. Writes a JPEG."""
    device = next(generator.parameters()).device
    face, age = faces["face"].to(device), faces["age"].to(device)
    columns = [face, generator(face, group_of(age))]
    for years in SHEET_AGES:
        target = torch.full_like(age, years)
        edited = edited_by(generator, face, faces["landmarks"].to(device), age, target)
        columns.append(edited.face)
    save_grid([*columns, as_picture(edited.attention)], path)


class AgeAndPerson(NamedTuple):
    """What the probe reads: age (B,) in years and identity (B,D); action units are not edited."""

    age: Tensor
    identity: Tensor


def age_edits(network: nn.Module, faces: dict[str, Tensor]) -> Edit:
    """The edits of a generator on fixed faces, for the probe: a face whose age stays is returned as it is."""
    generator = cast(AgeGenerator, network)

    def edit(face: Tensor, age: Tensor, to_age: Tensor, *_: Tensor) -> Edited:
        if torch.equal(age, to_age):
            return Edited(face, torch.zeros_like(face[:, :1]))
        return edited_by(generator, face, faces["landmarks"], age, to_age)

    return edit


Extra: TypeAlias = Tensor | Callable[[np.ndarray, np.ndarray], Tensor]
"""Further labels of faces: (N, ...), or a function of rows (B,) and of which of them are mirrored (B,)."""


def age_batches(
    faces: Faces | JoinedFaces, recipe: AgeRecipe, seed: int, extra: Mapping[str, Extra]
) -> Callable[[int], dict[str, Tensor]]:
    """Batches of usable faces, age groups balanced; BadInput when there is none.

    extra: further labels that every batch gets.
    """
    good = usable(faces, recipe.most_yaw)
    chance = np.where(good, balanced_weights(faces.labels["age"], recipe.balance), 0)
    if not chance.sum():
        raise BadInput(f"{faces.folder} has no face with an age and landmarks; training ages needs both")
    chance = in_shares(chance / chance.sum(), faces, recipe.shares)

    def batch(number: int) -> dict[str, Tensor]:
        picks, mirror = draw(number, seed, recipe.batch, chance)
        more = {
            name: labels[picks] if isinstance(labels, Tensor) else labels(picks, mirror)
            for name, labels in extra.items()
        }
        return faces.batch(picks, mirror) | more

    return batch


def age_players(objective: AgeObjective[R, G, D], lead: int) -> list[Player]:
    """The generator, from step `lead` on, then the discriminator, whose R1 needs float32."""
    recipe, rate = objective.recipe, objective.recipe.lr_discriminator
    return [
        Player(
            "generator",
            objective.generator,
            objective.generate,
            recipe.lr_generator,
            (recipe.momentum, 0.99),
            weights=objective.weights,
            start=lead,
        ),
        Player(
            "discriminator",
            objective.discriminator,
            objective.discriminate,
            rate,
            (0.0, 0.99),
            precise=True,
            weights=objective.discriminator_weights,
        ),
    ]


def age_task(
    method: str,
    objective: AgeObjective[R, G, D],
    faces: Faces | JoinedFaces,
    seed: int,
    extra: Mapping[str, Extra] | None = None,
    lead: int = 0,
) -> Task:
    """The task of a method, whose generator has the method's name in checkpoints.

    extra: further labels that every batch gets. lead: steps in which the discriminator learns before the
    generator does. BadInput when no face has an age.
    """
    recipe, readers = objective.recipe, objective.measures.readers
    batch = age_batches(faces, recipe, seed, extra or {})
    fixed = held_out(Faces(faces.folder, faces.size, ("val",)))

    def read(face: Tensor) -> AgeAndPerson:
        found = readers(face)
        return AgeAndPerson(found.age, found.identity)

    return Task(
        networks={method: objective.generator, "discriminator": objective.discriminator},
        players=age_players(objective, lead),
        batch=batch,
        averaged=(method,),
        configs={method: recipe.generator, "discriminator": recipe.discriminator},
        sheet=lambda networks, path: age_sheet(cast(AgeGenerator, networks[method]), fixed, path),
        probe=prober(method, age_edits, read, recipe.judge, fixed),
        helpers=objective.measures.modules(),
        compiled=(method,),
        watch=CollapseLimits().watch(),
    )
