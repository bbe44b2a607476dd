"""Clips in and out: frames, times, sound, rotation, size; what cannot be read or written is one sentence."""

import subprocess
import sys
import textwrap
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from ganime_age.errors import BadInput, MissingModel
from ganime_age.images.video_reader import Clip, Frame
from ganime_age.images.video_writer import new_clip
from ganime_age.provenance.xmp import SOURCE_TYPE, xmp
from helpers.clips import make_clip, pictures_of, rate_of, sound_of, turned

RECORD = {"age": 70.0, "method": "ganimation_age", "weights": "0123"}


@pytest.fixture(scope="module")
def pictures(portrait):
    """Eight pictures, 160x128, of which no two are alike: the portrait wanders through them."""
    small = np.asarray(Image.fromarray(portrait).resize((160, 160), Image.Resampling.LANCZOS))
    return [np.roll(small, 6 * i, axis=1)[:128] for i in range(8)]


def copied(source, target, **how):
    """Read a clip and write it again as it is."""
    with (
        Clip(source, how.pop("most_rate", None)) as clip,
        new_clip(target, clip.rate, source=clip, **how) as write,
    ):
        for frame in clip:
            write(frame)
    return clip


def off(a, b):
    """Mean difference of two pictures in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_an_mp4_keeps_frames_rate_size_colours_and_its_very_sound(tmp_path, pictures):
    source = make_clip(tmp_path / "a.mp4", pictures, fps=Fraction(30_000, 1001), sound="aac")
    clip = copied(source, tmp_path / "b.mp4")
    assert (clip.count, clip.sound, clip.notes) == (8, True, ())
    assert float(clip.rate) == pytest.approx(30_000 / 1001)
    before, after = pictures_of(source), pictures_of(tmp_path / "b.mp4")
    assert [time for _, time in after] == pytest.approx([time for _, time in before], abs=1e-4)
    assert rate_of(tmp_path / "b.mp4") == pytest.approx(30_000 / 1001)
    assert max(off(a, b) for (a, _), (b, _) in zip(before, after, strict=True)) < 3
    assert sound_of(tmp_path / "b.mp4") == sound_of(source)


def test_a_gif_keeps_frames_and_times(tmp_path, pictures):
    times = [Fraction(n, 100) for n in (0, 8, 16, 40, 48, 56, 64, 90)]
    with new_clip(tmp_path / "a.gif", 12, xmp(RECORD).encode()) as write:
        for pixels, time in zip(pictures, times, strict=True):
            write(Frame(pixels, time, Fraction(8, 100)))
    clip = copied(tmp_path / "a.gif", tmp_path / "b.gif")
    assert clip.count == 8
    for name in ("a.gif", "b.gif"):
        seen = pictures_of(tmp_path / name)
        assert [time for _, time in seen] == pytest.approx([float(time) for time in times])
        assert max(off(a, b) for a, (b, _) in zip(pictures, seen, strict=True)) < 9
    with Image.open(tmp_path / "b.gif") as image:
        assert (image.n_frames, image.info["loop"], image.size) == (8, 0, (160, 128))


def test_a_varying_frame_rate_goes_on_varying(tmp_path, pictures):
    times = [Fraction(n, 100) for n in (0, 3, 10, 11, 30, 31, 80, 100)]
    copied(make_clip(tmp_path / "a.mp4", pictures, times=times), tmp_path / "b.mp4")
    assert [time for _, time in pictures_of(tmp_path / "b.mp4")] == pytest.approx(
        [float(t) for t in times], abs=1e-4
    )


def part(path, start, end=None):
    with Clip(path) as clip:
        clip.keep(start, end)
        return list(clip)


def test_a_late_part_is_the_same_to_the_pixel_and_what_lies_long_before_it_is_not_decoded(tmp_path):
    greys = [np.full((64, 64, 3), 4 * i, np.uint8) for i in range(48)]
    whole = make_clip(tmp_path / "whole.mp4", greys, codec="mpeg4")  # a key frame a second at least
    with av.open(str(whole)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(whole.read_bytes())
    for at, size in packets[3:6]:
        data[at : at + size] = bytes(size)
    (tmp_path / "harmed.mp4").write_bytes(data)
    with pytest.raises(BadInput, match="damaged"), Clip(tmp_path / "harmed.mp4") as clip:
        list(clip)
    with Clip(whole) as clip:
        wanted = [frame for frame in clip if frame.time >= 3]
    found = part(tmp_path / "harmed.mp4", 3)
    assert [float(frame.time) for frame in found] == pytest.approx([i / 12 for i in range(12)])
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(wanted, found, strict=True))


def test_a_part_begins_with_the_picture_that_is_on_show_there(tmp_path):
    times = [0, 1, 2, 6, 7, 8]
    source = make_clip(
        tmp_path / "a.mp4", [np.full((64, 64, 3), 40 * i, np.uint8) for i in range(6)], 1, times
    )
    for start, end, shown in ((5.5, None, [2, 3, 4, 5]), (3, 4, [2]), (6, 8, [3, 4])):
        assert [round(frame.pixels.mean() / 40) for frame in part(source, start, end)] == shown


def test_a_turned_clip_is_read_upright(tmp_path, pictures):
    plain = make_clip(tmp_path / "a.mp4", pictures)
    (tmp_path / "turned.mp4").write_bytes(turned(plain.read_bytes()))
    copied(tmp_path / "turned.mp4", tmp_path / "b.mp4")
    upright = np.rot90(pictures[0], -1)
    assert off(pictures_of(tmp_path / "b.mp4")[0][0], upright) < 4


def test_sound_that_mp4_cannot_copy_becomes_aac(tmp_path, pictures):
    copied(make_clip(tmp_path / "a.mov", pictures, sound="pcm_s16le"), tmp_path / "b.mp4")
    assert sound_of(tmp_path / "b.mp4")[0] == "aac"
    with av.open(str(tmp_path / "b.mp4")) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    heard = np.concatenate(frames)
    loudest = np.abs(np.fft.rfft(heard)).argmax() * 44_100 / len(heard)
    assert len(heard) / 44_100 == pytest.approx(8 / 12, abs=0.06)
    assert loudest == pytest.approx(440, abs=4)


def test_a_large_clip_is_scaled_with_a_note(tmp_path):
    picture = np.zeros((2160, 3840, 3), np.uint8)
    picture[:, 1920:] = (200, 60, 40)
    clip = copied(make_clip(tmp_path / "4k.mp4", [picture] * 2), tmp_path / "b.mp4")
    assert clip.notes == ("3840x2160 is scaled to 1920x1080",)
    small = pictures_of(tmp_path / "b.mp4")[0][0]
    assert small.shape == (1080, 1920, 3)
    assert np.abs(small[500, 1500].astype(int) - (200, 60, 40)).max() < 6


def test_of_a_fast_clip_a_gif_keeps_every_second_frame(tmp_path, pictures):
    clip = copied(make_clip(tmp_path / "a.mp4", pictures, fps=60), tmp_path / "b.gif", most_rate=50)
    assert clip.notes == ("of 60 frames a second one in 2 is kept",)
    assert len(pictures_of(tmp_path / "b.gif")) == 4 and clip.rate == 30 and clip.count == 4


def test_an_odd_side_loses_its_last_row_in_an_mp4(tmp_path, pictures):
    with new_clip(tmp_path / "a.mp4", 12) as write:
        write(Frame(np.ascontiguousarray(pictures[0][:127, :159]), Fraction(0), Fraction(1, 12)))
    assert pictures_of(tmp_path / "a.mp4")[0][0].shape == (126, 158, 3)


def test_what_is_transparent_is_white(tmp_path):
    clear = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    solid = Image.new("RGBA", (80, 80), (200, 30, 30, 255))
    clear.save(tmp_path / "a.gif", save_all=True, append_images=[solid], duration=100, disposal=2)
    with Clip(tmp_path / "a.gif") as clip:
        first, second = (frame.pixels for frame in clip)
    assert (first == 255).all() and np.abs(second[40, 40].astype(int) - (200, 30, 30)).max() < 3


def test_the_files_say_that_they_are_edited(tmp_path, pictures):
    for name in ("a.mp4", "a.gif"):
        with new_clip(tmp_path / name, 12, xmp(RECORD).encode()) as write:
            write(Frame(pictures[0], Fraction(0), Fraction(1, 12)))
        assert SOURCE_TYPE.encode() in (tmp_path / name).read_bytes()
        assert len(pictures_of(tmp_path / name)) == 1
    with av.open(str(tmp_path / "a.mp4"), options={"export_xmp": "1"}) as container:
        assert SOURCE_TYPE in container.metadata["xmp"] and "edited by AI" in container.metadata["comment"]
    with new_clip(tmp_path / "plain.mp4", 12) as write:
        write(Frame(pictures[0], Fraction(0), Fraction(1, 12)))
    assert b"ganime" not in (tmp_path / "plain.mp4").read_bytes()


def _sound_alone(path, pictures):
    with av.open(str(path), "w") as container:
        tone = container.add_stream("aac", rate=44_100, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
        samples.sample_rate = 44_100
        container.mux(tone.encode(samples))
        container.mux(tone.encode(None))


def _moov_first(pictures, path):
    """A clip of 4 s whose index comes first, as the web's do."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=12)
        video.height, video.width, video.pix_fmt, video.options = 128, 160, "yuv420p", {"preset": "ultrafast"}
        for picture in pictures * 6:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    return path.read_bytes()


def _changed(change):
    def write(path, pictures):
        path.write_bytes(change(make_clip(path, pictures).read_bytes()))

    return write


def _cut(share):
    def write(path, pictures):
        whole = _moov_first(pictures, path)
        path.write_bytes(whole[: int(len(whole) * share)])

    return write


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n"
BAD_FILES = {
    "missing": (lambda path, pictures: None, "clip.mp4 does not exist; check the path"),
    "a folder": (lambda path, pictures: path.mkdir(), "clip.mp4 is a folder; give one video"),
    "empty": (lambda path, pictures: path.write_bytes(b""), "clip.mp4 is an empty file; give a video"),
    "text": (lambda path, pictures: path.write_bytes(b"hello " * 99), "clip.mp4 is not a readable video"),
    "playlist": (lambda path, pictures: path.write_bytes(PLAYLIST), "clip.mp4 is not a readable video"),
    "index lost": (_changed(lambda b: b[: b.index(b"moov")]), "clip.mp4 is not a readable video"),
    "cut early": (_cut(0.2), r"clip.mp4 is (cut off after|damaged or cut off)"),
    "cut late": (_cut(0.8), r"clip.mp4 is (cut off after|damaged or cut off)"),
    "unknown codec": (
        _changed(lambda b: b.replace(b"avc1", b"zzzz")),
        "the video in clip.mp4 has an unknown codec; convert it to H.264 first",
    ),
    "sound alone": (_sound_alone, "clip.mp4 holds no video; give a file with moving pictures"),
    "tiny": (
        lambda path, pictures: make_clip(path, [pictures[0][:32, :32]]),
        "clip.mp4 is 32x32; both sides must be at least 64 pixels",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_one_sentence_and_nothing_is_written(tmp_path, pictures, kind):
    make, sentence = BAD_FILES[kind]
    make(tmp_path / "clip.mp4", pictures)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=sentence) as caught:
        copied(tmp_path / "clip.mp4", tmp_path / "new" / "deep" / "out.mp4")
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_whatever_stops_the_writing_leaves_what_was_there(tmp_path, pictures, name):
    target = tmp_path / name
    target.write_bytes(b"mine")
    for stop in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(stop), new_clip(target, 12) as write:
            for i in range(5):
                write(Frame(pictures[i], Fraction(i, 12), Fraction(1, 12)))
            raise stop
        assert [path.name for path in tmp_path.iterdir()] == [name] and target.read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["out.mp4", "out.gif"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, name):
    """A real refusal by the system: the process may not write files of more than 60 kB."""
    code = f"""
        import resource, signal
        from fractions import Fraction
        import numpy as np
        from ganime_age.errors import BadInput
        from ganime_age.images.video_reader import Frame
        from ganime_age.images.video_writer import new_clip
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        noise = np.random.default_rng(0)
        try:
            with new_clip({str(tmp_path / name)!r}, 12) as write:
                for i in range(40):
                    pixels = noise.integers(0, 255, (128, 160, 3), dtype=np.uint8)
                    write(Frame(pixels, Fraction(i, 12), Fraction(1, 12)))
        except BadInput as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert f"{name} cannot be written (File too large); choose another place" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_or_an_ending_that_cannot_be_written_is_one_sentence(tmp_path, pictures):
    (tmp_path / "file").write_text("in the way")
    for target, sentence in (
        (tmp_path / "file" / "out.mp4", "out.mp4 cannot be written"),
        (tmp_path / "out.avi", "out.avi cannot be written as .avi; a video is written as .mp4 or .gif"),
        (tmp_path / "out", "out cannot be written as a file without an ending"),
    ):
        with pytest.raises(BadInput, match=sentence), new_clip(target, 12) as write:
            write(Frame(pictures[0], Fraction(0), Fraction(1, 12)))


def test_without_pyav_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingModel, match=r"videos need PyAV; pip install 'ganime_age\[video\]'"):
        Clip(tmp_path / "a.mp4")
