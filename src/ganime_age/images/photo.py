"""Whatever a user calls a photo -> upright RGB pixels: size checked before decoding, metadata dropped."""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from ..errors import BadInput
from .download import fetched, is_address
from .endings import PHOTOS

if TYPE_CHECKING:
    import torch

PhotoLike: TypeAlias = Union[
    str, os.PathLike[str], bytes, bytearray, memoryview, BinaryIO, Image.Image, np.ndarray, "torch.Tensor"
]
"""What `load_photo` reads."""

MAX_PIXELS = 40_000_000
MIN_SIDE = 64
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF")
SUFFIXES = PHOTOS
"""Endings of the photo files that a folder is searched for."""

UPRIGHT = 1
"""EXIF's orientation of a photo that need not be turned."""
STRIP = 64
"""Rows of a photo that are copied at a time."""
STILL_WITH_PARTS = ("MPO", "TIFF")
UNREADABLE = "is not a readable image (JPEG, PNG, WebP, AVIF, BMP or TIFF)"

OVERSHOOT = 0.05
"""How far beyond 0..1 a tensor's values may lie, as resampling leaves them; they are clipped."""

_ONE_AT_A_TIME = threading.Lock()
"""Guards Python's list of warning filters, which is global: two threads that change it undo each other's changes."""


def load_photo(source: PhotoLike, allow_download: bool = False) -> np.ndarray:
    """Read a photo from a path, an open file, bytes, a PIL image, an array or a tensor.

    Args:
        source: str or Path; a binary file, read from its start; bytes; PIL.Image; array (H,W), (H,W,1), (H,W,3) or
            (H,W,4), uint8, uint16 or float 0..1; tensor (C,H,W) or (1,C,H,W), uint8 or float 0..1, on any device.
            Channels are RGB: what OpenCV reads is BGR, and `photo[..., ::-1]` turns it round.
        allow_download: whether `source` may be a web address (http or https); without it nothing is fetched.

    Returns:
        A new uint8 array (H,W,3), RGB, upright (EXIF orientation applied, then forgotten), colours in sRGB, transparent
        parts over white.

    Raises:
        BadInput: says in one sentence why a source cannot be used: missing, damaged, moving, more than 40 megapixels
            (refused before decoding), a side under 64 pixels.
    """
    name = photo_name(source)
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, name)
    elif is_tensor(source):
        pixels = _from_array(_channels_last(source, name), name)
    elif is_file(source):
        pixels = _decode(io.BytesIO(content(source, name)), name)
    elif is_address(source):
        pixels = _decode(fetched(str(source), allow_download), name)
    elif isinstance(source, Image.Image):
        pixels = _from_image(source, name)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        pixels = _decode(io.BytesIO(source), name)
    elif isinstance(source, (str, os.PathLike)):
        with open_file(Path(source)) as file:
            pixels = _decode(file, name)
    else:
        raise BadInput(
            f"a {type(source).__name__} is not a photo; give a path, bytes, a PIL image or an array"
            ", an open file or a tensor"
        )
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise BadInput(f"{name} is {width}x{height}; both sides must be at least {MIN_SIDE} pixels")
    return pixels


def is_tensor(source: object) -> bool:
    """Is it a torch tensor? Asked without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def is_raw(source: object) -> bool:
    """Is a photo given as numbers, an array or a tensor, which do not say in which order their channels stand?"""
    return isinstance(source, np.ndarray) or is_tensor(source)


def is_file(source: object) -> bool:
    """Is it an open file, or what reads like one?"""
    return callable(getattr(source, "read", None)) and not isinstance(source, Image.Image)


def content(file: Any, name: str) -> bytes:
    """All bytes of an open file, whose position stays where it was; BadInput for text and for what is empty."""
    try:
        place = file.tell() if file.seekable() else None
        if place is not None:
            file.seek(0)
        data = file.read()
        if place is not None:
            file.seek(place)
    except UnicodeDecodeError:
        data = ""
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{name} cannot be read ({error}); give a file that is open for reading") from None
    if not isinstance(data, bytes):
        raise BadInput(f"{name} is open as text; open it with mode 'rb'")
    if not data:
        raise BadInput(f"{name} is an empty file; give a photo")
    return data


def is_animated(path: str | os.PathLike[str]) -> bool:
    """Does a file hold more than one picture? False where that cannot be read."""
    try:
        with _quiet(), Image.open(path, formats=FORMATS) as image:
            return getattr(image, "n_frames", 1) > 1
    except MemoryError:
        raise
    except Exception:  # a damaged file breaks a decoder in any way
        return False


def header(source: Any) -> dict[str, Any]:
    """What a file says beside its pixels, as Pillow's `info`: XMP, profile and such. Empty for an array, and where
    nothing can be read."""
    if isinstance(source, Image.Image):
        return _named(source.info)
    if is_raw(source):
        return {}
    try:
        file = content(source, photo_name(source)) if is_file(source) else source
        file = io.BytesIO(file) if isinstance(file, (bytes, bytearray, memoryview)) else file
        with _quiet(), Image.open(file, formats=FORMATS) as image:
            return _named(image.info)
    except MemoryError:
        raise
    except Exception:  # a damaged file breaks a decoder in any way
        return {}


@contextmanager
def _quiet() -> Iterator[None]:
    """What Pillow warns of is either refused here in a sentence or of no weight."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _named(info: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if isinstance(key, str)}


def photo_name(source: Any, nameless: str = "the photo") -> str:
    """What messages call this photo: its file name, or `nameless`."""
    given = getattr(source, "name", None) if is_file(source) else source
    return Path(given).name or str(given) if isinstance(given, (str, os.PathLike)) else nameless


def open_file(path: Path, kind: str = "photo") -> BinaryIO:
    """The file at a path, open for reading; BadInput says why it cannot be. kind: photo or video."""
    name = photo_name(path)
    if "\0" in str(path):
        raise BadInput(f"{name!r} cannot be read (the path holds a NUL character); check the path")
    if os.path.isdir(path):
        raise BadInput(f"{name} is a folder; give one {kind}")
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"{name} is an empty file; give a {kind}")
        return path.open("rb")
    except FileNotFoundError:
        raise BadInput(f"{name} does not exist; check the path") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error.strerror or error}); check the file") from None


def _decode(file: BinaryIO, name: str) -> np.ndarray:
    """Open, check the header, then decode. A damaged file may break Pillow's decoders with any exception at all (AVIF's
    raises RuntimeError); each becomes one sentence, but for memory that ran out: the file is not to blame."""
    with _quiet():
        try:
            image = Image.open(file, formats=FORMATS)
        except MemoryError:
            raise
        except Image.DecompressionBombError:
            raise BadInput(
                f"{name} is far too large; the limit is {MAX_PIXELS // 1_000_000} megapixels"
            ) from None
        except Exception:
            raise BadInput(f"{name} {UNREADABLE}") from None
        with image:
            return _from_image(image, name)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except Exception:
        raise BadInput(f"{name} is damaged or cut off; give the whole file") from None


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadInput(f"{name} is {width}x{height}; the limit is {MAX_PIXELS // 1_000_000} megapixels")
    with _decoding(name):
        if getattr(image, "n_frames", 1) > 1 and image.format not in STILL_WITH_PARTS:
            raise BadInput(f"{name} is a moving picture; give one photo")


def _from_image(image: Image.Image, name: str) -> np.ndarray:
    _check_header(image, name)
    with _decoding(name):
        image.load()
        image = _upright(image)
        if image.mode == "F" or image.mode.startswith("I"):
            return _from_array(np.asarray(image), name)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        else:
            image = _to_srgb(image)
        return _pixels(image if image.mode == "RGB" else image.convert("RGB"))


def _pixels(image: Image.Image) -> np.ndarray:
    """The levels (H,W,3) of an RGB image. Strips of it fit into the processor's cache: so it takes half as long as
    `np.array` does at once."""
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        out[top : top + STRIP] = np.asarray(image.crop((0, top, width, min(top + STRIP, height))))
    return out


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; damaged EXIF says nothing."""
    try:
        if image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) == UPRIGHT:
            return image  # Pillow would copy it
        return ImageOps.exif_transpose(image) or image
    except MemoryError:
        raise
    except Exception:
        return image


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply an embedded colour profile (Display P3, Adobe RGB, inks) as a viewer does; a broken one is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        return converted or image
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.dtype.kind not in "uif":
        raise BadInput(
            f"{name} has shape {array.shape} and type {array.dtype}; give (H,W,3) of uint8 or of floats 0..1"
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise BadInput(
            f"{name} is {array.shape[1]}x{array.shape[0]}; the limit is {MAX_PIXELS // 1_000_000} megapixels"
        )
    pixels = _to_bytes(array, name)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        pixels = (pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels.copy()


def _channels_last(tensor: Any, name: str) -> np.ndarray:
    """A tensor (C,H,W) or (1,C,H,W), uint8 or float 0..1 -> uint8 (H,W,C)."""
    shape, kind = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    if len(shape) == 4 and shape[0] != 1:
        raise BadInput(f"{name} is a batch of {shape[0]}; give one photo, or all of them to edit_many")
    planes = tensor.detach()[0] if len(shape) == 4 else tensor.detach()
    if planes.ndim != 3 or planes.shape[0] not in (1, 3, 4):
        turn = (
            "; move its channels to the front with x.permute(2, 0, 1)" if shape[-1:] in ((3,), (4,)) else ""
        )
        raise BadInput(f"{name} has shape {shape}; give a tensor (C,H,W) or (1,C,H,W), RGB in 0..1{turn}")
    if kind == "uint8":
        return planes.permute(1, 2, 0).cpu().numpy()
    if not tensor.is_floating_point():
        raise BadInput(f"{name} has the type {kind}; give a tensor of floats in 0..1, or of uint8")
    values = planes.float().cpu().numpy()
    if not np.isfinite(values).all():
        raise BadInput(f"{name} holds NaN or infinite values; give numbers")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        how = "(x + 1) / 2" if high <= 1 + OVERSHOOT else "x / 255"
        raise BadInput(f"{name} holds values from {low:.3g} to {high:.3g}; give RGB in 0..1, such as {how}")
    return (values.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """Scale to 0..255 by the array's kind: floats up to 1, 16-bit integers; what is within 0..255 stays."""
    if array.dtype == np.uint8:
        return array
    if not np.isfinite(array).all():
        raise BadInput(f"{name} holds NaN or infinite values; give numbers")
    values: np.ndarray = array.astype(np.float32)
    top = float(array.max(initial=0))
    if array.dtype.kind == "f" and top <= 1:
        values = values * 255
    elif top > 255 or array.dtype == np.uint16:
        values = values / 257
    return values.round().clip(0, 255).astype(np.uint8)
