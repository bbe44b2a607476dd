"""Probes of the generator alone, without prototypes, by the reader that steers it and by a judge that does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ....edits import AU_CODES
from ....networks.judging.age_judge import AgeJudge
from ....networks.layers import Edited
from ....networks.prototypes import Prototypes
from ....networks.restoring.lay import Request, lay
from ....networks.restoring.restorer import Restorer
from ...engine.collapse import Limit, Trend, Watch
from .steering import Steering

AGES = (20.0, 75.0)
"""Target ages of a probe, in years."""


def watch(after: int) -> Watch:
    """The limits of a healthy generator, judged once edits have been steered for a while from step `after` on."""
    return Watch(
        (
            Limit(
                "age_slope",
                0.005,
                math.inf,
                after + 1500,
                "the network alone moves the steering reader by {value:.3f} years per year asked, below {limit:g}",
            ),
            Limit(
                "gap",
                high=0.6,
                after=after,
                above="the steering reader's age response exceeds the judge's by {value:.2f}, above {limit:g}: it "
                "is fooled",
            ),
        ),
        Trend(
            "gap",
            "age_slope_judge",
            3,
            0.03,
            "the gap between the steering reader and the judge grew over {probes} probes, from {first:.2f} to "
            "{last:.2f}, while the judge's response went from {reference_first:.2f} to {reference_last:.2f}: stop here",
        ),
    )


def alone(
    generator: Restorer, prototypes: Prototypes, faces: dict[str, Tensor], target: Tensor, aus: Tensor
) -> Edited:
    """What the network alone lays on faces: no prototype has changed them."""
    request = Request(faces["age"], target, faces["action_units"].nan_to_num(0.0), aus)
    marks = faces["landmarks"]
    moved = prototypes.moved_landmarks(marks, request[:2], request[2:])  # whose mouth opens as the edit asks
    return lay(generator, faces["face"], marks, moved, request)


def prober(
    prototypes: Prototypes, steering: Steering | None, judge: AgeJudge | None, faces: dict[str, Tensor]
) -> Callable[[dict[str, nn.Module]], dict[str, float]]:
    """-> age_slope and age_slope_judge: years read per year asked on edits by the network alone, by the steering reader
    and by the judge; gap: their difference; change: mean absolute change of an edit to age 75 in grey levels of 255;
    smile_change: the same of a smile."""

    def probe(networks: dict[str, nn.Module]) -> dict[str, float]:
        generator = networks["generator"]
        assert isinstance(generator, Restorer)
        device = next(generator.parameters()).device
        given = {name: value.to(device) for name, value in faces.items()}
        aus, marks = given["action_units"].nan_to_num(0.0), given["landmarks"]
        aged = [
            alone(generator, prototypes, given, torch.full_like(given["age"], years), aus).face
            for years in AGES
        ]
        smile = aus.clone()
        for code, value in (("AU12", 4.0), ("AU25", 4.0)):
            smile[:, AU_CODES.index(code)] = value
        smiling = alone(generator, prototypes, given, given["age"], smile).face
        out = {
            "change": float((aged[-1] - given["face"]).abs().mean() * 127.5),
            "smile_change": float((smiling - given["face"]).abs().mean() * 127.5),
        }
        span = AGES[-1] - AGES[0]
        if steering is not None:
            young, old = (steering.attributes(face, marks).age.mean() for face in aged)
            out["age_slope"] = float(old - young) / span
        if judge is not None:
            out["age_slope_judge"] = float(judge(aged[-1]).mean() - judge(aged[0]).mean()) / span
        if steering is not None and judge is not None:
            out["gap"] = out["age_slope"] - out["age_slope_judge"]
        return out

    return probe
