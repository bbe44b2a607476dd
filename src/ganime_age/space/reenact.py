"""The reenactment editor: a driving photo (or a picture of the webcam) or a driving clip."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import gradio as gr

from ..pipelines.reenactment import MOST_TIMES
from .loader import CLIP_SECONDS, ClipInput, PhotoInput

MOVE, EDIT = "move", "edit"
PHOTO, CLIP = "photo", "clip"
NOT_HERE = (
    "These weights hold no reenactment (<code>dual_generator</code>), so a driving photo cannot be used."
)
NO_CLIPS = "Clips need PyAV, which is not installed here."


class Reenact(NamedTuple):
    """The editor's components. use: MOVE, the photo moves like the clip, or EDIT, the clip's own face is edited;
    motion, multiplier: what is taken of the driving face, and how far; progress: where the progress of a clip shows."""

    photo: PhotoInput
    clip: ClipInput
    use: gr.Radio
    relative: gr.Radio
    motion: gr.Radio
    multiplier: gr.Slider
    make: gr.Button
    progress: gr.HTML


def show(reenacts: bool) -> Reenact:
    """Build the editor where it is called; reenacts: whether the weights can move a face like another."""
    plays = importlib.util.find_spec("av") is not None
    missing = [text for text, here in ((NOT_HERE, reenacts), (NO_CLIPS, plays)) if not here]
    if missing:
        gr.HTML(f"<p class='note'>{' '.join(missing)}</p>", elem_id="reenact_note")
    with gr.Tabs(selected=PHOTO if reenacts else CLIP):
        with gr.Tab("Photo", id=PHOTO, visible=reenacts):
            photo = PhotoInput(
                label="Driving photo", show_label=False, elem_id="driving_photo", height=170, buttons=[],
                sources=["upload", "webcam", "clipboard"],
            )  # fmt: skip
            gr.HTML("<p class='note'>The photo takes this face's expression and head pose.</p>")
        with gr.Tab("Clip", id=CLIP):
            clip = ClipInput(
                label="Driving clip", show_label=False, elem_id="driving_clip", buttons=[],
                sources=["upload", "webcam"], interactive=plays, height=150, autoplay=True,
            )  # fmt: skip
            gr.HTML(f"<p class='note'>A video of up to {CLIP_SECONDS} seconds.</p>")
            how = _how(reenacts)
            make = gr.Button("Make the clip", elem_id="make_video", interactive=plays, size="sm")
            progress = gr.HTML(elem_id="clip_progress", elem_classes="progress")
    motion = gr.Radio(
        [("Both", "both"), ("Expression", "expression"), ("Head", "pose")], value="both", elem_id="motion",
        label="What is taken of that face", visible=reenacts,
    )  # fmt: skip
    multiplier = gr.Slider(
        0, MOST_TIMES, 1, step=0.05, label="How far the motion goes", elem_id="multiplier", buttons=[],
        visible=reenacts,
    )  # fmt: skip
    return Reenact(photo, clip, *how, motion, multiplier, make, progress)


def _how(reenacts: bool) -> tuple[gr.Radio, gr.Radio]:
    """What is done with a clip, and whether its movement or its poses count."""
    uses = [("Move the photo like it", MOVE), ("Edit the face in it", EDIT)]
    use = gr.Radio(
        uses if reenacts else uses[1:],
        value=MOVE if reenacts else EDIT,
        label="Use of the clip",
        elem_id="clip_use",
    )
    relative = gr.Radio(
        [("Relative: only how it moves", True), ("Absolute: as it is filmed", False)], value=True, elem_id="relative",
        label="Movement", visible=reenacts,
    )  # fmt: skip
    return use, relative
