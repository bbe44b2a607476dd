"""Frozen networks that tasks train against: loading them, and what readers say of real faces.

A reader trained on hard examples regresses towards the mean. A generator held to "read as 80" would have to draw a
caricature; it is held to what the reader says of real faces of 80 instead (`Calibration`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ...model.model import GanimeAge
from ...model.storage import EMBEDDED
from ...networks.aligned.aifd import AIFD
from ...networks.aligned.identity import IdentityReader
from ...networks.head import HeadModel
from ...networks.prototypes import Prototypes
from ...networks.readers import Readers
from ..data.faces import Faces
from ..data.joined_faces import JoinedFaces
from ..engine.checkpoints import load_light


@contextmanager
def on_fastest(network: nn.Module) -> Iterator[torch.device]:
    """The network on this process's GPU, where there is one, and back on the CPU afterwards: thousands of faces that
    a task measures when it is built are read in seconds there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    try:
        yield device
    finally:
        network.to("cpu")


def load_readers(folder: str) -> Readers:
    """Frozen readers of exported weights; BadInput names what is missing, damaged or does not fit."""
    return load_light(Readers, folder, "readers").requires_grad_(False)


def load_prototypes(folder: str) -> Prototypes:
    """Frozen prototypes of exported weights; BadInput names what is missing or damaged."""
    return load_light(Prototypes, folder, "prototypes").requires_grad_(False)


def load_identity_branch(named: str) -> AIFD:
    """E_A of the MI loss, frozen, with the identity reader it works on: of an aifd run's exported folder, or of weights
    ("": the embedded ones). BadInput where they hold none."""
    folder = named or EMBEDDED
    reader = load_light(IdentityReader, folder, "identity").requires_grad_(False)
    return load_light(partial(AIFD, reader), folder, "aifd").requires_grad_(False)


def load_head(folder: str) -> HeadModel:
    """The head model of a weights folder, of the embedded weights where none is named."""
    return GanimeAge.from_pretrained(folder or None, parts=["head"]).head


class Calibration(nn.Module):
    """age_curve (101,): mean reading on real faces of each year. au_slope, au_offset (17,): reading = offset + slope
    x intensity. au_spread (17,): standard deviation of the readings. au_trust (17,): squared correlation of reading and
    label, what each action unit's reading is worth as a loss. A helper of tasks, so it lies where the readers do."""

    age_curve: Tensor
    au_slope: Tensor
    au_offset: Tensor
    au_spread: Tensor
    au_trust: Tensor

    def __init__(
        self, age_curve: Tensor, au_slope: Tensor, au_offset: Tensor, au_spread: Tensor, au_trust: Tensor
    ):
        super().__init__()
        self.register_buffer("age_curve", age_curve)
        units = {"slope": au_slope, "offset": au_offset, "spread": au_spread, "trust": au_trust}
        for name, values in units.items():
            self.register_buffer(f"au_{name}", values)

    def age(self, years: Tensor) -> Tensor:
        """(B,) true years -> (B,) years that the reader says of such faces on average."""
        low = years.clamp(0, 99).long()
        fraction = years.clamp(0, 100) - low
        return self.age_curve[low] * (1 - fraction) + self.age_curve[low + 1] * fraction

    def action_units(self, intensities: Tensor) -> Tensor:
        """(B,17) labelled intensities -> (B,17) average readings."""
        return self.au_offset + self.au_slope * intensities

    @classmethod
    def measure(cls, readers: Readers, faces: Faces | JoinedFaces, count: int = 4000) -> Calibration:
        """Read `count` faces spread over the folder and fit both curves."""
        picks = np.unique(np.linspace(0, len(faces) - 1, min(count, len(faces))).astype(int))
        ages, aus = [], []
        with torch.no_grad(), on_fastest(readers) as device:
            for part in np.array_split(picks, max(1, len(picks) // 100)):
                read = readers.eval()(faces.batch(part)["face"].to(device))
                ages.append(read.age.cpu())
                aus.append(read.action_units.cpu())
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
