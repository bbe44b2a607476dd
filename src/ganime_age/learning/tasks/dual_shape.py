"""Training the shape generator: the head model's answer is corrected by what it gets wrong on real faces.

With driving faces of the same person it would learn to copy them. So the face shape of every driving face is exchanged
for a stranger's by the head model, and the target stays the real photo: its person, its expression, its pose.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import BadInput
from ...networks.dual_generator import ShapeGenerator, centre
from ...networks.head import Head, HeadModel
from ...networks.readers import Readers
from .. import losses
from ..data.faces import Faces
from ..engine.task import Losses, Player, Step, Task
from .dual_pairs import Couples
from .frozen import load_head, load_readers

KINDS = ("people", "strangers", "same")


@dataclass
class Recipe:
    """Numbers of a recipe. head: a weights folder with a head model, "" for the shipped one. readers: a folder
    of the readers whose landmarks stand beside the labels; may be "". people: two photos of one person, driven through
    a stranger's shape; strangers: two persons, whose true answer is the head model's on exact landmarks; same: one
    photo, its landmarks read twice.
    noise: of landmarks, in frame sides. landmarks, identity: weights of the losses. hidden: see ShapeGenerator."""

    head: str = ""
    readers: str = "training/checkpoints/readers_robust"
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-3
    people: float = 0.5
    strangers: float = 0.4
    same: float = 0.1
    noise: float = 0.003
    landmarks: float = 1.0
    identity: float = 0.5
    hidden: int = 192


class Landmarks:
    """Landmarks of a face folder, as labelled and as readers read them, in batches of what the shape generator learns.

    sets: (N,68,2) each, the labels first. heads: those of the labels, N of them.
    """

    def __init__(self, recipe: Recipe, faces: Faces, head: HeadModel):
        self.recipe, self.head, self.couples = recipe, head, Couples(faces)
        label = torch.from_numpy(faces.labels["landmarks"].copy()).nan_to_num(0.5)
        self.sets = [label]
        if recipe.readers:
            self.sets.append(read_landmarks(load_readers(recipe.readers), faces, self.couples.usable, label))
        self.heads = head.fit(label)
        shares = np.array([getattr(recipe, kind) for kind in KINDS])
        if not shares.sum() > 0 or (shares < 0).any():
            raise BadInput("the recipe's people, strangers and same must be at least 0, and one of them more")
        self.shares = shares / shares.sum()

    def batch(self, step: int, seed: int) -> dict[str, Tensor]:
        """source, driving, disguised, target (B,68,2): two driving faces that differ in their person alone, and what
        both must make of the source, in the source's size and place."""
        rng = np.random.default_rng([seed, step])
        kinds = rng.choice(len(KINDS), self.recipe.batch, p=self.shares)
        people, strangers, _ = (kinds == index for index in range(len(KINDS)))
        first, last = self.couples.draw(rng, people)
        last[strangers] = rng.choice(self.couples.usable, int(strangers.sum()))
        own, other = self.labelled(first), self.labelled(last)
        source, driving = self.read(rng, first), self.read(rng, last)
        one, two = (self.disguised(driving, other, rng) for _ in range(2))
        asked = own._replace(expression=other.expression, pose=other.pose)
        answer = self.sets[0][first] + self.head.landmarks(asked) - self.head.landmarks(own)
        photo = self.sets[0][last] * (own.scale / other.scale)[:, None, None]
        wanted = torch.where(chosen(strangers), answer, photo)
        wanted = wanted + centre(self.sets[0][first]) - centre(wanted)
        return {
            "source": source,
            "driving": torch.where(chosen(people), one, driving),
            "disguised": two,
            "target": wanted,
        }

    def read(self, rng: np.random.Generator, rows: np.ndarray) -> Tensor:
        """Landmarks (B,68,2) of rows, each from any of the sets, with noise."""
        picks = torch.from_numpy(rng.integers(0, len(self.sets), len(rows)))
        marks = torch.stack([marks[rows] for marks in self.sets])[picks, torch.arange(len(rows))]
        return marks + self.recipe.noise * torch.randn_like(marks)

    def labelled(self, rows: np.ndarray) -> Head:
        """The heads of rows."""
        return Head(*(part[rows] for part in self.heads))

    def disguised(self, landmarks: Tensor, own: Head, rng: np.random.Generator) -> Tensor:
        """Landmarks (B,68,2) of heads with the face shape of strangers."""
        stranger = self.labelled(rng.choice(self.couples.usable, len(landmarks)))
        other = own._replace(identity=stranger.identity)
        return landmarks + self.head.landmarks(other) - self.head.landmarks(own)


def chosen(mask: np.ndarray) -> Tensor:
    """(B,) -> (B,1,1)."""
    return torch.from_numpy(mask)[:, None, None]


@torch.no_grad()
def read_landmarks(readers: Readers, faces: Faces, rows: np.ndarray, label: Tensor) -> Tensor:
    """(N,68,2): what the readers read on `rows`, the labels elsewhere."""
    out = label.clone()
    for part in np.array_split(rows, -(-len(rows) // 100)):
        out[part] = readers(faces.batch(part)["face"]).landmarks
    return out


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task of the shape generator on the faces of a folder."""
    head = load_head(recipe.head)
    landmarks, held_out = (
        Landmarks(recipe, given, head) for given in (faces, Faces(faces.folder, faces.size, ("val",)))
    )
    generator = ShapeGenerator(
        deepcopy(head), recipe.hidden
    )  # its own goes to the device, batches are made here
    still = held_out.batch(0, seed)

    weights = {"landmarks": recipe.landmarks, "identity": recipe.identity}

    def loss(step: Step[None]) -> Losses:
        return losses.weighted_sum(objective(generator, step.batch), weights)

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        given = {name: value.to(generator.head.mean.device) for name, value in still.items()}
        return {name: float(value) for name, value in objective(networks["shape"], given).items()}

    return Task(
        networks={"shape": generator},
        players=[
            Player(
                "shape",
                generator,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                precise=True,  # least squares on landmarks
                weights=lambda number: weights,
            )
        ],
        ahead=False,
        batch=lambda step: landmarks.batch(step, seed),
        averaged=("shape",),
        configs={"shape": {"hidden": recipe.hidden}},
        probe=probe,
        helpers=(generator.head,),
    )


def objective(generator: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """landmarks: mean distance to the target, in sides of the frame; identity: mean distance of the answers to two
    driving persons with one expression and pose, likewise."""
    answer, other = (generator(batch["source"], batch[name]) for name in ("driving", "disguised"))
    return {
        "landmarks": losses.point_distance(answer, batch["target"]),
        "identity": losses.point_distance(answer, other),
    }
