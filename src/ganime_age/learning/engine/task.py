"""What the loop is given: a task (networks, losses, batches) and a plan (how long and how)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from torch import Tensor, nn

from ...errors import BadInput
from .collapse import Watch

Result = TypeVar("Result")


@dataclass
class Step(Generic[Result]):
    """One batch on its way through the players of a step.

    batch: tensors by name, as the task made them, on the device; players only read it. number: of the step, from 0.
    result: what the player whose turn comes first hands to the others, of a type that the task defines; None until
    then.
    """

    batch: dict[str, Tensor]
    number: int
    result: Result | None = None

    def handed(self) -> Result:
        """The result of an earlier player. RuntimeError where none has played: the task's players are out of order."""
        if self.result is None:
            raise RuntimeError(f"no player of step {self.number} has left a result for the later ones")
        return self.result


class Losses(NamedTuple):
    """A player's loss. total: a scalar with a gradient, the mean over the batch's rows. logged: every term by its name,
    unweighted and detached scalars on the device."""

    total: Tensor
    logged: dict[str, Tensor]


Loss = Callable[[Step[Any]], Losses]


@dataclass
class Player:
    """One optimiser with the module it moves and the loss it moves it by.

    every, start: it plays in each `every`-th step, from step `start` on. precise: its loss runs in float32 under mixed
    precision (a gradient penalty is not accurate in bfloat16); results that other players hand to it must be float32
    too. weights(step number): the weights of the loss's terms, by name, with which a collapsed run ranks them; a term
    without one is only logged. optimizer: "adamw" or "muon" (muon.py).
    """

    name: str
    module: nn.Module
    loss: Loss
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    every: int = 1
    start: int = 0
    precise: bool = False
    optimizer: str = "adamw"
    weights: Callable[[int], Mapping[str, float]] = lambda number: {}


@dataclass
class Task:
    """Everything the loop needs to know of what is trained.

    networks: what checkpoints hold, by name. players: in the order of their turns. batch(number): a batch, a pure
    function of its number; every first tensor of it has one row an image. averaged: names of the networks of which an
    exponential moving average is kept. configs: what each network is built from, for the exported weights.
    sheet(networks, path): optional picture of the state. probe(networks): optional figures of the state for the
    collapse monitor; watch: the limits by which these are judged unless the run is given others (collapse.py).
    helpers: frozen networks that the losses use, moved to the device and never saved. compiled: names of the networks,
    and helpers, that torch.compile may take; none that is differentiated twice. ahead: whether a batch is pictures and
    labels as they are, which may be made before its step, by a thread or on the device; False where batch() draws from
    torch's generators or runs networks. steps: used when the plan's are 0, counted for one process that accumulates
    nothing. notes: what `light/notes.json` says of how they were trained.
    """

    networks: dict[str, nn.Module]
    players: list[Player]
    batch: Callable[[int], dict[str, Tensor]]
    averaged: tuple[str, ...] = ()
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    sheet: Callable[[dict[str, nn.Module], Path], None] | None = None
    probe: Callable[[dict[str, nn.Module]], dict[str, float]] | None = None
    helpers: tuple[nn.Module, ...] = ()
    compiled: tuple[str | nn.Module, ...] = ()
    ahead: bool = True
    steps: int | None = None
    notes: dict[str, str] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)


@dataclass
class Plan:
    """How long and how: numbers of a recipe's [run] table.

    minutes: the clock that ends the run before its steps are done, and which the learning rate then follows; what a
    user asks for (--minutes), so that no recipe sets it. schedule: cosine (to zero), linear (constant, then evenly to
    zero over the last fraction `decay`) or constant.
    accumulate: batches of one step, whose gradients are averaged. precision: auto (bfloat16 where a GPU has it, or
    what the launcher says), bf16, no. compile: torch.compile on a GPU. resident: whether all faces lie on the device,
    which auto decides by its free memory (never on a CPU). prefetch: whether a thread makes batches ahead where they do
    not; auto: on a GPU. log_every, save_every, watch_every: steps
    (watch_every 0: never). sheet_every: images.
    """

    steps: int
    seed: int = 0
    minutes: float = math.inf
    warmup: int = 100
    schedule: str = "cosine"
    decay: float = 1.0
    ema: float = 0.999
    clip: float = 10.0
    accumulate: int = 1
    precision: str = "auto"
    compile: bool = False
    resident: bool | Literal["auto"] = "auto"
    prefetch: bool | Literal["auto"] = "auto"
    log_every: int = 50
    save_every: int = 500
    sheet_every: int = 8000
    watch_every: int = 200

    def __post_init__(self) -> None:
        for name in ("accumulate", "log_every", "save_every", "sheet_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"run.{name} is {getattr(self, name)}; it must be at least 1")
        if not self.minutes > 0:
            raise BadInput(f"run.minutes is {self.minutes:g}; it must be above 0")
        if self.schedule not in ("cosine", "linear", "constant") or not 0 < self.decay <= 1:
            raise BadInput(
                "run.schedule is cosine, linear or constant, and run.decay a share above 0 and up to 1"
            )

    def progress(self, step: int, seconds: float) -> float:
        """Fraction of the run that is done, by steps or by the clock, whichever is further."""
        return min(max(step / self.steps, seconds / 60 / self.minutes), 1.0)

    def rate(self, step: int, progress: float) -> float:
        """Factor on every learning rate: linear warm-up, then as the schedule says."""
        shape = {
            "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
            "linear": min((1 - progress) / self.decay, 1.0),
            "constant": 1.0,
        }
        return min((step + 1) / max(self.warmup, 1), 1.0) * shape[self.schedule]
