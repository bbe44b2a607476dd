"""The expression editor: the 17 action units in groups, presets, and copying what another photo shows.

A slider shows how strongly the face shows an action unit, 0 to 5; one that is moved is asked for, one that is left
where the face has it stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import gradio as gr

from .. import edits
from ..edits import AU_CODES, AU_MAX, AU_NAMES
from .loader import PhotoInput

STEP = 0.1
GROUPS = (
    ("Brows", ("AU01", "AU02", "AU04")),
    ("Eyes and nose", ("AU05", "AU06", "AU07", "AU09", "AU45")),
    ("Mouth and chin", ("AU10", "AU12", "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26")),
)
PRESETS = {name.capitalize(): units for name, units in edits.PRESETS.items()}
"""The presets of a request, by the names on their buttons."""
WORDS = {code: words.capitalize() for code, words in edits.AU_WORDS.items()}
"""What the page calls the action units; their FACS names stand in tooltips."""

Units = Mapping[str, float]


class Expression(NamedTuple):
    """The editor's components; `units` are its sliders in the order of AU_CODES, `presets` its buttons by name."""

    units: tuple[gr.Slider, ...]
    presets: dict[str, gr.Button]
    copy_from: PhotoInput


def show(editable: Collection[str]) -> Expression:
    """Build the editor where it is called. editable: the action units that the weights can edit."""
    with gr.Row(elem_id="presets", elem_classes="roving"):
        presets = {name: gr.Button(name, size="sm", min_width=72) for name in PRESETS}
    sliders: dict[str, gr.Slider] = {}
    for group, codes in GROUPS:
        with gr.Accordion(group, open=group == GROUPS[-1][0], elem_classes="units"):
            with gr.Row(elem_classes="unit-columns"):
                sliders |= {code: _slider(code, code in editable) for code in codes}
    unseen = " and ".join(code for code in AU_CODES if code not in editable)
    if unseen:
        gr.HTML(f"<p class='note'>{unseen} cannot be edited: the training data never showed them.</p>")
    with gr.Accordion("Copy from another photo", open=False):
        copy_from = PhotoInput(
            label="Photo with the expression", show_label=False, elem_id="copy_from", height=140, buttons=[],
            placeholder="Drop a photo with the expression, or click to choose one",
            sources=["upload", "clipboard", "webcam"],
        )  # fmt: skip
    return Expression(tuple(sliders[code] for code in AU_CODES), presets, copy_from)


def _slider(code: str, editable: bool) -> gr.Slider:
    return gr.Slider(
        0, AU_MAX, 0, step=STEP, label=plainly(code), elem_id=code, elem_classes="unit", interactive=editable,
        buttons=[], min_width=130,
    )  # fmt: skip


def plainly(code: str) -> str:
    """What the page calls an action unit, such as `Smile (AU12)`."""
    return f"{WORDS[code]} ({code})"


def tooltips() -> dict[str, str]:
    """The FACS name of each slider, by its element's id."""
    return {code: f"FACS {code}: {name}" for code, name in AU_NAMES.items()}


def at_rest(units: Units) -> dict[str, float]:
    """The action units of a face as slider values."""
    return {code: round(units.get(code, 0.0), 1) for code in AU_CODES}


def asked(rest: Units, values: tuple[float, ...], editable: Collection[str]) -> dict[str, float]:
    """The action units whose sliders are not where the face has them."""
    moved = zip(AU_CODES, values, strict=True)
    return {code: value for code, value in moved if code in editable and abs(value - rest[code]) > STEP / 2}


def at(rest: Units, targets: Units, editable: Collection[str]) -> list[float]:
    """Where the 17 sliders stand when `targets` are asked of a face and the rest is left."""
    return [round(targets.get(code, rest[code]) if code in editable else rest[code], 1) for code in AU_CODES]


def strengthened(rest: Units, targets: Units) -> dict[str, float]:
    """A preset's targets for a face: never below the intensity that the face already shows, except those set to 0."""
    return {code: max(value, rest[code]) if value else 0.0 for code, value in targets.items()}
