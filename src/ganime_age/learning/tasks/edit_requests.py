"""The edits that one step of GANimation-age trains, and the crop of each face that it trains them on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...edits import AU_CODES, AU_MAX, AU_UNSEEN
from ...networks.layers import constant, places

SEEN = tuple(code not in AU_UNSEEN for code in AU_CODES)
"""17 bools: the action units that the labels hold."""
WHOLE = 0.8
"""Least real share of a frame whose crops may lie anywhere."""
ANYWHERE = 0.3
"""How often they do."""


def seen(units: Tensor) -> Tensor:
    """Action units (B,17) -> those that the labels hold, (B,15)."""
    return units[:, places(tuple(k for k, held in enumerate(SEEN) if held), units)]


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
    moved = aus_move[:, None] & constant(SEEN, aus, torch.bool)
    return Request(source, target, aus, torch.where(moved, wanted, aus), age_moves)


def crop_corners(valid: Tensor, crop: int) -> Tensor:
    """Top-left corner of each face's crop, (B,2) int64 row and column: around the face, or anywhere in the frame where
    the whole frame is real. valid (B,1,S,S)."""
    chance = torch.rand(3, len(valid), device=valid.device)
    anywhere = (valid.mean((1, 2, 3)) > WHOLE) & (chance[2] < ANYWHERE)
    row = torch.where(anywhere, chance[0], 0.5 + 0.5 * chance[0])
    column = torch.where(anywhere, chance[1], 0.3 + 0.4 * chance[1])
    return (torch.stack([row, column], 1) * (valid.shape[-1] - crop)).round().long()


def cut(frames: Tensor, corners: Tensor, crop: int) -> Tensor:
    """(B,C,S,S) -> (B,C,crop,crop), each at its own corner (B,2)."""
    return picked(frames, corners[..., None] + torch.arange(crop, device=frames.device))


def put_back(frames: Tensor, crops: Tensor, corners: Tensor) -> Tensor:
    """The frames with the crops in their places; the gradient flows to the crops."""
    crop = crops.shape[-1]
    at = (
        torch.arange(frames.shape[-1], device=frames.device) - corners[..., None]
    )  # (B,2,S), places in the crop
    within = (at >= 0) & (at < crop)
    inside = within[:, 0, :, None] & within[:, 1, None]  # (B,S,S)
    return torch.where(inside[:, None], picked(crops, at.clamp(0, crop - 1)), frames)


def picked(pictures: Tensor, at: Tensor) -> Tensor:
    """(B,C,h,w) at rows and columns (B,2,n) of each picture -> (B,C,n,n)."""
    (b, c, _, w), n = pictures.shape, at.shape[-1]
    rows = pictures.gather(2, at[:, 0, None, :, None].expand(b, c, n, w))
    return rows.gather(3, at[:, 1, None, None].expand(b, c, n, n))
