"""Who judges a movement: MediaPipe's face mesh gives action units, head pose and landmarks of one picture."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...edits import AU_CODES
from ..external.mediapipe_face import IBUG, BlendshapeReader, action_units_from_blendshapes
from ..external.onnx_models import similarity

BORDERS = (0.35, 0.0, 0.7)
"""Borders that are tried around a picture until a face is found, in sides of it: the detector wants surroundings."""
SIDE = 256


class Motion(NamedTuple):
    """What N faces do; NaN where none was found. units (N,17) in 0..5, NaN for what is never seen. pose (N,3): yaw,
    pitch, roll in degrees, signs as `Readings.pose`. landmarks (N,68,2) in 0..1 of the picture."""

    units: np.ndarray
    pose: np.ndarray
    landmarks: np.ndarray


def motions(reader: BlendshapeReader, pictures: np.ndarray) -> Motion:
    """Pictures (N,S,S,3) uint8 RGB in the FFHQ frame -> Motion."""
    rows = [_motion(reader, picture) for picture in pictures]
    return Motion(*(np.stack(part) for part in zip(*rows, strict=True)))


def _motion(reader: BlendshapeReader, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    large = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for border in BORDERS:
        wide = round(SIDE * border)
        shown = cv2.copyMakeBorder(large, wide, wide, wide, wide, cv2.BORDER_REPLICATE)
        seen = reader.look(shown)
        if seen is not None:
            units = action_units_from_blendshapes(seen.scores[None], reader.names)[0]
            points = (seen.points[list(IBUG)] * len(shown) - wide) / SIDE
            return units, angles(seen.turn), points
    return np.full(len(AU_CODES), np.nan), np.full(3, np.nan), np.full((68, 2), np.nan)


def angles(turn: np.ndarray) -> np.ndarray:
    """A rotation (3,3), x to the right, y up, z to the viewer -> yaw, pitch, roll (3,) in degrees: the nose to the
    right of the picture, the nose down, clockwise."""
    nose, across = turn[:, 2], turn[:, 0]
    yaw = np.arctan2(nose[0], np.hypot(nose[1], nose[2]))
    pitch = np.arctan2(-nose[1], nose[2])
    return np.degrees([yaw, pitch, np.arctan2(-across[1], across[0])])


def landmark_errors(found: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """How far landmarks (N,68,2) are from what they aim at, in % of the distance between the eyes' outer corners, after
    the best shift, scale and turn: (N,), NaN where a face was not found."""
    out = np.full(len(found), np.nan)
    for i in np.flatnonzero(~np.isnan(found).any((1, 2)) & ~np.isnan(aims).any((1, 2))):
        matrix = similarity(found[i], aims[i])
        moved = found[i] @ matrix[:, :2].T + matrix[:, 2]
        eyes = np.linalg.norm(aims[i][45] - aims[i][36])
        out[i] = 100 * np.linalg.norm(moved - aims[i], axis=1).mean() / eyes
    return out
