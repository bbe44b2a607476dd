"""Who reads the age of an edit: the committee of judges, or one judge where there is no committee; and what the same
judges say of real faces of every age group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ....edits import AGE_GROUPS, GROUP_STARTS
from ....errors import BadInput
from ....images.tensors import to_tensor
from ...data.faces import Faces
from ...data.picture_cache import read_pictures
from ...external.onnx_models import AgeNetwork
from ..metrics import response
from ..test_faces import aged
from .frames import framed
from .whole_photos import valid_photo

NEEDED = 5
"""Real faces of a group below which its mean is not used."""


class AgeReaders(Protocol):
    """Networks that read ages, such as `evaluation.committee.Committee`."""

    names: list[str]

    def read(self, frames: Tensor, landmarks: Tensor) -> Tensor:
        """Frames (N,3,S,S) in 0..1 and landmarks (N,68,2) in 0..1 of the frame -> years (N, number of names)."""
        ...


class OneJudge:
    """The single age judge of a folder, where there is no committee."""

    def __init__(self, folder: Path, device: str | torch.device = "cpu"):
        self.judge = AgeNetwork(folder, device)
        self.names = [self.judge.name]

    @torch.inference_mode()
    def read(self, frames: Tensor, landmarks: Tensor) -> Tensor:
        return self.judge.network(frames.to(self.judge.device) * 2 - 1).cpu()[:, None]


def age_readers(folder: Path, device: str | torch.device = "cpu") -> AgeReaders:
    """The committee in a folder, or the age judge where the folder holds `age_judge.json`. MissingModel as they do."""
    if (folder / "age_judge.json").is_file():
        return OneJudge(folder, device)
    from ..committee import Committee

    return Committee.load(folder, device)


def read_ages(
    readers: AgeReaders, pictures: Sequence[np.ndarray], landmarks: Sequence[np.ndarray]
) -> np.ndarray:
    """Frames (S,S,3) uint8 and landmarks (68,2) in 0..1 of each -> years (N,J)."""
    unit = (to_tensor(np.stack(pictures)) + 1) / 2
    points = torch.from_numpy(np.stack(landmarks).astype(np.float32))
    return readers.read(unit, points).numpy()


@dataclass(frozen=True, eq=False)
class RealFaces:
    """What the judges say of real faces.

    years (10,J): mean reading of every age group; NaN for a group with fewer than five faces. count (10,). error (J,):
    mean absolute error in years. slope (J+1,): years read per year of true age, by judge and by their mean; a judge
    with a small one reads everybody alike, and its errors look small. frames, groups (N,): the faces themselves in the
    FFHQ frame, with their landmarks, and their age groups.
    """

    years: np.ndarray
    count: np.ndarray
    error: np.ndarray
    slope: np.ndarray
    frames: list[tuple[np.ndarray, np.ndarray]]
    groups: np.ndarray

    @property
    def aims(self) -> np.ndarray:
        """(10,): the judges' mean reading of every age group."""
        return self.years.mean(1)


def real_faces(faces: Faces, readers: AgeReaders, per_group: int) -> RealFaces:
    """Read at most `per_group` frontal faces with a known age of every age group, each at the size it is stored at."""
    ends = (*GROUP_STARTS[1:], 101)
    frames: list[tuple[np.ndarray, np.ndarray]] = []
    groups, true = [], []
    for group, (low, high) in enumerate(zip(GROUP_STARTS, ends, strict=True)):
        try:
            picks = aged(faces, low, high - 1e-3, per_group)
        except BadInput:
            continue
        frames += stored_frames(faces, picks)
        groups += [group] * len(picks)
        true += list(faces.labels["age"][picks])
    if not frames:
        raise BadInput(
            f"{faces.folder} has no test face with an age and landmarks; edits cannot be held against any"
        )
    read = np.concatenate(
        [read_ages(readers, *zip(*frames[i : i + 16], strict=True)) for i in range(0, len(frames), 16)]
    )
    number = np.array(groups)
    count = np.bincount(number, minlength=len(AGE_GROUPS))
    years = np.full((len(AGE_GROUPS), read.shape[1]), np.nan)
    for known in np.flatnonzero(count >= NEEDED):
        years[known] = read[number == known].mean(0)
    ages = np.array(true)
    slope = [response(ages, column)[0] for column in (*read.T, read.mean(1))]
    return RealFaces(years, count, np.abs(read - ages[:, None]).mean(0), np.array(slope), frames, number)


def stored_frames(faces: Faces, picks: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stored faces as frames of `frames.SIDE` pixels with their landmarks, cut as `stored_photos` cuts photos."""
    files = faces.table["file"].iloc[picks].reset_index(drop=True)
    found = []
    for row, content in read_pictures(faces.folder, files):
        if isinstance(content, BadInput):
            raise content
        picture, (left, top, side) = valid_photo(content, files[row])
        landmarks = faces.labels["landmarks"][picks[row]].astype(float) * side - (left, top)
        found.append((row, framed(picture, landmarks)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]
