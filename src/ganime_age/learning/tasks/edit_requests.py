"""The edits that one step of GANimation-age trains, and the crop of each face that it trains them on."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...edits import AU_CODES, AU_MAX, AU_UNSEEN

SEEN = torch.tensor([code not in AU_UNSEEN for code in AU_CODES])
"""(17,) bool: the action units that the labels hold."""


class Request(NamedTuple):
    """The edits of a batch: ages (B,) in years, action units (B,17) in 0..5, and whether the age changes (B,) bool."""

    source_age: Tensor
    target_age: Tensor
    source_aus: Tensor
    target_aus: Tensor
    ages_moves: Tensor


def ask(batch: dict[str, Tensor], age_noise: float) -> Request:
    """Draw edits: 35 % of the age, 45 % of action units, 20 % of both.

    Half of the action-unit targets are another face's whole expression (GANimation), half move one to three units.
    """
    b, aus = len(batch["age"]), batch["action_units"].nan_to_num(0.0)
    device = aus.device
    kind = torch.rand(b, device=device)
    age_moves, aus_move = (kind < 0.35) | (kind > 0.8), kind >= 0.35
    source = (batch["age"] + age_noise * torch.randn(b, device=device)).clamp(0, 100)
    target = torch.where(age_moves, 1 + 84 * torch.rand(b, device=device), source)
    other = (aus.roll(1, 0) + 0.3 * torch.randn_like(aus)).clamp(0, AU_MAX)
    few = torch.rand(b, len(AU_CODES), device=device) < 0.13
    single = torch.where(few, AU_MAX * torch.rand_like(aus), aus)
    wanted = torch.where((torch.rand(b, 1, device=device) < 0.5), other, single)
    return Request(
        source, target, aus, torch.where(aus_move[:, None] & SEEN.to(device), wanted, aus), age_moves
    )


def crop_corners(valid: Tensor, crop: int) -> list[tuple[int, int]]:
    """Top-left corner of each face's crop: around the face, or anywhere in the frame where the whole frame is real."""
    side = valid.shape[-1]
    free, corners = side - crop, []
    for fraction in valid.mean((1, 2, 3)).tolist():
        x, y = torch.rand(2).tolist()
        if fraction > 0.8 and torch.rand(()) < 0.3:
            corners.append((round(y * free), round(x * free)))
        else:
            corners.append((round((0.5 + 0.5 * y) * free), round((0.3 + 0.4 * x) * free)))
    return corners


def cut(frames: Tensor, corners: list[tuple[int, int]], crop: int) -> Tensor:
    """(B,C,S,S) -> (B,C,crop,crop), each at its own corner."""
    return torch.stack([f[:, y : y + crop, x : x + crop] for f, (y, x) in zip(frames, corners, strict=True)])


def put_back(frames: Tensor, crops: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    """The frames with the crops in their places; the gradient flows to the crops."""
    side, crop = frames.shape[-1], crops.shape[-1]
    padded = [
        F.pad(c, (x, side - crop - x, y, side - crop - y)) for c, (y, x) in zip(crops, corners, strict=True)
    ]
    inside = torch.zeros(len(frames), 1, side, side, device=frames.device)
    for i, (y, x) in enumerate(corners):
        inside[i, :, y : y + crop, x : x + crop] = 1
    return frames * (1 - inside) + torch.stack(padded)
