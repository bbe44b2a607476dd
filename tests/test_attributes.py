"""The reader of age and action units: its network, its recipe, what a model reads with it, and its stated interval."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ganime_age.edits import AU_CODES, AU_UNSEEN
from ganime_age.errors import BadInput
from ganime_age.images.tensors import to_unit
from ganime_age.learning.data.aligned_crops import aligned_crops
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.checkpoints import write_light
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan, Step
from ganime_age.learning.evaluation.measure_readers import age_names, ages_by, both, by_race, covered
from ganime_age.learning.tasks.aligned import attributes as task
from ganime_age.model.model import GanimeAge
from ganime_age.networks.aligned.attributes import AttributeReader
from ganime_age.networks.aligned.identity import IdentityReader
from ganime_age.networks.readers import Readings
from ganime_age.results import Z80
from helpers.ages import face_folder
from helpers.tiny import TINY, light

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "attributes.toml"
SMALL = {"widths": [8, 8, 16], "blocks": [1, 1, 1], "squeeze": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = face_folder(tmp_path_factory.mktemp("faces"))
    table = pd.read_parquet(path / "manifest.parquet")
    units = np.random.default_rng(1).uniform(0, 5, (len(table), 17)).astype(np.float32)
    units[0] = np.nan
    table["action_units"] = list(units)
    table.loc[1, "age"] = np.nan
    table.to_parquet(path / "manifest.parquet")
    return path


def run(folder, out, steps, **numbers):
    torch.manual_seed(0)
    recipe = task.Recipe(**{"batch": 6, "network": SMALL} | numbers)
    built = task.build(recipe, Faces(folder, 64), 0)
    return Run(built, Plan(steps=steps, warmup=1, schedule="constant", log_every=1, save_every=2), out)


def landmarks(count):
    torch.manual_seed(3)
    return torch.rand(count, 68, 2) * 0.2 + 0.4


def test_a_face_of_any_side_has_an_age_and_action_units():
    torch.manual_seed(0)
    network, marks = AttributeReader(**SMALL), landmarks(2)
    for side in (64, 154, 200):
        found = network(torch.rand(2, 3, side, side) * 2 - 1, marks)
        assert found.age.shape == found.spread.shape == (2,) and found.logits.shape == (2, 101)
        assert ((found.age >= 0) & (found.age <= 100)).all() and (found.spread > 0).all()
        assert ((found.action_units >= 0) & (found.action_units <= 5)).all()
        assert (found.action_units[:, [AU_CODES.index(code) for code in AU_UNSEEN]] == 0).all()
    (found.age.sum() + found.action_units.sum()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_the_network_of_the_recipe_has_about_a_million_weights():
    numbers = fill(task.Recipe, read_recipe(RECIPE, [])["recipe"], "[recipe] table")
    assert 0.9e6 < sum(v.numel() for v in AttributeReader(**numbers.network).state_dict().values()) < 1.25e6


def test_crops_are_what_the_network_sees_nearer_than_identity_sees_them(folder):
    faces, indices = Faces(folder, 64), np.arange(4)
    batch = faces.batch(indices)
    seen = AttributeReader.crop(batch["face"], batch["landmarks"])
    still, chance = np.zeros(4, bool), np.random.default_rng(0)
    crops = aligned_crops(faces, indices, still, 0.0, chance, AttributeReader.ZOOM).float() / 127.5 - 1
    assert (crops - seen).abs().mean() < 0.02
    assert (crops - IdentityReader.crop(batch["face"], batch["landmarks"])).abs().mean() > 0.04


def test_the_recipe_learns_and_a_stopped_run_goes_on_bit_exactly(folder, tmp_path):
    unbroken = run(folder, tmp_path / "a", 3)
    unbroken.train()
    run(folder, tmp_path / "b", 2).train()
    again = run(folder, tmp_path / "b", 3)
    again.resume(tmp_path / "b" / "checkpoint")
    again.train()
    states = [one.task.networks["attributes"].state_dict() for one in (unbroken, again)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    trained = run(folder, tmp_path / "c", 1, augment=0.0, lr=1e-2)
    totals = []
    for trained.step in range(40):
        trained.one_step(0.0)
        totals.append(sum(sum(terms.values()) for terms in trained.listen()))
    assert np.mean(totals[-3:]) < 0.8 * np.mean(totals[:3])


def test_a_robust_reader_learns_from_attacked_faces_and_its_running_statistics_from_each_step_once(folder):
    torch.manual_seed(0)
    recipe = task.Recipe(batch=6, network=SMALL, attack_radius=3.0)
    built = task.build(recipe, Faces(folder, 64), 0)
    network, (player,) = built.networks["attributes"], built.players
    batch, seen, last = built.batch(0), [], network.last
    network.last = lambda crop: seen.append(crop.detach()) or last(crop)
    player.loss(Step(batch, 0))
    clean, attacked = to_unit(batch["face"]), seen[-1]
    moved = (attacked - clean).flatten(1).norm(dim=1)
    assert (moved > 0.5).all() and moved.max() < 3.001
    counts = [v for name, v in network.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counts and all(count == 1 for count in counts) and network.training


def test_missing_labels_are_skipped():
    network = AttributeReader(**SMALL)
    read = network.attributes(torch.randn(2, 118, requires_grad=True))
    objective = task.Objective(torch.ones(17), 2.5)
    units = torch.full((2, 17), float("nan"))
    nothing = objective.terms(read, {"age": torch.full((2,), float("nan")), "action_units": units})
    assert all(value == 0 for value in nothing.values())
    units[1] = 2.0
    both = objective.terms(read, {"age": torch.tensor([float("nan"), 30.0]), "action_units": units})
    assert torch.isclose(both["mean"], (read.age[1] - 30).abs())
    assert all(value > 0 for value in both.values())


def test_it_starts_from_the_trunk_of_an_identity_reader_of_its_form(folder, tmp_path):
    torch.manual_seed(0)
    identity = IdentityReader(**SMALL)
    runs = tmp_path / "identity"
    runs.mkdir()
    write_light({"identity": identity}, {"identity": SMALL}, runs)
    network = task.start(task.Recipe(trunk=str(runs), network=SMALL))
    for key, value in network.trunk.state_dict().items():
        assert torch.allclose(value.float(), identity.trunk.state_dict()[key].float(), atol=1e-3)
    with pytest.raises(BadInput, match="has other widths or blocks than"):
        task.start(task.Recipe(trunk=str(runs), network=SMALL | {"widths": [8, 8, 8]}))


def test_faces_without_labels_are_named(folder):
    faces = Faces(folder, 64)
    for name in ("age", "action_units"):
        faces.labels[name] = np.full_like(faces.labels[name], np.nan)
    with pytest.raises(BadInput, match="no face with landmarks and an age or action units"):
        task.build(task.Recipe(network=SMALL), faces, 0)


def test_a_model_reads_by_it_and_by_the_readers_where_it_is_not_loaded(tmp_path):
    torch.manual_seed(0)
    model = GanimeAge(("readers", "attributes"), **TINY | {"attributes": SMALL}).eval()
    face = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        read, own = model.read(face), model.readers(face)
        seen = model.attributes(face, own.landmarks)
    assert torch.equal(read.age, seen.age) and torch.equal(read.age_spread, seen.spread)
    assert torch.allclose(read.action_units, (own.action_units + seen.action_units) / 2)
    assert torch.equal(read.landmarks, own.landmarks) and torch.equal(read.pose, own.pose)
    model.save_pretrained(tmp_path)
    without = GanimeAge.from_pretrained(tmp_path, parts=["readers"])
    with torch.inference_mode():
        assert torch.allclose(without.read(face).age, own.age)


def test_the_stated_interval_holds_four_fifths_of_held_out_ages(folder):
    faces = Faces(folder, 64, ("train",))
    torch.manual_seed(0)
    network = AttributeReader(**SMALL).eval()
    network.spread_scale.fill_(task.spread_for(network, faces))
    picks = np.flatnonzero(~np.isnan(faces.labels["age"]))
    read = task.read_all(network, faces, picks)
    inside = np.abs(read["age"] - faces.labels["age"][picks]) <= Z80 * read["spread"]
    assert 0.7 <= inside.mean() <= 0.9
    assert covered({"age": read["age"], "age_spread": read["spread"]}, faces.labels["age"][picks]) <= 0.9
    probe = run(folder, folder / "run", 1).task.probe
    assert {"age_mae", "age_covered", "age_mae_guessed"} <= set(probe({"attributes": network}))


def test_packed_attributes_state_their_interval(folder, tmp_path, monkeypatch, capsys):
    import runpy
    import sys

    torch.manual_seed(0)
    network = AttributeReader(**SMALL)
    light(tmp_path / "run", "attributes", network, SMALL)
    script = str(Path(__file__).resolve().parents[1] / "training" / "pack.py")
    for words, told in (((), "pack with --faces"), (("--faces", str(folder)), "")):
        out = tmp_path / f"weights{len(words)}"
        line = [script, "--attributes", str(tmp_path / "run"), "--out", str(out), *words]
        monkeypatch.setattr(sys, "argv", line)
        runpy.run_path(script)["main"]()
        assert told in capsys.readouterr().out
        scale = float(GanimeAge.from_pretrained(out).attributes.spread_scale)
        assert (scale != 1) == bool(words)


def test_ages_are_compared_by_race_as_years_outside_the_range(folder):
    faces = Faces(folder, 64, ("train",))
    race = np.array(["one", "other"] * 6)
    faces.labels["age"] = np.full(12, np.nan, np.float32)
    faces.table["age_low"], faces.table["age_high"] = 20.0, 29.0

    class Says(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))
        seen = 0

        def forward(self, face, *_):
            age = torch.tensor([33.0 if (self.seen + i) % 2 else 25.0 for i in range(len(face))])
            self.seen += len(face)
            blank = torch.zeros(len(face), 1)
            return Readings(age, age, blank, blank, blank, blank, blank, blank)

    faces.table["gender"] = ["f", "f", "m", "m"] * 3
    gap, found = by_race(Says(), faces, race)
    assert (
        found["by_gender_race_range"]["female, other"] == {"20-29": 4} and found["cell_faces"]["least"] == 3
    )
    assert found["by_gender_and_range"]["male, 20-29"] == {"faces": 6, "outside_years": 2, "bias": 2}
    rows = found["by_race"]
    assert gap == 4 and rows["one"]["outside_years"] == 0 and rows["other"]["outside_years"] == 4
    faces.table["age_low"] = faces.table["age_high"] = np.nan
    with pytest.raises(BadInput, match="no face with an age, or with age_low and age_high"):
        by_race(Says(), faces, race)


def test_ages_are_compared_by_kind_with_their_bias_youngest_first():
    true, read = np.array([4.0, 30.0, 82.0, np.nan, 5.0]), np.array([6.0, 30.0, 80.0, 1.0, 5.0])
    kinds = both(np.array(["male", "male", "male", "male", ""]), age_names(true, true))
    rows = ages_by(read, true, {"by": kinds})["by"]
    assert list(rows) == ["male, 3-6", "male, 30-39", "male, 70+"]
    assert rows["male, 70+"] == {"faces": 1, "mae": 2, "bias": -2, "mean_read": 80, "mean_true": 82}
    assert age_names(np.array([20.0, 70.0, np.nan]), np.array([29.0, 100.0, 3.0])).tolist() == [
        "20-29",
        "70+",
        "",
    ]
