"""What a visitor gives, taken in safely: uploads only, read by the package's own loader.

Gradio's own image component opens any file of the server, takes `data:` addresses past the size limit and decodes
whatever it is given; these two do none of that. An unusable file is handed on as its BadInput instead of raised, so
that the page can show the sentence in place.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder, is_in_or_equal
from PIL import Image

from ..errors import BadInput, GanimeAgeError
from ..images.photo import MAX_PIXELS, load_photo
from ..images.video_reader import Clip

CLIP_SECONDS = 10
LONGER = 0.5
"""Seconds by which a clip may be longer than it is said."""
UPLOAD = "20mb"
LIMITS = f"Photos up to 40 megapixels, clips up to {CLIP_SECONDS} seconds; a file up to 20 MB."
MOST_SCALED = 64_000_000
"""Pixels of the largest JPEG that is scaled down instead of refused, such as a telephone's of 48 or 50 megapixels."""


PICTURES = Path(__file__).with_name("pictures")
"""The pictures of the examples."""


def uploaded(file: Mapping[str, Any] | None) -> Path:
    """The path of a file that was uploaded to this server; BadInput for any other path, a link or a data: address."""
    if isinstance(file, str):
        raise BadInput(
            "a path on your machine says nothing here; pass handle_file(path), with handle_file from gradio_client"
        )
    path, url = ((file or {}).get(key) or "" for key in ("path", "url"))
    if not path or url.startswith("data:") or not is_in_or_equal(path, get_upload_folder()):
        raise BadInput("this is not an upload; choose the file itself")
    if not Path(path).is_file():
        raise BadInput("the upload is not here any more, as files are kept for an hour; give it again")
    return Path(path)


class Upload(np.ndarray):
    """A photo (H,W,3) uint8 that knows the name of its file, without the ending, whether it is an example's, and a note
    on how it was taken in."""

    name = "photo"
    ours = False
    note = ""


def photo_of(file: Mapping[str, Any] | None) -> Upload:
    """An uploaded photo as pixels (H,W,3), upright, without its metadata; BadInput says why it cannot be used."""
    path = uploaded(file)
    small, note = _scaled(path)
    photo = load_photo(path if small is None else small).view(Upload)
    photo.note = note
    photo.name = re.sub(r"[^\w-]+", "-", path.stem).strip("-")[:40] or "photo"
    photo.ours = is_ours(path)
    return photo


def _scaled(path: Path) -> tuple[Image.Image | None, str]:
    """A JPEG that is somewhat too large at half its size, decoded at that size, and a note; None for all others."""
    try:
        image = Image.open(path, formats=("JPEG",))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None, ""
    width, height = image.size
    if image.format not in ("JPEG", "MPO") or not MAX_PIXELS < width * height <= MOST_SCALED:
        image.close()
        return None, ""
    image.draft(None, (width // 2, height // 2))
    return image, f"The photo has {width * height / 1e6:.0f} megapixels and was scaled to half its width."


@functools.cache
def _examples() -> dict[int, set[bytes]]:
    """The bundled example files by their sizes."""
    held: dict[int, set[bytes]] = {}
    for path in PICTURES.iterdir():
        held.setdefault(path.stat().st_size, set()).add(path.read_bytes())
    return held


def is_ours(path: Path) -> bool:
    """Whether a file is one of the examples, whose pictures are in the public domain or made by this package."""
    size = path.stat().st_size
    return size in _examples() and path.read_bytes() in _examples()[size]


def clip_of(file: Mapping[str, Any] | None) -> Path:
    """The path of an uploaded clip whose header can be read; `clips.span_of` says whether it is short enough."""
    path = uploaded(file)
    with Clip(path):
        return path


class PhotoInput(gr.Image):
    """gr.Image whose value is an RGB array (H,W,3), None, or the error that says why the file cannot be used."""

    is_template = True

    def preprocess(self, payload: Any) -> np.ndarray | GanimeAgeError | None:
        return _read(photo_of, payload)


class ClipInput(gr.Video):
    """gr.Video whose value is the path of an uploaded clip, None, or the error that says why it cannot be used."""

    is_template = True

    def preprocess(self, payload: Any) -> Path | GanimeAgeError | None:
        return _read(clip_of, payload)


def _read(read: Any, payload: Any) -> Any:
    if payload is None:
        return None
    try:
        return read(payload.model_dump())
    except GanimeAgeError as error:
        return error
    except MemoryError:
        return BadInput("the file needs more memory than there is; give a smaller one")
