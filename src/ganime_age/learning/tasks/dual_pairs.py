"""Pairs to learn reenactment from: a source face, and the photo that moving it must end in.

turned: a photo turned away by its mesh is the source, the photo itself the target: what the turn hid is real in it.
expressed: the same with an edit of the photo's action units. people: two photos of one person. same: the photo itself,
with landmarks as inexact as a reader's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...networks.dual_generator import creased, render
from ...networks.ganimation_age import Generator
from ...networks.head import HeadModel
from ...networks.mesh import draw, turned
from ..data.faces import Faces

KINDS = ("turned", "expressed", "people", "same")
TURNS = (40.0, 20.0)
"""Largest angles by which a source is turned away from its photo: yaw and pitch in degrees."""
LIMITS = (50.0, 30.0)
"""The largest yaw and pitch of any face in a pair."""


@dataclass
class Shares:
    """Fraction of each kind of pair."""

    turned: float = 0.4
    expressed: float = 0.25
    people: float = 0.3
    same: float = 0.05


class Couples:
    """Which rows of a face folder may be paired: landmarks known, head not turned too far; and who they show."""

    def __init__(self, faces: Faces):
        labels = faces.labels
        near = np.all(np.abs(labels["pose"][:, :2]) <= LIMITS, axis=1)
        self.usable = np.flatnonzero(near & ~np.isnan(labels["landmarks"]).any((1, 2)))
        if not len(self.usable):
            raise BadInput(f"{faces.folder} has no face with landmarks and a pose to learn reenactment from")
        people = labels["person"][self.usable]
        groups = {p: self.usable[people == p] for p in np.unique(people[people >= 0])}
        self.groups = {int(p): rows for p, rows in groups.items() if len(rows) > 1}
        self.person = labels["person"]
        self.partnered = np.array(sorted(r for rows in self.groups.values() for r in rows), int)

    def draw(self, rng: np.random.Generator, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of sources and of targets (B,): two photos of one person where `people` (B,) is true, else the same."""
        target = rng.choice(self.usable, len(people))
        if len(self.partnered):
            target[people] = rng.choice(self.partnered, int(people.sum()))
        source = target.copy()
        for i in np.flatnonzero(people) if len(self.partnered) else ():
            others = self.groups[int(self.person[target[i]])]
            source[i] = rng.choice(others[others != target[i]])
        return source, target


class Pairs:
    """Batches of pairs of a face folder, drawn by the mesh and ready for the face generator.

    Drawn where `head` and `expressive` are: the rasterizer asks a GPU for the sizes of what it makes, for which the
    thread that makes batches ahead waits. Both are helpers of the task, so that they are where it trains. A batch
    follows from its `rng` alone.

    expressive: the trained generator of ganimation_age, whose prototypes also fill mouths and lay creases. creases:
    whether the action units' tones are laid on a source before it is drawn. noise: of landmarks, in frame sides.
    """

    def __init__(
        self,
        faces: Faces,
        head: HeadModel,
        expressive: Generator,
        shares: Shares,
        creases: bool = True,
        noise: float = 0.003,
    ):
        self.faces, self.head, self.expressive = faces, head, expressive
        self.creases, self.noise = creases, noise
        self.couples = Couples(faces)
        weights = np.array([getattr(shares, kind) for kind in KINDS])
        if not weights.sum() > 0 or (weights < 0).any():
            raise BadInput("the recipe's shares of pairs must be at least 0, and one of them more")
        self.probabilities = weights / weights.sum()

    @torch.no_grad()
    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """source, target, rendered (B,3,S,S); seen (B,1,S,S); source_landmarks, target_landmarks (B,68,2);
        target_aus (B,17); kind (B,), which of KINDS. valid, face (B,1,S,S): where the target is real, and its face."""
        kinds = rng.choice(len(KINDS), size, p=self.probabilities)
        people = kinds == KINDS.index("people")
        rows, mirror = self.couples.draw(rng, people), rng.random(size) < 0.5
        device = self.head.mean.device
        first, last = (
            {name: value.to(device) for name, value in self.faces.batch(r, mirror).items()} for r in rows
        )
        source, landmarks, units = (first[k] for k in ("face", "landmarks", "action_units"))
        units = units.nan_to_num(0.0)
        chance = torch.Generator().manual_seed(
            int(rng.integers(1 << 62))
        )  # torch's own is the training thread's
        makers: dict[str, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
            "turned": partial(self.turned, chance=chance),
            "expressed": self.expressed,
        }
        for kind, make in makers.items():
            own = np.flatnonzero(kinds == KINDS.index(kind))
            if len(own):
                chosen = torch.from_numpy(own).to(
                    device
                )  # numbers: a mask would have to be counted on the device
                parts = make(source[chosen], landmarks[chosen], units[chosen])
                source[chosen], landmarks[chosen], units[chosen] = parts
        goal, wanted = last["landmarks"], last["action_units"].nan_to_num(0.0)
        landmarks, goal = (
            x + self.noise * torch.randn(x.shape, generator=chance).to(x) for x in (landmarks, goal)
        )
        return {
            "source": source,
            "source_landmarks": landmarks,
            "target": last["face"],
            "target_landmarks": goal,
            "target_aus": wanted,
            "valid": last["valid"],
            "face": self.expressive.prototypes.face_region(last["landmarks"], self.faces.size),
            "kind": torch.from_numpy(kinds).to(device),
        } | self.rendered(source, landmarks, goal, units, wanted)

    def rendered(
        self, source: Tensor, landmarks: Tensor, goal: Tensor, units: Tensor, wanted: Tensor
    ) -> dict[str, Tensor]:
        """The face generator's input: the source rendered at the target's landmarks, and its visibility."""
        prototypes = self.expressive.prototypes
        if self.creases:
            source = creased(source, landmarks, wanted - units, prototypes)
        face, seen = render(source, landmarks, goal, wanted, self.head, prototypes)
        return {"rendered": face, "seen": seen}

    def turned(
        self, face: Tensor, landmarks: Tensor, units: Tensor, chance: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces turned to another yaw and pitch, drawn from `chance`, their landmarks and action units."""
        own = self.head.fit(landmarks)
        angles = []
        for now, most, limit in zip(own.pose.unbind(1), TURNS, LIMITS, strict=False):
            move = most * (2 * torch.rand(now.shape, generator=chance) - 1)
            angles.append((now + move.to(now)).clamp(-limit, limit))
        other = turned(own, *angles)
        moved = landmarks + self.head.landmarks(other) - self.head.landmarks(own)
        return draw(face, self.head.points(own), self.head.points(other), self.head).face, moved, units

    def expressed(self, face: Tensor, landmarks: Tensor, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Faces with another face's action units, by ganimation_age."""
        age, other = torch.full_like(units[:, 0], 30.0), units.roll(1, 0)
        asked = (age, age, units, other)
        prototypes = self.expressive.prototypes
        moved = landmarks + prototypes.combine("shape", "unit", other - units)
        return self.expressive(prototypes(face, landmarks, *asked), *asked).face, moved, other
