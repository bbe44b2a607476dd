"""Photos looked at one after another, or by several processes at once; what is seen comes in the photos' order."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...errors import BadInput
from ...images.photo import load_photo
from ...model.model import GanimeAge
from ..data.picture_store import encoded
from ..engine.plan_runner import end_with_parent
from ..external.mediapipe_face import BlendshapeReader
from .face_sources import LeftOut
from .pseudo_labels import CutFace, FaceReader

AHEAD = 4
"""Photos that wait for each process, so that a large one does not let the others stand still."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A photo's face, its picture's file, and what tells the photo from others, a hash of its bytes."""

    face: CutFace
    content: bytes = field(repr=False)
    digest: str


View = Seen | LeftOut | None
"""What was seen, why the photo is left out, or None where there was no photo to look at."""
Looks = Callable[[Iterable[Path | None]], Iterator[View]]


@dataclass(frozen=True)
class ReaderSettings:
    """What a FaceReader is made from, so that other processes can make the same one. weights: a folder or Hub name,
    None for the embedded ones. landmarker: MediaPipe's file, or None. The rest: see FaceReader."""

    weights: str | None = None
    landmarker: Path | None = None
    size: int = 128
    min_confidence: float = 0.5
    choose: str = "largest"
    aligned: bool = False
    device: str = "cpu"

    @contextlib.contextmanager
    def open(self) -> Iterator[FaceReader]:
        model = GanimeAge.from_pretrained(*([self.weights] if self.weights else []))
        how = self.size, self.min_confidence, self.choose, self.aligned
        with BlendshapeReader(self.landmarker) if self.landmarker else contextlib.nullcontext() as teacher:
            yield FaceReader(model, *how, teacher, self.device)


def look(path: Path, reader: FaceReader, format: str) -> Seen:
    """The face of a photo, its picture in `format`; LeftOut says why it is not taken."""
    try:
        content = path.read_bytes()
        photo = load_photo(content)
    except OSError as error:
        raise LeftOut("unreadable", error.strerror or str(error)) from None
    except BadInput as error:
        raise LeftOut("unreadable", str(error)) from None
    face = reader.cut(photo)
    return Seen(face, encoded(face.picture, format), hashlib.sha256(content).hexdigest())


def one_by_one(reader: FaceReader, format: str) -> Looks:
    """Looks in this process."""

    def looks(paths: Iterable[Path | None]) -> Iterator[View]:
        for path in paths:
            if path is None:
                yield None
                continue
            try:
                yield look(path, reader, format)
            except LeftOut as reason:
                yield reason

    return looks


@contextlib.contextmanager
def side_by_side(workers: int, settings: ReaderSettings, format: str) -> Iterator[Looks]:
    """Looks in several processes, each with a reader of its own and one thread. BadInput when one of them is killed."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawning, begin, (settings, format)) as pool:

        def looks(paths: Iterable[Path | None]) -> Iterator[View]:
            waiting: deque[Future[View] | None] = deque()
            try:
                for path in paths:
                    waiting.append(pool.submit(look_here, path) if path else None)
                    if len(waiting) > AHEAD * workers:
                        yield seen(waiting.popleft())
                while waiting:
                    yield seen(waiting.popleft())
            except BrokenProcessPool:
                raise BadInput(
                    "a worker was killed, perhaps for want of memory; give fewer --workers and the same command goes on"
                ) from None

        try:
            yield looks
        finally:
            pool.shutdown(cancel_futures=True)


def seen(future: Future[View] | None) -> View:
    return None if future is None else future.result()


_mine: list[tuple[FaceReader, str]] = []
"""In a worker, its reader and the format of pictures."""
_open = contextlib.ExitStack()
"""In a worker, what its reader holds open."""


def begin(settings: ReaderSettings, format: str) -> None:
    """Open a worker's reader, which stays open as long as the process lives."""
    end_with_parent()
    torch.set_num_threads(1)
    _mine.append((_open.enter_context(settings.open()), format))


def look_here(path: Path) -> View:
    """What this worker sees in a photo."""
    try:
        return look(path, *_mine[0])
    except LeftOut as reason:
        return reason
