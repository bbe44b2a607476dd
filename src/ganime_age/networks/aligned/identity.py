"""Who somebody is: a unit vector of 128 numbers for a face, read on 112 pixels aligned by five points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..readers import CODE
from .reader import AlignedReader


class IdentityReader(AlignedReader):
    """Faces and their landmarks -> who it is; the cosine of two tells how alike two persons are.

    The keywords are those of AlignedReader.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 160),
        blocks: tuple[int, ...] = (1, 3, 1),
        squeeze: int = 40,
        dropout: float = 0.0,
    ):
        super().__init__(widths, blocks, squeeze, dropout, CODE)

    def forward(self, face: Tensor, landmarks: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 of it -> (B,128) of unit length.

        The mean of what is seen in the face and in its mirror image, which is the same person.
        """
        crop = self.crop(face, landmarks)
        own, mirrored = self.embed(torch.cat([crop, crop.flip(3)])).chunk(2)
        return F.normalize(own + mirrored, dim=1)

    def embed(self, crop: Tensor) -> Tensor:
        """Aligned faces (B,3,112,112) -> (B,128) of unit length."""
        return F.normalize(self.last(crop), dim=1)
