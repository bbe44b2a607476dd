"""Where the command line writes its results: beside nothing it would destroy."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadInput
from ..images.endings import WRITTEN_PHOTOS as ENDINGS
from .addresses import check_here


def target_file(source: Path, given: str, overwrite: bool) -> Path:
    """Where one photo's result goes: the file given with -o, or the photo's name in the folder given."""
    from ..provenance.metadata import WRITERS

    output = Path(given)
    if is_folder(given, "png"):
        output = output / writable_name(source.name)
    if output.suffix.lower() not in WRITERS:
        raise BadInput(f"{output.name} cannot be written as {output.suffix}; choose {ENDINGS}")
    return other_than(source, output, overwrite)


def target_clip(source: Path, given: str, overwrite: bool) -> Path:
    """Where a video goes: the file given with -o, or the source's name in the folder given."""
    from ..images.video_writer import check_target

    output, ending = Path(given), "gif" if source.suffix.lower() == ".gif" else "mp4"
    if is_folder(given, ending):
        output = output / source.with_suffix(f".{ending}").name
    check_target(output)
    return other_than(source, output, overwrite)


def is_folder(given: str, ending: str) -> bool:
    """Does -o name a folder: one that exists, or is written with a slash at its end? BadInput for another name without
    an ending, which could be meant as either, and for an address. ending: what a file's name might end with."""
    check_here(given)
    if os.path.isdir(given) or given.endswith(("/", os.sep)):
        return True
    if not Path(given).suffix:
        raise BadInput(f"{given} has no ending; give {given}.{ending} for a file or {given}/ for a folder")
    return False


def other_than(source: Path, output: Path, overwrite: bool) -> Path:
    """The output; BadInput when it is the source, or exists and may not be replaced."""
    if same(source, output):
        raise BadInput(f"the output is the input {source.name}; give another name")
    return free(output, overwrite)


def free(target: Path, overwrite: bool) -> Path:
    """The target; BadInput when it exists and may not be replaced."""
    if os.path.exists(target) and not overwrite:
        raise BadInput(f"{target} exists; give another name or add --overwrite")
    return target


def writable_name(name: str) -> str:
    """The name, with .png after an ending that cannot be written."""
    from ..provenance.metadata import WRITERS

    return name if Path(name).suffix.lower() in WRITERS else f"{name}.png"


def same(source: Path, output: Path) -> bool:
    """Do both lead to one place?"""
    return source.resolve() == output.resolve() or (
        os.path.exists(source) and os.path.exists(output) and source.samefile(output)
    )
