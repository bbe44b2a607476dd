"""What handlers share: the components of the page, what was found in a visitor's photo, a former result, and the
sentences of the status line."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from ...errors import GanimeAgeError
from .. import expression, jobs
from ..age import Age
from ..expression import Expression
from ..head import Head
from ..loader import PhotoInput
from ..reenact import Reenact
from ..results import Makers, Results, Stage

NO_CONSENT = "tick the box about consent first"


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
