"""The head model: fitting it to landmarks, and what it says of pose and surface."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.tasks.head import Recipe, chosen
from ganime_age.learning.tasks.head import build as build_task
from ganime_age.learning.tasks.head_fit import DEPTH, build
from ganime_age.model.model import GanimeAge
from ganime_age.networks.head import (
    RADIAN,
    Head,
    HeadModel,
    linearise,
    rotation,
    rotation_slopes,
)
from ganime_age.networks.mesh import turned
from ganime_age.networks.rasterizer import signed_areas


@pytest.fixture(scope="module")
def head_model():
    """The measured head of the embedded weights."""
    return GanimeAge.from_pretrained(parts=["head"]).head


def some_heads(
    model: HeadModel, yaw=(0.0, 25.0, -35.0), pitch=(0.0, -12.0, 10.0), roll=(0.0, 4.0, -6.0)
) -> Head:
    """Heads of random people in given poses, where faces lie in a frame."""
    torch.manual_seed(3)
    count = len(yaw)
    return Head(
        0.7 * torch.randn(count, len(model.identity)),
        0.7 * torch.randn(count, len(model.expression)),
        torch.tensor([yaw, pitch, roll]).T,
        torch.linspace(0.5, 0.6, count),
        torch.tensor([[0.5, 0.53]]).repeat(count, 1),
    )


def test_a_fit_finds_the_pose_that_made_the_landmarks(head_model):
    heads = some_heads(head_model)
    found = head_model.fit(head_model.landmarks(heads))
    assert (found.pose - heads.pose).abs().mean() < 3.5
    assert (head_model.landmarks(found) - head_model.landmarks(heads)).norm(dim=2).mean() < 0.004


def test_a_pose_that_is_given_is_weighed_not_believed(head_model):
    heads = some_heads(head_model)
    marks = head_model.landmarks(heads)
    right, wrong = (head_model.fit(marks, heads.pose + off).pose for off in (0.0, 20.0))
    without = head_model.fit(marks).pose
    assert (right - heads.pose).abs().mean() <= (without - heads.pose).abs().mean() + 0.1
    assert (wrong - heads.pose)[:, 0].abs().max() < 12


def test_noisy_landmarks_still_give_a_plausible_head(head_model):
    heads = some_heads(head_model)
    marks = head_model.landmarks(heads)
    found = head_model.fit(marks + 0.006 * torch.randn_like(marks))
    assert (found.pose - heads.pose).abs().mean() < 6
    assert found.identity.abs().max() < 4 and found.expression.abs().max() < 4
    assert (head_model.landmarks(found) - marks).norm(dim=2).mean() < 0.006


def test_signs_of_the_angles_are_those_of_the_readers(head_model):
    heads = some_heads(head_model, (0.0, 20.0, 0.0, 0.0), (0.0, 0.0, 20.0, 0.0), (0.0, 0.0, 0.0, 20.0))
    heads = heads._replace(identity=0 * heads.identity, expression=0 * heads.expression)
    ahead, right, down, clockwise = head_model.landmarks(heads)
    nose, eyes = 30, (36, 45)
    middle = ahead[list(eyes)].mean(0)
    assert (right[nose] - right[list(eyes)].mean(0))[0] > (ahead[nose] - middle)[0] + 0.03
    assert (down[nose] - down[list(eyes)].mean(0))[1] > (ahead[nose] - middle)[1]
    across = clockwise[45] - clockwise[36]
    assert torch.atan2(across[1], across[0]).rad2deg() == pytest.approx(20, abs=0.5)


def test_the_fitted_pose_agrees_with_the_readers_on_a_photo(head_model, editor, portrait):
    reading = editor.read(portrait)[0]
    marks = torch.from_numpy(reading.landmarks).float()[None] / len(portrait)
    found = head_model.fit(marks).pose[0]
    assert (found[:2] - torch.tensor([reading.yaw, reading.pitch])).abs().max() < 10


def test_the_border_is_pinned_and_the_face_is_nearer_than_it(head_model):
    heads = some_heads(head_model)
    points = head_model.points(heads)
    edge = head_model.pinned == 1
    place = points[:, edge, :2]
    assert torch.equal(place[0], place[1]) and torch.equal(place[0], place[2])
    assert ((place == 0) | (place == 1)).any(-1).all()
    nose = head_model.landmark_index[30]
    assert (points[:, nose, 2] > points[:, edge, 2].amax(1)).all()


def test_mirrored_points_are_on_the_other_side(head_model):
    mirror = head_model.mirror
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    flipped = head_model.mean[mirror] * torch.tensor([-1.0, 1, 1])
    assert (flipped - head_model.mean).abs().max() < 2e-3


def test_the_triangles_cover_the_frame_once_when_the_head_looks_ahead(head_model):
    heads = some_heads(head_model, (0.0,), (0.0,), (0.0,))
    heads = heads._replace(identity=0 * heads.identity, expression=0 * heads.expression)
    area = signed_areas(head_model.points(heads)[:, head_model.triangles, :2])[0] / 2
    assert area.sum() == pytest.approx(1, abs=1e-3)
    assert area.clamp_max(0).sum() > -0.01


def test_turned_changes_the_named_angles_alone(head_model):
    heads = some_heads(head_model)
    new = turned(heads, yaw=10.0)
    assert torch.equal(new.pose[:, 0], torch.full((3,), 10.0)) and torch.equal(
        new.pose[:, 1:], heads.pose[:, 1:]
    )
    assert torch.equal(turned(heads).pose, heads.pose)
    by_face = turned(heads, pitch=torch.tensor([1.0, 2, 3]))
    assert by_face.pose[:, 1].tolist() == [1, 2, 3] and torch.equal(heads.pose, some_heads(head_model).pose)


def test_rotations_are_rotations():
    matrix = rotation(torch.tensor([[30.0, -20, 10]]))
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3), atol=1e-6)
    assert torch.linalg.det(matrix) == pytest.approx(1, abs=1e-5)


def test_the_derivatives_of_rotations_are_those_of_autograd():
    torch.manual_seed(2)
    pose = torch.randn(4, 3, dtype=torch.float64)
    slopes = rotation_slopes(pose)  # (B, angle, row, column)
    for face in range(4):
        exact = torch.autograd.functional.jacobian(
            lambda angles: rotation(angles[None] / RADIAN)[0], pose[face]
        )
        assert torch.allclose(slopes[face], exact.permute(2, 0, 1), atol=1e-12)


def test_the_jacobian_of_a_fit_is_that_of_autograd():
    torch.manual_seed(4)
    bases, mean = torch.randn(5, 68, 3, dtype=torch.float64), torch.randn(68, 3, dtype=torch.float64)
    state, marks = torch.randn(3, 5 + 6, dtype=torch.float64), torch.randn(3, 68, 2, dtype=torch.float64)
    _, jacobian = linearise(state, bases, mean, marks)
    for face in range(3):
        exact = torch.autograd.functional.jacobian(
            lambda x, face=face: linearise(x[None], bases, mean, marks[face : face + 1])[0][0], state[face]
        )
        assert torch.allclose(jacobian[face], -exact, rtol=1e-9, atol=1e-9)  # the residual falls as p grows


def test_a_model_is_measured_again_on_faces_that_it_made(head_model):
    angles = torch.randn(3, 300, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[15.0], [5], [5]]
    )
    heads = some_heads(head_model, *angles.tolist())
    heads = heads._replace(identity=heads.identity / 4, expression=heads.expression / 4)
    points = head_model.points(heads)[:, :478].numpy()  # those after the face are ignored
    points[..., 2] *= -1 / DEPTH
    found = build(points, heads.expression.numpy(), heads.pose.numpy(), 8, 6)
    assert found.identity.shape == (8, *found.mean.shape) and found.expression.shape[0] == 6
    assert torch.equal(found.mirror, head_model.mirror) and torch.equal(found.pin, found.pin.clamp(0, 1))
    face = head_model.turning == 1
    assert (found.mean - head_model.mean)[: int(face.sum())].norm(dim=1).mean() < 0.03
    assert len(found.triangles) > 1200 and set(found.inside.tolist()) == {0, 1, 2}
    again = found.fit(head_model.landmarks(heads))
    assert (again.pose - heads.pose).abs().mean() < 4


def test_measuring_needs_the_landmarker_and_enough_faces(tmp_path):
    faces = SimpleNamespace(folder=tmp_path, rows=np.arange(3), labels={"pose": np.zeros((3, 3), np.float32)})
    with pytest.raises(BadInput, match="recipe.landmarker"):
        build_task(Recipe(), faces, 0)
    assert chosen(faces, 2, 0).tolist() == chosen(faces, 2, 0).tolist() and len(chosen(faces, 9, 0)) == 3
