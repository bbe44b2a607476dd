"""Files that several processes may want at once: locks, and the memory of mapped arrays."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` (made when absent, left there); others wait. A killed process lets go of it.

    False where there are no locks: every process then works for itself and the last one's file stays.
    """
    with path.open("a") as file:
        held = False
        if fcntl:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
                held = True
        yield held


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`; asks the file system, which knows more than the permission bits."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def read_at_random(*arrays: np.ndarray) -> None:
    """Tell the system that memory-mapped arrays are read here and there: it then fetches only what is asked for."""
    _advise(arrays, "MADV_RANDOM")


def release(*arrays: np.ndarray) -> None:
    """Let go of the pages of memory-mapped arrays that were read: they stay on disk and in the system's cache, but no
    longer count as this process's memory. Other arrays are left as they are."""
    _advise(arrays, "MADV_DONTNEED")


def _advise(arrays: tuple[np.ndarray, ...], advice: str) -> None:
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap) and hasattr(mmap, advice):
            base.madvise(getattr(mmap, advice))
