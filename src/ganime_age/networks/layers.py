"""Building blocks that several systems share.

Discriminators follow their papers, so their outputs differ; their methods mean the same everywhere:
`features(face, ...)` -> what the heads read; `score(features or face, condition)` -> logits of "real, given the
condition", larger is more real; further methods are named after what they predict (`groups`, `readings`); `forward`
gives all outputs at once where there is no condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Generic, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Modulation(NamedTuple):
    """Scale and shift of normalised features, (B,C,1,1) each; zero of both changes nothing."""

    scale: Tensor
    shift: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Features (B,C,H,W) -> x * (1 + scale) + shift."""
        return x * (1 + self.scale) + self.shift


class Modulator(nn.Module):
    """Condition (B,D) -> Modulation of C channels, as in FiLM (Perez et al., AAAI 2018).

    Zero-initialised and without bias: a zero condition is neutral, for any weights."""

    def __init__(self, condition: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, condition: Tensor) -> Modulation:
        return Modulation(*self.linear(condition)[:, :, None, None].chunk(2, dim=1))


class ModulatedBlock(nn.Module):
    """shortcut + conv(act(modulate(norm(x)))) twice; the condition enters after each normalisation.

    Conditional group normalisation: y = norm(x) * (1 + scale) + shift, (B,C,H,W) -> the same."""

    def __init__(self, channels: int, condition: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(channels // 8, channels) for _ in range(2))
        self.modulators = nn.ModuleList(Modulator(condition, channels) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = x  # (B,C,H,W); pre-activation (He et al., ECCV 2016), so the shortcut stays an identity
        for norm, modulate, conv in zip(self.norms, self.modulators, self.convs, strict=True):
            h = conv(F.silu(modulate(condition).apply(norm(h))))
        return x + h


class ResidualBlock(nn.Module):
    """ResNet's basic block (He et al., CVPR 2016): shortcut + two 3x3 convolutions with batch normalisation, (B,C,H,W)
    -> (B,outputs,H,W); stride 2 halves the side."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(h + self.shortcut(x))


def constant(
    values: tuple[float, ...] | tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Numbers (N,) on the device of `like`, of its dtype unless another is given; never to be changed in place.

    They are brought to a device once. `like.new_tensor(values)` would bring them there again in every step, and let the
    host wait for all that the device has still to do.
    """
    if torch.compiler.is_compiling():  # they become part of the graph
        return torch.tensor(values, dtype=dtype or like.dtype, device=like.device)
    return kept(values, dtype or like.dtype, like.device)


def places(indices: tuple[int, ...], like: Tensor) -> Tensor:
    """`constant` for indices: int64. A list as an index would be brought to the device in every step."""
    return constant(indices, like, torch.int64)


@lru_cache(maxsize=256)
def kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """What `constant` has made before."""
    with torch.inference_mode(False):  # training must be able to use what an edit made first
        return torch.tensor(values, dtype=dtype, device=device)


class Branching(Protocol):
    """What records a graph: see onnx/recorder.py."""

    def branch(self, asked: Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor: ...

    def cut(self, x: Tensor, dim: int, span: Tensor) -> Tensor: ...

    def put(self, x: Tensor, part: Tensor, window: Window) -> Tensor: ...


Value = TypeVar("Value")


class Held(Generic[Value]):
    """A value that functions find while a block runs that holds it, in the block's own thread; None elsewhere."""

    def __init__(self, name: str):
        self._now: ContextVar[Value | None] = ContextVar(f"ganime_age_{name}", default=None)
        self.get = self._now.get

    @contextmanager
    def within(self, value: Value) -> Iterator[None]:
        """A block that holds a value."""
        token = self._now.set(value)
        try:
            yield
        finally:
            self._now.reset(token)


_GRAPH: Held[Branching] = Held("graph")
one_graph = _GRAPH.within
"""A block in which networks are recorded as a graph of tensors (ONNX): no value is looked at, every size is fixed."""


class Window(NamedTuple):
    """Some rows and columns of pictures: the first and the one after the last, (2,) int64 each."""

    rows: Tensor
    columns: Tensor

    def cut(self, x: Tensor) -> Tensor:
        """(...,H,W) -> (...,h,w); a row (1,W) and a column (H,1) keep their one line."""
        for dim, span in ((-2, self.rows), (-1, self.columns)):
            if x.shape[dim] > 1:
                x = cut(x, dim, span)
        return x

    def put(self, x: Tensor, part: Tensor) -> Tensor:
        """x (B,C,H,W) with `part` (B,C,h,w) in the window's place; a copy."""
        recorder = _GRAPH.get()
        if recorder is not None:
            return recorder.put(x, part, self)
        (y0, y1), (x0, x1), out = self.rows.tolist(), self.columns.tolist(), x.clone()
        out[..., y0:y1, x0:x1] = part
        return out


def window_of(maps: Tensor) -> Window | None:
    """The rows and columns of maps (B,C,H,W) that hold all of them that is not 0. None, for the whole picture, where
    nobody may look, where nothing is, or where a gradient is asked of what is 0."""
    if not may_ask(maps) or maps.requires_grad:
        return None
    there, spans = (maps != 0).any(0).any(0), []
    for line in (there.any(1), there.any(0)):
        used = line.nonzero().flatten()
        if not len(used):
            return None
        spans.append(torch.stack([used[0], used[-1] + 1]))
    return Window(*spans)


def within_window(
    change: Callable[..., Tensor], window: Window | None, face: Tensor, *maps: Tensor
) -> Tensor:
    """change(face, *maps) of B faces (B,C,H,W) and B maps beyond whose window nothing changes: there it is left out."""
    if window is None:
        return change(face, *maps)
    return window.put(face, change(*(window.cut(part) for part in (face, *maps))))


def cut(x: Tensor, dim: int, span: Tensor) -> Tensor:
    """x from the first to the last place of a span (2,) along an axis."""
    recorder = _GRAPH.get()
    if recorder is not None:
        return recorder.cut(x, dim, span)
    first, end = span.tolist()
    return x.narrow(dim, first, end - first)


def recorded() -> bool:
    """Is a graph being recorded?"""
    return _GRAPH.get() is not None


def may_ask(x: Tensor) -> bool:
    """Whether Python may look at values of x to leave out work: on a CPU. A GPU would have to be waited for, and a
    graph that is recorded must hold both ways."""
    return x.device.type == "cpu" and not recorded()


def channels_together(x: Tensor) -> Tensor:
    """x (B,C,H,W) with the channels of a pixel side by side in memory on a CPU, which convolves sooner so."""
    return x.contiguous(memory_format=torch.channels_last) if may_ask(x) else x


def planes_apart(x: Tensor) -> Tensor:
    """x (B,C,H,W) with each channel a picture of its own in memory on a CPU, whose arithmetic on pictures and masks
    takes up to four times as long otherwise. What a photo gives has the channels of a pixel side by side."""
    return x.contiguous() if may_ask(x) else x


def choose(asked: Tensor, yes: Callable[[], Tensor], no: Callable[[], Tensor]) -> Tensor:
    """`yes()` (B,C,H,W) for the faces of which it is `asked` (B,), `no()` for the others. What nobody asks for is left
    out on a CPU, and in a recorded graph, which is one of single faces."""
    recorder = _GRAPH.get()
    if recorder is not None:
        return recorder.branch(asked.any(), yes, no)
    if may_ask(asked) and asked.all():
        return yes()
    if may_ask(asked) and not asked.any():
        return no()
    return torch.where(asked[:, None, None, None], yes(), no())


def precise(like: Tensor) -> torch.autocast:
    """A block that computes in float32 under mixed precision too: bfloat16 tells a place to half a pixel."""
    return torch.autocast(like.device.type, enabled=False)


def resize(x: Tensor, side: int) -> Tensor:
    """(B,C,H,W) -> (B,C,side,side), antialiased when it shrinks."""
    if x.shape[-2:] == (side, side):
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


DARK = 0.1
"""Brightness above black, in units of [-1,1], below which `relit` takes no ratio of colours."""
FULL = 0.9
"""Value of a channel, in units of [-1,1], from which on up to 1 less and less of a shadow is seen in it."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness, ITU-R BT.601."""


def luma(face: Tensor) -> Tensor:
    """(B,3,H,W) -> (B,1,H,W), ITU-R BT.601."""
    red, green, blue = face.split(1, 1)
    if recorded():
        return torch.add(torch.add(LUMA[0] * red, green, alpha=LUMA[1]), blue, alpha=LUMA[2])
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def relit(face: Tensor, change: Tensor) -> Tensor:
    """What a change of brightness (B,1,H,W) adds to B faces (B,3,H,W) in [-1,1], (B,3,H,W): white light where it is
    brighter, and where it is darker less of the light that is there, so that colours keep their ratios. A shadow that
    took the same from each of them would turn skin brown, and one on what is overexposed would turn it green: nobody
    knows how much light a channel lost that is full. On skin red is the fullest channel; where another one is, as on
    the white of an eye, all lose as large a share as red does, or it would take on that one's colour."""
    # d c_k = (c_k / luma(c)) d luma(c), c measured from black
    seen = not_full(face)
    darker = change.clamp(max=0) / (luma(face) + 1).clamp_min(DARK)
    lit, seen = F.relu(change), torch.maximum(seen, seen[:, :1])
    if recorded():  # a graph changes nothing in place
        return (face + 1) * darker * seen + lit
    return (face + 1).mul_(darker).mul_(seen).add_(lit)


def not_full(face: Tensor) -> Tensor:
    """How far the channels of faces in [-1,1] are from being full, of the same shape, 1 up to FULL and 0 at 1."""
    if recorded():
        return ((1 - face) / (1 - FULL)).clamp(0, 1)
    return (1 - face).div_(1 - FULL).clamp_(0, 1)


def dilate(maps: Tensor, rows: int, columns: int) -> Tensor:
    """The largest value within so many rows and columns of each pixel, (B,C,H,W): max_pool2d with stride 1."""
    spans = 2 * rows + 1, 2 * columns + 1
    if not may_ask(maps):
        return F.max_pool2d(maps, spans, 1, (rows, columns))
    # A CPU does it tenfold faster so: the largest of 2 from each pixel on, of 4 of these, ..., along one axis after the
    # other.
    maps = F.pad(maps, (columns, columns, rows, rows), value=-torch.inf)
    for axis, span in zip((-2, -1), spans, strict=True):
        held = 1
        while held < span:
            step = min(held, span - held)
            left = maps.shape[axis] - step
            maps, held = torch.maximum(maps.narrow(axis, 0, left), maps.narrow(axis, step, left)), held + step
    return maps


def enlarge(x: Tensor, side: int) -> Tensor:
    """Square maps that hold no fine detail, (B,C,h,h) with h <= side -> (B,C,side,side), bilinear."""
    if x.shape[-1] == side:
        return x
    if is_plain(x):
        return enlarged_plainly(x, side, cv2.INTER_LINEAR)
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def is_plain(x: Tensor) -> bool:
    """Are these nothing but numbers in the CPU's memory, which others than torch may compute with?"""
    plain = may_ask(x) and x.dtype == torch.float32 and not x.requires_grad
    return plain and not torch.compiler.is_compiling()


def enlarged_plainly(x: Tensor, side: int, method: int) -> Tensor:
    """(B,C,h,w) that `is_plain` -> (B,C,side,side) by a method of OpenCV, which gives what F.interpolate does, but for
    rounding, in a third of the time or less."""
    out = np.empty((*x.shape[:2], side, side), np.float32)
    for one, drawn in zip(x.flatten(0, 1).numpy(), out.reshape(-1, side, side), strict=True):
        cv2.resize(one, (side, side), dst=drawn, interpolation=method)
    return torch.from_numpy(out)


SMOOTH_SIDE = 256
"""Side up to which `enlarge_smoothly` is bicubic."""


def enlarge_smoothly(x: Tensor, side: int) -> Tensor:
    """(B,C,h,h) -> (B,C,side,side), bicubic up to SMOOTH_SIDE and bilinear beyond, which costs a third and cannot be
    told apart where h is far smaller."""
    first = side if x.shape[-1] >= SMOOTH_SIDE else min(side, SMOOTH_SIDE)
    return enlarge(bicubic(x, first), side)


def bicubic(x: Tensor, side: int) -> Tensor:
    """(B,C,h,h) -> (B,C,side,side), bicubic: what F.interpolate gives, but for rounding."""
    if x.shape[-1] > PRODUCT_SIDE and is_plain(x):
        return enlarged_plainly(x, side, cv2.INTER_CUBIC)
    if x.shape[-1] > PRODUCT_SIDE or recorded():
        return F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)
    along = bicubic_weights(x.shape[-1], side, x.dtype, x.device)
    with precise(x):
        return along @ x @ along.mT


PRODUCT_SIDE = 128
"""Side up to which products of matrices enlarge a map sooner than an interpolation does."""


@lru_cache(maxsize=64)
def bicubic_weights(h: int, side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side,h): how much each of the h pixels of a line counts in each of `side` pixels."""
    with torch.inference_mode(False):  # training must be able to use what an edit made first
        lines = torch.eye(h, device=device)[None, None]
        return F.interpolate(lines, size=(side, h), mode="bicubic", align_corners=False)[0, 0].to(dtype)


def gaussian_basis(value: Tensor, low: float, high: float, count: int) -> Tensor:
    """(B,) -> (B,count): soft membership of `value` in `count` evenly spread, overlapping bumps."""
    # b_k = exp(-(value - c_k)^2 / (2 width^2)), width one interval: half way between two centres both are exp(-1/8).
    centres = torch.linspace(low, high, count, device=value.device, dtype=value.dtype)
    width = (high - low) / (count - 1)
    return torch.exp(-0.5 * ((value[:, None] - centres) / width) ** 2)


SLOPE = 0.2
"""Negative slope of the leaky ReLUs of the discriminators and of AgeTransGAN."""


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU, any shape."""
    return F.leaky_relu(x, SLOPE)


def kaiming(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The layer, initialised so that a leaky ReLU and the layer together keep the variance (He et al., ICCV 2015)."""
    # std = sqrt(2 / ((1 + SLOPE^2) fan_in)): a leaky ReLU keeps (1 + SLOPE^2) / 2 of the energy of symmetric input.
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    nn.init.zeros_(layer.get_parameter("bias"))
    return layer


def conv(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Module:
    """A convolution with Kaiming initialisation that keeps the side, or halves it with stride 2."""
    return kaiming(nn.Conv2d(inputs, outputs, side, stride, 1))


class Edited(NamedTuple):
    """Result of one edit of B faces."""

    face: Tensor
    """(B,3,S,S) in [-1,1]."""
    attention: Tensor
    """(B,1,S,S) in 0..1, the fraction of each pixel that was painted: 1 - A of GANimation (Pumarola et al., 2018)."""


STEEPNESS = 8.0
"""A pixel whose mean change is 1/8 of the way from black to white counts as changed by 1 - 1/e^2, about 86 %."""


def unchanged_share(change: Tensor) -> Tensor:
    """Changes of pixels (B,3,S,S) in [-2,2] -> (B,1,S,S) in 0..1: exp(-STEEPNESS |change|), 1 where nothing changed."""
    return torch.exp(-STEEPNESS * change.abs().mean(1, keepdim=True))
