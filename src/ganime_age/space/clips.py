"""Clips that a visitor gives: the part of one that is used, its first picture, and a copy that a browser plays."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import BadInput
from ..images.video_reader import Clip
from ..images.video_writer import new_clip
from .loader import CLIP_SECONDS, LONGER

LEAST_SECONDS = 0.1


class Span(NamedTuple):
    """A part of a clip, in seconds from its start; end None: as far as it goes."""

    start: float = 0.0
    end: float | None = None

    @property
    def whole(self) -> bool:
        return self.start == 0 and self.end is None


def seconds_of(clip: Path) -> float:
    """How long a clip is; 0 where its file does not say."""
    with Clip(clip) as opened:
        return opened.seconds


def span_of(clip: Path, start: float | None, end: float | None) -> Span:
    """The part from `start` to `end` seconds, None for the clip's own; BadInput where there is none, or a longer one
    than is taken."""
    seconds = seconds_of(clip)
    first, last = start or 0.0, end
    if not all(math.isfinite(value) for value in (first, last or 0.0)) or first < 0:
        raise BadInput(f"a clip cannot start at {first:g} seconds; give 0 or more")
    if seconds and first >= seconds:
        raise BadInput(f"the clip lasts {seconds:.1f} seconds and cannot start at {first:g}; give less")
    if last is not None and seconds and last > seconds + LEAST_SECONDS:
        raise BadInput(f"the clip lasts {seconds:.1f} seconds and cannot end at {last:g}; give less")
    if last is not None and last < first + LEAST_SECONDS:
        raise BadInput(f"a clip from {first:g} to {last:g} seconds is empty; let it end after it starts")
    length = (last or seconds) - first
    if length > CLIP_SECONDS + LONGER:
        raise BadInput(
            f"the clip lasts {length:.0f} seconds; give one of at most {CLIP_SECONDS}, or a part of it (from, to)"
        )
    return Span(first, None if last is None or seconds and last >= seconds else last)


def used(clip: Path, span: Span, folder: Path) -> Path:
    """The part of a clip that is used, as a file that a browser plays: the clip itself where it is one already."""
    with Clip(clip) as opened:
        if span.whole and opened.plays_in_browsers:
            return clip
        if not span.whole:
            opened.keep(*span)
        path, frames = folder / f"{clip.stem[:40]}_part.mp4", 0
        with new_clip(path, opened.rate, source=opened) as write:
            for frame in opened:
                if frame.time > CLIP_SECONDS + LONGER:  # not every file says how long it is
                    raise BadInput(
                        f"the clip goes on for too long; give one of at most {CLIP_SECONDS} seconds"
                    )
                write(frame)
                frames += 1
            if not frames:
                raise BadInput(f"no picture lies in this part of {clip.name}; choose another")
    return path


def first_picture(clip: Path, span: Span) -> np.ndarray:
    """The first picture (H,W,3) of the part that is used."""
    with Clip(clip) as opened:
        if not span.whole:
            opened.keep(*span)
        for frame in opened:
            return frame.pixels
    raise BadInput(f"no picture lies in this part of {clip.name}; choose another")
