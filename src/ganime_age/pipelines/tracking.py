"""Follows one face through a clip and steadies what is measured on it, so that an edit neither trembles nor flickers.

Positions and action units pass a One-Euro filter (Casiez, Roussel & Vogel, "1 Euro Filter: A Simple Speed-based
Low-pass Filter for Noisy Input in Interactive Systems", CHI 2012): steady where little moves, quick where much does.
A person's age does not change within a shot, so it is averaged slowly instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..edits import AU_CODES
from ..images.boxes import box_overlap, face_box
from ..images.search import FoundFace
from ..results import Reading

HOLD = 0.5  # seconds for which a lost face's last place is used
SAME = 0.2  # boxes of two frames that share this much (intersection over union) are one face
NEAR = 1.5  # sizes of the face within which it is found again after it was lost
CUT = 45.0  # mean change between two frames' thumbnails, in grey levels, that means another shot
POINTS = (1.0, 4.0)  # One-Euro, of the shape: least cutoff in hertz, and hertz gained per face size a second
UNITS = (1.5, 0.5)  # One-Euro, of the action units: the same per intensity a second
AGE_SECONDS = 3.0


class OneEuro:
    """A low-pass filter of an array whose cutoff follows each number's own speed.

    cutoff: hertz at rest. beta: hertz added per unit a second. speed_cutoff: hertz of the filter of the speed.
    """

    def __init__(self, cutoff: float, beta: float, speed_cutoff: float = 1.0):
        self.cutoff, self.beta, self.speed_cutoff = cutoff, beta, speed_cutoff
        self._value: np.ndarray | None = None
        self._speed: np.ndarray = np.zeros(())

    def __call__(self, value: np.ndarray, step: float) -> np.ndarray:
        """The filtered value; step: seconds since the last call, > 0."""
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        speed = (value - self._value) / step
        self._speed = self._speed + _share(self.speed_cutoff, step) * (speed - self._speed)
        weight = _share(self.cutoff + self.beta * np.abs(self._speed), step)
        self._value = self._value + weight * (value - self._value)
        return self._value


def _share(cutoff: float | np.ndarray, step: float) -> float | np.ndarray:
    """How much of a new value a low-pass filter of a cutoff in hertz takes over after `step` seconds, 0..1."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))


class SlowMean:
    """The mean of what came so far, in which values older than `seconds` fade."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._mean = self._weight = 0.0

    def __call__(self, value: float, step: float) -> float:
        self._weight = self._weight * math.exp(-step / self.seconds) + 1
        self._mean += (value - self._mean) / self._weight
        return self._mean


@dataclass(frozen=True)
class Gap:
    """A stretch of a clip, in seconds, without the face; held: the edit stayed at the last place all the time."""

    start: float
    end: float
    held: bool

    def sentence(self, done: str | None = None) -> str:
        """done: what was shown meanwhile, where it is not what an edit of the clip itself does."""
        done = done or ("its last place was used" if self.held else "frames there are not edited")
        return f"the face was lost from {self.start:.2f} to {self.end:.2f} s; {done}"


class FaceTrack:
    """Where one face of a clip is, frame by frame.

    face: which one, counted by size in the first frame of a shot that has so many; 0 is the largest. steady: False
    takes every frame's measurement as it is. While the face is lost its last place is used, for at most HOLD seconds;
    then it is looked for near that place, or anywhere as long as the clip never showed two faces at once. After a cut
    it is chosen anew by its number.
    """

    _reading: Reading | None

    def __init__(self, face: int = 0, steady: bool = True):
        self.face, self.steady = face, steady
        self.most, self.seen, self.edited = (
            0,
            0,
            0,
        )  # faces at once; frames that show the face; frames it is edited in
        self.gaps: list[Gap] = []
        self._time: float | None = None
        self._read: float | None = None
        self._thumbnail: np.ndarray | None = None
        self._lost: float | None = None
        self.step = 1 / 25  # seconds between the last two frames
        self.shots = 0  # that have begun
        self._begin()

    def follow(self, pixels: np.ndarray, found: list[FoundFace], time: float) -> np.ndarray | None:
        """The face's landmarks (68,2) in a frame (H,W,3) uint8 at `time` seconds; None where there is none to edit."""
        self.step = max(time - self._time, 1e-3) if self._time is not None else 1 / 25
        self._time, self.most = time, max(self.most, len(found))
        if self._cut(pixels):
            self._begin()
        chosen = self._choose(found)
        if chosen is None:
            return self._without(time)
        self._found(chosen, time)
        self.edited += 1
        return self._points

    def reading(self, reading: Reading) -> Reading:
        """A frame's reading with its age and action units steadied; the last one while the face is held."""
        if self._lost is None or self._reading is None:
            self._reading = self._steadied(reading) if self.steady else reading
        return self._reading

    def cuts(self, pixels: np.ndarray) -> bool:
        """Does another shot begin with a frame (H,W,3) uint8 that is yet to be followed?"""
        return _apart(_thumbnail(pixels), self._thumbnail) > CUT

    @property
    def last(self) -> np.ndarray | None:
        """The face's landmarks (68,2) in the last frame, as they were found, or None before it was first seen."""
        return self._raw

    @property
    def lost(self) -> bool:
        """Was the face not found in the last frame?"""
        return self._lost is not None

    def end(self, time: float) -> None:
        """Close the gap that is open when the clip ends at `time` seconds."""
        if self._lost is not None:
            self._close(self._lost, time)

    def _begin(self) -> None:
        self.shots += 1
        self._points: np.ndarray | None = None
        self._raw: np.ndarray | None = None
        self._read = None
        self._box: np.ndarray | None = None
        self._reading = None
        self._filter: OneEuro | None = None
        self._units, self._age = OneEuro(*UNITS), SlowMean(AGE_SECONDS)

    def _cut(self, pixels: np.ndarray) -> bool:
        before, self._thumbnail = self._thumbnail, _thumbnail(pixels)
        return _apart(self._thumbnail, before) > CUT

    def _choose(self, found: list[FoundFace]) -> FoundFace | None:
        box = self._box
        if box is None:
            return found[self.face] if self.face < len(found) else None
        same = max(found, key=lambda face: box_overlap(face.box, box), default=None)
        if same is not None and box_overlap(same.box, box) >= SAME:
            return same
        if not found or not self._gone():
            return None
        nearest = min(found, key=lambda face: _distance(face, box))
        return nearest if self.most == 1 or _distance(nearest, box) <= NEAR else None

    def _gone(self) -> bool:
        return self._lost is not None and self._time is not None and self._time - self._lost > HOLD

    def _found(self, face: FoundFace, time: float) -> None:
        if self._lost is not None:
            self._close(self._lost, time)
        if self._filter is None or self._box is None or box_overlap(face.box, self._box) < SAME:
            cutoff, beta = POINTS
            self._filter = OneEuro(cutoff, beta / _size(face.box))
        self.seen += 1
        self._raw = face.landmarks
        self._points = self._steady_points(face.landmarks, self._filter) if self.steady else face.landmarks
        self._box = face_box(self._points)

    def _steady_points(self, landmarks: np.ndarray, steady: OneEuro) -> np.ndarray:
        """The mean of 68 points carries little noise and follows the head at once: were it filtered, the edit would
        swim on a head that moves. The shape around it is filtered."""
        place = landmarks.mean(0, dtype=np.float64)
        return place + steady(landmarks - place, self.step)

    def _without(self, time: float) -> np.ndarray | None:
        if self._lost is None:
            self._lost = time
        held = None if self._gone() else self._points
        self.edited += held is not None
        return held

    def _close(self, lost: float, time: float) -> None:
        held = self._points is not None and time - lost <= HOLD + self.step
        self.gaps.append(Gap(lost, time, held))
        self._lost = None

    def _steadied(self, reading: Reading) -> Reading:
        since = None if self._read is None or self._time is None else self._time - self._read
        step, self._read = max(since or self.step, 1e-3), self._time
        units = self._units(np.array([reading.action_units[code] for code in AU_CODES]), step)
        return replace(
            reading,
            age=self._age(reading.age, step),
            action_units={code: float(unit) for code, unit in zip(AU_CODES, units, strict=True)},
        )


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    step = max(min(pixels.shape[:2]) // 128, 1)  # averages of a large frame need not all of its pixels
    return cv2.resize(pixels[::step, ::step], (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)


def _apart(thumbnail: np.ndarray, before: np.ndarray | None) -> float:
    """Mean change between two thumbnails, in grey levels."""
    return 0.0 if before is None else float(np.abs(thumbnail - before).mean())


def _distance(face: FoundFace, box: np.ndarray) -> float:
    """From the last place, a box, in sizes of it."""
    return float(np.hypot(*(_centre(face.box) - _centre(box)))) / _size(box)


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _size(box: np.ndarray) -> float:
    return float(max(*(box[2:] - box[:2]), 1.0))
