"""Work that goes on beside other work: what comes next is made ahead, what is done is handed on behind.

PyTorch spreads the arithmetic of each thread over all cores. Where several threads compute on pictures of a face, which
are small, each is sooner done with its share of the cores: less waiting at the end of every operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier, Event, Lock
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")

WAITING = 3
"""Items that may wait on either side; each is a whole frame."""
WORKERS = 2
"""Frames that are drawn at a time."""

_TELLING = Lock()


def sharing(threads: int, name: str) -> ThreadPoolExecutor:
    """So many threads, in each of which PyTorch computes on half of the cores that it computes on in this one."""
    with _TELLING:
        cores, ready = torch.get_num_threads(), Barrier(threads + 1)
        made = ThreadPoolExecutor(threads, name, _compute_on, (max(1, cores // 2),))
        try:
            begun = [made.submit(ready.wait) for _ in range(threads)]
            ready.wait()
            for one in begun:
                one.result()
        except BaseException:  # Ctrl+C too: threads that go on waiting would keep Python from ending
            ready.abort()
            made.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            # Each of them keeps what it was told; threads that begin later are told this.
            torch.set_num_threads(cores)
    return made


@contextmanager
def ahead(items: Iterable[Item], waiting: int = WAITING, share: bool = False) -> Iterator[Iterator[Item]]:
    """The same items, of which up to `waiting` are made beforehand in a thread. Errors come when it is their turn.
    After the block no thread is at them any more. share: it is one of several that compute, see `sharing`."""
    maker = sharing(1, "ahead") if share else ThreadPoolExecutor(1, "ahead")

    def one_by_one() -> Iterator[Item]:
        source, coming = iter(items), deque[Future[list[Item]]]()
        while True:
            while len(coming) < waiting:
                coming.append(maker.submit(_next, source))
            made = coming.popleft().result()
            if not made:
                return
            yield made[0]

    try:
        yield one_by_one()
    finally:
        maker.shutdown(wait=True, cancel_futures=True)


@contextmanager
def behind(take: Callable[[Item], None], waiting: int = WAITING) -> Iterator[Callable[[Item], None]]:
    """`take`, called in a thread, in order, with up to `waiting` items at a time that it has not taken yet. Its errors
    are raised by a later call or at the end of the block, at which all is taken; nothing is taken after an error."""
    taker, pending, failed = ThreadPoolExecutor(1, "behind"), deque[Future[None]](), Event()

    def take_one(item: Item) -> None:
        if failed.is_set():
            return
        try:
            take(item)
        except BaseException:
            failed.set()
            raise

    def hand_on(item: Item) -> None:
        while len(pending) >= waiting:
            pending.popleft().result()
        pending.append(taker.submit(take_one, item))

    try:
        yield hand_on
        while pending:
            pending.popleft().result()
    finally:
        taker.shutdown(wait=True, cancel_futures=True)


@contextmanager
def side_by_side(
    work: Callable[[Item], Made], items: Iterable[Item], at_once: int = WORKERS
) -> Iterator[Iterator[Made]]:
    """`work` of each item, in order, in threads that have up to `at_once` of them in hand. Errors come when it is their
    turn. After the block no thread is at work any more."""
    workers = sharing(at_once, "side by side")

    def one_by_one() -> Iterator[Made]:
        coming = deque[Future[Made]]()
        for item in items:
            coming.append(workers.submit(work, item))
            if len(coming) == at_once:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()

    try:
        yield one_by_one()
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


def _next(source: Iterator[Item]) -> list[Item]:
    """The next item alone, or nothing at the end."""
    for item in source:
        return [item]
    return []


def _compute_on(cores: int) -> None:
    torch.set_num_threads(cores)
    torch.get_num_threads()  # a thread is told at its first question how many, and keeps it
