"""One photo -> the aligned face to learn from and what can be measured on it, by the networks of the package."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ...edits import AU_CODES, AU_UNSEEN
from ...images.alignment import apply, crop, frame_matrix, valid_mask
from ...images.detectors import EmbeddedDetector
from ...images.search import FoundFace
from ...images.tensors import to_tensor
from ...model.model import GanimeAge
from ..external.mediapipe_face import BlendshapeReader, action_units_from_blendshapes
from .face_sources import LeftOut

TEACHER_SIDE, TEACHER_SCALE = 320, 1.35  # MediaPipe wants surroundings: 35 % more than the frame


@dataclass(frozen=True, eq=False)
class CutFace:
    """An aligned face.

    picture: (S,S,3) uint8 RGB, or (S,S,4) where the photo does not cover the frame (alpha 0 there). landmarks: (68,2)
    float32 in 0..1 of the frame. score: the finder's, 0..1. valid: share of the frame that is real. native_side: side
    of the frame in photo pixels. action_units: (17,) float32 by MediaPipe, NaN where it says nothing; None when it was
    not asked or saw no face.
    """

    picture: np.ndarray = field(repr=False)
    landmarks: np.ndarray = field(repr=False)
    score: float
    valid: float
    native_side: float
    action_units: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Measured:
    """What the package's readers say: age in years, pose (yaw, pitch, roll) in degrees, action units (17,) in 0..5."""

    age: float
    pose: tuple[float, float, float]
    action_units: np.ndarray = field(repr=False)


class FaceReader:
    """Finds, cuts out and measures faces.

    size: side in pixels of a cut face. min_confidence: least score (0..1) of a face. choose: `largest`, or `central`
    for the one nearest to the photo's centre. aligned: photos are FFHQ frames already and are taken whole. teacher:
    MediaPipe's blendshapes, when these are to give the action units.
    """

    def __init__(
        self,
        model: GanimeAge,
        size: int = 128,
        min_confidence: float = 0.5,
        choose: str = "largest",
        aligned: bool = False,
        teacher: BlendshapeReader | None = None,
        device: str = "cpu",
    ):
        for part in ("detector", "readers"):
            model.require(part)
        self.model, self.device = model.to(device).eval(), device
        self.finder = EmbeddedDetector(model.detector, threshold=min_confidence)
        self.size, self.choose, self.aligned, self.teacher = size, choose, aligned, teacher

    def cut(self, photo: np.ndarray) -> CutFace:
        """The face of a photo (H,W,3) uint8 RGB. LeftOut when there is none, or a frame is asked for and it is none."""
        height, width = photo.shape[:2]
        if self.aligned and height != width:
            raise LeftOut("no frame", f"it is {width}x{height}, not a square FFHQ frame")
        face = self._chosen(self.finder(photo), width, height)
        if self.aligned:
            matrix = np.array([[self.size / width, 0, 0], [0, self.size / width, 0]])
        else:
            matrix = frame_matrix(face.landmarks, self.size)
        picture, mask = crop(photo, matrix, self.size), valid_mask(photo.shape, matrix, self.size)
        if not self.aligned and mask.min() < 1:
            picture = np.dstack([picture, np.rint(mask * 255).astype(np.uint8)])
        return CutFace(
            picture=picture,
            landmarks=(apply(matrix, face.landmarks) / self.size).astype(np.float32),
            score=face.score,
            valid=1.0 if self.aligned else float(mask.mean()),
            native_side=float(self.size / np.hypot(*matrix[:, 0])),
            action_units=self._taught(photo, face),
        )

    def measure(self, faces: list[CutFace]) -> list[Measured]:
        """What the package's readers say of faces; action units they never learnt are NaN."""
        pictures = np.stack([face.picture[..., :3] for face in faces])
        with torch.inference_mode():
            read = self.model.read(to_tensor(pictures, self.device))
        units = read.action_units.float().cpu().numpy()
        units[:, [AU_CODES.index(code) for code in AU_UNSEEN]] = np.nan
        ages, poses = read.age.tolist(), read.pose.tolist()
        return [Measured(*row) for row in zip(ages, map(tuple, poses), units, strict=True)]

    def _chosen(self, found: list[FoundFace], width: int, height: int) -> FoundFace:
        if not found:
            raise LeftOut("no face", "no face was found in it")
        if self.choose == "largest" and not self.aligned:
            return found[0]
        centre = np.array([width, height]) / 2
        return min(found, key=lambda face: np.hypot(*((face.box[:2] + face.box[2:]) / 2 - centre)))

    def _taught(self, photo: np.ndarray, face: FoundFace) -> np.ndarray | None:
        if self.teacher is None:
            return None
        wide = crop(photo, frame_matrix(face.landmarks, TEACHER_SIDE, TEACHER_SCALE), TEACHER_SIDE)
        scores = self.teacher(wide)
        if scores is None:
            return None
        return action_units_from_blendshapes(scores[None], self.teacher.names)[0]
