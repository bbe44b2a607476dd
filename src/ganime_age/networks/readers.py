"""Attribute readers: age, identity, action units, landmarks and head pose of a face, from one small backbone.

Age and identity are separated as in MTLFace's AIFD (Huang et al., CVPR 2021): with an attention s over the last
feature map X, `X = X*s(X) + X*(1-s(X))`; the first part goes to the age branch, the second to the identity branch.
A local reader then corrects landmarks and action units on crops of mouth and eyes (local_reader.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES, AU_MAX, AU_UNSEEN
from .layers import ResidualBlock, resize
from .local_reader import LocalReader
from .mirror import mirrored_landmarks, mirrored_pose

WINDOW = (0.14, 0.24, 0.86, 0.96)
"""The part of the frame that the readers look at: left, top, right, bottom in 0..1 of its side."""
YEARS = 101
"""Classes of the age head: whole years 0..100."""
SHAPE_SCALE = 0.1
"""Sides of the frame that one unit of the shape head's landmark outputs stands for."""
CODE = 128
"""Length of the identity vector."""
POSE_SCALE = 20.0
"""Degrees that one unit of its yaw and pitch outputs stands for."""


class Readings(NamedTuple):
    """What the readers measure on B faces."""

    age: Tensor
    """(B,) years, the mean of the distribution over 0..100."""
    age_spread: Tensor
    """(B,) years, its standard deviation."""
    action_units: Tensor
    """(B,17) intensities 0..5 in the order of AU_CODES; those that the teacher cannot see are 0."""
    landmarks: Tensor
    """(B,68,2) x, y in 0..1 of the frame, iBUG order."""
    pose: Tensor
    """(B,3) yaw, pitch, roll in degrees; roll is the tilt of the eye line within the frame."""
    identity: Tensor
    """(B,128), unit length; cosine tells how alike two persons are."""
    attention: Tensor
    """(B,h,w) in 0..1, where in the window the age branch looks (AIFD's s)."""
    age_logits: Tensor
    """(B,101), before the softmax."""


class AIFDAttention(nn.Module):
    """s(X): mean of a channel attention (pooled on 1, 2 and 3 grids) and a 7x7 spatial attention, (B,C,h,w) in 0..1."""

    def __init__(self, channels: int, squeeze: int = 8):
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(14 * channels, channels // squeeze), nn.ReLU(), nn.Linear(channels // squeeze, channels)
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        # Channel attention over pyramid-pooled features (1 + 4 + 9 = 14 cells) and spatial attention over the mean and
        # maximum of the channels (CBAM, Woo et al., ECCV 2018); MTLFace averages both.
        pooled = torch.cat([F.adaptive_avg_pool2d(x, g).flatten(1) for g in (1, 2, 3)], 1)
        channel = self.channel(pooled).sigmoid()[:, :, None, None]
        spatial = self.spatial(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
        return (channel + spatial) / 2


class Readers(nn.Module):
    """One backbone, five heads. Any square face size; the window of the frame is resized to `size` pixels.

    widths: channels of the four stages (strides 2, 4, 8, 16). blocks: residual blocks of each of the last three.
    local: keywords of the LocalReader that corrects landmarks and action units; None: there is none. mirrored: whether
    a reading is the mean of a face's and its mirror image's, whose errors are not quite the same.
    """

    mean_shape: Tensor
    au_seen: Tensor

    def __init__(
        self,
        size: int = 96,
        widths: tuple[int, ...] = (24, 48, 96, 192),
        blocks: tuple[int, ...] = (2, 2, 3),
        local: dict[str, Any] | None = None,
        mirrored: bool = False,
    ):
        super().__init__()
        self.size, self.widths, self.blocks = size, tuple(widths), tuple(blocks)
        self.mirrored = mirrored
        stages = [nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inputs, outputs, count in zip(widths[:-1], widths[1:], blocks, strict=True):
            stages.append(ResidualBlock(inputs, outputs, 2))
            stages += [ResidualBlock(outputs, outputs) for _ in range(count - 1)]
        self.backbone = nn.Sequential(*stages)
        last, grid = widths[-1], size // 16
        self.attention = AIFDAttention(last)
        self.age_branch = nn.Sequential(
            ResidualBlock(last, last), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)
        )
        self.age_head = nn.Linear(last, YEARS)
        self.identity_branch = ResidualBlock(last, last)
        self.identity_head = nn.Sequential(nn.Flatten(), nn.Linear(last * grid * grid, CODE))
        self.shape_branch = nn.Sequential(
            nn.Conv2d(last, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()
        )
        self.shape_head = nn.Sequential(nn.Linear(64 * grid * grid, 256), nn.ReLU(), nn.Linear(256, 136 + 2))
        self.au_head = nn.Sequential(
            nn.Linear(64 * grid * grid, 128), nn.ReLU(), nn.Linear(128, len(AU_CODES))
        )
        self.register_buffer("mean_shape", torch.full((136,), 0.5))
        seen = torch.tensor([float(code not in AU_UNSEEN) for code in AU_CODES])
        self.register_buffer("au_seen", seen, persistent=False)
        self.local = None if local is None else LocalReader(**local)

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        return {"size": self.size, "mirrored": self.mirrored}

    def window(self, face: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,3,size,size): the part of the frame that is read."""
        left, top, right, bottom = (round(v * face.shape[-1]) for v in WINDOW)
        return resize(face[..., top:bottom, left:right], self.size)

    def forward(self, face: Tensor, identity: bool = True) -> Readings:
        """Faces (B,3,S,S) in [-1,1], any square size -> Readings. identity: False leaves it zero and saves time."""
        window = self.window(face)
        if self.mirrored:
            both = self.read_window(torch.cat([window, window.flip(3)]), identity)
            halves = zip(*(part.chunk(2) for part in both), strict=True)
            read = mean_of_mirrored(*(Readings(*half) for half in halves))
        else:
            read = self.read_window(window, identity)
        if self.local is None:
            return read
        landmarks, aus = (
            self.corrected_both_ways(face, read)
            if self.mirrored
            else self.corrected(face, read.landmarks, read.action_units)
        )
        # Roll is measured on the corrected landmarks; yaw and pitch stay the backbone's.
        roll = eye_line_angle(landmarks)[:, None]
        return read._replace(
            landmarks=landmarks, action_units=aus, pose=torch.cat([read.pose[:, :2], roll], 1)
        )

    def corrected_both_ways(self, face: Tensor, read: Readings) -> tuple[Tensor, Tensor]:
        """`corrected` of faces (B,3,S,S) and of their mirror images, the mean."""
        points = torch.cat([read.landmarks, mirrored_landmarks(read.landmarks)])
        units = torch.cat([read.action_units, read.action_units])
        points, units = self.corrected(torch.cat([face, face.flip(3)]), points, units)
        (own, other), (own_units, other_units) = points.chunk(2), units.chunk(2)
        return (own + mirrored_landmarks(other)) / 2, (own_units + other_units) / 2

    def corrected(self, face: Tensor, landmarks: Tensor, action_units: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (B,68,2) and action units (B,17) that `read_window` read on faces (B,3,S,S), after the local
        reader, if there is one."""
        if self.local is None:
            return landmarks, action_units
        landmarks, aus = self.local(face, landmarks, action_units)
        return landmarks, self.au_seen * au_scale(aus)

    def read_window(self, window: Tensor, identity: bool = True) -> Readings:
        """(B,3,size,size), what `window` cut out -> Readings, without the local reader. identity: see `forward`."""
        x = self.backbone(window)
        # AIFD (MTLFace, eq. 1): X = X s(X) + X (1 - s(X)), age features and identity features.
        s = self.attention(x)
        age_logits = self.age_head(self.age_branch(x * s))
        who = self.who(x * (1 - s)) if identity else x.new_zeros(len(x), CODE)
        flat = self.shape_branch(x)
        shape = self.shape_head(flat)
        age, spread = mean_and_spread(age_logits)
        landmarks = (self.mean_shape + SHAPE_SCALE * shape[:, :136]).unflatten(1, (68, 2))
        pose = torch.cat([POSE_SCALE * shape[:, 136:], eye_line_angle(landmarks)[:, None]], 1)
        aus = self.au_seen * au_scale(self.au_head(flat))
        return Readings(age, spread, aus, landmarks, pose, who, s.mean(1), age_logits)

    def who(self, x: Tensor) -> Tensor:
        """The features (B,C,h,w) that tell the person -> (B,128) of unit length."""
        return F.normalize(self.identity_head(self.identity_branch(x)), dim=1)


def mean_of_mirrored(own: Readings, other: Readings) -> Readings:
    """What was read on B faces and on their mirror images -> the mean, for the faces."""
    logits = (own.age_logits + other.age_logits) / 2
    age, spread = mean_and_spread(logits)
    return Readings(
        age,
        spread,
        (own.action_units + other.action_units) / 2,
        (own.landmarks + mirrored_landmarks(other.landmarks)) / 2,
        (own.pose + mirrored_pose(other.pose)) / 2,
        F.normalize(own.identity + other.identity, dim=1),
        (own.attention + other.attention.flip(2)) / 2,
        logits,
    )


def eye_line_angle(landmarks: Tensor) -> Tensor:
    """(B,68,2) -> (B,) degrees by which the line between the eyes' outer corners is turned, clockwise positive."""
    across = landmarks[:, 45] - landmarks[:, 36]
    return torch.atan2(across[:, 1], across[:, 0]) * (180 / torch.pi)


def au_scale(raw: Tensor) -> Tensor:
    """Unbounded head output -> intensities within 0..5, nearly linear inside, with a gradient everywhere."""
    # Straight-through: the value is clamped, the gradient is that of the identity, so that no unit stays at 0 or 5.
    return raw + (raw.clamp(0, AU_MAX) - raw).detach()


def mean_and_spread(logits: Tensor) -> tuple[Tensor, Tensor]:
    """(B,101) logits over the years 0..100 -> mean and standard deviation in years, (B,) each.

    The expected value under the softmax (DEX, Rothe et al., IJCV 2018)."""
    years = torch.arange(YEARS, device=logits.device, dtype=logits.dtype)
    probability = logits.softmax(1)
    mean = (probability * years).sum(1)
    return mean, ((probability * (years - mean[:, None]) ** 2).sum(1)).clamp_min(0).sqrt()
