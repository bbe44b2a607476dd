"""The page: photo and controls on the left, what is made of them on the right, all in one screen.

It knows the editor, never torch. Names in the page, for tests and style sheets (elem_id):
top, examples; photo, consent, every, insight, history, undo, go_on; editors, change_age, age, own_age, age_groups,
age_parts, method; presets, copy_from and a slider for each action unit by its code (AU01 ... AU45); yaw, pitch, roll;
driving_photo, driving_clips, driving_clip, clip_first, clip_start, clip_end, try_first, clip_use, relative, motion,
multiplier, make_video, clip_progress, reenact_note;
make_strip, make_ages, make_animation, clip_format, series_progress; strength, edit, cancel, reset; stage_tabs,
result, strip, use_age, sheet, comparison, player, status; download,
download_format, report, attention; notice.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gradio as gr

from ..editor import FaceEditor
from ..runtime import best_device, bound_memory
from . import age, api, examples, expression, files, head, insightface, reenact, results, theme
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
AFTER_EXAMPLE = 1
"""Which of the events of `photo_events` ends the looking at an example's photo."""

QUIET = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""Events that only move a control: they run at once."""

HEAD = """<header><h1>ganime_age</h1>
<p>One face: at another age, with another expression, or moving like someone else.</p></header>"""
NOTICE = f"""<p class="note">Edit only faces of people who agreed to it, of children only with their parents'
consent, and say that a picture is edited. Every edit is marked as one, in its metadata and by a faint noise.</p>
<details class="note"><summary>Privacy and limits</summary>Results are deleted when you close the page, uploads within
70 minutes; nobody looks at them. {LIMITS} Jobs wait in one line of up to {WAITING}.</details>"""
CONSENT = "Everyone in my pictures is me or agreed to this; for a child, a parent did."
SCRIPT = Path(__file__).with_name("page.js")
"""Runs once when the page is there: sliders that keys move, tooltips, groups of buttons with one tab stop."""


Editors: TypeAlias = tuple[age.Age, expression.Expression, head.Head, reenact.Reenact]
Bar: TypeAlias = tuple[gr.Button, gr.Button, gr.Button]


class Buttons(NamedTuple):
    """The buttons that start an edit, stop it and set things back, and the row of examples."""

    edit: gr.Button
    cancel: gr.Button
    reset: gr.Button
    undo: gr.Button
    go_on: gr.Button
    examples: gr.HTML


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
    bound_memory()
    work = Jobs(editor)
    with api.Page(title="ganime_age", delete_cache=(600, files.HOUR), fill_width=True) as page:
        api.add(work, **LINE)  # first, so that the endpoints have their own names
        parts, buttons = lay_out(work)
        does = Handlers(work, parts)
        wire(does, buttons)
        set_by_link = [
            parts.age.change,
            parts.age.years,
            parts.strength,
            *parts.expression.units,
            *parts.head,
            parts.age.parts,
            parts.status,
        ]
        page.load(answering(does.linked, parts.status), None, set_by_link, **QUIET)
        page.unload(files.leave)
        page.load(js=SCRIPT.read_text("utf-8").replace("TOOLTIPS", json.dumps(expression.tooltips())))
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def lay_out(work: Jobs) -> tuple[Parts, Buttons]:
    """Every component, from the top of the page to its end."""
    found, seen = gr.JSON(visible="hidden"), gr.JSON(Seen()._asdict(), visible="hidden")
    todo, past = gr.JSON({}, visible="hidden"), gr.State([])
    with gr.Row(elem_id="top"):
        gr.HTML(HEAD)
        row = examples.show(work.reenacts, importlib.util.find_spec("av") is not None)
    with gr.Row(elem_id="workspace"):
        with gr.Column(elem_id="source", elem_classes="sheet", min_width=0):
            photo, consent, every, insight, history, undo, go_on = show_photo()
        with gr.Column(elem_id="controls", elem_classes="sheet", min_width=0):
            editors, makers, strength, bar = show_controls(work)
        with gr.Column(elem_id="stage", elem_classes="sheet", min_width=0):
            stage, shown = results.show_stage()
        with gr.Column(elem_id="words", elem_classes="sheet", min_width=0):
            report, attention = results.show_words()
    of_results = results.Results(
        shown.pictures, report, attention, shown.comparison, shown.download, shown.strip, shown.sheet, shown.use_age,
        shown.player,
    )  # fmt: skip
    parts = Parts(
        photo, consent, every, insight, history, past, todo, found, seen, *editors, strength, of_results, makers, stage,
    )  # fmt: skip
    gr.HTML(NOTICE, elem_id="notice")
    return parts, Buttons(*bar, undo, go_on, row)


def show_photo() -> tuple[
    PhotoInput, gr.Checkbox, gr.Checkbox, gr.Checkbox, gr.Gallery, gr.Button, gr.Button
]:
    """The photo, the consent, who finds its faces, and the last results to go back to."""
    photo = PhotoInput(
        label="Photo", show_label=False, elem_id="photo", height=190, buttons=[], alt_text="Your photo",
        placeholder="Drop a photo here, or click to choose one",
        sources=["upload", "webcam", "clipboard"],
    )  # fmt: skip
    consent = gr.Checkbox(False, label=CONSENT, elem_id="consent")
    every = gr.Checkbox(False, label="Edit every face of the photo", elem_id="every")
    insight = insightface.show()
    with gr.Row(elem_classes="tight"):
        undo = gr.Button("Undo", elem_id="undo", size="sm", min_width=50)
        go_on = gr.Button("Edit this result", elem_id="go_on", size="sm", min_width=110)
    history = gr.Gallery(
        label="Last results", elem_id="history", columns=4, height=150, allow_preview=False, visible=False,
        interactive=False, buttons=[], object_fit="cover",
    )  # fmt: skip
    return photo, consent, every, insight, history, undo, go_on


def show_controls(work: Jobs) -> tuple[Editors, results.Makers, gr.Slider, Bar]:
    """The editors as tabs, what all of them share under them, and the buttons."""
    with gr.Tabs(elem_id="editors"):
        with gr.Tab("Age", id="age"):
            of_age = age.show(work.methods, compares=len(work.methods) > 1)
        with gr.Tab("Expression", id="expression"):
            of_expression = expression.show(work.editable)
        with gr.Tab("Head", id="head"):
            of_head = head.show()
        with gr.Tab("Reenact", id="reenact"):
            of_reenact = reenact.show(work.reenacts)
        with gr.Tab("Series", id="series"):
            makers = results.show_makers()
    strength = gr.Slider(0, 1.5, 1, step=0.05, label="Strength of the edit", elem_id="strength", buttons=[])
    names = (("Edit", "edit", "primary"), ("Cancel", "cancel", "secondary"), ("Reset", "reset", "secondary"))
    with gr.Row(elem_id="bar"):
        edit, cancel, reset = (
            gr.Button(name, variant=look, elem_id=id, min_width=80) for name, id, look in names
        )
    return (of_age, of_expression, of_head, of_reenact), makers, strength, (edit, cancel, reset)


def wire(does: Handlers, buttons: Buttons) -> None:
    """Which handler answers which event. Sliders act when they are let go, and the last of several requests wins."""
    on = does.on
    editing = edit_event(does)
    sliders = [
        slider.release for slider in (*on.expression.units, *on.head, on.strength, on.reenact.multiplier)
    ]
    chosen = [
        on.age.change.input,
        on.age.method.input,
        on.age.own.submit,
        on.reenact.photo.input,
        on.every.input,
    ]
    gr.on([buttons.edit.click, *sliders, *chosen], **editing)
    driven = editing | {"fn": answering(does.edit_driven, on.status)}
    on.age.parts.input(**editing | {"fn": answering(does.edit_aged, on.status)})
    gr.on([on.reenact.motion.input, on.reenact.multiplier.release], **driven)
    for event in (*on.age.moved, *expression_events(does)):
        event.then(**editing)
    draft_events(does)
    arrived = photo_events(does, buttons)
    for event in arrived:
        event.then(**editing | {"fn": answering(does.edit_new, on.status)})
    result_events(does, buttons, editing)
    reset_event(does, buttons.reset)
    moving = clip_events(does, arrived[AFTER_EXAMPLE])
    stop = answering(does.stop, on.status)
    buttons.cancel.click(stop, None, [on.status], cancels=moving, **QUIET)


def edit_event(does: Handlers) -> dict[str, Any]:
    """The one edit that every control leads to, as an event's keywords."""
    on, out = does.on, does.on.results
    shown = [out.pictures, out.report, out.attention, out.comparison, out.download, on.stage.tabs]
    return {
        "fn": answering(does.edit, on.status),
        "inputs": on.request() | {on.stage.picture_format, on.past},
        "outputs": [*shown, on.past, on.history, on.status],
        "show_progress_on": [on.status],
        "trigger_mode": "always_last",
        **JOB,
    }


def draft_events(does: Handlers) -> None:
    """While a slider moves, a draft lies over the face."""
    on = does.on
    how = {"trigger_mode": "always_last", **QUIET}
    drawn = [on.stage.sketch, on.status]
    on.age.years.input(answering(does.draft_of_age, on.status), on.settings(), drawn, **how)
    others = [slider.input for slider in (*on.expression.units, *on.head, on.strength)]
    gr.on(others, answering(does.draft, on.status), on.settings(), drawn, **how)


def photo_events(does: Handlers, buttons: Buttons) -> list:
    """A photo is given, or consent, or an example clicked; another of its faces is picked. What is set follows."""
    on = does.on
    sliders = [on.age.years, *on.expression.units]
    heard = functools.partial(answering, status=on.status)
    on.photo.input(
        None, on.photo, None, js="file => window.ganimeAge?.give?.(file)", api_visibility="private"
    )
    run = buttons.examples.run(
        heard(does.example), {on.seen}, [on.photo, on.seen, on.todo, *reset_outputs(on)], **QUIET
    )
    gone_on = buttons.go_on.click(
        heard(does.go_on), {on.seen, on.past}, [on.photo, *reset_outputs(on)], **QUIET
    )
    shown = [on.found, on.results.pictures, *[part for part in on.results if part is not on.results.pictures]]
    settled = []
    for trigger in ([on.photo.input, on.photo.clear, on.consent.input, on.insight.input], run, gone_on):
        look = {
            "fn": heard(does.look), "inputs": {on.photo, on.consent, on.insight}, "show_progress_on": [on.status],
            "outputs": [*shown, on.stage.tabs, on.status], "trigger_mode": "always_last", **JOB,
        }  # fmt: skip
        looked = gr.on(trigger, **look) if isinstance(trigger, list) else trigger.then(**look)
        settled.append(
            looked.then(
                heard(does.settle), {on.found, on.seen, on.age.change, *on.expression.units},
                [on.seen, *sliders, on.status], trigger_mode="always_last", **QUIET,
            )
        )  # fmt: skip
    picked = on.results.pictures.pick(
        heard(does.pick), {on.seen, on.age.change, *on.expression.units},
        [on.seen, on.results.pictures, *sliders, on.status], **QUIET,
    )  # fmt: skip
    return [*settled, picked]


def result_events(does: Handlers, buttons: Buttons, editing: dict[str, Any]) -> None:
    """Former results are shown again, the download gets another format, an age of the strip is used."""
    on, out = does.on, does.on.results
    heard = functools.partial(answering, status=on.status)
    controls = does.controls()
    back = [out.pictures, out.report, out.download, on.stage.tabs, *controls, on.past, on.history, on.status]
    shown = {on.past, on.stage.picture_format}
    on.history.select(heard(does.restore), shown, back, **QUIET)
    buttons.undo.click(heard(does.undo), shown, back, **QUIET)
    on.stage.picture_format.input(
        heard(does.reformat), {on.stage.picture_format}, [out.download, on.status], **QUIET
    )
    out.strip.select(heard(does.enlarged), None, [out.use_age, on.status], **QUIET)
    used = out.use_age.click(
        heard(does.use_age), {out.use_age}, [on.age.years, on.age.change, on.status], **QUIET
    )
    used.then(**editing)


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


def reset_outputs(on: Parts) -> list:
    """What a reset changes."""
    driving = [on.reenact.photo, on.reenact.clip, on.reenact.relative, on.reenact.use, on.reenact.motion]
    driving += [on.reenact.start, on.reenact.end, on.reenact.first]
    controls = [on.age.change, on.age.years, on.age.own, on.age.parts, on.age.method, on.strength, *driving]
    controls += [on.reenact.multiplier, *on.head]
    return [*controls, on.expression.copy_from, *on.expression.units, on.stage.sketch, on.status]


def reset_event(does: Handlers, button: gr.Button) -> None:
    """All controls go back to what the photo shows, and nothing is asked."""
    on = does.on
    button.click(answering(does.reset, on.status), {on.seen}, reset_outputs(on), **QUIET)


def clip_events(does: Handlers, example: Any) -> list:
    """The strip, the animations and the clip are made, the clip also after an example that has one, and when one of our
    own is clicked; gives back the events that Cancel ends."""
    on, out, makers = does.on, does.on.results, does.on.makers
    heard = functools.partial(answering, status=on.status)
    job = {"show_progress_on": [makers.progress], **JOB}
    strip = [out.strip, out.sheet, out.use_age, on.stage.tabs, on.status]
    made = makers.make_strip.click(heard(does.strip), on.request(), strip, **job)
    animation = [out.player, makers.progress, on.stage.tabs, on.status]
    animated = [
        button.click(heard(handler), on.request() | {makers.clip_format}, animation, **job)
        for button, handler in ((makers.make_animation, does.animation), (makers.make_ages, does.ages))
    ]
    moves = on.reenact
    clip = {moves.clip, moves.start, moves.end, moves.use, moves.relative, makers.clip_format}
    film = [out.player, out.report, on.stage.tabs, moves.progress, on.status]
    job["show_progress_on"] = [moves.progress]
    filmed = moves.make.click(heard(does.video), on.request() | clip, film, **job)
    new = heard(does.video_new), on.request() | clip | {on.todo}, [*film, on.todo]
    example.then(*new, **job | {"show_progress_on": [on.status]})
    part = {moves.clip, moves.start, moves.end, moves.use}
    begins = [moves.first, moves.try_first, on.status]
    moves.clip.change(heard(does.clip_given), part, [moves.start, moves.end, *begins], **QUIET)
    for number in (moves.start, moves.end):
        gr.on([number.submit, number.blur], heard(does.clip_part), part, begins, **QUIET)
    followed = [moves.motion, moves.multiplier, on.status]
    gr.on(
        [moves.use.change, moves.clip_tab.select],
        heard(does.clip_use), part, [moves.try_first, moves.relative, *followed], **QUIET,
    )  # fmt: skip
    moves.photo_tab.select(heard(does.photo_use), {moves.use}, followed, **QUIET)
    chosen = moves.ours.run(
        heard(does.our_clip), {on.photo, on.consent},
        [moves.clip, moves.use, moves.start, moves.end, moves.photo, on.todo, on.status], **QUIET,
    ).then(*new, **job)  # fmt: skip
    tried = moves.try_first.click(
        heard(does.first_edited),
        on.request() | clip,
        [out.pictures, out.report, on.stage.tabs, on.status],
        **job,
    )
    return [made, *animated, filmed, chosen, tried]
