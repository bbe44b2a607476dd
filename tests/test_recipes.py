"""Every recipe of training/recipes builds its task and takes three steps, with tiny networks on synthetic faces."""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType, SimpleNamespace

import pytest
import torch

from ganime_age.errors import MissingModel
from ganime_age.learning.engine.distributed import make_accelerator
from ganime_age.learning.engine.fake_device import PretendedGPU, told
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks.rehearsal.tiny import (
    tiny_run,
    without_teachers,
    write_faces,
    write_networks,
)
from ganime_age.learning.tasks.rehearsal.waits import Waits, pretended_gpu

pytestmark = pytest.mark.usefixtures("few_shown")
RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml") if not path.stem.startswith("multipose"))


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


def probed(run: Run) -> dict[str, float]:
    """The figures of a run's probe, if it has one."""
    if not run.task.probe:
        return {}
    with torch.no_grad():
        return run.task.probe(run.best_networks())


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_takes_three_steps_and_all_its_networks_move(name, faces, networks, tmp_path):
    """On a pretended GPU, where the host waits once a step at most: to hear of the logged terms."""
    waits = Waits()
    with without_teachers(), pretended_gpu(waits) as counted:
        run = counted(tiny_run(RECIPES / f"{name}.toml", faces, networks, tmp_path, PretendedGPU(cpu=True)))
        run.train()
        found = probed(run)
    assert max(waits.steps) <= 1, told(waits.events)
    assert not any(waits.batches), told(waits.events)
    assert all(math.isfinite(value) for value in found.values())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    counters = {"step", "minutes", "images", "images_per_second"}
    terms = {key for line in lines for key in line if key not in counters and not key.startswith("lr_")}
    weights = {key for player in run.task.players for key in player.weights(2)}
    assert terms - weights <= SHOWN and (terms or not run.task.players)
    assert all(line[key] is not None for line in lines for key in terms & set(line)), "all are finite"
    assert (tmp_path / "light" / f"{next(iter(run.task.configs))}.json").is_file()
    run.accelerator = SimpleNamespace(device=torch.device("meta"))
    run.place()
    for module in (module for player in run.task.players for module in used(player.loss)):
        left = [key for key, value in module.named_buffers() if not value.is_meta]
        left += [key for key, value in module.named_parameters() if not value.is_meta]
        assert not left, f"{type(module).__name__} stays on the CPU when a run is on a GPU: {left}"


def test_no_recipe_ends_by_the_clock_before_its_steps_are_done():
    """Whoever asks for more steps gets them; --minutes, or run.minutes of an older recipe, still ends a run."""
    for path in sorted(RECIPES.glob("*.toml")):
        assert "minutes" not in read_recipe(path, []).get("run", {}), path.name
    assert fill(Plan, {"steps": 10, "minutes": 1.0}, "[run] table").progress(1, 60.0) == 1.0


def test_pairs_are_drawn_where_the_networks_are(faces, networks, tmp_path):
    """By a thread in a run. Here in this one, where the pretended GPU sees what lies apart."""
    with pretended_gpu(Waits()):
        accelerator = PretendedGPU(cpu=True)
        run = tiny_run(RECIPES / "dual_generator.toml", faces, networks, tmp_path, accelerator)
        drawn = run.task.batch(0)
        assert {name for name, value in drawn.items() if not value.is_cuda} == set()
        again = run.task.batch(2)
        assert not torch.equal(drawn["rendered"], again["rendered"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_takes_three_steps_on_a_gpu(name, faces, networks, tmp_path, monkeypatch):
    """On a GPU that is there, which warns of every wait; in bfloat16 where it can."""
    accelerator, waits = make_accelerator("auto", None, tmp_path), []
    with without_teachers():
        run = tiny_run(RECIPES / f"{name}.toml", faces, networks, tmp_path, accelerator)
    one_step = run.one_step

    def step(progress):
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            images = one_step(progress)
        torch.cuda.set_sync_debug_mode("default")
        waits.append([str(one.message) for one in told if "synchronizing" in str(one.message)])
        return images

    monkeypatch.setattr(run, "one_step", step)
    run.train()
    assert not any(waits[1:]), "constants are brought there in the first step alone"
    assert all(math.isfinite(value) for value in probed(run).values())


def test_a_head_model_without_scipy_is_one_sentence(faces, networks, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)
    with pytest.raises(MissingModel, match="scipy must be installed to measure a head model: pip install"):
        tiny_run(RECIPES / "head.toml", faces, networks, tmp_path)
