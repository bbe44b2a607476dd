"""What Python and numpy hold while something runs, the same on every machine; and the memory of a process over time."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARM_UP = 0.25
"""Share of the time in which caches fill: memory counts from then on."""


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


class Resident:
    """The resident memory of a process and of those that it started, looked at every so many seconds (Linux)."""

    def __init__(self, process: int, every: float):
        self.process, self.every = process, every
        self.seen: list[tuple[float, float]] = []  # minutes since the start, MB
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Resident":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        started = time.monotonic()
        while not self._over.is_set():
            if held := sum(resident(process) for process in family(self.process)):
                self.seen.append(((time.monotonic() - started) / 60, held))
            self._over.wait(self.every)

    def growth(self) -> dict[str, float]:
        """MB a minute by least squares after WARM_UP, its standard error, and two of them more: what it is at most. NaN
        for fewer than three looks."""
        after = np.array(self.seen[int(WARM_UP * len(self.seen)) :])
        slope = spread = float("nan")
        if len(after) >= 3:
            line, covariance = np.polyfit(after[:, 0], after[:, 1], 1, cov="unscaled")
            residual = after[:, 1] - np.polyval(line, after[:, 0])
            slope, spread = float(line[0]), float((covariance[0, 0] * residual.var(ddof=2)) ** 0.5)
        return {
            "memory_mb_a_minute": round(slope, 3),
            "memory_mb_a_minute_standard_error": round(spread, 3),
            "memory_mb_a_minute_at_most": round(slope + 2 * spread, 3),
        }


def family(process: int) -> list[int]:
    """A process and all that it started, directly or not."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents.setdefault(int(after_name[1]), []).append(int(status.parent.name))
    found = [process]
    for one in found:
        found += parents.get(one, [])
    return found


def resident(process: int) -> float:
    """Resident memory in MB; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int(status.split("VmRSS:")[1].split()[0]) / 1024 if "VmRSS:" in status else 0.0
