"""Measuring the head model of `networks.head` on the 478 points with depth that MediaPipe sees on real faces.

All faces are brought to one pose and size. What their blendshape scores explain of the rest is expression, what is
left is identity; principal components of either are kept. Both sides of a face count as two faces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ...errors import BadInput, MissingModel
from ...networks.head import HeadModel, rotation
from ...networks.warp import fit_similarity
from ..external.mediapipe_face import IBUG

POINTS = 478
FACE = 468
"""MediaPipe's points without the irises."""
DEPTH = 1.1
"""MediaPipe's depth is too flat by this factor: with it the faces of one yaw look most like those of another."""
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
"""The outline of the face in MediaPipe's mesh, clockwise from the top of the forehead."""
TEMPLES = (234, 454)
"""Where the face meets the ears, on the axis about which heads turn: the model's origin and unit."""
LIPS_INSIDE = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYES_INSIDE = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
FRAME = (0.56, 0.5, 0.56)
"""Size and place of a typical face in its frame, on which the triangles are chosen."""


class Ring(NamedTuple):
    """One ring around the face: how far out it lies, in radii of the outline, beside, above and below the face; how far
    behind it, in face widths, beside or above and below; how much it turns; how much it is pinned."""

    beside: float
    above: float
    below: float
    back: float
    back_below: float
    turning: float
    pinned: float


RINGS = (
    Ring(1.08, 1.12, 1.03, 0.08, 0.22, 0.95, 0.0),
    Ring(1.20, 1.30, 1.06, 0.18, 0.35, 0.8, 0.1),
    Ring(1.35, 1.50, 1.10, 0.25, 0.40, 0.5, 0.35),
    Ring(1.50, 1.70, 1.15, 0.30, 0.45, 0.2, 0.7),
)


def rest_pose(points: np.ndarray, pose: np.ndarray, rounds: int = 5) -> np.ndarray:
    """MediaPipe's points (N,478,3) and poses (N,3) degrees -> (N,468,3) in the model's axes and unit.

    Every face is turned, scaled and shifted onto the mean face, which looks as those do whose yaw and pitch are near 0.
    """
    shapes = points[:, :FACE].astype(np.float64) * (1, 1, -DEPTH)
    shapes -= shapes.mean(1, keepdims=True)
    front = (np.abs(pose[:, :2]) < 5).all(1)
    off = torch.tensor([[pose[front, 0].mean(), pose[front, 1].mean(), 0.0]])
    ahead = shapes[front].mean(0) @ rotation(off)[0].numpy()
    ahead = (ahead + mirrored(ahead, mirror_index(ahead))) / 2
    ahead /= np.linalg.norm(ahead[TEMPLES[0]] - ahead[TEMPLES[1]])
    mean = ahead
    for _ in range(rounds):
        shapes = onto(shapes, mean)
        mean = onto(shapes.mean(0)[None], ahead)[0]
    origin = mean[list(TEMPLES)].mean(0)
    return shapes - origin


def onto(shapes: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Shapes (N,V,3) turned, scaled and shifted onto the goal (V,3), by least squares."""
    given = torch.from_numpy(np.ascontiguousarray(shapes, np.float64))
    return fit_similarity(given, torch.from_numpy(np.float64(goal))[None]).apply(given).numpy()


def mirror_index(shape: np.ndarray) -> np.ndarray:
    """(V,): for each point of a nearly symmetric shape (V,3) the point on its other side."""
    other, found = shape * (-1, 1, 1), np.arange(len(shape))
    other += (2 * shape[:, 0].mean(), 0, 0)
    for _ in range(5):  # nearest points, then the best fit, as in ICP
        found = np.linalg.norm(other[:, None] - shape[None], axis=2).argmin(1)
        other = onto(other[None], shape[found])[0]
    if not (found[found] == np.arange(len(shape))).all():
        raise BadInput("the mean of the measured faces is not symmetric; more faces are needed")
    return found


def mirrored(shapes: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Shapes (...,V,3), or differences of shapes, seen in a mirror."""
    return shapes[..., mirror, :] * (-1, 1, 1)


def main_directions(shapes: np.ndarray, mirror: np.ndarray, count: int) -> np.ndarray:
    """Principal components of deviations (N,V,3) and their mirror images, one standard deviation long: (count,V,3).

    Each is symmetric or antisymmetric, as the components of a symmetric set are.
    """
    both = np.concatenate([shapes, mirrored(shapes, mirror)]).reshape(2 * len(shapes), -1)
    spread, directions = np.linalg.eigh(both.T @ both / len(both))
    top = np.argsort(spread)[::-1][:count]
    return (directions[:, top] * np.sqrt(spread[top])).T.reshape(count, -1, 3)


def explained(shapes: np.ndarray, scores: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """The part (N,V,3) of deviations (N,V,3) that blendshape scores (N,52) explain linearly."""
    design = scores - scores.mean(0)
    gram = design.T @ design / len(design)
    slopes = np.linalg.solve(
        gram + ridge * np.eye(len(gram)), design.T @ shapes.reshape(len(shapes), -1) / len(design)
    )
    return (design @ slopes).reshape(shapes.shape)


def surround(face: np.ndarray) -> np.ndarray:
    """The rings' points (..., len(RINGS)*36, 3) around faces (...,468,3); affine in the face."""
    oval = face[..., OVAL, :]
    middle = (face[..., OVAL[:1], :] + face[..., OVAL[18:19], :]) / 2
    down = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    down = -np.cos(down)[:, None]  # -1 above, 1 below
    above, below = np.maximum(-down, 0), np.maximum(down, 0) ** 2
    temples = face[..., TEMPLES, :].mean(-2, keepdims=True)
    rings = []
    for ring in RINGS:
        out = ring.beside + (ring.above - ring.beside) * above + (ring.below - ring.beside) * below
        back = ring.back + (ring.back_below - ring.back) * below
        points = middle + out * (oval - middle)
        share = np.minimum(back / 0.5, 1)
        points[..., 2:] = oval[..., 2:] + share * (temples - 0.1 - oval)[..., 2:]
        rings.append(points)
    return np.concatenate(rings, -2)


def build(
    points: np.ndarray, scores: np.ndarray, pose: np.ndarray, identities: int, expressions: int
) -> HeadModel:
    """The head model of N measured faces: MediaPipe's points (N,478,3) and blendshape scores (N,52), poses (N,3)."""
    shapes = rest_pose(points, pose)
    mean = shapes.mean(0)
    mirror = mirror_index(mean)
    mean = (mean + mirrored(mean, mirror)) / 2
    away = shapes - mean
    acted = explained(away, scores)
    identity = main_directions(away - acted, mirror, identities)
    expression = main_directions(acted, mirror, expressions)
    gap = np.linalg.norm(shapes[:, LIPS_INSIDE[5]] - shapes[:, LIPS_INSIDE[15]], axis=1)
    open_mouth = shapes[gap > np.quantile(gap, 0.95)].mean(0)
    return assemble(mean, identity, expression, mirror, open_mouth)


def assemble(
    mean: np.ndarray, identity: np.ndarray, expression: np.ndarray, mirror: np.ndarray, reference: np.ndarray
) -> HeadModel:
    """The face (468,3) and its directions (K,468,3) with everything around it; the triangles suit `reference`."""
    pins = border()
    whole = np.concatenate([reference, surround(reference)])
    place = FRAME[0] * whole[:, :2] + FRAME[1:]
    pin = np.concatenate([to_border(place), pins])
    pinned = np.concatenate(
        [np.zeros(FACE), np.repeat([ring.pinned for ring in RINGS], len(OVAL)), np.ones(len(pins))]
    )
    turning = np.concatenate(
        [np.ones(FACE), np.repeat([ring.turning for ring in RINGS], len(OVAL)), np.zeros(len(pins))]
    )
    layout = np.concatenate([place, pins])
    layout += pinned[:, None] * (pin - layout)
    triangles, inside = triangulate(layout)
    behind = np.concatenate([np.zeros((len(pins), 2)), np.full((len(pins), 1), BORDER_DEPTH)], 1)

    def complete(faces: np.ndarray, borders: np.ndarray) -> np.ndarray:
        last = np.broadcast_to(borders, (*faces.shape[:-2], len(pins), 3))
        return np.concatenate([faces, surround(faces), last], -2)

    def change(directions: np.ndarray) -> np.ndarray:
        return complete(mean + directions, behind) - complete(mean, behind)

    model = HeadModel(len(layout), len(triangles), len(identity), len(expression))
    found = {
        "mean": complete(mean, behind),
        "identity": change(identity),
        "expression": change(expression),
        "turning": turning,
        "pinned": pinned,
        "pin": pin,
        "triangles": triangles,
        "inside": inside,
        "mirror": whole_mirror(mirror, len(pins)),
        "landmark_index": np.array(IBUG),
    }
    for name, value in found.items():
        getattr(model, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return model


BORDER_DEPTH = -0.6
"""How far behind the origin the border of the frame lies, in face widths."""
PER_SIDE = 10


def border() -> np.ndarray:
    """Points (4*PER_SIDE,2) along the border of the frame, clockwise from its upper left corner."""
    along = np.arange(PER_SIDE) / PER_SIDE
    top = np.stack([along, np.zeros(PER_SIDE)], 1)
    turn = np.array([[0, 1], [-1, 0]])  # a quarter turn clockwise about the middle
    sides = [top]
    for _ in range(3):
        sides.append((sides[-1] - 0.5) @ turn + 0.5)
    return np.concatenate(sides)


def to_border(place: np.ndarray) -> np.ndarray:
    """Where the rays from the typical face's middle through places (N,2) leave the frame, (N,2)."""
    start = np.array(FRAME[1:])
    ray = place - start + 1e-9
    reach = np.where(ray > 0, (1 - start) / ray, -start / ray).min(1, keepdims=True)
    return start + reach * ray


def whole_mirror(face: np.ndarray, pins: int) -> np.ndarray:
    """The mirror index of all points: of the face, the rings and the border."""
    ring = -np.arange(len(OVAL)) % len(OVAL)
    rings = [FACE + k * len(OVAL) + ring for k in range(len(RINGS))]
    edge = border()
    opposite = np.abs(edge[:, None] - (edge * (-1, 1) + (1, 0))[None]).sum(2).argmin(0)
    return np.concatenate([face, *rings, FACE + len(RINGS) * len(OVAL) + opposite])


def delaunay() -> Callable[[np.ndarray], Any]:
    """scipy's Delaunay triangulation; MissingModel where scipy is not installed."""
    try:
        from scipy.spatial import Delaunay  # only measuring a head model needs it
    except ImportError:
        raise MissingModel(
            "scipy must be installed to measure a head model: pip install -e '.[train]'"
        ) from None
    return Delaunay


def triangulate(layout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T,3), clockwise in the picture, between places (V,2), and what they show (T,): see `HeadModel.inside`.

    layout: lips and eyelids well apart, so that every triangle lies on one side of them.
    """
    triangles = delaunay()(layout).simplices
    corner = layout[triangles]
    (ax, ay), (bx, by) = (corner[:, 1] - corner[:, 0]).T, (corner[:, 2] - corner[:, 0]).T
    area = ax * by - ay * bx
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    triangles = triangles[np.abs(area) > 1e-9]
    inside = np.zeros(len(triangles), np.int64)
    inside[np.isin(triangles, LIPS_INSIDE).all(1)] = 1
    for eye in EYES_INSIDE:
        inside[np.isin(triangles, eye).all(1)] = 2
    return triangles.astype(np.int64), inside
