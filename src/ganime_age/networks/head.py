"""A linear 3-D head measured on real faces: 68 landmarks in, a whole surface that can be turned out.

Shape = mean + identity + expression, as in 3-D morphable models (Blanz and Vetter, SIGGRAPH 1999), seen in weak
perspective. Around the face lie rings of points for hair, ears and neck that turn less and less with it; the last ring
is pinned to the border of the frame (compare the anchors of Zhu et al., CVPR 2016), so the background bends along.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

RADIAN = torch.pi / 180
LANDMARK_NOISE = 0.006
"""Standard deviation of a landmark that is read, in sides of the frame; about 3 % of the eyes' distance."""
POSE_NOISE = (4.0, 4.0, 4.0)
"""Standard deviation of a pose that is read, degrees."""
POSE_SPREAD = (20.0, 12.0, 12.0)
"""Standard deviation of poses where none is given, degrees."""
ROUNDS = 6


class Head(NamedTuple):
    """B fitted heads."""

    identity: Tensor
    """(B,KI) coefficients, unit variance each."""
    expression: Tensor
    """(B,KE) coefficients, unit variance each."""
    pose: Tensor
    """(B,3) yaw, pitch, roll in degrees, signs as `Readings.pose`: the nose to the right of the picture, the nose
    down, clockwise."""
    scale: Tensor
    """(B,) size of the model in frame sides: the width of the mean face."""
    shift: Tensor
    """(B,2) place of the model's origin in 0..1 of the frame."""


def axis_rotations(pose: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """pose (B,3) in radians -> the rotations of roll, yaw, pitch, (B,3,3) each, and their derivatives.

    Axes: x to the right, y down, z to the viewer.
    """
    yaw, pitch, roll = pose.unbind(1)
    turns: list[Tensor] = []
    slopes: list[Tensor] = []
    for angle, first, second in ((roll, 1, 0), (yaw, 0, 2), (pitch, 1, 2)):
        # first' = first * cos + second * sin, second' = second * cos - first * sin
        for c, s, one, out in (
            (angle.cos(), angle.sin(), 1.0, turns),
            (-angle.sin(), angle.cos(), 0.0, slopes),
        ):
            matrix = one * torch.eye(3, dtype=pose.dtype, device=pose.device).repeat(len(pose), 1, 1)
            matrix[:, first, first], matrix[:, second, second] = c, c
            matrix[:, first, second], matrix[:, second, first] = s, -s
            out.append(matrix)
    return turns, slopes


def rotation(pose: Tensor) -> Tensor:
    """(B,3) yaw, pitch, roll in degrees -> (B,3,3): first pitch, then yaw, then roll; so roll is the tilt of the eye
    line in the picture whatever the others are."""
    (roll, yaw, pitch), _ = axis_rotations(pose * RADIAN)
    return roll @ yaw @ pitch


def rotation_slopes(pose: Tensor) -> Tensor:
    """(B,3) in radians -> (B,3,3,3): the derivatives of the rotation by yaw, pitch and roll."""
    (roll, yaw, pitch), (by_roll, by_yaw, by_pitch) = axis_rotations(pose)
    return torch.stack([roll @ by_yaw @ pitch, roll @ yaw @ by_pitch, by_roll @ yaw @ pitch], 1)


class HeadModel(nn.Module):
    """V points, T triangles between them, KI identity and KE expression directions; measured by `learning.head_fit`.

    Nothing is trained and nothing has a gradient of its own; all methods are differentiable in the head.
    """

    mean: Tensor
    """(V,3) x right, y down, z to the viewer, in widths of the mean face, from the axis on which heads turn."""
    identity: Tensor
    """(KI,V,3)."""
    expression: Tensor
    """(KE,V,3)."""
    turning: Tensor
    """(V,) in 0..1, how much of yaw and pitch a point follows."""
    pinned: Tensor
    """(V,) in 0..1, how much a point stays where `pin` (V,2) is in the frame."""
    pin: Tensor
    triangles: Tensor
    """(T,3) int64."""
    inside: Tensor
    """(T,) int64: 1 between the lips, 2 between the eyelids, 0 elsewhere."""
    mirror: Tensor
    """(V,) int64, the point on the other side."""
    landmark_index: Tensor
    """(68,) int64, iBUG's points among the V."""

    def __init__(self, points: int = 652, triangles: int = 1262, identity: int = 32, expression: int = 24):
        super().__init__()
        shapes = {
            "mean": (points, 3),
            "identity": (identity, points, 3),
            "expression": (expression, points, 3),
        }
        shapes |= {"turning": (points,), "pinned": (points,), "pin": (points, 2)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        indices = {
            "triangles": (triangles, 3),
            "inside": (triangles,),
            "mirror": (points,),
            "landmark_index": (68,),
        }
        for name, shape in indices.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64))

    def shape(self, identity: Tensor, expression: Tensor) -> Tensor:
        """(B,KI), (B,KE) -> (B,V,3) in the model's own axes and unit."""
        by_person = torch.einsum("bk,kvc->bvc", identity, self.identity.to(identity))
        by_action = torch.einsum("bk,kvc->bvc", expression, self.expression.to(identity))
        return self.mean.to(identity) + by_person + by_action

    def points(self, head: Head) -> Tensor:
        """Head -> (B,V,3): x, y in 0..1 of the frame, z in the same unit, larger is nearer to the viewer."""
        shape = self.shape(head.identity, head.expression)
        level = rotation(head.pose * head.pose.new_tensor([0.0, 0.0, 1.0]))
        turned, still = shape @ rotation(head.pose).mT, shape @ level.mT
        follow = self.turning.to(shape)[:, None]
        placed = head.scale[:, None, None] * (follow * turned + (1 - follow) * still)
        place = placed[..., :2] + head.shift[:, None]
        pinned = self.pinned.to(shape)[:, None]
        place = place + pinned * (self.pin.to(shape) - place)
        return torch.cat([place, placed[..., 2:]], 2)

    def landmarks(self, head: Head) -> Tensor:
        """Head -> (B,68,2) in 0..1 of the frame. Jaw points are fixed on the surface, as MediaPipe's are."""
        return self.points(head)[:, self.landmark_index, :2]

    @torch.no_grad()
    def fit(self, landmarks: Tensor, pose: Tensor | None = None) -> Head:
        """landmarks (B,68,2) in 0..1 of the frame, pose (B,3) degrees as read, if it was -> Head.

        The most likely head under normal priors, by Gauss-Newton on all of it at once. A given pose is a hint, not a
        truth: it is weighed against the landmarks.
        """
        marks = landmarks.float()
        bases = torch.cat([self.identity, self.expression]).float()[:, self.landmark_index]  # (K,68,3)
        mean = self.mean.float()[self.landmark_index]
        hint, spread = self._pose_prior(marks, pose)
        state = start(mean, marks, hint, len(bases))
        weight = torch.cat([marks.new_ones(len(bases)), spread**-2, marks.new_zeros(3)])
        for _ in range(ROUNDS):
            residual, slope = self._linear(state, bases, mean, marks)
            away = torch.cat([state[:, : len(bases)], state[:, len(bases) : -3] - hint, state[:, -3:]], 1)
            normal = slope.mT @ slope + torch.diag(weight + 1e-6)
            pull = (slope.mT @ residual[..., None])[..., 0] - weight * away
            state = state + torch.linalg.solve(normal, pull)
        coefficients, angles, scale, shift = state.split([len(bases), 3, 1, 2], 1)
        identity, expression = coefficients.split([len(self.identity), len(self.expression)], 1)
        return Head(identity, expression, angles / RADIAN, scale[:, 0], shift)

    def _pose_prior(self, marks: Tensor, pose: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean (B,3) and standard deviation (3,) of the pose, in radians."""
        if pose is None:
            return marks.new_zeros(len(marks), 3), RADIAN * marks.new_tensor(POSE_SPREAD)
        return pose.to(marks) * RADIAN, RADIAN * marks.new_tensor(POSE_NOISE)

    def _linear(self, state: Tensor, bases: Tensor, mean: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        """What is left to explain (B,136), and how it changes with the state (B,136,N); both in LANDMARK_NOISE."""
        coefficients, angles, scale, shift = state.split([len(bases), 3, 1, 2], 1)
        shape = mean + torch.einsum("bk,kvc->bvc", coefficients, bases)  # (B,68,3)
        turned = rotation(angles / RADIAN)[:, :2]
        flat = shape @ turned.mT  # (B,68,2)
        by_shape = scale[..., None, None] * torch.einsum("bdc,kvc->bvdk", turned, bases)
        by_angle = scale[..., None, None] * torch.einsum(
            "badc,bvc->bvda", rotation_slopes(angles)[:, :, :2], shape
        )
        by_shift = torch.eye(2).to(marks).expand(*flat.shape[:2], 2, 2)
        slope = torch.cat([by_shape, by_angle, flat[..., None], by_shift], 3).flatten(1, 2)
        residual = marks - scale[:, :, None] * flat - shift[:, None]
        return residual.flatten(1) / LANDMARK_NOISE, slope / LANDMARK_NOISE


def start(mean: Tensor, marks: Tensor, pose: Tensor, coefficients: int) -> Tensor:
    """The mean head (68,3) in a pose (B,3) radians, scaled and shifted onto marks (B,68,2): a first state of `fit`."""
    flat = mean @ rotation(pose / RADIAN)[:, :2].mT
    centre, middle = marks.mean(1), flat.mean(1)
    size = (marks - centre[:, None]).norm(dim=(1, 2)) / (flat - middle[:, None]).norm(dim=(1, 2))
    shift = centre - size[:, None] * middle
    return torch.cat([marks.new_zeros(len(marks), coefficients), pose, size[:, None], shift], 1)
