"""Cutting faces out and putting them back: what a user may rely on."""

from pathlib import Path

import numpy as np
import pytest

from ganime_age.errors import BadInput, MissingModel
from ganime_age.images import alignment, detectors
from ganime_age.images.boxes import box_overlap

PACKS = Path(__file__).resolve().parents[2] / "shared" / "models" / "insightface"


def face_points(centre=(200.0, 150.0), eyes=40.0, mouth=45.0, degrees=0.0) -> np.ndarray:
    """68 points whose eye centres are `eyes` px apart and whose mouth is `mouth` px below them."""
    points = np.random.default_rng(0).uniform(-30, 30, (68, 2))
    ring = np.array([[-6, 0], [-3, -2], [3, -2], [6, 0], [3, 2], [-3, 2]], float)
    half = np.array([eyes / 2, 0])
    points[36:42], points[42:48] = ring - half, ring + half
    points[48], points[54] = (-15, mouth), (15, mouth)
    return points @ turn(degrees).T + centre


def turn(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)


def test_frame_follows_the_ffhq_rule():
    points = face_points(eyes=40, mouth=45)  # half side max(2*40, 1.8*45) = 81
    matrix = alignment.frame_matrix(points, 162)
    assert np.allclose(alignment.apply(matrix, np.array([200.0, 150.0])), [81, 81 - 4.5])
    assert np.isclose(np.linalg.det(matrix[:, :2]), 1.0)


@pytest.mark.parametrize("degrees", [-170, -30, 12, 90])
def test_frame_turns_with_the_face(degrees):
    points = face_points(centre=(0, 0))
    moved = 1.7 * points @ turn(degrees).T + (55, -20)
    ours, theirs = alignment.frame_matrix(points, 256), alignment.frame_matrix(moved, 256)
    assert np.allclose(alignment.apply(ours, points), alignment.apply(theirs, moved))


def test_crop_scale_widens_the_frame_around_the_same_centre():
    one, wide = (alignment.frame_matrix(face_points(), 200, scale) for scale in (1.0, 1.5))
    centre = alignment.apply(alignment.invert(one), np.array([100.0, 100.0]))
    assert np.allclose(alignment.apply(wide, centre), [100, 100])
    assert np.allclose(wide[:, :2] * 1.5, one[:, :2])


@pytest.mark.parametrize("points", [np.zeros((68, 2)), np.full((68, 2), np.nan), np.zeros((5, 2))])
def test_unusable_landmarks_are_refused(points):
    with pytest.raises(BadInput, match="landmarks"):
        alignment.frame_matrix(points, 256)


def test_crop_shows_what_lies_at_the_mapped_place():
    y, x = np.mgrid[:300, :400] + 0.5
    photo = np.stack([x / 2, y / 2, 0 * x], -1).astype(np.uint8)
    matrix = alignment.frame_matrix(face_points(degrees=20), 64)
    face = alignment.crop(photo, matrix, 64)
    place = alignment.apply(alignment.invert(matrix), np.array([20.5, 40.5]))
    assert np.abs(face[40, 20, :2] - place / 2).max() < 1.5


def test_shrinking_averages_fine_patterns():
    board = (np.indices((1500, 2000)).sum(0) % 2 * 255).astype(np.uint8)
    photo = np.repeat(board[..., None], 3, 2)
    matrix = alignment.frame_matrix(face_points((1000, 700), eyes=300, mouth=320, degrees=7), 64)
    assert np.abs(alignment.crop(photo, matrix, 64).astype(int) - 127).max() <= 3


@pytest.mark.parametrize("side", [700, 701])
def test_a_face_cut_small_from_a_large_photo_lies_where_it_lay(side):
    line = np.linspace(0, 255, side)
    photo = np.stack(
        [np.broadcast_to(line, (side, side)), np.broadcast_to(line[:, None], (side, side))] * 2, -1
    )
    matrix = np.array([[64 / side, 0, 0], [0, 64 / side, 0]])
    face = alignment.crop(photo[..., :3].astype(np.uint8), matrix, 64).astype(float)
    wanted = (np.arange(64) + 0.5) / 64 * 255
    assert np.abs(face[:, 4:-4, 0] - wanted[4:-4]).max() < 1.5
    assert np.abs(face[4:-4, :, 1] - wanted[4:-4, None]).max() < 1.5


def test_frame_beyond_the_photo_repeats_its_border_and_says_so():
    photo = np.full((300, 400, 3), 10, np.uint8)
    photo[:, :3] = 200
    matrix = alignment.frame_matrix(face_points(centre=(0, 150)), 128)
    face, valid = alignment.crop(photo, matrix, 128), alignment.valid_mask(photo.shape, matrix, 128)
    assert (face[64, :50] == 200).all() and (valid[:, :50] == 0).all()
    assert (valid[:, 70:] == 1).all() and valid.shape == (128, 128) and valid.dtype == np.float32


def test_frame_wholly_outside_still_gives_a_face(photo):
    matrix = alignment.frame_matrix(face_points(centre=(-900, -900)), 64)
    assert (alignment.crop(photo, matrix, 64) == photo[0, 0]).all()
    assert not alignment.valid_mask(photo.shape, matrix, 64).any()


@pytest.mark.parametrize("size", [64, 256])
def test_nothing_changed_means_the_same_bytes(photo, size):
    matrix = alignment.frame_matrix(face_points(degrees=15), size)
    face = alignment.crop(photo, matrix, size)
    out = alignment.paste(photo, face, face, matrix)
    assert np.array_equal(out, photo) and out is not photo


@pytest.mark.parametrize("size", [64, 512])
@pytest.mark.parametrize("centre", [(200, 150), (390, 20)])
def test_only_the_frame_changes(photo, size, centre):
    before = photo.copy()
    matrix = alignment.frame_matrix(face_points(centre, degrees=-25), size)
    face = alignment.crop(photo, matrix, size)
    out = alignment.paste(photo, face, 255 - face, matrix)
    y, x = np.mgrid[:300, :400] + 0.5
    inside = alignment.apply(matrix, np.stack([x, y], -1))
    outside = ((inside < 0) | (inside > size)).any(-1)
    assert np.array_equal(out[outside], photo[outside]) and not np.array_equal(out, photo)
    assert np.array_equal(photo, before)


def test_an_even_change_arrives_in_full_and_keeps_the_detail():
    photo = np.random.default_rng(2).integers(60, 180, (300, 400, 3), np.uint8)
    matrix = alignment.frame_matrix(face_points(), 48)
    face = alignment.crop(photo, matrix, 48).astype(np.float32)
    out = alignment.paste(photo, face, face + 20, matrix)
    assert (np.abs(out[140:170, 190:210].astype(int) - photo[140:170, 190:210] - 20) <= 1).all()


def test_a_change_is_laid_in_parts_that_do_not_show(monkeypatch):
    photo = np.random.default_rng(4).integers(40, 200, (900, 1300, 3), np.uint8)
    matrix = alignment.frame_matrix(face_points((640, 440), degrees=7), 256)
    matrix *= 0.35 / np.sqrt(np.linalg.det(matrix[:, :2]))
    matrix[:, 2] = 128 - matrix[:, :2] @ (640, 440)
    y, x = np.mgrid[:256, :256] / 20
    change = (30 * np.sin(y) * np.cos(x))[..., None].repeat(3, 2).astype(np.float32)
    change[100:140, 100:140] = 0.6  # faint, and yet a level
    parts = alignment.paste_change(photo, change, matrix)
    monkeypatch.setattr(alignment, "TILE", (5000, 5000))
    whole = alignment.paste_change(photo, change, matrix).astype(int)
    assert np.abs(parts - whole).max() <= 1 and (parts != whole).mean() < 1e-3
    assert (whole[430:450, 630:650] - photo[430:450, 630:650] == 1).all()


def test_an_edge_that_moved_leaves_no_line_where_it_was():
    photo = np.full((600, 600, 3), 210, np.uint8)
    photo[:, 300:] = 60
    matrix = alignment.frame_matrix(face_points((300, 300), degrees=3), 512)
    matrix *= 1.07 / np.sqrt(np.linalg.det(matrix[:, :2]))  # a little larger than in the photo
    matrix[:, 2] = 256 - matrix[:, :2] @ (300, 300)
    face = alignment.crop(photo, matrix, 512)
    out = alignment.paste(photo, face, np.roll(face, 12, 1), matrix).astype(int)
    assert np.abs(out[280:320, 295:306] - 210).max() <= 4
    assert np.abs(out[280:320, 320:340] - 60).max() <= 4


def test_where_a_frame_holds_half_of_a_photo_its_detail_stays_beside_an_edge_that_came():
    photo = np.random.default_rng(3).integers(80, 160, (900, 900, 3), np.uint8)
    matrix = alignment.frame_matrix(face_points((450, 450)), 256)
    matrix *= 0.45 / np.sqrt(np.linalg.det(matrix[:, :2]))
    matrix[:, 2] = 128 - matrix[:, :2] @ (450, 450)
    face = alignment.crop(photo, matrix, 256)
    after = face.copy()
    after[:, 128:] += 60
    out = alignment.paste(photo, face, after, matrix).astype(int)
    for place, added in ((380, 0), (500, 60)):
        beside = np.s_[430:470, place : place + 20]
        assert np.abs(out[beside] - photo[beside] - added).max() <= 1
    beside = np.s_[430:470, 453:457]  # the edge, on its bright side
    assert np.corrcoef(out[beside].ravel(), photo[beside].ravel())[0, 1] > 0.8


def test_a_mask_limits_the_change(photo):
    matrix, mask = alignment.frame_matrix(face_points(), 64), np.zeros((64, 64), np.float32)
    face = alignment.crop(photo, matrix, 64)
    assert np.array_equal(alignment.paste(photo, face, 255 - face, matrix, mask), photo)


def test_insightface_without_its_models_names_the_folder(tmp_path):
    with pytest.raises(MissingModel, match="buffalo_l"):
        detectors.InsightFaceDetector(root=tmp_path)


def test_insightface_detector_pack_finds_the_astronaut():
    pytest.importorskip("insightface", reason="InsightFace is optional and not installed")
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's astronaut")
    if not PACKS.is_dir():
        pytest.skip("the shared InsightFace pack is not beside this checkout")
    with pytest.raises(MissingModel, match="landmarker"):
        detectors.InsightFaceDetector(PACKS, "ganime_scrfd")
    seen = []
    finder = detectors.InsightFaceDetector(
        PACKS, "ganime_scrfd", lambda *given: seen.append(given) or face_points()
    )
    (face,) = finder(data.astronaut())
    assert box_overlap(face.box, np.array([176, 62, 270, 180])) > 0.6
    assert face.landmarks.shape == (68, 2) and face.landmarks.dtype == np.float32
    assert seen[0][2].shape == (5, 2)
