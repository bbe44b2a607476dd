"""AIFD: how a face is aligned, what it works on, how it is trained, and that the MI loss asks it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ganime_age.errors import BadInput, MissingModel
from ganime_age.images.tensors import to_tensor
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks import age_editing, frozen
from ganime_age.learning.tasks import aifd as aifd_task
from ganime_age.model.model import GanimeAge
from ganime_age.networks.aligned import alignment
from ganime_age.networks.aligned.aifd import AIFD
from ganime_age.networks.aligned.identity import IdentityReader
from helpers.ages import aifd_folder, face_folder
from helpers.judges import needs_models, same_and_different
from helpers.tiny import TINY, same

ROOT = Path(__file__).resolve().parents[1]


def points_at(five: torch.Tensor) -> torch.Tensor:
    """Landmarks (68,2) whose eyes, nose tip and mouth corners are the five points."""
    points = torch.full((68, 2), 0.5)
    points[36:42], points[42:48] = five[0], five[1]
    points[[30, 48, 54]] = five[2:]
    return points


@pytest.mark.parametrize(("turn", "size", "shift"), [(0.0, 0.6, 0.2), (0.4, 0.5, 0.3), (-0.3, 0.7, 0.1)])
def test_an_aligned_face_has_its_five_points_where_arcface_wants_them(turn, size, shift):
    goal, cos, sin = torch.tensor(alignment.FIVE_POINTS), np.cos(turn), np.sin(turn)
    five = (
        size * (goal - 0.5) @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32) + 0.4 + shift / 2
    )
    line = (torch.arange(128) + 0.5) / 128
    map_of_places = torch.stack([*torch.meshgrid(line, line, indexing="xy"), torch.zeros(128, 128)])
    seen = alignment.aligned(map_of_places[None], points_at(five)[None])
    assert seen.shape == (1, 3, 112, 112)
    shown = F.grid_sample(seen, 2 * goal[None, None] - 1, align_corners=False)[0, :2, 0].T
    assert torch.allclose(shown, five, atol=0.004)


def untrained() -> AIFD:
    """On an identity reader that is not trained either."""
    torch.manual_seed(0)
    return AIFD(IdentityReader(**TINY["identity"])).eval()


def test_age_and_identity_share_the_readers_features_and_every_parameter_learns():
    network = untrained()
    found = network(torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 68, 2) * 0.2 + 0.4)
    assert found.identity.shape == (2, 128) and found.age_logits.shape == (2, 101)
    assert torch.allclose(found.identity.norm(dim=1), torch.ones(2))
    assert found.attention.shape == (2, 7, 7) and 0 <= found.attention.min() <= found.attention.max() < 0.3
    (found.age.sum() + found.identity[:, 0].sum() + found.age_spread.sum()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_where_the_age_takes_nothing_it_is_the_identity_reader_and_where_it_takes_all_nothing_is_left():
    network, crop = untrained(), torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        for layer in (network.attention.channel[2], network.attention.spatial):
            layer.bias.fill_(-30.0)
        assert torch.allclose(network.of_crop(crop).identity, network.reader.embed(crop), atol=1e-5)
        for layer in (network.attention.channel[2], network.attention.spatial):
            layer.bias.fill_(30.0)
        all_taken = network.of_crop(crop).identity
    assert torch.allclose(all_taken[0], all_taken[1], atol=1e-4)


def test_the_part_is_loaded_where_it_is_named_with_the_reader_it_works_on(tmp_path):
    folder = aifd_folder(tmp_path / "weights")
    model = GanimeAge.from_pretrained(folder, parts=["aifd"])
    assert model.parts == ("identity", "aifd") and model.aifd.reader is model.identity
    assert not [key for key in model.state_dict() if key.startswith("aifd.") and "trunk" in key]
    face, points = torch.rand(1, 3, 64, 64), torch.rand(1, 68, 2)
    with torch.no_grad():
        told = frozen.load_identity_branch(folder)(face, points).identity
        assert torch.allclose(model.aifd(face, points).identity, told, atol=1e-6)


def test_weights_without_it_are_named(tmp_path):
    GanimeAge(("identity",), 64, identity=TINY["identity"]).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="holds no aifd"):
        frozen.load_identity_branch(str(tmp_path))
    with pytest.raises(MissingModel, match="hold identity, not aifd"):
        GanimeAge.from_pretrained(tmp_path, parts=["aifd"])


@needs_models
def test_the_embedded_one_knows_people_apart_from_their_age(people):
    network, (pictures, landmarks, persons, _) = frozen.load_identity_branch(""), people
    with torch.no_grad():
        found = network(to_tensor(pictures), torch.from_numpy(landmarks).float()).identity.numpy()
    same, different = same_and_different(found, persons)
    assert same.min() > different.max()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return face_folder(tmp_path_factory.mktemp("faces"), identities=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return aifd_folder(tmp_path_factory.mktemp("weights"))


def begun(folder: Path, weights: str, out: Path, steps: int) -> Run:
    torch.manual_seed(0)
    table = read_recipe(ROOT / "training" / "recipes" / "aifd.toml", [])["recipe"]
    recipe = fill(aifd_task.Recipe, table | {"batch": 4, "reader": weights}, "[recipe] table")
    plan = Plan(steps=steps, warmup=0, schedule="constant", log_every=1)
    return Run(aifd_task.build(recipe, Faces(folder, 64), 0), plan, out)


def test_three_steps_move_all_but_the_reader_and_a_resumed_run_is_the_same(folder, weights, tmp_path):
    start = begun(folder, weights, tmp_path / "none", 3).task.networks
    unbroken = begun(folder, weights, tmp_path / "a", 3)
    unbroken.train()
    begun(folder, weights, tmp_path / "b", 2).train()
    resumed = begun(folder, weights, tmp_path / "b", 3)
    resumed.resume(tmp_path / "b" / "checkpoint")
    resumed.train()
    again = resumed.task.networks["aifd"].state_dict()
    for name, value in unbroken.task.networks["aifd"].named_parameters():
        assert not torch.equal(value, start["aifd"].state_dict()[name]), f"{name} never moved"
        assert torch.equal(value, again[name]), f"{name} differs after the resume"
    assert same(unbroken.task.networks["identity"], start["identity"]), "the identity reader stays as it is"


def test_a_light_copy_is_e_a(folder, weights, tmp_path):
    run = begun(folder, weights, tmp_path / "run", 2)
    run.train()
    log = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"age", "identity", "relations", "person", "age_group", "unlearnt_age"} <= set(log)
    light = frozen.load_identity_branch(str(tmp_path / "run" / "light"))
    reader = GanimeAge.from_pretrained(weights, parts=["identity"]).identity
    assert same(light.reader.half().float(), reader.half().float()), "it travels with the reader it works on"
    measures = age_editing.Measures(None, None, light)
    assert not any(p.requires_grad for p in (*light.parameters(), *light.reader.parameters()))
    batch = Faces(folder, 64).batch(np.arange(2))
    with torch.no_grad():
        by_hand = light(batch["face"], batch["landmarks"]).identity
    assert torch.allclose(measures.person(batch["face"], batch["landmarks"]), by_hand, atol=1e-6)
    other = batch["face"].clone().requires_grad_(True)
    measures.mutual(batch["face"], other, batch["landmarks"]).backward()
    assert other.grad.abs().sum() > 0


def test_cosface_starts_from_what_the_teacher_says_of_each_person():
    torch.manual_seed(0)
    teacher, before = np.eye(128, dtype=np.float32)[:4], torch.randn(2, 128)
    teacher[3] = np.nan
    centres = before.clone()
    aifd_task.start_centres(centres, np.array([0, 0, -1, 1]), teacher)
    assert torch.allclose(F.normalize(centres, dim=1)[0, :3], torch.tensor([0.5**0.5, 0.5**0.5, 0.0]))
    assert torch.allclose(centres.norm(dim=1), before.norm(dim=1)) and torch.equal(centres[1], before[1])


def test_faces_without_what_it_learns_from_are_named(tmp_path):
    with pytest.raises(BadInput, match="no face with landmarks and teacher_identity"):
        aifd_task.build(aifd_task.Recipe(), Faces(face_folder(tmp_path), 64), 0)
