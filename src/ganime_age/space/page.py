"""The Space's page: one photo, three editors beside each other that share it, and the results under them.

It knows the editor, never torch. Names in the page, for tests and style sheets (elem_id):
photo, faces, consent; change_age, age, age_groups, method; presets, copy_from and a slider for each action unit by
its code (AU01 ... AU45); driving_photo, driving_clip, clip_use, relative, make_video, reenact_note; edit, cancel,
reset, status; result, report, attention, comparison, download, download_format, clip_format; strip, make_strip;
animation, animation_gif, make_animation; video, video_gif; examples, notice.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NamedTuple

import gradio as gr

from ..editor import FaceEditor
from ..runtime import best_device
from . import age, api, expression, files, reenact, results, theme
from .examples import examples
from .handlers import Handlers, Parts, Seen, answering
from .jobs import WAITING, Jobs
from .loader import LIMITS, UPLOAD, PhotoInput

LAUNCH: dict[str, Any] = {
    "theme": theme.theme(),
    "css_paths": [theme.CSS],
    "run_history": False,
    "max_file_size": UPLOAD,
    "footer_links": ["api"],
    "show_error": False,
    "mcp_server": importlib.util.find_spec("mcp") is not None,
}
"""Keywords for `launch`: nothing of a visit is kept in the browser, uploads are bounded, MCP where it is installed."""

LINE = {"concurrency_id": "faces", "concurrency_limit": 1}
"""All jobs share one line, as they share one processor or GPU."""

JOB = {"api_visibility": "private", "show_progress": "full", **LINE}
QUIET = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""Events that only move a control: they run at once."""

HEAD = """<header><h1>ganime_age</h1>
<p>One face: at another age, with another expression, or moving like someone else.</p></header>"""
NOTICE = f"""<p class="note">Edit only faces of people who agreed to it, of children only with their parents'
consent, and say that a picture is edited. Every edit is marked as one, in its metadata and by a faint noise.
Results are deleted when you close the page, uploads within 70 minutes; nobody looks at them. {LIMITS}
Jobs wait in one line of up to {WAITING}.</p>"""
CONSENT = "Everyone in my pictures is me or agreed to this; for a child, a parent did."
LIVE = """() => {
  const status = document.getElementById('status');
  if (status) { status.setAttribute('role', 'status'); status.setAttribute('aria-live', 'polite'); }
  const ofSlider = target => target.matches?.('.slider_input_container input, [data-testid="number-input"]');
  for (const kind of ['blur', 'pointerup'])
    document.addEventListener(kind, event => {
      if (event.isTrusted && ofSlider(event.target)) event.stopPropagation();
    }, true);
  document.addEventListener('change', ({target}) => {
    if (!ofSlider(target)) return;
    const kind = target.type === 'number' ? 'blur' : 'pointerup';  // the former also keeps the number in its range
    target.dispatchEvent(new Event(kind, {bubbles: kind === 'pointerup'}));
  });
}"""
"""Screen readers announce each change of the status line. Sliders act on the browser's `change` event (mouse, touch,
key or typed number). Gradio's own events also fire when a number field merely gains or loses focus, and never for
keys."""


class Buttons(NamedTuple):
    """The buttons that start an edit, stop it and reset the controls."""

    edit: gr.Button
    cancel: gr.Button
    reset: gr.Button


def on_best_device(model: Any) -> FaceEditor:
    """An editor on CUDA or MPS where there is one, else on the processor; float32, as half is not measured."""
    return FaceEditor(model, device=best_device())


def serve(editor: Any, port: int | None = None, share: bool = False) -> None:
    """Serve the page on this machine until it is interrupted. share: with a public address for 72 hours, too."""
    build(editor).launch(**LAUNCH, server_port=port, share=share)


def build(editor: Any) -> gr.Blocks:
    """The page for one FaceEditor; start it with `.launch(**LAUNCH)`.

    When the queue is full Gradio shows its own message; no handler runs.
    """
    work = Jobs(editor)
    with gr.Blocks(title="ganime_age", delete_cache=(600, files.HOUR), fill_width=True) as page:
        api.add(work, **LINE)  # first, so that the endpoints have their own names
        parts, buttons = lay_out(work)
        wire(Handlers(work, parts), buttons)
        page.unload(files.leave)
        page.load(js=LIVE)
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def lay_out(work: Jobs) -> tuple[Parts, Buttons]:
    """Every component, from the top of the page to its end."""
    found, seen = gr.JSON(visible="hidden"), gr.JSON(Seen()._asdict(), visible="hidden")
    gr.HTML(HEAD)
    with gr.Row(elem_id="workspace"):
        with gr.Column(elem_classes="sheet"):
            photo, faces, consent = show_photo()
        with gr.Column(elem_classes="sheet"):
            of_age = age.show(work.methods, compares=len(work.methods) > 1)
        with gr.Column(elem_classes="sheet"):
            of_expression = expression.show(work.editable)
        with gr.Column(elem_classes="sheet"):
            of_reenact = reenact.show(work.reenacts)
    with gr.Row(elem_id="bar"):
        names = (
            ("Edit", "edit", "primary"),
            ("Cancel", "cancel", "secondary"),
            ("Reset", "reset", "secondary"),
        )
        buttons = [
            gr.Button(name, variant=look, elem_id=id, min_width=100, scale=0) for name, id, look in names
        ]
        status = gr.HTML(elem_id="status")
    shown, makers = results.show()
    parts = Parts(
        photo, faces, consent, found, seen, of_age, of_expression, of_reenact, shown, makers, status
    )
    examples(parts, work.reenacts)
    gr.HTML(NOTICE, elem_id="notice")
    return parts, Buttons(*buttons)


def show_photo() -> tuple[PhotoInput, gr.Gallery, gr.Checkbox]:
    """The photo, the faces in it to pick from, and the consent."""
    gr.HTML("<h2>Photo</h2>")
    photo = PhotoInput(
        label="Photo", show_label=False, elem_id="photo", height=320, buttons=[], alt_text="Your photo",
        sources=["upload", "webcam", "clipboard"],
    )  # fmt: skip
    faces = gr.Gallery(
        label="Faces: pick one", elem_id="faces", columns=4, height="auto", allow_preview=False, visible=False,
        interactive=False, buttons=[], object_fit="cover",
    )  # fmt: skip
    return photo, faces, gr.Checkbox(False, label=CONSENT, elem_id="consent")


def wire(does: Handlers, buttons: Buttons) -> None:
    """Which handler answers which event. Sliders act when they are let go, and the last of several requests wins."""
    on = does.on
    editing = edit_event(does)
    sliders = [slider.release for slider in on.expression.units]
    chosen = [
        on.age.change.input,
        on.age.method.input,
        on.reenact.photo.input,
        on.makers.picture_format.input,
    ]
    gr.on([buttons.edit.click, *sliders, *chosen], **editing)
    for event in (*on.age.moved, *expression_events(does)):
        event.then(**editing)
    photo_events(does)[-1].then(**editing)
    reset_event(does, buttons.reset)
    moving = clip_events(does)
    stop = answering(does.stop, on.status)
    buttons.cancel.click(stop, None, [on.status], cancels=moving, **QUIET)


def edit_event(does: Handlers) -> dict[str, Any]:
    """The one edit that every control leads to, as an event's keywords."""
    on, out = does.on, does.on.results
    return {
        "fn": answering(does.edit, on.status),
        "inputs": on.request() | {on.makers.picture_format},
        "outputs": [out.pictures, out.report, out.attention, out.comparison, out.download, on.status],
        "show_progress_on": [out.pictures],
        "trigger_mode": "always_last",
        **JOB,
    }


def photo_events(does: Handlers) -> list:
    """A photo is given, or consent; another of its faces is picked."""
    on = does.on
    sliders = [on.age.years, *on.expression.units]
    looked = gr.on(
        [on.photo.change, on.consent.input], answering(does.look, on.status), {on.photo, on.consent},
        [on.found, on.faces, *on.results, on.status], show_progress_on=[on.status], **JOB,
    )  # fmt: skip
    settled = looked.then(
        answering(does.settle, on.status), {on.found, on.seen, on.age.change, *on.expression.units},
        [on.seen, *sliders, on.status], **QUIET,
    )  # fmt: skip
    picked = on.faces.select(
        answering(does.pick, on.status), {on.seen, on.age.change, *on.expression.units},
        [on.seen, *sliders, on.status], **QUIET,
    )  # fmt: skip
    return [settled, picked]


def expression_events(does: Handlers) -> list:
    """A preset is chosen, or another photo's expression copied."""
    on = does.on
    changed = [*on.expression.units, on.status]
    chosen = [
        button.click(answering(functools.partial(does.preset, name), on.status), {on.seen}, changed, **QUIET)
        for name, button in on.expression.presets.items()
    ]
    copied = on.expression.copy_from.input(
        answering(does.copy, on.status), {on.seen, on.consent, on.expression.copy_from}, changed,
        show_progress_on=[on.status], **JOB,
    )  # fmt: skip
    return [*chosen, copied]


def reset_event(does: Handlers, button: gr.Button) -> None:
    """All controls go back to what the photo shows, and nothing is asked."""
    on = does.on
    driving = [on.reenact.photo, on.reenact.clip, on.reenact.relative]
    controls = [
        on.age.change,
        on.age.years,
        on.age.method,
        *driving,
        on.expression.copy_from,
        *on.expression.units,
    ]
    button.click(answering(does.reset, on.status), {on.seen}, [*controls, *on.results, on.status], **QUIET)


def clip_events(does: Handlers) -> list:
    """The strip, the animation and the clip are made; gives back the events that Cancel ends."""
    on, out, makers = does.on, does.on.results, does.on.makers
    heard = functools.partial(answering, status=on.status)
    job = {"show_progress_on": [on.status], **JOB}
    makers.make_strip.click(heard(does.strip), on.request(), [out.strip, on.status], **job)
    animated = makers.make_animation.click(
        heard(does.animation),
        on.request() | {makers.clip_format},
        [out.animation, out.animation_gif, on.status],
        **job,
    )
    clip = {on.reenact.clip, on.reenact.use, on.reenact.relative, makers.clip_format}
    filmed = on.reenact.make.click(
        heard(does.video), on.request() | clip, [out.video, out.video_gif, out.report, on.status], **job
    )
    return [animated, filmed]
