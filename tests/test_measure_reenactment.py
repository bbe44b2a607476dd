"""What the figures about reenactment mean: faces, model and judges whose every number is known.

A face is one flat colour: red is what it does (yaw, smile), green is who it is, blue how old it looks.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age import BadInput
from ganime_age.card.reenactment import reenactment
from ganime_age.card.results import Results, shown
from ganime_age.edits import AU_CODES
from ganime_age.images.detectors import EmbeddedDetector
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.evaluation import measure_reenactment
from ganime_age.learning.evaluation.judge_motion import angles, landmark_errors
from ganime_age.learning.evaluation.judges import Judges
from ganime_age.learning.evaluation.measure_reenacted_clip import expressions
from ganime_age.learning.evaluation.measure_reenactment import Plan, measure
from ganime_age.learning.evaluation.reenactment_baselines import pasted
from ganime_age.learning.evaluation.reenactment_pairs import strangers_of
from ganime_age.learning.external.mediapipe_face import IBUG, BlendshapeReader, Seen
from ganime_age.networks.layers import Edited
from ganime_age.networks.mirror import MIRROR

SIDE = 32
RNG = np.random.default_rng(0)
SHAPE = RNG.random((68, 2))
PEOPLE, EACH = 30, 4


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """30 persons of 4 faces: their colours say what they do, who they are and their age."""
    folder, rows = tmp_path_factory.mktemp("faces"), []
    for person in range(PEOPLE):
        for number in range(EACH):
            yaw = float(RNG.uniform(-28, 28)) if number else 12.0 * number + 40 * (person % 2)
            age = 68.0 if person < 3 else 30.0
            name = f"{person}-{number}.png"
            colour = np.uint8([128 + 2 * yaw, 8 * person, age])
            Image.fromarray(np.tile(colour, (SIDE, SIDE, 1))).save(folder / name)
            rows.append(
                (name, name, "test", age, str(person), yaw, 0.0, 0.0, SHAPE.reshape(-1).tolist(), "made")
            )
    columns = ["id", "file", "split", "age", "identity", "yaw", "pitch", "roll", "landmarks", "source"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "manifest.parquet")
    return Faces(folder, SIDE, ("test",))


def turn(degrees):
    """A head's rotation to the right of the picture, as MediaPipe tells it."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


class Mesh:
    """In place of MediaPipe: reads the yaw from red; where it is 0 it sees no face."""

    names = BlendshapeReader.names

    def look(self, picture):
        red = float(picture[picture.shape[0] // 2, picture.shape[1] // 2, 0])
        if red == 0:
            return None
        points = np.zeros((478, 2), np.float32)
        points[list(IBUG)] = SHAPE
        return Seen(
            np.full(len(self.names), 0.1 + abs(red - 128) / 128, np.float32), points, turn((red - 128) / 2)
        )


def who(pictures, landmarks):
    angle = pictures[:, 5, 5, 1].astype(float) / 8 / PEOPLE * 2 * np.pi
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def years(pictures, landmarks):
    return pictures[:, 5, 5, 2].astype(float)


JUDGES = Judges(identity=who, age=years, expression=SimpleNamespace(reader=Mesh(), name="mesh"))
who.name, years.name = "who", "years"


def colour(faces):
    return (faces[:, :, 5, 5] + 1) * 127.5


class Mover:
    """In place of GanimeAge: moves by changing red to the driving face's, `share` of the way; ages by changing blue."""

    fades = 0

    def __init__(self, share=1.0, stranger=0.0):
        self.share, self.stranger = share, stranger
        self.dual_generator = SimpleNamespace(shape=lambda own, other, learnt=True: other)

    def require(self, part):
        assert part == "dual_generator"

    def read(self, faces):
        red = colour(faces)[:, 0]
        landmarks = red[:, None, None].expand(-1, 68, 2)
        return SimpleNamespace(
            age=colour(faces)[:, 2], landmarks=landmarks, action_units=torch.zeros(len(faces), len(AU_CODES))
        )

    def edit(self, faces, before, after, units, wanted, method="ganimation_age"):
        out = faces.clone()
        self.asked = method
        out[:, 2] = (after / 127.5 - 1)[:, None, None]
        return Edited(out, out[:, :1])

    def reenact(self, faces, own, target, units, wanted, learnt=True):
        """Without the face generator it goes half as far, and takes `fades` off an age."""
        out = faces.clone()
        red = own[:, 0, 0] + self.share * (1 if learnt else 0.5) * (target - own)[:, 0, 0]
        out[:, 2] -= self.fades / 127.5
        out[:, 0] = (red / 127.5 - 1)[:, None, None]
        out[:, 1] += self.stranger
        return Edited(out, out[:, :1])


@pytest.fixture(autouse=True)
def no_clip(monkeypatch):
    """The clip has a test of its own, with an editor (test_reenact.py)."""
    clip = {"threads": 2, "frames_per_second": 7.0, "flicker": {"age_flicker_years": 0.5}}
    monkeypatch.setattr(measure_reenactment, "FaceEditor", lambda model, device: None)
    monkeypatch.setattr(measure_reenactment, "clip_figures", lambda *_: clip)


PLAN = Plan(pairs=26, people=10, photos=4, turned=8, frames=8, per_source=60)


def test_a_perfect_movement_is_perfect_and_doing_nothing_is_not(faces):
    found = measure(Mover(), faces, JUDGES, plan=PLAN)
    summary = found["summary"]
    assert summary["pose_error_degrees"] == pytest.approx(0, abs=0.01) and summary["au_error"] < 0.01
    assert summary["nothing_pose_error_degrees"] > 4 and summary["nothing_au_error"] > 0.2
    assert summary["identity_verification"] == summary["nothing_identity_verification"] == 1
    assert summary["same_image_l1"] == 0 and summary["frames_per_second_256"] == 7
    assert summary["one_person_landmark_error_percent"] == pytest.approx(0, abs=0.01)
    assert set(measure_reenactment.NOTES) == set(found["notes"]) and found["pairs"]["two_persons"] == 26


def test_the_figures_become_a_section_of_the_model_card(faces, tmp_path):
    found = measure(Mover(0.5), faces, JUDGES, plan=PLAN) | {"clip": {"threads": 2}}
    text = reenactment(Results(tmp_path / "reenactment.json", found))
    error = shown(found["summary"]["pose_error_degrees"])
    nothing = shown(found["summary"]["nothing_pose_error_degrees"])
    assert f"| {error} degrees | {nothing} degrees |" in text and "26 pairs" in text
    assert (
        "| 30-45 degrees, moved, then edited to 70 |" in text
        and "| two persons: head and mesh alone |" in text
    )
    assert "| two persons: pasting the driving face |" in text


def test_half_the_way_is_half_the_error_and_another_person_is_seen(faces):
    nothing = measure(Mover(0.0), faces, JUDGES, plan=PLAN)
    half = measure(Mover(0.5, stranger=0.2), faces, JUDGES, plan=PLAN)
    still, moved = (found["two_persons"]["moved"] for found in (nothing, half))
    assert still == nothing["two_persons"]["nothing"]
    assert moved["yaw_error_degrees"] == pytest.approx(still["yaw_error_degrees"] / 2, rel=0.05)
    assert moved["pose_error_degrees"] == pytest.approx(
        moved["yaw_error_degrees"] / 2, abs=1e-3
    )  # the pitch is right
    assert moved["identity_verification"] < 0.2 and half["summary"]["same_image_l1"] > 0.02


def test_age_is_told_for_every_bin_of_the_driving_yaw(faces):
    rows = measure(Mover(), faces, JUDGES, plan=PLAN)["move_then_age"]
    assert [row["yaw"] for row in rows] == ["0-10", "10-20", "20-30", "30-45"]
    for row in rows:
        low, high = map(int, row["yaw"].split("-"))
        assert low - 0.5 <= row["yaw_reached"] <= high and row["verification"] == 1
        assert row["aim"] == 68 and row["age"] == pytest.approx(70, abs=0.5)
        assert row["age_error"] == pytest.approx(2, abs=0.5) and row["nothing_age_error"] > 20
        assert row["moved_years"] == 0


def test_years_that_a_movement_takes_off_are_seen_in_one_order_and_not_in_the_other(faces):
    model = Mover()
    model.fades = 12
    found = measure(model, faces, JUDGES, plan=PLAN, method="ragan", others=["agetransgan"])
    for first, last in zip(found["age_then_move"], found["move_then_age"], strict=True):
        assert first["age"] == pytest.approx(58, abs=0.5) and last["age"] == pytest.approx(70, abs=0.5)
        assert first["unmoved_age"] == last["unmoved_age"] == pytest.approx(70, abs=0.5)
        assert last["moved_years"] == pytest.approx(-12, abs=0.5)
    assert found["age_method"] == "ragan" and list(found["other_methods"]) == ["agetransgan"]
    other = found["other_methods"]["agetransgan"]
    assert other["age_then_move"] == found["age_then_move"], "this mover ages alike by any method"
    told = reenactment(Results(Path(), found))
    assert "| 0-10 degrees, moved, then edited to 70 by AgeTransGAN |" in told


def test_the_rows_without_what_was_learnt_stand_beside_the_whole(faces):
    rows = measure(Mover(), faces, JUDGES, plan=PLAN)["two_persons"]
    errors = {name: row["yaw_error_degrees"] for name, row in rows.items()}
    assert errors["moved"] == errors["mesh_with_face"] == pytest.approx(0, abs=0.01)
    assert errors["mesh_alone"] == errors["mesh_with_shape"] == pytest.approx(errors["nothing"] / 2, rel=0.05)


def test_nobody_drives_oneself(faces):
    pairs = measure_reenactment.two_persons(faces, 100)
    person = faces.labels["person"]
    assert (person[pairs.source] != person[pairs.driving]).all() and len(pairs.source) == 100
    same = measure_reenactment.one_person(faces, 100)
    assert (person[same.source] == person[same.driving]).all() and (same.source != same.driving).all()


def test_a_split_without_a_stranger_is_one_sentence(faces):
    one = np.flatnonzero(faces.labels["person"] == 3)
    with pytest.raises(
        BadInput, match="has no test face of another person to drive 3-0.png; give more faces"
    ):
        strangers_of(faces, one, one)


def test_a_face_that_is_not_found_is_counted_and_left_out(faces):
    class Lost(Mover):
        def reenact(self, faces, own, target, units, wanted, learnt=True):
            out = super().reenact(faces, own, target, units, wanted, learnt).face
            out[0, 0] = -1
            return Edited(out, out[:, :1])

    row = measure(Lost(), faces, JUDGES, plan=PLAN)["two_persons"]["moved"]
    assert row["no_face_found"] == 2  # one a batch
    assert row["pose_error_degrees"] == pytest.approx(0, abs=0.01)


def test_only_a_judge_that_tells_the_pose_can_measure(faces):
    with pytest.raises(BadInput, match="only MediaPipe's judge of expressions tells pose and landmarks"):
        measure(Mover(), faces, Judges(identity=who), plan=PLAN)


def test_angles_have_the_signs_of_readings():
    assert angles(turn(20)) == pytest.approx([20, 0, 0])
    c, s = np.cos(0.2), np.sin(0.2)
    down = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    assert angles(down) == pytest.approx([0, np.degrees(0.2), 0])
    clockwise = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    assert angles(clockwise) == pytest.approx([0, 0, np.degrees(0.2)])


def test_landmark_errors_forgive_place_size_and_tilt_and_count_the_shape():
    aims = np.stack([SHAPE] * 3)
    turned = (SHAPE - 0.3) @ np.array([[0.0, 0.7], [-0.7, 0.0]]) + 0.1
    bent = SHAPE + RNG.normal(0, 0.01, SHAPE.shape)
    errors = landmark_errors(np.stack([turned, bent, np.full((68, 2), np.nan)]), aims)
    eyes = np.linalg.norm(SHAPE[45] - SHAPE[36])
    assert errors[0] == pytest.approx(0, abs=1e-6) and np.isnan(errors[2])
    assert 0.5 < errors[1] * eyes / 100 / 0.0125 < 1.5


def test_the_paste_lays_the_driving_face_over_the_source_in_its_colours(portrait, model):
    landmarks = EmbeddedDetector(model.detector)(portrait)[0].landmarks / 320
    other = (portrait[:, ::-1] * 0.5).astype(np.uint8)
    mirrored = landmarks.copy()
    mirrored[:, 0] = 1 - mirrored[:, 0]
    out = pasted(portrait, landmarks, other, mirrored[list(MIRROR)])
    assert np.array_equal(out[:20], portrait[:20]) and not np.array_equal(out, portrait)
    x, y = (landmarks[30] * 320).astype(int)
    inside = slice(y - 20, y + 20), slice(x - 20, x + 20)
    assert (
        abs(out[inside].mean() - portrait[inside].mean()) < 20
    )  # though the driving photo is half as bright
    again = pasted(portrait, landmarks, portrait, landmarks)
    assert np.abs(again.astype(int) - portrait).mean() < 1


def test_photos_are_paired_by_name(tmp_path):
    with pytest.raises(BadInput, match="holds no photos NAME_neutral_ID and NAME_smile_ID"):
        expressions(tmp_path)
    for name in ("a_neutral_1.jpg", "a_smile_1.jpg", "a_neutral_2.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert [(n.name, s.name) for n, s in expressions(tmp_path)] == [("a_neutral_1.jpg", "a_smile_1.jpg")]
