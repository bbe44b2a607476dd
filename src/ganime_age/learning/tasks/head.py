"""Making the head model: measured by least squares when the task is built; the run itself has nothing left to learn."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ..data.faces import Faces
from ..engine.task import Task
from ..external.mediapipe_face import BlendshapeReader
from . import head_fit

SIDE = 256
"""Side in pixels of the pictures that MediaPipe is shown."""
FEWEST = 500
"""Faces that a head model needs at least."""


@dataclass
class Recipe:
    """Numbers of the recipe. landmarker: Google's `face_landmarker.task`. faces: how many are measured, turned ones
    more often. identity, expression: how many directions are kept."""

    landmarker: str = ""
    faces: int = 4000
    identity: int = 32
    expression: int = 24


class MeshReader(BlendshapeReader):
    """MediaPipe's mesh and all of its blendshape scores; see BlendshapeReader for the file and the errors."""

    def measure(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """A picture (H,W,3) uint8 RGB -> points (478,3), x and y in 0..1 and z in the same unit, smaller is nearer; and
        scores (52,) in 0..1. None where MediaPipe sees no face."""
        found = self._landmarker.detect(self._image(picture))
        if not found.face_landmarks:
            return None
        points = [(p.x, p.y, p.z) for p in found.face_landmarks[0]]
        scores = [shape.score for shape in found.face_blendshapes[0]]
        return np.array(points, np.float32), np.array(scores, np.float32)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The task on the faces of a folder; BadInput without MediaPipe's file or with too few faces, MissingModel without
    scipy."""
    head_fit.delaunay()  # asked for before minutes of measuring
    rows = chosen(faces, recipe.faces, seed)
    rows, points, scores = measured(recipe.landmarker, faces, rows)
    if len(rows) < FEWEST:
        raise BadInput(
            f"MediaPipe sees {len(rows)} faces with a known pose in {faces.folder}; a head model needs {FEWEST}"
        )
    model = head_fit.build(points, scores, faces.labels["pose"][rows], recipe.identity, recipe.expression)
    sizes = {
        "points": len(model.mean),
        "triangles": len(model.triangles),
        "identity": recipe.identity,
        "expression": recipe.expression,
    }

    def batch(step: int) -> dict[str, Tensor]:
        return {"landmarks": torch.from_numpy(faces.labels["landmarks"][rows[:1]])}

    note = f"measured on {len(rows)} faces with MediaPipe's face landmarker"
    return Task({"head": model}, [], batch, configs={"head": sizes}, steps=1, notes={"head": note})


def chosen(faces: Faces, most: int, seed: int) -> np.ndarray:
    """Rows of up to `most` faces with a known pose, each drawn the more often the more it is turned aside."""
    pose = faces.labels["pose"]
    known = np.flatnonzero(np.isfinite(pose).all(1))
    weight = 1 + np.abs(pose[known, 0]) / 8
    picked = np.random.default_rng(seed).choice(
        len(known), min(most, len(known)), replace=False, p=weight / weight.sum()
    )
    return known[np.sort(picked)]


def measured(task: str, faces: Faces, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MediaPipe's points (N,478,3) and scores (N,52) of faces `rows`, and those rows on which it sees a face (N,)."""
    if not task:
        raise BadInput(
            "the head model is measured with MediaPipe; add --set recipe.landmarker=face_landmarker.task"
        )
    kept, points, scores = (
        [],
        [np.zeros((0, head_fit.POINTS, 3), np.float32)],
        [np.zeros((0, 52), np.float32)],
    )
    with MeshReader(task) as reader:
        for row in rows:
            picture = np.ascontiguousarray(faces.pictures[faces.rows[row]][:3].transpose(1, 2, 0))
            found = reader.measure(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
            if found is not None:
                kept.append(row)
                points.append(found[0][None])
                scores.append(found[1][None])
    return np.array(kept, int), np.concatenate(points), np.concatenate(scores)
