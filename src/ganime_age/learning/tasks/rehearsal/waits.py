"""How often the host waits for the device in the steps of a recipe, by a pretended GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.fake_device import Event, FakeDevice, PretendedGPU
from ...engine.loop import Run
from .tiny import tiny_run


@dataclass
class Waits:
    """How often the host waited for the device. steps: in each step, making its batches left out; a transfer of
    logged terms is one. batches: in making the batches of each step. events: all of them."""

    steps: list[int] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@contextmanager
def pretended_gpu(waits: Waits) -> Iterator[Callable[[Run], Run]]:
    """A FakeDevice; gives what makes a run count its waits. Copies to the device are part of making a batch; logging,
    probes and saving are left out."""
    with FakeDevice() as gpu:

        def counted(run: Run) -> Run:
            one_step, fetch, report = run.one_step, run.fetch, run.report

            def step(progress: float) -> int:
                waits.steps.append(0)
                waits.batches.append(0)
                close(waits.steps)
                images = one_step(progress)
                close(waits.steps)
                return images

            def batch(index: int) -> dict[str, Any]:
                close(waits.steps)
                made = fetch(index)
                close(waits.batches, {"wait"})
                return made

            def quiet(*given: Any) -> None:
                close(waits.steps)
                with gpu.uncounted():
                    report(*given)

            def close(
                account: list[int], kinds: frozenset[str] | set[str] = frozenset(("wait", "copy"))
            ) -> None:
                new = [event for event in gpu.events if event.kind in kinds]
                if account:
                    account[-1] += len(new)
                waits.events += new
                gpu.events.clear()

            run.one_step, run.fetch, run.report = step, batch, quiet  # type: ignore[method-assign,assignment]
            gpu.events.clear()
            return run

        yield counted


def waits_of(recipe: Path, faces: Path, networks: Path, out: Path) -> Waits:
    """The waits of the three steps of a recipe file's tiny run."""
    waits = Waits()
    with pretended_gpu(waits) as counted:
        counted(tiny_run(recipe, faces, networks, out, PretendedGPU(cpu=True))).train()
    return waits
