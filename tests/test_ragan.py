"""Re-Aging GAN: its networks, its face mask, the labels it does not believe, its training, its edits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.semantic_maps import CLASSES, SemanticMaps
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan, Task
from ganime_age.learning.tasks import ragan as ragan_task
from ganime_age.learning.tasks.frozen import load_prototypes
from ganime_age.learning.tasks.probes import CollapseLimits
from ganime_age.model.model import GanimeAge
from ganime_age.networks import ragan
from helpers.ages import aifd_folder, face_folder, light_copies, tiny_readers, without_gradient

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
SMALL = {"widths": [8, 8, 16], "blocks": 1, "order": 2}


def test_faces_of_any_side_come_back_and_every_parameter_learns():
    torch.manual_seed(0)
    generator, discriminator = ragan.Generator(**SMALL), ragan.Discriminator([8, 8, 8])
    assert generator(torch.rand(1, 3, 256, 256), torch.zeros(1)).shape == (1, 3, 256, 256)
    group = torch.tensor([1.5, 7.0])
    drawn = generator(torch.rand(2, 3, 64, 64), group)
    assert drawn.shape == (2, 3, 64, 64) and discriminator(drawn).shape == (2, 10)
    discriminator(drawn).square().sum().backward()
    assert not without_gradient(generator) and not without_gradient(discriminator)


def test_stripes_from_pixel_to_pixel_cannot_be_drawn():
    stripes = torch.tensor([1.0, -1.0]).repeat(16).expand(1, 3, 32, 32)
    for drawn in (stripes, stripes.mT):
        assert ragan.blur(drawn)[..., 1:-1, 1:-1].abs().max() < 1e-6
    assert torch.allclose(ragan.blur(torch.full((1, 3, 8, 8), 0.3)), torch.full((1, 3, 8, 8), 0.3))


def test_a_fractional_group_is_scored_between_its_neighbours():
    torch.manual_seed(0)
    discriminator, face = ragan.Discriminator([8, 8, 8]), torch.rand(1, 3, 64, 64)
    logits = discriminator(face)[0]
    assert discriminator.score(face, torch.tensor([3.25])).item() == pytest.approx(
        (0.75 * logits[3] + 0.25 * logits[4]).item()
    )


def test_identity_and_age_meet_in_products_of_rising_order():
    """p_k = n(P_k p_{k-1}) (G_k n(f) + a_k) with n(f) of mean square 1; the result is f + p_1 + p_2. One pixel."""
    torch.manual_seed(0)
    modulator, f = ragan.AgeModulator(4, 2), torch.randn(1, 4, 1, 1)
    with torch.no_grad():
        personal = modulator(f, torch.eye(10)[3:4]).flatten().numpy()
    states = {key: value.numpy().squeeze() for key, value in modulator.state_dict().items()}

    def even(x):
        return x / np.sqrt((x**2).mean())

    total, start = f.numpy().flatten(), even(f.numpy().flatten())
    product = start
    for k in range(2):
        gate = (
            states[f"gates.{k}.weight"] @ start + states[f"gates.{k}.bias"] + states[f"ages.{k}.weight"][:, 3]
        )
        product = even(states[f"steps.{k}.weight"] @ product + states[f"steps.{k}.bias"]) * gate
        total = total + product
    assert np.allclose(personal, total, atol=1e-5)


def test_a_strong_identity_feature_does_not_drown_the_age():
    """A gate that saturates would: the change between two groups is as large whatever the feature's size."""
    torch.manual_seed(0)
    modulator, f = ragan.AgeModulator(8, 3), torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        small, large = (
            modulator(s * f, torch.eye(10)[:1]) - modulator(s * f, torch.eye(10)[9:]) for s in (1.0, 1e4)
        )
    assert torch.allclose(large, small, rtol=1e-2, atol=1e-2) and small.abs().mean() > 0.05


def test_wrong_numbers_are_named():
    with pytest.raises(BadInput, match=r"widths \[9, 16\] of ragan"):
        ragan.Generator([9, 16])
    with pytest.raises(BadInput, match="order 0 at least 1"):
        ragan.Generator(order=0)


def test_nothing_asked_is_nothing_changed_and_expressions_are_refused():
    torch.manual_seed(0)
    model = GanimeAge(("readers", "ragan"), 64, edit_size=64, ragan=SMALL, **tiny_readers()).eval()
    model.prototypes.region.fill_(1.0)
    faces, aus = torch.rand(2, 3, 96, 96) * 2 - 1, torch.zeros(2, 17)
    with torch.no_grad():
        edited = model.edit(faces, torch.tensor([30.0, 30.0]), torch.tensor([30.0, 70.0]), aus, aus, "ragan")
    assert torch.equal(edited.face[0], faces[0]) and not edited.attention[0].any()
    assert not torch.equal(edited.face[1], faces[1]) and 0 < edited.attention[1].mean() < 1
    with pytest.raises(BadInput, match="ragan edits ages only; choose the method ganimation_age"):
        model.edit(faces, torch.full((2,), 30.0), torch.full((2,), 70.0), aus, aus + 1, "ragan")
    with pytest.raises(BadInput, match="must all lie between 0 and 100 years"):
        model.edit(faces, torch.full((2,), 30.0), torch.full((2,), -1.0), aus, aus, "ragan")


def test_the_mask_parts_face_and_forehead_from_the_background():
    points = torch.zeros(1, 68, 2)
    points[0, :, 0] = torch.linspace(0.3, 0.7, 68)
    points[0, :, 1] = 0.8
    points[0, ragan_task.BROWS, 1], points[0, ragan_task.NOSE, 1] = 0.4, 0.6
    points[0, ragan_task.BROWS, 0] = torch.linspace(0.3, 0.7, 10)
    mask = ragan_task.face_masks(points, 64)
    assert mask.shape == (1, 1, 64, 64) and 0 <= mask.min() and mask.max() <= 1
    assert mask[0, 0, 40, 32] == 1 and mask[0, 0, 60, 32] == 0 and mask[0, 0, 40, 4] == 0
    assert mask[0, 0, 22, 32] > 0.5 > mask[0, 0, 14, 32], "half a brow-to-nose distance above the brows"


def test_broad_shades_count_and_fine_lines_do_not():
    broad = torch.full((1, 3, 64, 64), 0.1)
    lines = broad * torch.tensor([1.0, -1.0]).repeat(32)
    assert losses.shade(broad).item() == pytest.approx(0.01, rel=1e-4)
    assert losses.shade(lines).item() == pytest.approx(0, abs=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return face_folder(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def helpers(tmp_path_factory):
    return light_copies(tmp_path_factory.mktemp("helpers"))


@pytest.fixture(scope="module")
def aifd(tmp_path_factory):
    return aifd_folder(tmp_path_factory.mktemp("aifd"))


def task(folder: Path, helpers: dict[str, str], **numbers):
    table = read_recipe(RECIPES / "ragan.toml", [])["recipe"]
    small = {"batch": 4, "generator": SMALL, "discriminator": {"widths": [8, 8, 8]}}
    short = {"lead_steps": 0, "ramp_steps": 1, "r1_every": 2}
    recipe = fill(ragan_task.Recipe, table | helpers | small | short | numbers, "[recipe] table")
    return ragan_task.build(recipe, Faces(folder, 64), 0)


def run_of(task: Task, steps: int, out: Path) -> Run:
    limits = fill(CollapseLimits, read_recipe(RECIPES / "ragan.toml", [])["watch"], "[watch] table")
    return Run(task, Plan(steps=steps, warmup=0, schedule="constant", log_every=1), out, watch=limits.watch())


@pytest.mark.parametrize("mi", [0.0, 0.5])
def test_four_steps_and_a_resumed_run_are_the_same(folder, helpers, aifd, tmp_path, mi):
    weights = read_recipe(RECIPES / "ragan.toml", [])["recipe"]["weights"] | {"mi": mi}

    def run(out: str, steps: int) -> Run:
        torch.manual_seed(0)
        return run_of(task(folder, helpers, aifd=aifd, weights=weights), steps, tmp_path / out)

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
    assert {name for name in weights if name != "mi"} <= set(log) and ("mi" in log) == (mi > 0)
    assert {
        "believed",
        "d_real",
        "d_edit",
        "d_wrong",
        "d_r1",
        "probe_age_slope_judge",
        "probe_identity",
    } <= set(log)
    assert json.loads((tmp_path / "a" / "light" / "ragan.json").read_text()) == SMALL


def test_far_groups_share_the_weight_and_near_ones_have_none():
    far = losses.far_groups(torch.tensor([0.0, 4.4, 9.0]))
    assert torch.allclose(far.sum(1), torch.ones(3))
    assert [row.nonzero().flatten().tolist() for row in far] == [
        [2, 3, 4, 5, 6, 7, 8, 9],
        [0, 1, 2, 6, 7, 8, 9],
        [0, 1, 2, 3, 4, 5, 6, 7],
    ]


def test_the_discriminator_learns_alone_before_the_generator_starts(folder, helpers, tmp_path):
    torch.manual_seed(0)
    run = run_of(task(folder, helpers, lead_steps=2), 2, tmp_path)
    start = {n: [p.clone() for p in m.parameters()] for n, m in run.task.networks.items()}

    def moved(name: str) -> bool:
        pairs = zip(run.task.networks[name].parameters(), start[name], strict=True)
        return any(not torch.equal(now, before) for now, before in pairs)

    run.train()
    assert moved("discriminator") and not moved("ragan")
    first = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert {"d_real", "d_wrong"} <= set(first) and not {"d_edit", "age"} & set(first)
    run.plan.steps = 3
    run.train()
    assert moved("ragan")
    generator, average = run.task.networks["ragan"], run.averages["ragan"].module
    for now, kept in zip(generator.parameters(), average.parameters(), strict=True):
        assert torch.equal(now, kept), "the average starts when the generator does"


def test_labels_that_the_readers_contradict_are_left_out_unless_certain(folder, helpers):
    objective = task(folder, helpers, doubt=10.0).players[0].loss.__self__
    batch = Faces(folder, 64).batch(np.arange(4))
    read = objective.measures.readers(batch["face"]).age
    objective.measures.calibration.age_curve = torch.arange(101.0)
    batch["age"] = (read + torch.tensor([0.0, 30.0, 5.0, 30.0])).clamp(0, 100)
    batch["certain"] = torch.tensor([False, False, False, True])
    assert objective.believed(batch).tolist() == [1, 0, 1, 1]
    objective.recipe.doubt = 0.0
    assert objective.believed(batch).tolist() == [1, 1, 1, 1]
    objective.recipe.doubt, batch["certain"] = 1e-6, torch.zeros(4, dtype=torch.bool)
    assert objective.believed(batch).sum() == 1, "the nearest one stays"


def test_certain_sources_are_looked_up_in_the_manifest(folder, helpers):
    batch = task(folder, helpers, certain=["known"]).batch(0)
    assert batch["certain"].shape == (4,) and batch["certain"].dtype == torch.bool
    found = ragan_task.certain(ragan_task.Recipe(certain=("known",)), Faces(folder, 64))
    assert found.tolist() == [False, True, False] * 4
    with pytest.raises(BadInput, match="has no source birth, which the recipe's certain names"):
        task(folder, helpers, certain=["birth"])


def save_maps(faces: Faces, folder: Path, levels: np.ndarray) -> list[Path]:
    """One map for all faces but the last."""
    folder.mkdir()
    names = [Path(str(name)).stem for name in faces.table["file"]]
    for name in names[:-1]:
        Image.fromarray(levels).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in names[:-1]]


def test_semantic_maps_part_the_person_with_the_hair_from_the_rest(folder, helpers, tmp_path):
    faces, levels = Faces(folder, 64), np.zeros((128, 128), np.uint8)
    levels[:, 64:], levels[:64, 64:], levels[:8, 64:] = (CLASSES.index(n) for n in ("cloth", "skin", "hair"))
    files = save_maps(faces, tmp_path / "maps", levels)
    batch = task(folder, helpers, maps=str(tmp_path / "maps")).batch(0)
    maps = SemanticMaps(tmp_path / "maps", faces)
    rows, mirror = np.array([0, 0, len(faces) - 1]), np.array([False, True, False])
    person = maps.person(rows, mirror)
    assert person.shape == (3, 1, 64, 64) and person[2].isnan().all()
    assert person[0, 0, :32, 32:].min() == 1 and person[0].sum() == 32 * 32
    assert torch.equal(person[1], person[0].flip(-1))
    shown, prototypes = faces.batch(rows, mirror), load_prototypes(helpers["prototypes"])
    masks = ragan_task.person_masks(shown | {"foreground": person}, prototypes)
    hull, hair = ragan_task.face_masks(shown["landmarks"], 64), prototypes.find_hair(shown["face"])
    assert torch.equal(masks[2], torch.maximum(hull, hair)[2]) and not torch.equal(masks[0], hull[0])
    assert masks[0, 0, 4, 60] == 1 and masks[0, 0, 60, 60] == 0  # hair is person, cloth is not
    assert batch["foreground"].shape == batch["valid"].shape
    Image.fromarray(levels[:32]).save(files[0])
    with pytest.raises(
        BadInput, match=f"{files[1].name} is 128x128 pixels and other semantic maps are 128x32"
    ):
        SemanticMaps(tmp_path / "maps", faces).person(np.array([1]), mirror[:1])
    Image.fromarray(levels + 90).save(files[1])
    with pytest.raises(BadInput, match="holds the class .*; semantic maps have CelebAMask-HQ's 19 classes"):
        maps.person(np.array([1]), mirror[:1])
    with pytest.raises(BadInput, match="0.png has colours; a semantic map has one grey level"):
        task(folder, helpers, maps=str(folder))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no semantic map of a face"):
        task(folder, helpers, maps=str(tmp_path / "empty"))


def test_every_weight_stands_in_the_recipe_and_faces_must_fit(folder, helpers, tmp_path):
    table = read_recipe(RECIPES / "ragan.toml", [])["recipe"]
    assert set(table["weights"]) == set(vars(ragan_task.Weights()))
    with pytest.raises(BadInput, match="has no adversary"):
        task(folder, helpers, weights={"adversary": 1.0})
    with pytest.raises(BadInput, match="multiple of 64, not 72 px"):
        ragan_task.build(ragan_task.Recipe(), Faces(folder, 72), 0)
    with pytest.raises(BadInput, match="has no face with an age and landmarks"):
        task(face_folder(tmp_path / "ageless", ages=False), helpers)
