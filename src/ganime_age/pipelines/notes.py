"""What is said of one face, as numbers and as sentences. NumPy alone: whatever runs the networks says the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ..edits import AU_CODES, AU_MAX
from ..images.frames import apply, invert
from ..images.search import FoundFace
from ..results import Reading

YAW_LIMIT = 40.0
"""Degrees of yaw beyond which an edit is told to be weaker."""
SWAPPED = 1.1
"""Blue above red in the middle of a face from which on the channels of an array look exchanged: of 2,017 training faces
1 in 1,000 lies above it as it is, and 95 in 100 with the channels exchanged (most of the others are grey)."""
BGR = (
    "the face is bluer than skin is; if OpenCV read the photo, its channels are BGR: give photo[..., ::-1], or of a \
tensor (C,H,W) photo.flip(-3)"
)
"""What is said then."""
SMALL_FACE = 48
"""Pixels of a box's shorter side below which a larger photo is recommended."""


def count_faces(found: list[FoundFace]) -> str:
    """`1 face`, `2 faces`."""
    return "1 face" if len(found) == 1 else f"{len(found)} faces"


def reading_of(row: Sequence[np.ndarray], matrix: np.ndarray, size: int, box: np.ndarray) -> Reading:
    """What the readers measure on one face, as plain numbers, its landmarks moved from the frame of `size` pixels into
    the photo. matrix (2,3): from the photo to the frame."""
    age, spread, units, landmarks, pose, identity, attention = row
    points = apply(invert(matrix), landmarks.astype(np.float64) * size)
    yaw, pitch, roll = (float(v) for v in pose)
    return Reading(
        age=float(age),
        age_spread=float(spread),
        action_units={code: min(float(v), AU_MAX) for code, v in zip(AU_CODES, units, strict=True)},
        landmarks=points.astype(np.float32),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        box=box,
        identity=identity,
        age_attention=attention,
    )


def looks_swapped(face: np.ndarray) -> bool:
    """Does an aligned face (S,S,3) uint8 look as if red and blue were exchanged? Skin of every tone, in nearly every
    light, is redder than it is blue."""
    side = len(face)
    red, _, blue = face[side * 3 // 8 : side * 3 // 4, side // 3 : side * 2 // 3].reshape(-1, 3).mean(0)
    return bool(blue > SWAPPED * red)


def warn_of_bgr(face: np.ndarray) -> None:
    """Give Python's warning where an aligned face (S,S,3) uint8 looks so; for methods whose result holds none. It names
    the line that called the method."""
    if looks_swapped(face):
        warnings.warn(BGR, stacklevel=3)


def warnings_of(
    size: tuple[int, int],
    found: Sequence[FoundFace],
    index: int,
    reading: Reading,
    aligned: np.ndarray | None,
    role: str = "is edited",
) -> tuple[str, ...]:
    """Sentences about a face that was found in a photo of size (width, height). aligned (S,S,3) uint8: the face, where
    the photo was given as numbers. role: what it is for."""
    (width, height), face, said = size, found[index], []
    if aligned is not None and looks_swapped(aligned):
        said.append(BGR)
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
