"""GANimation-age: one generator for age and action units, with a colour and an attention mask.

GANimation (Pumarola et al., ECCV 2018) edits a face by `(1-A)*C + A*I`. Here the age enters beside the action units:
a modulation network turns (source age, target age) into a 128-d style. Both conditions are differences, enter after
each normalisation, and start at zero, so that asking for no change gives back the input exactly.

Before the generator paints, prototypes (see prototypes.py) move and tone the face as ages and action units do on the
mean. What is left to paint is what no mean shows: teeth, creases, what makes the edit real on this face.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES, AU_MAX
from ..errors import BadInput
from .denoising.denoiser import Denoiser
from .denoising.distilled import Distilled
from .denoising.redraw import redrawn
from .layers import Edited, ModulatedBlock, gaussian_basis
from .prototypes import Prototypes
from .restoring.lay import Request, lay
from .restoring.restorer import Restorer

AGE_BUMPS = 16
"""Gaussian basis functions over 0..100 years that an age is given to a network as."""
ASKED_YEARS = 4.0
"""Years of change at which `asked` is 1 - 1/e."""
ASKED_UNITS = 0.6
"""Sum of the changes of action units (0..5 each) at which `asked` is 1 - 1/e."""
MEAN_AGE, AGE_SCALE = 50.0, 25.0
"""Years: what an output of 0 of the discriminator's age head means, and what one unit adds."""


class AgeStyle(nn.Module):
    """Modulation network: ages in years, (B,) each -> style (B,128), zero when target = source."""

    def __init__(self, style: int = 128):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * AGE_BUMPS, style), nn.SiLU(), nn.Linear(style, style, bias=False)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        # f(s, t) - f(s, s): exactly zero for t = s whatever the weights, so "no change" needs not be learnt.
        before, after = (gaussian_basis(age, 0.0, 100.0, AGE_BUMPS) for age in (source, target))
        return self.mlp(torch.cat([before, after], 1)) - self.mlp(torch.cat([before, before], 1))


class ActionStyle(nn.Module):
    """Intensities 0..5, (B,17) each -> style (B,64), zero when target = source."""

    def __init__(self, style: int = 64):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * len(AU_CODES), style), nn.SiLU(), nn.Linear(style, style, bias=False)
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        # f(s, t - s) - f(s, 0), zero for t = s, as in AgeStyle.
        source, change = source / AU_MAX, (target - source) / AU_MAX
        return self.mlp(torch.cat([source, change], 1)) - self.mlp(
            torch.cat([source, torch.zeros_like(change)], 1)
        )


class Generator(nn.Module):
    """Fully convolutional, any side that is a multiple of 8. widths: channels at 1/2, 1/4 and 1/8 of the side.
    own_prototypes: whether it holds prototypes itself, as in training; a model hands in its part."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (48, 96, 192),
        blocks: int = 2,
        own_prototypes: bool = True,
    ):
        super().__init__()
        self.age_style, self.action_style = AgeStyle(), ActionStyle()
        if own_prototypes:
            self.prototypes = Prototypes().requires_grad_(False)  # measured, not learnt here
        condition = 128 + 64
        self.stem = nn.Conv2d(3, widths[0], 6, 2, 2)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.middle = nn.ModuleList(ModulatedBlock(widths[-1], condition) for _ in range(blocks))
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in rising)
        self.refine = nn.ModuleList(ModulatedBlock(b, condition) for _, b in rising)
        self.head = nn.Conv2d(widths[0], 4 * 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))

    def forward(
        self, face: Tensor, source_age: Tensor, target_age: Tensor, source_aus: Tensor, target_aus: Tensor
    ) -> Edited:
        """Faces (B,3,S,S) in [-1,1] after the prototypes; ages (B,) in years; action units (B,17) in 0..5 -> Edited."""
        condition = torch.cat(
            [self.age_style(source_age, target_age), self.action_style(source_aus, target_aus)], 1
        )
        asked = self.asked(source_age, target_age, source_aus, target_aus)
        # A U-Net with additive skips; every block after the encoder is modulated by the condition. The head draws at
        # half the side, four sub-pixels a place (pixel shuffle, Shi et al., CVPR 2016).
        skips = [self.stem(face)]
        for down in self.down:
            skips.append(down(F.silu(skips[-1])))
        x = skips.pop()
        for block in self.middle:
            x = block(x, condition)
        for up, refine in zip(self.up, self.refine, strict=True):
            x = refine(F.interpolate(up(x), scale_factor=2.0, mode="bilinear") + skips.pop(), condition)
        # I' = I + a (C - I), GANimation's (1 - A) C + A I with a = 1 - A, and C itself a residual on the input. `asked`
        # takes a to 0 with the request, continuously: no request, no change.
        raw = F.pixel_shuffle(self.head(F.silu(x)), 2)  # (B,4,S,S)
        colour = (face + 2 * raw[:, :3].tanh()).clamp(-1, 1)  # C, (B,3,S,S)
        attention = raw[:, 3:].sigmoid() * asked[:, None, None, None]  # 1 - A, (B,1,S,S)
        return Edited(face + attention * (colour - face), attention)

    @staticmethod
    def asked(source_age: Tensor, target_age: Tensor, source_aus: Tensor, target_aus: Tensor) -> Tensor:
        """(B,) in 0..1: the strength of a request; exactly 0 for none, above 0.9 from 10 years or 1.5 of an AU."""
        years = (target_age - source_age).abs() / ASKED_YEARS
        action = (target_aus - source_aus).abs().sum(1) / ASKED_UNITS
        return 1 - torch.exp(-(years + action))


AnyGenerator: TypeAlias = Generator | Restorer | Denoiser | Distilled


def edit(
    generator: AnyGenerator,
    faces: Tensor,
    source_age: Tensor,
    target_age: Tensor,
    source_aus: Tensor,
    target_aus: Tensor,
    landmarks: tuple[Tensor, Tensor] | None = None,
    moved: Callable[[], Tensor] | None = None,
) -> Edited:
    """The edit of this method's row (model/methods.py): ages and action units at once.

    landmarks (B,68,2): the photo's, and as the prototypes moved them; all but the first of KINDS need both. moved:
    gives the faces with nothing but their landmarks moved, which a denoiser and its student need.
    """
    request = Request(source_age, target_age, source_aus, target_aus)
    if isinstance(generator, Generator):
        return generator(faces, *request)
    assert landmarks is not None
    before, after = (marks.nan_to_num(0.5) for marks in landmarks)
    if isinstance(generator, Restorer):
        return lay(generator, faces, before, after, request)
    assert moved is not None
    return redrawn(generator, faces, moved, (before, after), request)


KINDS = {"painter": Generator, "restorer": Restorer, "denoiser": Denoiser, "distilled": Distilled}
"""The generators that this method has had: of the oldest weights, restoring/, denoising/, and the last one's
student."""


def network(kind: str = "painter", own_prototypes: bool = True, **keywords: Any) -> AnyGenerator:
    """The generator of one of KINDS."""
    if kind not in KINDS:
        raise BadInput(f"the generator's kind is {kind!r}; choose {', '.join(KINDS)}")
    built: AnyGenerator = KINDS[kind](
        **keywords | ({"own_prototypes": own_prototypes} if kind == "painter" else {})
    )
    return built


class Discriminator(nn.Module):
    """Patch discriminator: is each patch real, given age and action units? With heads that read both.

    The condition enters by projection (Miyato & Koyama, ICLR 2018). widths: channels of the stride-2 stages.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256)):
        super().__init__()
        pairs = list(zip((4, *widths[:-1]), widths, strict=True))
        self.stages = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        last = widths[-1]
        self.final = nn.Conv2d(last, last, 3, padding=1)
        self.real = nn.Conv2d(last, 1, 1)
        self.project = nn.Sequential(
            nn.Linear(AGE_BUMPS + len(AU_CODES), 128), nn.SiLU(), nn.Linear(128, last)
        )
        self.read = nn.Sequential(nn.Linear(last, 128), nn.SiLU(), nn.Linear(128, 1 + len(AU_CODES)))

    def features(self, face: Tensor, valid: Tensor) -> Tensor:
        """face (B,3,S,S) in [-1,1], valid (B,1,S,S) in 0..1; what is not valid is hidden -> (B,C,h,w)."""
        x = torch.cat([face * valid, valid * 2 - 1], 1)
        for stage in self.stages:
            x = F.leaky_relu(stage(x), 0.2)
        return F.leaky_relu(self.final(x), 0.2)

    def score(self, features: Tensor, age: Tensor, aus: Tensor) -> Tensor:
        """Patch logits (B,1,h,w): real, and of that age (B,) in years and those action units (B,17)?"""
        # D(x, y) = psi(phi(x)) + <phi(x), embed(y)> at each place (Miyato & Koyama, ICLR 2018).
        condition = self.project(torch.cat([gaussian_basis(age, 0.0, 100.0, AGE_BUMPS), aus / AU_MAX], 1))
        return self.real(features) + (features * condition[:, :, None, None]).mean(1, keepdim=True)

    def readings(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The regression heads: age (B,) in years, action units (B,17) in 0..5, neither clamped."""
        read = self.read(features.mean((2, 3)))
        return MEAN_AGE + AGE_SCALE * read[:, 0], AU_MAX * read[:, 1:]
