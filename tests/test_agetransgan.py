"""AgeTransGAN: the ten groups, its networks, its losses, its training, and the edit that is a difference."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ganime_age.edits import AU_CODES, GROUP_STARTS, Edit, age_group
from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning import losses
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan, Step
from ganime_age.learning.tasks import age_editing
from ganime_age.learning.tasks import agetransgan as agetransgan_task
from ganime_age.model.model import GanimeAge
from ganime_age.networks import age_groups
from ganime_age.networks import agetransgan as networks
from ganime_age.pipelines.face import FacePipeline
from helpers.ages import aifd_folder, face_folder, light_copies, tiny_readers, without_gradient

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
SMALL = {"size": 64, "width": 0.25, "style": 16, "layers": 2}


def test_ages_and_groups_are_each_others_inverse_and_each_age_lies_in_its_own_group():
    middle = torch.tensor(age_groups.GROUP_AGES)
    assert [age_group(float(age)) for age in middle] == list(range(10)) and len(GROUP_STARTS) == 10
    assert torch.equal(age_groups.group_of(middle), torch.arange(10.0))
    groups = torch.linspace(0, 9, 91)
    assert torch.allclose(age_groups.group_of(age_groups.age_of(groups)), groups, atol=1e-5)
    assert age_groups.group_of(torch.tensor([0.0, 100.0])).tolist() == [0, 9]
    rising = age_groups.group_of(torch.linspace(1, 76, 500))
    assert (rising[1:] > rising[:-1]).all()


def test_fractional_groups_mix_the_codes_of_both_neighbours():
    code = age_groups.group_code(torch.tensor([0.0, 2.25, 9.0]))
    assert code.sum(1).tolist() == [1, 1, 1]
    assert code[0, 0] == 1 and code[2, 9] == 1 and code[1, 2:4].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("group", [-0.1, 9.5, float("nan")])
def test_a_group_that_does_not_exist_is_named(group):
    with pytest.raises(BadInput, match="must all lie between 0 and 9"):
        age_groups.check_groups(torch.tensor([1.0, group]))
    age_groups.check_groups(torch.tensor([0.0, 9.0]))


@pytest.mark.parametrize("age", [-0.1, 100.5, float("nan")])
def test_an_age_outside_is_named_where_an_edit_begins(age):
    given = torch.tensor([30.0]), torch.tensor([age])
    for source, target in (given, given[::-1]):
        with pytest.raises(BadInput, match="must all lie between 0 and 100 years"):
            age_groups.edit_by_difference(lambda x, group: x, torch.zeros(1, 3, 8, 8), source, target)


@pytest.mark.parametrize(("size", "levels"), [(64, 1), (256, 3)])
def test_faces_of_each_size_come_back_in_their_size(size, levels):
    torch.manual_seed(0)
    generator = networks.Generator(size, 0.25, 16, 2)
    feature, code = generator.encoder(torch.rand(2, 3, size, size), torch.eye(10)[:2])
    assert feature.shape[2:] == (32, 32) and code.shape == (2, 512) and len(generator.levels) == levels
    assert generator(torch.rand(2, 3, size, size), torch.tensor([0.0, 8.3])).shape == (2, 3, size, size)


def test_every_size_to_1024_can_be_built_and_no_other():
    for size in networks.SIZES:
        generator, discriminator = networks.Generator(size), networks.Discriminator(size)
        assert 2 ** len(generator.levels) == size / 32 and 2 ** len(discriminator.down) == size / 4
    with pytest.raises(BadInput, match="size 96 of agetransgan must be one of 64, 128"):
        networks.Generator(96)


def test_the_two_scalings_are_the_modulated_and_demodulated_kernel():
    """StyleGAN2 eq. 1 and 3, kernel by kernel."""
    torch.manual_seed(0)
    layer, x, style = networks.ModulatedConv(4, 6, 8), torch.randn(3, 4, 9, 9), torch.randn(3, 8)
    drawn = layer(x, style)
    for i in range(3):
        kernel = layer.weight * layer.affine(style)[i][None, :, None, None]
        kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        by_hand = networks.GAIN * F.conv2d(x[i : i + 1], kernel, padding=1) + layer.bias[:, None, None]
        assert torch.allclose(drawn[i : i + 1], by_hand, atol=1e-5)


def test_pictures_change_continuously_between_groups():
    torch.manual_seed(0)
    generator, face = networks.Generator(**SMALL), torch.rand(1, 3, 64, 64) * 2 - 1
    groups = torch.linspace(2, 4, 41)
    drawn = generator(face.expand(41, -1, -1, -1), groups)
    steps = (drawn[1:] - drawn[:-1]).abs().mean((1, 2, 3))
    whole = (drawn[-1] - drawn[0]).abs().mean()
    assert steps.min() > 0 and steps.max() < 0.2 * whole


def test_every_parameter_learns():
    torch.manual_seed(0)
    generator, discriminator = networks.Generator(**SMALL), networks.Discriminator(64, 0.25)
    group = torch.tensor([1.5, 7.0, 4.0])
    features = discriminator.features(generator(torch.rand(3, 3, 64, 64), group))
    scores, groups = discriminator.score(features, group), discriminator.groups(features)
    assert scores.shape == (3,) and groups.shape == (3, 10)
    (scores.sum() + groups[:, 0].sum()).backward()
    assert not without_gradient(generator) and not without_gradient(discriminator)


def test_the_discriminator_sees_how_alike_a_batch_is():
    alike, mixed = torch.ones(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    assert networks.minibatch_stddev(alike).shape == (4, 1, 8, 8)
    assert networks.minibatch_stddev(alike).max() < 1e-3 < 0.5 < networks.minibatch_stddev(mixed).min()


@pytest.fixture(scope="module")
def model():
    """A model with untrained readers and an untrained AgeTransGAN of 64 px, whose prototypes change nothing."""
    torch.manual_seed(0)
    made = GanimeAge(("readers", "agetransgan"), 64, edit_size=64, agetransgan=SMALL, **tiny_readers()).eval()
    made.prototypes.region.fill_(1.0)
    return made


def ages(*years: float) -> torch.Tensor:
    return torch.tensor(years)


def edit(model: GanimeAge, faces: torch.Tensor, source: torch.Tensor, target: torch.Tensor, method: str):
    aus = torch.zeros(len(faces), 17)
    with torch.no_grad():
        return model.edit(faces, source, target, aus, aus, method=method)


@pytest.mark.parametrize("side", [64, 96])
def test_what_is_drawn_is_the_difference_of_two_pictures_and_nothing_asked_is_nothing_changed(model, side):
    faces = torch.rand(2, 3, side, side) * 2 - 1
    edited = edit(model, faces, ages(30, 30), ages(30, 70), "agetransgan")
    assert torch.equal(edited.face[0], faces[0]) and not edited.attention[0].any()
    assert edited.face.shape == faces.shape and edited.attention.shape == (2, 1, side, side)
    assert edited.face.abs().max() <= 1 and 0 < edited.attention[1].mean() < 1
    if side == 64:
        with torch.no_grad():
            old, own = (
                model.agetransgan(faces[1:], age_groups.group_of(age)) for age in (ages(70), ages(30))
            )
        assert torch.allclose(edited.face[1:], (faces[1:] + old - own).clamp(-1, 1), atol=1e-5)
    same = edit(model, faces, ages(20, 80), ages(20, 80), "agetransgan")
    assert torch.equal(same.face, faces) and not same.attention.any()


def test_the_pictures_are_drawn_of_the_face_as_the_prototypes_change_it(model):
    torch.manual_seed(0)
    other = copy.deepcopy(model)
    other.prototypes.age_tone.normal_(std=0.5)
    other.prototypes.region.fill_(1.0)
    faces, aus = torch.rand(1, 3, 64, 64) * 2 - 1, torch.zeros(1, 17)
    with torch.no_grad():
        landmarks = other.read(faces).landmarks
        shown = other.prototypes(faces, landmarks, ages(30), ages(70), aus, aus)
        old, own = (other.agetransgan(shown, age_groups.group_of(age)) for age in (ages(70), ages(30)))
    edited = edit(other, faces, ages(30), ages(70), "agetransgan")
    assert (shown - faces).abs().mean() > 0.05
    assert torch.allclose(edited.face, (shown + old - own).clamp(-1, 1), atol=1e-5)


def test_what_cannot_be_asked_is_one_sentence(model):
    faces, aus = torch.zeros(1, 3, 64, 64), torch.zeros(1, 17)
    with pytest.raises(BadInput, match="must all lie between 0 and 100 years"):
        edit(model, faces, ages(30), ages(101), "agetransgan")
    with pytest.raises(BadInput, match="agetransgan edits ages only; choose the method ganimation_age"):
        model.edit(faces, ages(30), ages(40), aus, aus + 1, method="agetransgan")
    with pytest.raises(
        MissingModel, match="these weights hold readers, prototypes, agetransgan; load weights with ragan"
    ):
        edit(model, faces, ages(30), ages(40), "ragan")


def test_weights_come_back_from_a_folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = GanimeAge.from_pretrained(tmp_path)
    assert again.methods == ("agetransgan",) and again.agetransgan.size == 64
    faces = torch.rand(1, 3, 64, 64)
    assert torch.equal(
        edit(again, faces, ages(5), ages(50), "agetransgan").face,
        edit(model, faces, ages(5), ages(50), "agetransgan").face,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return face_folder(tmp_path_factory.mktemp("faces"))


def test_a_direct_generator_delivers_its_picture_of_the_face_itself(model, tmp_path):
    torch.manual_seed(0)
    config = {"agetransgan": SMALL | {"direct": True}, **tiny_readers()}
    direct = GanimeAge(("readers", "agetransgan"), 64, edit_size=64, **config).eval()
    direct.load_state_dict(model.state_dict())
    direct.prototypes.age_tone.normal_(std=0.3)  # no prototype is under it
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    edited = edit(direct, faces, ages(30, 30), ages(30, 47), "agetransgan")
    assert torch.equal(edited.face[0], faces[0])
    with torch.no_grad():
        drawn = direct.agetransgan(faces[1:], age_groups.group_of(ages(47)))
    assert torch.allclose(edited.face[1:], drawn.clamp(-1, 1), atol=1e-6)
    face = SimpleNamespace(reading=SimpleNamespace(age=30, action_units=dict.fromkeys(AU_CODES, 0.0)))
    for loaded, grows in ((direct, False), (model, True)):
        assert (
            FacePipeline(loaded, "cpu", lambda photo: []).grows_hair(face, Edit.of(70), "agetransgan")
            is grows
        )
    direct.save_pretrained(tmp_path)
    assert GanimeAge.from_pretrained(tmp_path).agetransgan.direct


def test_the_triplet_never_holds_a_person_against_themselves():
    """Faces of p, p, q and an unknown one: each is held against the one before it that shows somebody else."""
    person = F.normalize(torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    edited, margin = person[[2, 2, 3, 2]], 0.2
    near, far = (edited - person).square().sum(1), (edited - person[[3, 3, 1, 2]]).square().sum(1)
    each = F.relu(near - far + margin)
    people = torch.tensor([4, 4, 7, -1])
    assert torch.isclose(losses.identity_triplet(person, edited, margin, people), each.mean())
    rows = torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert torch.isclose(losses.identity_triplet(person, edited, margin, people, rows), each[1:3].mean())
    assert losses.identity_triplet(person, edited, margin, torch.ones(4)) == 0  # nobody else is there


def test_the_triplet_wants_the_person_nearer_than_the_next_one():
    person = torch.eye(3)[:2]
    edited = F.normalize(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]), dim=1)
    # |e - p|^2 = 2 - 2 cos: 0 against 2, and 2 - sqrt(2) against the same
    assert losses.identity_triplet(person, edited, 0.3).item() == pytest.approx((0 + 0.3) / 2)
    assert losses.identity_triplet(person, person.flip(0), 0.3).item() == pytest.approx(2.3)
    assert losses.identity_triplet(person[:1], edited[1:], 0.3) == 0


def test_the_papers_recipe_trains_the_picture_itself(folder, helpers):
    table = read_recipe(RECIPES / "agetransgan_paper.toml", [])["recipe"]
    assert table["generator"]["direct"] and set(table["weights"]) == set(vars(agetransgan_task.Weights()))
    asked = recipe(helpers, "agetransgan_paper", generator=SMALL | {"direct": True})
    task = agetransgan_task.build(asked, Faces(folder, 64), 0)
    batch, generator = task.batch(0), task.networks["agetransgan"]
    request = age_editing.draw_request(batch["age"], 0.0)
    with torch.no_grad():
        pictures = age_editing.generated(generator, batch, request, 1.0)
        assert torch.equal(pictures.base, batch["face"]) and len(pictures.kept) == len(batch["face"])
        assert torch.allclose(pictures.edit, generator(batch["face"], request.target), atol=1e-5)
        back = age_editing.cycle_term(generator, pictures, batch, request, 1.0)
        again = generator(pictures.edit, request.source) - batch["face"]
    assert back.item() == pytest.approx(
        ((again.abs() * batch["valid"]).sum() / (3 * batch["valid"].sum())).item(), rel=1e-3
    )
    found = task.players[0].loss(Step(batch, 1))
    assert found.total.isfinite() and {"triplet", "identity", "cycle", "adversarial"} <= set(found.logged)


@pytest.fixture(scope="module")
def helpers(tmp_path_factory):
    return light_copies(tmp_path_factory.mktemp("helpers"))


@pytest.fixture(scope="module")
def aifd(tmp_path_factory):
    return aifd_folder(tmp_path_factory.mktemp("aifd"))


def recipe(helpers: dict[str, str], file: str, aifd: str = "", **numbers) -> agetransgan_task.Recipe:
    table = read_recipe(RECIPES / f"{file}.toml", [])["recipe"]
    small = {"batch": 3, "generator": SMALL, "discriminator": {"size": 64, "width": 0.25}, "aifd": aifd}
    short = {"lead_steps": 0, "ramp_steps": 1, "r1_every": 2}
    return fill(agetransgan_task.Recipe, table | helpers | small | short | numbers, "[recipe] table")


def trained(task, out: Path, steps: int) -> Run:
    torch.manual_seed(0)
    return Run(task, Plan(steps=steps, warmup=0, schedule="constant", log_every=1), out)


TERMS = {"adversarial", "adversarial_kept", "group", "group_kept", "reconstruction", "cycle", "identity", "age"} | {
    "change", "d_real", "d_edit", "d_kept", "d_group", "d_r1",
}  # fmt: skip


@pytest.mark.usefixtures("few_shown")
@pytest.mark.parametrize(("file", "more"), [("agetransgan", set()), ("agetransgan_mi", {"mi"})])
def test_four_steps_and_a_resumed_run_are_the_same(folder, helpers, aifd, tmp_path, file, more):
    def run(out: str, steps: int) -> Run:
        torch.manual_seed(0)
        task = agetransgan_task.build(recipe(helpers, file, aifd), Faces(folder, 64), 0)
        return trained(task, tmp_path / out, steps)

    unbroken = run("a", 4)
    start = {n: {k: v.clone() for k, v in m.named_parameters()} for n, m in unbroken.task.networks.items()}
    unbroken.train()
    run("b", 3).train()
    resumed = run("b", 4)
    resumed.resume(tmp_path / "b" / "checkpoint")
    resumed.train()
    for name, network in unbroken.task.networks.items():
        again = dict(resumed.task.networks[name].named_parameters())
        for key, value in network.named_parameters():
            moved = not torch.equal(value, start[name][key])
            assert moved == value.requires_grad, f"{name}.{key} {'moved' if moved else 'never moved'}"
            assert torch.equal(value, again[key]), f"{name}.{key} differs after the resume"
    log = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[-1])
    assert TERMS | more <= set(log) and ("mi" in log) == ("mi" in more)
    assert {"probe_age_slope_judge", "probe_identity", "probe_no_change_l1"} <= set(log)
    assert json.loads((tmp_path / "a" / "light" / "agetransgan.json").read_text()) == SMALL


def test_the_two_recipes_differ_by_the_mi_loss_alone():
    without, with_mi = (read_recipe(RECIPES / f"{n}.toml", []) for n in ("agetransgan", "agetransgan_mi"))
    weights = [table["recipe"].pop("weights_end") for table in (without, with_mi)]
    assert without == with_mi
    assert weights[1].pop("mi") > 0 == weights[0].pop("mi") and weights[0] == weights[1]
    names = set(vars(agetransgan_task.Weights()))
    assert set(without["recipe"]["weights"]) == names, "every weight stands in the recipe"


def test_the_mi_loss_is_one_minus_the_cosine_of_the_frozen_branch(folder, helpers, aifd, monkeypatch):
    seen = []
    monkeypatch.setattr(age_editing, "augmented_with", lambda *given: seen.append(given[0]) or given)
    task = agetransgan_task.build(recipe(helpers, "agetransgan_mi", aifd), Faces(folder, 64), 0)
    measures = task.players[0].loss.__self__.measures
    assert any(m is measures.aifd for m in task.helpers)
    assert not any(p.requires_grad for p in measures.aifd.parameters())
    face, points = torch.rand(2, 3, 64, 64), torch.rand(2, 68, 2)
    assert measures.mutual(face, face, points).item() == pytest.approx(0, abs=1e-5)
    other = torch.rand(2, 3, 64, 64, requires_grad=True)
    first, second = (measures.aifd(one, points).identity for one in (face, other))
    by_hand = 1 - F.cosine_similarity(first, second).mean()
    assert measures.mutual(face, other, points).item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert seen[-1] is other and not any(one is face for one in seen[1:]), "the edit alone is augmented"
    measures.mutual(face, other, points).backward()
    assert other.grad.abs().sum() > 0


@pytest.mark.parametrize("count", [1, 3])
def test_what_training_sees_is_what_the_model_delivers(count):
    torch.manual_seed(0)
    generator = networks.Generator(**SMALL)
    generator.prototypes.age_tone.normal_(std=0.6)
    generator.prototypes.region.fill_(1.0)
    batch = {"face": torch.rand(count, 3, 64, 64) - 0.5, "valid": torch.ones(count, 1, 64, 64)}
    batch["landmarks"] = torch.rand(count, 68, 2)
    young, old = torch.full((count,), 30.0), torch.full((count,), 70.0)
    asked = age_editing.AgeRequest(young, old, age_groups.group_of(young), age_groups.group_of(old))
    with torch.no_grad():
        drawn = age_editing.generated(generator, batch, asked, 0.5)
        delivered = age_groups.edit_by_difference(
            generator, drawn.base, asked.source_age, asked.target_age
        ).face
        kept = generator(batch["face"], asked.source)[: len(drawn.kept)]
        edit, shown = drawn.edit[:1], drawn.base[:1]
        back = edit + generator(edit, asked.source[:1]) - generator(edit, asked.target[:1])
        returned = age_editing.cycle_term(generator, drawn, batch, asked, 0.25)
    assert torch.allclose(drawn.edit.clamp(-1, 1), delivered, atol=1e-5)
    assert (drawn.base - batch["face"]).abs().mean() > 0.02 < (drawn.edit - drawn.base).abs().mean()
    assert len(drawn.kept) == max(1, round(count / 2)) and torch.allclose(drawn.kept, kept, atol=1e-5)
    assert returned.item() == pytest.approx((back - shown).abs().mean().item(), rel=1e-4)


def test_a_picture_is_scored_as_in_a_whole_batch_however_few_there_are():
    torch.manual_seed(0)
    d, few, others = networks.Discriminator(64, 0.25), torch.randn(1, 3, 64, 64), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        beside = agetransgan_task.beside(d, few, others)
        whole = d.features(torch.cat([few, others[1:]]))[:1]
        alone = d.features(few)
    assert torch.equal(beside, whole) and not torch.allclose(beside, alone, atol=1e-3)


def test_the_discriminator_only_learns_groups_until_it_counts(folder, helpers):
    numbers = recipe(helpers, "agetransgan", lead_steps=5)
    generate, discriminate = (
        player.loss for player in agetransgan_task.build(numbers, Faces(folder, 64), 0).players
    )
    batch = Faces(folder, 64).batch(np.arange(3))
    first, later = Step(batch, 5), Step(batch, 6)
    with pytest.raises(RuntimeError, match="no player of step 5 has left a result"):
        discriminate(first)
    assert "adversarial" not in generate(first).logged and set(discriminate(first).logged) == {"d_group"}
    assert "adversarial" in generate(later).logged and "d_edit" in discriminate(later).logged
    assert set(batch) == set(Faces(folder, 64).batch(np.arange(3))), "the batch is left as it was"


def test_wrong_recipes_and_faces_are_named(helpers, folder, tmp_path):
    with pytest.raises(BadInput, match="faces of 64 px, a generator of 128"):
        agetransgan_task.build(recipe(helpers, "agetransgan", generator={"size": 128}), Faces(folder, 64), 0)
    with pytest.raises(BadInput, match="has no adversary"):
        agetransgan_task.build(
            recipe(helpers, "agetransgan", weights={"adversary": 1.0}), Faces(folder, 64), 0
        )
    ageless = face_folder(tmp_path / "ageless", ages=False)
    with pytest.raises(BadInput, match="has no face with an age and landmarks"):
        agetransgan_task.build(recipe(helpers, "agetransgan"), Faces(ageless, 64), 0)
