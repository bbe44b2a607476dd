"""The pictures of a face folder, decoded once into a memory-mapped file; one at a time, so that memory stays flat."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ...atomic import replacing
from ...errors import BadInput
from ..engine.atomic_files import is_writable, locked

NAMED = 20  # unreadable pictures that a note names
SAMPLED = 12  # pictures that are decoded again to trust a cache that says nothing of its origin


def open_cache(folder: Path, files: pd.Series, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N,4,size,size) uint8, RGB and the share that is real, and the rows (M,) that cannot be read.

    files: `shard.tar/member` or a path below folder, a row. `cache-SIZE.npy` and what it was made from
    (`cache-SIZE.json`) lie in the folder, or under ~/.cache where the folder cannot be written. They are made again
    when the manifest names other files. Several processes may ask at once: one decodes, the others wait. BadInput
    when nothing is readable, a shard is missing, or the disk is full.
    """
    mark = fingerprint(folder, files)
    for place in (folder, _elsewhere(folder)):
        found = _load(place, folder, files, size, mark)
        if found:
            return found
    place = _writable_place(folder)
    with locked(place / f".cache-{size}.lock") as alone:
        found = _load(place, folder, files, size, mark)
        if not found:
            for left in (
                place.glob(f".cache-{size}.npy.*.part") if alone else ()
            ):  # of a process that was killed
                left.unlink(missing_ok=True)
            _make(place, folder, files, size, mark)
            found = _load(place, folder, files, size, mark)
    assert found, "what was just made can be loaded"
    return found


def cache_place(folder: Path) -> Path:
    """Where files beside the manifest may be written: the folder itself, or its place under ~/.cache."""
    return folder if is_writable(folder) else _writable_place(folder)


def fingerprint(folder: Path, files: pd.Series) -> str:
    """What a cache was made from: the names of all pictures in their order, and the sizes of the shards."""
    digest, shards = hashlib.sha256(), set()
    for file in files:
        digest.update(file.encode() + b"\n")
        shard, _, member = file.partition(".tar/")
        if member:
            shards.add(shard)
    for shard in sorted(shards):
        path = folder / f"{shard}.tar"
        digest.update(f"{shard} {path.stat().st_size if path.is_file() else None}\n".encode())
    return digest.hexdigest()


def _elsewhere(folder: Path) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "ganime_age" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def _writable_place(folder: Path) -> Path:
    if is_writable(folder):
        return folder
    place = _elsewhere(folder)
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    if not is_writable(place):
        raise BadInput(
            f"neither {folder} nor {place} can be written; set XDG_CACHE_HOME to a folder for decoded faces"
        )
    return place


def _load(
    place: Path, folder: Path, files: pd.Series, size: int, mark: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The cache of a place, when it is there and was made from these files."""
    path, note = place / f"cache-{size}.npy", place / f"cache-{size}.json"
    try:
        pictures = np.load(path, mmap_mode="r")
        if pictures.shape != (len(files), 4, size, size) or pictures.dtype != np.uint8:
            return None
        if note.is_file():
            said = json.loads(note.read_text())
            skipped = np.array(sorted(int(row) for row in said["unreadable"]), np.int64)
            return (pictures, skipped) if said["fingerprint"] == mark else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return _trusted(pictures, folder, files, size, mark, note)


def _trusted(
    pictures: np.ndarray, folder: Path, files: pd.Series, size: int, mark: str, note: Path
) -> tuple[np.ndarray, np.ndarray] | None:
    """A cache without a note (earlier versions wrote none), when a few of its pictures are what their files hold."""
    rows = np.unique(np.linspace(0, len(files) - 1, SAMPLED).astype(int))
    for i, content in read_pictures(folder, files.iloc[rows]):
        try:
            picture = decode(_readable(content), size, files.iloc[rows[i]])
        except BadInput:
            return None
        if np.abs(picture.astype(np.float32) - pictures[rows[i]]).mean() > 2:
            return None
    with contextlib.suppress(OSError):
        _write_note(note, mark, {})
    return pictures, np.zeros(0, np.int64)


def _write_note(note: Path, mark: str, unreadable: dict[int, str]) -> None:
    with replacing(note) as part:
        part.write_text(json.dumps({"fingerprint": mark, "unreadable": unreadable}, indent=1))


def _make(place: Path, folder: Path, files: pd.Series, size: int, mark: str) -> None:
    """Decode all pictures of a folder into the cache of a place.

    A crash at any moment leaves no cache that lies: the old one goes first, the note comes before the pictures.
    """
    path, note = place / f"cache-{size}.npy", place / f"cache-{size}.json"
    if place != folder:
        tqdm.write(f"{folder} cannot be written; its decoded faces go to {place}", sys.stderr)
    needed, free = len(files) * 4 * size**2, shutil.disk_usage(place).free
    if needed > free:
        raise BadInput(
            f"decoding {folder} at {size} px needs {needed / 1e9:.1f} GB in {place}, {free / 1e9:.1f} GB are free"
        )
    try:
        with replacing(path) as part:
            unreadable = _decode_all(part, folder, files, size)
            if len(unreadable) == len(files):
                raise BadInput(
                    f"none of the {len(files)} pictures of {folder} can be read; {unreadable[min(unreadable)]}"
                )
            path.unlink(missing_ok=True)
            _write_note(note, mark, unreadable)
    except OSError as error:
        raise BadInput(
            f"the decoded faces cannot be written to {path}: {error.strerror or error}; make room there"
        ) from None
    if unreadable:
        tqdm.write(_left_out(unreadable, len(files), path), sys.stderr)


def _left_out(unreadable: dict[int, str], count: int, path: Path) -> str:
    named = "".join(f"\n  {why}" for why in list(unreadable.values())[:NAMED])
    more = f"\n  and {len(unreadable) - NAMED} more" if len(unreadable) > NAMED else ""
    return (
        f"{len(unreadable)} of {count} pictures cannot be read and are left out "
        f"(delete {path} to try them again):{named}{more}"
    )


def _decode_all(part: Path, folder: Path, files: pd.Series, size: int) -> dict[int, str]:
    """Write the .npy file of all pictures; returns why which rows could not be read (they stay black and unreal).

    Written, not mapped: a full disk is then an error, not a bus error, and no written page counts as this process's.
    """
    shape, unreadable = (len(files), 4, size, size), {}
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with part.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        start, each = out.tell(), 4 * size**2
        out.truncate(start + len(files) * each)
        progress = tqdm(total=len(files), desc=f"decoding faces at {size} px", unit="face")
        with progress:
            for row, content in read_pictures(folder, files):
                try:
                    picture = decode(_readable(content), size, files.iloc[row])
                    out.seek(start + row * each)
                    out.write(picture.tobytes())
                except BadInput as error:
                    unreadable[row] = str(error)
                progress.update()
        out.flush()
        os.fsync(out.fileno())
    return dict(sorted(unreadable.items()))


def _readable(content: bytes | BadInput) -> bytes:
    if isinstance(content, BadInput):
        raise content
    return content


def read_pictures(folder: Path, files: pd.Series) -> Iterator[tuple[int, bytes | BadInput]]:
    """(position in files, the file's bytes or why there are none), shard after shard in the order of the shards.

    BadInput names a shard that is not there: that is a folder half copied, not a damaged picture.
    """
    plain: list[int] = []
    shards: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, file in enumerate(files):
        shard, _, member = file.partition(".tar/")
        if member:
            shards[shard][member].append(row)
        else:
            plain.append(row)
    for row in plain:
        file = files.iloc[row]
        try:
            yield row, (folder / file).read_bytes()
        except OSError as error:
            yield row, BadInput(f"{folder / file} cannot be read: {error.strerror or error}")
    for shard, wanted in shards.items():
        yield from _read_shard(folder / f"{shard}.tar", wanted)


def _read_shard(path: Path, wanted: dict[str, list[int]]) -> Iterator[tuple[int, bytes | BadInput]]:
    """The same of the members of one tar file, read from its start to its end without an index of it."""
    first, why = path / next(iter(wanted)), "it is not in the shard"
    try:
        archive = tarfile.open(path)
    except OSError as error:
        raise BadInput(f"{first} cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError) as error:
        raise BadInput(f"{first} cannot be read: {path.name} is not a tar file ({error})") from None
    with archive:
        try:
            while wanted and (member := archive.next()) is not None:
                vars(archive)["members"].clear()  # tarfile keeps every header that it has seen
                stream = archive.extractfile(member) if member.isreg() and member.name in wanted else None
                if stream:
                    content = stream.read()
                    for row in wanted.pop(member.name):
                        yield row, content
        except (tarfile.TarError, OSError, EOFError) as error:
            why = f"{path.name} is damaged or cut off ({error})"
    for name, rows in wanted.items():
        for row in rows:
            yield row, BadInput(f"{path / name} cannot be read: {why}")


def decode(content: bytes, size: int, name: str) -> np.ndarray:
    """One picture as uint8 (4,size,size): RGB, what is not real filled smoothly, and the valid share."""
    try:
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
        raise BadInput(f"{name} is not a readable picture: {error}") from None
    method = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    alpha = picture[..., 3:].astype(np.float32) / 255
    shrunk = cv2.resize(
        np.concatenate([picture[..., :3] * threefold(alpha), alpha], -1), (size, size), interpolation=method
    )
    filled = fill_unreal(shrunk[..., :3], shrunk[..., 3:])
    return (
        np.concatenate([filled, shrunk[..., 3:] * 255], -1)
        .round()
        .clip(0, 255)
        .astype(np.uint8)
        .transpose(2, 0, 1)
    )


def fill_unreal(premultiplied: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Extend the real pixels smoothly over the rest: (S,S,3) colour times alpha (S,S,1) -> (S,S,3) in 0..255."""
    out = premultiplied.copy()
    left = 1 - alpha
    side = out.shape[0]
    for radius in (side // 32, side // 8, side // 2, 2 * side):
        if left.max() < 1e-3:
            break
        width = max(2 * radius + 1, 3)
        colour = cv2.blur(premultiplied, (width, width), borderType=cv2.BORDER_CONSTANT)
        share = cv2.blur(alpha, (width, width), borderType=cv2.BORDER_CONSTANT)[..., None]
        trust = np.clip(share * 8, 0, 1) * left
        out += threefold(trust) * colour / threefold(np.maximum(share, 1e-4))
        left = left - trust
    return out


def threefold(plane: np.ndarray) -> np.ndarray:
    """(H,W,1) -> (H,W,3): NumPy takes several times as long to multiply colours by the plane itself."""
    return cv2.merge([plane] * 3)
