"""How fast the default recipe trains beside GANimation as published, with the same loop on the same machine.

Both are built from their recipes, each with its own batch size, and take their whole step: batch, losses, gradients,
clipping, optimisers, averages. Logging, sheets and checkpoints are left out. They take turns, so that what else the
machine does falls on both. Ours paints a crop of the frame and has its readers look at the frame; a third row is ours
with a crop as large as the frame.

What an image is. A round of GANimation is five steps of the critic, each on a batch of its own, and one step of the
generator, on the last of them; ours is one step of each on one batch. Two ways to count:

- `generator`: images that the generator was updated on; one batch a round. What is trained for is the generator, and a
  batch that only the critic saw teaches it nothing directly, so this is the count of the summary's ratio.
- `batch`: every image that any player was updated on; GANimation is credited for all five batches of its round. That
  is the kindest count to GANimation; its ratio stands in the summary too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ...edits import AU_CODES, AU_MAX
from ..data.faces import Faces
from ..engine.distributed import accelerator_on
from ..engine.loop import Run
from ..engine.recipe import fill, read_recipe
from ..engine.task import Plan

TaskModule = Callable[[str], ModuleType]
"""Name of a task -> its module, with `Recipe` and `build` (learning.tasks.task_module, a room above this one)."""
SIDE = 128
OURS, GANIMATION, WHOLE = "ganimation_age", "ganimation", "ganimation_age, whole frame"


@dataclass
class Contender:
    """A recipe under way. steps: of the loop in one repeat, so many that lazy terms and skipped players come evenly.
    rounds: how often the generator is updated in them. images: a batch."""

    run: Run
    steps: int
    rounds: int
    images: int

    def seconds(self) -> float:
        """The time of one repeat."""
        started = clock(self.run)
        for _ in range(self.steps):
            self.run.one_step(0.5)
            self.run.step += 1
        self.run.listen()
        return clock(self.run) - started


def clock(run: Run) -> float:
    """Seconds, once all that was asked of the device is done."""
    if run.accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(
    root: Path,
    task_module: TaskModule,
    *,
    repeats: int = 3,
    changes: dict[str, list[str]] | None = None,
    faces: int = 64,
) -> dict[str, Any]:
    """Images per second of both recipes at 128 px, the median of `repeats`; on a GPU too when there is one.

    root: the checkout, which holds training/recipes and the readers. changes: `--set` changes by recipe name.
    Summary: images_per_second_ours, _ganimation, _ratio (count `generator`), _ganimation_every_batch and
    _ratio_every_batch (count `batch`), on the CPU. Needs no face data: noise pictures stand in.
    """
    with tempfile.TemporaryDirectory() as folder:
        synthetic_faces(Path(folder), faces)
        given = (Path(root), Path(folder), repeats, changes or {}, task_module)
        devices = {"cpu": on_device("cpu", *given)}
        if torch.cuda.is_available():
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
                devices["cuda"] = apart.submit(on_device, "cuda", *given).result()
    ours, original = (devices["cpu"]["recipes"][name] for name in (OURS, GANIMATION))
    return {
        "summary": {
            "images_per_second_ratio": devices["cpu"]["ratio_generator"],
            "images_per_second_ours": ours["generator"],
            "images_per_second_ganimation": original["generator"],
            "images_per_second_ratio_every_batch": devices["cpu"]["ratio_batch"],
            "images_per_second_ganimation_every_batch": original["batch"],
        },
        "counts": {
            "generator": "images on which the generator was updated, per second; the ratio of the summary",
            "batch": "images on which any player was updated, per second: all five batches of GANimation's round",
        },
        "devices": devices,
        "side": SIDE,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        "faces": "noise pictures with random labels, decoded beforehand",
    }


def on_device(
    device: str,
    root: Path,
    folder: Path,
    repeats: int,
    changes: dict[str, list[str]],
    task_module: TaskModule,
) -> dict[str, Any]:
    """Both recipes on one device, alternating; ours a second time without its crop, when it has one."""
    contenders = {
        name: contender(root, folder, name, changes.get(name, []), device, task_module)
        for name in (OURS, GANIMATION)
    }
    recipe = read_recipe(root / "training" / "recipes" / f"{OURS}.toml", [])
    if recipe["recipe"].get("crop", SIDE) != SIDE:
        whole = [*changes.get(OURS, []), f"recipe.crop={SIDE}"]
        contenders[WHOLE] = contender(root, folder, OURS, whole, device, task_module)
    for each in contenders.values():
        each.seconds()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, each in contenders.items():
            times[name].append(each.seconds())
    recipes = {name: figures(each, times[name]) for name, each in contenders.items()}
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "precision": contenders[OURS].run.accelerator.mixed_precision.replace("no", "float32"),
        "ratio_generator": four_digits(recipes[OURS]["generator"] / recipes[GANIMATION]["generator"]),
        "ratio_batch": four_digits(recipes[OURS]["batch"] / recipes[GANIMATION]["batch"]),
        "recipes": recipes,
    }


def figures(each: Contender, seconds: list[float]) -> dict[str, Any]:
    """Both counts from the median time, and what they were made of."""
    median = statistics.median(seconds)
    return {
        "generator": four_digits(each.rounds * each.images / median),
        "batch": four_digits(each.steps * each.images / median),
        "batch_size": each.images,
        "steps_of_a_repeat": each.steps,
        "generator_updates_of_a_repeat": each.rounds,
        "seconds_of_each_repeat": [round(s, 3) for s in seconds],
    }


def four_digits(value: float) -> float:
    """Rounded to four significant digits."""
    return float(f"{value:.4g}")


def contender(
    root: Path, folder: Path, name: str, changes: list[str], device: str, task_module: TaskModule
) -> Contender:
    """A recipe of the checkout on the faces of a folder, in the middle of its run: nothing ramps up any more."""
    recipe = read_recipe(root / "training" / "recipes" / f"{name}.toml", changes)
    module = task_module(recipe["task"])
    folders = {k: str(root / v) for k, v in recipe["recipe"].items() if str(v).startswith("training/")}
    numbers = fill(module.Recipe, recipe["recipe"] | folders, "[recipe] table")
    plan = fill(Plan, recipe["run"], "[run] table")
    torch.manual_seed(plan.seed)
    task = module.build(numbers, Faces(folder, SIDE), plan.seed)
    run = Run(task, plan, folder / "run", accelerator_on(device))
    every = next(player.every for player in task.players if player.name == "generator")
    steps = max(every, getattr(numbers, "r1_every", 1))
    run.step = 1000 * steps
    return Contender(run, steps, steps // every, numbers.batch)


def synthetic_faces(folder: Path, count: int) -> None:
    """A face folder of noise pictures with every label: what a step costs does not depend on what it sees."""
    chance = np.random.default_rng(0)
    for i in range(count):
        pixels = chance.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    units = chance.uniform(0, AU_MAX, (count, len(AU_CODES))).astype(np.float32)
    marks = chance.uniform(0.2, 0.8, (count, 136)).astype(np.float32)
    pd.DataFrame(
        {
            "id": [str(i) for i in range(count)],
            "file": [f"{i}.png" for i in range(count)],
            "split": ["val" if i % 4 == 3 else "train" for i in range(count)],
            "age": chance.uniform(1, 90, count),
            "action_units": list(units),
            "landmarks": list(marks),
            "yaw": chance.normal(0, 5, count),
            "pitch": chance.normal(0, 5, count),
            "roll": 0.0,
            "source": "noise",
        }
    ).to_parquet(folder / "manifest.parquet")
