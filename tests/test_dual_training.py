"""Training the dual generator: what a pair is, that both networks learn, and that a stopped run goes on exactly."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.checkpoints import load_light, write_light
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks import dual_generator as dual_generator_task
from ganime_age.learning.tasks import dual_shape as dual_shape_task
from ganime_age.learning.tasks.dual_pairs import KINDS, Couples, Pairs, Shares
from ganime_age.learning.tasks.frozen import load_head
from ganime_age.networks.ganimation_age import Generator
from ganime_age.networks.head import Head, HeadModel
from helpers.training import readers_run

SMALL = {"widths": [8, 8, 16], "blocks": 1}


@pytest.fixture(scope="module")
def made(face_shards, tmp_path_factory):
    """A folder with the light copies that the tasks need: tiny readers and a tiny generator."""
    place = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    generator = Generator(**SMALL)
    generator.prototypes.region.fill_(1.0)
    generator.prototypes.unit_shape.normal_(0, 0.002)
    generator.prototypes.mean_shape.copy_(standing(load_head(""), 1)[0])
    write_light({"generator": generator}, {"generator": SMALL}, place)
    readers_run(face_shards, place / "readers", 1).train()
    return place


def standing(head: HeadModel, count: int) -> torch.Tensor:
    """Landmarks (N,68,2) of random people in the middle of their frames."""
    chance = torch.Generator().manual_seed(0)
    shapes = (0.5 * torch.randn(count, len(b), generator=chance) for b in (head.identity, head.expression))
    pose = 15 * torch.randn(count, 3, generator=chance) * torch.tensor([1.0, 0.5, 0.1])
    return head.landmarks(Head(*shapes, pose, torch.full((count,), 0.56), torch.full((count, 2), 0.5)))


@pytest.fixture(scope="module")
def faces(face_shards):
    """Noise for pictures, but with the landmarks of heads, of three people."""
    given = Faces(face_shards, 32)
    given.labels["landmarks"] = standing(load_head(""), len(given)).numpy()
    given.labels["person"] = np.arange(len(given)) % 3
    return given


def pairs(faces, made, **shares) -> Pairs:
    share = Shares(**dict.fromkeys(KINDS, 0.0) | shares)
    networks = load_head(""), load_light(Generator, made, "generator")
    return Pairs(faces, *networks, share, noise=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_ends_in_a_photo(faces, made, kind):
    torch.manual_seed(0)
    batch = pairs(faces, made, **{kind: 1.0}).batch(np.random.default_rng(0), 4)
    photos = faces.batch(np.arange(len(faces)))
    shown = torch.cat([photos["face"], photos["face"].flip(-1)])
    apart = (shown[:, None] - batch["target"]).abs().amax((2, 3, 4))
    assert (apart.amin(0) == 0).all()
    assert (batch["kind"] == KINDS.index(kind)).all()
    moves = (batch["source_landmarks"] - batch["target_landmarks"]).abs().amax((1, 2))
    assert (moves == 0).all() if kind == "same" else (moves > 0).any()
    changed = (batch["source"] - batch["target"]).abs().amax((1, 2, 3))
    assert (changed == 0).all() if kind == "same" else (changed > 0).any()
    assert batch["rendered"].shape == batch["target"].shape and batch["seen"].shape == (4, 1, 32, 32)


def test_people_are_paired_with_themselves(faces):
    couples = Couples(faces)
    source, target = couples.draw(np.random.default_rng(0), np.arange(40) % 2 == 0)
    person = faces.labels["person"]
    assert (person[source] == person[target]).all()
    assert (source != target)[::2].all() and (source == target)[1::2].all()


def test_a_batch_is_shown_once_more_mirrored(faces, made):
    drawn = pairs(faces, made, people=1.0)
    twice = dual_generator_task.Twice(lambda number: drawn.batch(np.random.default_rng(number), 2))
    first, second, third = (twice(step) for step in (6, 7, 8))
    assert torch.equal(second["target"], first["target"].flip(-1))
    assert torch.allclose(second["target_landmarks"][:, 36, 0], 1 - first["target_landmarks"][:, 45, 0])
    assert not torch.equal(third["target"], first["target"])
    fresh = dual_generator_task.Twice(twice.make)
    assert all(torch.equal(value, second[name]) for name, value in fresh(7).items())


def plan(steps: int) -> Plan:
    return Plan(steps=steps, warmup=1, schedule="constant", sheet_every=2 * steps, log_every=1, save_every=2)


def face_run(made, faces, out, steps: int, **changes) -> Run:
    numbers = {"batch": 2, "r1_every": 2, "ramp_steps": 2, "shape": ""} | changes
    recipe = dual_generator_task.Recipe(
        expressive=str(made), readers=str(made / "readers" / "light"),
        network={"shape_hidden": 8, "style": 8} | SMALL, discriminator={"widths": [8, 8]}, **numbers,
    )  # fmt: skip
    torch.manual_seed(0)
    return Run(dual_generator_task.build(recipe, faces, 0), plan(steps), out)


def shape_run(made, faces, out, steps: int, **changes) -> Run:
    numbers = {
        "batch": 8,
        "hidden": 8,
        "readers": str(made / "readers" / "light"),
    } | changes
    torch.manual_seed(0)
    return Run(dual_shape_task.build(dual_shape_task.Recipe(**numbers), faces, 0), plan(steps), out)


@pytest.mark.parametrize("start", [face_run, shape_run])
def test_training_moves_its_networks_and_a_stopped_run_goes_on_exactly(made, faces, tmp_path, start):
    whole = start(made, faces, tmp_path / "whole", 4)
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in whole.task.networks.items()}
    whole.train()
    for name, network in whole.task.networks.items():
        moved = {k for k, v in network.state_dict().items() if not torch.equal(v, before[name][k])}
        assert moved == {k for k in before[name] if not k.startswith("shape.")}, name
    start(made, faces, tmp_path / "parts", 2).train()
    resumed = start(made, faces, tmp_path / "parts", 4)
    resumed.resume(tmp_path / "parts" / "checkpoint")
    resumed.train()
    for name, network in whole.task.networks.items():
        other = resumed.task.networks[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in network.state_dict().items()), name


def test_every_term_is_logged_and_the_sheet_shows_the_pairs(made, faces, tmp_path):
    face_run(made, faces, tmp_path / "run", 2).train()
    log = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    terms = {field.name for field in fields(dual_generator_task.Weights)}
    assert terms | {"d_pairs", "painted", "probe_reconstruction", "probe_reconstruction_drawn"} <= set(log)
    assert Image.open(tmp_path / "run" / "sheet-000002.jpg").size[0] == 6 * 32


def test_a_trained_shape_is_carried_along(made, faces, tmp_path):
    shape_run(made, faces, tmp_path / "shape", 2).train()
    run = face_run(made, faces, tmp_path / "face", 2, shape=str(tmp_path / "shape" / "light"))
    trained = load_light_state(tmp_path / "shape" / "light")
    run.train()
    for key, value in run.task.networks["dual_generator"].shape.state_dict().items():
        assert torch.equal(value, trained[key])
    with pytest.raises(BadInput, match="holds no shape.safetensors"):
        face_run(made, faces, tmp_path / "other", 2, shape=str(tmp_path))


def load_light_state(place) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(place / "shape.safetensors").items()}


def test_the_shape_generator_learns_to_undo_a_disguise(made, faces, tmp_path):
    run = shape_run(
        made, faces, tmp_path / "run", 1, batch=16, readers="", people=1.0, strangers=0.0, same=0.0
    )
    batch = run.task.batch(0)
    generator = run.task.networks["shape"]
    optimizer = torch.optim.Adam(generator.parameters(), 3e-3)
    with torch.no_grad():
        before = dual_shape_task.objective(generator, batch)
    for _ in range(30):
        optimizer.zero_grad()
        dual_shape_task.objective(generator, batch)["landmarks"].backward()
        optimizer.step()
    with torch.no_grad():
        after = dual_shape_task.objective(generator, batch)
    assert after["landmarks"] < 0.9 * before["landmarks"]


def test_colours_are_those_of_the_other_photo():
    torch.manual_seed(0)
    face, where = torch.rand(2, 3, 16, 16) * 0.4 - 0.2, torch.zeros(2, 1, 16, 16)
    where[..., 4:12, 4:12] = 1
    like = face * 2 + 0.1
    assert (losses.recoloured(face, like, where) - like).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("shares", "words"), [({"turned": 0.0}, "at least 0"), ({"turned": -1.0, "same": 2.0}, "at least 0")]
)
def test_shares_that_cannot_be_are_refused(made, faces, shares, words):
    with pytest.raises(BadInput, match=words):
        pairs(faces, made, **shares)


def test_faces_without_landmarks_are_no_pairs(face_shards):
    given = Faces(face_shards, 32)
    given.labels["landmarks"] = np.full_like(given.labels["landmarks"], np.nan)
    with pytest.raises(BadInput, match="no face with landmarks"):
        Couples(given)
