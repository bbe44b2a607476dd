"""Where prepared pictures are written: a tar shard, or a folder of plain files."""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(picture: np.ndarray, format: str) -> bytes:
    """A picture (S,S,3) or (S,S,4) uint8 as the bytes of a WebP or PNG file."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format, **({"quality": 95, "method": 4} if format == "webp" else {}))
    return out.getvalue()


@dataclass
class PictureStore:
    """Where pictures go: a tar file, or a folder when there is none. written: bytes so far."""

    path: Path
    archive: tarfile.TarFile | None
    written: int = 0

    def add(self, name: str, content: bytes) -> str:
        """Write one picture; returns what the manifest calls it."""
        self.written += len(content) + 1024
        if self.archive:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            self.archive.addfile(member, io.BytesIO(content))
        else:
            (self.path / name).write_bytes(content)
        return f"{self.path.name}/{name}"


@contextlib.contextmanager
def picture_store(folder: Path, name: str, shards: bool) -> Iterator[PictureStore]:
    """NAME.tar, or the folder NAME, to add pictures to; what a stopped run left of it goes first, and it goes when this
    run fails."""
    path = folder / (f"{name}.tar" if shards else name)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    try:
        if shards:
            with tarfile.open(path, "w") as archive:
                yield PictureStore(path, archive)
        else:
            path.mkdir()
            yield PictureStore(path, None)
    except BaseException:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise
