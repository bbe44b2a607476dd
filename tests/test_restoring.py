"""Erasing and restoring: what is erased, what is drawn, and that nothing asked is nothing changed."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.fake_device import FakeDevice
from ganime_age.learning.engine.recipe import read_recipe
from ganime_age.learning.engine.task import Step
from ganime_age.learning.tasks.frozen import Calibration
from ganime_age.learning.tasks.rehearsal.tiny import SIDE as TINY
from ganime_age.learning.tasks.rehearsal.tiny import write_faces
from ganime_age.learning.tasks.restoring import restore as task
from ganime_age.learning.tasks.restoring import steering as steering_task
from ganime_age.learning.tasks.restoring.patches import corners
from ganime_age.learning.tasks.restoring.restore import discriminator_of, random_amounts, random_request
from ganime_age.learning.tasks.restoring.steering import BETA, Line, SecondReader, Steering, line_of
from ganime_age.learning.tasks.restoring.watching import watch
from ganime_age.networks.aligned.attributes import AttributeReader
from ganime_age.networks.aligned.identity import IdentityReader
from ganime_age.networks.layers import luma
from ganime_age.networks.mouth import gap
from ganime_age.networks.perceptual import SQUEEZENET_TAPS, VGG19_TAPS, Perceptual, squeezenet, vgg19
from ganime_age.networks.prototypes import Prototypes
from ganime_age.networks.restoring.erase import Amounts, Template, erase, fill_lids
from ganime_age.networks.restoring.feature_discriminator import FeatureDiscriminator
from ganime_age.networks.restoring.lay import (
    DEEPEST_DRAWN,
    DRAW_EVERY,
    NOSE_ENDS,
    STILL,
    Carried,
    Request,
    carrying,
    lay,
)
from ganime_age.networks.restoring.patch_discriminator import PatchDiscriminator
from ganime_age.networks.restoring.restorer import Restorer
from ganime_age.networks.skin.skin_map import skin_map

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "restore.toml"
SIDE = 64
AU12, AU25, AU26, AU45 = 8, 14, 15, 16


def ellipse(count: int, centre: tuple[float, float], wide: float, tall: float) -> torch.Tensor:
    """Points (count,2) round an ellipse, from its left end over the top."""
    angle = torch.linspace(0, 2 * torch.pi, count + 1)[:-1]
    return torch.stack([centre[0] - wide * angle.cos(), centre[1] - tall * angle.sin()], 1)


@pytest.fixture(scope="module")
def marks() -> torch.Tensor:
    """68 points of a face with an open mouth, in iBUG's order."""
    t = torch.linspace(0, torch.pi, 17)
    jaw = torch.stack([0.5 - 0.3 * t.cos(), 0.5 + 0.4 * t.sin()], 1)
    brows = [torch.stack([torch.linspace(x, x + 0.16, 5), torch.full((5,), 0.4)], 1) for x in (0.27, 0.57)]
    nose = torch.stack([torch.full((4,), 0.5), torch.linspace(0.46, 0.58, 4)], 1)
    nostrils = torch.stack([torch.linspace(0.44, 0.56, 5), torch.full((5,), 0.62)], 1)
    eyes = [ellipse(6, (x, 0.47), 0.06, 0.025) for x in (0.36, 0.64)]
    lips = [ellipse(12, (0.5, 0.74), 0.13, 0.09), ellipse(8, (0.5, 0.74), 0.1, 0.06)]
    return torch.cat([jaw, *brows, nose, nostrils, *eyes, *lips])[None]


@pytest.fixture(scope="module")
def template(marks) -> Template:
    return Template(marks[0], skin_map(marks[0]))


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(1, 3, SIDE, SIDE) * 1.6 - 0.8


def shut(marks: torch.Tensor) -> torch.Tensor:
    """The same face before its mouth opened."""
    before = marks.clone()
    before[:, 60:68, 1] = 0.74
    return before


def amounts(smooth: float = 0.0, mouth: float = 0.0, lids: float = 0.0) -> Amounts:
    return Amounts(*(torch.tensor([value]) for value in (smooth, mouth, lids)))


def restorer(marks: torch.Tensor) -> Restorer:
    """A small one that draws something."""
    torch.manual_seed(1)
    network = Restorer([8, 8, 8], deep=1)
    network.use_mean_shape(marks[0])
    torch.nn.init.normal_(network.head.weight, std=0.5)
    for module in network.modules():
        if type(module).__name__ == "Modulator":
            torch.nn.init.normal_(module.linear.weight, std=0.5)
    return network.eval()


def request(age: float = 30.0, **units: float) -> Request:
    """From 30 years and no action units to an age and some."""
    target = torch.zeros(1, 17)
    for name, value in units.items():
        target[0, globals()[name]] = value
    return Request(torch.tensor([30.0]), torch.tensor([age]), torch.zeros(1, 17), target)


def test_nothing_erased_is_the_face(face, marks, template):
    erased = erase(face, marks, template, amounts())
    assert torch.equal(erased.face, face) and not erased.maps.any()


def test_smoothing_takes_the_detail_of_the_skin_alone(face, marks, template):
    change = (erase(face, marks, template, amounts(smooth=3.0)).face - face).abs().mean(1)[0]
    skin = skin_map(marks[0])[0, 0]
    assert change[skin > 0.9].mean() > 0.1
    assert change[:6].max() == 0, "the background stays"
    assert change[30, 22:25].max() < 0.1, "an eye stays"


def test_an_open_mouth_is_filled_with_its_mean_colour(face, marks, template):
    erased = erase(face, marks, template, amounts(mouth=1.0))
    inside = gap(marks, SIDE).inside[0, 0] > 0.99
    filled = erased.face[0, :, inside]
    assert inside.sum() > 20 and filled.std(1).max() < 1e-5
    assert torch.allclose(filled.mean(1), face[0, :, inside].mean(1), atol=0.15)
    outside = gap(marks, SIDE).inside[0, 0] == 0
    assert torch.equal(erased.face[0, :, outside], face[0, :, outside])


def test_lids_are_covered_with_the_skin_above_them(marks, template):
    face = torch.full((1, 3, SIDE, SIDE), 0.5)
    face[:, :, 29:32] = -1.0  # the height of the eyes; the brows are above
    erased = erase(face, marks, template, amounts(lids=1.0))
    assert erased.face[0, 0, 30, 23] > 0.2 and erased.face[0, 0, 30, 32] == -1.0
    assert erased.maps[0, 2, 30, 23] > 0.9


def test_an_edit_of_nothing_changes_nothing(face, marks):
    edited = lay(restorer(marks), face, marks, marks, request())
    assert torch.equal(edited.face, face) and not edited.attention.any()


def test_a_small_request_changes_little(face, marks):
    network = restorer(marks)
    small, large = (lay(network, face, shut(marks), marks, request(age)).face - face for age in (30.05, 80.0))
    assert 0 < small.abs().mean() < 0.05 * large.abs().mean()


def test_an_age_is_drawn_on_the_skin_and_a_smile_in_the_mouth(face, marks):
    network = restorer(marks)
    inside = gap(marks, SIDE).inside[0, 0] > 0.99
    aged = (lay(network, face, shut(marks), marks, request(75.0)).face - face).abs().mean(1)[0]
    smiling = (
        (lay(network, face, shut(marks), marks, request(AU12=4.0, AU25=4.0)).face - face).abs().mean(1)[0]
    )
    assert aged[inside].max() < 1e-3 and aged[44:48, 16:18].mean() > 0.003, "teeth have no wrinkles"
    assert smiling[inside].min() > 0 and aged[:6].max() == 0


def test_on_a_clip_skin_is_drawn_now_and_then_and_moves_with_the_face_between(face, marks, monkeypatch):
    network, drawn, draw = restorer(marks), [], Restorer.draw
    monkeypatch.setattr(Restorer, "draw", lambda *given: drawn.append(1) or draw(*given))
    alone = lay(network, face, marks, marks, request(75.0)).face - face
    away, moved, carried = 4 / SIDE, torch.roll(face, 4, 3), Carried()  # the head moves by 4 pixels
    drawn.clear()
    with carrying(carried):
        first = lay(network, face, marks, marks, request(75.0)).face - face
        next_marks = marks + torch.tensor([away, 0.0])
        second = lay(network, moved, next_marks, next_marks, request(75.0)).face - moved
        for _ in range(DRAW_EVERY - 2):
            lay(network, moved, next_marks, next_marks, request(75.0))
    assert len(drawn) == 2, "one frame: for the target age and for the source's"
    assert torch.allclose(first, alone, atol=1e-6)
    there, back = second[..., 16:48, 20:44], alone[..., 16:48, 16:40]
    assert (there - back).abs().mean() < 0.2 * (alone[..., 16:48, 20:44] - back).abs().mean()
    with carrying(carried):
        lay(network, moved, next_marks, next_marks, request(75.0))
        lay(network, face, shut(marks), marks, request(75.0, AU12=4.0, AU25=4.0))
    assert len(drawn) == 6, "anew after DRAW_EVERY frames, and wherever a mouth is drawn"


def test_on_a_clip_what_was_drawn_does_not_tremble_with_landmarks_that_hardly_move(face, marks):
    network, carried = restorer(marks), Carried()
    with carrying(carried):
        first = lay(network, face, marks, marks, request(75.0)).face
        trembling, moving = (marks + amount * STILL for amount in (0.9, 20.0))
        again = lay(network, face, trembling, trembling, request(75.0)).face
        moved = lay(network, face, moving, moving, request(75.0)).face
    assert torch.equal(again, first) and (moved - first).abs().max() > 1e-3


def test_weights_that_learnt_no_ages_leave_the_skin(face, marks):
    network = restorer(marks)
    network.draws = ("mouth",)
    assert torch.equal(lay(network, face, marks, marks, request(75.0)).face, face)
    smiling = lay(network, face, shut(marks), marks, request(75.0, AU12=4.0, AU25=4.0)).face
    inside = gap(marks, SIDE).inside[0, 0]
    assert ((smiling - face).abs().mean(1)[0][inside > 0.99]).min() > 0
    assert torch.equal(smiling[..., inside == 0], face[..., inside == 0])


def test_a_network_that_draws_what_an_older_age_brings_leaves_the_rest_of_the_skin_to_the_prototypes(
    face, marks
):
    """Units that it never learnt paint blotches, and the way to childhood is no erasing of creases alone."""
    network, smile = restorer(marks), {"AU12": 4.0, "AU25": 4.0}

    def drawn(asked: Request, before: torch.Tensor = marks) -> torch.Tensor:
        return lay(network, face, before, marks, asked).face

    older, both = drawn(request(75.0)), drawn(request(75.0, **smile), shut(marks))
    assert not torch.equal(drawn(request(8.0)), face) and not torch.equal(drawn(request(AU12=4.0)), face)
    network.outward = True
    assert torch.equal(drawn(request(75.0)), older)
    assert torch.equal(drawn(request(8.0)), face) and torch.equal(drawn(request(AU12=4.0)), face)
    inside = gap(marks, SIDE).inside[0, 0]
    smiling = drawn(request(75.0, **smile), shut(marks))
    assert torch.allclose(smiling[..., inside == 1], both[..., inside == 1], atol=1e-6), "the mouth as before"
    assert not torch.equal(smiling[..., inside == 0], face[..., inside == 0])
    age = torch.linspace(5, 90, 200)
    asked = random_request(age, torch.zeros(200, 17), younger=False)
    assert (asked.target_age >= age).all() and (asked.target_age > age).any()


def test_a_share_of_what_is_drawn_is_laid_on_the_skin_and_all_of_it_in_the_mouth(face, marks):
    network, asked = restorer(marks), request(75.0, AU12=4.0, AU25=4.0)
    whole = lay(network, face, shut(marks), marks, asked).face - face
    network.share = 0.25
    part = lay(network, face, shut(marks), marks, asked).face - face
    inside = gap(marks, SIDE).inside[0, 0]
    assert whole[..., inside == 0].abs().max() > 0.05
    assert torch.allclose(part[..., inside == 0], 0.25 * whole[..., inside == 0], atol=1e-5)
    assert torch.allclose(part[..., inside == 1], whole[..., inside == 1], atol=1e-6)
    with pytest.raises(BadInput, match="a share of 0 to 2"):
        Restorer([8, 8, 8], share=2.5)


def test_finer_draws_grain_without_broad_shade_or_colour(face, marks):
    network = restorer(marks)
    network.finer = 6.0
    change = (lay(network, face, marks, marks, request(75.0)).face - face)[0]
    drawn = change.abs().amax(0) > 1e-3
    clear = drawn & ((face[0].abs() < 0.9).all(0))
    assert clear.float().mean() > 0.05
    ratio = (face[0] + change + 1) / (face[0] + 1)
    darker = luma(change[None])[0, 0] < 0
    assert (ratio.amax(0) - ratio.amin(0))[clear & darker].max() < 1e-3, "less of the light that is there"
    assert (change.amax(0) - change.amin(0))[clear & ~darker].max() < 1e-4, "white light"
    whole = restorer(marks)
    broad = (lay(whole, face, marks, marks, request(75.0)).face - face)[0]

    def coarse(of: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(of.mean(0)[None], 32)

    assert coarse(change).abs().mean() < 0.3 * coarse(broad).abs().mean()
    with pytest.raises(BadInput, match="to 64 px, not -1"):
        Restorer([8, 8, 8], finer=-1.0)


@pytest.mark.parametrize("share", [1.0, 1.7])
def test_a_fold_is_drawn_no_deeper_than_folds_are(face, marks, share):
    network = restorer(marks)
    network.finer, network.share = 6.0, share
    torch.nn.init.normal_(network.head.weight, std=5.0)
    calm = 0.2 * face  # nothing full or black, so that what is added is what is seen
    change = luma(lay(network, calm, marks, marks, request(75.0)).face - calm)
    assert 0.4 * DEEPEST_DRAWN < change.abs().max() <= DEEPEST_DRAWN + 1e-5


def test_little_of_what_is_drawn_on_the_skin_is_laid_below_the_nose(face, marks, monkeypatch):
    network, end = restorer(marks), int(SIDE * (marks[0, 33, 1] + NOSE_ENDS[1])) + 2
    network.finer = 6.0
    laid = lay(network, face, marks, marks, request(75.0)).face - face
    monkeypatch.setattr("ganime_age.networks.restoring.lay.BELOW_NOSE", 1.0)
    whole = lay(network, face, marks, marks, request(75.0)).face - face
    nose = int(SIDE * marks[0, 33, 1]) - 2
    assert torch.equal(laid[..., :nose, :], whole[..., :nose, :])
    below = (part[..., end:, :].abs().sum() for part in (laid, whole))
    assert 0 < next(below) < 0.6 * next(below)


@pytest.mark.parametrize(
    "units, mouth, lids",
    [
        ({"AU12": 5.0}, 0.0, 0.0),
        ({"AU25": 3.0}, 1.0, 0.0),
        ({"AU26": 4.0}, 1.0, 0.0),
        ({"AU45": 5.0}, 0.0, 1.0),
    ],
)
def test_only_what_an_edit_invents_is_erased(marks, units, mouth, lids):
    found = request(**units).amounts(shut(marks), marks)
    assert (float(found.mouth), float(found.lids)) == (mouth, lids)
    assert float(request().amounts(marks, marks).smooth) == 0 < float(found.smooth)


def test_a_mouth_that_was_open_keeps_its_teeth(marks):
    assert float(request(AU25=4.0).amounts(marks, marks).mouth) == 0


def test_a_mouth_that_closes_keeps_what_it_has(marks):
    opened = request(AU25=4.0)
    closing = Request(opened.source_age, opened.target_age, opened.target_aus, opened.source_aus)
    assert float(closing.amounts(marks, shut(marks)).mouth) == 0


def test_crops_are_drawn_like_the_whole(face, marks, template):
    network = restorer(marks)
    whole = erase(face, marks, template, amounts(smooth=1.0))
    age, aus = torch.tensor([60.0]), torch.zeros(1, 17)
    full = network(whole, age, aus, amounts(smooth=1.0)).face
    part = whole._replace(
        face=whole.face[..., 8:56, 8:56], maps=whole.maps[..., 8:56, 8:56], place=whole.place[..., 4:28, 4:28]
    )
    crop = network(part, age, aus, amounts(smooth=1.0)).face
    assert torch.allclose(crop[..., 23:25, 23:25], full[..., 31:33, 31:33], atol=0.02)


def test_landmarks_move_as_the_prototypes_warp(marks):
    prototypes = Prototypes()
    prototypes.unit_shape[AU26, 57] = torch.tensor([0.0, 0.01])
    asked = request(AU26=4.0)
    moved = prototypes.moved_landmarks(marks, asked[:2], asked[2:])
    assert torch.allclose((moved - marks)[0, 57], torch.tensor([0.0, 0.04]))
    assert torch.equal(moved[0, :57], marks[0, :57])


def test_training_erases_what_faces_have_and_asks_for_what_they_lack(marks):
    torch.manual_seed(0)
    count, units = 200, torch.zeros(200, 17)
    units[:100, AU45] = 4.0
    many = marks.expand(count, -1, -1).clone()
    many[::2, 60:68, 1] = 0.74  # every other mouth is shut
    drawn = random_amounts(many, units)
    assert not drawn.mouth[::2].any() and 0.5 < drawn.mouth[1::2].mean() < 0.95
    assert not drawn.lids[100:].any() and 0.5 < drawn.lids[:100].mean() < 0.95
    age = torch.linspace(5, 90, count)
    asked = random_request(age, torch.zeros(count, 17))
    moved = asked.target_age != age
    grown = moved & (age > 15)
    assert grown.any() and (asked.target_age > age)[grown & (age < 45)].float().mean() > 0.65
    assert ((asked.target_age - age).abs() >= 7.99)[grown].all() and asked.target_age[moved].max() <= 87.01
    assert asked.target_aus.min() >= 0 and asked.target_aus.max() <= 5


def test_corners_of_crops_lie_within_the_frame_on_even_pixels():
    found = corners(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.51]]), 64, 32)
    assert found[:2].tolist() == [[0, 0], [32, 32]] and not (found % 2).any()


def test_the_watch_stops_a_network_that_draws_nothing_and_readers_that_are_fooled():
    limits = watch(100)
    assert "network alone" in limits.faults(5000, {"age_slope": 0.0})[0]
    assert "fooled" in limits.faults(5000, {"gap": 0.7})[0]
    assert limits.faults(5000, {"age_slope": 0.3, "gap": 0.1}) == []


def test_lids_that_stay_open_cost_nothing_on_a_cpu_and_change_nothing_elsewhere(face, marks):
    """A GPU covers them by an amount of 0, so that the host need not ask it whether any closes."""
    assert torch.equal(fill_lids(face, marks, torch.zeros(1))[0], face)
    with FakeDevice() as gpu:
        out, covered = fill_lids(face.to("cuda"), marks.to("cuda"), torch.zeros(1, device="cuda"))
        waits = [event for event in gpu.events if event.kind == "wait"]
        assert torch.equal(out.cpu(), face) and not covered.cpu().any()
    assert not waits


@pytest.fixture
def steering():
    torch.manual_seed(0)
    small = {"widths": (8, 8, 8), "blocks": (1, 1, 1), "squeeze": 4}
    readers = AttributeReader(**small), IdentityReader(**small)
    return Steering(*readers, Line(10.0, 0.5), radius=0.5, noise=0.0).eval().requires_grad_(False)


def test_a_discriminator_on_frozen_features_learns_heads_alone_and_knows_age_and_place():
    torch.manual_seed(0)
    seen = Perceptual("random SqueezeNet", squeezenet(), SQUEEZENET_TAPS)
    network = FeatureDiscriminator(seen, [8, 8, 8])
    assert not any(key.startswith("seen") for key in network.state_dict())
    assert sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in seen.parameters()) / 20
    crop, place = torch.rand(2, 3, 96, 96, requires_grad=True), torch.rand(2, 2, 96, 96)
    age, aus = torch.tensor([20.0, 70.0]), torch.zeros(2, 17)
    logits = network.score(network.features(crop, place), age, aus)
    assert logits.shape == (2, 3, 5, 5) and network.taps == (1, 2, 6)
    logits.sum().backward()
    assert crop.grad.abs().median() > 0 and all(p.grad is None for p in seen.parameters())
    with torch.no_grad():
        older = network.score(network.features(crop, place), age + 20, aus)
        elsewhere = network.score(network.features(crop, place.flip(3)), age, aus)
    assert not torch.equal(older, logits) and not torch.equal(elsewhere, logits)
    table = read_recipe(RECIPE, [])["recipe"]["discriminator"]
    assert isinstance(discriminator_of(table, seen), PatchDiscriminator)
    assert isinstance(discriminator_of(table | {"kind": "features"}, seen), FeatureDiscriminator)
    both = discriminator_of({"kind": "both", "widths": [8, 8, 8], "pixel_widths": [8, 8]}, seen)
    found = both.score(both.features(crop, place), age, aus)
    heads = both.by_features.score(both.by_features.features(crop, place), age, aus)
    pixels = both.by_pixels.score(both.by_pixels.features(crop, place), age, aus)
    assert torch.equal(found[:, :3], heads) and found.shape == (2, 4, 5, 5)
    assert torch.equal(found[:, 3:], torch.nn.functional.adaptive_avg_pool2d(pixels, 5))
    found.sum().backward()
    assert all(p.grad is not None for p in both.parameters()) and all(
        p.grad is None for p in seen.parameters()
    )
    with pytest.raises(BadInput, match="of the kind features: .*pixel_widths"):
        discriminator_of({"kind": "features", "pixel_widths": [8]}, seen)
    deeper = Perceptual("random VGG19", vgg19(), VGG19_TAPS)
    assert FeatureDiscriminator(deeper, [8, 8]).taps == (3, 4)
    with pytest.raises(BadInput, match="needs a network that has them"):
        discriminator_of({"kind": "features"}, None)
    with pytest.raises(BadInput, match="pixels, features or both, not 'dots'"):
        discriminator_of({"kind": "dots"}, seen)


def test_heads_on_features_learn_to_tell_drawn_crops_from_real_ones():
    torch.manual_seed(0)
    network = FeatureDiscriminator(Perceptual("random", squeezenet(), SQUEEZENET_TAPS), [8, 8, 8])
    objective = task.Objective(
        task.Recipe(r1_every=1),
        None,
        network,
        SimpleNamespace(without_wrinkles=lambda: None),
        None,
        None,
    )
    real, drawn = (
        task.Crops(
            picture, torch.zeros(4, 2, 48, 48), torch.tensor([10.0, 30.0, 50.0, 80.0]), torch.zeros(4, 17)
        )
        for picture in (torch.rand(4, 3, 48, 48), torch.rand(4, 3, 48, 48) * 0.2)
    )
    optimizer, found = torch.optim.Adam(network.parameters(), 1e-2), []
    for number in range(30):
        step = Step({}, number)
        step.result = task.Handed(real, drawn)
        total, terms = objective.discriminate(step)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        found.append({name: float(value) for name, value in terms.items()})
    first, last = found[0], found[-1]
    assert set(last) == {"d_real", "d_drawn", "d_wrong", "d_r1"}
    assert last["d_drawn"] < 0.8 * first["d_drawn"] and last["d_real"] < first["d_real"]


def test_an_edit_is_steered_towards_what_the_reader_says_of_real_faces_of_that_age(steering, face, marks):
    """The line tells that a reader pulled to the middle says 50 of faces of 80. An edit that asks for no other age is
    to read as its source."""
    read = steering.attributes(face, marks).age
    steering.radius, asked, aged = 0.0, (read - 10.0) / 0.5, torch.tensor([True])

    def error(years: torch.Tensor, aged: torch.Tensor) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        return steering.terms(face, marks, years, aged, (face, marks))

    near, far, kept = error(asked, aged), error(asked + 60, aged), error(asked + 60, ~aged)
    assert near["age"] < 2 < far["age"] and torch.equal(kept["age"], near["age"])
    assert near["identity"].abs() < 1e-5


def test_attacks_take_an_edit_further_from_its_age_and_gradients_reach_its_pixels(steering, face, marks):
    picture = face.clone().requires_grad_(True)
    terms = steering.terms(picture, marks, torch.tensor([90.0]), torch.tensor([True]), (face, marks))
    (terms["age"] + terms["identity"]).backward()
    assert picture.grad.abs().sum() > 0


class Saying(torch.nn.Module):
    """Readers that say an age, whatever they see."""

    def __init__(self, age: float):
        super().__init__()
        self.age = age

    def forward(self, face: torch.Tensor, identity: bool = True) -> SimpleNamespace:
        return SimpleNamespace(age=torch.full((len(face),), self.age))


def test_a_second_reader_has_half_of_the_say_about_an_age(steering, face, marks):
    curve = torch.arange(101.0) / 2
    second = SecondReader(Saying(20.0), Calibration(curve, *torch.ones(4, 17)))
    old, aged = torch.tensor([70.0]), torch.tensor([True])  # such faces are read as 35
    assert second.error(face, old, aged, face) == 35 - 20 - BETA / 2
    assert second.error(face, old, ~aged, face) == 0  # asked to read as its source

    def off() -> torch.Tensor:
        torch.manual_seed(3)
        return steering.terms(face, marks, old, aged, (face, marks))["age"]

    steering.radius = 0.0
    alone = off()
    steering.second = second
    assert torch.isclose(off(), (alone + 35 - 20 - BETA / 2) / 2)


class Broken(Prototypes):
    """Prototypes whose edit of the first face is not finite."""

    def forward(self, face: torch.Tensor, *request: torch.Tensor) -> torch.Tensor:
        return torch.cat([face[:1] * torch.nan, face[1:] * 0.9])


def test_an_edit_that_is_not_finite_leaves_the_face_as_it_is(face, marks):
    torch.manual_seed(0)
    recipe = task.Recipe(faces=2, edits=2, crop=32, window=48, bare=0.0, creases=1.0)
    objective = task.Objective(recipe, restorer(marks), None, Broken(), None, None)
    batch = {"face": face.expand(2, -1, -1, -1), "valid": torch.ones(2, 1, SIDE, SIDE)}
    batch |= {"landmarks": marks.expand(2, -1, -1), "action_units": torch.zeros(2, 17)}
    batch["age"] = torch.tensor([30.0, 30.0])
    terms, drawn = objective.edits(batch, {"edit_adversarial": 0.0})
    assert all(term.isfinite() for term in terms.values()) and drawn.picture.isfinite().all()


def test_a_second_reader_alone_is_refused():
    assert task.steering_of(task.Recipe(), None) is None
    with pytest.raises(BadInput, match="beside recipe.attribute_reader; name that too"):
        task.steering_of(task.Recipe(second_reader="readers"), None)


def test_the_line_is_that_of_readings_over_ages(monkeypatch, tmp_path):
    faces = Faces(write_faces(tmp_path / "faces", 24), TINY, ("train",))

    def read_all(reader, faces, picks):
        return {"age": 7 + 0.6 * faces.labels["age"][picks]}

    monkeypatch.setattr(steering_task, "read_all", read_all)
    found = line_of(torch.nn.Identity(), faces)
    assert abs(found.intercept - 7) < 1e-3 and abs(found.slope - 0.6) < 1e-5
