"""The editor with the embedded weights: what changes, what must not, and what is refused."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import BadInput, FaceEditor, GanimeAge
from ganime_age.card.contact_sheet import DEMO_AGES, Tile, contact_sheet, demo_sheet, tile
from ganime_age.edits import AU_CODES, MOST_TURN


def test_an_age_edit_changes_the_face_and_nothing_else(editor, portrait):
    result = editor.edit(portrait, age=75)
    before, after = portrait.astype(int), np.asarray(result.image).astype(int)
    changed = np.abs(after - before).max(-1) > 0
    assert after.shape == before.shape
    assert changed.any()
    x0, y0, x1, y1 = result.reading.box.round().astype(int)
    reach = max(x1 - x0, y1 - y0)
    far = np.ones(changed.shape, bool)
    far[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach] = False
    assert not changed[far].any()
    assert changed[y0:y1, x0:x1].mean() > changed.mean()


def test_the_result_holds_crops_readings_and_a_likeness(editor, portrait):
    result = editor.edit(portrait, age=70, action_units={"AU04": 3})
    side = editor.model.face_size
    assert result.face.size == result.source_face.size == result.attention.size == (side, side)
    assert result.attention.mode == "L" and result.face.mode == "RGB"
    assert set(result.reading.action_units) == set(AU_CODES)
    assert 0 <= result.source_reading.age <= 100
    assert -1 <= result.identity <= 1.0001
    assert result.seconds > 0 and result.method == "ganimation_age" and result.warnings == ()
    assert result.asked_units() == {"AU04": 3.0}
    assert result.to_dict()["asked"] == {"age": 70.0, "action_units": {"AU04": 3.0}, "strength": 1.0}


def test_older_reads_older_than_younger(editor, portrait):
    """By the package's own readers, which the generator was trained against: that an edit goes the right way, not that
    others see the age. Judges of their own measure that (training/evaluate.py edits)."""
    young, old = editor.progression(portrait, ages=(15, 80))
    assert old.reading.age > young.reading.age


def test_a_head_turns_as_asked_and_stays_the_person(editor, portrait):
    """Readings follow yaw and pitch; roll shows in the landmarks, as the readers see faces upright."""
    before, *_ = editor.read(portrait)
    turned = {
        (yaw, pitch, roll): editor.edit(portrait, turn=(yaw, pitch, roll))
        for yaw, pitch, roll in ((15, 0, 0), (-15, 0, 0), (0, 10, 0), (0, -10, 0), (0, 0, 10))
    }
    right, left, down, up, tilted = (result.reading for result in turned.values())
    assert right.yaw > before.yaw + 4 and left.yaw < before.yaw - 4
    assert down.pitch > before.pitch + 2 and up.pitch < before.pitch - 2
    eyes = [
        reading.landmarks[42:48].mean(0) - reading.landmarks[36:42].mean(0) for reading in (before, tilted)
    ]
    angles = np.degrees([np.arctan2(y, x) for x, y in eyes])
    assert 7 < angles[1] - angles[0] < 13
    for angle, result in turned.items():
        assert result.identity > 0.4 and result.to_dict()["asked"]["turn"] == dict(
            zip(MOST_TURN, angle, strict=True)
        )
        assert np.array_equal(np.asarray(result.image)[:, :8], portrait[:, :8])  # beyond the frame


def test_a_head_that_ages_turns_around_its_new_landmarks(editor, portrait, monkeypatch):
    seen = []
    turn = editor.model.turn

    def watched(faces, landmarks, degrees):
        seen.append(landmarks[0].numpy())
        return turn(faces, landmarks, degrees)

    monkeypatch.setattr(editor.model, "turn", watched)
    editor.edit(portrait, turn=(10, 0, 0), mark=False)
    editor.edit(portrait, age=3, turn=(10, 0, 0), mark=False)
    before, child = seen
    eyes, chin = slice(36, 48), 8
    assert child[eyes, 1].mean() > before[eyes, 1].mean() + 0.01  # they lie lower, and the chin lies higher
    assert child[chin, 1] < before[chin, 1] - 0.01


def test_an_age_changes_the_parts_that_are_asked(editor, portrait):
    """Shape moves landmarks and leaves hair; hair turns grey and leaves the skin; all parts are the whole edit."""
    made = {
        parts: np.asarray(editor.edit(portrait, age=85, parts=parts, mark=False).image).astype(int)
        for parts in ("hair", "skin", "shape", "shape, skin, hair")
    }
    whole = np.asarray(editor.edit(portrait, age=85, mark=False).image)
    assert np.array_equal(made.pop("shape, skin, hair"), whole)
    landmarks = editor.read(portrait)[0].landmarks
    x0, y0, x1, y1 = [*landmarks[[36, 29]].min(0).astype(int), *landmarks[[45, 33]].max(0).astype(int)]
    inside = {parts: np.abs(picture - portrait)[y0:y1, x0:x1].mean() for parts, picture in made.items()}
    assert inside["hair"] < 0.05 and min(inside["skin"], inside["shape"]) > 1
    changed = {parts: np.abs(picture - portrait).mean() for parts, picture in made.items()}
    assert changed["hair"] > 1


@pytest.mark.parametrize(
    "request_", [{}, {"age": 80, "strength": 0}, {"action_units": {"AU12": 0}, "relative": True}]
)
def test_nothing_asked_changes_not_one_byte(editor, portrait, request_):
    result = editor.edit(portrait, **request_)
    assert np.array_equal(np.asarray(result.image), portrait)
    assert result.identity == pytest.approx(1, abs=1e-3)
    assert not np.asarray(result.attention).any()


def test_the_same_request_gives_the_same_bytes(editor, portrait):
    first, second = (editor.edit(portrait, age=60, action_units=["AU01=2"]) for _ in range(2))
    assert np.array_equal(np.asarray(first.image), np.asarray(second.image))


def test_threads_do_not_mix(editor, portrait):
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    alone = [np.asarray(editor.edit(photo, age=70).image) for photo in (portrait, mirrored)]
    together = [None] * 4

    def work(i):
        together[i] = np.asarray(editor.edit((portrait, mirrored)[i % 2], age=70).image)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, image in enumerate(together):
        assert np.abs(image.astype(int) - alone[i % 2]).max() <= 1


def test_the_photo_given_is_left_alone(editor, portrait):
    copy = portrait.copy()
    editor.edit(portrait, age=20)
    assert np.array_equal(copy, portrait)


def test_progression_goes_from_the_original_each_time(editor, portrait):
    results = editor.progression(portrait, ages=(20, 70))
    assert [r.edit.age for r in results] == [20, 70]
    assert np.array_equal(np.asarray(results[1].image), np.asarray(editor.edit(portrait, age=70).image))


def test_of_several_faces_the_largest_is_edited_and_any_can_be_picked(editor, two_faces):
    largest = editor.edit(two_faces, age=75)
    assert any("2 faces were found; face 0 is edited" in warning for warning in largest.warnings)
    assert np.array_equal(np.asarray(largest.image)[:, 400:], two_faces[:, 400:])
    second = editor.edit(two_faces, age=75, face=1)
    assert np.array_equal(np.asarray(second.image)[:, :240], two_faces[:, :240])
    assert not np.array_equal(np.asarray(second.image), two_faces)
    with pytest.raises(BadInput, match="face 2 does not exist; the photo has 2 faces, numbered from 0"):
        editor.edit(two_faces, age=75, face=2)


def test_read_measures_every_face_largest_first(editor, two_faces):
    readings = editor.read(two_faces)
    assert len(readings) == 2
    assert readings[0].box[2] - readings[0].box[0] > readings[1].box[2] - readings[1].box[0]
    for reading in readings:
        x0, y0, x1, y1 = reading.box
        nose = reading.landmarks[30]
        assert x0 < nose[0] < x1 and y0 < nose[1] < y1
        assert reading.landmarks.shape == (68, 2)
    assert abs(readings[0].age - readings[1].age) < 15


def test_a_face_at_the_border_is_edited_with_a_warning(editor, portrait):
    eye_line = int(editor.read(portrait)[0].landmarks[36:48, 0].mean())
    result = editor.edit(portrait[:, eye_line - 15 :], age=70)
    assert any("border cuts the face" in warning for warning in result.warnings)


def test_a_small_face_in_a_large_photo_is_edited_in_place(editor, portrait):
    photo = np.full((900, 1200, 3), 120, np.uint8)
    photo[500:620, 700:820] = np.asarray(
        Image.fromarray(portrait).resize((120, 120), Image.Resampling.LANCZOS)
    )
    result = editor.edit(photo, age=75)
    assert any("smaller than" in warning for warning in result.warnings)
    assert np.array_equal(np.asarray(result.image)[:400], photo[:400])


BAD_REQUESTS = {
    "no face": ({"age": 70, "photo": "faceless"}, "no face was found in the photo; give a photo with a face"),
    "age 500": ({"age": 500}, "age 500 is out of range; give years between 0 and 100"),
    "age -1": ({"age": -1}, "age -1 is out of range"),
    "age NaN": ({"age": float("nan")}, "age nan is out of range; give years between 0 and 100"),
    "age word": ({"age": "old"}, "age 'old' is not a number"),
    "AU99": ({"action_units": {"AU99": 1}}, "unknown action unit 'AU99'; choose from AU01"),
    "AU range": (
        {"action_units": {"AU12": 5.5}},
        "AU12=5.5 is out of range; give an intensity between 0 and 5",
    ),
    "AU NaN": ({"action_units": {"AU12": float("nan")}}, "AU12=nan is out of range"),
    "AU text": ({"action_units": ["AU12"]}, "cannot read the action unit 'AU12'; write it as AU12=3"),
    "method": ({"age": 70, "method": "magic"}, "unknown method 'magic'; these weights hold ganimation_age"),
    "strength": ({"age": 70, "strength": 9}, "strength 9 is out of range"),
    "face": ({"age": 70, "face": 5}, "face 5 does not exist; the photo has 1 face, numbered from 0"),
    "negative face": ({"age": 70, "face": -1}, "face -1 does not exist"),
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_a_bad_request_is_one_sentence(editor, portrait, faceless, kind):
    given, sentence = BAD_REQUESTS[kind]
    photo = faceless if given.get("photo") else portrait
    with pytest.raises(BadInput) as caught:
        editor.edit(photo, **{key: value for key, value in given.items() if key != "photo"})
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_one_sentence(model):
    with pytest.raises(BadInput, match="unknown device 'toaster'; choose cpu, cuda or mps"):
        FaceEditor(model, device="toaster")


@pytest.mark.parametrize("dtype", ["auto", "float64"])
def test_in_whatever_precision_weights_are_loaded_the_edit_is_the_same(editor, portrait, dtype):
    other = FaceEditor(GanimeAge.from_pretrained(dtype=dtype)).edit(portrait, age=70)
    assert np.array_equal(np.asarray(other.image), np.asarray(editor.edit(portrait, age=70).image))
    assert other.weights == editor.weights


def test_weights_in_bfloat16_edit_much_as_the_whole_ones(editor, portrait):
    coarse = FaceEditor(GanimeAge.from_pretrained(dtype=torch.bfloat16))
    assert abs(coarse.read(portrait)[0].age - editor.read(portrait)[0].age) < 3
    images = [np.asarray(one.edit(portrait, age=70).image).astype(float) for one in (coarse, editor)]
    assert np.abs(images[0] - images[1]).mean() < 2 < np.abs(images[0] - portrait).max()


def test_any_finder_can_be_given(model, editor, portrait):
    found = editor.detector(portrait)
    mine = FaceEditor(model, detector=lambda photo: found)
    assert np.array_equal(
        np.asarray(mine.edit(portrait, age=70).image), np.asarray(editor.edit(portrait, age=70).image)
    )


def test_the_demo_sheet_shows_every_edit(editor):
    said = []
    sheet = demo_sheet(editor, said.append)
    assert sheet.mode == "RGB" and sheet.width > 1500
    assert [line.split(" s")[0][:8].strip() for line in said[: len(DEMO_AGES)]] == [
        f"age {a}" for a in DEMO_AGES
    ]
    assert all(line.endswith(" s") for line in said)


def test_tiles_say_what_was_asked_and_read(editor, portrait):
    result = editor.edit(portrait, age=70, action_units={"AU12": 3})
    one = tile("seventy", result)
    assert one.lines[0].startswith("age read ") and one.lines[1].startswith("AU12 asked 3.0, read ")
    blank = Tile(Image.new("RGB", (8, 8), "red"), "red", ("a line",))
    sheet = contact_sheet("title", ("about",), [blank], [blank] * 7)
    assert sheet.getpixel((72 + 128, sheet.height // 2)) is not None
    assert (np.asarray(sheet) == (255, 0, 0)).all(-1).mean() > 0.2
