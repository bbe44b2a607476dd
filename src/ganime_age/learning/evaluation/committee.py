"""The committee of age judges: what a user sees of an edit's age is what these three read. They steer nothing.

Only `training/evaluate.py` and the measurements of this package may load it: as soon as a training, a gain or the
choice of a checkpoint looks at a judge, the judge no longer tells what others would see.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...atomic import replacing
from ...errors import BadInput, MissingModel
from ...networks.judging.age_committee import JUDGES, CommitteeJudge
from ..engine.checkpoints import load_light
from ..engine.devices import beside

FILE = "committee.json"
"""Each judge's calibration, by its name: `read` and `true`, ages in years, both ascending."""
AT_ONCE = 16  # faces that a judge sees at once


class Committee:
    """Age judges of three architectures, each with its own crops, calibrated on faces that none learnt from.

    names: the judges, in the order of the columns of `read`. calibration: name -> (read, true), see `calibrated`.
    """

    def __init__(
        self,
        judges: dict[str, CommitteeJudge],
        calibration: dict[str, tuple[np.ndarray, np.ndarray]] | None = None,
    ):
        self.judges, self.calibration = judges, calibration or {}
        self.names = list(judges)

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Committee:
        """The judges `judge_NAME.json` and `judge_NAME.safetensors` of a folder, and its `committee.json`.

        device: where the judges compute. MissingModel names what is missing or damaged.
        """
        folder = Path(folder)
        names = [name for name in JUDGES if (folder / f"judge_{name}.json").is_file()]
        if not names:
            raise MissingModel(
                f"{folder} holds no age judge (judge_frame.json, judge_face.json, judge_parts.json); give the folder "
                "training/checkpoints/judges, or run the recipes judge_frame, judge_face and judge_parts"
            )
        try:
            judges = {name: load_light(JUDGES[name], folder, f"judge_{name}") for name in names}
        except BadInput as error:
            raise MissingModel(f"an age judge in {folder} cannot be loaded: {error}") from None
        placed = {name: judge.requires_grad_(False).to(device) for name, judge in judges.items()}
        return cls(placed, curves(folder))

    @torch.no_grad()
    def read(self, frames: Tensor, landmarks: Tensor) -> Tensor:
        """Ages (N,J) float32 in years, a column a judge of `names`; their mean over the columns is the committee's.

        frames: (N,3,S,S) in 0..1, RGB, faces aligned to the FFHQ frame, of any side; up to about 250 px a larger one
        shows a judge more creases. landmarks: (N,68,2) iBUG points in 0..1 of the frame, x first. ValueError for other
        shapes.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 or landmarks.shape != (len(frames), 68, 2):
            raise ValueError(
                f"frames {tuple(frames.shape)} must be (N,3,S,S) and landmarks {tuple(landmarks.shape)} (N,68,2)"
            )
        columns = [self.calibrated(name, self.raw(name, frames, landmarks)) for name in self.names]
        return torch.from_numpy(np.stack(columns, 1)) if len(frames) else torch.empty(0, len(self.names))

    @torch.no_grad()
    def raw(self, name: str, frames: Tensor, landmarks: Tensor) -> np.ndarray:
        """What one judge reads before calibration, (N,) float32 years; arguments as those of `read`."""
        parts = zip(frames.split(AT_ONCE), landmarks.float().split(AT_ONCE), strict=True)
        judge = beside(self.judges[name], self.judges[name])
        ages = [judge(part.float() * 2 - 1, marks) for part, marks in parts if len(part)]
        return torch.cat(ages).numpy() if ages else np.empty(0, np.float32)

    def calibrated(self, name: str, ages: np.ndarray) -> np.ndarray:
        """Readings (N,) of one judge -> years (N,) float32 without its pull to the middle.

        Piecewise linear through (mean reading, mean true age) of validation faces by age, beyond both ends along the
        last piece; 0 to 100 years come out. Without a calibration the readings stay.
        """
        if name not in self.calibration:
            return ages.astype(np.float32)
        read, true = self.calibration[name]
        out = np.interp(ages, read, true)
        for end, inner, beyond in ((0, 1, ages < read[0]), (-1, -2, ages > read[-1])):
            slope = (true[end] - true[inner]) / (read[end] - read[inner])
            out = np.where(beyond, true[end] + slope * (ages - read[end]), out)
        return out.clip(0, 100).astype(np.float32)


def fitted(
    read: np.ndarray, true: np.ndarray, weight: np.ndarray, knots: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """A calibration from readings (N,), true ages (N,) and the faces' weights (N,): means by quantiles of the true age.

    By the true age, not by the reading: the mean reading of faces of 70 becomes 70, so that a perfect edit to 70 reads
    70. (By the reading, the line would keep the pull to the middle, which makes single faces err less.) A knot that
    reads no older than the one before joins it.
    """
    order = np.argsort(true, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    piece = np.minimum((share * knots).astype(int), knots - 1)
    points: list[np.ndarray] = []  # (weight, weighted reading, weighted age)
    for number in np.unique(piece):
        own = order[piece == number]
        point = np.array([weight[own].sum(), (weight * read)[own].sum(), (weight * true)[own].sum()])
        while points and point[1] / point[0] <= points[-1][1] / points[-1][0] + 0.5:
            point = point + points.pop()
        points.append(point)
    table = np.array(points)
    if len(table) < 2:
        raise BadInput("the judge reads the same age in all faces; it cannot be calibrated")
    return table[:, 1] / table[:, 0], table[:, 2] / table[:, 0]


def curves(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The calibration of a folder's `committee.json`; none without it. MissingModel when it is damaged."""
    file = folder / FILE
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text())["calibration"]
        found = {name: (np.array(c["read"], float), np.array(c["true"], float)) for name, c in said.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MissingModel(
            f"{file} cannot be read: {error!r}; run `evaluate.py judges --fit` again"
        ) from None
    for name, (read, true) in found.items():
        rising = (
            len(read) > 1
            and read.shape == true.shape
            and (np.diff(read) > 0).all()
            and (np.diff(true) > 0).all()
        )
        if not rising:
            raise MissingModel(
                f"{file}: the calibration of {name} needs two or more ages, each list ascending"
            )
    return found


def write_curves(folder: Path, calibration: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write a folder's `committee.json`."""
    said = {
        name: {"read": [round(float(v), 2) for v in read], "true": [round(float(v), 2) for v in true]}
        for name, (read, true) in calibration.items()
    }
    with replacing(folder / FILE) as part:
        part.write_text(json.dumps({"calibration": said}, indent=1) + "\n")
