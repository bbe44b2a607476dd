"""A student that draws an edit anew in one evaluation, and its training."""

import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age.edits import AU_UNSEEN, PRESETS
from ganime_age.errors import BadInput
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.task import Step
from ganime_age.learning.evaluation.photos.variants import prototypes_alone
from ganime_age.learning.tasks.denoising import distil as task
from ganime_age.learning.tasks.denoising.requests import random_request
from ganime_age.learning.tasks.edit_requests import SEEN
from ganime_age.learning.tasks.frozen import load_head
from ganime_age.learning.tasks.rehearsal.tiny import DENOISER, standing, tiny_run, write_faces, write_networks
from ganime_age.model.model import GanimeAge
from ganime_age.networks.denoising.denoiser import SPREAD, Condition, Denoiser
from ganime_age.networks.denoising.distilled import CHANGE, LIKE_NOISE, Distilled
from ganime_age.networks.denoising.redraw import (
    STRESSED,
    STRESSED_YOUNGER,
    drawn_change,
    noise_like,
    noisy_change,
    redrawn,
    spans,
    window_on,
)
from ganime_age.networks.layers import Window
from ganime_age.networks.mouth import gap
from ganime_age.networks.restoring.lay import Request

TRAINING = Path(__file__).resolve().parents[1] / "training"
RECIPE = TRAINING / "recipes" / "distil.toml"
SIDE = 64
SMALL = {"widths": [8, 8, 8], "blocks": [1, 1, 1]}


@pytest.fixture(scope="module")
def marks() -> torch.Tensor:
    """68 points (1,68,2) of a face in the middle of its frame."""
    return 0.5 * (load_head("").landmarks(standing(load_head(""), torch.zeros(1, 3))) - 0.5) + 0.5


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) - 0.5


def stirred(network, marks, std: float = 0.15):
    """A network in which everything that it is told counts."""
    torch.manual_seed(1)
    network.use_mean_shape(marks[0])
    with torch.no_grad():
        for weights in network.parameters():
            if not weights.any():
                weights.normal_(std=std)
    return network.eval().requires_grad_(False)


@pytest.fixture
def student(marks) -> Distilled:
    return stirred(Distilled(**SMALL), marks)


@pytest.fixture
def teacher(marks) -> Denoiser:
    return stirred(Denoiser(**SMALL, sources=2), marks)


def request(age: float = 30.0, smile: float = 0.0) -> Request:
    """From 30 years and no action units to an age and a smile."""
    target = torch.zeros(1, 17)
    target[0, 8] = smile
    return Request(torch.tensor([30.0]), torch.tensor([age]), torch.zeros(1, 17), target)


def test_an_untrained_student_changes_nothing(face, marks, teacher):
    network = Distilled(**SMALL)
    edited = redrawn(network, face, lambda: face.flip(3), (marks, marks), request(70.0))
    assert torch.equal(edited.face, face) and edited.attention.max() > 0.9
    network.begin_from(teacher)
    assert torch.equal(redrawn(network, face, lambda: face, (marks, marks), request(70.0)).face, face)


def test_nothing_asked_gives_the_face_back_exactly_and_takes_no_evaluation(face, marks, student, monkeypatch):
    looks, look = [], Distilled.forward
    monkeypatch.setattr(Distilled, "forward", lambda *seen: looks.append(1) or look(*seen))
    edited = redrawn(student, face, lambda: face.flip(3), (marks, marks), request())
    assert torch.equal(edited.face, face) and not edited.attention.any() and not looks
    changed = redrawn(student, face, lambda: face, (marks, marks), request(70.0)).face - face
    assert len(looks) == 1 and changed.abs().mean() > 0.005


@pytest.mark.parametrize("place", range(6))
def test_all_that_a_student_is_given_counts(face, marks, student, place):
    given = [face, face.flip(3), *request(70.0)]
    shown = torch.ones_like(face[:, :1]), student.places(marks, SIDE)
    outs = []
    for more in (0.0, 1.0):
        changed = [value + more * (number == place) for number, value in enumerate(given)]
        outs.append(student(*changed[:2], *shown, Request(*changed[2:])))
    assert not torch.allclose(*outs, atol=1e-4)


def test_what_is_drawn_is_stressed_for_another_age_and_not_for_an_expression(face, marks, student):
    window = window_on(marks, SIDE)
    parts = window.cut(face), window.cut(face.flip(3))
    half = Window(window.rows // 2, window.columns // 2)
    shown = window.cut(torch.ones_like(face[:, :1])), half.cut(student.places(marks, SIDE))
    for asked, factor in (
        (request(30.0, smile=3.0), 1.0),
        (request(36.0), 1 + (STRESSED - 1) / 2),
        (request(80.0), STRESSED),
        (request(5.0), STRESSED_YOUNGER),
    ):
        change = window.cut(drawn_change(student, (face, face.flip(3)), marks, asked))
        plain, inside = student(*parts, *shown, asked), window.cut(gap(marks, SIDE).inside)
        assert torch.allclose(change, (1 + (factor - 1) * (1 - inside)) * plain, atol=1e-5)
    assert 1 < STRESSED_YOUNGER < STRESSED


def test_a_student_begins_with_the_layers_and_the_condition_of_its_teacher(face, marks, teacher):
    begun, noise = Distilled(**SMALL), torch.tensor([LIKE_NOISE])
    begun.begin_from(teacher)
    asked = request(70.0, smile=3.0)
    told = Condition(asked.target_age, asked.target_aus, torch.zeros(1).long(), torch.tensor([256.0]))
    assert torch.allclose(begun.style(asked), teacher.style(told, noise), atol=1e-5)
    assert torch.equal(begun.mean_shape, teacher.mean_shape)
    with torch.no_grad():
        begun.head.load_state_dict(teacher.head.state_dict())
    shown = torch.ones_like(face[:, :1]), teacher.places(marks, SIDE)
    total = math.hypot(LIKE_NOISE, SPREAD)
    seen = teacher(face * total / SPREAD, noise, *shown, told) - face * SPREAD / total
    drawn = begun(face, face.flip(3), *shown, asked) / CHANGE
    assert torch.allclose(drawn * SPREAD * LIKE_NOISE / total, seen, atol=1e-4)
    other = Distilled([16, 8, 8], [1, 1, 1])
    other.begin_from(teacher)  # of another width what fits is taken


def test_a_denoiser_draws_what_it_has_always_drawn(face, marks, teacher):
    """By three evaluations from the noise that is the same for every edit, in the window."""
    asked, moved = request(70.0), face.flip(3)
    window = window_on(marks, SIDE)
    half = Window(window.rows // 2, window.columns // 2)
    shown = window.cut(torch.ones_like(face[:, :1])), half.cut(teacher.places(marks, SIDE))
    noise = window.cut(noise_like(face))
    expected = noisy_change(teacher, (window.cut(face), window.cut(moved)), noise, shown, asked)
    change = drawn_change(teacher, (face, moved), marks, asked)
    assert torch.equal(window.cut(change), expected) and expected.abs().mean() > 0.01
    assert torch.equal(window.put(change, torch.zeros_like(expected)), torch.zeros_like(face))


def test_each_face_has_its_own_noise_and_window(face, marks, teacher):
    both = face.expand(2, -1, -1, -1)
    asked = Request(*(value.expand(2, *value.shape[1:]) for value in request(70.0)))
    shown = torch.ones_like(both[:, :1]), teacher.places(marks.expand(2, -1, -1), SIDE)
    noise = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    one, other = noisy_change(teacher, (both, both), noise, shown, asked)
    assert not torch.allclose(one, other, atol=0.01)
    places = torch.cat([marks, 0.5 * marks])
    windows = spans(places, SIDE)
    inside = task.within(windows, SIDE)
    for number in range(2):
        expected = window_on(places[number : number + 1], SIDE).put(torch.zeros(1, 1, SIDE, SIDE), 1.0)
        assert torch.equal(inside[number : number + 1], expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_faces(tmp_path_factory.mktemp("synthetic") / "faces")


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Path:
    return write_networks(tmp_path_factory.mktemp("trained") / "networks")


@pytest.fixture
def faces(folder) -> Faces:
    return Faces(folder, SIDE, ("train",))


@pytest.fixture
def tiny(networks):
    def made(**numbers: object) -> task.Recipe:
        told = {"teacher": str(networks / DENOISER), "prototypes": str(networks), "batch": 4, "crop": 48}
        return task.Recipe(**told | numbers)

    return made


def test_requests_are_those_of_users():
    torch.manual_seed(0)
    age, aus = torch.full((4000,), 30.0), 2 * torch.rand(4000, 17)
    asked = random_request(age, aus, 2.0)
    years = asked.source_age != asked.target_age
    units = (asked.source_aus != asked.target_aus).any(1)
    assert (years | units).float().mean() > 0.99
    assert (~years).float().mean() == pytest.approx(0.33, abs=0.03)
    assert (years & units).float().mean() == pytest.approx(0.2, abs=0.03)
    assert asked.source_age.std() == pytest.approx(2.0, abs=0.1)
    ages = asked.target_age[years]
    assert ages.min() < 1 and ages.max() > 99 and ages.mean() == pytest.approx(50, abs=2)
    assert asked.target_aus.min() >= 0 and asked.target_aus.max() <= 5
    unseen = [index for index, held in enumerate(SEEN) if not held]
    assert len(unseen) == len(AU_UNSEEN)
    assert torch.equal(asked.target_aus[:, unseen], aus[:, unseen]), "what no label holds is not asked for"
    moved = (asked.target_aus != aus)[units].sum(1)
    assert (moved == 1).any() and (moved >= len(PRESETS["anger"]) - 1).any()


def test_the_pool_keeps_the_newest(face):
    pool = task.Pool(4)
    for number in range(3):
        values = torch.tensor([float(2 * number), float(2 * number + 1)])
        pictures = (values / 10)[:, None, None, None].expand(-1, 3, 8, 8)
        rest = values[:, None].expand(-1, 17)
        pool.add(task.Pairs(pictures, pictures, rest, values, values, rest, rest))
        if not number:
            assert set(pool.take(40).source_age.tolist()) == {0.0, 1.0}
    taken = pool.take(100)
    assert set(taken.source_age.tolist()) == {2.0, 3.0, 4.0, 5.0}
    assert taken.edit.dtype == torch.float32
    assert torch.allclose(taken.edit[:, 0, 0, 0], taken.source_age / 10, atol=1e-3), "rows stay together"


def test_bare_faces_are_those_that_no_prototype_edited(faces, tiny):
    batch = faces.batch(np.flatnonzero(~np.isnan(faces.labels["age"]))[:8])
    for bare in (0.0, 1.0):
        (player,) = task.build(tiny(bare=bare), faces, 0).players
        objective = player.loss.__self__
        torch.manual_seed(0)
        pairs = objective.pairs(batch["face"], batch)
        alike = (pairs.edit == batch["face"]).flatten(1).all(1)
        assert alike.all() if bare else not alike.any()
        assert torch.equal(pairs.landmarks, batch["landmarks"]) == bool(bare)


def objective_of(recipe: task.Recipe, faces: Faces) -> task.Objective:
    (player,) = task.build(recipe, faces, 0).players
    return player.loss.__self__


def test_edits_that_are_not_finite_are_left_bare(faces, tiny, monkeypatch):
    batch = faces.batch(np.flatnonzero(~np.isnan(faces.labels["age"]))[:4])
    objective, made = objective_of(tiny(bare=0.0), faces), task.edited

    def broken(*given: object) -> task.Pairs:
        pairs = made(*given)
        pairs.edit[1, 0, 5, 5] = torch.nan
        return pairs

    monkeypatch.setattr(task, "edited", broken)
    pairs = objective.pairs(batch["face"], batch)
    alike = (pairs.edit == batch["face"]).flatten(1).all(1)
    assert alike.tolist() == [False, True, False, False] and pairs.edit.isfinite().all()
    assert torch.equal(pairs.moved[1], batch["face"][1])


def test_new_edits_are_made_in_every_second_step_if_so_told(faces, tiny):
    made = task.build(tiny(every=2, fresh=4, pool=40), faces, 0)
    (player,), counts = made.players, []
    for number in range(4):
        player.loss(Step(made.batch(number), number))
        counts.append(player.loss.__self__.pool.made)
    assert counts == [4, 4, 8, 8]


def test_the_loss_is_of_the_window_and_detail_is_what_differs_from_around(faces, tiny, monkeypatch):
    batch = faces.batch(np.flatnonzero(~np.isnan(faces.labels["age"]))[:4])
    objective = objective_of(tiny(crop=SIDE), faces)
    pairs = objective.pairs(batch["face"], batch)
    pairs = pairs._replace(landmarks=0.5 + 0.3 * (pairs.landmarks - 0.5))  # small faces
    inside = task.within(spans(pairs.landmarks, SIDE), SIDE)
    assert 0.05 < inside.mean() < 0.95
    nothing = torch.zeros_like(pairs.edit)
    monkeypatch.setattr(task, "noisy_change", lambda *given: nothing)
    for off, expected in ((0.02 * (1 - inside), 0.0), (torch.tensor(0.02), (0.02 / CHANGE) ** 2)):
        monkeypatch.setattr(objective, "student", Constant(off.expand_as(nothing), objective.student))
        terms = objective.terms(pairs)
        assert float(terms["change"]) == pytest.approx(expected, abs=1e-5)
        if expected:
            assert float(terms["detail"]) == pytest.approx(0, abs=1e-6)


class Constant:
    """A student that draws the same whatever it is given."""

    def __init__(self, change: torch.Tensor, student: Distilled):
        self.change, self.places = change, student.places

    def __call__(self, *given: object) -> torch.Tensor:
        return self.change


def test_a_few_steps_on_the_same_edits_reduce_the_loss(faces, tiny):
    made = task.build(tiny(fresh=4, pool=4, colour=0.0), faces, 0)
    (player,), batch = made.players, made.batch(0)
    objective = player.loss.__self__
    assert not any(one.requires_grad for part in made.helpers for one in part.parameters())
    pairs = objective.pairs(batch["face"], batch)
    optimizer = torch.optim.Adam(player.module.parameters(), 3e-3)
    found = []
    for _ in range(40):
        torch.manual_seed(3)
        terms = objective.terms(pairs)
        loss = terms["change"] + terms["detail"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.9 * found[0]
    total = player.loss(Step(batch, 0)).total
    assert total.requires_grad and math.isfinite(float(total.detach()))


def test_the_probe_and_the_sheet_compare_the_student_with_its_teacher(faces, tiny, tmp_path):
    made = task.build(tiny(), faces, 0)
    with torch.no_grad():
        found = made.probe(made.networks)
        assert made.probe(made.networks) == found
        made.sheet(made.networks, tmp_path / "sheet.jpg")
    assert set(found) == {"error", "difference", "error_nothing", "difference_nothing"}
    for name in ("error", "difference"):
        assert found[name] == pytest.approx(found[f"{name}_nothing"]), "untrained it draws nothing"
    with Image.open(tmp_path / "sheet.jpg") as shown:
        assert shown.size[0] == (1 + 3 * (1 + len(task.SHOWN))) * SIDE


@pytest.mark.parametrize(
    "numbers, sentence",
    [
        ({"pool": 2}, "the pool must hold the new edits"),
        ({"fresh": 0}, "the new edits of a step, 1 or more"),
        ({"every": 0}, "every be 1 or more"),
        ({"crop": 50}, "the crop be a multiple of 16"),
    ],
)
def test_numbers_that_cannot_be_are_refused(faces, tiny, numbers, sentence):
    with pytest.raises(BadInput, match=sentence):
        task.build(tiny(**numbers), faces, 0)


def test_a_student_has_the_share_of_its_teacher():
    told = task.shape_of(Denoiser(**SMALL, share=0.4))
    assert told == SMALL | {"share": 0.4} and Distilled(**told).share == 0.4


def test_a_teacher_that_is_no_denoiser_is_refused(faces, tiny, networks):
    with pytest.raises(BadInput, match="is no denoiser, from which alone a student is distilled"):
        task.build(tiny(teacher=str(networks)), faces, 0)


def test_a_trained_student_is_packed_in_eight_bits_and_edits(
    folder, networks, small_weights, tmp_path, monkeypatch, face, marks
):
    run = tiny_run(RECIPE, folder, networks, tmp_path / "run")
    run.train()
    out = tmp_path / "weights"
    shutil.copytree(small_weights, out)
    words = ["pack.py", "--generator", str(tmp_path / "run" / "light"), "--eight-bit", "ganimation_age"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    runpy.run_path(str(TRAINING / "pack.py"))["main"]()
    packed = GanimeAge.from_pretrained(out)
    trained = run.best_networks()["generator"].state_dict()
    assert isinstance(packed.ganimation_age, Distilled)
    for key, value in packed.ganimation_age.state_dict().items():
        step = trained[key].abs().max() / 127
        assert (value - trained[key]).abs().max() <= 0.6 * step + 1e-3, key
    stirred(packed.ganimation_age, marks)
    with torch.no_grad():
        packed.prototypes.region.fill_(1.0)
        packed.prototypes.mean_shape.copy_(marks[0])
        packed.ganimation_age.head.weight.normal_(std=0.1)
        edited = packed.edit(face, *request(5.0), landmarks=marks).face
        alone = prototypes_alone(packed).edit(face, *request(5.0), landmarks=marks).face
    assert edited.isfinite().all() and (edited - alone).abs().max() > 1e-3
    assert torch.equal(packed.edit(face, *request(), landmarks=marks).face, face)
