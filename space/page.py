"""The Space's page: photo, age, some action units, before and after. It knows the editor, never torch."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import gradio as gr
from gradio.utils import is_in_or_equal
from PIL import Image

from ganime_age.edits import AU_NAMES
from ganime_age.errors import GanimeAgeError
from ganime_age.photo import load_photo
from ganime_age.provenance import write_edited

SHOWN_UNITS = ("AU12", "AU04", "AU01", "AU02", "AU25", "AU26")
HOUR = 3600
LAUNCH = {
    "theme": gr.themes.Soft(primary_hue="orange", neutral_hue="stone"),
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": ["api"],
    "show_error": True,
}
"""Keywords for `launch`: nothing of a visit is kept in the browser, uploads are bounded."""

INTRO = """# ganime_age
The same person at another age and with another expression. Edit only photos of people who agreed to it;
every edit is marked as one, in its metadata and by a faint noise around the face.
Photos are deleted within an hour or two and never looked at."""


class PhotoInput(gr.Image):
    """gr.Image that takes uploads only, read by the package's own safe loader into an RGB array (H,W,3)."""

    is_template = True

    def preprocess(self, payload):
        """None without a photo; one sentence for a data: address, a server path or what is no photo."""
        if payload is None:
            return None
        path, url = payload.path or "", payload.url or ""
        if not path or url.startswith("data:") or not is_in_or_equal(path, self.GRADIO_CACHE):
            raise gr.Error("Upload the photo as a file.", print_exception=False)
        return said_plainly(load_photo, path)


class ComparedImages(gr.ImageSlider):
    """gr.ImageSlider that keeps the edit's metadata: it takes (photo (H,W,3), EditResult) and stores both as WebP."""

    is_template = True

    def postprocess(self, value):
        """The photo without any metadata, the result as `EditResult.save` writes it."""
        if value is None:
            return None
        photo, result = value
        Path(self.GRADIO_CACHE).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.GRADIO_CACHE))
        write_edited(Image.fromarray(photo), folder / "before.webp", None)
        result.save(folder / "after.webp")
        for name in ("before.webp", "after.webp"):
            self.temp_files.add(str(folder / name))
        return super().postprocess((folder / "before.webp", folder / "after.webp"))


def build(editor) -> gr.Blocks:
    """The page for one FaceEditor; start it with `.launch(**LAUNCH)`."""

    def edit(photo, years, change_age, *units):
        """Edit the largest face of a photo.

        photo: a face photo. years: target age 0 to 100, used when change_age is on. units: changes -5 to 5 of the
        page's action units.
        """
        if photo is None:
            raise gr.Error("Upload a photo first.", print_exception=False)
        targets = {code: change for code, change in zip(SHOWN_UNITS, units, strict=True) if change}
        result = said_plainly(editor.edit, photo, years if change_age else None, targets, relative=True)
        return (photo, result), report(result)

    with gr.Blocks(title="ganime_age", delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=2):
                asked = ask_photo_and_age()
                button = gr.Button("Edit", variant="primary")
                asked += ask_expression()
            with gr.Column(scale=3):
                shown = [
                    ComparedImages(label="Before and after", elem_id="result"),
                    gr.Markdown(elem_id="reading"),
                ]
        gr.on(
            [button.click, *(slider.release for slider in asked if isinstance(slider, gr.Slider))],
            edit,
            asked,
            shown,
            api_name="edit",
            concurrency_limit=1,
            trigger_mode="always_last",
        )
    return page.queue(max_size=16)


def ask_photo_and_age() -> list[gr.components.Component]:
    """The photo, the target age, and whether the age changes."""
    photo = PhotoInput(label="Photo", sources=["upload", "clipboard"], elem_id="photo", height=320)
    years = gr.Slider(0, 100, 70, step=1, label="Target age", elem_id="age")
    return [photo, years, gr.Checkbox(True, label="Change the age", elem_id="change_age")]


def ask_expression() -> list[gr.Slider]:
    """A slider for each action unit shown: how much to add to what is there; 0 leaves it."""
    with gr.Accordion("Expression: more or less of what is there", open=False):
        return [
            gr.Slider(-5, 5, 0, step=0.5, label=f"{AU_NAMES[code]} · {code}", elem_id=code)
            for code in SHOWN_UNITS
        ]


def report(result) -> str:
    """What was measured before and after, as a small Markdown table."""
    before, after = result.source_reading, result.reading
    age = "" if result.edit.age is None else f"{result.edit.age:g}"
    rows = [
        (
            "age",
            age,
            f"{before.age:.0f} ± {before.age_spread:.0f}",
            f"{after.age:.0f} ± {after.age_spread:.0f}",
        )
    ]
    for code, asked in result.asked_units().items():
        read = (f"{reading.action_units[code]:.1f}" for reading in (before, after))
        rows.append((f"{code} {AU_NAMES[code]}", f"{asked:g}", *read))
    table = [f"| {' | '.join(row)} |" for row in [("", "asked", "before", "after"), ("---",) * 4, *rows]]
    said = [f"*{warning[:1].upper()}{warning[1:]}.*" for warning in result.warnings]
    measured = f"Identity {result.identity:.2f} (1 is the same person), {result.seconds:.1f} s."
    return "\n\n".join(["\n".join(table), measured, *said])


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
