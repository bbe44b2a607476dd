"""Necks: a child's is thin for its head, and nothing else of the photo moves for it."""

import numpy as np
import pytest

from ganime_age.edits import Edit
from ganime_age.images.alignment import apply, frame_matrix
from ganime_age.images.neck import ASIDE, ENDS, WIDEST, WIDTH, neck_at, neck_change, width_at

HALF, MIDDLE, CHIN = 60, 160, 200


def head() -> np.ndarray:
    """Landmarks (68,2) of a head whose jaw is half an ellipse."""
    marks = np.full((68, 2), (MIDDLE, 150.0))
    angle = np.linspace(np.pi, 0, 17)
    marks[:17] = np.stack([MIDDLE + HALF * np.cos(angle), 110 + (CHIN - 110) * np.sin(angle)], 1)
    marks[36:42], marks[42:48] = (MIDDLE - 25, 105), (MIDDLE + 25, 105)
    marks[30] = MIDDLE, 140
    marks[48:68] = MIDDLE, 165
    marks[48], marks[54] = (MIDDLE - 18, 165), (MIDDLE + 18, 165)
    return marks.astype(np.float32)


@pytest.fixture
def photo():
    """A neck from 118 to 202, brighter than the noise beside it."""
    seed = np.random.default_rng(0)
    picture = seed.integers(0, 60, (400, 320, 3)).astype(np.uint8)
    picture[:, 118:202] = seed.integers(180, 220, (400, 84, 3))
    return picture


def wide(picture: np.ndarray, row: int) -> int:
    return int((picture[row].mean(-1) > 120).sum())


def test_a_neck_becomes_as_wide_as_at_another_age(photo):
    marks = head()
    matrix = frame_matrix(marks, 256)
    row = CHIN + round(0.6 * HALF)
    thin, thick, thicker = (
        neck_at(photo, marks, matrix, ages) for ages in ((40.0, 3.0), (15.0, 40.0), (6.0, 40.0))
    )
    assert wide(thin, row) == pytest.approx(84 * WIDTH[1], abs=2)
    assert wide(thick, row) == pytest.approx(84 / width_at(15), abs=2)
    assert wide(thicker, row) == pytest.approx(84 * WIDEST, abs=2), "no wider, whatever it was"


def test_a_childs_jaw_is_narrow_above_its_neck_and_its_ears_stay(photo):
    marks = head()
    thin = neck_at(photo, marks, frame_matrix(marks, 256), (40.0, 3.0))
    assert wide(thin, CHIN - 15) < 0.95 * wide(photo, CHIN - 15)
    assert np.array_equal(thin[:150], photo[:150])


@pytest.mark.parametrize("ages", [(40.0, 3.0), (40.0, 12.0), (6.0, 40.0)])
def test_landmarks_go_where_the_jaw_and_the_neck_go(photo, ages):
    marks, rows = head(), np.arange(CHIN - 35, CHIN + 40, 5)
    change = neck_change(photo.shape, marks, frame_matrix(marks, 256), ages)
    drawn = change.drawn(photo)
    for edge, side in ((118, 0), (202, -1)):
        moved = change.moved(np.stack([np.full(len(rows), edge), rows + 0.5], 1))
        seen = [np.flatnonzero(drawn[row].mean(-1) > 120)[side] + (side == -1) for row in rows]
        assert moved[:, 0] == pytest.approx(np.array(seen, float), abs=1.2)
        assert moved[:, 1] == pytest.approx(rows + 0.5, abs=0.1)
    assert np.abs(change.moved(marks) - marks)[36:48].max() < 1e-6, "eyes stay"
    there = change.neck.after(apply(change.matrix, marks.astype(float)), change.factor, change.ends)
    back = change.neck.before(there, change.factor, change.ends)
    assert np.abs(back - apply(change.matrix, marks.astype(float))).max() < 1e-6


def test_an_edit_is_drawn_where_the_jaw_lies_then(editor, portrait):
    face = editor.pipeline.read_face(
        *(lambda photo: (photo, editor.pipeline.find_faces(photo)))(editor.pipeline.load(portrait)), 0
    )
    marks = face.reading.landmarks
    change = neck_change(face.photo.shape, marks, face.matrix, (face.reading.age, 4.0), face.others)
    drawing = editor.pipeline.prepare(face, Edit(age=4.0), "ganimation_age")
    given = drawing.landmarks[0].numpy() * len(face.face)
    assert given == pytest.approx(apply(face.matrix, change.moved(marks)), abs=0.01)
    assert np.abs(given - apply(face.matrix, marks.astype(float)))[4:13].max() > 2


def test_nothing_else_moves(photo):
    marks = head()
    thin = neck_at(photo, marks, frame_matrix(marks, 256), (40.0, 1.0))
    moved = (thin != photo).any(-1)
    rows, columns = np.nonzero(moved)
    assert rows.min() > 150 and rows.max() <= CHIN + ENDS[1] * HALF
    assert np.abs(columns + 0.5 - MIDDLE).max() <= ASIDE * HALF + 1
    assert moved.sum() > 1000


@pytest.mark.parametrize("ages", [(25.0, 70.0), (70.0, 20.0), (5.0, 5.0)])
def test_the_necks_of_grown_ups_stay(photo, ages):
    marks = head()
    assert neck_at(photo, marks, frame_matrix(marks, 256), ages) is photo


def test_the_neck_of_a_turned_head_stays(photo):
    marks = head()
    marks[30, 0] += 30
    assert neck_at(photo, marks, frame_matrix(marks, 256), (40.0, 3.0)) is photo


def test_a_turned_photo_has_a_turned_neck(photo):
    lying = np.ascontiguousarray(np.rot90(photo, -1))
    marks = apply(np.array([[0, -1, photo.shape[0]], [1, 0, 0.0]]), head())
    turned = neck_at(lying, marks, frame_matrix(marks, 256), (40.0, 3.0))
    expected = neck_at(photo, head(), frame_matrix(head(), 256), (40.0, 3.0))
    assert np.abs(np.rot90(turned).astype(int) - expected).mean() < 0.5


@pytest.mark.parametrize("edge", [0.6, 0.95])
def test_nothing_is_drawn_from_beyond_a_photos_side(photo, edge):
    marks, end = head(), MIDDLE + round(edge * HALF)
    cut = photo[:, :end]
    thin = neck_at(cut, marks, frame_matrix(marks, 256), (40.0, 3.0))
    moved = (thin != cut).any((0, 2))
    assert moved[:MIDDLE].any()  # the other side has room
    assert moved[MIDDLE:].any() == (edge > 0.9)
    repeated = (np.diff(thin[CHIN : CHIN + 40].astype(int), axis=1) == 0).all((0, 2))
    assert not repeated.any()


def test_another_face_is_left_as_it_is(photo):
    marks = head()
    matrix = frame_matrix(marks, 256)
    below, above = np.array([100, 240, 200, 380]), np.array([100, 0, 200, 100])
    assert neck_at(photo, marks, matrix, (40.0, 3.0), [above, below]) is photo
    assert (neck_at(photo, marks, matrix, (40.0, 3.0), [above]) != photo).any()


def test_a_panorama_has_a_neck_too(photo):
    wide = np.zeros((400, 33000, 3), np.uint8)
    wide[:, :320] = photo
    marks = head()
    matrix = frame_matrix(marks, 256)
    expected = neck_at(photo, marks, matrix, (40.0, 3.0))
    assert np.array_equal(neck_at(wide, marks, matrix, (40.0, 3.0))[:, :300], expected[:, :300])


def test_a_chin_at_the_border_of_a_photo_leaves_it(photo):
    marks = head()
    cut = photo[: CHIN - 60]
    assert neck_at(cut, marks, frame_matrix(marks, 256), (40.0, 3.0)) is cut


def test_the_neck_of_a_face_beside_another_stays(editor, two_faces):
    large, small = (reading.box for reading in editor.read(two_faces))
    pipeline = editor.pipeline
    photo = pipeline.load(two_faces)
    found = pipeline.find_faces(photo)
    for i, other in enumerate((small, large)):
        (box,) = pipeline.read_face(photo, found, i).others
        assert np.abs(box - other).max() < 2


def test_an_edit_changes_the_neck_with_the_shape_alone(editor, portrait):
    whole, skin = (
        np.asarray(editor.edit(portrait, age=4, parts=parts, mark=False).image).astype(int)
        for parts in (("shape", "skin", "hair"), ("skin", "hair"))
    )
    marks = editor.read(portrait)[0].landmarks
    below = slice(round(float(marks[8, 1] + 0.15 * (marks[16, 0] - marks[0, 0]))), None)
    before = np.asarray(portrait).astype(int)
    assert np.abs(whole - before)[below].mean() > 0.3
    assert np.abs(skin - before)[below].mean() < 0.1
