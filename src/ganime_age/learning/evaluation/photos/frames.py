"""Aligned frames of photos, cut by landmarks that an edit cannot move, and where face, neck and hair are in them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ....images.alignment import apply, crop, frame_matrix, invert, warp

SIDE = 256
"""Pixels of a frame that judges look at."""
WIDE = 1.2
"""Side, in frames, of the square around the face within which the surroundings of an edit are measured."""
FOREHEAD = 0.75
"""Height of the forehead above the brows, in distances from the brows to the mouth."""
GROWN = 6
"""Pixels of a frame of 256 by which face, neck and hair are grown, so that their edges do not count as surroundings."""
LEAST_HAIR = 0.3
"""Chance of hair from which on a pixel counts as hair."""
NECK_DOWN = 0.6
"""Length of the neck below the chin, in frames."""

HairChances = Callable[[np.ndarray, int], np.ndarray]
"""Pictures (B,S,S,3) uint8 RGB and a side -> chances (B,side,side) in 0..1, as `HairNetwork.chances`."""


def framed(pixels: np.ndarray, landmarks: np.ndarray, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """The face of a photo (H,W,3) in the FFHQ frame of landmarks (68,2) in its pixels: (side,side,3) uint8, and the
    landmarks in 0..1 of the frame."""
    matrix = frame_matrix(landmarks, side)
    return crop(pixels, matrix, side), apply(matrix, landmarks) / side


def face_hull(landmarks: np.ndarray) -> np.ndarray:
    """The outline (N,2) of a face with its forehead, from landmarks (68,2); any upright coordinates."""
    brows, mouth = landmarks[17:27], landmarks[48:68].mean(0)
    up = (brows.mean(0) - mouth) * FOREHEAD
    raised = brows + up
    return cv2.convexHull(np.concatenate([landmarks[:27], raised]).astype(np.float32))[:, 0]


def neck(landmarks: np.ndarray) -> np.ndarray:
    """The outline (N,2) of what lies below the jaw; landmarks (68,2) in 0..1 of a frame, y down."""
    jaw = landmarks[3:14]
    return cv2.convexHull(np.concatenate([jaw, jaw + (0, NECK_DOWN)]).astype(np.float32))[:, 0]


def own_mask(pixels: np.ndarray, landmarks: np.ndarray, hair: HairChances | None) -> np.ndarray:
    """Where an edit may act: face, neck and hair of a photo (H,W,3) with landmarks (68,2) in its pixels, as (H,W)
    bool. Without a judge of hair, all that lies above the face counts as hair."""
    matrix = frame_matrix(landmarks, SIDE, WIDE)
    points = apply(matrix, landmarks)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    for outline in (face_hull(points), neck(points / SIDE) * SIDE):
        cv2.fillConvexPoly(drawn, np.round(outline).astype(np.int32), 1)
    if hair is None:
        drawn[: int(points[17:27, 1].mean())] = 1
    else:
        frame = crop(pixels, matrix, SIDE)
        drawn |= (hair(frame[None], SIDE)[0] > LEAST_HAIR).astype(np.uint8)
    grown = cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROWN + 1,) * 2))
    size = pixels.shape[1], pixels.shape[0]
    return warp(grown.astype(np.float32), invert(matrix), size, cv2.BORDER_CONSTANT) > 0.5


def within(shape: tuple[int, ...], landmarks: np.ndarray, scale: float = WIDE) -> np.ndarray:
    """(H,W) bool: the part of a photo within `scale` frames around the face with landmarks (68,2) in its pixels."""
    inside = np.ones((SIDE, SIDE), np.float32)
    back = invert(frame_matrix(landmarks, SIDE, scale))
    return warp(inside, back, (shape[1], shape[0]), cv2.BORDER_CONSTANT) > 0.5
