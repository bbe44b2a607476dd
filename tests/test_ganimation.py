"""The published GANimation and the first GANimation-age: their networks, their losses by hand, their training."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning import losses
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks import ganimation as ganimation_task
from ganime_age.learning.tasks import ganimation_age_published as published_task
from ganime_age.networks import ganimation as original
from ganime_age.networks import ganimation_age_published as seed
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS

RECIPES = Path(__file__).resolve().parents[1] / "training" / "recipes"
SMALL = {"width": 4, "blocks": 1}


def without_gradient(network: torch.nn.Module) -> list[str]:
    return [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()]


def test_the_original_generator_copies_where_its_attention_is_one():
    torch.manual_seed(0)
    generator, face = original.Generator(**SMALL), torch.rand(2, 3, 64, 64) * 2 - 1
    units = torch.rand(2, 17)
    edited = generator(face, units)
    assert edited.face.shape == (2, 3, 64, 64) and edited.attention.shape == (2, 1, 64, 64)
    assert edited.face.abs().max() <= 1 and 0 <= edited.attention.min() <= edited.attention.max() <= 1
    assert not torch.equal(edited.face, generator(face, 1 - units).face)
    generator.attention.register_forward_hook(lambda *_: torch.full((2, 1, 64, 64), 50.0))
    copied = generator(face, units)
    assert copied.attention.max() == 0 and torch.equal(copied.face, face)


def test_the_original_networks_have_the_published_size():
    with torch.device("meta"):
        generator, discriminator = original.Generator(), original.Discriminator(128)
    assert discriminator.read.kernel_size == (2, 2) and discriminator.read.out_channels == 17
    assert [m.out_channels for m in discriminator.trunk[::2]] == [64, 128, 256, 512, 1024, 2048]
    assert all(m.kernel_size == (4, 4) and m.stride == (2, 2) for m in discriminator.trunk[::2])
    assert all(m.negative_slope == 0.01 for m in discriminator.trunk[1::2])
    first = generator.trunk[0]
    assert (first.in_channels, first.out_channels, first.kernel_size) == (20, 64, (7, 7))
    assert sum(isinstance(m, original.Bottleneck) for m in generator.trunk) == 6
    assert sum(p.numel() for p in generator.parameters()) == generator_parameters()


def generator_parameters() -> int:
    """The published generator's weights by hand: convolutions without bias, two numbers a normalised channel."""
    stem, down = 20 * 64 * 49, 16 * (64 * 128 + 128 * 256)
    blocks, up, heads = 12 * 9 * 256 * 256, 16 * (256 * 128 + 128 * 64), 4 * 64 * 49
    return stem + down + blocks + up + heads + 2 * (64 + 128 + 256 + 12 * 256 + 128 + 64)


def test_every_parameter_of_the_original_networks_learns():
    torch.manual_seed(0)
    generator, discriminator = original.Generator(**SMALL), original.Discriminator(128, 4)
    edited = generator(torch.rand(2, 3, 128, 128), torch.rand(2, 17))
    patches, units = discriminator(edited.face)
    assert patches.shape == (2, 1, 2, 2) and units.shape == (2, 17)
    (patches.mean() + units.square().mean()).backward()
    assert not without_gradient(generator) and not without_gradient(discriminator)


@pytest.mark.parametrize(("patch", "shape"), [(True, (2, 1, 2, 2)), (False, (2, 1, 1, 1))])
def test_patches_of_the_seed_can_be_switched_off_and_every_parameter_learns(patch, shape):
    torch.manual_seed(0)
    generator, discriminator = seed.Generator(8, **SMALL), seed.Discriminator(patch, 4)
    edited = generator(torch.rand(2, 3, 128, 128), torch.tensor([20.0, 70.0]), 5 * torch.rand(2, 17))
    judged = discriminator(edited.face)
    assert judged.real.shape == shape and judged.aus.shape == (2, 17) and judged.age.shape == (2,)
    (judged.real.mean() + judged.aus.square().mean() + judged.age.square().mean()).backward()
    assert not without_gradient(generator) and not without_gradient(discriminator)


def test_the_seed_joins_a_128_dimensional_age_style_with_the_action_units():
    torch.manual_seed(0)
    generator = seed.Generator(**SMALL)
    assert generator.modulation(torch.tensor([30.0])).shape == (1, 128)
    assert generator.painter.trunk[0].in_channels == 3 + 128 + 17
    face, units = torch.rand(1, 3, 64, 64), torch.rand(1, 17)
    young, old = (generator(face, torch.tensor([age]), units).face for age in (5.0, 80.0))
    assert not torch.equal(young, old)


def test_the_penalty_of_a_linear_critic_is_known():
    """D(x) = w.x has the gradient w everywhere: (|w| - 1)^2, with |w| = 3 here, and 10 times that in the total."""
    slope = torch.zeros(3, 8, 8)
    slope[0, 0, :3] = torch.tensor([1.0, 2.0, 2.0])
    real, fake = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    penalty = losses.critic_penalty(lambda x: (x * slope).sum((1, 2, 3)), real, fake)
    assert penalty.item() == pytest.approx(4.0)
    weights = ganimation_task.critic_weights(ganimation_task.Weights())
    total, logged = losses.weighted_sum({"d_gradient_penalty": penalty}, weights)
    assert total.item() == pytest.approx(40.0) and logged["d_gradient_penalty"].item() == pytest.approx(4.0)


def test_the_penalty_reaches_the_weights_of_the_critic():
    torch.manual_seed(0)
    discriminator = original.Discriminator(64, 4)
    faces = torch.rand(2, 2, 3, 64, 64)
    losses.critic_penalty(partial(original.critic, discriminator), *faces).backward()
    assert discriminator.trunk[0].weight.grad.abs().sum() > 0


def test_smoothness_is_a_sum_over_the_picture():
    """A single 1 on a field of zeros has four steps of 1; the same picture twice in a batch counts once."""
    mask = torch.zeros(1, 1, 5, 5)
    mask[0, 0, 2, 2] = 1
    assert losses.total_variation_sum(mask) == 4
    assert losses.total_variation_sum(mask.repeat(2, 1, 1, 1)) == 4
    assert losses.total_variation_sum(3 * mask) == 36
    assert losses.mask_energy(2 * mask) == pytest.approx(4 / 25)


def test_4000_of_the_released_code_is_160_on_a_plain_mean_square():
    torch.manual_seed(0)
    objective = ganimation_task.Objective(ganimation_task.Recipe(), None, None)
    for batch in (25, 4):
        read, target = torch.rand(batch, 17), torch.rand(batch, 17)
        term = {"action_units": objective.regression(read, target)}
        plain = (read - target).square().mean()
        total, _ = losses.weighted_sum(term, vars(objective.weights))
        assert total.item() == pytest.approx(160 * plain.item())


def test_unknown_action_units_cost_nothing():
    read = torch.tensor([[1.0, 2.0]], requires_grad=True)
    error = losses.known_square_error(read, torch.tensor([[torch.nan, 5.0]]))
    error.backward()
    assert error == 9 and read.grad.tolist() == [[0.0, -6.0]]
    assert losses.known_square_error(read, torch.full((1, 2), torch.nan)) == 0


def test_targets_are_another_faces_units_with_a_little_noise():
    torch.manual_seed(0)
    units = 5 * torch.rand(6, 17)
    units[:, 4] = torch.nan
    asked = ganimation_task.asked_units({"action_units": units}, 0.1)
    off = asked - units.roll(1, 0) / 5
    assert asked[:, 4].isnan().all() and off.nan_to_num(0.0).abs().max() <= 0.1 and off.nanmean().abs() < 0.05
    assert off.nan_to_num(0.0).abs().max() > 0.05


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A face folder of plain files: 12 training faces, two for sheets."""
    path, chance = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)
    for i in range(14):
        pixels = chance.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path / f"{i}.png")
    table = pd.DataFrame({"id": range(14), "file": [f"{i}.png" for i in range(14)]})
    table["split"] = ["train"] * 12 + ["val"] * 2
    table["age"] = chance.uniform(1, 90, 14)
    table["action_units"] = [chance.uniform(0, 5, 17).astype(np.float32) for _ in range(14)]
    table["yaw"] = table["pitch"] = table["roll"] = 0.0
    table.to_parquet(path / "manifest.parquet")
    return path


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """A folder as training the readers leaves it."""
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("readers")
    torch.manual_seed(0)
    save_file(Readers(**READERS).state_dict(), path / "readers.safetensors")
    (path / "readers.json").write_text(json.dumps(READERS))
    return path


def original_task(folder: Path, readers: Path):
    recipe = ganimation_task.Recipe(batch=3, critic_steps=2, generator=SMALL, discriminator={"width": 4})
    return ganimation_task.build(recipe, Faces(folder, 64), 0)


def seed_task(folder: Path, readers: Path, **numbers):
    numbers = {"critic_steps": 2, "stages": [{"epochs": 1, "batch": 3, "size": 64}]} | numbers
    recipe = published_task.Recipe(
        readers=str(readers), generator=SMALL | {"style": 8}, discriminator={"width": 4}, **numbers
    )
    return published_task.build(recipe, Faces(folder, 64), 0)


TERMS = {"adversarial", "action_units", "cycle", "attention", "attention_smooth", "mask"} | {
    "d_adversarial", "d_gradient_penalty", "d_action_units",
}  # fmt: skip


@pytest.mark.parametrize(
    ("build", "terms"),
    [(original_task, TERMS), (seed_task, TERMS | {"age", "d_age", "perceptual"})],
    ids=["ganimation", "ganimation_age_published"],
)
def test_four_steps_and_a_resumed_run_are_the_same(folder, readers, tmp_path, build, terms):
    def run(out: str, steps: int) -> Run:
        torch.manual_seed(0)
        plan = Plan(steps=steps, warmup=0, schedule="constant", log_every=1)
        return Run(build(folder, readers), plan, tmp_path / out)

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
            assert not torch.equal(value, start[name][key]), f"{name}.{key} never moved"
            assert torch.equal(value, again[key]), f"{name}.{key} differs after the resume"
    log = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[-1])
    assert terms <= set(log)
    assert Image.open(tmp_path / "a" / "sheet-000004.jpg").size[1] == 2 * 64


def test_the_generator_moves_once_in_so_many_steps_of_the_critic(folder, readers, tmp_path):
    task = original_task(folder, readers)
    before = task.networks["generator"].colour.weight.clone()
    Run(task, Plan(steps=1, warmup=0), tmp_path / "one").train()
    assert torch.equal(task.networks["generator"].colour.weight, before)
    task = original_task(folder, readers)
    before = task.networks["generator"].colour.weight.clone()
    Run(task, Plan(steps=2, warmup=0, schedule="constant"), tmp_path / "two").train()
    assert not torch.equal(task.networks["generator"].colour.weight, before)


def test_epochs_become_steps_by_the_number_of_faces(folder, readers):
    assert original_task(folder, readers).steps == 30 * 12 / 3
    assert seed_task(folder, readers).steps == 12 / 3
    second = seed_task(
        folder, readers, stage=2, stages=[{}, {"epochs": 15, "batch": 2, "size": 64, "lr": 1e-5}]
    )
    assert second.steps == 15 * 12 / 2 and {p.lr for p in second.players} == {1e-5}


def test_the_learning_rate_stays_for_20_epochs_and_falls_for_10():
    plan = fill(Plan, read_recipe(RECIPES / "ganimation.toml", ["run.steps=300"])["run"], "[run] table")
    rates = [plan.rate(step, step / 300) for step in (0, 100, 199, 250, 300)]
    assert rates == pytest.approx([1, 1, 1, 0.5, 0], abs=1e-3)


def test_the_recipes_hold_the_published_numbers():
    made = {}
    for name, task in (("ganimation", ganimation_task), ("ganimation_age_published", published_task)):
        recipe = read_recipe(RECIPES / f"{name}.toml", [])
        made[name] = fill(task.Recipe, recipe["recipe"], "[recipe] table")
        weights = fill(task.Weights, made[name].weights, "[recipe.weights] table")
        assert set(made[name].weights) == set(vars(weights)), "every weight stands in the recipe"
    first = made["ganimation"]
    assert (first.epochs, first.batch, first.lr, first.critic_steps) == (30, 25, 1e-4, 5)
    assert first.weights["action_units"] / first.au_divisor == 160
    stages = [(s["epochs"], s["batch"], s["lr"]) for s in made["ganimation_age_published"].stages]
    assert stages == [(10, 8, 1e-4), (15, 2, 1e-5)]


def test_what_the_perceptual_loss_compared_travels_with_the_light_copies(folder, readers, tmp_path):
    run = Run(seed_task(folder, readers), Plan(steps=1, warmup=0), tmp_path)
    run.train()
    notes = json.loads((tmp_path / "light" / "notes.json").read_text())
    assert notes == {"perceptual": "identity reader's backbone"}


def test_wrong_recipes_are_named(folder, readers):
    with pytest.raises(BadInput, match="has 1 stages"):
        seed_task(folder, readers, stage=2)
    with pytest.raises(BadInput, match="add --set size=256"):
        seed_task(folder, readers, stages=[{"size": 256}])
    with pytest.raises(BadInput, match="has no adversary"):
        seed_task(folder, readers, weights={"adversary": 1.0})
    with pytest.raises(BadInput, match="run.schedule is cosine, linear or constant"):
        Plan(steps=1, schedule="step")
    with pytest.raises(BadInput, match="multiple of 64"):
        ganimation_task.build(ganimation_task.Recipe(), Faces(folder, 32), 0)
