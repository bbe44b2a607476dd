"""AIFD as a network of its own: who somebody is, apart from how old, on faces aligned by five points.

MTLFace's attention-based feature decomposition (Huang et al., CVPR 2021) over MobileFaceNet (Chen et al., CCBR 2018),
the backbone of 1 M parameters that the identity teachers of many packs have. Its identity branch is the E_A of the
multi-task identity loss. The readers hold a smaller AIFD; this one is trained to be asked in losses.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import constant
from .readers import CODE, YEARS, AIFDAttention, mean_and_spread
from .warp import fit_similarity

SIDE = 112
"""Pixels of the aligned face."""
FIVE_POINTS = ((0.3419, 0.4616), (0.6565, 0.4598), (0.5002, 0.6405), (0.3710, 0.8247), (0.6315, 0.8233))
"""Where ArcFace's alignment puts eyes, nose tip and mouth corners, in 0..1 of the side."""
STAGES = (
    (128, 64, 1, 2),
    (128, 64, 4, 1),
    (256, 128, 1, 2),
    (256, 128, 6, 1),
    (512, 128, 1, 2),
    (256, 128, 2, 1),
)
"""MobileFaceNet's bottlenecks: inner channels, output channels, how many, stride."""
LAST = 512
"""Channels of the backbone's last map."""
SHUT = -3.0
"""Initial bias of the attention: sigmoid(-3) = 5 % of the features go to the age branch, the rest to identity."""


class Identified(NamedTuple):
    """identity (B,128) of unit length; age (B,) and age_spread (B,) in years; age_logits (B,101); attention (B,7,7) in
    0..1, where the age branch looks on the aligned face."""

    identity: Tensor
    age: Tensor
    age_spread: Tensor
    age_logits: Tensor
    attention: Tensor


def conv_prelu(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its PReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups), nn.PReLU(outputs)
    )


class Bottleneck(nn.Module):
    """Inverted residual: 1x1 widening, 3x3 depthwise, 1x1 linear; plus the input where the shape is kept
    (MobileNetV2)."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            conv_prelu(inputs, inner, 1),
            conv_prelu(inner, inner, 3, stride, inner),
            nn.Conv2d(inner, outputs, 1),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


def mobilefacenet() -> nn.Sequential:
    """Aligned faces (B,3,112,112) in [-1,1], BGR -> features (B,512,7,7), normalisations folded into the weights."""
    layers: list[nn.Module] = [conv_prelu(3, 64, 3, 2), conv_prelu(64, 64, 3, 1, 64)]
    width = 64
    for inner, outputs, count, stride in STAGES:
        for _ in range(count):
            layers.append(Bottleneck(width, inner, outputs, stride))
            width = outputs
    return nn.Sequential(*layers, conv_prelu(width, LAST, 1))


class AIFD(nn.Module):
    """X = X*s + X*(1-s) over the backbone's features X: the first part tells the age, the second the person."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = mobilefacenet()
        self.attention = AIFDAttention(LAST, squeeze=16)
        for layer in (self.attention.channel[2], self.attention.spatial):
            nn.init.zeros_(layer.get_parameter("weight"))
            nn.init.constant_(layer.get_parameter("bias"), SHUT)
        self.age_branch = nn.Sequential(
            nn.Linear(LAST, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, YEARS)
        )
        self.whole = nn.Conv2d(LAST, LAST, 7, groups=LAST)
        self.identity_head = nn.Linear(LAST, CODE)

    def forward(self, face: Tensor, landmarks: Tensor) -> Identified:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 -> Identified."""
        # X = X s + X (1 - s) (MTLFace, eq. 1): the age branch pools X s, the identity branch reads X (1 - s) with a
        # global depthwise convolution, MobileFaceNet's substitute for average pooling.
        x = self.backbone(aligned(face, landmarks).flip(1))
        s = self.attention(x)
        age_logits = self.age_branch((x * s).mean((2, 3)))
        identity = F.normalize(self.identity_head(self.whole(x * (1 - s)).flatten(1)), dim=1)
        return Identified(identity, *mean_and_spread(age_logits), age_logits, s.mean(1))


def five_points(landmarks: Tensor) -> Tensor:
    """Landmarks (B,68,2) -> eyes, nose tip and mouth corners (B,5,2)."""
    eyes = [landmarks[:, a:b].mean(1) for a, b in ((36, 42), (42, 48))]
    return torch.stack([*eyes, *(landmarks[:, k] for k in (30, 48, 54))], 1)


def zoomed_points(zoom: float) -> tuple[tuple[float, float], ...]:
    """FIVE_POINTS, `zoom` times as far from the middle between them."""
    x, y = (sum(axis) / len(FIVE_POINTS) for axis in zip(*FIVE_POINTS, strict=True))
    return tuple((x + zoom * (a - x), y + zoom * (b - y)) for a, b in FIVE_POINTS)


def aligned(face: Tensor, landmarks: Tensor, zoom: float = 1.0) -> Tensor:
    """Faces (B,3,S,S), landmarks (B,68,2) in 0..1 -> (B,3,112,112), turned, scaled and shifted so that the five points
    come closest to ArcFace's (least squares), bilinear. zoom: how much larger, about the middle of the five points."""
    # From ArcFace's frame to the face's: grid_sample asks, for each pixel of the result, where it lies in the source.
    goal = constant(tuple(c for point in zoomed_points(zoom) for c in point), landmarks).view(1, 5, 2)
    fit = fit_similarity(goal, five_points(landmarks))
    # An affine map of a grid is a sum of what depends on its column and what depends on its row.
    line = 2 * (torch.arange(SIDE, device=face.device, dtype=face.dtype) + 0.5) / SIDE
    matrix, shift = (part.to(face)[..., None] for part in fit)  # (B,2,2,1), (B,2,1)
    columns, rows = matrix[:, :, 0] * line, matrix[:, :, 1] * line + 2 * shift - 1
    at = columns[:, :, None, :] + rows[:, :, :, None]
    return F.grid_sample(
        face, at.permute(0, 2, 3, 1), mode="bilinear", padding_mode="border", align_corners=False
    )
