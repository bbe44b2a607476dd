"""What several processes of one run must agree on: gradients, buffers, starting weights, and rank 0's decisions.

Every process sees other faces of the same step. Nothing is wrapped: a task's networks stay plain modules.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator as Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast
from torch import Tensor, nn

from ...errors import BadInput


def make_accelerator(precision: str, tracker: str | None, out: Path) -> Accelerator:
    """accelerate's view of this machine, for `torchrun`, `accelerate launch` and plain Python alike.

    precision: auto takes bfloat16 where a GPU has it or the launcher asks for it; bf16 and no insist.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision not in ("auto", "bf16", "no") or (precision == "auto" and asked not in ("bf16", "no")):
        wrong = precision if precision != "auto" else asked
        raise BadInput(f"precision {wrong} is not supported; set run.precision to auto, bf16 or no")
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Accelerator(
        mixed_precision=("bf16" if fast or asked == "bf16" else "no") if precision == "auto" else precision,
        cpu=several and not torch.accelerator.is_available(),
        log_with=tracker,
        project_dir=out,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(minutes=30))],
    )


def accelerator_on(device: str) -> Accelerator:
    """accelerate's view of one process on `cpu`, in float32, or on `cuda`, in bfloat16: what a measurement compares."""
    return Accelerator(cpu=device == "cpu", mixed_precision="bf16" if device == "cuda" else "no")


def average_gradients(accelerator: Accelerator, parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
    """Mean over the processes of every gradient, in place, and of the scalar loss, in a single all-reduce.

    A parameter that some processes did not use counts as zero there; one that none used keeps no gradient. The host
    waits for the result only where this process left a parameter unused.
    """
    if accelerator.num_processes == 1:
        return loss
    mine = [float(p.grad is not None) for p in parameters]
    used = torch.tensor(mine).to(loss.device, non_blocking=True)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([loss.reshape(1), used, *(g.flatten() for g in gradients)])
    flat = accelerator.reduce(flat, reduction="mean")
    loss, used, values = flat[0], flat[1 : len(parameters) + 1], flat[len(parameters) + 1 :]
    shares = mine if all(mine) else used.tolist()
    sizes = [p.numel() for p in parameters]
    for parameter, share, mean in zip(parameters, shares, values.split(sizes), strict=True):
        parameter.grad = mean.view_as(parameter) if share else None
    return loss


def average_buffers(accelerator: Accelerator, modules: list[nn.Module]) -> None:
    """Mean over the processes of every floating-point buffer (running statistics), in a single all-reduce.

    In double precision, so that what was equal stays exactly as it was.
    """
    buffers = [b for module in modules for b in module.buffers() if b.is_floating_point()]
    if accelerator.num_processes == 1 or not buffers:
        return
    flat = accelerator.reduce(torch.cat([b.flatten().double() for b in buffers]), reduction="mean")
    for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def copy_from_first(accelerator: Accelerator, modules: list[nn.Module]) -> None:
    """Give every process the weights and buffers of process 0."""
    if accelerator.num_processes > 1:
        for module in modules:
            for value in [*module.parameters(), *module.buffers()]:
                value.detach().copy_(broadcast(value.detach().to(accelerator.device).contiguous()))


def agreed(accelerator: Accelerator, number: float) -> float:
    """Process 0's number, in every process."""
    if accelerator.num_processes == 1:
        return number
    return float(broadcast(torch.tensor([number], dtype=torch.float64, device=accelerator.device)))
