"""Pictures to learn face finding from: aligned faces pasted over made-up backgrounds, drawn anew every time.

Everything is numpy and OpenCV on uint8 RGB; positions are continuous pixels (the first pixel covers 0..1).
A *frame row* is (centre x, centre y, axis x, axis y): the face centre and the frame's x side as a vector.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from ...images.alignment import warp
from ...images.search import FACE_CENTRE, MARKER_SPAN
from ...networks.mirror import MIRROR
from .backgrounds import Backgrounds, FaceBank, ellipse_mask, soft_frame
from .coverings import wear_mask

MASKED = 0.15
"""Share of the faces that wear a mask."""


class Face(NamedTuple):
    """One aligned face ready to be pasted."""

    pixels: np.ndarray  # (S,S,4) uint8, alpha = how much of it is pasted
    landmarks: np.ndarray  # (68,2) 0..1 of the frame


class Scene(NamedTuple):
    """One canvas for the seeker."""

    picture: np.ndarray  # (S,S,3) uint8
    frames: np.ndarray  # (n,4) float64 frame rows, faces whose centre is on the canvas


class Closeup(NamedTuple):
    """One crop for the marker."""

    picture: np.ndarray  # (S,S,3) uint8
    landmarks: np.ndarray  # (68,2) 0..1 of the crop; may lie outside it
    is_face: bool


@dataclass
class Composer:
    """Draws scenes of `canvas` and closeups of `closeup` pixels from a bank of faces."""

    bank: FaceBank
    backgrounds: Backgrounds
    canvas: int = 96
    closeup: int = 96
    masks: list[np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        side = self.bank.side
        wide, close = (
            ellipse_mask(side, (0.5, 0.52), (0.46, 0.5)),
            ellipse_mask(side, (0.5, 0.6), (0.36, 0.42)),
        )
        self.masks = [soft_frame(side, 0.02), soft_frame(side, 0.12), wide, close]

    def face(self, rng: np.random.Generator) -> Face:
        """A random face, mirrored half the time, with its alpha eroded, feathered and cut to a random shape."""
        pixels, landmarks = self.bank.draw(rng)
        if rng.random() < 0.5:
            pixels, landmarks = pixels[:, ::-1].copy(), landmarks[list(MIRROR)] * [-1, 1] + [1, 0]
        alpha = pixels[..., 3]
        if alpha.min() < 255:
            alpha = cv2.blur(cv2.erode(alpha, np.ones((7, 7), np.uint8)), (5, 5))
        mask = self.masks[rng.choice(4, p=(0.4, 0.25, 0.25, 0.1))]
        pixels[..., 3] = cv2.multiply(alpha, mask, scale=1 / 255)
        if rng.random() < MASKED:
            wear_mask(pixels, landmarks, rng)
        if rng.random() < 0.15:
            self._occlude(pixels, rng)
        return Face(pixels, landmarks)

    def scene(self, rng: np.random.Generator) -> Scene:
        """A canvas with up to five faces of every size and turn, or decoys, or one portrait that fills a photo."""
        if rng.random() < 0.3:
            return self._portrait(rng)
        canvas = self.backgrounds.draw(rng, self.canvas)
        for _ in range(rng.choice(3, p=(0.5, 0.3, 0.2))):
            decoy = Face(self.backgrounds.decoy(rng, self.face(rng).pixels), np.zeros((68, 2)))
            canvas = paste_face(canvas, decoy, random_frame(rng, self.canvas))
        frames: list[np.ndarray] = []
        for _ in range(rng.choice(6, p=(0.12, 0.3, 0.25, 0.15, 0.1, 0.08))):
            row = random_frame(rng, self.canvas)
            if all(apart(row, other) for other in frames):
                canvas = paste_face(canvas, self.face(rng), row)
                frames.append(row)
        return self._finish(canvas, frames, rng)

    def _portrait(self, rng: np.random.Generator) -> Scene:
        """A face that fills most of a small photo; the rest of the canvas is padding, as at a coarse level."""
        size = int(rng.uniform(0.4, 1.0) * self.canvas)
        photo = self.backgrounds.draw(rng, size)
        side = size * rng.uniform(0.5, 1.5)
        turn = np.radians(rng.normal(0, 10))
        centre = size * np.clip(rng.normal(0.5, 0.1, 2), 0.2, 0.8)
        row = np.r_[centre, side * np.cos(turn), side * np.sin(turn)]
        face = self.face(rng) if rng.random() < 0.8 else None
        decoy = face or Face(self.backgrounds.decoy(rng, self.face(rng).pixels), np.zeros((68, 2)))
        photo = spoil(paste_face(photo, decoy, row), rng)
        canvas = np.full((self.canvas, self.canvas, 3), 128, np.uint8)
        x, y = rng.integers(0, self.canvas - size + 1, 2)
        canvas[y : y + size, x : x + size] = photo
        frames = (row + np.r_[x, y, 0, 0])[None] if face else np.zeros((0, 4))
        return Scene(canvas, frames)

    def _finish(self, canvas: np.ndarray, frames: list[np.ndarray], rng: np.random.Generator) -> Scene:
        rows = np.array(frames).reshape(-1, 4)
        inside = ((rows[:, :2] > 0) & (rows[:, :2] < self.canvas)).all(1)
        return Scene(spoil(canvas, rng), rows[inside])

    def closeup_of_face(self, rng: np.random.Generator) -> Closeup:
        """A face as the marker sees it: roughly placed (first look) or nearly upright (second look)."""
        face, canvas = self.face(rng), self.backgrounds.draw(rng, self.closeup)
        row = closeup_frame(rng, self.closeup / MARKER_SPAN)
        picture = spoil(paste_face(canvas, face, row), rng, coarsest=18 / self.closeup)
        points = face.landmarks @ frame_axes(row).T + frame_corner(row)
        return Closeup(picture, points / self.closeup, True)

    def closeup_of_none(self, rng: np.random.Generator) -> Closeup:
        """No face, or one so far off, so large, so small or so turned that it must not count."""
        canvas, nothing = self.backgrounds.draw(rng, self.closeup), np.zeros((68, 2))
        kind, row = rng.choice(3, p=(0.35, 0.35, 0.3)), closeup_frame(rng, self.closeup / MARKER_SPAN)
        if kind == 1:
            canvas = paste_face(
                canvas, Face(self.backgrounds.decoy(rng, self.face(rng).pixels), nothing), row
            )
        if kind == 2:
            canvas = paste_face(canvas, self.face(rng), misplaced(row, rng))
        return Closeup(spoil(canvas, rng, coarsest=18 / self.closeup), nothing, False)

    @staticmethod
    def _occlude(pixels: np.ndarray, rng: np.random.Generator) -> None:
        """Covers a part of the face by a bar, a disc or a strip of another colour, in place."""
        side = len(pixels)
        colour = (*(int(v) for v in rng.integers(0, 256, 3)), 255)
        x, y = (int(v) for v in rng.uniform(0.1, 0.9, 2) * side)
        radius = int(side * rng.uniform(0.08, 0.2))
        if rng.random() < 0.5:
            cv2.circle(pixels, (x, y), radius, colour, -1, cv2.LINE_AA)
        else:
            far = (x + int(rng.normal(0, side / 2)), y + int(rng.normal(0, side / 2)))
            cv2.line(pixels, (x, y), far, colour, radius, cv2.LINE_AA)


def frame_axes(row: np.ndarray) -> np.ndarray:
    """Columns are the frame's x and y side in pixels: (2,2)."""
    ax, ay = row[2:]
    return np.array([[ax, -ay], [ay, ax]])


def frame_corner(row: np.ndarray) -> np.ndarray:
    """Where the frame's upper left corner lies: (2,)."""
    return row[:2] - frame_axes(row) @ FACE_CENTRE


def paste_face(canvas: np.ndarray, face: Face, row: np.ndarray) -> np.ndarray:
    """Blends a face at a frame row over a copy of the canvas (H,W,3); shrunk by area before it is turned."""
    pixels, side = face.pixels, float(np.hypot(*row[2:]))
    while side * 1.6 < len(pixels) and len(pixels) > 16:
        pixels = cv2.resize(pixels, (len(pixels) // 2,) * 2, interpolation=cv2.INTER_AREA)
    matrix = np.c_[frame_axes(row) / len(pixels), frame_corner(row)]
    placed = warp(pixels, matrix, canvas.shape[1::-1], border=cv2.BORDER_CONSTANT).astype(np.float32)
    alpha = placed[..., 3:] / 255
    return (canvas * (1 - alpha) + placed[..., :3] * alpha + 0.5).astype(np.uint8)


def random_frame(rng: np.random.Generator, canvas: int) -> np.ndarray:
    """A frame row of 14 px to 1.6 canvases, mostly of the seeker's size, turned within +-35 degrees or so."""
    low, high = ((14, 28), (28, 76), (76, canvas * 1.6))[rng.choice(3, p=(0.12, 0.73, 0.15))]
    side = np.exp(rng.uniform(np.log(low), np.log(high)))
    turn = np.radians(rng.normal(0, 9) if rng.random() < 0.6 else rng.uniform(-38, 38))
    centre = rng.uniform(-0.05, 1.05, 2) * canvas
    return np.r_[centre, side * np.cos(turn), side * np.sin(turn)]


def closeup_frame(rng: np.random.Generator, side: float) -> np.ndarray:
    """A frame row that nearly fills a closeup: half of them as after the seeker, half as after a first look."""
    rough = rng.random() < 0.5
    turn = np.radians(rng.uniform(-28, 28) if rough else rng.normal(0, 4))
    scale = np.exp(rng.uniform(-0.3, 0.3) if rough else rng.normal(0, 0.06))
    shift = rng.uniform(-0.12, 0.12, 2) if rough else rng.normal(0, 0.025, 2)
    centre = side * MARKER_SPAN * (0.5 + shift)
    return np.r_[centre, side * scale * np.cos(turn), side * scale * np.sin(turn)]


def misplaced(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same frame half a frame or more away, 2 to 3 times too large or small, or turned over."""
    side, kind = np.hypot(*row[2:]), rng.choice(4)
    if kind == 0:
        turn = rng.uniform(0, 2 * np.pi)
        return row + np.r_[side * rng.uniform(0.45, 0.8) * np.array([np.cos(turn), np.sin(turn)]), 0, 0]
    if kind == 3:
        turn = rng.uniform(np.pi / 2, 3 * np.pi / 2)
        c, s = np.cos(turn), np.sin(turn)
        return np.r_[row[:2], np.array([[c, -s], [s, c]]) @ row[2:]]
    return row * np.r_[1, 1, [rng.uniform(2, 3) if kind == 1 else rng.uniform(0.3, 0.5)] * 2]


def apart(row: np.ndarray, other: np.ndarray) -> bool:
    """Whether two frames' faces (the middle 0.56 of each frame) hardly overlap."""
    reach = 0.28 * (np.hypot(*row[2:]) + np.hypot(*other[2:]))
    return bool(np.abs(row[:2] - other[:2]).max() > 0.9 * reach)


def spoil(picture: np.ndarray, rng: np.random.Generator, coarsest: float = 0.6) -> np.ndarray:
    """What cameras and the web do: low resolution, blur, light, colour, grey, noise, JPEG; uint8 in and out."""
    side = len(picture)
    if rng.random() < 0.3:
        small = max(8, int(side * rng.uniform(coarsest, 1)))
        picture = cv2.resize(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    elif rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.5))
    light = picture.astype(np.float32) * rng.uniform(0.6, 1.3) + rng.normal(0, 14)
    if rng.random() < 0.5:
        light = light * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < 0.12:
        light = np.repeat(light.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.4:
        light += rng.standard_normal(light.shape, np.float32) * rng.uniform(2, 14)
    picture = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return picture
