"""Networks that judge edits, each from a file that the user has: identity, age, action units, hair.

Every judge is called with pictures (B,S,S,3) uint8 RGB in the FFHQ frame, as an edit would be saved, and the landmarks
(B,68,2) in 0..1 of the frame that the *source* faces are labelled with. Alignment by the source's landmarks can neither
hide nor add a difference, and needs no network of ours.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ...edits import AU_CODES, AU_UNSEEN
from ...errors import BadInput, MissingModel
from ...images.alignment import resample
from ...images.tensors import HALF_RANGE, to_tensor
from ...model.model import GanimeAge
from ...networks.aligned.alignment import FIVE_POINTS as ARCFACE_POINTS
from ...networks.judging.age_judge import AgeJudge
from ...networks.warp import fit_similarity
from ..engine.checkpoints import load_light
from .mediapipe_face import BlendshapeReader, action_units_from_blendshapes

ADVICE = "pip install 'ganime_age[evaluate]'"
FIVE_POINTS = {
    128: ((0.3156, 0.4616), (0.6827, 0.4616), (0.5003, 0.6405), (0.3495, 0.8247), (0.6534, 0.8247)),
    112: ARCFACE_POINTS,
}
"""Where eyes, nose tip and mouth corners go, in 0..1 of the side: the retail re-identification nets' positions at
128 px, ArcFace's at 112 px and every other size."""


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eyes, nose tip and mouth corners (5,2) of 68 iBUG landmarks."""
    return np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), *landmarks[[30, 48, 54]]])


def similarity(points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Turn, scale and shift (2,3) that brings points (N,2) closest to goal (N,2), by least squares."""
    one, other = (torch.from_numpy(np.asarray(values, np.float64))[None] for values in (points, goal))
    fit = fit_similarity(one, other)
    return torch.cat([fit.matrix[0], fit.shift[0, :, None]], 1).numpy()


def onnx_session(file: Path, option: str) -> Any:
    """An ONNX file ready to run on as many threads as torch; MissingModel names the file and the option."""
    if not file.is_file():
        raise MissingModel(f"{file} is missing; {option}")
    try:
        import onnxruntime
    except ImportError:
        raise MissingModel(f"onnxruntime is not installed; {ADVICE}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes are not public
        raise MissingModel(f"{file} is not a network that onnxruntime can load: {error}") from None


class OnnxIdentity:
    """An embedding network (1,3,S,S), BGR 0..255, such as face_reid_0095; unit embeddings (B,D) come out."""

    def __init__(self, file: Path, option: str = "name another identity judge with --judges"):
        self.session, self.name = onnx_session(file, option), file.name
        self.input = self.session.get_inputs()[0]
        self.side = self.input.shape[-1]
        if len(self.input.shape) != 4 or self.input.shape[1] != 3 or not isinstance(self.side, int):
            raise MissingModel(f"{file} takes {self.input.shape}; an identity judge takes faces (1,3,S,S)")
        self.goal = np.array(FIVE_POINTS.get(self.side, FIVE_POINTS[112])) * self.side

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> (B,D) unit length; cosine tells how alike two persons are."""
        found = [self.embed(*pair) for pair in zip(pictures, landmarks, strict=True)]
        return np.stack(found) / np.linalg.norm(found, axis=1, keepdims=True)

    def embed(self, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        matrix = similarity(five_points(landmarks) * len(picture), self.goal)
        face = resample(picture, matrix, (self.side, self.side), cv2.BORDER_REPLICATE)
        blob = face[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        return self.session.run(None, {self.input.name: blob})[0].reshape(-1)


class AgeNetwork:
    """The project's own age judge, `age_judge.json` and `age_judge.safetensors` of a folder."""

    def __init__(self, folder: Path, device: str | torch.device = "cpu"):
        self.name, self.device = "AgeJudge", torch.device(device)
        try:
            self.network = load_light(AgeJudge, folder, "age_judge").requires_grad_(False).to(device)
        except BadInput as error:
            raise MissingModel(f"the age judge in {folder} cannot be loaded: {error}") from None

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> (B,) years."""
        return self.network(to_tensor(pictures, self.device)).cpu().numpy()

    def features(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> (B,128), for the kernel distance."""
        return self.network.features(to_tensor(pictures, self.device)).cpu().numpy()


class Blendshapes:
    """MediaPipe's FaceLandmarker: its 52 blendshapes as action units, by the rule of `blendshapes.py`.

    Its detector looks for a face of middle size; where it finds none in the frame, the picture is shown once more
    with a border of 35 % of its side around it.
    """

    def __init__(self, file: Path, option: str = "name another expression judge with --judges"):
        if not file.is_file():
            raise MissingModel(f"{file} is missing; {option}")
        try:
            self.reader = BlendshapeReader(file)
        except BadInput as error:
            raise MissingModel(str(error)) from None
        weakref.finalize(self, self.reader.close)  # at exit it would find its library gone
        self.name = f"MediaPipe blendshapes ({file.name})"

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> (B,17) intensities 0..5; NaN for what it cannot see, and for a face that it does not find."""
        return np.stack([self.read(picture) for picture in pictures])

    def read(self, picture: np.ndarray) -> np.ndarray:
        """One picture (S,S,3) -> (17,)."""
        large = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_CUBIC)
        for border in (0, 90):
            shown = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
            scores = self.reader(shown)
            if scores is not None:
                return action_units_from_blendshapes(scores[None], self.reader.names)[0]
        return np.full(len(AU_CODES), np.nan, np.float32)


class HairNetwork:
    """A hair segmentation network (B,256,256,3) RGB in [-1,1] -> (B,256,256,1) in 0..1, such as PrismaNet."""

    def __init__(self, file: Path, option: str = "name another hair judge with --judges"):
        self.session, self.name = onnx_session(file, option), file.name

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> (B,S,S) bool, where there is hair."""
        return self.chances(pictures, pictures.shape[1]) > 0.5

    def chances(self, pictures: np.ndarray, side: int) -> np.ndarray:
        """-> (B,side,side) in 0..1, how likely there is hair."""
        large = np.stack([cv2.resize(p, (256, 256), interpolation=cv2.INTER_CUBIC) for p in pictures])
        blob = large.astype(np.float32) / HALF_RANGE - 1  # channels last, as this network takes them
        found = self.session.run(None, {self.session.get_inputs()[0].name: blob})[0][..., 0]
        return np.stack([cv2.resize(c, (side, side), interpolation=cv2.INTER_AREA) for c in found])


class OwnReaders:
    """The readers of the weights that are measured: no independent judge, but at hand everywhere."""

    def __init__(self, model: GanimeAge, reading: str):
        model.require("readers")
        self.model, self.reading, self.name = model, reading, "the package's own readers"

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """-> what `Readings` holds under the name `reading`; an action unit that is never seen is NaN."""
        shown = to_tensor(pictures, next(self.model.parameters()).device)
        out = getattr(self.model.read(shown), self.reading).cpu().numpy().copy()
        if self.reading == "action_units":
            out[:, [AU_CODES.index(code) for code in AU_UNSEEN]] = np.nan
        return out
