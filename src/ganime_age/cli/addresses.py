"""Photos that a command is given as web addresses: fetched where --allow-download stands, refused otherwise."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import BadInput
from ..images.endings import CLIPS, PHOTOS
from .folders import URL
from .shards import is_shard

# images/download.py is imported where an address is given: it takes a tenth of a second.

FETCHED = ("photo", "source", "driving")
"""Arguments that name one photo, which is fetched once."""
READ_LATER = "au_from"
"""The argument that each process of a folder's edit reads for itself, maybe on another machine."""


@contextmanager
def photos_here(args: argparse.Namespace) -> Iterator[None]:
    """Within the block the photos of a command that are at web addresses are files of this machine. BadInput, before
    weights are loaded, where one may not be fetched or cannot be."""
    with ExitStack() as files:
        for name in (*FETCHED, READ_LATER):
            given = getattr(args, name, None)
            if not isinstance(given, str) or "://" not in given or (name == "photo" and _is_folder(args)):
                continue
            from ..images.download import address_name, check_address, fetched, is_address

            if not is_address(given):
                continue
            if is_shard(address_name(given)):
                raise BadInput(f"{given} is the address of a shard; download it and give its path")
            check_address(given, args.allow_download)
            if name != READ_LATER:
                photo = fetched(given, allowed=True)
                path = Path(files.enter_context(tempfile.TemporaryDirectory()), photo.name)
                path.write_bytes(photo.getbuffer())
                setattr(args, name, str(path))
        yield


def check_here(given: str) -> None:
    """BadInput where a result is to be written to an address."""
    if "://" in given:
        from ..images.download import is_address

        if is_address(given):
            raise BadInput(f"the output {given} is an address; give a path on this machine")


def _is_folder(args: argparse.Namespace) -> bool:
    """Is the photo of `edit` a folder behind a URL?"""
    ending = Path(args.photo).suffix.lower()
    return "engine" in args and URL.match(args.photo) is not None and ending not in (*PHOTOS, *CLIPS)
