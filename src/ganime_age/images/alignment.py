"""Cut faces out of a photo in the FFHQ frame (frames.py), and put what changed back.

Photos are uint8 RGB (H,W,3), positions continuous pixels.
"""

import math

import cv2
import numpy as np

from .frames import (
    apply,
    axes_matrix,
    border_mask,
    ffhq_axes,
    frame_matrix,
    invert,
    reach,
    settled_matrix,
    side_in_photo,
)

__all__ = [
    "apply", "axes_matrix", "border_mask", "crop", "ffhq_axes", "frame_matrix", "invert", "part_around", "part_matrix",
    "paste", "paste_change", "reach", "resample", "settled_matrix", "shrink", "side_in_photo", "valid_mask", "warp",
]  # fmt: skip
MARGIN = 0.15
"""Sides of a frame that `part_around` shows beyond the photo's border, so that nothing fades there."""
SHARP, AROUND, EDGE = 2.0, 1.5, (6.0, 16.0)
"""Pixels of a frame, standard deviations: of what a change holds no wider form than the first is an edge that came or
went, and the second is how far it reaches. Mean levels of such forms from which on, and up to which, it is one."""
TILE, FAINT = (512, 256), 0.25
"""Width and height of the parts of a photo that are changed one after the other, so that each fits into the processor's
cache; and levels up to which a change is left out: enlarged it stays below half a level, which rounds to nothing."""


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_REPLICATE,
         method: int = cv2.INTER_LINEAR) -> np.ndarray:  # fmt: skip
    """Draw picture (H,W[,C]) through an affine of continuous pixels onto size (width, height); no antialiasing."""
    # OpenCV's pixel centres lie at whole numbers, ours at halves: A(x + 1/2) + b - 1/2.
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(picture, centred, size, flags=method, borderMode=border)


def resample(
    picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int, rounded: bool = True
) -> np.ndarray:
    """As warp, but antialiased: what shrinks is first averaged over areas, then turned at its final scale. rounded:
    False gives float32 for a picture of uint8, which may lie a little outside 0..255."""
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.5 and min(picture.shape[:2]) > 1:
        picture, scale = halved(picture), 2 * scale
        matrix = matrix @ np.diag([2.0, 2.0, 1.0])
    if not rounded:
        picture = picture.astype(np.float32)
    if scale < 1:
        height, width = picture.shape[:2]
        small = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
    return warp(picture, matrix, size, border, cv2.INTER_CUBIC)


def halved(picture: np.ndarray) -> np.ndarray:
    """A picture (H,W[,C]) at half its size, each pixel the mean of four; an odd last row or column is left out."""
    # OpenCV has a fast way for a factor of exactly two; averaging over fractions of pixels takes ten times as long. It
    # rounds halves up, so it is gone once, where the picture is largest.
    height, width = (side // 2 for side in picture.shape[:2])
    return cv2.resize(picture[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)


def shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture (H,W[,C]) at a smaller size, averaged over areas."""
    if picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        picture = halved(picture)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def crop(photo: np.ndarray, matrix: np.ndarray, size: int, rounded: bool = True) -> np.ndarray:
    """The aligned face (size,size,3) uint8; antialiased when it shrinks, the border repeated where the photo ends.
    rounded: False gives float32 in 0..255."""
    left, top, right, bottom = reach(invert(matrix), (size, size), photo.shape)
    part = photo[top:bottom, left:right]
    face = resample(part, placed(matrix, left, top), (size, size), cv2.BORDER_REPLICATE, rounded)
    return face if rounded else face.clip(0, 255)


def part_around(
    matrix: np.ndarray, size: int, shape: tuple[int, ...], reach: tuple[float, float, float, float]
) -> tuple[np.ndarray, float]:
    """The square around a frame of size x size pixels that shows a photo of shape (H,W,...), with a margin, as far as
    `reach` (left, top, right, bottom): its upper left corner (2,) and its side. All in sides of the frame, which it
    always covers."""
    corners = apply(matrix, np.array([[0, 0], [shape[1], 0], [0, shape[0]], shape[1::-1]], np.float64)) / size
    low = np.minimum(np.maximum(corners.min(0) - MARGIN, reach[:2]), 0)
    high = np.maximum(np.minimum(corners.max(0) + MARGIN, reach[2:]), 1)
    side = float((high - low).max())
    return (low + high - side) / 2, side


def part_matrix(matrix: np.ndarray, size: int, corner: np.ndarray, side: float, pixels: int) -> np.ndarray:
    """The affine (2,3) of a frame of size x size pixels -> that of a square of pixels x pixels, whose upper left corner
    (2,) and side are in sides of the frame."""
    out = matrix / size
    out[:, 2] -= corner
    return out * (pixels / side)


def valid_mask(shape: tuple[int, ...], matrix: np.ndarray, size: int) -> np.ndarray:
    """How much of each face pixel the photo covers: (size,size) float32 0..1; shape is the photo's (H,W,...)."""
    grid = np.stack(np.meshgrid(*[np.arange(size) + 0.5] * 2), -1)
    x, y = np.moveaxis(apply(invert(matrix), grid), -1, 0)
    inside = np.minimum(np.minimum(x, shape[1] - x), np.minimum(y, shape[0] - y))
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    return np.clip(inside * scale + 0.5, 0, 1).astype(np.float32)


def paste(photo: np.ndarray, before: np.ndarray, after: np.ndarray, matrix: np.ndarray,
          mask: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """A copy of the photo with what changed between two aligned faces added to it.

    before, after (S,S,3) in 0..255, uint8 or float; matrix as from frame_matrix for size S; mask (S,S) in 0..1
    weighs the change further. Only the difference is enlarged, so the photo's own detail stays, and where nothing
    changed every byte stays as it is, but for some five pixels beside an edge that came or went. There the face takes
    the photo's place, as far as it is no coarser: what is finer in the photo than in `before` would stay as a line.
    """
    before = np.asarray(before, np.float32)
    change = np.asarray(after, np.float32) - before
    return paste_change(photo, change if mask is None else change * mask[..., None], matrix, before)


def paste_change(
    photo: np.ndarray, change: np.ndarray, matrix: np.ndarray, before: np.ndarray | None = None
) -> np.ndarray:
    """`paste` of a change (S,S,3) float32 in levels of 255. before: None adds it everywhere."""
    size, scale = len(change), math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    weight = border_mask(size, quiet=2 * max(scale, 1))  # as far as resampling reaches
    change, instead = np.ascontiguousarray(change * weight[..., None]), None
    if before is not None and held(scale) > 0:
        instead = held(scale) * weight * edges(change)
        change += instead[..., None] * before
    out = photo.copy()
    left, top, right, bottom = reach(invert(matrix), (size, size), photo.shape)
    if scale > 1:  # averaged over areas, which must lie where they lie in the whole
        add_to(out[top:bottom, left:right], change, instead, invert(placed(matrix, left, top)))
        return out
    wide, high = TILE
    for y in range(top, bottom, high):
        for x in range(left, right, wide):
            region, there = out[y : min(y + high, bottom), x : min(x + wide, right)], placed(matrix, x, y)
            x0, y0, x1, y1 = reach(there, region.shape[1::-1], change.shape)
            part = np.s_[y0:y1, x0:x1]
            gone = None if instead is None else instead[part]
            add_to(region, change[part], gone, placed(invert(there), x0, y0))
    return out


def add_to(region: np.ndarray, change: np.ndarray, instead: np.ndarray | None, matrix: np.ndarray) -> None:
    """Add a change (S,T,3) of levels to a region (h,w,3) uint8 of a photo, and take away how much of it goes, instead
    (S,T) in 0..1. matrix (2,3): from pixels of the change to those of the region."""
    if cv2.norm(change, cv2.NORM_INF) < FAINT:
        return
    size = region.shape[1::-1]
    added = resample(change, matrix, size, cv2.BORDER_CONSTANT)
    if instead is not None and instead.any():
        added -= resample(instead, matrix, size, cv2.BORDER_CONSTANT)[..., None] * region
    region[:] = cv2.add(region, added, dtype=cv2.CV_8U)  # rounds to the nearest level, clips to 0..255


def placed(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    """An affine (2,3) for positions that are counted from (x, y)."""
    return matrix @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def edges(change: np.ndarray) -> np.ndarray:
    """Where edges came or went in a change (S,S,3) of levels: (S,S) float32 in 0..1."""
    grey = cv2.transform(change, np.full((1, 3), 1 / 3))
    fine = cv2.GaussianBlur(cv2.absdiff(grey, cv2.GaussianBlur(grey, (0, 0), SHARP)), (0, 0), AROUND)
    low, high = EDGE
    return np.clip((fine - low) / (high - low), 0, 1)


def held(scale: float) -> float:
    """How much of a photo's detail a frame of `scale` pixels a pixel of the photo holds, 0..1."""
    return min(max(2 * scale - 1, 0.0), 1.0)
