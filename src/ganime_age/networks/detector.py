"""The embedded face finder: two small convolutional networks, under half a million numbers together.

The *seeker* runs over every level of an image pyramid and answers, for every 8 x 8 pixels, whether a face of
about 30 to 72 px (side of its FFHQ frame) is centred there and how its frame lies. The *marker* looks at one
upright crop and places the 68 iBUG landmarks by the expectation of 68 heatmaps (integral regression, Sun et al.,
ECCV 2018), with a score that says whether the crop holds a face at all. Both take RGB in [-1, 1].
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANDMARKS = 68
SEEKER_STRIDE = 8


class Sought(NamedTuple):
    """What the seeker says at each cell; h = H/8, w = W/8 rounded up."""

    logits: Tensor  # (B,1,h,w) face centred here?
    frames: Tensor  # (B,4,h,w) centre x, centre y, x-axis x, x-axis y of the frame, in level pixels


class Marked(NamedTuple):
    """What the marker says of each crop."""

    landmarks: Tensor  # (B,68,2) 0..1 of the crop, x then y
    logits: Tensor  # (B,) face?


class FaceFinder(nn.Module):
    """Seeker and marker under one roof; the keywords are the config.

    seek_width, mark_width: channels at stride 8 of the two parts (multiples of 4).
    crop_side: pixels of the square crop that the marker reads (a multiple of 16).
    Raises ValueError with the values when they do not fit.
    """

    def __init__(self, seek_width: int = 64, mark_width: int = 64, crop_side: int = 96):
        super().__init__()
        if seek_width < 4 or mark_width < 4 or seek_width % 4 or mark_width % 4:
            raise ValueError(f"widths must be positive multiples of 4, got {seek_width} and {mark_width}")
        if crop_side < 32 or crop_side % 16:
            raise ValueError(f"crop_side must be a multiple of 16 from 32 up, got {crop_side}")
        self.config = {"seek_width": seek_width, "mark_width": mark_width, "crop_side": crop_side}
        self.crop_side = crop_side
        self.seeker = Seeker(seek_width)
        self.marker = Marker(mark_width)

    def forward(self, levels: Tensor, crops: Tensor) -> tuple[Sought, Marked]:
        """Both parts at once: levels (B,3,H,W), crops (N,3,S,S), RGB in [-1,1]."""
        return self.seek(levels), self.mark(crops)

    def seek(self, levels: Tensor) -> Sought:
        """Pyramid levels (B,3,H,W) in [-1,1] -> Sought."""
        return self.seeker(levels)

    def mark(self, crops: Tensor) -> Marked:
        """Crops (N,3,crop_side,crop_side) in [-1,1] -> Marked."""
        return self.marker(crops)


class Seeker(nn.Module):
    """Stride 8, receptive field about 130 px: a face, its hair and the collar."""

    def __init__(self, width: int):
        super().__init__()
        self.stem = nn.Sequential(
            ConvBlock(3, width // 4, stride=2),
            ConvBlock(width // 4, width // 2, stride=2),
            ConvBlock(width // 2, width // 2),
            ConvBlock(width // 2, width, stride=2),
        )
        self.body = nn.Sequential(*(ConvBlock(width, width, dilation=d) for d in (1, 2, 1, 2)))
        self.logits = nn.Conv2d(width, 1, 1)
        self.frames = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.logits.get_parameter("bias"), -4.0)

    def forward(self, levels: Tensor) -> Sought:
        features = self.body(self.stem(levels))  # (B,C,h,w)
        frames = 32.0 * self.frames(features)
        return Sought(self.logits(features), frames + self._cells(features))

    @staticmethod
    def _cells(features: Tensor) -> Tensor:
        """Cell centres in level pixels, and an upright frame of 48 px, to which the head adds -> (1,4,h,w)."""
        h, w = features.shape[-2:]
        y = (torch.arange(h, device=features.device, dtype=features.dtype) + 0.5) * SEEKER_STRIDE
        x = (torch.arange(w, device=features.device, dtype=features.dtype) + 0.5) * SEEKER_STRIDE
        x, y = x.expand(h, w), y[:, None].expand(h, w)
        return torch.stack([x, y, torch.full_like(x, 48.0), torch.zeros_like(x)])[None]


class Marker(nn.Module):
    """Down to stride 16 for the whole face, back up to stride 4 for the precision."""

    def __init__(self, width: int):
        super().__init__()
        fine, wide = width * 3 // 4, width * 3 // 2
        self.to4 = nn.Sequential(ConvBlock(3, width // 2, stride=2), ConvBlock(width // 2, fine, stride=2))
        self.at4 = ConvBlock(fine, fine)
        self.to8 = nn.Sequential(ConvBlock(fine, width, stride=2), ConvBlock(width, width))
        self.to16 = nn.Sequential(ConvBlock(width, wide, stride=2), ConvBlock(wide, wide))
        self.up8 = nn.Conv2d(wide, width, 1, bias=False)
        self.back8 = ConvBlock(width, width)
        self.up4 = nn.Conv2d(width, fine, 1, bias=False)
        self.back4 = ConvBlock(fine, fine)
        self.heatmaps = nn.Conv2d(fine, LANDMARKS, 1)
        self.logits = nn.Linear(wide, 1)

    def forward(self, crops: Tensor) -> Marked:
        at4 = self.at4(self.to4(crops))
        at8 = self.to8(at4)
        at16 = self.to16(at8)
        back8 = self.back8(at8 + F.interpolate(self.up8(at16), size=at8.shape[-2:]))
        back4 = self.back4(at4 + F.interpolate(self.up4(back8), size=at4.shape[-2:]))
        return Marked(expectation(self.heatmaps(back4)), self.logits(at16.mean((2, 3)))[:, 0])


class ConvBlock(nn.Module):
    """3x3 convolution, batch normalisation, ReLU; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.conv(x)))
        return x + y if self.shortcut else y


def expectation(heatmaps: Tensor) -> Tensor:
    """Mean position under the softmax of each heatmap: (B,K,h,w) -> (B,K,2), x and y in 0..1 of the crop."""
    h, w = heatmaps.shape[-2:]
    weights = heatmaps.flatten(2).softmax(-1).unflatten(2, (h, w))
    x = (torch.arange(w, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / w
    y = (torch.arange(h, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / h
    return torch.stack([(weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)], -1)
