"""How old somebody looks, and what the face does: read on 112 pixels aligned by five points."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ...edits import AU_CODES, AU_UNSEEN
from ..readers import YEARS, au_scale, mean_and_spread
from .reader import AlignedReader


class Attributes(NamedTuple):
    """age and spread (B,) in years, mean and standard deviation; logits (B,101), one a year; action_units (B,17) in
    0..5, those that no label shows 0."""

    age: Tensor
    spread: Tensor
    logits: Tensor
    action_units: Tensor


class AttributeReader(AlignedReader):
    """Faces and their landmarks -> age and action units. The keywords are those of AlignedReader.

    The age is the expected value under the softmax (DEX, Rothe et al., IJCV 2018). `spread_scale` widens the standard
    deviation to what held-out faces show: a network is surer of a face that it has learnt than of another one.
    """

    ZOOM: ClassVar[float] = 1.2  # from hairline to chin: creases in more pixels, less of the background
    spread_scale: Tensor
    au_seen: Tensor

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 160),
        blocks: tuple[int, ...] = (1, 3, 1),
        squeeze: int = 40,
        dropout: float = 0.0,
    ):
        super().__init__(widths, blocks, squeeze, dropout, YEARS + len(AU_CODES))
        self.register_buffer("spread_scale", torch.ones(()))
        seen = torch.tensor([float(code not in AU_UNSEEN) for code in AU_CODES])
        self.register_buffer("au_seen", seen, persistent=False)

    def forward(self, face: Tensor, landmarks: Tensor) -> Attributes:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 of it -> Attributes."""
        return self.attributes(self.last(self.crop(face, landmarks)))

    def attributes(self, out: Tensor) -> Attributes:
        """What `last` gave, (B,118), in years and intensities."""
        logits, units = out.split([YEARS, len(AU_CODES)], 1)
        age, spread = mean_and_spread(logits)
        return Attributes(age, spread * self.spread_scale, logits, self.au_seen * au_scale(units))
