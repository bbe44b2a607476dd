"""Clips out: MP4 (H.264) and GIF, frame by frame, whole or not at all.

Every frame keeps its own time; a GIF to 1/100 s.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..atomic import replacing
from ..errors import BadInput
from .endings import WRITTEN_CLIPS
from .photo import open_file
from .video_reader import CLOCK, Clip, Frame, load_pyav, naming_errors, open_container

ENDINGS = WRITTEN_CLIPS
GIF_RATE = 50
"""Most frames a second of a GIF that browsers play; they read a delay under 2/100 s as 10/100 s."""

COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus")
BT709 = 1  # by its number in ITU-T H.273
HELD_FRAMES = 10  # that the encoder looks ahead; more would take memory
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP Specification Part 3, MPEG-4
XMP_TRAILER = bytes(
    [1, *range(255, -1, -1), 0]
)  # likewise, GIF: however a reader skips, it ends at the last byte
GIF_END = b";"


def check_target(target: str | os.PathLike[str]) -> str:
    """The ending of a clip's file name, .mp4 or .gif; BadInput for any other."""
    path = Path(target)
    if path.suffix.lower() not in (".mp4", ".gif"):
        ending = path.suffix or "a file without an ending"
        raise BadInput(f"{path.name} cannot be written as {ending}; a video is written as {ENDINGS}")
    return path.suffix.lower()


@contextmanager
def new_clip(
    target: str | os.PathLike[str],
    rate: Fraction | float,
    xmp: bytes | None = None,
    source: Clip | None = None,
) -> Iterator[Callable[[Frame], None]]:
    """Write an MP4 or a GIF, by its ending: `with new_clip(path, 12) as write: write(frame)`.

    rate: frames a second, their mean where it varies. xmp: a finished XMP packet that says what edited the clip, UTF-8;
    None writes none. source: its sound goes into an MP4, copied where MP4 can hold it, else as AAC. The sides of an MP4
    are even: an odd one loses its last row. Whatever ends the block early, Ctrl-C too, leaves nothing. BadInput for an
    ending or a place that cannot be written.
    """
    av, path = load_pyav(), Path(target)
    kind = _Mp4 if check_target(target) == ".mp4" else _Gif
    with _new_file(path) as file:
        writer = kind(av, file, path, Fraction(rate).limit_denominator(1_000_000), xmp, source)
        try:
            yield writer.write
            writer.finish()
        finally:
            writer.close()


class _Writer(ABC):
    """What MP4 and GIF share: an encoder that starts with the first frame, whose size is the clip's."""

    def __init__(
        self,
        av: Any,
        file: BinaryIO,
        path: Path,
        rate: Fraction,
        xmp: bytes | None,
        source: Clip | None,
    ):
        self._av, self._file, self._path, self._rate, self._xmp = av, file, path, rate, xmp
        self._clip, self._base, self._last = source, source.time_base if source else CLOCK, None
        self._container: Any = None
        self._stream: Any = None
        self._sound: _Sound | None = None
        self._lengths: dict[int, int] = {}

    @abstractmethod
    def _start(self, width: int, height: int) -> None: ...

    @abstractmethod
    def _add(self, frame: Frame) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    def write(self, frame: Frame) -> None:
        with _writing(self._path, self._av.error.FFmpegError):
            if self._container is None:
                self._start(*frame.pixels.shape[1::-1])
            self._add(frame)

    def finish(self) -> None:
        with _writing(self._path, self._av.error.FFmpegError):
            self._end()

    def close(self) -> None:
        """Free the encoder; after `finish` there is nothing left to do."""
        if self._container is not None:
            with suppress(Exception):
                self._container.close()
        if self._sound is not None:
            self._sound.close()

    def _timed(self, frame: Frame, picture: Any, least: int = 1) -> Any:
        """A picture with its time on the clip's clock, at least `least` ticks after the one before."""
        ticks = round(frame.time / self._base)
        picture.pts = ticks if self._last is None else max(ticks, self._last + least)
        picture.time_base, self._last = self._base, picture.pts
        self._lengths[picture.pts] = max(least, round(frame.duration / self._base))
        return picture

    def _encode(self, picture: Any) -> None:
        for packet in self._stream.encode(picture):
            packet.duration = self._lengths.pop(packet.pts, 0)
            self._container.mux(packet)


class _Mp4(_Writer):
    def _start(self, width: int, height: int) -> None:
        self._container = self._av.open(self._file, "w", format="mp4")
        stream = self._stream = self._container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height, stream.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast", "rc-lookahead": str(HELD_FRAMES)}
        codec = stream.codec_context
        codec.time_base = self._base
        codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = BT709
        if self._xmp is not None:
            self._container.metadata["comment"] = "A face in this video was edited by AI (ganime_age)."
        self._sound = (
            _Sound(self._av, self._clip, self._container) if self._clip and self._clip.sound else None
        )

    def _add(self, frame: Frame) -> None:
        pixels = np.ascontiguousarray(frame.pixels[: self._stream.height, : self._stream.width])
        picture = self._av.VideoFrame.from_ndarray(pixels, "rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        self._encode(self._timed(frame, picture))
        if self._sound is not None:
            self._sound.until(frame.time)

    def _end(self) -> None:
        self._encode(None)
        if self._sound is not None:
            self._sound.until(None)
        self._container.close()
        if self._xmp is not None:
            box = struct.pack(">I4s16s", 24 + len(self._xmp), b"uuid", XMP_BOX)
            self._file.seek(0, os.SEEK_END)
            self._file.write(box + self._xmp)


class _Sound:
    """The sound of a clip on its way into an MP4, packet by packet."""

    def __init__(self, av: Any, clip: Clip, output: Any):
        self._av, self._clip, self._output = av, clip, output
        self._file = open_file(clip.path, "video")
        self._container = open_container(av, self._file, clip.name)
        stream = next(s for s in self._container.streams.audio if s.codec_context is not None)
        self._copied = stream.codec_context.name in COPIED_SOUND
        if self._copied:
            self._stream = output.add_stream_from_template(stream)
        else:
            self._stream = output.add_stream("aac", rate=stream.codec_context.sample_rate)
        self._packets = self._container.demux(stream)
        self._next = next(self._packets, None)

    def until(self, time: Fraction | None) -> None:
        """Everything that sounds up to a time in seconds; None: the rest."""
        with naming_errors(self._av, self._clip.name):
            while self._next is not None and (time is None or self._time(self._next) <= time):
                if self._clip.holds(self._time(self._next)):
                    for packet in self._ready(self._next):
                        self._output.mux(packet)
                self._next = next(self._packets, None)
            if time is None and not self._copied:
                self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _time(self, packet: Any) -> Fraction:
        return (packet.dts or 0) * Fraction(packet.time_base) - self._clip.start

    def _ready(self, packet: Any) -> list[Any]:
        """What an input packet becomes in the output, its times counted from the first frame."""
        shift = round(self._clip.start / Fraction(packet.time_base))
        if not self._copied:
            frames = packet.decode()
            for frame in frames:
                frame.pts = None if frame.pts is None else frame.pts - shift
            return [coded for frame in frames for coded in self._stream.encode(frame)]
        if packet.dts is None:
            return []
        packet.dts, packet.pts = (
            packet.dts - shift,
            packet.dts - shift if packet.pts is None else packet.pts - shift,
        )
        packet.stream = self._stream
        return [packet]


class _Gif(_Writer):
    """Each frame has its own 256 colours, ordered dithering keeps what does not move still."""

    def _start(self, width: int, height: int) -> None:
        self._base = Fraction(1, 100)
        self._container = self._av.open(self._file, "w", format="gif", options={"loop": "0"})
        stream = self._stream = self._container.add_stream("gif", rate=self._rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base = self._base
        self._graph = graph = self._av.filter.Graph()
        picture = graph.add_buffer(width=width, height=height, format="rgb24", time_base=self._base)
        split, sink = graph.add("split"), graph.add("buffersink")
        palette = graph.add("palettegen", "stats_mode=single")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4")
        picture.link_to(split)
        split.link_to(palette, 0, 0)
        split.link_to(use, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def _add(self, frame: Frame) -> None:
        picture = self._av.VideoFrame.from_ndarray(frame.pixels, "rgb24")
        self._graph.push(self._timed(frame, picture, least=100 // GIF_RATE))
        self._drain()

    def _end(self) -> None:
        self._graph.push(None)
        self._drain()
        self._encode(None)
        self._container.close()
        if self._xmp is not None:
            self._file.seek(-len(GIF_END), os.SEEK_END)
            self._file.write(b"\x21\xff\x0bXMP DataXMP" + self._xmp + XMP_TRAILER + GIF_END)

    def _drain(self) -> None:
        with suppress(self._av.error.BlockingIOError, self._av.error.EOFError):
            while True:
                picture = self._graph.pull()
                picture.time_base = self._base
                self._encode(picture)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """`replacing`, opened; BadInput where the file system refuses, while errors of the block stay what they are."""
    with ExitStack() as renaming:
        with _writing(path):
            part = renaming.enter_context(replacing(path, make_folders=True))
            file = part.open("w+b")
        with file:
            yield file
        with _writing(path):
            renaming.close()


@contextmanager
def _writing(path: Path, *failures: type[Exception]) -> Iterator[None]:
    caught: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        yield
    except caught as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path} cannot be written ({reason}); choose another place") from None
