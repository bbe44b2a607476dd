"""Ten ages as pictures, and animations of one photo."""

from __future__ import annotations

import gradio as gr

from ...errors import BadInput
from .. import files, jobs
from ..jobs import STRIP_AGES, Asked
from ..player import playing
from ..results import AGES, CLIP
from .asking import Asking
from .visit import said

ANIMATIONS = {"animation": "to these settings and back", "ages": "all ages"}
"""What the player says of the animations, by the ends of their files' names."""


class SeriesHandlers(Asking):
    """More than one picture of the photo."""

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
            self.on.stage.tabs: gr.update(selected=AGES),
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
