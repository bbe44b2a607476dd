"""The search for faces with two networks, whoever runs them: a pyramid of a photo, candidates, two looks at each.

NumPy alone. Positions are continuous pixels, as in frames.py. Photos are uint8 RGB (H,W,3).
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from .boxes import face_box, keep_apart
from .frames import apply, axes_matrix, ffhq_axes, invert

FACE_CENTRE = (0.5, 0.6)  # of the frame: between eyes and mouth, where the detector looks for a face


MARKER_SPAN = 0.95  # side of the marker's crop, in frames


FINEST_SIDE = 768  # longest side in pixels of the pyramid's finest level


COARSEST_SIDE = 28


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo."""

    box: np.ndarray  # (4,) float32 left, top, right, bottom in photo pixels, forehead to chin
    score: float  # 0..1
    landmarks: np.ndarray  # (68,2) float32 photo pixels, iBUG order


LEVEL_MARGIN = 16  # grey pixels around each level, so that faces at the border have surroundings


MOST_CANDIDATES = 48


SHADOWS = np.uint8(np.round(255 * (np.arange(256) / 255) ** 0.45))
"""Each level of a photo with its shadows lifted: its brightness 0..1 to the power of 0.45."""


THRESHOLD = 0.55  # least score of a face, by default: of what scores less on ordinary photos, more is none than is one


DOUBTFUL = 0.6  # score below which a face comes after all others


LEAST_HOPE = 0.2  # score at the first look below which there is no second


def check_photo(photo: np.ndarray) -> None:
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise BadInput("the photo must be a uint8 array (H,W,3) in RGB; load_photo makes one from a file")


def largest_first(faces: list[FoundFace]) -> list[FoundFace]:
    return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))


def sure_first(faces: list[FoundFace]) -> list[FoundFace]:
    """The largest first, but those scored below DOUBTFUL after all others: a piece of cloth may be larger than any
    face of its photo."""
    return sorted(largest_first(faces), key=lambda face: face.score < DOUBTFUL)


class FaceSearch(ABC):
    """Finds faces with a network that proposes and one that marks landmarks. max_side: photos are searched at this
    size, landmarks are read from the full photo. threshold: least score (0..1) of a face. crop_side: pixels of the crop
    in which landmarks are marked."""

    def __init__(self, crop_side: int, max_side: int = 1024, threshold: float = THRESHOLD):
        self.crop_side, self.max_side, self.threshold = crop_side, max_side, threshold

    @abstractmethod
    def propose(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A level (H,W,3) uint8, sides multiples of 8 -> scores (N,) in 0..1 and frames (N,4): centre x, y and the x
        side, in level pixels."""

    @abstractmethod
    def locate(self, crops: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N crops (S,S,3) float32 in 0..255 -> landmarks (N,68,2) float64 in 0..1 of the crop, scores (N,) in 0..1."""

    @abstractmethod
    def shrink(self, photo: np.ndarray, width: int, height: int) -> np.ndarray:
        """A photo (H,W,3) uint8 averaged over areas to a smaller size."""

    @abstractmethod
    def crop(self, photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
        """As alignment.crop, not rounded: whether a level is rounded up or down may hang on a processor's last bit, and
        one level of one pixel moves landmarks by hundredths of a pixel, which tells in grey strands of hair."""

    def __call__(self, photo: np.ndarray) -> list[FoundFace]:
        """Every face of a photo (H,W,3) uint8 RGB, the largest box first, doubtful ones last (`sure_first`). Where none
        is upright, the photo is searched once more on its left and on its right side; where none lies, too, upright
        with its shadows lifted."""
        check_photo(photo)
        found = self._upright(photo) or self._lying(photo, 1) + self._lying(photo, 3)
        found = found or self._upright(SHADOWS[photo])
        landmarks = [points for points, _ in found]
        scores = np.array([score for _, score in found])
        boxes = np.array([face_box(points) for points in landmarks])
        kept = keep_apart(boxes, scores)
        return sure_first(
            [FoundFace(boxes[i], float(scores[i]), landmarks[i].astype(np.float32)) for i in kept]
        )

    def _upright(self, photo: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Landmarks (68,2) in photo pixels and score of every face within about 40 degrees of upright."""
        rows, sought = self._seek(photo)
        if not len(rows):
            return []
        landmarks, scores = self._mark(photo, rows, sought)
        return [
            (points, float(s)) for points, s in zip(landmarks, scores, strict=True) if s >= self.threshold
        ]

    def _lying(self, photo: np.ndarray, quarters: int) -> list[tuple[np.ndarray, float]]:
        """The same of a photo turned by 1 or 3 quarters counter-clockwise, in pixels of the photo as it is."""
        height, width = photo.shape[:2]
        back = (
            np.array([[0, -1, width], [1, 0, 0]]) if quarters == 1 else np.array([[0, 1, 0], [-1, 0, height]])
        )
        return [(apply(back, points), s) for points, s in self._upright(np.rot90(photo, quarters).copy())]

    def landmarks(self, photo: np.ndarray, box: np.ndarray, points: np.ndarray) -> np.ndarray:
        """68 landmarks (68,2) of a face that another detector found, from its five points (5,2): a Landmarker."""
        centre, axis = ffhq_axes(*np.asarray(points, np.float64)[[0, 1, 3, 4]])
        row = _row_of(centre, axis)
        first, _ = self._look(photo, row[None])
        return self._look(photo, _next_row(first[0], row)[None])[0][0]

    def again(self, photo: np.ndarray, landmarks: np.ndarray) -> FoundFace | None:
        """A face of the frame before of a clip, looked for where it was: landmarks (68,2) of then, in pixels. None
        where no face is there any more. It takes a fraction of a search."""
        eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
        with contextlib.suppress(BadInput):
            row = _row_of(*ffhq_axes(*eyes, landmarks[48], landmarks[54]))
            # Two looks, as in a search: landmarks of a first one lean towards where the face was, and tremble.
            first, scores = self._look(photo, row[None])
            if scores[0] < self.threshold:
                return None
            points, scores = self._look(photo, _next_row(first[0], row)[None])
            if scores[0] >= self.threshold:
                return FoundFace(face_box(points[0]), float(scores[0]), points[0].astype(np.float32))
        return None

    def _seek(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frame rows (N,4) in photo pixels and scores (N,) of candidates, doubles removed."""
        found_rows, found_scores = [np.zeros((0, 4))], [np.zeros(0)]
        for level, scale in self._pyramid(photo, min(self.max_side, FINEST_SIDE)):
            found, score = self._seek_level(level)
            found_rows.append((found - (LEVEL_MARGIN, LEVEL_MARGIN, 0, 0)) / scale)
            found_scores.append(score)
        rows, scores = np.concatenate(found_rows), np.concatenate(found_scores)
        reach = 0.28 * np.hypot(rows[:, 2], rows[:, 3])[:, None]
        kept = keep_apart(np.c_[rows[:, :2] - reach, rows[:, :2] + reach], scores, inside=1.0)[
            :MOST_CANDIDATES
        ]
        return rows[kept], scores[kept]

    def _seek_level(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores, frames = self.propose(level)
        best = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
        likely = best[scores[best] >= self.threshold**2]  # a lower one cannot pass, whatever the marker says
        return frames[likely].astype(np.float64), scores[likely]

    def _mark(self, photo: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (M,68,2) in photo pixels and scores (M,) of frame rows (N,4) with scores (N,). Two passes:
        candidates whose score after the first pass is below 0.2 are dropped; the rest are re-cropped by their
        predicted landmarks and evaluated again."""
        landmarks, faces = self._look(photo, rows)
        hope = np.sqrt(faces * scores) >= min(LEAST_HOPE, self.threshold)
        rows = np.array([_next_row(*pair) for pair in zip(landmarks[hope], rows[hope], strict=True)])
        if not len(rows):
            return landmarks[hope], scores[hope]
        landmarks, faces = self._look(photo, rows)
        return landmarks, np.sqrt(faces * scores[hope])

    def _look(self, photo: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (N,68,2) in photo pixels and the marker's face scores (N,) of frame rows (N,4), N > 0."""
        side = self.crop_side
        matrices = [axes_matrix(row[:2], row[2:], side, MARKER_SPAN) for row in rows]
        inside, scores = self.locate([self.crop(photo, m, side) for m in matrices])
        landmarks = np.stack([apply(invert(m), p * side) for m, p in zip(matrices, inside, strict=True)])
        return landmarks, scores

    def _pyramid(self, photo: np.ndarray, finest: int) -> Iterator[tuple[np.ndarray, float]]:
        """Levels of a photo from `finest` pixels (longest side; never enlarged) down by halves, in a grey margin, with
        their scale to the photo."""
        scale, small = min(1.0, finest / max(photo.shape[:2])), photo
        while max(photo.shape[:2]) * scale >= COARSEST_SIDE:
            height, width = (max(1, round(n * scale)) for n in photo.shape[:2])
            small = small if scale == 1 else self.shrink(small, width, height)
            below, right = (LEVEL_MARGIN + -n % 8 for n in (height, width))
            around = (LEVEL_MARGIN, below), (LEVEL_MARGIN, right), (0, 0)
            yield np.pad(small, around, constant_values=128), scale
            scale /= 2


def _row_of(centre: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Frame row (4,): the face centre within the frame, and the frame's x side."""
    down = np.array([-axis[1], axis[0]])
    return np.r_[centre + (FACE_CENTRE[0] - 0.5) * axis + (FACE_CENTRE[1] - 0.5) * down, axis]


def _next_row(landmarks: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The frame row of landmarks (68,2), or the one before where they fell apart."""
    eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    with contextlib.suppress(BadInput):
        centre, axis = ffhq_axes(*eyes, landmarks[48], landmarks[54])
        if 0.3 < np.hypot(*axis) / np.hypot(*row[2:]) < 3:
            return _row_of(centre, axis)
    return row
