"""What reenactment is held against: doing nothing, and pasting the driving face into the source's photo."""

from __future__ import annotations

import cv2
import numpy as np

from ...images.alignment import warp
from ..external.onnx_models import similarity

FEATHER = 0.02
"""Standard deviation of the seam, in sides of the frame."""


def pasted(
    source: np.ndarray, source_points: np.ndarray, driving: np.ndarray, driving_points: np.ndarray
) -> np.ndarray:
    """A source picture (S,S,3) uint8 with the driving picture's face laid over its own: moved by the best shift, scale
    and turn of the landmarks (68,2) in 0..1, cut along their hull, in the source's mean and spread of each colour."""
    side = len(source)
    matrix = similarity(driving_points * side, source_points * side)
    laid = warp(driving, matrix, (side, side)).astype(np.float32)
    points = driving_points * side @ matrix[:, :2].T + matrix[:, 2]
    hull = cv2.convexHull(np.rint(points).astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((side, side), np.uint8), hull, 1).astype(bool)
    if not mask.any():
        return source.copy()
    own, other = source[mask].astype(np.float32), laid[mask]
    laid = (laid - other.mean(0)) * (own.std(0) / np.maximum(other.std(0), 1)) + own.mean(0)
    weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FEATHER * side)[..., None]
    return np.rint(source * (1 - weight) + laid * weight).clip(0, 255).astype(np.uint8)
