"""Examples that run at one click: a portrait in the public domain (NASA's of Eileen Collins) and what is asked of it.

The pictures of a face that drives, and the small pictures on the buttons, are edits of the portrait by this package.
"""

from __future__ import annotations

import base64
import html
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from . import expression, files
from .loader import PICTURES

PORTRAIT = "astronaut.jpg"
SCRIPT = """element.addEventListener('click', ({target}) => {
  const button = target.closest('button');
  if (button) trigger('run', {index: Number(button.dataset.index)});
});"""


class Example(NamedTuple):
    """What is asked of the portrait. thumbnail: a file in pictures/; driving, clip: others there."""

    name: str
    thumbnail: str
    age: int | None = None
    units: dict[str, float] = {}
    driving: str | None = None
    clip: str | None = None


EXAMPLES = (
    Example("At 75", "example-75.jpg", age=75),
    Example("At 8", "example-8.jpg", age=8),
    Example("Surprised", "example-surprised.jpg", units=expression.PRESETS["Surprise"]),
    Example("Sad at 60", "example-sad.jpg", age=60, units=expression.PRESETS["Sadness"]),
    Example("Like a photo", "example-photo.jpg", driving="astronaut-surprised.jpg"),
    Example("Like a clip", "example-clip.jpg", clip="turning.mp4"),
)


def show(reenacts: bool, clips: bool) -> gr.HTML:
    """Build the row of buttons where it is called; its event `run` names an example by its index."""
    shown = [
        (i, one)
        for i, one in enumerate(EXAMPLES)
        if (reenacts or not (one.driving or one.clip)) and (clips or not one.clip)
    ]
    buttons = "".join(
        f"<button type='button' data-index='{i}'><img src='{_address(one.thumbnail)}' alt=''>"
        f"<span>{html.escape(one.name)}</span></button>"
        for i, one in shown
    )
    row = f"<div role='group' aria-label='Examples, on a portrait in the public domain'>{buttons}</div>"
    return gr.HTML(html_template=row, js_on_load=SCRIPT, elem_id="examples", apply_default_css=False)


def file_of(name: str | None, session: str) -> str | None:
    """A copy of a picture for one visit, at an address of its own, so that a second click is a new photo."""
    if name is None:
        return None
    return str(shutil.copy(PICTURES / name, files.new_folder(session) / name))


def _address(name: str) -> str:
    """A small picture as an address that needs no server."""
    return "data:image/jpeg;base64," + base64.b64encode(Path(PICTURES / name).read_bytes()).decode()


def chosen(index: Any) -> Example | None:
    """The example with an index; None where there is none."""
    return EXAMPLES[index] if isinstance(index, int) and 0 <= index < len(EXAMPLES) else None
