"""Eyes that an edit closes are covered by the photo's own lids."""

import pytest
import torch

from ganime_age.edits import AU_CODES
from ganime_age.networks.lids import EYES, close_lids, to_close
from ganime_age.networks.prototypes import Prototypes

AU45 = AU_CODES.index("AU45")
HALVES = {36: (0.3, 0.45), 42: (0.6, 0.75)}
"""Where the corners of the eyes lie, by the landmark of the first."""


def open_eyes(height: float = 0.05) -> torch.Tensor:
    """(1,68,2): eyes open by `height` of the frame at 0.4 of it."""
    marks = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0))
    for lids in EYES:
        left, right = HALVES[lids[0][0]]
        for lid, side in zip(lids, (-1, 1), strict=True):
            for k, i in enumerate(lid):
                edge = side * height / 2 * (k in (1, 2))
                marks[0, i] = torch.tensor([left + (right - left) * k / 3, 0.4 + edge])
    return marks


@pytest.fixture
def face():
    """Skin that is redder above the eyes, with blue eyes as the landmarks of `open_eyes` outline them."""
    made = torch.full((1, 3, 256, 256), 0.2)
    made[:, 0, :102] = 0.6
    line = (torch.arange(256) + 0.5) / 256
    for left, right in HALVES.values():
        share = ((line - left) / (right - left)).clamp(0, 1)
        half = 0.025 * (3 * torch.minimum(share, 1 - share)).clamp(max=1)
        inside = (line[:, None] - 0.4).abs() < half[None]
        made[0, :, inside] = torch.tensor([-0.8, -0.8, 0.9])[:, None]
    return made


def blue(face):
    return (face[:, 2] - face[:, 0] > 0.5).sum().item()


def test_lids_cover_as_much_of_the_eyes_as_is_asked(face):
    marks, seen = open_eyes(), blue(face)
    assert seen > 600
    same, covered = close_lids(face, marks, torch.zeros(1))
    assert torch.allclose(same, face, atol=1e-4) and covered.max() == 0
    half, _ = close_lids(face, marks, torch.full((1,), 0.5))
    assert 0.3 * seen < blue(half) < 0.65 * seen
    shut, covered = close_lids(face, marks, torch.ones(1))
    assert blue(shut) < 0.15 * seen
    # The upper lid comes most of the way: what covers the eye is its own skin, with a dark line of lashes below.
    assert shut[0, 0, 100, 96] - shut[0, 2, 100, 96] == pytest.approx(0.4, abs=0.05)
    assert shut[0, 1, 100:112, 96].min() < -0.2
    assert covered[0, 0, 102, 96] == 1 and covered[..., 130:, :].max() == 0
    assert torch.allclose(shut[..., 130:, :], face[..., 130:, :], atol=1e-4)


def test_eyes_close_with_the_action_unit_and_never_open():
    asked = [(0.0, 0.0, 0), (0.0, 1.8, 0.5), (0.0, 5.0, 1), (5.0, 0.0, 0)]
    asked += [(3.5, 3.5, 0), (3.06, 3.06, 0), (3.5, 5.0, 1), (3.06, 5.0, 1), (3.5, 3.6, 0.2)]  # narrow eyes
    units, target = torch.zeros(2, len(asked), 17)
    units[:, AU45], target[:, AU45], shares = torch.tensor(asked).T
    assert to_close(units, target).tolist() == pytest.approx(shares.tolist(), abs=1e-6)


def test_a_face_that_is_asked_to_close_its_eyes_does(face):
    prototypes = Prototypes(hair_width=4).eval()
    units = torch.zeros(1, 17)
    target = units.clone()
    target[:, AU45] = 5.0
    age = torch.tensor([30.0])
    with torch.no_grad():
        out = prototypes(face, open_eyes(), age, age, units, target)
        assert blue(out) < 0.15 * blue(face)
        assert torch.equal(prototypes(face, open_eyes(), age, age, units, units), face)
