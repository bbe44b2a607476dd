"""The player of a clip that was made, beside the one that it was made of. Both play by themselves, muted, in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

SCRIPT = Path(__file__).with_name("player.js")
TEMPLATE = """<div class="player" hidden>
<figure class="source" hidden><figcaption></figcaption><video muted loop playsinline></video></figure>
<figure class="made"><figcaption></figcaption><video muted loop playsinline controls></video>
<img hidden alt=""></figure>
<a class="save" download>Download the clip</a>
</div>"""


def show() -> gr.HTML:
    """Build the player where it is called."""
    return gr.HTML(
        {}, html_template=TEMPLATE, js_on_load=SCRIPT.read_text("utf-8"), elem_id="player", apply_default_css=False,
    )  # fmt: skip


def playing(made: Path, says: str, source: Path | None = None, of_source: str = "") -> dict[str, Any]:
    """What the player shows. made: an MP4 or a GIF; source: an MP4 or a WebM as long as it, or None; says, of_source:
    what stands over them."""
    shown = {"made": str(made), "says": says, "name": made.name}
    return shown if source is None else {**shown, "source": str(source), "of_source": of_source}
