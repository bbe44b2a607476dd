"""What somebody who trains may rely on: labels stay true, a stopped run goes on exactly, errors name the file."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganime_age.errors import BadInput
from ganime_age.learning import ganimation_age_task, losses, readers_task
from ganime_age.learning.augment import random_affine
from ganime_age.learning.blendshapes import BLENDSHAPES, action_units_from_blendshapes
from ganime_age.learning.calibration import fit_lines, smooth_curve
from ganime_age.learning.data import MIRROR, Faces, balanced_weights, draw
from ganime_age.learning.expressions import fit_motion
from ganime_age.learning.loop import Plan, Run
from ganime_age.learning.measure_readers import measure
from ganime_age.learning.metrics import auc
from ganime_age.learning.recipe import read_recipe

TINY = {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}


def rows(count: int) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    landmarks = [np.clip(chance.normal(0.5, 0.15, 136), 0, 1).astype(np.float32) for _ in range(count)]
    teacher = chance.normal(size=(count, 128)).astype(np.float32)
    return pd.DataFrame(
        {
            "id": [f"face{i}" for i in range(count)],
            "file": [f"faces-00.tar/face{i}.webp" for i in range(count)],
            "split": ["train"] * (count - 8) + ["val"] * 4 + ["test"] * 4,
            "age": [None if i % 5 == 4 else float(chance.integers(1, 90)) for i in range(count)],
            "identity": [f"person{i % 3}" if i % 2 else None for i in range(count)],
            "action_units": [chance.uniform(0, 5, 17).astype(np.float32) for _ in range(count)],
            "landmarks": landmarks,
            "teacher_identity": list(teacher / np.linalg.norm(teacher, axis=1, keepdims=True)),
            "yaw": chance.normal(0, 10, count),
            "pitch": chance.normal(0, 10, count),
            "roll": 0.0,
            "source": ["utkface" if i % 2 else "ffhq" for i in range(count)],
        }
    )


def picture(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    if i % 3 == 0:
        pixels[:2, :, 3] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64), Image.NEAREST).save(out, "webp", lossless=True)
    return out.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A face folder with one shard of 24 pictures."""
    path = tmp_path_factory.mktemp("faces")
    table = rows(24)
    with tarfile.open(path / "faces-00.tar", "w") as shard:
        for i in range(len(table)):
            member = tarfile.TarInfo(f"face{i}.webp")
            content = picture(i)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    table.to_parquet(path / "manifest.parquet")
    return path


def test_batch_shows_the_labels_of_its_faces(folder):
    faces = Faces(folder, 32)
    batch = faces.batch(np.array([3, 0]))
    assert batch["face"].shape == (2, 3, 32, 32) and batch["valid"].shape == (2, 1, 32, 32)
    assert batch["age"][0] == pytest.approx(faces.table["age"][3])
    assert batch["valid"][1, 0, 0, 0] == 0 and batch["valid"][1, 0, -1, -1] == 1
    assert batch["person"][1] == -1 and batch["person"][0] >= 0


def test_unreal_pixels_are_filled_from_the_real_ones(folder):
    face = Faces(folder, 32).batch(np.array([0]))["face"]
    assert abs(float(face[0, :, :6].mean() - face[0, :, 9:13].mean())) < 0.5
    assert face[0, :, :6].std() < face[0, :, 8:].std()


def test_a_mirrored_face_has_mirrored_labels(folder):
    faces = Faces(folder, 32)
    plain, mirrored = (faces.batch(np.array([1]), np.array([flag])) for flag in (False, True))
    assert torch.equal(mirrored["face"], plain["face"].flip(-1))
    assert mirrored["landmarks"][0, 36, 0] == pytest.approx(1 - float(plain["landmarks"][0, 45, 0]))
    assert mirrored["pose"][0, 0] == -plain["pose"][0, 0] and mirrored["pose"][0, 1] == plain["pose"][0, 1]
    assert (MIRROR[MIRROR] == np.arange(68)).all()


def test_moved_faces_carry_their_landmarks_along():
    torch.manual_seed(0)
    face = torch.zeros(1, 1, 101, 101)
    face[0, 0, 30, 60] = 1
    marks = torch.full((1, 68, 2), 0.5)
    marks[0, 0] = torch.tensor([60.5 / 101, 30.5 / 101])
    moved, where = random_affine(face, marks, turn=20, zoom=0.2, shift=0.1)
    y, x = divmod(int(moved.flatten().argmax()), 101)
    assert where[0, 0, 0] * 101 == pytest.approx(x + 0.5, abs=1) and where[0, 0, 1] * 101 == pytest.approx(
        y + 0.5, abs=1
    )


def test_balancing_evens_the_age_groups_out():
    ages = np.array([25.0] * 90 + [80.0] * 10)
    even, plain = balanced_weights(ages, 1.0), balanced_weights(ages, 0.0)
    assert even[:90].sum() == pytest.approx(0.5) and plain[:90].sum() == pytest.approx(0.9)
    assert (draw(5, 1, 8, even)[0] == draw(5, 1, 8, even)[0]).all()
    assert (draw(5, 1, 8, even)[0] != draw(6, 1, 8, even)[0]).any()


def test_blendshapes_become_intensities_in_range():
    names = sorted(
        {name for parts in BLENDSHAPES.values() for name in parts}
        | {"mouthLowerDownLeft", "mouthLowerDownRight"}
    )
    scores = np.zeros((2, len(names)), np.float32)
    scores[1, [names.index(n) for n in BLENDSHAPES["AU12"]]] = 0.97
    units = action_units_from_blendshapes(scores, names)
    assert units[0, 8] == 0 and units[1, 8] == pytest.approx(5)
    assert np.isnan(units[:, 4]).all() and np.isnan(units[:, 6]).all()


def readers_run(folder, out, steps, attack=0.0):
    recipe = readers_task.Recipe(batch=8, network=TINY, attack_radius=attack)
    plan = Plan(steps=steps, warmup=1, schedule="constant", save_every=2, log_every=1)
    torch.manual_seed(0)
    return Run(readers_task.build(recipe, Faces(folder, 32), 0), plan, out)


@pytest.mark.parametrize("attack", [0.0, 1.0])
def test_readers_train_and_a_stopped_run_goes_on_bit_exactly(folder, tmp_path, attack):
    unbroken = readers_run(folder, tmp_path / "a", 4, attack)
    before = {k: v.clone() for k, v in unbroken.task.networks["readers"].state_dict().items()}
    unbroken.train()
    readers_run(folder, tmp_path / "b", 2, attack).train()
    again = readers_run(folder, tmp_path / "b", 4, attack)
    again.resume(tmp_path / "b" / "checkpoint")
    assert again.step == 2
    again.train()
    for name in unbroken.task.networks:
        for key, value in unbroken.task.networks[name].state_dict().items():
            assert torch.equal(value, again.task.networks[name].state_dict()[key]), key
    for key, value in unbroken.averages["readers"].state_dict().items():
        assert torch.equal(value, again.averages["readers"].state_dict()[key]), key
    weights = dict(unbroken.task.networks["readers"].named_parameters())
    assert not [key for key, value in weights.items() if torch.equal(value, before[key])]
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert {"age", "identity", "relations", "person", "action_units", "landmarks", "pose"} <= set(log[-1])


def test_light_copies_are_half_precision_and_start_another_run(folder, tmp_path):
    run = readers_run(folder, tmp_path, 2)
    run.train()
    light = load_file(tmp_path / "light" / "readers.safetensors")
    assert all(v.dtype == torch.float16 for v in light.values() if v.is_floating_point())
    assert json.loads((tmp_path / "light" / "readers.json").read_text()) == TINY


def test_a_run_without_a_finished_checkpoint_says_so(folder, tmp_path):
    with pytest.raises(BadInput, match="holds no finished checkpoint"):
        readers_run(folder, tmp_path, 2).resume(tmp_path / "checkpoint")


def test_ganimation_age_trains_both_players(folder, tmp_path):
    readers = readers_run(folder, tmp_path / "readers", 2)
    readers.train()
    recipe = ganimation_age_task.Recipe(
        readers=str(tmp_path / "readers" / "light"),
        batch=4,
        crop=24,
        generator={"widths": [8, 8, 16], "blocks": 1},
        discriminator={"widths": [8, 8, 8]},
        weights={
            "adversarial": 1.0,
            "age": 1.0,
            "action_units": 1.0,
            "identity": 1.0,
            "cycle": 1.0,
            "head_age": 1.0,
        },
        r1_every=2,
    )
    task = ganimation_age_task.build(recipe, Faces(folder, 32), 0)
    before = {n: {k: v.clone() for k, v in m.named_parameters()} for n, m in task.networks.items()}
    Run(
        task, Plan(steps=4, warmup=1, schedule="constant", sheet_every=4, log_every=1), tmp_path / "gan"
    ).train()
    for name, network in task.networks.items():
        still = [key for key, value in network.named_parameters() if torch.equal(value, before[name][key])]
        assert not still, (name, still)
    assert Image.open(tmp_path / "gan" / "sheet-000004.jpg").size[0] == 14 * 32
    log = json.loads((tmp_path / "gan" / "log.jsonl").read_text().splitlines()[-1])
    assert {"d_pairs", "d_wrong", "adversarial", "age", "action_units", "identity", "cycle", "mask"} <= set(
        log
    )


def test_requests_move_only_what_they_ask(folder):
    torch.manual_seed(0)
    batch = Faces(folder, 32).batch(np.arange(12).repeat(20))
    batch["age"] = batch["age"].nan_to_num(30.0)
    asked = ganimation_age_task.ask(batch, 0.0)
    still = ~asked.ages_moves
    assert 0.2 < still.float().mean() < 0.5
    assert torch.equal(asked.target_age[still], asked.source_age[still])
    assert asked.target_aus.min() >= 0 and asked.target_aus.max() <= 5
    assert torch.equal(asked.target_aus[:, [4, 6]], asked.source_aus[:, [4, 6]])


def test_crops_go_back_to_where_they_were_cut():
    torch.manual_seed(0)
    frames, valid = torch.rand(3, 3, 32, 32), torch.ones(3, 1, 32, 32)
    corners = ganimation_age_task.crop_corners(valid, 24)
    crops = ganimation_age_task.cut(frames, corners, 24)
    assert torch.equal(ganimation_age_task.put_back(frames, crops, corners), frames)


def test_identity_counts_less_across_a_wide_age_gap():
    gap = losses.age_gap_weight(torch.tensor([20.0, 20.0]), torch.tensor([20.0, 90.0]))
    assert gap[0] == 1 and 0.5 <= gap[1] < 0.8


def test_band_is_free_inside_and_costs_outside():
    assert losses.band(torch.tensor(0.2), 0.05, 0.5) == 0
    assert losses.band(torch.tensor(0.01), 0.05, 0.5) > 0 and losses.band(torch.tensor(0.9), 0.05, 0.5) > 0


def test_auc_of_known_scores():
    assert auc(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.85])) == pytest.approx(5 / 6)


def test_measure_fills_its_summary(folder):
    torch.manual_seed(0)
    from ganime_age.networks.readers import Readers

    result = measure(Readers(**TINY), Faces(folder, 32, ("train",)), Faces(folder, 32, ("train",)))
    assert result["summary"]["age_mae_all"] > 0 and 0 <= result["summary"]["identity_auc"] <= 1
    assert result["au_correlation"]["AU12"] is not None


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f: (f / "manifest.parquet").unlink(), "holds no manifest"),
        (lambda f: rows(9).drop(columns="file").to_parquet(f / "manifest.parquet"), "lacks the column file"),
        (lambda f: (f / "faces-00.tar").unlink(), "faces-00.tar/face0.webp cannot be read"),
    ],
)
def test_broken_folders_are_named(folder, tmp_path, harm, words):
    for name in ("manifest.parquet", "faces-00.tar"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    harm(tmp_path)
    with pytest.raises(BadInput, match=words):
        Faces(tmp_path, 32)


def test_an_unreadable_picture_is_named(folder, tmp_path):
    table = rows(9)
    table["file"] = "broken.webp"
    table.to_parquet(tmp_path / "manifest.parquet")
    (tmp_path / "broken.webp").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"broken\.webp is not a readable picture"):
        Faces(tmp_path, 32)


def test_recipes_take_changes_and_name_what_is_wrong(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text("[run]\nsteps = 5\n")
    assert read_recipe(path, ["run.steps=7", "recipe.lr=1e-3"]) == {
        "run": {"steps": 7},
        "recipe": {"lr": 1e-3},
    }
    with pytest.raises(BadInput, match="write it as"):
        read_recipe(path, ["steps"])
    with pytest.raises(BadInput, match="cannot be read"):
        read_recipe(tmp_path / "none.toml", [])


def test_calibration_finds_what_a_reader_says_of_real_faces():
    torch.manual_seed(0)
    true = torch.rand(500, 17) * 5
    true[:, 4] = torch.nan
    read = 0.5 + 0.6 * true.nan_to_num(0.0)
    read[:, 8] = torch.rand(500)
    slope, offset, _, trust = fit_lines(true, read)
    assert slope[0] == pytest.approx(0.6, abs=1e-3) and offset[0] == pytest.approx(0.5, abs=1e-3)
    assert trust[0] == pytest.approx(1, abs=1e-3) and trust[8] < 0.05 and trust[4] == 0
    years = torch.rand(2000) * 90
    curve = smooth_curve(years, 20 + years / 2)
    assert curve[40] == pytest.approx(40, abs=1) and (curve.diff() >= 0).all()


def test_motion_is_fitted_with_the_pose_held_fixed(folder):
    faces, chance = Faces(folder, 32), np.random.default_rng(0)
    motion = np.zeros((17, 68, 2), np.float32)
    motion[8, 48, 1] = -0.02
    units, pose = (
        chance.uniform(0, 5, (300, 17)).astype(np.float32),
        chance.normal(0, 10, (300, 3)).astype(np.float32),
    )
    units[:, 8] += pose[:, 0] / 10
    marks = 0.5 + np.einsum("bu,uld->bld", units, motion)
    marks[:, :, 0] += pose[:, :1] / 100
    faces.labels = {"action_units": units, "pose": pose, "landmarks": marks}
    assert torch.allclose(fit_motion(faces), torch.from_numpy(motion), atol=1e-4)
