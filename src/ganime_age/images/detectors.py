"""Face detectors: the network that ships with the package, and InsightFace's. Each gives boxes and 68 landmarks.

Positions are continuous pixels, as in alignment.py. Photos are uint8 RGB (H,W,3).
"""

import contextlib
import io
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import BadInput, MissingModel
from .alignment import apply, axes_matrix, crop, ffhq_axes, invert
from .boxes import face_box, keep_apart
from .tensors import to_tensor

if TYPE_CHECKING:
    from ..networks.detector import FaceDetector


FACE_CENTRE = (0.5, 0.6)  # of the frame: between eyes and mouth, where the detector looks for a face


MARKER_SPAN = 0.95  # side of the marker's crop, in frames


FINEST_SIDE = 768  # longest side in pixels of the pyramid's finest level


COARSEST_SIDE = 28


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo."""

    box: np.ndarray  # (4,) float32 left, top, right, bottom in photo pixels, forehead to chin
    score: float  # 0..1
    landmarks: np.ndarray  # (68,2) float32 photo pixels, iBUG order


Landmarker = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(photo, box (4,), five points (5,2)) -> landmarks (68,2), all in photo pixels."""


def _check_photo(photo: np.ndarray) -> None:
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        raise BadInput("the photo must be a uint8 array (H,W,3) in RGB; load_photo makes one from a file")


def _largest_first(faces: list[FoundFace]) -> list[FoundFace]:
    return sorted(faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))


class EmbeddedDetector:
    """Finds faces with the network that ships with the package; no download, no further package.

    network: a trained FaceDetector (a copy in evaluation form is kept, on the network's device). max_side: photos are
    searched at this size, landmarks are read from the full photo. threshold: least score (0..1) of a face.
    """

    def __init__(self, network: "FaceDetector", max_side: int = 1024, threshold: float = 0.5):
        self.network = _folded(network)
        self.max_side, self.threshold = max_side, threshold

    def __call__(self, photo: np.ndarray) -> list[FoundFace]:
        """Every face of a photo (H,W,3) uint8 RGB, the largest box first. Where none is upright, the photo is
        searched once more on its left and on its right side."""
        _check_photo(photo)
        found = self._upright(photo) or self._lying(photo, 1) + self._lying(photo, 3)
        landmarks = [points for points, _ in found]
        scores = np.array([score for _, score in found])
        boxes = np.array([face_box(points) for points in landmarks])
        kept = keep_apart(boxes, scores)
        return _largest_first(
            [FoundFace(boxes[i], float(scores[i]), landmarks[i].astype(np.float32)) for i in kept]
        )

    def _upright(self, photo: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Landmarks (68,2) in photo pixels and score of every face within about 40 degrees of upright."""
        rows, sought = self._seek(photo)
        if not len(rows):
            return []
        landmarks, scores = self._mark(photo, rows, sought)
        return [
            (points, float(s)) for points, s in zip(landmarks, scores, strict=True) if s >= self.threshold
        ]

    def _lying(self, photo: np.ndarray, quarters: int) -> list[tuple[np.ndarray, float]]:
        """The same of a photo turned by 1 or 3 quarters counter-clockwise, in pixels of the photo as it is."""
        height, width = photo.shape[:2]
        back = (
            np.array([[0, -1, width], [1, 0, 0]]) if quarters == 1 else np.array([[0, 1, 0], [-1, 0, height]])
        )
        return [(apply(back, points), s) for points, s in self._upright(np.rot90(photo, quarters).copy())]

    def landmarks(self, photo: np.ndarray, box: np.ndarray, points: np.ndarray) -> np.ndarray:
        """68 landmarks (68,2) of a face that another detector found, from its five points (5,2): a Landmarker."""
        centre, axis = ffhq_axes(*np.asarray(points, np.float64)[[0, 1, 3, 4]])
        row = _row_of(centre, axis)
        first, _ = self._look(photo, row[None])
        return self._look(photo, _next_row(first[0], row)[None])[0][0]

    def _seek(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frame rows (N,4) in photo pixels and scores (N,) of candidates, doubles removed."""
        found_rows, found_scores = [np.zeros((0, 4))], [np.zeros(0)]
        for level, scale in pyramid(photo, min(self.max_side, FINEST_SIDE)):
            found, score = self._seek_level(level)
            found_rows.append((found - (LEVEL_MARGIN, LEVEL_MARGIN, 0, 0)) / scale)
            found_scores.append(score)
        rows, scores = np.concatenate(found_rows), np.concatenate(found_scores)
        reach = 0.28 * np.hypot(rows[:, 2], rows[:, 3])[:, None]
        kept = keep_apart(np.c_[rows[:, :2] - reach, rows[:, :2] + reach], scores, inside=1.0)[
            :MOST_CANDIDATES
        ]
        return rows[kept], scores[kept]

    @torch.inference_mode()
    def _seek_level(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sought = self.network.propose(self._tensor([level]))
        scores = sought.logits[0, 0].sigmoid().flatten()
        best = scores.topk(min(MOST_CANDIDATES, len(scores)))
        likely = best.indices[
            best.values >= self.threshold**2
        ]  # a lower one cannot pass, whatever the marker says
        return sought.frames[0].flatten(1)[:, likely].T.double().cpu().numpy(), scores[likely].cpu().numpy()

    def _mark(self, photo: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (M,68,2) in photo pixels and scores (M,) of frame rows (N,4) with scores (N,). Two passes:
        candidates whose score after the first pass is below 0.2 are dropped; the rest are re-cropped by their
        predicted landmarks and evaluated again."""
        landmarks, faces = self._look(photo, rows)
        hope = np.sqrt(faces * scores) >= min(LEAST_HOPE, self.threshold)
        rows = np.array([_next_row(*pair) for pair in zip(landmarks[hope], rows[hope], strict=True)])
        if not len(rows):
            return landmarks[hope], scores[hope]
        landmarks, faces = self._look(photo, rows)
        return landmarks, np.sqrt(faces * scores[hope])

    @torch.inference_mode()
    def _look(self, photo: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (N,68,2) in photo pixels and the marker's face scores (N,) of frame rows (N,4), N > 0."""
        side = self.network.crop_side
        matrices = [axes_matrix(row[:2], row[2:], side, MARKER_SPAN) for row in rows]
        marked = self.network.locate(self._tensor([crop(photo, m, side) for m in matrices]))
        inside = marked.landmarks.double().cpu().numpy() * side
        landmarks = np.stack([apply(invert(m), p) for m, p in zip(matrices, inside, strict=True)])
        return landmarks, marked.logits.sigmoid().cpu().numpy()

    def _tensor(self, pictures: list[np.ndarray]) -> torch.Tensor:
        device = next(self.network.parameters()).device
        return to_tensor(np.stack(pictures), device).contiguous(memory_format=torch.channels_last)


LEVEL_MARGIN = 16  # grey pixels around each level, so that faces at the border have surroundings


MOST_CANDIDATES = 48


LEAST_HOPE = 0.2  # score at the first look below which there is no second


def _folded(network: "FaceDetector") -> "FaceDetector":
    """A copy for evaluation whose normalisations are folded into the convolutions."""
    network = deepcopy(network).float().eval().requires_grad_(False)
    for module in list(network.modules()):
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
            module.conv, module.norm = fuse_conv_bn_eval(conv, norm), torch.nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it


def pyramid(photo: np.ndarray, finest: int) -> list[tuple[np.ndarray, float]]:
    """Levels of a photo from `finest` pixels (longest side; never enlarged) down by halves, in a grey margin, with
    their scale to the photo."""
    scale, levels, small = min(1.0, finest / max(photo.shape[:2])), [], photo
    while max(photo.shape[:2]) * scale >= COARSEST_SIDE:
        height, width = (max(1, round(n * scale)) for n in photo.shape[:2])
        small = small if scale == 1 else cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA)
        below, right = (LEVEL_MARGIN + -n % 8 for n in (height, width))
        around = LEVEL_MARGIN, below, LEVEL_MARGIN, right
        levels.append((cv2.copyMakeBorder(small, *around, cv2.BORDER_CONSTANT, value=(128,) * 3), scale))
        scale /= 2
    return levels


def _row_of(centre: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Frame row (4,): the face centre within the frame, and the frame's x side."""
    down = np.array([-axis[1], axis[0]])
    return np.r_[centre + (FACE_CENTRE[0] - 0.5) * axis + (FACE_CENTRE[1] - 0.5) * down, axis]


def _next_row(landmarks: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The frame row of landmarks (68,2), or the one before where they fell apart."""
    eyes = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    with contextlib.suppress(BadInput):
        centre, axis = ffhq_axes(*eyes, landmarks[48], landmarks[54])
        if 0.3 < np.hypot(*axis) / np.hypot(*row[2:]) < 3:
            return _row_of(centre, axis)
    return row


class InsightFaceDetector:
    """Finds faces with InsightFace (optional) and a model pack that the user already has; nothing is downloaded.

    root: the folder that holds `models/NAME`, by default `~/.insightface`. landmarker: where 68 landmarks come from
    when the pack has only a detector (`EmbeddedDetector.landmarks` fits). MissingModel when the package or the folder
    is not there. The public packs are for non-commercial research.
    """

    def __init__(
        self, root: str | Path | None = None, name: str = "buffalo_l", landmarker: Landmarker | None = None
    ):
        root = Path(root).expanduser() if root else Path.home() / ".insightface"
        folder = root / "models" / name
        if not any(folder.glob("*.onnx")):
            raise MissingModel(
                f"{folder} holds no InsightFace models; put the pack {name} there or use the embedded detector"
            )
        self.landmarker = landmarker
        self.analysis = _face_analysis(root, name)
        if landmarker is None and "landmark_3d_68" not in self.analysis.models:
            raise MissingModel(
                f"the pack {folder} has no model for 68 landmarks; give a landmarker, or use another pack"
            )

    def __call__(self, photo: np.ndarray) -> list[FoundFace]:
        """Every face of a photo (H,W,3) uint8 RGB, the largest box first."""
        _check_photo(photo)
        found = []
        for face in self.analysis.get(np.ascontiguousarray(photo[..., ::-1])):
            landmarks = self._landmarks(photo, face)
            found.append(
                FoundFace(np.float32(face.bbox), float(face.det_score), landmarks.astype(np.float32))
            )
        return _largest_first(found)

    def _landmarks(self, photo: np.ndarray, face: Any) -> np.ndarray:
        if self.landmarker is None:
            return np.asarray(face.landmark_3d_68)[:, :2]
        return self.landmarker(photo, face.bbox, face.kps)


def _face_analysis(root: Path, name: str) -> Any:
    """InsightFace's FaceAnalysis over a pack that is there; what it prints is swallowed."""
    try:
        from insightface.app import FaceAnalysis
    except ImportError:
        raise MissingModel("InsightFace is not installed; pip install insightface onnxruntime") from None
    with contextlib.redirect_stdout(io.StringIO()):
        analysis = FaceAnalysis(name=name, root=str(root), allowed_modules=["detection", "landmark_3d_68"])
        analysis.prepare(ctx_id=-1)
    return analysis
