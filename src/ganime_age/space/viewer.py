"""The viewer of before and after: one picture over the other with a handle, side by side, or the edit alone; held
down, a button shows the photo; zoomed, the face's frame fills the viewer. Faces can be picked in it by their boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

SCRIPT = Path(__file__).with_name("viewer.js")
ROOM = 1.9
"""Side of the part of a photo that is shown of a zoomed face, in sides of its box."""

TEMPLATE = """<div class="viewer empty" data-mode="before" role="group" aria-label="Before and after">
<div class="stage">
<div class="pane first"><img class="before" alt="" hidden><div class="faces" hidden></div></div>
<div class="pane second"><img class="after" alt="" hidden>
<div class="over"><div class="sketch" hidden></div></div></div>
<i class="line"></i>
<input class="handle" type="range" min="0" max="100" value="50" aria-label="Boundary between before and after">
<p class="hint">Give a photo, or click an example: the result appears here.</p>
</div>
<div class="tools" role="toolbar" aria-label="View" hidden>
<button type="button" class="of-edits" data-mode-of="split">Split</button>
<button type="button" class="of-edits" data-mode-of="both">Side by side</button>
<button type="button" class="of-edits" data-mode-of="after">After</button>
<button type="button" class="of-edits hold">Hold for before</button>
<button type="button" class="zoom">Zoom to face</button>
<button type="button" class="full">Full screen</button>
</div></div>"""


def show() -> gr.HTML:
    """Build the viewer where it is called. Its event `pick` names a face by its index."""
    return gr.HTML(
        {},
        html_template=TEMPLATE,
        js_on_load=SCRIPT.read_text("utf-8"),
        elem_id="result",
        apply_default_css=False,
    )


def show_sketch() -> gr.HTML:
    """The component that takes drafts (`sketch.py`) and hands them to the viewer."""
    return gr.HTML(
        {}, html_template="<i></i>", visible="hidden",
        js_on_load="watch('value', () => window.ganimeAge?.sketch?.(props.value));",
    )  # fmt: skip


def fractions(box: Any, shape: tuple[int, ...]) -> list[float]:
    """x0 y0 x1 y1 in pixels of a photo (H,W,3) as left, top, width and height in 0..1 of it."""
    x0, y0, x1, y1 = (float(v) for v in box)
    height, width = shape[:2]
    left, top = max(x0, 0) / width, max(y0, 0) / height
    return [round(v, 5) for v in (left, top, min(x1, width) / width - left, min(y1, height) / height - top)]


def around(box: Any, shape: tuple[int, ...]) -> list[float]:
    """The part of a photo that a zoomed face is shown with, as `fractions`."""
    x0, y0, x1, y1 = (float(v) for v in box)
    middle, half = np.array([x0 + x1, y0 + y1]) / 2, ROOM * max(x1 - x0, y1 - y0) / 2
    return fractions((*(middle - half), *(middle + half)), shape)
