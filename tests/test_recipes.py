"""Every recipe of training/recipes builds its task and takes three steps, with tiny networks on synthetic faces."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.errors import MissingModel
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.checkpoints import write_light
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks import head as head_task
from ganime_age.learning.tasks import task_module
from ganime_age.learning.tasks.frozen import load_head
from ganime_age.learning.tasks.head_fit import DEPTH
from ganime_age.networks.age_judge import AgeJudge
from ganime_age.networks.dual_generator import ShapeGenerator
from ganime_age.networks.ganimation_age import Generator
from ganime_age.networks.head import Head, HeadModel
from ganime_age.networks.prototypes import Prototypes
from ganime_age.networks.readers import Readers
from ganime_age.networks.restoring.patch_reader import PatchReader

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml") if not path.stem.startswith("multipose"))
SIDE = 64
SOURCES = ("utkface", "celeba", "synth", "aaf", "ffhq128", "ffhq256", "multipose_mesh", "fairface")
READERS = {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}
JUDGE = {"size": 64, "widths": [8, 8, 8]}
PATCHES = {"widths": [8, 8, 8]}
PAINTER = {"widths": [8, 8, 16], "blocks": 1}
SOON = {"lead_steps": 1, "ramp_steps": 1, "r1_every": 2}
AGE_GAN = {"batch": 3, **SOON}
TINY = {
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
    "identity": {"batch": 4, "bank": 16, "network": {"widths": [8, 8, 8], "blocks": [1, 1, 1], "squeeze": 4}},
    "detector": {
        "batch": 4,
        "canvas": 64,
        "network": {"seek_width": 16, "mark_width": 16, "crop_side": 32},
    },
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
    "head": {"landmarker": "stands in", "identity": 8, "expression": 6},
    "local_reader": {"batch": 4, "network": {"widths": [8, 8, 16]}},
    "prototypes": {"batch": 2, "network": {"hair": {"widths": [4, 8, 8, 8, 8]}}},
    "ragan": AGE_GAN
    | {
        "generator": {"widths": [8, 8, 8, 16], "blocks": 1, "order": 2},
        "discriminator": {"widths": [8, 8, 8]},
    },
    "readers": {"batch": 4, "network": READERS},
    "patch_reader": {"batch": 3, "crops": 2, "crop": 32, "network": PATCHES},
    "restore": {
        "crop": 32,
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
    parts = (0.5 * torch.randn(len(pose), len(b), generator=chance) for b in (head.identity, head.expression))
    return Head(*parts, pose, torch.full((len(pose),), 0.56), torch.full((len(pose), 2), 0.5))


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


def write_networks(folder: Path) -> Path:
    """Untrained networks where recipes look for trained ones."""
    torch.manual_seed(0)
    prototypes, generator, head = Prototypes(), Generator(**PAINTER), load_head("")
    for each in (prototypes, generator.prototypes):
        each.age_tone.normal_(std=0.3)
        each.region.fill_(1.0)
        each.unit_shape.normal_(0, 0.002)
    generator.prototypes.mean_shape.copy_(head.landmarks(standing(head, torch.zeros(1, 3)))[0])
    networks = {
        "readers": (Readers(**READERS), READERS),
        "prototypes": (prototypes, {}),
        "age_judge": (AgeJudge(**JUDGE), JUDGE),
        "patch_reader": (PatchReader(**PATCHES), PATCHES),
        "generator": (generator, PAINTER),
        "shape": (ShapeGenerator(head, 8), {"hidden": 8}),
    }
    folder.mkdir(parents=True)
    made, configs = ({name: pair[i] for name, pair in networks.items()} for i in (0, 1))
    write_light(made, configs, folder)
    return folder


def places(recipe: dict, networks: Path) -> dict:
    """The folders that a recipe's table names, or leaves to their defaults, replaced by `networks`."""
    return {
        name: str(networks)
        for name in ("readers", "prototypes", "judge", "expressive", "shape", "init", "patch_reader")
        if name in recipe and not (name == "init" and not recipe[name])
    }


def stand_in(monkeypatch) -> None:
    """MediaPipe's part of the head recipe: points of heads that the shipped model draws."""

    def measured(task: str, faces: Faces, rows: np.ndarray):
        rows, head = np.arange(600) % len(faces), load_head("")
        heads = standing(head, torch.from_numpy(faces.labels["pose"][rows]))
        points = head.points(heads)[:, :478].numpy().copy()
        points[..., 2] *= -1 / DEPTH
        scores = np.random.default_rng(0).random((600, 52), np.float32)
        return rows, points, scores

    monkeypatch.setattr(head_task, "measured", measured)


def tiny_run(name: str, faces: Path, networks: Path, out: Path, **changes) -> Run:
    """A recipe file's run of three steps, made small."""
    tables = fill(Tables, read_recipe(RECIPES / f"{name}.toml", []), "top level")
    module = task_module(tables.task)
    table = vars(module.Recipe()) | tables.recipe
    numbers = tables.recipe | places(table, networks) | TINY.get(name, TINY[tables.task]) | changes
    recipe = fill(module.Recipe, numbers, "[recipe] table")
    plan = Plan(steps=3, warmup=1, schedule="constant", log_every=1, save_every=3, watch_every=0)
    torch.manual_seed(0)
    size = 128 if tables.task == "local_reader" else SIDE
    shown = Faces(faces, size, sources=tuple(tables.sources), hold_out=tables.hold_out)
    return Run(module.build(recipe, shown, plan.seed), plan, out)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("synthetic") / "faces")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return write_networks(tmp_path_factory.mktemp("trained") / "networks")


SHOWN = {"mask", "believed", "painted", "drawn", "age_error"}
"""What tasks log beside their terms."""


def used(thing: object, depth: int = 4) -> Iterator[torch.nn.Module]:
    """The networks that a loss reaches: through what a function closes over and what the package's objects hold."""
    if isinstance(thing, torch.nn.Module):
        yield thing
        return
    held: list[object] = []
    if isinstance(thing, MethodType):
        held = [thing.__self__]
    elif isinstance(thing, FunctionType):
        held = [cell.cell_contents for cell in thing.__closure__ or ()]
    elif type(thing).__module__.startswith("ganime_age.learning.tasks"):
        held = list(vars(thing).values())
    for each in held if depth else ():
        yield from used(each, depth - 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_takes_three_steps_and_all_its_networks_move(
    name, faces, networks, tmp_path, monkeypatch
):
    stand_in(monkeypatch)
    run = tiny_run(name, faces, networks, tmp_path)
    run.train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    counters = {"step", "minutes", "images", "images_per_second"}
    terms = {key for line in lines for key in line if key not in counters and not key.startswith("lr_")}
    weights = {key for player in run.task.players for key in player.weights(2)}
    assert terms - weights <= SHOWN and (terms or not run.task.players)
    assert all(line[key] is not None for line in lines for key in terms & set(line)), "all are finite"
    assert (tmp_path / "light" / f"{next(iter(run.task.configs))}.json").is_file()
    if run.task.probe:
        with torch.no_grad():
            found = run.task.probe(run.best_networks())
        assert all(math.isfinite(value) for value in found.values())
    run.accelerator = SimpleNamespace(device=torch.device("meta"))
    run.place()
    for module in (module for player in run.task.players for module in used(player.loss)):
        left = [key for key, value in module.named_buffers() if not value.is_meta]
        left += [key for key, value in module.named_parameters() if not value.is_meta]
        assert not left, f"{type(module).__name__} stays on the CPU when a run is on a GPU: {left}"


def test_a_head_model_without_scipy_is_one_sentence(faces, networks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(MissingModel, match="scipy must be installed to measure a head model: pip install"):
        tiny_run("head", faces, networks, tmp_path)
