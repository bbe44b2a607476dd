"""Semantic maps of faces, such as FFHQ-Aging's: which pixel is skin, hair, cloth or background.

A map is a PNG whose grey level is a class of CelebAMask-HQ (Lee et al., CVPR 2020), named as the photo it belongs to.
It covers the whole FFHQ frame, so it fits faces that were prepared with --aligned.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import BadInput
from .faces import Faces

FOLDER = "parsings"
"""Where maps lie: in this folder below a face folder, or wherever a recipe says, also in folders of this name below."""
CLASSES = (
    "background", "skin", "nose", "eyeglasses", "left eye", "right eye", "left brow", "right brow", "left ear",
    "right ear", "mouth", "upper lip", "lower lip", "hair", "hat", "earring", "necklace", "neck", "cloth",
)  # fmt: skip
"""CelebAMask-HQ's classes by grey level."""
GROUND = ("background", "hat", "necklace", "cloth")
"""What no age changes. Hair is none of it: it greys and recedes."""


class SemanticMaps:
    """The maps of a face folder's faces. folder: holds the PNGs, in any depth; BadInput when none belongs to a face."""

    def __init__(self, folder: Path, faces: Faces):
        there = {path.stem: path for path in sorted(folder.rglob("*.png"))}
        column = "source_name" if "source_name" in faces.table else "file"
        names = [PurePosixPath(str(name)).stem for name in faces.table[column]]
        self.paths = [there.get(name) for name in names]
        self.side = faces.size
        known = [path for path in self.paths if path is not None]
        if not known:
            raise BadInput(
                f"{folder} holds no semantic map of a face; a map is a PNG called as its photo, such as {names[0]}.png"
            )
        self.size = _opened(known[0]).shape

    def person(self, rows: np.ndarray, mirror: np.ndarray) -> Tensor:
        """(B,1,S,S) float32: 1 on the person, hair included, 0 on GROUND; NaN for a face without a map. rows (B,);
        mirror (B,) bool: which are mirrored. BadInput names a map of another size than the rest, or with a class that
        does not exist."""
        masks = [self._mask(self.paths[row]) for row in rows]
        shown = [mask[:, ::-1] if turned else mask for mask, turned in zip(masks, mirror, strict=True)]
        return torch.from_numpy(np.stack(shown))[:, None]

    def _mask(self, path: Path | None) -> np.ndarray:
        if path is None:
            return np.full((self.side, self.side), np.nan, np.float32)
        levels = _opened(path)
        if levels.shape != self.size:
            here, rest = (f"{shape[1]}x{shape[0]}" for shape in (levels.shape, self.size))
            raise BadInput(
                f"{path} is {here} pixels and other semantic maps are {rest}; give maps of one size for all photos"
            )
        if levels.shape[0] != levels.shape[1]:
            raise BadInput(
                f"{path} is {levels.shape[1]}x{levels.shape[0]} pixels; a semantic map covers the FFHQ frame, so it is "
                "square"
            )
        if levels.max() >= len(CLASSES):
            raise BadInput(
                f"{path} holds the class {levels.max()}; semantic maps have CelebAMask-HQ's {len(CLASSES)} classes"
            )
        ground = np.isin(levels, [CLASSES.index(name) for name in GROUND])
        share = Image.fromarray(np.uint8(255) * ~ground).resize((self.side, self.side), Image.Resampling.BOX)
        return np.asarray(share, np.float32) / 255


def _opened(path: Path) -> np.ndarray:
    """(H,W) uint8, a class a pixel."""
    try:
        with Image.open(path) as picture:
            levels = np.asarray(picture) if picture.mode in ("L", "P") else None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as a semantic map: {error}") from None
    if levels is None:
        raise BadInput(f"{path} has colours; a semantic map has one grey level for each class")
    return levels
