"""The marks of a clip: the XMP packet of an MP4 or a GIF, and the watermark in frames spread over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..images.alignment import frame_matrix
from ..images.photo import open_file
from ..images.search import FoundFace
from ..images.video_reader import Clip
from ..images.video_writer import XMP_BOX
from .watermark import SIDE, score

MOST_FRAMES = 8
"""How many frames of a clip are looked at, spread over its length."""
MOST_PACKET = 1 << 20
"""Bytes at the start and at the end of a file in which an XMP packet is looked for."""
PACKET = b"<x:xmpmeta", b"</x:xmpmeta>"


def clip_scores(
    path: str | os.PathLike[str], detector: Callable[[np.ndarray], list[FoundFace]], most_faces: int
) -> tuple[float, ...]:
    """The score of the face that carries the mark best, in each frame that was looked at and shows a face.

    BadInput for what is no clip, MissingModel without PyAV.
    """
    with Clip(path) as clip:
        count, rate = clip.count, float(clip.rate)
    spread = 1.0 if count is None else None if count <= MOST_FRAMES else rate * MOST_FRAMES / count
    scores = []
    with Clip(path, spread) as clip:
        for frame in islice(clip, MOST_FRAMES):
            found = detector(frame.pixels)[:most_faces]
            if found:
                frames = (frame_matrix(face.landmarks, SIDE) for face in found)
                scores.append(round(max(score(frame.pixels, matrix) for matrix in frames), 2))
    return tuple(scores)


def clip_packet(path: str | os.PathLike[str]) -> str:
    """The XMP packet of a clip as text, empty where there is none: in an MP4's box of its own, else near either end of
    the file, where a GIF and other containers have it."""
    with open_file(Path(path), "video") as file:
        size = os.fstat(file.fileno()).st_size
        for data in (*_boxes(file, size), *_ends(file, size)):
            start, end = data.find(PACKET[0]), data.rfind(PACKET[1])
            if 0 <= start < end:
                return data[start : end + len(PACKET[1])].decode("utf-8", "replace")
    return ""


def _boxes(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The XMP boxes at the top level of an MP4 (ISO 14496-12: length, kind, content)."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(24)
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:  # 64 bits of length follow the kind
            length, start = int.from_bytes(head[8:16], "big"), 16
        length = length or size - place
        if length < start:
            return
        if head[4:8] == b"uuid" and head[8:24] == XMP_BOX:
            yield file.read(min(length - 24, MOST_PACKET))
        place += length


def _ends(file: BinaryIO, size: int) -> Iterator[bytes]:
    for place in (max(0, size - MOST_PACKET), 0):
        file.seek(place)
        yield file.read(MOST_PACKET)
