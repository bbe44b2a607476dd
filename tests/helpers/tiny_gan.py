"""A generator and a discriminator with R1, small enough for any test of how a step is shared."""

import torch
import torch.nn.functional as F
from torch import nn

from ganime_age.learning.engine.task import Losses, Player, Task


def tiny_gan(size: int) -> Task:
    """A task whose batch number n holds the rows n*size .. (n+1)*size of a fixed set."""
    torch.manual_seed(0)
    rows = torch.randn(64, 3)
    generator, discriminator = nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def generate(step):
        loss = F.softplus(-discriminator(generator(step.batch["x"]))).mean()
        return Losses(loss, {"adversarial": loss.detach()})

    def discriminate(step):
        real = step.batch["x"].clone().requires_grad_(True)
        seen, fake = discriminator(real), discriminator(generator(real).detach())
        (slope,) = torch.autograd.grad(seen.sum(), real, create_graph=True)
        loss = F.softplus(-seen).mean() + F.softplus(fake).mean() + slope.square().sum(1).mean()
        return Losses(loss, {"hinge": loss.detach()})

    return Task(
        networks={"generator": generator, "discriminator": discriminator},
        players=[
            Player("generator", generator, generate, 0.01),
            Player("discriminator", discriminator, discriminate, 0.01, precise=True),
        ],
        batch=lambda number: {"x": rows[number * size : (number + 1) * size]},
        averaged=("generator",),
        configs={"generator": {}, "discriminator": {}},
    )
