"""AgeTransGAN: an encoder, a mapping and a modulated decoder that draw a face in any of ten age groups.

After Hsu et al., ECCV 2022: picture and group code -> identity feature map (32x32) and a 512-d code -> MLP -> a style
that modulates a decoder as in StyleGAN2 (Karras et al., CVPR 2020). The discriminator has the minibatch's standard
deviation, a label projection and a classifier of the ten groups. Without StyleGAN2's noise: equal requests give equal
pictures. Plain PyTorch: a kernel is modulated by scaling what goes in and demodulated by scaling what comes out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from .age_groups import GROUPS, edit_by_difference, edit_by_picture, group_code
from .layers import SLOPE, Edited, activate, conv, kaiming
from .prototypes import Prototypes

CHANNELS = {4: 64, 8: 64, 16: 64, 32: 64, 64: 32, 128: 16, 256: 16, 512: 8, 1024: 8}
"""Channels of the maps of each side in pixels, about an eighth of StyleGAN2's: width 8 is the published size."""
SIZES = (64, 128, 256, 512, 1024)
"""Sides of faces, in pixels, for which there is a network."""
FEATURE = 32
"""Side of the identity feature map."""
CODE = 512
"""Length of the encoder's identity code."""
LR_MULTIPLIER = 0.1
"""Learning rate of the mapping, relative to the rest (StyleGAN uses 0.01): eight layers in a row diverge otherwise."""
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Factor that restores the standard deviation after a leaky ReLU (He et al., ICCV 2015)."""


def channels(side: int, width: float) -> int:
    """Channels of the maps of a side, `width` times the table's, a multiple of 8."""
    return max(8, round(width * CHANNELS[side] / 8) * 8)


def check_size(size: int) -> None:
    """BadInput when there is no network of this size."""
    if size not in SIZES:
        raise BadInput(f"size {size} of agetransgan must be one of {', '.join(map(str, SIZES))}")


def affine(style: int, count: int) -> nn.Linear:
    """StyleGAN's learnt affine transform A: style (B,style) -> a factor on each of `count` channels, about 1 +- 0.3 at
    the start."""
    layer = nn.Linear(style, count)
    nn.init.normal_(layer.weight, std=0.3 / math.sqrt(style))
    nn.init.ones_(layer.bias)
    return layer


class ModulatedConv(nn.Module):
    """StyleGAN2's modulated convolution: x (B,I,H,W), style (B,W) -> (B,O,H,W).

    Its kernel w' = s w / |s w| (eq. 1 and 3) is applied as conv(x s, w) / |s w|: the same numbers, one shared kernel.
    Times GAIN, so that the activation that follows keeps the variance.
    """

    def __init__(self, inputs: int, outputs: int, style: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / math.sqrt(9 * inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = affine(style, inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # StyleGAN2, eq. 1: w'_oi = s_i w_oi, and eq. 3: w''_oi = w'_oi / sqrt(sum_i,k w'_oik^2 + eps). s depends on
        # the face, so the literal form needs B kernels and a grouped convolution. As convolution is linear, s may
        # scale the input channels and the norm the output channels, and all faces share one kernel.
        scale = self.affine(style)  # s, (B,I)
        energy = scale.square() @ self.weight.square().sum((2, 3)).T  # (B,O), |s w|^2
        size = GAIN * (energy + 1e-8).rsqrt()
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=1)
        return torch.addcmul(self.bias[:, None, None], y, size[:, :, None, None])


class ToRGB(nn.Module):
    """StyleGAN2's toRGB: features (B,C,H,W), style (B,W) -> a summand of the picture (B,3,H,W).

    A modulated 1x1 convolution without demodulation (StyleGAN2, appendix B): colours keep their scale."""

    def __init__(self, inputs: int, style: int):
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(3, inputs) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(3, 1))
        self.affine = affine(style, inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        kernels = self.weight * self.affine(style)[:, None]  # (B,3,C)
        return (kernels @ x.flatten(2) + self.bias).unflatten(2, x.shape[-2:])


class Encoder(nn.Module):
    """Faces (B,3,S,S) with the group code (B,10) as planes -> identity feature (B,C,32,32) and code (B,512).

    A plane holds one number everywhere, so what the first convolution makes of it is a shift of its channels.
    """

    def __init__(self, size: int, width: float):
        super().__init__()
        sides = [side for side in sorted(CHANNELS, reverse=True) if FEATURE <= side < size]
        counts = [3, *(channels(side, width) for side in sides)]
        self.down = nn.ModuleList(conv(a, b, 4, 2) for a, b in zip(counts, counts[1:], strict=False))
        self.planes = nn.Linear(GROUPS, counts[1], bias=False)
        last = counts[-1]
        self.refine = nn.ModuleList(conv(last, last) for _ in range(2))
        inner = [last, *(channels(side, width) for side in (16, 8, 4))]
        self.squeeze = nn.ModuleList(conv(a, b, stride=2) for a, b in zip(inner, inner[1:], strict=False))
        self.head = nn.Linear(inner[-1], CODE)

    def forward(self, face: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        # conv([face, planes]) = conv(face) + sum over the constant planes, which away from the border is one number a
        # channel; the linear layer learns that number directly.
        first, *rest = self.down
        x = activate(first(face) + self.planes(code)[:, :, None, None])
        for down in rest:
            x = activate(down(x))
        first, second = self.refine
        # A residual block; the sum of two unit-variance terms has variance 2 (StyleGAN2, appendix B).
        feature = (x + activate(second(activate(first(x))))) / math.sqrt(2)
        x = feature
        for squeeze in self.squeeze:
            x = activate(squeeze(x))
        return feature, self.head(x.mean((2, 3)))


class EqualizedLinear(nn.Module):
    """A linear layer with learning-rate multiplier LR_MULTIPLIER (equalised learning rate, Karras et al., ICLR 2018,
    section 4.1; the multiplier of the mapping is StyleGAN's, CVPR 2019, appendix C): (B,I) -> (B,O)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        # Stored are w / m, used is m * (w / m): Adam's step, which ignores the gradient's scale, counts m times.
        layer = kaiming(nn.Linear(inputs, outputs))
        self.weight = nn.Parameter(layer.get_parameter("weight").detach() / LR_MULTIPLIER)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, LR_MULTIPLIER * self.weight, LR_MULTIPLIER * self.bias)


class Mapping(nn.Module):
    """Code (B,512) and group code (B,10) -> style (B,W): normalised, then `layers` fully connected ones."""

    def __init__(self, style: int, layers: int):
        super().__init__()
        counts = [CODE + GROUPS, *[style] * layers]
        self.layers = nn.ModuleList(EqualizedLinear(a, b) for a, b in zip(counts, counts[1:], strict=False))

    def forward(self, code: Tensor, group: Tensor) -> Tensor:
        # Pixel norm of the code (Karras et al., ICLR 2018, section 4.2), so its length says nothing.
        x = code * (code.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        # A one-hot code has mean square 1 / GROUPS; sqrt(GROUPS) gives it the weight per entry that the code has.
        x = torch.cat([x, math.sqrt(GROUPS) * group], 1)
        for layer in self.layers:
            x = activate(layer(x))
        return x


class SynthesisBlock(nn.Module):
    """StyleGAN2's block with skip output (Karras et al., CVPR 2020, figure 7b): x (B,I,h,w), picture (B,3,h,w), style
    (B,W) -> both at twice the side."""

    def __init__(self, inputs: int, outputs: int, style: int):
        super().__init__()
        self.before = ModulatedConv(inputs, outputs, style)
        self.after = ModulatedConv(outputs, outputs, style)
        self.colour = ToRGB(outputs, style)

    def forward(self, x: Tensor, picture: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        x = double_side(activate(self.before(x, style)))
        x = activate(self.after(x, style))
        return x, double_side(picture) + self.colour(x, style)


class Generator(nn.Module):
    """size: side of the faces in pixels, 64 to 1024. width: factor on every channel of CHANNELS. style, layers: width
    and depth of the mapping. BadInput for a size that cannot be.
    own_prototypes: whether it holds prototypes itself, as in training; a model hands in its part. direct: whether an
    edit is the picture that it draws of the face, as in the paper, or the difference of two, laid on prototypes."""

    def __init__(
        self,
        size: int = 128,
        width: float = 1.0,
        style: int = 128,
        layers: int = 8,
        own_prototypes: bool = True,
        direct: bool = False,
    ):
        super().__init__()
        check_size(size)
        self.size, self.direct = size, direct
        if own_prototypes:
            self.prototypes = Prototypes().requires_grad_(False)  # measured, not learnt here
        self.encoder, self.mapping = Encoder(size, width), Mapping(style, layers)
        start = channels(FEATURE, width)
        self.first = nn.ModuleList(ModulatedConv(start, start, style) for _ in range(2))
        self.colour = ToRGB(start, style)
        counts = [channels(side, width) for side in sorted(CHANNELS) if FEATURE <= side <= size]
        self.levels = nn.ModuleList(
            SynthesisBlock(a, b, style) for a, b in zip(counts, counts[1:], strict=False)
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        return {"direct": self.direct}

    def forward(self, face: Tensor, group: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1] with S = size, fractional groups (B,) in 0..9 -> the persons in these groups.

        BadInput for a group outside 0..9.
        """
        code = group_code(group)
        x, identity = self.encoder(face, code)
        style = self.mapping(identity, code)
        for layer in self.first:
            x = activate(layer(x, style))
        picture = self.colour(x, style)
        for level in self.levels:
            x, picture = level(x, picture, style)
        return picture  # (B,3,S,S), about [-1,1]


def edit(
    generator: Generator,
    faces: Tensor,
    source_age: Tensor,
    target_age: Tensor,
    source_aus: Tensor,
    target_aus: Tensor,
) -> Edited:
    """The edit of a method's row (model/methods.py): the difference of two age groups, or the picture of the target's
    where the generator is `direct`; action units are not read."""
    if generator.direct:
        return edit_by_picture(generator, faces, source_age, target_age)
    return edit_by_difference(generator, faces, source_age, target_age)


class Discriminator(nn.Module):
    """Is a face real, given its group? And which group is it? size: side of the faces, 64 to 1024."""

    def __init__(self, size: int = 128, width: float = 1.0):
        super().__init__()
        check_size(size)
        self.size = size
        sides = [side for side in sorted(CHANNELS, reverse=True) if side < size]
        counts = [3, *(channels(side, width) for side in sides)]
        self.down = nn.ModuleList(conv(a, b, 4, 2) for a, b in zip(counts, counts[1:], strict=False))
        last = counts[-1]
        self.final = conv(last + 1, last)
        self.flat = kaiming(nn.Linear(last * 16, last))
        self.real = nn.Linear(last, 1)
        self.project = nn.Linear(GROUPS, last, bias=False)
        self.classify = nn.Linear(last, GROUPS)

    def features(self, face: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1] -> (B,C)."""
        x = face
        for down in self.down:
            x = activate(down(x))
        x = activate(self.final(torch.cat([x, minibatch_stddev(x)], 1)))
        return activate(self.flat(x.flatten(1)))

    def score(self, features: Tensor, group: Tensor) -> Tensor:
        """Logits (B,): a real face of its group (B,)? By label projection."""
        # D(x, y) = v^T embed(y) phi(x) + psi(phi(x)) (Miyato & Koyama, ICLR 2018), the product over sqrt(C) so
        # that its variance does not grow with the width.
        match = (features * self.project(group_code(group))).sum(1) / math.sqrt(features.shape[1])
        return self.real(features)[:, 0] + match

    def groups(self, features: Tensor) -> Tensor:
        """Logits (B,10) of the ten groups."""
        return self.classify(features)


def minibatch_stddev(x: Tensor) -> Tensor:
    """Minibatch standard deviation (Karras et al., ICLR 2018, section 3): (B,C,h,w) -> one more map (B,1,h,w).

    The mean over channels and places of the standard deviation over the batch; a collapsed generator is told by it."""
    spread = (x.var(0, unbiased=False) + 1e-8).sqrt().mean()
    return spread.expand(len(x), 1, *x.shape[-2:])


def double_side(x: Tensor) -> Tensor:
    """(B,C,H,W) -> (B,C,2H,2W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
