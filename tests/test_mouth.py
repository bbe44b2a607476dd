"""What shows between lips that an edit parts."""

import cv2
import numpy as np
import pytest
import torch

from ganime_age.edits import AU_CODES
from ganime_age.learning.prepare.open_mouths import fit_mouth, lip_patch
from ganime_age.networks.mouth import (
    BLURRED,
    LOWER,
    OUTER_LOWER,
    OUTER_UPPER,
    TEETH_END,
    TEETH_PATCH,
    TEETH_REACH,
    UPPER,
    MouthInterior,
    OpenMouth,
    close_lips,
    closing,
    gap,
)
from ganime_age.networks.prototypes import Prototypes

SKIN = (torch.full((1, 1, 1, 1), 0.2), torch.full((1, 1, 1, 1), 0.4))
COLOUR = torch.ones(1, 1, 1, 1)
EYE = torch.tensor([[-1.0, 0], [-0.5, -0.5], [0.5, -0.5], [1, 0], [0.5, 0.5], [-0.5, 0.5]])
TOOTH = 132
"""The column of a frame of 256 pixels in which the middle of a tooth lies."""


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
    out, share = interior(face, lips(0.0), lips(0.12), torch.zeros(1, 17), SKIN, COLOUR)
    assert out[0, :, 90, 64].tolist() == pytest.approx([1.0] * 3) and share[0, 0, 90, 64] == 1
    assert (
        torch.equal(out[share.expand_as(out) == 0], face[share.expand_as(out) == 0]) and share.mean() < 0.05
    )


def test_a_mouth_that_was_open_keeps_its_own_teeth(interior):
    face = torch.rand(1, 3, 64, 64) - 0.5
    out, share = interior(face, lips(0.12), lips(0.12), torch.zeros(1, 17), SKIN, COLOUR)
    assert torch.equal(out, face) and share.max() == 0
    _, half = interior(face, lips(0.06), lips(0.12), torch.zeros(1, 17), SKIN, COLOUR)
    assert half.max().item() == pytest.approx(0.5, abs=0.01)


def test_nothing_is_filled_before_looks_were_measured():
    face = torch.rand(1, 3, 64, 64) - 0.5
    out, _ = MouthInterior()(face, lips(0.0), lips(0.12), torch.zeros(1, 17), SKIN, COLOUR)
    assert torch.equal(out, face)


@pytest.fixture
def teeth():
    """White teeth in the upper 0.03 of a frame, a red tongue, no light of its own."""
    made = OpenMouth()
    made.upper[:, :6], made.lower[0] = 1.0, 0.6
    made.light[0] = torch.tensor([-0.5, 1.0])
    made.known.fill_(1.0)
    return made


def test_an_opened_mouth_shows_a_row_of_teeth_of_its_own_size_and_a_tongue_below(teeth):
    face, smile = torch.zeros(1, 3, 256, 256), torch.zeros(1, 17)
    smile[:, AU_CODES.index("AU12")] = 5.0
    heights = []
    for height in (0.1, 0.14):
        out, share = teeth(face, lips(0.0), lips(height), smile, SKIN, COLOUR)
        column = out[0, :, :, TOOTH]
        white = (column[1] > 0.3) & (share[0, 0, :, TOOTH] == 1)
        heights.append(white.sum().item())
        lowest = share[0, 0, :, TOOTH].nonzero().max().item() - 4
        assert column[0, lowest] - column[1, lowest] > 0.4  # red
        assert torch.equal(out[..., :100, :], face[..., :100, :])
    assert heights[0] == pytest.approx(0.03 * 256, abs=2.5) and abs(heights[0] - heights[1]) <= 1
    shown, share = teeth(face, lips(0.0), lips(0.14), torch.zeros(1, 17), SKIN, COLOUR)
    rest = ((shown[0, 1, :, TOOTH] > -0.3) & (share[0, 0, :, TOOTH] == 1)).sum().item()
    assert 1 <= rest < 0.5 * heights[1], "without a smile the lip hides more than half of them"


def test_teeth_lie_in_the_shadow_of_a_lip_that_does_not_smile(teeth):
    face, smile = torch.zeros(1, 3, 256, 256), torch.zeros(1, 17)
    smile[:, AU_CODES.index("AU12")] = 5.0

    def brightest(aus):
        return teeth(face, lips(0.0), lips(0.03), aus, SKIN, COLOUR)[0][0, 1, 150:, TOOTH].max().item()

    assert brightest(smile) > 0.45 and brightest(0 * smile) < brightest(smile) - 0.15


def test_teeth_are_apart_from_one_another(teeth):
    smile = torch.zeros(1, 17)
    smile[:, AU_CODES.index("AU12")] = 5.0
    out, _ = teeth(torch.zeros(1, 3, 512, 512), lips(0.0), lips(0.12), smile, SKIN, COLOUR)
    row = out[0, 1, round((0.7 - 0.06 + 0.02) * 512), 230:283]
    dark = [i + 230 for i in range(1, 52) if row[i] < min(row[i - 1], 0.45) and row[i] <= row[i + 1]]
    # Millimetres from the middle to where the middle incisors end, at 2 px a millimetre.
    assert dark == pytest.approx([256 - 17, 256, 256 + 17], abs=1.5) and row.min() > 0.2


def test_teeth_end_as_sharply_as_teeth_do_although_a_mean_of_mouths_is_blurred(teeth):
    smile = torch.zeros(1, 17)
    smile[:, AU_CODES.index("AU12")] = 5.0
    rows = torch.arange(28.0) + 0.5
    end = TEETH_END[0] / TEETH_REACH * 28
    teeth.upper[:] = ((end - rows) / (2 * BLURRED / TEETH_REACH * 28) + 0.5).clamp(0, 1)[None, :, None]
    out, _ = teeth(torch.zeros(1, 3, 512, 512), lips(0.0), lips(0.14), smile, SKIN, COLOUR)
    top, column = round((0.7 - 0.07) * 512), out[0, 1, :, 2 * TOOTH]
    seen = column[top + 8 : top + 40]
    seen = (seen - seen.min()) / (seen.max() - seen.min())
    white, dark = (seen > 0.8).nonzero().max().item(), (seen < 0.2).nonzero().min().item()
    assert 0 < dark - white <= 0.6 * 2 * BLURRED * 512 / 2, "in half the height of the mean's"
    assert (top + 8 + (white + dark) / 2) / 512 - (0.7 - 0.07) == pytest.approx(TEETH_END[0], abs=0.006)


def test_teeth_are_as_bright_as_the_white_of_the_eyes_on_any_skin(teeth):
    face, shown, smile = torch.full((1, 3, 256, 256), -0.6), [], torch.full((1, 17), 5.0)
    teeth.light[0, 1] = 0.5
    marks = [lips(0.0), lips(0.14)]
    for white in (-0.6, 0.5):
        for one in marks:
            one[:, 36:48] = torch.tensor([0.4, 0.4]) + 0.02 * EYE.repeat(2, 1)
        face[..., 96:109, 90:118] = white
        out, _ = teeth(face, *marks, smile, (torch.full((1, 1, 1, 1), -0.6), SKIN[1]), COLOUR)
        shown.append(out[0, 1, round((0.7 - 0.07 + 0.015) * 256), TOOTH].item())
    # -0.5 for the dark of the mouth, and 0.5 of contrast of its own or 0.9 of the way to the eyes' white.
    assert shown == pytest.approx([0.0, -0.5 + 0.9 * (0.5 + 0.5)], abs=0.02)


def test_teeth_have_the_colour_of_the_light_that_the_white_of_the_eyes_shows(teeth):
    orange = torch.tensor([0.8, 0.2, -0.4])
    face, marks = torch.full((1, 3, 256, 256), -0.6), [lips(0.0), lips(0.14)]
    for one in marks:
        one[:, 36:48] = torch.tensor([0.4, 0.4]) + 0.02 * EYE.repeat(2, 1)
    face[..., 96:109, 90:118] = orange[:, None, None]
    out, _ = teeth(face, *marks, torch.full((1, 17), 5.0), SKIN, COLOUR)
    red, green, blue = out[0, :, round((0.7 - 0.07 + 0.015) * 256), TOOTH] + 1
    # Paler than the light itself, for a little skin is seen with the white of the eyes.
    assert 0.6 / 1.8 + 0.05 < blue / red < 0.65 and blue < green < red


@pytest.mark.parametrize("eyes", ["black", "closed"])
def test_eyes_that_show_no_white_leave_teeth_their_colour_and_light(teeth, eyes):
    marks = [lips(0.0), lips(0.14)]
    for one in marks:
        flat = torch.tensor([1.0, 0.1 if eyes == "closed" else 1.0])
        one[:, 36:48] = torch.tensor([0.4, 0.4]) + 0.02 * flat * EYE.repeat(2, 1)
    shown = []
    for colour in ([-0.6] * 3, [-1.0] * 3 if eyes == "black" else [0.1, -0.2, -0.6]):
        face = torch.full((1, 3, 256, 256), -0.6)
        face[..., 96:109, 90:118] = torch.tensor(colour)[:, None, None]
        out, _ = teeth(face, *marks, torch.full((1, 17), 5.0), SKIN, COLOUR)
        shown.append(out[0, :, round((0.7 - 0.07 + 0.015) * 256), TOOTH])
    assert torch.allclose(shown[0], shown[1], atol=0.02)


def test_the_mouth_of_a_grey_photo_is_grey_and_a_dark_photos_darker(teeth):
    face = torch.zeros(1, 3, 128, 128)
    grey, share = teeth(face, lips(0.0), lips(0.12), torch.zeros(1, 17), SKIN, 0 * COLOUR)
    assert share.max() == 1 and torch.allclose(grey.amax(1), grey.amin(1), atol=1e-6)
    teeth.light[1, 0] = 0.5
    levels = [
        teeth(face, lips(0.0), lips(0.12), torch.zeros(1, 17), (SKIN[0] + d, SKIN[1]), COLOUR)[0]
        for d in (0, -0.4)
    ]
    assert (levels[1] - levels[0])[share.expand(-1, 3, -1, -1) == 1].mean() == pytest.approx(-0.2, abs=0.02)


class OpenMouths:
    """60 made-up faces: brown skin, mouths with white teeth above a dark lower half, shifted at random."""

    folder = "made-up"

    def __init__(self):
        self.shift = np.random.default_rng(0).integers(-2, 3, 60)
        self.labels = {"pose": np.zeros((60, 3), np.float32), "landmarks": lips(0.14).numpy().repeat(60, 0)}

    def batch(self, rows):
        found = gap(lips(0.16), 128)
        below, along = found.lengths[..., 1], found.lengths[..., 0]
        teeth = 0.9 - 0.8 * (along.abs() < 0.007).float()  # a dark line between the middle ones
        mouth = torch.where(below < 0.06, teeth, torch.tensor(-0.8))[:, None]
        face = 0.1 * torch.randn(len(rows), 3, 128, 128, generator=torch.Generator().manual_seed(0))
        face = torch.where(found.inside > 0, mouth, face)
        moved = [one.roll(int(by), -1) for one, by in zip(face, self.shift[rows], strict=True)]
        marks = torch.from_numpy(self.labels["landmarks"][rows])
        return {"face": torch.stack(moved), "landmarks": marks}


def test_rows_of_teeth_are_aligned_before_they_are_averaged():
    prototypes = Prototypes(hair_width=4, teeth=True)
    prototypes.mean_shape.copy_(lips(0.14)[0])
    prototypes.region[:, 10:36, 10:54] = 1
    lines = []
    for rounds in (0, 6):
        fit_mouth(OpenMouths(), prototypes, rounds=rounds)
        row = prototypes.mouth.upper[0, 4, 12:-12]
        lines.append((row.median() - row.min()).item())
    mouth, middle = prototypes.mouth, slice(TEETH_PATCH[1] // 2 - 8, TEETH_PATCH[1] // 2 + 8)
    assert mouth.known == 1
    assert mouth.upper[:, 2:8, middle].mean() > 0.6 > 0.2 > mouth.lower[:, -5:, middle].mean()
    assert lines[1] > 1.5 * lines[0], lines


def test_a_patch_lies_between_the_lips():
    for lip, way in ((UPPER, 1), (LOWER, -1)):
        grid, _ = lip_patch(lips(0.14), lip, way)
        grid = (grid + 1) / 2
        assert grid.shape == (1, *TEETH_PATCH, 2)
        at_lip = grid[0, 0 if way > 0 else -1, TEETH_PATCH[1] // 2]
        assert at_lip[1].item() == pytest.approx(0.7 - way * 0.07, abs=0.006)
        assert ((grid[0, :, 12:-12] > 0.36) & (grid[0, :, 12:-12] < 0.85)).all()


def test_lips_that_close_cover_the_teeth_and_nothing_around_them_moves():
    marks = lips(0.08)
    for outer, inner, sign in ((OUTER_UPPER, UPPER, -1), (OUTER_LOWER, LOWER, 1)):
        for k, i in enumerate(outer):
            along = marks[0, inner[min(max(round((k - 1) * 0.8 + 0.4), 0), 4)]]
            marks[0, i] = torch.tensor([0.37 + 0.26 * k / 6, along[1].item() + sign * 0.04 * (0 < k < 6)])
    face = torch.full((1, 3, 128, 128), -0.2)
    teeth = gap(marks, 128).inside
    face = face + teeth * (1.0 - face)
    shut, changed = close_lips(face, marks, torch.ones(1))
    assert (face > 0.5).sum() > 300 > 30 > (shut > 0.5).sum()
    still = torch.ones(128, 128, dtype=torch.bool)
    still[70:, 40:] = False
    assert torch.allclose(shut[..., still], face[..., still], atol=1e-5)
    assert changed[0, 0, 90, 64] > 0.9 and changed[..., :70, :].max() == 0
    same, untouched = close_lips(face, marks, torch.zeros(1))
    assert torch.allclose(same, face, atol=1e-5) and untouched.max() == 0


def test_only_a_request_that_takes_the_opening_away_closes_lips():
    units = torch.zeros(4, 17)
    units[:, AU_CODES.index("AU25")] = torch.tensor([4.0, 4.0, 4.0, 0.2])
    wanted = units.clone()
    wanted[:, AU_CODES.index("AU25")] = torch.tensor([0.0, 2.0, 4.0, 0.0])
    assert closing(units, wanted).tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("age", [5, 85])
def test_teeth_stay_nearly_as_they_are_at_another_age(editor, portrait, age):
    face = editor.read(portrait)[0]
    teeth = np.zeros(portrait.shape[:2], np.uint8)
    cv2.fillPoly(teeth, [np.round(face.landmarks[60:68]).astype(np.int32)], 1)
    edited = np.asarray(editor.edit(portrait, age=age, parts=["skin"], mark=False).image)
    change = (edited.astype(float) - portrait)[cv2.erode(teeth, np.ones((2, 2))) > 0]
    assert np.abs(change).mean() < 12
    assert change.mean(0)[0] - change.mean(0)[2] > -8, "teeth turn blue"
