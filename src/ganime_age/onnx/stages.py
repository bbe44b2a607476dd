"""What is exported, as functions of tensors: from levels 0..255 to numbers, and from levels to the change of levels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import alignment
from ..images.tensors import to_levels, to_unit
from ..model.methods import DEFAULT, METHODS
from ..model.model import GanimeAge
from ..networks.detector import FRAME_UNIT, FaceDetector
from ..networks.readers import Readings
from ..provenance import watermark


def planes(picture: Tensor) -> Tensor:
    """Levels (H,W,3) in 0..255 -> (1,3,H,W) float32 in [-1,1]."""
    return to_unit(picture).permute(2, 0, 1).unsqueeze(0)


class Sought(NamedTuple):
    """What the proposal network says of a level of 8h x 8w pixels."""

    scores: Tensor
    """(1,1,h,w) in 0..1."""
    frames: Tensor
    """(1,4,h,w): centre x, y and x side, in level pixels from `ANCHOR_SIDE` upright around each cell's centre."""


def seek(detector: FaceDetector, level: Tensor) -> Sought:
    """A level (1,H,W,3) of a photo's pyramid, 0..255 uint8. No size enters the graph, so it takes any."""
    net = detector.seeker
    features = net.body(net.stem(to_unit(level).permute(0, 3, 1, 2)))
    return Sought(net.logits(features).sigmoid(), FRAME_UNIT * net.frames(features))


def mark(detector: FaceDetector, crop: Tensor) -> tuple[Tensor, Tensor]:
    """A crop (S,S,3) float32 in 0..255 -> landmarks (1,68,2) in 0..1 and the score (1,) in 0..1 that it is a face."""
    found = detector.locate(planes(crop))
    return found.landmarks, found.logits.sigmoid()


def read(model: GanimeAge, face: Tensor) -> Readings:
    """An aligned face (S,S,3) uint8 -> Readings."""
    return model.read(planes(face))


class Request(NamedTuple):
    """What an edit is asked: ages (1,) in years, action units (1,17) in 0..5."""

    source_age: Tensor
    target_age: Tensor
    source_units: Tensor
    target_units: Tensor


def edit(
    model: GanimeAge, face: Tensor, landmarks: Tensor, request: Request, marked: Tensor, side: Tensor
) -> tuple[Tensor, Tensor]:
    """An aligned face (S,S,3) uint8 with landmarks (68,2) in 0..1 -> what is to be added to its levels and, as a fourth
    channel, how much of them it is laid on instead (1,4,S,S), the watermark `marked` times (a number, 0 or 1); and how
    much of each pixel was changed (S,S) in 0..1.

    side: pixels of the photo in the frame's side."""
    before = planes(face)
    asked = (request.source_age, request.target_age, request.source_units, request.target_units)
    edited = model.change(before, asked, METHODS[DEFAULT], landmarks.unsqueeze(0))
    after = to_levels(edited.face)
    after = after + marked * mark_of(after, landmarks, side)
    quiet = 2 * (len(face) / side).clamp_min(1)  # as alignment.paste_change counts them
    levels, weight = face.float().permute(2, 0, 1).unsqueeze(0), border(len(face), quiet)
    change = (after - levels) * weight
    instead = (2 * len(face) / side - 1).clamp(0, 1) * weight * edges(change)  # alignment.held
    change = torch.cat([change + instead * levels, instead], 1)
    return change, edited.attention[0, 0].clamp(0, 1)


def edges(change: Tensor) -> Tensor:
    """As alignment.edges: of a change (1,3,S,S) that is 0 at the border, (1,1,S,S)."""
    grey = change.mean(1, keepdim=True)
    fine = blurred((grey - blurred(grey, alignment.SHARP)).abs(), alignment.AROUND)
    low, high = alignment.EDGE
    return ((fine - low) / (high - low)).clamp(0, 1)


def blurred(picture: Tensor, sigma: float) -> Tensor:
    """As OpenCV's Gaussian blur of a picture (1,1,S,S), but with nothing beyond its border."""
    kernel = torch.from_numpy(cv2.getGaussianKernel(round(sigma * 8 + 1) | 1, sigma, cv2.CV_32F)).view(
        1, 1, -1, 1
    )
    picture = F.conv2d(picture, kernel, padding=(kernel.shape[2] // 2, 0))
    return F.conv2d(picture, kernel.mT, padding=(0, kernel.shape[2] // 2))


def border(size: int, quiet: Tensor, edge: float = 0.1) -> Tensor:
    """As alignment.border_mask, for a number of quiet pixels that only the graph is told."""
    near = torch.arange(size)
    ramp = torch.minimum(near, near.flip(0)) + 1 - quiet
    ramp = (ramp / (edge * size - quiet).clamp_min(1)).clamp(0, 1)
    ramp = ramp.square() * (3 - 2 * ramp)
    return ramp[:, None] * ramp[None, :]


def mark_of(face: Tensor, landmarks: Tensor, side: Tensor) -> Tensor:
    """What watermark.add_watermark adds to a face (1,3,S,S) of levels with landmarks (68,2) in 0..1: (1,1,S,S). side:
    pixels of the photo in the frame's side."""
    full = face.shape[-1]
    size = min(full, watermark.LARGEST)
    grey = face.mean(1, keepdim=True)
    if size < full:
        shares = areas(full, size)
        grey = shares @ grey @ shares.T
    fine, wide = (blurring(size, share * size) for share in (0.012, 0.02))
    detail = grey - fine @ grey @ fine.T
    busy = (wide @ detail.square() @ wide.T).sqrt()
    small = needed(side, watermark.SMALL)
    flat, most = (large + small * (little - large) for little, large in (watermark.FLAT, watermark.BUSY))
    share = flat + (1 - flat) * (busy / most).clamp(0, 1)
    reach, soft = round(watermark.BESIDE * size), blurring(size, watermark.HEAD_EDGE * size)
    calm = soft @ -F.max_pool2d(-busy, 2 * reach + 1, 1, reach) @ soft.T
    low, high = watermark.HIDES
    head = heads(landmarks, size)
    beside = needed(side, watermark.NEEDED)
    share = share * torch.maximum(head, beside * ((calm - low) / (high - low)).clamp(0, 1))
    mark = watermark.STRENGTH * share * torch.from_numpy(watermark.noise(size).copy())
    return (
        F.interpolate(mark, size=(full, full), mode="bicubic", align_corners=False) if size < full else mark
    )


def needed(side: Tensor, sides: tuple[int, int]) -> Tensor:
    """As watermark.needed."""
    few, many = sides
    return ((many - side) / (many - few)).clamp(0, 1)


def areas(size: int, small: int) -> Tensor:
    """(small,size): the share of each of `size` pixels in each of `small` equal parts of their line."""
    scale = size / small
    start, at = torch.arange(small)[:, None] * scale, torch.arange(size)
    return (torch.minimum(at + 1.0, start + scale) - torch.maximum(at + 0.0, start)).clamp_min(0) / scale


def blurring(size: int, sigma: float) -> Tensor:
    """(size,size): OpenCV's Gaussian blur along a line, border and all."""
    side = round(sigma * 8 + 1) | 1
    kernel = cv2.getGaussianKernel(side, sigma, cv2.CV_32F)
    line = cv2.sepFilter2D(np.eye(size, dtype=np.float32), -1, np.ones(1, np.float32), kernel)
    return torch.from_numpy(line)


def heads(landmarks: Tensor, size: int) -> Tensor:
    """As watermark.head_mask: (size,size), 1 on the head with these landmarks (68,2) in 0..1, with a soft edge."""
    brows, mouth = landmarks[17:27], landmarks[48:68].mean(0, keepdim=True)
    crown = brows + watermark.CROWN * (brows.mean(0, keepdim=True) - mouth)
    points = (torch.cat([landmarks[:27], crown]) * size).round()  # (N,2)
    x, y = points.unbind(1)
    # The hull of N points: i and j are neighbours on it where all others lie to one side of the line between them. Each
    # point keeps the line to its neighbour, and none where it lies within.
    along, down = x[None] - x[:, None], y[None] - y[:, None]  # (N,N): from i to j
    turns = along[:, :, None] * down[:, None] - down[:, :, None] * along[:, None]  # (N,N,N): of k
    edges = (turns.amin(2) >= 0).float()
    along, down = (edges * along).sum(1), (edges * down).sum(1)
    # OpenCV fills the outline, too: what lies within half a pixel of it, across or down. So each line lets those x of a
    # row be in for which   down x <= along (row - y) + down x0 + outline
    outline = 0.5 * torch.maximum(along.abs(), down.abs())
    at = torch.arange(size, dtype=torch.float32)
    along, down, y, share = (one[:, None] for one in (along, down, y, down * x + outline))
    least = along * (at - y) + share  # (N,size)
    ends, far = least / down, torch.tensor(torch.inf)
    none = (down == 0) & (least < 0)
    first = torch.where(down < 0, ends, -far).amax(0)[:, None]
    last = torch.where(down > 0, ends, torch.where(none, -far, far)).amin(0)[:, None]
    inside = (at >= first) & (at <= last)
    soft = blurring(size, watermark.HEAD_EDGE * size)
    return soft @ inside.float() @ soft.T


def paste(region: Tensor, change: Tensor, grid: Tensor) -> Tensor:
    """A part of a photo (1,H,W,3) uint8 with a change of levels (1,4,S,S), see `edit`, laid on it where a grid
    (1,H,W,2) tells: bicubic, in [-1,1] of the change's frame; nothing beyond it."""
    sampled = F.grid_sample(change, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    added, instead = sampled.permute(0, 2, 3, 1).split([3, 1], 3)
    levels = region.float() * (1 - instead) + added
    return levels.round().clamp(0, 255).to(torch.uint8)
