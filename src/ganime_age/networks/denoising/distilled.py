"""A student of the denoising network that draws an edit anew in one evaluation, without noise.

Guided distillation (Meng et al., "On Distillation of Guided Diffusion Models", CVPR 2023): the three evaluations of the
denoiser with their guidance (redraw.py) become one, whose output is learnt by least squares. The denoiser's output
depends on the noise; the least-squares estimate of it without the noise is its mean over the noise:

    S(edit, moved; source, target) = E_noise[out - edit]
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...edits import AU_CODES, AU_MAX
from ..layers import channels_together, gaussian_basis
from ..restoring.erase import PLACES
from ..restoring.lay import Request
from .denoiser import AGE_BUMPS, LEAST_NOISE, LIKE, MOST_NOISE, NOISE_BUMPS, SPREAD, Denoiser
from .unet import FaceUNet

UNITS = len(AU_CODES)
CHANGE = 0.05
"""Standard deviation of what is drawn, in units of [-1,1]: the network's own output is of unit variance, as EDM's."""
LIKE_NOISE = 0.75
"""Standard deviation of the noise for which the student, before training, is modulated as its teacher is."""


class Distilled(FaceUNet):
    """widths, blocks, share: see `FaceUNet`."""

    def __init__(
        self,
        widths: tuple[int, ...] | list[int] = (48, 96, 144, 160),
        blocks: tuple[int, ...] | list[int] = (1, 2, 2, 2),
        share: float = 1.0,
    ):
        super().__init__(2 * (AGE_BUMPS + UNITS), 2 * 4 * 3 + 1 + PLACES, widths, blocks, share)

    def style(self, request: Request) -> Tensor:
        """What is asked -> (B,STYLE)."""
        ages = [gaussian_basis(age, 0.0, 100.0, AGE_BUMPS) for age in request[:2]]
        return self.condition(torch.cat([*ages, *(aus / AU_MAX for aus in request[2:])], 1))

    def forward(self, edit: Tensor, moved: Tensor, valid: Tensor, place: Tensor, request: Request) -> Tensor:
        """Edited faces (B,3,H,W) in [-1,1] and the same faces moved alone; valid (B,1,H,W) in 0..1, what of them is
        real; place: see `places` -> what drawing anew changes in the edits, (B,3,H,W)."""
        seen = [F.pixel_unshuffle(face * valid / SPREAD, 2) for face in (edit, moved)]
        x = torch.cat([*seen, F.avg_pool2d(valid, 2), place], 1)
        if not torch.is_grad_enabled():
            x = channels_together(x)
        return CHANGE * self.drawn(x, self.style(request)).float()

    @torch.no_grad()
    def begin_from(self, teacher: Denoiser) -> None:
        """Take over all tensors of a denoiser whose shapes agree, but for the last layer's: an untrained student
        changes nothing. Its stem sees the edit as the teacher's sees a face, and the moved face not yet."""
        given = teacher.state_dict()
        for name, own in self.state_dict().items():
            if not name.startswith("head.") and name in given and given[name].shape == own.shape:
                own.copy_(given[name])
        if self.stem.out_channels == teacher.stem.out_channels:
            self.stem.weight.zero_()
            self.stem.weight[:, :12] = teacher.stem.weight[:, :12]
            self.stem.weight[:, 24:] = teacher.stem.weight[:, 12:]
        self._be_told_as(teacher)

    def _be_told_as(self, teacher: Denoiser) -> None:
        """The first layer of the condition: the target is told as the teacher was told what a face is, beside a set
        and a noise that stay the same."""
        sizes = (AGE_BUMPS, 1, UNITS, 1, teacher.sources, 1, NOISE_BUMPS)
        first, theirs = (network.condition.get_submodule("0") for network in (self, teacher))
        age, known, units, moved, source, _, level = theirs.get_parameter("weight").split(sizes, 1)
        noise = torch.tensor([math.log(LIKE_NOISE)]).to(level)
        bumps = gaussian_basis(noise, math.log(LEAST_NOISE), math.log(MOST_NOISE), NOISE_BUMPS)
        weight, bias = (first.get_parameter(name) for name in ("weight", "bias"))
        weight.zero_()
        weight[:, AGE_BUMPS : 2 * AGE_BUMPS] = age
        weight[:, -UNITS:] = units
        bias.copy_(theirs.get_parameter("bias") + (known + moved)[:, 0] + level @ bumps[0])
        if teacher.sources:
            bias.add_(source[:, LIKE])
