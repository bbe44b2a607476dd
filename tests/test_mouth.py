"""What shows between lips that an edit parts."""

import numpy as np
import pandas as pd
import pytest
import torch

from ganime_age.edits import AU_CODES
from ganime_age.learning.tasks.prototype_fit import fit_mouth, patch_grid
from ganime_age.networks.mouth import LOWER, UPPER, MouthInterior, gap
from ganime_age.networks.prototypes import Prototypes

SKIN = (torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.4))


def lips(height: float) -> torch.Tensor:
    """(1,68,2): a mouth from (0.4,0.7) to (0.6,0.7), `height` of the frame open in its middle."""
    marks = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(0))
    for ids, sign in ((UPPER, -1), (LOWER, 1)):
        for k, i in enumerate(ids):
            bulge = sign * height / 2 * (1 - (k / 2 - 1) ** 2)
            marks[0, i] = torch.tensor([0.4 + 0.05 * k, 0.7 + bulge])
    return marks


@pytest.fixture
def interior():
    made = MouthInterior()
    made.looks[0] = 2.0  # light teeth everywhere
    made.known.fill_(1.0)
    return made


def test_places_run_from_corner_to_corner_and_lip_to_lip():
    found = gap(lips(0.1), 100)
    assert found.opening.item() == pytest.approx(0.1 / 0.2 * (0.75 + 1 + 0.75) / 3, rel=0.01)
    assert torch.allclose(found.place[0, 70, 50], torch.tensor([0.05, 0.1]), atol=0.02)
    assert found.place[0, 66, 49, 1] < -0.5 < 0.5 < found.place[0, 74, 49, 1]
    assert (
        found.inside[0, 0, 70, 50] == 1
        and found.inside[0, 0, 60, 50] == 0
        and found.inside[0, 0, 70, 35] == 0
    )


def test_parted_lips_show_the_mean_mouth_and_nothing_else_changes(interior):
    face = torch.zeros(1, 3, 128, 128)
    out, share = interior(face, lips(0.0), lips(0.12), torch.zeros(1, 17), SKIN)
    assert out[0, :, 90, 64].tolist() == pytest.approx([1.0] * 3) and share[0, 0, 90, 64] == 1
    assert (
        torch.equal(out[share.expand_as(out) == 0], face[share.expand_as(out) == 0]) and share.mean() < 0.05
    )


def test_a_mouth_that_was_open_keeps_its_own_teeth(interior):
    face = torch.rand(1, 3, 64, 64) - 0.5
    out, share = interior(face, lips(0.12), lips(0.12), torch.zeros(1, 17), SKIN)
    assert torch.equal(out, face) and share.max() == 0
    _, half = interior(face, lips(0.06), lips(0.12), torch.zeros(1, 17), SKIN)
    assert half.max().item() == pytest.approx(0.5, abs=0.01)


def test_nothing_is_filled_before_looks_were_measured():
    face = torch.rand(1, 3, 64, 64) - 0.5
    out, _ = MouthInterior()(face, lips(0.0), lips(0.12), torch.zeros(1, 17), SKIN)
    assert torch.equal(out, face)


class OpenMouths:
    """80 made-up faces: brown skin, a mouth that is white when it smiles and black when it does not."""

    folder = "made-up"

    def __init__(self):
        self.smile = np.tile([0.0, 5.0], 40)
        units = np.zeros((80, 17), np.float32)
        units[:, AU_CODES.index("AU12")] = self.smile
        marks = lips(0.1).numpy().repeat(80, 0)
        ages = np.random.default_rng(0).uniform(5, 80, 80).astype(np.float32)
        self.labels = {
            "age": ages,
            "pose": np.zeros((80, 3), np.float32),
            "action_units": units,
            "landmarks": marks,
        }
        self.table = pd.DataFrame({"source": ["a"] * 80})

    def batch(self, rows):
        inside = gap(lips(0.12), 64).inside > 0
        face = 0.1 * torch.randn(len(rows), 3, 64, 64, generator=torch.Generator().manual_seed(0))
        colour = torch.where(torch.from_numpy(self.smile[rows]) > 0, 1.0, -1.0).float()[:, None, None, None]
        face = torch.where(inside, colour, face)
        labels = {name: torch.from_numpy(value[rows]) for name, value in self.labels.items()}
        return {"face": face, "valid": torch.ones(len(rows), 1, 64, 64)} | labels


def test_the_look_of_mouths_is_measured_with_and_without_a_smile():
    prototypes = Prototypes(hair_width=4)
    prototypes.mean_shape.copy_(lips(0.1)[0])
    prototypes.region[:, 10:36, 10:54] = 1
    fit_mouth(OpenMouths(), prototypes)
    assert prototypes.mouth.known == 1
    constant, _, by_smile = prototypes.mouth.looks[:, :, 8, 16]
    assert (by_smile > 3).all() and constant.abs().max() < 0.3 * by_smile.min()


def test_the_patch_lies_between_the_lips():
    grid = (patch_grid(lips(0.1)) + 1) / 2
    assert grid.shape == (1, 16, 32, 2) and ((grid > 0.39) & (grid < 0.76)).all()
    assert grid[0, 0, 16, 1] < 0.66 < 0.74 < grid[0, -1, 16, 1]
