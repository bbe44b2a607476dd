"""Paired supervision for action units without pairs: how the 68 landmarks move with each unit, as a warp of the face.

Least squares over the labelled faces tells how many frame units each landmark moves per intensity, head pose held
fixed. A face warped by that is a plausible, if toothless, picture of it with another expression; the generator learns
the motion from it and the looks from its other losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .data import Faces

REACH = 0.035
"""Standard deviation, in frame sides, of a landmark's pull on the pixels around it."""


@dataclass
class ExpressionWarp:
    """motion (17,68,2): how far each landmark moves in 0..1 of the frame per unit of intensity."""

    motion: Tensor

    @classmethod
    def fit(cls, faces: Faces) -> ExpressionWarp:
        """Landmarks = constant + motion x intensities + pose, by least squares over the faces that carry all labels."""
        labels = faces.labels
        units, pose = np.nan_to_num(labels["action_units"]), labels["pose"][:, :2] / 30
        marks = labels["landmarks"].reshape(len(faces), -1)
        has = ~(np.isnan(pose).any(1) | np.isnan(marks).any(1))
        known = np.concatenate([units, pose, pose**2, np.ones((len(faces), 1))], 1)[has]
        found = np.linalg.lstsq(known, marks[has], rcond=None)[0]
        return cls(torch.from_numpy(found[:17].reshape(17, 68, 2).astype(np.float32)))

    def __call__(self, face: Tensor, landmarks: Tensor, change: Tensor) -> Tensor:
        """Faces (B,3,S,S), their landmarks (B,68,2) and changes of intensity (B,17) -> warped faces (B,3,S,S)."""
        moved = torch.einsum("bu,uld->bld", change, self.motion.to(face.device))
        field = spread(landmarks.nan_to_num(-1.0) + moved, moved, face.shape[-1])
        identity = torch.eye(2, 3, device=face.device).expand(len(face), 2, 3)
        grid = F.affine_grid(identity, list(face.shape), align_corners=False)
        return F.grid_sample(face, grid - 2 * field, padding_mode="border", align_corners=False)


def spread(points: Tensor, moved: Tensor, side: int, coarse: int = 32) -> Tensor:
    """Displacements (B,68,2) of points (B,68,2) as a smooth field (B,side,side,2), fading to 0 away from all points."""
    line = (torch.arange(coarse, device=points.device) + 0.5) / coarse
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    near = torch.exp(
        -0.5 * (torch.cdist(pixels.expand(len(points), -1, -1), points) / REACH) ** 2
    )  # (B,P,68)
    field = near @ moved / (near.sum(2, keepdim=True) + 0.3)
    field = field.view(-1, coarse, coarse, 2).permute(0, 3, 1, 2)
    return F.interpolate(field, size=(side, side), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
