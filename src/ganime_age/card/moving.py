"""README's moving pictures: the portrait led through the ages, and following a driving clip of our own."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..editor import FaceEditor
from ..images.video_reader import Clip, Frame
from ..images.video_writer import new_clip
from ..provenance.xmp import xmp
from .contact_sheet import astronaut

SIDE, RATE = 120, 8
"""Side of a face in pixels, and frames a second."""
WINDOW, SHOWN = (60, 0, 380, 320), (110, 0, 330, 220)
"""What is edited of the portrait, and what is shown: left, top, right, bottom, of its 512 pixels a side."""
DRIVING = Path(__file__).resolve().parents[1] / "space" / "pictures" / "turning.mp4"
MOVED_AGE = 75


def draw_moving(editor: FaceEditor, folder: Path) -> None:
    """Write ages.gif and reenactment.gif, marked as edits, into a folder."""
    whole = Image.fromarray(astronaut())
    photo = np.asarray(whole.crop(WINDOW))
    near = tuple(a - b for a, b in zip(SHOWN, 2 * WINDOW[:2], strict=True))
    ages = [{"age": age} for age in (5, 20, 50, 85)]
    around = editor.animate(photo, keyframes=ages, frames=22, there_and_back=True)
    _write(folder / "ages.gif", [_small(picture, near) for picture in around], {"ages": [5, 85]}, editor)
    with Clip(DRIVING) as clip:
        driving = [frame.pixels for frame in clip]
    moved = editor.reenact_frames(photo, driving, age=MOVED_AGE)
    scale = driving[0].shape[1] / whole.width
    window = tuple(scale * edge for edge in SHOWN)
    pairs = [
        np.hstack([_small(Image.fromarray(a), window), _small(b, near)])
        for a, b in zip(driving, moved, strict=True)
    ]
    record = {"age": MOVED_AGE, "driven": True}
    _write(folder / "reenactment.gif", pairs, record, editor)


def _small(picture: Image.Image, box: Sequence[float]) -> np.ndarray:
    left, top, right, bottom = box
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (left, top, right, bottom)))


def _write(path: Path, pictures: list[np.ndarray], record: dict[str, Any], editor: FaceEditor) -> None:
    step = Fraction(1, RATE)
    with new_clip(path, Fraction(RATE), xmp({**record, "weights": editor.weights}).encode()) as write:
        for i, picture in enumerate(pictures):
            write(Frame(picture, i * step, step))
