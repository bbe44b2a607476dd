"""AIFD: who somebody is, apart from how old, on faces aligned by five points. Its identity branch is the E_A of the
multi-task identity (MI) loss.

MTLFace's attention-based feature decomposition (Huang et al., CVPR 2021) over the features of the identity reader,
which stay as they are: what is trained is which part of them tells the age. The readers hold a smaller AIFD with
features of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..readers import YEARS, AIFDAttention, mean_and_spread
from .identity import IdentityReader

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


class AIFD(nn.Module):
    """X = X*s + X*(1-s) over the identity reader's features X: the first part tells the age, the second the person.

    identity: used here, not owned: its tensors are saved and moved once, where it lives. squeeze: by how much the
    channel attention narrows. hidden: numbers between the pooled features and the age.
    """

    def __init__(self, identity: IdentityReader, squeeze: int = 8, hidden: int = 128):
        super().__init__()
        self._borrowed = (identity,)
        channels = identity.channels
        self.attention = AIFDAttention(channels, squeeze)
        for layer in (self.attention.channel[2], self.attention.spatial):
            nn.init.zeros_(layer.get_parameter("weight"))
            nn.init.constant_(layer.get_parameter("bias"), SHUT)
        self.age_branch = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, YEARS)
        )

    @property
    def reader(self) -> IdentityReader:
        """The reader whose features it takes apart."""
        return self._borrowed[0]

    def forward(self, face: Tensor, landmarks: Tensor) -> Identified:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 of it -> Identified."""
        return self.of_crop(self.reader.crop(face, landmarks))

    def of_crop(self, crop: Tensor) -> Identified:
        """Aligned faces (B,3,112,112) -> Identified."""
        # X = X s + X (1 - s) (MTLFace, eq. 1): the age branch pools X s, the identity branch reads X (1 - s) place by
        # place, as the reader does.
        x = self.reader.features(crop)
        s = self.attention(x)
        age_logits = self.age_branch((x * s).mean((2, 3)))
        identity = F.normalize(self.reader.code(x * (1 - s)), dim=1)
        return Identified(identity, *mean_and_spread(age_logits), age_logits, s.mean(1))
