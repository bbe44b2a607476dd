"""The readers' second look at mouth and eyes: where it looks, what it corrects, and its training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ganime_age.edits import AU_CODES, AU_UNSEEN
from ganime_age.errors import BadInput
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan, Step
from ganime_age.learning.tasks import local_reader as task
from ganime_age.model.model import GanimeAge
from ganime_age.networks import local_reader as networks
from ganime_age.networks.mirror import mirrored_landmarks
from ganime_age.networks.readers import Readers
from helpers.ages import face_folder, tiny_readers
from helpers.tiny import READERS

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "local_reader.toml"
SMALL = {"widths": [8, 8, 16]}


def face_points(count: int) -> torch.Tensor:
    """Landmarks (count,68,2) that lie roughly as on a face, different on each."""
    torch.manual_seed(1)
    points = 0.5 + 0.1 * torch.randn(68, 2)
    for part, x, y in (
        (networks.RIGHT_EYE, 0.33, 0.4),
        (networks.LEFT_EYE, 0.67, 0.4),
        (range(48, 68), 0.5, 0.7),
    ):
        points[list(part)] = torch.tensor([x, y]) + 0.04 * torch.randn(len(part), 2)
    return points + 0.005 * torch.randn(count, 68, 2)


def local(**numbers) -> networks.LocalReader:
    torch.manual_seed(0)
    made = networks.LocalReader(**SMALL, **numbers).eval()
    for patch in (made.mouth, made.eye):
        patch.mean.normal_(std=0.1)
    return made


def test_a_crop_shows_the_place_that_its_points_name():
    face = torch.zeros(1, 3, 128, 128)
    face[:, :, 80:84, 60:64] = 1  # its middle is at 62/128, 82/128
    crop = networks.Crop(torch.tensor([[0.5, 0.6]]), torch.tensor([0.4]), torch.tensor([0.3]))
    seen = crop.cut(face, 56)[0, 0]
    row, column = (
        (seen * torch.arange(56)[:, None]).sum() / seen.sum(),
        (seen * torch.arange(56)).sum() / seen.sum(),
    )
    place = (torch.stack([column, row]) + 0.5) / 56 - 0.5
    assert torch.allclose(crop.placed(place[None, None])[0, 0], torch.tensor([62, 82]) / 128, atol=0.004)


def test_both_eyes_are_read_by_one_network_as_each_others_mirror_image():
    network, face, points, units = local(), torch.randn(2, 3, 128, 128), face_points(2), torch.zeros(2, 17)
    mirrored = mirrored_landmarks(points)
    with torch.no_grad():
        found = network(face, points, units).landmarks
        other = network(face.flip(3), mirrored, units).landmarks
    back = mirrored_landmarks(other)
    eyes = [*networks.RIGHT_EYE, *networks.LEFT_EYE]
    assert torch.allclose(back[:, eyes], found[:, eyes], atol=1e-4)
    assert (found[:, eyes] - points[:, eyes]).abs().mean() > 0.01


def test_only_mouth_jaw_eyes_and_brows_are_corrected_and_action_units_at_first_are_not():
    network, points, units = local(), face_points(3), torch.rand(3, 17)
    with torch.no_grad():
        found = network(torch.randn(3, 3, 256, 256), points, units)
    moved = (found.landmarks != points).any(2).all(0)
    looked_at = sorted({*networks.MOUTH, *networks.RIGHT_EYE, *networks.LEFT_EYE})
    assert moved.nonzero()[:, 0].tolist() == looked_at and len(looked_at) == 51
    assert torch.equal(found.action_units, units)


def test_readings_are_corrected_and_stay_in_their_range():
    plain, both = readers_without_and_with_a_second_look()
    face = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        before, turned, after = plain(face), plain(face.flip(3)), both(face)
        assert torch.equal(both.read_window(both.window(face)).landmarks, before.landmarks)
        points = (before.landmarks + mirrored_landmarks(turned.landmarks)) / 2
        own = both.corrected(face, points, before.action_units)[0]
        other = both.corrected(face.flip(3), mirrored_landmarks(points), before.action_units)[0]
    assert torch.allclose(after.landmarks, (own + mirrored_landmarks(other)) / 2, atol=1e-5)
    seen = [code not in AU_UNSEEN for code in AU_CODES]
    units = (before.action_units + turned.action_units)[:, seen] / 2
    assert torch.allclose(after.action_units[:, seen], (units + 1.5).clamp(0, 5), atol=1e-5)
    assert not after.action_units[:, [not one for one in seen]].any()
    assert torch.allclose(after.age_logits, (before.age_logits + turned.age_logits) / 2, atol=1e-5)
    across = after.landmarks[:, 45] - after.landmarks[:, 36]
    assert torch.allclose(after.pose[:, 2].deg2rad().tan(), across[:, 1] / across[:, 0], atol=1e-4)


def test_a_face_and_its_mirror_image_read_alike():
    _, readers = readers_without_and_with_a_second_look()
    face = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        read, mirrored = readers(face), readers(face.flip(3))
    assert torch.allclose(mirrored.landmarks, mirrored_landmarks(read.landmarks), atol=1e-5)
    assert torch.allclose(mirrored.pose * torch.tensor([-1.0, 1.0, -1.0]), read.pose, atol=1e-3)
    assert torch.allclose(mirrored.attention.flip(2), read.attention, atol=1e-5)
    for name in ("age", "age_spread", "action_units", "identity"):
        assert torch.allclose(getattr(mirrored, name), getattr(read, name), atol=1e-4), name


def readers_without_and_with_a_second_look() -> tuple[Readers, Readers]:
    torch.manual_seed(0)
    plain = Readers(**READERS).eval()
    both = Readers(**READERS, local=SMALL, mirrored=True).eval()
    both.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.constant_(both.local.units[-1].bias, 1.5)
    return plain, both


@pytest.fixture
def folder(tmp_path):
    """Faces whose landmarks lie as on a face; the first one has a strong action unit."""
    path = face_folder(tmp_path / "faces")
    table = pd.read_parquet(path / "manifest.parquet")
    table["landmarks"] = list(face_points(15).flatten(1).numpy())
    table["action_units"] = [np.full(17, 4.0 if i == 0 else 0.2, np.float32) for i in range(15)]
    table.to_parquet(path / "manifest.parquet")
    return path


def recipe(weights: Path, **numbers) -> task.Recipe:
    torch.manual_seed(0)
    GanimeAge(("readers",), 64, **tiny_readers()).save_pretrained(weights)
    small = {"batch": 4, "network": SMALL, "readers": str(weights)}
    return fill(task.Recipe, read_recipe(RECIPE, [])["recipe"] | small | numbers, "[recipe] table")


@pytest.mark.slow
def test_training_moves_the_local_reader_alone_and_brings_it_nearer(folder, tmp_path):
    made = task.build(recipe(tmp_path / "weights", augment=0.0), Faces(folder, 128, ("train",)), 0)
    (readers,) = made.helpers
    before = {key: value.clone() for key, value in readers.state_dict().items()}
    run = Run(made, Plan(steps=60, warmup=5, log_every=5), tmp_path / "run")
    batch = made.batch(0)
    first = made.players[0].loss(Step(batch, 0)).logged
    run.train()
    last = made.players[0].loss(Step(batch, 60)).logged
    assert set(first) == set(vars(task.Weights()))
    assert all(last[name] < 0.8 * first[name] for name in first)
    assert all(torch.equal(value, before[key]) for key, value in readers.state_dict().items())


def test_faces_with_an_expression_are_drawn_more_often(folder):
    faces = Faces(folder, 128, ("train",))
    chance = task.probabilities(faces, task.unit_spread(faces))
    assert chance.sum() == pytest.approx(1, abs=1e-5) and chance[0] == chance.max() > 3 * chance[1]


def test_what_cannot_be_trained_on_is_one_sentence(folder, tmp_path):
    numbers = recipe(tmp_path / "weights")
    with pytest.raises(BadInput, match="looks at faces of 128 px, not of 64"):
        task.build(numbers, Faces(folder, 64), 0)
    table = pd.read_parquet(folder / "manifest.parquet").drop(columns="landmarks")
    table.to_parquet(folder / "manifest.parquet")
    with pytest.raises(BadInput, match="has no face with landmarks"):
        task.build(numbers, Faces(folder, 128), 0)
