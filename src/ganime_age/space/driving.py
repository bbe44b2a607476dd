"""Driving clips of our own, one click each: edits of the examples' portrait (`training/make_driving.py`)."""

from __future__ import annotations

import base64
import html

import gradio as gr

from .loader import PICTURES

CLIPS = {name: f"drive-{name.lower()}.mp4" for name in ("Nod", "Shake", "Smile", "Surprise")}
"""Files in pictures/ by the names on their buttons."""
SCRIPT = """const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
for (const video of element.querySelectorAll('video')) { video.muted = true; if (!calm) video.play().catch(() => {}); }
element.addEventListener('click', ({target}) => {
  const button = target.closest('button');
  if (button) trigger('run', {index: Number(button.dataset.index)});
});"""


def show(visible: bool) -> gr.HTML:
    """Build the row of buttons where it is called; its event `run` names a clip by its index."""
    buttons = "".join(
        f"<button type='button' data-index='{i}'>"
        f"<video muted loop playsinline aria-hidden='true' tabindex='-1' src='{_address(file)}'></video>"
        f"<span>{html.escape(name)}</span></button>"
        for i, (name, file) in enumerate(CLIPS.items())
    )
    row = f"<div role='group' aria-label='Driving clips of our own' class='choices'>{buttons}</div>"
    return gr.HTML(
        html_template=row,
        js_on_load=SCRIPT,
        elem_id="driving_clips",
        apply_default_css=False,
        visible=visible,
    )


def chosen(index: object) -> str | None:
    """The file of the clip with an index; None where there is none."""
    files = list(CLIPS.values())
    return files[index] if isinstance(index, int) and 0 <= index < len(files) else None


def _address(file: str) -> str:
    return "data:video/mp4;base64," + base64.b64encode((PICTURES / file).read_bytes()).decode()
