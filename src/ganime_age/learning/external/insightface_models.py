"""Judges from an InsightFace model pack that the user already has; nothing is downloaded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import MissingModel
from ...images.boxes import face_box
from .onnx_models import five_points

TASKS = {"recognition": "identity", "genderage": "age"}
"""InsightFace's name of a task -> what it judges."""


class PackJudge:
    """One network of a pack: (B,D) unit embeddings of a recognition model, or (B,) years of a genderage one."""

    def __init__(self, network: Any, name: str):
        self.network, self.name = network, name

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Pictures (B,S,S,3) uint8 RGB, landmarks (B,68,2) in 0..1 of the frame."""
        found = [self.look(*pair) for pair in zip(pictures, landmarks, strict=True)]
        return np.asarray(found, np.float32)

    def look(self, picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        points = landmarks * len(picture)
        face = _Face(kps=five_points(points).astype(np.float32), bbox=face_box(points))
        self.network.get(np.ascontiguousarray(picture[..., ::-1]), face)
        if self.network.taskname == "genderage":
            return face["age"]
        return face["embedding"] / np.linalg.norm(face["embedding"])


class _Face(SimpleNamespace):
    """What InsightFace's networks read from and write to, by attribute or by key."""

    __setitem__, __getitem__ = SimpleNamespace.__setattr__, SimpleNamespace.__getattribute__


def group_photo() -> np.ndarray | None:
    """The photo `t1` of InsightFace's package, six people, uint8 (H,W,3) RGB; None where it is not installed."""
    try:
        from insightface.data import get_image
    except ImportError:
        return None
    return np.ascontiguousarray(get_image("t1")[..., ::-1])


def pack_judges(pack: str, root: Path | None) -> dict[str, PackJudge]:
    """The judges that a pack can be, by kind. root: holds `models/PACK` or `insightface/models/PACK`; by default
    `~/.insightface`. MissingModel when the package or the pack is not there, or holds no network that judges."""
    places = [root / "models", root / "insightface" / "models"] if root else []
    places.append(Path.home() / ".insightface" / "models")
    folder = next((place / pack for place in places if any((place / pack).glob("*.onnx"))), None)
    if folder is None:
        raise MissingModel(f"{places[0] / pack} holds no InsightFace models; put the pack {pack} there")
    judges = {}
    for file in sorted(folder.glob("*.onnx")):
        network = _load(file)
        kind = TASKS.get(getattr(network, "taskname", ""))
        if kind:
            judges[kind] = PackJudge(network, f"InsightFace {pack}/{file.name}")
    if not judges:
        raise MissingModel(f"the pack {folder} has neither a recognition nor a genderage model; name another")
    return judges


def _load(file: Path) -> Any:
    """One network of a pack; what InsightFace prints is swallowed."""
    try:
        from insightface.model_zoo import get_model
    except ImportError:
        raise MissingModel("InsightFace is not installed; pip install insightface onnxruntime") from None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return get_model(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # whatever onnx, onnxruntime or InsightFace raise on a damaged file
        raise MissingModel(f"{file} cannot be loaded by InsightFace: {error}") from None
