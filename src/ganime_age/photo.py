"""Whatever a user calls a photo -> upright RGB pixels: size checked before decoding, metadata dropped."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from .errors import BadInput

MAX_PIXELS = 40_000_000
MIN_SIDE = 64
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
"""File endings that a folder of photos is searched for."""

STILL_WITH_PARTS = ("MPO", "TIFF")
UNREADABLE = "is not a readable image (JPEG, PNG, WebP, AVIF, BMP or TIFF)"


def load_photo(source) -> np.ndarray:
    """Read a photo from a path, bytes, PIL image or array.

    source: str or Path; bytes; PIL.Image; array (H,W), (H,W,1), (H,W,3) or (H,W,4), uint8, uint16 or float 0..1.
    Returns a new uint8 array (H,W,3), RGB, upright (EXIF orientation applied, then forgotten), colours in sRGB,
    transparent parts over white. BadInput says in one sentence why a source cannot be used: missing, damaged,
    moving, more than 40 megapixels (refused before decoding), a side under 64 pixels.
    """
    name = photo_name(source)
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, name)
    elif isinstance(source, Image.Image):
        pixels = _from_image(source, name)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        pixels = _decode(io.BytesIO(source), name)
    elif isinstance(source, (str, os.PathLike)):
        pixels = _from_path(Path(source), name)
    else:
        raise BadInput(
            f"a {type(source).__name__} is not a photo; give a path, bytes, a PIL image or an array"
        )
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise BadInput(f"{name} is {width}x{height}; both sides must be at least {MIN_SIDE} pixels")
    return pixels


def photo_name(source) -> str:
    """What messages call this photo: its file name, or "the photo"."""
    return Path(source).name or str(source) if isinstance(source, (str, os.PathLike)) else "the photo"


def _from_path(path: Path, name: str) -> np.ndarray:
    if path.is_dir():
        raise BadInput(f"{name} is a folder; give one photo")
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"{name} is an empty file; give a photo")
        with path.open("rb") as file:
            return _decode(file, name)
    except FileNotFoundError:
        raise BadInput(f"{name} does not exist; check the path") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error.strerror or error}); check the file") from None


def _decode(file, name: str) -> np.ndarray:
    """Open, check the header, then decode: Pillow's own exceptions and warnings become one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            raise BadInput(
                f"{name} is far too large; the limit is {MAX_PIXELS // 1_000_000} megapixels"
            ) from None
        except (OSError, SyntaxError, ValueError, MemoryError):
            raise BadInput(f"{name} {UNREADABLE}") from None
        with image:
            return _from_image(image, name)


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadInput(f"{name} is {width}x{height}; the limit is {MAX_PIXELS // 1_000_000} megapixels")
    if getattr(image, "n_frames", 1) > 1 and image.format not in STILL_WITH_PARTS:
        raise BadInput(f"{name} is a moving picture; give one photo")


def _from_image(image: Image.Image, name: str) -> np.ndarray:
    _check_header(image, name)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, MemoryError):
        raise BadInput(f"{name} is damaged or cut off; give the whole file") from None
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_array(np.asarray(image), name)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    else:
        image = _to_srgb(image)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Apply an embedded colour profile (Display P3, Adobe RGB, inks) as a viewer does; a broken one is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK", "L"):
        return image
    try:
        return ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
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


def _to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """Scale to 0..255 by the array's kind: floats up to 1, 16-bit integers; what is within 0..255 stays."""
    if array.dtype == np.uint8:
        return array
    if not np.isfinite(array).all():
        raise BadInput(f"{name} holds NaN or infinite values; give numbers")
    values, top = array.astype(np.float32), float(array.max(initial=0))
    if array.dtype.kind == "f" and top <= 1:
        values = values * 255
    elif top > 255 or array.dtype == np.uint16:
        values = values / 257
    return values.round().clip(0, 255).astype(np.uint8)
