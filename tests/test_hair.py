"""Hair: what is found, how it turns grey, and that what is no hair stays."""

import numpy as np
import pytest
import torch

from ganime_age.networks.hair import growing
from ganime_age.networks.hair.beard import Beard, beard_region, shave, upper_lip
from ganime_age.networks.hair.filters import box, square_around
from ganime_age.networks.hair.finding import Place, hanging_together, refined
from ganime_age.networks.hair.on_head import Head, unnatural
from ganime_age.networks.hair.sideburns import sideburns
from ganime_age.networks.hair.strands import directions
from ganime_age.networks.layers import luma, resize
from ganime_age.networks.prototypes import KNOTS, Prototypes
from ganime_age.networks.warp import sideways
from helpers.ring import RING, edit, ring_prototypes


@pytest.fixture
def prototypes():
    return ring_prototypes()


def head(side: int = 128) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A light face among dark brown vertical strands, 2 pixels each, some brighter than others: the picture
    (1,3,side,side), where it is hair (side,side) bool, and landmarks (1,68,2)."""
    torch.manual_seed(3)
    light = torch.rand(1, 1, 1, side // 2).repeat_interleave(2, 3).expand(-1, -1, side, -1) * 0.3
    hair = torch.tensor([-0.6, -0.7, -0.8])[None, :, None, None] + light
    line = (torch.arange(side) + 0.5) / side
    away = ((line - 0.5)[None] / 0.2).square() + ((line - 0.55)[:, None] / 0.25).square()
    marks = torch.stack([0.5 + 0.2 * RING.cos(), 0.55 + 0.25 * RING.sin()], 1)
    marks[0], marks[16], marks[30] = (
        torch.tensor([0.3, 0.5]),
        torch.tensor([0.7, 0.5]),
        torch.tensor([0.5, 0.55]),
    )
    picture = torch.where(away < 1, torch.tensor([0.6, 0.2, 0.0])[None, :, None, None], hair)
    return picture, away > 1.2, marks[None]


def test_old_hair_is_light_and_grey_and_the_skin_beside_it_is_not(prototypes, monkeypatch):
    prototypes.age_hair[-4:, 0], prototypes.age_hair[-4:, 1] = 0.7, -3.0
    given, hair, marks = head()
    assert torch.allclose(
        edit(prototypes, given, age=(20.0, 95.0), marks=marks), given, atol=1e-4
    )  # untrained
    monkeypatch.setattr(prototypes.hair, "forward", lambda *_: hair[None, None].float())
    grey = edit(prototypes, given, age=(20.0, 95.0), marks=marks)
    inner = torch.zeros_like(hair)  # away from the frame's border, where less and less changes
    inner[32:96, 16:112] = hair[32:96, 16:112]
    spread = lambda x: ((x.amax(1) - x.amin(1)) / (luma(x)[:, 0] + 1))[0, inner].mean()  # noqa: E731
    lighter = (luma(grey) - luma(given))[0, 0]
    assert lighter[inner].mean() > 0.2 and spread(grey) < 0.4 * spread(given)
    assert lighter[44:96, 50:78].abs().max() < 0.02  # the face
    smiling = edit(prototypes, given, unit=4.0, marks=marks)
    assert torch.allclose(smiling, given, atol=1e-5)  # expressions leave hair alone


def grown(prototypes, age, rows=slice(None)):
    """By how much each pixel of `head` grew lighter (128,128) from 25 years to `age`; hair is where rows says."""
    prototypes.age_hair.copy_(torch.linspace(0, 1, KNOTS)[:, None] * torch.tensor([0.6, -0.6]))
    given, hair, marks = head()
    mask = torch.zeros(1, 1, 128, 128)
    mask[0, 0, rows] = hair[rows].float()
    older = prototypes.grow_hair(given, mask, marks, (torch.tensor([25.0]), torch.tensor([age])))
    return older, (luma(older) - luma(given))[0, 0]


def test_thin_hair_on_skin_keeps_its_colour(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head()
    thin = torch.where(hair, 0.2, 0.0)[None, None]
    thin[..., 64:, :] *= 5
    skin = torch.tensor([0.6, 0.2, 0.0])[None, :, None, None]
    given = torch.where(hair, skin + thin * (given - skin), given)
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = prototypes.grow_hair(given, thin, marks, ages)
    assert torch.equal(older[..., :64, :], given[..., :64, :])
    assert (luma(older) - luma(given))[..., 64:96, :].amax() > 0.2


def test_grey_grows_strand_by_strand_and_more_strands_turn_with_age(prototypes):
    given, hair, _ = head()
    pictures, rises = zip(*(grown(prototypes, age) for age in (45.0, 60.0, 90.0)), strict=True)
    shares = [(rise[hair] > 0.15).float().mean().item() for rise in rises]
    assert shares[0] < shares[1] < shares[2] and 0.05 < shares[1] < 0.95  # some strands turn before others
    before = luma(given)[0, 0, hair].std()
    assert luma(pictures[1])[0, 0, hair].std() > 1.3 * before  # no veil: white strands between dark ones
    assert (rises[1][rises[0] > 0.15] > 0.15).all()  # what has turned stays turned


def younger(prototypes, colour, ages, skin=(0.6, 0.2, 0.0)):
    """The picture `head` with hair of a colour, from the first to the second of two ages; mean colours of its hair, in
    brightness above black, before and after; and where it is hair, away from the border."""
    # Hair is as bright at 25 years as at 0, and greys from there.
    prototypes.age_hair[:, 0] = (torch.linspace(-0.8, 1, KNOTS)).clamp_min(0)
    given, hair, marks = head()
    strands = luma(given) - luma(given)[0, 0, hair].mean()
    picture = torch.tensor(colour)[None, :, None, None] + strands
    picture = torch.where(hair, picture, torch.tensor(skin)[None, :, None, None])
    asked = tuple(torch.tensor([age]) for age in ages)
    back = prototypes.grow_hair(picture, hair[None, None].float(), marks, asked)
    inner = torch.zeros_like(hair)
    inner[34:94, 34:94] = hair[34:94, 34:94]
    assert torch.equal(back[..., ~hair], picture[..., ~hair])
    return [one[0, :, inner] + 1 for one in (picture, back)]


def test_white_hair_gets_brown_on_the_way_to_a_younger_age_and_keeps_its_strands(prototypes):
    white, brown = younger(prototypes, (0.35, 0.3, 0.22), (80.0, 25.0))
    red, green, blue = brown.mean(1)
    assert red > 1.15 * green > 1.3 * blue and brown.mean() < 0.5 * white.mean()
    relative = [one.mean(0).std() / one.mean() for one in (white, brown)]
    assert relative[1] > 0.7 * relative[0]
    _, halfway = younger(prototypes, (0.35, 0.3, 0.22), (80.0, 60.0))
    assert brown.mean() < halfway.mean() < white.mean()
    _, child = younger(prototypes, (0.35, 0.3, 0.22), (80.0, 8.0))
    assert child.mean() < 0.5 * white.mean()


@pytest.mark.parametrize("colour", [(-0.75, -0.77, -0.8), (0.4, 0.1, -0.3)], ids=["black hair", "blond hair"])
def test_hair_that_has_its_pigment_keeps_its_colour_on_the_way_back(prototypes, colour):
    before, after = (one.mean(1) for one in younger(prototypes, colour, (80.0, 25.0)))
    assert torch.allclose(before / before.sum(), after / after.sum(), atol=0.03)


def test_what_is_white_on_young_or_overexposed_hair_is_light(prototypes):
    for ages in ((30.0, 20.0), (39.0, 8.0)):
        before, after = (one.mean(1) for one in younger(prototypes, (0.35, 0.3, 0.22), ages))
        assert torch.allclose(before / before.sum(), after / after.sum(), atol=0.01)
    before, after = younger(prototypes, (1.0, 0.99, 0.97), (80.0, 25.0))
    assert after.mean() > 0.9 * before.mean()


def test_a_photo_without_colour_does_not_tell_what_is_white(prototypes):
    before, after = younger(prototypes, (0.3, 0.3, 0.3), (80.0, 25.0), skin=(0.3, 0.3, 0.3))
    assert torch.allclose(after.amax(0), after.amin(0), atol=1e-5)  # and gets none


def test_roots_turn_before_lengths_and_what_is_no_hair_stays_exactly(prototypes):
    older, rise = grown(prototypes, 55.0, rows=slice(30, None))
    assert torch.equal(older[..., :30, :], head()[0][..., :30, :])
    temples, lengths = rise[54:68, 18:36].mean(), rise[100:128, :20].mean()
    assert temples > 1.3 * lengths > 0


def test_flat_black_hair_turns_grey_in_strands_that_run_along_it(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([1.4, -3.0])
    given, hair, marks = head()
    given[:, :, hair] = torch.tensor([-0.85, -0.86, -0.87])[None, :, None]  # as black as a photo shows it
    mask, ages = hair[None, None].float(), (torch.tensor([20.0]), torch.tensor([95.0]))
    older = prototypes.grow_hair(given, mask, marks, ages)
    light = luma(older)[0, 0, 40:96, 4:30]  # beside the face, away from the head's outline
    assert light.mean() > -0.5 and light.std() > 0.03
    across, along = light.diff(dim=1).abs().mean(), light.diff(dim=0).abs().mean()
    assert across > 1.3 * along  # nothing in the photo tells otherwise, so it hangs down
    assert torch.equal(older, prototypes.grow_hair(given, mask, marks, ages))


def test_a_hairline_is_as_thin_as_a_large_picture_shows_it():
    """Ten dark pixels on a forehead would look like a fringe that was left out."""
    given, hair, marks = head(256)
    known = Head.of(resize(given, 128), hair[None, None].float(), marks, growing.REACH_FADE)
    whole = hair[None, None].float()
    turns = growing.soft_hairline(whole, known, torch.zeros_like(whole))[0, 0]
    last = max(row for row in range(128) if hair[row, 128])
    assert turns[last, 128] < 0.5 and turns[:last, 128].min() > 0.99


def test_hair_turns_ever_less_towards_the_face_but_not_towards_what_lies_behind():
    given, hair, marks = head(256)
    known = Head.of(resize(given, 128), hair[None, None].float(), marks, growing.REACH_FADE)
    beard = torch.zeros_like(known.hair)
    turns = growing.soft_hairline(known.hair, known, beard)[0, 0]
    inner = [row for row in range(64) if known.hair[0, 0, row, 64] > 0.9]
    edge, deep = turns[inner[-1], 64], turns[inner[len(inner) // 2], 64]
    assert edge < 0.7 < 0.99 < deep, "a line of grey on a forehead looks like a wig"
    assert turns[inner[-3], 64] > 0.99, "a dark strip on a forehead looks like a fringe that was left out"
    assert turns[:, 2].min() > 0.99, "a dark rim would be left before a bright wall"
    beard[..., 90:93, 50:78] = 1.0  # a narrow moustache
    turns = growing.soft_hairline(torch.maximum(known.hair, beard), known, beard)[0, 0]
    assert turns[90:93, 50:78].min() > 0.99, "beards turn as a whole"


def test_where_hair_fades_out_on_the_face_it_turns_ever_less():
    """Along a soft hairline skin turned to a pale line."""
    given, hair, marks = head(256)
    known = Head.of(resize(given, 128), hair[None, None].float(), marks, growing.REACH_FADE)
    last = max(row for row in range(128) if hair[row, 128])
    rows = (torch.arange(256.0) - last)[:, None].expand(256, 256)
    for wide in (4.0, 8.0):
        fading = (1 - rows / wide).clamp(0, 1)[None, None]
        turns = growing.soft_hairline(fading, known, torch.zeros_like(fading))[0, 0, :, 128]
        outwards = turns[last - 4 : last + 9]
        assert outwards.diff().max() < 0.2 and outwards[0] > 0.99
        assert turns[fading[0, 0, :, 128] < 0.35][: int(wide)].max() < 0.01


def test_tips_that_hang_into_a_face_turn_whole():
    """Above a grey head's forehead a brown fringe looks forgotten."""
    given, hair, marks = head(256)
    last = max(row for row in range(128) if hair[row, 128])
    whole = hair[None, None].float()
    whole[..., last : last + 12, 126:130] = 1.0
    whole[..., last : last + 12, 112:116] = 0.7  # in part skin
    whole[..., last : last + 12, 140:144] = 0.3  # more skin than hair
    known = Head.of(resize(given, 128), whole, marks, growing.REACH_FADE)
    turns = growing.soft_hairline(whole, known, torch.zeros_like(whole))[0, 0, last + 4 : last + 10]
    assert turns[:, 126:130].min() > 0.99 and turns[:, 112:116].min() > 0.99
    assert turns[:, 140:144].max() < 0.01, "skin would turn pale"


def test_strands_show_up_to_the_outline_of_the_hair(prototypes):
    """Hair in the light, of which a matte is less sure, was one even grey there, as if painted on."""
    prototypes.age_hair.copy_(torch.linspace(0, 1, KNOTS)[:, None] * torch.tensor([1.2, -0.6]))
    given, hair, marks = head(256)
    strands = -0.7 + 0.12 * torch.sin(torch.arange(256) * 1.3)[:, None].expand(256, 256)  # they lie across
    share, lit = hair.float(), strands.clone()
    share[:, :60], share[:, 60:76], lit[:, 60:76] = 0.0, 0.75, strands[:, 60:76] + 0.25
    given = torch.where(hair, torch.where(share > 0, lit, torch.tensor(0.8)), given)
    ages = torch.tensor([25.0]), torch.tensor([90.0])
    grey = luma(prototypes.grow_hair(given, share[None, None], marks, ages))[0, 0]
    edge, inner = (grey[36:62, part].std(0).mean() for part in (slice(63, 73), slice(90, 110)))
    assert grey[36:62, 90:110].mean() > -0.4 and edge > 0.6 * inner, (edge, inner)


def test_a_red_wall_behind_the_outline_of_grey_hair_stays_red(prototypes):
    prototypes.age_hair.copy_(torch.linspace(0, 1, KNOTS)[:, None] * torch.tensor([1.2, -3.0]))
    given, hair, marks = head(256)
    share = hair.float()
    share[:, :60], share[:, 60:76] = 0.0, 0.7
    wall, black = (torch.tensor(c)[None, :, None, None] for c in ((0.6, -0.6, -0.6), (-0.7, -0.72, -0.74)))
    given = torch.where(hair, share * black + (1 - share) * wall, given)
    older = prototypes.grow_hair(
        given, share[None, None], marks, (torch.tensor([25.0]), torch.tensor([90.0]))
    )
    before, after = ((x[0, 0] - x[0, 2])[36:62, 63:73].mean() for x in (given, older))
    assert luma(older - given)[0, 0, 36:62, 63:73].mean() > 0.1 and after > 0.55 * before


def test_temples_turn_grey_before_the_crown_and_lengths_hardly_later():
    given, hair, marks = head()
    known = Head.of(given, hair[None, None].float(), marks, growing.REACH_FADE)
    place = known.place[0, 0]
    temple, crown, lengths = place[58, 32], place[24, 64], place[122, 20]
    assert temple > crown + 0.25 and crown > lengths > crown - 0.7


@pytest.mark.parametrize("brown", [-0.7, -0.3])
def test_hair_grows_ever_greyer(prototypes, brown):
    given, hair, marks = head()
    given[:, :, hair] = torch.tensor([brown, brown - 0.05, brown - 0.1])[None, :, None]
    mask, source = hair[None, None].float(), torch.tensor([30.0])
    prototypes.age_hair[:, 0] = torch.linspace(-0.2, 0.9, len(prototypes.age_hair))
    light = [
        luma(prototypes.grow_hair(given, mask, marks, (source, torch.tensor([age]))))[0, 0, hair].mean()
        for age in (50.0, 60.0, 70.0, 80.0, 90.0)
    ]
    assert all(later > sooner + 0.005 for sooner, later in zip(light, light[1:], strict=False))


def test_strands_are_drawn_at_the_outline_where_skin_shows_through(monkeypatch):
    _, _, marks = head()
    rows, columns = (torch.arange(256).view(shape).expand(256, 256) for shape in ((-1, 1), (1, -1)))
    fringe = (rows >= 60) & (rows < 90)
    hair = torch.where(rows < 60, 1.0, torch.where(fringe, 0.45, 0.0))[None, None]
    dark, skin = (torch.tensor(c)[None, :, None, None] for c in ((-0.85, -0.88, -0.9), (0.6, 0.2, 0.0)))
    picture = torch.where((rows < 60) | (fringe & (columns % 8 < 4)), dark, skin).expand(1, 3, 256, 256)
    known = Head.of(resize(picture, 128), hair, marks, growing.REACH_FADE)
    strands = growing.strands_of(picture, hair, known)
    assert strands.cut(picture).shape == strands.rise.shape[:1] + (3, 256, 256)
    drawn = growing.STRANDS[0]
    monkeypatch.setattr(growing, "STRANDS", (0.0, 0.0))
    fringe = np.s_[0, 0, 66:86, 64:192]  # along the strands of the fringe
    undrawn = growing.strands_of(picture, hair, known)
    assert (strands.rise - undrawn.rise)[fringe].std(0).mean() > 0.1 * drawn
    assert undrawn.rise[fringe].min() >= 0 < strands.rise[fringe].mean()


def test_strands_differ_less_where_a_face_is_too_small_to_tell_them_apart():
    picture, hair, marks = head(256)
    known = Head.of(resize(picture, 128), hair[None, None].float(), marks, growing.REACH_FADE)
    assert known.half == pytest.approx(0.2 * 256), (
        "in the picture's own pixels, whatever is looked at is reduced to"
    )
    large, small = (known._replace(half=torch.full((1, 1, 1, 1), half)) for half in (200.0, 40.0))
    even = torch.where(hair, torch.tensor(-0.8), picture)  # no strands of its own
    found = []
    for one in (large, small):
        strands = growing.strands_of(even, hair[None, None].float(), one)
        lighter, colour = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, 1, 1, 1)
        changed = luma(growing.turn_grey(even, one, strands, lighter, colour) - even)
        found.append(changed[0, 0][hair].std())
    assert found[1] < 0.9 * found[0]


def test_a_grown_head_knows_how_large_its_face_is():
    picture, hair, marks = head(256)
    older, fade = torch.tensor([True]), growing.REACH_FADE
    grown = growing.Growth.of(picture, hair[None, None].float(), marks, older, fade)
    assert grown.head.half == pytest.approx(0.2 * 256)


def turned(detail):
    """A head with black hair that has this detail (H,W), in units of [-1,1], once it is grey."""
    given, hair, marks = head(256)
    given = torch.where(hair, -0.9 + detail, given)
    known = Head.of(resize(given, 128), hair[None, None].float(), marks, growing.REACH_FADE)
    strands = growing.strands_of(given, hair[None, None].float(), known)
    lighter, colour = torch.full((1, 1, 1, 1), 0.8), torch.full((1, 1, 1, 1), -1.0)
    return luma(growing.turn_grey(given, known, strands, lighter, colour))[0, 0]


def test_what_compression_leaves_in_black_hair_is_no_strand(monkeypatch):
    monkeypatch.setattr(growing, "brushed", lambda light, *_: torch.zeros_like(light))  # nothing is drawn
    lines = torch.sin(torch.arange(256) * 1.3)[:, None].expand(256, 256)
    plain, noisy, strands = (turned(lines * size) for size in (0.0, 0.01, 0.1))
    inner = np.s_[38:60, 90:170]
    noise, shown = (((x - plain)[inner]).std() for x in (noisy, strands))
    assert noise < 0.01, "no more than in black hair"
    assert shown > 2 * 0.1, "strands are told apart"


def test_a_line_that_sharpening_left_along_the_outline_of_hair_is_not_drawn(monkeypatch):
    monkeypatch.setattr(growing, "brushed", lambda light, *_: torch.zeros_like(light))
    _, hair, _ = head(256)
    outline = hair & (box(hair[None, None].float(), 2)[0, 0] < 0.9)
    plain = turned(torch.zeros(256, 256))
    sharpened = turned(torch.where(outline, -0.05, 0.05 * hair.float()))
    line = outline[150:220, 20:236]
    assert line.sum() > 100
    gap = (sharpened - plain)[150:220, 20:236]
    assert gap[~line].mean() - gap[line].mean() < 0.11, "no darker than in the photo, where it is .1"


def test_skin_that_a_matte_takes_for_hair_turns_to_no_bright_line_along_the_face(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head(256)
    line = (torch.arange(256) + 0.5) / 256
    away = ((line - 0.5)[None] / 0.2).square() + ((line - 0.55)[:, None] / 0.25).square()
    over = (away < 1) & (away > 0.96)  # a pixel of skin beside the hair
    taken = (hair | (away > 0.96))[None, None].float()
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = luma(prototypes.grow_hair(given, taken, marks, ages))[0, 0]
    beside = hair & (away < 1.6)
    rows = slice(120, 180)
    assert (
        older[rows][over[rows]].mean()
        < max(older[rows][beside[rows]].mean(), luma(given)[0, 0, 140, 128]) + 0.03
    )


@pytest.mark.parametrize("strands", [True, False], ids=["gloss", "cloth"])
def test_light_on_dark_strands_turns_grey_and_grey_cloth_stays(prototypes, strands):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head(256)
    torch.manual_seed(0)
    shine = -0.2 + (0.6 * torch.rand(1, 1, 1, 96) - 0.3) * float(strands)  # colourless, bright in the mean
    given[:, :, 30:70, 80:176] = shine
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = prototypes.grow_hair(given, hair[None, None].float(), marks, ages)
    rise = (luma(older) - luma(given))[0, 0, 38:62, 90:166].mean()
    assert rise > 0.1 if strands else rise < 0.03


def test_strands_run_as_the_hair_of_the_photo_does():
    side = 128
    line = torch.arange(side) / side
    for turn in (0.0, 0.5, 1.2):  # radians by which strands are turned from upright
        wave = 25 * (line[None] * np.cos(turn) + line[:, None] * np.sin(turn))
        light = (0.3 * torch.sin(2 * torch.pi * wave))[None, None]
        found = directions(light, torch.ones_like(light))[0][0].permute(1, 2, 0)[20:-20, 20:-20]
        upright = torch.tensor([-np.sin(turn), np.cos(turn)], dtype=torch.float32)
        assert (found @ upright).abs().mean() > 0.97
        assert torch.allclose(found.norm(dim=-1), torch.ones(()), atol=0.05)


@pytest.mark.parametrize("night", [True, False], ids=["night", "day"])
def test_far_from_the_head_black_beside_black_is_no_hair(prototypes, night):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    _, _, marks = head()
    given = torch.full((1, 3, 128, 128), -0.95)
    if not night:
        given[..., 104:] = 0.5
    given[..., 34:102, 44:84] = 0.3  # the face
    taken = torch.zeros(1, 1, 128, 128)
    taken[..., 20:110, 16:104] = 1.0
    taken[..., 34:102, 44:84] = 0.0
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    change = (prototypes.grow_hair(given, taken, marks, ages) - given).abs().mean(1)[0]
    assert change[60:80, 34:40].mean() > 0.1, "hair beside the face"
    far = change[104:109, 98:103].mean()
    assert far < 0.02 if night else far > 0.05


def test_an_ear_within_hair_stays_skin(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head()
    # Where the left ear lies, a little beyond the face; the network calls it hair.
    given[:, :, 60:78, 29:37] = given[0, :, 70, 64].clone()[None, :, None, None]
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = prototypes.grow_hair(given, hair[None, None].float(), marks, ages)
    change = (older - given).abs().mean(1)[0]
    assert change[63:75, 31:35].max() < 0.03 and change[84:94, 24:32].mean() > 0.1


def test_bright_red_hair_beside_a_face_is_no_ear(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head()
    lit = hair.clone()
    lit[:, :29], lit[:60], lit[78:], lit[:, 37:] = False, False, False, False
    given = torch.where(lit, torch.tensor([1.0, -0.1, -0.9])[None, :, None, None], given)
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    change = (prototypes.grow_hair(given, hair[None, None].float(), marks, ages) - given).abs().mean(1)[0]
    assert change[lit].mean() > 0.1


def cropped(ear: bool = True) -> tuple[torch.Tensor, torch.Tensor, Head]:
    """A face (1,3,256,256) with dark hair above its ears, which a sideburn continues on its left side and the arm of
    glasses on its right one; landmarks; and what is known of the head. ear: whether skin is seen beside them."""
    rows, columns = (torch.arange(256).view(shape).expand(256, 256) for shape in ((-1, 1), (1, -1)))
    skin, dark = (torch.tensor(c)[:, None, None] for c in ((0.6, 0.2, 0.0), (-0.8, -0.85, -0.9)))
    hair = (rows < 118) | ((columns >= 180) & (rows < 170))
    burn = (columns >= 74) & (columns < 84) & (rows < 160)
    arm = (columns >= 168) & (columns < 196) & (rows >= 124) & (rows < 128)
    left = (columns < 74) & (rows >= 118)
    picture = torch.where(hair | burn | arm | (left if not ear else burn), dark, skin)[None]
    marks = head()[2]
    return picture, marks, Head.of(resize(picture, 128), resize(hair[None, None].float(), 128), marks)


def test_a_sideburn_is_found_below_the_hair_and_the_arm_of_glasses_is_none():
    picture, marks, known = cropped()
    found = sideburns(picture, marks, known)[0, 0]
    assert found[130:150, 76:82].min() > 0.9
    assert found[124:128, 168:179].max() < 0.1 and found[130:150, 90:160].max() < 0.01


def test_the_shaded_side_of_a_face_before_a_dark_background_is_no_sideburn():
    assert sideburns(*cropped(ear=False))[..., 121:, :160].max() < 0.1, "below the hair"


def test_a_head_that_is_turned_aside_tells_nothing_of_sideburns():
    picture, marks, known = cropped()
    turned = marks.clone()
    turned[0, 2], turned[0, 14], turned[0, 30, 0] = marks[0, 0], marks[0, 16], 0.66
    assert sideways(turned) > 0.55 and sideburns(picture, turned, known).max() < 0.01


@pytest.mark.parametrize("strands, colour, shorn", [
    (0.0, (0.5, 0.15, 0.0), True),
    (0.5, (0.5, 0.15, 0.0), False),
    (0.0, (-0.1, -0.31, -0.41), False),
    (0.0, (0.3, 0.25, 0.2), False),
    (0.0, (0.6, 0.2, 0.0), True),
], ids=["shaven", "blond", "darker", "paler", "of the face's colour"])  # fmt: skip
def test_a_shaven_head_gets_no_white_cap(prototypes, strands, colour, shorn):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    _, hair, marks = head(256)
    torch.manual_seed(2)
    shade = 1 + strands * (torch.rand(1, 1, 1, 128) - 0.5).repeat_interleave(2, 3)
    skin, top = (torch.tensor(c)[None, :, None, None] for c in ((0.6, 0.2, 0.0), colour))
    given = torch.where(hair, (top + 1) * shade - 1, skin.expand(1, 3, 256, 256))
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    change = (prototypes.grow_hair(given, hair[None, None].float(), marks, ages) - given).abs().mean(1)[0]
    seen = change[60:120, 40:70].mean()
    assert seen < 1e-3 if shorn else seen > 0.02


def test_skin_that_shows_between_the_strands_of_a_fringe_is_no_hair():
    skin, dark = (torch.tensor(c)[None, :, None, None] for c in ((0.6, 0.2, 0.0), (-0.8, -0.85, -0.9)))
    line = torch.arange(256)
    strand = (line[None] % 16 < 6) | (line[:, None] < 100)  # a fringe from row 100 to row 130
    hair = (strand & (line[:, None] < 130))[None, None]
    picture = torch.where(hair, dark, skin).expand(1, 3, 256, 256)
    # As a network sees it: less and less hair from row 104 to row 136.
    coarse = ((68 - torch.arange(128.0)) / 16).clamp(0, 1)[None, None, :, None].expand(1, 1, 128, 128)
    matte = refined(coarse, picture)
    fringe = torch.zeros(256, 256, dtype=torch.bool)
    fringe[112:124, 32:-32] = True
    between, strands = (matte[0, 0][fringe & one].mean() for one in (~hair[0, 0], hair[0, 0]))
    assert between < 0.2 and strands > 0.8 and matte[..., :90, 32:-32].min() > 0.95


def test_gloss_away_from_the_outline_is_hair_although_it_looks_like_skin_that_shows_through():
    skin, brown = (torch.tensor(c)[None, :, None, None] for c in ((0.6, 0.2, 0.0), (-0.6, -0.7, -0.8)))
    line = torch.arange(256)[None, None, :, None]
    picture = torch.where(line < 150, brown, skin).expand(1, 3, 256, 256)
    picture = torch.where((line >= 60) & (line < 80), brown + 0.4 * (skin - brown), picture)
    coarse = ((80 - torch.arange(128.0)) / 8).clamp(0, 1)[None, None, :, None].expand(1, 1, 128, 128).clone()
    coarse[:, :, 30:40] *= 0.65  # of the gloss the network is less sure
    assert refined(coarse, picture)[:, :, 63:77].min() > 0.95


def test_hair_that_hangs_over_the_chin_is_no_shadow_and_rosy_cheeks_leave_it_alone(model):
    marks = model.prototypes.mean_shape[None].clone()
    where, ones = beard_region(marks, 128), torch.ones(1, 1, 1, 1)
    inside = (where > 0.99).expand(1, 3, -1, -1)
    rosy = torch.tensor([0.5, 0.1, 0.0])[None, :, None, None].expand(1, 3, 128, 128)
    rosy = rosy + where * (torch.tensor([0.55, 0.25, 0.15])[None, :, None, None] - rosy)
    assert (shave(rosy, Beard.of(rosy, marks), ones) - rosy)[inside].abs().max() < 0.02
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None].expand(1, 3, 128, 128)
    blue = skin + where * (torch.tensor([0.15, 0.1, 0.08])[None, :, None, None] - skin)
    fade, older = growing.REACH_FADE, torch.tensor([False])
    under = growing.Growth.of(blue, (where > 0).float(), marks, older, fade).beard
    assert under.shadow.abs().max() < 0.05 and Beard.of(blue, marks).shadow.abs().max() > 0.2


def test_the_shadow_of_a_shaven_beard_goes_and_shade_stays(model):
    marks = model.prototypes.mean_shape[None].clone()
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None].expand(1, 3, 128, 128)
    where = beard_region(marks, 128)
    inside, amount = (where > 0.99).expand_as(skin), torch.ones(1, 1, 1, 1)
    blue = skin + where * (torch.tensor([0.15, 0.1, 0.08])[None, :, None, None] - skin)
    bare = shave(blue, Beard.of(blue, marks), amount)
    left, before = ((one - skin)[inside].abs().mean() for one in (bare, blue))
    tints = [one - luma(one) for one in (bare, blue, skin)]
    tint_left, tint_before = ((one - tints[2])[inside].abs().mean() for one in tints[:2])
    assert left < 0.7 * before and tint_left < 0.3 * tint_before
    shade = (skin + 1) * (1 - 0.2 * where) - 1  # darker, as warm
    assert (shave(shade, Beard.of(shade, marks), amount) - shade)[inside].abs().max() < 0.02
    grey = luma(blue).expand_as(blue)  # a photo without colour does not tell
    assert (shave(grey, Beard.of(grey, marks), amount) - grey)[inside].abs().max() < 0.02


def test_a_dark_jaw_below_dark_cheeks_is_no_shadow_of_a_shaven_beard(model):
    marks = model.prototypes.mean_shape[None].clone()
    skin, jaw = (torch.tensor(c)[None, :, None, None] for c in ((-0.21, -0.4, -0.48), (-0.39, -0.5, -0.566)))
    where = beard_region(marks, 128)
    dark = skin + where * (jaw - skin)
    assert torch.equal(shave(dark, Beard.of(dark, marks), torch.ones(1, 1, 1, 1)), dark)
    pale = 1.8 * (dark + 1) - 1
    assert Beard.of(pale, marks).shadow.abs().max() > 0.1


def test_a_wall_behind_a_jaw_is_no_white_beard(model):
    marks = model.prototypes.mean_shape[None].clone()
    torch.manual_seed(0)
    whole = resize(beard_region(marks, 128), 256)
    rim = whole * (1 - resize(beard_region(marks, 128, jaw=0.82), 256))
    skin = torch.tensor([-0.2, -0.4, -0.5])[None, :, None, None] + 0.02 * torch.randn(1, 3, 256, 256)
    white = 0.6 + 0.2 * torch.randn(1, 1, 256, 256)
    wall, beard = (Beard.of((skin + w * (white - skin)).clamp(-1, 1), marks) for w in (rim, whole))
    assert wall.white.max() == 0 and wall.stubble.max() == 0
    assert beard.white[whole > 0.99].mean() > 0.8


def test_a_dense_moustache_goes_alone_and_a_shaven_chin_stays(model):
    marks = model.prototypes.mean_shape[None].clone()
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None].expand(1, 3, 128, 128)
    lip = upper_lip(marks, 128)
    worn = skin + lip * (torch.full_like(skin, -0.9) - skin)
    beard, nothing = Beard.of(worn, marks), Beard.of(skin, marks)
    assert beard.lip.max() == 1 and nothing.lip.max() == 0
    bare = shave(worn, beard, torch.ones(1, 1, 1, 1))
    inside = (lip > 0.99).expand_as(bare)
    assert (bare - skin)[inside].abs().mean() < 0.15 * (worn - skin)[inside].abs().mean()
    chin = int(128 * marks[0, 8, 1]) - 6
    assert torch.allclose(bare[:, :, chin:], worn[:, :, chin:], atol=1e-4)


@pytest.mark.parametrize("ages", [(20.0, 95.0), (95.0, 20.0)])
def test_less_and_less_hair_changes_towards_the_frames_border(prototypes, ages):
    prototypes.age_hair.copy_(torch.linspace(0, 1, KNOTS)[:, None] * torch.tensor([0.7, -3.0]))
    given, hair, marks = head()
    if ages[0] > ages[1]:  # white hair has pigment to get back
        given = torch.where(hair, luma(given) + 0.9, given)
    there = torch.ones(1, 1, 128, 128)
    changed = prototypes.grow_hair(given, there, marks, tuple(torch.tensor([years]) for years in ages))
    by = (changed - given).abs().mean((0, 1))
    rings = [by[at, 44:84].mean() for at in (2, slice(6, 10), slice(14, 18), slice(24, 28))]  # above the face
    assert rings[0] == 0 and rings[0] < rings[1] < rings[2] < rings[3]
    assert all((side[:3] == 0).all() for side in (by, by.flip(0), by.T, by.T.flip(0)))


def test_a_beard_is_seen_by_its_darkness_and_gives_way_to_the_cheeks_colour(model):
    marks = model.prototypes.mean_shape[None].clone()
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None].expand(1, 3, 128, 128)
    where = beard_region(marks, 128)
    assert where[0, 0, 64, 64] == 0 and 0.02 < where.mean() < 0.2
    bearded = skin + where * (torch.full_like(skin, -0.7) - skin)
    assert Beard.of(skin, marks).share.max() == 0
    beard = Beard.of(bearded, marks)
    assert beard.share[where > 0.99].mean() > 0.8 and beard.share[where == 0].max() < 0.4
    bare = shave(bearded, beard, torch.ones(1, 1, 1, 1))
    inside = (where > 0.99).expand_as(bare)
    assert (bare - skin)[inside].abs().mean() < 0.25 * (bearded - skin)[inside].abs().mean()
    assert torch.equal(bare[:, :, :60], bearded[:, :, :60])


def test_where_stubble_goes_the_shade_of_the_faces_form_stays(model):
    marks = model.prototypes.mean_shape[None].clone()
    torch.manual_seed(0)
    where, skin = resize(beard_region(marks, 128), 256), torch.tensor([0.5, 0.2, 0.0])[None, :, None, None]
    skin = (skin + 0.02 * torch.randn(1, 3, 256, 256)).clamp(-1, 1)
    left = []
    for dark in (0.7, 0.35):  # stubble, and a dense beard
        worn = ((skin + 1) * (1 - where * (1 - dark + 0.15 * torch.randn(1, 1, 256, 256))) - 1).clamp(-1, 1)
        bare = shave(worn, Beard.of(worn, marks), torch.ones(1, 1, 1, 1))
        left.append((((luma(bare) + 1) / (luma(skin) + 1))[where > 0.99]).mean().item())
    assert 0.75 < left[0] < 0.9 < left[1] < 1


def test_a_chin_in_the_shade_is_no_beard_and_a_profile_keeps_its_own(model):
    marks = model.prototypes.mean_shape[None].clone()
    torch.manual_seed(0)
    pores = 1 + 0.03 * torch.randn(1, 1, 256, 256)
    line = (torch.arange(256) + 0.5) / 256
    shade = ((line - 0.55) / 0.1).clamp(0, 1)[
        None, None, :, None
    ]  # darker and darker from the nose to the chin
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None].expand(1, 3, 256, 256)
    smooth = (skin + shade * (torch.full_like(skin, -0.6) - skin) + 1) * pores - 1
    rough = smooth + shade * 0.25 * torch.randn(1, 1, 256, 256)
    assert Beard.of(smooth, marks).share.max() == 0
    assert Beard.of(rough.clamp(-1, 1), marks).share.max() > 0.8
    lit = line < 0.5  # a lamp at the side: noise in the shade of the other one is no beard
    assert Beard.of(torch.where(lit, skin * pores, rough).clamp(-1, 1), marks).share.max() == 0
    turned = marks.clone()
    # The far side of the jaw is foreshortened.
    turned[:, 9:17, 0] = turned[:, 30:31, 0] + 0.1 * (turned[:, 9:17, 0] - turned[:, 30:31, 0])
    assert sideways(marks).item() < 0.1 and sideways(turned).item() > 0.4
    assert Beard.of(rough.clamp(-1, 1), turned).share.max() < 0.5


def test_a_rough_shade_along_a_jaw_does_not_turn_grey(model):
    marks = model.prototypes.mean_shape[None].clone()
    torch.manual_seed(0)
    whole = resize(beard_region(marks, 128), 256)
    rim = whole * (1 - resize(beard_region(marks, 128, jaw=0.82), 256))
    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None] + 0.02 * torch.randn(1, 3, 256, 256)
    dark = 0.25 * torch.randn(1, 1, 256, 256) - 0.6 - skin
    shade, beard = (Beard.of((skin + where * dark).clamp(-1, 1), marks) for where in (rim, whole))
    assert shade.share.max() < 0.05 and beard.share.max() > 0.8
    assert shade.stubble.max() > 0.5, "on the way to a child it goes"


@pytest.mark.parametrize("cell, bearded", [(8, False), (1, True)], ids=["blocks", "stubble"])
def test_coarse_detail_of_a_chin_in_the_shade_is_no_beard(model, cell, bearded):
    marks = model.prototypes.mean_shape[None].clone()
    torch.manual_seed(0)
    where = resize(beard_region(marks, 128), 512)

    def noise(side: int) -> torch.Tensor:
        return (
            torch.randn(1, 1, side, side).repeat_interleave(512 // side, 2).repeat_interleave(512 // side, 3)
        )

    skin = torch.tensor([0.5, 0.2, 0.0])[None, :, None, None] + 0.02 * noise(64)
    worn = ((skin + 1) * (1 - where * (0.5 + 0.06 * noise(512 // cell))) - 1).clamp(-1, 1)
    found = Beard.of(worn, marks).stubble.max()
    assert found > 0.8 if bearded else found < 0.3


def test_dark_green_is_no_hair_and_black_hair_with_a_green_cast_is():
    cast, cloth = torch.tensor([-0.86, -0.75, -0.71]), torch.tensor([-0.95, -0.75, -0.86])
    shown = [unnatural(colour[None, :, None, None].expand(1, 3, 64, 64)).mean() for colour in (cast, cloth)]
    assert shown[0] < 0.1 and shown[1] > 0.9


def test_the_hair_network_sees_a_frame_at_its_own_scale_however_much_is_shown_around_it():
    asked, prototypes = [], Prototypes(hair={"widths": [4, 8, 8, 8, 8]})
    prototypes.hair.register_forward_pre_hook(lambda module, given: asked.append(given[1:]))
    for frame in (None, Place(0.25, 0.25, 0.5), Place(0.2, 0.2, 0.62), Place(0.4, 0.4, 0.1)):
        assert prototypes.find_hair(torch.zeros(1, 3, 96, 96), frame).shape == (1, 1, 96, 96)
    assert asked == [(128,), (256,), (192,), (320,)]


def test_hair_turns_grey_in_the_part_of_a_picture_that_holds_it_as_in_the_whole(prototypes, monkeypatch):
    prototypes.age_hair[-4:, 0], prototypes.age_hair[-4:, 1] = 0.7, -3.0
    given, hair, marks = head(704)
    matte = hair[None, None].float()
    matte[..., :230], matte[..., 401:], matte[..., 333:, :] = 0, 0, 0
    ages = torch.tensor([30.0]), torch.tensor([95.0])
    shown = given + 0.05 * torch.randn(1, 1, 704, 704)
    part = prototypes.grow_hair(shown, matte, marks, ages)
    assert square_around(matte).rows.diff() < 0.6 * 704 and (part != shown).any()
    monkeypatch.setattr(growing, "square_around", lambda hair: None)
    assert torch.equal(part, prototypes.grow_hair(shown, matte, marks, ages))


def test_hair_beyond_the_frame_belongs_to_the_head_as_far_as_it_hangs_together():
    matte = torch.zeros(1, 1, 128, 128)
    matte[..., 20:60, 40:88] = 0.9
    matte[..., 40:126, 80:90] = 0.8  # a long lock
    matte[..., 100:120, 4:24] = 1.0  # somebody else's
    kept = hanging_together(matte, Place(0.25, 0.25, 0.5))
    assert torch.equal(kept[..., 30:], matte[..., 30:]) and kept[..., 4:24].max() == 0


@pytest.mark.parametrize(
    ("chance", "tie", "gap", "whole"),
    [
        (0.9, 0.35, 10, True),  # in doubt behind the ear
        (0.9, 0.0, 10, True),  # none found there
        (0.5, 0.0, 15, True),  # a ponytail that shows beside the neck
        (0.9, 0.0, 30, False),  # a dark shoulder
        (0.4, 0.0, 10, False),  # hardly hair
    ],
)
def test_hair_that_goes_on_below_an_ear_belongs_to_the_head(chance, tie, gap, whole):
    matte = torch.zeros(1, 1, 128, 128)
    matte[..., 40:66, 80:90] = 0.9  # down to the ear
    matte[..., 66 : 66 + gap, 80:90] = tie
    tail = (..., slice(66 + gap, 124), slice(82, 90))
    matte[tail] = chance
    kept = hanging_together(matte, Place(0.25, 0.25, 0.5))[tail]
    assert torch.equal(kept, matte[tail]) if whole else kept.max() == 0


def test_the_hair_of_a_head_beside_it_does_not():
    matte = torch.zeros(1, 1, 128, 128)
    matte[..., 40:90, 78:90] = 0.9
    matte[..., 40:110, 97:124] = 0.9  # somebody else's, cheek to cheek
    assert hanging_together(matte, Place(0.25, 0.25, 0.5))[..., 97:].max() == 0


@pytest.mark.parametrize(
    ("colour", "hair"),
    [
        ((10, 37, 22), False),  # the shaded underside of a green cap
        ((30, 60, 160), False),
        ((20, 22, 28), True),
        ((70, 80, 105), True),  # the sky on black hair
        ((120, 80, 45), True),
        ((200, 170, 120), True),
        ((150, 60, 30), True),
    ],
)
def test_green_and_deep_blue_are_no_hair(colour, hair):
    picture = (torch.tensor(colour) / 127.5 - 1).view(1, 3, 1, 1).expand(-1, -1, 128, 128)
    assert unnatural(picture).mean().item() == pytest.approx(0.0 if hair else 1.0, abs=0.05)


def test_blue_gloss_is_hair_where_all_hair_has_the_sheen_of_the_sky():
    """A patch of it stayed bright blue in a grey head."""
    picture = torch.empty(1, 3, 128, 128)
    hair = torch.ones(1, 1, 128, 128)
    for colour, left in (((30, 32, 55), 0.05), ((60, 45, 35), 0.9)):
        picture[:] = (torch.tensor(colour) / 127.5 - 1).view(1, 3, 1, 1)
        picture[..., 40:60, 40:60] = (torch.tensor((60, 62, 112)) / 127.5 - 1).view(1, 3, 1, 1)
        assert abs(unnatural(picture, hair)[..., 45:55, 45:55].mean() - left) < 0.11


@pytest.mark.parametrize("colour, rows, hair", [
    ((75, 110, 150), 5, True),
    ((75, 110, 150), 40, False),
    ((30, 60, 160), 5, False),
    ((60, 130, 80), 5, False),
], ids=["a light", "a cap", "a blue clip", "a leaf"])  # fmt: skip
def test_a_small_blue_light_on_hair_is_hair(colour, rows, hair):
    """At a parting one stayed blue in a grey head."""
    picture = (torch.tensor((60.0, 45.0, 35.0)) / 127.5 - 1).view(1, 3, 1, 1).repeat(1, 1, 128, 128)
    picture[..., 40 : 40 + rows, 30:70] = (torch.tensor(colour) / 127.5 - 1).view(1, 3, 1, 1)
    found = unnatural(picture, torch.ones(1, 1, 128, 128))[..., 41 : 39 + rows, 35:65].mean()
    assert found < 0.1 if hair else found > 0.7


@pytest.mark.parametrize("rows", [128, 64])
def test_a_navy_cap_that_was_taken_for_hair_is_none_whatever_lies_beside_it(rows):
    picture = (torch.tensor((60.0, 45.0, 35.0)) / 127.5 - 1).view(1, 3, 1, 1).repeat(1, 1, 128, 128)
    picture[..., :rows, :] = (torch.tensor((30, 40, 95)) / 127.5 - 1).view(1, 3, 1, 1)
    assert unnatural(picture, torch.ones(1, 1, 128, 128))[..., :60, :].mean() > 0.9


def test_the_portraits_crown_turns_grey_and_its_eyes_and_lips_and_the_background_stay(editor, portrait):
    face = editor.read(portrait)[0]  # by the weights that ship
    older = np.asarray(editor.edit(portrait, age=85, parts=["hair"], mark=False).image)
    change = np.abs(older.astype(int) - portrait).mean(2)
    for part in (face.landmarks[36:48], face.landmarks[48:60]):
        (left, top), (right, bottom) = part.min(0).astype(int), part.max(0).astype(int)
        assert change[top:bottom, left:right].max() == 0, "lashes and lips are no hair"
    left, top, right, bottom = face.box.round().astype(int)
    assert (change[top - (bottom - top) // 2 : top, left:right] > 15).mean() > 0.4
    assert change[:, :40].max() == 0


def test_white_hair_has_the_colour_of_the_light_and_is_nearly_grey_in_neutral_light():
    pale, dark = (
        (0.3, 0.0, -0.15),
        (0.01, -0.33, -0.57),
    )  # skin in neutral light, as 8-bit 166 128 108, 129 85 55
    neutral = torch.tensor([pale, dark])[:, :, None, None]
    assert (growing.cast(neutral) - 1).abs().max() < 0.07
    grey = torch.full((1, 3, 1, 1), 0.2)
    assert torch.allclose(growing.cast(grey), torch.ones(1, 3, 1, 1)), "a photo without colour gets none"
    warm, blue = (
        torch.tensor(colour).view(1, 3, 1, 1) for colour in ((0.86, 0.04, -0.54), (-0.1, -0.4, -0.35))
    )
    red_to_blue = [factor[0, 0] / factor[0, 2] for factor in (growing.cast(warm), growing.cast(blue))]
    assert red_to_blue[0] > 1.5 and red_to_blue[1] < 0.97
    assert luma(growing.cast(warm)).item() == pytest.approx(1.0, abs=1e-5)
    flushed = growing.cast(torch.tensor((0.5, -0.2, -0.3)).view(1, 3, 1, 1))
    assert flushed[0, 0] / flushed[0, 1] < 1.08, "the red of the skin itself is none of the hair"


def test_skin_that_shows_between_the_strands_on_a_face_does_not_turn_grey(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([1.4, -3.0])
    given, hair, marks = head()
    given = torch.where(hair, given - 0.35, given).clamp_min(-1)
    taken = torch.where(hair, 1.0, 0.0)[None, None]
    taken[..., 58:66, 44:84] = 1.0  # a stripe of the face that a network takes for hair
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = prototypes.grow_hair(given, taken, marks, ages)
    changed = (older - given).abs().amax(1)[0]
    assert changed[60:64, 50:78].max() < 0.02
    assert changed[64:96, 8:20].mean() > 0.2


def test_hair_of_the_colour_of_skin_turns_grey_on_a_face_too(prototypes):
    prototypes.age_hair[-4:] = torch.tensor([0.7, -3.0])
    given, hair, marks = head()
    fair = torch.where(hair, given + 0.9, given).clamp(-1, 1)
    taken = torch.where(hair, 1.0, 0.0)[None, None]
    taken[..., 58:66, 44:84] = 1.0
    ages = torch.tensor([20.0]), torch.tensor([95.0])
    older = prototypes.grow_hair(fair, taken, marks, ages)
    assert (older - fair).abs().amax(1)[0, 60:64, 50:78].mean() > 0.05
