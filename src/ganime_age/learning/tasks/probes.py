"""Probes: what a task measures on a few held-out faces while it trains, for the collapse watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...edits import AU_CODES, AU_MAX
from .sheets import wanted

AGES = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0)


SMILES = (0.0, AU_MAX / 2, AU_MAX)


AU12 = AU_CODES.index("AU12")


Edit = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(face, source_age, target_age, source_aus, target_aus) -> (face, share changed): (B,3,S,S) in [-1,1], (B,) years,
(B,17) in 0..5; the share changed is 1 - A, (B,1,S,S) in 0..1."""


Reader = Callable[[Tensor], Any]
"""Faces (B,3,S,S) -> an object with what is read on them; see `probe_edits`."""


@torch.no_grad()
def probe_edits(
    edit: Edit, reader: Reader, judge: Reader | None, faces: dict[str, Tensor]
) -> dict[str, float]:
    """Measure an editor on a few fixed faces of known age: every face to six ages, to three smiles, and to itself.

    reader: faces (B,3,S,S) -> an object with age (B,), action_units (B,17), identity (B,D) of unit length; what the
    editor trains against. judge: one that it does not train against, with an age at least; None leaves its figures out.
    faces: `face`, `age` (NaN: as the reader reads it) and `action_units` (NaN: 0). `edit` always gets all of them, in
    this order, so it may use their other labels. Nine edits of the set.

    -> mask: mean share changed by age and AU12 edits. age_slope(_judge): least-squares slope of read on asked age.
    gap: their difference. au12_slope(_judge): the same of AU12. identity(_judge): mean cosine to the source over the
    ages. no_change_l1: mean change in 0..1 of the range when the target is the source.
    """
    face, aus = faces["face"], faces["action_units"].nan_to_num(0.0)
    before = reader(face)
    age = torch.where(faces["age"].isnan(), before.age, faces["age"])
    aged = [edit(face, age, torch.full_like(age, years), aus, aus) for years in AGES]
    smiling = [edit(face, age, age, aus, wanted(aus, {"AU12": value})) for value in SMILES]
    still, _ = edit(face, age, age, aus, aus)
    out = {"mask": float(torch.stack([share.mean() for _, share in aged + smiling]).mean())}
    for end, measure in (("", reader), ("_judge", judge)):
        if measure is not None:
            out |= {name + end: value for name, value in responses(measure, face, aged, smiling).items()}
    if judge is not None:
        out["gap"] = out["age_slope"] - out["age_slope_judge"]
    return out | {"no_change_l1": float((still - face).abs().mean() / 2)}


def responses(
    measure: Reader, face: Tensor, aged: list[tuple[Tensor, Tensor]], smiling: list[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Slopes and identity by one reader or judge, as far as it reads them."""
    before, at_age = measure(face), [measure(edited) for edited, _ in aged]
    out = {"age_slope": slope(AGES, [float(read.age.mean()) for read in at_age])}
    if hasattr(before, "action_units"):
        smiles = [float(measure(edited).action_units[:, AU12].mean()) for edited, _ in smiling]
        out["au12_slope"] = slope(SMILES, smiles)
    if hasattr(before, "identity"):
        cosines = [(before.identity * read.identity).sum(1).mean() for read in at_age]
        out["identity"] = float(torch.stack(cosines).mean())
    return out


def slope(asked: tuple[float, ...], read: list[float]) -> float:
    """Least-squares slope of read on asked; every face is asked for the same, so means over faces suffice."""
    x, y = torch.tensor(asked, dtype=torch.float64), torch.tensor(read, dtype=torch.float64)
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())
