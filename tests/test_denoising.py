"""Edits that are drawn anew by the denoising network, and its training."""

import math
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.joined_faces import JoinedFaces
from ganime_age.learning.tasks.denoising import denoise as task
from ganime_age.learning.tasks.frozen import load_head
from ganime_age.learning.tasks.rehearsal.tiny import SOURCES, standing, tiny_run, write_faces
from ganime_age.model.model import GanimeAge
from ganime_age.networks.denoising import redraw as drawing
from ganime_age.networks.denoising.denoiser import SPREAD, Condition, Denoiser
from ganime_age.networks.denoising.redraw import (
    COLOUR,
    FAR,
    MOVED,
    OLDER,
    STEP,
    YOUNGER,
    Manner,
    redraw,
    window_on,
)
from ganime_age.networks.ganimation_age import edit
from ganime_age.networks.layers import Edited, luma, resize
from ganime_age.networks.mouth import opened
from ganime_age.networks.restoring.lay import DRAW_EVERY, Carried, Request, carrying

TRAINING = Path(__file__).resolve().parents[1] / "training"
RECIPE = TRAINING / "recipes" / "denoise.toml"
SIDE = 64
AU12 = 8


def redrawn(network, face, moved, landmarks, asked) -> Edited:
    return drawing.redrawn(network, face, lambda: moved, (landmarks, landmarks), asked)


@pytest.fixture(scope="module")
def marks() -> torch.Tensor:
    """68 points (1,68,2) of a face in the middle of its frame."""
    return 0.5 * (load_head("").landmarks(standing(load_head(""), torch.zeros(1, 3))) - 0.5) + 0.5


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.fixture
def network(marks) -> Denoiser:
    """A small one, in which everything that it is told counts."""
    torch.manual_seed(1)
    made = Denoiser([8, 8, 8], [1, 1, 1], sources=2)
    made.use_mean_shape(marks[0])
    with torch.no_grad():
        for weights in made.parameters():
            if not weights.any():
                weights.normal_(std=0.15)
    return made.eval().requires_grad_(False)


def request(age: float = 30.0, smile: float = 0.0) -> Request:
    """From 30 years and no action units to an age and a smile."""
    target = torch.zeros(1, 17)
    target[0, AU12] = smile
    return Request(torch.tensor([30.0]), torch.tensor([age]), torch.zeros(1, 17), target)


def each(*parts: Request) -> Request:
    """One request for several faces."""
    return Request(*(torch.cat(values) for values in zip(*parts, strict=True)))


def said(age: float = math.nan, aus: float = math.nan, source: int = 0, side: float = 256.0) -> Condition:
    """What one face is said to be."""
    return Condition(
        torch.tensor([age]), torch.full((1, 17), aus), torch.tensor([source]), torch.tensor([side])
    )


class Saying(torch.nn.Module):
    """In place of a network: draws a picture, and on it a colour as strong as the age that is said."""

    share, size = 1.0, SIDE

    def __init__(self, picture: torch.Tensor, scale: float | torch.Tensor = 0.0):
        super().__init__()
        self.picture, self.scale, self.seen = picture, scale, []

    def places(self, landmarks: torch.Tensor, side: int) -> torch.Tensor:
        return torch.zeros(len(landmarks), 12, side // 2, side // 2)

    def forward(self, noisy, noise, valid, place, given):
        self.seen.append((noisy, noise))
        return self.picture.expand_as(noisy) + self.scale * given.age[:, None, None, None]


def test_nothing_asked_gives_the_face_back_exactly(network, face, marks):
    edited = redrawn(network, face, face.flip(3), marks, request())
    assert torch.equal(edited.face, face) and not edited.attention.any()
    teller = Saying(face)
    redrawn(teller, face, face.flip(3), marks, request())
    assert not teller.seen, "and takes no time"


@pytest.mark.parametrize("asked", [request(75.0), request(5.0), request(smile=4.0)])
def test_only_the_window_around_the_face_changes(network, face, marks, asked):
    edited = redrawn(network, face, face, marks, asked)
    change, window = (edited.face - face).abs().amax(1)[0], window_on(marks, SIDE)
    (top, bottom), (left, right) = window.rows.tolist(), window.columns.tolist()
    assert change[top:bottom, left:right].mean() > 0.005
    assert 0 < left < right < SIDE, "there is something beside the face"
    change[top:bottom, left:right] = 0
    assert not change.any()
    assert edited.face.abs().max() <= 1


def test_where_attention_is_nothing_nothing_changes(network, face, marks):
    both = face.expand(2, -1, -1, -1)
    edited = redrawn(network, both, both, marks.expand(2, -1, -1), each(request(), request(70.0)))
    assert not edited.attention[0].any() and torch.equal(edited.face[:1], face)
    assert (edited.attention[1] > 0.9).all() and not torch.equal(edited.face[1:], face)


@pytest.mark.parametrize("asked", [request(30.01), request(29.99), request(smile=0.001)])
def test_a_tiny_request_changes_a_little(network, face, marks, asked):
    change = (redrawn(network, face, face, marks, asked).face - face).abs().max()
    assert 0 < change < 0.02


@pytest.mark.parametrize("age", [0.0, 29.5, 30.5, 30 + FAR, 80.0])
def test_pixels_follow_the_age_without_a_jump(network, face, marks, age):
    one, other = (redrawn(network, face, face, marks, request(age + more)).face for more in (0.0, 0.01))
    assert 0 < (one - other).abs().max() < 0.02


def test_faces_of_a_batch_that_lie_alike_are_drawn_as_each_alone(network, face, marks):
    both, asked = torch.cat([face, face.flip(2)]), (request(75.0), request(5.0))
    together = redrawn(network, both, both, marks.expand(2, -1, -1), each(*asked)).face
    for i, own in enumerate(asked):
        alone = redrawn(network, both[i : i + 1], both[i : i + 1], marks, own).face
        assert torch.allclose(together[i : i + 1], alone, atol=1e-5)


def test_faces_of_a_batch_that_lie_apart_are_drawn_nearly_as_each_alone(model, portrait):
    """The window holds all of them, so that each is drawn with more of its surroundings in sight."""
    near = resize(torch.from_numpy(portrait[:230, 50:280]).permute(2, 0, 1)[None] / 127.5 - 1, 256)
    both, asked = torch.cat([near, near.roll((30, 30), (2, 3))]), (request(75.0), request(5.0))
    marks = model.read(both, identity=False).landmarks
    windows = [[span.tolist() for span in window_on(some, 256)] for some in (marks[:1], marks[1:], marks)]
    assert windows[0] != windows[2] != windows[1]
    together = model.edit(both, *each(*asked), landmarks=marks).face
    for i, own in enumerate(asked):
        alone = model.edit(both[i : i + 1], *own, landmarks=marks[i : i + 1]).face[0]
        off = (together[i] - alone).abs() * 127.5
        assert off.mean() < 0.05 and off.max() < 5 < (alone - both[i]).abs().mean() * 127.5


def test_an_edit_is_the_same_whatever_the_seed_and_leaves_the_seed_alone(network, face, marks):
    torch.manual_seed(1)
    one = redrawn(network, face, face, marks, request(70.0)).face
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(redrawn(network, face, face, marks, request(70.0)).face, one)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_draws_nothing_shrinks_the_noise_as_far_as_it_is_expected(face, marks):
    blank, noise = Denoiser([8, 8, 8], [1, 1, 1]), torch.tensor([0.5])
    valid, place = torch.ones(1, 1, SIDE, SIDE), blank.places(marks, SIDE)
    out = blank(face, noise, valid, place, said(30.0, 0.0))
    assert torch.allclose(out, face * SPREAD**2 / (SPREAD**2 + 0.25))


def test_without_noise_a_face_is_itself(network, face, marks):
    valid, place = torch.ones(1, 1, SIDE, SIDE), network.places(marks, SIDE)
    far, near = (
        (network(face, torch.tensor([level]), valid, place, said(30.0, 0.0)) - face).abs().max()
        for level in (1.0, 1e-4)
    )
    assert near < 1e-3 < far


def test_what_is_said_counts_and_may_be_left_unsaid(network, face, marks):
    valid, place, noise = torch.ones(1, 1, SIDE, SIDE), network.places(marks, SIDE), torch.tensor([0.5])
    outs = [
        network(face, noise, valid, place, given)
        for given in (
            said(30.0, 1.0), said(80.0, 1.0), said(30.0, 4.0), said(aus=1.0), said(30.0), said(),
            said(30.0, 1.0, source=1), said(30.0, 1.0, source=-1), said(30.0, 1.0, side=128.0),
        )
    ]  # fmt: skip
    assert all(out.isfinite().all() for out in outs)
    assert all(not torch.equal(one, other) for i, one in enumerate(outs) for other in outs[:i])
    units = torch.zeros(1, 17)
    partly, plainly = (said(30.0)._replace(aus=units.clone()) for _ in range(2))
    partly.aus[0, 3], partly.aus[0, 5], plainly.aus[0, 5] = math.nan, 2.0, 2.0
    assert torch.equal(*(network(face, noise, valid, place, given) for given in (partly, plainly)))


def test_what_of_a_picture_is_not_real_is_not_looked_at(network, face, marks):
    valid, place = torch.ones(1, 1, SIDE, SIDE), network.places(marks, SIDE)
    valid[..., :20] = 0
    other = face.clone()
    other[..., :20] = 0.9
    outs = [
        network(one, torch.tensor([0.5]), valid, place, said(30.0, 0.0))[..., 20:] for one in (face, other)
    ]
    assert torch.equal(*outs)


def test_an_age_is_drawn_as_far_as_it_goes():
    def manner(asked: Request) -> list[float]:
        return [float(value) for value in Manner.of(asked)]

    assert manner(request(smile=4.0)) == pytest.approx(list(MOVED))
    for way, far in ((1, OLDER), (-1, YOUNGER)):
        assert manner(request(30.0 + way * FAR)) == pytest.approx(list(far))
        assert manner(request(30.0 + way * (FAR + 4), smile=2.0)) == pytest.approx(list(far))
        half = [(one + still) / 2 for one, still in zip(far, MOVED, strict=True)]
        assert manner(request(30.0 + way * FAR / 2)) == pytest.approx(half)


def test_what_is_asked_counts_as_often_as_the_guidance_says(face):
    how = Manner(torch.tensor([1.0]), torch.tensor([3.0]))
    teller, noise = Saying(torch.zeros(1, 3, 1, 1), 0.01), torch.ones(1, 3, SIDE, SIDE)
    shown = torch.ones_like(face[:, :1]), torch.zeros(1, 12, 32, 32)
    ahead, back = redraw(teller, (face, face), noise, shown, (said(50.0), said(30.0)), how)
    assert torch.allclose(back, torch.full_like(face, 0.3)), "the face as it is said to be"
    assert torch.allclose(ahead, torch.full_like(face, 0.3 + 3 * 0.2)), "against what it is said to be"
    ((noisy, level),) = teller.seen
    assert torch.allclose(noisy, (face + noise).expand(3, -1, -1, -1)), "drowned in the same noise"
    assert torch.allclose(level, torch.ones(3))


def test_colour_is_stressed_less_than_light(face):
    how = Manner(torch.tensor([1.0]), torch.tensor([3.0]))
    red = torch.tensor([0.01, 0.0, 0.0])[None, :, None, None]
    teller, noise = Saying(torch.zeros(1, 3, 1, 1), red), torch.ones(1, 3, SIDE, SIDE)
    shown = torch.ones_like(face[:, :1]), torch.zeros(1, 12, 32, 32)
    ahead, back = redraw(teller, (face, face), noise, shown, (said(50.0), said(30.0)), how)
    light = luma(20 * red)
    assert torch.allclose(back, (30 * red).expand_as(face), atol=1e-6)
    assert torch.allclose(luma(ahead - back), 3 * light, atol=1e-6)
    colour = (1 + 2 * COLOUR) * (20 * red - light)
    assert torch.allclose(ahead - back - 3 * light, colour.expand_as(face), atol=1e-6)


@pytest.mark.parametrize("asked", [request(5.0), request(30 + FAR), request(smile=4.0)])
def test_a_face_keeps_all_that_the_network_misses(face, marks, asked):
    """The network draws one picture whatever it is told, and a level of grey that it is told: that alone is added."""
    picture, window = 0.3 * face.flip(2), window_on(marks, SIDE)
    out = redrawn(Saying(window.cut(picture)), face, face, marks, asked).face
    assert torch.allclose(out, face, atol=1e-5) and not torch.allclose(picture, face, atol=0.1)
    told = redrawn(Saying(window.cut(picture), 0.001), 0.5 * face, 0.5 * face, marks, asked).face
    years = asked.target_age - asked.source_age
    added = 0.001 * years * Manner.of(asked).guidance * asked.asked()
    assert torch.allclose(
        window.cut(told - 0.5 * face), added[:, None, None, None].expand_as(window.cut(face)), atol=1e-5
    )


def test_nothing_is_kept_of_what_the_prototypes_covered(face, marks):
    """Where lids close over an eye its lashes and pupil must not shine through."""
    covered, asked = face.clone(), request(smile=4.0)
    covered[..., 24:40, 16:32] = 0.1
    window, picture = window_on(marks, SIDE), torch.full_like(face, 0.2)
    out = redrawn(Saying(window.cut(picture)), covered, face, marks, asked).face
    inside, outside = (..., slice(28, 36), slice(20, 28)), (..., slice(28, 36), slice(38, 46))
    assert (out - picture)[inside].abs().max() < 0.05
    assert torch.allclose(out[outside], face[outside], atol=0.01), "what nothing covers is kept"


@pytest.fixture
def mouths(marks) -> tuple[torch.Tensor, torch.Tensor, tuple]:
    """Landmarks with closed and with parted lips, and what lies between these: columns and rows."""
    closed, parted = marks.clone(), marks.clone()
    middle, half = marks[0, 60:68].mean(0), 0.15
    for lips, down in ((closed, 0.0), (parted, 0.25)):
        lips[0, [60, 64]] = middle + torch.tensor([[-half, 0.0], [half, 0.0]])
        for row, way in (([61, 62, 63], 0.0), ([67, 66, 65], down)):
            along = torch.tensor([-half, 0.0, half]) / 2
            lips[0, row] = middle + torch.stack([along, torch.full((3,), way)], 1)
    x, y = (int(SIDE * float(at)) for at in middle + torch.tensor([0.0, 0.1]))
    return closed, parted, (0, slice(None), slice(y - 1, y + 2), slice(x - 3, x + 3))


def test_teeth_that_the_prototypes_drew_stay_apart_and_get_the_light_that_the_network_sees_on_them(mouths):
    """To the network they are one white band, the mean of all that there may be; of lips that were open before it is
    not, for there a face has its own. What it sees on the lips colours no tooth."""
    closed, parted, inside = mouths
    edit, window = torch.zeros(1, 3, SIDE, SIDE), window_on(parted, SIDE)
    edit[..., ::2] = 0.2
    seen = torch.tensor([0.9, -0.5, -0.5])[None, :, None, None].expand_as(edit)  # red lips
    seen = torch.lerp(seen, torch.full_like(edit, 0.5), (opened(closed, parted, SIDE) > 0).float())
    laid = [
        drawing.redrawn(
            Saying(window.cut(seen)), edit, lambda: seen, (before, parted), request(smile=4.0)
        ).face
        for before in (closed, parted)
    ]
    stripes = [one[inside].diff(dim=-1).abs().mean() for one in laid]
    assert stripes[0] > 0.15 and stripes[1] < 0.02
    assert laid[0][inside].mean() == pytest.approx(0.5, abs=0.05), "as bright as the network sees them"
    between = opened(closed, parted, SIDE)[0, 0] == 1
    red, _, blue = laid[0][0]
    assert (red - blue)[between].max() < 0.1


def test_teeth_stay_apart_in_frames_that_take_over_what_was_drawn_of_closed_lips(mouths):
    closed, parted, inside = mouths
    edit, asked = torch.zeros(1, 3, SIDE, SIDE), request(smile=4.0)
    window = window_on(closed, SIDE)
    stripes = torch.zeros_like(edit)
    stripes[..., ::2] = 0.4
    with carrying(Carried()):
        first, second = (
            drawing.redrawn(Saying(window.cut(stripes)), edit, lambda: stripes, (closed, lips), asked).face
            for lips in (closed, parted)
        )
    assert first[inside].diff(dim=-1).abs().mean() > 0.3
    assert second[inside].diff(dim=-1).abs().mean() < 0.1, "what the prototypes drew there has none"


def test_a_share_of_what_is_drawn_is_laid(network, face, marks):
    def change(share: float) -> Edited:
        network.share = share
        edited = redrawn(network, 0.2 * face, 0.2 * face, marks, request(70.0))
        return Edited(edited.face - 0.2 * face, edited.attention)

    with torch.no_grad():
        network.head.weight.mul_(0.1)  # nothing reaches black or white, so that what is added is what is seen
    whole, half, none = change(1.0), change(0.5), change(0.0)
    assert whole.face.abs().max() > 0.02 and torch.allclose(half.face, whole.face / 2, atol=1e-6)
    assert torch.allclose(half.attention, whole.attention / 2)
    assert not none.face.any() and not none.attention.any()
    with pytest.raises(BadInput, match="a share of 0 to 1 of what it draws anew, not 1.5"):
        Denoiser(share=1.5)


@pytest.mark.parametrize("away", [(-0.5, -0.5), (0.4, 0.6), (2.0, 0.0), (0.0, -3.0), (3.0, 3.0)])
def test_a_face_may_lie_partly_or_wholly_outside_its_frame(network, face, marks, away):
    edited = redrawn(network, face, face, marks + torch.tensor(away), request(70.0))
    assert edited.face.isfinite().all() and edited.face.shape == face.shape
    window = window_on(marks + torch.tensor(away), SIDE)
    for first, end in (window.rows.tolist(), window.columns.tolist()):
        assert 0 <= first < end <= SIDE and not first % STEP and not end % STEP


def test_a_face_without_landmarks_is_edited_with_finite_pixels(network, face):
    nowhere = torch.full((1, 68, 2), math.nan)
    asked = request(70.0)
    edited = edit(network, face, *asked, landmarks=(nowhere, nowhere), moved=lambda: face)
    assert edited.face.isfinite().all() and edited.attention.isfinite().all()


def test_on_a_clip_what_was_drawn_is_taken_over_and_drawn_anew_at_times(network, face, marks, monkeypatch):
    looks, looked = [], Denoiser.forward
    monkeypatch.setattr(Denoiser, "forward", lambda *given: looks.append(1) or looked(*given))
    alone = redrawn(network, 0.5 * face, 0.5 * face, marks, request(70.0)).face
    looks.clear()
    other, carried = 0.5 * face + 0.1, Carried()
    with carrying(carried):
        first = redrawn(network, 0.5 * face, 0.5 * face, marks, request(70.0)).face
        rest = [redrawn(network, other, other, marks, request(70.0)).face for _ in range(DRAW_EVERY - 1)]
        assert len(looks) == 1, "for the first of them"
        redrawn(network, other, other, marks, request(70.0))
        assert len(looks) == 2
        never = None  # a frame that takes over what was drawn needs no more
        drawing.redrawn(network, other, never, (marks, marks), request(70.0))
    assert torch.allclose(first, alone, atol=1e-6)
    inside = (first.abs() < 0.9) & (rest[0].abs() < 0.9)
    assert torch.allclose((rest[0] - other)[inside], (first - 0.5 * face)[inside], atol=1e-5)
    assert torch.equal(rest[0], rest[-1])


@pytest.fixture
def small(marks, network) -> GanimeAge:
    """A model whose default method draws anew, and whose prototypes move a face with its age."""
    torch.manual_seed(0)
    made = GanimeAge(
        ("prototypes", "ganimation_age"),
        SIDE,
        edit_size=SIDE,
        ganimation_age={"kind": "denoiser", "widths": [8, 8, 8], "blocks": [1, 1, 1], "sources": 2},
    )
    made.ganimation_age.load_state_dict(network.state_dict())
    made.ganimation_age.size = SIDE
    made.prototypes.mean_shape.copy_(marks[0])
    made.prototypes.region.fill_(1.0)
    for name in ("age_shape", "unit_shape"):
        made.prototypes.get_buffer(name).normal_(0, 0.02)
    return made.eval().requires_grad_(False)


def test_pixels_are_moved_as_the_prototypes_move_them_and_nothing_else_is_changed(small, face, marks):
    asked, prototypes = request(70.0, smile=3.0), small.prototypes
    moved = prototypes.moved_face(face, marks, asked)
    assert (moved - face).abs().mean() > 0.01
    tones = {name: prototypes.get_buffer(name).any() for name in ("age_tone", "unit_tone", "age_hair")}
    assert not any(tones.values()), "these prototypes only move"
    assert torch.allclose(moved, prototypes(face, marks, *asked), atol=1e-5)
    prototypes.get_buffer("age_tone").normal_(std=0.5)
    assert torch.equal(moved, prototypes.moved_face(face, marks, asked))
    assert not torch.allclose(moved, prototypes(face, marks, *asked), atol=0.05)
    assert torch.equal(prototypes.moved_face(face, marks, request()), face)


@pytest.mark.parametrize("parts", [("shape",), ("shape", "skin", "hair")])
def test_the_network_gets_the_face_as_the_prototypes_moved_it(small, face, marks, parts, monkeypatch):
    """Of an age that leaves the skin, too: else the face's own detail would lie where it was before."""
    got, asked = [], request(70.0, smile=3.0)
    monkeypatch.setattr(
        "ganime_age.networks.ganimation_age.redrawn",
        lambda *given: got.append(given) or Edited(given[1], torch.zeros_like(given[1][:, :1])),
    )
    small.edit(face, *asked, landmarks=marks, parts=parts)
    _, _, moved, (before, after), told = got[0]
    assert torch.equal(before, marks)
    assert torch.allclose(moved(), small.prototypes.moved_face(face, marks, asked))
    assert torch.allclose(after, small.prototypes.moved_landmarks(marks, asked[:2], asked[2:]))
    assert float(told.target_age) == (70.0 if "skin" in parts else 30.0)


def test_an_age_without_skin_is_left_to_the_prototypes(small, face, marks):
    asked = request(70.0)
    edited = small.edit(face, *asked, landmarks=marks, parts=("shape",)).face
    shown = small.prototypes.only(("shape",))(face, marks, *asked)
    assert torch.allclose(edited, shown, atol=1e-6)
    assert not torch.allclose(small.edit(face, *asked, landmarks=marks).face, shown, atol=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_faces(tmp_path_factory.mktemp("synthetic") / "faces")


@pytest.fixture
def faces(folder) -> Faces:
    return Faces(folder, SIDE, ("train",))


def tiny(**numbers: object) -> task.Recipe:
    keywords = {"widths": [8, 8, 8], "blocks": [1, 1, 1]}
    return task.Recipe(**{"batch": 4, "network": keywords, "told_sources": ["synth", "aaf"]} | numbers)


def test_the_loss_counts_what_is_real_alone(network, faces):
    task.tell(faces, ["synth", "aaf"], {})
    batch = faces.batch(np.arange(4))
    batch["valid"][..., :30] = 0

    def loss(place: slice) -> float:
        changed = batch["face"].clone()
        changed[..., place] = 1.0
        torch.manual_seed(0)
        return float(task.denoised(network, tiny(colour=0.0), batch | {"face": changed}))

    assert loss(slice(0, 0)) == pytest.approx(loss(slice(0, 30)), rel=1e-5)
    assert abs(loss(slice(30, 64)) - loss(slice(0, 0))) > 1e-3
    nothing = batch | {"valid": torch.zeros_like(batch["valid"])}
    assert float(task.denoised(network, tiny(), nothing)) == 0


def test_training_makes_the_loss_fall(faces):
    torch.manual_seed(0)
    made = task.build(tiny(batch=8, lr=0.01, noise_spread=0.2), faces, 0)
    network, batch = made.networks["generator"], made.batch(0)
    optimizer, found = torch.optim.AdamW(network.parameters(), 0.01), []
    for _ in range(25):
        torch.manual_seed(5)
        total = task.denoised(network, tiny(), batch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        found.append(float(total.detach()))
    assert found[-1] < 0.8 * found[0]
    assert all(weights.grad is not None and weights.grad.any() for weights in network.parameters())


def test_conditions_are_left_unsaid_at_their_share():
    count, share = 20000, 0.25
    torch.manual_seed(0)
    given = Condition(
        torch.full((count,), 30.0), torch.ones(count, 17), torch.ones(count).long(), torch.ones(count)
    )
    left = task.partly(given, share)
    age, aus, source = left.age.isnan(), left.aus.isnan(), left.source == -1
    assert torch.equal(aus.all(1), aus.any(1)), "units are said or left out together"
    for found, wanted in (
        (age, 1 - 0.75**2),
        (aus[:, 0], 1 - 0.75**2),
        (age & aus[:, 0], share + 0.75 * share**2),
        (source, share),
    ):
        assert abs(float(found.float().mean()) - wanted) < 0.015
    assert torch.equal(left.side, given.side)
    assert all(torch.equal(*pair) for pair in zip(task.partly(given, 0.0), given, strict=True))
    nothing = task.partly(given, 1.0)
    assert nothing.age.isnan().all() and nothing.aus.isnan().all() and (nothing.source == -1).all()


def test_another_light_changes_faces_within_their_range_and_none_leaves_them(face):
    torch.manual_seed(0)
    many = face.expand(8, -1, -1, -1)
    lit = task.relit(many, 0.5)
    assert lit.abs().max() <= 1 and (lit - many).abs().mean((1, 2, 3)).min() > 0.005
    assert torch.allclose(task.relit(many, 0.0), many, atol=1e-6)


def check_told(faces: Faces | JoinedFaces) -> None:
    """Sources and sides of all of some faces, in labels and batches."""
    task.tell(faces, ["synth", "aaf"], {"aaf": 48.0, "utkface": 32.0})
    names = faces.table["source"].to_numpy(str)
    batch = faces.batch(np.arange(len(faces)))
    for name in SOURCES:
        own = torch.from_numpy(names == name)
        assert own.any()
        assert (batch["source"][own] == {"synth": 0, "aaf": 1}.get(name, -1)).all()
        assert (batch["side"][own] == {"aaf": 48.0, "utkface": 32.0}.get(name, SIDE)).all()
    given = task.condition_of(batch)
    assert given.source.dtype == torch.int64 and given.side.dtype == torch.float32


def test_faces_are_told_the_number_of_their_source_and_the_side_of_their_frame(faces):
    check_told(faces)


def test_faces_of_several_folders_are_learnt_from_as_one(folder, tmp_path):
    other = write_faces(tmp_path / "other", 16)
    joined = JoinedFaces([Faces(one, SIDE, ("train",)) for one in (folder, other)])
    check_told(joined)
    made = task.build(tiny(shares={"synth": 0.5}), joined, 0)
    assert math.isfinite(task.denoised(made.networks["generator"], tiny(), made.batch(0)))
    assert made.probe is not None and made.sheet is not None


def without(folder: Path, out: Path, **columns: object) -> Faces:
    """The same faces with other columns."""
    shutil.copytree(folder, out)
    table = pd.read_parquet(out / "manifest.parquet")
    for name, value in columns.items():
        table[name] = [value] * len(table)
    table.to_parquet(out / "manifest.parquet")
    return Faces(out, SIDE, ("train",))


@pytest.mark.parametrize(
    "columns", [{"age": math.nan}, {"landmarks": np.full(136, np.nan, np.float32)}], ids=["age", "landmarks"]
)
def test_faces_without_an_age_or_landmarks_are_refused_in_one_sentence(folder, tmp_path, columns):
    poor = without(folder, tmp_path / "poor", **columns)
    with pytest.raises(
        BadInput, match="poor has no face with landmarks and an age, from which faces are learnt"
    ):
        task.build(tiny(), poor, 0)


def test_faces_without_a_held_out_one_have_neither_probe_nor_sheet(folder, tmp_path):
    made = task.build(tiny(), without(folder, tmp_path / "seen", split="train"), 0)
    assert made.probe is None and made.sheet is None


def test_the_probe_measures_held_out_faces_and_the_sheet_shows_them(faces, tmp_path):
    torch.manual_seed(0)
    made = task.build(tiny(), faces, 0)
    with torch.no_grad():
        found = made.probe(made.networks)
        made.sheet(made.networks, tmp_path / "sheet.jpg")
    levels = [f"{level:g}" for level in task.PROBED]
    assert set(found) == {f"{name}_{level}" for name in ("error", "wrong_age") for level in levels}
    errors = [found[f"error_{level}"] for level in levels]
    assert all(value > 0 for value in errors) and errors == sorted(errors), "more noise, more error"
    assert all(found[f"wrong_age_{level}"] == 0 for level in levels), "before it has learnt to listen"
    with Image.open(tmp_path / "sheet.jpg") as shown:
        assert shown.size == ((1 + len(task.SHOWN)) * SIDE, 10 * SIDE)


def test_a_network_that_listens_errs_more_where_a_wrong_age_is_said(faces):
    class Knowing(Denoiser):
        """Sees a face of the age that is said, the brighter the older."""

        def forward(self, noisy, noise, valid, place, given):
            return given.age[:, None, None, None] / 100 + 0 * noisy

    batch = faces.batch(np.flatnonzero(~np.isnan(faces.labels["age"]))[:8])
    batch |= {"source": torch.zeros(8).long(), "side": torch.full((8,), float(SIDE))}
    batch["face"] = (batch["age"] / 100)[:, None, None, None].expand(-1, 3, SIDE, SIDE) + 0.01
    found = task.prober(batch)({"generator": Knowing([8, 8], [1, 1])})
    assert all(found[f"error_{level:g}"] == pytest.approx(1.275, rel=0.01) for level in task.PROBED)
    assert all(found[f"wrong_age_{level:g}"] > 10 for level in task.PROBED)


def test_a_trained_network_is_packed_and_edits(folder, small_weights, tmp_path, monkeypatch, face, marks):
    run = tiny_run(RECIPE, folder, tmp_path / "networks", tmp_path / "run")
    run.train()
    out = tmp_path / "weights"
    shutil.copytree(small_weights, out)
    words = ["pack.py", "--generator", str(tmp_path / "run" / "light"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(TRAINING / "pack.py"))["main"]()
    packed = GanimeAge.from_pretrained(out)
    trained = run.best_networks()["generator"].state_dict()
    assert isinstance(packed.ganimation_age, Denoiser) and packed.ganimation_age.sources == 6
    for key, value in packed.ganimation_age.state_dict().items():
        assert torch.equal(value, trained[key].half().float()), key
    with torch.no_grad():
        packed.prototypes.region.fill_(1.0)
        packed.prototypes.mean_shape.copy_(marks[0])
        edited = packed.edit(face, *request(5.0), landmarks=marks)
    assert edited.face.isfinite().all() and (edited.face - face).abs().max() > 1e-3
    assert torch.equal(packed.edit(face, *request(), landmarks=marks).face, face)
