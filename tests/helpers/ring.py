"""A face whose landmarks are a ring, and prototypes of it that change nothing yet."""

import torch

from ganime_age.edits import AU_CODES
from ganime_age.networks.prototypes import Prototypes

AU12 = AU_CODES.index("AU12")
RING = torch.linspace(0, 2 * torch.pi, 69)[:68]
SHAPE = torch.stack([0.5 + 0.25 * RING.cos(), 0.55 + 0.3 * RING.sin()], 1)


def ring_prototypes():
    torch.manual_seed(0)
    made = Prototypes(hair_width=4).eval().requires_grad_(False)
    made.mean_shape.copy_(SHAPE)
    made.region.fill_(1.0)
    return made


def edit(prototypes, faces, age=(30.0, 30.0), unit=0.0, marks=None):
    count = len(faces)
    marks = SHAPE.expand(count, -1, -1) if marks is None else marks
    before, after = torch.zeros(count, 17), torch.zeros(count, 17)
    after[:, AU12] = unit
    ages = [torch.full((count,), years) for years in age]
    return prototypes(faces, marks, *ages, before, after)
