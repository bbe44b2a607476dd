"""The photos of a folder: files, and what the shards among them hold. Each has a name, below which its edit goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import BadInput, GanimeAgeError
from ..images.endings import PHOTOS, SHARDS
from ..images.named import Named
from .folders import URL, Folder, folder_at
from .output_paths import writable_name
from .shards import COMPRESSED, Contents, Piece, Row, Shards, contents, is_photo, is_shard

LONGEST = 200
"""Bytes of a name; file systems allow 255, and the edit's file needs some of them."""


class Source(NamedTuple):
    """Where photos are. shard: the only file of the folder that is meant, or None."""

    folder: Folder
    shard: str | None = None

    def __str__(self) -> str:
        return f"{self.folder}/{self.shard}" if self.shard else str(self.folder)


class Photo(NamedTuple):
    """A photo. name: `a.jpg`, or `photos-000/KEY.jpg` of a shard; its edit goes there. file: what holds it in the
    source's folder. place: where in a shard, None for a file of its own."""

    name: str
    file: str
    place: Piece | Row | None = None


class Found(NamedTuple):
    """What a source holds. failed: what cannot be edited, by name. ignored: on files that hold no pictures."""

    photos: list[Photo]
    failed: dict[str, GanimeAgeError]
    ignored: list[GanimeAgeError]

    @property
    def total(self) -> int:
        """How many there are, with those that cannot be edited."""
        return len(self.photos) + len(self.failed)


def source_at(given: str) -> Source:
    """The folder or the shard that a path or a URL names."""
    if not is_shard(given) or (not URL.match(given) and os.path.isdir(given)):
        return Source(folder_at(given))
    above, slash, name = given.replace(os.sep, "/").rpartition("/")
    if URL.match(given) and above.endswith("/"):  # a bucket
        return Source(folder_at(given))
    return Source(folder_at(above or slash or "."), name)


def find(source: Source) -> Found:
    """The photos of a source: its files by name, each shard's in their order. BadInput where there is none that can be
    edited."""
    found, taken = Found([], {}, []), dict[str, Photo]()
    for file in named(source):
        if is_photo(file):
            add(found, taken, Photo(file, file))
            continue
        try:
            held = contents(source.folder, file)
        except GanimeAgeError as error:
            held = Contents([], {"": error})
        pictured = held.pictured
        if not held.pictures and not held.wrong:
            held.wrong[""] = BadInput(f"{file} holds no photos; give a shard with {listed(PHOTOS)} files")
            pictured = False
        if not pictured and not source.shard:
            found.ignored.extend(held.wrong.values())
            continue
        for name, place in held.pictures:
            below = place_below(file, name)
            if below is None:
                held.wrong[name] = BadInput(
                    f"{name!r} in {file} is no name for a file in the output folder; give the photo a plain one"
                )
            else:
                add(found, taken, Photo(below, file, place))
        found.failed.update({f"{file}/{name}" if name else file: error for name, error in held.wrong.items()})
    if not found.photos:
        raise nothing(source, [*found.failed.values(), *found.ignored])
    return found


def named(source: Source) -> list[str]:
    """The names of a source's files that may hold photos."""
    names = source.folder.names()
    if source.shard is None:
        return [name for name in names if is_photo(name) or (is_shard(name) and not name.startswith("."))]
    if source.shard not in names:
        raise BadInput(f"{source} does not exist; check the path")
    return [source.shard]


def place_below(shard: str, name: str) -> str | None:
    """Where the edit of a shard's picture goes, below the output folder: the shard's name without its ending, then the
    picture's. None for a picture's name that leads elsewhere or that no file can have."""
    stem = next(shard[: -len(ending)] for ending in (*COMPRESSED, *SHARDS) if shard.lower().endswith(ending))
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or any(unfit(part) for part in (stem, *parts)):
        return None
    return "/".join((stem, *parts))


def unfit(part: str) -> bool:
    """Is that no name for a file or a folder?"""
    return part in ("", ".", "..") or min(part) < " " or len(os.fsencode(part)) > LONGEST


def add(found: Found, taken: dict[str, Photo], photo: Photo) -> None:
    """Add a photo, unless its edit would take another's place. taken: the photos by where their edits go."""
    target = writable_name(photo.name)
    first = taken.setdefault(target, photo)
    if first is photo:
        found.photos.append(photo)
        return
    where = f"twice from {photo.file}" if first.file == photo.file else f"from {first.file} and {photo.file}"
    number = 2
    while (again := f"{photo.name} ({number})") in found.failed:
        number += 1
    found.failed[again] = BadInput(
        f"{target} would be written {where}; the first is edited, so give the other a name of its own"
    )


def nothing(source: Source, errors: list[GanimeAgeError]) -> GanimeAgeError:
    """The sentence on a source without a photo that can be edited. errors: what its files' are."""
    if not errors:
        shards = f"{listed(PHOTOS)} files, or with {listed(SHARDS)} shards"
        return BadInput(f"{source} holds no photos; give a folder with {shards}")
    if len(errors) == 1:
        return errors[0]
    others = f"{len(errors) - 1} more of {source} cannot be used either"
    return type(errors[0])(f"{errors[0]}; {others}")


def written(output: Folder, photos: Iterable[Photo]) -> set[str]:
    """The names of the files in the folders that the photos' edits go to."""
    return {
        f"{below}/{name}" if below else name for below in folders_of(photos) for name in output.names(below)
    }


def folders_of(photos: Iterable[Photo]) -> list[str]:
    """The folders below the output folder that photos' edits go to; "" is that folder itself, and always among them."""
    return sorted({"", *(photo.name.rpartition("/")[0] for photo in photos)})


class Reader:
    """Opens a source's photos, one after another."""

    def __init__(self, source: Source):
        self.folder, self.shards = source.folder, Shards(source.folder)

    @contextmanager
    def read(self, photo: Photo) -> Iterator[Path | Named]:
        """A photo, as a file to be read within the block. BadInput where it cannot be reached."""
        if photo.place is None:
            with self.folder.read(photo.file) as path:
                yield path
        else:
            yield Named(self.shards.picture(photo.file, photo.place), photo.name)


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them: `a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}"
