"""Writes the edit into the file's metadata, where platforms look for it (IPTC in XMP).

IPTC Photo Metadata Standard 2025.1 names the kind of picture (digital source type) and the system that made it; the
edit's own numbers stand beside them as JSON. Colours are sRGB and no profile is written: what has none is sRGB.
Nothing of the source file's own metadata is ever copied.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..atomic import replacing
from ..errors import BadInput
from ..images.endings import WRITTEN_PHOTOS
from .c2pa import Signer
from .xmp import SOURCE_TYPE, xmp

WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 4}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}
"""File ending -> Pillow's format and its save options. Only PNG keeps untouched pixels byte for byte."""

ENDINGS = WRITTEN_PHOTOS


def save_edited(
    image: Image.Image,
    file: Any,
    suffix: str,
    record: dict[str, Any] | None,
    signer: Signer | None = None,
    quality: int | None = None,
) -> None:
    """Write a picture to a binary file; `suffix`: a key of WRITERS. quality: 1..100 of a JPEG or WebP, 95 for None.

    record: the edit as plain numbers (`EditResult.record`), written as metadata. signer: signs the file as well (C2PA).
    None for the record writes neither: a signature without one would call edited what nobody edited.
    """
    name, options = WRITERS[suffix]
    options = _with_quality(name, options, quality)
    marks = {} if record is None else _marks(name, xmp(record))
    plain = Image.fromarray(
        np.asarray(image.convert("RGB"))
    )  # pixels alone: what else an image carries stays
    # Pillow writes a JPEG into a file past Python, and does not see when the disk takes only a part of it.
    whole = io.BytesIO()
    plain.save(whole, name, **options, **marks)
    data = whole.getvalue()
    file.write(data if signer is None or record is None else signer.sign(data, suffix, SOURCE_TYPE, record))


def write_edited(
    image: Image.Image,
    path: str | os.PathLike[str],
    record: dict[str, Any] | None,
    signer: Signer | None = None,
    quality: int | None = None,
) -> None:
    """`save_edited` to a path, by its ending, whole or not at all; missing folders are made.

    BadInput for an ending that is not one of WRITERS, a quality that cannot be, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise BadInput(
            f"{path.name} cannot be written as {path.suffix or 'a file without an ending'}; choose {ENDINGS}"
        )
    try:
        with replacing(path, make_folders=True) as part, part.open("wb") as file:
            save_edited(image, file, path.suffix.lower(), record, signer, quality)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror or error}); choose another place"
        ) from None


def checked_suffix(format: str) -> str:
    """`PNG`, `jpeg` or `.webp` -> a key of WRITERS; BadInput for another format."""
    suffix = f".{str(format).lower().lstrip('.')}"
    if suffix not in WRITERS:
        raise BadInput(f"a picture cannot be written as {format!r}; choose {ENDINGS}")
    return suffix


def _with_quality(name: str, options: dict[str, Any], quality: int | None) -> dict[str, Any]:
    if quality is None:
        return options
    if "quality" not in options:
        raise BadInput(
            f"a {name} keeps every pixel and has no quality; leave it out, or write a JPEG or a WebP"
        )
    if type(quality) is not int or not 1 <= quality <= 100:
        raise BadInput(f"quality {quality!r} is out of range; give a whole number between 1 and 100")
    return options | {"quality": quality}


def _marks(name: str, packet: str) -> dict[str, Any]:
    if name != "PNG":
        return {"xmp": packet.encode()}
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet)
    return {"pnginfo": info}
