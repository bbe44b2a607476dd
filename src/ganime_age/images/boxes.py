"""Upright face boxes: left, top, right, bottom in photo pixels."""

import numpy as np

FOREHEAD = 0.7  # how far a box reaches above the brows, in eye-to-mouth distances; fits SCRFD's boxes
OVERLAP = 0.4  # boxes that share more than this (intersection over union) are one face
INSIDE = 0.7  # a box of which more than this lies in a better one is a part of that face


def face_box(landmarks: np.ndarray) -> np.ndarray:
    """The upright box (4,) float32 that holds the landmarks (68,2) and the forehead above the brows."""
    up = landmarks[36:48].mean(0) - landmarks[[48, 54]].mean(0)
    outline = np.concatenate([landmarks, landmarks[17:27] + FOREHEAD * up])
    return np.r_[outline.min(0), outline.max(0)].astype(np.float32)


def keep_apart(boxes: np.ndarray, scores: np.ndarray, inside: float = INSIDE) -> list[int]:
    """Greedy non-maximum suppression: indices of boxes (N,4), best score (N,) first. A box that shares more than
    OVERLAP (intersection over union) with a better one is its double; one of which more than `inside` lies in a
    better one, or the other way round, is a part of the same face.
    """
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(
            box_overlap(boxes[i], boxes[j]) <= OVERLAP and box_inside(boxes[i], boxes[j]) <= inside
            for j in kept
        ):
            kept.append(int(i))
    return kept


def _shared_area(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(max(width, 0.0) * max(height, 0.0))


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    shared = _shared_area(a, b)
    areas = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])
    return float(shared / max(areas - shared, 1e-9))


def box_inside(a: np.ndarray, b: np.ndarray) -> float:
    """How much of the smaller of two boxes (4,) lies in the other: 0..1."""
    return float(_shared_area(a, b) / max(min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])), 1e-9))
