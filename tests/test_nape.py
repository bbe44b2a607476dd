"""Hair at the nape: what hangs down beside a neck turns with the head's hair, and what only looks like it does not."""

import pytest
import torch

from ganime_age.networks.hair.growing import REACH_FADE, Growth
from ganime_age.networks.hair.nape import nape
from ganime_age.networks.hair.on_head import Head, on_head
from ganime_age.networks.layers import resize

SIDE = 512
SKIN, WALL, DARK, FAIR, RED = (
    (0.5, 0.1, -0.1),
    (0.6, 0.6, 0.6),
    (-0.8, -0.83, -0.86),
    (0.3, 0.0, -0.3),
    (-0.4, -0.95, -0.95),
)


def bust(editor, *things, hair=DARK, wall=WALL, skin=SKIN):
    """A picture (1,3,512,512) of a head of hair on a neck before a wall, with things of a colour in a box of the units
    of `on_head` (left, right, top, bottom); the landmarks, and what is known of the head."""
    marks = 0.25 + 0.5 * editor.model.prototypes.mean_shape.float()[None]  # two frames wide
    x, y = (part[0, 0] for part in on_head(marks, SIDE))
    cap, face = (x.square() + (y / 1.25).square() < 1.3) & (y < -0.3), x.square() + (y / 1.35).square() < 1
    neck = (x.abs() < 0.75) & (y > 0)
    picture = torch.tensor(wall).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    boxes = [(colour, (x > a) & (x < b) & (y > c) & (y < d)) for colour, (a, b, c, d) in things]
    for colour, mask in ((skin, face | neck), (hair, cap), *boxes):
        picture = torch.where(mask, torch.tensor(colour).view(1, 3, 1, 1), picture)
    known = Head.of(resize(picture, 128), cap[None, None].float(), marks)
    return picture, marks, known, [mask for _, mask in boxes]


TAIL, PALE = (0.8, 0.95, 0.9, 1.9), (0.9, 0.7, 0.55)


def test_a_dark_tail_beside_the_neck_is_hair(editor):
    picture, marks, known, (tail,) = bust(editor, (DARK, TAIL))
    found = nape(picture, marks, known)[0, 0]
    assert found[tail].mean() > 0.9 and found[~tail].max() < 0.5 and found[~tail].mean() < 1e-3


@pytest.mark.parametrize("colour, box", [
    (DARK, (0.75, 0.95, 1.5, 1.9)),
    (DARK, (0.75, 1.9, 0.9, 1.9)),
    (RED, TAIL),
    (DARK, (1.08, 1.18, 0.75, 1.15)),
], ids=["a collar", "a wide thing", "a red ribbon", "an earring"])  # fmt: skip
def test_what_only_looks_like_it_is_none(editor, colour, box):
    picture, marks, known, (thing,) = bust(editor, (colour, box))
    assert nape(picture, marks, known)[0, 0][thing].mean() < 0.1


def test_nothing_is_told_of_fair_hair_nor_before_a_dark_wall(editor):
    for how in ({"hair": FAIR}, {"wall": (-0.45, -0.45, -0.45)}):
        picture, marks, known, (tail,) = bust(editor, (DARK, TAIL), **how)
        assert nape(picture, marks, known)[0, 0][tail].mean() < 0.1


def test_a_tail_turns_grey_with_the_head(editor):
    picture, marks, known, (tail,) = bust(editor, (DARK, TAIL))
    ages = torch.tensor([25.0]), torch.tensor([80.0])
    matte = torch.nn.functional.interpolate(known.hair, size=(SIDE, SIDE), mode="bilinear")
    older = editor.model.prototypes.grow_hair(picture, matte, marks, ages)
    assert (older - picture)[0, :, tail].mean() > 0.2


def test_a_dark_thing_beside_a_head_without_hair_stays(editor):
    picture, marks, known, (tail,) = bust(editor, (DARK, TAIL), hair=PALE, skin=PALE)
    none = torch.zeros(1, 1, SIDE, SIDE)
    more = Growth.of(picture, none, marks, torch.tensor([True]), REACH_FADE).more
    assert more[0, 0][tail].max() < 0.01
