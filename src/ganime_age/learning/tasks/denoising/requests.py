"""The edits from which a student of the denoising generator learns: those that users ask for."""

from __future__ import annotations

import torch
from torch import Tensor

from ....edits import AGE_MAX, AU_CODES, AU_MAX, PRESETS
from ....networks.layers import constant, places
from ....networks.restoring.lay import Request
from ..edit_requests import SEEN

EXPRESSIONS, BOTH = 0.33, 0.2
"""Shares of the edits that change an expression alone, and age and expression; the others change the age alone."""
PRESET = 0.5
"""Share of the expressions that are presets; the others are a unit, or a few."""
FEW = 0.13
"""How often each unit is one of a few."""
WEAKEST, STRONGEST = 0.4, 1.3
"""Strength of a preset, of which 1 is as it stands."""
STAYS = -1.0
"""The level of a unit that a preset leaves as it is."""
LEVELS = tuple(
    float(preset.get(code, STAYS)) if held else STAYS
    for preset in PRESETS.values()
    for code, held in zip(AU_CODES, SEEN, strict=True)
)
"""Levels of the action units in each preset, 17 each."""
EDITABLE = tuple(index for index, held in enumerate(SEEN) if held)
"""Places of the action units that can be asked for."""


def random_request(age: Tensor, aus: Tensor, age_noise: float) -> Request:
    """Edits of faces with ages (B,) in years and action units (B,17) in 0..5: to any age, or to another expression.
    age_noise: standard deviation, in years, of how far off the age is read."""
    kind = torch.rand_like(age)
    source = (age + age_noise * torch.randn_like(age)).clamp(0, AGE_MAX)
    target = torch.where(kind < EXPRESSIONS, source, AGE_MAX * torch.rand_like(age))
    moves = (kind < EXPRESSIONS) | (kind > 1 - BOTH)
    return Request(source, target, aus, torch.where(moves[:, None], random_expression(aus), aus))


def random_expression(aus: Tensor) -> Tensor:
    """Other action units (B,17) than those of faces: a preset of some strength, or one unit or a few at any level."""
    count, device = len(aus), aus.device
    presets = constant(LEVELS, aus).view(-1, len(AU_CODES))
    level = presets[torch.randint(len(presets), (count,), device=device)]
    strength = WEAKEST + (STRONGEST - WEAKEST) * torch.rand(count, 1, device=device)
    preset = torch.where(level == STAYS, aus, (strength * level).clamp(0, AU_MAX))
    one = places(EDITABLE, aus)[torch.randint(len(EDITABLE), (count,), device=device)]
    chosen = torch.arange(len(AU_CODES), device=device) == one[:, None]
    more = (torch.rand_like(aus) < FEW) & constant(SEEN, aus, torch.bool)
    chosen = chosen | (more & (torch.rand(count, 1, device=device) < 0.5))
    units = torch.where(chosen, AU_MAX * torch.rand_like(aus), aus)
    return torch.where(torch.rand(count, 1, device=device) < PRESET, preset, units)
