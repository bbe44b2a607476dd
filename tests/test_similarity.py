"""The similarity transform between two sets of points."""

import pytest
import torch

from ganime_age.learning.external.mediapipe_face import IBUG
from ganime_age.model.model import GanimeAge
from ganime_age.networks.warp import fit_similarity


def rotations(count: int, dimensions: int) -> torch.Tensor:
    """(count,D,D) proper rotations."""
    found = torch.linalg.qr(torch.randn(count, dimensions, dimensions, dtype=torch.float64)).Q
    found[:, 0] *= torch.linalg.det(found).sign()[:, None]
    return found


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_known_turn_scale_and_shift_are_found(dimensions):
    torch.manual_seed(0)
    points = torch.randn(4, 20, dimensions, dtype=torch.float64)
    turn = rotations(4, dimensions) * torch.tensor([0.3, 1.0, 2.0, 5.0])[:, None, None]
    shift = torch.randn(4, 1, dimensions, dtype=torch.float64)
    goal = points @ turn.mT + shift
    fit = fit_similarity(points, goal)
    assert torch.allclose(fit.matrix, turn) and torch.allclose(fit.shift, shift[:, 0])
    assert torch.allclose(fit.apply(points), goal)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_no_other_similarity_comes_closer_and_mirrors_are_not_used(dimensions):
    torch.manual_seed(1)
    points = torch.randn(3, 12, dimensions, dtype=torch.float64)
    mirrored = points * torch.tensor([-1.0] + [1.0] * (dimensions - 1))
    goal = mirrored + 0.2 * torch.randn_like(points)
    fit = fit_similarity(points, goal)
    assert (torch.linalg.det(fit.matrix) > 0).all()
    least = (fit.apply(points) - goal).square().sum((1, 2))
    for _ in range(50):
        random = 0.05 * torch.randn(3, dimensions, dimensions, dtype=torch.float64)
        turn = torch.matrix_exp(random - random.mT) * (1 + 0.05 * torch.randn(3, 1, 1, dtype=torch.float64))
        other = fit._replace(matrix=fit.matrix @ turn, shift=fit.shift + 0.05 * torch.randn_like(fit.shift))
        assert ((other.apply(points) - goal).square().sum((1, 2)) >= least).all()


def test_the_head_model_and_the_judge_of_motion_mean_the_same_points():
    """The embedded head was measured with MediaPipe's points that labels and the judge use."""
    head = GanimeAge.from_pretrained(parts=["head"]).head
    assert head.landmark_index.tolist() == list(IBUG)
    left, right = range(17), range(16, -1, -1)  # the jaw is symmetric about the chin
    assert head.mirror[[IBUG[k] for k in left]].tolist() == [IBUG[k] for k in right]
