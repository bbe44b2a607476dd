"""Files that several processes may want at once: locks, mapped arrays and their memory, rows read without a map."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
import threading
import weakref
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


class RowReader:
    """Reads rows of a memory-mapped array as plain reads of its file: one request a row instead of a page fault for
    every 4 KB of it, and no page that counts as this process's memory. The file stays open, so that the rows stay what
    they are when another file takes its name."""

    def __init__(self, array: np.ndarray):
        self.shape, self.dtype = array.shape[1:], array.dtype
        self.stride = int(np.prod(self.shape)) * self.dtype.itemsize
        mapped: Any = array
        self.start = int(mapped.offset)
        self.file = open(mapped.filename, "rb", buffering=0)
        weakref.finalize(self, self.file.close)
        self.lock = threading.Lock()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(B, ...) the rows, in the order that is asked for; read in the order of the file."""
        out = np.empty((len(rows), *self.shape), self.dtype)
        with self.lock:
            for place in np.argsort(rows, kind="stable"):
                self.file.seek(self.start + int(rows[place]) * self.stride)
                if self.file.readinto(memoryview(out[place]).cast("B")) != self.stride:
                    raise OSError(f"{self.file.name} is cut off")
        return out
