"""Examples to click: a portrait in the public domain (NASA's of Eileen Collins) and what may be asked of it.

pictures/astronaut-surprised.jpg is an edit of the portrait by this package's own weights; it drives the reenactment.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from .handlers import Parts

PICTURES = Path(__file__).with_name("pictures")


def examples(parts: Parts, reenacts: bool) -> None:
    """Add the examples: a click fills in the photo and the controls; the visitor still ticks the box."""
    portrait, surprised = (str(PICTURES / name) for name in ("astronaut.jpg", "astronaut-surprised.jpg"))
    inputs = [parts.photo, parts.age.change, parts.age.years]
    rows = [[portrait, True, 75], [portrait, True, 8], [portrait, False, 40]]
    if reenacts:
        inputs.append(parts.reenact.photo)
        rows = [[*row, None] for row in rows[:2]] + [[portrait, False, 40, surprised]]
    names = ["At 75", "At 8", "Moving like another photo" if reenacts else "As it is"]
    gr.Examples(
        rows,
        inputs,
        label="Examples, on a portrait in the public domain",
        elem_id="examples",
        example_labels=names,
    )
