"""What the controlnet backend paints over: the turned head's first picture, its control picture and the mask.

Drawn from the fitted 3-D head alone, without a diffusion model: a dry run draws the same pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...networks.head import HeadModel
from ...networks.layers import resize
from ...networks.mesh import draw, turned
from .mesh_backend import framed
from .plan import Request
from .pose_drawing import STYLES, draw_pose, visible

CHOICES = {
    "init": ("mesh", "photo"),
    "repaint": ("all", "unseen", "background"),
    "drawing": ("auto", *STYLES),
    "gpu_dtype": ("float16", "bfloat16", "float32"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an image is painted.

    strength: 0..1, the share of the noise schedule that the first picture goes through; 1 forgets it. guidance: weight
    of the prompt. steps: of the whole schedule. control_scale: weight of the control picture. scheduler: a class of
    diffusers; empty: the base's own. gpu_dtype: precision on a GPU; a processor computes in float32. side: of the
    painted picture in pixels; 0: what the base was trained at. init: the first picture, the turned `mesh` or the
    `photo`. repaint: `all`, only what the mesh had to invent (`unseen`), or only what is not head (`background`).
    drawing: the control picture's style; `auto` goes by the ControlNet's name. prompt: {person} becomes the age group
    and the gender in words. unchecked_because: why the base's safety checker is off; empty: it is on, and what it
    objects to comes out black.
    """

    strength: float = 0.5
    guidance: float = 6.0
    steps: int = 30
    control_scale: float = 1.0
    scheduler: str = "UniPCMultistepScheduler"
    gpu_dtype: str = "bfloat16"
    side: int = 0
    init: str = "mesh"
    repaint: str = "all"
    drawing: str = "auto"
    prompt: str = "a photo of the face of {person}"
    negative_prompt: str = ""
    unchecked_because: str = ""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadInput(
                    f"{name} in the recipe is {getattr(self, name)!r}; it must be {' or '.join(choices)}"
                )
        if not 0 < self.strength <= 1 or int(self.steps * self.strength) < 1:
            raise BadInput(
                f"strength {self.strength} of {self.steps} steps in the recipe leaves no step to paint in; strength is "
                "above 0 and at most 1, and strength times steps at least 1"
            )
        if self.repaint == "unseen" and self.init != "mesh":
            raise BadInput(
                'repaint = "unseen" in the recipe needs init = "mesh", which knows what it invented'
            )
        if self.side < 0 or self.side % 64:
            raise BadInput(
                f"side in the recipe is {self.side}; it must be a multiple of 64, or 0 for the base's own"
            )
        try:
            self.prompt.format(person="")
        except (KeyError, IndexError, ValueError, AttributeError):
            raise BadInput(
                f"prompt in the recipe is {self.prompt!r}; only {{person}} may stand in braces"
            ) from None


class Scene(NamedTuple):
    """What B images are painted from. first, control (B,3,P,P) in 0..1; mask (B,1,P,P): 1 where to paint."""

    first: Tensor
    control: Tensor
    mask: Tensor


class Scenes:
    """Draws what images are painted from. style: one of STYLES. side: of the painted pictures in pixels."""

    def __init__(self, head: HeadModel, recipe: Recipe, style: str, side: int):
        self.head, self.recipe, self.style, self.side = head, recipe, style, side

    def scene(
        self, faces: Tensor, landmarks: Tensor, labels: list[dict[str, Any]], requests: list[Request]
    ) -> Scene:
        """The first picture, the control picture and the mask of one batch, in the FFHQ frame of the turned heads."""
        head = self.head.fit(landmarks, landmarks.new_tensor([label["pose"] for label in labels]))
        yaw, pitch = landmarks.new_tensor([[request.yaw, request.pitch] for request in requests]).unbind(1)
        source = self.head.points(head)
        target = self.head.points(framed(self.head, turned(head, yaw, pitch)))
        first, mask = faces, torch.ones_like(faces[:, :1])
        if self.recipe.init == "mesh":
            first, seen = draw(faces, source, target, self.head)
            mask = 1 - seen if self.recipe.repaint == "unseen" else mask
        if self.recipe.repaint == "background":
            mask = 1 - _stack(head_area(points, self.head, self.side) for points in target).to(faces)
        control = _stack(self.control(points) for points in target).to(faces)
        return Scene(
            resize((first + 1) / 2, self.side).clamp(0, 1), control, resize(mask, self.side).clamp(0, 1)
        )

    def control(self, points: Tensor) -> np.ndarray:
        """The mesh's points (V,3) in the target pose -> the control picture (P,P,3) uint8."""
        vertices = points.double().cpu().numpy()
        landmarks = vertices[self.head.landmark_index.cpu().numpy()]
        seen = visible(landmarks, vertices, self.head.triangles.cpu().numpy())
        return draw_pose(self.style, landmarks, seen, self.side)


def head_area(points: Tensor, head: HeadModel, side: int) -> np.ndarray:
    """(side,side,1) uint8: 255 where a mesh with points (V,3) shows what turns with the head."""
    places = np.round(points[:, :2].cpu().numpy() * side).astype(np.int32)
    triangles = head.triangles.cpu().numpy()
    turns = head.turning.cpu().numpy()[triangles].mean(1) > 0.5
    area = np.zeros((side, side), np.uint8)
    for corners in places[triangles[turns]]:
        cv2.fillConvexPoly(area, corners, 255)
    return area[..., None]


def _stack(pictures: Iterator[np.ndarray]) -> Tensor:
    """(P,P,C) uint8 each -> (B,C,P,P) float32 in 0..1."""
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).float() / 255
