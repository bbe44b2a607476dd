"""Necks and jaws: a child's are narrow for its head.

The head of an edited photo keeps its size, so a neck that is to suit another age gets another width, and the jaw above
it goes with it, the less the higher it is. Both are warped where they lie, between the ears and the shoulders; what
lies farther aside than the cheeks does not move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .boxes import box_inside
from .frames import apply, invert, ramp

YEARS, WIDTH = (0.0, 3.0, 6.0, 10.0, 15.0, 20.0), (0.69, 0.7, 0.73, 0.81, 0.92, 1.0)
"""Ages, and the width of a neck at each of them, in that of a grown-up's whose head is as wide. Set by eye."""
WIDEST = 1.2
"""Most that a neck grows wider, for what lies beside it is squeezed."""
BEGINS, WHOLE = 0.35, 0.55
"""Where the warp begins, from the corners of the jaw to the chin, and how far below the chin it is whole."""
ENDS = (0.73, 2.2)
"""How far below the chin it begins to fade, and has gone. Lengths are half widths of the head."""
NECK, ASIDE, ASIDE_WIDER = 0.75, 1.05, 1.2
"""Half the width of a neck, which moves as a whole, and how far aside nothing moves, also where it grows wider."""
ROOM = 0.15
"""How much farther than the neck a photo must reach aside, or nothing moves on that side."""
TURNED = (0.15, 0.4)
"""How far a head is turned, as the difference of the nose's distances from the jaw's two ends in their sum, from which
on its neck, which is no more below its face, changes less and less, and not at all."""
JAW, CHIN, NOSE, END = (2, 14), 8, 30, (0, 16)
"""iBUG's points below the ears, the chin, the nose's tip, and the ends of the jaw."""
GRID = 160
"""Cells on the longer side of the grid on which a warp is computed before it is enlarged."""
MARGIN = 3
"""Pixels beside what is warped that interpolation looks at."""


class Neck(NamedTuple):
    """Where a neck lies in an upright frame: half the width of its head, its middle, and from the ends of the jaw down
    to the chin; and how much of a change of its width a head that is turned gets, 0..1."""

    half: float
    middle: float
    jaw: float
    chin: float
    ahead: float

    @classmethod
    def of(cls, points: np.ndarray) -> Neck:
        """Of landmarks (68,2) in the frame."""
        left, right = points[list(END), 0]
        nose = points[NOSE, 0]
        turned = abs((right - nose) - (nose - left)) / max(abs(right - left), 1e-6)
        return cls(
            (right - left) / 2,
            (left + right) / 4 + points[CHIN, 0] / 2,
            points[list(JAW), 1].mean(),
            points[CHIN, 1],
            1 - float(ramp(np.asarray(turned), *TURNED)),
        )

    def rows(self) -> tuple[float, float]:
        """Between which heights anything moves."""
        return self.jaw + BEGINS * (self.chin - self.jaw), self.chin + ENDS[1] * self.half

    def before(self, places: np.ndarray, factor: float, ends: tuple[float, float]) -> np.ndarray:
        """Where places (N,2) of the frame were before the neck became `factor` times as wide. ends: how far aside
        nothing moves, on the left and on the right; 0 where nothing moves at all."""
        aside, down = (places[:, 0] - self.middle) / self.half, places[:, 1]
        far, end = np.abs(aside), np.where(aside < 0, *ends)
        narrow = 1 + (factor - 1) * self.share(down)
        edge = NECK * narrow
        # The neck shows what was nearer to its edge, and what lies beside it is stretched, or squeezed.
        beside = NECK + (far - edge) * (end - NECK) / np.maximum(end - edge, 1e-3)
        was = np.where(far < edge, far / narrow, beside)
        was = np.where(far < end, was, far)
        return np.stack([self.middle + np.sign(aside) * was * self.half, down], 1)

    def after(self, places: np.ndarray, factor: float, ends: tuple[float, float]) -> np.ndarray:
        """Where places (N,2) of the frame are once the neck is `factor` times as wide: `before` undone."""
        aside, down = (places[:, 0] - self.middle) / self.half, places[:, 1]
        narrow = 1 + (factor - 1) * self.share(down)
        far, end = np.abs(aside), np.where(aside < 0, *ends)
        beside = NECK * narrow + (far - NECK) * (end - NECK * narrow) / np.maximum(end - NECK, 1e-3)
        now = np.where(far < NECK, far * narrow, beside)
        now = np.where(far < end, now, far)
        return np.stack([self.middle + np.sign(aside) * now * self.half, down], 1)

    def share(self, down: np.ndarray) -> np.ndarray:
        """How much of the warp there is at heights of the frame, 0..1."""
        share = ramp(down, self.rows()[0], self.chin + WHOLE * self.half)
        return share * (1 - ramp(down, *(self.chin + end * self.half for end in ENDS)))


class NeckChange(NamedTuple):
    """What gives the neck of a face in a picture the width of another age."""

    neck: Neck
    factor: float
    """How many times as wide it becomes."""
    ends: tuple[float, float]
    """How far aside nothing moves, on the left and on the right, in half widths of the head; 0: nowhere anything."""
    matrix: np.ndarray
    """(2,3), from the picture to the neck's frame."""
    part: tuple[int, int, int, int]
    """What of the picture holds all that moves: left, top, right, bottom."""

    def drawn(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H,W,C), uint8 or float32, with the neck as it is then."""
        # The warp is smooth but for two lines: it is computed coarsely and enlarged.
        left, top, right, bottom = self.part
        wide, high = right - left, bottom - top
        step = max(1, math.ceil(max(wide, high) / GRID))
        across, down = math.ceil(wide / step), math.ceil(high / step)
        x, y = left + (np.arange(across) + 0.5) * wide / across, top + (np.arange(down) + 0.5) * high / down
        places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        was = self.neck.before(apply(self.matrix, places), self.factor, self.ends)
        coarse = (apply(invert(self.matrix), was) - places).reshape(down, across, 2)
        moved = np.asarray(cv2.resize(coarse.astype(np.float32), (wide, high)), np.float32)
        first = max(left - MARGIN, 0), max(top - MARGIN, 0)
        source = picture[first[1] : bottom + MARGIN, first[0] : right + MARGIN]
        moved[..., 0] += np.arange(left - first[0], right - first[0], dtype=np.float32)
        moved[..., 1] += np.arange(top - first[1], bottom - first[1], dtype=np.float32)[:, None]
        columns, rows = cv2.split(moved)
        drawn = cv2.remap(source, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        out = picture.copy()
        out[top:bottom, left:right] = drawn.reshape(high, wide, *picture.shape[2:])
        return out

    def moved(self, points: np.ndarray) -> np.ndarray:
        """Where points (N,2) of the picture lie then."""
        there = self.neck.after(apply(self.matrix, np.asarray(points, np.float64)), self.factor, self.ends)
        return apply(invert(self.matrix), there)


def width_at(age: float) -> float:
    """The width of a neck at an age in years, in that of a grown-up's whose head is as wide."""
    return float(np.interp(age, YEARS, WIDTH))


def neck_change(
    shape: tuple[int, ...],
    landmarks: np.ndarray,
    matrix: np.ndarray,
    ages: tuple[float, float],
    others: Sequence[np.ndarray] = (),
) -> NeckChange | None:
    """What gives the neck of a face in a picture of `shape` (H,W,...) the width at another age: ages, from and to, in
    years. None where nothing changes, or another face lies where something would.

    landmarks (68,2) in the picture's pixels; matrix (2,3): from the picture to any upright frame of the face. others:
    boxes (4,), x0 y0 x1 y1, of other faces.
    """
    neck = Neck.of(apply(matrix, np.asarray(landmarks, np.float64)))
    factor = 1 + (min(width_at(ages[1]) / width_at(ages[0]), WIDEST) - 1) * neck.ahead
    if factor == 1 or neck.half <= 0 or neck.chin <= neck.jaw:
        return None
    widest = ASIDE if factor < 1 else ASIDE_WIDER
    ends = (within(shape, neck, matrix, -widest), within(shape, neck, matrix, widest))
    # Only the part of the picture that holds the neck is drawn anew.
    corners = [(neck.middle + x * neck.half, y) for x in (-ends[0], ends[1]) for y in neck.rows()]
    found = apply(invert(matrix), np.array(corners))
    left, top = np.clip(np.floor(found.min(0)), 0, shape[1::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(found.max(0)), 0, shape[1::-1]).astype(int).tolist()
    part = np.array([left, top, right, bottom])
    if right <= left or bottom <= top or any(box_inside(box, part) > 0 for box in others):
        return None
    return NeckChange(neck, factor, ends, matrix, (left, top, right, bottom))


def neck_at(
    picture: np.ndarray,
    landmarks: np.ndarray,
    matrix: np.ndarray,
    ages: tuple[float, float],
    others: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """A picture (H,W,C), uint8 or float32, in which the neck of a face is as wide as at another age: the picture itself
    where nothing changes. All else as for `neck_change`."""
    change = neck_change(picture.shape, landmarks, matrix, ages, others)
    return picture if change is None else change.drawn(picture)


def within(shape: tuple[int, ...], neck: Neck, matrix: np.ndarray, widest: float) -> float:
    """How far aside of a neck, towards `widest`, a picture of `shape` (H,W,...) reaches in all the rows in which it
    shows the neck; 0 where it leaves no ROOM beside it."""
    asides = np.linspace(0, 1, 25) * widest
    heights = np.linspace(*neck.rows(), 9)
    frame = np.stack(np.meshgrid(neck.middle + asides * neck.half, heights), -1)
    seen = apply(invert(matrix), frame)
    inside: np.ndarray = np.logical_and(seen >= 0, seen <= shape[1::-1]).min(-1)
    reached = inside[inside[:, 0]].min(0, initial=True)
    count = len(asides) if reached.all() else int(np.argmin(reached))
    end = abs(float(asides[count - 1])) if count else 0.0
    return end if end >= NECK + ROOM else 0.0
