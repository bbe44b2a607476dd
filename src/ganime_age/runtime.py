"""Device, dtype and memory checks: each failure is one sentence."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

import cv2
import torch

from .errors import BadInput, GanimeAgeError, MissingModel

PROGRAMS = "256"
"""Programs of oneDNN that are kept: an edit needs about a hundred."""
POOLS, M_ARENA_MAX = "2", -8
"""Pools of memory of all threads; and their number's in malloc.h."""
_WORDS = ("out of memory", "not enough memory", "insufficient memory", "allocate memory")
"""Phrases of the out-of-memory errors of PyTorch's allocators (CPU, CUDA, MPS) and OpenCV's, which have no class."""


@contextlib.contextmanager
def enough_memory(device: str | torch.device) -> Iterator[None]:
    """MissingModel where memory runs out within; what was taken is free again afterwards."""
    try:
        yield
    except GanimeAgeError:
        raise
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not _ran_out(error):
            raise
        raise MissingModel(
            f"not enough memory on {device}; close other programs, give a smaller photo or another device"
        ) from None


def _ran_out(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return any(words in said for words in _WORDS)


_DTYPES = ("float32", "float16", "bfloat16", "float64")


def checked_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """A dtype by itself or its name, float32 for None; BadInput names one that weights cannot have."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float32
    if not isinstance(found, torch.dtype) or found not in [getattr(torch, name) for name in _DTYPES]:
        raise BadInput(f"unknown dtype {dtype!r}; choose from auto, {', '.join(_DTYPES)}")
    return found


def working_dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """The precision in which an editor multiplies: float32 for None; BadInput for one that the device cannot use."""
    found = checked_dtype(dtype)
    if found == torch.float32:
        return found
    name = str(found).removeprefix("torch.")
    if found == torch.float64 or device.type != "cuda":
        raise BadInput(f"an editor on the device {device} works in float32, not in {name}; leave out dtype, or "
                       "choose float16 or bfloat16 on a CUDA device")  # fmt: skip
    if found == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        raise BadInput(f"the device {device} has no bfloat16; choose float16, or leave out dtype")
    return found


def best_device() -> str:
    """The fastest kind of device that is here: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def checked_device(name: str | torch.device) -> torch.device:
    """A device that is there, "auto" the fastest; BadInput names an unknown one, MissingModel one that this machine
    lacks."""
    try:
        device = torch.device(best_device() if name == "auto" else name)
    except (RuntimeError, TypeError):
        raise BadInput(f"unknown device {name!r}; choose cpu, cuda or mps, or auto for the fastest") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise MissingModel("no CUDA device is available here; choose the device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MissingModel("no MPS device is available here; choose the device cpu")
    return device


def bound_memory() -> None:
    """Let this process, and those that it starts, edit any number of photos in the same memory: to be called before the
    first edit. oneDNN keeps a program for every size of a picture, up to 1,024 of them; and glibc gives each thread a
    pool of its own, in which the tensors of an edit leave gaps that no other thread can use."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PROGRAMS)
    os.environ.setdefault("MALLOC_ARENA_MAX", POOLS)  # read when a process starts
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
