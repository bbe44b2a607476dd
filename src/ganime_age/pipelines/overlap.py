"""Work that goes on beside other work: what comes next is made ahead, what is done is handed on behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

WAITING = 3
"""Items that may wait on either side; each is a whole frame."""
WORKERS = 2
"""Frames that are drawn at a time."""


@contextmanager
def ahead(items: Iterable[Item], waiting: int = WAITING) -> Iterator[Iterator[Item]]:
    """The same items, of which up to `waiting` are made beforehand in a thread. Errors come when it is their turn.
    After the block no thread is at them any more."""
    maker = ThreadPoolExecutor(1, "ahead")

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
    workers = ThreadPoolExecutor(at_once, "side by side")

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
