"""What a reader says of real faces of a known age or expression: the target a generator is held to.

A reader trained on hard examples answers towards the middle. Asking a generator to make it answer 80 would ask for a
caricature, so the generator is asked to make it answer what it answers on real faces of 80.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...networks.readers import Readers
from ..data.faces import Faces


@dataclass
class Calibration:
    """age_curve (101,): mean reading on real faces of each year. au_slope, au_offset (17,): reading = offset + slope
    x intensity. au_spread (17,): standard deviation of the readings. au_trust (17,): squared correlation of reading and
    label, what each action unit's reading is worth as a loss."""

    age_curve: Tensor
    au_slope: Tensor
    au_offset: Tensor
    au_spread: Tensor
    au_trust: Tensor

    def age(self, years: Tensor) -> Tensor:
        """(B,) true years -> (B,) years that the reader says of such faces on average."""
        low = years.clamp(0, 99).long()
        share = years.clamp(0, 100) - low
        curve = self.age_curve.to(years.device)
        return curve[low] * (1 - share) + curve[low + 1] * share

    def action_units(self, intensities: Tensor) -> Tensor:
        """(B,17) labelled intensities -> (B,17) average readings."""
        return self.au_offset.to(intensities.device) + self.au_slope.to(intensities.device) * intensities

    @classmethod
    def measure(cls, readers: Readers, faces: Faces, count: int = 4000) -> Calibration:
        """Read `count` faces spread over the folder and fit both curves."""
        picks = np.unique(np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int))
        ages, aus = [], []
        with torch.no_grad():
            for part in np.array_split(picks, max(1, len(picks) // 100)):
                read = readers.eval()(faces.batch(part)["face"])
                ages.append(read.age)
                aus.append(read.action_units)
        true = {name: torch.from_numpy(faces.labels[name][picks]) for name in ("age", "action_units")}
        return cls(
            smooth_curve(true["age"], torch.cat(ages)), *fit_lines(true["action_units"], torch.cat(aus))
        )


def smooth_curve(true: Tensor, read: Tensor, width: float = 4.0) -> Tensor:
    """Kernel-weighted mean reading (101,) over the years 0..100, made never falling. true, read: (N,) years."""
    has = ~true.isnan()
    years = torch.arange(101.0)
    near = torch.exp(-0.5 * ((years[:, None] - true[has][None]) / width) ** 2) + 1e-6
    return torch.cummax((near * read[has]).sum(1) / near.sum(1), 0).values


def fit_lines(true: Tensor, read: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Least-squares line of every column: slope, offset, the readings' spread and the squared correlation, (17,) each.

    true, read: (N,17); missing labels are skipped, a column without any has slope and trust 0.
    """
    has = ~true.isnan()
    n = has.sum(0).clamp_min(1)
    x = true.nan_to_num(0.0)
    mean_x, mean_y = x.sum(0) / n, (read * has).sum(0) / n
    dx, dy = (x - mean_x) * has, (read - mean_y) * has
    both, of_x, of_y = (
        (dx * dy).sum(0),
        dx.square().sum(0).clamp_min(1e-6),
        dy.square().sum(0).clamp_min(1e-6),
    )
    slope = both / of_x
    return slope, mean_y - slope * mean_x, (of_y / n).sqrt().clamp_min(0.05), both.square() / (of_x * of_y)
