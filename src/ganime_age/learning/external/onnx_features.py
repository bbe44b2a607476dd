"""Features from the middle of an ONNX network, for distances between sets of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import MissingModel
from .onnx_models import ADVICE, onnx_session


class OnnxFeatures:
    """Means over the picture of two inner layers of a convolutional network with additive skips (1,3,S,S), BGR 0..255.

    The layers are the sums a third and two thirds of the way through: texture and parts, not who it is. MissingModel
    where the file, onnx or onnxruntime is missing.
    """

    def __init__(self, file: Path, option: str):
        try:
            import onnx
        except ImportError:
            raise MissingModel(f"onnx is not installed; {ADVICE}") from None
        plain = onnx_session(file, option)  # says in one sentence what is wrong with the file
        graph = onnx.load(file)
        sums = [node.output[0] for node in graph.graph.node if node.op_type == "Add"]
        if len(sums) < 3:
            raise MissingModel(f"{file} has no additive skips to take features from; {option}")
        self.taps = [sums[len(sums) // 3], sums[2 * len(sums) // 3]]
        graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in self.taps)
        self.session = _session(graph.SerializeToString())
        self.input, self.name = plain.get_inputs()[0].name, f"{file.name}, {' and '.join(self.taps)}"
        self.side = plain.get_inputs()[0].shape[-1]

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures (B,S,S,3) uint8 RGB of the network's own side -> (B,D)."""
        blobs = pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        found = [self.session.run(self.taps, {self.input: blob[None]}) for blob in blobs]
        return np.stack([np.concatenate([part[0].mean((1, 2)) for part in maps]) for maps in found])


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
