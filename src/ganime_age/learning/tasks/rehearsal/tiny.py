"""Every recipe with tiny networks on synthetic faces: what a rehearsal runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import nn

from ....networks.aligned.attributes import AttributeReader
from ....networks.aligned.identity import IdentityReader
from ....networks.dual_generator import ShapeGenerator
from ....networks.ganimation_age import Generator
from ....networks.ganimation_age import network as generator_of
from ....networks.hair.finding import MATTE_SIDE
from ....networks.head import Head, HeadModel
from ....networks.judging.age_judge import AgeJudge
from ....networks.prototypes import Prototypes
from ....networks.readers import Readers
from ...data.faces import Faces
from ...engine.checkpoints import write_light
from ...engine.distributed import Accelerator
from ...engine.loop import Run
from ...engine.recipe import Tables, fill, read_recipe
from ...engine.task import Plan
from .. import hair as hair_task
from .. import head as head_task
from .. import task_module
from ..frozen import load_head
from ..head_fit import DEPTH

SIDE = 64
"""Side in pixels of the tiny runs' faces."""
SOURCES = ("utkface", "celeba", "synth", "aaf", "ffhq128", "ffhq256", "multipose_mesh", "fairface")
READERS: dict[str, Any] = {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}
JUDGE: dict[str, Any] = {"size": 64, "widths": [8, 8, 8]}
ALIGNED: dict[str, Any] = {"widths": [8, 8, 8], "blocks": [1, 1, 1], "squeeze": 4}
PAINTER: dict[str, Any] = {"widths": [8, 8, 16], "blocks": 1}
STANDS_IN = "stands in"
DENOISER = "denoiser"
"""The folder, within that of all networks, of the generator that another learns from."""
SOON = {"lead_steps": 1, "ramp_steps": 1, "r1_every": 2}
AGE_GAN = {"batch": 3, **SOON}
TINY: dict[str, dict[str, Any]] = {
    "age_judge": {"batch": 4, "network": JUDGE},
    "judge_frame": {"batch": 4, "network": {"widths": [8, 8], "blocks": [1, 1]}},
    "judge_face": {"batch": 4, "network": {"widths": [8, 8, 8], "blocks": [1, 1, 1]}},
    "judge_parts": {"batch": 4, "network": {"widths": [8, 8, 8, 8], "heads": 2}},
    "agetransgan": AGE_GAN
    | {
        "generator": {"size": SIDE, "width": 0.25, "style": 16, "layers": 2},
        "discriminator": {"size": SIDE, "width": 0.25},
    },
    "aifd": {"batch": 3},
    "identity": {"batch": 4, "bank": 16, "network": ALIGNED},
    "attributes": {"batch": 4, "network": ALIGNED},
    "detector": {
        "batch": 4,
        "canvas": 64,
        "network": {"seek_width": 16, "mark_width": 16, "crop_side": 32},
    },
    "denoise": {"batch": 3, "network": {"widths": [8, 8, 8], "blocks": [1, 1, 1]}},
    "distil": {"batch": 3, "fresh": 2, "pool": 4, "crop": 48},
    "dual_generator": {
        "batch": 2,
        "ramp_steps": 2,
        "r1_every": 2,
        "network": {"shape_hidden": 8, "style": 8, **PAINTER},
        "discriminator": {"widths": [8, 8]},
    },
    "dual_shape": {"batch": 4, "hidden": 8},
    "ganimation": {
        "batch": 3,
        "critic_steps": 2,
        "generator": {"width": 4, "blocks": 1},
        "discriminator": {"width": 4},
    },
    "ganimation_age": {
        "batch": 3,
        "crop": 48,
        "ramp_steps": 1,
        "r1_every": 2,
        "generator": PAINTER,
        "discriminator": {"widths": [8, 8, 8]},
    },
    "ganimation_age_published": {
        "critic_steps": 2,
        "stages": [{"epochs": 1, "batch": 3, "size": SIDE}],
        "generator": {"width": 4, "blocks": 1, "style": 8},
        "discriminator": {"width": 4},
    },
    "hair": {"batch": 2, "hair_teacher": STANDS_IN, "network": {"widths": [4, 8, 8, 8, 8]}},
    "head": {"landmarker": STANDS_IN, "identity": 8, "expression": 6},
    "local_reader": {"batch": 4, "network": {"widths": [8, 8, 16]}},
    "prototypes": {"batch": 2, "network": {"hair": {"widths": [4, 8, 8, 8, 8]}}},
    "ragan": AGE_GAN
    | {
        "generator": {"widths": [8, 8, 8, 16], "blocks": 1, "order": 2},
        "discriminator": {"widths": [8, 8, 8]},
    },
    "readers": {"batch": 4, "network": READERS},
    "restore": {
        "crop": 32,
        "window": 48,
        "adversarial_from": 0,
        "steer_from": 1,
        "r1_every": 2,
        "generator": {"widths": [8, 8, 8], "deep": 1},
        "discriminator": {"widths": [8, 8, 8]},
    },
}
"""Numbers by recipe or task that make a recipe small and let each term count within three steps."""


def standing(head: HeadModel, pose: torch.Tensor) -> Head:
    """Heads of random people in the middle of their frames, turned by pose (N,3) in degrees."""
    chance = torch.Generator().manual_seed(0)
    identity, expression = (
        0.5 * torch.randn(len(pose), len(b), generator=chance) for b in (head.identity, head.expression)
    )
    return Head(identity, expression, pose, torch.full((len(pose),), 0.56), torch.full((len(pose), 2), 0.5))


def write_faces(folder: Path, count: int = 56) -> Path:
    """A face folder of noise pictures with every label, of all sources that recipes name."""
    chance, head = np.random.default_rng(0), load_head("")
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = chance.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / f"{i}.png")
    pose = torch.from_numpy(chance.normal(0, (12, 6, 2), (count, 3)).astype(np.float32))
    teacher = chance.normal(size=(count, 128)).astype(np.float32)
    marks = head.landmarks(standing(head, pose)).flatten(1).numpy()
    table = pd.DataFrame({"id": range(count), "file": [f"{i}.png" for i in range(count)]})
    table["split"] = ["train" if i < 0.75 * count else "val" for i in range(count)]
    table["source"] = [SOURCES[i % len(SOURCES)] for i in range(count)]
    table["age"] = chance.uniform(1, 90, count)
    ranged = table["source"] == "fairface"
    table["age_low"], table["age_high"] = ((table["age"] + years).where(ranged) for years in (-5, 4))
    table.loc[ranged, "age"] = None
    table["identity"] = [f"person {i % 4}" for i in range(count)]
    table["cluster"] = [f"picture {i}" for i in range(count)]
    table["action_units"] = [chance.uniform(0, 5, 17).astype(np.float32) for _ in range(count)]
    table["landmarks"] = list(marks.astype(np.float32))
    table["teacher_identity"] = list(teacher / np.linalg.norm(teacher, axis=1, keepdims=True))
    table["yaw"], table["pitch"], table["roll"] = pose.numpy().T
    table.to_parquet(folder / "manifest.parquet")
    return folder


def write_networks(folder: Path, tiny: bool = True) -> Path:
    """Untrained networks where recipes look for trained ones, tiny or as large as those that ship."""
    torch.manual_seed(0)
    readers, judge, aligned, painter, hidden = (
        (READERS, JUDGE, ALIGNED, PAINTER, {"hidden": 8}) if tiny else ({}, {}, {}, {}, {})
    )
    prototypes, generator, head = Prototypes(), Generator(**painter), load_head("")
    for each in (prototypes, generator.prototypes):
        each.get_buffer("age_tone").normal_(std=0.3)
        each.region.fill_(1.0)
        each.unit_shape.normal_(0, 0.002)
    generator.prototypes.mean_shape.copy_(head.landmarks(standing(head, torch.zeros(1, 3)))[0])
    networks: dict[str, tuple[nn.Module, dict[str, Any]]] = {
        "readers": (Readers(**readers), readers),
        "prototypes": (prototypes, {}),
        "age_judge": (AgeJudge(**judge), judge),
        "attributes": (AttributeReader(**aligned), aligned),
        "identity": (IdentityReader(**aligned), aligned),
        "generator": (generator, painter),
        "shape": (ShapeGenerator(head, **hidden), hidden),
    }
    write_all(networks, folder)
    drawing = {"kind": "denoiser", **(TINY["denoise"]["network"] if tiny else {})}
    write_all({"generator": (generator_of(**drawing), drawing)}, folder / DENOISER)
    return folder


def write_all(networks: Mapping[str, tuple[nn.Module, dict[str, Any]]], folder: Path) -> None:
    """Networks with their keywords, by name, as exported weights in a new folder."""
    folder.mkdir(parents=True)
    made = {name: network for name, (network, _) in networks.items()}
    write_light(made, {name: config for name, (_, config) in networks.items()}, folder)


def places(recipe: Mapping[str, Any], networks: Path) -> dict[str, str]:
    """The folders that a recipe's table names, or leaves to their defaults, replaced by `networks`."""
    teacher = {"teacher": str(networks / DENOISER)} if "teacher" in recipe else {}
    return teacher | {
        name: str(networks)
        for name in (
            *("readers", "prototypes", "judge", "expressive", "shape", "init"),
            *("attribute_reader", "identity_reader", "second_reader"),
        )
        if name in recipe and not (name == "init" and not recipe[name])
    }


@contextmanager
def without_teachers() -> Iterator[None]:
    """Within, the recipe of the head model measures points of heads that the shipped model draws, and the recipe of
    hair finds it in the upper third of every face."""

    def measured(task: str, faces: Faces, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows, head = np.arange(600) % len(faces), load_head("")
        heads = standing(head, torch.from_numpy(faces.labels["pose"][rows]))
        points = head.points(heads)[:, :478].numpy().copy()
        points[..., 2] *= -1 / DEPTH
        scores = np.random.default_rng(0).random((600, 52), np.float32)
        return rows, points, scores

    def taught_hair(teacher: str, faces: Faces, *others: object) -> tuple[np.ndarray, np.ndarray]:
        masks = np.zeros((len(faces), MATTE_SIDE, MATTE_SIDE), np.uint8)
        masks[:, : MATTE_SIDE // 3] = 255
        return np.arange(len(faces)), masks

    with (
        mock.patch.object(head_task, "measured", measured),
        mock.patch.object(hair_task, "taught_hair", taught_hair),
    ):
        yield


def stand_ins(task: str) -> dict[str, Any]:
    """The numbers of a recipe that name a teacher, for which `without_teachers` puts another."""
    return {name: value for name, value in TINY[task].items() if value == STANDS_IN}


def tiny_run(
    recipe: Path,
    faces: Path,
    networks: Path,
    out: Path,
    accelerator: Accelerator | None = None,
    **changes: Any,
) -> Run:
    """A recipe file's run of three steps, made small. faces, networks: what write_faces and write_networks wrote."""
    tables = fill(Tables, read_recipe(recipe, []), "top level")
    plan = Plan(steps=3, warmup=1, schedule="constant", log_every=1, save_every=3, watch_every=0)
    size = 128 if tables.task == "local_reader" else SIDE
    changes = TINY.get(recipe.stem, TINY[tables.task]) | changes
    return run_of(tables, changes, plan, size, (faces, networks, out), accelerator)


def run_of(
    tables: Tables,
    changes: dict[str, Any],
    plan: Plan,
    size: int,
    folders: tuple[Path, Path, Path],
    accelerator: Accelerator | None,
) -> Run:
    """The run of a recipe's tables, with changes of its `[recipe]` table, on faces of `size` px. folders: of faces, of
    networks, and of the run."""
    faces, networks, out = folders
    module = task_module(tables.task)
    table = vars(module.Recipe()) | tables.recipe
    numbers = tables.recipe | places(table, networks) | changes
    recipe = fill(module.Recipe, numbers, "[recipe] table")
    torch.manual_seed(plan.seed)
    shown = Faces(faces, size, sources=tuple(tables.sources), hold_out=tables.hold_out)
    return Run(module.build(recipe, shown, plan.seed), plan, out, accelerator)
