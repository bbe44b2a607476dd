"""Resampling without OpenCV: `alignment.crop` and what leads to it, in NumPy alone, to the same levels."""

from __future__ import annotations

import math

import numpy as np

from .frames import invert, reach


def area(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture (H,W,C) averaged over the areas of height x width cells, no larger: uint8 rounded, or float32."""
    if picture.shape[:2] == (2 * height, 2 * width):
        return halved(picture)
    # Across first and with shares of 1, as OpenCV sums: so its levels are these to the last.
    small = np.moveaxis(_along(np.moveaxis(picture, 1, 0), width), 0, 1)
    small = _along(small, height)
    return np.rint(small).astype(np.uint8) if picture.dtype == np.uint8 else small


def halved(picture: np.ndarray) -> np.ndarray:
    """As alignment.halved."""
    height, width = (side // 2 for side in picture.shape[:2])
    levels = picture.dtype == np.uint8  # of which OpenCV rounds halves up
    wide: np.ndarray = picture[: 2 * height, : 2 * width].astype(np.uint16 if levels else np.float32)
    wide = np.add(wide[::2], wide[1::2])
    wide = np.add(wide[:, ::2], wide[:, 1::2])
    return ((wide + 2) // 4).astype(np.uint8) if levels else np.divide(wide, np.float32(4))


def shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """As alignment.shrink."""
    if picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        picture = halved(picture)
    return area(picture, width, height)


def _along(picture: np.ndarray, count: int) -> np.ndarray:
    """(N,M,C) -> means of `count` equal parts of the first axis, (count,M,C) float32."""
    # A part from a to b holds the pixels floor(a) .. ceil(b) - 1, the first and the last in part.
    size = len(picture)
    if count == size:
        return picture.astype(np.float32)
    ends = np.arange(count + 1) * (size / count)
    first, last = ends[:-1].astype(int), np.ceil(ends[1:] - 1e-9).astype(int).clip(max=size)
    out = np.zeros((count, *picture.shape[1:]), np.float32)
    for step in range(int((last - first).max())):
        at = first + step
        share = (np.minimum(ends[1:], at + 1) - np.maximum(ends[:-1], at)) / (size / count)
        out += picture[at.clip(max=size - 1)] * share.clip(0)[:, None, None].astype(np.float32)
    return out


def places(matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a picture of size (width, height), drawn through an affine (2,3) of continuous pixels, lie in
    its source: x and y (height,width) float32, 0 the centre of its first pixel. In float32 throughout, as OpenCV's
    are: a more exact place would have a level in some thousands rounded the other way."""
    back = invert(matrix)
    back[:, 2] += back[:, :2] @ (0.5, 0.5) - 0.5
    across, down = (np.arange(n, dtype=np.float32) for n in size)
    x, y = (row[0] * across + (row[1] * down[:, None] + row[2]) for row in back.astype(np.float32))
    return x, y


def cubic(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int], rounded: bool = True) -> np.ndarray:
    """A picture (H,W,3) drawn through an affine onto size (width, height), its border repeated, bicubic: uint8, or,
    where it is not rounded, float32 in 0..255."""
    height, width = picture.shape[:2]
    x, y = (at.ravel() for at in places(matrix, size))
    left, top = np.floor(x), np.floor(y)
    across, down = _weights(x - left), _weights(y - top)
    wide = np.pad(picture.transpose(2, 0, 1), ((0, 0), (3, 3), (3, 3)), mode="edge").astype(np.float32)
    planes = wide.reshape(3, -1)
    first = ((top.clip(-2, height) + 2) * (width + 6) + left.clip(-2, width) + 2).astype(np.intp)
    # One colour at a time, in long lines, is what NumPy is fast at. No place lies outside: "clip" saves the check.
    out = np.full((3, len(first)), 0.5 if rounded else 0.0, np.float32)
    seen = np.empty_like(out[0])
    for j, i in np.ndindex(4, 4):
        away, share = j * (width + 6) + i, down[j] * across[i]
        for plane, total in zip(planes, out, strict=True):
            np.take(plane[away:], first, out=seen, mode="clip")
            seen *= share
            total += seen
    levels = out.clip(0, 255, out=out)
    if rounded:
        levels = levels.astype(np.uint8)  # 0.5 above
    return np.ascontiguousarray(levels.T).reshape(size[1], size[0], 3)


def _weights(share: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the four pixels around a place `share` beyond the second: Keys' cubic with a = -0.75, as OpenCV's."""
    a, t = -0.75, share.astype(np.float32)
    rest = 1 - t
    first, fourth = a * t * rest * rest, a * rest * t * t
    second = ((a + 2) * t - (a + 3)) * t * t + 1
    return first, second, 1 - first - second - fourth, fourth


def crop(photo: np.ndarray, matrix: np.ndarray, size: int, rounded: bool = True) -> np.ndarray:
    """As alignment.crop: the aligned face (size,size,3)."""
    left, top, right, bottom = reach(invert(matrix), (size, size), photo.shape)
    moved = matrix @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    region = photo[top:bottom, left:right]
    smaller, moved = shrunk(region, moved, rounded)
    return cubic(smaller, moved, (size, size), rounded)


def shrunk(picture: np.ndarray, matrix: np.ndarray, rounded: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A picture averaged over areas to the scale at which an affine draws it, where that is smaller, and what is left
    of the affine: in the steps of alignment.resample, as each rounds."""
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.5 and min(picture.shape[:2]) > 1:
        picture, scale = halved(picture), 2 * scale
        matrix = matrix @ np.diag([2.0, 2.0, 1.0])
    if not rounded:
        picture = picture.astype(np.float32)
    if scale >= 1:
        return picture, matrix
    height, width = picture.shape[:2]
    small = max(1, round(width * scale)), max(1, round(height * scale))
    return area(picture, *small), matrix @ np.diag([width / small[0], height / small[1], 1.0])
