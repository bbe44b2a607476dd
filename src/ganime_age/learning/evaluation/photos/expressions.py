"""Two photos of one person, neutral and smiling: what the one shows is asked of the other, and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from ....editor import FaceEditor
from ....errors import BadInput
from ....images.alignment import apply
from ...external.mediapipe_face import IBUG
from ...external.onnx_models import similarity
from .editing import Opened, expressed_photo, opened
from .frames import framed
from .whole_photos import WholePhoto

STEADY = (27, 28, 29, 30, 36, 39, 42, 45)
"""Points that an expression hardly moves, by which two faces are laid over each other: bridge of the nose, corners of
the eyes."""
MOUTH = slice(48, 68)


class Face(NamedTuple):
    """What a network sees of a face: points (68,2) in any upright coordinates, scores (K,) of blendshapes or None."""

    points: np.ndarray
    scores: np.ndarray | None


class Expressions(Protocol):
    """Sees points and blendshapes of a frame; None where it finds no face."""

    name: str

    def see(self, frame: np.ndarray) -> Face | None: ...


class MediaPipeExpressions:
    """MediaPipe's points and blendshapes (external.mediapipe_face.BlendshapeReader); a frame is shown with a border."""

    def __init__(self, reader: Any):
        self.reader, self.name = reader, "MediaPipe FaceLandmarker"

    def see(self, frame: np.ndarray) -> Face | None:
        border = round(0.35 * len(frame))
        for wide in (0, border):
            shown = np.pad(frame, ((wide, wide), (wide, wide), (0, 0)), mode="edge")
            seen = self.reader.look(np.ascontiguousarray(shown))
            if seen is not None:
                return Face(seen.points[list(IBUG)] * len(shown), seen.scores)
        return None


class OwnExpressions:
    """The editor's own reading of a photo's points, where MediaPipe is not at hand: no blendshapes."""

    name = "the package's own readers"

    def __init__(self, editor: FaceEditor):
        self.editor = editor

    def see(self, frame: np.ndarray) -> Face | None:
        try:
            return Face(np.asarray(self.editor.read(frame)[0].landmarks, float), None)
        except BadInput:
            return None


def mouth_error(points: np.ndarray, goal: np.ndarray) -> float:
    """Mean distance of the mouth's points from those of another photo of the person, in distances of the outer eye
    corners, after the steady points are laid over each other. points, goal (68,2)."""
    laid = apply(similarity(points[list(STEADY)], goal[list(STEADY)]), points)
    eyes = np.linalg.norm(goal[45] - goal[36])
    return float(np.linalg.norm((laid - goal)[MOUTH], axis=1).mean() / eyes)


def measure_pairs(
    editor: FaceEditor,
    pairs: Sequence[tuple[WholePhoto, WholePhoto]],
    judge: Expressions | None,
    folder: Path,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and details. smile_points_left, smile_blendshapes_left: error after the edit as a share of doing nothing;
    smile_nearer: share of edits that come nearer by the points. Blendshapes are None without MediaPipe."""
    judge = judge or OwnExpressions(editor)
    rows: dict[str, list[dict[str, float]]] = {"smile": [], "neutral": []}
    for neutral, smiling in tqdm(pairs, desc="expressions", unit="person"):
        calm, glad = opened(editor, neutral), opened(editor, smiling)
        if calm is None or glad is None:
            continue
        for name, source, goal in (("smile", calm, glad), ("neutral", glad, calm)):
            row = one_way(editor, source, goal, judge, folder)
            if row:
                rows[name].append(row)
    everything = rows["smile"] + rows["neutral"]
    summary = {
        "smile_points_left": left(everything, "points"),
        "smile_blendshapes_left": left(everything, "blendshapes"),
        "smile_nearer": float(np.mean([r["points"] < r["nothing_points"] for r in everything]))
        if everything
        else None,
        "nothing_smile_points_left": 1.0,
        "nothing_smile_blendshapes_left": 1.0,
    }
    details = {
        "judge": judge.name,
        "people": len(rows["smile"]),
        "not_measured": sorted(
            {"smile_blendshapes_left"} if summary["smile_blendshapes_left"] is None else set()
        ),
        **{
            f"to_{name}": {
                "edits": len(own),
                "points_left": left(own, "points"),
                "blendshapes_left": left(own, "blendshapes"),
                "nearer_by_points": _share(own, "points"),
                "nearer_by_blendshapes": _share(own, "blendshapes"),
            }
            for name, own in rows.items()
        },
    }
    return summary, details


def one_way(
    editor: FaceEditor, source: Opened, goal: Opened, judge: Expressions, folder: Path
) -> dict[str, float] | None:
    """The goal photo's action units asked of the source photo: errors before and after; None where no face is seen."""
    shown = editor.read(goal.photo.path)[0].action_units
    units = {code: shown[code] for code in editor.model.editable_action_units}
    after = expressed_photo(editor, source, units, folder)
    pictures = (
        framed(source.pixels, source.landmarks)[0],
        source.frame(after)[0],
        framed(goal.pixels, goal.landmarks)[0],
    )
    faces = [judge.see(picture) for picture in pictures]
    if any(face is None for face in faces):
        return None
    before, edited, wanted = (face for face in faces if face is not None)
    row = {
        "points": mouth_error(edited.points, wanted.points),
        "nothing_points": mouth_error(before.points, wanted.points),
    }
    if before.scores is not None and edited.scores is not None and wanted.scores is not None:
        row["blendshapes"] = float(np.abs(edited.scores - wanted.scores).mean())
        row["nothing_blendshapes"] = float(np.abs(before.scores - wanted.scores).mean())
    return row


def left(rows: Sequence[dict[str, float]], name: str) -> float | None:
    """Mean error after the edits as a share of the mean error of doing nothing; None where it was not measured."""
    if not rows or name not in rows[0]:
        return None
    return float(np.mean([row[name] for row in rows]) / np.mean([row[f"nothing_{name}"] for row in rows]))


def _share(rows: Sequence[dict[str, float]], name: str) -> float | None:
    if not rows or name not in rows[0]:
        return None
    return float(np.mean([row[name] < row[f"nothing_{name}"] for row in rows]))
