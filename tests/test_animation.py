"""Edits over time: keyframes of one photo, every frame of a clip, and what a clip's faces may do meanwhile."""

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from threading import Barrier, current_thread, main_thread
from threading import enumerate as running

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import BadInput, Edit, FaceEditor, GanimeAge, Keyframe
from ganime_age.cli import main as cli
from ganime_age.images.alignment import frame_matrix
from ganime_age.images.boxes import face_box
from ganime_age.images.search import FoundFace
from ganime_age.images.video_reader import Frame
from ganime_age.networks.skin.wrinkles import Wrinkles
from ganime_age.pipelines import overlap
from ganime_age.pipelines.animation import edit_frames
from ganime_age.pipelines.clip_face import HAIR_AT_REST, HAIR_EVERY, ClipFace, Shot
from ganime_age.pipelines.overlap import ahead, behind, side_by_side
from ganime_age.pipelines.tracking import HOLD, FaceTrack, OneEuro, SlowMean
from ganime_age.provenance.watermark import SIDE, THRESHOLD, score
from ganime_age.results import UNMARKED
from helpers.clips import make_clip, pictures_of, rate_of, sound_of
from helpers.memory import most_held
from helpers.puppets import found_face

METHOD = "ganimation_age"


@pytest.fixture(autouse=True)
def one_model(monkeypatch, editor):
    """The commands share the session's editor."""
    monkeypatch.setattr(cli, "_editor", lambda args: editor)


@pytest.fixture(scope="module")
def small(portrait):
    """The portrait at 160x160."""
    return np.asarray(Image.fromarray(portrait).resize((160, 160), Image.Resampling.LANCZOS))


@pytest.fixture
def small_file(tmp_path, small):
    Image.fromarray(small).save(tmp_path / "portrait.png")
    return tmp_path / "portrait.png"


@pytest.fixture(scope="module")
def moving(editor, small, tmp_path_factory):
    """A clip with sound, made from our own animation: six frames in which the smile goes away."""
    frames = editor.animate(small, keyframes=[{"action_units": {"AU12": 0, "AU25": 0}}], frames=6, mark=False)
    path = tmp_path_factory.mktemp("clip") / "moving.mp4"
    return make_clip(path, [np.asarray(frame) for frame in frames], sound="aac")


@pytest.fixture(scope="module")
def quick(small_weights):
    """An editor of a tiny model that finds the same face in every picture, at once."""
    landmarks = np.float32([[60 + 40 * (i % 8) / 7, 60 + 50 * (i // 8) / 8] for i in range(68)])
    landmarks[36:48] = [[70 + 2 * i, 70] for i in range(12)]
    landmarks[48:68] = [[70 + i, 100] for i in range(20)]
    face = FoundFace(face_box(landmarks), 0.9, landmarks)
    return FaceEditor(GanimeAge.from_pretrained(small_weights), detector=lambda photo: [face])


def test_an_animation_starts_with_the_photo_and_ends_with_the_edit(editor, small):
    asked = {"age": 75, "action_units": {"AU12": 0}}
    frames = [np.asarray(frame) for frame in editor.animate(small, keyframes=[asked], frames=4)]
    assert len(frames) == 4 and np.array_equal(frames[0], small)
    end = np.asarray(editor.edit(small, **asked).image)
    assert np.abs(frames[-1].astype(int) - end).max() <= 1
    way = [np.abs(frame.astype(int) - small).mean() for frame in frames]
    assert way[0] < way[1] < way[2] < way[3]


def test_there_and_back_ends_where_it_began(editor, small):
    made = editor.animate(small, keyframes=[{"age": 75}], frames=5, there_and_back=True)
    frames = [np.asarray(frame) for frame in made]
    assert np.array_equal(frames[0], small) and np.array_equal(frames[4], small)
    assert np.array_equal(frames[1], frames[3]) and not np.array_equal(frames[2], frames[1])


def test_the_face_is_found_and_read_once(quick, small, monkeypatch):
    looks = []
    detector = quick.detector
    monkeypatch.setattr(quick.pipeline, "detector", lambda photo: looks.append(1) or detector(photo))
    keys = [Keyframe(age=70), Keyframe(age=20)]
    assert len(list(quick.animate(small, keyframes=keys, frames=9))) == 9
    assert len(looks) == 1


def test_keyframes_carry_on_and_are_met(quick, small, monkeypatch):
    """What is not named stays as at the keyframe before; half-way to a keyframe is half-way between the two."""
    asked = []
    monkeypatch.setattr(quick.pipeline, "generate", lambda face, edit, method, **more: asked.append(edit))
    keys = [{"age": 20, "at": 0}, {"action_units": {"AU12": 4}, "at": 0.5}, {"age": 60, "at": 1}]
    source = quick.read(small)[0].action_units["AU12"]
    list(quick.animate(small, keyframes=keys, frames=9))
    assert [round(edit.age, 6) for edit in asked] == pytest.approx([20] * 5 + [26.25, 40, 53.75, 60])
    smile = [edit.action_units["AU12"].value for edit in asked]
    assert smile[0] == pytest.approx(source) and smile[4:] == pytest.approx([4] * 5)
    assert smile[2] == pytest.approx((source + 4) / 2)


BAD_KEYFRAMES = {
    "none": ([], {}, "an animation needs at least one keyframe"),
    "words": (["age=80"], {}, "a keyframe names age, action_units and at"),
    "unknown": ([{"smile": 3}], {}, "a keyframe names age, action_units and at"),
    "age": ([{"age": 500}], {}, "age 500 is out of range"),
    "unit": ([{"action_units": {"AU99": 1}}], {}, "unknown action unit 'AU99'"),
    "some at": ([{"age": 5, "at": 0}, {"age": 9}], {}, "some keyframes say when they are and some do not"),
    "back in time": (
        [{"age": 5, "at": 1}, {"age": 9, "at": 0.5}],
        {},
        r"keyframes are at \[1, 0.5\]; give rising",
    ),
    "one frame": ([{"age": 5}], {"frames": 1}, "1 frames make no animation; give between 2 and"),
    "face": ([{"age": 5}], {"face": 3}, "face 3 does not exist; the photo has 1 face"),
    "method": ([{"age": 5}], {"method": "magic"}, "unknown method 'magic'"),
}


@pytest.mark.parametrize("kind", BAD_KEYFRAMES)
def test_bad_keyframes_are_one_sentence_at_once(quick, small, kind):
    keyframes, others, sentence = BAD_KEYFRAMES[kind]
    with pytest.raises(BadInput, match=sentence) as caught:
        quick.animate(small, keyframes=keyframes, **others)
    assert "\n" not in str(caught.value)


def test_the_command_animate_writes_mp4_and_gif(tmp_path, small_file, small, capsys):
    mp4, gif = tmp_path / "new" / "a.mp4", tmp_path / "a.gif"
    asked = ["--to", "age=75", "--to", "AU12=0", "--seconds", "0.5", "--fps", "12"]
    assert cli.main(["animate", str(small_file), "-o", str(mp4), *asked]) == 0
    assert (
        cli.main(["animate", str(small_file), "-o", str(gif), "--ages", "5", "75", "--seconds", "0.3"]) == 0
    )
    said = capsys.readouterr()
    assert f"{mp4}  6 frames" in said.out and f"{gif}  4 frames" in said.out and said.err == ""
    assert rate_of(mp4) == 12 and len(pictures_of(mp4)) == 6 and len(pictures_of(gif)) == 4
    assert np.abs(pictures_of(mp4)[0][0].astype(int) - small).mean() < 3
    for path in (mp4, gif):
        assert b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes()


BAD_ANIMATIONS = {
    "nothing": ([], "nothing is asked for; give --to age=80"),
    "both": (["--to", "age=8", "--ages", "5", "9"], "--ages names the whole way"),
    "one age": (["--ages", "5"], "one age makes no way; give at least two"),
    "age twice": (["--to", "age=8", "--to", "age=9"], "age is asked for twice"),
    "age word": (["--to", "age=old"], "age 'old' is not a number"),
    "unit": (["--to", "AU99=1"], "unknown action unit 'AU99'"),
    "seconds": (["--to", "age=8", "--seconds", "x"], "seconds 'x' is not a number; give 0.1 to 600"),
    "fps": (["--to", "age=8", "--fps", "0"], "fps 0 is out of range; give 1 to 60"),
}


@pytest.mark.parametrize("kind", BAD_ANIMATIONS)
def test_a_bad_animation_is_one_line_and_writes_nothing(tmp_path, small_file, capsys, kind):
    arguments, sentence = BAD_ANIMATIONS[kind]
    assert cli.main(["animate", str(small_file), "-o", str(tmp_path / "out" / "a.mp4"), *arguments]) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == [small_file]


def test_a_long_photo_is_scaled_down_before_it_moves(quick, tmp_path):
    long = np.zeros((100, 2000, 3), np.uint8)
    result = quick.animate_video(long, tmp_path / "a.mp4", keyframes=[{"age": 9}], seconds=0.2, fps=10)
    assert (result.frames, result.rate, result.size) == (2, 10, (1920, 96))
    assert pictures_of(tmp_path / "a.mp4")[0][0].shape == (96, 1920, 3)


def test_every_frame_of_a_clip_is_edited_and_the_sound_stays(tmp_path, moving, editor, capsys):
    out = tmp_path / "old.mp4"
    assert cli.main(["edit", str(moving), "-o", str(out), "--age", "90"]) == 0
    said = capsys.readouterr()
    assert f"{out}  6 frames at 12 a second, 6 edited" in said.out and said.err == ""
    before, after = pictures_of(moving), pictures_of(out)
    assert [when for _, when in after] == [when for _, when in before] and rate_of(out) == 12
    assert sound_of(out) == sound_of(moving)
    for (old, _), (new, _) in zip(before, after, strict=True):
        assert np.abs(old.astype(int) - new).mean() > 2
    older = [editor.read(picture)[0] for picture, _ in after]
    grown = [new.age - editor.read(old)[0].age for new, (old, _) in zip(older, before, strict=True)]
    assert np.mean(grown) > 15 and min(grown) > 12, "every frame"
    # The clip's compression weakens the mark: a single frame may fall a little short of the threshold for photos.
    scores = [
        score(picture, frame_matrix(face.landmarks, SIDE))
        for (picture, _), face in zip(after, older, strict=True)
    ]
    assert min(scores) > 0.8 * THRESHOLD
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()


def test_a_gif_has_no_sound_and_says_so(tmp_path, moving, quick):
    result = quick.edit_video(moving, tmp_path / "a.gif", age=75, mark=False)
    assert result.warnings == ("a GIF holds no sound; it is left out", UNMARKED)
    assert len(pictures_of(tmp_path / "a.gif")) == 6
    assert b"compositeWithTrainedAlgorithmicMedia" not in (tmp_path / "a.gif").read_bytes()


def test_progress_is_told_frame_by_frame(tmp_path, moving, quick):
    told = []
    quick.edit_video(moving, tmp_path / "a.mp4", age=75, progress=lambda *done: told.append(done))
    assert told == [(i, 6, "Frames") for i in range(1, 7)]


def test_of_two_faces_the_largest_is_edited_or_the_one_asked_for(tmp_path, editor, two_faces):
    photo = np.asarray(Image.fromarray(two_faces).resize((390, 240)))
    clip = make_clip(tmp_path / "two.mp4", [photo] * 2)
    before = [reading.age for reading in editor.read(pictures_of(clip)[0][0])]
    for face in (0, 1):
        result = editor.edit_video(clip, tmp_path / f"{face}.mp4", age=80, face=face)
        assert result.warnings == (
            f"up to 2 faces were found at once; face {face} is edited (0 is the largest)",
        )
        after = [reading.age for reading in editor.read(pictures_of(tmp_path / f"{face}.mp4")[0][0])]
        assert after[face] > before[face] + 15 and abs(after[1 - face] - before[1 - face]) < 8
    with pytest.raises(
        BadInput, match="face 2 does not exist; two.mp4 shows at most 2 faces, numbered from 0"
    ):
        editor.edit_video(clip, tmp_path / "no.mp4", age=75, face=2)
    assert not (tmp_path / "no.mp4").exists()


def test_a_clip_without_a_face_is_one_sentence_and_nothing_is_written(tmp_path, editor, faceless, capsys):
    clip = make_clip(tmp_path / "empty.mp4", [faceless[:128, :128]] * 2)
    assert cli.main(["edit", str(clip), "-o", str(tmp_path / "new" / "a.mp4"), "--age", "75"]) == 2
    said = capsys.readouterr()
    assert (
        "no face was found in empty.mp4; give a video with a face" in said.err and said.err.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == [clip]


def test_a_bad_clip_command_is_one_line(tmp_path, moving, small_file, capsys):
    for arguments, sentence in (
        (
            [moving, "-o", tmp_path / "a.png"],
            "a.png cannot be written as .png; a video is written as .mp4 or .gif",
        ),
        (
            [small_file, "-o", tmp_path / "a.mp4"],
            "portrait.png is one picture; ganime-age animate makes a video",
        ),
        ([moving, "-o", moving, "--overwrite"], "the output is the input moving.mp4"),
        (
            [moving, "-o", tmp_path / "a.mp4", "--face", "-1"],
            "face -1 does not exist; faces are numbered from 0",
        ),
        ([moving, "-o", tmp_path / "a.mp4", "--method", "magic"], "unknown method 'magic'"),
    ):
        assert cli.main(["edit", *map(str, arguments), "--age", "70"]) == 2
        said = capsys.readouterr()
        assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == [small_file]


def test_steadied_edits_flicker_less(editor, small):
    """A camera that shakes by whole pixels, so the shake can be taken away again and what is left is flicker. In the
    face alone: greyed hair is brightened by a factor, and the camera's noise in it too, steady or not."""
    points = editor.read(small)[0].landmarks
    (left, top), (right, bottom) = points.min(0).astype(int), points.max(0).astype(int)
    rng = np.random.default_rng(0)
    shakes = rng.integers(-2, 3, (7, 2))
    noisy = [np.roll(small, shake, (0, 1)) + rng.normal(0, 2, small.shape) for shake in shakes]
    noisy = [pixels.round().clip(0, 255).astype(np.uint8) for pixels in noisy]

    def flicker(steady):
        frames = [Frame(pixels, Fraction(i, 25), Fraction(1, 25)) for i, pixels in enumerate(noisy)]
        done = edit_frames(editor.pipeline, frames, Edit.of(75), METHOD, FaceTrack(steady=steady), mark=False)
        changes = [frame.pixels.astype(int) - pixels for frame, pixels in zip(done, noisy, strict=True)]
        still = [np.roll(change, -shake, (0, 1)) for change, shake in zip(changes, shakes, strict=True)]
        still = [change[top:bottom, left:right] for change in still]
        return np.mean([np.abs(a - b).mean() for a, b in zip(still[1:], still[2:], strict=False)])

    steadied, shaken = flicker(steady=True), flicker(steady=False)
    assert steadied < 0.97 * shaken and steadied < 0.39, "levels of 255 from frame to frame"


def test_a_face_is_searched_for_and_read_now_and_then(editor, small, monkeypatch):
    """Between, it is followed: most frames take neither a search nor a reading, and creases are chosen once."""
    asked, real, choose = [], editor.pipeline.read, Wrinkles.choose
    search = type(editor.detector)._seek
    monkeypatch.setattr(editor.pipeline, "read", lambda *a, **k: asked.append("read") or real(*a, **k))
    monkeypatch.setattr(Wrinkles, "choose", lambda *a: asked.append("choose") or choose(*a))
    monkeypatch.setattr(
        type(editor.detector), "_seek", lambda self, photo: asked.append("search") or search(self, photo)
    )
    away = np.full_like(small, 90)
    pictures = [np.roll(small, i, 1) for i in range(5)] + [away] + [np.roll(small, 5, 1)]
    frames = [Frame(pixels, Fraction(i, 25), Fraction(1, 25)) for i, pixels in enumerate(pictures)]
    track = FaceTrack()
    done = list(edit_frames(editor.pipeline, frames[:5], Edit.of(75), METHOD, track, mark=False))
    assert [asked.count(what) for what in ("search", "read", "choose")] == [1, 2, 1]
    assert all((a.pixels != b).any() for a, b in zip(done, pictures, strict=False))
    assert track.seen == 5 and not track.lost
    list(edit_frames(editor.pipeline, frames[5:], Edit.of(75), METHOD, track, mark=False))
    assert track.shots > 1 and track.seen == 6  # a face that is gone is not made up where it was


def test_a_face_that_is_not_steadied_is_read_in_every_frame(editor, small, monkeypatch):
    asked, real = [], editor.pipeline.read
    monkeypatch.setattr(editor.pipeline, "read", lambda *a, **k: asked.append("read") or real(*a, **k))
    monkeypatch.setattr(editor.pipeline, "paste", lambda face, *more: face.photo)
    frames = [Frame(np.roll(small, i, 1), Fraction(i, 25), Fraction(1, 25)) for i in range(3)]
    for steady, times in ((False, 3), (True, 1)):
        asked.clear()
        list(edit_frames(editor.pipeline, frames, Edit(), METHOD, FaceTrack(steady=steady), mark=False))
        assert len(asked) == times


def test_a_face_that_is_lost_stays_where_it_was_last(editor, small, monkeypatch):
    seen, blank = ClipFace(editor.pipeline, FaceTrack()), np.full_like(small, small.mean().round())
    monkeypatch.setattr(seen.track, "cuts", lambda pixels: False)
    monkeypatch.setattr(seen.track, "_cut", lambda pixels: False)
    faces = []
    for i, pixels in enumerate([small, np.roll(small, 6, 1), np.roll(small, 12, 1), blank]):
        faces.append(seen.read(pixels, seen.find(pixels, i / 25)).reading.landmarks)
    assert seen.track.lost and np.allclose(faces[3], faces[2], atol=0.1)
    assert (faces[2] - faces[0]).mean(0)[0] > 10


def test_what_is_read_ahead_or_written_behind_keeps_order_and_says_its_errors():
    def broken():
        yield from range(4)
        raise BadInput("cut off")

    taken = []
    with pytest.raises(BadInput, match="cut off"), ahead(broken()) as items:
        for item in items:
            taken.append(item)
    assert taken == [0, 1, 2, 3]
    taken.clear()
    with ahead(range(5)) as items, behind(taken.append) as later:
        for item in items:
            later(10 + item)
    assert taken == [10, 11, 12, 13, 14]

    together = Barrier(2)

    def waiting(item):
        together.wait(60)  # raises unless two items are in hand at a time
        return item

    with side_by_side(waiting, range(4)) as made:
        assert list(made) == [0, 1, 2, 3]
    with pytest.raises(BadInput, match="cut off"), side_by_side(str, broken()) as made:
        list(made)

    def full(item):
        if item == 1:
            raise OSError("disk full")
        taken.append(item)

    with pytest.raises(OSError, match="disk full"), behind(full) as later:
        for item in range(20):
            later(item)
    assert taken[5:] == [0]


def test_threads_beside_each_other_compute_on_a_share_of_the_cores_and_others_on_all():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        cores = lambda _: torch.get_num_threads()  # noqa: E731
        with side_by_side(cores, range(4)) as made, ahead(map(cores, range(2)), share=True) as more:
            assert [*made, *more] == [2] * 6
        with ahead(map(cores, range(2))) as alone:
            assert [*alone, torch.get_num_threads()] == [4] * 3
    finally:
        torch.set_num_threads(before)


def test_a_key_that_stops_it_while_threads_begin_leaves_none_waiting(monkeypatch):
    class Pressed(Barrier):
        def wait(self, timeout=None):
            if current_thread() is main_thread():
                raise KeyboardInterrupt
            return super().wait(20)

    monkeypatch.setattr(overlap, "Barrier", Pressed)
    before, cores, start = set(running()), torch.get_num_threads(), time.monotonic()
    with pytest.raises(KeyboardInterrupt), side_by_side(str, range(4)):
        pass
    assert set(running()) == before and torch.get_num_threads() == cores
    assert time.monotonic() - start < 10, "no thread waits for the others until they give up"


GREY = np.full((100, 300, 3), 90, np.uint8)


def _follow(track, found, start=0, pixels=GREY, fps=10):
    """Where the track is (mean x, or None) in each frame."""
    places = [track.follow(pixels, faces, (start + i) / fps) for i, faces in enumerate(found)]
    return [None if points is None else float(points[:, 0].mean()) for points in places]


def test_a_face_lost_for_a_moment_keeps_its_place_and_the_gap_is_told():
    track = FaceTrack()
    places = _follow(track, [[found_face(50)], [found_face(52)], [], [], [found_face(54)], [found_face(55)]])
    assert places == pytest.approx([50, 52, 52, 52, 54, 55], abs=0.1)
    assert [gap.sentence() for gap in track.gaps] == [
        "the face was lost from 0.20 to 0.40 s; its last place was used"
    ]


def test_a_face_lost_for_long_is_not_edited_where_it_was():
    track = FaceTrack()
    held = round(HOLD * 10)
    places = _follow(track, [[found_face(50)]] + [[]] * 9 + [[found_face(200)]])
    assert places[: held + 2] == pytest.approx([50] * (held + 2), abs=0.1)
    assert places[held + 2 : 10] == [None] * (8 - held) and places[10] == pytest.approx(200, abs=0.1)
    assert track.gaps[0].sentence() == "the face was lost from 0.10 to 1.00 s; frames there are not edited"


def test_another_person_never_takes_over():
    track = FaceTrack()
    places = _follow(
        track, [[found_face(50), found_face(200, size=30)]] * 2 + [[found_face(200, size=30)]] * 12
    )
    assert places[-1] is None
    assert _follow(track, [[found_face(60), found_face(200)]], start=14) == pytest.approx([60], abs=0.1)


def test_after_a_cut_the_largest_face_is_taken_at_once():
    track = FaceTrack()
    _follow(track, [[found_face(50)]] * 3)
    places = _follow(track, [[found_face(200)], [found_face(201)]], start=3, pixels=np.full_like(GREY, 200))
    assert places == pytest.approx([200, 201], abs=0.1) and track.gaps == []


def test_frames_before_the_face_comes_are_told():
    track = FaceTrack()
    assert _follow(track, [[], [found_face(50)], []])[0] is None
    track.end(0.3)
    assert [(gap.start, gap.end, gap.held) for gap in track.gaps] == [(0, 0.1, False), (0.2, 0.3, True)]


def test_the_one_euro_filter_is_steady_at_rest_and_quick_in_motion():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 200)
    resting = OneEuro(1.0, 0.0)
    assert np.std([resting(np.array([x]), 0.04) for x in noise][20:]) < 0.5 * np.std(noise)
    ramp = np.arange(50) * 10.0
    slow, quick = OneEuro(1.0, 0.0), OneEuro(1.0, 0.05)
    behind = [
        float(ramp[-1] - [filter_(np.array([x]), 0.04) for x in ramp][-1][0]) for filter_ in (slow, quick)
    ]
    assert behind[1] < 0.3 * behind[0]


def test_the_slow_mean_begins_as_the_plain_mean_and_forgets():
    mean = SlowMean(3.0)
    assert [mean(v, 0.001) for v in (10, 20, 30)] == pytest.approx([10, 15, 20], abs=0.02)
    for _ in range(400):
        last = mean(50, 0.1)
    assert last == pytest.approx(50, abs=0.1)


def test_an_expression_is_copied_without_the_pose(editor, portrait, tmp_path, capsys):
    plain = editor.edit(portrait, action_units={"AU12": 0, "AU25": 0, "AU10": 0}).image
    plain.save(tmp_path / "plain.png")
    turned = Image.fromarray(portrait).rotate(12, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    turned.save(tmp_path / "smile.png")
    shown = editor.read(turned)[0].action_units
    result = editor.edit(plain, action_units=shown)
    asked = result.asked_units()
    assert "AU06" not in asked and asked["AU12"] == pytest.approx(shown["AU12"], abs=0.01)
    assert result.reading.action_units["AU12"] > result.source_reading.action_units["AU12"] + 1
    assert result.reading.roll == pytest.approx(result.source_reading.roll, abs=3)
    out = tmp_path / "out.png"
    plain_file, smile_file = str(tmp_path / "plain.png"), str(tmp_path / "smile.png")
    assert cli.main(["edit", plain_file, "-o", str(out), "--au-from", smile_file, "--au", "AU25=0"]) == 0
    said = capsys.readouterr().out
    asked = {code: float(v) for code, v in re.findall(r"(AU\d\d) \S+ -> \S+ \(asked (\S+)\)", said)}
    assert asked["AU12"] == pytest.approx(shown["AU12"], abs=0.01) and asked["AU25"] == 0


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_file(tmp_path, small):
    clip = make_clip(tmp_path / "long.mp4", [small] * 200)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "ganime_age.cli", "edit", str(clip), "--age", "75"]
    work = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out" / "a.mp4")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until = time.monotonic() + 90
        while not any((tmp_path / "out").iterdir()) and work.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert any((tmp_path / "out").iterdir())
        work.send_signal(signal.SIGINT)
        _, said = work.communicate(timeout=60)
    finally:
        work.kill()
    assert work.returncode == 130 and said.strip().endswith("ganime-age: stopped")
    assert list((tmp_path / "out").iterdir()) == []


def test_memory_does_not_grow_with_the_clip(tmp_path, small_weights):
    """How many frames are under way at a time depends on the threads; 24 more, if they were kept, would be 24 more."""
    picture = np.indices((240, 320)).sum(0)[..., None].repeat(3, 2).astype(np.uint8)
    model = GanimeAge.from_pretrained(small_weights)
    editor = FaceEditor(model, detector=lambda photo: [found_face(200, 150, 90)])

    def held(frames: int) -> int:
        clip = make_clip(tmp_path / f"{frames}.mp4", [np.roll(picture, i, 1) for i in range(frames)])
        return most_held(lambda look: editor.edit_video(clip, tmp_path / "out.mp4", age=75, progress=look))

    assert held(40) - held(16) < 12 * picture.nbytes


def test_hair_of_a_head_at_rest_is_laid_where_the_head_went(editor, small):
    """As it was grown, without being drawn anew: where the whole picture moved, the same lies that far away."""
    pipeline, photo = editor.pipeline, np.pad(small, ((40, 40), (40, 40), (0, 0)), mode="edge")
    marks, away = editor.read(photo)[0].landmarks, np.array([8, 5], np.float32)
    (face,) = pipeline.read([pipeline.align(photo, marks, face_box(marks))], identity=False)
    grown = pipeline.grow_hair(pipeline.find_hair(face, marks), face, Edit.of(75))
    moved = np.roll(photo, (5, 8), (0, 1))
    after = pipeline.align(moved, marks + away, face_box(marks + away))
    laid = pipeline.lay_hair(grown)[0].photo.astype(int)
    again = pipeline.lay_hair(pipeline.still_on(grown, after))[0].photo.astype(int)
    assert np.abs(laid - photo).mean() > 1
    assert np.abs(again - np.roll(laid, (5, 8), (0, 1)))[13:, 16:].mean() < 0.05


def test_what_prototypes_change_first_is_drawn_on_as_if_at_once(editor, small):
    pipeline, edit = editor.pipeline, Edit.of(75, {"AU12": 3.0})
    (face,) = pipeline.read(
        [pipeline.align(small, marks := editor.read(small)[0].landmarks, face_box(marks))], identity=False
    )
    drawing = pipeline.prepare(face, edit, "ganimation_age")
    first = pipeline.change_first(drawing, "ganimation_age")
    assert drawing.changed is None and first.changed is not None
    half, whole = (pipeline.draw_batch([one], "ganimation_age")[0].face for one in (first, drawing))
    assert np.array_equal(half, whole)
    before = torch.from_numpy(face.face).permute(2, 0, 1)[None] / 127.5 - 1
    assert (first.changed - before).abs().mean() > 0.02, "the prototypes' part is done"


def test_hair_is_looked_for_less_often_while_a_head_rests(editor, small, monkeypatch):
    pipeline, looked = editor.pipeline, []
    find = pipeline.find_hair
    monkeypatch.setattr(pipeline, "find_hair", lambda *given: looked.append(len(given) < 3) or find(*given))
    marks = editor.read(small)[0].landmarks
    (face,) = pipeline.read([pipeline.align(small, marks, face_box(marks))], identity=False)

    def looks(frames: int, turning: float) -> int:
        looked.clear()
        shot = Shot(pipeline, steady=True)
        for number in range(frames):
            points = face.reading.landmarks + np.float32([number * turning, 0])
            shot.prepare(
                replace(face, reading=replace(face.reading, landmarks=points)), Edit.of(75), "ganimation_age"
            )
        return sum(looked)

    assert looks(HAIR_AT_REST + 1, 0.0) == 2
    assert looks(2 * HAIR_EVERY + 1, 2.0) == 3
