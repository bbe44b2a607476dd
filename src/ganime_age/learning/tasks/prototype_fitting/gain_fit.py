"""How far the prototypes of ages and the creases are exaggerated, fitted on validation faces.

A mean of many faces is duller than any of them, so what it changes is exaggerated; too much of it makes a caricature of
somebody else. Of every age knot three factors on the gains are found by coordinate descent: of the shape, of the skin
(tone and texture together, whose proportion stays) and of the creases. What is minimised is, as a mean over faces f and
the asked ages a,

    |read(edit of f to a) - read(real faces of a)| + LIKENESS (1 - cos(who is in the edit, who is in f))     in years,

and beside it, as a mean over a, the years by which all edits to a are off in the same direction: what a person reads as
more or less than asked is his own, what everybody does is the gains'. Paying for likeness leaves edits too young, so
after each sweep over the knots the creases are deepened until edits read as old as real faces in the mean (`unbiased`).
An edit is what the default method makes of a face, its network included where the model has one: what that draws of an
age the prototypes need not exaggerate.
Ages are read by what steers trainings, the package's reader and the age judge beside it, each against its own readings
of real faces; who somebody is by the package's identity reader. None of them reports on edits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ....edits import AU_CODES
from ....errors import BadInput
from ....model.methods import DEFAULT, METHODS
from ....model.model import GanimeAge
from ....networks.judging.age_judge import AgeJudge
from ....networks.prototypes import KNOTS, MAPS, NEUTRAL, Prototypes
from ...data.faces import Faces
from ..frozen import smooth_curve
from .prototype_fit import set_gains

KNOT_AGES = (1, 3, 6, 10, 15, 21, 28, 38, 49, 63, 79, 95)
"""The age asked for each age knot, in years: its own, but 1 and 95 for those at 0 and 100."""
LIKENESS = 10.0
"""Years of age error that one unit of the cosine is worth: a tenth of the cosine, one year."""
STEPS = (0.85, 1.18)
"""Factors on a gain that are tried at each visit."""
PARTS = {"shape": ("shape",), "skin": ("tone", "texture"), "creases": ("depth",)}
"""What is multiplied together."""
MOST = {"shape": 2.5, "tone": 5.0, "texture": 4.0, "depth": 4.8}
"""Largest gains."""
LINED = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.034, 0.17, 0.3, 0.69, 0.92, 1.0)
"""Share of the largest depth that creases may have at each age knot: the readers hardly see fine lines, and asked for
forty a face would get those of eighty, on which people see them drawn."""
DEEPER = 1.3
"""Largest factor by which creases are deepened, or made shallower, at once so that edits have no bias."""
FRONTAL = 20.0
"""Degrees of yaw up to which a face counts."""
SOURCE_AGES = (4.0, 60.0)
"""Youngest and oldest face that is edited, where nothing else is asked."""
APART = 6.0
"""Years that lie between a face's age and the one asked, at least."""

Gains = dict[str, dict[str, list[float]]]
"""`outward`: shape, tone and texture by knot; `wrinkles`: depth by knot. As lists of KNOTS numbers."""


class Score(NamedTuple):
    """What is read on edits to one age. bias, error: years, mean of the differences from real faces and of their
    absolute values; cosine: to the unedited face, mean; cost: see the module."""

    bias: float
    error: float
    cosine: float
    cost: float


class Edits:
    """Some validation faces, and what is read on edits of them."""

    @torch.no_grad()
    def __init__(
        self,
        faces: Faces,
        model: GanimeAge,
        judge: AgeJudge,
        count: int,
        seed: int = 0,
        source_ages: tuple[float, float] = SOURCE_AGES,
    ):
        """count: how many faces of the ages source_ages are edited; all of the folder say what real faces read.
        BadInput when there are none."""
        self.model, self.judge, self.source_ages = model, judge, source_ages
        low, high = source_ages
        age, yaw = faces.labels["age"], faces.labels["pose"][:, 0]
        landmarks = ~np.isnan(faces.labels["landmarks"]).any((1, 2))
        fit = landmarks & (np.abs(np.nan_to_num(yaw)) < FRONTAL)
        rows = np.flatnonzero(fit & (age >= low) & (age <= high))
        if not len(rows):
            raise BadInput(
                f"{faces.folder} has no validation face of {low:g} to {high:g} years with landmarks that looks ahead; "
                "gains need some"
            )
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
        self.batches = [faces.batch(part) for part in np.array_split(rows, max(1, len(rows) // 8))]
        self.who = [model.identity(one["face"], one["landmarks"]) for one in self.batches]
        known = np.flatnonzero(~np.isnan(age))
        parts = np.array_split(known, max(1, len(known) // 32))
        read = torch.cat([self.ages(faces.batch(part)["face"]) for part in parts])
        true = torch.from_numpy(age[known])
        self.real = torch.stack([smooth_curve(true, reading) for reading in read.T], 1)  # (101,2)

    def ages(self, faces: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,2) years, as the package's reader and the judge read them."""
        return torch.stack([self.model.read(faces, False).age, self.judge(faces)], 1)

    @torch.no_grad()
    def edited(self, face: Tensor, landmarks: Tensor, ages: tuple[Tensor, Tensor]) -> Tensor:
        """Faces (B,3,S,S) with landmarks (B,68,2), edited from and to ages (B,)."""
        same = face.new_zeros(len(face), len(AU_CODES))
        if METHODS[DEFAULT].part in self.model.parts:
            return self.model.edit(face, *ages, same, same, DEFAULT, landmarks=landmarks).face
        return self.model.prototypes(face, landmarks, *ages, same, same)

    @torch.no_grad()
    def score(self, asked: int) -> Score:
        """What is read on edits of the faces to an age."""
        off, likeness = [], []
        for one, who in zip(self.batches, self.who, strict=True):
            # On the way to an age older than NEUTRAL outward gains count for younger faces alone.
            far = asked - one["age"] >= APART if asked > NEUTRAL else (one["age"] - asked).abs() >= APART
            face, landmarks, age = (one[name][far] for name in ("face", "landmarks", "age"))
            if not len(face):
                continue
            edit = self.edited(face, landmarks, (age, torch.full_like(age, asked)))
            off.append((self.ages(edit) - self.real[asked]).mean(1))
            likeness.append((self.model.identity(edit, landmarks) * who[far]).sum(1))
        if not off:
            raise BadInput(f"no face is {APART:g} years or more from {asked}; gains need faces of other ages")
        years, cosine = torch.cat(off), torch.cat(likeness).mean()
        error = years.abs().mean()
        cost = error + years.mean().abs() + LIKENESS * (1 - cosine)
        return Score(*(round(float(x), 4) for x in (years.mean(), error, cosine, cost)))


def gains_of(prototypes: Prototypes) -> Gains:
    """The gains that prototypes have."""
    rows = {name: prototypes.outward[MAPS.index(name)].tolist() for name in ("shape", "tone", "texture")}
    creases = {} if prototypes.wrinkles is None else {"depth": prototypes.wrinkles.onset.tolist()}
    return {"outward": rows, "wrinkles": creases}


def as_recipe(gains: Gains) -> dict[str, Any]:
    """The same as a recipe's table `gains` writes them, in hundredths."""
    rows = {name: [round(x, 2) for x in row] for name, row in gains["outward"].items()}
    creases = [round(x, 2) for x in gains["wrinkles"].get("depth", [])]
    return {"outward": rows} | ({"wrinkles": creases} if creases else {})


def moved(gains: Gains, knot: int, part: str, factor: float) -> Gains:
    """The same with one of PARTS multiplied at one knot, up to MOST."""
    other = copy.deepcopy(gains)
    for row in (other["outward"], other["wrinkles"]):
        for name in PARTS[part]:
            if name in row:
                most = MOST[name] * (LINED[knot] if name == "depth" else 1.0)
                row[name][knot] = min(row[name][knot] * factor, most)
    return other


def unbiased(
    gains: Gains, bias: Callable[[Gains], float], knots: Iterable[int] = range(KNOTS), passes: int = 2
) -> Gains:
    """The same with creases as deep at the knots, by one factor a pass and within DEEPER each, as leaves no bias: gains
    -> years, mean over the ages."""

    def deeper(factor: float) -> Gains:
        found = gains
        for knot in knots:
            found = moved(found, knot, "creases", factor)
        return found

    for _ in range(passes):
        low, high = bias(gains), bias(deeper(STEPS[1]))
        # Years grow about linearly with the logarithm of the depth.
        slope = (high - low) / math.log(STEPS[1])
        if slope > 0:
            gains = deeper(min(max(math.exp(-low / slope), 1 / DEEPER), DEEPER))
    return gains


@torch.no_grad()
def fit_gains(
    model: GanimeAge,
    edits: Edits,
    sweeps: int = 2,
    youngest: int = 0,
    oldest: int = 100,
    told: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Give the model's prototypes the gains that cost least, of the knots from the age `youngest` to `oldest`.

    -> gains, as a recipe writes them; before and after: by age, what is read; what it was fitted on.
    """
    prototypes = model.prototypes

    def scores(gains: Gains, knots: Iterable[int]) -> list[Score]:
        set_gains(prototypes, as_recipe(gains))
        return [edits.score(KNOT_AGES[knot]) for knot in knots]

    def cost(gains: Gains, knots: Iterable[int]) -> float:
        return sum(score.cost for score in scores(gains, knots))

    best = gains_of(prototypes)
    before = scores(best, range(KNOTS))
    fitted = [knot for knot in range(KNOTS) if youngest <= KNOT_AGES[knot] <= oldest]
    for sweep in range(sweeps):
        taken = 0
        for knot in fitted:
            near = range(max(0, knot - 1), min(KNOTS, knot + 2))  # a knot counts at its neighbours too
            least = cost(best, near)
            for part, factor in product(PARTS, STEPS):
                other = moved(best, knot, part, factor)
                if other != best and (found := cost(other, near)) < least:
                    told(f"{KNOT_AGES[knot]} years: {part} x {factor}: {least:.2f} -> {found:.2f}")
                    best, least, taken = other, found, taken + 1
        told(f"sweep {sweep + 1}: {taken} moves; {as_recipe(best)}")
        best = unbiased(
            best, lambda gains: float(np.mean([score.bias for score in scores(gains, fitted)])), fitted
        )
        told(f"without bias: {as_recipe(best)}")
        if not taken:
            break
    after = scores(best, range(KNOTS))

    def table(found: list[Score]) -> list[dict[str, float]]:
        return [{"asked": asked, **one._asdict()} for asked, one in zip(KNOT_AGES, found, strict=True)]

    return {
        "gains": as_recipe(best),
        "before": table(before),
        "after": table(after),
        "ages": [youngest, oldest],
        "source_ages": list(edits.source_ages),
        "faces": sum(len(one["age"]) for one in edits.batches),
        "objective": f"mean |read - read on real faces| + |mean of the same| + {LIKENESS:g} (1 - cosine), years; "
        "then creases without bias",
    }
