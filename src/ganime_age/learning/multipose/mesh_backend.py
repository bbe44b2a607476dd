"""Turned faces without a diffusion model: a head is fitted to the landmarks, turned, and drawn from the photo."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...images.alignment import apply, frame_matrix
from ...model.fingerprint import fingerprint
from ...model.model import GanimeAge
from ...networks.head import Head, HeadModel
from ...networks.mesh import draw, turned
from .plan import Request

LARGEST = 60.0  # degrees that a head is turned to, whatever is asked


@dataclass(frozen=True)
class Recipe:
    """yaw, pitch: what a head looks turned by, in degrees, as (a, b, c) of a * drawn + b * source + c.

    The backend draws at the angle that looks like the one asked for.
    """

    yaw: tuple[float, float, float] = (1.0, 0.0, 0.0)
    pitch: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.yaw[0], self.pitch[0]) <= 0:
            raise BadInput(
                f"yaw {self.yaw} and pitch {self.pitch} in the recipe must start with a factor above 0"
            )

    def drawn(self, axis: str, target: float, source: float) -> float:
        """The angle to draw at so that it looks like `target`, for a head that was at `source`."""
        a, b, c = getattr(self, axis)
        return max(-LARGEST, min((target - b * source - c) / a, LARGEST))


class MeshBackend:
    """See multipose_requests.Backend. One image does not depend on the others of its batch, nor on the seed: what is
    asked decides it."""

    name = "mesh"

    def __init__(self, model: GanimeAge, recipe: Recipe | None = None):
        model.require("head")
        self.head, self.recipe = model.head, recipe or Recipe()
        self.versions = {"head": fingerprint(model.head), "torch": torch.__version__, "numpy": np.__version__}
        self.versions |= {f"looks_{name}": str(list(values)) for name, values in asdict(self.recipe).items()}

    @torch.inference_mode()
    def make(
        self, faces: Tensor, landmarks: Tensor, labels: list[dict[str, Any]], requests: list[Request]
    ) -> Tensor:
        poses = landmarks.new_tensor([label["pose"] for label in labels])
        inputs = zip(faces.split(1), landmarks.split(1), poses.split(1), requests, strict=True)
        return torch.cat([self._one(*one) for one in inputs])

    def _one(self, face: Tensor, landmarks: Tensor, pose: Tensor, request: Request) -> Tensor:
        fitted = self.head.fit(landmarks, pose)
        source = dict(zip(("yaw", "pitch"), pose[0].tolist(), strict=False))
        asked = [[self.recipe.drawn(axis, getattr(request, axis), source[axis])] for axis in ("yaw", "pitch")]
        yaw, pitch = landmarks.new_tensor(asked)
        target = framed(self.head, turned(fitted, yaw=yaw, pitch=pitch))
        return draw(face, self.head.points(fitted), self.head.points(target), self.head).face


def framed(model: HeadModel, head: Head) -> Head:
    """A turned head moved, sized and tilted so that its own landmarks lie in the FFHQ frame, as those of any aligned
    photo do: eyes and mouth of a head that turns leave their place otherwise."""
    moved = []
    for i, points in enumerate(model.landmarks(head).double().cpu().numpy()):
        matrix = frame_matrix(points, 1)
        x, y = matrix[:, 0]
        shift = apply(matrix, head.shift[i].double().cpu().numpy())
        moved.append((math.hypot(x, y), *shift, math.degrees(math.atan2(y, x))))
    change = head.scale.new_tensor(moved)
    tilt = torch.zeros_like(head.pose)
    tilt[:, 2] = change[:, 3]
    return head._replace(pose=head.pose + tilt, scale=head.scale * change[:, 0], shift=change[:, 1:3])
