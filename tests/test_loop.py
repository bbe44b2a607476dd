"""What somebody who trains may rely on: processes share a step, and a kill costs what came after the last save."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.engine import checkpoints
from ganime_age.learning.engine import logging as run_log
from ganime_age.learning.engine.atomic_files import RowReader
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.task import Losses, Plan, Player, Task
from helpers.files import files_no_larger_than
from helpers.tiny_gan import tiny_gan
from helpers.training import ENVIRONMENT, TRAIN, order, readers_run, recipe, side_by_side

ROOT = Path(__file__).resolve().parents[1]
WORKER = """
import hashlib, json, os, sys
sys.path.insert(0, sys.argv.pop(1))
import train
given = train.arguments()
run = train.prepare(given, given.out)
if os.environ.get("FAILS") == os.environ["RANK"]:
    def batch(number):
        raise train.BadInput("this process cannot go on")
    run.task.batch = batch
run.train()
tensors = {}
for name, network in {**run.task.networks, **run.averages}.items():
    tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
for index, optimizer in enumerate(run.optimizers):
    for number, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"{index}.{number}.{key}": value for key, value in entry.items()}
hashes = {key: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for key, value in tensors.items()}
if os.environ.get("TESTS"):
    sys.path.insert(0, os.environ["TESTS"])
    from ganime_age.learning.engine.loop import Run
    from helpers.tiny_gan import tiny_gan
    gan = Run(tiny_gan(4), train.Plan(steps=4, warmup=1), given.out / "gan", run.accelerator)
    gan.train()
with open(f"{given.out}-rank{os.environ['RANK']}.json", "w") as file:
    json.dump({"step": run.step, "hashes": hashes, "processes": run.accelerator.num_processes}, file)
run.accelerator.end_training()
"""


def readers(faces: Path, out: Path, steps: int, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """The parameters after a run of the same recipe in this process."""
    run = readers_run(faces, out, steps)
    run.plan.accumulate = accumulate
    run.train()
    return {k: v.detach() for n in run.task.networks.values() for k, v in n.named_parameters()}


@pytest.mark.slow
def test_two_processes_share_each_step(face_shards, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    toml = recipe(tmp_path, 3, save_every=2)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    order_ = order(face_shards, tmp_path / "out", toml, "--set", "recipe.batch=8")
    done = subprocess.run(
        [*launch, str(worker), str(TRAIN.parent), *order_],
        env=ENVIRONMENT | {"TESTS": str(ROOT / "tests")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"out-rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == 2 and first["step"] == 3 and len(first["hashes"]) > 100
    assert first == second
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3] and log[-1]["images"] == 3 * 2 * 8

    kept = load_file(tmp_path / "out" / "checkpoint" / "readers.safetensors")
    kept |= load_file(tmp_path / "out" / "checkpoint" / "objective.safetensors")
    alone = readers(face_shards, tmp_path / "alone", 3)
    both = readers(face_shards, tmp_path / "both", 3, accumulate=2)
    names = [name for name in alone if not torch.equal(alone[name], both[name])]
    distance = lambda other: sum((kept[n] - other[n]).square().sum() for n in names).sqrt()  # noqa: E731
    assert distance(both) < 0.02 * distance(alone)

    whole = Run(tiny_gan(8), Plan(steps=4, warmup=1), tmp_path / "whole")
    whole.train()  # one process that sees in each step what the two saw, R1 and the moving average with it
    for place in ("checkpoint/generator", "checkpoint/discriminator", "checkpoint/generator.average"):
        one, two = (load_file(tmp_path / out / f"{place}.safetensors") for out in ("whole", "out/gan"))
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_process_that_fails_does_not_leave_the_other_waiting(face_shards, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    order_ = order(face_shards, tmp_path / "out", recipe(tmp_path, 100_000))
    started = side_by_side([sys.executable, str(worker), str(TRAIN.parent), *order_], FAILS="1")
    try:
        errors = [process.communicate(timeout=300)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert all(process.returncode for process in started) and "this process cannot go on" in errors[1]
    assert not (tmp_path / "out" / "checkpoint").exists()


@pytest.fixture
def train(monkeypatch):
    """train.py as a module."""
    monkeypatch.syspath_prepend(TRAIN.parent)
    return importlib.import_module("train")


def test_a_new_run_leaves_an_old_one_and_a_dry_run_goes_on(face_shards, tmp_path, train, monkeypatch):
    out, toml = tmp_path / "out", recipe(tmp_path, 2)

    def prepared(place, *more):
        monkeypatch.setattr(sys, "argv", ["train.py", *order(face_shards, out, toml, *more)])
        return train.prepare(train.arguments(), place)

    prepared(out).train()
    left = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for more in ((), ("--init-from", str(out / "checkpoint"))):
        with pytest.raises(BadInput, match="out holds a run already; go on with --resume or choose another"):
            prepared(out, *more)
    for more in ((), (str(out / "checkpoint"),)):
        run = prepared(tmp_path / "thrown", "--dry-run", "--minutes", "1e-9", "--resume", *more)
        assert run.step == 2
        run.train()
        assert run.step == 4
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == left
    shutil.rmtree(out / "checkpoint")
    with pytest.raises(BadInput, match="holds a run already"):
        prepared(out)
    with pytest.raises(BadInput, match="run.minutes is 0; it must be above 0"):
        prepared(tmp_path / "new", "--minutes", "0")


def test_faces_reside_where_the_recipe_says_and_no_thread_makes_their_batches(
    face_shards, tmp_path, train, monkeypatch
):
    def batch(number, *changes):
        changes = [word for change in changes for word in ("--set", change)]
        line = order(face_shards, tmp_path / str(number), recipe(tmp_path, 1), *changes)
        monkeypatch.setattr(sys, "argv", ["train.py", *line])
        run = train.prepare(train.arguments(), tmp_path / str(number))
        monkeypatch.setattr(RowReader, "read", read)
        return run.plan.prefetch, run.task.batch(0)

    reads, whole = [], RowReader.read

    def read(reader, rows):
        reads.append(len(rows))
        return whole(reader, rows)

    prefetch, plain = batch(0)
    assert prefetch == "auto" and reads == [4]
    prefetch, resident = batch(1, "run.resident=true")
    assert prefetch is False and reads == [4, 16]  # once, all of them
    assert all(torch.equal(plain[name].nan_to_num(), resident[name].nan_to_num()) for name in plain)


def test_a_full_disk_ends_a_run_in_one_sentence_and_keeps_what_was_saved(tmp_path):
    run = Run(tiny_gan(4), Plan(steps=2, warmup=1), tmp_path / "out")
    run.train()
    kept = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with files_no_larger_than(100), pytest.raises(BadInput, match="make room there and go on with --resume"):
        run.save()
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_goes_on_bit_exactly(face_shards, tmp_path, train, monkeypatch):
    out, toml = tmp_path / "out", recipe(tmp_path, 100_000, save_every=7)
    command = [sys.executable, str(TRAIN), *order(face_shards, out, toml)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while last_step(out) < 10 and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = json.loads((checkpoints.finished(out / "checkpoint") / "state.json").read_text())["step"]
    assert saved >= 7 and saved % 7 == 0
    steps = saved + 5
    toml = recipe(tmp_path, steps, save_every=7)
    monkeypatch.setattr(sys, "argv", ["train.py", *order(face_shards, out, toml, "--resume")])
    train.main()
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [
        *range(1, steps + 1)
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *order(face_shards, tmp_path / "unbroken", toml)])
    train.main()
    files = sorted((out / "checkpoint").glob("*.safetensors"))
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (tmp_path / "unbroken" / "checkpoint" / file.name).read_bytes(), file.name


def last_step(out: Path) -> int:
    log = out / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("\n") else 0


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.unused = nn.Parameter(torch.ones(2))


def pair_task(size: int = 4, sheet=None, **more) -> Task:
    """Two players on numbers: the second's loss uses the result of the first."""
    torch.manual_seed(0)
    networks = {"maker": Pair(), "critic": Pair()}

    def make(step):
        x = step.batch["x"]
        made = networks["maker"].layer(x)
        loss = (made - x.flip(1)).square().mean() - networks["critic"].layer(made).mean()
        step.result = made.detach().float()
        return Losses(loss, {"make": loss.detach()})

    def judge(step):
        loss = (networks["critic"].layer(step.handed()) - step.batch["x"]).square().mean()
        return Losses(loss, {"judge": loss.detach()})

    def batch(number):
        rows = [
            torch.randn(6, generator=torch.Generator().manual_seed(number * size + i)) for i in range(size)
        ]
        return {"x": torch.stack(rows)}

    players = [
        Player("maker", networks["maker"], make, 1e-2),
        Player("critic", networks["critic"], judge, 1e-2),
    ]
    return Task(
        networks, players, batch, averaged=("maker",), configs={"maker": {"a": 1}}, sheet=sheet, **more
    )


def plan(steps: int, **changes) -> Plan:
    return Plan(steps, **({"warmup": 1, "log_every": 1} | changes))


def hashed(run: Run) -> str:
    tensors = [
        v for n in (*run.task.networks.values(), *run.averages.values()) for v in n.state_dict().values()
    ]
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in tensors)).hexdigest()


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path):
    runs = [
        Run(pair_task(4), plan(5, accumulate=3), tmp_path / "a"),
        Run(pair_task(12), plan(5), tmp_path / "b"),
    ]
    for run in runs:
        run.train()
    for name in ("maker", "critic"):
        for key, value in runs[0].task.networks[name].state_dict().items():
            assert torch.allclose(value, runs[1].task.networks[name].state_dict()[key], atol=1e-5), key
    assert runs[0].images == runs[1].images == 60
    logs = [json.loads((tmp_path / d / "log.jsonl").read_text().splitlines()[-1]) for d in "ab"]
    assert logs[0]["judge"] == pytest.approx(logs[1]["judge"], rel=1e-3)
    assert logs[0]["images_per_second"] > 0 and logs[0]["lr_maker"] < 1e-2


def test_a_player_moves_only_its_own_network_and_only_on_its_turn(tmp_path):
    run = Run(pair_task(), plan(2, schedule="constant"), tmp_path)
    run.task.players[1].every = 3
    before = run.task.networks["critic"].layer.weight.clone()
    run.train()
    assert torch.equal(run.task.networks["critic"].layer.weight, before)
    run.plan.steps = 3
    run.train()
    assert not torch.equal(run.task.networks["critic"].layer.weight, before)


def test_the_learning_rate_goes_on_where_it_was(tmp_path):
    unbroken = Run(pair_task(), plan(8), tmp_path / "a")
    unbroken.train()
    first = Run(pair_task(), plan(8, save_every=3), tmp_path / "b")
    first.save, kept = (lambda: None), first.save
    original = first.report

    def stop(log, terms, images, last):
        original(log, terms, images, last)
        if first.step == 3:
            kept()
            raise KeyboardInterrupt

    first.report = stop
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = Run(pair_task(), plan(8), tmp_path / "b")
    again.resume(tmp_path / "b" / "checkpoint")
    assert again.step == 3 and again.images == 12
    again.train()
    assert hashed(again) == hashed(unbroken)
    done = Run(pair_task(), plan(8), tmp_path / "b")
    done.resume(tmp_path / "b" / "checkpoint")
    done.train()
    assert done.step == 8 and hashed(done) == hashed(unbroken)


def test_the_clock_ends_a_run_and_lowers_its_rate():
    clock = Plan(1000, minutes=10, warmup=1)
    assert clock.progress(10, 300) == 0.5 and clock.progress(600, 300) == 0.6 and clock.progress(10, 600) == 1
    assert clock.rate(10, 0.5) == pytest.approx(0.5) and clock.rate(10, 1.0) == pytest.approx(0)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the save after it happens."""


def killing(monkeypatch, number: int) -> list[str]:
    """Let only `number` more changes of files and names happen."""
    done: list[str] = []

    def limited(name, real):
        def call(*args, **kwargs):
            if len(done) == number:
                raise Killed
            done.append(name)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(checkpoints, "save_file", limited("write", checkpoints.save_file))
    monkeypatch.setattr(checkpoints.os, "replace", limited("rename", os.replace))
    monkeypatch.setattr(checkpoints.shutil, "rmtree", limited("delete", checkpoints.shutil.rmtree))
    monkeypatch.setattr(Path, "write_text", limited("write", Path.write_text))
    return done


def test_a_save_killed_at_any_instant_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    run = Run(pair_task(), plan(2), tmp_path)
    run.train()
    states, after = set(), 0
    for number in [*range(14), *(n for later in range(6, 13) for n in (9, later))]:
        run.step = saved_step(tmp_path) + 1
        with monkeypatch.context() as patch:
            done = killing(patch, number)
            with pytest.raises(Killed):
                run.save()
        states |= {tuple(sorted(p.name for p in tmp_path.glob("checkpoint*")))}
        assert saved_step(tmp_path) in (run.step - 1, run.step), (number, done)
        after += saved_step(tmp_path) == run.step
    assert ("checkpoint.old", "checkpoint.part") in states and after


def saved_step(out: Path) -> int:
    """The step of the checkpoint that another process would go on from; it must load."""
    fresh = Run(pair_task(), plan(2), out)
    fresh.resume(out / "checkpoint")
    return fresh.step


def test_light_copies_are_small_files_from_which_another_run_starts(tmp_path):
    def task():
        torch.manual_seed(1)
        wide = nn.Sequential(*(nn.Linear(2048, 2048) for _ in range(3)))
        loss = lambda step: Losses(wide(step.batch["x"]).square().mean(), {"x": torch.ones(())})  # noqa: E731
        batch = lambda number: {"x": torch.ones(1, 2048)}  # noqa: E731
        return Task(
            {"wide": wide}, [Player("wide", wide, loss, 1e-2)], batch, configs={"wide": {"side": 2048}}
        )

    first = Run(task(), plan(1), tmp_path)
    first.train()
    files = list((tmp_path / "light").iterdir())
    assert sum(file.suffix == ".safetensors" for file in files) > 1
    assert max(file.stat().st_size for file in files) < 16 * 2**20
    second = Run(task(), plan(1), tmp_path / "second")
    checkpoints.start_from(second, tmp_path / "light")
    for key, value in first.task.networks["wide"].state_dict().items():
        assert torch.equal(second.task.networks["wide"].state_dict()[key], value.half().float()), key


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "{}", '{"step": "x", "seconds": 1}', '{"step": 1, "seconds": 1, "averages": {}}', "\xff"],
)
def test_a_damaged_state_is_named_and_nothing_is_loaded(tmp_path, damage):
    Run(pair_task(), plan(1), tmp_path).train()
    file = tmp_path / "checkpoint" / "state.json"
    file.write_text(damage, encoding="latin1")
    fresh = Run(pair_task(), plan(1), tmp_path)
    before = hashed(fresh)
    with pytest.raises(BadInput, match=r"checkpoint/state\.json is damaged"):
        fresh.resume(tmp_path / "checkpoint")
    assert hashed(fresh) == before


def test_what_cannot_be_loaded_or_kept_is_one_sentence(tmp_path):
    run = Run(pair_task(), plan(1), tmp_path)
    run.train()
    with pytest.raises(BadInput, match="holds none of maker.safetensors"):
        checkpoints.start_from(run, tmp_path)
    (tmp_path / "light" / "maker.safetensors").write_bytes(b"cut")
    with pytest.raises(BadInput, match=r"maker\.safetensors cannot be read"):
        checkpoints.start_from(run, tmp_path / "light")
    run.task.networks["critic"].layer = nn.Linear(7, 7)
    with pytest.raises(BadInput, match="another network than the recipe's: size mismatch for layer.weight"):
        run.resume(tmp_path / "checkpoint")
    huge = pair_task()
    huge.networks["maker"].unused = nn.Parameter(torch.empty(9_000_000))
    with pytest.raises(BadInput, match="unused of the maker has 9,000,000 numbers"):
        Run(huge, plan(1), tmp_path)
    with pytest.raises(BadInput, match="run.accumulate is 0"):
        Plan(5, accumulate=0)


def test_mixed_precision_leaves_a_precise_player_in_float32(tmp_path):
    seen = {}
    task = pair_task()
    for player in task.players:
        real = player.loss

        def loss(step, real=real, name=player.name):
            seen[name] = (task.networks[name].layer(step.batch["x"])).dtype
            return real(step)

        player.loss = loss
    task.players[1].precise = True
    AcceleratorState._reset_state(True)
    try:
        Run(task, plan(1), tmp_path, Accelerator(mixed_precision="bf16", cpu=True)).train()
    finally:
        AcceleratorState._reset_state(True)
    assert seen == {"maker": torch.bfloat16, "critic": torch.float32}


def test_tensorboard_shows_losses_speed_rates_and_sheets(tmp_path):
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    sheet = lambda networks, path: Image.new("RGB", (8, 4), (255, 0, 0)).save(path)  # noqa: E731
    name, note = run_log.choose_tracker(None)
    assert name == "tensorboard" and note is None
    accelerator = Accelerator(log_with=name, project_dir=tmp_path)
    run = Run(pair_task(sheet=sheet), plan(7, sheet_every=12), tmp_path, accelerator)
    run_log.start_tracker(accelerator, name, {"task": "pair", "run": {"steps": 7, "minutes": [1, 2]}}, 0)
    run.train()
    accelerator.end_training()
    assert [p.name for p in sorted(tmp_path.glob("sheet-*.jpg"))] == [
        f"sheet-00000{step}.jpg" for step in (3, 6, 7)
    ]
    events = tensorboard.EventAccumulator(str(tmp_path / "ganime_age")).Reload()
    assert {"make", "judge", "images_per_second", "lr_maker", "lr_critic"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Images("sheet")] == [3, 6, 7]


def test_the_bar_tells_images_a_second_and_the_time_left(tmp_path):
    with run_log.RunLog(tmp_path, Accelerator(), 0.25) as told:
        told.bar.start_t -= 30
        told.since -= 4
        told.advance(8, 0.75, 3, {"cycle": 0.5})
        assert "75%" in str(told.bar) and "00:30<00:15" in str(told.bar)
        assert "step 3 2.0 images/s cycle 0.5" in str(told.bar)


def test_a_resumed_log_has_each_step_once(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    run_log.forget_after(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert run_log.tidy(float("nan")) is None and run_log.tidy(0.000123456) == 0.0001235


def test_trackers_are_chosen_by_name(monkeypatch):
    assert run_log.choose_tracker("none") == (None, None)
    with pytest.raises(BadInput, match="tracker nothing is unknown; choose none or one of"):
        run_log.choose_tracker("nothing")
    monkeypatch.setattr(run_log, "get_available_trackers", list)
    assert (
        run_log.choose_tracker(None)[0] is None
        and "pip install tensorboard" in run_log.choose_tracker(None)[1]
    )
    with pytest.raises(MissingModel, match="wandb is not installed: pip install wandb"):
        run_log.choose_tracker("wandb")
