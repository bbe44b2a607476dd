"""Faces that lie on the GPU: pictures as bytes and labels as they are, so that a batch costs one gather and no copy.

46,000 faces at 256 px take 12 GB. Batches are equal, bit for bit, to those that `Faces.batch` makes on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...images.tensors import to_unit
from ...networks.mirror import mirrored_landmarks, mirrored_pose

if TYPE_CHECKING:
    from .faces import Faces
    from .joined_faces import JoinedFaces

SHARE = 0.4
"""Of the free memory of a GPU, what faces may take when nobody says more; training needs the rest."""
CHUNK = 64 << 20
"""Bytes that are on their way to the device at once."""


class ResidentFaces:
    """All faces of `faces` on a device; they are brought there for the first batch."""

    def __init__(self, faces: Faces | JoinedFaces, device: torch.device):
        self.faces, self.device = faces, device
        self.pictures: Tensor | None = None
        self.labels: dict[str, Tensor] = {}

    def load(self) -> Tensor:
        """Bring everything to the device -> pictures (N,4,S,S) uint8. BadInput when its memory does not suffice."""
        if self.pictures is not None:
            return self.pictures
        count, side = len(self.faces), self.faces.size
        try:
            pictures = torch.empty(count, 4, side, side, dtype=torch.uint8, device=self.device)
            step = max(CHUNK // (4 * side**2), 1)
            for start in range(0, count, step):
                rows = np.arange(start, min(start + step, count))
                pictures[start : start + len(rows)] = torch.from_numpy(self.faces.pixels(rows))
            for name, values in self.faces.labels.items():
                self.labels[name] = torch.from_numpy(np.array(values)).to(self.device)
        except torch.OutOfMemoryError:
            raise BadInput(
                f"{count} faces at {side} px do not fit on {self.device}; set run.resident to false"
            ) from None
        self.pictures = pictures
        return pictures

    def batch(self, indices: np.ndarray, mirror: np.ndarray) -> dict[str, Tensor]:
        """As `Faces.batch`, on the device. Only the numbers of the faces travel, and the host does not wait."""
        pictures = self.load()
        asked = torch.from_numpy(np.stack([indices, mirror]).astype(np.int64))
        if self.device.type == "cuda":
            asked = asked.pin_memory()
        chosen, flags = asked.to(self.device, non_blocking=True).unbind(0)
        mirrored = flags.bool()
        out = {name: values[chosen] for name, values in self.labels.items()}
        marks, pose = out["landmarks"], out["pose"]
        out["landmarks"] = torch.where(mirrored[:, None, None], mirrored_landmarks(marks), marks)
        out["pose"] = torch.where(mirrored[:, None], mirrored_pose(pose), pose)
        pixels = pictures[chosen]
        pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        out["face"], out["valid"] = to_unit(pixels[:, :3]), pixels[:, 3:].float() / 255
        return out


def bytes_of(faces: Faces | JoinedFaces) -> int:
    """What the faces take on a device."""
    return len(faces) * 4 * faces.size**2 + sum(values.nbytes for values in faces.labels.values())


def reside(faces: Faces | JoinedFaces, device: torch.device, wanted: str | bool = "auto") -> bool:
    """Let the faces' batches come from the device from now on; returns whether they do.

    wanted: true or false, or auto, which says true for a GPU whose free memory they take at most SHARE of. BadInput
    when they are wanted on a GPU and do not fit there.
    """
    if wanted is False or (wanted == "auto" and device.type != "cuda"):
        return False
    if device.type == "cuda":
        needed, free = bytes_of(faces), torch.cuda.mem_get_info(device)[0]
        if wanted == "auto" and needed > SHARE * free:
            return False
        if needed > free:
            raise BadInput(
                f"{len(faces)} faces at {faces.size} px take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free on "
                f"{device}; set run.resident to auto or false"
            )
    faces.resident = ResidentFaces(faces, device)
    return True
