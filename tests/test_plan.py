"""A plan trains its recipes in order, in its minutes, after any stop, and past one that fails."""

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.engine import plan_runner
from ganime_age.learning.engine.plan import read_plan
from ganime_age.learning.engine.plan_runner import Runner, bundled
from ganime_age.model.model import GanimeAge
from helpers.tiny import READERS, light
from helpers.training import ENVIRONMENT, ROOT, write_people

SCRIPT = ROOT / "training" / "train_all.py"
SMOKE = ROOT / "training" / "plans" / "smoke.toml"
RECIPES = ("readers", "local_reader", "age_judge")
TINY = [
    "sources=[]", "size=32", "recipe.batch=4", "run.log_every=1", "run.save_every=2", "run.warmup=1",
    f"recipe.network={{size=32, widths={READERS['widths']}, blocks={READERS['blocks']}}}",
]  # fmt: skip


def written(path, text):
    path.write_text(text)
    return path


def plan_of(path, text):
    return read_plan(written(path / "mine.toml", text), RECIPES)


def two_quick(path, first="", second="", steps=4):
    """A plan file of two quick parts, the second given what the first made."""
    common = [*TINY, f"run.steps={steps}"]
    return written(
        path / "quick.toml",
        f"least = 0.01\n[parts.first]\nrecipe = 'readers'\nset = {json.dumps([*common, *first.split()])}\n"
        f"[parts.second]\nrecipe = 'readers'\nset = {json.dumps([*TINY[:-1], 'run.steps=2', *second.split()])}\n"
        "needs = { 'recipe.init' = 'first' }\n",
    )


def command(plan, faces, out, *more, minutes="4"):
    return [
        *(sys.executable, str(SCRIPT), "--faces", str(faces), "--out", str(out), "--minutes", minutes),
        *("--plan", str(plan), *more),
    ]


@pytest.fixture
def called(monkeypatch, capsys):
    """train_all.py within this process, so that torch is not loaded anew: called(PLAN, FACES, OUT, *more) -> its exit
    code, what it said, and what it said of errors. What it starts are processes of their own all the same."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments, minutes="4"):
        monkeypatch.setattr(sys, "argv", command(*arguments, minutes=minutes)[1:])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err.strip()

    return run


def states(out):
    return {row["part"]: row["state"] for row in json.loads((out / "summary.json").read_text())["parts"]}


def test_parts_come_after_what_they_are_given(tmp_path):
    plan = plan_of(
        tmp_path,
        "set = ['size=32']\n[parts.local_reader]\nneeds = { 'recipe.readers' = 'readers' }\nset = ['run.steps=1']\n"
        "[parts.age_judge]\nstart = 'local_reader'\n[parts.readers]\n",
    )
    assert [part.name for part in plan.parts] == ["readers", "local_reader", "age_judge"]
    assert plan.parts[1].changes == ("size=32", "run.steps=1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[parts.radars]", "names the recipe radars, which is unknown; choose from readers, local_reader"),
        (
            "[parts.readers]\nstart='age_judge'\n[parts.age_judge]\nstart='readers'",
            "goes in a circle: readers, age",
        ),
        (
            "[parts.readers]\nneeds={'recipe.init'='judge'}",
            "readers .* is given judge, which is no part of it",
        ),
        ("[parts.readers]\nsteps=3", r"\[parts.readers\] .* has no steps; it takes better, evaluate"),
        ("[parts.readers]\nshare=0", "share in .* is 0, which it cannot be"),
        ("[parts.readers]\nset=['run.steps']", r"set in .* is \['run.steps'\], which it cannot be"),
        ("[parts]\nreaders=1", "must be a table"),
        (
            "[parts.readers]\nbetter={x='larger'}",
            "says what is better; it must have evaluate and shipped too",
        ),
        ("[parts.readers]\nbetter={x='more'}", "better in .* is {'x': 'more'}, which it cannot be"),
        ("minutes=3\n[parts.readers]", "has no minutes; it takes set, least"),
        ("", "names no parts"),
        ("[parts", "the plan .* cannot be read"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence(tmp_path, text, words):
    with pytest.raises(BadInput, match=words) as error:
        plan_of(tmp_path, text)
    assert "\n" not in str(error.value)


def test_minutes_follow_the_shares_and_what_a_part_has_had(tmp_path):
    plan = plan_of(tmp_path, "[parts.readers]\nshare=3\n[parts.age_judge]\n")
    assert plan.budget(8, {}, ["readers", "age_judge"]) == {"readers": 6, "age_judge": 2}
    assert plan.budget(4, {"readers": 4.0}, ["readers", "age_judge"]) == {"readers": 2, "age_judge": 2}
    assert plan.budget(5, {"readers": 3.0}, ["age_judge"]) == {"age_judge": 5}
    assert plan.budget(0, {}, ["readers", "age_judge"]) == {"readers": 0, "age_judge": 0}


def test_parts_for_which_no_time_is_left_are_named_and_come_with_more_minutes(tmp_path):
    plan, lines = plan_of(tmp_path, "[parts.readers]\n[parts.age_judge]\n"), []
    failing = [sys.executable, "-c", "raise SystemExit('no memory')"]
    runner = Runner(plan, tmp_path / "runs", failing, tmp_path, tmp_path, say=lines.append)
    runner.progress["readers"].minutes = 5.0
    runner.run(5, list(plan.parts))
    assert runner.progress["age_judge"].why == "0 minutes were left for it"
    runner.run(9, list(plan.parts))
    assert (runner.progress["age_judge"].state, runner.progress["age_judge"].why) == ("failed", "no memory")


def test_minutes_too_few_for_a_part_are_refused(tmp_path):
    plan = plan_of(tmp_path, "least = 1.0\n[parts.readers]\nshare=3\n[parts.age_judge]\n")
    plan.check_minutes(4, plan.parts)
    with pytest.raises(BadInput, match="age_judge would get 0.75 and needs 1; give --minutes 4 or more"):
        plan.check_minutes(3, plan.parts)


def test_parts_are_chosen_by_name_and_from_one_on(tmp_path):
    plan = plan_of(tmp_path, "[parts.readers]\n[parts.age_judge]\n[parts.local_reader]\n")
    assert [part.name for part in plan.chosen(["local_reader", "readers"])] == ["readers", "local_reader"]
    assert [part.name for part in plan.chosen(first="age_judge")] == ["age_judge", "local_reader"]
    with pytest.raises(BadInput, match="the plan mine has no part hair; it has readers, age_judge"):
        plan.chosen(["hair"])


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "plans").glob("*.toml")), ids=lambda p: p.stem)
def test_every_plan_fits_its_recipes(path):
    script = runpy.run_path(str(SCRIPT))
    plan = read_plan(path, script["recipe_files"](ROOT / "training" / "recipes"))
    for part in plan.parts:
        script["check_settings"](part)
        assert not part.stand_in or (ROOT / part.stand_in).is_dir()


def test_the_smoke_plan_trains_every_recipe():
    names = runpy.run_path(str(SCRIPT))["recipe_files"](ROOT / "training" / "recipes")
    plan = read_plan(SMOKE, names)
    assert {part.recipe for part in plan.parts} == set(names)


def test_a_dry_run_prints_the_minutes_and_trains_nothing(tmp_path, face_shards, called):
    status, told, _ = called(two_quick(tmp_path), face_shards, tmp_path / "runs", "--dry-run")
    assert status == 0 and told.count("2.0 minutes") == 2 and "given first" in told
    assert not (tmp_path / "runs").exists()


def test_a_change_that_no_recipe_knows_is_found_before_the_first_minute(tmp_path, face_shards, called):
    plan = two_quick(tmp_path, second="recipe.colour=3")
    status, _, said = called(plan, face_shards, tmp_path / "runs")
    assert status == 2 and said.startswith("error: second of the plan: ") and "has no colour" in said
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_other_work_and_another_plan_are_refused(tmp_path, face_shards):
    plan = plan_of(tmp_path, "[parts.readers]")
    (tmp_path / "runs").mkdir()
    written(tmp_path / "runs" / "notes.txt", "mine")
    with pytest.raises(BadInput, match="holds other work"):
        Runner(plan, tmp_path / "runs", [], ROOT, tmp_path)
    written(tmp_path / "runs" / "state.json", '{"plan": "theirs", "parts": {}}')
    with pytest.raises(BadInput, match="was begun with the plan theirs"):
        Runner(plan, tmp_path / "runs", [], ROOT, tmp_path)


def trains_in(out):
    """Whether a process trains the first part of a folder; known on Linux alone."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(file.read_bytes())
    return any(f"\0{out}/first\0".encode() in line for line in lines)


def until(true, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.mark.slow
def test_killed_in_the_middle_the_same_command_goes_on(tmp_path, face_shards, called):
    out, plan = tmp_path / "runs", two_quick(tmp_path, steps=3000)
    runner = subprocess.Popen(command(plan, face_shards, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    until(lambda: (out / "first" / "checkpoint" / "state.json").is_file())
    linux = sys.platform == "linux"
    assert trains_in(out) or not linux
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    if linux:
        until(lambda: not trains_in(out))  # it does not train on unwatched
    assert states(out) == {"first": "training", "second": "waiting"}
    step = json.loads((out / "first" / "checkpoint" / "state.json").read_text())["step"]
    plan = two_quick(tmp_path, steps=step + 4)
    status, told, said = called(plan, face_shards, out)
    assert status == 0, told + said
    assert states(out) == {"first": "done", "second": "done"}
    steps = [json.loads(line)["step"] for line in (out / "first" / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, step + 5))
    with tarfile.open(out / "pack" / "trained-00.tar") as pack:
        assert {"first/light/readers.safetensors", "second/light/readers.json"} <= set(pack.getnames())
    assert called(plan, face_shards, out)[0] == 0  # nothing is left to do


@pytest.mark.slow
def test_a_recipe_that_fails_does_not_end_the_plan(tmp_path, face_shards, called):
    text = two_quick(tmp_path, first="recipe.init=nowhere").read_text()
    plan = written(
        tmp_path / "quick.toml",
        text + f"[parts.third]\nrecipe = 'readers'\nset = {json.dumps([*TINY, 'run.steps=2'])}\n",
    )
    status, told, _ = called(plan, face_shards, tmp_path / "runs")
    assert status == 1
    assert states(tmp_path / "runs") == {"first": "failed", "second": "skipped", "third": "done"}
    assert "second is skipped: it needs first, which is failed" in told and "nowhere" in told


def test_what_stands_in_for_a_failed_part_is_given_on(tmp_path):
    plan = plan_of(
        tmp_path,
        "[parts.readers]\nstand_in='kept'\nfiles={'recipe.init'='x.onnx'}\n"
        "[parts.age_judge]\n"
        "[parts.local_reader]\nneeds={'recipe.readers'='readers'}\nuses={'recipe.judge'='age_judge'}\n",
    )
    runner = Runner(plan, tmp_path / "runs", [], tmp_path, tmp_path)
    readers, reader = plan.parts[0], plan.parts[2]
    assert runner.settings(readers) == ([], "")  # no stand-in: trained without the file
    runner.progress["readers"].state = "failed"
    assert "kept is not there to stand in" in runner.settings(reader)[1]
    (tmp_path / "kept").mkdir()
    assert "x.onnx is not at hand" in runner.settings(readers)[1]
    given = [f'recipe.readers="{tmp_path / "kept"}"', 'recipe.judge=""']
    assert runner.settings(reader) == (given, "")
    runner.progress["readers"].state = "done"
    assert runner.settings(reader)[0][0] == f'recipe.readers="{tmp_path / "runs" / "readers" / "light"}"'


def test_a_part_that_does_not_end_in_its_time_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_runner, "PATIENCE", 0.02)
    plan, lines = plan_of(tmp_path, "[parts.readers]"), []
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    runner = Runner(plan, tmp_path / "runs", sleeper, tmp_path, tmp_path, say=lines.append, every=0.5)
    started = time.monotonic()
    runner.run(0.06, list(plan.parts))
    assert time.monotonic() - started < 30
    assert runner.progress["readers"].state == "failed" and "measuring" in lines[0]


@pytest.mark.parametrize(
    ("code", "words", "state", "why"),
    [
        (0, "", "done", ""),
        (4, "x\nerror: step 3: the mask\n", "collapsed", "step 3: the mask"),
        (2, "error: no faces\n", "failed", "no faces"),
        (-signal.SIGKILL, "", "failed", "it was killed, perhaps for want of memory"),
    ],
)
def test_how_a_child_ended_is_told(code, words, state, why):
    assert plan_runner.outcome(code, words, False, True) == (state, why)


def test_packs_are_small_files(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_runner, "PACK_FILE", 40_000)
    files = [tmp_path / f"{i}.bin" for i in range(5)]
    for file in files:
        file.write_bytes(bytes(10_000))
    lists = bundled(files)
    assert [file for one in lists for file in one] == files
    for one in lists:
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for file in one:
                archive.add(file, file.name)
        assert (tmp_path / "x.tar").stat().st_size <= 40_000


@pytest.mark.parametrize(
    ("words", "state", "why"),
    [
        ("error: step 3: the mask\n  exitcode  : 4 (pid: 9)\n====\n", "collapsed", "step 3: the mask"),
        ("error: no faces\nChildFailedError:\n  exitcode : 2 (pid: 9)\n====\n", "failed", "no faces"),
    ],
)  # fmt: skip
def test_how_the_first_of_several_processes_ended_is_told(words, state, why):
    assert plan_runner.outcome(1, words, False, True) == (state, why)


def test_several_processes_are_launched_by_torchrun():
    script = runpy.run_path(str(SCRIPT))
    assert script["launcher"](1) == [sys.executable, str(ROOT / "training" / "train.py")]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3"]
    assert script["launcher"](3)[1:-1] == several


WRITES = "import json, sys; o = sys.argv[1:]; from pathlib import Path; Path(o[-1]).mkdir(); " \
    "Path(o[-1], 'r.json').write_text(json.dumps({'summary': {'error': float(o[0]), 'seen': o[1:-2]}}))"  # fmt: skip


@pytest.mark.parametrize(
    ("new", "way", "kept", "given"),
    [
        ("1.5", "smaller", "new", "runs/readers/light"),
        ("1.5", "larger", "old", "shipped"),
        ("2", "larger", "old", "shipped"),
    ],
)  # fmt: skip
def test_what_is_not_better_than_what_ships_gives_way_to_it(tmp_path, new, way, kept, given):
    written(tmp_path / "writes.py", WRITES)
    plan = plan_of(
        tmp_path,
        f"[parts.readers]\nstand_in='shipped'\nevaluate='python writes.py {new} row=LIGHT'\n"
        f"shipped='python writes.py 2.0 FACES'\nbetter={{'summary.error'='{way}'}}\n",
    )
    (tmp_path / "shipped").mkdir()
    lines, part = [], plan.parts[0]
    runner = Runner(plan, tmp_path / "runs", [], tmp_path, tmp_path, say=lines.append, places={"FACES": "f"})
    (tmp_path / "runs" / "readers" / "light").mkdir(parents=True)
    runner.progress["readers"].state = "done"
    runner.compare(part)
    runner.keep()
    (row,) = json.loads((tmp_path / "runs" / "summary.json").read_text())["parts"]
    assert (row["kept"], row["figures"]["old"]) == (kept, {"summary.error": 2.0})
    assert f"summary.error {float(new):.4g} against 2" in row["why"] and row["why"] in lines[1]
    assert runner.result("readers") == tmp_path / given
    assert not (tmp_path / "runs" / "readers" / "compared").exists()


@pytest.mark.slow
def test_by_a_real_evaluation_the_better_weights_are_kept(tmp_path):
    """Readers that answer 40 years to everybody are better than those that answer 60."""
    faces = write_people(tmp_path / "faces")
    table = pd.read_parquet(faces / "manifest.parquet")
    table["split"] = ["test" if i % 2 else "train" for i in range(len(table))]
    table.to_parquet(faces / "manifest.parquet")
    torch.manual_seed(0)
    model = GanimeAge(parts=("readers",), readers=READERS)

    def answering(years):
        with torch.no_grad():
            torch.nn.init.zeros_(model.readers.age_head.bias)[years] = 100.0
        return model.readers

    answering(60)
    model.save_pretrained(tmp_path / "shipped")
    measured = "python training/evaluate.py readers --threads 1 --faces FACES --weights"
    plan = plan_of(
        tmp_path,
        f"[parts.readers]\nstand_in='{tmp_path / 'shipped'}'\nbetter={{'summary.age_mae_all'='smaller'}}\n"
        f"evaluate='python training/pack.py --readers LIGHT --out NEW && {measured} NEW'\n"
        f"shipped='{measured} {tmp_path / 'shipped'}'\n",
    )
    runner = Runner(
        plan, tmp_path / "runs", [], ROOT, tmp_path, say=lambda line: None, places={"FACES": str(faces)}
    )
    (tmp_path / "runs" / "readers").mkdir(parents=True)
    own = runner.progress["readers"]
    trained = light(tmp_path / "runs" / "readers" / "light", "readers", answering(40), READERS)
    own.state = "done"
    runner.compare(plan.parts[0])
    assert own.kept == "new", own.why
    assert runner.result("readers") == trained
    assert own.new["summary.age_mae_all"] < own.old["summary.age_mae_all"]


def test_what_cannot_be_compared_leaves_what_ships_and_says_why(tmp_path):
    written(tmp_path / "fails.py", "raise SystemExit('error: no judge')")
    plan = plan_of(
        tmp_path,
        "[parts.readers]\nevaluate='x'\nshipped='python fails.py'\nbetter={'x'='larger'}\n"
        "[parts.age_judge]\nevaluate='x'\nshipped='python fails.py MODELS'\nbetter={'x'='larger'}\n",
    )
    runner = Runner(plan, tmp_path / "runs", [], tmp_path, tmp_path, say=lambda line: None, places={})
    for part, why in zip(plan.parts, ("no judge", "it needs --models FOLDER"), strict=True):
        (tmp_path / "runs" / part.name / "light").mkdir(parents=True)
        own = runner.progress[part.name]
        own.state = "done"
        runner.compare(part)
        assert (own.kept, own.why) == ("old", f"it cannot be compared ({why}), so what ships is kept")
    runner.places, own.kept = None, ""
    runner.compare(part)
    assert own.kept == ""  # nobody asked for a comparison


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--measure"], "--measure belongs to --dry-run"),
        (["--dry-run", "--measure", "0"], "must be at least 1"),
        (["--num_processes", "0"], "must be at least 1"),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(tmp_path, monkeypatch, arguments, words):
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setattr(sys, "argv", command(SMOKE, tmp_path, tmp_path / "runs", *arguments)[1:])
    with pytest.raises(BadInput, match=words):
        script["main"]()


def test_a_full_disk_is_one_sentence_and_says_that_nothing_is_lost(
    tmp_path, face_shards, monkeypatch, capsys
):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(plan_runner, "write_json", full)
    monkeypatch.setattr(sys, "argv", command(two_quick(tmp_path), face_shards, tmp_path / "runs")[1:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "cannot be written (No space left on device); make room" in line
    assert "what was trained is kept" in line


@pytest.mark.slow
def test_code_without_weights_and_checkpoints_is_enough_to_train(tmp_path, face_shards):
    copy, left_out = tmp_path / "code", shutil.ignore_patterns("weights", "checkpoints", "__pycache__")
    for name in ("src", "training"):
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    assert not list(copy.rglob("*.safetensors"))
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    order = [*command("smoke", face_shards, tmp_path / "runs", "--only", "age_judge")]
    order[1] = str(copy / "training" / "train_all.py")
    done = subprocess.run(order, capture_output=True, text=True, env=environment, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(tmp_path / "runs")["age_judge"] == "done"


@pytest.mark.slow
def test_a_measured_dry_run_tells_the_images_of_every_part(tmp_path, face_shards, called):
    plan = two_quick(tmp_path, steps=1000)
    out = tmp_path / "runs"
    status, told, said = called(plan, face_shards, out, "--dry-run", "--measure", "3", "--only", "second")
    assert status == 0, told + said
    (line,) = [one for one in told.splitlines() if one.startswith("second ")]
    assert re.search(r"4.0 minutes +[\d,]+ images at [\d.e+]+/s after 0.\d minutes", line), line
    assert "first: done" in told and not out.exists()  # what it is given was measured too


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    with plan_runner.alone(tmp_path), pytest.raises(BadInput, match="another process trains in"):
        with plan_runner.alone(tmp_path):
            pass


@pytest.mark.slow
@pytest.mark.skipif("GANIME_AGE_SMOKE" not in os.environ, reason="takes minutes: make smoke")
def test_every_recipe_trains_end_to_end(tmp_path, called):
    status, told, said = called(SMOKE, write_people(tmp_path / "faces"), tmp_path / "runs", minutes="12")
    found = states(tmp_path / "runs")
    # These are measured with files that no test has.
    assert found.pop("head") == found.pop("hair") == "skipped"
    assert set(found.values()) == {"done"}, told + said
