"""The page of the Space: one photo, an age slider, a few action units, before and after. It knows the editor, never torch."""

from __future__ import annotations

import logging

import gradio as gr
from gradio.utils import is_in_or_equal
from PIL import Image

from ganime_age.edits import AU_NAMES
from ganime_age.errors import GanimeAgeError
from ganime_age.photo import load_photo

SHOWN_UNITS = ("AU12", "AU04", "AU01", "AU02", "AU25", "AU26")
HOUR = 3600
LAUNCH = {
    "theme": gr.themes.Soft(primary_hue="stone"),
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": ["api"],
    "show_error": True,
}
"""Keywords for `launch`: nothing of a visit is kept in the browser, uploads are bounded."""

INTRO = """# ganime_age
The same person at another age and with another expression. Photos are deleted within an hour and never looked at.
Edit only photos of people who agreed to it."""


class PhotoInput(gr.Image):
    """gr.Image that takes uploads only, read by the package's own safe loader into an RGB array (H,W,3)."""

    is_template = True

    def preprocess(self, payload):
        """None without a photo; a sentence instead of a data: address, a server path or a file that is no photo."""
        if payload is None:
            return None
        path, url = payload.path or "", payload.url or ""
        if not path or url.startswith("data:") or not is_in_or_equal(path, self.GRADIO_CACHE):
            raise gr.Error("Upload the photo as a file.", print_exception=False)
        return said_plainly(load_photo, path)


def build(editor) -> gr.Blocks:
    """The page for one FaceEditor; start it with `.launch(**LAUNCH)`."""

    def edit(photo, years, change_age, *units):
        """Edit the largest face of a photo.

        photo: a face photo. years: target age 0 to 100, used when change_age is on. units: intensities 0 to 5 of the
        action units on the page; a negative value leaves one as it is.
        """
        if photo is None:
            raise gr.Error("Upload a photo first.", print_exception=False)
        targets = {code: value for code, value in zip(SHOWN_UNITS, units, strict=True) if value >= 0}
        result = said_plainly(editor.edit, photo, age=years if change_age else None, action_units=targets)
        return (Image.fromarray(photo), result.image), report(result)

    with gr.Blocks(title="ganime_age", delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=2):
                photo = PhotoInput(
                    label="Photo", sources=["upload", "clipboard"], type="numpy", elem_id="photo", height=320
                )
                change_age = gr.Checkbox(True, label="Change the age", elem_id="change_age")
                years = gr.Slider(0, 100, 70, step=1, label="Target age", elem_id="age")
                with gr.Accordion("Expression (-1 leaves it as it is)", open=False):
                    units = [
                        gr.Slider(-1, 5, -1, step=0.5, label=f"{code} {AU_NAMES[code]}", elem_id=code)
                        for code in SHOWN_UNITS
                    ]
                button = gr.Button("Edit", variant="primary")
            with gr.Column(scale=3):
                slider = gr.ImageSlider(
                    label="Before and after", elem_id="result", type="pil", format="webp", max_height=640
                )
                reading = gr.Markdown(elem_id="reading")
        gr.on(
            [button.click, years.release, *(unit.release for unit in units)],
            edit,
            [photo, years, change_age, *units],
            [slider, reading],
            api_name="edit",
            concurrency_limit=1,
            trigger_mode="always_last",
        )
    return page.queue(max_size=16)


def report(result) -> str:
    """What was measured before and after, as a small Markdown table."""
    before, after = result.source_reading, result.reading
    asked = "" if result.edit.age is None else f"{result.edit.age:g}"
    rows = [
        (
            "age",
            asked,
            f"{before.age:.0f} ± {before.age_spread:.0f}",
            f"{after.age:.0f} ± {after.age_spread:.0f}",
        )
    ]
    for code, value in result.asked_units().items():
        rows.append(
            (
                f"{code} {AU_NAMES[code]}",
                f"{value:g}",
                f"{before.action_units[code]:.1f}",
                f"{after.action_units[code]:.1f}",
            )
        )
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    said = "\n".join(f"\n*{warning[:1].upper()}{warning[1:]}.*" for warning in result.warnings)
    return (
        f"|  | asked | before | after |\n|---|---|---|---|\n{table}\n\n"
        f"Identity {result.identity:.2f} (1 is the same person), {result.seconds:.1f} s.\n{said}"
    )


def said_plainly(call, *args, **kwargs):
    """Call; whatever goes wrong reaches the visitor as one sentence, a bug's details stay in the server's log."""
    try:
        return call(*args, **kwargs)
    except GanimeAgeError as error:
        message = str(error)
    except Exception:
        logging.getLogger(__name__).exception("an edit failed")
        message = "something went wrong on our side; try another photo"
    raise gr.Error(f"{message[:1].upper()}{message[1:]}.", print_exception=False)
