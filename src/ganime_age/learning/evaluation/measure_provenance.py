"""Does the watermark last, does it show, does it cry wolf: measured on ordinary photos, edited by the model."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...editor import FaceEditor
from ...errors import BadInput
from ...images.alignment import frame_matrix
from ...images.photo import SUFFIXES, load_photo
from ...model.model import GanimeAge
from ...provenance.watermark import BAND, SIDE, STRENGTH, THRESHOLD, false_positive_rate, score
from ..data.faces import Faces
from ..engine.devices import device_of

REQUESTS: tuple[dict[str, Any], ...] = (
    {"age": 70},
    {"age": 8},
    {"action_units": {"AU12": 4}},
    {"age": 45, "action_units": {"AU26": 4, "AU25": 4}},
    {"age": 30, "action_units": {"AU04": 3}},
)
SIDES = (0, 128, 256, 1 << 16)  # of the face's frame, in photo pixels
WRONG_KEYS = 5


def stored(kind: str, quality: int) -> Callable[[np.ndarray], np.ndarray]:
    """Write in a lossy format and read again."""

    def change(pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, quality=quality)
        return load_photo(file.getvalue())

    return change


def resized(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Both sides times a factor, bicubic."""

    def change(pixels: np.ndarray) -> np.ndarray:
        height, width = (round(n * factor) for n in pixels.shape[:2])
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))

    return change


def cropped(pixels: np.ndarray) -> np.ndarray:
    """Without 7 % on the left and the top and 5 % on the right and the bottom."""
    height, width = pixels.shape[:2]
    return pixels[int(height * 0.07) : int(height * 0.95), int(width * 0.07) : int(width * 0.95)].copy()


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "png": lambda pixels: pixels,
    "jpeg_95": stored("JPEG", 95),
    "jpeg_85": stored("JPEG", 85),
    "jpeg_75": stored("JPEG", 75),
    "webp_80": stored("WEBP", 80),
    "resize_0.75": resized(0.75),
    "resize_1.5": resized(1.5),
    "resize_0.75_jpeg_75": lambda pixels: stored("JPEG", 75)(resized(0.75)(pixels)),
    "crop_jpeg_85": lambda pixels: stored("JPEG", 85)(cropped(pixels)),
}
"""What happens to pictures on their way; the names are the results file's."""


def measure(model: GanimeAge, raw_folder: str | Path, photos: int = 60) -> dict[str, Any]:
    """Edit photos spread evenly over a folder, change them as CHANGES says and look for the mark.

    Detection rates over all edited faces (a face that is not found again counts as missed), by change and by side of
    the face's frame; PSNR within the frame's pixels that the mark changed; scores without the mark: edits with
    `mark=False`, the photos themselves, and the photos against WRONG_KEYS other keys. BadInput without photos.
    """
    editor = FaceEditor(model, device=device_of(model))
    rows, skipped = [], 0
    for path, request in zip(spread(Path(raw_folder), photos), cycle(REQUESTS), strict=False):
        try:
            rows.append(outcome(editor, path, request))
        except BadInput:
            skipped += 1
    if not rows:
        raise BadInput(f"{raw_folder} holds no photo with a face; give a folder of portraits")
    return summarised(rows, skipped)


def measure_clean(model: GanimeAge, faces: Iterable[Faces], count: int = 2000) -> dict[str, Any]:
    """Scores of pictures that nobody edited, each searched for faces as `verify` does: at most `count`, evenly spread
    over test splits whose rows are one picture each. A picture in which no face is found has no score and counts in
    `without_a_face` alone."""
    editor, scores = FaceEditor(model, device=device_of(model)), []
    folders = list(faces)
    for folder in folders:
        share = min(len(folder), count // len(folders))
        rows = np.linspace(0, len(folder) - 1, share).round().astype(int)
        for row in tqdm(rows, desc="clean", unit="picture"):
            picture = np.ascontiguousarray(folder.pixels(np.array([row]))[0, :3].transpose(1, 2, 0))
            scores.append(found(editor, picture))
    known = [score for score in scores if score is not None]
    if not known:
        raise BadInput("no face was found in the pictures of --faces; name a folder of face pictures")
    return {
        "clean_photos": len(known),
        "clean_false_positives": sum(score >= THRESHOLD for score in known),
        "clean_score_most": round(max(known), 2),
        "clean_without_a_face": len(scores) - len(known),
    }


def spread(folder: Path, count: int) -> list[Path]:
    """At most `count` photos of a folder, evenly spread over their sorted names."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    picked = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int) if paths else []
    return [paths[i] for i in picked]


def outcome(editor: FaceEditor, path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """All scores of one photo; None where the face is not found again."""
    photo = load_photo(path)
    with_mark, without = (editor.edit(photo, **request, mark=mark) for mark in (True, False))
    marked, plain = (np.asarray(result.image) for result in (with_mark, without))
    matrix = face_matrix(editor, photo)
    wrong = [score(photo, matrix, b"another key %d" % i) for i in range(WRONG_KEYS)]
    return {
        "side": SIDE / math.sqrt(abs(np.linalg.det(matrix[:, :2]))),
        "psnr": psnr(marked, plain),
        "scores": {name: found(editor, change(marked)) for name, change in CHANGES.items()},
        "unmarked": [found(editor, plain), score(photo, matrix), *wrong],
    }


def face_matrix(editor: FaceEditor, photo: np.ndarray) -> np.ndarray:
    """Frame of the largest face; BadInput without one."""
    faces = editor.detector(photo)
    if not faces:
        raise BadInput("no face was found")
    return frame_matrix(faces[0].landmarks, SIDE)


def found(editor: FaceEditor, photo: np.ndarray) -> float | None:
    """Best score over the faces found, as `verify` looks; None without a face."""
    matrices = [frame_matrix(face.landmarks, SIDE) for face in editor.detector(photo)]
    return max((score(photo, matrix) for matrix in matrices), default=None)


def psnr(marked: np.ndarray, plain: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the pixels that the mark changed."""
    error = (marked.astype(float) - plain)[(marked != plain).any(-1)]
    return 10 * math.log10(255**2 / float((error**2).mean()))


def summarised(rows: list[dict[str, Any]], skipped: int) -> dict[str, Any]:
    """The results file."""
    unmarked = np.array([s for row in rows for s in row["unmarked"] if s is not None])
    ratios = np.array([row["psnr"] for row in rows])
    return {
        "summary": {
            **{f"detected_{name}": rate(rows, name) for name in CHANGES},
            "psnr_db_median": round(float(np.median(ratios)), 1),
            "psnr_db_least": round(float(ratios.min()), 1),
            "unmarked_trials": len(unmarked),
            "false_positives": int((unmarked >= THRESHOLD).sum()),
            "false_positive_bound_per_face": float(f"{false_positive_rate():.1e}"),
        },
        "counts": {"photos": len(rows), "without_a_face": skipped},
        "by_frame_side": [
            {"from": low, "to": high, "photos": len(some), **{name: rate(some, name) for name in CHANGES}}
            for low, high in zip(SIDES, SIDES[1:], strict=False)
            if (some := [row for row in rows if low <= row["side"] < high])
        ],
        "scores": {name: spread_of([row["scores"][name] for row in rows]) for name in CHANGES},
        "unmarked_scores": spread_of(list(unmarked)),
        "missed": [
            {"change": name, "score": s and round(s, 1), "frame_side": round(row["side"])}
            for row in rows for name, s in row["scores"].items() if s is None or s < THRESHOLD
        ],
        "settings": {"threshold": THRESHOLD, "strength": STRENGTH, "band": list(BAND), "wrong_keys": WRONG_KEYS},
    }  # fmt: skip


def rate(rows: list[dict[str, Any]], name: str) -> float:
    """Share of faces whose mark was found after a change."""
    return round(float(np.mean([(row["scores"][name] or 0) >= THRESHOLD for row in rows])), 4)


def spread_of(scores: list[float | None]) -> dict[str, float | None]:
    """Least, median and greatest score; None where no face was found."""
    held = [s for s in scores if s is not None]
    if not held:
        return dict.fromkeys(("least", "median", "most"))
    return {
        "least": round(min(held), 2),
        "median": round(float(np.median(held)), 2),
        "most": round(max(held), 2),
    }
