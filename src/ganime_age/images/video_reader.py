"""Clips in: any video that PyAV (FFmpeg) reads, one frame at a time, so that memory stays flat however long it is.

Every frame keeps its own time, so a frame rate that varies goes on varying in the same way. Frames are upright
(rotation applied, then forgotten) and of square pixels.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import BadInput, MissingModel
from .download import is_address
from .endings import CLIPS
from .photo import MAX_PIXELS, MIN_SIDE, is_animated, open_file, photo_name

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,asf"
"""FFmpeg's names of the accepted formats. Playlists are excluded: they open other files and addresses."""

SUFFIXES = CLIPS
"""File endings that are always clips; a .gif may also be a photo."""

MAX_SIDE = 1920
BROWSER_CODECS = ("h264", "vp8", "vp9", "av1")
"""FFmpeg's names of the codecs that browsers play."""
HDR_TRANSFERS = (16, 18)  # PQ and HLG, by their numbers in ITU-T H.273
CLOCK = Fraction(1, 90_000)
SOUGHT = ("mov", "matroska")
"""First names, as FFmpeg has them, of the formats whose frames keep their times when their reading starts later."""
BEFORE_PART = 1  # seconds; a key frame is found by when it is decoded, which is a little before it is shown
MISSING_SECONDS, MISSING_SHARE = 0.5, 0.05  # what may lack at the end before a clip counts as cut off


class Frame(NamedTuple):
    """One picture of a clip, (H,W,3) uint8 RGB; when it is shown and for how long, in seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


class Clip:
    """A video file or a GIF, to be read once: `with Clip(path) as clip: for frame in clip: ...`

    name; rate: frames a second, their mean where it varies; count: frames, about, or None where the file does not
    say; sound: whether there is any that can be read; notes: sentences about what is changed in reading. Sides longer
    than 1920 pixels are scaled down. most_rate: of a faster clip only every second, third, ... frame is read.
    BadInput says what is wrong with a file, in the middle of the reading too.
    """

    rate: Fraction
    count: int | None
    start: Fraction
    _seconds: Fraction
    _length: Fraction | None = None

    def __init__(self, path: str | os.PathLike[str], most_rate: float | None = None):
        self._av = load_pyav()
        if is_address(path):
            raise BadInput(f"{path} is a web address; download the clip and give its path")
        self.path, self.name = Path(path), photo_name(path)
        self._kept, self._offset = False, Fraction(0)
        self._file = open_file(self.path, "video")
        try:
            self._container = open_container(self._av, self._file, self.name)
            self._stream = self._picture_stream()
            self._measure(most_rate)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    @property
    def seconds(self) -> float:
        """How long it is; 0 where the file does not say."""
        return float(self._seconds)

    @property
    def plays_in_browsers(self) -> bool:
        """Whether a browser shows it as it is."""
        return self.path.suffix.lower() in (".mp4", ".webm") and self._codec in BROWSER_CODECS

    def keep(self, start: float, end: float | None) -> None:
        """From now on only what is shown from `start` to `end` seconds counts, sound and pictures; its times count from
        `start`. None: to the clip's end."""
        self.start, self._offset = self.start + Fraction(start), Fraction(start)
        self._length = None if end is None else Fraction(end) - Fraction(start)
        if self.count is not None:
            kept = self._seconds - Fraction(start) if self._length is None else self._length
            self.count = min(self.count, max(1, math.ceil(kept * self.rate)))
        self._kept = True

    def holds(self, time: Fraction) -> bool:
        """Whether a moment, in seconds from the start, is within what `keep` has left."""
        return not self._kept or (0 <= time and (self._length is None or time < self._length))

    def __iter__(self) -> Iterator[Frame]:
        step, last, end, number = self._every / self._rate, None, Fraction(0), -1
        before = None  # of what is kept: the last frame until its start; it is shown until the next one
        with naming_errors(self._av, self.name):
            for number, frame in enumerate(self._decoded()):
                if number % self._every:
                    continue
                base = Fraction(frame.time_base or self.time_base)
                time = -self._offset if frame.pts is None else frame.pts * base - self.start
                if last is not None and time <= last:
                    time = last + step
                length = frame.duration * base * self._every if frame.duration else step
                last, end = time, time + length
                if self._kept and time <= 0:
                    before = frame
                    continue
                if before is not None:
                    yield Frame(self._pixels(before), Fraction(0), time)
                    before = None
                if not self.holds(time):
                    return
                yield Frame(self._pixels(frame), time, length)
            if before is not None and end > 0:
                yield Frame(self._pixels(before), Fraction(0), end)
        if number < 0:
            raise BadInput(f"{self.name} holds no frames; give a whole video")
        if self._seconds - self._offset - end > max(MISSING_SECONDS, MISSING_SHARE * self._seconds):
            raise BadInput(
                f"{self.name} is cut off after {end:.1f} of {self._seconds:.1f} s; give the whole file"
            )

    def _decoded(self) -> Iterator[Any]:
        """PyAV's frames: all of them, or those from a key frame well before the part that is kept.

        Every frame between that key frame and the part is decoded, so the part is the same as when all are.
        """
        target = self._offset - BEFORE_PART
        if target > 0 and self._every == 1 and self._container.format.name.split(",")[0] in SOUGHT:
            start = self.start - self._offset
            self._container.seek(round((start + target) / self.time_base), stream=self._stream)
            frames = self._container.decode(self._stream)
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts * self.time_base <= self.start:
                yield first
                yield from frames
                return
            self._container.seek(round(start / self.time_base), stream=self._stream)
        yield from self._container.decode(self._stream)

    def _picture_stream(self) -> Any:
        """The stream of moving pictures; a cover picture is none."""
        covers = self._av.stream.Disposition.attached_pic
        streams = [s for s in self._container.streams.video if not s.disposition & covers]
        if not streams:
            raise BadInput(f"{self.name} holds no video; give a file with moving pictures")
        if streams[0].codec_context is None:
            raise BadInput(f"the video in {self.name} has an unknown codec; convert it to H.264 first")
        return streams[0]

    def _measure(self, most_rate: float | None) -> None:
        stream, codec = self._stream, self._stream.codec_context
        aspect = Fraction(codec.sample_aspect_ratio or 1) or 1
        width, height = round(codec.width * aspect), codec.height
        if width * height > MAX_PIXELS:
            raise BadInput(
                f"{self.name} is {width}x{height}; the limit is {MAX_PIXELS // 1_000_000} megapixels"
            )
        if min(width, height) < MIN_SIDE:
            raise BadInput(f"{self.name} is {width}x{height}; both sides must be at least {MIN_SIDE} pixels")
        self._size = scale_down(width, height)
        self.time_base, notes = Fraction(stream.time_base or CLOCK), []
        self.start = (stream.start_time or 0) * self.time_base
        self._seconds = seconds = (stream.duration or 0) * self.time_base
        counted = stream.frames / seconds if seconds and stream.frames else None
        self._rate = Fraction(counted or stream.average_rate or stream.guessed_rate or 25)
        self._every = math.ceil(self._rate / Fraction(most_rate)) if most_rate else 1
        self.rate = self._rate / self._every
        frames = stream.frames or seconds * self._rate
        self.count = math.ceil(frames / self._every) or None
        self._codec = codec.name
        self.sound = any(s.codec_context is not None for s in self._container.streams.audio)
        if self._size != (width, height):
            notes.append(f"{width}x{height} is scaled to {self._size[0]}x{self._size[1]}")
        if self._every > 1:
            notes.append(f"of {float(self._rate):g} frames a second one in {self._every} is kept")
        if getattr(codec, "color_trc", None) in HDR_TRANSFERS:
            notes.append("the clip is HDR; its colours are taken as standard ones and look flatter")
        self.notes = tuple(notes)

    def _pixels(self, frame: Any) -> np.ndarray:
        """Upright, square-pixelled, scaled; what is transparent over white."""
        clear = any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8"
        how = {"width": self._size[0], "height": self._size[1], "format": "rgba" if clear else "rgb24"}
        array = frame.reformat(**how, interpolation="AREA").to_ndarray()
        if clear:
            alpha = array[..., 3:].astype(np.float32) / 255
            array = (array[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
        return np.ascontiguousarray(np.rot90(array, round(frame.rotation / 90)))


def is_clip(source: Any) -> bool:
    """Does a path lead to a clip, rather than to one photo? By its ending; a GIF by what it holds."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    ending = Path(source).suffix.lower()
    return ending in SUFFIXES or (ending == ".gif" and is_animated(source))


def scale_down(width: int, height: int) -> tuple[int, int]:
    """Width and height, scaled down so that no side is longer than MAX_SIDE."""
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


@contextmanager
def naming_errors(av: Any, name: str) -> Iterator[None]:
    """PyAV's errors while a clip is read, as one BadInput that names the file."""
    try:
        yield
    except av.error.DecoderNotFoundError:
        raise BadInput(f"the video in {name} has an unknown codec; convert it to H.264 first") from None
    except (av.error.FFmpegError, OSError):
        raise BadInput(f"{name} is damaged or cut off; give the whole file") from None


def open_container(av: Any, file: BinaryIO, name: str) -> Any:
    """PyAV's container of an open file, restricted to FORMATS; BadInput when it is no video."""
    try:
        return av.open(file, options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError):
        raise BadInput(f"{name} is not a readable video (MP4, MOV, WebM, MKV, AVI or GIF)") from None


def load_pyav() -> Any:
    """The package `av`; MissingModel says how to install it."""
    try:
        import av
    except ImportError:
        raise MissingModel("videos need PyAV; pip install 'ganime_age[video]'") from None
    return av
