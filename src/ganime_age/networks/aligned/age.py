"""How old somebody looks: a distribution over the years 0..100, read on 112 pixels aligned by five points."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ..readers import YEARS, mean_and_spread
from .reader import AlignedReader


class AgeReading(NamedTuple):
    """age and spread (B,) in years, mean and standard deviation; logits (B,101), one a year."""

    age: Tensor
    spread: Tensor
    logits: Tensor


class AgeReader(AlignedReader):
    """Faces and their landmarks -> how old they look. The keywords are those of AlignedReader.

    The age is the expected value under the softmax (DEX, Rothe et al., IJCV 2018). `spread_scale` widens the standard
    deviation to what held-out faces show: a network is surer of a face that it has learnt than of another one.
    """

    ZOOM: ClassVar[float] = 1.2  # from hairline to chin: creases in more pixels, less of the background
    spread_scale: Tensor

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 160),
        blocks: tuple[int, ...] = (1, 3, 1),
        squeeze: int = 40,
        dropout: float = 0.2,
    ):
        super().__init__(widths, blocks, squeeze, dropout, YEARS)
        self.register_buffer("spread_scale", torch.ones(()))

    def forward(self, face: Tensor, landmarks: Tensor) -> AgeReading:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 of it -> AgeReading.

        The logits are the mean of those of the face and of its mirror image, which is as old.
        """
        own, mirrored = self.seen_twice(face, landmarks)
        logits = (own + mirrored) / 2
        age, spread = mean_and_spread(logits)
        return AgeReading(age, spread * self.spread_scale, logits)
