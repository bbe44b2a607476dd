"""Every recipe of training/recipes with tiny networks on synthetic faces: its three steps, also on a pretended GPU.

As a script, `python tests/helpers/recipes.py`, it prints as JSON how often each recipe lets the host wait for the GPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[k]) + end for k, end in ((2, "/src"), (1, ""))]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from PIL import Image  # noqa: E402

from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.engine.checkpoints import write_light  # noqa: E402
from ganime_age.learning.engine.loop import Run  # noqa: E402
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe  # noqa: E402
from ganime_age.learning.engine.task import Plan  # noqa: E402
from ganime_age.learning.tasks import head as head_task  # noqa: E402
from ganime_age.learning.tasks import task_module  # noqa: E402
from ganime_age.learning.tasks.frozen import load_head  # noqa: E402
from ganime_age.learning.tasks.head_fit import DEPTH  # noqa: E402
from ganime_age.networks.age_judge import AgeJudge  # noqa: E402
from ganime_age.networks.dual_generator import ShapeGenerator  # noqa: E402
from ganime_age.networks.ganimation_age import Generator  # noqa: E402
from ganime_age.networks.head import Head, HeadModel  # noqa: E402
from ganime_age.networks.prototypes import Prototypes  # noqa: E402
from ganime_age.networks.readers import Readers  # noqa: E402
from ganime_age.networks.restoring.patch_reader import PatchReader  # noqa: E402
from helpers.fake_device import GPU, Event, FakeDevice  # noqa: E402

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
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


def stand_in(replace: Callable[[object, str, object], None]) -> None:
    """MediaPipe's part of the head recipe: points of heads that the shipped model draws."""

    def measured(task: str, faces: Faces, rows: np.ndarray):
        rows, head = np.arange(600) % len(faces), load_head("")
        heads = standing(head, torch.from_numpy(faces.labels["pose"][rows]))
        points = head.points(heads)[:, :478].numpy().copy()
        points[..., 2] *= -1 / DEPTH
        scores = np.random.default_rng(0).random((600, 52), np.float32)
        return rows, points, scores

    replace(head_task, "measured", measured)


def tiny_run(
    name: str, faces: Path, networks: Path, out: Path, accelerator: Accelerator | None = None, **changes
) -> Run:
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
    return Run(module.build(recipe, shown, plan.seed), plan, out, accelerator)


class PretendedGPU(Accelerator):
    """accelerate's view of one process on a FakeDevice."""

    device = property(lambda self: GPU)  # type: ignore[assignment]


@dataclass
class Waits:
    """How often the host waited for the device. steps: in each step, making its batches left out; a transfer of
    logged terms is one. batches: in making the batches of each step. events: all of them."""

    steps: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@contextmanager
def pretended_gpu(waits: Waits) -> Iterator[Callable[[Run], Run]]:
    """A FakeDevice; gives what makes a run count its waits. Copies to the device are part of making a batch; logging,
    probes and saving are left out."""
    with FakeDevice() as gpu:

        def counted(run: Run) -> Run:
            one_step, fetch, report = run.one_step, run.fetch, run.report

            def step(progress: float) -> int:
                waits.steps.append(0)
                waits.batches.append(0)
                close(waits.steps)
                images = one_step(progress)
                close(waits.steps)
                return images

            def batch(index: int) -> dict[str, Any]:
                close(waits.steps)
                made = fetch(index)
                close(waits.batches, {"wait"})
                return made

            def quiet(*given: Any) -> None:
                close(waits.steps)
                with gpu.uncounted():
                    report(*given)

            def close(
                account: list[int], kinds: frozenset[str] | set[str] = frozenset(("wait", "copy"))
            ) -> None:
                new = [event for event in gpu.events if event.kind in kinds]
                if account:
                    account[-1] += len(new)
                waits.events += new
                gpu.events.clear()

            run.one_step, run.fetch, run.report = step, batch, quiet  # type: ignore[method-assign]
            gpu.events.clear()
            return run

        yield counted


def waits_of(name: str, faces: Path, networks: Path, out: Path) -> Waits:
    """The waits of a recipe's three steps."""
    waits = Waits()
    with pretended_gpu(waits) as counted:
        counted(tiny_run(name, faces, networks, out, PretendedGPU(cpu=True))).train()
    return waits


def main() -> None:
    """{recipe: {"ok": bool, "steps": most waits of a step, "batches": of making one}}; a failure tells why."""
    torch.set_num_threads(1)
    stand_in(setattr)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        faces, networks = write_faces(place / "faces"), write_networks(place / "networks")
        for name in NAMES:
            try:
                waits = waits_of(name, faces, networks, place / name)
                most = {"steps": max(waits.steps), "batches": max(waits.batches)}
                found[name] = {"ok": True} | most
            except Exception as error:  # one recipe must not end the others
                found[name] = {"ok": False, "why": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
