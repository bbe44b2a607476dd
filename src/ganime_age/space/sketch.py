"""Drafts of an edit while a slider moves: the face alone, at the readers' size, neither read again nor pasted into the
whole photo. What they start from is kept in memory for each visit, with its last edit, and goes when the visit ends."""

from __future__ import annotations

import base64
import io
import math
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..edits import Edit
from ..images.alignment import frame_matrix
from ..model.methods import PROTOTYPES
from ..networks.restoring.lay import Carried, carrying
from ..networks.skin.wrinkles import Chosen, chosen_once
from ..pipelines.face import Drawing, Face, FacePipeline, HairPart
from ..results import Reading
from .viewer import fractions

MOST_VISITS = 24
MOST_FACES = 6
MARGIN = 0.15
"""What is shown around a face's frame, in sides of the frame."""
NEAR_YEARS, NEAR_UNITS = 16.0, 1.0
"""Years, and change of an action unit (0..5), from which on the network draws a face's skin anew: drafts that ask for
nearly the same share what it drew, and it is half of what a draft costs."""


@dataclass(eq=False)
class Memory:
    """What is kept of a visit. sketches: of the faces of its photo; last: its last edit, as asked and
    made; driven: whether a driving photo took part in it, of which no draft can be drawn; shown: what the page got of
    it; here: the result that the page shows now, which may be a former one."""

    sketches: list[Sketch] = field(default_factory=list)
    last: Any = None
    driven: bool = False
    shown: Any = None
    here: Any = None

    def again(self, asked: Any, shown: Any) -> bool:
        """Whether the last edit was of the same photos and asked for the same, and `shown` is what came of it."""
        if self.last is None or shown != self.shown:
            return False
        return all(map(np.array_equal, self.last[0], asked))


@dataclass(eq=False)
class Sketch:
    """A face cut out of its photo. box: left, top, width, height in 0..1 of the photo. hair, creases: found and chosen
    with the first draft, for all of them; skin: what the network drew for the last draft that was not near the one
    before, which asked for `asked`."""

    face: Face
    box: list[float]
    hair: HairPart | None = None
    creases: Chosen = field(default_factory=Chosen)
    skin: Carried = field(default_factory=Carried)
    asked: Drawing | None = None

    def skin_for(self, drawing: Drawing) -> Carried:
        """What the network drew for a draft near this one, or room for what it draws now."""
        if self.asked is None or not _near(drawing, self.asked):
            self.skin, self.asked = Carried(), drawing
        self.skin.frames = 0  # it stays for as long as drafts stay near
        return self.skin


_visits: OrderedDict[str, Memory] = OrderedDict()


def memory(session: str) -> Memory:
    """What is kept of a visit; the visit that was idle for longest gives way when there are too many."""
    kept = _visits.setdefault(session, Memory())
    _visits.move_to_end(session)
    while len(_visits) > MOST_VISITS:
        _visits.popitem(last=False)
    return kept


def forget(session: str) -> None:
    """The visit has ended."""
    _visits.pop(session, None)


def sketches_of(pipeline: FacePipeline, photo: np.ndarray, readings: list[Reading]) -> list[Sketch]:
    """The faces of a photo (H,W,3), small enough to edit many times a second; `readings` are theirs."""
    return [_cut(pipeline, photo, reading) for reading in readings[:MOST_FACES]]


def _cut(pipeline: FacePipeline, photo: np.ndarray, reading: Reading) -> Sketch:
    size = pipeline.model.face_size
    matrix = frame_matrix(reading.landmarks, size, pipeline.model.crop_scale)
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]
    near, far = -MARGIN * size, (1 + MARGIN) * size
    corners = np.array([[near, near], [far, near], [near, far], [far, far]]) @ back[:, :2].T + back[:, 2]
    height, width = photo.shape[:2]
    x0, y0 = np.floor(corners.min(0)).clip(0, (width - 2, height - 2)).astype(int)
    x1, y1 = np.ceil(corners.max(0)).clip((x0 + 1, y0 + 1), (width, height)).astype(int)
    scale = min(1.0, math.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    small = round((x1 - x0) * scale) or 1, round((y1 - y0) * scale) or 1
    part = cv2.resize(photo[y0:y1, x0:x1], small, interpolation=cv2.INTER_AREA)
    ratio = np.array(small) / (x1 - x0, y1 - y0)
    points = ((reading.landmarks - (x0, y0)) * ratio).astype(np.float32)
    box = ((reading.box.reshape(2, 2) - (x0, y0)) * ratio).reshape(4).astype(np.float32)
    crop = pipeline.align(np.ascontiguousarray(part), points, box)
    face = Face(crop.photo, crop.matrix, crop.box, crop.face, reading.but(landmarks=points, box=box))
    return Sketch(face, fractions((x0, y0, x1, y1), photo.shape))


def draw(
    pipeline: FacePipeline, sketch: Sketch, edit: Edit, method: str, source_age: float | None = None
) -> dict[str, Any]:
    """A draft of an edit for the viewer: a JPEG as a data address, and where it lies in the photo."""
    face = sketch.face
    if source_age is not None:
        face = replace(face, reading=face.reading.but(age=source_age))
    if sketch.hair is None and PROTOTYPES in pipeline.model.parts:
        sketch.hair = pipeline.find_hair(face, face.reading.landmarks)
    drawing = pipeline.prepare(face, edit, method, found=sketch.hair)
    made = None
    if drawing is not None:
        with chosen_once(sketch.creases), carrying(sketch.skin_for(drawing)):
            made = pipeline.draw_batch([drawing], method)[0]
    pixels = pipeline.paste(face, made, mark=True)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return {"src": "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), "box": sketch.box}


def _near(one: Drawing, other: Drawing) -> bool:
    """Whether two drafts of a face ask for nearly the same."""
    spans = (NEAR_YEARS, NEAR_YEARS, NEAR_UNITS, NEAR_UNITS)
    apart = zip(one.request, other.request, spans, strict=True)
    return one.parts == other.parts and all(bool(((a - b).abs() < span).all()) for a, b, span in apart)
