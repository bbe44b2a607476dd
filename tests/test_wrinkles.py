"""Creases: where an older face gets them, which ones, and that layouts run as those of many people do."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from ganime_age.learning.data.faces import Faces
from ganime_age.learning.prepare.wrinkle_layouts import draw, fit_wrinkles, grain_of, structure
from ganime_age.model.model import GanimeAge
from ganime_age.networks.layers import enlarge, resize
from ganime_age.networks.prototypes import KNOTS, Prototypes
from ganime_age.networks.skin.wrinkles import DRAWN, GROOVE, WINDOW, Wrinkles
from helpers.ages import face_folder

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


def test_creases_around_the_mouth_are_shallower(prototypes):
    change = older(prototypes, faint(True))[0, 0, :, 80:180].abs().mean(1)
    assert change[180:215].mean() < 0.7 * change[100:140].mean()


def test_no_crease_takes_more_than_a_share_of_the_light(prototypes):
    face = faint(True) - 0.3
    deep = []
    for onset in (0.2, 0.4, 20.0, 40.0):
        prototypes.wrinkles.onset[-3:] = onset
        deep.append(older(prototypes, face).abs().max())
    assert deep[1] > 1.8 * deep[0] and deep[3] < 1.05 * deep[2]
    assert deep[3] < 1.1 * GROOVE * (face.mean() + 1)


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


def test_a_large_face_gets_lines_that_a_small_one_cannot_show():
    torch.manual_seed(0)
    made = Prototypes(hair_width=4, wrinkles=1, wrinkle_side=DRAWN).eval().requires_grad_(False)
    made.mean_shape.copy_(mean_face())
    made.region.fill_(1.0)
    lines = (torch.pi * torch.arange(2 * HEIGHT) / 1.5).sin()[:, None]  # 3 pixels from one to the next
    made.wrinkles.layouts.copy_((100 * lines).expand(2 * HEIGHT, 2 * WIDTH)[None])
    made.wrinkles.onset[-3:] = 1.0
    inside = (..., slice(200, 400), slice(160, 360))
    large = older(made, enlarge(faint(True), 512))
    fine = (large - enlarge(resize(large, 256), 512))[inside].std()
    assert fine > 0.02
    small = older(made, faint(True))[..., 100:200, 80:180]
    assert small.std() < 0.5 * fine, "what it cannot show is left out, and makes no false pattern"


def test_a_face_may_get_the_mirror_image_of_a_layout(prototypes):
    rising = (torch.pi / 6 * (torch.arange(HEIGHT)[:, None] + torch.arange(WIDTH)[None])).sin()
    prototypes.wrinkles.layouts.copy_(torch.stack([100 * rising, 100 * stripes(True)]))
    face = torch.zeros(1, 3, 256, 256)
    face[..., WINDOW[0] : WINDOW[1], WINDOW[2] : WINDOW[3]] = 0.03 * rising.flip(1)
    change = older(prototypes, face)[0, 0, 100:200, 80:180]
    agreement = torch.corrcoef(torch.stack([change.flatten(), face[0, 0, 100:200, 80:180].flatten()]))[0, 1]
    assert agreement > 0.8


def lined(across: bool, people: int = 6) -> torch.Tensor:
    """Brightness (B,1,256,256) of faces with lines every 7 pixels, each with its own at other places."""
    line = torch.arange(256.0)
    waves = torch.stack([(2 * torch.pi * (line + 7 * k / people) / 7).sin() for k in range(people)])
    waves = waves[:, None, :, None] if across else waves[:, None, None]
    return 0.3 * waves.expand(people, 1, 256, 256)


def measured(light: torch.Tensor) -> torch.Tensor:
    return structure(light).mean(0).expand(3, -1, -1, -1)


@pytest.mark.parametrize("across", [True, False])
def test_layouts_run_as_the_creases_of_old_faces_do(across):
    old, young = measured(lined(across)), measured(torch.zeros(2, 1, 256, 256))
    drawn = draw(grain_of(old, young), 0)[100:400, 100:400]
    down, beside = drawn.diff(dim=0).square().mean(), drawn.diff(dim=1).square().mean()
    assert (down > 4 * beside) == across and (beside > 4 * down) == (not across)
    assert not torch.equal(drawn, draw(grain_of(old, young), 1)[100:400, 100:400])
    assert torch.equal(drawn, draw(grain_of(old, young), 0)[100:400, 100:400])
    assert drawn.min() < -1.5 * drawn.max(), "valleys are narrow and deep, the ridges beside them broad"
    assert draw(grain_of(old, old), 0).abs().max() < 1e-3, "what young skin has too is no crease"


def test_layouts_are_measured_on_the_old_faces_of_a_folder(tmp_path, prototypes):
    table = pd.read_parquet(face_folder(tmp_path) / "manifest.parquet")
    table["landmarks"] = [prototypes.mean_shape.flatten().numpy()] * len(table)
    before = prototypes.wrinkles.layouts.clone()
    for ages, found in ((40.0, False), ([70.0, 25.0, 70.0] * 5, True)):
        table.assign(age=ages).to_parquet(tmp_path / "manifest.parquet")
        prototypes.wrinkles = Wrinkles(2, KNOTS, DRAWN)
        prototypes.wrinkles.layouts.fill_(9)  # those before must not stay
        fit_wrinkles(Faces(tmp_path, 256), prototypes)
        layouts = prototypes.wrinkles.layouts
        assert layouts.shape == (2, 2 * before.shape[1], 2 * before.shape[2]) and bool(layouts.any()) == found
    assert not torch.equal(layouts[0], layouts[1])
    nose = (prototypes.mean_shape[30] * DRAWN).round().int() - 2 * torch.tensor([WINDOW[2], WINDOW[0]])
    assert not layouts[:, nose[1], nose[0]].any(), "no creases on a nose"


def test_layouts_are_as_deep_as_old_faces_are_where_they_are():
    light = lined(True)
    light[..., :128, :] /= 3
    drawn = draw(grain_of(measured(light), measured(torch.zeros_like(light))), 0)
    assert 2 < drawn[300:450, 100:400].std() / drawn[60:210, 100:400].std() < 5


def test_creases_on_an_enlarged_photo_are_as_soft_as_it_is(prototypes):
    torch.manual_seed(1)
    fine = [100 * stripes(across, period=4.0) for across in (True, False)]
    prototypes.wrinkles.layouts.copy_(torch.stack(fine))
    sharp = faint(True) + 0.15 * torch.randn(1, 1, 256, 256)
    soft = enlarge(resize(sharp, 48), 256)
    on_sharp, on_soft = (older(prototypes, face).std() for face in (sharp, soft))
    assert 0 < on_soft < 0.7 * on_sharp
