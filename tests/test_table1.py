"""The table of age methods, on edits, faces and judges whose every number is known."""

import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ganime_age.card.card import fingerprints, write_card
from ganime_age.card.charts import table1_chart
from ganime_age.card.results import Results
from ganime_age.card.table1 import BASELINES, table1
from ganime_age.edits import AGE_GROUPS
from ganime_age.errors import BadInput, GanimeAgeError, MissingModel
from ganime_age.learning.evaluation.judges import Judges
from ganime_age.learning.evaluation.measure_edits import Plan
from ganime_age.learning.evaluation.measure_table1 import measure, models_of, seeds_of
from ganime_age.model.methods import table1_rows
from ganime_age.model.model import GanimeAge
from ganime_age.networks import agetransgan
from ganime_age.networks.ganimation_age import Generator
from helpers.painted import Painter, blue, named, red
from helpers.tiny import GENERATOR, light

ROOT = Path(__file__).resolve().parents[1]
JUDGES = Judges(identity=named(blue), age=named(red))
TINY = {"size": 64, "width": 0.1, "style": 16, "layers": 1}


class Exact(Painter):
    """Every method: reaches the age and keeps the person."""

    agetransgan = ragan = ganimation_age = torch.nn.Linear(1, 1)


class Stranger(Exact):
    """Reaches half of the way, and turns whoever is asked to be over 40 into somebody else."""

    def edit(self, face, source_age, target_age, source_units, target_units, method):
        half = (source_age + target_age) / 2
        edited = super().edit(face, source_age, half, source_units, target_units, method)
        edited.face[target_age > 40, 2] *= -1
        return edited


@pytest.fixture(scope="module")
def measured(painted_faces):
    seeds = {"agetransgan": [Stranger(), Exact(), Stranger()], "agetransgan_mi": [Exact()] * 3}
    models = {"agetransgan": Stranger(), "agetransgan_mi": Exact()}
    return measure(models, painted_faces, JUDGES, Plan.of(200), seeds)


def test_the_table_measures_known_edits_as_what_they_are(measured):
    summary = measured["summary"]
    for name in ("agetransgan_mi", "nothing"):
        assert summary[f"{name}_verification_mean"] == 1
    assert summary["agetransgan_verification_mean"] == pytest.approx(6 / 9, abs=1e-3)
    assert (summary["mi_better_groups"], summary["mi_equal_groups"], summary["mi_nearer_groups"]) == (3, 6, 3)
    assert summary["agetransgan_mi_age_error_mean"] < 0.5
    assert summary["agetransgan_age_error_mean"] == pytest.approx(
        summary["nothing_age_error_mean"] / 2, abs=0.3
    )
    aims = [group["asked"] for group in measured["groups"]]
    assert summary["nothing_age_error_mean"] == pytest.approx(np.mean(np.abs(np.array(aims) - 25)), abs=0.5)
    assert measured["left_out"] == ["agetransgan_mi_turned", "ragan", "ragan_mi", "ganimation_age"]
    assert [group["group"] for group in measured["groups"]] == [g for g in AGE_GROUPS if g != "20-29"]
    for group, row in zip(measured["groups"], measured["methods"]["agetransgan_mi"], strict=True):
        assert (
            row["age"] == pytest.approx(group["asked"], abs=0.5) == pytest.approx(group["real_age"], abs=0.5)
        )
    for name, own in measured["yaw_bins"].items():  # the painted heads look ahead
        assert [row["yaw"] for row in own] == ["0-15"] and own[0]["faces"] == 8
        assert own[0]["verification"] == pytest.approx(summary[f"{name}_verification_mean"], abs=1e-3)
        assert own[0]["age_error"] == pytest.approx(summary[f"{name}_age_error_mean"], abs=0.3)
    assert measured["identity"]["false_accept_rate"] == 1e-3 and measured["judged_by"]["identity"] == "blue"


def test_runs_of_other_seeds_are_told_one_by_one_with_their_mean_and_spread(measured):
    summary, seeds = measured["summary"], measured["seeds"]
    assert [run["verification_mean"] for run in seeds["agetransgan"]] == pytest.approx(
        [2 / 3, 1, 2 / 3], abs=1e-3
    )
    assert len(seeds["agetransgan_mi"]) == 3 == summary["agetransgan_seeds"]
    gains = np.array([1 / 3, 0, 1 / 3])
    assert summary["agetransgan_seeds_mi_verification_gain"] == pytest.approx(gains.mean(), abs=1e-3)
    assert summary["agetransgan_seeds_mi_verification_spread"] == pytest.approx(gains.std(ddof=1), abs=1e-3)
    assert summary["agetransgan_seeds_mi_better_groups"] == 3 == summary["mi_better_groups"]
    assert summary["agetransgan_seeds_mi_age_error_gain"] < -5
    assert "ragan_seeds" not in summary


def again(measured, faces, models, seeds=None, date="2026-01-02"):
    """The table measured anew with some models, beside the rows of an older file."""
    return measure(models, faces, JUDGES, Plan.of(200), seeds, earlier=measured | {"made_by": {"date": date}})


def test_rows_of_runs_that_are_gone_stay_as_they_were_measured(measured, painted_faces):
    found = again(measured, painted_faces, {"agetransgan_mi": Stranger()})
    assert found["earlier"] == {"agetransgan": "2026-01-02", "seeds": "2026-01-02"}
    assert list(found["methods"]) == ["agetransgan", "agetransgan_mi", "nothing"]
    for key in ("methods", "yaw_bins", "weights"):
        assert found[key]["agetransgan"] == measured[key]["agetransgan"]
    assert found["seeds"] == measured["seeds"]
    assert found["methods"]["agetransgan_mi"] != measured["methods"]["agetransgan_mi"]
    for key in ("agetransgan_age_error_mean", "agetransgan_seeds_mi_better_groups"):
        assert found["summary"][key] == measured["summary"][key]
    later = again(found, painted_faces, {"agetransgan_mi": Exact()}, date="2026-02-03")
    assert later["earlier"] == found["earlier"], "the day of the measuring, not of the file"
    told = table1(Results(Path(), found))
    assert "Measured earlier" in told and "AgeTransGAN (2026-01-02), several runs (2026-01-02)" in told
    assert "Measured earlier" not in table1(Results(Path(), measured))


def test_runs_of_other_rows_stay_beside_new_ones(measured, painted_faces):
    seeds = {"ragan": [Exact()], "ragan_mi": [Stranger()]}
    found = again(measured, painted_faces, {"ragan": Exact()}, seeds)["seeds"]
    assert list(found) == ["agetransgan", "agetransgan_mi", "ragan", "ragan_mi"]
    assert found["agetransgan"] == measured["seeds"]["agetransgan"]


@pytest.mark.parametrize("key", ["judged_by", "faces", "groups"])
def test_rows_that_were_measured_otherwise_are_not_kept(measured, painted_faces, key):
    other = copy.deepcopy(measured)
    other[key] = "others"
    with pytest.raises(BadInput, match=f"measured with other {key}; measure with the same judges"):
        again(other, painted_faces, {"agetransgan_mi": Exact()})


def test_where_rows_are_kept_only_the_named_ones_are_measured(small):
    held = models_of(small, [])
    assert (
        set(models_of(small, ["ganimation_age=own"], only=True))
        == {"ganimation_age", "prototypes"}
        <= set(held)
    )
    assert set(models_of(small, [], only=True)) == set()


def test_the_ages_asked_are_the_real_groups_means(measured, painted_faces):
    age = painted_faces.labels["age"]
    old = next(group for group in measured["groups"] if group["group"] == "70+")
    assert old["asked"] == pytest.approx(age[age >= 70].mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("judges", "models", "words"),
    [
        (Judges(identity=named(blue)), {"ragan": Exact()}, "needs a judge of identity and one of age"),
        (JUDGES, {}, "no method to measure; name weights with --runs"),
    ],
)
def test_a_table_of_nothing_is_refused(painted_faces, judges, models, words):
    with pytest.raises(BadInput, match=words):
        measure(models, painted_faces, judges, Plan.of(8))


@pytest.fixture(scope="module")
def small(small_weights):
    return GanimeAge.from_pretrained(small_weights)


def test_runs_are_weights_light_folders_or_the_measured_weights(small, small_weights, tmp_path):
    torch.manual_seed(0)
    network = agetransgan.Generator(**TINY)
    run = light(tmp_path / "light", "agetransgan", network, TINY)
    assert list(models_of(small, [])) == ["ganimation_age", "prototypes"]
    models = models_of(small, [f"agetransgan_mi={run}", "ganimation_age=own"])
    assert (
        list(models) == ["agetransgan_mi", "ganimation_age", "prototypes"]
        and models["ganimation_age"] is small
    )
    one, face = models["agetransgan_mi"], torch.rand(1, 3, 64, 64) * 2 - 1
    assert one.readers is small.readers
    assert torch.equal(
        next(one.agetransgan.encoder.parameters()), next(network.encoder.parameters()).half().float()
    )
    units, years = torch.zeros(1, 17), torch.tensor([25.0])
    with torch.inference_mode():
        assert one.edit(face, years, years + 40, units, units, "agetransgan").face.shape == face.shape
    other = light(tmp_path / "other", "generator", Generator(**GENERATOR), GENERATOR)
    again = models_of(small, [f"ganimation_age={other}"])["ganimation_age"]
    assert again is not small and again.methods == ("ganimation_age",)
    stored = models_of(small, [f"ganimation_age={small_weights}"])["ganimation_age"]
    assert torch.equal(next(stored.ganimation_age.parameters()), next(small.ganimation_age.parameters()))


def test_the_row_of_the_prototypes_is_what_the_methods_draw_on(small):
    torch.manual_seed(0)
    model = copy.deepcopy(small)
    model.prototypes.age_tone.normal_(std=0.3)
    model.prototypes.region.fill_(1.0)
    torch.nn.init.normal_(model.ganimation_age.head.weight, std=0.5)
    face, units, years = torch.rand(1, 3, 64, 64) * 2 - 1, torch.zeros(1, 17), torch.tensor([25.0])
    asked = (years, years + 40, units, units)
    with torch.inference_mode():
        alone = models_of(model, [])["prototypes"].edit(face, *asked, "prototypes")
        shown = model.prototypes(face, model.read(face).landmarks, *asked)
        drawn = model.edit(face, *asked)
    assert (
        torch.equal(alone.face, shown) and alone.face.shape == face.shape and 0 < alone.attention.mean() < 1
    )
    assert not torch.equal(alone.face, drawn.face) and not torch.equal(alone.face, face)


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        ("magic=folder", BadInput, "--runs magic=folder: write ROW=FOLDER with a ROW of agetransgan, "),
        ("prototypes=own", BadInput, "--runs prototypes=own: write ROW=FOLDER"),
        ("ragan", BadInput, "--runs ragan: write ROW=FOLDER"),
        (
            "ragan=own",
            MissingModel,
            "these weights hold readers, prototypes, ganimation_age; load weights with ragan",
        ),
        ("ragan=LIGHT", BadInput, "describes no generator of ragan"),
        ("agetransgan=LIGHT", BadInput, "of another network than a generator of agetransgan"),
        ("ragan=SMALL", MissingModel, "hold readers, prototypes, ganimation_age, not ragan"),
        ("ragan=nowhere/at/all", GanimeAgeError, "nowhere/at/all"),
    ],
)
def test_a_run_that_cannot_be_measured_is_one_sentence(small, small_weights, tmp_path, run, error, words):
    wrong = light(tmp_path / "light", "agetransgan", Generator(**GENERATOR), TINY)
    light(wrong, "ragan", Generator(**GENERATOR), TINY)
    with pytest.raises(error, match=words) as caught:
        models_of(small, [run.replace("LIGHT", str(wrong)).replace("SMALL", str(small_weights))])
    assert "\n" not in str(caught.value)


def test_seeds_are_several_runs_of_a_row(small, tmp_path):
    torch.manual_seed(0)
    runs = [light(tmp_path / str(k), "agetransgan", agetransgan.Generator(**TINY), TINY) for k in range(2)]
    found = seeds_of(small, [f"agetransgan={runs[0]},{runs[1]}"])
    assert [len(own) for own in found.values()] == [2] and all(
        m.readers is small.readers for m in found["agetransgan"]
    )
    for wrong in ("magic=a,b", "agetransgan=", "agetransgan=a,", "agetransgan"):
        with pytest.raises(BadInput, match="--seeds .*: write ROW=FOLDER,FOLDER with a ROW of agetransgan, "):
            seeds_of(small, [wrong])
    with pytest.raises(BadInput, match="--seeds names agetransgan twice"):
        seeds_of(small, [f"agetransgan={runs[0]}", f"agetransgan={runs[1]}"])
    with pytest.raises(BadInput, match="2 runs of agetransgan and 1 of agetransgan_mi"):
        seeds_of(small, [f"agetransgan={runs[0]},{runs[1]}", f"agetransgan_mi={runs[0]}"])


@pytest.fixture
def results(measured, small, tmp_path):
    made = {
        "command": "python training/evaluate.py table1",
        "date": "2026-01-02",
        "seed": 0,
        "torch": "2.13.0",
    }
    folder = tmp_path / "results"
    folder.mkdir()
    made["weights"] = fingerprints(small)
    (folder / "table1.json").write_text(json.dumps(measured | {"made_by": made}))
    return folder


def test_the_card_lays_it_out_as_the_paper_does(results):
    text = table1(Results.read(results / "table1.json"))
    ours, papers = (
        [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        for name in ("AgeTransGAN with MI", "with MI")
    )
    assert ours[0].split(" | ")[1:] == ["100"] * 9 + ["100 |"] and len(ours) == 2
    assert papers[0].endswith("| 97 |") and papers[1].endswith("| 1.54 |")
    assert "| AgeTransGAN with MI, 0-15 degrees | 8 | 1 |" in text
    assert "What differs" in text and "in 3 of 9 groups (paper" not in text, "several runs tell it"
    assert ", Re-Aging GAN, Re-Aging GAN with MI, GANimation-age." in text
    assert "| AgeTransGAN, run 2 | 1 | 1 |" in text and "AgeTransGAN, 3 runs each: with the MI loss" in text
    assert "verifies more in 3 of 9 groups" in text
    later = text.partition("The first run of each, by how far the head is turned:")[2]
    assert "| AgeTransGAN, 0-15 degrees | 8 |" in later
    assert "| doing nothing | 100 |" in text


def test_the_chart_is_written_with_the_card_and_shows_every_curve(results, small, tmp_path):
    files = write_card(tmp_path / "card", small, results)
    assert "figures/table1.png" in files and files["figures/table1.png"].is_file()
    assert "(figures/table1.png)" in files["README.md"].read_text()
    chart = np.asarray(table1_chart(Results.read(results / "table1.json")))
    for colour in ((0x2A, 0x6F, 0xB0), (0x0B, 0x3D, 0x6B), (0x9A, 0x9A, 0xA0), (0x1D, 0x1D, 0x1F)):
        assert (np.abs(chart.astype(int) - colour).max(-1) < 3).sum() > 100


def test_without_several_runs_the_rows_tell_what_mi_adds(measured):
    alone = copy.deepcopy(measured)
    del alone["summary"]["agetransgan_seeds"], alone["seeds"]
    assert "in 3 of 9 groups (paper: 7 of 9)" in table1(Results(Path(), alone))


def every_row(measured: dict) -> Results:
    return Results(
        Path(),
        measured | {"methods": dict.fromkeys((*table1_rows(), *BASELINES), measured["methods"]["nothing"])},
    )


def test_the_chart_has_room_for_every_row_of_the_table(measured):
    chart = np.asarray(table1_chart(every_row(measured)))
    assert (chart[:, -20:] == chart[0, 0]).all() and (chart[540:] != chart[0, 0]).any()


def test_the_command_in_the_results_names_no_place_of_this_machine():
    spec = importlib.util.spec_from_file_location("evaluate", ROOT / "training" / "evaluate.py")
    evaluate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(evaluate)
    words = (
        "table1 --faces /a --models /b --runs agetransgan=/c/d agetransgan_mi=own ragan=/e --out /f".split()
    )
    told = "table1 --faces FACES --models MODELS --runs agetransgan=RUN agetransgan_mi=own ragan=RUN".split()
    words, told = [*words, "--seeds", "ragan=/g,/h"], [*told, "--seeds", "ragan=RUN,RUN"]
    assert evaluate.told(words) == told
    words = ["estimator", "--faces", "/a", "--real", "/c", "/d", "--after", "/b"]
    assert evaluate.told(words) == "estimator --faces FACES --real REAL REAL --after AFTER".split()
