"""The training loop. It knows no faces: fetch a batch, let each player take a step, average, log, save.

A task brings the networks, what each player's loss is, and the batches. Step number n is a pure function of the
recipe's seed, n and the state, so a run that goes on from a checkpoint repeats what an unbroken one would have done.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...errors import BadInput, GanimeAgeError
from .batches import BatchesAhead, on_device
from .checkpoints import check_light, finished, read_checkpoint, replace_folder, write_checkpoint, write_light
from .collapse import Collapsed, CollapseMonitor, Finding, Watch, largest
from .compiling import Compiled
from .distributed import agreed, average_buffers, average_gradients, copy_from_first
from .logging import RunLog, forget_after
from .muon import Muon
from .task import Plan, Player, Step, Task


class Turn(NamedTuple):
    """What a player's turn has to tell, still on the device. step: number of the step, from 0. names: of the terms.
    values: their means, then the loss and the norm of the gradient, (len(names) + 2,)."""

    step: int
    player: str
    names: tuple[str, ...]
    values: Tensor


class Run:
    """A task under way: optimisers, averages, counters; `train` moves it, `save` and `resume` keep it.

    watch: limits of a healthy run, the task's own when None.
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        out: Path,
        accelerator: Accelerator | None = None,
        watch: Watch | None = None,
    ):
        self.task, self.plan, self.out = task, plan, Path(out)
        self.accelerator = accelerator or Accelerator()
        batches = self.accelerator.num_processes * plan.accumulate
        self.plan.steps = plan.steps or math.ceil((task.steps or 0) / batches)
        if self.plan.steps < 1:
            raise BadInput(f"run.steps is {self.plan.steps}; a run needs at least one step")
        check_light(task.networks, task.configs)
        self.place()
        self.optimizers = [optimizer_of(player) for player in task.players]
        self.averages = {name: AveragedModel(task.networks[name], use_buffers=True) for name in task.averaged}
        compiled = task.compiled if plan.compile and self.accelerator.device.type == "cuda" else ()
        self.compiled = Compiled(task.networks[one] if isinstance(one, str) else one for one in compiled)
        self.told: list[Turn] = []
        self.monitor = CollapseMonitor(watch or task.watch)
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.weights: dict[str, float] = {}
        self.coming: BatchesAhead | None = None

    def place(self) -> None:
        """Move everything to the device; channels come last on a GPU, where that is faster."""
        device = self.accelerator.device
        self.format: dict[str, Any] = {"memory_format": torch.channels_last} if device.type == "cuda" else {}
        for module in (
            *self.task.networks.values(),
            *(p.module for p in self.task.players),
            *self.task.helpers,
        ):
            module.to(device, **self.format)

    def train(self) -> dict[str, nn.Module]:
        """Run to the plan's end; returns the networks, averaged ones where an average is kept.

        Collapsed says what is off scale when the monitor stops the run.
        """
        copy_from_first(self.accelerator, [*self.task.networks.values(), *self.averages.values()])
        progress = self.plan.progress(self.step, self.seconds)
        started = time.monotonic() - self.seconds
        smooth: dict[str, float] = {}
        with RunLog(self.out, self.accelerator, progress) as log, self.batches_ahead() as self.coming:
            while progress < 1:
                images = self.one_step(progress)
                self.step += 1
                self.images += images
                self.seconds = time.monotonic() - started
                if math.isfinite(self.plan.minutes):  # else no process needs another's clock
                    self.seconds = agreed(self.accelerator, self.seconds)
                progress = self.plan.progress(self.step, self.seconds)
                if self.listens(progress >= 1):
                    for terms in self.listen():
                        smooth |= {k: 0.95 * smooth.get(k, v) + 0.05 * v for k, v in terms.items()}
                log.advance(images, progress, self.step, smooth)
                self.report(log, smooth, images, progress >= 1)
        self.coming = None
        return self.best_networks()

    def listens(self, last: bool) -> bool:
        """Whether the host waits after this step to hear what the turns since the last time have to tell: on a GPU only
        where something is logged, watched or saved, so that otherwise it runs ahead of the device."""
        plan, cpu = self.plan, self.accelerator.device.type == "cpu"
        return (
            last
            or cpu
            or any(n and self.step % n == 0 for n in (plan.log_every, plan.save_every, plan.watch_every))
        )

    def listen(self) -> list[dict[str, float]]:
        """The terms of each turn since the last time, in one transfer; Collapsed for the first that is not finite."""
        turns, self.told = self.told, []
        values = torch.cat([turn.values for turn in turns]).tolist() if turns else []
        out = []
        for turn in turns:
            (*own, total, norm), values = values[: len(turn.names) + 2], values[len(turn.names) + 2 :]
            out.append(dict(zip(turn.names, own, strict=True)))
            if not math.isfinite(total + norm):
                what = "gradient" if math.isfinite(total) else "loss"
                raise self.collapse([f"the {what} of the {turn.player} is not finite"], out[-1], turn.step)
        return out

    def one_step(self, progress: float) -> int:
        """One optimiser step of every player whose turn it is -> the images that all processes saw. What the turns have
        to tell waits for `listen`."""
        steps: list[Step[Any]] = [Step(self.fetch(index), self.step) for index in self.indices()]
        for number, (player, optimizer) in enumerate(zip(self.task.players, self.optimizers, strict=True)):
            if self.step >= player.start and (self.step + 1) % player.every == 0:
                rate = self.plan.rate(self.step - player.start, progress)
                for group in optimizer.param_groups:
                    group["lr"] = player.lr * rate
                optimizer.zero_grad()
                self.told.append(self.turn(number, steps))
                optimizer.step()
        average_buffers(self.accelerator, list(self.task.networks.values()))
        if self.step >= max((player.start for player in self.task.players), default=0):
            for name, average in self.averages.items():
                follow(average, self.task.networks[name], self.plan.ema)
        images = sum(len(next(iter(step.batch.values()))) for step in steps)
        return images * self.accelerator.num_processes

    def indices(self, step: int | None = None) -> range:
        """Numbers of this process's batches in a step, or in this one; those of all processes follow one another."""
        step = self.step if step is None else step
        first = step * self.accelerator.num_processes + self.accelerator.process_index
        return range(first * self.plan.accumulate, (first + 1) * self.plan.accumulate)

    def seed(self, index: int, part: int) -> None:
        """Random numbers depend on the batch's number and the part of the step alone, never on what came before."""
        torch.manual_seed((self.plan.seed * 1_000_003 + index) * (len(self.task.players) + 1) + part)

    def fetch(self, index: int) -> dict[str, Any]:
        """A batch on the device."""
        self.seed(index, 0)
        batch = self.coming.take(index) if self.coming else self.task.batch(index)
        return on_device(batch, self.accelerator.device, self.format)

    def batches_ahead(self) -> AbstractContextManager[BatchesAhead | None]:
        """What makes the batches of the steps to come in a thread; nothing where that brings nothing."""
        wanted = self.plan.prefetch
        if wanted == "auto":
            wanted = self.accelerator.device.type == "cuda"
        if not wanted or not self.task.ahead:
            return nullcontext()
        steps = itertools.count(self.step)
        numbers = (index for step in steps for index in self.indices(step))
        return BatchesAhead(self.task.batch, numbers, device=self.accelerator.device)

    def turn(self, number: int, steps: list[Step[Any]]) -> Turn:
        """`gradient`; where it fails with compiled networks it is taken again without, as are all later ones."""
        try:
            return self.gradient(number, steps)
        except (GanimeAgeError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # compilers raise whatever they like, in the forward or the backward pass
            if not self.compiled:
                raise
            first = str(error).strip().partition("\n")[0][:200]
            why = f"a compiled step failed ({type(error).__name__}: {first})"
            print(f"{why}; the run goes on without torch.compile", file=sys.stderr)
        self.compiled.undo()
        self.optimizers[number].zero_grad()
        return self.gradient(number, steps)

    def gradient(self, number: int, steps: list[Step[Any]]) -> Turn:
        """A player's clipped gradient over all batches of all processes. The host waits for nothing."""
        player, total = self.task.players[number], torch.zeros((), device=self.accelerator.device)
        found: dict[str, list[Tensor]] = {}
        parameters = [p for p in player.module.parameters() if p.requires_grad]
        for index, step in zip(self.indices(), steps, strict=True):
            self.seed(index, number + 1)
            with nullcontext() if player.precise else self.accelerator.autocast():
                loss, logged = player.loss(step)
            loss = loss / len(steps)
            loss.backward(inputs=parameters)
            total = total + loss.detach()
            for name, value in logged.items():
                found.setdefault(name, []).append(value.float())
        means = {name: torch.stack(values).mean() for name, values in found.items()}
        total = average_gradients(self.accelerator, parameters, total)
        norm = nn.utils.clip_grad_norm_(parameters, self.plan.clip)
        self.weights |= player.weights(self.step)
        values = torch.stack([*means.values(), total.float(), norm.float()])
        return Turn(self.step, player.name, tuple(means), values)

    def report(self, log: RunLog, terms: dict[str, float], images: int, last: bool) -> None:
        """Probe, log, draw and save when their turn has come; only what the monitor finds healthy is saved."""
        plan, step = self.plan, self.step
        save = last or step % plan.save_every == 0
        watch = self.task.probe and plan.watch_every and (save or step % plan.watch_every == 0)
        finding, probe = self.judge(last) if watch else (Finding([], False, None), {})
        if last or watch or step % plan.log_every == 0:
            values = {"images": self.images} | terms | self.rates()
            values |= {f"probe_{name}": value for name, value in probe.items()}
            log.write(step, self.seconds, values | ({"alarm": finding.alarm} if finding.alarm else {}))
        if finding.alarm:
            log.message(f"alarm, step {step}: {finding.alarm}")
        due = self.images // plan.sheet_every > (self.images - images) // plan.sheet_every
        if last or finding.stop or due:
            self.draw(log)
        if finding.stop:
            raise self.collapse(finding.faults, terms)
        if save and finding.faults:
            log.message(f"step {step} is not saved: {'; '.join(finding.faults)}")
        elif save:
            self.save()

    def rates(self) -> dict[str, float]:
        """The learning rate of every player's last step."""
        players = zip(self.task.players, self.optimizers, strict=True)
        return {f"lr_{player.name}": optimizer.param_groups[0]["lr"] for player, optimizer in players}

    def judge(self, last: bool) -> tuple[Finding, dict[str, float]]:
        """The main process measures and judges; all of them stop or none."""
        finding = Finding([], False, None)
        probe: dict[str, float] = {}
        if self.task.probe and self.accelerator.is_main_process:
            torch.manual_seed(self.plan.seed)
            with measuring(self.best_networks()) as networks:
                probe = self.task.probe(networks)
            finding = self.monitor.judge(self.step, probe, last)
        return finding._replace(stop=bool(agreed(self.accelerator, finding.stop))), probe

    def draw(self, log: RunLog) -> None:
        """Write a sample sheet."""
        if self.task.sheet and self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            path = self.out / f"sheet-{self.step:06d}.jpg"
            with measuring(self.best_networks()) as networks:
                self.task.sheet(networks, path)
            log.picture("sheet", path, self.step)

    def collapse(self, faults: list[str], terms: dict[str, float], step: int | None = None) -> Collapsed:
        """The sentence that ends a run. step: where it happened, if not in this one."""
        step = self.step if step is None else step
        weighted = {
            name: value * (self.weights.get(name, 0.0) or 1.0)
            for name, value in terms.items()
            if self.weights.get(name) or not math.isfinite(value)
        }
        kept = finished(self.out / "checkpoint")
        where = f"the last good checkpoint is kept at {kept}" if kept else "no checkpoint had been saved yet"
        why = "; ".join(faults) or "process 0 stopped the run"
        return Collapsed(f"step {step}: {why}; largest weighted terms: {largest(weighted)}; {where}")

    def best_networks(self) -> dict[str, nn.Module]:
        """Every network by name, its moving average where one is kept."""
        return self.task.networks | {name: average.module for name, average in self.averages.items()}

    def counters(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the tensors."""
        return {
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
            "watch": self.monitor.memory(),
        }

    def save(self) -> None:
        """Write `checkpoint/` at once (a killed save leaves the one before), and the exported weights, `light/`.

        BadInput when the disk is full.
        """
        if not self.accelerator.is_main_process:
            return
        light = (self.best_networks(), self.task.configs)
        try:
            replace_folder(self.out / "checkpoint", lambda folder: write_checkpoint(self, folder))
            replace_folder(self.out / "light", lambda part: write_light(*light, part, self.task.notes))
        except (OSError, SafetensorError) as error:
            raise BadInput(
                f"step {self.step} cannot be saved in {self.out} ({error}); make room there and go on with --resume: "
                "what was saved before is kept"
            ) from None

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint that `save` wrote; BadInput names what is missing."""
        state = read_checkpoint(self, Path(folder))
        self.step, self.seconds, self.images = state["step"], state["seconds"], state["images"]
        self.monitor.recall(state["watch"])
        if self.accelerator.is_main_process:
            forget_after(self.out / "log.jsonl", self.step)


def optimizer_of(player: Player) -> torch.optim.Optimizer:
    """What moves a player's parameters; BadInput for a name that is none."""
    if player.optimizer == "muon":
        return Muon(player.module, player.lr, player.betas, player.weight_decay)
    if player.optimizer != "adamw":
        raise BadInput(f"the optimizer is {player.optimizer!r}; choose adamw or muon")
    parameters = list(player.module.parameters())
    fused = any(p.device.type == "cuda" for p in parameters)  # one kernel for all of them
    return torch.optim.AdamW(
        parameters, player.lr, player.betas, weight_decay=player.weight_decay, fused=fused or None
    )


@contextmanager
def measuring(networks: dict[str, nn.Module]) -> Iterator[dict[str, nn.Module]]:
    """Networks in evaluation mode without gradients, and as they were afterwards."""
    modules = [module for network in networks.values() for module in network.modules()]
    modes = [module.training for module in modules]
    try:
        for network in networks.values():
            network.eval()
        with torch.no_grad():
            yield networks
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


@torch.no_grad()
def follow(average: AveragedModel, network: nn.Module, decay: float) -> None:
    """One step of the exponential moving average of parameters and buffers; its decay grows from 0.1 to `decay`, so
    that the first steps are soon forgotten.

    AveragedModel.update_parameters would bring the count of steps to the device and back in every step.
    """
    count = int(average.n_averaged)  # it stays on the CPU
    share = 1 - min(decay, (1 + count) / (10 + count)) if count else 1.0
    pairs = [
        (kept, new)
        for of in (nn.Module.parameters, nn.Module.buffers)
        for kept, new in zip(of(average.module), of(network), strict=True)
    ]
    for copied in (False, True):
        chosen = [pair for pair in pairs if copied is (share == 1 or not pair[0].is_floating_point())]
        if chosen and copied:
            torch._foreach_copy_([kept for kept, _ in chosen], [new for _, new in chosen])
        elif chosen:
            torch._foreach_lerp_([kept for kept, _ in chosen], [new for _, new in chosen], share)
    average.n_averaged += 1
