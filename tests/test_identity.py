"""The identity reader: its network, the faces it learns from, its optimiser, its recipe and its measurement."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.aligned_crops import aligned_crops
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.joined_faces import JoinedFaces
from ganime_age.learning.engine.checkpoints import load_light, start_from
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.muon import Muon, orthogonal
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.evaluation.measure_identity import edited_pairs, looks_of, measure, verification
from ganime_age.learning.prepare import made_faces
from ganime_age.learning.tasks.aligned import identity as identity_task
from ganime_age.model.model import GanimeAge
from ganime_age.networks.aligned.identity import IdentityReader
from helpers.ages import face_folder

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "identity.toml"
TINY = {"widths": [8, 8, 16], "blocks": [1, 1, 1], "squeeze": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return face_folder(tmp_path_factory.mktemp("faces"), identities=True)


def run(folder, out, steps, **numbers):
    recipe = identity_task.Recipe(**{"batch": 6, "network": TINY} | numbers)
    torch.manual_seed(0)
    task = identity_task.build(recipe, Faces(folder, 64), 0)
    return Run(task, Plan(steps=steps, warmup=1, schedule="constant", log_every=1, save_every=2), out)


def test_a_face_of_any_side_becomes_a_unit_vector():
    torch.manual_seed(0)
    network = IdentityReader(**TINY)
    landmarks = torch.rand(2, 68, 2) * 0.2 + 0.4
    for side in (64, 128, 160):
        found = network(torch.rand(2, 3, side, side) * 2 - 1, landmarks)
        assert found.shape == (2, 128) and torch.allclose(found.norm(dim=1), torch.ones(2))
    network.eval()
    crop = torch.rand(1, 3, 112, 112)
    network.crop = lambda face, landmarks: face
    assert torch.allclose(network(crop, landmarks), network(crop.flip(3), landmarks), atol=1e-6)
    found[:, 0].sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_the_network_of_the_recipe_has_a_million_and_a_half_weights_and_travels_light():
    numbers = fill(identity_task.Recipe, read_recipe(RECIPE, [])["recipe"], "[recipe] table")
    count = sum(v.numel() for v in IdentityReader(**numbers.network).state_dict().values())
    assert 1.25e6 < count < 1.6e6


def test_crops_are_what_the_network_sees_and_change_with_strength(folder):
    faces = Faces(folder, 64)
    indices, still = np.arange(4), np.zeros(4, bool)
    batch = faces.batch(indices)
    seen = IdentityReader.crop(batch["face"], batch["landmarks"])
    crops = aligned_crops(faces, indices, still, 0.0, np.random.default_rng(0))
    assert crops.shape == (4, 3, 112, 112) and crops.dtype == torch.uint8
    assert (crops.float() / 127.5 - 1 - seen).abs().mean() < 0.02
    mirrored = aligned_crops(faces, indices, ~still, 0.0, np.random.default_rng(0))
    assert (
        mirrored.float() - crops.flip(3).float()
    ).abs().mean() < 12  # ArcFace's points are not quite symmetric
    changed = [aligned_crops(faces, indices, still, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(changed[0], changed[1]) and not torch.equal(changed[0], changed[2])


def test_the_recipe_trains_three_steps_and_a_stopped_run_goes_on_bit_exactly(folder, tmp_path):
    unbroken = run(folder, tmp_path / "a", 3)
    before = {k: v.clone() for k, v in unbroken.task.networks["identity"].named_parameters()}
    unbroken.train()
    run(folder, tmp_path / "b", 2).train()
    again = run(folder, tmp_path / "b", 3)
    again.resume(tmp_path / "b" / "checkpoint")
    again.train()
    for name in unbroken.task.networks:
        for key, value in unbroken.task.networks[name].state_dict().items():
            assert torch.equal(value, again.task.networks[name].state_dict()[key]), key
    after = dict(unbroken.task.networks["identity"].named_parameters())
    assert not [key for key, value in after.items() if torch.equal(value, before[key])]
    assert load_light(IdentityReader, tmp_path / "a" / "light", "identity").embed(
        torch.zeros(1, 3, 112, 112)
    ).shape == (1, 128)


def of_step(trained) -> float:
    """The sum of the terms of one step."""
    trained.one_step(0.0)
    return sum(sum(terms.values()) for terms in trained.listen())


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_what_is_lost_falls(folder, tmp_path, optimizer):
    trained = run(folder, tmp_path, 1, augment=0.0, optimizer=optimizer, lr=1e-2)
    totals = [of_step(trained) for trained.step in range(40)]
    assert np.mean(totals[-3:]) < 0.8 * np.mean(totals[:3])


def test_the_right_person_among_strangers_costs_least():
    teacher, bank = torch.eye(8)[:3], torch.eye(8)[3:]
    right, wrong = (
        losses.similarity_distribution(e, teacher, bank, 32.0) for e in (teacher, teacher.roll(1, 0))
    )
    assert right < 1e-3 and wrong > 10
    twin = losses.similarity_distribution(
        teacher, teacher, teacher, 32.0
    )  # everyone twice: no stranger, so halves
    assert torch.isclose(twin, torch.tensor(2.0).log(), atol=1e-3)


def test_faces_without_a_teacher_are_named(folder):
    faces = Faces(folder, 64)
    faces.labels["teacher"] = np.full_like(faces.labels["teacher"], np.nan)
    with pytest.raises(BadInput, match="landmarks and teacher_identity"):
        identity_task.build(identity_task.Recipe(network=TINY), faces, 0)


def test_muon_steps_along_an_orthogonal_matrix_of_the_size_of_adams_step():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(6, 20)))
    assert 0.5 < values.min() and values.max() < 1.3
    layer = nn.Linear(20, 6)
    before = [p.detach().clone() for p in layer.parameters()]
    optimizer = Muon(layer, lr=0.01)
    layer(torch.randn(8, 20)).square().sum().backward()
    optimizer.step()
    steps = [(new - old).square().mean().sqrt() for old, new in zip(before, layer.parameters(), strict=True)]
    assert 0.0014 < steps[0] < 0.0026  # 0.2 learning rates
    assert torch.isclose(steps[1], torch.tensor(0.01), rtol=1e-3)  # Adam's first step


def same_look(landmarks):
    """A network that sees the same in every picture of one face: where its landmarks are."""
    flat = landmarks.flatten(1)[:, :128]
    return flat / flat.norm(dim=1, keepdim=True)


def test_blends_lie_between_two_faces_and_carry_the_teachers_word(folder, tmp_path):
    faces = Faces(folder, 64)

    def teacher(pictures, landmarks):
        return same_look(torch.from_numpy(landmarks)).numpy()

    made = made_faces.blends(teacher, faces, 5, 0)
    assert made_faces.write(tmp_path, faces, made, "blended", 5) == 5
    joined = JoinedFaces([faces, Faces(tmp_path, 64)])
    assert len(joined) == len(faces) + 5 and (joined.labels["person"][-5:] == -1).all()
    assert np.allclose(np.linalg.norm(joined.labels["teacher"][-5:], axis=1), 1, atol=1e-5)
    assert joined.pixels(np.array([len(faces) + 1, 0])).shape == (2, 4, 64, 64)
    assert torch.equal(
        torch.from_numpy(joined.pixels(np.array([0]))), torch.from_numpy(faces.pixels(np.array([0])))
    )


def test_edited_faces_keep_their_source_and_its_embedding(folder):
    faces = Faces(folder, 64)
    made = next(made_faces.edits(GanimeAge.from_pretrained(), faces, 4, 0))
    assert made.same_person and made.pictures.shape == (4, 64, 64, 3)
    assert np.array_equal(made.teacher, faces.labels["teacher"][made.sources])


def standard_landmarks():
    """The mean face's (68,2), 0..1 of a frame."""
    return GanimeAge.from_pretrained().prototypes.mean_shape.numpy().astype(np.float64)


def test_a_blend_of_two_equal_faces_is_that_face():
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    points = np.random.default_rng(1).uniform(0.3, 0.7, (68, 2))
    both, between = made_faces.blended(picture, picture, points, points, np.random.default_rng(2))
    assert np.abs(both.astype(int) - picture).max() <= 2 and np.allclose(between, points, atol=1e-5)


def test_eyes_nose_and_mouth_of_a_blend_come_from_each_face_by_a_share_of_their_own():
    points = standard_landmarks()
    first, second = np.zeros((128, 128, 3), np.uint8), np.zeros((128, 128, 3), np.uint8)
    first[..., 0], first[::2, :, 1], second[1::2, :, 1] = 60, 200, 200  # stripes that tell how much is whose
    both, _ = made_faces.blended(first, second, points, points, np.random.default_rng(3))
    assert np.ptp(both[..., 0]) <= 1  # the mean colour is the first's
    shares = []
    for part in made_faces.PARTS:
        x, y = (points[part].mean(0) * 64).astype(int) * 2
        shares.append(both[y, x, 1] / 200)
    assert np.ptp(shares) > 0.2


def test_a_bent_face_takes_its_landmarks_along():
    points = standard_landmarks()
    picture = np.zeros((128, 128, 3), np.uint8)
    for x, y in (points * 128).round().astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = 255
    shown, moved = made_faces.bent(picture, points, np.random.default_rng(9))
    assert np.abs(moved - points).max() * 128 > 2
    values = [shown[y, x, 0] for x, y in (moved * 128).round().astype(int)]
    assert np.mean(np.array(values) > 100) > 0.95


def test_perfect_and_blind_readers_measure_as_such():
    person = np.repeat(np.arange(40), 5)
    perfect = np.eye(40)[person]
    figures = verification(perfect, person)
    assert figures["auc"] == 1 and figures["tar_far1e3"] == 1
    chance = np.random.default_rng(0).normal(size=(200, 8))
    blind = verification(chance / np.linalg.norm(chance, axis=1, keepdims=True), person)
    assert 0.4 < blind["auc"] < 0.6 and blind["tar_far1e3"] < 0.05
    assert verification(perfect[:5], person[:5]) == {}
    edited = edited_pairs(perfect, np.stack([perfect, np.roll(perfect, 5, 0)]), person, 0.5)
    assert edited["edited_tar"] == 0.5 and edited["edited_tar_by_age"] == {"5": 1.0, "20": 0.0}


def tiny_model(*parts):
    torch.manual_seed(0)
    readers = {"size": 32, "widths": [8] * 4, "blocks": [1] * 3}
    stated = [(0.4, 0.01, 0.7), (0.2, 0.1, 0.9)]
    return GanimeAge(parts, identity_thresholds=stated, readers=readers, identity=TINY).eval()


def test_a_model_reads_identity_by_its_own_part_on_the_landmarks_that_it_found():
    model, face = tiny_model("readers", "identity"), torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        found, by_head = model.read(face), model.readers(face)
        assert torch.equal(found.identity, model.identity(face, by_head.landmarks))
        assert not torch.allclose(found.identity, by_head.identity, atol=0.1)
        assert not model.read(face, identity=False).identity.any()
        assert torch.equal(found.age, by_head.age)


def test_weights_without_the_part_keep_the_readers_head_and_their_thresholds(tmp_path):
    older = tiny_model("readers")
    older.save_pretrained(tmp_path)
    loaded, face = GanimeAge.from_pretrained(tmp_path), torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(loaded.read(face).identity, older.readers(face).identity)
    assert loaded.parts == ("readers",) and loaded.identity_thresholds == older.identity_thresholds


def test_training_goes_on_from_the_part_of_a_weights_folder(folder, tmp_path):
    tiny_model("readers", "identity").save_pretrained(tmp_path / "weights")
    trained = run(folder, tmp_path / "run", 1)
    start_from(trained, tmp_path / "weights")
    stored = GanimeAge.from_pretrained(tmp_path / "weights").identity.state_dict()
    for key, value in trained.task.networks["identity"].state_dict().items():
        assert torch.equal(value, stored[key]), key
    tiny_model("readers").save_pretrained(tmp_path / "older")
    with pytest.raises(BadInput, match="holds none of identity"):
        start_from(trained, tmp_path / "older")


def test_readers_without_the_part_that_was_measured_state_no_thresholds(tmp_path):
    tiny_model("readers", "identity").save_pretrained(tmp_path)
    whole = GanimeAge.from_pretrained(tmp_path)
    assert [one.cosine for one in whole.identity_thresholds] == [0.4, 0.2]
    assert GanimeAge.from_pretrained(tmp_path, parts=["readers"]).identity_thresholds == ()


def test_the_package_knows_a_face_again_that_is_mirrored_darker_and_half_the_size(editor, portrait):
    again = (portrait[::2, ::-2] * 0.6).astype(np.uint8)
    one, other = (editor.read(photo)[0].identity for photo in (portrait, again))
    strict, loose = editor.model.identity_thresholds
    assert one @ other > strict.cosine > loose.cosine


def test_the_measurement_has_a_row_for_every_reader_and_the_teacher(folder):
    faces = Faces(folder, 64)
    model = GanimeAge.from_pretrained(parts=["readers", "prototypes", "ganimation_age", "identity"])
    own = looks_of(None, model)
    assert set(own) == {"readers_head", "identity", "identity_labelled_landmarks"}
    looks = looks_of(IdentityReader(**TINY), model, lambda pictures, landmarks: np.eye(128)[: len(pictures)])
    found = measure(looks, faces, model, 3)
    assert set(found["readers"]) == {
        "shipped",
        "readers_head",
        "identity",
        "identity_labelled_landmarks",
        "judge",
        "teacher",
    }
    assert found["faces"] == 12 and found["people"] == 4
    assert {f"identity_{name}" for name in ("auc", "tar_far1e3", "edited_auc", "edited_tar")} <= set(
        found["summary"]
    )
    assert len(found["readers"]["identity"]["edited_tar_by_age"]) == 5
    assert -1 <= found["readers"]["identity"]["cosine_to_teacher"] <= 1
    faces.labels["person"][:] = -1
    with pytest.raises(BadInput, match="names no person"):
        measure({}, faces)
