"""Three age judges that share nothing: other convolutions, other crops of a face, other faces to learn from.

What fools one of them, such as shading drawn stronger than it is, should not fool the others. Every judge cuts its own
crops from the FFHQ frame by the landmarks, in multiples of d, the distance from the middle of the eyes to the mouth:

    frame   the whole frame with the hair    depthwise 7x7 and pointwise convolutions (ConvNeXt, Liu et al., CVPR 2022)
    face    2.4 d, brows to chin             residual blocks with squeeze-excitation (SENet, Hu et al., CVPR 2018)
    parts   both eyes, mouth, forehead       plain convolutions; attention over the places of all four crops
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import ResidualBlock, resize
from .age_judge import OLDEST


class CommitteeJudge(nn.Module):
    """What the three judges have in common: crops are cut, `older` gives their logits.

    windows: crops of a face, each (right, down, side, mirrored): where its centre lies from the middle of the eyes, and
    its side, all in d. None: the whole frame. side: of a crop in pixels.
    """

    windows: tuple[tuple[float, float, float, bool], ...] | None = None
    side = 112

    def places(self, landmarks: Tensor, moved: Tensor | None = None) -> Tensor:
        """Landmarks (B,68,2) in 0..1 -> (B,K,2,3): where each window lies, as a map of -1..1 of the crop to -1..1 of
        the frame.

        moved: (B,4) turn (radians), logarithm of the scale, shift right and down (in crops), for the training; one for
        all windows of a face.
        """
        if self.windows is None:
            frame = landmarks.new_tensor([[0.5, 0.5], [0.0, 1.0]]).expand(len(landmarks), 2, 2)
            eyes, down = frame[:, 0], frame[:, 1]
        else:
            eyes, down = axes(landmarks)
        right = torch.stack([down[:, 1], -down[:, 0]], 1)
        found = []
        for right_by, down_by, size, mirrored in self.windows or ((0.0, 0.0, 1.0, False),):
            centre = eyes + right_by * right + down_by * down
            x, y = right * size, down * size  # (B,2) the crop's sides
            if moved is not None:
                cos, sin = (f(moved[:, :1]) * moved[:, 1:2].exp() for f in (torch.cos, torch.sin))
                centre = centre + moved[:, 2:3] * x + moved[:, 3:4] * y
                x, y = cos * x + sin * y, cos * y - sin * x
            # A side in 0..1 of the frame is half as long in the crop's and the frame's -1..1, and so the same number.
            found.append(torch.stack([-x if mirrored else x, y, 2 * centre - 1], 2))
        return torch.stack(found, 1)

    def crops(self, faces: Tensor, landmarks: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1 -> (B,K,3,side,side), K windows."""
        return torch.stack([self.cut(faces, place) for place in self.places(landmarks).unbind(1)], 1)

    def cut(self, faces: Tensor, place: Tensor) -> Tensor:
        """The window at `place` (B,2,3) of every face, (B,3,side,side)."""
        # A crop much smaller than what it shows would alias: the frame is shrunk first, to at most 1.5 times its scale.
        least = int(1.5 * self.side / float(place[:, :, 0].norm(dim=1).mean())) + 1
        shrunk = resize(faces, least) if least < faces.shape[-1] else faces
        grid = F.affine_grid(place, [len(faces), 3, self.side, self.side], align_corners=False)
        return F.grid_sample(shrunk, grid, padding_mode="border", align_corners=False)

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the logits."""
        return cast(nn.Linear, cast(nn.Sequential, self.older)[-1])

    def logits(self, crops: Tensor) -> Tensor:
        """Crops (B,K,3,side,side) in [-1,1] -> (B,100): is the face older than 0, 1, ... 99 years?"""
        raise NotImplementedError

    def forward(self, faces: Tensor, landmarks: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1 -> ages (B,) in years, the mean of a face's and its
        mirror image's."""
        crops = self.crops(faces, landmarks)
        both = torch.cat([crops, self.mirrored(crops)])
        # E[age] = sum_k P(age > k), for any distribution over whole years.
        return self.logits(both).sigmoid().sum(1).view(2, -1).mean(0)

    def mirrored(self, crops: Tensor) -> Tensor:
        """The crops of the mirrored face."""
        return crops.flip(4)


def axes(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks (B,68,2) -> the middle of the eyes (B,2), and the way from there to the middle of the mouth (B,2)."""
    eyes, mouth = landmarks[:, 36:48].mean(1), landmarks[:, 48:68].mean(1)
    return eyes, mouth - eyes


class SqueezeExcitation(nn.Module):
    """Channels weighted by what the whole map holds (Hu et al., CVPR 2018): (B,C,H,W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3)))[:, :, None, None]


class FaceJudge(CommitteeJudge):
    """The face without hair. widths: channels at 18x18, 9x9 and 5x5. blocks: residual blocks of each."""

    windows = ((0.0, 0.5, 2.4, False),)
    side = 72

    def __init__(self, widths: tuple[int, ...] = (40, 64, 104), blocks: tuple[int, ...] = (1, 1, 1)):
        super().__init__()
        stages = [nn.Conv2d(3, widths[0], 7, 4, 3, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
        inputs = widths[0]
        for stage, (outputs, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(ResidualBlock(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
            stages.append(SqueezeExcitation(outputs))
        self.trunk = nn.Sequential(*stages)
        self.older = nn.Sequential(nn.Dropout(0.2), nn.Linear(inputs, OLDEST))

    def logits(self, crops: Tensor) -> Tensor:
        x = self.trunk(crops[:, 0].contiguous(memory_format=torch.channels_last))
        return self.older(x.mean((2, 3)))


class WideBlock(nn.Module):
    """ConvNeXt's block: x + pointwise(act(pointwise(norm(depthwise 7x7)))), with batch normalisation, which a CPU
    computes faster than layer normalisation."""

    def __init__(self, channels: int, expansion: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels * expansion, 1),
            nn.ReLU(),
            nn.Conv2d(channels * expansion, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class FrameJudge(CommitteeJudge):
    """The whole frame. widths: channels at 14x14 and 7x7 cells. blocks: of each."""

    side = 112

    def __init__(
        self, widths: tuple[int, ...] = (64, 128), blocks: tuple[int, ...] = (3, 2), expansion: int = 3
    ):
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(3, 24, 4, 4, bias=False), nn.BatchNorm2d(24), nn.ReLU()]
        inputs = 24
        for outputs, count in zip(widths, blocks, strict=True):
            stages += [nn.Conv2d(inputs, outputs, 2, 2, bias=False), nn.BatchNorm2d(outputs)]
            stages += [WideBlock(outputs, expansion) for _ in range(count)]
            inputs = outputs
        self.trunk = nn.Sequential(*stages)
        self.older = nn.Sequential(nn.Dropout(0.2), nn.Linear(inputs, OLDEST))

    def logits(self, crops: Tensor) -> Tensor:
        x = self.trunk(crops[:, 0].contiguous(memory_format=torch.channels_last))
        return self.older(x.mean((2, 3)))


class PartsJudge(CommitteeJudge):
    """Eyes, mouth and forehead, close enough for creases. widths: channels at 20x20, 10x10, 5x5 and 3x3 cells.

    One trunk sees every crop, the right eye mirrored to be a left one. A place's vote counts by attention (softmax over
    the 4 x 9 places, one for each of `heads` groups of channels).
    """

    windows = (
        (-0.55, 0.0, 1.1, False),
        (0.55, 0.0, 1.1, True),
        (0.0, 1.05, 1.4, False),
        (0.0, -0.6, 1.2, False),
    )
    side = 40

    def __init__(self, widths: tuple[int, ...] = (24, 48, 72, 96), heads: int = 4):
        super().__init__()
        self.heads = heads
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)]
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
            strides = (2,) if outputs == widths[-1] else (2, 1)
            for a, stride in zip((inputs, outputs), strides, strict=False):
                layers += [
                    nn.Conv2d(a, outputs, 3, stride, 1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
        self.trunk = nn.Sequential(*layers)
        cells = -(-self.side // 2 ** len(widths))
        self.place = nn.Parameter(torch.zeros(len(self.windows or ()), widths[-1], cells, cells))
        self.attention = nn.Conv2d(widths[-1], heads, 1)
        self.older = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(widths[-1], 96), nn.ReLU(), nn.Linear(96, OLDEST)
        )

    def logits(self, crops: Tensor) -> Tensor:
        b, k = crops.shape[:2]
        flat = crops.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        x = self.trunk(flat)
        x = F.relu(x + self.place.repeat(b, 1, 1, 1))
        weight = self.attention(x).view(b, k, self.heads, 1, -1).permute(0, 2, 3, 1, 4).flatten(3).softmax(3)
        votes = x.view(b, k, self.heads, x.shape[1] // self.heads, -1).permute(0, 2, 3, 1, 4).flatten(3)
        return self.older((votes * weight).sum(3).flatten(1))

    def mirrored(self, crops: Tensor) -> Tensor:
        """Eyes change places as they are, since both look left; mouth and forehead are mirrored."""
        return torch.cat([crops[:, [1, 0]], crops[:, 2:].flip(4)], 1)


JUDGES: dict[str, type[CommitteeJudge]] = {"frame": FrameJudge, "face": FaceJudge, "parts": PartsJudge}
"""The committee's judges by the crop they see."""
