"""Makes small video files for the tests with PyAV alone, so that reader and writer are checked by something else."""

import struct
from fractions import Fraction

import av
import numpy as np

SOUND_RATE = 44_100


def make_clip(path, pictures, fps=12, times=None, sound=None, codec="libx264", seconds=None):
    """Write pictures (H,W,3) uint8 to a container of the path's ending. times: seconds of each, else `fps` a second.
    sound: the codec of a 440 Hz tone as long as the pictures, or None."""
    base = Fraction(1, 30_000)
    times = [Fraction(i) / fps for i in range(len(pictures))] if times is None else times
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.options = {"crf": "12", "preset": "ultrafast"}
        video.codec_context.time_base = base
        tone = container.add_stream(sound, rate=SOUND_RATE, layout="mono") if sound else None
        for pixels, time in zip(pictures, times, strict=True):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            picture.pts, picture.time_base = round(time / base), base
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if tone is not None:
            wave = np.sin(2 * np.pi * 440 * np.arange(round(len(pictures) / fps * SOUND_RATE)) / SOUND_RATE)
            samples = av.AudioFrame.from_ndarray((wave * 20_000).astype(np.int16)[None], "s16", "mono")
            samples.sample_rate, samples.pts, samples.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
            container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
    return path


def pictures_of(path):
    """Every frame of a file as (H,W,3) uint8, and its time in seconds."""
    with av.open(str(path)) as container:
        return [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]


def rate_of(path):
    """Frames a second that a file states."""
    with av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate)


def sound_of(path):
    """Codec and coded packets of a file's sound, or None."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        return stream.codec_context.name, [bytes(packet) for packet in container.demux(stream) if packet.size]


def turned(mp4):
    """The bytes of an MP4 whose header says: show it turned by 90 degrees clockwise, as phones do."""
    at = mp4.index(b"tkhd") + 4 + 40
    one, width = 1 << 16, struct.unpack(">I", mp4[at + 36 : at + 40])[0]
    return mp4[:at] + struct.pack(">9i", 0, one, 0, -one, 0, 0, width, 0, 1 << 30) + mp4[at + 36 :]
