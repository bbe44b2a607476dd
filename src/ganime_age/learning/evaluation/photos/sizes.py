"""Does the same photo read the same age after the same edit, whatever its size?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ....editor import FaceEditor
from .age_readers import AgeReaders, read_ages
from .editing import Opened, aged_photos, opened

SIZES = (256, 512, 1024)
"""Longer sides in pixels; a photo that is smaller is not enlarged."""
AGES = (5.0, 75.0)
LEAST_SPAN = 1.5
"""How many times a photo's longer side must be the smallest size for there to be anything to compare."""


def scaled(one: Opened, side: int, folder: Path) -> Opened:
    """The photo with its longer side at most `side` pixels, written as a file."""
    scale = min(1.0, side / max(one.pixels.shape[:2]))
    height, width = (max(1, round(n * scale)) for n in one.pixels.shape[:2])
    pixels = (
        cv2.resize(one.pixels, (width, height), interpolation=cv2.INTER_AREA) if scale < 1 else one.pixels
    )
    path = folder / f"{one.photo.path.stem}-{side}px.png"
    Image.fromarray(pixels).save(path, compress_level=1)
    landmarks = one.landmarks * (width / one.pixels.shape[1], height / one.pixels.shape[0])
    photo = replace(one.photo, path=path, landmarks=landmarks)
    return Opened(photo, pixels, landmarks, one.read_age)


def measure_sizes(
    editor: FaceEditor, photos: Sequence[Opened], readers: AgeReaders, folder: Path
) -> dict[str, Any] | None:
    """Largest less smallest reading over the sizes, mean of photos and ages; None without a photo large enough."""
    spreads, idle, by_size = [], [], []
    for one in photos:
        if max(one.pixels.shape[:2]) < LEAST_SPAN * SIZES[0]:
            continue
        tried = [scaled(one, side, folder) for side in SIZES if side == SIZES[0] or _larger(one, side)]
        if any(opened(editor, small.photo) is None for small in tried):
            continue
        read = [_readings(editor, small, readers, folder) for small in tried]  # one (1+A,) a size
        ranges = np.ptp(np.stack(read), axis=0)
        idle.append(ranges[0])
        spreads.append(ranges[1:])
        if len(read) == len(SIZES):
            by_size.append(np.stack(read))
    if not spreads:
        return None
    rows = np.mean(by_size, 0) if by_size else np.zeros((0, 0))
    return {
        "size_spread_years": float(np.mean(spreads)),
        "nothing_size_spread_years": float(np.mean(idle)),
        "photos": len(spreads),
        "ages": list(AGES),
        "by_size": {
            str(side): {
                "unedited": row[0],
                **{f"asked_{a:.0f}": v for a, v in zip(AGES, row[1:], strict=True)},
            }
            for side, row in zip(SIZES, rows, strict=False)
        },
    }


def _larger(one: Opened, side: int) -> bool:
    """Is a size at most a sixth larger than the photo, so that it stands for it?"""
    return max(one.pixels.shape[:2]) * 7 / 6 >= side


def _readings(editor: FaceEditor, small: Opened, readers: AgeReaders, folder: Path) -> np.ndarray:
    """(1+A,): the judges' mean reading of the photo as it is and at every age."""
    shown = [small.frame(), *(small.frame(after) for _, after in aged_photos(editor, small, AGES, folder))]
    pictures, points = zip(*shown, strict=True)
    return read_ages(readers, pictures, points).mean(1)
