"""The pretended GPU finds what a real one would refuse or wait for, and a compiled step that fails is taken again."""

import pytest
import torch
from torch import nn

from ganime_age.learning.engine.compiling import Compiled
from ganime_age.learning.engine.fake_device import GPU, FakeDevice, MixedDevices, PretendedGPU
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.task import Losses, Plan, Player, Task
from ganime_age.networks import ragan
from ganime_age.networks.layers import constant

MIXED = {
    "a sum": lambda there: there + torch.ones(3),
    "a weight left behind": lambda there: nn.Linear(3, 2)(there),
    "a list joined": lambda there: torch.cat([there, torch.ones(2)]),
    "a number in a list": lambda there: torch.stack([there.sum(), torch.tensor(1.0)]),
    "written into the CPU": lambda there: torch.ones(3).add_(there),
    "made without a device": lambda there: there * torch.rand(len(there)),
    "a gradient": lambda there: (there.requires_grad_() * there.exp()).backward(torch.ones(3)),
}
WAITING = {
    "item": lambda there: there.sum().item(),
    "float": lambda there: float(there.sum()),
    "bool": lambda there: bool((there > 0).all()),
    "tolist": lambda there: there.tolist(),
    "cpu": lambda there: there.cpu(),
    "numpy": lambda there: there.numpy(),
    "nonzero": lambda there: there.nonzero(),
    "a mask": lambda there: there[there > 0],
    "writing to a mask": lambda there: there.index_put_((there > 0,), there * 2),
    "a list as an index": lambda there: there[[0, 2]],
    "unique": lambda there: there.unique(),
    "repeats": lambda there: torch.arange(3, device=GPU).repeat_interleave(there.long()),
    "numbers": lambda there: there.new_tensor([1.0, 2.0]),
    "a copy": lambda there: torch.ones(3).to(there.device),
    "an inverse": lambda there: torch.linalg.inv(torch.diag(there)),
}
FREE = {
    "arithmetic": lambda there: (there * 2 + 1).exp().sum(),
    "a number of the CPU": lambda there: there * torch.tensor(2.0),
    "made there": lambda there: there + torch.rand(3, device=there.device) + torch.zeros_like(there),
    "a slice": lambda there: there[1:] + there[:-1],
    "masked": lambda there: torch.where(there > 0, there, 0.0).masked_fill(there > 1, 2.0),
    "filled at a mask": lambda there: there.index_put_((there > 0,), torch.tensor(0.0)),
    "classes": lambda there: nn.functional.one_hot(there.long(), 5),
    "gathered": lambda there: there[torch.arange(2, device=GPU)],
    "a copy of pinned memory": lambda there: torch.ones(3).pin_memory().to(GPU, non_blocking=True),
    "a constant": lambda there: constant((0.5, 0.25), there),
    "a backward pass": lambda there: (there.requires_grad_() * 2).norm().backward(),
}


def there() -> torch.Tensor:
    return torch.tensor([1.0, 2.0, 3.0]).to(GPU)


@pytest.mark.parametrize("name", MIXED)
def test_an_operation_on_two_devices_is_refused(name):
    with FakeDevice(), pytest.raises(MixedDevices, match="cuda"):
        MIXED[name](there())


@pytest.mark.parametrize("name", [*WAITING, *FREE])
def test_waits_of_the_host_are_counted_and_nothing_else_is(name):
    with FakeDevice() as gpu:
        given = there()
        gpu.events.clear()
        (WAITING | FREE)[name](given)
    assert len(gpu.events) == (name in WAITING), gpu.events


def test_tensors_say_where_they_are_and_numbers_stay_what_they_are():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2), torch.rand(4, 3)
    expected = layer(x)
    with FakeDevice():
        layer.to("cuda")
        y = layer(x.cuda())
        assert y.device == GPU and y.is_cuda and y.view(-1).device == GPU and layer.weight.is_cuda
        back = y.detach().to("cpu")
        assert back.device.type == "cpu" and torch.equal(back, expected)
    assert torch.ones(2).device.type == "cpu"


def half_run(tmp_path, loss, accelerator=None, log_every=2) -> Run:
    """A run of four steps of one layer."""
    layer = nn.Linear(3, 1)
    player = Player("one", layer, lambda step: loss(layer, step), 0.1, weights=lambda number: {"square": 1.0})
    batch = {"x": torch.arange(6.0).view(2, 3)}
    task = Task({"layer": layer}, [player], lambda number: batch, averaged=("layer",), configs={"layer": {}})
    plan = Plan(4, warmup=1, log_every=log_every, save_every=4, watch_every=0, schedule="constant")
    return Run(task, plan, tmp_path, accelerator)


def square(layer, step) -> Losses:
    value = layer(step.batch["x"]).square().mean()
    return Losses(value, {"square": value.detach()})


def test_a_gpu_is_listened_to_where_something_is_logged_alone(tmp_path):
    torch.manual_seed(0)
    plain = half_run(tmp_path / "cpu", square)
    plain.train()
    with FakeDevice() as gpu:
        torch.manual_seed(0)
        run = half_run(tmp_path / "gpu", square, PretendedGPU(cpu=True))
        gpu.events.clear()
        waits = []
        for _ in range(4):
            run.one_step(0.0)
            run.step += 1
            heard = run.listen() if run.listens(False) else []
            waits.append((len(gpu.events), len(heard)))
        assert waits == [(0, 0), (1, 2), (1, 0), (2, 2)]
    for kept, now in zip(
        plain.averages["layer"].parameters(), run.averages["layer"].parameters(), strict=True
    ):
        assert torch.allclose(kept, now)


def test_a_compiled_step_that_fails_is_taken_again_without(tmp_path, monkeypatch, capsys):
    """The backend refuses: the sentence says so once, and the run ends as it would have without compilation."""

    def refusing(graph, examples):
        raise RuntimeError("no kernel for this\nlong trace")

    torch.manual_seed(0)
    plain = half_run(tmp_path / "plain", square).train()["layer"]
    torch.manual_seed(0)
    run = half_run(tmp_path / "compiled", square)
    run.compiled = Compiled([run.task.networks["layer"]], refusing)
    found = run.train()["layer"]
    assert torch.equal(plain.weight, found.weight) and not run.compiled
    said = capsys.readouterr().err
    assert said.count("the run goes on without torch.compile") == 1 and "a compiled step failed" in said
    with pytest.raises(ZeroDivisionError):
        half_run(tmp_path / "wrong", lambda layer, step: 1 / 0).train()


def test_ragan_compiles_with_channels_last_and_two_sizes_of_batches():
    torch.manual_seed(0)
    network = ragan.Generator(widths=(8, 8), blocks=1, order=1, own_prototypes=False)
    network.to(memory_format=torch.channels_last)
    faces, groups = torch.rand(4, 3, 64, 64), torch.arange(4.0)
    expected = network(faces, groups)
    compiled = Compiled([network], "aot_eager")
    for count in (4, 3):
        given = faces[:count].to(memory_format=torch.channels_last)
        found = network(given, groups[:count])
        found.sum().backward()
        assert torch.allclose(found, expected[:count], atol=1e-5)
    compiled.undo()
    assert "forward" not in vars(network)
