"""Shards, files that hold many photos: tar files as webdataset writes them, parquet files as Hugging Face's datasets.

Where the photos lie is read first, and each photo when its turn comes: a tar file's bytes from there, a parquet file's
rows a few at a time.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple

from ..errors import BadInput, GanimeAgeError, MissingModel
from ..images.endings import PHOTOS, SHARDS
from .folders import Folder

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of tar files whose members lie nowhere until they are unpacked."""
MAGIC = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""How files begin that are compressed though their ending does not say so; no picture's name does."""
BLOCK = 512
"""Bytes of a tar file's header, and of what its members are padded to."""

PICTURES = ("image", "jpg", "jpeg", "png", "webp", "img", "photo", "picture", "bytes")
"""Columns of pictures, the first that there is."""
NAMES = ("path", "file", "file_name", "filename", "key", "__key__", "id")
"""Columns of the pictures' names, the first that there is."""
ROWS = 8
"""Rows of a parquet file that are in memory at a time."""
BUFFER = 1 << 20
"""Bytes of a parquet file that are read at a time."""


class Piece(NamedTuple):
    """Where a picture lies in a tar file, in bytes."""

    start: int
    length: int


class Row(NamedTuple):
    """Where a picture lies in a parquet file. number: in its row group. column: of its bytes, `image.bytes` in a
    struct."""

    group: int
    number: int
    column: str


class Contents(NamedTuple):
    """What a shard holds. pictures: each one's name in it, and where it lies, in their order. wrong: what cannot be
    used, by name: a member, or "" for the shard. pictured: whether it is one that holds pictures at all."""

    pictures: list[tuple[str, Piece | Row]]
    wrong: dict[str, GanimeAgeError]
    pictured: bool = True


def is_shard(name: str) -> bool:
    """Is that the name of a file that holds many photos?"""
    return name.lower().endswith((*SHARDS, *COMPRESSED))


def is_photo(name: str) -> bool:
    """Is that the name of a photo file, and of no hidden one?"""
    return name.lower().endswith(PHOTOS) and not name.rpartition("/")[2].startswith(".")


def contents(folder: Folder, shard: str) -> Contents:
    """What a shard of a folder holds. Damage stands in `wrong`; BadInput where the file cannot be reached, MissingModel
    without pyarrow for a parquet file."""

    def look() -> Contents:
        with folder.open(shard) as file:
            return (in_parquet if shard.lower().endswith(".parquet") else in_tar)(file, shard)

    return folder.patiently(look, shard)


def in_tar(file: BinaryIO, shard: str) -> Contents:
    """What an open tar file holds: its photos; labels beside them are left alone."""
    found = Contents([], {})
    if shard.lower().endswith(COMPRESSED) or file.read(8).startswith(MAGIC):
        said = f"{shard} is compressed; unpack it to a plain .tar file, as gunzip does"
        return Contents([], {"": BadInput(said)}, pictured=False)
    end = file.seek(0, 2)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", errors="replace") as archive:
            reached = -1
            while reached < archive.offset and (member := archive.next()) is not None:
                reached = member.offset
                vars(archive)["members"].clear()  # tarfile keeps every header that it has seen
                if is_photo(member.name) and not member.isdir():
                    note(found, member, end, shard)
            file.seek(archive.offset)
            # Zeros end a tar file, or nothing does; tarfile takes a damaged header for the end as well.
            if any(file.read(BLOCK)):
                raise tarfile.ReadError("a header is damaged")
    except (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError) as error:
        found.wrong[""] = damaged(shard, error)
    return found


def note(found: Contents, member: tarfile.TarInfo, end: int, shard: str) -> None:
    """Add a photo of a tar file of `end` bytes to what it holds."""
    if not member.isreg() or member.issparse():
        found.wrong[member.name] = BadInput(
            f"{member.name!r} in {shard} is a link or has holes; pack the picture itself"
        )
    elif not 0 <= member.size <= end - member.offset_data:
        found.wrong[member.name] = BadInput(
            f"{member.name!r} in {shard} is cut off; make or copy {shard} again"
        )
    else:
        found.pictures.append((member.name, Piece(member.offset_data, member.size)))


def in_parquet(file: BinaryIO, shard: str) -> Contents:
    """What an open parquet file holds: a picture a row, called as its row says, else by the row's number."""
    pa, pq = packages(shard)
    found = Contents([], {})
    try:
        table = pq.ParquetFile(file)
        picture = picture_column(pa, table.schema_arrow)
        if picture is None:
            asked = f"one named {', '.join(PICTURES[:-1])} or {PICTURES[-1]}"
            error = f"{shard} holds no column of pictures; give its bytes {asked}, or as a struct of bytes and path"
            return Contents([], {"": BadInput(error)}, pictured=False)
        names = name_column(pa, table.schema_arrow, picture)
        ending = f".{picture}" if f".{picture}" in PHOTOS else ""
        for group in range(table.num_row_groups):
            for row, said in enumerate(read_names(table, group, names)):
                name = str(len(found.pictures)) if said is None else str(said)
                found.pictures.append((name if is_photo(name) else name + ending, Row(group, row, picture)))
    except (pa.ArrowException, ValueError) as error:
        found.wrong[""] = damaged(shard, error)
    return found


def read_names(table: Any, group: int, column: str | None) -> list[Any]:
    """The names of a row group's pictures; None for a row without one, and for all where there is no such column."""
    if column is None:
        return [None] * table.metadata.row_group(group).num_rows
    values = table.read_row_group(group, columns=[column]).column(0).to_pylist()
    return [value["path"] if isinstance(value, dict) else value for value in values]


def picture_column(pa: Any, schema: Any) -> str | None:
    """The column of the pictures' bytes: the first of PICTURES, else the only struct of bytes and path. None where
    there is neither."""

    def is_bytes(kind: Any) -> bool:
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    plain = {field.name: field.name for field in schema if is_bytes(field.type)}
    structs = {
        field.name: f"{field.name}.bytes"
        for field in schema
        if pa.types.is_struct(field.type)
        and any(part.name == "bytes" and is_bytes(part.type) for part in field.type)
    }
    both = plain | structs
    named = [both[name] for name in PICTURES if name in both]
    return (named or (list(structs.values()) if len(structs) == 1 else [None]))[0]


def name_column(pa: Any, schema: Any, picture: str) -> str | None:
    """The column of the pictures' names: the first of NAMES, else the path beside the bytes. None where there is
    neither."""
    kinds = {field.name: field.type for field in schema}
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
    for name in NAMES:
        if name in kinds and any(is_kind(kinds[name]) for is_kind in known):
            return name
    struct = picture.removesuffix(".bytes")
    beside = kinds[struct] if struct != picture else ()
    return f"{struct}.path" if any(part.name == "path" for part in beside) else None


class Shards:
    """Reads pictures of a folder's shards; fastest in the order in which they lie there."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.rows: Iterator[bytes | None] = iter(())
        self.next: tuple[str, int, int] | None = None  # shard, row group and row that `rows` gives next

    def picture(self, shard: str, place: Piece | Row) -> bytes:
        """The bytes of a picture, as the shard holds them. BadInput where they cannot be read."""
        take = self._piece if isinstance(place, Piece) else self._row
        return self.folder.patiently(lambda: take(shard, place), shard)

    def _piece(self, shard: str, place: Any) -> bytes:
        with self.folder.open(shard, ahead=False) as file:
            file.seek(place.start)
            content = file.read(place.length)
        if len(content) < place.length:
            raise BadInput(f"{shard} is cut off; make or copy it again")
        return content

    def _row(self, shard: str, place: Any) -> bytes:
        here = (shard, place.group, place.number)
        if self.next is None or self.next[:2] != here[:2] or self.next > here:
            self.rows, self.next = rows(self.folder, shard, place), (shard, place.group, 0)
        content, first = None, self.next[2]
        self.next = None  # where what follows fails, the next picture is looked for from the start
        for _ in range(first, place.number + 1):
            content = next(self.rows)
        self.next = (shard, place.group, place.number + 1)
        if content is None:
            raise BadInput(f"its row of {shard} holds no bytes; give the picture itself, not only its path")
        return content


def rows(folder: Folder, shard: str, place: Row) -> Iterator[bytes | None]:
    """The pictures of a row group, one after another. BadInput where they are damaged."""
    pa, pq = packages(shard)
    try:
        with folder.open(shard) as file, closing(pq.ParquetFile(file, buffer_size=BUFFER)) as table:
            batches = table.iter_batches(ROWS, [place.group], [place.column], use_threads=False)
            for batch in batches:
                for value in batch.column(0).to_pylist():
                    yield value["bytes"] if isinstance(value, dict) else value
    except (pa.ArrowException, ValueError) as error:
        raise damaged(shard, error) from None
    raise BadInput(f"{shard} has fewer rows than before; run this again")


def packages(shard: str) -> tuple[Any, Any]:
    """pyarrow and its reader of parquet files, or MissingModel."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingModel(
            f"{shard} is read by pyarrow, which is not installed; pip install 'ganime_age[parquet]'"
        ) from None
    return pyarrow, pyarrow.parquet


def damaged(shard: str, error: Exception) -> BadInput:
    """The sentence on a shard that breaks off."""
    said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return BadInput(f"{shard} is damaged or cut off ({said}); make or copy it again")
