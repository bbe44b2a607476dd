"""An age estimator that measures edits and takes no part in training them.

It differs from the readers in everything that could make both err alike: plain convolutions without shortcuts, group
normalisation, an ordinal head, the whole frame with the hair, other faces to learn from.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..layers import resize

OLDEST = 100
"""Age thresholds of the ordinal head: older than 0, 1, ... 99 years?"""


class AgeJudge(nn.Module):
    """widths: channels of the five stages, each half as large as the one before, from size/2 down."""

    def __init__(self, size: int = 96, widths: tuple[int, ...] = (16, 32, 64, 128, 192)):
        super().__init__()
        self.size = size
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, 2, 2), nn.ReLU()]
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            for a, b in ((inputs, outputs), (outputs, outputs)):
                layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(8, b), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.trunk = nn.Sequential(*layers)
        grid = size // 2 ** len(widths)
        # Flattened, not pooled: the head may weigh forehead, eyes and mouth differently.
        self.squeeze = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(widths[-1] * grid * grid, 128), nn.ReLU()
        )
        self.older = nn.Linear(128, OLDEST)

    def features(self, faces: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1] -> (B,128), for distances between sets of faces."""
        return self.squeeze(self.trunk(resize(faces, self.size)))

    def logits(self, faces: Tensor) -> Tensor:
        """(B,3,S,S) in [-1,1] -> (B,100): is the face older than 0, 1, ... 99 years?"""
        return self.older(self.features(faces))

    def forward(self, faces: Tensor) -> Tensor:
        """(B,3,S,S) in [-1,1] -> age (B,) in years: the sum of the chances to be older (Niu et al., CVPR 2016)."""
        # E[age] = sum_k P(age > k), for any distribution over whole years.
        return self.logits(faces).sigmoid().sum(1)
