"""Cut faces out of a photo in the FFHQ frame, and put what changed back.

Positions are continuous pixels: the first pixel of a row covers 0..1, its centre is 0.5. Photos are uint8 RGB
(H,W,3). A *frame* is FFHQ's alignment square (Karras et al., "A Style-Based Generator Architecture for GANs", CVPR
2019, and the dataset's `download_ffhq.py`):

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

import cv2
import numpy as np

from ..errors import BadInput


def frame_matrix(landmarks: np.ndarray, size: int, crop_scale: float = 1.0) -> np.ndarray:
    """Affine map (2,3) float64 from photo pixels to pixels of the aligned face, size x size.

    landmarks (68,2) in iBUG order. The frame is FFHQ's quad, its side times crop_scale. BadInput when the points
    are not 68 finite ones, or lie on top of each other.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise BadInput(f"landmarks must be 68 finite points (68,2), got {points.shape}")
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    return axes_matrix(*ffhq_axes(*eyes, points[48], points[54]), size, crop_scale)


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


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_REPLICATE,
         method: int = cv2.INTER_LINEAR) -> np.ndarray:  # fmt: skip
    """Draw picture (H,W[,C]) through an affine of continuous pixels onto size (width, height); no antialiasing."""
    # OpenCV's pixel centres lie at whole numbers, ours at halves: A(x + 1/2) + b - 1/2.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(picture, centred, size, flags=method, borderMode=border)


def resample(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int) -> np.ndarray:
    """As warp, but antialiased: what shrinks is first averaged over areas, then turned at its final scale."""
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 1:
        height, width = picture.shape[:2]
        small = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    return warp(picture, matrix, size, border, cv2.INTER_CUBIC)


def crop(photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The aligned face (size,size,3) uint8; antialiased when it shrinks, the border repeated where the photo ends."""
    left, top, right, bottom = _reach(invert(matrix), (size, size), photo.shape)
    moved = matrix @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    return resample(photo[top:bottom, left:right], moved, (size, size), cv2.BORDER_REPLICATE)


def valid_mask(shape: tuple[int, ...], matrix: np.ndarray, size: int) -> np.ndarray:
    """How much of each face pixel the photo covers: (size,size) float32 0..1; shape is the photo's (H,W,...)."""
    grid = np.stack(np.meshgrid(*[np.arange(size) + 0.5] * 2), -1)
    x, y = np.moveaxis(apply(invert(matrix), grid), -1, 0)
    inside = np.minimum(np.minimum(x, shape[1] - x), np.minimum(y, shape[0] - y))
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return np.clip(inside * scale + 0.5, 0, 1).astype(np.float32)


def border_mask(size: int, edge: float = 0.1, quiet: float = 2.0) -> np.ndarray:
    """1 inside the frame, falling smoothly to 0 over its outer `edge` (share of the side), and 0 on the outermost
    `quiet` pixels: (size,size) float32."""
    near = np.minimum(np.arange(size), np.arange(size)[::-1]) + 1 - quiet
    ramp = np.clip(near / max(edge * size - quiet, 1), 0, 1)
    ramp = ramp**2 * (3 - 2 * ramp)
    return np.outer(ramp, ramp).astype(np.float32)


def paste(photo: np.ndarray, before: np.ndarray, after: np.ndarray, matrix: np.ndarray,
          mask: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """A copy of the photo with what changed between two aligned faces added to it.

    before, after (S,S,3) in 0..255, uint8 or float; matrix as from frame_matrix for size S; mask (S,S) in 0..1
    weighs the change further. Only the difference is enlarged, so the photo's own detail stays, and where nothing
    changed every byte stays as it is.
    """
    size, scale = len(before), math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    weight = border_mask(size, quiet=2 * max(scale, 1)) * (
        1 if mask is None else mask
    )  # as far as resampling reaches
    change = (np.asarray(after, np.float32) - np.asarray(before, np.float32)) * weight[..., None]
    out, back = photo.copy(), invert(matrix)
    left, top, right, bottom = _reach(back, (size, size), photo.shape)
    back[:, 2] -= left, top
    region = out[top:bottom, left:right]
    added = resample(change, back, (right - left, bottom - top), cv2.BORDER_CONSTANT)
    region[:] = cv2.add(region, added, dtype=cv2.CV_8U)  # rounds to the nearest level, clips to 0..255
    return out


def _reach(matrix: np.ndarray, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Which part of the photo a frame touches, with a margin for interpolation: left, top, right, bottom, not empty."""
    corners = apply(matrix, np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64))
    margin = 3 + 3 * math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    low = np.floor(corners.min(0) - margin).clip(0, (shape[1] - 1, shape[0] - 1)).astype(int)
    high = np.ceil(corners.max(0) + margin).clip(low + 1, (shape[1], shape[0])).astype(int)
    return (*low.tolist(), *high.tolist())
