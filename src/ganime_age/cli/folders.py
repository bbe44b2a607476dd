"""Folders of photos, on this machine (`Here`) or behind a URL that fsspec knows (`There`: s3://, gs://, hf:// ...)."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ..errors import BadInput, GanimeAgeError, MissingModel

T = TypeVar("T")

URL = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]+://")
"""How the folders begin that are not on this machine. A web address names one photo and no folder."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How a system says that a disk, somebody's share of it, or a file is full: no bug, wherever it is met."""

WAITS = (0.5, 2.0)
"""Seconds before a transfer that failed is tried again, and again."""

LASTING = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
    MemoryError,
    GanimeAgeError,
)
"""What another try does not mend."""


class Here:
    """A folder of this machine, or of a disk that all machines see."""

    def __init__(self, path: Path):
        self.path = Path(os.path.abspath(path))

    def __str__(self) -> str:
        return str(self.path)

    def names(self, below: str = "") -> list[str]:
        """Of what is in it, or in a folder below it; none where there is no folder."""
        path = self.path / below
        return sorted(os.listdir(path)) if path.is_dir() else []

    @contextmanager
    def read(self, name: str) -> Iterator[Path]:
        """The file of that name, to be read within the block."""
        yield self.path / name

    def open(self, name: str, ahead: bool = True) -> BinaryIO:
        """The file of that name, to be read in pieces; OSError where that fails. ahead: whether more than each piece
        may be fetched, because the next ones follow it."""
        return (self.path / name).open("rb")

    def patiently(self, do: Callable[[], T], name: str) -> T:
        """What `do` answers, which reads of the file of that name. BadInput where that fails."""
        try:
            return do()
        except OSError as error:
            said = error.strerror or str(error).partition("\n")[0]
            raise BadInput(f"{name} cannot be read ({said}); check the file") from None

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """Where to write the file of that name within the block. The name may lead below the folder."""
        yield self.path / name

    def tidy(self, below: Iterable[str] = ("",)) -> None:
        """Remove what killed processes left of their files, in it and in those folders below it."""
        for folder in below:
            for left in (self.path / folder).glob(".*.part"):
                left.unlink(missing_ok=True)


class There:
    """A folder behind a URL. BadInput where it cannot be reached, MissingModel without the package that reaches it."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.names()

    def __str__(self) -> str:
        return self.url

    def names(self, below: str = "") -> list[str]:
        """As `Here.names`."""
        with self._reached() as (files, path):
            files.invalidate_cache()
            path = f"{path}/{below}" if below else path
            try:
                return sorted(place.rsplit("/", 1)[-1] for place in files.ls(path, detail=False))
            except FileNotFoundError:
                return []

    @contextmanager
    def read(self, name: str) -> Iterator[Path]:
        """As `Here.read`, of a copy."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, name)
            with self._reached() as (files, path):
                retried(lambda: files.get_file(f"{path}/{name}", str(copy)))
            yield copy

    def open(self, name: str, ahead: bool = True) -> BinaryIO:
        """As `Here.open`."""
        import fsspec

        files, path = fsspec.core.url_to_fs(self.url)
        more = {} if ahead else {"cache_type": "none"}
        file: BinaryIO = files.open(f"{path}/{name}", "rb", **more)
        return file

    def patiently(self, do: Callable[[], T], name: str) -> T:
        """As `Here.patiently`, in several tries."""
        with self._reached():
            return retried(do)

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """As `Here.write`: what is written goes there when the block ends well."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, name.rsplit("/", 1)[-1])
            yield copy
            with self._reached() as (files, path):
                target = f"{path}/{name}"
                files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                new = not files.exists(target)
                retried(lambda: _put(files, copy, target, new))

    def tidy(self, below: Iterable[str] = ()) -> None:
        """Nothing half written is ever there."""

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """The file system, and the folder's path on it."""
        try:
            import fsspec

            yield fsspec.core.url_to_fs(self.url)
        except (GanimeAgeError, MemoryError):
            raise
        except ImportError as error:
            raise MissingModel(f"{self.url} cannot be reached: {error}") from None
        except OSError as error:
            if error.errno in FULL:
                raise
            raise self._unreached(error) from error
        except Exception as error:  # each service's library has its own, of no common base
            raise self._unreached(error) from error

    def _unreached(self, error: Exception) -> BadInput:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return BadInput(
            f"{self.url} cannot be reached ({said}); check its name, the connection and your rights to it"
        )


def _put(files: Any, copy: Path, target: str, new: bool) -> None:
    """Copy a file to a file system. A new one is gone again when that fails: some leave a part of it, which a later run
    would take for a whole one."""
    try:
        files.put_file(str(copy), target)
    except BaseException:
        if new:
            with suppress(Exception):
                files.rm_file(target)
        raise


Folder = Here | There


def folder_at(given: str) -> Folder:
    """The folder that a path or a URL names."""
    return There(given) if URL.match(given) else Here(Path(given))


def retried(do: Callable[[], T]) -> T:
    """What `do` answers, which transfers a file: again after each of WAITS where it fails. Any exception counts but for
    LASTING, since each transfer library has its own; the last one comes out as an OSError."""
    for wait in WAITS:
        try:
            return do()
        except LASTING:
            raise
        except Exception:
            time.sleep(wait)
    try:
        return do()
    except (*LASTING, OSError):
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error
