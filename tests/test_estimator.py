"""The age estimator on turned heads: what is measured, and what it is trained on."""

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.card.multipose import age_estimator
from ganime_age.card.results import Results
from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.faces import Faces, balanced_weights
from ganime_age.learning.data.joined_faces import JoinedFaces, in_shares
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe
from ganime_age.learning.engine.task import Step
from ganime_age.learning.evaluation.measure_estimator import measure, real_turned, turned_error, yaw_bins
from ganime_age.learning.tasks import readers as readers_task
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS, light

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32


def face_folder(folder: Path, count: int = 8, **columns) -> Path:
    """Noisy faces, aged 20, 30, 40 ... with the yaw 0, -12, 24, -36 ..., in turns of the train and test split."""
    folder.mkdir(exist_ok=True)
    chance = np.random.default_rng(count)
    for i in range(count):
        Image.fromarray(chance.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(folder / f"{i}.png")
    points = [chance.uniform(0.3, 0.7, 136).astype(np.float32) for _ in range(count)]
    table = pd.DataFrame(
        {
            "id": [f"{folder.name}-{i}" for i in range(count)],
            "file": [f"{i}.png" for i in range(count)],
            "split": ["train", "test"] * (count // 2),
            "age": [20.0 + 10 * (i // 2) for i in range(count)],
            "yaw": [(-1) ** (i // 2) * 12.0 * (i // 2) for i in range(count)],
            "pitch": [0.0] * count,
            "roll": [0.0] * count,
            "identity": [f"p{i % 3}" for i in range(count)],
            "source": folder.name,
            "landmarks": points,
            "action_units": [np.full(17, 1.0 + i % 3) for i in range(count)],
        }
        | columns
    )
    table.to_parquet(folder / "manifest.parquet")
    return folder


def saying(age: int) -> Readers:
    """Readers that say one age of everybody."""
    torch.manual_seed(0)
    readers = Readers(**READERS)
    torch.nn.init.zeros_(readers.age_head.weight)
    readers.age_head.bias.data = 50.0 * torch.eye(101)[age]
    return readers


def test_errors_before_and_after_are_those_one_counts_by_hand(tmp_path):
    turned, real = face_folder(tmp_path / "turned"), face_folder(tmp_path / "real")
    found = measure(saying(60), saying(30), Faces(turned, SIDE, ("test",)), [Faces(real, SIDE, ("test",))])
    summary = found["summary"]  # test faces: 20, 30, 40 and 50 years, turned by 0, 12, 24 and 36 degrees
    assert summary["multipose_mae_before"] == pytest.approx(25, abs=0.01)
    assert summary["multipose_mae_after"] == pytest.approx(10, abs=0.01)
    assert summary["nothing_multipose_mae_after"] == pytest.approx(10)
    assert summary["reader_mae_yaw20_before"] == pytest.approx(15, abs=0.01)
    assert summary["reader_mae_yaw20_after"] == pytest.approx(15, abs=0.01)
    assert found["faces"] == {"multipose": 4, "real_turned": 2}
    bins = {turn: row["mae"] for turn, row in found["by_yaw"]["after"].items()}
    assert bins == {"0-10 degrees": 10, "10-20 degrees": 0, "20-30 degrees": 10, "30-45 degrees": 20}
    assert set(found["real_by_yaw"]) == {"before", "after"}
    assert "real_turned_after" not in summary  # neither of CelebA nor of FairFace or UTKFace
    text = age_estimator(Results(tmp_path, found))
    assert "| turned pictures of a multi-pose test split | 25 | 10 |" in text
    assert "| 30-45 degrees | 1 | 10 | 20 |" in text


def test_turned_photos_of_three_sets_count_by_their_age_or_their_range(tmp_path):
    """Test faces of a folder: 20, 30, 40 and 50 years, turned by 0, 12, 24 and 36 degrees."""
    known = face_folder(tmp_path / "known", source=["aaf", "aaf", *["utkface"] * 4, "ffhq", "ffhq"])
    ranged = face_folder(
        tmp_path / "ranged", source="fairface", age=np.nan, yaw=-30.0,
        age_low=[np.nan] * 2 + [20.0] * 4 + [50.0] * 2, age_high=[np.nan] * 2 + [29.0] * 4 + [59.0] * 2,
    )  # fmt: skip
    nameless = face_folder(tmp_path / "nameless", source="celeba", age=np.nan, yaw=40.0)
    real = [Faces(folder, SIDE, ("test",)) for folder in (known, ranged, nameless)]
    found = real_turned(saying(33), real)
    assert found["by_source"] == {
        "fairface": {"faces": 3, "mae": pytest.approx((4 + 4 + 17) / 3, abs=0.01)},
        "utkface": {"faces": 1, "mae": pytest.approx(7, abs=0.01)},
    }
    assert found["faces"] == 4 and found["mae"] == pytest.approx(8, abs=0.01)
    # the median of 24.5, 24.5, 54.5 and 40 is 32.25
    assert found["constant"] == pytest.approx((3.25 + 3.25 + 17.75 + 7.75) / 4, abs=0.01)
    assert real_turned(saying(33), real[2:]) == {"faces": 0, "by_source": {}}
    both = measure(saying(60), saying(33), Faces(known, SIDE, ("test",)), real)
    assert both["summary"]["real_turned_before"] == pytest.approx((31 + 31 + 1 + 20) / 4, abs=0.01)
    assert both["summary"]["real_turned_after"] == pytest.approx(8, abs=0.01)
    assert "turned photos of FairFace and UTKFace that no reader chose | 20.8 | 8" in age_estimator(
        Results(tmp_path, both)
    )


def test_a_relabelled_set_is_measured_against_the_labels_that_it_kept(tmp_path):
    labels = [20.0 + 10 * (i // 2) for i in range(8)]
    folder = face_folder(tmp_path / "turned", age=[30.0] * 8, age_label=labels)
    found = measure(saying(30), saying(30), Faces(folder, SIDE, ("test",)))
    assert found["summary"]["multipose_mae_after"] == pytest.approx(10, abs=0.01)
    assert "reader_mae_yaw20_after" not in found["summary"]


def test_yaw_bins_hold_what_is_turned_so_far_to_either_side():
    yaw = np.array([0.0, -9.9, 10, -25, 44, -45, 80, np.nan])
    bins = yaw_bins(np.full(8, 30.0), np.full(8, 20.0), yaw)
    assert [row["faces"] for row in bins.values()] == [2, 1, 1, 1, 2]
    assert list(bins)[-1] == "45 degrees or more" and bins["20-30 degrees"]["mae"] == 10


def test_a_split_without_ages_or_turned_heads_is_named(tmp_path):
    blank = Faces(face_folder(tmp_path / "blank", age=[np.nan] * 8), SIDE, ("test",))
    with pytest.raises(
        BadInput, match="no test face with an age and a yaw; the columns age and yaw are needed"
    ):
        measure(saying(30), saying(30), blank)
    straight = Faces(face_folder(tmp_path / "straight", yaw=[20.0] * 8), SIDE, ("test",))
    with pytest.raises(BadInput, match="no test face with an age and a yaw beyond 20 degrees"):
        turned_error(saying(30), straight)


@pytest.fixture
def joined(tmp_path):
    """Four real training faces and three turned pictures, each made of one of the real ones or of somebody else."""
    real = face_folder(tmp_path / "real", identity=["p0", "p1", "p0", "p1", None, "x", None, "x"])
    turned = face_folder(
        tmp_path / "turned", 6, split=["train"] * 3 + ["test"] * 3, identity=["person-1"] * 2 + ["person-9"] * 4,
        source_id=["real-0", "real-2", "real-4", "a", "b", "c"],
    )  # fmt: skip
    return JoinedFaces([Faces(real, SIDE), Faces(turned, SIDE)])


def test_several_folders_are_one_in_the_order_that_is_asked(joined):
    assert len(joined) == len(joined.table) == 7
    picks, mirror = np.array([6, 0, 4, 1, 6]), np.array([True, False, True, True, False])
    shown = joined.batch(picks, mirror)
    for place, (pick, flip) in enumerate(zip(picks, mirror, strict=True)):
        part, own = (joined.parts[0], pick) if pick < 4 else (joined.parts[1], pick - 4)
        alone = part.batch(np.array([own]), np.array([flip]))
        for name in set(alone) - {"person"}:
            assert torch.equal(alone[name][0].nan_to_num(-9), shown[name][place].nan_to_num(-9)), name
    person = joined.labels["person"]
    assert (
        person[0] == person[1] == person[4] == person[5] != person[6]
    )  # real-0, real-2 and what was made of them
    assert person[2] == -1 and shown["person"].tolist() == person[picks].tolist()


def test_sources_are_drawn_as_often_as_the_recipe_says(joined):
    even = balanced_weights(joined.labels["age"])
    chance = in_shares(even, joined, {"turned": 0.4})
    assert chance.sum() == pytest.approx(1) and chance[4:].sum() == pytest.approx(0.4)
    assert chance[:4] / chance[:4].sum() == pytest.approx(even[:4] / even[:4].sum())
    assert in_shares(even, joined, {}) is even
    with pytest.raises(BadInput, match="shares names the source magic, of which .* has no face"):
        in_shares(even, joined, {"magic": 0.4})
    with pytest.raises(BadInput, match="must be numbers"):
        in_shares(even, joined, {"turned": "often"})
    for shares in ({"turned": 1.0}, {"turned": 0.0}, {"turned": 0.5, "real": 0.5}):
        with pytest.raises(BadInput, match="must be above 0 and leave some"):
            in_shares(even, joined, shares)


def test_readers_go_on_from_stored_ones_on_several_folders_with_mtlfaces_terms(joined, tmp_path):
    first = Readers(**READERS)
    folder = light(tmp_path / "light", "readers", first, READERS)
    recipe = readers_task.Recipe(
        batch=8, init=str(folder), shares={"turned": 0.5}, weights={"age_group": 0.1, "unlearnt_age": 0.02}
    )
    torch.manual_seed(0)
    task = readers_task.build(recipe, joined, 0)
    readers, objective = task.networks["readers"], task.networks["objective"]
    assert torch.equal(readers.age_head.weight, first.age_head.weight.half().float())
    assert task.configs["readers"] == READERS and readers.training
    total, terms = task.players[0].loss(Step(task.batch(0), 0))
    total.backward()
    assert {"age", "age_group", "unlearnt_age", "person", "landmarks", "pose"} <= set(terms)
    for network in (readers, objective):
        assert not [name for name, p in network.named_parameters() if p.grad is None and p.requires_grad]


def test_the_identity_learns_to_hide_the_age_that_a_head_learns_to_find():
    torch.manual_seed(0)
    weights = readers_task.Weights(unlearnt_age=0.5)
    objective = readers_task.ReadersObjective(2, torch.ones(17), weights)
    identity = torch.nn.functional.normalize(torch.randn(6, 128), dim=1).requires_grad_()
    ages = torch.tensor([1.0, 25, 35, 55, 75, 8])
    read = Readers(**READERS).eval()(torch.zeros(6, 3, 64, 64))._replace(identity=identity)
    hidden = objective.age_terms(read, ages, torch.ones(6, dtype=bool))["unlearnt_age"]
    found = torch.nn.functional.cross_entropy(
        objective.age_seeker(identity), torch.tensor([0, 5, 6, 8, 9, 2])
    )
    assert hidden.detach() == pytest.approx(float(found.detach()))
    seen, head = torch.autograd.grad(found, [identity, objective.age_seeker.weight])
    hid, same = torch.autograd.grad(hidden, [identity, objective.age_seeker.weight])
    assert torch.allclose(hid, -seen) and torch.allclose(head, same)
    assert readers_task.ReadersObjective(2, torch.ones(17), readers_task.Weights()).age_seeker is None


def test_a_group_is_as_likely_as_its_years():
    logits = torch.zeros(1, 101)
    for years, size in ((1.0, 3), (25.0, 10), (60.0, 20), (100.0, 31)):
        loss = losses.age_group(logits, torch.tensor([years]))
        assert float(loss) == pytest.approx(-np.log(size / 101), rel=1e-4)


def test_the_recipe_is_one():
    tables = fill(
        Tables, read_recipe(ROOT / "training" / "recipes" / "readers_multipose.toml", []), "top level"
    )
    recipe = fill(readers_task.Recipe, tables.recipe, "[recipe] table")
    assert fill(readers_task.Weights, recipe.weights, "[recipe.weights] table").unlearnt_age > 0
    assert tables.task == "readers" and recipe.init == "readers" and recipe.shares


def script(name: str):
    """A script of training/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "training" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_trainer_takes_several_folders_but_for_the_finder(tmp_path):
    train, folders = script("train"), [face_folder(tmp_path / name) for name in ("more", "turned")]
    assert len(train.shown(folders, Tables("readers", SIDE))) == 8
    assert isinstance(train.shown(folders[:1], Tables("finder", SIDE)), Faces)
    for name in ("detector", "finder"):
        with pytest.raises(
            BadInput, match="the detector learns from one folder of faces; give one after --faces"
        ):
            train.shown(folders, Tables(name, SIDE))


def test_the_script_measures_the_readers_of_two_runs(tmp_path):
    evaluate, run = script("evaluate"), light(tmp_path / "light", "readers", Readers(**READERS), READERS)
    turned, real = (face_folder(tmp_path / name) for name in ("turned", "real"))
    given = Namespace(
        name="estimator", faces=turned, real=[real], before=str(run), after=str(run), quick=False, device="cpu",
        out=tmp_path / "found.json",
    )  # fmt: skip
    summary = evaluate.estimator(given, None)["summary"]
    assert summary["multipose_mae_before"] == summary["multipose_mae_after"] > 0
    assert evaluate.results_name(Namespace(**vars(given), method=None)) == "age_estimator"
    given.after = None
    with pytest.raises(BadInput, match="estimator needs --after FOLDER"):
        evaluate.estimator(given, None)


def test_turned_photos_alone_are_added_to_the_figures_that_are_there(tmp_path):
    evaluate, run = script("evaluate"), light(tmp_path / "light", "readers", Readers(**READERS), READERS)
    photos = face_folder(tmp_path / "photos", source="utkface")
    given = Namespace(
        name="estimator", faces=None, real=[photos], before=str(run), after=None, quick=False, device="cpu",
        out=tmp_path / "found.json",
    )  # fmt: skip
    with pytest.raises(BadInput, match="estimator needs --faces FOLDER"):
        evaluate.estimator(given, None)
    there = {"summary": {"multipose_mae_after": 3.0, "real_turned_after": 1.0}, "notes": {"multipose": "m"}}
    given.out.write_text(json.dumps(there | {"made_by": {"date": "then"}}))
    found = evaluate.estimator(given, None)
    assert found["summary"].keys() == {
        "multipose_mae_after",
        "real_turned_before",
        "nothing_real_turned_before",
    }
    assert found["made_by"] == {"date": "then"} and found["real_turned"]["before"]["faces"] == 2
    assert list(found["real_turned"]["weights"]) == ["before"] and "date" in found["real_turned"]
