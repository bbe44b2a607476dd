"""AIFD: how it aligns a face, what it starts from, how it is trained, and that the MI loss asks it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ganime_age.errors import BadInput, MissingModel
from ganime_age.images.tensors import to_tensor
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.checkpoints import load_light
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.external.onnx_models import OnnxIdentity
from ganime_age.learning.tasks import age_editing, frozen
from ganime_age.learning.tasks import aifd as aifd_task
from ganime_age.networks import aifd
from helpers.ages import face_folder
from helpers.judges import MODELS, needs_models, same_and_different

ROOT = Path(__file__).resolve().parents[1]
TEACHER = MODELS / "mobilefacenet_y1.onnx"


def points_at(five: torch.Tensor) -> torch.Tensor:
    """Landmarks (68,2) whose eyes, nose tip and mouth corners are the five points."""
    points = torch.full((68, 2), 0.5)
    points[36:42], points[42:48] = five[0], five[1]
    points[[30, 48, 54]] = five[2:]
    return points


@pytest.mark.parametrize(("turn", "size", "shift"), [(0.0, 0.6, 0.2), (0.4, 0.5, 0.3), (-0.3, 0.7, 0.1)])
def test_an_aligned_face_has_its_five_points_where_arcface_wants_them(turn, size, shift):
    goal, cos, sin = torch.tensor(aifd.FIVE_POINTS), np.cos(turn), np.sin(turn)
    five = (
        size * (goal - 0.5) @ torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float32) + 0.4 + shift / 2
    )
    line = (torch.arange(128) + 0.5) / 128
    map_of_places = torch.stack([*torch.meshgrid(line, line, indexing="xy"), torch.zeros(128, 128)])
    seen = aifd.aligned(map_of_places[None], points_at(five)[None])
    assert seen.shape == (1, 3, 112, 112)
    shown = F.grid_sample(seen, 2 * goal[None, None] - 1, align_corners=False)[0, :2, 0].T
    assert torch.allclose(shown, five, atol=0.004)


def test_age_and_identity_share_the_features_and_every_parameter_learns():
    torch.manual_seed(0)
    network = aifd.AIFD()
    found = network(torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 68, 2) * 0.2 + 0.4)
    assert found.identity.shape == (2, 128) and found.age_logits.shape == (2, 101)
    assert torch.allclose(found.identity.norm(dim=1), torch.ones(2))
    assert found.attention.shape == (2, 7, 7) and 0 <= found.attention.min() <= found.attention.max() < 0.3
    (found.age.sum() + found.identity[:, 0].sum() + found.age_spread.sum()).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def stored_as_onnx(network: aifd.AIFD, file: Path) -> None:
    """Backbone and identity head as an ONNX file like those of the teachers: biases added, no normalisation."""
    onnx = pytest.importorskip("onnx")
    nodes, stored = [], []

    def keep(tensor: torch.Tensor) -> str:
        name = f"w{len(stored)}"
        stored.append(onnx.numpy_helper.from_array(tensor.detach().numpy().copy(), name))
        return name

    def add(kind: str, given: str, *tensors: torch.Tensor) -> str:
        out = f"x{len(nodes)}"
        nodes.append(onnx.helper.make_node(kind, [given, *map(keep, tensors)], [out]))
        return out

    x = "face"
    for layer in [*network.backbone.modules(), network.whole]:
        if isinstance(layer, nn.Conv2d):
            x = add("Add", add("Conv", x, layer.weight), layer.bias[None, :, None, None])
        elif isinstance(layer, nn.PReLU):
            x = add("PRelu", x, layer.weight[:, None, None])
    add("Add", add("MatMul", x, network.identity_head.weight.T), network.identity_head.bias)
    graph = onnx.helper.make_graph(nodes, "g", [], [], stored)
    onnx.save(onnx.helper.make_model(graph), file)


def test_a_mobilefacenet_is_read_from_an_onnx_file_layer_by_layer(tmp_path):
    torch.manual_seed(0)
    one, other = aifd.AIFD().eval(), aifd.AIFD().eval()
    stored_as_onnx(one, tmp_path / "net.onnx")
    aifd_task.fill_from_onnx(other, tmp_path / "net.onnx")
    pixels = torch.rand(1, 3, 112, 112)
    with torch.no_grad():
        first, second = one.backbone(pixels), other.backbone(pixels / aifd_task.FOLD)
        assert torch.allclose(first, second, atol=1e-4) and first.abs().max() > 0
        assert torch.equal(one.identity_head.weight, other.identity_head.weight)
        assert torch.equal(one.whole.weight, other.whole.weight)


def test_a_file_that_holds_no_such_network_is_named(tmp_path):
    onnx = pytest.importorskip("onnx")
    network = aifd.AIFD()
    before = network.identity_head.weight.clone()
    with pytest.raises(MissingModel, match="no.onnx is missing"):
        aifd_task.fill_from_onnx(network, tmp_path / "no.onnx")
    (tmp_path / "text.onnx").write_bytes(b"a letter, not a network")
    with pytest.raises(BadInput, match="text.onnx is no ONNX file"):
        aifd_task.fill_from_onnx(network, tmp_path / "text.onnx")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), tmp_path / "empty.onnx")
    with pytest.raises(BadInput, match="empty.onnx holds another network than a MobileFaceNet"):
        aifd_task.fill_from_onnx(network, tmp_path / "empty.onnx")
    assert torch.equal(network.identity_head.weight, before)


@needs_models
def test_it_starts_where_its_teacher_stands(people):
    """What the ONNX file says of real faces, AIFD says too before it has learnt anything."""
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network, (pictures, landmarks, persons, _) = aifd.AIFD().eval(), people
    aifd_task.fill_from_onnx(network, TEACHER)
    with torch.no_grad():
        found = network(to_tensor(pictures), torch.from_numpy(landmarks).float()).identity.numpy()
    taught = OnnxIdentity(TEACHER)(pictures, landmarks)
    assert (found * taught).sum(1).min() > 0.98
    same, different = same_and_different(found, persons)
    assert same.min() > different.max()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return face_folder(tmp_path_factory.mktemp("faces"), identities=True)


def begun(folder: Path, out: Path, steps: int) -> Run:
    torch.manual_seed(0)
    table = read_recipe(ROOT / "training" / "recipes" / "aifd.toml", [])["recipe"]
    recipe = fill(aifd_task.Recipe, table | {"batch": 4}, "[recipe] table")
    plan = Plan(steps=steps, warmup=0, schedule="constant", log_every=1)
    return Run(aifd_task.build(recipe, Faces(folder, 64), 0), plan, out)


def test_three_steps_move_everything_and_a_resumed_run_is_the_same(folder, tmp_path):
    start = begun(folder, tmp_path / "none", 3).task.networks["aifd"].state_dict()
    unbroken = begun(folder, tmp_path / "a", 3)
    unbroken.train()
    begun(folder, tmp_path / "b", 2).train()
    resumed = begun(folder, tmp_path / "b", 3)
    resumed.resume(tmp_path / "b" / "checkpoint")
    resumed.train()
    again = resumed.task.networks["aifd"].state_dict()
    for name, value in unbroken.task.networks["aifd"].named_parameters():
        assert not torch.equal(value, start[name]), f"{name} never moved"
        assert torch.equal(value, again[name]), f"{name} differs after the resume"


def test_a_light_copy_is_e_a(folder, tmp_path):
    run = begun(folder, tmp_path / "run", 2)
    run.train()
    log = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"age", "identity", "relations", "person", "age_group", "unlearnt_age"} <= set(log)
    light = load_light(aifd.AIFD, tmp_path / "run" / "light", "aifd")
    measures = age_editing.Measures(None, None, frozen.load_identity_branch(str(tmp_path / "run" / "light")))
    assert isinstance(measures.aifd, aifd.AIFD) and not any(
        p.requires_grad for p in measures.aifd.parameters()
    )
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
