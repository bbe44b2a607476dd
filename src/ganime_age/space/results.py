"""Where results appear, beside the controls: before and after, series of faces, clips, the report, the downloads."""

from __future__ import annotations

from typing import NamedTuple

import gradio as gr

from . import player, viewer
from .report import EMPTY

PHOTO, AGES, METHODS, CLIP = "photo", "ages", "methods", "clip"
"""What the stage shows, as the ids of its tabs."""


class Results(NamedTuple):
    """The components that show results."""

    pictures: gr.HTML
    report: gr.HTML
    attention: gr.Image
    comparison: gr.Gallery
    download: gr.DownloadButton
    strip: gr.Gallery
    sheet: gr.DownloadButton
    use_age: gr.Button
    player: gr.HTML


class Makers(NamedTuple):
    """The choice and the buttons that make more than one picture, and where their progress shows."""

    make_strip: gr.Button
    clip_format: gr.Radio
    make_animation: gr.Button
    make_ages: gr.Button
    progress: gr.HTML


class Stage(NamedTuple):
    """The stage itself: its tabs, the drafts that lie over the viewer, the status line, the format of the download."""

    tabs: gr.Tabs
    sketch: gr.HTML
    status: gr.HTML
    picture_format: gr.Radio


class Shown(NamedTuple):
    """What `show_stage` builds of Results."""

    pictures: gr.HTML
    comparison: gr.Gallery
    download: gr.DownloadButton
    strip: gr.Gallery
    sheet: gr.DownloadButton
    use_age: gr.Button
    player: gr.HTML


def show_stage() -> tuple[Stage, Shown]:
    """Build the stage where it is called: one tab for each kind of result, and what is said under them."""
    sketch = viewer.show_sketch()
    with gr.Tabs(selected=PHOTO, elem_id="stage_tabs") as tabs:
        with gr.Tab("Photo", id=PHOTO):
            pictures = viewer.show()
        with gr.Tab("Ages", id=AGES):
            gr.HTML(
                "<p class='note'>The same face at ten ages appears here: press Ten ages as pictures in Series.</p>"
            )
            strip = _gallery("strip", "The same face at ten ages", columns=5)
            with gr.Row(elem_id="series_actions"):
                use_age = gr.Button(
                    "Use this age", elem_id="use_age", size="sm", visible=False, min_width=120
                )
                sheet = gr.DownloadButton(
                    "Download as one picture", elem_id="sheet", size="sm", visible=False
                )
        with gr.Tab("Methods", id=METHODS):
            gr.HTML("<p class='note'>What each method makes appears here: choose Compare all in Age.</p>")
            comparison = _gallery("comparison", "The same request by every method", columns=3)
        with gr.Tab("Clip", id=CLIP):
            gr.HTML("<p class='note'>Animations and clips appear here, and play by themselves.</p>")
            clips = player.show()
    with gr.Row(elem_id="saving"):
        status = gr.HTML(elem_id="status")
        picture_format = gr.Radio(
            [("JPEG", "jpg"), ("PNG", "png"), ("WebP", "webp")], value="jpg", label="Format of the download",
            show_label=False, container=False, elem_id="download_format",
        )  # fmt: skip
        download = gr.DownloadButton("Download", elem_id="download", interactive=False, min_width=90)
    stage = Stage(tabs, sketch, status, picture_format)
    return stage, Shown(pictures, comparison, download, strip, sheet, use_age, clips)


def _gallery(name: str, label: str, columns: int) -> gr.Gallery:
    return gr.Gallery(
        label=label, elem_id=name, columns=columns, visible=False, interactive=False, object_fit="contain",
        buttons=["download", "fullscreen"], height=250, show_label=False,
    )  # fmt: skip


def show_words() -> tuple[gr.HTML, gr.Image]:
    """Build the report where it is called."""
    report = gr.HTML(EMPTY, elem_id="report")
    attention = gr.Image(
        label="Where the edit changed the face most (white)", elem_id="attention", interactive=False, height=220,
        visible=False, buttons=["fullscreen"],
        alt_text="Map of what the edit changed in the face: white where it did most",
    )  # fmt: skip
    return report, attention


def show_makers() -> Makers:
    """Build the buttons that make more than one picture where it is called."""
    gr.HTML(
        "<p class='note'>All of these take the settings of the other tabs, but for the driving photo.</p>"
    )
    make_strip = gr.Button("Ten ages as pictures", elem_id="make_strip", size="sm")
    make_ages = gr.Button("Play all ages", elem_id="make_ages", size="sm")
    make_animation = gr.Button("Animate to these settings and back", elem_id="make_animation", size="sm")
    clip_format = gr.Radio(
        [("MP4", "mp4"), ("GIF", "gif")], value="mp4", label="Format of what moves", elem_id="clip_format"
    )
    progress = gr.HTML(elem_id="series_progress", elem_classes="progress")
    return Makers(make_strip, clip_format, make_animation, make_ages, progress)
