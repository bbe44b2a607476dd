"""Files that go back to a visitor: in folders whose names nobody can guess, gone when the tab is closed."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from ..provenance.metadata import write_edited
from . import jobs

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
    folder = _visits.pop(request.session_hash, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def about_to_write(folder: Path) -> None:
    """The last step of a job; a visitor who left in the middle of it has no folder any more, and gets no new one."""
    jobs.writing()
    if not folder.is_dir():
        raise jobs.Stopped


def saved(result: Any, folder: Path, ending: str) -> Path:
    """The whole photo at its own size, marked as edited."""
    path = folder / f"edited.{ending}"
    result.save(path)
    return path


def before_and_after(photo: np.ndarray, result: Any, folder: Path) -> tuple[str, str]:
    """Both pictures as the page shows them: at most SHOWN pixels wide or high, the edit with its mark."""
    record = result.record() if result.edited and result.mark else None
    for name, image, said in (("before", Image.fromarray(photo), None), ("after", result.image, record)):
        shown = image.copy()
        shown.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
        write_edited(shown, folder / f"{name}.jpg", said)
    return str(folder / "before.jpg"), str(folder / "after.jpg")


def picture(image: Image.Image, path: Path) -> str:
    """A picture for the page, without metadata."""
    write_edited(image, path, None)
    return str(path)
