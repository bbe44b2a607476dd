"""What an edit by prototypes keeps and changes, and that measuring them finds what the faces were made of."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from ganime_age.edits import AU_CODES
from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.prepare.hair import hair_masks
from ganime_age.learning.prepare.unit_regions import confine, is_confined
from ganime_age.learning.tasks import prototypes as prototypes_task
from ganime_age.learning.tasks.prototype_fitting.prototype_fit import (
    Curves,
    centre,
    explain,
    face_region,
    fit_pixels,
    fit_shape,
    set_gains,
)
from ganime_age.networks.layers import Edited, bicubic, luma, relit, resize
from ganime_age.networks.prototypes import (
    KNOTS,
    MAP_SIDE,
    NEUTRAL,
    Prototypes,
    age_basis,
)
from ganime_age.networks.skin.tone import USUAL, calmed, dimmed, own_mouth, unshaded
from ganime_age.networks.warp import canonical_grid, displacement
from helpers.ring import AU12, SHAPE, edit, ring_prototypes

WHOLE = 0.5 + 4 * (SHAPE - 0.5)
"""The same ring around the whole frame, all of which then belongs to the face."""


@pytest.fixture
def prototypes():
    return ring_prototypes()


def face(count: int = 1, side: int = 64) -> torch.Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(count, 3, 16, 16) - 0.5, size=(side, side), mode="bicubic").clamp(-1, 1)


def test_what_is_not_asked_and_what_has_no_landmarks_comes_back_exactly(prototypes):
    prototypes.age_tone.normal_()
    prototypes.unit_shape.normal_(0, 0.01)
    given = face(2)
    assert torch.equal(edit(prototypes, given), given)
    marks = SHAPE.expand(2, -1, -1).clone()
    marks[0] = torch.nan
    changed = edit(prototypes, given, age=(30.0, 70.0), unit=3.0, marks=marks)
    assert torch.equal(changed[0], given[0]) and not torch.equal(changed[1], given[1])


def test_action_units_pull_the_pixels_along_with_the_landmarks(prototypes):
    spot = torch.full((1, 3, 64, 64), -1.0)
    spot[..., 38:42, 30:34] = 1
    marks = torch.full((1, 68, 2), 2.0)
    marks[0, 48] = torch.tensor([0.5, 40 / 64])
    prototypes.unit_shape[AU12, 48, 1] = -0.02
    rows = torch.arange(64)
    height = lambda x: (((x[0, 0] + 1).sum(1) * rows).sum() / (x[0, 0] + 1).sum()).item()  # noqa: E731
    moved = edit(prototypes, spot, unit=5.0, marks=marks)
    assert -6.4 <= height(moved) - height(spot) < -2


def test_a_shadow_of_age_keeps_the_colour_of_the_skin(prototypes):
    prototypes.age_tone[-4:] = -2.0
    colour = torch.tensor([0.4, 0.0, -0.2]).view(1, 3, 1, 1)
    given = colour.expand(1, 3, 128, 128)
    older = edit(prototypes, given, age=(20.0, 90.0), marks=SHAPE[None])[0, :, 64, 64]
    left = (older + 1) / (colour.flatten() + 1)
    assert left.max() < 0.95  # darker
    assert left.max() / left.min() < 1.02  # and no browner: each channel keeps the same share of its light


def test_a_shadow_on_overexposed_skin_turns_it_no_greener(prototypes):
    prototypes.age_tone[-4:] = -2.0
    colour = torch.tensor([1.0, 0.8, 0.5])  # red is full: nobody knows how much of it there was
    given = colour.view(1, 3, 1, 1).expand(1, 3, 128, 128)
    older = edit(prototypes, given, age=(20.0, 90.0), marks=SHAPE[None])[0, :, 64, 64]
    assert older[0] == 1 and older[1] < 0.75  # less green beside as much red


def test_a_shadow_on_the_white_of_an_eye_gives_it_no_colour(prototypes):
    prototypes.age_tone[-4:] = -2.0
    colour = torch.tensor([0.88, 0.99, 0.9])  # green is nearly full, red is not
    given = colour.view(1, 3, 1, 1).expand(1, 3, 128, 128)
    older = edit(prototypes, given, age=(20.0, 90.0), marks=SHAPE[None])[0, :, 64, 64]
    left = (older + 1) / (colour + 1)
    assert left.max() < 0.95 and left.max() / left.min() < 1.02


def test_overexposed_skin_gets_no_other_colour(prototypes):
    prototypes.age_tone[-4:, 0], prototypes.age_tone[-4:, 2] = -2.0, 2.0  # bluer
    for red, changed in ((0.5, True), (1.0, False)):
        given = torch.tensor([red, 0.4, 0.2]).view(1, 3, 1, 1).expand(1, 3, 128, 128)
        older = edit(prototypes, given, age=(20.0, 90.0), marks=SHAPE[None])[0, :, 64, 64]
        before, after = (x[2] / x[1] for x in (given[0, :, 64, 64] + 1, older + 1))
        assert (after > before + 0.05) == changed


def test_in_infancy_and_old_age_the_middle_forms_of_a_tone_are_calmed_and_no_others():
    line = torch.arange(MAP_SIDE) - MAP_SIDE / 2 + 0.5
    away = line[:, None].square() + line.square()
    blobs = [torch.exp(-away / (2 * spread**2)) for spread in (0.6, 2.4, 14.0)]  # fine, middle, broad

    def left(blob, age):
        return (calmed(blob.expand(1, 3, -1, -1), torch.tensor([age])).max() / blob.max()).item()

    fine, middle, broad = ([left(blob, age) for age in (1.0, 8.0, 40.0, 80.0)] for blob in blobs)
    assert middle[1] == middle[2] == fine[1] == broad[2] == 1
    for calm in (0, 3):
        assert middle[calm] < 0.83 < 0.9 < min(fine[calm], broad[calm])


def test_the_shade_of_a_childs_forehead_ends_in_no_patch_on_a_grown_ups():
    tone = torch.full((1, 3, MAP_SIDE, MAP_SIDE), -1.0)
    forehead, cheeks = 10, 40  # rows
    mean_shape = torch.full((68, 2), 0.6)
    mean_shape[17:27, 1], mean_shape[36:48, 1] = 0.39, 0.47  # brows and eyes
    child, adult = (unshaded(tone, torch.tensor([age]), mean_shape)[0] for age in (5.0, 30.0))
    assert (child[:, forehead] > -0.3).all() and (child[:, cheeks] == -1).all()
    assert torch.equal(adult, tone[0])
    assert child[0, :, 0].diff().abs().max() < 0.35  # and fades on the way down
    rosy = torch.tensor([0.5, -0.2, -0.4]).view(1, 3, 1, 1).expand_as(tone)
    child, adult = (unshaded(rosy, torch.tensor([age]), mean_shape)[0] for age in (5.0, 30.0))
    assert torch.equal(adult, rosy[0])
    spread = (child.amax(0) - child.amin(0))[:, 0]  # .9 before
    assert (
        spread[forehead] < 0.7 * spread[cheeks] and spread[cheeks] < 0.45
    )  # beside a grown-up's ears and neck
    bright = torch.ones_like(tone)
    assert torch.allclose(
        unshaded(bright, torch.tensor([5.0]), mean_shape), bright
    )  # of light nothing is taken


def test_an_edit_to_a_child_shades_a_forehead_less_than_the_cheeks(model):
    made = copy.deepcopy(model.prototypes)
    for name in ("shape", "tone", "texture", "hair"):
        getattr(made, f"age_{name}").zero_()
    made.age_tone[:4] = -1.0
    marks, none = made.mean_shape[None].clone(), torch.zeros(1, 17)
    skin = torch.tensor([0.5, 0.2, 0.0]).view(1, 3, 1, 1).expand(1, 3, 128, 128)
    child = made(skin, marks, torch.tensor([30.0]), torch.tensor([5.0]), none, none)
    darker = (skin - child)[0, 1, :, 64]
    brows, nose = (round(128 * marks[0, ids, 1].mean().item()) for ids in (range(17, 27), [33]))
    assert 0 < darker[brows - 6] < 0.5 * darker[nose]


def test_lips_of_the_old_keep_their_colour_and_get_the_light_of_their_age():
    tone = torch.tensor([-0.4, 0.3, 0.4]).view(1, 3, 1, 1).expand(1, 3, MAP_SIDE, MAP_SIDE)
    cheeks, under_nose, lips = 20, 41, 50  # rows
    mean_shape = torch.full((68, 2), 0.5)
    mean_shape[33, 1], mean_shape[50:53, 1] = 0.6, 0.7  # the nose and the upper lip
    young, old = (own_mouth(tone, torch.tensor([age]), mean_shape) for age in (25.0, 70.0))
    assert torch.equal(young, tone)
    assert torch.allclose(luma(old), luma(tone), atol=1e-6)
    spread = (old.amax(1) - old.amin(1))[0, :, 0]
    assert spread[cheeks] == pytest.approx(0.8) and spread[lips] < 0.4
    assert 0.45 < spread[under_nose] < 0.7  # and no edge lies between


def test_no_place_of_an_old_face_lights_up_and_the_face_gets_no_darker_for_it():
    region = torch.zeros(1, MAP_SIDE, MAP_SIDE)
    region[:, 16:48] = 1
    tone = torch.full((1, 3, MAP_SIDE, MAP_SIDE), 0.1)
    tone[..., 20:24, 20:24] = 2.0  # an eye
    tone[..., 40:44, 20:24] = -2.0
    tone[..., :8, :] = 2.0  # no face
    young, old, oldest = (dimmed(tone, torch.tensor([age]), region) for age in (25.0, 70.0, 95.0))
    assert torch.allclose(young, tone)
    assert -1.2 < oldest[0, 0, 41, 21] < -0.9  # no fold turns black
    eye, shade, cheek = (old[0, 0, row, 21] for row in (21, 41, 46))
    assert eye < 0.75 and shade == pytest.approx(-2.0, abs=0.02) and 0.1 < cheek < 0.12
    face = region[0].bool()
    assert old[0, 0][face].mean() == pytest.approx(tone[0, 0][face].mean().item(), abs=1e-4)


def test_lights_are_held_back_on_the_way_to_old_age_and_given_back_whole(prototypes):
    given = torch.full((1, 3, 128, 128), -0.5)
    given[..., ::2, :] = -0.3
    marks = SHAPE[None]

    def brighter(scale, ages):
        prototypes.age_tone.zero_()
        prototypes.age_tone[-3:, :, 30:34, 30:34] = scale
        return (edit(prototypes, given, age=ages, marks=marks) - given)[..., 60:68, 60:68].mean().item()

    older = [brighter(scale, (30.0, 90.0)) for scale in (0.2, 2.0)]
    younger = [brighter(-scale, (90.0, 30.0)) for scale in (0.2, 2.0)]
    assert older[1] < 5 * older[0] and younger[1] > 7 * younger[0]


def test_a_small_childs_face_lies_lower_on_its_head_than_a_grown_ups(prototypes):
    rise, eyes, chin = 0.04, 40, 8
    prototypes.age_shape[:5, chin, 1] = -rise
    still = torch.zeros(1, 17)

    def moved(source, target):
        ages = torch.tensor([source]), torch.tensor([target])
        return (prototypes.moved_landmarks(SHAPE[None], ages, (still, still)) - SHAPE)[0, :, 1]

    child = moved(30.0, 1.0)
    assert 0.3 * rise < child[eyes] < 0.7 * rise  # downwards
    assert -0.7 * rise < child[chin] < -0.3 * rise  # and the chin comes up
    grown = moved(1.0, 30.0)
    assert grown[eyes] < 0 < grown[chin]
    assert abs(moved(30.0, 12.0)[eyes]) < 0.05 * rise  # whose head is in proportion


def test_tone_follows_the_face_wherever_it_lies_in_the_frame(prototypes):
    prototypes.age_tone[-4:, :, 33:37, 46:50] = 3.0  # at a landmark
    given = torch.zeros(1, 3, 64, 64)
    given[..., ::2, :] = 0.2
    shifted = SHAPE[None] + torch.tensor([-0.15, 0.0])
    change = edit(prototypes, given, age=(20.0, 90.0), marks=shifted) - given
    column = change[0].sum((0, 1)).argmax().item()
    assert column == pytest.approx(48 - 0.15 * 64, abs=2)


@pytest.mark.parametrize("side", [128, 256, 512])
def test_texture_makes_a_faces_own_detail_stronger_at_any_size(prototypes, side):
    prototypes.age_texture[-4:] = 0.7
    torch.manual_seed(2)

    def gain(noise: torch.Tensor) -> float:
        given = noise.expand(-1, 3, -1, -1)
        older = edit(prototypes, given, age=(20.0, 95.0), marks=WHOLE[None])
        return float(luma(older).std() / luma(given).std() - 1)

    noise = 0.1 * torch.randn(1, 1, 128, 128)  # as fine as what was measured
    assert gain(noise) == pytest.approx(np.exp(0.35) - 1, abs=0.14)
    assert gain(bicubic(noise, side)) == pytest.approx(gain(noise), abs=0.1)
    fine = 0.1 * torch.randn(1, 1, side, side)
    fine = fine - bicubic(resize(fine, side // 2), side)
    assert (gain(fine) < 0.25) == (side > 256), "pores and no pepper"
    smooth = torch.full((1, 3, side, side), 0.3)
    assert torch.allclose(edit(prototypes, smooth, age=(20.0, 95.0)), smooth, atol=1e-3)


def test_older_skin_is_darker_in_its_own_colour_and_brighter_in_white(prototypes):
    prototypes.age_texture[-4:] = 0.7
    torch.manual_seed(2)
    skin = torch.tensor([0.5, 0.1, -0.2])[None, :, None, None]
    given = ((skin + 1) * (1 + 0.1 * torch.randn(1, 1, 128, 128)) - 1).clamp(-1, 0.95)
    older = edit(prototypes, given, age=(20.0, 95.0), marks=WHOLE[None])
    change = (older - given)[..., 10:-10, 10:-10]
    ratio = ((older + 1) / (given + 1))[..., 10:-10, 10:-10]
    darker, brighter = (
        luma(change) < -0.01,
        (luma(change) > 0.01) & (older[..., 10:-10, 10:-10].amax(1) < 0.99),
    )
    assert darker.float().mean() > 0.2 and brighter.float().mean() > 0.2
    assert (ratio.amax(1) - ratio.amin(1))[darker[:, 0]].max() < 1e-3
    assert (change.amax(1) - change.amin(1))[brighter[:, 0]].max() < 1e-3


def test_a_child_has_no_painted_lips(prototypes):
    prototypes.age_tone[:4, 0], prototypes.age_tone[:4, 1:] = -0.5, -1.0  # dark and red, in the whole face
    given = face(1, 128) * 0.2 + 0.3
    younger = (edit(prototypes, given, age=(40.0, 1.0), marks=SHAPE[None]) - given).abs().mean((0, 1))
    older = (edit(prototypes, given, age=(1.0, 40.0), marks=SHAPE[None]) - given).abs().mean((0, 1))
    column, row = (SHAPE[48:60].mean(0) * 128).int().tolist()
    mouth, elsewhere = (
        (..., slice(row - 2, row + 3), slice(column - 2, column + 3)),
        (slice(60, 80), slice(50, 70)),
    )
    assert younger[mouth].mean() < 0.65 * younger[elsewhere].mean()
    assert older[mouth].mean() > 0.8 * older[elsewhere].mean()


def test_a_child_keeps_the_darkness_of_its_brows(prototypes):
    prototypes.age_tone[:4] = 0.5  # light, in the whole face
    given = face(1, 128) * 0.2
    younger = (edit(prototypes, given, age=(40.0, 5.0), marks=SHAPE[None]) - given).mean((0, 1))
    prototypes.age_tone[:4] = -0.5
    darker = (edit(prototypes, given, age=(40.0, 5.0), marks=SHAPE[None]) - given).mean((0, 1))
    column, row = (SHAPE[17:22].mean(0) * 128).int().tolist()
    brow, cheek = (
        (..., slice(row - 1, row + 2), slice(column - 3, column + 4)),
        (slice(60, 80), slice(50, 70)),
    )
    assert younger[cheek].mean() > 0.05 and younger[brow].mean() < 0.5 * younger[cheek].mean()
    assert darker[brow].mean() < 0.7 * darker[cheek].mean() < 0


@pytest.mark.parametrize("older", [True, False], ids=["older", "younger"])
def test_a_mole_gets_no_stronger_with_the_skins_texture_and_fades_with_it(prototypes, older):
    # It stands out by far more than the texture around it: the band's gain is for the one and not for the other.
    prototypes.age_texture[-4:] = 0.7 if older else -0.7
    torch.manual_seed(2)
    given = 0.02 * torch.randn(1, 1, 128, 128).expand(-1, 3, -1, -1).clone()
    mole = (..., slice(75, 77), slice(75, 77))
    given[mole] -= 0.6
    changed = edit(prototypes, given, age=(20.0, 95.0), marks=WHOLE[None])
    skin = (..., slice(10, 60), slice(10, 60))
    factor = luma(changed[skin]).std() / luma(given[skin]).std()
    depth = luma(changed[mole]).mean() / luma(given[mole]).mean()
    assert factor == pytest.approx(np.exp(0.35 if older else -0.35), rel=0.1)
    assert depth == pytest.approx(1.0 if older else np.exp(-0.35), abs=0.1)


def test_ages_change_the_dark_places_of_a_face_less(prototypes):
    given = torch.full((1, 3, 128, 128), 0.4)
    given[..., 60:80, 60:80] = -0.7  # an eye in the shade
    light, dark = (..., slice(90, 120), slice(20, 100)), (..., slice(64, 76), slice(64, 76))
    changes = []
    for tone in (-1.0, 1.0):
        prototypes.age_tone[-4:] = tone
        changes.append(edit(prototypes, given, age=(20.0, 95.0), marks=WHOLE[None]) - given)
    (darker, deeper), (lighter, less_dark) = (
        (change[light].mean(), change[dark].mean()) for change in changes
    )
    assert darker < -0.1 and 0.5 < deeper / darker < 0.7
    assert lighter > 0.1 and 0.5 < less_dark / lighter < 0.7


def test_weights_with_either_hair_network_load_and_say_which_it_is(prototypes):
    new, old = Prototypes(hair={"widths": [4, 8, 8, 8, 8]}), Prototypes(hair_width=4)
    old.load_state_dict(new.state_dict())
    assert all(torch.equal(old.state_dict()[key], value) for key, value in new.state_dict().items())
    new.load_state_dict(prototypes.state_dict())
    picture = face(1, 128)
    assert new.hair(picture).shape[-1] == 64 and old.hair(picture).shape[-1] == 128
    keeps = list(old.hair.parameters())
    old.load_state_dict(old.state_dict())
    assert all(a is b for a, b in zip(keeps, old.hair.parameters(), strict=True))


def test_what_is_far_from_the_face_does_not_move(prototypes):
    prototypes.region.zero_()
    prototypes.region[:, 24:48, 22:42] = 1
    prototypes.age_shape[-4:].normal_(0, 0.03)
    given = face(1, 128)
    older = edit(prototypes, given, age=(20.0, 95.0))
    assert torch.equal(older[..., :28, :], given[..., :28, :]) and torch.equal(
        older[..., :24], given[..., :24]
    )
    assert not torch.equal(older, given)


def test_the_age_curve_is_smooth_and_covers_every_age():
    share = age_basis(torch.tensor([0.0, 7.5, 30.0, 100.0, 130.0]))
    assert share.shape == (5, KNOTS) and torch.allclose(share.sum(1), torch.ones(5))
    assert share[0].argmax() == 0 and share[3].argmax() == KNOTS - 1 and torch.equal(share[3], share[4])


def test_gains_count_on_the_way_from_the_neutral_age_and_not_on_the_way_back(prototypes):
    prototypes.age_shape[:, 8, 1] = torch.arange(float(KNOTS))
    centre(prototypes)
    assert (age_basis(torch.tensor([NEUTRAL]))[0] @ prototypes.age_shape[:, 8, 1]).abs() < 1e-5
    set_gains(prototypes, {"outward": {"shape": 3.0}, "inward": {"shape": 1.0}})

    def chin(a, b):
        added = prototypes.knot_changes(torch.tensor([a]), torch.tensor([b]))["shape"][0]
        return added @ prototypes.age_shape[:, 8, 1]

    assert chin(25.0, 60.0) == pytest.approx(-3 * chin(60.0, 25.0).item(), rel=1e-4)
    assert chin(60.0, 25.0) + chin(25.0, 5.0) == pytest.approx(chin(60.0, 5.0).item(), rel=1e-4)
    assert chin(40.0, 60.0) + chin(25.0, 40.0) == pytest.approx(chin(25.0, 60.0).item(), rel=1e-4)
    assert chin(7.0, 7.0) == 0 and chin(70.0, 70.0) == 0


def age_shares(years: float) -> np.ndarray:
    """The shares of the age knots, from the formula."""
    place = 100 * np.log1p(years / 12) / np.log1p(100 / 12)
    near = np.exp(-0.5 * ((place - np.linspace(0, 100, KNOTS)) / (100 / (KNOTS - 1))) ** 2)
    return near / near.sum()


def test_a_small_case_gives_what_a_hand_calculates(prototypes):
    """A face of two greys, a uniform tone for the smile and one for each age knot; the dark grey gets less of these:
    out = face + skin * sqrt(std * USUAL * mean light) * light / mean light * (tone of the smile + tone of the ages)."""
    light, dark = 0.3, -0.1
    given = torch.full((1, 3, 64, 64), light)
    given[..., 32:] = dark
    prototypes.unit_tone[AU12] = 0.2
    prototypes.age_tone.copy_(torch.arange(KNOTS).float().view(-1, 1, 1, 1).expand(-1, 3, 64, 64) / 10)
    prototypes.outward[1] = 1.5  # of the tone, beyond NEUTRAL
    prototypes.inward[1] = 0.5
    spread = (light - dark) / 2  # the standard deviation of two equal halves
    knots = np.arange(KNOTS) / 10
    way_in = 0.5 * (age_shares(NEUTRAL) - age_shares(10.0)) @ knots
    way_out = 1.5 * (age_shares(60.0) - age_shares(NEUTRAL)) @ knots
    lit = torch.ones(64)
    mean = (light + dark) / 2 + 1
    lit[32:] = (dark + 1) / mean
    aged = (spread * USUAL * mean) ** 0.5
    for ages, unit, way in (
        ((30.0, 30.0), 2.0, 0.0),
        ((NEUTRAL, 60.0), 0.0, way_out),
        ((10.0, 60.0), 3.0, way_in + way_out),
    ):
        changed = edit(prototypes, given, age=ages, unit=unit, marks=WHOLE[None])
        rows = (
            (..., slice(None), slice(1, 31)),
            (..., slice(None), slice(33, 63)),
        )  # away from the edge between them
        for row in rows:
            expected = given + aged * lit * (0.2 * unit + way)
            assert torch.allclose(changed[row], expected[row], atol=2e-4), (ages, unit)


def test_a_landmark_pulls_the_pixels_around_it_by_a_gaussian():
    points, pull = torch.tensor([[[0.25, 0.25], [0.75, 0.5]]]), torch.tensor([[[0.1, 0.0], [0.0, -0.2]]])
    field = displacement(points, pull, 32, 0.1)[0]  # on the 32 px grid itself: no enlargement
    for row, column in ((7, 8), (15, 24), (16, 16)):
        at = (np.array([column, row]) + 0.5) / 32
        near = np.exp(-0.5 * ((at - points[0].numpy()) ** 2).sum(1) / 0.1**2)
        expected = near @ pull[0].numpy() / (near.sum() + 0.3)
        assert field[row, column].numpy() == pytest.approx(expected, abs=1e-5)


def test_the_fit_finds_a_linear_truth():
    """Values made from known age knots, action units and other columns come back, whatever the weights."""
    known = explain(Labelled())
    random = torch.Generator().manual_seed(7)
    truth = torch.randn(known.design.shape[1], 2, 3, generator=random)
    curves = Curves(known.design.shape[1], 2, 3)
    weight = 0.2 + torch.rand(len(known.design), 2, generator=random)
    for part in torch.arange(len(known.design)).split(150):  # in batches, as pictures come
        values = torch.einsum("nk,kow->now", known.design[part].double(), truth.double()).float()
        curves.add(known.design[part], values, weight[part])
    age, units = curves.solve(ridge=1e-5, bend=1e-5)
    assert torch.allclose(age, truth[:KNOTS], atol=0.05)
    assert torch.allclose(units, truth[KNOTS : KNOTS + len(AU_CODES)], atol=0.01)


def test_where_light_does_not_change_its_gradient_counts_once():
    face, change = torch.full((1, 3, 2, 2), 0.2), torch.zeros(1, 1, 2, 2, requires_grad=True)
    relit(face, change).sum().backward()
    assert torch.allclose(
        change.grad, torch.full_like(change, 3.0)
    )  # of each channel, as where it grows darker


def test_action_unit_gains_multiply_the_slopes(prototypes):
    prototypes.unit_tone.fill_(1.0)
    set_gains(prototypes, {"units": {"tone": [float(i) for i in range(17)]}})
    assert prototypes.unit_tone[:, 0, 0, 0].tolist() == list(range(17))
    prototypes.unit_shape.fill_(1.0)
    set_gains(prototypes, {"units": {"shape": 3.0, "across": 0.5}})
    assert (prototypes.unit_shape[..., 0] == 1.5).all() and (prototypes.unit_shape[..., 1] == 3.0).all()


def test_action_units_keep_to_their_part_of_the_face(model):
    """Of the shipped weights: brows, eyes and mouth move and colour nothing beyond them."""
    prototypes = model.prototypes
    assert is_confined(prototypes)
    for code, still, row in (("AU01", range(48, 68), 47), ("AU05", range(48, 68), 10), ("AU07", range(17), 10),
                             ("AU12", range(17, 27), 10), ("AU26", range(17, 27), 20)):  # fmt: skip
        unit = AU_CODES.index(code)
        assert prototypes.unit_shape[unit].abs().max() > 1e-3
        assert not prototypes.unit_shape[unit, list(still)].any(), code
        assert not prototypes.unit_tone[unit, :, row].any(), code


def test_a_smile_lifts_cheeks_and_deepens_the_folds_beside_them(model):
    """Of the shipped weights: AU12 darkens the way from the nose to the corners of the mouth, and lights the cheeks."""
    shape, light = model.prototypes.mean_shape, model.prototypes.unit_tone[AU12].mean(0)
    at = lambda place: light[int(place[1] * 64), int(place[0] * 64)]  # noqa: E731
    for nose, corner, jaw, eye in ((31, 48, 3, 41), (35, 54, 13, 46)):
        middle = 0.5 * (shape[nose] + shape[corner])
        fold, cheek = middle + 0.25 * (shape[jaw] - middle), 0.5 * (shape[eye] + shape[corner])
        assert at(fold) < -0.15 and at(cheek) > at(fold) + 0.15


def test_confining_is_found_done_and_leaves_the_middle_of_a_region_whole(prototypes):
    prototypes.unit_tone.fill_(1.0)
    assert not is_confined(prototypes)
    confine(prototypes)
    at = (SHAPE[50] * 64).long()
    assert is_confined(prototypes) and prototypes.unit_tone[AU12, 0, at[1], at[0]] == 1


@pytest.mark.parametrize("side", [256, 512])
def test_a_larger_face_gets_the_same_edit(prototypes, side):
    """Shape, tone and texture of a smooth face do not depend on its size."""
    prototypes.age_tone[-4:, 0, 20:40, 20:40] = 1.0
    prototypes.unit_shape[AU12, 48:60, 1] = -0.01
    small = face(1, 128)
    large = F.interpolate(small, size=(side, side), mode="bicubic").clamp(-1, 1)
    found = [edit(prototypes, one, age=(20.0, 90.0), unit=4.0) - one for one in (small, large)]
    back = F.interpolate(found[1], size=(128, 128), mode="bilinear", antialias=True)
    assert (back - found[0]).abs().mean() < 0.05 * found[0].abs().mean()


def test_what_a_generator_draws_stays_within_the_face_and_grey_on_grey(prototypes):
    prototypes.region.zero_()
    prototypes.region[:, 20:44, 20:44] = 1.0
    still = (torch.full((1,), 30.0),) * 2 + (torch.zeros(1, 17),) * 2
    grey = torch.zeros(1, 3, 64, 64)
    red = torch.tensor([0.5, 0.0, 0.0])[:, None, None].expand(1, 3, 64, 64)
    drawn = prototypes.limit(grey, Edited(grey + red, torch.ones(1, 1, 64, 64)), SHAPE[None], still)
    assert torch.equal(drawn.face[..., :16, :], grey[..., :16, :]) and not drawn.attention[..., :16, :].any()
    assert torch.allclose(drawn.face.amax(1), drawn.face.amin(1), atol=1e-6)
    assert drawn.face[0, :, 32, 32].mean() == pytest.approx(0.5 * 0.299, abs=1e-3)
    skin = torch.tensor([0.3, 0.0, -0.2])[:, None, None].expand(1, 3, 64, 64)
    drawn = prototypes.limit(skin, Edited(skin + red, torch.ones(1, 1, 64, 64)), SHAPE[None], still)
    assert torch.allclose(
        drawn.face[0, :, 32, 32] - skin[0, :, 32, 32], torch.tensor([0.5, 0.0, 0.0]), atol=1e-3
    )


def test_a_black_and_white_photo_stays_so(prototypes):
    prototypes.age_tone[-4:, 0] = 2.0
    grey = face(1, 64).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    older = edit(prototypes, grey, age=(20.0, 95.0))
    assert (older - grey).abs().mean() > 0.01 and (older.amax(1) - older.amin(1)).max() < 1e-5


class Labelled:
    """Labels of 600 made-up faces whose landmarks move with age, a smile and the head's turn."""

    def __init__(self):
        chance = np.random.default_rng(0)
        self.folder = "made-up"
        age, pose = chance.uniform(0, 90, 600), chance.normal(0, 8, (600, 3))
        units = chance.uniform(0, 5, (600, 17)).astype(np.float32)
        units[:, AU12] += pose[:, 0] / 10
        marks = SHAPE.numpy()[None].repeat(600, 0)
        marks[:, 8, 1] += 0.001 * age
        marks[:, 48, 1] -= 0.01 * units[:, AU12]
        marks[:, :, 0] += pose[:, :1] / 300
        self.labels = {
            "age": age.astype(np.float32),
            "pose": pose.astype(np.float32),
            "action_units": units,
            "landmarks": marks.astype(np.float32),
        }
        names = [f"face {i}" for i in range(600)]
        self.table = pd.DataFrame({"id": names, "source": ["a", "b"] * 300, "gender": ["m", "f", None] * 200})

    def __len__(self):
        return 600


def test_shape_is_measured_with_the_pose_held_fixed(prototypes):
    fit_shape(Labelled(), prototypes)
    assert prototypes.unit_shape[AU12, 48, 1].item() == pytest.approx(-0.01, abs=1e-3)
    others = prototypes.unit_shape[AU12, [8, 30], 1]
    assert others.abs().max() < 1e-3
    chin = (age_basis(torch.tensor([70.0])) - age_basis(torch.tensor([20.0]))) @ prototypes.age_shape[:, 8, 1]
    assert chin.item() == pytest.approx(0.05, abs=0.01)


class Fringed(Labelled):
    """Grey faces; the older, the less of the forehead a black fringe hides, and the redder the chin."""

    def batch(self, rows):
        age = torch.from_numpy(self.labels["age"][rows]) / 90
        face = 0.1 * torch.randn(len(rows), 3, 64, 64, generator=torch.Generator().manual_seed(len(rows)))
        face[:, 0, 45:] += age[:, None, None]
        for picture, years in zip(face, age.tolist(), strict=True):
            picture[:, : int(26 - 10 * years)] = -1.0
        landmarks = torch.from_numpy(self.labels["landmarks"][rows])
        return {"face": face, "landmarks": landmarks, "valid": torch.ones(len(rows), 1, 64, 64)}


def test_a_fringe_is_no_tone_of_the_forehead(prototypes):
    def black(faces):
        return (luma(faces) < -0.99).float()

    faces, tones = Fringed(), []
    fit_shape(faces, prototypes)
    for hair in (None, black):
        fit_pixels(faces, prototypes, 600, hair, kinds=("age",))
        older = (age_basis(torch.tensor([85.0])) - age_basis(torch.tensor([5.0])))[0]
        tones.append(torch.einsum("k,kchw->chw", older, prototypes.age_tone))
    forehead, chin = (0, slice(21, 24), slice(24, 40)), (0, slice(48, 54), slice(24, 40))
    assert tones[0][forehead].mean() > 3 * abs(tones[1][forehead].mean())
    assert tones[1][chin].mean() > 1
    assert not prototypes.unit_tone.any(), "only what was asked is measured"


def test_curves_weigh_each_output_by_itself():
    known = explain(Labelled())
    curves = Curves(known.design.shape[1], 2, 1)
    values = known.design[:, :KNOTS].sum(1)[:, None, None] * torch.tensor([3.0, 5.0])[None, :, None]
    curves.add(known.design, values, torch.tensor([[1.0, 0.0]]).expand(len(values), -1))
    found, _ = curves.solve()
    assert found[:, 0, 0].mean().item() == pytest.approx(3, abs=0.05) and found[:, 1].abs().max() == 0


def test_the_region_is_the_face_and_its_forehead():
    jaw = torch.linspace(torch.pi, 0, 17)
    marks = torch.full((68, 2), 0.5)
    marks[:17] = torch.stack([0.5 + 0.25 * jaw.cos(), 0.5 + 0.35 * jaw.sin()], 1)
    marks[17:27, 1], marks[27, 1], marks[33, 1] = 0.42, 0.5, 0.62
    region = face_region(marks)
    assert region.shape == (1, 64, 64) and region[0, 32, 32] > 0.99 and region[0, 23, 32] > 0.3
    assert region[0, 0].max() == 0 and region[0, :, 0].max() == 0 and 0.15 < region.mean() < 0.5


def test_a_face_turned_to_its_profile_leaves_the_background_before_it_alone(model):
    prototypes = model.prototypes
    ahead = prototypes.mean_shape[None]
    turned = ahead.clone()
    left = turned[..., 0] < 0.5
    turned[..., 0] = torch.where(left, 0.5 + 0.1 * (turned[..., 0] - 0.5), turned[..., 0])
    plain = prototypes.warp_to_face(prototypes.region[None], prototypes.map_grid(turned, 128))
    region = prototypes.face_region(turned, 128)
    edge = round((turned[..., 0].min().item() - 0.05) * 128)
    assert plain[..., :edge].max() > 0.5 and region[..., :edge].max() == 0
    frontal = prototypes.warp_to_face(prototypes.region[None], prototypes.map_grid(ahead, 128))
    assert (prototypes.face_region(ahead, 128) - frontal).abs().mean() < 0.005


def test_a_face_brought_to_the_mean_shape_and_back_is_the_same():
    there = canonical_grid(SHAPE[None] + 0.03, SHAPE, 64)
    back = canonical_grid(SHAPE[None], SHAPE + 0.03, 64)
    given = face(1, 64)
    moved = F.grid_sample(F.grid_sample(given, there, align_corners=False), back, align_corners=False)
    inside = (..., slice(20, 48), slice(20, 44))
    assert (moved - given)[inside].abs().mean() < 0.05


def test_a_teacher_that_is_not_there_and_ages_that_are_not_there_are_named(tmp_path):
    made_up = Labelled()
    made_up.folder = tmp_path
    with pytest.raises(MissingModel, match="nothing.onnx is missing"):
        hair_masks(tmp_path / "nothing.onnx", made_up, 10)
    made_up.labels["age"][:] = np.nan
    with pytest.raises(BadInput, match="no face with an age"):
        prototypes_task.build(prototypes_task.Recipe(), made_up, 0)


def test_masks_of_an_earlier_call_are_taken_from_the_face_folder_while_the_faces_are_the_same(tmp_path):
    made_up = Labelled()
    made_up.folder = tmp_path
    index, mask = np.arange(5), np.zeros((5, 128, 128), np.uint8)
    np.savez(
        tmp_path / "mattes-joined-5-128.npz", index=index, mask=mask, id=made_up.table["id"][:5].to_numpy(str)
    )
    found, masks = hair_masks("not needed.onnx", made_up, 5)
    assert found.tolist() == [0, 1, 2, 3, 4] and masks.shape == (5, 128, 128)
    made_up.table["id"] = made_up.table["id"][::-1].to_numpy()
    with pytest.raises(MissingModel, match="gone.onnx is missing"):
        hair_masks(tmp_path / "gone.onnx", made_up, 5)


@pytest.mark.parametrize("teeth", [True, False])
def test_a_trained_generators_prototypes_bring_their_own_mouth(teeth):
    """Its light copy does not tell their keywords."""
    trained = Prototypes(hair_width=4, teeth=teeth)
    there = Prototypes(hair_width=4, teeth=not teeth)
    there.load_state_dict(trained.state_dict())
    assert type(there.mouth) is type(trained.mouth)


def test_what_lies_beside_a_moved_jaw_shows_its_edges_once(model, monkeypatch):
    shapes = model.prototypes.only(("shape",))
    pull = torch.zeros(1, 68, 2)
    pull[:, :17, 0] = 0.05  # aside
    monkeypatch.setattr(shapes, "pulls", lambda age, unit: {"age": pull, "unit": torch.zeros(1, 68, 2)})
    marks, still = shapes.mean_shape[None], torch.zeros(1, 17)
    soft = shapes.surroundings(marks + pull, 256)[0, 0]
    moved = 0
    for row in range(140, 200, 10):
        edge = int((soft[row] > 0.5).nonzero()[0])  # where the warp fades
        face = torch.full((1, 3, 256, 256), -0.5)
        face[..., edge:] = 0.5
        line = shapes(face, marks, torch.tensor([30.0]), torch.tensor([60.0]), still, still)[0, 0, row]
        assert (line.abs() < 0.35).sum() <= 4, "an edge, not two and a grey band"
        moved = max(moved, abs(int((line > 0).nonzero()[0]) - edge))
    assert moved > 2
