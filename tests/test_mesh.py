"""Drawing a photo on another pose of its own surface."""

import pytest
import torch
import torch.nn.functional as F

from ganime_age.model.model import GanimeAge
from ganime_age.networks.head import Head
from ganime_age.networks.layers import dilate
from ganime_age.networks.mesh import draw, push_pull, turned
from ganime_age.networks.rasterizer import rasterize


@pytest.fixture(scope="module")
def head_model():
    return GanimeAge.from_pretrained(parts=["head"]).head


def mean_head(model, yaw=0.0, pitch=0.0, count=1):
    zeros = torch.zeros(count, len(model.identity)), torch.zeros(count, len(model.expression))
    pose = torch.tensor([[yaw, pitch, 0.0]]).repeat(count, 1)
    return Head(*zeros, pose, torch.full((count,), 0.56), torch.tensor([[0.5, 0.53]]).repeat(count, 1))


def picture(side=96, count=1):
    """A smooth colourful picture that is different everywhere."""
    line = torch.linspace(-1, 1, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y, torch.sin(4 * x) * torch.cos(3 * y)]).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("yaw", [0.0, 30.0, -50.0])
def test_a_head_that_stays_leaves_the_photo_as_it_is(head_model, yaw):
    faces, points = torch.rand(1, 3, 96, 96) * 2 - 1, head_model.points(mean_head(head_model, yaw))
    drawn = draw(faces, points, points, head_model)
    assert (drawn.face - faces).abs().max() < 0.002
    assert drawn.seen.min() == 1


def test_a_turned_head_moves_its_nose_and_keeps_the_border(head_model):
    head, faces = mean_head(head_model), picture()
    source, target = head_model.points(head), head_model.points(turned(head, yaw=30.0))
    face = draw(faces, source, target, head_model).face
    nose = head_model.landmark_index[30]
    before, after = ((96 * points[0, nose, :2]).long() for points in (source, target))
    assert after[0] > before[0] + 8
    assert (face[0, :, after[1], after[0]] - faces[0, :, before[1], before[0]]).abs().max() < 0.08
    assert (face - faces)[..., 0, :].abs().max() < 0.1 and (face - faces)[..., :, 0].abs().max() < 0.1
    assert torch.isfinite(face).all() and face.abs().max() <= 1


def test_the_hidden_cheek_is_taken_from_the_other_side(head_model):
    faces = picture()
    source, target = (
        head_model.points(mean_head(head_model, yaw=40.0)),
        head_model.points(mean_head(head_model, yaw=-20.0)),
    )
    drawn = draw(faces, source, target, head_model)
    marks = (96 * target[0, head_model.landmark_index, :2]).long()
    near, far = marks[2], marks[14]
    row, shown = drawn.seen[0, 0, (near[1] + far[1]) // 2], range(near[0] + 4, far[0] - 4)
    assert row[shown[0] : shown[len(shown) // 8]].mean() > 0.9  # the side that the photo shows
    assert row[shown[2 * len(shown) // 3] : shown[-1]].mean() < 0.3  # the side that it does not
    assert 0 <= drawn.seen.min() and drawn.seen.max() <= 1


def test_each_picture_of_a_batch_is_drawn_by_itself(head_model):
    faces = picture(64, 3) * torch.tensor([1.0, 0.5, -1.0]).view(3, 1, 1, 1)
    heads = mean_head(head_model, count=3)
    source, target = (
        head_model.points(heads),
        head_model.points(turned(heads, yaw=torch.tensor([20.0, -30, 0]))),
    )
    together = draw(faces, source, target, head_model)
    for i in range(3):
        alone = draw(faces[i : i + 1], source[i : i + 1], target[i : i + 1], head_model)
        assert (together.face[i] - alone.face[0]).abs().max() < 1e-4


def test_the_nearer_of_two_triangles_is_in_front():
    square = torch.tensor([[0.0, 0], [2, 0], [0, 2]])
    corners = torch.stack([square, square])[None]
    depth = torch.tensor([[[0.1] * 3, [0.5] * 3]])
    assert (rasterize(corners, depth, 8) == 1).all()
    assert (rasterize(corners, -depth, 8) == 0).all()
    tilted = torch.tensor(
        [[[0.0, 1, 0], [0.25] * 3]]
    )  # crosses the other at a quarter of the frame's double width
    found = rasterize(corners, tilted, 8)
    assert (found[0, :, :2] == 1).all() and (found[0, :, 6:] == 0).all()


def test_no_pixel_between_neighbouring_triangles_is_missed():
    torch.manual_seed(0)
    middle = torch.rand(50, 2) * 0.8 + 0.1
    corner = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    fans = torch.stack([torch.stack([corner[i], corner[(i + 1) % 4]]) for i in range(4)])  # (4,2,2)
    corners = torch.cat([fans.expand(50, 4, 2, 2), middle[:, None, None].expand(50, 4, 1, 2)], 2)
    assert (rasterize(corners, torch.zeros(50, 4, 3), 64) >= 0).all()


def test_what_is_not_known_is_continued_smoothly():
    values = torch.ones(1, 1, 32, 32)
    weight = torch.ones(1, 1, 32, 32)
    weight[..., 8:20, 8:20] = 0
    values[..., 8:20, 8:20] = 99
    assert torch.allclose(push_pull(values, weight), torch.ones(1, 1, 32, 32), atol=1e-5)


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_the_largest_around_is_what_pooling_finds(reach):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 17, 17)
    for columns in (reach, 0, 2 * reach + 1):
        window = (2 * reach + 1, 2 * columns + 1), 1, (reach, columns)
        assert torch.equal(dilate(maps, reach, columns), F.max_pool2d(maps, *window))
