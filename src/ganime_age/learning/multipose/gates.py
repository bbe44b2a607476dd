"""Whether a turned face may enter the set: a face that is found, the pose asked for, the same person, the same age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch

from ...images.detectors import EmbeddedDetector
from ...images.tensors import to_pictures, to_tensor
from ...model.model import GanimeAge
from ...networks.readers import eye_line_angle
from ..data.faces import Faces

REASONS = ("identity", "age", "no face", "pose", "unreadable source")
"""Why a try is rejected, in the order in which it is asked: the readers decide first, since the finder takes several
times as long. The last one ends all tries with that source."""
TURNED = 15.0  # degrees; a pose curve needs faces beyond
FEWEST_TURNED = 100
MOST_READ = 2000  # faces that the readers look at for their curve
MOST_FOUND = 400  # faces that the finder looks at for the curve of the landmarks
BORDER = 0.25
"""Grey that the finder sees around a picture, in its sides: it learnt from photos, where faces have surroundings."""


@dataclass(frozen=True)
class Gates:
    """face: least score of the finder, 0..1. pose: most degrees, in yaw and in pitch, between the target and what is
    measured. identity: least cosine to the source by the readers. age: most years between the label and the estimate.
    source_age: the same of the source. jitter: degrees by which a retry moves its target."""

    face: float = 0.5
    pose: float = 7.0
    identity: float = 0.29
    age: float = 10.0
    source_age: float = 8.0
    jitter: float = 3.0


class PoseCurve(NamedTuple):
    """What is read on average of a face in a pose; where readers have seen few, they answer towards the middle.

    yaw: factors of 1, yaw, yaw^2, yaw^3. pitch: of 1, pitch, pitch^2, |yaw|, |yaw| pitch. faces: how many real faces
    they were fitted on; with 0 a reading is taken at its word.
    """

    yaw: tuple[float, ...] = (0.0, 1.0, 0.0, 0.0)
    pitch: tuple[float, ...] = (0.0, 1.0, 0.0, 0.0, 0.0)
    faces: int = 0

    def said(self, pose: np.ndarray) -> np.ndarray:
        """True yaw and pitch (N,2) in degrees -> the mean reading (N,2)."""
        return np.stack(
            [terms @ np.array(by) for terms, by in zip(_terms(pose), (self.yaw, self.pitch), strict=True)], 1
        )


def _terms(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the curves are sums of: (N,4) for yaw and (N,5) for pitch."""
    yaw, pitch = pose.astype(np.float64).T
    one, turn = np.ones_like(yaw), np.abs(yaw)
    return np.stack([one, yaw, yaw**2, yaw**3], 1), np.stack([one, pitch, pitch**2, turn, turn * pitch], 1)


class PoseCurves(NamedTuple):
    """Of the two measures of a pose."""

    readers: PoseCurve = PoseCurve()
    landmarks: PoseCurve = PoseCurve()
    """Of the head that is fitted to the finder's landmarks."""


def pose_curves(examiner: Examiner, faces: Faces, seed: int = 0) -> PoseCurves:
    """Fitted on the turned and some of the straight faces that are not in the train split; the identity where these are
    fewer than a hundred beyond 15 degrees."""
    pose = faces.labels["pose"][:, :2]
    held = np.isfinite(pose).all(1) & (faces.table["split"] != "train").to_numpy()
    far = held & (np.abs(pose).max(1) > TURNED)
    if far.sum() < FEWEST_TURNED:
        return PoseCurves()
    near = np.random.default_rng(seed).permutation(np.flatnonzero(held & ~far))[: far.sum()]
    rows = np.concatenate([np.flatnonzero(far), near])
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_READ])
    chosen = np.random.default_rng(seed).permutation(len(rows))[:MOST_FOUND]
    read = np.concatenate([examiner.look(some, find=False).read_pose for some in pictures_of(faces, rows)])
    by_marks = np.concatenate([examiner.look(some).fit_pose for some in pictures_of(faces, rows[chosen])])
    found = np.isfinite(by_marks).all(1)
    return PoseCurves(
        fitted(pose[rows], read[:, :2]), fitted(pose[rows[chosen]][found], by_marks[found].astype(np.float64))
    )


def pictures_of(faces: Faces, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures (n,S,S,3) uint8 of rows of a folder's cache, some at a time."""
    for some in np.array_split(rows, len(rows) // 64 + 1):
        yield to_pictures(faces.batch(some)["face"])


def source_looks(examiner: Examiner, faces: Faces, rows: np.ndarray) -> Looks:
    """What the readers say of sources, at the side of the folder's cache."""
    looks = [examiner.look(pictures, find=False) for pictures in pictures_of(faces, rows)]
    return Looks(*(np.concatenate(values) for values in zip(*looks, strict=True)))


def fitted(pose: np.ndarray, read: np.ndarray) -> PoseCurve:
    """The curve by least squares of poses (N,2) and readings (N,2), in which rare yaws weigh more than their number."""
    bins = np.clip(pose[:, 0] // 10, -6, 6).astype(int) + 6
    weight = np.bincount(bins, minlength=13)[bins] ** -0.25
    yaw, pitch = (
        tuple(np.linalg.lstsq(terms * weight[:, None], read[:, axis] * weight, rcond=None)[0].tolist())
        for axis, terms in enumerate(_terms(pose))
    )
    return PoseCurve(yaw, pitch, len(pose))


class Looks(NamedTuple):
    """What is measured on N faces. read_pose (N,3), read_landmarks (N,68,2) in 0..1 of the frame: as the readers say
    it. landmarks (N,68,2): the finder's, NaN where it found no face or was not asked; score (N,): its score, 0 there.
    fit_pose (N,2): yaw and pitch of the head that is fitted to these landmarks."""

    age: np.ndarray
    read_pose: np.ndarray
    identity: np.ndarray
    action_units: np.ndarray
    read_landmarks: np.ndarray
    landmarks: np.ndarray
    score: np.ndarray
    fit_pose: np.ndarray


class Examiner:
    """The package's frozen readers and finder as judges of what a backend made."""

    def __init__(
        self,
        model: GanimeAge,
        gates: Gates,
        curves: PoseCurves = PoseCurves(),  # noqa: B008 immutable
        device: str | torch.device = "cpu",
    ):
        for part in ("detector", "readers", "head"):
            model.require(part)
        self.model, self.device, self.gates, self.curves = model.to(device).eval(), device, gates, curves
        self.finder = EmbeddedDetector(model.detector, max_side=64, threshold=gates.face)

    @torch.inference_mode()
    def look(self, pictures: np.ndarray, find: bool = True) -> Looks:
        """Pictures (N,S,S,3) uint8, without the local reader: see `refined`. find: ask the finder too; it is slower."""
        readers = self.model.readers  # whose cosines the gates are set for
        read = readers.read_window(readers.window(to_tensor(pictures, self.device)))
        values = read.age, read.pose, read.identity, read.action_units, read.landmarks
        age, pose, identity, units, marks = (value.float().cpu().numpy() for value in values)
        landmarks, fit = (np.full((len(pictures), *shape), np.nan, np.float32) for shape in ((68, 2), (2,)))
        looks = Looks(age, pose, identity, units, marks, landmarks, np.zeros(len(pictures)), fit)
        return self.found(pictures, looks, np.full(len(pictures), find))

    @torch.inference_mode()
    def found(self, pictures: np.ndarray, looks: Looks, asked: np.ndarray) -> Looks:
        """Looks at pictures (N,S,S,3), with what the finder says of those that are asked about, (N,) bool."""
        landmarks, score, fit = looks.landmarks.copy(), looks.score.copy(), looks.fit_pose.copy()
        side = pictures.shape[1]
        border = round(BORDER * side)
        for i in np.flatnonzero(asked):
            around = cv2.copyMakeBorder(
                pictures[i], border, border, border, border, cv2.BORDER_CONSTANT, value=(128,) * 3
            )
            if found := self.finder(around):
                landmarks[i], score[i] = (found[0].landmarks - border) / side, found[0].score
        if (score > 0).any():
            marks = torch.from_numpy(landmarks[score > 0]).to(self.device)
            fit[score > 0] = self.model.head.fit(marks).pose[:, :2].cpu().numpy()
        return looks._replace(landmarks=landmarks, score=score, fit_pose=fit)

    @torch.inference_mode()
    def refined(self, pictures: np.ndarray, looks: Looks, asked: np.ndarray) -> Looks:
        """Looks at pictures (N,S,S,3), with the local reader's action units and roll of some, asked (N,) bool."""
        if not asked.any():
            return looks
        units, pose = looks.action_units.copy(), looks.read_pose.copy()
        read = (torch.from_numpy(part[asked]).to(self.device) for part in (looks.read_landmarks, units))
        landmarks, aus = self.model.readers.corrected(to_tensor(pictures[asked], self.device), *read)
        units[asked], pose[asked, 2] = aus.cpu().numpy(), eye_line_angle(landmarks).cpu().numpy()
        return looks._replace(action_units=units, read_pose=pose)

    def measured(
        self,
        target: np.ndarray,
        source_pose: np.ndarray,
        source_read: np.ndarray,
        read: np.ndarray,
        fit: np.ndarray,
    ) -> np.ndarray:
        """Measured yaw and pitch (N,2) in degrees: the mean of two, by the readers and by the head fitted to the
        finder's landmarks. Both are the target, and what is read beyond the mean reading of a real face in that pose.
        What the readers misread of the person is known from the source and taken off. All (N,2); a fit may be NaN."""
        misread = source_read - self.curves.readers.said(source_pose)
        by_readers = read - misread - self.curves.readers.said(target)
        by_landmarks = fit - self.curves.landmarks.said(target)
        return target + np.where(np.isfinite(by_landmarks), (by_readers + by_landmarks) / 2, by_readers)

    def alike(self, cosine: np.ndarray, age: np.ndarray, read_age: np.ndarray) -> np.ndarray:
        """(N,) bool: images that pass the gates of the readers alone. Arguments (N,), as of `reason`."""
        return (cosine >= self.gates.identity) & (np.abs(read_age - age) <= self.gates.age)

    def reason(
        self, score: float, cosine: float, pose: np.ndarray, target: np.ndarray, age: float, read_age: float
    ) -> str | None:
        """Why an image is rejected, or None. pose, target: yaw and pitch (2,) in degrees. age: of the label."""
        gates = self.gates
        passed = {
            "identity": cosine >= gates.identity,
            "age": abs(read_age - age) <= gates.age,
            "no face": score >= gates.face and score > 0,
            "pose": bool(np.abs(pose - target).max() <= gates.pose),
        }
        return next((reason for reason, good in passed.items() if not good), None)
