"""Writes a model as ONNX graphs: one for each step, one of the edit for each side of a face, and one file of weights.

manifest.json      what the graphs hold, and the size and SHA-256 of every file
seek.onnx          a level of the pyramid -> where faces may be
mark.onnx          a crop -> landmarks and a score
read.onnx          an aligned face -> its readings
edit_256.onnx ...  an aligned face and a request -> what is to be added to it, watermark included, and where it is laid
                   on instead
paste.onnx         a part of a photo and these -> the part edited
weights.bin        what the graphs share
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._version import __version__
from ..atomic import new_folder
from ..errors import BadInput, MissingModel
from ..images.detectors import folded
from ..model.fingerprint import fingerprint
from ..model.methods import DEFAULT, METHODS
from ..model.model import GanimeAge
from ..pipelines.face import FINE_SIDE, FINE_STEP
from . import stages
from .manifest import FORMAT, MANIFEST, WEIGHTS

SMALL = 1024
"""Bytes of a constant from which on it lies in the file of weights."""
UNITS = 17


def export(
    model: GanimeAge,
    folder: str | os.PathLike[str],
    *,
    half: bool = False,
    sides: Iterable[int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write the graphs of a model's detector, readers and default method into a folder.

    A face is edited at the next side that is not smaller than its own in the photo, or at the largest. What stops half
    way leaves no manifest, and an earlier export as it was.

    Args:
        model: whose graphs they are.
        folder: where they are written: a new or an empty one, or that of an earlier export.
        half: weights in half precision, half as large; the graphs compute in single precision all the same.
        sides: of the faces that can be edited, in pixels: the model's face_size, and multiples of 64 from there to
            1,024; by default all.
        progress: called with the name of each file.

    Returns:
        The path of the manifest.

    Raises:
        BadInput: a folder that holds other work, or a side that cannot be.
        MissingModel: a part, or the package onnx, is missing.
    """
    for part in ("detector", "readers", METHODS[DEFAULT].part):
        model.require(part)
    wanted = checked_sides(model.face_size, sides)
    target = Path(folder)
    check_target(target)
    onnx = library()
    files: list[str] = []
    try:
        with new_folder(target) as fresh:
            weights = Weights(onnx, fresh / WEIGHTS, half)
            with weights:
                for name, graph in graphs(model, wanted):
                    weights.take_from(graph)
                    files.append(f"{name}.onnx")
                    (fresh / files[-1]).write_bytes(graph.SerializeToString())
                    if progress is not None:
                        progress(files[-1])
            write_manifest(fresh, model, wanted, half, [*files, WEIGHTS])
            if target.is_dir():
                shutil.rmtree(target)
    except OSError as error:
        raise BadInput(
            f"{target} cannot be written ({error.strerror or error}); choose another place"
        ) from None
    return target / MANIFEST


def library() -> Any:
    """The package onnx; MissingModel where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise MissingModel("exporting needs onnx; install it: pip install 'ganime_age[onnx]'") from None
    return onnx


def checked_sides(least: int, sides: Iterable[int] | None) -> list[int]:
    """The sides to export, in order; BadInput for one that cannot be."""
    able = sorted({least, *range(-(-least // FINE_STEP) * FINE_STEP, FINE_SIDE + 1, FINE_STEP)})
    wanted = able if sides is None else sorted(set(sides))
    for side in wanted:
        if side not in able:
            raise BadInput(
                f"a face of {side} pixels cannot be exported; give {least}, or multiples of {FINE_STEP} "
                f"up to {FINE_SIDE}"
            )
    if not wanted:
        raise BadInput("no side is named; give at least one, such as 256")
    return wanted


def check_target(folder: Path) -> None:
    """BadInput for a folder that holds anything but an earlier export."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; give a folder for the graphs")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    mine = {MANIFEST, WEIGHTS}
    foreign = [one.name for one in sorted(folder.iterdir()) if one.name not in mine and one.suffix != ".onnx"]
    if foreign or not (folder / MANIFEST).is_file():
        named = foreign[0] if foreign else next(folder.iterdir()).name
        raise BadInput(f"{folder} holds other work, such as {named}; give an empty folder or a new one")


def graphs(model: GanimeAge, sides: list[int]) -> Iterator[tuple[str, Any]]:
    """The graphs by their names."""
    from .recorder import Recorder

    detector, size = folded(model.detector), model.face_size
    # What is shown while a graph is recorded does not matter: it holds both ways of every choice.
    level = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    graph = Recorder()
    with graph.recording({"level": level}):
        sought = stages.seek(detector, level)
    yield "seek", graph.model(sought._asdict(), {
        "level": (1, "height", "width", 3), "scores": (1, 1, "rows", "columns"), "frames": (1, 4, "rows", "columns"),
    })  # fmt: skip
    crop = torch.full((model.detector.crop_side, model.detector.crop_side, 3), 128.0)
    graph = Recorder()
    with graph.recording({"crop": crop}):
        landmarks, score = stages.mark(detector, crop)
    yield "mark", graph.model({"landmarks": landmarks, "score": score})
    face = torch.full((size, size, 3), 128, dtype=torch.uint8)
    graph = Recorder()
    with graph.recording({"face": face}):
        readings = stages.read(model, face)._asdict()
    yield "read", graph.model({name: readings[name] for name in list(readings)[:7]})
    for side in sides:
        yield f"edit_{side}", edit_graph(model, side)
    given = {
        "region": torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
        "change": torch.zeros(1, 4, 8, 8),
        "grid": torch.zeros(1, 8, 8, 2),
    }
    graph = Recorder()
    with graph.recording(given):
        pasted = stages.paste(**given)
    sizes = (1, "height", "width")
    yield (
        "paste",
        graph.model(
            {"pasted": pasted},
            {
                "region": (*sizes, 3),
                "pasted": (*sizes, 3),
                "grid": (*sizes, 2),
                "change": (1, 4, "rows", "columns"),
            },
        ),
    )


def edit_graph(model: GanimeAge, side: int) -> Any:
    """The graph of an edit of faces of `side` pixels."""
    from .recorder import Recorder

    given = {
        "face": torch.full((side, side, 3), 128, dtype=torch.uint8),
        "landmarks": model.prototypes.mean_shape.clone(),
        "source_age": torch.tensor([30.0]),
        "target_age": torch.tensor([70.0]),
        "source_units": torch.zeros(1, UNITS),
        "target_units": torch.full((1, UNITS), 5.0),
        "marked": torch.ones(()),
        "side": torch.tensor(float(side)),
    }
    graph = Recorder()
    with graph.recording(given):
        request = stages.Request(*[*given.values()][2:6])
        change, attention = stages.edit(
            model, given["face"], given["landmarks"], request, given["marked"], given["side"]
        )
    return graph.model({"change": change, "attention": attention})


class Weights:
    """The file of constants that graphs share: each is written once."""

    def __init__(self, onnx: Any, path: Path, half: bool):
        self.onnx, self.path, self.half = onnx, path, half
        self.places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> None:
        self.file = self.path.open("wb")

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def take_from(self, graph: Any) -> None:
        """Move the larger constants of a graph into the file, and let the graph say where they lie."""
        for tensor in list(graph.graph.initializer):
            if len(tensor.raw_data) < SMALL:
                continue
            if self.half and tensor.data_type == self.onnx.TensorProto.FLOAT:
                self.halve(graph.graph, tensor)
            if tensor.name not in self.places:
                self.places[tensor.name] = self.file.tell(), len(tensor.raw_data)
                self.file.write(tensor.raw_data)
                self.file.write(b"\0" * (-len(tensor.raw_data) % 16))
            offset, length = self.places[tensor.name]
            tensor.ClearField("raw_data")
            tensor.data_location = self.onnx.TensorProto.EXTERNAL
            for key, value in (("location", self.path.name), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))

    def halve(self, graph: Any, tensor: Any) -> None:
        """Half precision in the file; the graph widens it as it is loaded."""
        name, values = tensor.name, self.onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        if not np.isfinite(small).all():
            return
        tensor.CopyFrom(self.onnx.numpy_helper.from_array(small, f"{name}_half"))
        wide = self.onnx.helper.make_node("Cast", [tensor.name], [name], to=self.onnx.TensorProto.FLOAT)
        graph.node.insert(0, wide)


def write_manifest(folder: Path, model: GanimeAge, sides: list[int], half: bool, names: list[str]) -> None:
    """manifest.json, the last of the files."""
    said = {
        "format": FORMAT,
        "ganime_age": __version__,
        "weights": fingerprint(model),
        "method": DEFAULT,
        "half": half,
        "face_size": model.face_size,
        "crop_scale": model.crop_scale,
        "crop_side": model.detector.crop_side,
        "sides": sides,
        "editable_action_units": list(model.editable_action_units),
        "files": {
            name: {
                "bytes": (folder / name).stat().st_size,
                "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            }
            for name in names
        },
    }
    (folder / MANIFEST).write_text(json.dumps(said, indent=2) + "\n")
