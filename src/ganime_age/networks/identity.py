"""Who somebody is: a unit vector of 128 numbers for a face, read on 112 pixels aligned by five points.

About as many weights as MobileFaceNet (Chen et al., CCBR 2018), spent otherwise: that network's depthwise layers at
56x56 wait for memory, so that a CPU trains it at a sixth of the speed of the dense residual layers here, which start
at 28x28. The last feature map is not averaged but read place by place, as ArcFace does (Deng et al., CVPR 2019, sec.
3.2.2, setting E): on an aligned face a feature's place says which part of the face it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .aifd import SIDE, aligned
from .layers import ResidualBlock, resize
from .readers import CODE

FRAME = 128
"""Side of the FFHQ frame in which eyes are about as far apart as on the aligned face of SIDE pixels. A larger frame is
first shrunk to this with a filter, since alignment samples without one."""


class IdentityReader(nn.Module):
    """Faces and their landmarks -> who it is; the cosine of two tells how alike two persons are.

    widths: channels at 28x28, 14x14 and 7x7. blocks: residual blocks of each. squeeze: channels of the 7x7 map that the
    last layer reads. dropout: share of these numbers that training leaves out.

        112 --7x7/4--> 28 --blocks--> 28 --blocks--> 14 --blocks--> 7 --1x1--> squeeze x 7 x 7 --linear--> 128
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 160),
        blocks: tuple[int, ...] = (1, 3, 1),
        squeeze: int = 40,
        dropout: float = 0.0,
    ):
        super().__init__()
        stages = [nn.Conv2d(3, widths[0], 7, 4, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        inputs = widths[0]
        for stage, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                halve = stage > 0 and block == 0
                stages.append(ResidualBlock(inputs, outputs, 2 if halve else 1))
                inputs = outputs
        self.trunk = nn.Sequential(*stages)
        grid = SIDE // 2 ** (len(widths) + 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(inputs, squeeze, 1, bias=False),
            nn.BatchNorm2d(squeeze),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(squeeze * grid * grid, CODE)

    def forward(self, face: Tensor, landmarks: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], RGB, any side; landmarks (B,68,2) in 0..1 of it -> (B,128) of unit length.

        The mean of what is seen in the face and in its mirror image, which is the same person.
        """
        crop = self.crop(face, landmarks)
        own, mirrored = self.embed(torch.cat([crop, crop.flip(3)])).chunk(2)
        return F.normalize(own + mirrored, dim=1)

    @staticmethod
    def crop(face: Tensor, landmarks: Tensor) -> Tensor:
        """The faces (B,3,S,S) as the network sees them, (B,3,112,112), by their landmarks (B,68,2)."""
        return aligned(resize(face, FRAME) if face.shape[-1] > FRAME else face, landmarks)

    def embed(self, crop: Tensor) -> Tensor:
        """Aligned faces (B,3,112,112) -> (B,128) of unit length. Channels come last, which is faster on a CPU too."""
        x = self.trunk(crop.contiguous(memory_format=torch.channels_last))  # (B,C,7,7)
        return F.normalize(self.head(self.squeeze(x)), dim=1)
