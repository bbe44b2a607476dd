"""Folders of photos, on this machine (`Here`) or behind a URL that fsspec knows (`There`: s3://, gs://, hf:// ...)."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import BadInput, MissingModel

URL = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]+://")
"""How the folders begin that are not on this machine. A web address names one photo and no folder."""


class Here:
    """A folder of this machine, or of a disk that all machines see."""

    def __init__(self, path: Path):
        self.path = Path(os.path.abspath(path))

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        """Of what is in it; none where there is no folder."""
        return sorted(os.listdir(self.path)) if self.path.is_dir() else []

    @contextmanager
    def read(self, name: str) -> Iterator[Path]:
        """The file of that name, to be read within the block."""
        yield self.path / name

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """Where to write the file of that name within the block."""
        yield self.path / name

    def tidy(self) -> None:
        """Remove what killed processes left of their files."""
        for left in self.path.glob(".*.part"):
            left.unlink(missing_ok=True)


class There:
    """A folder behind a URL. BadInput where it cannot be reached, MissingModel without the package that reaches it."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.names()

    def __str__(self) -> str:
        return self.url

    def names(self) -> list[str]:
        """As `Here.names`."""
        with self._reached() as (files, path):
            files.invalidate_cache()
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
                files.get_file(f"{path}/{name}", str(copy))
            yield copy

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """As `Here.write`: what is written goes there when the block ends well."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, name)
            yield copy
            with self._reached() as (files, path):
                files.makedirs(path, exist_ok=True)
                _put(files, copy, f"{path}/{name}")

    def tidy(self) -> None:
        """Nothing half written is ever there."""

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """The file system, and the folder's path on it."""
        try:
            import fsspec

            yield fsspec.core.url_to_fs(self.url)
        except MemoryError:
            raise
        except ImportError as error:
            raise MissingModel(f"{self.url} cannot be reached: {error}") from None
        except Exception as error:  # each service's library has its own, of no common base
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BadInput(
                f"{self.url} cannot be reached ({said}); check its name, the connection and your rights to it"
            ) from None


def _put(files: Any, copy: Path, target: str) -> None:
    """Copy a file to a file system. What was not there before is gone again when that fails: some leave a part of it,
    which a later run would take for a whole one."""
    new = not files.exists(target)
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
