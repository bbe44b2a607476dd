"""GANimation's `aus.pkl`, a pickled dict of action units, read without running anything that a pickle may ask for.

A pickle is a program: it names functions and has them called. Here every name but the few that numpy needs to store an
array is refused, and those stand for small classes of this file that check what they are given; numpy itself is never
handed a pickle's state.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...edits import AU_CODES, AU_MAX
from ...errors import BadInput

KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class _Refused(Exception):
    """What a pickle asked for and does not get."""


class _DType:
    """What stands for a dtype of numpy: plain numbers only."""

    def __init__(self, kind: str, align: bool = False, copy: bool = False):
        if kind not in KINDS:
            raise _Refused(f"an array of {kind!r}")
        self.kind, self.order = kind, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">", "|") else "="

    def read(self, raw: bytes | str) -> np.ndarray:
        order = "=" if self.order == "|" else self.order
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 knew no bytes
        return np.frombuffer(bytes(raw), order + self.kind).astype(np.float64)


class _Stand:
    """Stands for a class or a function of numpy: a pickle may call it and cannot change it, as it could a function."""

    __slots__ = ("_made",)

    def __init__(self, made: Callable[..., Any]):
        self._made = made

    def __call__(self, *arguments: Any) -> Any:
        return self._made(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"a change of {self._made.__name__.lstrip('_')}")


class _Array:
    """What stands for an array of numpy: filled by its state as numpy writes it."""

    values = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, raw = state
        self.values = dtype.read(raw).reshape(shape).ravel()


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not ADMITTED["numpy", "ndarray"]:
        raise _Refused(f"an object of {kind!r}")
    return _Array()


def _scalar(dtype: _DType, raw: bytes | str) -> float:
    return float(dtype.read(raw)[0])


def _frombuffer(raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, False, raw))
    return array


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


ADMITTED = {
    ("numpy", "ndarray"): _Stand(_Array),
    ("numpy", "dtype"): _Stand(_DType),
    ("_codecs", "encode"): _Stand(_encode),  # how bytes are written below protocol 3
} | {
    (f"numpy.{core}.{module}", name): _Stand(stand_in)
    for core in ("core", "_core")
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _frombuffer),
    )
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("an object from outside")


def read_aus_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """A pickled dict {picture's name: 17 intensities} -> (17,) float32 in 0..5 by name, in the order of AU_CODES.

    Admits dicts, strings, numbers and numpy arrays of numbers. BadInput, with nothing run, for anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found = _Reader(file, encoding="latin1").load()
    except _Refused as error:
        raise BadInput(
            f"{path} was not read: it asks for {error}, and only dicts, strings, numbers and numpy arrays are admitted"
        ) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise BadInput(f"{path} is not a readable pickle of action units ({type(error).__name__})") from None
    if not isinstance(found, dict) or not found:
        raise BadInput(f"{path} must hold a dict of picture names and {len(AU_CODES)} action units each")
    return {_name(key, path): _units(value, key, path) for key, value in found.items()}


def _name(key: object, path: Path) -> str:
    if not isinstance(key, (str, int)):
        raise BadInput(f"{path}: {key!r:.40} is not a picture's name")
    return str(key)


def _units(value: Any, key: object, path: Path) -> np.ndarray:
    values = value.values if isinstance(value, _Array) else value
    try:
        units = np.asarray(values, np.float32).ravel()
    except (TypeError, ValueError):
        units = np.zeros(0, np.float32)
    if units.shape != (len(AU_CODES),) or not np.isfinite(units).all():
        raise BadInput(f"{path}: {key!r:.40} does not have {len(AU_CODES)} finite action units")
    return units.clip(0, AU_MAX)
