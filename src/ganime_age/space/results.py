"""Where results appear: before and after, the report, the attention map, the age strip, animations and clips."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import gradio as gr

from .report import EMPTY


class Results(NamedTuple):
    """The components that show results."""

    pictures: gr.ImageSlider
    report: gr.HTML
    attention: gr.Image
    comparison: gr.Gallery
    download: gr.DownloadButton
    strip: gr.Gallery
    animation: gr.Video
    animation_gif: gr.Image
    video: gr.Video
    video_gif: gr.Image


class Makers(NamedTuple):
    """The choices and buttons beside the results."""

    picture_format: gr.Radio
    make_strip: gr.Button
    clip_format: gr.Radio
    make_animation: gr.Button


def show() -> tuple[Results, Makers]:
    """Build this part of the page where it is called."""
    with gr.Row(elem_id="shown"):
        with gr.Column(scale=7, min_width=300, elem_classes="sheet"):
            pictures, picture_format, download = _before_and_after()
        with gr.Column(scale=5, min_width=300, elem_classes="sheet"):
            gr.HTML("<h2>Report</h2>")
            report = gr.HTML(EMPTY, elem_id="report")
            attention = gr.Image(
                label="Attention: white is what was changed", elem_id="attention", interactive=False, height=270,
                visible=False,
                buttons=["fullscreen"], alt_text="Map of what the edit changed in the face: white where it did most",
            )  # fmt: skip
    comparison = gr.Gallery(
        label="The same request by every method", elem_id="comparison", columns=4, visible=False, interactive=False,
        buttons=["fullscreen"], object_fit="contain",
    )  # fmt: skip
    with gr.Column(elem_classes="sheet"):
        strip, make_strip = _strip()
    with gr.Column(elem_classes="sheet"):
        clips, clip_format, make_animation = _clips()
    return (
        Results(pictures, report, attention, comparison, download, strip, *clips),
        Makers(picture_format, make_strip, clip_format, make_animation),
    )


def moving(path: Path, video: gr.Video, picture: gr.Image) -> dict:
    """Show a clip where its kind can be shown: a video plays, a GIF is a picture."""
    gif = path.suffix == ".gif"
    return {
        video: gr.update(value=None if gif else str(path), visible=not gif),
        picture: gr.update(value=str(path) if gif else None, visible=gif),
    }


def _before_and_after() -> tuple[gr.ImageSlider, gr.Radio, gr.DownloadButton]:
    gr.HTML("<h2>Before and after</h2>")
    pictures = gr.ImageSlider(
        label="Before and after", elem_id="result", show_label=False, buttons=["fullscreen"], interactive=False,
        max_height=620,
    )  # fmt: skip
    with gr.Row(elem_id="saving"):
        picture_format = gr.Radio(
            [("JPEG", "jpg"), ("PNG", "png"), ("WebP", "webp")], value="jpg", label="Format of the download",
            show_label=False, container=False, elem_id="download_format",
        )  # fmt: skip
        download = gr.DownloadButton(
            "Download at full size", elem_id="download", interactive=False, size="md"
        )
    return pictures, picture_format, download


def _strip() -> tuple[gr.Gallery, gr.Button]:
    with gr.Row(elem_classes="titled"):
        gr.HTML(
            "<h2>Age strip</h2><p class='note'>Ten ages, with the expression that is set, "
            "without the driving photo; asked → read.</p>"
        )
        button = gr.Button("Make the strip", elem_id="make_strip", scale=0, min_width=160)
    strip = gr.Gallery(
        label="The same face at ten ages", elem_id="strip", columns=10, interactive=False, buttons=["fullscreen"],
        object_fit="cover", show_label=False, height="auto", visible=False,
    )  # fmt: skip
    return strip, button


def _clips() -> tuple[list, gr.Radio, gr.Button]:
    """The animation and the clip, each as a video and as a GIF."""
    with gr.Row(elem_classes="titled"):
        gr.HTML(
            "<h2>Moving pictures</h2><p class='note'>The animation leads to the age and the expression that are set, "
            "and back, without the driving photo. Clips are made in Reenact.</p>"
        )
        clip_format = gr.Radio(
            [("MP4", "mp4"), ("GIF", "gif")], value="mp4", label="Format of what moves", show_label=False,
            container=False, elem_id="clip_format",
        )  # fmt: skip
        button = gr.Button("Make the animation", elem_id="make_animation", scale=0, min_width=160)
    made: list[gr.Video | gr.Image] = []
    with gr.Row():
        for name, label in (("animation", "Animation"), ("video", "Clip")):
            looks = {"interactive": False, "visible": False, "height": 360, "buttons": ["download"]}
            with gr.Column(min_width=280):
                made.append(gr.Video(label=label, elem_id=name, loop=True, **looks))
                made.append(gr.Image(label=f"{label} (GIF)", elem_id=f"{name}_gif", alt_text=label, **looks))
    return made, clip_format, button
