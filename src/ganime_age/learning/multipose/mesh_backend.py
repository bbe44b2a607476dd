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
AT_ONCE = 8 * 128**2
"""Pixels of the pictures that are drawn at once: more do not stay in a processor's cache."""


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
        fitted = zip(*(part.split(1) for part in self.head.fit(landmarks, poses)), strict=True)
        told = zip(fitted, poses.tolist(), requests, strict=True)
        surfaces = [self._surfaces(Head(*head), pose, request) for head, pose, request in told]
        source, target = (torch.cat(points) for points in zip(*surfaces, strict=True))
        step = max(1, AT_ONCE // faces.shape[-1] ** 2)
        parts = zip(faces.split(step), source.split(step), target.split(step), strict=True)
        return torch.cat([draw(some, was, now, self.head).face for some, was, now in parts])

    def _surfaces(self, head: Head, pose: list[float], request: Request) -> tuple[Tensor, Tensor]:
        """The points (1,V,3) of a fitted head as it is, and as it is asked for. pose: of the source, in degrees."""
        yaw = self.recipe.drawn("yaw", request.yaw, pose[0])
        pitch = self.recipe.drawn("pitch", request.pitch, pose[1])
        target = framed(self.head, turned(head, yaw=yaw, pitch=pitch))
        return self.head.points(head), self.head.points(target)


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
