"""The embedded face detector: a proposal network and a landmark network, under half a million weights together.

The proposal network runs over every level of an image pyramid. For every 8 x 8 pixels it predicts whether a face of
about 30 to 72 px (side of its FFHQ frame) is centred there, and that frame's centre, size and rotation. The landmark
network reads one upright crop: 68 iBUG landmarks as the expectation of 68 heatmaps (integral regression, Sun et al.,
ECCV 2018) and a score that the crop holds a face. Both take RGB in [-1, 1].
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LANDMARKS = 68
"""Landmarks of a face, in iBUG's order."""
PROPOSAL_STRIDE = 8
"""Level pixels between two cells of the proposal network."""
ANCHOR_SIDE = 48.0
"""Side of the upright frame, in level pixels, that every cell's prediction starts from."""
FRAME_UNIT = 32.0
"""Level pixels that one unit of the frame output stands for, so that the last layer's outputs are about 1."""
RARE_FACE = -4.0
"""Initial bias of the proposal logits: sigmoid(-4) = 2 % of cells, as a face is rare (the prior of the focal loss,
Lin et al., ICCV 2017, section 3.3)."""


class Proposals(NamedTuple):
    """The proposal network's output at each cell; h = H/8, w = W/8 rounded up."""

    logits: Tensor  # (B,1,h,w) face centred here?
    frames: Tensor  # (B,4,h,w) centre x, centre y, x-axis x, x-axis y of the frame, in level pixels


class FaceLandmarks(NamedTuple):
    """The landmark network's output for each crop."""

    landmarks: Tensor  # (B,68,2) 0..1 of the crop, x then y
    logits: Tensor  # (B,) face?


class FaceDetector(nn.Module):
    """Proposal and landmark network; the keywords are the config.

    seek_width, mark_width: channels at stride 8 of the proposal and of the landmark network (multiples of 4).
    crop_side: pixels of the square crop that the landmark network reads (a multiple of 16).
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
        self.seeker = ProposalNet(seek_width)  # the attributes' names are those of the stored tensors
        self.marker = LandmarkNet(mark_width)

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the tensors."""
        return {"crop_side": self.crop_side}

    def forward(self, levels: Tensor, crops: Tensor) -> tuple[Proposals, FaceLandmarks]:
        """Both networks at once: levels (B,3,H,W), crops (N,3,S,S), RGB in [-1,1]."""
        return self.propose(levels), self.locate(crops)

    def propose(self, levels: Tensor) -> Proposals:
        """Pyramid levels (B,3,H,W) in [-1,1] -> Proposals."""
        return self.seeker(levels)

    def locate(self, crops: Tensor) -> FaceLandmarks:
        """Crops (N,3,crop_side,crop_side) in [-1,1] -> FaceLandmarks."""
        return self.marker(crops)


class ProposalNet(nn.Module):
    """Stride 8, receptive field about 130 px: a face, its hair and the collar."""

    def __init__(self, width: int):
        super().__init__()
        self.stem = nn.Sequential(
            ConvBlock(3, width // 4, stride=2),
            ConvBlock(width // 4, width // 2, stride=2),
            ConvBlock(width // 2, width // 2),
            ConvBlock(width // 2, width, stride=2),
        )
        # Dilation widens the receptive field without a further stride, which would lose small faces.
        self.body = nn.Sequential(*(ConvBlock(width, width, dilation=d) for d in (1, 2, 1, 2)))
        self.logits = nn.Conv2d(width, 1, 1)
        self.frames = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.logits.get_parameter("bias"), RARE_FACE)

    def forward(self, levels: Tensor) -> Proposals:
        features = self.body(self.stem(levels))  # (B,C,h,w)
        offsets = FRAME_UNIT * self.frames(features).float()  # as in `expectation`
        return Proposals(self.logits(features), offsets + self._anchors(offsets))

    @staticmethod
    def _anchors(features: Tensor) -> Tensor:
        """Cell centres and an upright frame of ANCHOR_SIDE, in level pixels, to which the offsets add: (1,4,h,w)."""
        h, w = features.shape[-2:]
        y = (torch.arange(h, device=features.device, dtype=features.dtype) + 0.5) * PROPOSAL_STRIDE
        x = (torch.arange(w, device=features.device, dtype=features.dtype) + 0.5) * PROPOSAL_STRIDE
        x, y = x.expand(h, w), y[:, None].expand(h, w)
        return torch.stack([x, y, torch.full_like(x, ANCHOR_SIDE), torch.zeros_like(x)])[None]


class LandmarkNet(nn.Module):
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

    def forward(self, crops: Tensor) -> FaceLandmarks:
        # A feature pyramid (Lin et al., CVPR 2017): coarse features are added to the finer ones of the way down.
        at4 = self.at4(self.to4(crops))
        at8 = self.to8(at4)
        at16 = self.to16(at8)
        back8 = self.back8(at8 + F.interpolate(self.up8(at16), size=at8.shape[-2:]))
        back4 = self.back4(at4 + F.interpolate(self.up4(back8), size=at4.shape[-2:]))
        return FaceLandmarks(expectation(self.heatmaps(back4)), self.logits(at16.mean((2, 3)))[:, 0])


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
    """Mean position under the softmax of each heatmap: (B,K,h,w) -> (B,K,2), x and y in 0..1 of the crop.

    Unlike the argmax it has a gradient and is finer than a pixel (Sun et al., ECCV 2018, eq. 2).
    """
    h, w = heatmaps.shape[-2:]
    heatmaps = heatmaps.float()  # bfloat16 has steps of half a pixel at the far end of 96
    weights = heatmaps.flatten(2).softmax(-1).unflatten(2, (h, w))
    x = (torch.arange(w, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / w
    y = (torch.arange(h, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / h
    # The weights are summed over the other axis first: E[x] = sum_x x * (sum_y p(x, y)).
    return torch.stack([(weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)], -1)
