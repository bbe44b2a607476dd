"""Pictures of a head's pose, as ControlNets were trained to read them, drawn from 68 landmarks with depth.

Two styles. MediaPipeFace: the outlines that CrucibleAI/ControlNetMediaPipeFace was trained on, coloured by part; its
annotator draws hidden lines too, and so do we. OpenPose: the face's points in white and nose, eyes and ears as limbs,
for lllyasviel/control_v11p_sd15_openpose and xinsir/controlnet-openpose-sdxl-1.0; its detector does not find what it
does not see, so hidden points are left out. Both annotators draw on 512 pixels; strokes grow with the picture.

Landmarks (68,3): iBUG's 68 points, x and y in 0..1 of the frame, z in the same unit, larger is nearer to the viewer.
"Right" is the person's right, at the left of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

STYLES = ("mediapipe_face", "openpose")
DRAWN_ON = 512
"""The side in pixels for which both annotators' strokes are given."""
JAW, RIGHT_BROW, LEFT_BROW = slice(0, 17), slice(17, 22), slice(22, 27)
RIGHT_EYE, LEFT_EYE, OUTER_LIPS, INNER_LIPS = slice(36, 42), slice(42, 48), slice(48, 60), slice(60, 68)
NOSE = 30
ANCHORS = (0, 16, 8, 27)
FOREHEAD = np.array(
    [
        [0.937, -0.046, -0.123, 0.233], [0.837, -0.098, -0.220, 0.482], [0.716, -0.126, -0.306, 0.716],
        [0.564, -0.134, -0.368, 0.938], [0.387, -0.104, -0.405, 1.123], [0.229, -0.034, -0.422, 1.226],
        [0.085, 0.085, -0.423, 1.254],
    ]
)  # fmt: skip
"""The upper half of MediaPipe's face oval from the right temple to the middle, as weights of the landmarks ANCHORS (the
jaw's ends, chin, root of the nose): least squares in three dimensions over the faces of five public sets in which
MediaPipe's landmarker found one. Half of the faces have the middle within 0.014 frame sides of this, 95 % within 0.034.
Weights sum to 1, so the arc turns and grows with the head."""

OVAL, LIPS = (10, 200, 10), (10, 180, 10)
RIGHT = {"eye": (180, 200, 10), "brow": (180, 220, 10), "pupil": (250, 200, 10)}
LEFT = {part: colour[::-1] for part, colour in RIGHT.items()}
"""The MediaPipeFace annotator's colours, RGB: the left side has the right side's with red and blue exchanged."""
LIMBS = ((0, 1, (85, 0, 255)), (1, 3, (170, 0, 255)), (0, 2, (255, 0, 255)), (2, 4, (255, 0, 170)))
JOINTS = ((255, 0, 0), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85))
"""OpenPose's limbs of the head between nose, right eye, left eye, right ear and left ear, and these joints' colours."""


def draw_pose(style: str, landmarks: np.ndarray, seen: np.ndarray, side: int) -> np.ndarray:
    """One head as a control picture (side,side,3) uint8 RGB. landmarks (68,3); seen (68,) bool, see `visible`."""
    return mediapipe_face(landmarks, side) if style == "mediapipe_face" else openpose(landmarks, seen, side)


def mediapipe_face(landmarks: np.ndarray, side: int) -> np.ndarray:
    """Oval, brows, eyes, lips and pupils, (side,side,3) uint8 RGB.

    The 68 points know neither the brows' lower edges, which are not drawn, nor the gaze: it is straight ahead.
    """
    picture = np.zeros((side, side, 3), np.uint8)
    points = landmarks[:, :2]
    oval = np.concatenate([points[JAW], forehead(landmarks)[::-1, :2]])
    _line(picture, oval, OVAL, closed=True)
    for lips in (OUTER_LIPS, INNER_LIPS):
        _line(picture, points[lips], LIPS, closed=True)
    for brow, eye, colours in ((RIGHT_BROW, RIGHT_EYE, RIGHT), (LEFT_BROW, LEFT_EYE, LEFT)):
        _line(picture, points[brow], colours["brow"])
        _line(picture, points[eye], colours["eye"], closed=True)
        reach = _stroke(2, side)
        x, y = _pixels(points[eye].mean(0), side)
        cv2.rectangle(picture, (x - reach, y - reach), (x + reach - 1, y + reach - 1), colours["pupil"], -1)
    return picture


def openpose(landmarks: np.ndarray, seen: np.ndarray, side: int) -> np.ndarray:
    """The head's limbs at 60 % and, above them, the seen ones of 70 points, (side,side,3) uint8 RGB.

    An ear is where the jaw line ends, a pupil in the middle of its eye.
    """
    picture = np.zeros((side, side, 3), np.uint8)
    pupils = [landmarks[eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)]
    pupils_seen = [seen[eye].mean() > 0.5 for eye in (RIGHT_EYE, LEFT_EYE)]
    joints = np.stack([landmarks[NOSE], *pupils, landmarks[0], landmarks[16]])[:, :2]
    found = (seen[NOSE], *pupils_seen, seen[0], seen[16])
    for start, end, colour in LIMBS:
        if found[start] and found[end]:
            _limb(picture, joints[start], joints[end], colour)
    picture = (picture * 0.6).astype(np.uint8)
    for joint, colour, drawn in zip(joints, JOINTS, found, strict=True):
        if drawn:
            cv2.circle(picture, _pixels(joint, side), _stroke(4, side), colour, -1)
    points = np.concatenate(
        [landmarks[seen], *(p[None] for p, s in zip(pupils, pupils_seen, strict=True) if s)]
    )
    for point in points[:, :2]:
        cv2.circle(picture, _pixels(point, side), _stroke(3, side), (255, 255, 255), -1)
    return picture


def forehead(landmarks: np.ndarray) -> np.ndarray:
    """(68,3) -> (13,3): the face oval's upper half between the jaw's ends, from the right to the left."""
    right = FOREHEAD @ landmarks[list(ANCHORS)]
    left = FOREHEAD[:-1] @ landmarks[[ANCHORS[1], ANCHORS[0], *ANCHORS[2:]]]
    return np.concatenate([right, left[::-1]])


def visible(
    points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, margin: float = 0.04
) -> np.ndarray:
    """Which points (P,3) no triangle of a mesh hides, (P,) bool.

    vertices (V,3), triangles (T,3): the head's surface, in the points' unit. margin: how much nearer than a point a
    surface must be to hide it; the surface on which a point lies does not.
    """
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))  # (T,3) each
    (ux, uy), (vx, vy) = (b - a)[:, :2].T, (c - a)[:, :2].T
    area = ux * vy - uy * vx
    flat = np.abs(area) < 1e-12
    area = np.where(flat, 1.0, area)
    x, y = ((points[:, None] - a)[..., axis] for axis in (0, 1))  # (P,T) each
    along_b, along_c = (x * vy - y * vx) / area, (ux * y - uy * x) / area
    covers = (along_b >= 0) & (along_c >= 0) & (along_b + along_c <= 1) & ~flat
    depth = a[:, 2] + along_b * (b - a)[:, 2] + along_c * (c - a)[:, 2]
    return ~(covers & (depth > points[:, 2:] + margin)).any(1)


def _line(picture: np.ndarray, points: np.ndarray, colour: tuple[int, ...], closed: bool = False) -> None:
    corners = np.array([_pixels(point, len(picture)) for point in points], np.int32)
    cv2.polylines(picture, [corners], closed, colour, _stroke(2, len(picture)))


def _limb(picture: np.ndarray, start: np.ndarray, end: np.ndarray, colour: tuple[int, ...]) -> None:
    """An ellipse between two joints."""
    (x, y), length = (end - start) * len(picture), float(np.hypot(*(end - start))) * len(picture)
    axes, angle = (int(length / 2), _stroke(4, len(picture))), int(np.degrees(np.arctan2(y, x)))
    outline = cv2.ellipse2Poly(_pixels((start + end) / 2, len(picture)), axes, angle, 0, 360, 1)
    cv2.fillConvexPoly(picture, np.array(outline, np.int32), colour)


def _pixels(point: Iterable[float], side: int) -> tuple[int, int]:
    """The pixel in which a point of the frame lies."""
    x, y = (int(np.floor(value * side)) for value in point)
    return x, y


def _stroke(pixels: int, side: int) -> int:
    """A stroke of the annotator at this side."""
    return max(1, round(pixels * side / DRAWN_ON))
