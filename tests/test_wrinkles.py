"""Creases: where an older face gets them, which ones, and that many people give a sharp layout and no one's moles."""

import sys
from pathlib import Path

import pytest
import torch

from ganime_age.learning.prepare.wrinkle_layouts import Creases, lighter_folds, rebuild
from ganime_age.model.model import GanimeAge
from ganime_age.networks.prototypes import KNOTS, Prototypes
from ganime_age.networks.skin.wrinkles import WINDOW

HEIGHT, WIDTH = WINDOW[1] - WINDOW[0], WINDOW[3] - WINDOW[2]


def stripes(across: bool, period: float = 12.0, shift: float = 0.0) -> torch.Tensor:
    """(192,160) in -1..1: creases that run to the side, or up and down."""
    line = torch.arange(HEIGHT if across else WIDTH) + shift
    wave = (2 * torch.pi * line / period).sin()
    return (wave[:, None] if across else wave[None]).expand(HEIGHT, WIDTH)


def mean_face() -> torch.Tensor:
    """(68,2): points all over the frame, the brows above the nose."""
    x, y = torch.meshgrid(torch.linspace(0.2, 0.8, 4), torch.linspace(0.2, 0.9, 17), indexing="xy")
    marks = torch.stack([x.flatten(), y.flatten()], 1)
    marks[[19, 24], 1], marks[33, 1] = 0.35, 0.6
    return marks


@pytest.fixture
def prototypes():
    """Prototypes that change nothing but creases: across in the first layout, up and down in the second."""
    torch.manual_seed(0)
    made = Prototypes(hair_width=4, wrinkles=2).eval().requires_grad_(False)
    made.mean_shape.copy_(mean_face())
    made.region.fill_(1.0)
    made.wrinkles.layouts.copy_(torch.stack([100 * stripes(True), 100 * stripes(False)]))
    made.wrinkles.onset[-3:] = 1.0
    made.hair.requires_grad_(False)
    for weight in made.hair.parameters():
        weight.zero_()
    list(made.hair.parameters())[-1].fill_(-20.0)  # no hair
    return made


def faint(across: bool) -> torch.Tensor:
    """A face of 256 px with faint creases."""
    face = torch.zeros(1, 3, 256, 256)
    face[..., WINDOW[0] : WINDOW[1], WINDOW[2] : WINDOW[3]] = 0.03 * stripes(across)
    face[..., :128] += 0.2
    return face


def older(prototypes, face, before=25.0, after=80.0, marks=None):
    units = torch.zeros(1, 17)
    ages = torch.tensor([before]), torch.tensor([after])
    marks = prototypes.mean_shape[None] if marks is None else marks
    return prototypes(face, marks, *ages, units, units) - face


def test_a_face_that_grows_older_gets_the_creases_that_agree_with_its_own(prototypes):
    inside = (0, 0, slice(100, 200), slice(80, 180))
    for across in (True, False):
        change = older(prototypes, faint(across))[inside]
        along, beside = change.diff(dim=1).abs().mean(), change.diff(dim=0).abs().mean()
        assert (beside > 5 * along) == across and (along > 5 * beside) == (not across)


def test_creases_come_with_age_only_and_stay_on_skin(prototypes):
    face = faint(True)
    deep, light = (
        older(prototypes, face, after=90.0).abs().mean(),
        older(prototypes, face, after=40.0).abs().mean(),
    )
    assert deep > 3 * light
    assert older(prototypes, face, before=80.0, after=25.0).abs().max() < 1e-5
    prototypes.region[:, :32] = 0  # the upper half is no skin
    assert (
        older(prototypes, face)[..., :112, :].abs().max() < 1e-5 < 0.01 < older(prototypes, face).abs().max()
    )


def test_an_age_without_its_skin_has_no_creases(prototypes):
    face = faint(True)
    assert older(prototypes.only(["shape", "hair"]), face).abs().max() < 1e-5
    assert older(prototypes.only(["skin"]), face).abs().max() > 0.01
    assert prototypes.wrinkles is not None, "the prototypes themselves stay as they are"


def test_creases_fade_in_the_dark(prototypes):
    face = faint(True)
    face[..., 128:] -= 0.7
    change = older(prototypes, face)[0, 0, 100:200].abs().mean(0)
    assert change[150:180].mean() < 0.7 * change[80:110].mean()


def test_creases_fade_on_a_head_that_is_turned_to_its_profile(prototypes):
    face, marks = faint(True), prototypes.mean_shape[None].clone()
    marks[:, 0:3:2], marks[:, 14:17:2], marks[:, 30] = 0.2, 0.8, 0.5
    front = older(prototypes, face, marks=marks).abs().mean()
    marks[:, 30, 0] = marks[:, 30, 1] = 0.72  # the tip of the nose near one end of the jaw
    assert older(prototypes, face, marks=marks).abs().mean() < 0.4 * front


def test_hair_grows_and_creases_come_under_mixed_precision(model):
    torch.manual_seed(0)
    picture, marks = torch.rand(1, 3, 128, 128) * 2 - 1, model.prototypes.mean_shape[None].float()
    ages = torch.tensor([30.0]), torch.tensor([80.0])
    there = model.find_hair(picture)
    exact = model.grow_hair(picture, marks, *ages, there)
    units = torch.zeros(1, 17)
    aged = model.prototypes(picture, marks, *ages, units, units)
    with torch.autocast("cpu", torch.bfloat16):
        matte = model.find_hair(picture)
        rounded = model.grow_hair(picture, marks, *ages, matte)
        aged_too = model.prototypes(picture, marks, *ages, units, units)
    assert torch.equal(exact, rounded) and torch.equal(there, matte)
    assert torch.equal(aged, aged_too)


def test_weights_keep_their_layouts_and_those_without_stay_without(tmp_path):
    made = GanimeAge(("prototypes",), 64, edit_size=64, prototypes={"hair_width": 4, "wrinkles": 3})
    made.prototypes.wrinkles.layouts.random_(-100, 100)
    made.save_pretrained(tmp_path / "new")
    again = GanimeAge.from_pretrained(tmp_path / "new")
    assert torch.equal(again.prototypes.wrinkles.layouts, made.prototypes.wrinkles.layouts)
    older = GanimeAge(("prototypes",), 64, edit_size=64, prototypes={"hair_width": 4})
    older.save_pretrained(tmp_path / "old")
    assert GanimeAge.from_pretrained(tmp_path / "old").prototypes.wrinkles is None
    plain = Prototypes(hair_width=4)
    plain.load_state_dict(Prototypes(hair_width=4, wrinkles=2).state_dict())
    assert len(plain.wrinkles.layouts) == 2 and len(plain.wrinkles.onset) == KNOTS


def test_weights_refined_with_creases_keep_all_else(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
    import refine_prototypes

    before = GanimeAge.from_pretrained().state_dict()
    after = refine_prototypes.with_room(refine_prototypes.EMBEDDED, wrinkles=2).state_dict()
    rooms = {key for key in before if ".wrinkles." in key}
    assert set(before) == set(after)
    assert all(torch.equal(before[key], after[key]) for key in set(before) - rooms)
    assert len(after["prototypes.wrinkles.layouts"]) == 2


def test_many_people_give_a_sharp_layout_without_what_one_of_them_has():
    torch.manual_seed(0)
    people = 60
    clean = torch.stack([0.3 * stripes(True, shift=shift) for shift in torch.rand(people) * 12])
    detail = clean + 0.3 * torch.randn(people, HEIGHT, WIDTH)
    detail[0, 56:64, 32:40] -= 1.5  # a mole of the first
    pattern = detail[:1].clone()
    skin = torch.zeros(HEIGHT, WIDTH)
    skin[32:96, 16:80] = 1
    seen = torch.ones(people, HEIGHT // 4, WIDTH // 4)
    known = Creases(detail.half(), seen, torch.full((people,), 70.0), torch.ones(people, dtype=torch.bool))
    found = rebuild(pattern, torch.tensor([0]), known, torch.arange(people), skin)[0]
    where = skin > 0

    def agreement(picture):
        return torch.corrcoef(torch.stack([picture[where], clean[0][where]]))[0, 1]

    assert agreement(found) > 0.9 > 0.75 > agreement(pattern[0])
    assert detail.mean(0)[where].std() < 0.5 * found[where].std(), "a plain mean has hardly a crease"
    mole, clear = (slice(56, 64), slice(32, 40)), (slice(56, 64), slice(56, 64))
    assert (found[mole].mean() - found[clear].mean()).abs() < 0.5, "1.5 in the pattern"
    assert found[~where].abs().max() == 0


def test_a_layout_keeps_its_lines_and_lends_less_of_its_folds():
    line, fold = (stripes(True, period)[None] for period in (5.0, 60.0))
    inside = (0, slice(40, -40))
    assert (lighter_folds(line) / line.abs().max() - line)[inside].abs().max() < 0.05
    assert 0.6 < lighter_folds(fold)[inside].abs().max() < 0.75
