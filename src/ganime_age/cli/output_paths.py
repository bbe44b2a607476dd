"""Where the command line writes its results: beside nothing it would destroy."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import BadInput
from ..images.video_writer import check_target
from ..provenance.metadata import ENDINGS, WRITERS


def target_file(source: Path, output: Path, overwrite: bool) -> Path:
    """Where one photo's result goes: `output` itself, or the photo's name inside it when it is a folder."""
    if os.path.isdir(output) or not output.suffix:
        output = output / writable_name(source.name)
    if output.suffix.lower() not in WRITERS:
        raise BadInput(f"{output.name} cannot be written as {output.suffix}; choose {ENDINGS}")
    return other_than(source, output, overwrite)


def target_clip(source: Path, output: Path, overwrite: bool) -> Path:
    """Where a video goes: `output` itself, or the source's name inside it when it is a folder."""
    if os.path.isdir(output) or not output.suffix:
        output = output / source.with_suffix(".gif" if source.suffix.lower() == ".gif" else ".mp4").name
    check_target(output)
    return other_than(source, output, overwrite)


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
    return name if Path(name).suffix.lower() in WRITERS else f"{name}.png"


def same(source: Path, output: Path) -> bool:
    """Do both lead to one place?"""
    return source.resolve() == output.resolve() or (
        os.path.exists(source) and os.path.exists(output) and source.samefile(output)
    )
