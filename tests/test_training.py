"""What somebody who trains may rely on: labels stay true, a stopped run goes on exactly, errors name the file."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.augment import random_affine
from ganime_age.learning.data.faces import Faces, balanced_weights, draw
from ganime_age.learning.data.headwear import dye, folds, hang, in_larger, shine, surround, wear
from ganime_age.learning.engine import checkpoints
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.evaluation.measure_readers import measure
from ganime_age.learning.evaluation.metrics import auc
from ganime_age.learning.external.mediapipe_face import BLENDSHAPES, action_units_from_blendshapes
from ganime_age.learning.prepare.hair import mattes, moved, offset, read_hair
from ganime_age.learning.tasks import edit_requests, task_module
from ganime_age.learning.tasks import ganimation_age as ganimation_age_task
from ganime_age.learning.tasks import prototypes as prototypes_task
from ganime_age.learning.tasks.frozen import fit_lines, load_readers, smooth_curve
from ganime_age.learning.tasks.probes import prober
from ganime_age.networks.layers import luma
from ganime_age.networks.mirror import MIRROR
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS
from helpers.training import readers_run, rows

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "ganimation_age.toml"


def test_batch_shows_the_labels_of_its_faces(face_shards):
    faces = Faces(face_shards, 32)
    batch = faces.batch(np.array([3, 0]))
    assert batch["face"].shape == (2, 3, 32, 32) and batch["valid"].shape == (2, 1, 32, 32)
    assert batch["age"][0] == pytest.approx(faces.table["age"][3])
    assert batch["valid"][1, 0, 0, 0] == 0 and batch["valid"][1, 0, -1, -1] == 1
    assert batch["person"][1] == -1 and batch["person"][0] >= 0


def test_unreal_pixels_are_filled_from_the_real_ones(face_shards):
    face = Faces(face_shards, 32).batch(np.array([0]))["face"]
    assert abs(float(face[0, :, :6].mean() - face[0, :, 9:13].mean())) < 0.5
    assert face[0, :, :6].std() < face[0, :, 8:].std()


def test_a_mirrored_face_has_mirrored_labels(face_shards):
    faces = Faces(face_shards, 32)
    plain, mirrored = (faces.batch(np.array([1]), np.array([flag])) for flag in (False, True))
    assert torch.equal(mirrored["face"], plain["face"].flip(-1))
    assert mirrored["landmarks"][0, 36, 0] == pytest.approx(1 - float(plain["landmarks"][0, 45, 0]))
    assert mirrored["pose"][0, 0] == -plain["pose"][0, 0] and mirrored["pose"][0, 1] == plain["pose"][0, 1]
    assert [MIRROR[at] for at in MIRROR] == list(range(68))


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


def test_landmarks_move_in_full_precision_under_mixed_precision():
    face, marks = torch.rand(2, 3, 64, 64), torch.rand(2, 68, 2)
    torch.manual_seed(0)
    _, full = random_affine(face, marks, turn=20, zoom=0.2, shift=0.1)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        _, mixed = random_affine(face, marks, turn=20, zoom=0.2, shift=0.1)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, full)


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


@pytest.mark.parametrize("attack", [0.0, 1.0])
def test_readers_train_and_a_stopped_run_goes_on_bit_exactly(face_shards, tmp_path, attack):
    unbroken = readers_run(face_shards, tmp_path / "a", 4, attack)
    before = {k: v.clone() for k, v in unbroken.task.networks["readers"].state_dict().items()}
    unbroken.train()
    readers_run(face_shards, tmp_path / "b", 2, attack).train()
    again = readers_run(face_shards, tmp_path / "b", 4, attack)
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


def test_light_copies_are_half_precision_and_start_another_run(face_shards, tmp_path):
    run = readers_run(face_shards, tmp_path, 2)
    run.train()
    light = load_file(tmp_path / "light" / "readers.safetensors")
    assert all(v.dtype == torch.float16 for v in light.values() if v.is_floating_point())
    assert json.loads((tmp_path / "light" / "readers.json").read_text()) == READERS


def test_a_run_without_a_finished_checkpoint_says_so(face_shards, tmp_path):
    with pytest.raises(BadInput, match="holds no finished checkpoint"):
        readers_run(face_shards, tmp_path, 2).resume(tmp_path / "checkpoint")


@pytest.mark.slow
def test_ganimation_age_trains_both_players_and_leaves_the_prototypes(face_shards, tmp_path):
    readers = readers_run(face_shards, tmp_path / "readers", 2)
    readers.train()
    made = prototypes_task.build(
        prototypes_task.Recipe(batch=4, network={"hair_width": 4}), Faces(face_shards, 32), 0
    )
    Run(made, Plan(steps=1), tmp_path / "prototypes").train()
    recipe = ganimation_age_task.Recipe(
        readers=str(tmp_path / "readers" / "light"),
        prototypes=str(tmp_path / "prototypes" / "light"),
        judge="",
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
    task = ganimation_age_task.build(recipe, Faces(face_shards, 32), 0)
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in task.networks.items()}
    Run(
        task, Plan(steps=4, warmup=1, schedule="constant", sheet_every=4, log_every=1), tmp_path / "gan"
    ).train()
    for name, network in task.networks.items():
        moved = {
            key for key, value in network.state_dict().items() if not torch.equal(value, before[name][key])
        }
        learns = {key for key in before[name] if not key.startswith("prototypes.")}
        # A relativistic loss sees differences of logits, so their bias moves by rounding at most.
        assert moved <= learns <= moved | {"real.bias"}, name
    assert Image.open(tmp_path / "gan" / "sheet-000004.jpg").size[0] == 14 * 32
    log = json.loads((tmp_path / "gan" / "log.jsonl").read_text().splitlines()[-1])
    terms = {field.name for field in fields(ganimation_age_task.Weights)}
    assert {"d_pairs", "d_wrong", "mask"} | terms <= set(log)


def test_weights_ramp_from_the_start_to_those_that_end_otherwise():
    weights = {"weights": {"age": 0.0, "pose": 0.3}, "weights_end": {"age": 1.5}}
    recipe = ganimation_age_task.Recipe(ramp_steps=600, **weights)
    weights = ganimation_age_task.Objective(recipe, *[None] * 4).weights
    assert [weights(step)["age"] for step in (0, 300, 600, 9000)] == [0, 0.75, 1.5, 1.5]
    assert [weights(step)["pose"] for step in (0, 600)] == [0.3, 0.3] and "mask" not in weights(0)


@pytest.mark.parametrize("table", ["weights", "weights_end"])
@pytest.mark.parametrize(
    ("weights", "words"),
    [({"agee": 1.0}, "has no agee; it has adversarial"), ({"age": "1"}, "is '1'; it must be a number")],
)
def test_a_misspelt_weight_is_named(table, weights, words):
    recipe = ganimation_age_task.Recipe(**{table: weights})
    with pytest.raises(BadInput, match=rf"recipe\.{table}\] table {words}"):
        ganimation_age_task.Objective(recipe, *[None] * 4)


def test_light_copies_are_read_whole_or_in_files_and_name_what_does_not_fit(tmp_path, monkeypatch):
    torch.manual_seed(0)
    made, configs = {"readers": Readers(**READERS)}, {"readers": READERS}
    monkeypatch.setattr(checkpoints, "LIGHT_FILE", checkpoints.HEADER + 20_000)
    checkpoints.write_light(made, configs, tmp_path)
    assert len(list(tmp_path.glob("readers-*.safetensors"))) > 1
    read = load_readers(str(tmp_path))
    assert not read.training and not any(p.requires_grad for p in read.parameters())
    assert torch.equal(read.age_head.weight, made["readers"].age_head.weight.half().float())
    (tmp_path / "readers.json").write_text(json.dumps(READERS | {"widths": [8, 8, 8, 32]}))
    with pytest.raises(BadInput, match=r"another network than readers\.json says: size mismatch"):
        load_readers(str(tmp_path))
    for damage in ("{", "[]", '{"sise": 3}'):
        (tmp_path / "readers.json").write_text(damage)
        with pytest.raises(BadInput, match=r"readers\.json describes no network readers"):
            load_readers(str(tmp_path))
    (tmp_path / "readers.json").write_text(json.dumps(READERS))
    (tmp_path / "readers.safetensors.index.json").write_text("{}")
    with pytest.raises(BadInput, match=r"index\.json is damaged"):
        load_readers(str(tmp_path))


def test_a_judge_that_is_named_must_be_there(tmp_path):
    with pytest.raises(
        BadInput, match=r"none.age_judge\.json is missing; run the recipe that makes age_judge"
    ):
        prober("generator", ganimation_age_task.edits, Readers(**READERS), str(tmp_path / "none"), {})
    assert callable(prober("generator", ganimation_age_task.edits, Readers(**READERS), "", {}))


def test_hair_is_taught_on_the_pictures_whose_whole_frame_is_real(face_shards):
    shown = []

    class Teacher:
        def chances(self, pictures, side):
            room = (pictures.shape[1] - 32) // 2
            shown.extend(pictures[:, room:-room, room:-room])
            return np.full((len(pictures), side, side), 0.5, np.float32)

    faces = Faces(face_shards, 32)
    index, mask = read_hair(Teacher(), faces, 4, 0)
    assert not len(index) and mask.shape == (0, 128, 128)  # no picture agrees with a mask of one value
    assert len(shown) and all(
        (faces.pixels(faces_that_show(faces, one))[:, 3] > 200).mean() > 0.97 for one in shown
    )


def faces_that_show(faces, picture):
    """The index of the face with this picture, as it is or mirrored."""
    pixels = faces.pixels(np.arange(len(faces)))[:, :3].transpose(0, 2, 3, 1)
    apart = [np.abs(pixels.astype(int) - one).max((1, 2, 3)) for one in (picture, picture[:, ::-1])]
    return np.flatnonzero(np.minimum(*apart) <= 1)[:1]


def head_of_hair(skin=(200, 150, 120), hair=(60, 40, 30)):
    """A picture (128,128,3) of a face under dark hair, its landmarks (68,2) and the hair (128,128) bool."""
    y, x = np.mgrid[:128, :128] / 128
    face = ((x - 0.5) / 0.22) ** 2 + ((y - 0.6) / 0.3) ** 2 < 1
    mask = (((x - 0.5) / 0.34) ** 2 + ((y - 0.45) / 0.38) ** 2 < 1) & ~face & (y < 0.6)
    chance = np.random.default_rng(0)
    picture = np.where(face[..., None], skin, np.where(mask[..., None], hair, (120, 160, 200)))
    picture = (picture + chance.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
    around = np.linspace(np.pi, 0, 17)
    marks = np.full((68, 2), 0.6)
    marks[:17] = np.stack([0.5 + 0.2 * np.cos(around), 0.6 + 0.27 * np.sin(around)], 1)
    marks[17:27] = np.stack([np.linspace(0.35, 0.65, 10), np.full(10, 0.48)], 1)
    return picture, marks, mask


def test_a_teachers_mask_counts_where_its_mirror_image_and_the_colours_agree():
    picture, marks, hair = head_of_hair()
    rough = moved(hair[None].astype(np.float32), 2)  # drawn beside what it saw
    mirrored = moved(hair[None, :, ::-1].astype(np.float32), 2)[:, :, ::-1]
    assert offset(rough, mirrored) == 2
    seen = hair[None].astype(np.float32)
    (matte,) = mattes(picture[None], marks[None], seen, seen)
    assert ((matte > 127) == hair).all()
    assert mattes(picture[None], marks[None], seen, np.zeros_like(seen)) == [None]
    bald, _, _ = head_of_hair(hair=(204, 152, 122))
    assert mattes(bald[None], marks[None], seen, seen) == [None]


def test_what_a_teacher_finds_on_one_side_alone_is_hair_where_it_has_the_colours_of_hair():
    picture, marks, hair = head_of_hair()
    tail, coat = np.s_[80:120, 8:16], np.s_[80:120, 112:120]
    picture[tail], seen, mirrored = (60, 40, 30), hair.astype(np.float32), hair.astype(np.float32)
    seen[tail] = mirrored[coat] = 1
    (matte,) = mattes(picture[None], marks[None], seen[None], mirrored[None])
    assert (matte[tail] > 250).all(), "a dark tail"
    assert (matte[coat] < 130).all(), "something else is as doubtful as the teacher is"
    assert ((matte > 127) == hair)[:70].all()


def forty_heads():
    """The head of `head_of_hair` 40 times: faces (40,3,128,128), masks (40,1,128,128), landmarks (40,68,2)."""
    torch.manual_seed(0)
    picture, marks, hair = head_of_hair()
    faces = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1).expand(40, -1, -1, -1)
    masks = torch.from_numpy(hair)[None, None].float().expand(40, -1, -1, -1)
    return faces, masks, torch.from_numpy(marks).float().expand(40, -1, -1)


def test_dyed_hair_and_new_surroundings_leave_the_face_and_each_other_alone():
    faces, masks, landmarks = forty_heads()
    hair = masks > 0.5
    dyed = dye(faces, masks, chance=1.0)
    assert torch.equal(dyed[~hair.expand_as(faces)], faces[~hair.expand_as(faces)])
    light = (luma(dyed) - luma(faces))[hair].abs()
    assert ((dyed - faces).abs().amax(1, keepdim=True)[hair] > 0.05).float().mean() > 0.8
    assert light.median() < 0.05, "only the colour is another"
    moved = surround(faces, masks, landmarks, chance=1.0)
    assert torch.equal(moved[hair.expand_as(faces)], faces[hair.expand_as(faces)])
    assert torch.equal(moved[:, :, 80:90, 60:68], faces[:, :, 80:90, 60:68])
    corner = (moved - faces)[:, :, :20, :10].abs().amax((1, 2, 3))
    assert (corner > 0.1).float().mean() > 0.8
    assert torch.equal(surround(dye(faces, masks, 0.0), masks, landmarks, 0.0), faces)


def test_shining_hair_is_brighter_in_places_and_all_else_stays():
    faces, masks, _ = forty_heads()
    hair = (masks > 0.5).expand_as(faces)
    lit = shine(faces, masks, chance=1.0)
    assert torch.equal(lit[~hair], faces[~hair])
    more = (lit - faces).mean(1)[masks[:, 0] > 0.5]
    assert (more > -1e-6).all() and 0.2 < (more > 0.1).float().mean() < 0.9, "patches, not all of it"
    some = (shine(faces, masks, chance=0.5) != faces).flatten(1).any(1)
    assert 0.2 < some.float().mean() < 0.8
    assert torch.equal(shine(faces, masks, chance=0.0), faces)


def test_hair_that_hangs_beside_a_face_is_hair_and_has_its_colour():
    faces, masks, landmarks = forty_heads()
    same, still = hang(faces, masks, landmarks, chance=0.0)
    assert torch.equal(same, faces) and torch.equal(still, masks)
    hung, more = hang(faces, masks, landmarks, chance=1.0)
    new = (more - masks)[:, 0] > 0.9
    assert (new.flatten(1).sum(1) > 10).float().mean() > 0.7
    assert torch.equal(hung[(more == masks).expand_as(faces)], faces[(more == masks).expand_as(faces)])
    assert torch.equal(hung[:, :, 70:95, 50:78], faces[:, :, 70:95, 50:78]), "it hangs behind the face"
    both = new[:, :, :50].flatten(1).any(1) & new[:, :, 78:].flatten(1).any(1)
    assert 0.1 < both.float().mean() < 0.9, "on one shoulder or on both"
    assert hung.mean(1)[new].mean().item() == pytest.approx(
        faces.mean(1)[masks[:, 0] > 0.5].mean().item(), abs=0.35
    )
    bald = torch.zeros_like(masks)
    assert torch.equal(hang(faces, bald, landmarks, chance=1.0)[1], bald), "who has no hair gets none"


def test_the_folds_of_a_curtain_are_upright():
    torch.manual_seed(1)
    cloth = folds(60, 64, torch.zeros(1)).mean(1)
    across, down = (cloth.diff(dim=axis).abs().mean((1, 2)) for axis in (2, 1))
    assert (across > 2 * down).float().mean() > 0.9 and across.median() > 0.005


def test_what_a_hat_covers_is_no_hair():
    faces, masks, landmarks = forty_heads()
    same, still = wear(faces, masks, landmarks, chance=0.0)
    assert torch.equal(same, faces) and torch.equal(still, masks)
    worn, left = wear(faces, masks, landmarks, chance=1.0)
    lost = (masks - left)[:, 0] > 0.99
    assert (lost.flatten(1).sum(1) > 100).float().mean() > 0.9
    assert ((worn - faces).abs().amax(1)[lost] > 0.05).float().mean() > 0.8
    assert torch.equal(
        worn[:, :, 80:90, 60:68], faces[:, :, 80:90, 60:68]
    )  # the middle of the face is never covered


def test_in_a_larger_picture_lie_the_same_frame_and_its_hair_and_a_strangers_hair_does_not_count_as_theirs():
    torch.manual_seed(0)
    picture, landmarks, hair = head_of_hair()
    faces = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1).expand(40, -1, -1, -1)
    masks = torch.from_numpy(hair)[None, None].float().expand(40, -1, -1, -1)
    marks = torch.from_numpy(landmarks).float().expand(40, -1, -1)
    faces = faces.clone()
    faces[:, :, 74:79, 62:67] = 1.0  # a white nose
    marks = marks.clone()
    marks[:, 30] = torch.tensor([64.5, 76.5]) / 128
    shown, counts, places = in_larger(torch.cat([faces, masks], 1), marks, 192)
    at = (places[:, 30] * 192).long()
    inside = ((at >= 0) & (at < 192)).all(1)
    assert inside.sum() > 25
    assert (shown[inside, :3, at[inside, 1], at[inside, 0]] > 0.8).all(), "landmarks go along"
    assert shown.shape == (40, 4, 192, 192) and counts.shape == (40, 1, 192, 192)
    found, dark = shown[:, 3] > 0.9, shown[:, :3].mean(1) < -0.5
    assert dark[found].float().mean() > 0.98  # the hair that is asked for looks like hair
    sure = counts[:, 0] == 1
    own = sure & found
    assert (own.flatten(1).sum(1) > 1000).all()
    stranger = sure.flatten(1).float().mean(1) == 1
    assert 4 <= stranger.sum() <= 18 and (dark & ~found)[stranger].flatten(1).sum(1).float().mean() > 1000
    assert counts[~stranger].unique().numel() > 2  # what only repeats or mirrors the frame counts less


def test_requests_move_only_what_they_ask(face_shards):
    torch.manual_seed(0)
    batch = Faces(face_shards, 32).batch(np.arange(12).repeat(20))
    batch["age"] = batch["age"].nan_to_num(30.0)
    asked = edit_requests.ask(batch, 0.0)
    still = ~asked.ages_moves
    assert 0.2 < still.float().mean() < 0.5
    assert torch.equal(asked.target_age[still], asked.source_age[still])
    assert asked.target_aus.min() >= 0 and asked.target_aus.max() <= 5
    assert torch.equal(asked.target_aus[:, [4, 6]], asked.source_aus[:, [4, 6]])


def test_crops_go_back_to_where_they_were_cut():
    torch.manual_seed(0)
    frames, valid = torch.rand(3, 3, 32, 32), torch.ones(3, 1, 32, 32)
    corners = edit_requests.crop_corners(valid, 24)
    crops = edit_requests.cut(frames, corners, 24)
    assert torch.equal(edit_requests.put_back(frames, crops, corners), frames)


def test_identity_counts_less_across_a_wide_age_gap():
    gap = losses.age_gap_weight(torch.tensor([20.0, 20.0]), torch.tensor([20.0, 90.0]))
    assert gap[0] == 1 and 0.5 <= gap[1] < 0.8


def test_band_is_free_inside_and_costs_outside():
    assert losses.band(torch.tensor(0.2), 0.05, 0.5) == 0
    assert losses.band(torch.tensor(0.01), 0.05, 0.5) > 0 and losses.band(torch.tensor(0.9), 0.05, 0.5) > 0


def test_auc_of_known_scores():
    assert auc(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.85])) == pytest.approx(5 / 6)


def test_measure_fills_its_summary(face_shards):
    torch.manual_seed(0)
    result = measure(
        Readers(**READERS), Faces(face_shards, 32, ("train",)), Faces(face_shards, 32, ("train",))
    )
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
def test_broken_folders_are_named(face_shards, tmp_path, harm, words):
    for name in ("manifest.parquet", "faces-00.tar"):
        (tmp_path / name).write_bytes((face_shards / name).read_bytes())
    harm(tmp_path)
    with pytest.raises(BadInput, match=words):
        Faces(tmp_path, 32)


def test_an_unreadable_picture_is_named(face_shards, tmp_path):
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("run.steps=abc", r"steps in the recipe's \[run\] table is 'abc'; it must be a whole number"),
        ("run.steps=1.5", "steps .* is 1.5; it must be a whole number"),
        ("run.steps=true", "steps .* is True; it must be a whole number"),
        ("run.steps.x=1", r"cannot --set run\.steps\.x: steps is 20000, which holds no other names"),
        ("run=5", "run in the recipe's top level is 5; it must be a table"),
        ("run={}", r"the recipe's \[run\] table lacks steps"),
        ("run.minutes=0", "run.minutes is 0; it must be above 0"),
        ("run.minutes=nan", "run.minutes is nan; it must be above 0"),
        ("recipe.batch=0", r"batch in the recipe's \[recipe\] table is 0; it must be at least 1"),
        ("recipe.mask_band=[1]", "mask_band .*; it must be an array of 2 values, each a number"),
        ("recipe.weights=[1]", r"weights .* is \[1\]; it must be a table"),
        ("sise=64", "top level has no sise; it has task, size, sources, hold_out, run, recipe, watch"),
        ("size=0", "size is 0"),
        ("sources=utkface", "sources .* is 'utkface'; it must be an array of values, each a text"),
    ],
)
def test_a_change_that_cannot_be_is_one_sentence(change, words):
    with pytest.raises(BadInput, match=words):
        tables = fill(Tables, read_recipe(RECIPE, [change]), "top level")
        fill(Plan, tables.run, "[run] table")
        fill(ganimation_age_task.Recipe, tables.recipe, "[recipe] table")


@pytest.mark.parametrize(
    "path",
    sorted(p for p in RECIPE.parent.glob("*.toml") if not p.stem.startswith("multipose")),  # not train.py's
    ids=lambda path: path.stem,
)
def test_every_recipe_fits_its_task(path):
    tables = fill(Tables, read_recipe(path, ["run.clip=inf"]), "top level")
    assert fill(Plan, tables.run, "[run] table").clip == float("inf")
    task = task_module(tables.task)
    numbers = fill(task.Recipe, tables.recipe, "[recipe] table")
    for table in {"weights", "weights_end"} & set(vars(numbers)):
        fill(task.Weights, getattr(numbers, table), f"[recipe.{table}] table")


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
