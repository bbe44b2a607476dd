"""What the detector learns from beside faces: masks that they wear, and things that only look round."""

import numpy as np
import pytest

from ganime_age.learning.data.backgrounds import PLATE, pebbles
from ganime_age.learning.data.coverings import wear_mask

SIDE = 128


@pytest.fixture
def marks(model):
    """Landmarks (68,2) of a mean face."""
    return model.prototypes.mean_shape.double().numpy()


def worn(seed: int, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A flat face before and after, (S,S,4) uint8 each."""
    bare = np.full((SIDE, SIDE, 4), (190, 140, 120, 77), np.uint8)
    face = bare.copy()
    wear_mask(face, landmarks, np.random.default_rng(seed))
    return bare, face


@pytest.mark.parametrize("seed", range(12))
def test_a_mask_hides_mouth_and_chin_and_leaves_the_eyes_free(marks, seed):
    bare, face = worn(seed, marks)
    changed = (bare != face).any(2)
    x, y = (marks[[51, 57, 62, 8]] * [SIDE, SIDE] - [0, 2]).astype(int).T
    assert changed[y, x].mean() > 0.9 and not changed[: int(marks[36:48, 1].max() * SIDE)].all(1).any()
    x, y = (marks[36:48] * SIDE).astype(int).T
    assert not changed[y, x].any()
    assert (face[..., 3] == 77).all()  # how much of it is real stays as it was
    assert np.array_equal(face, worn(seed, marks)[1])


def test_some_masks_leave_the_nose_free_and_colours_vary(marks):
    x, y = (marks[30] * SIDE).astype(int)
    faces = [worn(seed, marks)[1] for seed in range(40)]
    free = np.mean([(face[y, x, :3] == (190, 140, 120)).all() for face in faces])
    assert 0.05 < free < 0.5
    x, y = (marks[57] * SIDE).astype(int)
    assert np.std([face[y, x, :3] for face in faces], 0).min() > 20


def test_a_mask_on_a_turned_face_has_no_hole_and_on_a_cut_one_stays_below_the_eyes(marks):
    turned = marks.copy()
    turned[9:17, 0] = marks[30, 0] + 0.1 * (
        marks[9:17, 0] - marks[30, 0]
    )  # the far side of the jaw is foreshortened
    for seed in range(24):
        bare, face = worn(seed, turned)
        x, y = (turned[[57, 62, 66]] * SIDE).astype(int).T
        assert (bare != face).any(2)[y, x].all()
        bare, face = worn(seed, marks + [0.5, 0.3])
        changed = (bare != face).any(2)
        assert changed.any() and not changed[: int((marks[36:48, 1].min() + 0.3) * SIDE)].any()


def test_pebbles_are_many_and_the_same_for_the_same_seed():
    one, again, other = (pebbles(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.shape == (PLATE, PLATE, 3) and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert one.std() > 10
