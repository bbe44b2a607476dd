"""What the generator's motion is made of: how the landmarks of labelled faces move with each action unit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .data import Faces


def fit_motion(faces: Faces) -> Tensor:
    """(17,68,2): how far each landmark moves, in 0..1 of the frame, per unit of intensity.

    Least squares over the faces that carry all labels: landmarks = constant + motion x intensities + head pose (yaw,
    pitch and their squares), so that what the pose explains is not put down to the expression.
    """
    labels = faces.labels
    units, pose = np.nan_to_num(labels["action_units"]), labels["pose"][:, :2] / 30
    marks = labels["landmarks"].reshape(len(units), -1)
    has = ~(np.isnan(pose).any(1) | np.isnan(marks).any(1))
    known = np.concatenate([units, pose, pose**2, np.ones((len(units), 1))], 1)[has]
    found = np.linalg.lstsq(known, marks[has], rcond=None)[0]
    return torch.from_numpy(found[: units.shape[1]].reshape(-1, 68, 2).astype(np.float32))
