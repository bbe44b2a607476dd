"""The head editor: three sliders that turn it from where the photo shows it, drawn within what looks natural."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from ..edits import MOST_TURN

WORDS = {"yaw": "To the left or right (yaw)", "pitch": "Up or down (pitch)", "roll": "Tilt (roll)"}
"""What the page calls the angles; minus goes to the left of the picture, up and anticlockwise."""
NOTE = (
    "Degrees from where the photo shows the head: to the left or right of the picture, up or down, tilted. A driving "
    "photo decides the pose itself."
)


class Head(NamedTuple):
    """The editor's components, in the order of MOST_TURN."""

    yaw: gr.Slider
    pitch: gr.Slider
    roll: gr.Slider


def show() -> Head:
    """Build the editor where it is called."""
    sliders = Head(*(_slider(name, most) for name, most in MOST_TURN.items()))
    gr.HTML(f"<p class='note'>{NOTE}</p>")
    return sliders


def _slider(name: str, most: float) -> gr.Slider:
    return gr.Slider(-most, most, 0, step=1, label=WORDS[name], elem_id=name, buttons=[])
