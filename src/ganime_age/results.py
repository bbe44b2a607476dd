"""Results of an editor: the readings of a face, and an edited photo with its measurements."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

import numpy as np
from PIL import Image

from .edits import AGE_MAX, AU_CODES, AU_MAX, Edit
from .errors import BadInput
from .provenance.c2pa import Signer
from .provenance.metadata import checked_suffix, save_edited, write_edited

if TYPE_CHECKING:
    from torch import Tensor

Measured = TypeVar("Measured")


class Later(Generic[Measured]):
    """A value that is made when it is first asked for, and then kept; threads may ask at once."""

    def __init__(self, make: Callable[[], Measured]):
        self._make: Callable[[], Measured] | None = make
        self._made: list[Measured] = []
        self._lock = Lock()

    def __call__(self) -> Measured:
        with self._lock:
            if self._make is not None:
                self._made.append(self._make())
                self._make = None  # what it was made of is not held any longer
        return self._made[0]


class Measures:
    """Of a dataclass: a field given as a Later is measured when somebody looks at it."""

    def __post_init__(self) -> None:
        later = {name: value for name, value in vars(self).items() if isinstance(value, Later)}
        for name in later:
            del self.__dict__[name]
        self.__dict__["_later"] = later

    if not TYPE_CHECKING:  # so that names which do not exist are still found

        def __getattr__(self, name: str) -> Any:
            """Called only for a field that holds no value yet."""
            later = self.__dict__.get("_later", {})
            if name not in later:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.__dict__[name] = later[name]()
            return self.__dict__[name]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or sent to another process holds its values."""
        values = {name: getattr(self, name) for name in self.__dict__["_later"]}
        return {**self.__dict__, **values, "_later": {}}


def later(make: Callable[[], Measured]) -> Measured:
    """A field of Measures that `make` gives at the first look at it."""
    return Later(make)  # type: ignore[return-value]  # the field gives what it makes


Z80 = 1.2816
"""Standard deviations to either side of the mean that hold 80 % of a normal distribution."""
SHOWN = 0.5
"""The intensity from which on an action unit is named in a line about a face."""
MOST_NAMED = 3
"""How many action units a line about a result names; the others are counted."""
UNMARKED = "the result is not marked as edited; say so wherever you show it"
"""What a result warns of that `mark=False` left without a mark."""


def unmarked(edited: bool, mark: bool) -> tuple[str, ...]:
    """The warning of a result that is edited and not marked; none of another."""
    return (UNMARKED,) if edited and not mark else ()


@dataclass(frozen=True, eq=False)
class Reading(Measures):
    """The measurements of one face.

    Attributes:
        age: years, mean of the estimate.
        age_spread: years, standard deviation of the estimate; see age_interval.
        action_units: intensity 0..5 by code.
        landmarks: (68,2) float32, photo pixels, iBUG order.
        yaw: of the head in the aligned frame, degrees, to the right of the picture.
        pitch: the same, down.
        roll: the same, clockwise.
        box: (4,) float32, x0 y0 x1 y1 in photo pixels.
        identity: unit vector (D,); a dot product of two compares two faces; it is read at the first look at it.
        age_attention: (h,w) float32 in 0..1, how much of the features of each place the age branch takes; the rest goes
            to the identity branch (AIFD, Huang et al., CVPR 2021). It covers the part of the aligned frame that the
            readers look at (`networks.readers.WINDOW`).
    """

    age: float
    age_spread: float
    action_units: dict[str, float]
    landmarks: np.ndarray = field(repr=False)
    yaw: float
    pitch: float
    roll: float
    box: np.ndarray = field(repr=False)
    identity: np.ndarray = field(repr=False)
    age_attention: np.ndarray = field(repr=False)

    def __str__(self) -> str:
        """`age 33 ± 5, yaw -3, AU12 2.1`; an action unit is named from SHOWN on."""
        units = [f"{code} {value:.1f}" for code, value in self.action_units.items() if value >= SHOWN]
        return (
            f"age {self.age:.0f} ± {self.age_spread:.0f}, yaw {self.yaw:.0f}, {' '.join(units) or 'neutral'}"
        )

    def __repr__(self) -> str:
        return f"<Reading {self}>"

    @property
    def age_interval(self) -> tuple[float, float]:
        """Years between which the age lies with a chance of 80 %, as far as the estimate knows: 1.28 standard
        deviations to either side, within 0..100. How many held-out faces they hold stands in the model card."""
        reach = Z80 * self.age_spread
        return max(self.age - reach, 0.0), min(self.age + reach, AGE_MAX)

    def but(self, **changes: Any) -> Reading:
        """The same, but for some fields; who it is stays unread until somebody looks.

        Args:
            changes: new values of fields, by name.

        Returns:
            A new Reading.
        """
        return replace(self, **{"identity": later(partial(getattr, self, "identity")), **changes})

    def to_dict(self) -> dict[str, Any]:
        """JSON-native and rounded, without the attention map and the identity vector, which would recognise a person
        elsewhere."""
        return {
            "age": round(self.age, 1),
            "age_spread": round(self.age_spread, 1),
            "age_interval": [round(years, 1) for years in self.age_interval],
            "action_units": {code: round(value, 2) for code, value in self.action_units.items()},
            "yaw": round(self.yaw, 1),
            "pitch": round(self.pitch, 1),
            "roll": round(self.roll, 1),
            "box": [round(float(v), 1) for v in self.box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in self.landmarks],
        }


@dataclass(frozen=True, eq=False)
class EditResult(Measures):
    """One edited photo and its measurements.

    `save`, and what a notebook shows, carry the record of the edit in the file. `image.save`, `face` and `tensor` carry
    the watermark at most: say yourself that they are edited.

    No method draws random numbers: the same request gives the same bytes.

    Attributes:
        image: the whole photo, original size, only the face region changed.
        face: aligned crop after the edit.
        source_face: aligned crop before it.
        attention: greyscale crop, white where the generator changed the face.
        reading: measured on the edited photo.
        source_reading: measured on the original.
        identity: cosine -1..1 between the two.
        edit: the request.
        method: which one edited.
        warnings: sentences about this photo, and one where the edit is left unmarked.
        seconds: from the photo, or from the edit before of the same call, to the edited photo.
        weights: the model's fingerprint.
        edited: False when nothing was asked, so the photo came back as it was.
        mark: whether the edit is marked.
        driving_reading: measured on the driving photo of a reenactment, else None.
        age_method: what edited the age of a reenactment, else None.
        others: with face="all" the same of every other face, the larger first; `image` shows all of them.
    """

    image: Image.Image
    face: Image.Image
    source_face: Image.Image
    attention: Image.Image
    reading: Reading
    source_reading: Reading
    identity: float
    edit: Edit
    method: str
    warnings: tuple[str, ...]
    seconds: float
    weights: str
    edited: bool
    mark: bool
    driving_reading: Reading | None = None
    age_method: str | None = None
    others: tuple[EditResult, ...] = ()

    def __repr__(self) -> str:
        """One line, for which nothing is measured: `<EditResult 320x320, age 34 to 70, AU12=3, by ganimation_age>`."""
        asked = self._asked_words() if self.edited else ["as it was"]
        said = [_size(self.image.size), *asked, f"by {self.method}", *_counted(self.warnings)]
        return f"<EditResult {', '.join(said)}>"

    def _asked_words(self) -> list[str]:
        edit = self.edit
        words = [] if edit.age is None else [f"age {self.source_reading.age:.0f} to {edit.age:g}"]
        words += [] if self.driving_reading is None else ["moved by another face"]
        units = [f"{c}={t.value:{'+g' if t.relative else 'g'}}" for c, t in edit.action_units.items()]
        words += units[:MOST_NAMED]
        words += [f"{len(units) - MOST_NAMED} more"] if len(units) > MOST_NAMED else []
        more = edit.more()
        words += [f"{' and '.join(more['parts'])} only"] if "parts" in more else []
        words += [f"{name} {angle:+g}" for name, angle in more.get("turn", {}).items() if angle]
        return words + ([f"strength {edit.strength:g}"] if edit.strength != 1 else [])

    def save(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        signer: Signer | None = None,
        *,
        format: str | None = None,
        quality: int | None = None,
    ) -> None:
        """Write `image` as PNG, JPEG or WebP, by the path's ending, with the edit in its metadata.

        A photo that came back as it was is neither marked nor signed: it is no edit. A path is written whole or not at
        all.

        Args:
            path: where to write, or a binary file that is open for writing, such as io.BytesIO().
            signer: signs the file too (C2PA).
            format: of an open file, as "webp"; by default as its name ends, and PNG where it has none.
            quality: 1..100 of a JPEG or WebP, 95 by default.

        Raises:
            BadInput: an ending, a quality or a place that cannot be written, or a signer with `mark=False`.
        """
        if signer is not None and not self.mark:
            raise BadInput(
                "an edit that is left unmarked cannot be signed; leave out the signer or mark=False"
            )
        record = self.record() if self.edited and self.mark else None
        if isinstance(path, (str, os.PathLike)):
            if format is not None and checked_suffix(format) != Path(path).suffix.lower():
                raise BadInput(f"{Path(path).name} does not end as the format {format}; give one of the two")
            write_edited(self.image, path, record, signer, quality)
            return
        if not callable(getattr(path, "write", None)):
            raise BadInput(
                f"a {type(path).__name__} is no place to write to; give a path or an open binary file"
            )
        named = getattr(path, "name", None)
        ending = Path(named).suffix if isinstance(named, str) else ""
        suffix = checked_suffix(format or ending or "png")
        whole = io.BytesIO()
        save_edited(self.image, whole, suffix, record, signer, quality)
        _write_all(path, whole.getvalue())

    def show(self) -> None:
        """Show the photo: in a notebook below the cell, else in the system's viewer."""
        notebook = sys.modules.get("IPython")  # where it runs, it is imported
        if notebook is not None and hasattr(notebook.get_ipython(), "kernel"):
            notebook.display.display(self)
        else:
            self.image.show()

    def tensor(self) -> Tensor:
        """The whole photo as a tensor (3,H,W) float32, RGB in 0..1. It goes back in as a photo: no byte changes."""
        import torch

        return torch.from_numpy(np.array(self.image.convert("RGB"))).permute(2, 0, 1).float() / 255

    def _repr_png_(self) -> bytes:
        """What a notebook shows of a result: the photo, with the record of the edit."""
        file = io.BytesIO()
        self.save(file)
        return file.getvalue()

    def record(self) -> dict[str, Any]:
        """The record written into the file: the request, the method and the weights. Nothing of the person."""
        driven = {} if self.driving_reading is None else {"driven": True}
        return {
            "age": self.edit.age,
            "action_units": self.asked_units(),
            "strength": self.edit.strength,
            **self.edit.more(),
            **driven,
            "method": self.method,
            **self._aged(),
            "weights": self.weights,
        }

    def to_dict(self) -> dict[str, Any]:
        """The numbers of this edit, JSON-native."""
        return {
            "asked": {
                "age": self.edit.age,
                "action_units": self.asked_units(),
                "strength": self.edit.strength,
                **self.edit.more(),
            },
            "method": self.method,
            **self._aged(),
            "reading": self.reading.to_dict(),
            "source_reading": self.source_reading.to_dict(),
            "driving_reading": self.driving_reading and self.driving_reading.to_dict(),
            "identity": round(self.identity, 3),
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 2),
            "weights": self.weights,
            "edited": self.edited,
            "marked": self.edited and self.mark,
            **({"others": [other.to_dict() for other in self.others]} if self.others else {}),
        }

    def _aged(self) -> dict[str, str]:
        return {} if self.age_method is None else {"age_method": self.age_method}

    def asked_units(self) -> dict[str, float]:
        """Absolute intensity 0..5 asked of each named action unit, `strength` included; where a face drives, it counts
        from what `strength` takes of that face's intensity."""
        before = [self.source_reading.action_units[code] for code in AU_CODES]
        if self.driving_reading is not None:
            driving = [self.driving_reading.action_units[code] for code in AU_CODES]
            before = [
                min(max(own + self.edit.strength * (other - own), 0.0), AU_MAX)
                for own, other in zip(before, driving, strict=True)
            ]
        _, targets = self.edit.targets_for(self.source_reading.age, before)
        return {code: round(targets[AU_CODES.index(code)], 2) for code in self.edit.action_units}


@dataclass(frozen=True)
class ClipResult:
    """The outcome of a clip.

    Attributes:
        frames: how many it has.
        edited: how many of them were edited.
        rate: frames a second.
        size: width and height in pixels.
        warnings: sentences about this clip, and one where the edit is left unmarked.
        seconds: how long the work took.
    """

    frames: int
    edited: int
    rate: float
    size: tuple[int, int]
    warnings: tuple[str, ...]
    seconds: float

    def __repr__(self) -> str:
        rate = f"{self.frames} frames at {self.rate:.4g} a second"
        return f"<ClipResult {', '.join([_size(self.size), rate, f'{self.edited} edited', *_counted(self.warnings)])}>"


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write to a file that somebody opened, also where it takes a part at a time; BadInput where it takes no more."""
    try:
        while data:
            taken = file.write(data)
            if taken == 0:
                raise OSError("it takes no more")
            data = data[taken:] if isinstance(taken, int) else b""
        if callable(getattr(file, "flush", None)):
            file.flush()  # what fits no disk is found out now, not when the file is closed
    except (TypeError, ValueError) as error:  # io.UnsupportedOperation is a ValueError, too
        raise BadInput(f"the file cannot be written ({error}); open it with mode 'wb'") from None
    except OSError as error:
        raise BadInput(
            f"the file cannot be written ({error.strerror or error}); choose another place"
        ) from None


def _size(size: tuple[int, int]) -> str:
    return "{}x{}".format(*size)


def _counted(warnings: tuple[str, ...]) -> list[str]:
    return [f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"] if warnings else []
