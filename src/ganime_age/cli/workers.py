"""Tasks shared among processes, of one machine here, of a cluster in ray_workers.py. A process that dies loses nothing:
its task is given to a fresh one."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol, TypeVar

TRIES = 2
"""How often a task is begun whose process dies, before it is given up."""

Work = Callable[[Any], Any]
"""What does one task: task -> answer. It catches what goes wrong with the task."""


class Died(NamedTuple):
    """The answer to a task whose processes died. how: the last one's exit code, as multiprocessing counts it."""

    how: int | None


class Worker(Protocol):
    """What does one task after another, each in a process that may die."""

    task: int | None

    def give(self, number: int, task: Any) -> None:
        """Begin a task."""

    def answer(self) -> Any:
        """The answer to its task, or Died."""

    def stop(self) -> None:
        """End the process."""


W = TypeVar("W", bound=Worker)


class Process:
    """A worker on this machine. setup: makes its Work, once, there; it and the tasks must pickle."""

    def __init__(self, setup: Callable[[], Work]):
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads hold
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, setup), daemon=True)
        self.process.start()
        other.close()
        self.task: int | None = None

    def give(self, number: int, task: Any) -> None:
        """Begin a task."""
        self.task = number
        with suppress(BrokenPipeError):  # it died meanwhile, which `answer` finds out
            self.pipe.send(task)

    def answer(self) -> Any:
        """The answer to its task, or Died."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return Died(self.process.exitcode)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def serve(pipe: Connection, setup: Callable[[], Work]) -> None:
    """What a process does: task after task, until the other end is closed."""
    signal.signal(signal.SIGTERM, leave)
    try:
        work = setup()
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        return


def leave(number: int, frame: object) -> None:
    """End a process as after an error, so that no half file stays."""
    raise SystemExit(128 + number)


def ready(workers: Sequence[Process]) -> list[Process]:
    """Those that have an answer; it waits for the first."""
    pipes = wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in pipes]


def answers(tasks: Sequence[Any], setup: Callable[[], Work], workers: int) -> Iterator[tuple[int, Any]]:
    """`share` among processes of this machine."""
    return share(tasks, partial(Process, setup), ready, workers)


def share(
    tasks: Sequence[Any], begin: Callable[[], W], ready: Callable[[Sequence[W]], Sequence[W]], workers: int
) -> Iterator[tuple[int, Any]]:
    """The number of each task with its answer, as they come; each task is answered once. begin: starts a worker; ready:
    waits until one of them has an answer, and names those that have."""
    waiting, tries = list(range(len(tasks)))[::-1], [0] * len(tasks)
    busy: list[W] = []
    try:
        for _ in range(min(workers, len(tasks))):
            busy.append(begin())
        for worker in busy:
            worker.give(waiting[-1], tasks[waiting.pop()])
        while busy:
            for worker in ready(busy):
                assert worker.task is not None
                number, found = worker.task, worker.answer()
                if isinstance(found, Died):
                    busy.remove(worker)
                    worker.stop()
                    tries[number] += 1
                    if tries[number] < TRIES:
                        waiting.append(number)
                    else:
                        yield number, found
                    if waiting:
                        worker = begin()
                        busy.append(worker)
                else:
                    yield number, found
                if waiting and worker in busy:
                    number = waiting.pop()
                    worker.give(number, tasks[number])
                elif worker in busy:
                    busy.remove(worker)
                    worker.stop()
    finally:
        for worker in busy:
            worker.stop()
