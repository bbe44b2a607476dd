"""What happens on the page when a visitor does something. Each handler takes the values by component, as `given`, and
gives back the components that change; what goes wrong is one sentence in the status line, and the rest stays."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from ..edits import AGE_PARTS, MOST_TURN, Edit, check_age, check_parts
from ..errors import BadInput, GanimeAgeError
from . import clips, driving, examples, expression, files, jobs, report, sketch, viewer
from .age import Age
from .expression import Expression
from .head import Head
from .jobs import STRIP_AGES, Asked
from .loader import CLIP_SECONDS, PhotoInput, is_ours
from .player import playing
from .reenact import MOVE, Reenact
from .results import CLIP, PHOTO, SERIES, Makers, Results, Stage

NO_CONSENT = "tick the box about consent first"
ANIMATIONS = {"animation": "to these settings and back", "ages": "all ages"}
"""What the player says of the animations, by the ends of their files' names."""
MOST_PAST = 8
"""Results of a visit that can be shown again."""


class Seen(NamedTuple):
    """What was found in a visitor's photo. ages and units (as the sliders show them) by face; face: the one picked;
    view: what the viewer shows of it.

    The page holds it as JSON beside the sliders, so that a request has the sliders and what they started from at the
    same moment, whatever is found meanwhile.
    """

    ages: tuple[float, ...] = ()
    units: tuple[dict[str, float], ...] = (expression.at_rest({}),)
    face: int = 0
    view: dict[str, Any] = {}

    @property
    def rest(self) -> dict[str, float]:
        return self.units[self.face]

    def shown(self) -> dict[str, Any]:
        """The photo with its faces, for the viewer."""
        view = {"before": self.view["before"], "boxes": self.view["boxes"], "face": self.face}
        return view | {"frame": self.view["frames"][self.face]}


class Past(NamedTuple):
    """A result of the visit. view: for the viewer; settings: of the controls, in the order of `Handlers.controls`."""

    view: dict[str, Any]
    report: str
    download: Path
    thumbnail: str = ""
    name: str = ""
    settings: Sequence[Any] = ()


class Parts(NamedTuple):
    """Every component that a handler reads or changes. found: what was seen in a new photo, which the sliders get;
    past: the last results of the visit, on the server's side; todo: whether an
    example still waits for its clip."""

    photo: PhotoInput
    consent: gr.Checkbox
    every: gr.Checkbox
    insight: gr.Checkbox
    history: gr.Gallery
    past: gr.State
    todo: gr.JSON
    found: gr.JSON
    seen: gr.JSON
    age: Age
    expression: Expression
    head: Head
    reenact: Reenact
    strength: gr.Slider
    results: Results
    makers: Makers
    stage: Stage

    @property
    def status(self) -> gr.HTML:
        return self.stage.status

    def settings(self) -> set:
        """The components that say what is asked of a face."""
        age = (self.age.change, self.age.years, self.age.own, self.age.parts, self.age.method)
        return {self.seen, self.insight, *age, *self.expression.units, *self.head, self.strength}

    def request(self) -> set:
        """The components that make one request of a photo."""
        driving = {self.reenact.photo, self.reenact.motion, self.reenact.multiplier}
        return self.settings() | {self.photo, self.consent, self.every} | driving


class Handlers:
    """The handlers of one page over the jobs of one editor."""

    def __init__(self, work: jobs.Jobs, parts: Parts):
        self.work, self.on = work, parts

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

    def video_new(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """An example with a clip was clicked: the clip is made."""
        if not (given[self.on.todo] or {}).get("clip"):
            return {}
        return {self.on.todo: {}, **self.video(given, request, progress)}

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

    def edit(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The whole request, made once, or once by every method."""
        on, asked, out = self.on, self._asked(given), self.on.results
        folder = files.new_folder(request.session_hash)
        made = self.work.edit(asked)
        files.about_to_write(folder)
        first = made[0]
        kept = sketch.memory(request.session_hash)
        before = given[on.past]
        if before and kept.again(asked, before[-1]):
            before = before[:-1]  # the same edit once more takes its own place
        kept.last, kept.driven = (asked, first), asked.driving is not None
        compared = [
            (files.picture(r.face, folder / f"{i}.jpg"), report.caption(r)) for i, r in enumerate(made)
        ]
        ending = given[on.stage.picture_format]
        download = files.saved(first, folder, ending, files.name_of(asked, first))
        view = self._view(given, asked, first, folder)
        likeness = self.work.likeness(asked, first)
        said_of = report.report(first, self.work.thresholds, self.work.editable, likeness)
        past = Past(view, said_of, download)
        past = past._replace(
            thumbnail=files.shown(first.face, folder / "face.jpg", None, 96), name=report.title(first)
        )
        past = past._replace(settings=[given[part] for part in self.controls()])
        kept.shown = kept.here = past
        return {
            **self._remembered([*before, past][-MOST_PAST:]),
            **self._result(past),
            **self._attention(first, folder),
            out.comparison: gr.update(value=compared if len(made) > 1 else [], visible=len(made) > 1),
            on.stage.tabs: gr.update(selected=SERIES if len(made) > 1 else PHOTO),
            on.status: said(f"Done in {sum(result.seconds for result in made):.1f} s."),
        }

    def edit_driven(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """Something else is taken of a driving photo; a clip waits for its button."""
        return {} if given[self.on.reenact.photo] is None else self.edit(given, request, progress)

    def edit_aged(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """Other parts of an age are to change; without an age nothing follows."""
        return self.edit(given, request, progress) if given[self.on.age.change] else {}

    def draft(self, given: dict, request: gr.Request) -> dict:
        """A slider moves: a quick draft of the face lies over it. Where none can be drawn, nothing does."""
        return self._draft(given, request, self._wanted(given, None))

    def draft_of_age(self, given: dict, request: gr.Request) -> dict:
        """The age's slider moves: from now on an age is asked for."""
        return self._draft(given, request, self._wanted({**given, self.on.age.change: True}, None))

    def _draft(self, given: dict, request: gr.Request, asked: Asked) -> dict:
        kept, face = sketch.memory(request.session_hash), self._seen(given).face
        if face >= len(kept.sketches) or kept.driven:
            return {self.on.stage.sketch: {}}
        return {self.on.stage.sketch: self.work.draft(kept.sketches[face], asked)}

    def reformat(self, given: dict, request: gr.Request) -> dict:
        """Another format was chosen for the download: the edit that is shown is written again, not made again."""
        here = sketch.memory(request.session_hash).here
        return {} if here is None else self._download(here, given, request)

    def restore(self, given: dict, picked: gr.SelectData, request: gr.Request) -> dict:
        """A former result was picked: it is shown again, with its settings."""
        past = given[self.on.past]
        if picked.index not in range(len(past)):
            raise BadInput("pick one of the results that are shown")
        return self._back_to(past, past[picked.index], given, request)

    def undo(self, given: dict, request: gr.Request) -> dict:
        """The last result goes, and the one before it is shown again."""
        past = given[self.on.past][:-1]
        if not past:
            raise BadInput("there is no result before this one")
        return {**self._remembered(past), **self._back_to(past, past[-1], given, request)}

    def go_on(self, given: dict, request: gr.Request) -> dict:
        """The result that is shown becomes the photo, and nothing is asked of it yet."""
        past = given[self.on.past]
        if not past:
            raise BadInput("make an edit first; its result becomes the photo")
        changes = {part: value for part, value in self.reset(given).items() if part not in self.on.results}
        here = sketch.memory(request.session_hash).here or past[-1]
        return {**changes, self.on.photo: here.download}

    def strip(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The same face at ten ages, with the expression that is set."""
        out, asked, folder = self.on.results, self._asked(given), files.new_folder(request.session_hash)
        made = self.work.progression(asked, STRIP_AGES)
        files.about_to_write(folder)
        captions = [
            f"{age}, reads as {result.reading.age:.0f}" for age, result in zip(STRIP_AGES, made, strict=True)
        ]
        shown = [
            (files.picture(result.face, folder / f"{age}.jpg"), caption)
            for age, result, caption in zip(STRIP_AGES, made, captions, strict=True)
        ]
        sheet = files.sheet(made, captions, folder / f"{asked.name}_ages.jpg")
        return {
            out.strip: gr.update(value=shown, visible=True, selected_index=None),
            out.sheet: gr.update(value=sheet, visible=True),
            out.use_age: gr.update(visible=False),
            self.on.stage.tabs: gr.update(selected=SERIES),
            self.on.status: said("The ten ages are done; click one to enlarge it."),
        }

    def enlarged(self, picked: gr.SelectData) -> dict:
        """A picture of the strip was clicked: its age is offered."""
        offer = f"Use age {STRIP_AGES[picked.index]}" if picked.index in range(len(STRIP_AGES)) else ""
        return {self.on.results.use_age: gr.update(value=offer, visible=bool(offer))}

    def use_age(self, given: dict) -> dict:
        """The age that the button names is asked for."""
        words = str(given[self.on.results.use_age]).split()
        if not words or not words[-1].isdigit():
            raise BadInput("click a picture of the strip first")
        return {self.on.age.years: int(words[-1]), self.on.age.change: True}

    def animation(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """A clip from the photo to the age and the expression that are set, and back."""
        asked = self._asked(given)
        if asked.age is None and not asked.action_units:
            raise BadInput("set an age or an expression first; the animation leads there and back")
        keyframes = [{"age": asked.age, "action_units": asked.action_units}]
        return self._animated(given, request, asked, keyframes, jobs.ANIMATION_SECONDS, "animation")

    def ages(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """A clip through all ages, from the youngest to the oldest, with the expression that is set."""
        asked = self._asked(given)
        share = 1 / (len(STRIP_AGES) - 1)
        keys = [
            {"age": age, "action_units": asked.action_units, "at": i * share}
            for i, age in enumerate(STRIP_AGES)
        ]
        return self._animated(given, request, asked, keys, jobs.ALL_AGES_SECONDS, "ages", back=False)

    def _animated(
        self,
        given: dict,
        request: gr.Request,
        asked: Asked,
        keys: list,
        seconds: float,
        name: str,
        back: bool = True,
    ) -> dict:
        ending = given[self.on.makers.clip_format]
        target = files.new_folder(request.session_hash) / f"{asked.name}_{name}.{ending}"
        with jobs.running(request.session_hash) as running:
            frames = self.work.animate(asked, keys, target, seconds, running, back)
        out = self.on.results
        return {
            out.player: playing(target, f"Animation: {ANIMATIONS[name]}"),
            self.on.stage.tabs: gr.update(selected=CLIP),
            self.on.makers.progress: "",
            self.on.status: said(f"The animation has {frames} frames."),
        }

    def video(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The photo moved by the driving clip, or the clip's own face edited."""
        on, out, move = self.on, self.on.results, given[self.on.reenact.use] == MOVE
        clip = given[on.reenact.clip]
        if clip is None:
            raise BadInput("give a driving clip first, in the Clip tab of Reenact")
        asked = self._asked(given, photo_needed=move)
        folder = files.new_folder(request.session_hash)
        source = clips.used(usable(clip), self._span(given), folder)
        target = folder / f"{asked.name}_clip.{given[on.makers.clip_format]}"
        with jobs.running(request.session_hash) as running:
            made = self.work.video(asked, source, target, move, given[on.reenact.relative], running)
        says = ("The clip that drives", "Your photo, moved") if move else ("The clip", "The clip, edited")
        return {
            out.player: playing(target, says[1], source, says[0]),
            out.report: report.clip_report(made),
            on.stage.tabs: gr.update(selected=CLIP),
            on.reenact.progress: "",
            on.status: said(f"The clip has {made.frames} frames; it took {made.seconds:.0f} s."),
        }

    def _span(self, given: dict) -> clips.Span:
        """The part of the clip that is used."""
        on = self.on.reenact
        return clips.span_of(usable(given[on.clip]), given[on.start], given[on.end])

    def clip_given(self, given: dict, request: gr.Request) -> dict:
        """A clip was given or taken away: all of it is used, as far as that is allowed, and its first picture shown."""
        on = self.on.reenact
        clip = given[on.clip]
        shown = {on.start: 0, on.end: None, **self._beginning(given, None)}
        if clip is None:
            return shown
        seconds = clips.seconds_of(usable(clip))
        words = ""
        if seconds > CLIP_SECONDS:
            shown[on.end] = CLIP_SECONDS
            words = f"The clip lasts {seconds:.0f} s; its first {CLIP_SECONDS} are used. From and To choose others."
        elif seconds:
            shown[on.end] = math.ceil(10 * seconds) / 10
            words = f"The clip lasts {seconds:.1f} s."
        given = {**given, on.start: 0, on.end: shown[on.end]}
        return {**shown, **self.clip_part(given, request), self.on.status: said(words)}

    def clip_part(self, given: dict, request: gr.Request) -> dict:
        """Another part of the clip is to be used: how it begins is shown."""
        clip = given[self.on.reenact.clip]
        if clip is None:
            return {}
        picture = clips.first_picture(usable(clip), self._span(given))
        folder = files.new_folder(request.session_hash)
        path = files.shown(Image.fromarray(picture), folder / "first.jpg", None, 400)
        return {**self._beginning(given, path), self.on.status: said("")}

    def _beginning(self, given: dict, path: str | None) -> dict:
        on = self.on.reenact
        tried = path is not None and given[on.use] != MOVE
        return {
            on.first: gr.update(value=path, visible=path is not None),
            on.try_first: gr.update(visible=tried),
        }

    def clip_use(self, given: dict) -> dict:
        """The clip is to be used in another way."""
        on, moves = self.on.reenact, given[self.on.reenact.use] == MOVE
        tried = gr.update(visible=given[on.clip] is not None and not moves)
        return {on.try_first: tried, **self._of_motion(moves), on.relative: gr.update(visible=moves)}

    def photo_use(self, given: dict) -> dict:
        """A driving photo is looked at, which always moves the face."""
        return self._of_motion(self.work.reenacts)

    def _of_motion(self, visible: bool) -> dict:
        """What says how a driving face is followed shows where one is."""
        on = self.on.reenact
        return dict.fromkeys((on.motion, on.multiplier), gr.update(visible=visible))

    def our_clip(self, given: dict, picked: gr.EventData, request: gr.Request) -> dict:
        """A driving clip of our own was clicked: it is given, and the photo is to move like it."""
        on, file = self.on, driving.chosen(picked.index)
        if file is None:
            raise BadInput("click one of the clips")
        if given[on.photo] is None:
            raise BadInput("upload a photo first")
        if not self._agreed(given, usable(given[on.photo])):
            raise BadInput(NO_CONSENT)
        clip = examples.file_of(file, request.session_hash)
        now = {on.reenact.clip: clip, on.reenact.use: MOVE, on.reenact.start: 0, on.reenact.end: None}
        return {**now, on.reenact.photo: None, on.todo: {"clip": True}, on.status: said("")}

    def first_edited(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """The first picture of the clip edited alone, as all of them would be."""
        on, out = self.on, self.on.results
        clip = given[on.reenact.clip]
        if clip is None:
            raise BadInput("give a clip first, in the Clip tab of Reenact")
        asked = self._asked(given, photo_needed=False)
        picture = clips.first_picture(usable(clip), self._span(given))
        asked = asked._replace(photo=picture, driving=None, face=0, method=self.work.method(asked))
        asked = asked._replace(
            every=False, own_age=None
        )  # a clip has one face edited, at the age that it reads
        folder = files.new_folder(request.session_hash)
        made = self.work.edit(asked)[0]
        files.about_to_write(folder)
        sketch.memory(request.session_hash).driven = True  # drafts are of the photo, which is not shown now
        view = {
            "before": files.shown(Image.fromarray(picture), folder / "before.jpg"),
            "after": files.shown(made.image, folder / "after.jpg", files.record_of(made)),
            "alt": f"The clip's first picture after the edit: {report.title(made)}", "key": "first",
            "frame": viewer.around(made.source_reading.box, picture.shape),
        }  # fmt: skip
        return {
            out.pictures: view,
            out.report: report.report(made, self.work.thresholds, self.work.editable),
            on.stage.tabs: gr.update(selected=PHOTO),
            on.status: said("So the clip begins; Make the clip edits all of it."),
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
        photo = usable(given[on.photo]) if photo_needed else None
        driving, clip = given[on.reenact.photo], None if photo_needed else usable(given[on.reenact.clip])
        driving = None if driving is None else usable(driving)
        if not self._agreed(given, photo, driving, clip):
            raise BadInput(NO_CONSENT)
        asked = self._wanted(given, None if photo is None else np.asarray(photo))
        driving = None if driving is None else np.asarray(driving)
        asked = asked._replace(motion=given[on.reenact.motion], multiplier=given[on.reenact.multiplier])
        return asked._replace(driving=driving, every=given[on.every], name=getattr(photo, "name", "photo"))

    def _wanted(self, given: dict, photo: Any) -> Asked:
        """What the settings ask of a face of a photo."""
        on = self.on
        age = given[on.age.years] if given[on.age.change] else None
        wanted = Asked(photo, age, self._units(given), None, given[on.age.method], self._seen(given).face)
        turn, parts = tuple(given[slider] for slider in on.head), check_parts(given[on.age.parts])
        wanted = wanted._replace(turn=turn if any(turn) else None, insight=given[on.insight] is True)
        wanted = wanted._replace(parts=None if age is None or parts == AGE_PARTS else parts)
        own = str(given[on.age.own] or "").strip()
        return wanted._replace(strength=given[on.strength], own_age=check_age(own) if own else None)

    def _agreed(self, given: dict, *pictures: Any) -> bool:
        """Whether the box is ticked, or all that is shown is the page's own."""
        own = (
            getattr(p, "ours", False) or isinstance(p, Path) and is_ours(p) for p in pictures if p is not None
        )
        return given[self.on.consent] is True or all(own)

    def _view(self, given: dict, asked: Asked, made: Any, folder: Path) -> dict:
        """What the viewer shows of an edit."""
        seen = self._seen(given)
        view = seen.shown() if seen.ages else {}
        if "before" not in view:
            view["before"] = files.shown(Image.fromarray(asked.photo), folder / "before.jpg")
        after = files.shown(made.image, folder / "after.jpg", files.record_of(made))
        return view | {
            "after": after,
            "alt": f"The photo after the edit: {report.title(made)}",
            "key": asked.key(),
        }

    def controls(self) -> tuple:
        """The controls that a former result sets back."""
        on = self.on
        age = (on.age.change, on.age.years, on.age.own, on.age.parts, on.age.method)
        return (*age, on.strength, *on.head, *on.expression.units)

    def _remembered(self, past: list) -> dict:
        shown = [(one.thumbnail, one.name) for one in past]
        return {
            self.on.past: past,
            self.on.history: gr.update(value=shown, visible=len(past) > 1, selected_index=None),
        }

    def _result(self, past: Past) -> dict:
        out = self.on.results
        return {
            out.pictures: past.view,
            out.report: past.report,
            out.download: gr.update(value=str(past.download), interactive=True),
        }

    def _download(self, one: Past, given: dict, request: gr.Request) -> dict:
        """A result's download in the chosen format: the last edit from its pixels, a former one from its file."""
        kept, path = sketch.memory(request.session_hash), one.download
        ending = given[self.on.stage.picture_format]
        if path.suffix != f".{ending}":
            folder = files.new_folder(request.session_hash)
            if kept.last is not None and one == kept.shown:
                path = files.saved(kept.last[1], folder, ending, path.stem)
            else:
                path = files.rewritten(path, folder, ending)
        return {self.on.results.download: gr.update(value=str(path), interactive=True)}

    def _attention(self, made: Any, folder: Path) -> dict:
        picture = files.picture(made.attention, folder / "attention.png")
        return {self.on.results.attention: gr.update(value=picture, visible=made.edited)}

    def _back_to(self, past: list, one: Past, given: dict, request: gr.Request) -> dict:
        changes = {**self._result(one), **self._download(one, given, request)}
        sketch.memory(request.session_hash).here = one
        settings = dict(zip(self.controls(), one.settings, strict=True))
        last = past[-1].view.get("before") == one.view.get("before")
        changes[self.on.status] = said(f"Shown again: {one.name}.")
        return {**changes, self.on.stage.tabs: gr.update(selected=PHOTO), **(settings if last else {})}

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
        hidden = (out.attention, out.comparison, out.strip, out.sheet)
        return {
            **{part: gr.update(value=None, visible=False) for part in hidden},
            out.player: {},
            out.use_age: gr.update(visible=False),
            out.download: gr.update(value=None, interactive=False),
            out.report: report.EMPTY,
            self.on.stage.tabs: gr.update(selected=PHOTO),
        }


def answering(handler: Callable, status: gr.HTML) -> Callable:
    """The same handler; whatever goes wrong in it is one sentence in the status line."""

    @functools.wraps(handler)
    def answer(*args: Any) -> dict:
        try:
            return handler(*args) or {status: gr.skip()}
        except Exception as error:
            kind = "consent" if str(error) == NO_CONSENT else "wrong"
            return {status: said(jobs.plainly(error), kind)}

    return answer


def usable(given: Any) -> Any:
    """What a component took in; the error that it met is raised here."""
    if isinstance(given, GanimeAgeError):
        raise given
    return given


def said(text: str, kind: str = "fine") -> str:
    """A sentence for the status line. kind: fine, wrong, or consent, which also points at the box."""
    return f"<p class='{kind}'>{html.escape(text)}</p>" if text else ""


def found(seen: Seen) -> str:
    """What was found in the photo."""
    words = f"it reads as {seen.ages[seen.face]:.0f} years old."
    if len(seen.ages) == 1:
        words = f"One face was found; {words}"
    else:
        words = f"{len(seen.ages)} faces were found; face {seen.face + 1} is edited; {words}"
        words += " Click another face to edit it."
    if seen.view["cut"][seen.face]:
        words += " The photo's border cuts it; what is missing cannot be edited."
    return f"{words} {seen.view['note']}".strip()


def cut_off(landmarks: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether some of a face's landmarks (68,2) lie outside its photo (H,W,3)."""
    return bool((landmarks < 0).any() or (landmarks > (shape[1], shape[0])).any())
