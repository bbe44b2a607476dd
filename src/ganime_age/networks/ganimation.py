"""GANimation as it was published (Pumarola et al., ECCV 2018): action units alone, joined to the picture as planes.

The reference that newer generators are measured against. The paper's attention A says where the input is copied,
`I' = (1-A)*C + A*I`: A = 1 changes nothing. `Edited.attention` is the opposite everywhere in this package, the share
that was changed, so the generator returns 1 - A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..edits import AU_CODES, AU_MAX
from .layers import Edited

STAGES = 6
"""Stride-2 convolutions of the discriminator: one patch logit stands for 2^6 pixels of the side."""
CRITIC_SLOPE = 0.01
"""Negative slope of the discriminator's leaky ReLUs, as in the authors' code."""


class Bottleneck(nn.Module):
    """Residual block: shortcut + conv-norm-ReLU-conv-norm at one resolution, (B,C,H,W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.residual = nn.Sequential(
            *conv_norm_relu(channels, channels, 3), *conv_norm_relu(channels, channels, 3)[:-1]
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


def conv_norm_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, instance normalisation with a learnt scale and shift, ReLU; stride 2 halves the side."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
    return [convolution, nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()]


def upconv_norm_relu(inputs: int, outputs: int) -> list[nn.Module]:
    """Transposed convolution that doubles the side, instance normalisation, ReLU."""
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return [convolution, nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()]


class Generator(nn.Module):
    """Colour C and attention A from a face beside one constant plane a condition; any side that divides by 4.

    conditions: length of the condition vector. width: channels at full resolution, doubled at 1/2 and at 1/4.
    """

    def __init__(self, conditions: int = len(AU_CODES), width: int = 64, blocks: int = 6):
        super().__init__()
        self.trunk = nn.Sequential(
            *conv_norm_relu(3 + conditions, width, 7),
            *conv_norm_relu(width, 2 * width, 4, 2),
            *conv_norm_relu(2 * width, 4 * width, 4, 2),
            *(Bottleneck(4 * width) for _ in range(blocks)),
            *upconv_norm_relu(4 * width, 2 * width),
            *upconv_norm_relu(2 * width, width),
        )
        self.colour = nn.Conv2d(width, 3, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(width, 1, 7, padding=3, bias=False)

    def forward(self, face: Tensor, condition: Tensor) -> Edited:
        """Faces (B,3,S,S) in [-1,1]; conditions (B,conditions), action units as intensity / 5 -> Edited."""
        # The condition as constant planes beside the colours: every place sees all of it (Pumarola et al., 2018).
        planes = condition[:, :, None, None].expand(-1, -1, *face.shape[-2:])
        x = self.trunk(torch.cat([face, planes], 1))
        colour = self.colour(x).tanh()  # C, (B,3,S,S)
        attention = self.attention(x).sigmoid()  # A, (B,1,S,S)
        # I' = (1 - A) C + A I: the generator can copy what an expression leaves alone, such as the background.
        return Edited((1 - attention) * colour + attention * face, 1 - attention)


def edit(
    generator: Generator,
    faces: Tensor,
    source_age: Tensor,
    target_age: Tensor,
    source_aus: Tensor,
    target_aus: Tensor,
) -> Edited:
    """The edit of this method's row (model/methods.py): the target action units alone; ages are not read."""
    return generator(faces, target_aus / AU_MAX)


def patch_trunk(width: int) -> nn.Sequential:
    """4x4 convolutions of stride 2, leaky ReLU 0.01, no normalisation: (B,3,S,S) -> (B,32*width,S/64,S/64)."""
    layers, channels = [], [3, *(width * 2**stage for stage in range(STAGES))]
    for inputs, outputs in zip(channels, channels[1:], strict=False):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(CRITIC_SLOPE)]
    return nn.Sequential(*layers)


class Discriminator(nn.Module):
    """Critic of patches with a head that reads the action units; the requested ones are not its input.

    side: pixels of the faces, a multiple of 64, since the reading head spans the whole last map. width: channels of
    the first stage.
    """

    def __init__(self, side: int = 128, width: int = 64):
        super().__init__()
        self.trunk, channels = patch_trunk(width), width * 2 ** (STAGES - 1)
        self.real = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.read = nn.Conv2d(channels, len(AU_CODES), side // 2**STAGES, bias=False)

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor]:
        """Faces (B,3,S,S) in [-1,1] -> the critic's patches (B,1,S/64,S/64), action units (B,17) as intensity / 5."""
        x = self.trunk(face)
        return self.real(x), self.read(x).flatten(1)


def critic(discriminator: nn.Module, face: Tensor) -> Tensor:
    """(B,): the critic's value of each face (B,3,S,S), the mean over its patches."""
    return discriminator(face)[0].mean((1, 2, 3))
