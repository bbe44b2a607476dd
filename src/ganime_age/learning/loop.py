"""The training loop. It knows no faces: fetch a batch, let each player take a step, average, log, save.

A task brings the networks, what each player's loss is, and the batches. Step number n is a pure function of the
recipe's seed, n and the state, so a run that goes on from a checkpoint repeats what an unbroken one would have done.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from ..errors import BadInput

Loss = Callable[[dict[str, Tensor], int], tuple[Tensor, dict[str, float]]]


@dataclass
class Player:
    """One optimiser with what it moves: `loss(batch, step)` -> (total, every term by its name)."""

    name: str
    module: nn.Module
    loss: Loss
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0


@dataclass
class Task:
    """Everything the loop needs to know of what is trained.

    networks: what checkpoints hold, by name. players: in the order of their steps. batch(step): the step's batch.
    averaged: names of the networks of which an exponential moving average is kept. configs: what each network is
    built from, for the light copies. sheet(networks, path): optional picture of the state.
    """

    networks: dict[str, nn.Module]
    players: list[Player]
    batch: Callable[[int], dict[str, Tensor]]
    averaged: tuple[str, ...] = ()
    configs: dict[str, dict] = field(default_factory=dict)
    sheet: Callable[[dict[str, nn.Module], Path], None] | None = None


@dataclass
class Plan:
    """How long and how: numbers of a recipe's [run] table."""

    steps: int
    seed: int = 0
    minutes: float = math.inf
    warmup: int = 100
    schedule: str = "cosine"
    ema: float = 0.999
    clip: float = 10.0
    log_every: int = 50
    save_every: int = 500
    sheet_every: int = 500

    def progress(self, step: int, seconds: float) -> float:
        """Share of the run that is done, by steps or by the clock, whichever is further."""
        return min(max(step / self.steps, seconds / 60 / self.minutes), 1.0)

    def rate(self, step: int, progress: float) -> float:
        """Factor on every learning rate: linear warm-up, then a cosine to zero, or constant."""
        warm = min((step + 1) / max(self.warmup, 1), 1.0)
        return warm * (0.5 * (1 + math.cos(math.pi * progress)) if self.schedule == "cosine" else 1.0)


class Run:
    """A task under way: optimisers, averages, counters; `train` moves it, `save` and `resume` keep it."""

    def __init__(self, task: Task, plan: Plan, out: Path, accelerator: Accelerator | None = None):
        self.task, self.plan, self.out = task, plan, Path(out)
        self.accelerator = accelerator or Accelerator()
        self.device = self.accelerator.device
        for network in task.networks.values():
            network.to(self.device)
        self.optimizers = [
            torch.optim.AdamW(p.module.parameters(), p.lr, p.betas, weight_decay=p.weight_decay)
            for p in task.players
        ]
        self.averages = {
            name: AveragedModel(task.networks[name], avg_fn=warming_average(plan.ema), use_buffers=True)
            for name in task.averaged
        }
        self.step, self.seconds = 0, 0.0

    def train(self) -> dict[str, nn.Module]:
        """Run to the plan's end; returns the networks, averaged ones where an average is kept."""
        bar = tqdm(
            total=self.plan.steps,
            initial=self.step,
            disable=not self.accelerator.is_main_process,
            unit="step",
        )
        started, logs, progress = time.monotonic() - self.seconds, {}, 0.0
        while progress < 1:
            torch.manual_seed(self.plan.seed * 1_000_003 + self.step)
            terms = self.one_step(progress)
            self.step += 1
            self.seconds = time.monotonic() - started
            progress = self.plan.progress(self.step, self.seconds)
            logs = {k: 0.95 * logs.get(k, v) + 0.05 * v for k, v in terms.items()}
            bar.update()
            self.report(logs, progress, bar)
        bar.close()
        self.save()
        return self.best_networks()

    def one_step(self, progress: float) -> dict[str, float]:
        """One batch, one optimiser step of every player; returns all terms."""
        index = self.step * self.accelerator.num_processes + self.accelerator.process_index
        batch = {name: value.to(self.device) for name, value in self.task.batch(index).items()}
        rate, terms = self.plan.rate(self.step, progress), {}
        for player, optimizer in zip(self.task.players, self.optimizers, strict=True):
            with self.accelerator.autocast():
                loss, parts = player.loss(batch, self.step)
            if not torch.isfinite(loss):
                raise BadInput(f"step {self.step}: the {player.name} loss is {loss.item()}; terms {parts}")
            for group in optimizer.param_groups:
                group["lr"] = player.lr * rate
            optimizer.zero_grad()
            self.accelerator.backward(loss)
            self.share_gradients(player.module)
            nn.utils.clip_grad_norm_(player.module.parameters(), self.plan.clip)
            optimizer.step()
            terms |= parts
        for name, average in self.averages.items():
            average.update_parameters(self.task.networks[name])
        return terms

    def share_gradients(self, module: nn.Module) -> None:
        """Average the gradients over all processes."""
        if self.accelerator.num_processes > 1:
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")

    def report(self, logs: dict[str, float], progress: float, bar: tqdm) -> None:
        """Log, sheet and checkpoint when their turn has come."""
        if not self.accelerator.is_main_process:
            return
        if self.step % self.plan.log_every == 0 or progress >= 1:
            line = {"step": self.step, "minutes": round(self.seconds / 60, 2)} | {
                k: round(v, 4) for k, v in logs.items()
            }
            self.out.mkdir(parents=True, exist_ok=True)
            with open(self.out / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            bar.set_postfix_str(" ".join(f"{k} {v:.3g}" for k, v in logs.items()))
        if self.step % self.plan.save_every == 0:
            self.save()
        if self.task.sheet and (self.step % self.plan.sheet_every == 0 or progress >= 1):
            self.out.mkdir(parents=True, exist_ok=True)
            with torch.no_grad():
                self.task.sheet(self.best_networks(), self.out / f"sheet-{self.step:06d}.jpg")

    def best_networks(self) -> dict[str, nn.Module]:
        """Every network by name, its moving average where one is kept."""
        return self.task.networks | {name: average.module for name, average in self.averages.items()}

    def save(self) -> None:
        """Write `checkpoint/` at once: an interrupted save leaves the one before untouched."""
        if not self.accelerator.is_main_process:
            return
        part, final, old = (self.out / name for name in ("checkpoint.part", "checkpoint", "checkpoint.old"))
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, network in self.task.networks.items():
            save_file(whole(network.state_dict()), part / f"{name}.safetensors")
        for name, average in self.averages.items():
            save_file(whole(average.module.state_dict()), part / f"{name}.average.safetensors")
        for player, optimizer in zip(self.task.players, self.optimizers, strict=True):
            save_file(flat_optimizer(optimizer), part / f"{player.name}.optimizer.safetensors")
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "averages": {n: int(a.n_averaged) for n, a in self.averages.items()},
        }
        (part / "state.json").write_text(json.dumps(state))
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            os.replace(final, old)
        os.replace(part, final)
        shutil.rmtree(old, ignore_errors=True)
        self.save_light()

    def save_light(self) -> None:
        """Write `light/`: networks that have a config, in half precision, small enough to travel (`--init-from`)."""
        light = self.out / "light"
        light.mkdir(exist_ok=True)
        for name, config in self.task.configs.items():
            state = {
                k: v.half() if v.is_floating_point() else v
                for k, v in whole(self.best_networks()[name].state_dict()).items()
            }
            save_file(state, light / f"{name}.safetensors.part")
            os.replace(light / f"{name}.safetensors.part", light / f"{name}.safetensors")
            (light / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint that `save` wrote; BadInput names what is missing."""
        folder = Path(folder)
        if not (folder / "state.json").is_file():
            raise BadInput(f"{folder} holds no finished checkpoint (state.json is missing)")
        for name, network in self.task.networks.items():
            network.load_state_dict(load_file(folder / f"{name}.safetensors"))
        state = json.loads((folder / "state.json").read_text())
        for name, average in self.averages.items():
            average.module.load_state_dict(load_file(folder / f"{name}.average.safetensors"))
            average.n_averaged.fill_(state["averages"][name])
        for player, optimizer in zip(self.task.players, self.optimizers, strict=True):
            restore_optimizer(optimizer, load_file(folder / f"{player.name}.optimizer.safetensors"))
        self.step, self.seconds = state["step"], state["seconds"]


def warming_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average whose decay grows from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def average(kept: Tensor, new: Tensor, count: Tensor) -> Tensor:
        share = min(decay, (1 + int(count)) / (10 + int(count)))
        return kept + (new - kept) * (1 - share) if kept.is_floating_point() else new

    return average


def whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous().cpu() for name, value in state.items()}


def flat_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state as tensors by name, `INDEX.NAME`; the hyperparameters stand in the recipe."""
    return {
        f"{index}.{name}": value.detach().contiguous().cpu()
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Undo flat_optimizer."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
