"""One face of one photo on its way through an edit: how it lies there, how it reads, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..edits import AU_CODES, AU_MAX
from ..images.alignment import apply, invert, paste
from ..images.detectors import FoundFace
from ..networks.layers import Edited
from ..provenance.watermark import marked
from ..results import EditResult, Reading

YAW_LIMIT = 40.0
SMALL_FACE = 48


@dataclass(frozen=True, eq=False)
class Aligned:
    """One face of one photo, ready to be edited.

    photo: (H,W,3) uint8. matrix: (2,3), from its pixels to those of the frame. box: (4,), x0 y0 x1 y1 in its pixels.
    face: (S,S,3) uint8, what the frame cuts out. warnings: sentences about this face.
    """

    photo: np.ndarray
    matrix: np.ndarray
    box: np.ndarray
    face: np.ndarray
    reading: Reading
    warnings: tuple[str, ...]


def pasted(aligned: Aligned, after: np.ndarray, mark: bool) -> np.ndarray:
    """The whole photo (H,W,3) uint8 with the edited face (S,S,3) float32 0..255 in it, watermarked or not."""
    return paste(aligned.photo, aligned.face, marked(after) if mark else after, aligned.matrix)


def pictured(edited: Edited) -> tuple[np.ndarray, np.ndarray]:
    """One face that a network drew, (1,3,S,S) in [-1,1]: (S,S,3) float32 0..255, and its attention (S,S) uint8."""
    face = ((edited.face[0].float().clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0)
    attention = edited.attention[0, 0].float().clamp(0, 1) * 255
    return face.cpu().numpy(), attention.round().byte().cpu().numpy()


def compared(before: Aligned, after: Aligned, attention: np.ndarray, **told: Any) -> EditResult:
    """A face before and after an edit as a result. attention: (s,s) uint8. told: the other fields of EditResult."""
    size = len(before.face)
    shown = Image.fromarray(attention)
    return EditResult(
        image=Image.fromarray(after.photo),
        face=Image.fromarray(after.face),
        source_face=Image.fromarray(before.face),
        attention=shown if len(attention) == size else shown.resize((size, size), Image.Resampling.BILINEAR),
        reading=after.reading,
        source_reading=before.reading,
        identity=float(np.dot(after.reading.identity, before.reading.identity)),
        **told,
    )


def reading_of(row: tuple[Any, ...], matrix: np.ndarray, box: np.ndarray, size: int) -> Reading:
    """One row of the readers' tensors as plain numbers, its landmarks moved from the frame into the photo."""
    age, spread, units, landmarks, pose, identity, attention = row
    points = apply(invert(matrix), landmarks.astype(np.float64) * size)
    yaw, pitch, roll = (float(v) for v in pose)
    intensities = {code: min(float(v), AU_MAX) for code, v in zip(AU_CODES, units, strict=True)}
    return Reading(
        float(age),
        float(spread),
        intensities,
        points.astype(np.float32),
        yaw,
        pitch,
        roll,
        box,
        identity,
        attention,
    )


def warnings_of(
    pixels: np.ndarray, found: list[FoundFace], index: int, reading: Reading, role: str
) -> tuple[str, ...]:
    """Sentences about a face that was found in a photo. role: what it is for, as "is edited"."""
    face, said = found[index], []
    height, width = pixels.shape[:2]
    if len(found) > 1:
        said.append(f"{len(found)} faces were found; face {index} {role} (0 is the largest)")
    if abs(reading.yaw) > YAW_LIMIT:
        said.append(
            f"the head is turned by {abs(reading.yaw):.0f} degrees; the edit is weaker beyond {YAW_LIMIT:.0f}"
        )
    if (face.landmarks < 0).any() or (face.landmarks > (width, height)).any():
        said.append("the photo's border cuts the face; the part that is missing cannot be edited")
    if min(face.box[2] - face.box[0], face.box[3] - face.box[1]) < SMALL_FACE:
        said.append(f"the face is smaller than {SMALL_FACE} pixels; a larger photo gives a better edit")
    return tuple(said)


def counted(found: list[FoundFace]) -> str:
    return "1 face" if len(found) == 1 else f"{len(found)} faces"
