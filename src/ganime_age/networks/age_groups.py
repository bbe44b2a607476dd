"""FFHQ-Aging's ten age groups as a condition, and a change that is the difference of two of a generator's pictures."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..edits import AGE_GROUPS, AGE_MAX
from ..errors import BadInput
from .layers import Edited, constant, unchanged_share

GROUPS = len(AGE_GROUPS)
GROUP_AGES = (1.0, 4.5, 8.0, 12.0, 17.0, 24.5, 34.5, 44.5, 58.0, 76.0)
"""An age in years that stands for each group; ages between two of them lie between the groups, ages beyond the first
and the last belong to these."""

Draw = Callable[[Tensor, Tensor], Tensor]
"""Faces (B,3,S,S) in [-1,1] and fractional groups (B,) in 0..9 -> the same persons in these groups, (B,3,S,S)."""


def check_ages(age: Tensor) -> None:
    """BadInput for an age (B,) outside 0..100 years, or one that is not a number."""
    if not ((age >= 0) & (age <= AGE_MAX)).all():
        raise BadInput(f"ages {age.tolist()} must all lie between 0 and {AGE_MAX:.0f} years")


def check_groups(group: Tensor) -> None:
    """BadInput for a fractional group (B,) outside 0..9, or one that is not a number."""
    if not ((group >= 0) & (group <= GROUPS - 1)).all():
        raise BadInput(f"age groups {group.tolist()} must all lie between 0 and {GROUPS - 1}")


def group_of(age: Tensor) -> Tensor:
    """Years (B,) in 0..100 -> fractional groups (B,) in 0..9, piecewise linear through GROUP_AGES.

    Not checked, as it runs in every step of training; `check_ages` is for callers with a user's numbers.
    """
    knots = constant(GROUP_AGES, age)
    age = age.clamp(GROUP_AGES[0], GROUP_AGES[-1])
    low = torch.bucketize(age, knots[1:-1], right=True)
    return low + (age - knots[low]) / (knots[low + 1] - knots[low])


def age_of(group: Tensor) -> Tensor:
    """Fractional groups (B,) in 0..9 -> years (B,), what `group_of` undoes."""
    knots = constant(GROUP_AGES, group)
    low = group.clamp(0, GROUPS - 2).long()
    return knots[low] + (group - low) * (knots[low + 1] - knots[low])


def group_code(group: Tensor) -> Tensor:
    """Fractional groups (B,) in 0..9 -> codes (B,10): one-hot for a whole number, else a mix of both neighbours' codes.

    Not checked, as generators call it in `forward`; `check_groups` is for callers with a user's numbers.
    """
    # Hat functions, the linear finite elements of the groups: code_k = max(0, 1 - |group - k|), of sum 1.
    numbers = torch.arange(GROUPS, device=group.device, dtype=group.dtype)
    return F.relu(1 - (group[:, None] - numbers).abs())


def edit_by_difference(draw: Draw, faces: Tensor, source_age: Tensor, target_age: Tensor) -> Edited:
    """Add to each face what a generator draws otherwise for the target's group than for the source's.

    faces (B,3,S,S) in [-1,1], of the generator's side; ages (B,) in years. A small generator blurs what it draws; its
    picture of the source's group is blurred alike, so the blur leaves the difference G(x, target) - G(x, source), and
    the face keeps its own detail. Where the groups are the same it comes back exactly. attention tells how much of
    each pixel was changed. BadInput for an age outside 0..100.
    """
    check_ages(source_age)
    check_ages(target_age)
    source, target = group_of(source_age), group_of(target_age)
    # Both pictures in one batch. x + G(x, target) - G(x, source): the generator's blur is in both and cancels.
    made, kept = draw(torch.cat([faces, faces]), torch.cat([target, source])).chunk(2)
    change = (made - kept) * (source != target)[:, None, None, None]
    return Edited((faces + change).clamp(-1, 1), 1 - unchanged_share(change))


def edit_by_picture(draw: Draw, faces: Tensor, source_age: Tensor, target_age: Tensor) -> Edited:
    """What a generator draws of faces (B,3,S,S) in the target's group, as AgeTransGAN's paper has it: all of it is
    painted, so the face keeps only as much detail as the generator can draw. A face whose age stays comes back
    exactly. Ages (B,) in years; BadInput for one outside 0..100."""
    check_ages(source_age)
    check_ages(target_age)
    made = draw(faces, group_of(target_age)).clamp(-1, 1)
    change = (made - faces) * (source_age != target_age)[:, None, None, None]
    return Edited(faces + change, 1 - unchanged_share(change))
