"""Reenactment around the networks: what drives, what comes back, and what may go wrong with either.

A stand-in for the dual generator does the simplest thing that can be checked: the driving landmarks are the target, and
the face is shifted by as much as the landmarks' mean moves.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from ganime_age import BadInput, FaceEditor, GanimeAge
from ganime_age.cli import main as cli
from ganime_age.errors import MissingModel
from ganime_age.images.alignment import frame_matrix
from ganime_age.learning.evaluation.judges import Judges
from ganime_age.learning.evaluation.measure_reenacted_clip import clip_figures
from ganime_age.pipelines.reenactment import MOST_SHIFT, MOST_TURN, place_landmarks
from ganime_age.pipelines.synthetic_driving import driving_frames
from ganime_age.provenance.watermark import SIDE, THRESHOLD, score
from ganime_age.results import UNMARKED
from helpers.clips import make_clip, pictures_of, rate_of, sound_of
from helpers.memory import most_held
from helpers.puppets import found_face, puppet


@pytest.fixture(scope="module")
def mover():
    """An editor of the shipped finder, readers and generator that reenacts by the stand-in."""
    parts = ("finder", "readers", "head", "ganimation_age")
    return FaceEditor(puppet(GanimeAge.from_pretrained(parts=parts)))


@pytest.fixture(autouse=True)
def one_model(monkeypatch, mover):
    """The commands share it."""
    monkeypatch.setattr(cli, "_editor", lambda args: mover)


@pytest.fixture(scope="module")
def small(portrait):
    """The portrait at 192x192."""
    return np.asarray(Image.fromarray(portrait).resize((192, 192), Image.Resampling.LANCZOS))


@pytest.fixture
def small_file(tmp_path, small):
    Image.fromarray(small).save(tmp_path / "portrait.png")
    return tmp_path / "portrait.png"


WAY = (0, 2, 4, 5, 3, 1)
"""Pixels by which the driving face has moved to the right, frame by frame."""


@pytest.fixture(scope="module")
def driving(small):
    """Frames in which the portrait moves to the right and back."""
    return [np.roll(small, step, 1) for step in WAY]


@pytest.fixture(scope="module")
def driving_file(driving, tmp_path_factory):
    """The same as a clip with sound."""
    return make_clip(tmp_path_factory.mktemp("driving") / "driving.mp4", driving, sound="aac")


def moved_by(before, after):
    """Pixels by which the middle of a picture has moved to the right."""
    middle = slice(70, 130)
    tried = range(-8, 9)
    return min(
        tried,
        key=lambda s: np.abs(
            after[middle, middle].astype(int) - np.roll(before, s, 1)[middle, middle]
        ).mean(),
    )


def test_a_photo_takes_what_another_face_does(mover, small, two_faces):
    result = mover.reenact(two_faces, small)
    image, source = np.asarray(result.image), two_faces
    assert image.shape == source.shape and result.edited and result.method == "dual_generator"
    assert result.driving_reading.action_units == mover.read(small)[0].action_units
    assert not np.array_equal(image[:, :320], source[:, :320])
    assert np.array_equal(image[:, 330:], source[:, 330:])  # the other face is not touched
    assert result.face.size == result.source_face.size == result.attention.size == (256, 256)
    assert -1 <= result.identity <= 1 and result.to_dict()["driving_reading"]["yaw"] is not None
    assert result.record()["driven"] is True and "landmarks" not in str(result.record())
    assert score(image, frame_matrix(result.source_reading.landmarks, SIDE)) > THRESHOLD


def test_the_driving_face_can_be_chosen_and_is_named(mover, small, two_faces):
    results = [mover.reenact(small, two_faces, driving_face=face) for face in (0, 1)]
    boxes = [result.driving_reading.box for result in results]
    assert boxes[0][2] < 320 < boxes[1][0]
    for face, result in enumerate(results):
        assert result.warnings == (
            f"in the driving photo, 2 faces were found; face {face} drives (0 is the largest)",
        )


def test_a_tilted_head_tilts_the_source_and_not_beyond_the_limit():
    points = np.random.default_rng(0).random((68, 2))
    assert np.array_equal(place_landmarks(points, 0), points)
    turned = place_landmarks(points, 10) - 0.5
    angle = np.degrees(np.angle((turned @ (1, 1j)) / ((points - 0.5) @ (1, 1j))))
    assert angle == pytest.approx(10)
    assert place_landmarks(points, 359) == pytest.approx(place_landmarks(points, -1))
    assert place_landmarks(points, 90) == pytest.approx(place_landmarks(points, MOST_TURN))
    near, far = (place_landmarks(points, 0, 1, (shift, 0))[:, 0] - points[:, 0] for shift in (0.01, 5.0))
    assert near == pytest.approx(0.01, rel=0.02) and far == pytest.approx(MOST_SHIFT)


def test_a_clip_moves_the_source_from_where_it_is(mover, small, driving):
    """Relative: the first frame is the photo itself, then it follows."""
    frames = [np.asarray(frame) for frame in mover.reenact_frames(small, iter(driving), mark=False)]
    assert len(frames) == len(WAY) and np.array_equal(frames[0], small)
    steps = [moved_by(small, frame) for frame in frames]
    assert steps[3] >= 2 and max(steps) <= 5 and sorted(steps[:3]) == steps[:3]


def test_expression_or_pose_alone_and_how_far(editor, small):
    """A face that turns and opens its mouth: its pose alone turns the source, its expression alone does not."""
    driving = np.asarray(editor.edit(small, turn=(15, 0, 0), action_units="surprise", mark=False).image)
    still = editor.read(small)[0]
    seen = {
        (motion, times): editor.reenact(small, driving, motion=motion, multiplier=times).reading
        for motion, times in (("both", 1), ("expression", 1), ("pose", 1), ("both", 2), ("both", 0))
    }
    yaw = {how: reading.yaw - still.yaw for how, reading in seen.items()}
    brows = {how: reading.action_units["AU02"] - still.action_units["AU02"] for how, reading in seen.items()}
    assert yaw["pose", 1] > 3 > abs(yaw["expression", 1]) and yaw["both", 2] > yaw["both", 1] + 3
    assert brows["expression", 1] > brows["pose", 1] + 0.3 and abs(yaw["both", 0]) < 1


def test_what_is_no_motion_is_refused(mover, small):
    with pytest.raises(BadInput, match="motion 'eyes' is unknown; choose from both, expression, pose"):
        mover.reenact(small, small, motion="eyes")
    with pytest.raises(BadInput, match="multiplier 3 is out of range; give a number between 0 and 2"):
        mover.reenact(small, small, multiplier=3)


def test_strength_scales_the_movement(mover, small, driving):
    frames = {
        strength: [
            np.asarray(f) for f in mover.reenact_frames(small, driving[:4], mark=False, strength=strength)
        ]
        for strength in (0, 0.5, 1.5)
    }
    assert np.array_equal(frames[0][3], small)
    assert moved_by(small, frames[0.5][3]) < moved_by(small, frames[1.5][3])


def test_absolute_motion_takes_the_pose_as_it_is(mover, small, driving):
    """In its own frame the driving face never moves; what it is like is taken from the first frame on."""
    frames = [np.asarray(f) for f in mover.reenact_frames(small, driving[:3], relative=False, mark=False)]
    assert max(abs(moved_by(small, frame)) for frame in frames) <= 1


def test_age_is_edited_once_and_action_units_come_on_top(mover, small, driving, monkeypatch):
    asked, edit = [], mover.model.edit

    def spy(faces, age, to_age, units, to_units, method, *more, **named):
        asked.append((float(to_age - age), float(to_units[0, 8] - units[0, 8]), method))
        order.append("edit")
        return edit(faces, age, to_age, units, to_units, method, *more, **named)

    order, move = [], mover.model.reenact
    monkeypatch.setattr(mover.model, "edit", spy)
    monkeypatch.setattr(
        mover.model, "reenact", lambda *given, **more: order.append("move") or move(*given, **more)
    )
    frames = list(mover.reenact_frames(small, driving[:3], age=75))
    assert len(asked) == 1 and asked[0][0] > 20 and asked[0][1] == 0
    assert mover.read(frames[-1])[0].age > mover.read(small)[0].age + 15
    assert order == ["edit", "move", "move", "move"]
    asked.clear(), order.clear()
    result = mover.reenact(small, driving[3], age=75)  # a photo is aged where it has come to lie
    assert len(asked) == 1 and asked[0][0] > 20 and result.record()["age_method"] == "ganimation_age"
    assert result.reading.age > result.source_reading.age + 15
    assert order == ["move", "edit"]
    asked.clear()
    result = mover.reenact(small, small, action_units={"AU12": 0})
    assert len(asked) == 1 and asked[0][0] == 0 and asked[0][1] < -1
    assert result.reading.action_units["AU12"] < result.source_reading.action_units["AU12"] - 1


def test_any_method_that_ages_sets_the_age_of_a_moved_face(small, driving):
    parts = ("finder", "readers", "head", "agetransgan")
    editor = FaceEditor(puppet(GanimeAge.from_pretrained(parts=parts)))
    result = editor.reenact(small, driving[3], age=75, method="AgeTransGAN")
    assert result.reading.age > result.source_reading.age + 15
    assert result.to_dict()["age_method"] == "agetransgan"
    assert score(np.asarray(result.image), frame_matrix(result.source_reading.landmarks, SIDE)) > THRESHOLD
    with pytest.raises(MissingModel, match="load weights with ganimation_age"):
        editor.reenact(small, driving[3], age=75)


@pytest.mark.parametrize("call", ["reenact", "reenact_frames"])
def test_a_method_that_cannot_age_is_refused_before_a_photo_is_read(mover, small, driving, call):
    drives = small if call == "reenact" else driving
    with pytest.raises(BadInput, match="ganimation edits expressions only; choose the method ganimation_age"):
        list(getattr(mover, call)(b"no photo", drives, method="ganimation"))
    with pytest.raises(BadInput, match="unknown method 'sam'; choose from ganimation_age"):
        list(getattr(mover, call)(b"no photo", drives, method="sam"))


def test_half_of_what_the_moved_face_lacks_of_the_expression_is_added(mover, small):
    """The stand-in moves no expression at all."""
    plain = mover.edit(small, action_units={"AU12": 0, "AU25": 0}, mark=False).image
    result = mover.reenact(plain, small)
    smiles = [r.action_units["AU12"] for r in (result.source_reading, result.reading, result.driving_reading)]
    assert smiles[1] > smiles[0] + 0.3 * (smiles[2] - smiles[0]) > smiles[0] + 0.25
    image = np.asarray(result.image)
    assert score(image, frame_matrix(result.source_reading.landmarks, SIDE)) > THRESHOLD


def test_weights_without_an_age_method_move_a_photo_and_refuse_an_age_at_once(small):
    parts = ("finder", "readers", "head")
    plain = FaceEditor(puppet(GanimeAge.from_pretrained(parts=parts)))
    assert plain.reenact(small, small).image.size == (192, 192)
    for asked in ({"age": 70}, {"action_units": {"AU12": 3}}):
        with pytest.raises(MissingModel, match="load weights with ganimation_age"):
            plain.reenact(b"not even a photo", small, **asked)


def test_what_is_wrong_with_one_of_two_nameless_photos_is_said_of_that_one(mover, small, faceless):
    with pytest.raises(BadInput, match="no face was found in the driving photo;"):
        mover.reenact(small, faceless)
    with pytest.raises(BadInput, match="face 1 does not exist; the driving photo has 1 face"):
        mover.reenact(small, small, driving_face=1)


def test_a_warning_about_the_source_of_a_clip_says_so(tmp_path, mover, two_faces, driving):
    clip = make_clip(tmp_path / "short.mp4", driving[:2])
    (said,) = mover.reenact_video(two_faces, clip, tmp_path / "out.mp4").warnings
    assert said == "in the source photo, 2 faces were found; face 0 is edited (0 is the largest)"


def test_an_open_file_is_no_clip_of_frames_but_a_photo(mover, small, small_file):
    with small_file.open("rb") as file, pytest.raises(BadInput, match="one driving photo gives no frames"):
        mover.reenact_frames(small, file)


def test_a_change_of_an_action_unit_counts_from_the_driving_face(mover, small):
    plain = mover.edit(small, action_units={"AU12": 0, "AU25": 0}, mark=False).image
    result = mover.reenact(plain, small, action_units=["AU12=-1"])
    assert result.asked_units()["AU12"] == pytest.approx(
        result.driving_reading.action_units["AU12"] - 1, abs=0.01
    )
    half = mover.reenact(plain, small, action_units={"AU12": 5}, strength=0.5)
    own, other = (one.action_units["AU12"] for one in (half.source_reading, half.driving_reading))
    assert half.asked_units()["AU12"] == pytest.approx((5 + (own + other) / 2) / 2, abs=0.01)


def test_the_command_writes_a_photo(tmp_path, small_file, small, capsys):
    Image.fromarray(small[:, ::-1]).save(tmp_path / "other.png")
    out = tmp_path / "new" / "out.png"
    assert cli.main(["reenact", str(small_file), str(tmp_path / "other.png"), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert f"{out}  age" in said.out and "(driving" in said.out and said.err == ""
    assert Image.open(out).size == (192, 192)
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()
    from ganime_age import verify

    assert "moved by another face" in verify(out).sentence()


def test_the_command_writes_a_clip_of_the_same_length_rate_and_sound(
    tmp_path, small_file, small, driving_file, capsys
):
    out = tmp_path / "moved.mp4"
    assert cli.main(["reenact", str(small_file), str(driving_file), "-o", str(out), "--age", "75"]) == 0
    said = capsys.readouterr()
    assert f"{out}  6 frames at 12 a second, 6 edited" in said.out and said.err == ""
    before, after = pictures_of(driving_file), pictures_of(out)
    assert [when for _, when in after] == [when for _, when in before] and rate_of(out) == 12
    assert sound_of(out) == sound_of(driving_file) and after[0][0].shape == small.shape
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()


def test_a_gif_drives_and_is_written(tmp_path, mover, small, driving, driving_file):
    gif = tmp_path / "driving.gif"
    first, *others = map(Image.fromarray, driving)
    first.save(gif, save_all=True, append_images=others, duration=80)
    assert len(list(mover.reenact_frames(small, gif))) == 6
    result = mover.reenact_video(small, driving_file, tmp_path / "out.gif", mark=False)
    assert result.warnings == ("a GIF holds no sound; it is left out", UNMARKED) and result.frames == 6
    first.save(tmp_path / "still.gif")
    assert mover.reenact(small, tmp_path / "still.gif").driving_reading is not None


def test_frames_that_vary_in_length_keep_their_times_and_a_silent_clip_stays_silent(
    tmp_path, mover, small, driving
):
    times = [Fraction(n, 30) for n in (0, 1, 4, 5, 9, 10)]
    clip = make_clip(tmp_path / "vary.mp4", driving, times=times)
    told = []
    done = mover.reenact_video(small, clip, tmp_path / "out.mp4", progress=lambda *now: told.append(now))
    assert done.warnings == () and told == [(i, 6, "Frames") for i in range(1, 7)]
    assert [when for _, when in pictures_of(tmp_path / "out.mp4")] == pytest.approx([float(t) for t in times])
    assert sound_of(tmp_path / "out.mp4") is None


def test_a_face_lost_for_a_moment_shows_the_frame_before_and_the_gap_is_told(tmp_path, mover, small, driving):
    blank = np.full_like(small, 128)
    pictures = [blank, driving[0], driving[2], blank, blank, driving[2]]
    frames = [np.asarray(f) for f in mover.reenact_frames(small, pictures, mark=False)]
    assert np.array_equal(frames[0], small) and np.array_equal(frames[1], small)
    assert np.array_equal(frames[3], frames[2]) and np.array_equal(frames[4], frames[2])
    assert not np.array_equal(frames[2], small)
    done = mover.reenact_video(small, make_clip(tmp_path / "gap.mp4", pictures, fps=10), tmp_path / "out.mp4")
    assert done.edited == 3 and done.frames == 6
    assert done.warnings == (
        "the face was lost from 0.00 to 0.10 s; the frame before was shown again",
        "the face was lost from 0.30 to 0.50 s; the frame before was shown again",
    )


def test_of_two_driving_faces_it_says_which_drives(tmp_path, mover, small, two_faces):
    photo = np.asarray(Image.fromarray(two_faces).resize((390, 240)))
    clip = make_clip(tmp_path / "two.mp4", [photo] * 2)
    for face in (0, 1):
        done = mover.reenact_video(small, clip, tmp_path / f"{face}.mp4", driving_face=face)
        assert done.warnings == (f"up to 2 faces were found at once; face {face} drives (0 is the largest)",)
    with pytest.raises(BadInput, match="face 2 does not exist; two.mp4 shows at most 2 faces"):
        mover.reenact_video(small, clip, tmp_path / "no.mp4", driving_face=2)
    assert not (tmp_path / "no.mp4").exists()


def test_a_4k_driving_clip_is_scaled_with_a_note(tmp_path, mover, small):
    wide = np.zeros((2160, 3840, 3), np.uint8)
    wide[400:1680, 1200:2480] = np.asarray(Image.fromarray(small).resize((1280, 1280)))
    clip = make_clip(tmp_path / "4k.mp4", [wide])
    done = mover.reenact_video(small, clip, tmp_path / "out.mp4")
    assert done.warnings == ("3840x2160 is scaled to 1920x1080",) and done.size == (192, 192)


def test_a_driving_clip_of_our_own_sways_and_ends_where_it_began(mover, small):
    frames = [np.asarray(f) for f in driving_frames(mover.pipeline, small, 5, {"AU12": 0}, mark=False)]
    assert len(frames) == 5 and all(frame.shape == small.shape for frame in frames)
    assert np.abs(frames[0].astype(int) - small).mean() < 0.5
    assert np.abs(frames[4].astype(int) - small).mean() < 0.5
    assert np.abs(frames[1].astype(int) - small).mean() > 1


def test_a_clip_is_measured_from_file_to_file(mover):
    judges = Judges(
        identity=lambda pictures, landmarks: np.ones((len(pictures), 1)),
        age=lambda pictures, landmarks: np.arange(len(pictures)) * 2.0,
    )
    found = clip_figures(mover, judges, 4)
    assert found["frames"] == 4 and found["frames_per_second"] > 0
    assert found["flicker"] == {
        f"{name}{key}": value
        for name in ("nothing_", "", "aged_")
        for key, value in (("age_flicker_years", 2.0), ("identity_flicker", 0.0))
    }


BAD_CLIPS = {
    "gone": (None, "bad.mp4 does not exist; check the path"),
    "empty": (b"", "bad.mp4 is an empty file; give a video"),
    "corrupt": (b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8, "bad.mp4 is not a readable video"),
    "faceless": ("faceless", "no face was found in bad.mp4; give a video with a face"),
    "cut off": ("cut", "bad.mp4 is"),
}


@pytest.mark.parametrize("kind", BAD_CLIPS)
def test_a_bad_driving_clip_is_one_line_and_nothing_is_written(
    tmp_path, small_file, driving_file, faceless, capsys, kind
):
    content, sentence = BAD_CLIPS[kind]
    clip = tmp_path / "bad.mp4"
    if content == "faceless":
        make_clip(clip, [faceless[:128, :128]] * 2)
    elif content == "cut":
        clip.write_bytes(driving_file.read_bytes()[:4000])
    elif content is not None:
        clip.write_bytes(content)
    there = sorted(tmp_path.iterdir())
    assert cli.main(["reenact", str(small_file), str(clip), "-o", str(tmp_path / "new" / "a.mp4")]) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert sorted(tmp_path.iterdir()) == there


def test_a_clip_that_cannot_be_used_is_told_before_the_first_frame(tmp_path, mover, small):
    with pytest.raises(BadInput, match="nowhere.mp4 does not exist"):
        mover.reenact_frames(small, tmp_path / "nowhere.mp4")
    with pytest.raises(BadInput, match="driving face -1 does not exist"):
        mover.reenact_frames(small, iter([small]), driving_face=-1)


BAD_COMMANDS = {
    "photo for a clip": (
        ["{clip}", "-o", "{out}.png"],
        "a.png cannot be written as .png; a video is written",
    ),
    "clip for a photo": (["{photo}", "-o", "{out}.mp4"], "a.mp4 cannot be written as .mp4; choose .png"),
    "relative photo": (["{photo}", "-o", "{out}.png", "--relative"], "relative motion needs a clip"),
    "over the driving clip": (["{clip}", "-o", "{clip}", "--overwrite"], "the output is the input"),
    "over the source": (["{photo}", "-o", "{photo}", "--overwrite"], "the output is the input"),
    "age": (["{clip}", "-o", "{out}.mp4", "--age", "500"], "age 500 is out of range"),
    "unit": (["{clip}", "-o", "{out}.mp4", "--au", "AU99=1"], "unknown action unit 'AU99'"),
    "face": (["{photo}", "-o", "{out}.png", "--face", "3"], "face 3 does not exist"),
    "driving face": (["{photo}", "-o", "{out}.png", "--driving-face", "1"], "face 1 does not exist"),
    "a driving folder": (["{folder}", "-o", "{out}.png"], "is a folder; give one photo"),
}


@pytest.mark.parametrize("kind", BAD_COMMANDS)
def test_a_bad_command_is_one_line(tmp_path, small_file, driving_file, capsys, kind):
    arguments, sentence = BAD_COMMANDS[kind]
    places = {"clip": driving_file, "photo": small_file, "out": tmp_path / "a", "folder": tmp_path}
    filled = [word.format(**places) for word in arguments]
    assert cli.main(["reenact", str(small_file), *filled]) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == [small_file]


def test_weights_that_cannot_reenact_say_so(small, small_weights):
    plain = FaceEditor(GanimeAge.from_pretrained(small_weights), detector=lambda photo: [])
    with pytest.raises(MissingModel, match="load weights with dual_generator to use it"):
        plain.reenact(small, small)


def test_a_full_disk_leaves_nothing(tmp_path, mover, small, driving_file, monkeypatch):
    import ganime_age.images.video_writer as writer

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._Mp4, "_add", full)
    with pytest.raises(BadInput, match="cannot be written .No space left on device.; choose another place"):
        mover.reenact_video(small, driving_file, tmp_path / "new" / "a.mp4")
    assert list(tmp_path.iterdir()) == []


RUN = f"""
    import sys
    sys.path.insert(0, {os.path.dirname(__file__)!r})
    from helpers.puppets import found_face, puppet
    from ganime_age import FaceEditor, GanimeAge
    model = puppet(GanimeAge.from_pretrained(sys.argv[1]))
    editor = FaceEditor(model, detector=lambda photo: [found_face(80, 80, 60)])
"""


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_file(tmp_path, small, small_file, small_weights):
    clip = make_clip(tmp_path / "long.mp4", [small] * 400)
    (tmp_path / "out").mkdir()
    code = f"""{RUN}
    from ganime_age.cli import main as cli
    cli._editor = lambda args: editor
    sys.exit(cli.main(["reenact", *sys.argv[2:]]))
    """
    words = [str(small_weights), str(small_file), str(clip), "-o", str(tmp_path / "out" / "a.mp4")]
    work = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *words],
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
    model = puppet(GanimeAge.from_pretrained(small_weights))
    editor = FaceEditor(model, detector=lambda photo: [found_face(80, 80, 60)])

    def held(frames: int) -> int:
        clip = make_clip(tmp_path / f"{frames}.mp4", [np.roll(picture, i, 1) for i in range(frames)])
        out = tmp_path / "out.mp4"
        return most_held(lambda look: editor.reenact_video(picture, clip, out, progress=look))

    assert held(40) - held(16) < 12 * picture.nbytes
