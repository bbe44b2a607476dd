"""From the command line's folders to what is measured and who judges it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ....editor import FaceEditor
from ....errors import BadInput, MissingModel
from ....model.methods import DEFAULT, METHODS
from ....model.model import GanimeAge
from ...data.faces import Faces
from ...engine.devices import device_of
from ...external.mediapipe_face import BlendshapeReader
from ...external.onnx_features import OnnxFeatures
from ...external.onnx_models import HairNetwork, OnnxIdentity
from .age_readers import age_readers
from .blind import write_sheet
from .expressions import MediaPipeExpressions
from .measure_photos import Judging, Material, Plan, Run
from .surroundings import outlines
from .whole_photos import Learnt, in_turn, photos_of

MATCHER, HAIR, POINTS, TEACHER = (
    "face_reid_0095.onnx",
    "hair_prismanet_256.onnx",
    "face_landmarker.task",
    "mobilefacenet_y1.onnx",
)
"""Files of --models: identity (needed), hair, expression and the training faces' identity vectors (each optional)."""
FACE_SIDE = 128
"""Side of the faces of which the matcher's threshold is found."""
OPTION = "give the folder that holds it with --models"


def material_of(
    photos: Sequence[Path], ages: Path | None, headwear: Path | None, faces: Path, fair: Path | None
) -> Material:
    """What is edited. BadInput for folders without photos or faces, and for a CSV that names what is not there."""
    found = photos_of(photos, ages)
    by_race = None
    if fair is not None:
        held = Faces(fair, FACE_SIDE, ("test",))
        by_race = held, races_of(held)
    return Material(found, Faces(faces, FACE_SIDE, ("test",)), by_race, outlines(headwear, found))


def races_of(faces: Faces) -> np.ndarray:
    """The race of every face (N,) as its set names it: the manifest's column, or that of a labels.parquet beside it.
    BadInput where neither has one."""
    if "race" in faces.table:
        return faces.table["race"].to_numpy(str)
    try:
        labels = pd.read_parquet(faces.folder / "labels.parquet", columns=["id", "race"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{faces.folder} says no race: its manifest has no column race, and labels.parquet cannot be read ({error})"
        ) from None
    return faces.table["id"].map(labels.set_index("id")["race"]).fillna("unknown").to_numpy(str)


def judging_of(model: Any, models: Path | None, judges: Path, faces: Path) -> Judging:
    """Who judges. MissingModel when the matcher or the age judges are missing; the others are then left out."""
    if models is None:
        raise MissingModel(f"photos needs --models FOLDER with {MATCHER}, the network that judges identity")
    matcher = OnnxIdentity(models / MATCHER, OPTION)
    hair = HairNetwork(models / HAIR, OPTION).chances if (models / HAIR).is_file() else None
    return Judging(
        age_readers(judges, device_of(model)),
        matcher,
        hair,
        OnnxFeatures(models / MATCHER, OPTION),
        expressions_of(models / POINTS),
        learnt_from(faces, models / TEACHER),
    )


def expressions_of(task: Path) -> MediaPipeExpressions | None:
    """MediaPipe, where the package and its file are at hand."""
    if not task.is_file():
        return None
    try:
        return MediaPipeExpressions(BlendshapeReader(task))
    except (MissingModel, BadInput):
        return None


def learnt_from(faces: Path, teacher: Path) -> Learnt:
    """The pictures that our networks learnt from, as the identity vectors of the manifest say; unchecked without the
    network that made them."""
    try:
        vectors = Faces(faces, FACE_SIDE, ("train", "val")).labels["teacher"]
    except BadInput:
        return Learnt(np.zeros((0, 1)), None)
    embed: Callable[..., np.ndarray] | None = None
    if teacher.is_file():
        embed = OnnxIdentity(teacher, OPTION).embed
    return Learnt(np.asarray(vectors), embed)


def blind_sheet(
    model: GanimeAge,
    material: Material,
    judging: Judging,
    folder: Path,
    count: int,
    method: str = DEFAULT,
) -> int:
    """A page of a method's edits and real photos in `folder`; returns how many pictures. MissingModel when the weights
    hold no such method."""
    model.require(METHODS[method].part)
    editor = FaceEditor(model, device=device_of(model))
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        run = Run(editor, material, judging, Plan(photos=count), Path(scratch))
        photos = run.usable(in_turn(run.calm()), count)
        return write_sheet(editor, photos, folder, Path(scratch), count, method=method)


def partial_file(path: Path) -> Callable[[dict[str, Any]], None]:
    """A function that writes what is measured so far beside the results file, NAME.partial."""
    place = path.with_suffix(".partial")

    def save(part: dict[str, Any]) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(part, indent=2) + "\n")

    return save
