"""Loss terms of the generators: pure functions, each the equation that its line of the docstring names."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def relativistic(better: Tensor, worse: Tensor) -> Tensor:
    """Relativistic pairing loss (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024): mean softplus(worse - better).

    Both are patch logits of the same faces, so what is peculiar to a face cancels out.
    """
    return F.softplus(worse - better).mean()


def gradient_penalty(logits: Tensor, face: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018, eq. 9): squared gradient norm of D at real faces, mean over the batch."""
    slope = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), face, create_graph=True)[0]
    return slope.square().sum((1, 2, 3)).mean()


def age_gap_weight(source: Tensor, target: Tensor) -> Tensor:
    """SAM's weight of the identity loss (Alaluf et al. 2021): 0.75 + 0.25 cos(pi * gap / 100), less for a wide gap."""
    return 0.75 + 0.25 * torch.cos(math.pi * (target - source) / 100)


def identity_loss(before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
    """Weighted 1 - cosine of unit-length identity embeddings, (B,D) each and (B,)."""
    return (weight * (1 - (before * after).sum(1))).mean()


def band(mean: Tensor, low: float, high: float) -> Tensor:
    """Squared distance of a mask's mean from the band low..high: neither nothing nor everything may change."""
    return (F.relu(low - mean) + F.relu(mean - high)).square().mean()


def total_variation(mask: Tensor) -> Tensor:
    """Mean absolute step between neighbouring pixels of (B,1,H,W): GANimation's smoothness of A, eq. 3."""
    return (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean() + (mask[..., 1:] - mask[..., :-1]).abs().mean()


def coarse_colour(before: Tensor, after: Tensor, side: int = 8) -> Tensor:
    """L1 of both faces shrunk to side x side: the picture's overall colours stay."""
    return (F.adaptive_avg_pool2d(before, side) - F.adaptive_avg_pool2d(after, side)).abs().mean()


def masked_l1(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (B,3,S,S) with a weight (B,1,1,1) or (B,1,S,S) on each."""
    return ((a - b).abs() * weight).mean()


def critic_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP (Gulrajani et al. 2017, eq. 3): (gradient norm - 1)^2 at a random mix of each real and fake face.

    critic: (B,3,S,S) -> (B,).
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    mixed = (share * real + (1 - share) * fake).requires_grad_(True)
    slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def known_square_error(read: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over what is known: entries whose target is NaN do not count. Zero when none is known."""
    known = ~wanted.isnan()
    error = torch.where(known, read - wanted.nan_to_num(0.0), 0.0)
    return error.square().sum() / known.sum().clamp_min(1)


def mask_energy(mask: Tensor) -> Tensor:
    """Mean square of an attention (B,1,S,S): GANimation's L2 penalty, which keeps A from copying everything."""
    return mask.square().mean()


def total_variation_sum(mask: Tensor) -> Tensor:
    """GANimation's smoothness of A (B,1,S,S) as its weight of 1e-5 expects it: squared steps between neighbouring
    pixels, summed over the picture, mean over the batch."""
    down, right = mask[..., 1:, :] - mask[..., :-1, :], mask[..., 1:] - mask[..., :-1]
    return (down.square().sum((1, 2, 3)) + right.square().sum((1, 2, 3))).mean()
