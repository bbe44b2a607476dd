"""Perceptual distance: how far two faces are apart in the features of a network that was trained on something else.

The features are those of VGG19 or SqueezeNet 1.1 with weights from a local file in torchvision's layout
(`features.N.weight`), or of the identity reader where there is no such file. `Perceptual.name` tells which.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BadInput
from .readers import Readers

VGG19 = (64, 64, "pool", 128, 128, "pool", *4 * (256,), "pool", *4 * (512,), "pool", *4 * (512,))
"""Simonyan & Zisserman 2015, configuration E, to its last convolution: channels of each 3x3 convolution."""
VGG19_TAPS = (3, 8, 17, 26, 35)
"""Last ReLU of each block, as indices into `features`."""
FIRES = {
    3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128),
    9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256),
}  # fmt: skip
"""SqueezeNet 1.1 (Iandola et al. 2016): index into `features` -> channels in, squeezed, and of each expansion."""
SQUEEZENET_TAPS = (1, 4, 7, 9, 10, 11, 12)
"""First ReLU, the last fire module before each pooling, and every one after the last."""
FAINT = 1e-3
"""Least length that feature vectors are divided by: avoids amplifying noise in near-zero features."""
CAFFE_MEANS = (104 / 255, 117 / 255, 123 / 255)
"""Means of blue, green and red, in 0..1, that Caffe's ImageNet models subtract."""
INPUTS = {
    "rgb": ("RGB, ImageNet means and spreads", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bgr": ("BGR 0..255, Caffe means", CAFFE_MEANS, (1 / 255, 1 / 255, 1 / 255)),
    "bgr_unit": ("BGR 0..1, Caffe means", CAFFE_MEANS, (1.0, 1.0, 1.0)),
}
"""What a file's first layer expects: words, then means and spreads of its input channels, of values in 0..1.

"rgb" is torchvision's way, "bgr" Caffe's; "bgr_unit" fits Caffe weights whose first layer was multiplied by 255.
"""


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and 3x3 convolutions beside each other: (B,C,H,W) -> (B,2*expand,H,W)."""

    def __init__(self, inputs: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


def vgg19() -> nn.Sequential:
    """VGG19's convolutions, numbered as torchvision numbers its `features`."""
    layers: list[nn.Module] = []
    channels = 3
    for outputs in VGG19:
        if isinstance(outputs, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
            channels = outputs
    return nn.Sequential(*layers)


def squeezenet() -> nn.Sequential:
    """SqueezeNet 1.1's convolutions, numbered as torchvision numbers its `features`."""
    stem = [nn.Conv2d(3, 64, 3, 2), nn.ReLU()]
    rest = [Fire(*FIRES[i]) if i in FIRES else nn.MaxPool2d(3, 2, ceil_mode=True) for i in range(2, 13)]
    return nn.Sequential(*stem, *rest)


# SqueezeNet's children 3, 4, 6, 7 and 9 to 12 are fire modules, 2, 5 and 8 poolings; both functions keep torchvision's
# numbering, since weights files name layers by it.
NETWORKS = {"VGG19": (vgg19, VGG19_TAPS), "SqueezeNet 1.1": (squeezenet, SQUEEZENET_TAPS)}


class Perceptual(nn.Module):
    """Distance of faces in the features of a frozen network.

    name: what is compared, for results. layers, taps: the network and which of its outputs count. means, spreads:
    of the network's input channels. flip: whether its channels are BGR. readers: whose window is looked at, if any.
    """

    means: Tensor
    spreads: Tensor

    def __init__(
        self,
        name: str,
        layers: nn.Sequential,
        taps: tuple[int, ...],
        means: tuple[float, ...] = (0.5, 0.5, 0.5),
        spreads: tuple[float, ...] = (0.5, 0.5, 0.5),
        flip: bool = False,
        readers: Readers | None = None,
    ):
        super().__init__()
        self.name, self.taps, self.flip = name, taps, flip
        self.layers, self.readers = layers, readers
        self.register_buffer("means", torch.tensor(means).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spreads", torch.tensor(spreads).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, face: Tensor, other: Tensor) -> Tensor:
        """Faces (B,3,S,S) in [-1,1] -> mean squared distance of unit-length features over positions and taps.

        LPIPS without its learnt weights (Zhang et al. 2018, eq. 1): 0 for equal faces, 2 at right angles, whatever
        the network, so that one weight of the loss fits all of them.
        """
        # d(x, y) = sum_l mean_hw | f_l(x)_hw / |f_l(x)_hw| - f_l(y)_hw / |f_l(y)_hw| |^2 / L
        pairs = zip(self.features(face), self.features(other), strict=True)
        steps = (F.normalize(a, eps=FAINT) - F.normalize(b, eps=FAINT) for a, b in pairs)
        return reduce(torch.add, (step.square().sum(1).mean() for step in steps)) / len(self.taps)

    def features(self, face: Tensor) -> list[Tensor]:
        """The tapped maps, (B,C,h,w) each."""
        x = face if self.readers is None else self.readers.window(face)
        # [-1,1] -> 0..1, RGB -> BGR where the file wants it, then (x - mean) / std per channel.
        x = ((x + 1) / 2).flip(1) if self.flip else (x + 1) / 2
        x, found = (x - self.means) / self.spreads, []
        for index, layer in enumerate(list(self.layers)[: self.taps[-1] + 1]):
            x = layer(x)
            if index in self.taps:
                found.append(x)
        return found

    def train(self, mode: bool = True) -> Perceptual:
        """Always in evaluation mode: it is a measure."""
        return super().train(False)


def perceptual_from(file: str, channels: str, readers: Readers | None) -> Perceptual:
    """From a weights file that expects the channels that INPUTS names; without a file, from the readers' backbone.

    BadInput says in one sentence what is wrong with the file, or that there is neither.
    """
    if file:
        return from_file(Path(file), channels)
    if readers is None:
        raise BadInput("a perceptual loss needs a file of VGG19 or SqueezeNet 1.1 weights, or readers")
    outputs = [i for i, layer in enumerate(readers.backbone) if i >= 2]
    return Perceptual("identity reader's backbone", readers.backbone, tuple(outputs), readers=readers)


def from_file(path: Path, channels: str) -> Perceptual:
    """VGG19 or SqueezeNet 1.1, whichever the file holds, with or without `features.`; a classifier is not looked at."""
    if channels not in INPUTS:
        raise BadInput(f"perceptual input {channels!r} is unknown; choose one of {', '.join(INPUTS)}")
    state = {k.removeprefix("features."): v for k, v in read_state(path).items()}
    name = "VGG19" if "34.weight" in state else "SqueezeNet 1.1" if "3.squeeze.weight" in state else None
    if name is None:
        raise BadInput(f"{path} holds neither VGG19 nor SqueezeNet 1.1 weights in torchvision's layout")
    build, taps = NETWORKS[name]
    layers, (words, means, spreads) = build(), INPUTS[channels]
    check_state(state, layers.state_dict(), f"{path} is not {name} in torchvision's layout")
    layers.load_state_dict({key: state[key].float() for key in layers.state_dict()})
    return Perceptual(f"{name}, {path.name}, {words}", layers, taps, means, spreads, flip=channels != "rgb")


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name from .safetensors, .pth or .pt; the latter two are read with tensors alone admitted."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadInput(f"the perceptual weights {path} cannot be read: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise BadInput(f"the perceptual weights {path} are not a table of tensors by name")
    return state


def check_state(state: dict[str, Tensor], needed: dict[str, Tensor], problem: str) -> None:
    """BadInput when a tensor is missing, has another shape, or holds what is no number."""
    for key, value in needed.items():
        if key not in state:
            raise BadInput(f"{problem}: features.{key} is missing")
        if state[key].shape != value.shape:
            found, shape = (tuple(x.shape) for x in (state[key], value))
            raise BadInput(f"{problem}: features.{key} is {found}, not {shape}")
        if not state[key].isfinite().all():
            raise BadInput(f"{problem}: features.{key} holds values that are not finite")
