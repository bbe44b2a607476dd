"""Where a face lies in a photo: the FFHQ frame as an affine map. NumPy alone.

Positions are continuous pixels: the first pixel of a row covers 0..1, its centre is 0.5. A *frame* is FFHQ's alignment
square (Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019, and the dataset's
`download_ffhq.py`):

        +---------------------------+
        |                           |      e   mean of the eyes        E = right eye - left eye
        |        L ---- e ---- R    |      m   mean of the mouth's corners      D = m - e
        |               |           |      c = e + 0.1 D      centre of the square
        |               c           |
        |               |           |      x = (E - rot90 D) normalised         half of the x side is
        |          l -- m -- r      |          x max(2 |E|, 1.8 |D|)
        |                           |
        +---------------------------+      rot90 (a, b) = (-b, a)

x averages two directions, along the eyes and across the line from eyes to mouth, so a landmark that is off turns the
frame by about half as much.
"""

import math

import numpy as np

from ..errors import BadInput


def frame_matrix(landmarks: np.ndarray, size: int, crop_scale: float = 1.0) -> np.ndarray:
    """Affine map (2,3) float64 from photo pixels to pixels of the aligned face, size x size.

    landmarks (68,2) in iBUG order. The frame is FFHQ's quad, its side times crop_scale. BadInput when the points
    are not 68 finite ones, or lie on top of each other.
    """
    return axes_matrix(*_axes_of(landmarks), size, crop_scale)


def settled_matrix(landmarks: np.ndarray, size: int, crop_scale: float = 1.0) -> np.ndarray:
    """`frame_matrix` of landmarks that a network found, centre and side rounded to some 1/20,000 of the side. Where a
    network computes in another order landmarks differ by far less, and what is cut out is the same, nearly to the last
    level; a level more or less in dark hair is several in grey strands of it."""
    axes = _axes_of(landmarks)
    step = 2.0 ** (math.floor(math.log2(np.hypot(*axes[1]))) - 14)
    centre, axis = (np.round(part / step) * step for part in axes)
    return axes_matrix(centre, axis, size, crop_scale)


def _axes_of(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`ffhq_axes` of landmarks (68,2)."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise BadInput(f"landmarks must be 68 finite points (68,2), got {points.shape}")
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    return ffhq_axes(*eyes, points[48], points[54])


def ffhq_axes(
    left_eye: np.ndarray, right_eye: np.ndarray, left_mouth: np.ndarray, right_mouth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centre (2,) and x side (2,) of the FFHQ frame, by the rule of FFHQ's dataset tool."""
    eye_to_eye = right_eye - left_eye
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    eye_to_mouth = mouth - eyes
    half = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])  # E - rot90 D
    length = np.hypot(*half)
    if length < 1e-6:
        raise BadInput("landmarks lie on top of each other; no frame can be laid through them")
    half *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8) / length
    return eyes + eye_to_mouth * 0.1, 2 * half


def axes_matrix(centre: np.ndarray, axis: np.ndarray, size: int, scale: float = 1.0) -> np.ndarray:
    """Affine (2,3) that takes the square around centre with x side axis * scale to size x size pixels."""
    # A turn and a scale: (x, y) is the frame's x axis, divided by its squared length, so that it maps to (size, 0).
    x, y = axis * size / (np.dot(axis, axis) * scale)
    linear = np.array([[x, y], [-y, x]])
    return np.c_[linear, size / 2 - linear @ centre]


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (...,2) through an affine (2,3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The affine (2,3) that undoes another."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.c_[linear, -linear @ matrix[:, 2]]


def border_mask(size: int, edge: float = 0.1, quiet: float = 2.0) -> np.ndarray:
    """1 inside the frame, falling smoothly to 0 over its outer `edge` (share of the side), and 0 on the outermost
    `quiet` pixels: (size,size) float32."""
    near = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1 - quiet
    line = ramp(near, 0, max(edge * size - quiet, 1))
    return np.outer(line, line).astype(np.float32)


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 up to low, 1 from high on, and smooth between."""
    share = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(share**2 * (3 - 2 * share))


def side_in_photo(matrix: np.ndarray, size: int) -> float:
    """Pixels of a photo in the side of a frame, by the affine (2,3) that takes it to size x size pixels."""
    return size / math.sqrt(abs(np.linalg.det(matrix[:, :2])))


def reach(matrix: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Which part of the photo a frame touches, with a margin for interpolation: left, top, right, bottom, not empty."""
    corners = apply(matrix, np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64))
    margin = 3 + 3 * math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    low = np.floor(corners.min(0) - margin).clip(0, (shape[1] - 1, shape[0] - 1)).astype(int)
    high = np.ceil(corners.max(0) + margin).clip(low + 1, (shape[1], shape[0])).astype(int)
    return (*low.tolist(), *high.tolist())
