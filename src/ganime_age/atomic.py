"""One way to write a file or a folder: whole or not at all.

What is written gets a temporary name in the same folder, hence on the same file system, where a rename is atomic: other
processes and threads see the old content or the new, never a part.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME_KEPT = 40
"""Characters of the final name that the temporary one repeats: file systems allow a name 255 bytes."""


@contextmanager
def replacing(path: Path, make_folders: bool = False) -> Iterator[Path]:
    """A temporary file beside `path`, empty, that takes its place when the block ends well and is gone otherwise.

    make_folders: missing folders on the way to `path` are made, and removed again when the block fails. The file gets
    the permissions of any new file, whatever the writer in the block gave it. OSError as from the file system.
    """
    missing = [folder for folder in path.parents if not os.path.exists(folder)] if make_folders else []
    part = _temporary(path)
    try:
        if make_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
            for folder in missing:  # the innermost first
                folder.rmdir()
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path`, which is absent or an empty folder, when the block ends
    well, and is gone with all it holds otherwise."""
    part = _temporary(path)
    try:
        part.mkdir(parents=True)
        yield part
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:NAME_KEPT]}.{uuid.uuid4().hex}.part")
