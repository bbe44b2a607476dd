r"""A linear 3-D head measured on real faces: fitted to 68 landmarks, it gives a whole surface that can be turned.

Shape = mean + identity + expression, as in 3-D morphable models (Blanz and Vetter, SIGGRAPH 1999), seen in weak
perspective. Around the face lie rings of points for hair, ears and neck that turn less and less with it; the last ring
is pinned to the border of the frame (compare the anchors of Zhu et al., CVPR 2016), so the background bends along.

    S(a, b) = mean + sum_k a_k identity_k + sum_k b_k expression_k          (V,3), in widths of the mean face
    p = scale * P R(yaw, pitch, roll) S + shift                             (V,2), in 0..1 of the frame

with P the first two rows (weak perspective drops the depth).

          frame, 0..1                      axes of the model
      .---------------.                          y
      | pinned ring   |                          |  z to the viewer
      |   .-------.   |                          | /
      |  /  o   o  \  |                          o---- x
      | |    >      | |                    y points down in the picture, as rows do
      |  \   --    /  |
      '---------------'
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import constant

RADIAN = torch.pi / 180
"""One degree in radians."""
LANDMARK_NOISE = 0.006
"""Standard deviation of a landmark that is read, in sides of the frame; about 3 % of the eyes' distance."""
POSE_NOISE = (4.0, 4.0, 4.0)
"""Standard deviation of a pose that is read: yaw, pitch, roll in degrees."""
POSE_SPREAD = (20.0, 12.0, 12.0)
"""Prior standard deviation of the pose where none is given: yaw, pitch, roll in degrees."""
ROUNDS = 6
"""Gauss-Newton steps; the state changes by less than the landmarks' noise after the third."""
LINE = 16
"""Numbers in a cache line of common processors: 64 bytes."""
DAMPING = 1e-6
"""Added to the diagonal of the normal equations: scale and shift have no prior of their own."""


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


def planes() -> list[tuple[float, ...]]:
    """What a turn by yaw, pitch and roll leaves, and where its cosine and its sine stand in its matrix: (3,3,3) each,
    flat."""
    still, cosine, sine = torch.zeros(3, 3, 3, 3)
    for angle, (first, second) in enumerate(((0, 2), (1, 2), (1, 0))):  # yaw: x, z; pitch: y, z; roll: y, x
        still[angle, 3 - first - second, 3 - first - second] = 1
        cosine[angle, first, first] = cosine[angle, second, second] = 1
        sine[angle, first, second], sine[angle, second, first] = 1, -1
    return [tuple(part.flatten().tolist()) for part in (still, cosine, sine)]


PLANES = planes()


def axis_rotations(pose: Tensor) -> Tensor:
    """pose (B,3) in radians -> the rotations by yaw, pitch and roll, (B,3,3,3).

    Axes: x to the right, y down, z to the viewer.
    """
    # Each turns the plane of two axes and leaves the third:
    #
    #     | first'  |   |  cos a   sin a | | first  |
    #     | second' | = | -sin a   cos a | | second |
    #
    # roll turns y into x, yaw x into z, pitch y into z.
    still, cosine, sine = (constant(part, pose).view(3, 3, 3) for part in PLANES)
    angle = pose[..., None, None]
    return still + angle.cos() * cosine + angle.sin() * sine


def axis_slopes(pose: Tensor) -> Tensor:
    """The derivatives of `axis_rotations`: -sin a for cos a, cos a for sin a, 0 for the third axis."""
    _, cosine, sine = (constant(part, pose).view(3, 3, 3) for part in PLANES)
    angle = pose[..., None, None]
    return angle.cos() * sine - angle.sin() * cosine


def rotation(pose: Tensor) -> Tensor:
    """(B,3) yaw, pitch, roll in degrees -> (B,3,3): first pitch, then yaw, then roll; so roll is the tilt of the eye
    line in the picture whatever the others are."""
    yaw, pitch, roll = axis_rotations(pose * RADIAN).unbind(1)
    return roll @ yaw @ pitch


def rotation_slopes(pose: Tensor) -> Tensor:
    """(B,3) in radians -> (B,3,3,3): the derivatives of the rotation by yaw, pitch and roll."""
    # The product rule on R = R_roll R_yaw R_pitch: each angle occurs in one factor alone.
    yaw, pitch, roll = axis_rotations(pose).unbind(1)
    by_yaw, by_pitch, by_roll = axis_slopes(pose).unbind(1)
    return torch.stack([roll @ by_yaw @ pitch, roll @ yaw @ by_pitch, by_roll @ yaw @ pitch], 1)


class HeadModel(nn.Module):
    """V points, T triangles between them, KI identity and KE expression directions, measured by
    `learning.tasks.head_fit`.

    All tensors are buffers, none is trained; all methods but `fit` are differentiable in the head.
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
        # Points outside the face follow yaw and pitch by `turning`, but roll fully: p = t R S + (1 - t) R_roll S. A
        # blend of two rigid motions, as in linear blend skinning; at t = 1 the face is rigid.
        level = rotation(head.pose * constant((0.0, 0.0, 1.0), head.pose))
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
        """landmarks (B,68,2) in 0..1 of the frame, pose (B,3) in degrees as read, if known -> Head.

        The maximum a posteriori head under normal priors, by Gauss-Newton on all parameters at once. A given pose is
        an observation with noise POSE_NOISE, weighed against the landmarks. Every product is one face's own, so that a
        face is fitted the same, bit for bit, in a batch of any size.
        """
        # State x = (a, b, angles, scale, shift). The posterior is proportional to exp(-E(x) / 2) with
        #
        #     E(x) = |r(x)|^2 + (x - m)^T W (x - m),      r(x) = (landmarks - p(x)) / LANDMARK_NOISE
        #
        # W is diagonal: 1 for coefficients (unit variance), 1 / spread^2 for angles, 0 for scale and shift. With
        # J = dp/dx / LANDMARK_NOISE, a Gauss-Newton step d solves (J^T J + W) d = J^T r - W (x - m).
        marks = landmarks.float()
        bases = torch.cat([self.identity, self.expression]).float()[:, self.landmark_index]  # (K,68,3)
        mean = self.mean.float()[self.landmark_index]
        hint, spread = self._pose_prior(marks, pose)
        state = initial_state(mean, marks, hint, len(bases))
        weight = torch.cat([marks.new_ones(len(bases)), spread**-2, marks.new_zeros(3)])
        for _ in range(ROUNDS):
            residual, jacobian = linearise(state, bases, mean, marks)
            away = torch.cat([state[:, : len(bases)], state[:, len(bases) : -3] - hint, state[:, -3:]], 1)
            normal = jacobian.mT @ jacobian + torch.diag(weight + DAMPING)
            gradient = (residual[..., None] * jacobian).sum(1) - weight * away
            state = state + solved(normal, gradient)
        coefficients, angles, scale, shift = split_state(state)
        identity, expression = coefficients.split([len(self.identity), len(self.expression)], 1)
        return Head(identity, expression, angles / RADIAN, scale[:, 0], shift)

    def _pose_prior(self, marks: Tensor, pose: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean (B,3) and standard deviation (3,) of the pose, in radians."""
        if pose is None:
            return marks.new_zeros(len(marks), 3), RADIAN * constant(POSE_SPREAD, marks)
        return pose.to(marks) * RADIAN, RADIAN * constant(POSE_NOISE, marks)


def solved(matrix: Tensor, right: Tensor) -> Tensor:
    """x (B,N) of matrix (B,N,N) x = right (B,N), for matrices that are known to be regular.

    Rows are filled up to whole cache lines: a processor may round a matrix differently by where in memory it begins.
    """
    size, more = right.shape[1], -right.shape[1] % LINE
    matrix = functional.pad(matrix, (0, more, 0, more))
    matrix.diagonal(dim1=1, dim2=2)[:, size:] = 1
    # Not solve, which lets the host wait to look for errors.
    return torch.linalg.solve_ex(matrix, functional.pad(right, (0, more))).result[:, :size]


def split_state(state: Tensor) -> tuple[Tensor, ...]:
    """A state (B,K+6) of `HeadModel.fit` -> coefficients (B,K), angles (B,3) in radians, scale (B,1), shift (B,2)."""
    return state.split([state.shape[1] - 6, 3, 1, 2], 1)


def linearise(state: Tensor, bases: Tensor, mean: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """The residual (B,136) of a state (B,K+6) against marks (B,68,2), and the Jacobian (B,136,K+6) of the landmarks by
    the state; both in units of LANDMARK_NOISE. bases (K,68,3) and mean (68,3): the landmarks of the model."""
    coefficients, angles, scale, shift = split_state(state)
    every = bases.expand(len(state), *bases.shape)
    shape = mean + torch.bmm(coefficients[:, None], every.flatten(2)).view(-1, *mean.shape)  # S, (B,68,3)
    axes = rotation(angles / RADIAN)[:, :2]  # P R, (B,2,3)
    flat = shape @ axes.mT  # P R S, (B,68,2)
    size = scale[..., None, None]
    # Columns of J, from p = scale * P R S + shift (b: face, v: landmark, d: x or y, c: model axis):
    #   dp/d coefficient_k = scale * P R basis_k        dp/d scale = P R S
    #   dp/d angle_a       = scale * P dR/da S          dp/d shift = I
    by_shape = torch.bmm(axes, every.permute(0, 3, 2, 1).flatten(2)).unflatten(2, (len(mean), -1))
    by_shape = size * by_shape.transpose(1, 2)
    by_angle = size * torch.einsum("badc,bvc->bvda", rotation_slopes(angles)[:, :, :2], shape)
    by_shift = torch.eye(2, device=marks.device, dtype=marks.dtype).expand(*flat.shape[:2], 2, 2)
    jacobian = torch.cat([by_shape, by_angle, flat[..., None], by_shift], 3).flatten(1, 2)
    residual = marks - scale[:, :, None] * flat - shift[:, None]
    return residual.flatten(1) / LANDMARK_NOISE, jacobian / LANDMARK_NOISE


def initial_state(mean: Tensor, marks: Tensor, pose: Tensor, coefficients: int) -> Tensor:
    """The mean head (68,3) in a pose (B,3) radians, scaled and shifted onto marks (B,68,2): a first state of `fit`."""
    flat = mean @ rotation(pose / RADIAN)[:, :2].mT
    centre, middle = marks.mean(1), flat.mean(1)
    # Equal centroids and equal root mean square distance from them.
    size = (marks - centre[:, None]).norm(dim=(1, 2)) / (flat - middle[:, None]).norm(dim=(1, 2))
    shift = centre - size[:, None] * middle
    return torch.cat([marks.new_zeros(len(marks), coefficients), pose, size[:, None], shift], 1)
