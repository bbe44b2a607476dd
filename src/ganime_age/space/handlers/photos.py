"""A photo comes: by upload, as an example, or as the result of an edit; its faces are found, and one is picked."""

from __future__ import annotations

import gradio as gr
import numpy as np
from PIL import Image

from ...edits import AGE_PARTS, MOST_TURN, Edit
from ...errors import BadInput
from .. import examples, expression, files, jobs, report, sketch, viewer
from ..reenact import MOVE
from ..results import PHOTO
from .edits import EditHandlers
from .visit import NO_CONSENT, Seen, cut_off, found, said, usable


class PhotoHandlers(EditHandlers):
    """What a new photo and the controls do to each other; what was asked stays asked."""

    def linked(self, request: gr.Request) -> dict:
        """The page's address may hold settings (`report.link`): they are set, and asked of the photo that comes."""
        on, asked = self.on, dict(request.query_params)
        units = [f"{name}={value}" for name, value in asked.items() if name.startswith("AU")]
        turn = {name: asked[name] for name in MOST_TURN if name in asked}
        if not units and not turn and not {"age", "strength", "parts"} & set(asked):
            return {}
        edit = Edit.of(
            asked.get("age"), units, strength=asked.get("strength", 1.0), editable=self.work.editable,
            parts=asked.get("parts"), turn=turn,
        )  # fmt: skip
        targets = {code: target.reached_from(0) for code, target in edit.action_units.items()}
        years = {} if edit.age is None else {on.age.change: True, on.age.years: edit.age}
        words = "The link's settings are set; give a photo."
        more = {on.strength: edit.strength, on.age.parts: list(edit.parts)}
        more |= dict(zip(on.head, edit.turn, strict=True))
        return {**years, **more, **self._sliders(Seen(), targets), on.status: said(words)}

    def look(self, given: dict, request: gr.Request) -> dict:
        """A photo was given or taken away, or the box was ticked: find its faces; `settle` comes next."""
        on = self.on
        changes = {**self._cleared(), on.found: None}
        kept = sketch.memory(request.session_hash)
        kept.sketches, kept.last, kept.driven, kept.here = [], None, False, None
        try:
            if given[on.photo] is None:
                return {**changes, on.results.pictures: {}, on.status: said("")}
            photo = usable(given[on.photo])
            if not self._agreed(given, photo):
                return {**changes, on.status: said("Tick the box, then the face is looked for.", "consent")}
            folder = files.new_folder(request.session_hash)
            readings = self.work.read(np.asarray(photo), given[on.insight] is True)
            files.about_to_write(folder)
        except Exception as error:
            return {**changes, on.results.pictures: {}, on.status: said(jobs.plainly(error), "wrong")}
        kept.sketches = self.work.sketches(np.asarray(photo), readings)
        units = tuple(expression.at_rest(reading.action_units) for reading in readings)
        view = {
            "before": files.shown(Image.fromarray(np.asarray(photo)), folder / "before.jpg"),
            "boxes": [viewer.fractions(reading.box, photo.shape) for reading in readings],
            "frames": [viewer.around(reading.box, photo.shape) for reading in readings],
            "cut": [cut_off(reading.landmarks, photo.shape) for reading in readings],
            "note": getattr(photo, "note", ""),
        }
        seen = Seen(tuple(reading.age for reading in readings), units, 0, view)
        changes[on.results.pictures] = seen.shown()
        return {**changes, on.found: seen._asdict()}

    def settle(self, given: dict) -> dict:
        """The sliders show the face that was found. What was asked stays in force, also while it was looked for."""
        if not given[self.on.found]:  # the sliders stay, and with them what they started from
            return {self.on.seen: Seen(units=(self._seen(given).rest,))._asdict()}
        seen = Seen(**given[self.on.found])
        return {**self._shown(given, seen, self._units(given)), self.on.status: said(found(seen))}

    def edit_new(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """A new photo was read: what is set is made of it at once; nothing where nothing is set. What was asked while
        the face was looked for may be made already: then it is shown again."""
        seen, past = self._seen(given), given[self.on.past]
        if not seen.ages or given[self.on.photo] is None:
            return {}
        asked = self._asked(given)
        if asked.age is None and not asked.action_units and asked.driving is None and not asked.turn:
            return {}
        kept = sketch.memory(request.session_hash)
        if past and asked.method != jobs.ALL and kept.again(asked, past[-1]):
            kept.shown = kept.here = made = past[-1]._replace(view=past[-1].view | seen.shown())
            changed = self._attention(kept.last[1], files.new_folder(request.session_hash))
            return {**self._remembered([*past[:-1], made]), **self._result(made), **changed}
        return self.edit(given, request, progress)

    def example(self, given: dict, picked: gr.EventData, request: gr.Request) -> dict:
        """An example was clicked: its photo and its settings; `look`, `settle` and `edit_new` or `video` come next."""
        on, one = self.on, examples.chosen(picked.index)
        if one is None:
            raise BadInput("click one of the examples")
        units = {code: value for code, value in one.units.items() if code in self.work.editable}
        seen = Seen()
        return {
            **self.reset(given), on.seen: seen._asdict(), on.todo: {"clip": one.clip is not None},
            on.photo: examples.file_of(examples.PORTRAIT, request.session_hash), on.age.change: one.age is not None,
            on.age.years: one.age or 40, **self._sliders(seen, units),
            on.reenact.photo: examples.file_of(one.driving, request.session_hash),
            on.reenact.clip: examples.file_of(one.clip, request.session_hash), on.reenact.use: MOVE,
        }  # fmt: skip

    def go_on(self, given: dict, request: gr.Request) -> dict:
        """The result that is shown becomes the photo, and nothing is asked of it yet."""
        past = given[self.on.past]
        if not past:
            raise BadInput("make an edit first; its result becomes the photo")
        changes = {part: value for part, value in self.reset(given).items() if part not in self.on.results}
        here = sketch.memory(request.session_hash).here or past[-1]
        return {**changes, self.on.photo: here.download}

    def pick(self, given: dict, picked: gr.EventData) -> dict:
        """Another face of the photo was picked."""
        asked, seen = self._units(given), self._seen(given)
        if picked.index not in range(len(seen.ages)):
            raise BadInput("pick one of the faces that are shown")
        seen = seen._replace(face=picked.index)
        changes = {self.on.results.pictures: seen.shown(), self.on.status: said(found(seen))}
        return {**self._shown(given, seen, asked), **changes}

    def preset(self, name: str, given: dict) -> dict:
        """An expression was chosen: its action units are asked, at least as strong as they are; all others are left."""
        seen = self._seen(given)
        return self._sliders(seen, expression.strengthened(seen.rest, expression.PRESETS[name]))

    def copy(self, given: dict) -> dict:
        """Another photo was given to copy the expression of: its largest face's action units are asked."""
        if given[self.on.expression.copy_from] is None:
            return {}
        other = usable(given[self.on.expression.copy_from])
        if not self._agreed(given, other):
            raise BadInput(NO_CONSENT)
        reading = self.work.read(np.asarray(other))[0]
        return self._sliders(self._seen(given), expression.at_rest(reading.action_units))

    def reset(self, given: dict) -> dict:
        """Nothing is asked any more; the photo and what was made of it stay."""
        on, seen = self.on, self._seen(given)
        changes: dict = {
            on.stage.sketch: {},
            on.age.change: False,
            on.reenact.photo: None,
            on.reenact.clip: None,
            on.reenact.start: 0,
            on.reenact.end: None,
            on.reenact.first: gr.update(value=None, visible=False),
        }
        changes |= {
            on.expression.copy_from: None,
            on.reenact.relative: True,
            on.strength: 1.0,
            on.age.own: None,
            on.age.parts: list(AGE_PARTS),
            on.reenact.motion: "both",
            on.reenact.multiplier: 1.0,
            **dict.fromkeys(on.head, 0),
        }
        if self.work.methods:
            changes[on.age.method] = self.work.methods[0]
        if seen.ages:
            changes[on.age.years] = round(seen.ages[seen.face])
        return {**changes, **self._sliders(seen, {}), on.status: said("All settings are back.")}

    def _shown(self, given: dict, seen: Seen, asked: dict[str, float]) -> dict:
        """The sliders of another face: what was asked stays, the rest shows what the face has."""
        years = {} if given[self.on.age.change] else {self.on.age.years: round(seen.ages[seen.face])}
        return {self.on.seen: seen._asdict(), **self._sliders(seen, asked), **years}

    def _cleared(self) -> dict:
        out = self.on.results
        hidden = (out.attention, out.comparison, out.strip, out.sheet)
        return {
            **{part: gr.update(value=None, visible=False) for part in hidden},
            out.player: {},
            out.use_age: gr.update(visible=False),
            out.download: gr.update(value=None, interactive=False),
            out.report: report.EMPTY,
            self.on.stage.tabs: gr.update(selected=PHOTO),
        }
