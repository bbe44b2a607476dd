"""From a photo to tensors and back, for those who work on faces themselves:

    photo = load_photo("portrait.jpg")                    # (H,W,3) uint8 RGB
    matrix = align(photo, model)[0]                       # of the largest face: photo pixels -> pixels of the face
    face = crop(photo, matrix, model.face_size)           # (1,3,S,S) in [-1,1]
    edited = model(face, age=70)                          # or any network of one's own
    older = paste(photo, face, edited.face, matrix)       # (H,W,3) uint8; only what changed is added

`FaceEditor` does more: it marks what it edits and works at the photo's own size.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput
from ..images import alignment
from ..images.detectors import EmbeddedDetector
from ..images.photo import PhotoLike, load_photo
from ..images.tensors import to_levels, to_tensor
from ..model.model import GanimeAge
from .face import Detector


def align(photo: PhotoLike, model: GanimeAge, *, detector: Detector | None = None) -> list[np.ndarray]:
    """The frame of every face in a photo.

    Args:
        photo: anything `load_photo` takes.
        model: whose aligned face it is, of `face_size` x `face_size` pixels.
        detector: photo (H,W,3) uint8 RGB -> its faces, the largest first; by default the model's own.

    Returns:
        The frames, the largest face first; an empty list where there is none. Each is an affine map (2,3) float64 from
        pixels of the photo to those of the model's aligned face.

    Raises:
        BadInput: a photo that cannot be used.
        MissingModel: the weights hold no detector.
    """
    pixels = load_photo(photo)
    if detector is None:
        model.require("detector")
        detector = EmbeddedDetector(model.detector)
    with torch.inference_mode():
        found = detector(pixels)
    return [alignment.settled_matrix(face.landmarks, model.face_size, model.crop_scale) for face in found]


def crop(photo: PhotoLike, matrix: np.ndarray, size: int, *, device: str | torch.device = "cpu") -> Tensor:
    """One aligned face of a photo; antialiased, the border repeated where the photo ends.

    Args:
        photo: anything `load_photo` takes.
        matrix: (2,3), from pixels of the photo to those of a face of `size` pixels, as from `align`.
        size: side of the face in pixels.
        device: where the tensor lies.

    Returns:
        The face (1,3,size,size) float32 in [-1,1].

    Raises:
        BadInput: a photo or a matrix that cannot be used.
    """
    return to_tensor(alignment.crop(load_photo(photo), checked_matrix(matrix), size), device)


def paste(photo: PhotoLike, before: Tensor, after: Tensor, matrix: np.ndarray) -> np.ndarray:
    """The photo with what changed between two aligned faces added to it, see `alignment.paste`.

    Where nothing changed every byte stays as it is, but for some five pixels beside an edge that came or went. What is
    pasted carries no mark that it is edited.

    Args:
        photo: anything `load_photo` takes.
        before: the face as it was, (1,3,S,S) or (3,S,S) in [-1,1], on any device.
        after: the face as it is now, of the same shape.
        matrix: (2,3), that of the crop at S pixels.

    Returns:
        The photo (H,W,3) uint8.

    Raises:
        BadInput: a photo, faces or a matrix that cannot be used.
    """
    faces = [one.detach()[0] if one.ndim == 4 and len(one) == 1 else one.detach() for one in (before, after)]
    shape = tuple(faces[0].shape)
    if any(tuple(face.shape) != (3, shape[-1], shape[-1]) for face in faces):
        shapes = " and ".join(str(tuple(one.shape)) for one in (before, after))
        raise BadInput(f"faces of shapes {shapes} cannot be pasted; give two of one shape (1,3,S,S)")
    old, new = (to_levels(face).permute(1, 2, 0).cpu().numpy() for face in faces)
    return alignment.paste(load_photo(photo), old, new, checked_matrix(matrix))


def checked_matrix(matrix: np.ndarray) -> np.ndarray:
    """An affine map (2,3) as float64; BadInput for what is none."""
    found = np.asarray(matrix, np.float64)
    if found.shape != (2, 3) or not np.isfinite(found).all() or abs(np.linalg.det(found[:, :2])) < 1e-9:
        raise BadInput(f"a frame is an affine map (2,3), as from align; got {found.shape}")
    return found
