"""Reenactment through the editor: whole photos of one person, and a clip's speed and flicker."""

from __future__ import annotations

import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...editor import FaceEditor
from ...errors import BadInput
from ...images.alignment import apply, crop, frame_matrix
from ...images.photo import load_photo
from ...images.video_reader import Clip, Frame
from ...images.video_writer import new_clip
from ...pipelines.synthetic_driving import driving_frames
from .judged_motion import Judged, figures
from .judges import Judges
from .measure_speed import THREADS, face_photo, threads
from .reenactment_baselines import pasted

SIDE = 256
FPS = 12
SOURCE_AGE = 70.0


def expressions(raw: Path) -> list[tuple[Path, Path]]:
    """Photos NAME_neutral_ID and NAME_smile_ID of a folder, a pair a person; BadInput when it holds none."""
    pairs = []
    for neutral in sorted(raw.glob("*_neutral_*")):
        smile = neutral.with_name(neutral.name.replace("_neutral_", "_smile_"))
        if smile.exists():
            pairs.append((neutral, smile))
    if not pairs:
        raise BadInput(f"{raw} holds no photos NAME_neutral_ID and NAME_smile_ID of one person")
    return pairs


def photo_pairs(
    editor: FaceEditor,
    raw: Path,
    count: int,
    judges: Judges,
    threshold: float | None,
) -> dict[str, Any]:
    """Persons who are neutral made to smile as they do in another photo: figures of the result and of doing nothing,
    and of the paste between the aligned faces."""
    pairs = expressions(raw)
    chosen = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)]
    shown: dict[str, list[np.ndarray]] = {name: [] for name in ("moved", "nothing", "paste", "driving")}
    at = []
    for neutral, smile in tqdm(chosen, desc="photos", unit="pair"):
        result = editor.reenact(neutral, smile, mark=False)
        assert result.driving_reading is not None
        driving, driving_points = aligned(load_photo(smile), result.driving_reading.landmarks)
        source, points = np.asarray(result.source_face), _placed(editor, neutral)
        shown["moved"].append(np.asarray(result.face))
        shown["nothing"].append(source)
        shown["paste"].append(pasted(source, points, driving, driving_points))
        shown["driving"].append(driving)
        at.append(points)
    seen = {name: Judged.of(judges, np.stack(pictures), np.stack(at)) for name, pictures in shown.items()}
    aims, still = seen.pop("driving"), seen["nothing"]
    return {name: figures(found, still, aims, threshold) for name, found in seen.items()}


def aligned(photo: np.ndarray, landmarks: np.ndarray, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """The face (S,S,3) uint8 of landmarks (68,2) in a photo's pixels, and these in 0..1 of its frame."""
    matrix = frame_matrix(landmarks, side)
    return crop(photo, matrix, side), apply(matrix, np.asarray(landmarks, np.float64)) / side


def _placed(editor: FaceEditor, photo: Path) -> np.ndarray:
    """Landmarks (68,2) of the largest face in 0..1 of the frame that the editor lays."""
    pixels = load_photo(photo)
    return aligned(pixels, editor.detector(pixels)[0].landmarks)[1]


def clip_figures(editor: FaceEditor, judges: Judges, frames: int) -> dict[str, Any]:
    """Frames a second of a 256 px clip from file to file, and the flicker of what comes out beside the driving clip's;
    with the age asked for as well."""
    photo = face_photo(SIDE)
    with tempfile.TemporaryDirectory() as folder, threads(THREADS):
        driving, plain, old = (Path(folder) / f"{name}.mp4" for name in ("driving", "plain", "old"))
        with new_clip(driving, FPS) as write:
            for i, picture in enumerate(driving_frames(editor.pipeline, photo, frames, mark=False)):
                write(Frame(np.asarray(picture), Fraction(i, FPS), Fraction(1, FPS)))
        mirrored = Image.fromarray(photo[:, ::-1].copy())
        started = time.perf_counter()
        done = editor.reenact_video(mirrored, driving, plain)
        seconds = time.perf_counter() - started
        editor.reenact_video(mirrored, driving, old, age=SOURCE_AGE)
        shaken = {name: flicker(editor, judges, path) for name, path in
                  (("nothing_", driving), ("", plain), ("aged_", old))}  # fmt: skip
    return {
        "frames": done.frames,
        "seconds_long": done.frames / FPS,
        "driving": "the sample photo (skimage.data.astronaut(), 256 px) swaying its head; nothing_ is this clip itself",
        "source": "the same photo mirrored",
        "threads": THREADS,
        "frames_per_second": done.frames / seconds,
        "flicker": {f"{p}{key}": value for p, found in shaken.items() for key, value in found.items()},
    }


def flicker(editor: FaceEditor, judges: Judges, path: Path) -> dict[str, float]:
    """Mean change from one frame to the next: of the judged age in years, of the identity as 1 - cosine."""
    with Clip(path) as clip:
        pixels = [frame.pixels for frame in clip]
    found = [editor.detector(picture) for picture in pixels]
    cut = [aligned(p, faces[0].landmarks) for p, faces in zip(pixels, found, strict=True) if faces]
    if len(cut) < 2:
        raise BadInput(
            "fewer than two frames of the clip that was made show a face; these weights cannot move one"
        )
    pictures, points = (np.stack(part) for part in zip(*cut, strict=True))
    out = {}
    if judges.age:
        out["age_flicker_years"] = float(np.abs(np.diff(judges.age(pictures, points))).mean())
    if judges.identity:
        who = judges.identity(pictures, points)
        out["identity_flicker"] = float(1 - (who[1:] * who[:-1]).sum(1).mean())
    return out
