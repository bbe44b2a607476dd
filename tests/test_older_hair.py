"""Older hair where a matte says little: brows, tips on a forehead, single strands, and the light on a head of hair."""

import pytest
import torch

from ganime_age.networks.hair import growing
from ganime_age.networks.hair.brows import brows
from ganime_age.networks.hair.on_head import Head, bare_skin, fringe, vivid
from ganime_age.networks.layers import luma

SKIN, DARK, FAIR = (0.5, 0.1, -0.1), (-0.7, -0.75, -0.8), (0.35, 0.05, -0.3)
ORANGE = (0.5, -0.35, -0.8)
SIDE = 256


def painted(*colours_and_masks):
    """(1,3,256,256): skin, and each colour where its mask (256,256) is."""
    picture = torch.tensor(SKIN).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE).clone()
    for colour, mask in colours_and_masks:
        picture = torch.where(mask, torch.tensor(colour).view(1, 3, 1, 1), picture)
    return picture


@pytest.fixture
def marks(editor):
    """(1,68,2): the mean face."""
    return editor.model.prototypes.mean_shape.float()[None]


def places():
    line = (torch.arange(SIDE) + 0.5) / SIDE
    return line[None, :].expand(SIDE, SIDE), line[:, None].expand(SIDE, SIDE)


def crown(marks):
    """(256,256) bool: hair above the forehead, and to the sides of the head."""
    x, y = places()
    left, right, brow = marks[0, 0, 0], marks[0, 16, 0], marks[0, 17:27, 1].min()
    return (y < brow - 0.12) | (x < left - 0.01) | (x > right + 0.01)


def known(picture, hair, marks):
    return Head.of(picture, hair[None, None].float(), marks)


def grown(editor, picture, hair, marks, age=80.0):
    """The picture with its hair from 25 years to `age`, by the weights that ship."""
    ages = torch.tensor([25.0]), torch.tensor([age])
    return editor.model.prototypes.grow_hair(
        picture, hair[None, None].float(), marks, ages, growing.REACH_FADE
    )


def brow_lines(marks):
    """(256,256) bool: dark lines along the brows."""
    x, y = places()
    points = marks[0, 17:27]
    return ((x[..., None] - points[:, 0]).square() + (y[..., None] - points[:, 1]).square()).amin(
        -1
    ) < 0.012**2


def test_brows_are_found_and_turn_partly_with_the_hair(editor, marks):
    hair, lines = crown(marks), brow_lines(marks)
    picture = painted((DARK, hair), (DARK, lines))
    share = brows(picture, marks)[0, 0]
    assert share[lines].mean() > 0.6
    eyes = (marks[0, 36:48] * SIDE).long()
    assert share[eyes[:, 1], eyes[:, 0]].max() == 0 and share[hair].mean() < 0.01
    rise = (luma(grown(editor, picture, hair, marks)) - luma(picture))[0, 0]
    assert 0.02 < rise[lines].mean() < 0.6 * rise[hair & (places()[1] > 0.1)].mean()


@pytest.mark.parametrize(("before", "after"), [(5.0, 22.0), (70.0, 30.0)])
def test_brows_and_tips_stay_as_they_are_where_hair_does_not_turn_grey(editor, marks, before, after):
    hair, lines = crown(marks), brow_lines(marks)
    picture = painted((DARK, hair), (DARK, lines))
    ages = torch.tensor([before]), torch.tensor([after])
    grown = editor.model.prototypes.grow_hair(
        picture, hair[None, None].float(), marks, ages, growing.REACH_FADE
    )
    assert torch.equal(grown[..., lines], picture[..., lines])


def test_brows_behind_dark_frames_are_not_looked_for(marks):
    """Two rings and a bridge, as dark as the brows."""
    x, y = places()
    rings = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    eyes = [marks[0, first : first + 6].mean(0) for first in (36, 42)]
    for eye in eyes:
        away = ((x - eye[0]).square() + (y - eye[1]).square()).sqrt()
        rings |= (away > 0.085) & (away < 0.105)
    top = marks[0, 27, 1]
    rings |= ((y - top).abs() < 0.015) & (x > eyes[0][0] + 0.08) & (x < eyes[1][0] - 0.08)
    lines = brow_lines(marks)
    bare, framed = (brows(painted((DARK, dark)), marks)[0, 0, lines] for dark in (lines, lines | rings))
    assert framed.mean() < 0.3 * bare.mean()


def test_a_coloured_band_below_the_hair_is_no_tip_of_it(marks):
    hair, (x, y) = crown(marks), places()
    brow = marks[0, 17:27, 1].min()
    band = (y >= brow - 0.12) & (y < brow - 0.07) & ((x - 0.5).abs() < 0.1)
    found = []
    for colour in ((-0.9, -0.75, 0.1), DARK):
        picture = painted((DARK, hair), (colour, band))
        found.append(fringe(picture, marks, known(picture, hair, marks))[0, 0, band].mean())
    assert found[0] < 0.2 < 0.5 < found[1]


def test_brows_stay_where_no_hair_tells_their_colour(editor, marks):
    picture = painted((DARK, brow_lines(marks)))
    assert torch.equal(grown(editor, picture, torch.zeros(SIDE, SIDE, dtype=torch.bool), marks), picture)


def test_dark_tips_on_a_forehead_turn_with_the_hair_they_hang_from(editor, marks):
    hair, (x, y) = crown(marks), places()
    brow = marks[0, 17:27, 1].min()
    tips = (y >= brow - 0.12) & (y < brow - 0.05) & ((x - 0.5).abs() < 0.1) & ((x * 32).long() % 2 == 0)
    picture = painted((DARK, hair), (DARK, tips))  # the matte holds no tips
    found = fringe(picture, marks, known(picture, hair, marks))[0, 0]
    upper = tips & (y < brow - 0.08)
    assert found[upper].mean() > 0.5
    face = (x > marks[0, 0, 0] + 0.02) & (x < marks[0, 16, 0] - 0.02)
    assert found[face & (marks[0, 17:27, 1].max() < y)].max() == 0  # nothing below the brows
    half, middle = (marks[0, 16, 0] - marks[0, 0, 0]) / 2, (marks[0, 16, 0] + marks[0, 0, 0]) / 2
    assert found[y > marks[0, [0, 16], 1].mean() + 0.5 * half].max() == 0  # nor below the temples
    assert found[(x - middle).abs() > 1.25 * half].max() == 0  # nor beside them
    rise = (luma(grown(editor, picture, hair, marks)) - luma(picture))[0, 0]
    assert rise[upper].mean() > 0.1


def test_tips_of_strands_stay_the_hair_that_a_matte_found_and_the_skin_between_them_does_not(marks):
    hair, (x, y) = crown(marks), places()
    brow = marks[0, 17:27, 1].min()
    below = (y >= brow - 0.12) & (y < brow - 0.02) & ((x - 0.5).abs() < 0.1)
    mixed = tuple(0.55 * skin + 0.45 * dark for skin, dark in zip(SKIN, DARK, strict=True))
    strand = below & ((x * 32).long() % 2 == 0)
    picture = painted((DARK, hair), (mixed, strand))
    bare = bare_skin(picture, marks, known(picture, hair | below, marks))[0, 0]
    inner = below & (y < brow - 0.04) & (y > brow - 0.1)
    assert bare[inner & strand].mean() < 0.3 < 0.9 < bare[inner & ~strand].median()


def test_a_thin_strand_before_a_wall_grows_no_brighter_than_white_hair(editor, marks):
    hair, (x, y) = crown(marks), places()
    wall, strand = torch.tensor((0.8, 0.8, 0.8)).view(1, 3, 1, 1), (x > 0.93) & (x < 0.936) & (y > 0.2)
    picture = torch.where(x > 0.9, wall, painted((DARK, hair & (x < 0.9))))
    picture = torch.where(strand, torch.tensor(DARK).view(1, 3, 1, 1), picture)
    older = grown(editor, picture, (hair & (x < 0.9)) | strand, marks, age=100.0)
    white = growing.WHITE[0] * luma(torch.tensor(SKIN).view(1, 3, 1, 1)).item() + growing.WHITE[1]
    seen = luma(older)[0, 0, strand & (y > 0.3) & (y < 0.7)]
    assert -0.6 < seen.mean() < white and seen.max() < white + growing.BRIGHTEST


def test_a_long_tip_of_hair_that_is_little_darker_than_skin_is_one_where_it_has_all_of_the_hairs_colour(
    marks,
):
    hair, (x, y) = crown(marks), places()
    brow = marks[0, 17:27, 1].min()
    tips = (y >= brow - 0.12) & (y < brow - 0.02) & ((x - 0.5).abs() < 0.1) & ((x * 32).long() % 2 == 0)
    far = tips & (y > brow - 0.05)  # ten pixels of a picture of 128 below the hair
    brown, half = (-0.05, -0.25, -0.35), (0.2, -0.1, -0.25)
    for colour, found in ((brown, True), (half, False)):
        picture = painted((brown, hair), (colour, tips))
        seen = fringe(picture, marks, known(picture, hair, marks))[0, 0]
        assert seen[far].mean() > 0.2 if found else seen[far].mean() < 0.05
        assert seen[~tips & (y > brow - 0.12) & ~hair].mean() < 0.05


def test_of_fair_hair_no_tips_are_looked_for(marks):
    hair = crown(marks)
    picture = painted((FAIR, hair))
    assert fringe(picture, marks, known(picture, hair, marks)).max() == 0


@pytest.mark.parametrize(("colour", "skin"), [(DARK, True), (FAIR, False)], ids=["dark", "fair"])
def test_an_ear_within_dark_hair_is_skin_and_fair_hair_in_its_place_is_hair(marks, colour, skin):
    hair, (x, y) = crown(marks), places()
    ear = marks[0, 16] + torch.tensor([0.03, 0.02])
    spot = ((x - ear[0]) / 0.025).square() + ((y - ear[1]) / 0.05).square() < 1
    picture = painted((colour, hair), (SKIN if skin else (0.42, 0.1, -0.25), spot))
    found = bare_skin(picture, marks, known(picture, hair, marks))[0, 0]
    middle = tuple((ear.flip(0) * SIDE).long())
    assert (found[middle] > 0.9) if skin else (found[spot].max() < 0.1)


@pytest.mark.parametrize(
    ("ground", "turns"), [((0.4, 0.4, 0.4), True), ((0.6, 0.2, -0.3), False)], ids=["grey", "alike"]
)
def test_single_strands_beside_coloured_hair_lose_its_colour(editor, marks, ground, turns):
    hair, (x, y) = crown(marks), places()
    red = (0.4, -0.1, -0.5)
    beside = x > marks[0, 16, 0] + 0.12
    strand = beside & ((x - marks[0, 16, 0] - 0.14).abs() < 0.004) & (y > 0.3) & (y < 0.7)
    picture = painted((red, hair), (ground, beside), (red, strand))
    older = grown(editor, picture, hair & ~beside, marks)
    colour = lambda p: (p.amax(1) - p.amin(1))[0, strand & (y > 0.4) & (y < 0.6)].mean()  # noqa: E731
    assert (colour(older) < 0.75 * colour(picture)) if turns else colour(older) > 0.97 * colour(picture)


def test_no_more_than_its_own_colour_is_taken_from_half_a_strand(editor, marks):
    hair, (x, y) = crown(marks), places()
    red, grey = torch.tensor((0.4, -0.1, -0.5)), torch.tensor((0.2, 0.2, 0.2))
    edge = marks[0, 16, 0] + 0.1
    half = (x >= edge) & (x < edge + 0.008)
    beside = x >= edge + 0.008
    picture = painted((tuple(red.tolist()), hair), (tuple(grey.tolist()), beside))
    picture = torch.where(half, ((red + grey) / 2).view(1, 3, 1, 1), picture)
    share = torch.where(half, 0.5, (hair & ~beside).float())
    ages = torch.tensor([25.0]), torch.tensor([90.0])
    older = editor.model.prototypes.grow_hair(picture, share[None, None], marks, ages, growing.REACH_FADE)
    seen = half & (y > 0.4) & (y < 0.6)
    colour = older - luma(older)
    tint = (red - luma(red.view(1, 3, 1, 1)).flatten())[None, :, None, None]
    assert growing.in_tint(colour, tint)[0, 0, seen].min() > -0.02


def test_shaded_skin_beside_red_hair_gets_no_green_rim(editor, marks):
    hair, (x, y) = crown(marks), places()
    red, shaded = (0.4, -0.3, -0.5), (0.0, -0.3, -0.4)
    edge = marks[0, 16, 0] - 0.01
    rim = (x > edge - 0.016) & (x <= edge)  # a matte takes it for hair in part
    share = torch.where(rim, 0.5, (hair & (x > edge)).float())
    picture = painted((red, hair), (shaded, rim))
    ages = torch.tensor([25.0]), torch.tensor([90.0])
    older = editor.model.prototypes.grow_hair(picture, share[None, None], marks, ages, growing.REACH_FADE)
    redness = lambda p: (p[0, 0] - p[0, 1])[rim & (y > 0.45) & (y < 0.6)].mean()  # noqa: E731
    assert redness(older) > 0.5 * redness(picture)


def test_hair_is_brighter_where_it_faces_up():
    hair = torch.zeros(1, 1, 128, 128)
    hair[..., 20:90, 30:100] = 1
    light = growing.rounded(hair)[0, 0, :, 64]
    assert light[22] > 1.1 and light[87] < 0.9
    assert light[50:60] == pytest.approx(torch.ones(10)) and light[:5] == pytest.approx(torch.ones(5))


def on_a_forehead(marks):
    """(256,256) bool: a strand beside the hair at a temple, down to the brows."""
    (x, y), brow = places(), marks[0, 17:27, 1].min()
    return (y >= brow - 0.12) & (y < brow - 0.02) & ((x - 0.4).abs() < 0.02)


def test_orange_strands_on_a_face_turn_with_the_hair_they_lie_beside(editor, marks):
    hair, strand = crown(marks), on_a_forehead(marks)
    picture = painted((ORANGE, hair), (ORANGE, strand))  # the matte holds no strand
    upper = strand & (places()[1] < marks[0, 17:27, 1].min() - 0.08)
    found = vivid(picture, marks, known(picture, hair, marks))[0, 0]
    assert found[upper].mean() > 0.6 and found[~hair & ~strand].max() < 0.05
    older = grown(editor, picture, hair, marks)
    colour = [growing.chroma(part)[0, 0, upper].mean() for part in (picture, older)]
    assert colour[1] < 0.75 * colour[0]


def test_what_has_the_hairs_colour_far_from_hair_is_no_strand(marks):
    hair, (x, y) = crown(marks), places()
    nose = (x - marks[0, 30, 0]).abs() + (y - marks[0, 30, 1]).abs() < 0.03
    picture = painted((ORANGE, hair | nose))
    assert vivid(picture, marks, known(picture, hair, marks))[0, 0, nose].max() < 0.05


def test_what_is_nearly_black_is_no_strand_whatever_its_colour(marks):
    hair, strand = crown(marks), on_a_forehead(marks)
    picture = painted((ORANGE, hair), ((-0.75, -0.96, -1.0), strand))
    assert vivid(picture, marks, known(picture, hair, marks))[0, 0, strand].max() < 0.05


def test_a_grey_thing_on_the_face_is_no_strand_of_grey_hair(marks):
    hair, strand = crown(marks), on_a_forehead(marks)
    picture = painted(((0.8, 0.0, -0.4), ~hair), ((0.0, 0.0, 0.0), hair | strand))
    assert vivid(picture, marks, known(picture, hair, marks)).max() == 0


@pytest.mark.parametrize("skin", ["ruddy", "overexposed"])
def test_skin_in_light_that_makes_it_as_red_as_hair_is_no_strand(marks, skin):
    hair, strand, (x, _) = crown(marks), on_a_forehead(marks), places()
    if skin == "ruddy":  # half of the face
        picture = painted((ORANGE, x > 0.55), (ORANGE, hair | strand))
    else:
        picture = painted(((1.0, 0.75, 0.6), ~hair), (ORANGE, hair | strand))
    assert vivid(picture, marks, known(picture, hair, marks))[0, 0].max() < 0.05


@pytest.mark.parametrize("colour", [DARK, FAIR], ids=["black", "blond"])
def test_strands_without_a_colour_that_skin_has_not_are_none_by_their_colour(marks, colour):
    hair, strand = crown(marks), on_a_forehead(marks)
    picture = painted((colour, hair | strand))
    assert vivid(picture, marks, known(picture, hair, marks)).max() == 0


def test_lips_as_red_as_hair_are_no_strand_of_it(marks):
    hair, (x, y) = crown(marks), places()
    lips = (x - marks[0, 48:, 0].mean()).abs() + (y - marks[0, 48:, 1].mean()).abs() < 0.05
    picture = painted((ORANGE, hair | lips))
    near = torch.maximum(hair, lips)  # though hair was found beside them
    assert vivid(picture, marks, known(picture, near, marks))[0, 0, lips].max() < 0.05


def test_half_a_face_in_the_shade_is_no_fringe(marks):
    hair, (x, y) = crown(marks), places()
    brow = marks[0, 17:27, 1].min()
    forehead = (y >= brow - 0.12) & (y < brow - 0.08)
    brown = (-0.2, -0.4, -0.5)
    seen = []
    for shade in (x < 0.5, forehead & (x < 0.5)):
        picture = painted((brown, hair | shade))
        found = fringe(picture, marks, known(picture, hair, marks))[0, 0]
        seen.append(found[forehead & (x > 0.35) & (x < 0.48)].mean())
    assert seen[0] < 0.02 < 0.3 < seen[1], "hair on a forehead leaves the cheek in the light"


def test_dark_glasses_are_no_half_of_a_face_in_the_shade(marks):
    hair, strand, (x, y) = crown(marks), on_a_forehead(marks), places()
    eyes = marks[0, 36:48]
    middles = torch.stack([eyes[:6].mean(0), eyes[6:].mean(0)])
    lenses = ((x[..., None] - middles[:, 0]).abs() < 0.09).logical_and(
        (y[..., None] - middles[:, 1] - 0.03).abs() < 0.06
    )
    found = []
    for worn in (torch.zeros_like(hair), lenses.any(2)):
        picture = painted((DARK, hair | strand), (DARK, worn))
        seen = fringe(picture, marks, known(picture, hair, marks))[0, 0]
        found.append(seen[strand & (y < marks[0, 17:27, 1].min() - 0.08)].mean().item())
    assert found[0] > 0.3 and found[1] == pytest.approx(found[0], rel=0.1)


def test_hair_at_the_temples_turns_as_far_towards_the_face_as_it_is_hair(marks):
    """A matte ends before the hair does, and a dark rim between grey hair and a face looks like a wig's."""
    (x, y), (left, right) = places(), (marks[0, 0, 0], marks[0, 16, 0])
    beside = (y > marks[0, 17:27, 1].min()) & (y < marks[0, 0, 1])
    inner = torch.minimum(x - left, right - x)
    hair, rim = crown(marks) & (inner < -0.025), crown(marks) & (inner >= -0.025)
    far = beside & (inner > 0.03) & (inner < 0.05)
    picture = painted((DARK, hair | rim | far))
    found = fringe(picture, marks, known(picture, hair, marks))[0, 0]
    assert found[rim & beside & (y < marks[0, 0, 1] - 0.03)].mean() > 0.6
    assert found[far].max() < 0.05, "what lies away from hair is none"
    bare = painted((DARK, hair))
    assert fringe(bare, marks, known(bare, hair, marks))[0, 0, rim & beside].max() < 0.05
    fair = painted((FAIR, hair | rim))
    assert fringe(fair, marks, known(fair, hair, marks)).max() == 0
    aside = marks.clone()
    aside[0, 27:36, 0] += 0.18  # a nose that points aside
    assert fringe(picture, aside, known(picture, hair, aside))[0, 0, rim & beside].max() < 0.05


@pytest.mark.parametrize("lenses", [False, True])
def test_the_dark_arms_of_glasses_are_no_hair_at_the_temples(marks, lenses):
    (x, y), eyes = places(), marks[0, 36:48]
    hair, height = crown(marks), eyes[:, 1].mean()
    arms = ((y - height).abs() < 0.012) & ~hair & ((x < eyes[0, 0] - 0.02) | (x > eyes[9, 0] + 0.02))
    worn = arms
    for first in (0, 6) if lenses else ():
        middle = eyes[first : first + 6].mean(0)
        worn = worn | (((x - middle[0]).abs() < 0.09) & ((y - middle[1]).abs() < 0.05) & ~hair)
    picture = painted((DARK, hair | worn))
    found = fringe(picture, marks, known(picture, hair, marks))[0, 0]
    clear = worn & (x > marks[0, 0, 0] + 0.01) & (x < marks[0, 16, 0] - 0.01)  # of the hair's own edge
    assert clear.sum() > 200 and found[clear].max() < 0.1
