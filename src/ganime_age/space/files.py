"""Files that go back to a visitor: in folders whose names nobody can guess, gone when the tab is closed."""

from __future__ import annotations

import math
import secrets
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image, ImageDraw

from ..errors import BadInput
from ..provenance.metadata import write_edited
from ..provenance.verify import verify
from . import jobs, sketch

HOUR = 3600
SHOWN = 1600
"""Longer side in pixels of a picture on the page; a download has the photo's own size."""

_visits: dict[str, Path] = {}


def new_folder(session: str | None = None) -> Path:
    """An empty folder that the server may hand out files from; a visit's folders go when it ends, all within hours."""
    root = Path(get_upload_folder())
    if session is not None:
        if session not in _visits or not _visits[session].is_dir():
            _visits[session] = root / secrets.token_hex(16)
        root = _visits[session]
    folder = root / secrets.token_hex(16)
    folder.mkdir(0o700, parents=True)
    return folder


def leave(request: gr.Request) -> None:
    """A visitor closed the tab: end what runs for them and delete what was made for them."""
    jobs.stop(request.session_hash)
    sketch.forget(request.session_hash)
    folder = _visits.pop(request.session_hash, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def about_to_write(folder: Path) -> None:
    """The last step of a job; a visitor who left in the middle of it has no folder any more, and gets no new one."""
    jobs.writing()
    if not folder.is_dir():
        raise jobs.Stopped


def saved(result: Any, folder: Path, ending: str, name: str = "edited") -> Path:
    """The whole photo at its own size, marked as edited."""
    path = folder / f"{name}.{ending}"
    result.save(path)
    return path


def rewritten(file: Path, folder: Path, ending: str) -> Path:
    """A saved result in another format, marked as it was; BadInput where it was deleted meanwhile."""
    if not file.is_file():
        raise BadInput("this result was deleted meanwhile; make the edit again")
    path = folder / f"{file.stem}.{ending}"
    with Image.open(file) as image:
        write_edited(image, path, verify(file).record)
    return path


def shown(image: Image.Image, path: Path, record: dict[str, Any] | None = None, side: int = SHOWN) -> str:
    """A picture as the page shows it: at most `side` pixels wide or high; the record of an edit marks it as one."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    write_edited(small, path, record)
    return str(path)


def record_of(result: Any) -> dict[str, Any] | None:
    """What marks an edit in a file; None for a photo that came back as it was."""
    return result.record() if result.edited and result.mark else None


def name_of(asked: jobs.Asked, result: Any) -> str:
    """What a download is called: the photo's name and what was done, such as portrait_age70_AU12."""
    done = [] if result.edit.age is None else [f"age{result.edit.age:g}"]
    done += ["reenacted"] if result.driving_reading is not None else []
    done += list(result.edit.action_units)[:4]
    return "_".join([asked.name, *done])


def sheet(results: list[Any], captions: list[str], path: Path) -> str:
    """Faces of several results in rows of five with their captions, marked as edited."""
    side, line = results[0].face.width, 28
    across = min(len(results), 5)
    page = Image.new("RGB", (across * side, math.ceil(len(results) / across) * (side + line)), "white")
    words = ImageDraw.Draw(page)
    for i, (result, caption) in enumerate(zip(results, captions, strict=True)):
        left, top = i % across * side, i // across * (side + line)
        page.paste(result.face, (left, top + line))
        words.text((left + 6, top + 5), caption, fill="black", font_size=16)
    write_edited(page, path, record_of(results[-1]))
    return str(path)


def picture(image: Image.Image, path: Path) -> str:
    """A picture for the page, without metadata."""
    write_edited(image, path, None)
    return str(path)
