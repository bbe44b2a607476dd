"""The committee of age judges: what it reads, how it is calibrated, and that nothing which trains can see it."""

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.data.faces import Faces, age_ranges, halves
from ganime_age.learning.data.judged_crops import judged_crops
from ganime_age.learning.engine.checkpoints import write_light
from ganime_age.learning.evaluation.committee import Committee, fitted, write_curves
from ganime_age.learning.evaluation.measure_judges import fit, measure, sample
from ganime_age.learning.losses import ordinal, ordinal_range, outside_range
from ganime_age.networks.judging.age_committee import JUDGES
from helpers.golden import faces as two_faces

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = {
    "frame": {"widths": [8, 8], "blocks": [1, 1]},
    "face": {"widths": [8, 8, 8], "blocks": [1, 1, 1]},
    "parts": {"widths": [8, 8, 8, 8], "heads": 2},
}
MARKS = torch.full((2, 68, 2), 0.5)
MARKS[:, 36:48, 1], MARKS[:, 48:, 1] = 0.46, 0.69
"""Landmarks as the judges use them: eyes and mouth where a frame has them."""
MARKS[:, 36:42, 0], MARKS[:, 42:48, 0] = 0.4, 0.6


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    judges = {name: JUDGES[name](**network) for name, network in NETWORKS.items()}
    named = {f"judge_{name}": judge for name, judge in judges.items()}
    (tmp_path / "judges").mkdir()
    write_light(named, {f"judge_{name}": network for name, network in NETWORKS.items()}, tmp_path / "judges")
    return tmp_path / "judges"


def test_a_committee_reads_an_age_for_every_judge_at_any_size(folder):
    committee = Committee.load(folder)
    assert committee.names == ["frame", "face", "parts"]
    frames = (two_faces() + 1) / 2
    ages = committee.read(frames, MARKS)
    assert ages.shape == (2, 3) and ((ages > 0) & (ages < 100)).all()
    large = torch.nn.functional.interpolate(frames, scale_factor=3, mode="bicubic").clamp(0, 1)
    assert (committee.read(large, MARKS) - ages).abs().max() < 3
    assert committee.read(frames[:0], MARKS[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match=r"must be \(N,3,S,S\)"):
        committee.read(frames[0], MARKS)


def test_a_mirrored_face_is_as_old(folder):
    frames, mirror = (two_faces() + 1) / 2, MARKS * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    ages = Committee.load(folder).read(frames, MARKS)
    swapped = mirror.clone()
    swapped[:, 36:42], swapped[:, 42:48] = mirror[:, 42:48], mirror[:, 36:42]
    assert torch.allclose(Committee.load(folder).read(frames.flip(3), swapped), ages, atol=0.02)


def test_each_judge_sees_what_its_name_says():
    """A mark outside a judge's crops changes nothing for it."""
    shown = torch.zeros(2, 3, 160, 160)
    corner, cheek = shown.clone(), shown.clone()
    corner[..., :16, :16], cheek[..., 104:108, 40:48] = 1, 1
    seen = {
        name: [bool((JUDGES[name]().crops(each, MARKS) != 0).any()) for each in (corner, cheek)]
        for name in JUDGES
    }
    assert seen == {"frame": [True, True], "face": [False, True], "parts": [False, False]}


def test_a_calibration_takes_the_pull_to_the_middle_away(folder):
    true = np.tile(np.arange(2, 90, dtype=float), 5)
    read = 16 + 0.6 * true + np.random.default_rng(0).normal(0, 2, len(true))
    curves = {name: fitted(read, true, np.ones(len(true))) for name in NETWORKS}
    write_curves(folder, curves)
    committee = Committee.load(folder)
    found = committee.calibrated("face", read)
    assert np.polyfit(true, found, 1)[0] == pytest.approx(1, abs=0.03)
    assert abs(found[true > 80] - true[true > 80]).mean() < 6 < abs(read - true)[true > 80].mean()
    assert committee.calibrated("face", np.array([-50.0, 200.0])).tolist() == [0, 100]
    with pytest.raises(BadInput, match="same age in all faces"):
        fitted(np.full(9, 30.0), np.arange(9.0), np.ones(9))


@pytest.mark.parametrize(
    "damage", ["{}", "no json", '{"calibration": {"face": {"read": [3, 2], "true": [1, 2]}}}']
)
def test_a_damaged_committee_is_named(folder, damage):
    (folder / "committee.json").write_text(damage)
    with pytest.raises(MissingModel, match=r"committee\.json"):
        Committee.load(folder)
    (folder / "judge_face.safetensors").unlink()
    with pytest.raises(MissingModel, match="an age judge in .* cannot be loaded.*judge_face"):
        Committee.load(folder)
    with pytest.raises(MissingModel, match="holds no age judge .*recipes judge_frame"):
        Committee.load(folder / "elsewhere")


def imported(path: Path) -> set[str]:
    """The last names of the modules that a file imports, and the names it imports from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[-1] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[-1], *(alias.name for alias in node.names)}
    return found


def test_only_measurements_load_the_committee():
    """What steers (tasks, recipes, plans, gains) must never see who judges."""
    evaluation = ROOT / "src" / "ganime_age" / "learning" / "evaluation"
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "training").glob("*.py")]:
        allowed = evaluation in path.parents or path.name == "evaluate.py"
        if not allowed and "ommittee" in path.read_text():
            assert not imported(path) & {"committee", "Committee"}, f"{path} loads the committee"
    steering = (
        *(ROOT / "training" / "recipes").glob("*.toml"),
        *(ROOT / "training" / "plans").glob("*.toml"),
    )
    for path in steering:
        said = tomllib.loads(path.read_text())
        parts = said.get("parts", {path.stem: said})  # a plan has parts, a recipe is one
        naming = {name for name, part in parts.items() if "checkpoints/judges" in str(part)}
        assert naming <= {f"judge_{name}" for name in JUDGES}, (
            f"{path}: {naming} name the committee's weights"
        )
        needs = {
            name
            for part in parts.values()
            for kind in ("needs", "uses")
            for name in part.get(kind, {}).values()
        }
        assert not needs & {f"judge_{name}" for name in JUDGES}, f"{path}: a part needs a judge"


def test_the_shipped_committee_is_complete():
    committee = Committee.load(ROOT / "training" / "checkpoints" / "judges")
    assert committee.names == list(JUDGES) == list(committee.calibration)
    ages = committee.read((two_faces()[:1] + 1) / 2, MARKS[:1])
    assert ((ages > 10) & (ages < 70)).all(), "the astronaut is an adult"


def test_a_committee_is_fitted_and_measured_by_source_group_and_race(folder, tmp_path):
    held = {split: ManyFaces(tmp_path / split, split) for split in ("val", "test")}
    committee = Committee.load(folder)
    committee.judges = {name: Bright() for name in committee.names}
    write_curves(folder, fit(committee, [sample(held["val"].faces, 100)]))
    fitted_one = Committee(committee.judges, Committee.load(folder).calibration)
    before, after = (
        measure(one, [sample(held["test"].faces, 100)], {"beside": Bright()})
        for one in (committee, fitted_one)
    )
    assert before["summary"]["pull"] == pytest.approx(0.5, abs=0.05) and before["judges"]["beside"]["pull"]
    assert after["summary"]["pull"] == pytest.approx(1, abs=0.1)
    assert after["summary"]["error_mean"] < 3 < before["summary"]["error_mean"]
    told = after["judges"]["committee"]
    assert set(told["error_by_source"]) == {"aged", "ranged"} and set(told["pull_by_source"]) == {"aged"}
    assert set(told["error_by_race"]) == {"East", "West"} and before["summary"]["race_gap"] >= 0
    assert told["error_by_group"]["20-29"] < 3 and after["faces"] == {"aged": 60, "ranged": 40}


class Bright(torch.nn.Module):
    """Reads grey faces, whose levels are their ages, with a pull to the middle."""

    def forward(self, faces, landmarks=None):
        return 20 + 0.5 * ((faces.mean((1, 2, 3)) + 1) * 127.5)


class ManyFaces:
    """Grey faces of 60 known ages and 40 ranges."""

    def __init__(self, folder, split):
        folder.mkdir()
        ages = np.r_[np.linspace(2, 89, 60), np.linspace(5, 85, 40)].round()
        for i, age in enumerate(ages):
            Image.new("RGB", (8, 8), (int(age),) * 3).save(folder / f"{i}.png")
        table = pd.DataFrame({"id": range(100), "file": [f"{i}.png" for i in range(100)], "split": split})
        ranged = np.arange(100) >= 60
        table["source"], table["race"] = (
            np.where(ranged, "ranged", "aged"),
            np.where(ages > 40, "East", "West"),
        )
        table.loc[~ranged, "race"] = None
        table["age"] = np.where(ranged, np.nan, ages)
        table["age_low"], table["age_high"] = (np.where(ranged, ages + by, np.nan) for by in (-4, 5))
        table["landmarks"] = list(MARKS[:1].flatten(1).repeat(100, 1).numpy())
        table.to_parquet(folder / "manifest.parquet")
        self.faces = Faces(folder, 8, (split,))


def test_an_age_range_teaches_its_ends_alone():
    logits = torch.zeros(1, 100, requires_grad=True)
    low, high = torch.tensor([20.0]), torch.tensor([29.0])
    ordinal_range(logits, low, high, softness=0.1).backward()
    slope = logits.grad[0]
    assert (slope[:19] < 0).all() and (slope[31:] > 0).all() and slope[21:28].abs().max() == 0
    known = torch.randn(3, 100), torch.tensor([5.0, 40.0, 77.0])
    assert torch.allclose(ordinal_range(known[0], known[1], known[1]), ordinal(*known))
    assert outside_range(torch.tensor([18.0, 25.0, 33.0]), low, high) == pytest.approx((2 + 0 + 4) / 3)


def test_ages_and_ranges_come_from_the_manifest():
    table = pd.DataFrame({"age_low": [None, 20, 3, None], "age_high": [None, 29, 6, None]})
    low, high = age_ranges(np.array([41, np.nan, 5, np.nan], np.float32), table)
    assert low[:3].tolist() == [41, 20, 5] and high[:3].tolist() == [41, 29, 5]
    assert np.isnan(low[3]) and np.isnan(high[3])


def test_halves_keep_a_person_together_and_a_recipe_leaves_one_out(tmp_path):
    count = 40
    for i in range(count):
        Image.new("RGB", (16, 16), (i, i, i)).save(tmp_path / f"{i}.png")
    table = pd.DataFrame(
        {"id": [f"face {i}" for i in range(count)], "file": [f"{i}.png" for i in range(count)]}
    )
    table["split"], table["source"] = "train", ["mine", "other"] * (count // 2)
    table["cluster"] = [f"person {i // 4}" for i in range(count)]
    table.to_csv(tmp_path / "manifest.csv", index=False)
    half = halves(table)
    assert all(len(set(half[i : i + 4])) == 1 for i in range(0, count, 4)) and set(half) == {"a", "b"}
    assert halves(table.iloc[::-1])[::-1].tolist() == half.tolist()
    parts = {left: Faces(tmp_path, 16, hold_out={"mine": left}).table for left in "ab"}
    kept = {left: set(part["id"][part["source"] == "mine"]) for left, part in parts.items()}
    assert not kept["a"] & kept["b"] and len(kept["a"] | kept["b"]) == count // 2
    assert all((part["source"] == "other").sum() == count // 2 for part in parts.values())
    with pytest.raises(BadInput, match='write the half of each source to leave out, "a" or "b"'):
        Faces(tmp_path, 16, hold_out={"mine": "c"})


class OneFace:
    """A folder with one synthetic face, as `judged_crops` uses it."""

    def __init__(self):
        self.face = ((two_faces()[1:] + 1) * 127.5).byte().numpy()
        self.labels = {"landmarks": MARKS[:1].numpy()}

    def pixels(self, indices):
        return np.concatenate([self.face, self.face[:, :1]], 1)[indices]


@pytest.mark.parametrize("name", JUDGES)
def test_training_shows_the_crops_that_a_judge_reads_from(name):
    judge, faces, nobody = JUDGES[name](**NETWORKS[name]), OneFace(), np.zeros(1, bool)
    chance = np.random.default_rng(0)
    crops = judged_crops(faces, np.zeros(1, int), nobody, judge, (0.0, 0.0), chance)
    sharp = judge.crops(torch.from_numpy(faces.face).float() / 127.5 - 1, MARKS[:1])
    assert crops.shape == sharp.shape and (crops.float() / 127.5 - 1 - sharp).abs().mean() < 0.05
    dark, bright = (judged_crops(faces, np.zeros(1, int), nobody, judge, (1.0, 1.0), chance) for _ in "ab")
    assert (dark.float() - bright.float()).abs().mean() > 2
