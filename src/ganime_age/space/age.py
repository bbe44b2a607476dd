"""The age editor: a slider, the ten age groups as buttons, the method, and the age that the face is taken for."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from ..edits import AGE_GROUPS, AGE_MAX, AGE_PARTS, GROUP_STARTS
from ..model.methods import label
from .jobs import ALL

MIDDLES = tuple(
    (start + after) // 2
    for start, after in zip(GROUP_STARTS, (*(s - 1 for s in GROUP_STARTS[1:]), 80), strict=True)
)
"""The age that each group's button asks for."""


def plain_name(method: str) -> str:
    """What the page calls a method."""
    return "Compare all" if method == ALL else label(method)


class Age(NamedTuple):
    """The editor's components. own: the age that the face is taken for, where the reading is corrected; parts: what the
    age changes; `moved` are its events after which an age is asked for."""

    change: gr.Checkbox
    years: gr.Slider
    own: gr.Textbox
    parts: gr.CheckboxGroup
    method: gr.Radio
    moved: tuple


def show(methods: tuple[str, ...], compares: bool) -> Age:
    """Build the editor where it is called, with the methods that these weights hold."""
    change = gr.Checkbox(False, label="Change the age", elem_id="change_age")
    years = gr.Slider(
        0, AGE_MAX, 40, step=1, label="Age in years", elem_id="age", buttons=[], elem_classes="wide-slider"
    )
    with gr.Row(elem_id="age_groups", elem_classes="roving"):
        groups = tuple(gr.Button(name, size="sm", min_width=44) for name in AGE_GROUPS)
    parts = gr.CheckboxGroup(
        [(part.capitalize(), part) for part in AGE_PARTS], value=list(AGE_PARTS), label="What the age changes",
        elem_id="age_parts",
    )  # fmt: skip
    choices = [*methods, *([ALL] if compares else [])]
    method = gr.Radio(
        [(plain_name(name), name) for name in choices],
        value=methods[0] if methods else None,
        label="Method",
        elem_id="method",
    )
    own = gr.Textbox(
        "", label="Age now, if it was misread", elem_id="own_age", placeholder="as read", max_lines=1
    )
    pressed = [
        button.click(None, None, [years, change], js=f"() => [{middle}, true]", api_visibility="private")
        for button, middle in zip(groups, MIDDLES, strict=True)
    ]
    slid = years.release(None, None, change, js="() => true", api_visibility="private")
    return Age(change, years, own, parts, method, (*pressed, slid))
