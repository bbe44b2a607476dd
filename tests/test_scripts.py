"""The scripts a user launches: they pack, measure and prepare, or say in one sentence why they cannot."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.data.labelled_shards import hold_out
from ganime_age.learning.engine import checkpoints
from ganime_age.model.model import GanimeAge
from ganime_age.networks import ganimation, ganimation_age_published
from ganime_age.networks.ganimation_age import Generator
from ganime_age.networks.hair.finding import HairMatte
from ganime_age.networks.local_reader import LocalReader
from ganime_age.networks.readers import Readers
from helpers.tiny import GENERATOR, READERS, light

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(monkeypatch, capfd):
    """Run a script of training/ in this process; -> its exit status and what it said on stderr."""
    threads = torch.get_num_threads()

    def run(name: str, *arguments) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", [str(ROOT / "training" / name), *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        return status, capfd.readouterr().err

    yield run
    torch.set_num_threads(threads)


def test_packing_joins_what_was_trained_and_keeps_the_rest(script, tmp_path):
    torch.manual_seed(0)
    first, out = Readers(**READERS), tmp_path / "weights"
    runs = tmp_path / "runs"
    light(runs, "readers", first, READERS)
    assert script("pack.py", "--readers", runs, "--out", out)[0] == 0
    light(runs, "generator", Generator(**GENERATOR), GENERATOR)
    assert script("pack.py", "--generator", runs, "--out", out)[0] == 0
    model = GanimeAge.from_pretrained(out)
    assert model.parts == ("readers", "prototypes", "ganimation_age")
    assert torch.equal(model.readers.age_head.weight, first.age_head.weight.half().float())


def test_weights_between_two_are_packed(script, tmp_path):
    out, runs = tmp_path / "weights", [tmp_path / "0", tmp_path / "1"]
    readers, painters = [], []
    for number, run in enumerate(runs):
        torch.manual_seed(number)
        readers.append(Readers(**READERS))
        painters.append(Generator(**GENERATOR))
        painters[-1].prototypes.load_state_dict(painters[0].prototypes.state_dict())
        light(run, "readers", readers[-1], READERS)
        light(run, "generator", painters[-1], GENERATOR)
    assert script("pack.py", "--readers", runs[0], "--generator", runs[0], "--out", out)[0] == 0
    blended = ("--readers", runs[1], "--generator", runs[1], "--blend", 0.25, "--out", out)
    assert script("pack.py", *blended)[0] == 0
    model = GanimeAge.from_pretrained(out)
    for pair, found in (
        ([network.age_head.weight for network in readers], model.readers.age_head.weight),
        ([network.stem.weight for network in painters], model.ganimation_age.stem.weight),
    ):
        assert torch.allclose(found, 0.75 * pair[0] + 0.25 * pair[1], atol=1e-3)
        assert not torch.allclose(found, pair[0], atol=1e-3)


def test_weights_that_cannot_be_blended_are_one_sentence(script, tmp_path):
    run, other, out = tmp_path / "run", tmp_path / "other", tmp_path / "weights"
    light(run, "readers", Readers(**READERS), READERS)
    wider = READERS | {"widths": [16, 16, 16, 16]}
    light(other, "readers", Readers(**wider), wider)
    light(other, "generator", Generator(**GENERATOR), GENERATOR)
    assert script("pack.py", "--readers", run, "--out", out)[0] == 0
    for blend in ("0", "1.5", "nan"):
        status, said = script("pack.py", "--readers", run, "--blend", blend, "--out", out)
        assert status == 2 and f"--blend is {blend}; it must be above 0 and at most 1" in said
    for named in (("--readers", other), ("--generator", other)):
        status, said = script("pack.py", *named, "--blend", 0.5, "--out", out)
        assert status == 2 and "with the same tensors" in said
    for named in ((), ("--readers", run, "--out", tmp_path / "new")):
        status, said = script("pack.py", "--out", out, "--blend", 0.5, *named)
        assert status == 2 and "--blend needs a trained network" in said


def test_published_methods_are_packed_beside_the_rest_and_edit(script, tmp_path):
    """Both are called `generator` in training, as the default method's network is."""
    torch.manual_seed(0)
    small, out = {"width": 8, "blocks": 1}, tmp_path / "weights"
    first, second = ganimation.Generator(**small), ganimation_age_published.Generator(**small)
    runs = [light(tmp_path / f"run{i}", "generator", one, small) for i, one in enumerate((first, second))]
    light(tmp_path, "readers", Readers(**READERS), READERS)
    named = ("--ganimation", runs[0], "--ganimation_age_published", runs[1])
    assert script("pack.py", "--readers", tmp_path, *named, "--out", out)[0] == 0
    model = GanimeAge.from_pretrained(out)
    assert model.parts == ("readers", "ganimation", "ganimation_age_published")
    assert model.methods == ("ganimation", "ganimation_age_published")
    face = torch.rand(1, 3, model.edit_size, model.edit_size) * 2 - 1
    age, units = torch.tensor([30.0]), torch.zeros(1, 17)
    wanted = units + 2
    drawn = model.ganimation(face, wanted / 5), model.ganimation_age_published(face, age + 40, wanted)
    for name, years, own in zip(model.methods, (age, age + 40), drawn, strict=True):
        assert torch.equal(model.edit(face, age, years, units, wanted, name).face, own.face)
        assert torch.equal(model.edit(face, age, age, units, units, name).face, face)  # nothing asked
    with pytest.raises(BadInput, match="ganimation edits expressions only"):
        model.edit(face, age, age + 40, units, units, "ganimation")
    status, said = script("pack.py", "--ganimation", tmp_path, "--out", tmp_path / "none")
    assert status == 3 and "holds no finished ganimation" in said and said.count("\n") == 1


def test_readers_and_their_second_look_are_packed_one_without_the_other(script, tmp_path):
    torch.manual_seed(0)
    first, second, out, runs = Readers(**READERS), Readers(**READERS), tmp_path / "weights", tmp_path / "runs"
    local = LocalReader((8, 8, 8))
    torch.nn.init.normal_(local.units[-1].weight)
    light(light(runs, "readers", first, READERS), "local_reader", local, {"widths": [8, 8, 8]})
    assert script("pack.py", "--readers", runs, "--out", out)[0] == 0
    assert GanimeAge.from_pretrained(out).readers.local is None
    status, said = script("pack.py", "--local_reader", runs, "--out", tmp_path / "none")
    assert status == 3 and "name --readers too" in said and said.count("\n") == 1
    assert script("pack.py", "--local_reader", runs, "--out", out)[0] == 0
    light(runs, "readers", second, READERS)
    assert script("pack.py", "--readers", runs, "--out", out)[0] == 0
    readers = GanimeAge.from_pretrained(out).readers
    assert torch.equal(readers.age_head.weight, second.age_head.weight.half().float())
    assert torch.equal(readers.local.units[-1].weight, local.units[-1].weight.half().float())


def test_a_hair_network_is_packed_into_prototypes_that_are_there(script, tmp_path):
    torch.manual_seed(0)
    small, out, runs = {"widths": [4, 8, 8]}, tmp_path / "weights", tmp_path / "runs"
    hair = HairMatte(**small)
    light(light(runs, "hair", hair, small), "generator", Generator(**GENERATOR), GENERATOR)
    status, said = script("pack.py", "--hair", runs, "--out", out)
    assert status == 3 and "name --prototypes too" in said and said.count("\n") == 1 and not out.exists()
    assert script("pack.py", "--generator", runs, "--out", out)[0] == 0
    assert script("pack.py", "--hair", runs, "--out", out)[0] == 0
    packed = GanimeAge.from_pretrained(out).prototypes.hair
    assert torch.equal(packed.encode[0].weight, hair.encode[0].weight.half().float())


def test_weights_in_parts_are_packed_with_the_thresholds_of_a_results_file(script, tmp_path, monkeypatch):
    torch.manual_seed(0)
    readers, runs, out = Readers(**READERS), tmp_path / "runs", tmp_path / "weights"
    runs.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "LIGHT_FILE", 40_000 + checkpoints.HEADER)
        checkpoints.write_light({"readers": readers}, {"readers": READERS}, runs)
    assert (
        len(list(runs.glob("readers-*-of-*.safetensors"))) > 1 and not (runs / "readers.safetensors").exists()
    )
    results = tmp_path / "results.json"
    rows = {share: {"cosine": 0.4 - float(share), "same_accepted": 0.5} for share in ("0.01", "0.1")}
    results.write_text(json.dumps({"identity": {"thresholds": rows}}))
    assert script("pack.py", "--readers", runs, "--results", results, "--out", out)[0] == 0
    model = GanimeAge.from_pretrained(out)
    assert torch.equal(model.readers.age_head.weight, readers.age_head.weight.half().float())
    assert [tuple(one) for one in model.identity_thresholds] == [(0.39, 0.01, 0.5), (0.3, 0.1, 0.5)]
    results.write_text("{}")
    left = {path.name: path.read_bytes() for path in out.iterdir()}
    for file in (results, tmp_path / "none.json"):
        status, said = script("pack.py", "--readers", runs, "--results", file, "--out", out)
        assert status == 2 and f"{file} holds no identity thresholds" in said and said.count("\n") == 1
    next(runs.glob("readers-00001-of-*")).unlink()
    status, said = script("pack.py", "--readers", runs, "--out", out)
    assert status == 2 and "readers-00001-of" in said and said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == left


def test_packing_a_run_that_is_not_there_is_one_sentence(script, tmp_path):
    status, said = script("pack.py", "--readers", tmp_path / "none", "--out", tmp_path / "weights")
    assert status == 3 and "holds no finished readers" in said and said.count("\n") == 1
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("evaluate.py", ("readers",), "readers needs --faces"),
        ("evaluate.py", ("finder",), "finder needs --raw"),
        ("evaluate.py", ("edits",), "edits needs --faces"),
        ("evaluate.py", ("identity",), "identity needs --faces"),
        ("make_faces.py", ("blended", "nowhere", "out"), "nowhere holds no manifest"),
        ("prepare_faces.py", ("nowhere", "out"), "nowhere is not a folder"),
        ("refine_prototypes.py", (), "name --regions, --mouth"),
        ("refine_prototypes.py", ("--unit-shape", "AU99", "1.2"), "--unit-shape AU99 1.2 is no action unit"),
        (
            "refine_prototypes.py",
            ("--unit-shape", "AU12", "1", "2", "3"),
            "--unit-shape AU12 1 2 3 is no action unit",
        ),
        ("refine_prototypes.py", ("--unit-maps", "AU06", "none"), "--unit-maps AU06 is no action unit"),
        ("train.py", ("--recipe", "none.toml", "--faces", "f", "--out", "o"), "none.toml cannot be read"),
    ],
)
def test_scripts_say_what_is_missing(script, name, arguments, words):
    status, said = script(name, *arguments)
    assert status == 2 and words in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "absent"),
    [("train.py", "accelerate"), ("prepare_faces.py", "pandas"), ("prepare_faces.py", "pyarrow")],
)
def test_without_the_extra_a_script_says_what_to_install(name, absent):
    run = f"import runpy, sys; sys.modules[{absent!r}] = None; "
    run += f"runpy.run_path({str(ROOT / 'training' / name)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.strip() == f"error: {absent} must be installed for this: pip install -e '.[train]'"


def test_photos_to_measure_on_leave_the_training_split_with_their_clusters(tmp_path):
    (tmp_path / "aaf_a.jpg").touch()
    table = pd.DataFrame({"cluster": ["one", "one", "two"], "split": ["train", "train", "train"]})
    held = hold_out(table, pd.Series(["aaf_a.JPG", "aaf_b.jpg", "aaf_c.jpg"]), tmp_path)
    assert list(held["split"]) == ["test", "test", "train"]
