"""The reenactment editor: a driving photo (or a picture of the webcam) or a driving clip."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

import gradio as gr

from ..pipelines.reenactment import MOST_TIMES
from . import driving
from .loader import ClipInput, PhotoInput

MOVE, EDIT = "move", "edit"
PHOTO, CLIP = "photo", "clip"
NOT_HERE = (
    "These weights hold no reenactment (<code>dual_generator</code>), so a driving photo cannot be used."
)
NO_CLIPS = "Clips need PyAV, which is not installed here."


class Reenact(NamedTuple):
    """The editor's components. ours: clips at one click; start, end: the part of a clip that is used, in seconds;
    first: its first picture, which try_first edits alone; use: MOVE, the photo moves like the clip, or EDIT, the clip's
    own face is edited; motion, multiplier: what is taken of the driving face, and how far; progress: where the progress
    of a clip shows; photo_tab, clip_tab: where these lie."""

    photo: PhotoInput
    clip: ClipInput
    ours: gr.HTML
    start: gr.Number
    end: gr.Number
    first: gr.Image
    try_first: gr.Button
    use: gr.Radio
    relative: gr.Radio
    motion: gr.Radio
    multiplier: gr.Slider
    make: gr.Button
    progress: gr.HTML
    photo_tab: gr.Tab
    clip_tab: gr.Tab


def show(reenacts: bool) -> Reenact:
    """Build the editor where it is called; reenacts: whether the weights can move a face like another."""
    plays = importlib.util.find_spec("av") is not None
    missing = [text for text, here in ((NOT_HERE, reenacts), (NO_CLIPS, plays)) if not here]
    if missing:
        gr.HTML(f"<p class='note'>{' '.join(missing)}</p>", elem_id="reenact_note")
    with gr.Tabs(selected=PHOTO if reenacts else CLIP):
        with gr.Tab("Photo", id=PHOTO, visible=reenacts) as photo_tab:
            photo = PhotoInput(
                label="Driving photo", show_label=False, elem_id="driving_photo", height=170, buttons=[],
                placeholder="Drop a photo of the face to follow, or click to choose one",
                sources=["upload", "webcam", "clipboard"],
            )  # fmt: skip
            gr.HTML("<p class='note'>The photo takes this face's expression and head pose.</p>")
        with gr.Tab("Clip", id=CLIP) as clip_tab:
            ours = driving.show(reenacts and plays)
            clip = ClipInput(
                label="Driving clip", show_label=False, elem_id="driving_clip", buttons=[],
                sources=["upload", "webcam"], interactive=plays, height=170, autoplay=True,
            )  # fmt: skip
            part = _part(plays)
            how = _how(reenacts)
            make = gr.Button(
                "Make the clip", elem_id="make_video", interactive=plays, size="sm", variant="primary"
            )
            progress = gr.HTML(elem_id="clip_progress", elem_classes="progress")
    motion = gr.Radio(
        [("Both", "both"), ("Expression", "expression"), ("Head", "pose")], value="both", elem_id="motion",
        label="What is taken of that face", visible=reenacts,
    )  # fmt: skip
    multiplier = gr.Slider(
        0, MOST_TIMES, 1, step=0.05, label="How far the motion goes", elem_id="multiplier", buttons=[],
        visible=reenacts,
    )  # fmt: skip
    return Reenact(photo, clip, ours, *part, *how, motion, multiplier, make, progress, photo_tab, clip_tab)


def _part(plays: bool) -> tuple[gr.Number, gr.Number, gr.Image, gr.Button]:
    """Which part of the clip is used, and how it begins."""
    with gr.Row(elem_id="part", elem_classes="tight"):
        first = gr.Image(
            label="First picture", show_label=False, elem_id="clip_first", interactive=False, height=72, width=96,
            visible=False, buttons=[], min_width=60, alt_text="The first picture of the part that is used",
            container=False,
        )  # fmt: skip
        start = gr.Number(
            0, label="From (s)", elem_id="clip_start", interactive=plays, step=0.1, min_width=60
        )
        end = gr.Number(
            None, label="To (s)", elem_id="clip_end", interactive=plays, step=0.1, min_width=60,
            placeholder="its end",
        )  # fmt: skip
        try_first = gr.Button("Try it", elem_id="try_first", size="sm", min_width=60, visible=False)
    return start, end, first, try_first


def _how(reenacts: bool) -> tuple[gr.Radio, gr.Radio]:
    """What is done with a clip, and whether its movement or its poses count."""
    uses = [("Move my photo like it", MOVE), ("Edit its face", EDIT)]
    use = gr.Radio(
        uses if reenacts else uses[1:],
        value=MOVE if reenacts else EDIT,
        label="Use of the clip",
        elem_id="clip_use",
    )
    relative = gr.Radio(
        [("Only how it moves", True), ("As it is filmed", False)], value=True, elem_id="relative",
        label="Movement", visible=reenacts,
    )  # fmt: skip
    return use, relative
