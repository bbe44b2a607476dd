"""MediaPipe's 52 blendshape scores as OpenFace-style action units: weak labels, by a stated rule."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...edits import AU_CODES, AU_MAX
from ...errors import BadInput, MissingModel

BLENDSHAPES = {
    "AU01": ("browInnerUp",),
    "AU02": ("browOuterUpLeft", "browOuterUpRight"),
    "AU04": ("browDownLeft", "browDownRight"),
    "AU05": ("eyeWideLeft", "eyeWideRight"),
    "AU07": ("eyeSquintLeft", "eyeSquintRight"),
    "AU10": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "AU12": ("mouthSmileLeft", "mouthSmileRight"),
    "AU14": ("mouthDimpleLeft", "mouthDimpleRight"),
    "AU15": ("mouthFrownLeft", "mouthFrownRight"),
    "AU17": ("mouthShrugLower",),
    "AU20": ("mouthStretchLeft", "mouthStretchRight"),
    "AU23": ("mouthPressLeft", "mouthPressRight"),
    "AU26": ("jawOpen",),
    "AU45": ("eyeBlinkLeft", "eyeBlinkRight"),
}
"""Blendshapes whose mean is the score of an action unit; AU25 is the largest of the mouth-opening ones."""
FULL_SCORE = {
    "AU01": 0.90, "AU02": 0.87, "AU04": 0.80, "AU05": 0.30, "AU07": 0.78, "AU10": 0.86, "AU12": 0.97, "AU14": 0.20,
    "AU15": 0.20, "AU17": 0.70, "AU20": 0.46, "AU23": 0.49, "AU25": 0.88, "AU26": 0.42, "AU45": 0.59,
}  # fmt: skip
"""Score that counts as intensity 5: the 99.5th percentile over 46,387 faces of six public sets."""

IBUG = (
    127, 234, 93, 132, 58, 136, 150, 149, 152, 378, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""iBUG's 68 points among MediaPipe's 478, as the landmarks of labels, readers and head model have them.

The jaw points 7 and 9 are 149 and 378, the neighbours of 6 and 10 on the outline. Evenly spaced points, as iBUG's own
annotators set them, would be 176 and 400, but labels, readers and the head model were made with these.
"""


def action_units_from_blendshapes(scores: np.ndarray, names: list[str]) -> np.ndarray:
    """Scores (N,52) in 0..1 -> intensities (N,17) float32 in 0..5; NaN for what the teacher cannot see."""
    column = {name: scores[:, i].astype(np.float32) for i, name in enumerate(names)}
    raw = {code: np.mean([column[name] for name in parts], axis=0) for code, parts in BLENDSHAPES.items()}
    lower_lip = np.mean([column["mouthLowerDownLeft"], column["mouthLowerDownRight"]], axis=0)
    raw["AU25"] = np.maximum.reduce([lower_lip, raw["AU10"], raw["AU26"]])
    out = np.full((len(scores), len(AU_CODES)), np.nan, np.float32)
    for code, score in raw.items():
        out[:, AU_CODES.index(code)] = np.clip(score / FULL_SCORE[code] * AU_MAX, 0, AU_MAX)
    return out


class Seen(NamedTuple):
    """What MediaPipe sees of a face. scores (len(names),) in 0..1; points (478,2) in 0..1 of the picture; turn (3,3):
    the head's rotation, x to the right, y up, z to the viewer."""

    scores: np.ndarray
    points: np.ndarray
    turn: np.ndarray


Reader = TypeVar("Reader", bound="BlendshapeReader")


class BlendshapeReader:
    """MediaPipe's FaceLandmarker (optional package) on one aligned face with some surroundings.

    task: Google's `face_landmarker.task`. Close it, or use it in a `with` statement: MediaPipe's own clean-up fails
    noisily when it comes at the end of the process. MissingModel when MediaPipe is not installed, BadInput when the
    file cannot be used.
    """

    names = sorted({"mouthLowerDownLeft", "mouthLowerDownRight"}.union(*BLENDSHAPES.values()))
    """The blendshapes that action units are made from, in the order of the scores."""

    def __init__(self, task: str | Path):
        os.environ.setdefault("GLOG_minloglevel", "2")
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError:
            raise MissingModel('MediaPipe is not installed; pip install "ganime_age[evaluate]"') from None
        self._image: Callable[[np.ndarray], Any] = lambda pixels: mediapipe.Image(
            mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels)
        )
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task)),
            num_faces=1,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (OSError, RuntimeError, ValueError) as error:
            raise BadInput(f"{task} is not a face_landmarker.task that can be used: {error}") from None

    def __enter__(self: Reader) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of MediaPipe's threads and memory; the reader cannot be used any more."""
        self._landmarker.close()

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        """Scores (len(names),) float32 in 0..1 of a picture (H,W,3) uint8 RGB; None where MediaPipe sees no face."""
        seen = self.look(picture)
        return None if seen is None else seen.scores

    def look(self, picture: np.ndarray) -> Seen | None:
        """Everything it says of a picture (H,W,3) uint8 RGB; None where MediaPipe sees no face."""
        found = self._landmarker.detect(self._image(picture))
        if not found.face_blendshapes:
            return None
        score = {shape.category_name: shape.score for shape in found.face_blendshapes[0]}
        return Seen(
            np.array([score[name] for name in self.names], np.float32),
            np.array([[point.x, point.y] for point in found.face_landmarks[0]], np.float32),
            np.asarray(found.facial_transformation_matrixes[0])[:3, :3],
        )
