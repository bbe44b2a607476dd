"""Muon: momentum whose matrices are made orthogonal before they are stepped along; everything else by AdamW.

After Jordan et al. (2024, kellerjordan.github.io/posts/muon), with the steps of Liu et al. (2025, arXiv 2502.16982): a
learning rate that suits AdamW suits it too. A gradient's few large directions no longer drown its many small ones.
torch.optim.Muon takes matrices alone and is missing before torch 2.9.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Newton-Schulz's polynomial, steep at 0 and about 1 from 0.7 to 1.2."""
ADAM_SIZE = 0.2
"""Root mean square of a usual step of AdamW, in learning rates."""


class Muon(torch.optim.Optimizer):
    """Weights of convolutions and linear layers of a module by Muon, its other parameters by AdamW, with one learning
    rate. momentum: Muon's, Nesterov's way. betas: AdamW's. weight_decay: of both, decoupled."""

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ):
        layers = [part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
        matrices = list({id(layer.weight): layer.weight for layer in layers}.values())
        known = {id(weight) for weight in matrices}
        others = [p for p in module.parameters() if id(p) not in known]
        groups = [{"params": part, "muon": k == 0} for k, part in enumerate((matrices, others)) if part]
        super().__init__(
            groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever evaluated again
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                slope = weight.grad
                if slope is not None:
                    change = (self.turned if group["muon"] else self.adam)(weight, slope, group)
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * change)

    def turned(self, weight: Tensor, slope: Tensor, group: dict[str, Any]) -> Tensor:
        """The momentum of a weight (O,...) as an orthogonal matrix (O,N) of AdamW's size."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(slope, 1 - group["momentum"])
        ahead = torch.lerp(slope, mean, group["momentum"]).flatten(1)  # Nesterov
        return (orthogonal(ahead) * (ADAM_SIZE * max(ahead.shape) ** 0.5)).view_as(weight)

    def adam(self, weight: Tensor, slope: Tensor, group: dict[str, Any]) -> Tensor:
        """Adam (Kingma and Ba, ICLR 2015, algorithm 1): bias-corrected mean over the root of the mean square."""
        state, (first, second) = self.state[weight], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["step"] += 1
        mean = state["mean"].lerp_(slope, 1 - first)
        square = state["square"].lerp_(slope.square(), 1 - second)
        root = (square / (1 - second ** float(state["step"]))).sqrt() + 1e-8
        return mean / (1 - first ** float(state["step"])) / root


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest orthogonal matrix U V^T of (O,N) = U S V^T, nearly: singular values of about 0.7 to 1.2.

    X <- a X + (b A + c A A) X with A = X X^T moves every singular value by a s + b s^3 + c s^5 and turns nothing.
    """
    a, b, c = QUINTIC
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x  # (short,long): A is the smaller of the two products
    for _ in range(steps):
        product = x @ x.T
        x = a * x + (b * product + c * product @ product) @ x
    return x.T if tall else x
