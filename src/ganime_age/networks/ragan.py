"""Re-Aging GAN: a personal age feature, made of identity and target age, guides the decoder.

After Makhmudkhujaev et al., ICCV 2021: an identity encoder, an age modulator at the bottleneck that mixes the identity
feature with the target age in products of rising order, a decoder that shares the encoder's features so that
background, hair style and expression stay, and one discriminator with a logit for each age group.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from .age_groups import GROUPS, edit_by_difference, group_code
from .layers import Edited, ModulatedBlock, activate, conv, kaiming
from .prototypes import Prototypes


class AgeModulator(nn.Module):
    """Identity feature (B,C,h,w) and group code (B,10) -> personal age feature (B,C,h,w).

    p_0 = n(f), p_k = n(P_k(p_{k-1})) * (G_k(n(f)) + a_k), n(.) of mean square 1 over the channels at each place: each
    step multiplies by what the identity and the age say together, so that p_k holds products of order k + 1. The result
    is f + the sum of all p_k, k >= 1. Features are RMS-normalised at each step;
    otherwise a saturated gate blocks the gradient of the age embedding.
    """

    def __init__(self, channels: int, order: int):
        super().__init__()
        self.steps = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(order))
        self.gates = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(order))
        self.ages = nn.ModuleList(nn.Linear(GROUPS, channels, bias=False) for _ in range(order))

    def forward(self, identity: Tensor, code: Tensor) -> Tensor:
        # step k:   p_{k-1} --P_k--> n(.) --x--> p_k --+--> total
        #                                   |
        #           n(f) --G_k--> + a_k ----'          the gate, which knows identity and age
        even = rms_normalise(identity)
        product, total = even, identity
        for step, gate, age in zip(self.steps, self.gates, self.ages, strict=True):
            product = rms_normalise(step(product)) * (gate(even) + age(code)[:, :, None, None])
            total = total + product
        return total


def rms_normalise(feature: Tensor) -> Tensor:
    """(B,C,h,w) scaled so that the mean square over the channels is 1 at each place (pixel norm, Karras et al., ICLR
    2018)."""
    return feature * (feature.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def blur(picture: Tensor) -> Tensor:
    """(B,C,H,W) -> the same under a binomial 3x3 filter, edges repeated.

    It removes the stripes and chequers that a pixel shuffle leaves where the four sub-pixels of a place disagree."""
    # Two 2x2 means in a row are [1 2 1]^T [1 2 1] / 16, whose response at the Nyquist frequency is 0.
    # Edges by slices: the gradient of F.pad(mode="replicate") does not compile in channels_last.
    tall = torch.cat([picture[..., :1, :], picture, picture[..., -1:, :]], 2)
    padded = torch.cat([tall[..., :1], tall, tall[..., -1:]], 3)
    return F.avg_pool2d(F.avg_pool2d(padded, 2, 1), 2, 1)


class UnnormalisedBlock(nn.Module):
    """shortcut + two 3x3 convolutions without normalisation, so absolute brightness and contrast survive: (B,C,H,W) ->
    the same. Pre-activation (He et al., ECCV 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.convs
        return x + second(F.silu(first(F.silu(x))))


class Generator(nn.Module):
    """Any side that is a multiple of 8. widths: channels at 1/2, 1/4 and 1/8 of the side, multiples of 8. blocks:
    residual blocks at 1/8. order: of the products of identity and age. What is drawn is added to the face.
    own_prototypes: whether it holds prototypes itself, as in training; a model hands in its part."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (32, 64, 128),
        blocks: int = 2,
        order: int = 3,
        own_prototypes: bool = True,
    ):
        super().__init__()
        if any(width % 8 or width < 8 for width in widths) or len(widths) < 2 or order < 1:
            raise BadInput(
                f"widths {list(widths)} of ragan must be two or more multiples of 8, and order {order} at least 1"
            )
        if own_prototypes:
            self.prototypes = Prototypes().requires_grad_(False)  # measured, not learnt here
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
        last = widths[-1]
        self.middle = nn.ModuleList(UnnormalisedBlock(last) for _ in range(blocks))
        self.modulator = AgeModulator(last, order)
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in rising)
        self.refine = nn.ModuleList(ModulatedBlock(b, last) for _, b in rising)
        self.head = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.normal_(self.head.weight, std=0.1 / math.sqrt(9 * widths[0]))
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(self, face: Tensor, group: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], fractional groups (B,) in 0..9 -> the persons in these groups, (B,3,S,S).

        BadInput for a group outside 0..9.
        """
        code, pixels = group_code(group), F.pixel_unshuffle(face, 2)
        # A U-Net (Ronneberger et al., MICCAI 2015) with additive skips; the age modulator sits at the bottleneck, and
        # its mean feature modulates every block of the decoder.
        skips = [self.stem(pixels)]
        for down in self.down:
            skips.append(down(F.silu(skips[-1])))
        x = skips.pop()
        for block in self.middle:
            x = block(x)
        x = self.modulator(x, code)
        guide = x.mean((2, 3))  # (B,C), the personal age feature as the decoder's guide
        for up, refine in zip(self.up, self.refine, strict=True):
            x = refine(F.interpolate(up(x), scale_factor=2.0, mode="bilinear") + skips.pop(), guide)
        return face + blur(F.pixel_shuffle(self.head(F.silu(x)), 2))


def edit(
    generator: Generator,
    faces: Tensor,
    source_age: Tensor,
    target_age: Tensor,
    source_aus: Tensor,
    target_aus: Tensor,
) -> Edited:
    """The edit of a method's row (model/methods.py): the difference of two age groups; action units are not read."""
    return edit_by_difference(generator, faces, source_age, target_age)


class Discriminator(nn.Module):
    """A logit for each age group: is this a real face of that group? widths: channels of the stride-2 stages."""

    def __init__(self, widths: tuple[int, ...] | list[int] = (32, 64, 96, 128, 128)):
        super().__init__()
        counts = [3, *widths]
        self.down = nn.ModuleList(conv(a, b, 4, 2) for a, b in zip(counts, counts[1:], strict=False))
        self.final = conv(widths[-1], widths[-1])
        self.logits = kaiming(nn.Linear(widths[-1] * 4, GROUPS))

    def forward(self, face: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1] -> (B,10)."""
        x = face
        for down in self.down:
            x = activate(down(x))
        x = activate(self.final(x))
        return self.logits(F.adaptive_avg_pool2d(x, 2).flatten(1))

    def score(self, face: Tensor, group: Tensor) -> Tensor:
        """Logits (B,) of each face's own group (B,), fractional ones between both neighbours."""
        return (self(face) * group_code(group)).sum(1)
