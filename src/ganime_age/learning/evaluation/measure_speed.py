"""How long one edit takes and how many multiply-adds the generator needs; process start not counted."""

from __future__ import annotations

import io
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from ...editor import FaceEditor
from ...edits import AU_CODES
from ...images.video_reader import Frame
from ...images.video_writer import new_clip
from ...model.methods import METHODS
from ...model.model import GanimeAge
from ...networks.denoising.unet import FaceUNet
from ...networks.restoring.restorer import Restorer

THREADS = 2
LARGE = (4000, 3000)
"""Width and height of the 12-megapixel photo."""
CLIP, CLIP_HEAD, CLIP_FRAMES = (1280, 720), 420, 48
"""Width and height of the clip, the head's width in it, at which its face has a frame of about 256 px, its length."""
WARM_UP, CLIPS = 3, 3
"""Frames of a clip that is edited before, as the first edit of a process takes longer; and how often it then is."""
FOLDER = 16
"""Photos for each worker of a folder."""
FIGURES = (
    "edit_256_seconds",
    "edit_12mp_seconds",
    "generator_gmacs_256",
    "help_seconds",
    "onnx_ratio",
    "clip_frames_per_second",
    "reenact_frames_per_second",
    "workers_efficiency_2",
    "multipose_images_per_second",
)
"""Keys of the summary; the last needs a face folder, so it is not always there."""
NOTES = {
    "onnx_ratio": "For torch over onnxruntime neither changes hair beyond the face's frame, nor a neck: graphs cannot.",
    "multipose_images_per_second": "The multi-pose set is made of a face folder, by the mesh, in one process; the time "
    "of rejected tries, reading and writing is in it.",
}
"""What the card says of figures, where they were measured."""


def measure(model: GanimeAge, repeats: int = 5, method: str = "ganimation_age") -> dict[str, Any]:
    """Median seconds of `FaceEditor.edit` (load, find, read, edit, paste) on a 256 px face photo and on a
    12-megapixel photo with the same face, on 2 CPU threads; the generator's multiply-adds at 256 px in billions.
    onnx_ratio: the seconds of an edit of the 256 px photo by torch over those by onnxruntime, in turn; neither changes
    hair beyond the face's frame or a neck.
    clip_frames_per_second, reenact_frames_per_second: of an age edit of a 720p clip, and of a photo of 256 px that the
    clip drives, decoded and encoded. workers_efficiency_2: photos a second of a folder with --workers 2 on two cores,
    over twice those with --workers 1 on one core, when all have begun. Returns {"summary": ..., ...}, where the summary
    has the keys FIGURES, but for the last: see training/evaluate.py speed --faces."""
    with threads(THREADS):
        editor = FaceEditor(model)
        small = edit_seconds(editor, jpeg(face_photo(256)), repeats, method)
        large = edit_seconds(editor, jpeg(face_photo(min(LARGE), LARGE)), repeats, method)
        gmacs = multiply_adds(model, method) / 1e9
        ratios = onnx_ratios(editor, jpeg(face_photo(256)), repeats)
        clip, driven = frames_per_second(editor, CLIP_FRAMES, method)
    helps = help_seconds(repeats)
    alone, together = (photos_per_second(workers) for workers in (1, 2))
    summary = {
        "edit_256_seconds": round(statistics.median(small), 3),
        "edit_12mp_seconds": round(statistics.median(large), 3),
        "generator_gmacs_256": round(gmacs, 2),
        "help_seconds": round(statistics.median(helps), 3),
        "onnx_ratio": round(statistics.median(ratios), 2),
        "clip_frames_per_second": round(clip, 2),
        "reenact_frames_per_second": round(driven, 2),
        "workers_efficiency_2": round(together / (2 * alone), 3),
    }
    return {
        "summary": summary,
        "edit_256_all_seconds": [round(s, 3) for s in small],
        "edit_12mp_all_seconds": [round(s, 3) for s in large],
        "onnx_all_ratios": [round(ratio, 2) for ratio in ratios],
        "photos_per_second_of_1_and_2_workers": [round(alone, 2), round(together, 2)],
        "help_all_seconds": [round(s, 3) for s in helps],
        "repeats": repeats,
        "threads": THREADS,
        "notes": {"onnx_ratio": NOTES["onnx_ratio"]},
        "method": method,
        "photo": "skimage.data.astronaut(), the face region enlarged",
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def face_photo(side: int, canvas: tuple[int, int] | None = None) -> np.ndarray:
    """The astronaut's head, `side` pixels wide, uint8 (H,W,3); with `canvas` (width, height) centred on grey."""
    from skimage import data

    head = Image.fromarray(data.astronaut()[:256, 96:352]).resize((side, side), Image.Resampling.BICUBIC)
    if canvas is None:
        return np.array(head)
    photo = Image.new("RGB", canvas, (128, 128, 128))
    photo.paste(head, ((canvas[0] - side) // 2, (canvas[1] - side) // 2))
    return np.array(photo)


def jpeg(photo: np.ndarray) -> bytes:
    """The photo as a camera gives it: reading it is part of an edit."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=92)
    return file.getvalue()


def edit_seconds(editor: FaceEditor, photo: bytes, repeats: int, method: str) -> list[float]:
    """Seconds of `repeats` edits after one that warms up."""
    edits = [
        editor.edit(photo, age=70, action_units={"AU12": 3.0}, method=method) for _ in range(repeats + 1)
    ]
    return [edit.seconds for edit in edits[1:]]


def onnx_ratios(editor: FaceEditor, photo: bytes, repeats: int) -> list[float]:
    """How many times as long an edit takes with torch as with the exported graphs, on as many threads: `repeats` pairs
    of edits, one after the other, after one that warms up. Torch leaves hair beyond the face's frame and necks as they
    are, as the graphs do, so that both make the same picture."""
    from ...onnx import OnnxEditor, export

    plain = FaceEditor(editor.model)
    plain.pipeline.beyond = False
    with tempfile.TemporaryDirectory() as folder:
        export(editor.model, f"{folder}/graphs", sides=[editor.model.face_size])
        other, ratios = OnnxEditor(f"{folder}/graphs", threads=THREADS), []
        for _ in range(repeats + 1):
            took = [edit_and_read(one, photo) for one in (plain, other)]
            ratios.append(took[0] / took[1])
    return ratios[1:]


def edit_and_read(editor: Any, photo: bytes) -> float:
    """Seconds of an edit with the reading of its result, which one editor takes at once and another when asked."""
    started = time.perf_counter()
    editor.edit(photo, age=70, action_units={"AU12": 3.0}).to_dict()
    return time.perf_counter() - started


def frames_per_second(editor: FaceEditor, frames: int, method: str) -> tuple[float, float]:
    """Frames a second of an age edit of a clip whose face moves, and of a photo that it drives: medians of CLIPS, after
    a short clip that warms up."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/source.mp4", f"{folder}/target.mp4"
        for length in (WARM_UP, *[frames] * CLIPS):
            with new_clip(source, Fraction(25)) as write:
                for i in range(length):
                    head = np.array(face_photo(CLIP_HEAD, CLIP))
                    away = round(20 * math.sin(i / 5)), round(8 * math.cos(i / 7))
                    write(Frame(np.roll(head, away, (1, 0)), Fraction(i, 25), Fraction(1, 25)))
            aged = editor.edit_video(source, target, age=70, method=method)
            driven = editor.reenact_video(face_photo(256), source, target)
            seconds.append((aged.seconds, driven.seconds))
    aged_seconds, driven_seconds = zip(*seconds[1:], strict=True)
    return frames / statistics.median(aged_seconds), frames / statistics.median(driven_seconds)


def photos_per_second(workers: int) -> float:
    """Photos a second of `ganime-age edit FOLDER --workers N` on as many cores (where a process can be kept to some),
    from the first photo that the last worker wrote to the last photo."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.mkdir()
        for i in range(FOLDER * workers):
            (source / f"{i}.jpg").write_bytes(jpeg(face_photo(256)))
        command = [sys.executable, "-m", "ganime_age.cli", "edit", str(source), "-o", str(target)]
        with cores(workers):
            subprocess.run(
                [*command, "--age", "70", "--workers", str(workers)], check=True, capture_output=True
            )
        written = sorted(path.stat().st_mtime for path in target.glob("*.jpg"))
    counted = written[2 * workers :]  # workers begin at different times
    return (len(counted) - 1) / (counted[-1] - counted[0])


@contextmanager
def cores(count: int) -> Iterator[None]:
    """A block that, and whose processes, run on so many cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def help_seconds(repeats: int) -> list[float]:
    """Seconds of `repeats` times `ganime-age --help`, each a process from its start to its end, after one that fills
    the caches of the disk."""
    command, taken = [sys.executable, "-m", "ganime_age.cli", "--help"], []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return taken[1:]


def multiply_adds(model: GanimeAge, method: str = "ganimation_age", size: int = 256) -> int:
    """Multiply-adds of the generator itself in one edit of a (1,3,size,size) face, counted on convolutions and linear
    layers."""
    generator: nn.Module = getattr(model, method)
    counted: list[int] = []
    layers = [
        m for m in generator.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    hooks = [
        layer.register_forward_hook(lambda m, x, y: counted.append(_layer_cost(m, x[0], y)))
        for layer in layers
    ]
    units = torch.zeros(1, len(AU_CODES))
    try:
        with torch.inference_mode():
            face = torch.zeros(1, 3, size, size)
            ages = torch.tensor([30.0]), torch.tensor([70.0])
            if isinstance(generator, Restorer | FaceUNet):
                marks = generator.mean_shape[None]
                given = {"landmarks": (marks, marks)} | (
                    {"moved": lambda: face} if isinstance(generator, FaceUNet) else {}
                )
                # Every action unit at its most: the eyes close, which is what a restorer draws.
                METHODS[method].edit(generator, face, *ages, units, units + 5, **given)
            else:
                generator(face, *ages, units, units + 1)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counted)


def _layer_cost(layer: nn.Module, x: torch.Tensor, y: torch.Tensor) -> int:
    """Every weight is used once an output position (transposed convolutions and linears: an input position)."""
    if isinstance(layer, nn.Linear):
        return x.numel() // layer.in_features * layer.weight.numel()
    positions = (x if isinstance(layer, nn.ConvTranspose2d) else y)[:, 0].numel()
    return positions * layer.get_parameter("weight").numel()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch on `count` CPU threads, then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
