"""What the judges find on moved faces, and how far that is from the driving faces and from the sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import BadInput
from ..external.mediapipe_face import BlendshapeReader
from .judge_motion import Motion, landmark_errors, motions
from .judges import Judges


@dataclass
class Judged:
    """What the judges find on N pictures. identity (N,D) unit length and age (N,), or None without such a judge."""

    motion: Motion
    identity: np.ndarray | None
    age: np.ndarray | None

    @classmethod
    def of(cls, judges: Judges, pictures: np.ndarray, landmarks: np.ndarray) -> Judged:
        """landmarks (N,68,2): where to align by on a picture on which the judge of motion finds no face."""
        motion = motions(mesh_reader(judges), pictures)
        lost = np.isnan(motion.landmarks).any((1, 2), keepdims=True)
        points = np.where(lost, landmarks, motion.landmarks)
        seen = (judge and judge(pictures, points) for judge in (judges.identity, judges.age))
        return cls(motion, *seen)


def mesh_reader(judges: Judges) -> BlendshapeReader:
    """MediaPipe's; BadInput when another judge of expressions was named."""
    reader = getattr(judges.expression, "reader", None)
    if reader is None:
        raise BadInput(
            "--judges: only MediaPipe's judge of expressions tells pose and landmarks; name default"
        )
    return reader


def figures(found: Judged, source: Judged, aims: Judged, threshold: float | None) -> dict[str, Any]:
    """How near pictures are to what the driving faces do, and to who the sources are; means over those on which the
    judge finds a face."""
    away = np.abs(found.motion.pose - aims.motion.pose)[:, :2]
    units = np.abs(found.motion.units - aims.motion.units)
    seen = ~np.isnan(units).all(0)
    row: dict[str, Any] = {
        "faces": len(away),
        "no_face_found": int(np.isnan(found.motion.pose).any(1).sum()),
        "pose_error_degrees": np.nanmean(away),
        "yaw_error_degrees": np.nanmean(away[:, 0]),
        "pitch_error_degrees": np.nanmean(away[:, 1]),
        "au_error": np.nanmean(units[:, seen]),
        "landmark_error_percent": np.nanmean(landmark_errors(found.motion.landmarks, aims.motion.landmarks)),
    }
    if found.identity is not None and source.identity is not None and threshold is not None:
        cosine = (found.identity * source.identity).sum(1)
        row |= {"identity_verification": (cosine > threshold).mean(), "cosine": cosine.mean()}
    return row
