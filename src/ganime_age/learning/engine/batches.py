"""Batches made ahead by a thread while the device works, so that no step waits for the next faces."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]


class BatchesAhead:
    """The batches of some numbers, in their order, up to `depth` of them made before they are asked for.

    make: the batch of a number; it may draw nothing from torch's generators, which the training thread uses at the
    same time. numbers: those that will be asked for. device: where batches may be computed. On a GPU the thread has a
    stream of its own, so that what it waits for there lets neither the training thread nor its kernels wait. An error
    in `make` is raised where its batch is asked for. Leave the `with` block, or close, to end the thread.
    """

    def __init__(
        self,
        make: Callable[[int], Batch],
        numbers: Iterator[int],
        depth: int = 3,
        device: torch.device | None = None,
    ):
        self.make, self.numbers = make, numbers
        self.stream: torch.cuda.Stream | None = None
        if device is not None and device.type == "cuda" and torch.cuda.is_available():
            self.stream = torch.cuda.Stream(device)
            # Networks and faces may still be on their way to the device.
            self.stream.wait_stream(torch.cuda.current_stream(device))
        self.ready: queue.Queue[tuple[int, Batch | Exception, torch.cuda.Event | None]] = queue.Queue(depth)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work, name="batches", daemon=True)
        self.thread.start()

    def work(self) -> None:
        with torch.cuda.stream(self.stream) if self.stream else nullcontext():
            self.make_all()

    def make_all(self) -> None:
        for number in self.numbers:
            made: Batch | Exception
            try:
                made = self.make(number)
            except Exception as error:  # handed to the thread that asks
                made = error
            done = self.stream.record_event() if self.stream else None
            while not self.ended.is_set():
                try:
                    self.ready.put((number, made, done), timeout=0.2)
                    break
                except queue.Full:
                    continue
            if self.ended.is_set() or isinstance(made, Exception):
                return

    def take(self, number: int) -> Batch:
        """The next batch; RuntimeError when it is not that of `number`."""
        found, made, done = self.ready.get()
        if found != number:
            raise RuntimeError(f"batch {found} was made where batch {number} is asked for")
        if isinstance(made, Exception):
            raise made
        if done:
            hand_over(made, done)
        return made

    def close(self) -> None:
        self.ended.set()
        self.thread.join()

    def __enter__(self) -> BatchesAhead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hand_over(batch: Batch, done: torch.cuda.Event) -> None:
    """Let the kernels of this thread's stream use a batch of another stream once it is done there; the host goes on."""
    here = torch.cuda.current_stream()
    here.wait_event(done)
    for value in batch.values():
        if value.is_cuda:
            value.record_stream(here)  # its memory is not given away before this stream has read it


def on_device(batch: Batch, device: torch.device, pictures: dict[str, Any]) -> Batch:
    """A batch on the device; the host does not wait for the copies. pictures: how (B,C,H,W) tensors are laid out there,
    keywords of Tensor.to."""
    out = {}
    for name, value in batch.items():
        layout = pictures if value.dim() == 4 else {}
        if device.type == "cuda" and value.device.type == "cpu":
            value = value.pin_memory()  # a copy from other memory would be waited for
        out[name] = value.to(device, non_blocking=True, **layout)
    return out
