"""Probes: what a task measures on a few held-out faces while it trains, and the limits of a healthy editor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ...edits import AU_CODES, AU_MAX
from ...networks.judging.age_judge import AgeJudge
from ..engine.checkpoints import load_light
from ..engine.collapse import Limit, Trend, Watch
from .sheets import wanted

AGES = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0)
"""Target ages of a probe in years."""
SMILES = (0.0, AU_MAX / 2, AU_MAX)
"""Target intensities of AU12 of a probe, 0..5."""
AU12 = AU_CODES.index("AU12")

Edit = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(face, source_age, target_age, source_aus, target_aus) -> (face, attention): (B,3,S,S) in [-1,1], (B,) years,
(B,17) in 0..5; attention (B,1,S,S) in 0..1, how far each pixel was changed (1 - A of GANimation)."""


class AgeReading(Protocol):
    """What is read on faces. age: (B,) in years. Where they are read too: action_units (B,17), identity (B,D)."""

    @property
    def age(self) -> Tensor: ...


Reader = Callable[[Tensor], AgeReading]
"""Faces (B,3,S,S) -> what is read on them; see `probe_edits`."""
Probe = Callable[[dict[str, nn.Module]], dict[str, float]]
"""Networks by name -> figures by name: `Task.probe`."""


@dataclass
class CollapseLimits:
    """Limits of a healthy editor: a recipe's [watch] table.

    mask: range of the mean attention. age_slope, au_slope: least response, required from step `flat_after` on, as is
    gap, the most by which the reader's response may exceed the judge's. patience: faulty probes in a row that stop the
    run. gap_probes, gap_growth: a gap that grew in each of so many probes, by so much in all, while the judge's
    response did not, is an alarm: a line in the log, no stop.
    """

    mask: tuple[float, float] = (0.02, 0.95)
    age_slope: float = 0.1
    au_slope: float = 0.1
    gap: float = 0.6
    flat_after: int = 1500
    patience: int = 2
    gap_probes: int = 3
    gap_growth: float = 0.05

    def watch(self) -> Watch:
        """The limits by the names of `probe_edits`, with their sentences."""
        low, high = self.mask
        after = self.flat_after
        flat = "the {what} response is flat: {{value:.3f}} read per {unit} asked, below {{limit:g}}"
        return Watch(
            (
                Limit(
                    "mask",
                    low,
                    high,
                    below="the mask's mean is {value:.3g}, below {limit:g}: edits change almost nothing",
                    above="the mask's mean is {value:.3g}, above {limit:g}: nearly every pixel is repainted",
                ),
                Limit("age_slope", self.age_slope, math.inf, after, flat.format(what="age", unit="year")),
                Limit(
                    "au12_slope", self.au_slope, math.inf, after, flat.format(what="AU12", unit="intensity")
                ),
                Limit(
                    "gap",
                    high=self.gap,
                    after=after,
                    above="the reader's age response exceeds the judge's by {value:.2f}, above {limit:g}: the reader "
                    "is fooled",
                ),
            ),
            Trend(
                "gap",
                "age_slope_judge",
                self.gap_probes,
                self.gap_growth,
                "the gap between reader and judge grew over {probes} probes, from {first:.2f} to {last:.2f}, while "
                "the judge's age response went from {reference_first:.2f} to {reference_last:.2f}: the generator is "
                "learning to fool the reader",
            ),
            self.patience,
        )


@torch.no_grad()
def probe_edits(
    edit: Edit, reader: Reader, judge: Reader | None, faces: dict[str, Tensor]
) -> dict[str, float]:
    """Measure an editor on a few fixed faces of known age: every face to six ages, to three smiles, and to itself.

    reader: what the editor trains against; it reads action_units (B,17) and identity (B,D) of unit length beside the
    age where it can. judge: one that the editor does not train against, with an age at least; None leaves its figures
    out. faces: `face`, `age` (NaN: as the reader reads it) and `action_units` (NaN: 0). `edit` always gets all of them,
    in this order, so it may use their other labels. Ten edits of the set.

    -> mask: mean attention of age and AU12 edits. age_slope(_judge): least-squares slope of read on target age.
    gap: their difference. au12_slope(_judge): the same of AU12. identity(_judge): mean cosine to the source over the
    ages. no_change_l1: mean change in 0..1 of the range when the target is the source.
    """
    face, aus = faces["face"], faces["action_units"].nan_to_num(0.0)
    before = reader(face)
    age = torch.where(faces["age"].isnan(), before.age, faces["age"])
    aged = [edit(face, age, torch.full_like(age, years), aus, aus) for years in AGES]
    smiling = [edit(face, age, age, aus, wanted(aus, {"AU12": value})) for value in SMILES]
    still, _ = edit(face, age, age, aus, aus)
    out = {"mask": float(torch.stack([attention.mean() for _, attention in aged + smiling]).mean())}
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
        smiles = [measure(edited).action_units[:, AU12].mean() for edited, _ in smiling]  # type: ignore[attr-defined]
        out["au12_slope"] = slope(SMILES, [float(smile) for smile in smiles])
    if hasattr(before, "identity"):
        cosines = [(before.identity * read.identity).sum(1).mean() for read in at_age]  # type: ignore[attr-defined]
        out["identity"] = float(torch.stack(cosines).mean())
    return out


def slope(targets: tuple[float, ...], read: list[float]) -> float:
    """Least-squares slope of read on target; every face has the same targets, so means over faces suffice."""
    x, y = torch.tensor(targets, dtype=torch.float64), torch.tensor(read, dtype=torch.float64)
    x = x - x.mean()
    return float((x * y).sum() / x.square().sum())


class Judged(NamedTuple):
    """What the age judge says: age (B,) in years."""

    age: Tensor


def prober(
    network: str,
    editor: Callable[[nn.Module, dict[str, Tensor]], Edit],
    reader: Reader,
    judge: str,
    faces: dict[str, Tensor],
) -> Probe:
    """A task's probe: `probe_edits` of the network of a name, on fixed faces brought to its device.

    editor(network, faces): its edits. reader: what it trains against. judge: the folder of the age judge, "" for none;
    BadInput when it cannot be loaded.
    """
    judge_network = load_light(AgeJudge, judge, "age_judge") if judge else None

    def judged(face: Tensor) -> Judged:
        assert judge_network is not None
        return Judged(judge_network.to(face.device)(face))

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        generator = networks[network]
        device = next(generator.parameters()).device
        given = {name: value.to(device) for name, value in faces.items()}
        return probe_edits(editor(generator, given), reader, judged if judge_network else None, given)

    return probe
