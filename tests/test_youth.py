"""Faces that grow younger: larger eyes, and skin that loses its folds and spots and keeps its grain."""

import pytest
import torch

from ganime_age.model.model import GanimeAge
from ganime_age.networks.hair.beard import beard_region, smooth_chin
from ganime_age.networks.layers import luma
from ganime_age.networks.prototypes import KNOTS, Prototypes

SIDE = 256


@pytest.fixture(scope="module")
def mean_shape():
    return GanimeAge.from_pretrained(parts=["prototypes"]).prototypes.mean_shape


@pytest.fixture
def prototypes(mean_shape):
    """Prototypes of which nothing but the eyes and the limit of detail follows the age."""
    torch.manual_seed(0)
    made = Prototypes(hair_width=4, youth=True).eval().requires_grad_(False)
    made.mean_shape.copy_(mean_shape)
    made.region.fill_(1.0)
    for weight in made.hair.parameters():
        weight.zero_()
    list(made.hair.parameters())[-1].fill_(-20.0)  # no hair
    return made


def edit(prototypes, face, before, after):
    ages, none = (torch.tensor([before]), torch.tensor([after])), torch.zeros(1, 17)
    return prototypes(face, prototypes.mean_shape[None], *ages, none, none)


def place(marks, points):
    """Column and row of the middle of some landmarks."""
    return [round(SIDE * float(x)) for x in marks[points].mean(0)]


def discs(marks, radius):
    """A grey face with a dark disc of some pixels in each eye."""
    face = torch.full((1, 3, SIDE, SIDE), 0.2)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for points in (slice(36, 42), slice(42, 48)):
        column, row = place(marks, points)
        face[:, :, (x - column) ** 2 + (y - row) ** 2 <= radius**2] = -0.6
    return face


def dark(face):
    return float((face[0, 0] < -0.2).sum())


def test_a_childs_eyes_are_larger_and_a_childs_shrink_as_it_grows_up(prototypes, mean_shape):
    prototypes.age_eyes[:4] = torch.tensor(1.2).log()  # up to ten years
    face = discs(mean_shape, 6)
    child, older = edit(prototypes, face, 30.0, 6.0), edit(prototypes, face, 6.0, 30.0)
    assert dark(child) / dark(face) == pytest.approx(1.44, abs=0.12)
    assert dark(older) / dark(face) == pytest.approx(1 / 1.44, abs=0.12)
    assert dark(edit(prototypes, face, 30.0, 60.0)) == dark(face)
    _, row = place(mean_shape, slice(27, 28))
    assert (child - face)[..., row + 60 :, :].abs().max() < 1e-5  # nothing else moves


def test_the_landmarks_of_lids_move_as_the_picture_shows_them(prototypes, mean_shape):
    prototypes.age_eyes[:4] = torch.tensor(1.2).log()
    none, ages = torch.zeros(1, 17), (torch.tensor([30.0]), torch.tensor([6.0]))
    moved = prototypes.moved_landmarks(mean_shape[None], ages, (none, none))[0] - mean_shape
    wide = moved[36:48].norm(dim=1)
    assert wide.max() * SIDE > 0.5 and moved[:17].abs().max() == 0 == moved[48:].abs().max()
    away = mean_shape[36:42] - mean_shape[36:42].mean(0)
    assert ((moved[36:42] * away).sum(1) > 0).all()


def skin(mean_shape, seed=0):
    """A face with grain, a dark fold across a cheek, stubble on the chin; where each is, as rows and columns."""
    grain = 0.02 * torch.randn(1, 1, SIDE, SIDE, generator=torch.manual_seed(seed))
    face = (0.2 + grain).expand(1, 3, SIDE, SIDE).clone()
    column, row = place(mean_shape, slice(31, 32))
    cheek = slice(row - 22, row - 2), slice(column - 34, column - 10)
    face[0, :, row - 13 : row - 10, column - 34 : column - 10] -= 0.3
    column, row = place(mean_shape, slice(8, 9))
    chin = slice(row - 18, row - 8), slice(column - 12, column + 12)
    face[:, :, chin[0], chin[1]] += 8 * grain[:, :, chin[0], chin[1]]
    column, row = place(mean_shape, slice(27, 28))
    brow = slice(row - 45, row - 25), slice(column - 20, column + 20)
    return face, cheek, chin, brow


def depth(face, where):
    rows = face[0, 0, where[0], where[1]].mean(1)
    return float(rows.median() - rows.min())


def roughness(face, where):
    part = face[0, 0, where[0], where[1]]
    return float((part.diff(dim=1)).std())


def test_the_way_back_takes_folds_and_stubble_and_leaves_the_grain(prototypes, mean_shape):
    prototypes.detail_limit.fill_(1.2)
    face, cheek, chin, brow = skin(mean_shape)
    young = edit(prototypes, face, 60.0, 20.0)
    assert depth(young, cheek) < 0.4 * depth(face, cheek)
    assert roughness(young, chin) < 0.35 * roughness(face, chin)
    assert 0.6 < roughness(young, brow) / roughness(face, brow) < 1
    little = edit(prototypes, face, 60.0, 57.0)
    assert depth(young, cheek) < depth(little, cheek) < depth(face, cheek)
    assert torch.equal(edit(prototypes, face, 20.0, 60.0), face)


def test_a_chin_that_is_as_smooth_as_the_cheeks_keeps_its_grain_and_a_stubbly_one_gets_no_more(mean_shape):
    """A chin without grain looks smeared between a child's cheeks and neck."""
    face, _, chin, _ = skin(mean_shape)
    column, row = place(mean_shape, slice(8, 9))
    bare = face.clone()
    grain = bare[:, :, row - 48 : row - 38, column - 12 : column + 12]
    bare[:, :, chin[0], chin[1]] = grain
    smooth, shaven = (smooth_chin(one, mean_shape[None], torch.ones(1)) for one in (bare, face))
    assert 0.75 < roughness(smooth, chin) / roughness(bare, chin) < 1.02
    assert roughness(shaven, chin) < 1.3 * roughness(bare, chin)


def test_dark_frames_of_glasses_do_not_fade_with_the_creases(prototypes, mean_shape):
    prototypes.detail_limit.fill_(1.2)
    face, cheek, *_ = skin(mean_shape)
    left, row = place(mean_shape, slice(36, 37))
    right = place(mean_shape, slice(45, 46))[0]
    rim = slice(row + 12, row + 15), slice(left, left + 20)  # below an eye
    faint, dark = face.clone(), face.clone()
    for one, light in ((faint, 0.05), (dark, -0.8)):
        one[:, :, rim[0], rim[1]] = light
        one[:, :, row - 2 : row + 2, left:right] = light  # the bridge
    whole = rim[0].start - 6, rim[0].stop + 6
    band = slice(*whole), rim[1]
    share = [depth(edit(prototypes, one, 60.0, 20.0), band) / depth(one, band) for one in (faint, dark)]
    assert share[0] < 0.7 and share[1] > 0.95
    assert depth(edit(prototypes, dark, 60.0, 20.0), cheek) < 0.5 * depth(dark, cheek)  # its folds do


def test_blotches_of_colour_fade_and_the_skins_own_colour_stays(prototypes, mean_shape):
    prototypes.detail_limit.fill_(1.2)
    face, cheek, *_ = skin(mean_shape)
    face[:, 0] += 0.1
    rows, columns = cheek
    spot = slice(rows.start + 2, rows.start + 8), slice(columns.start + 6, columns.start + 12)
    face[0, 0, spot[0], spot[1]] += 0.2
    young = edit(prototypes, face, 60.0, 20.0)

    def red(picture, where):
        part = picture[0, :, where[0], where[1]]
        return float((part[0] - part[1]).mean())

    assert red(young, spot) - 0.1 < 0.6 * (red(face, spot) - 0.1)
    assert red(young, (slice(rows.stop, rows.stop + 8), columns)) == pytest.approx(0.1, abs=0.02)


def test_parts_of_an_age_take_their_share_of_it(prototypes, mean_shape):
    prototypes.age_eyes[:4], prototypes.detail_limit[:] = 0.2, 1.2
    face = torch.minimum(discs(mean_shape, 6), skin(mean_shape)[0])
    cheek = skin(mean_shape)[1]
    shape, flesh, hair = (
        edit(prototypes.only([part]), face, 30.0, 6.0) for part in ("shape", "skin", "hair")
    )
    assert dark(shape) > 1.2 * dark(face) and depth(shape, cheek) > 0.8 * depth(face, cheek)
    assert depth(flesh, cheek) < 0.5 * depth(face, cheek) and dark(flesh) == pytest.approx(
        dark(face), rel=0.02
    )
    lip = int(SIDE * mean_shape[30, 1])
    assert torch.equal(hair[:, :, :lip], face[:, :, :lip]), "a beard is all of the hair that is there"


def ages(before, after):
    return torch.tensor([before]), torch.tensor([after])


def chinned(mean_shape, colour=(0.1, -0.05, -0.15)):
    """A face of one colour with grey stubble where beards grow, before a collar."""
    marks = mean_shape[None]
    face = torch.tensor(colour)[None, :, None, None].expand(1, 3, SIDE, SIDE).clone()
    stubble = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) < 0.3
    where = beard_region(marks, SIDE) > 0.5
    face = torch.where(where & stubble, torch.tensor((-0.25, -0.25, -0.25))[None, :, None, None], face)
    bottom = int(SIDE * marks[0, 8, 1]) + 4
    face[:, :, bottom:] = 0.9
    return face, marks, where[0, 0], bottom


def test_a_child_has_no_stubble_and_a_chin_in_the_colour_of_the_cheeks(prototypes, mean_shape):
    face, marks, where, bottom = chinned(mean_shape)
    where = where & (torch.arange(SIDE) < bottom - 8)[:, None]
    young = prototypes.beardless(face, marks, ages(35.0, 8.0))
    inner = torch.nn.functional.max_pool2d((~where)[None, None].float(), 9, 1, 4)[0, 0] == 0
    assert luma(young)[0, 0, inner].std() < 0.4 * luma(face)[0, 0, inner].std()

    def red(picture):
        part = picture[0, :, inner].mean(1) + 1
        return float(part[0] / part[2])

    assert red(face) < red(young) == pytest.approx(1.1 / 0.85, abs=0.03)
    assert (young[:, :, bottom + 6 :] == face[:, :, bottom + 6 :]).all(), "a collar is no skin"
    top = int(SIDE * marks[0, 30, 1])
    assert torch.equal(young[:, :, :top], face[:, :, :top])


def test_a_child_keeps_a_chin_that_is_redder_than_the_cheeks_and_its_shade(prototypes, mean_shape):
    face, marks, where, bottom = chinned(mean_shape)
    red = torch.tensor((0.0, -0.5, -0.65))[None, :, None, None].expand_as(face)
    shade = torch.tensor((-0.5, -0.75, -0.825))[None, :, None, None].expand_as(face)
    inner = torch.nn.functional.max_pool2d((~where)[None, None].float(), 9, 1, 4)[0, 0] == 0
    inner &= (torch.arange(SIDE) < bottom - 8)[:, None]
    for colour in (red, shade):
        given = torch.where(where, colour, face)
        young = prototypes.beardless(given, marks, ages(35.0, 8.0))
        assert (young - given)[0, :, inner].abs().mean() < 0.02


@pytest.mark.parametrize("before, after", [(8.0, 8.0), (5.0, 11.0), (11.0, 4.0), (30.0, 60.0), (60.0, 25.0)])
def test_who_has_no_beard_to_lose_or_keeps_it_keeps_the_skin_there(prototypes, mean_shape, before, after):
    face, marks, *_ = chinned(mean_shape)
    assert torch.equal(prototypes.beardless(face, marks, ages(before, after)), face)


def test_stubble_goes_as_far_as_beards_do(prototypes, mean_shape):
    face, marks, where, _ = chinned(mean_shape)
    changed = [
        (prototypes.beardless(face, marks, ages(35.0, after)) - face).abs().mean()
        for after in (18.0, 15.0, 10.0)
    ]
    assert 0 < changed[0] < changed[1] < changed[2]


def test_a_photo_without_colour_stays_without(prototypes, mean_shape):
    face, marks, *_ = chinned(mean_shape, (0.1, 0.1, 0.1))
    young = prototypes.beardless(face, marks, ages(35.0, 8.0))
    assert not torch.equal(young, face) and (young - luma(young)).abs().max() < 1e-5


def test_without_the_hair_of_an_age_stubble_stays(prototypes, mean_shape):
    face, marks, *_ = chinned(mean_shape)
    skin_alone = prototypes.only(["skin"])
    assert torch.equal(skin_alone.beardless(face, marks, ages(35.0, 8.0)), face)


def test_older_weights_load_and_newer_ones_come_back(tmp_path):
    new = GanimeAge(("prototypes",), 64, edit_size=64, prototypes={"hair_width": 4, "youth": True})
    new.prototypes.age_eyes[0], new.prototypes.detail_limit[0] = 0.25, 1.5
    new.save_pretrained(tmp_path / "new")
    again = GanimeAge.from_pretrained(tmp_path / "new").prototypes
    assert again.age_eyes.tolist() == [0.25] + [0.0] * (KNOTS - 1) and again.detail_limit.tolist() == [1.5]
    plain = Prototypes(hair_width=4)
    plain.load_state_dict(again.state_dict())
    assert plain.detail_limit.tolist() == [1.5]
    plain.load_state_dict(Prototypes(hair_width=4).state_dict())
    assert plain.detail_limit is None and plain.age_eyes is None
