"""InsightFace on the page, where its package and a model pack are installed: it finds the faces instead of the weights'
own detector, and says a second likeness beside theirs.

It works while a visitor's box is ticked, and is loaded then. Without package or pack the page does not show the box.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import gradio as gr
import numpy as np

from ..editor import FaceEditor
from ..errors import MissingModel
from ..images.detectors import (
    LICENCE,
    EmbeddedDetector,
    InsightFaceDetector,
    InsightFaceIdentity,
    installed_pack,
)

WORDS = "Its likeness stands in the report where the pack has a recognition network."


def show() -> gr.Checkbox:
    """Build the box where it is called; hidden where InsightFace is not installed."""
    pack = installed_pack()
    return gr.Checkbox(
        False, label=f"InsightFace ({pack}) finds the faces", info=f"{WORDS} {LICENCE}.", elem_id="insight",
        visible=pack is not None,
    )  # fmt: skip


class InsightFace:
    """Of one editor: another one whose faces InsightFace finds, and how alike two faces are to InsightFace."""

    def __init__(self, editor: Any):
        self.own = editor

    @functools.cached_property
    def pack(self) -> str:
        """The pack's name; MissingModel where there is none."""
        pack = installed_pack()
        if pack is None:
            raise MissingModel("InsightFace is not installed here; untick its box")
        return pack

    @functools.cached_property
    def editor(self) -> FaceEditor:
        """Edits as the page's own editor does, with the same weights."""
        model, device = self.own.model, self.own.device
        model.require("detector")
        landmarker = EmbeddedDetector(model.detector).landmarks
        detector = InsightFaceDetector(name=self.pack, landmarker=landmarker, device=device)
        return FaceEditor(model, device=device, detector=detector)

    @functools.cached_property
    def identity(self) -> InsightFaceIdentity | None:
        """None where the pack holds no recognition network."""
        with contextlib.suppress(MissingModel):
            return InsightFaceIdentity(name=self.pack, device=self.own.device)
        return None

    def likeness(self, photo: np.ndarray, made: Any) -> dict[str, float]:
        """The name of the measure -> cosine between a face of a photo (H,W,3) and the same face after its edit; empty
        without a recognition network."""
        if self.identity is None:
            return {}
        pairs = ((photo, made.source_reading), (np.asarray(made.image), made.reading))
        before, after = (
            self.identity(picture[None], reading.landmarks[None] / len(picture))[0]
            for picture, reading in pairs
        )
        return {self.identity.name: float(before @ after)}
