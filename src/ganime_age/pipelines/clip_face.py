"""One face of a clip from frame to frame: what was found and measured on one frame serves the frames after it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from ..edits import Edit
from ..images.alignment import apply, invert
from ..images.boxes import box_overlap, face_box
from ..networks.restoring.lay import Carried, carrying
from ..networks.skin.wrinkles import Chosen, chosen_once
from ..results import Reading
from .face import Crop, Drawing, Face, FacePipeline, GrownHair, places_of
from .tracking import FaceTrack

SEARCH_EVERY = 24
"""Frames after which the whole picture is searched for faces anew, even while the face is followed."""
READ_EVERY = 3
"""Frames after which age, action units and landmarks are read anew; between them landmarks follow the detector's."""
HAIR_EVERY, HAIR_AT_REST = 3, 12
"""Frames after which hair is looked for anew, and while the head rests; between them it moves with the face."""
AT_REST = 0.002
"""Mean distance, in sides of the face's frame, that landmarks may have moved in it for a head to count as at rest: what
has grown on its hair is carried along until hair is looked for anew."""
TAKEN_OVER = 0.5
"""Share of what was known before in what is known after something was measured anew, while a face is steadied."""
SAME_PLACE = 0.4
"""Intersection over union of a face's boxes in two frames from which on it counts as followed."""


class ClipFace:
    """Follows one face through a clip's frames, in order.

    track: where the face is. every: frames after which it is read anew. shot: what the shot that the last frame is in
    keeps for drawing the face.
    """

    def __init__(self, pipeline: FacePipeline, track: FaceTrack, every: int = READ_EVERY):
        self.pipeline, self.track, self.every = pipeline, track, every
        self._frame = self._shots = self._read = self._searched = 0
        self._points: np.ndarray | None = None
        self._box: np.ndarray | None = None
        self._begin()

    def _begin(self) -> None:
        self._reading: Reading | None = None
        self._offset = np.zeros((68, 2))
        self.shot = Shot(self.pipeline, self.track.steady)

    def find(self, pixels: np.ndarray, time: float) -> np.ndarray | None:
        """The face's landmarks (68,2) in the next frame (H,W,3) uint8, at `time` seconds; None where there is none."""
        self._frame += 1
        expected = None if self.track.cuts(pixels) else self._points
        nearby = None
        if expected is not None and self._frame - self._searched < SEARCH_EVERY:
            nearby = self.pipeline.detect_again(pixels, expected)
        if nearby is None or self._box is None or box_overlap(nearby.box, self._box) < SAME_PLACE:
            self._searched, found = self._frame, self.pipeline.detect(pixels)
        else:
            found = [nearby]
        landmarks = self.track.follow(pixels, found, time)
        self._points = None if self.track.lost else self.track.last
        self._box = None if self._points is None else face_box(self._points)
        if self._shots != self.track.shots:
            self._shots = self.track.shots
            self._begin()
        return landmarks

    def read(self, pixels: np.ndarray, landmarks: np.ndarray) -> Face:
        """The face of a frame (H,W,3) uint8 with the landmarks (68,2) that `find` gave, as far as it need be read."""
        crop = self.pipeline.align(pixels, landmarks, face_box(landmarks))
        if self._reading is None or (not self.track.lost and self._frame - self._read >= self.every):
            return self._read_anew(crop, landmarks)
        if self.every == 1:  # it is lost: the edit stays where it was
            return _face(crop, self._reading)
        places = self._places(crop, landmarks) + self._offset
        points = apply(invert(crop.matrix), places).astype(np.float32)
        return _face(crop, replace(self._reading, landmarks=points, box=crop.box))

    def _read_anew(self, crop: Crop, landmarks: np.ndarray) -> Face:
        (face,) = self.pipeline.read([crop], identity=False)
        first, self._read = self._reading is None, self._frame
        self._reading = self.track.reading(face.reading)
        if self.every == 1 or self.track.lost:
            return replace(face, reading=self._reading)
        places = self._places(crop, landmarks)
        offset = self._places(crop, face.reading.landmarks) - places
        self._offset = offset if first or not self.track.steady else _mixed(self._offset, offset)
        points = apply(invert(crop.matrix), places + self._offset).astype(np.float32)
        return replace(face, reading=replace(self._reading, landmarks=points))

    @staticmethod
    def _places(crop: Crop, points: np.ndarray) -> np.ndarray:
        return apply(crop.matrix, points.astype(np.float64))


class Shot:
    """What drawing a face in one shot of a clip keeps for the frames that follow. steady: whether the face is steadied.

    `prepare`, `change` and `draw` take the same frames in the same order; each may run in a thread of its own.
    """

    def __init__(self, pipeline: FacePipeline, steady: bool):
        self.pipeline, self.steady = pipeline, steady
        self._hair: GrownHair | None = None
        self._hair_age = 0
        self._places = np.zeros((68, 2))
        self._creases, self._drawn = Chosen(), Carried()

    def prepare(self, face: Face, edit: Edit, method: str) -> Drawing | None:
        """`FacePipeline.prepare` of the face that `ClipFace.read` gave."""
        hair = self._hair_of(face, edit) if self.pipeline.grows_hair(face, edit, method) else None
        return self.pipeline.prepare(face, edit, method, found=hair)

    def change(self, drawing: Drawing | None, method: str) -> Drawing | None:
        """`FacePipeline.change_first`. While a face is steadied, a shot has one choice of creases, which would flicker
        if they were chosen anew in every frame."""
        if drawing is None:
            return None
        with chosen_once(self._creases) if self.steady else nullcontext():
            return self.pipeline.change_first(drawing, method)

    def draw(self, face: Face, drawing: Drawing | None, method: str, mark: bool) -> np.ndarray:
        """The whole frame (H,W,3) uint8 after an edit. While a face is steadied, what the network draws is carried
        along."""
        if drawing is None:
            return face.photo
        with carrying(self._drawn) if self.steady else nullcontext():
            (made,) = self.pipeline.draw_batch([drawing], method)
        return self.pipeline.paste(face, made, mark, clip=True)

    def _hair_of(self, face: Face, edit: Edit) -> GrownHair:
        places, self._hair_age = places_of(face), self._hair_age + 1
        # Of a head that turns, what was added before would lie beside the hair.
        rests = np.abs(places - self._places).mean() < AT_REST
        if self._hair is not None and rests and self._hair_age < HAIR_AT_REST:
            return self.pipeline.still_on(self._hair, face)
        before = None if self._hair is None else self.pipeline.carry_hair(self._hair, face)
        if before is not None and self._hair_age < HAIR_EVERY:
            found = self.pipeline.find_hair(face, face.reading.landmarks, before.matte)
            return self.pipeline.grow_hair(found, face, edit)
        found = self.pipeline.find_hair(face, face.reading.landmarks)
        if before is not None and self.steady:
            found = found._replace(matte=before.matte.lerp(found.matte, 1 - TAKEN_OVER))
        grown = self.pipeline.grow_hair(found, face, edit)
        if before is not None and self.steady and rests:
            grown = grown._replace(change=before.change.lerp(grown.change, 1 - TAKEN_OVER))
        self._hair, self._hair_age, self._places = grown, 0, places
        return grown


def _face(crop: Crop, reading: Reading) -> Face:
    return Face(crop.photo, crop.matrix, crop.box, crop.face, reading)


def _mixed(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    return TAKEN_OVER * before + (1 - TAKEN_OVER) * now
