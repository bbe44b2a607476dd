"""What Python and numpy hold while something runs; unlike a process's memory, it is the same on every machine."""

import tracemalloc
from collections.abc import Callable


def most_held(run: Callable[[Callable[..., None]], object]) -> int:
    """The most bytes, allocated since the start, that are held whenever `run` calls what it is given."""
    held = [0]

    def look(*_: object) -> None:
        held[0] = max(held[0], tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        run(look)
    finally:
        tracemalloc.stop()
    assert held[0], "nothing was called"
    return held[0]
