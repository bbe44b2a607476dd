"""What the readers of identity and of attributes share: a trunk that sees a face on 112 pixels, aligned by five points.

1 to 1.5 million weights; MobileFaceNet (Chen et al., CCBR 2018) has 1, spent otherwise: that network's depthwise layers
at 56x56 wait for memory, so that a CPU trains it at a sixth of the speed of the dense residual layers here, which start
at 28x28. The last feature map is not averaged but read place by place, as ArcFace does (Deng et al., CVPR 2019, sec.
3.2.2, setting E): on an aligned face a feature's place says which part of the face it is.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..layers import ResidualBlock, resize
from .alignment import SIDE, aligned

FRAME = 128
"""Side of the FFHQ frame in which eyes are about as far apart as on the aligned face of SIDE pixels. A larger frame is
first shrunk to this with a filter, since alignment samples without one."""


class AlignedReader(nn.Module):
    """Faces and their landmarks -> features of the aligned face.

    widths: channels at 28x28, 14x14 and 7x7. blocks: residual blocks of each. squeeze: channels of the 7x7 map that the
    last layer reads. dropout: share of these numbers that training leaves out. outputs: of the last layer.

        112 --7x7/4--> 28 --blocks--> 28 --blocks--> 14 --blocks--> 7 --1x1--> squeeze x 7 x 7 --linear--> outputs
    """

    ZOOM: ClassVar[float] = 1.0
    """How much larger than in ArcFace's alignment the face is seen."""

    def __init__(
        self, widths: tuple[int, ...], blocks: tuple[int, ...], squeeze: int, dropout: float, outputs: int
    ):
        super().__init__()
        stages = [nn.Conv2d(3, widths[0], 7, 4, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        inputs = widths[0]
        for stage, (channels, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                halve = stage > 0 and block == 0
                stages.append(ResidualBlock(inputs, channels, 2 if halve else 1))
                inputs = channels
        self.trunk = nn.Sequential(*stages)
        self.channels = inputs
        grid = SIDE // 2 ** (len(widths) + 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(inputs, squeeze, 1, bias=False),
            nn.BatchNorm2d(squeeze),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(squeeze * grid * grid, outputs)

    @classmethod
    def crop(cls, face: Tensor, landmarks: Tensor) -> Tensor:
        """The faces (B,3,S,S) as the network sees them, (B,3,112,112), by their landmarks (B,68,2) in 0..1."""
        side = round(FRAME * cls.ZOOM)
        return aligned(resize(face, side) if face.shape[-1] > side else face, landmarks, cls.ZOOM)

    def last(self, crop: Tensor) -> Tensor:
        """Aligned faces (B,3,112,112) -> (B,outputs)."""
        return self.code(self.features(crop))

    def features(self, crop: Tensor) -> Tensor:
        """Aligned faces (B,3,112,112) -> (B,channels,7,7). Channels come last, which is faster on a CPU too."""
        out: Tensor = self.trunk(crop.contiguous(memory_format=torch.channels_last))
        return out

    def code(self, features: Tensor) -> Tensor:
        """Features (B,channels,7,7) -> (B,outputs)."""
        out: Tensor = self.head(self.squeeze(features))
        return out
