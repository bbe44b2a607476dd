"""Memory that runs out, however a library says so, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from .errors import GanimeAgeError, MissingModel

_WORDS = ("out of memory", "not enough memory", "insufficient memory", "allocate memory")
"""What PyTorch's allocators (CPU, CUDA, MPS) and OpenCV's say, whose errors have no class of their own."""


@contextmanager
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
