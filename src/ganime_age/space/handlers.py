"""What happens on the page when a visitor does something. Each handler takes the values by component, as `given`, and
gives back the components that change; what goes wrong is one sentence in the status line, and the rest stays."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from ..errors import BadInput, GanimeAgeError
from . import expression, files, jobs, report
from .age import Age
from .expression import Expression
from .jobs import STRIP_AGES, Asked
from .loader import PhotoInput
from .reenact import MOVE, Reenact
from .results import Makers, Results, moving


class Seen(NamedTuple):
    """What was found in a visitor's photo. ages and units (as the sliders show them) by face; face: the one picked.

    The page holds it as JSON beside the sliders, so that a request has the sliders and what they started from at the
    same moment, whatever is found meanwhile.
    """

    ages: tuple[float, ...] = ()
    units: tuple[dict[str, float], ...] = (expression.at_rest({}),)
    face: int = 0

    @property
    def rest(self) -> dict[str, float]:
        return self.units[self.face]


class Parts(NamedTuple):
    """Every component that a handler reads or changes. found: what was seen in a new photo, which the sliders get."""

    photo: PhotoInput
    faces: gr.Gallery
    consent: gr.Checkbox
    found: gr.JSON
    seen: gr.JSON
    age: Age
    expression: Expression
    reenact: Reenact
    results: Results
    makers: Makers
    status: gr.HTML

    def request(self) -> set:
        """The components that make one request of a photo."""
        age = (self.age.change, self.age.years, self.age.method)
        return {self.photo, self.consent, self.seen, *age, *self.expression.units, self.reenact.photo}


class Handlers:
    """The handlers of one page over the jobs of one editor."""

    def __init__(self, work: jobs.Jobs, parts: Parts):
        self.work, self.on = work, parts

    def look(self, given: dict, request: gr.Request) -> dict:
        """A photo was given or taken away, or the box was ticked: find its faces; `settle` comes next."""
        on = self.on
        changes = {**self._cleared(), on.found: None, on.faces: gr.update(value=[], visible=False)}
        try:
            if given[on.photo] is None or not given[on.consent]:
                told = "Tick the box, then the face is looked for." if given[on.photo] is not None else ""
                return {**changes, on.status: said(told)}
            photo, folder = usable(given[on.photo]), files.new_folder(request.session_hash)
            readings = self.work.read(photo)
            files.about_to_write(folder)
        except Exception as error:
            return {**changes, on.status: said(jobs.plainly(error), wrong=True)}
        units = tuple(expression.at_rest(reading.action_units) for reading in readings)
        seen = Seen(tuple(reading.age for reading in readings), units)
        thumbnails = [thumbnail(photo, r.box, folder / f"face-{i}.jpg") for i, r in enumerate(readings)]
        changes[on.faces] = gr.update(value=thumbnails, visible=len(readings) > 1, selected_index=0)
        return {**changes, on.found: seen._asdict()}

    def settle(self, given: dict) -> dict:
        """The sliders show the face that was found. What was asked stays in force, also while it was looked for."""
        if not given[self.on.found]:  # the sliders stay, and with them what they started from
            return {self.on.seen: Seen(units=(self._seen(given).rest,))._asdict()}
        seen = Seen(**given[self.on.found])
        return {**self._shown(given, seen, self._units(given)), self.on.status: said(found(seen))}

    def pick(self, given: dict, picked: gr.SelectData) -> dict:
        """Another face of the photo was picked."""
        asked, seen = self._units(given), self._seen(given)
        if picked.index not in range(len(seen.ages)):
            raise BadInput("pick one of the faces that are shown")
        seen = seen._replace(face=picked.index)
        return {**self._shown(given, seen, asked), self.on.status: said(found(seen))}

    def preset(self, name: str, given: dict) -> dict:
        """An expression was chosen: its action units are asked, at least as strong as they are; all others are left."""
        seen = self._seen(given)
        return self._sliders(seen, expression.strengthened(seen.rest, expression.PRESETS[name]))

    def copy(self, given: dict) -> dict:
        """Another photo was given to copy the expression of: its largest face's action units are asked."""
        if given[self.on.expression.copy_from] is None:
            return {}
        allowed(given[self.on.consent])
        reading = self.work.read(usable(given[self.on.expression.copy_from]))[0]
        return self._sliders(self._seen(given), expression.at_rest(reading.action_units))

    def reset(self, given: dict) -> dict:
        """Nothing is asked any more; the photo stays."""
        on, seen = self.on, self._seen(given)
        changes: dict = {on.age.change: False, on.reenact.photo: None, on.reenact.clip: None}
        changes |= {on.expression.copy_from: None, on.reenact.relative: True}
        if self.work.methods:
            changes[on.age.method] = self.work.methods[0]
        if seen.ages:
            changes[on.age.years] = round(seen.ages[seen.face])
        return {**changes, **self._sliders(seen, {}), **self._cleared(), on.status: said("Nothing is asked.")}

    def edit(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The whole request, made once, or once by every method."""
        asked, out = self._asked(given), self.on.results
        folder = files.new_folder(request.session_hash)
        made = self.work.edit(asked)
        files.about_to_write(folder)
        compared = [
            (files.picture(r.face, folder / f"{i}.jpg"), report.caption(r)) for i, r in enumerate(made)
        ]
        download = files.saved(made[0], folder, given[self.on.makers.picture_format])
        return {
            out.pictures: files.before_and_after(asked.photo, made[0], folder),
            out.report: report.report(made[0], self.work.thresholds, self.work.editable),
            out.attention: gr.update(
                value=files.picture(made[0].attention, folder / "attention.png"), visible=made[0].edited
            ),
            out.comparison: gr.update(value=compared if len(made) > 1 else [], visible=len(made) > 1),
            out.download: gr.update(value=str(download), interactive=True),
            self.on.status: said(f"Done in {sum(result.seconds for result in made):.1f} s."),
        }

    def strip(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The same face at ten ages, with the expression that is set."""
        folder = files.new_folder(request.session_hash)
        made = self.work.progression(self._asked(given), STRIP_AGES)
        files.about_to_write(folder)
        shown = [
            (files.picture(result.face, folder / f"{age}.jpg"), f"{age} → {result.reading.age:.0f}")
            for age, result in zip(STRIP_AGES, made, strict=True)
        ]
        return {
            self.on.results.strip: gr.update(value=shown, visible=True),
            self.on.status: said("The age strip is done."),
        }

    def animation(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """A clip from the photo to the age and the expression that are set, and back."""
        asked = self._asked(given)
        if asked.age is None and not asked.action_units:
            raise BadInput("set an age or an expression first; the animation leads there and back")
        keyframes = [{"age": asked.age, "action_units": asked.action_units}]
        target = files.new_folder(request.session_hash) / f"animation.{given[self.on.makers.clip_format]}"
        with jobs.running(request.session_hash) as running:
            frames = self.work.animate(asked, keyframes, target, jobs.ANIMATION_SECONDS, running)
        out = self.on.results
        return {
            **moving(target, out.animation, out.animation_gif),
            self.on.status: said(f"The animation has {frames} frames."),
        }

    def video(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The photo moved by the driving clip, or the clip's own face edited."""
        on, out, move = self.on, self.on.results, given[self.on.reenact.use] == MOVE
        allowed(given[on.consent])
        clip = given[on.reenact.clip]
        if clip is None:
            raise BadInput("give a driving clip first, in the Clip tab of Reenact")
        asked = self._asked(given, photo_needed=move)
        target = files.new_folder(request.session_hash) / f"edited.{given[on.makers.clip_format]}"
        with jobs.running(request.session_hash) as running:
            made = self.work.video(asked, usable(clip), target, move, given[on.reenact.relative], running)
        return {
            **moving(target, out.video, out.video_gif),
            out.report: report.clip_report(made),
            on.status: said(f"The clip has {made.frames} frames; it took {made.seconds:.0f} s."),
        }

    def stop(self, request: gr.Request) -> dict:
        """The clip that is being made for this visitor ends."""
        jobs.stop(request.session_hash)
        return {self.on.status: said("Stopped.")}

    def _asked(self, given: dict, photo_needed: bool = True) -> Asked:
        """The one request that all editors make together; BadInput says what it lacks."""
        on = self.on
        if given[on.photo] is None and photo_needed:
            raise BadInput("upload a photo first")
        allowed(given[on.consent])
        photo = usable(given[on.photo]) if photo_needed else None
        age = given[on.age.years] if given[on.age.change] else None
        driving = given[on.reenact.photo]
        driving = None if driving is None else usable(driving)
        return Asked(photo, age, self._units(given), driving, given[on.age.method], self._seen(given).face)

    def _units(self, given: dict) -> dict[str, float]:
        """The action units whose sliders were moved away from what the face shows."""
        values = tuple(given[slider] for slider in self.on.expression.units)
        return expression.asked(self._seen(given).rest, values, self.work.editable)

    def _seen(self, given: dict) -> Seen:
        return Seen(**given[self.on.seen])

    def _sliders(self, seen: Seen, targets: dict[str, float]) -> dict:
        return dict(
            zip(
                self.on.expression.units,
                expression.at(seen.rest, targets, self.work.editable),
                strict=True,
            )
        )

    def _shown(self, given: dict, seen: Seen, asked: dict[str, float]) -> dict:
        """The sliders of another face: what was asked stays, the rest shows what the face has."""
        years = {} if given[self.on.age.change] else {self.on.age.years: round(seen.ages[seen.face])}
        return {self.on.seen: seen._asdict(), **self._sliders(seen, asked), **years}

    def _cleared(self) -> dict:
        out = self.on.results
        hidden = (
            out.attention,
            out.comparison,
            out.strip,
            out.animation,
            out.animation_gif,
            out.video,
            out.video_gif,
        )
        return {
            **{part: gr.update(value=None, visible=False) for part in hidden},
            out.pictures: None,
            out.download: gr.update(value=None, interactive=False),
            out.report: report.EMPTY,
        }


def answering(handler: Callable, status: gr.HTML) -> Callable:
    """The same handler; whatever goes wrong in it is one sentence in the status line."""

    @functools.wraps(handler)
    def answer(*args: Any) -> dict:
        try:
            return handler(*args)
        except Exception as error:
            return {status: said(jobs.plainly(error), wrong=True)}

    return answer


def usable(given: Any) -> Any:
    """What a component took in; the error that it met is raised here."""
    if isinstance(given, GanimeAgeError):
        raise given
    return given


def allowed(consent: bool) -> None:
    """BadInput until the visitor has said that everyone agreed."""
    if consent is not True:
        raise BadInput("tick the box about consent first")


def said(text: str, wrong: bool = False) -> str:
    """A sentence for the status line."""
    return f"<p class='{'wrong' if wrong else 'fine'}'>{html.escape(text)}</p>" if text else ""


def found(seen: Seen) -> str:
    """What was found in the photo."""
    reads = f"it reads as {seen.ages[seen.face]:.0f} years old"
    if len(seen.ages) == 1:
        return f"One face was found; {reads}."
    return f"{len(seen.ages)} faces were found; face {seen.face} is edited (0 is the largest); {reads}."


def thumbnail(photo: np.ndarray, box: np.ndarray, path: Any) -> str:
    """A face of a photo with some room around it, as a small picture."""
    x0, y0, x1, y1 = (float(v) for v in box)
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), 0.7 * max(x1 - x0, y1 - y0)
    left, top, right, bottom = (round(m + sign * half) for sign in (-1, 1) for m in middle)
    face = Image.fromarray(photo).crop((left, top, right, bottom))
    face.thumbnail((160, 160), Image.Resampling.LANCZOS)
    return files.picture(face, path)
