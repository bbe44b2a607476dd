"""Many photos, one request: faces are read, edited and, when somebody looks, read again in batches, which is what fills
a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np

from ..edits import Edit
from ..errors import BadInput, GanimeAgeError
from ..images.photo import PhotoLike, is_file
from ..images.search import FoundFace
from ..results import EditResult
from .face import FacePipeline, Photo
from .progress import Progress

MOST_BATCH = 256
NOTE = "Photos"


def edit_many(
    pipeline: FacePipeline,
    photos: Iterable[PhotoLike],
    edit: Edit,
    method: str,
    face: int,
    mark: bool,
    batch: int,
    errors: str,
    progress: Progress | None,
) -> Iterator[EditResult | GanimeAgeError]:
    """See `FaceEditor.edit_many`."""
    if isinstance(photos, (str, bytes, bytearray, memoryview)) or is_file(photos) or not _many(photos):
        raise BadInput("edit_many takes several photos, such as a list of paths; edit takes one")
    if type(batch) is not int or not 1 <= batch <= MOST_BATCH:
        raise BadInput(f"batch {batch!r} is out of range; give a whole number between 1 and {MOST_BATCH}")
    if errors not in ("raise", "return"):
        raise BadInput(f"errors {errors!r} is unknown; choose raise or return")
    total = len(photos) if isinstance(photos, Sized) else None

    def work() -> Iterator[EditResult | GanimeAgeError]:
        done, waiting = 0, iter(photos)
        while some := list(islice(waiting, batch)):
            for result in _batch(pipeline, some, edit, method, face, mark, errors):
                done += 1
                if progress is not None:
                    progress(done, total, NOTE)
                yield result

    return work()


def _many(photos: Any) -> bool:
    return isinstance(photos, Iterable) and getattr(photos, "ndim", 4) == 4


def _batch(
    pipeline: FacePipeline, photos: list[Any], edit: Edit, method: str, index: int, mark: bool, errors: str
) -> list[EditResult | GanimeAgeError]:
    """One batch, in the order of the photos."""
    started, done = time.perf_counter(), dict[int, "EditResult | GanimeAgeError"]()
    chosen: dict[int, tuple[Photo, list[FoundFace], int]] = {}
    for place, photo in enumerate(photos):
        try:
            chosen[place] = _found(pipeline, photo, index)
        except GanimeAgeError as error:
            if errors == "raise":
                raise
            done[place] = error
    if chosen:
        before = pipeline.read_faces(list(chosen.values()))
        generated = pipeline.generate_many(before, edit, method, fine=True)
        pixels: list[np.ndarray] = [pipeline.paste(*one, mark) for one in zip(before, generated, strict=True)]
        after = pipeline.read_later(before, pixels, generated)
        seconds = (time.perf_counter() - started) / len(chosen)
        for place, face, seen, drawn in zip(chosen, before, after, generated, strict=True):
            done[place] = pipeline.report(
                face,
                seen,
                None if drawn is None else drawn.attention,
                edit=edit,
                method=method,
                mark=mark,
                seconds=seconds,
                edited=drawn is not None,
            )
    return [done[place] for place in range(len(photos))]


def _found(pipeline: FacePipeline, photo: Any, index: int) -> tuple[Photo, list[FoundFace], int]:
    loaded = pipeline.load(photo)
    found = pipeline.find_faces(loaded)
    pipeline.align_one(loaded, found, index)  # says now, by the photo's name, that there is no such face
    return loaded, found, index
