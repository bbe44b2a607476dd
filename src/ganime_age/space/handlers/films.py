"""A clip comes, is cut and tried; the photo moves like it, or its own face is edited."""

from __future__ import annotations

import math

import gradio as gr
from PIL import Image

from ...errors import BadInput
from .. import clips, driving, examples, files, jobs, report, sketch, viewer
from ..loader import CLIP_SECONDS
from ..player import playing
from ..reenact import MOVE
from ..results import CLIP, PHOTO
from .asking import Asking
from .visit import NO_CONSENT, said, usable


class ClipHandlers(Asking):
    """What is done with a driving clip."""

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

    def video_new(self, given: dict, request: gr.Request, progress: gr.Progress = gr.Progress()) -> dict:  # noqa: B008
        """An example with a clip was clicked: the clip is made."""
        if not (given[self.on.todo] or {}).get("clip"):
            return {}
        return {self.on.todo: {}, **self.video(given, request, progress)}

    def _span(self, given: dict) -> clips.Span:
        """The part of the clip that is used. The browser sends 0 for an end that is not set, or not yet."""
        on = self.on.reenact
        return clips.span_of(usable(given[on.clip]), given[on.start], given[on.end] or None)

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
