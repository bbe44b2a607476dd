"""Training AIFD (networks/aifd.py) as MTLFace does: persons by CosFace, ages, ages unlearnt from the identity.

Beside MTLFace's terms the identity follows a teacher's embeddings of the same faces. A network that starts from an ONNX
file keeps that file's terms of use: what it says may be learnt from, its weights travel only where the file's may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput, MissingModel
from ...networks.aifd import AIFD
from .. import losses
from ..data.faces import Faces, balanced_weights, draw
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task
from .readers import ReadersObjective, Weights, augmented, labels_of

FOLD = 127.5 / 128
"""Factor on the first layer's weights: MobileFaceNets take (pixel - 127.5) / 128, AIFD (pixel - 127.5) / 127.5."""


@dataclass
class Recipe:
    """Numbers of a recipe. init: an ONNX file of a MobileFaceNet to start from, "" for none. augment: 0..1, strength
    of the random augmentation."""

    init: str = ""
    batch: int = 16
    lr: float = 1e-4
    weight_decay: float = 0.01
    balance: float = 0.4
    augment: float = 0.3
    weights: dict[str, Any] = field(default_factory=dict)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput when none has landmarks and an embedding of the teacher."""
    labels = faces.labels
    has = ~np.isnan(labels["landmarks"]).any((1, 2)) & ~np.isnan(labels["teacher"]).any(1)
    if not has.any():
        raise BadInput(
            f"{faces.folder} has no face with landmarks and teacher_identity; aifd is trained on both"
        )
    network = AIFD()
    if recipe.init:
        fill_from_onnx(network, Path(recipe.init))
    weights = fill(Weights, recipe.weights, "[recipe.weights] table")
    objective = ReadersObjective(int(labels["person"].max()) + 1, torch.ones(17), weights, labels_of(faces))
    start_centres(objective.centres, labels["person"], labels["teacher"])
    chance = np.where(has, balanced_weights(labels["age"], recipe.balance), 0.0)
    chance /= chance.sum()

    def loss(step: Step[None]) -> Losses:
        batch = augmented(step.batch, recipe.augment)
        terms = objective.person_terms(network(batch["face"], batch["landmarks"]), batch)
        return losses.weighted_sum(terms, vars(weights))

    players = nn.ModuleList([network, objective])
    return Task(
        networks={"aifd": network, "objective": objective},
        players=[
            Player(
                "aifd",
                players,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=objective.weight,
            )
        ],
        batch=lambda step: faces.batch(*draw(step, seed, recipe.batch, chance)),
        averaged=("aifd",),
        configs={"aifd": {}},
    )


@torch.no_grad()
def start_centres(centres: Tensor, person: np.ndarray, teacher: np.ndarray) -> None:
    """Turn CosFace's centres (P,128) to the mean embedding (N,128) that the teacher has of each person (N,), -1 for
    nobody; those of whom it has none stay. Lengths, which decide how fast they learn, stay too."""
    sums = np.zeros(centres.shape, np.float32)
    known = (person >= 0) & ~np.isnan(teacher).any(1)
    np.add.at(sums, person[known], teacher[known])
    means = torch.from_numpy(sums)
    has = means.norm(dim=1) > 0
    centres[has] = F.normalize(means[has], dim=1) * centres[has].norm(dim=1, keepdim=True)


def fill_from_onnx(network: AIFD, file: Path) -> None:
    """Fill backbone and identity head from the MobileFaceNet of an ONNX file, layer by layer in its order.

    Convolutions carry their bias or it is added after them; the last layer is a MatMul. MissingModel when the file or
    the package onnx is missing, BadInput when another network lies in the file.
    """
    convolutions = [
        m for m in network.modules() if isinstance(m, nn.Conv2d) and m is not network.attention.spatial
    ]
    slopes = [m.weight for m in network.backbone.modules() if isinstance(m, nn.PReLU)]
    places = [tensor for conv in convolutions for tensor in (conv.weight, conv.get_parameter("bias"))]
    places += [*slopes, network.identity_head.weight, network.identity_head.bias]
    found = stored_numbers(file)
    if [p.numel() for p in places] != [f.numel() for f in found]:
        raise BadInput(
            f"{file} holds another network than a MobileFaceNet of 128 numbers; name one in recipe.init"
        )
    with torch.no_grad():
        for place, numbers in zip(places, found, strict=True):
            place.copy_(numbers.reshape(place.shape))
        convolutions[0].weight *= FOLD


def stored_numbers(file: Path) -> list[Tensor]:
    """Weight and bias of each convolution of an ONNX file, then every PReLU's slopes, then the last layer's both."""
    if not file.is_file():
        raise MissingModel(f"{file} is missing; name an ONNX file of a MobileFaceNet in recipe.init, or none")
    try:
        import onnx
    except ImportError:
        raise MissingModel("onnx is not installed; pip install onnx") from None
    try:
        graph = onnx.load(file).graph
    except Exception as error:  # onnx passes on whatever its parser raises
        raise BadInput(f"{file} is no ONNX file: {error}") from None
    stored = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    adds = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}

    def with_bias(node: Any) -> list[Tensor]:
        after = adds.get(node.output[0])
        return [stored[n] for n in (*node.input[1:3], *(after.input if after else ())) if n in stored]

    out = [tensor for node in graph.node if node.op_type == "Conv" for tensor in with_bias(node)]
    out += [stored[n.input[1]] for n in graph.node if n.op_type == "PRelu" and n.input[1] in stored]
    for node in graph.node:
        if node.op_type == "MatMul":
            weight, *bias = with_bias(node)
            out += [weight.T, *bias]
    return out
