"""The dual generator: whose shape, whose movement, and nothing where nothing moves."""

from copy import deepcopy

import pytest
import torch

from ganime_age.edits import AU_CODES
from ganime_age.errors import BadInput, MissingModel
from ganime_age.model.model import GanimeAge
from ganime_age.networks import dual_generator
from ganime_age.networks.dual_generator import (
    LINES,
    Discriminator,
    DualGenerator,
    FaceGenerator,
    ShapeGenerator,
    dots,
)
from ganime_age.networks.head import Head

TINY = {"widths": [8, 16, 16], "blocks": 1, "style": 8}


@pytest.fixture(scope="module")
def head():
    return GanimeAge.from_pretrained(parts=["head"]).head


def heads(head, count: int, seed: int = 0) -> Head:
    """Heads of different people with different expressions and poses, in the middle of their frames."""
    chance = torch.Generator().manual_seed(seed)
    identity, expression = (
        0.7 * torch.randn(count, len(basis), generator=chance) for basis in (head.identity, head.expression)
    )
    pose = torch.randn(count, 3, generator=chance) * torch.tensor([20.0, 8.0, 3.0])
    return Head(identity, expression, pose, torch.full((count,), 0.56), torch.full((count, 2), 0.5))


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """As after training: nothing that starts at zero is zero any more."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def test_a_face_that_drives_itself_stays_exactly_itself(head):
    shape, marks = awake(ShapeGenerator(head, 16)), head.landmarks(heads(head, 4))
    first = head.landmarks(heads(head, 4, seed=1))
    with torch.no_grad():
        assert (shape(marks, marks) - marks).abs().max() < 1e-6
        assert (shape.relative(marks, first, first) - marks).abs().max() < 1e-6


def test_an_untrained_shape_has_the_sources_face_and_the_driving_movement(head):
    source, driving = heads(head, 16), heads(head, 16, seed=1)
    with torch.no_grad():
        made = ShapeGenerator(head)(head.landmarks(source), head.landmarks(driving))
    found, source, driving = (head.fit(marks) for marks in (made, *map(head.landmarks, (source, driving))))
    assert (found.pose - driving.pose)[:, :2].abs().mean() < 2
    assert (found.pose - source.pose)[:, :2].abs().mean() > 8
    for part, like, unlike in (("identity", source, driving), ("expression", driving, source)):
        near, far = ((getattr(found, part) - getattr(who, part)).square().mean() for who in (like, unlike))
        assert near < 0.5 * far, part


def test_the_moved_face_is_still_aligned(head):
    source, driving = head.landmarks(heads(head, 8)), head.landmarks(heads(head, 8, seed=1))
    with torch.no_grad():
        made = awake(ShapeGenerator(head, 16))(source, driving)
    assert (dual_generator.centre(made) - dual_generator.centre(source)).abs().max() < 1e-6


def test_relative_movement_is_added_to_what_the_source_does(head):
    own, first = heads(head, 8), heads(head, 8, seed=1)
    driving = first._replace(pose=first.pose + torch.tensor([15.0, 0.0, 0.0]), shift=first.shift + 0.05)
    with torch.no_grad():
        made = ShapeGenerator(head).relative(*map(head.landmarks, (own, driving, first)))
    found, was = head.fit(made), head.fit(head.landmarks(own))
    turn = (found.pose - was.pose).mean(0)
    assert turn[0] == pytest.approx(15, abs=2) and turn[1:].abs().max() < 2
    assert (found.shift - was.shift).mean(0).tolist() == pytest.approx([0.05, 0.05], abs=0.01)


def drawn(count: int = 2, side: int = 32) -> tuple[torch.Tensor, ...]:
    """What a face generator is given: rendered, seen, source, landmarks."""
    torch.manual_seed(0)
    rendered, source = (torch.rand(count, 3, side, side) * 2 - 1 for _ in range(2))
    return rendered, torch.ones(count, 1, side, side), source, torch.rand(count, 68, 2)


@pytest.mark.parametrize("side", [32, 48, 128])
def test_the_face_generator_starts_as_a_copy_of_what_is_drawn(side):
    given = drawn(side=side)
    edited = FaceGenerator(**TINY)(*given)
    assert torch.equal(edited.face, given[0])
    assert edited.attention.shape == (2, 1, side, side) and edited.attention.max() == 0


def test_nothing_is_painted_where_nothing_moved():
    rendered, seen, source, marks = drawn()
    rendered = source.clone()
    rendered[1, :, 20:, 20:] = -rendered[1, :, 20:, 20:]
    seen[1, :, :4, :4] = 0
    edited = awake(FaceGenerator(**TINY))(rendered, seen, source, marks)
    assert torch.equal(edited.face[0], source[0]) and edited.attention[0].max() == 0
    assert torch.equal(edited.face[1, :, 11:13, 11:13], source[1, :, 11:13, 11:13])
    assert not torch.equal(edited.face[1, :, 20:, 20:], rendered[1, :, 20:, 20:])
    assert not torch.equal(edited.face[1, :, :4, :4], rendered[1, :, :4, :4])
    assert edited.face.abs().max() <= 1


def test_all_that_is_given_counts():
    generator, given = awake(FaceGenerator(**TINY)), drawn()
    plain = generator(*given).face
    for place, other in enumerate(drawn()):
        changed = list(given)
        changed[place] = other.flip(0) * 0.5
        assert (generator(*changed).face - plain).abs().mean() > 1e-4, place


def test_every_parameter_learns(head):
    dual, judge = awake(DualGenerator(head, 16, **TINY)), Discriminator((8, 8))
    marks = head.landmarks(heads(head, 2)), head.landmarks(heads(head, 2, seed=1))
    edited = dual.face(*drawn())
    real = judge(edited.face, torch.ones(2, 1, 32, 32), dots(marks[0], 32))
    (real.mean() + edited.face.square().mean() + dual.shape(*marks).square().sum()).backward()
    for network in (dual, judge):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_networks_are_light(head):
    dual = DualGenerator(head)
    assert sum(p.numel() for p in dual.face.parameters()) < 1.2e6
    assert 2 * sum(p.numel() for p in dual.state_dict().values()) < 3 * 2**20
    assert not [key for key in dual.state_dict() if "head" in key and not key.startswith("face.head")]


def test_landmarks_are_drawn_where_they_are():
    marks = torch.full((1, 68, 2), -1.0)
    marks[0, 30] = torch.tensor([0.25, 0.75])  # the tip of the nose
    planes = dots(marks, 64)
    assert planes.shape == (1, len(LINES), 64, 64) and planes[:, [0, 2, 3, 4]].max() < 1e-6
    y, x = divmod(int(planes[0, 1].argmax()), 64)
    assert abs(x - 15.5) <= 0.5 and abs(y - 47.5) <= 0.5


@pytest.fixture(scope="module")
def mover(model):
    """The shipped head and prototypes with a dual generator that is awake."""
    parts = ("readers", "head", "ganimation_age", "dual_generator")
    sizes = {"readers": (64, (8, 8, 8, 16), (1, 1, 1))}
    torch.manual_seed(0)
    made = GanimeAge(
        parts, 128, edit_size=64,
        prototypes=model.config["prototypes"],
        readers=dict(zip(("size", "widths", "blocks"), sizes["readers"], strict=True)),
        dual_generator=TINY | {"shape_hidden": 16}, ganimation_age=model.config["ganimation_age"],
        head={"points": len(model.head.mean), "triangles": len(model.head.triangles),
              "identity": len(model.head.identity), "expression": len(model.head.expression)},
    )  # fmt: skip
    made.head.load_state_dict(model.head.state_dict())
    made.ganimation_age.load_state_dict(model.ganimation_age.state_dict())
    made.prototypes.load_state_dict(model.prototypes.state_dict())
    awake(made.dual_generator)
    return made.eval().requires_grad_(False)


def request(mover, count: int = 2) -> list[torch.Tensor]:
    """Faces, landmarks and action units of which the last asks for nothing."""
    torch.manual_seed(0)
    faces = torch.rand(count, 3, 16, 16) * 2 - 1
    faces = torch.nn.functional.interpolate(faces, size=128, mode="bicubic").clamp(-1, 1)
    source = mover.head.landmarks(heads(mover.head, count))
    target = mover.dual_generator.shape(source, source.roll(1, 0))
    units = torch.rand(count, len(AU_CODES)) * 3
    wanted = units.roll(1, 0)
    target[-1], wanted[-1] = source[-1], units[-1]
    return [faces, source, target, units, wanted]


def test_reenactment_moves_what_is_asked_and_leaves_the_rest(mover):
    faces, *numbers = request(mover)
    edited = mover.reenact(faces, *numbers)
    assert edited.face.shape == faces.shape and edited.attention.shape == (2, 1, 128, 128)
    assert (edited.face[0] - faces[0]).abs().mean() > 0.01 and edited.attention[0].max() > 0.5
    assert torch.equal(edited.face[1], faces[1]) and edited.attention[1].max() == 0
    assert 0 <= edited.attention.min() and edited.face.abs().max() <= 1


def test_nothing_asked_is_exactly_nothing(mover):
    faces, source, _, units, _ = request(mover)
    edited = mover.reenact(faces, source, source, units, units)
    assert torch.equal(edited.face, faces) and edited.attention.max() == 0


def test_an_expression_alone_moves_no_landmark(mover):
    faces, source, _, units, wanted = request(mover)
    edited = mover.reenact(faces, source, source, units, wanted)
    assert 0 < (edited.face[0] - faces[0]).abs().mean() < 0.2


def test_without_prototypes_the_mesh_still_moves_the_face(mover):
    sizes = {name: len(getattr(mover.head, name)) for name in ("triangles", "identity", "expression")}
    bare = GanimeAge(("head", "dual_generator"), 128, edit_size=64,
                     head={"points": len(mover.head.mean)} | sizes)  # fmt: skip
    bare.head.load_state_dict(mover.head.state_dict())
    faces, *numbers = request(mover)
    assert (bare.eval().reenact(faces, *numbers).face[0] - faces[0]).abs().mean() > 0.01


def test_what_is_not_loaded_is_named(model):
    with pytest.raises(BadInput, match="works on the part head"):
        GanimeAge(("dual_generator",))
    with pytest.raises(MissingModel, match="dual_generator"):
        GanimeAge(("head",)).reenact(*[torch.zeros(1)] * 5)


def test_a_copy_works_on_its_own_head(mover):
    other = deepcopy(mover)
    assert other.dual_generator.shape.head is other.head is not mover.head


def test_the_part_is_saved_and_comes_back(mover, tmp_path):
    mover.save_pretrained(tmp_path / "weights")
    back = GanimeAge.from_pretrained(tmp_path / "weights")
    faces, *numbers = request(mover)
    assert torch.equal(back.reenact(faces, *numbers).face, mover.reenact(faces, *numbers).face)
