"""Face detectors: the network that ships with the package, and InsightFace's. Each gives boxes and 68 landmarks.

Positions are continuous pixels, as in alignment.py. Photos are uint8 RGB (H,W,3).
"""

import contextlib
import importlib.util
import io
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import MissingModel
from .alignment import crop, shrink
from .search import THRESHOLD, FaceSearch, FoundFace, check_photo, largest_first
from .tensors import to_tensor

if TYPE_CHECKING:
    from ..networks.detector import FaceDetector


Landmarker = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(photo, box (4,), five points (5,2)) -> landmarks (68,2), all in photo pixels."""


class EmbeddedDetector(FaceSearch):
    """Finds faces with the network that ships with the package; no download, no further package.

    network: a trained FaceDetector (a copy in evaluation form is kept, on the network's device). max_side: photos are
    searched at this size, landmarks are read from the full photo. threshold: least score (0..1) of a face.
    """

    def __init__(self, network: "FaceDetector", max_side: int = 1024, threshold: float = THRESHOLD):
        super().__init__(network.crop_side, max_side, threshold)
        self.network = folded(network)

    @torch.inference_mode()
    def propose(self, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As FaceSearch.propose."""
        sought = self.network.propose(self._tensor([level]))
        return sought.logits[0, 0].sigmoid().flatten().cpu().numpy(), sought.frames[0].flatten(
            1
        ).T.cpu().numpy()

    @torch.inference_mode()
    def locate(self, crops: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """As FaceSearch.locate."""
        marked = self.network.locate(self._tensor(crops))
        return marked.landmarks.double().cpu().numpy(), marked.logits.sigmoid().cpu().numpy()

    def shrink(self, photo: np.ndarray, width: int, height: int) -> np.ndarray:
        """As FaceSearch.shrink."""
        return shrink(photo, width, height)

    def crop(self, photo: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
        """As alignment.crop."""
        return crop(photo, matrix, size, rounded=False)

    def _tensor(self, pictures: list[np.ndarray]) -> torch.Tensor:
        device = next(self.network.parameters()).device
        return to_tensor(np.stack(pictures), device).contiguous(memory_format=torch.channels_last)


def folded(network: "FaceDetector") -> "FaceDetector":
    """A copy for evaluation whose normalisations are folded into the convolutions."""
    network = deepcopy(network).float().eval().requires_grad_(False)
    for module in list(network.modules()):
        conv, norm = getattr(module, "conv", None), getattr(module, "norm", None)
        if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
            module.conv, module.norm = fuse_conv_bn_eval(conv, norm), torch.nn.Identity()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it


PACKS = Path.home() / ".insightface"
"""Where InsightFace looks for `models/PACK`."""
LICENCE = (
    "InsightFace's public models are for non-commercial research only; its code is under the MIT licence"
)


def installed_pack() -> str | None:
    """The pack that InsightFace would use by itself: buffalo_l, else the first of `~/.insightface/models`; None where
    the package is not installed or no pack is there. Nothing is imported."""
    if importlib.util.find_spec("insightface") is None or importlib.util.find_spec("onnxruntime") is None:
        return None
    packs = sorted({file.parent.name for file in (PACKS / "models").glob("*/*.onnx")})
    return "buffalo_l" if "buffalo_l" in packs else next(iter(packs), None)


class InsightFaceDetector:
    """Finds faces with InsightFace (optional) and a model pack that the user already has; nothing is downloaded.

    root: the folder that holds `models/NAME`, by default `~/.insightface`. landmarker: where 68 landmarks come from
    when the pack has only a detector (`EmbeddedDetector.landmarks` fits). device: where it computes, a CPU or a CUDA
    device. MissingModel when the package or the folder is not there, or cannot compute there. See LICENCE.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        name: str = "buffalo_l",
        landmarker: Landmarker | None = None,
        device: str | torch.device = "cpu",
    ):
        root, folder = _pack(root, name, "use the embedded detector")
        self.landmarker = landmarker
        self.analysis = _face_analysis(root, name, ["detection", "landmark_3d_68"], device)
        if landmarker is None and "landmark_3d_68" not in self.analysis.models:
            raise MissingModel(
                f"the pack {folder} has no model for 68 landmarks; give a landmarker, or use another pack"
            )

    def __call__(self, photo: np.ndarray) -> list[FoundFace]:
        """Every face of a photo (H,W,3) uint8 RGB, the largest box first."""
        check_photo(photo)
        found = []
        for face in self.analysis.get(np.ascontiguousarray(photo[..., ::-1])):
            landmarks = self._landmarks(photo, face)
            found.append(
                FoundFace(np.float32(face.bbox), float(face.det_score), landmarks.astype(np.float32))
            )
        return largest_first(found)

    def _landmarks(self, photo: np.ndarray, face: Any) -> np.ndarray:
        if self.landmarker is None:
            return np.asarray(face.landmark_3d_68)[:, :2]
        return self.landmarker(photo, face.bbox, face.kps)


class InsightFaceIdentity:
    """Tells who somebody is by a pack's recognition network; root, name and device as for InsightFaceDetector."""

    def __init__(
        self, root: str | Path | None = None, name: str = "buffalo_l", device: str | torch.device = "cpu"
    ):
        root, folder = _pack(root, name, "leave the identity to the weights' own reader")
        network = _face_analysis(root, name, ["detection", "recognition"], device).models.get("recognition")
        if network is None:
            raise MissingModel(f"the pack {folder} has no recognition model; name another")
        self.network, self.name = network, f"InsightFace {name}"

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Pictures (B,S,S,3) uint8 RGB, landmarks (B,68,2) in 0..1 of the picture -> (B,D) of unit length."""
        codes = []
        for picture, marks in zip(pictures, landmarks, strict=True):
            points = marks * len(picture)
            five = [points[36:42].mean(0), points[42:48].mean(0), *points[[30, 48, 54]]]
            face = _Points(kps=np.asarray(five, np.float32))
            self.network.get(np.ascontiguousarray(picture[..., ::-1]), face)
            codes.append(face["embedding"] / np.linalg.norm(face["embedding"]))
        return np.asarray(codes, np.float32)


class _Points(SimpleNamespace):
    """What InsightFace's networks read from and write to, by attribute or by key."""

    __setitem__, __getitem__ = SimpleNamespace.__setattr__, SimpleNamespace.__getattribute__


def _pack(root: str | Path | None, name: str, instead: str) -> tuple[Path, Path]:
    """The root and the folder of a pack that is there; MissingModel otherwise."""
    root = Path(root).expanduser() if root else PACKS
    folder = root / "models" / name
    if not any(folder.glob("*.onnx")):
        raise MissingModel(f"{folder} holds no InsightFace models; put the pack {name} there or {instead}")
    return root, folder


def _face_analysis(root: Path, name: str, modules: list[str], device: str | torch.device) -> Any:
    """InsightFace's FaceAnalysis over a pack that is there; what it prints is swallowed."""
    try:
        from insightface.app import FaceAnalysis
    except ImportError:
        raise MissingModel("InsightFace is not installed; pip install insightface onnxruntime") from None
    number, providers = _runs_on(torch.device(device))
    with contextlib.redirect_stdout(io.StringIO()):
        analysis = FaceAnalysis(name=name, root=str(root), allowed_modules=modules, providers=providers)
        analysis.prepare(ctx_id=number)
    return analysis


def _runs_on(device: torch.device) -> tuple[int, list[str]]:
    """InsightFace's number of a device, -1 for the CPU, and onnxruntime's providers for it. It knows no MPS: there it
    computes on the CPU. MissingModel when onnxruntime cannot use a CUDA device."""
    if device.type != "cuda":
        return -1, ["CPUExecutionProvider"]
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise MissingModel(
            "onnxruntime computes on the CPU only here, so InsightFace cannot use the device cuda; pip install "
            "onnxruntime-gpu, or choose the device cpu"
        )
    return device.index or 0, ["CUDAExecutionProvider", "CPUExecutionProvider"]
