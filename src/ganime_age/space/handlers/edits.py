"""An edit is made, drafted while a slider moves, shown again, taken back, written in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from ...errors import BadInput
from .. import files, report, sketch
from ..jobs import Asked
from ..results import METHODS, PHOTO
from .asking import Asking
from .visit import Past, said

MOST_PAST = 8
"""Results of a visit that can be shown again."""


class EditHandlers(Asking):
    """The edit that all controls lead to, and the results of the visit."""

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
            on.stage.tabs: gr.update(selected=METHODS if len(made) > 1 else PHOTO),
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
