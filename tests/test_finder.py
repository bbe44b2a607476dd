"""The embedded finder: its parts with tiny random networks, and what the shipped weights find."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.images.boxes import box_overlap, keep_apart
from ganime_age.images.detectors import EmbeddedDetector
from ganime_age.images.search import FoundFace, sure_first
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.task import Step
from ganime_age.learning.evaluation.detection import measure_conditions
from ganime_age.learning.evaluation.detection.conditions import Shown, conditions, darkened
from ganime_age.learning.evaluation.detection.measure_finder import match, measure
from ganime_age.learning.external.onnx_models import five_points
from ganime_age.learning.tasks import detector as finder_task
from ganime_age.networks.detector import FaceDetector, expectation

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = {"seek_width": 8, "mark_width": 8, "crop_side": 32}
ASTRONAUT = np.array([176, 62, 270, 180], np.float32)


def tiny() -> FaceDetector:
    torch.manual_seed(0)
    return FaceDetector(**TINY)


@pytest.fixture
def faces(tmp_path) -> Faces:
    """Six noise pictures with landmarks in the frame, one of them without."""
    rng, rows = np.random.default_rng(0), []
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"{i}.png")
        points = rng.uniform(0.25, 0.75, 136).astype(np.float32)
        rows.append({"id": str(i), "file": f"{i}.png", "split": "train", "landmarks": points if i else None})
    pd.DataFrame(rows).to_parquet(tmp_path / "manifest.parquet")
    return Faces(tmp_path, 32)


def test_config_rebuilds_the_network_and_bad_numbers_are_named():
    assert FaceDetector(**json.loads(json.dumps(tiny().config))).config == TINY
    with pytest.raises(ValueError, match=r"crop_side.*50"):
        FaceDetector(crop_side=50)
    with pytest.raises(ValueError, match=r"widths.*6"):
        FaceDetector(seek_width=6)


def test_the_default_network_stays_small():
    assert sum(p.numel() for p in FaceDetector().parameters()) < 500_000


def test_expectation_is_where_the_peak_is():
    heatmaps = torch.full((1, 1, 8, 8), -50.0)
    heatmaps[0, 0, 2, 5] = 50.0
    assert torch.allclose(expectation(heatmaps)[0, 0], torch.tensor([5.5 / 8, 2.5 / 8]))


def test_two_steps_reach_every_parameter(faces):
    task = finder_task.build(finder_task.Recipe(batch=4, canvas=64, network=TINY), faces, seed=0)
    (player,) = task.players
    optimizer = torch.optim.SGD(player.module.parameters(), 1e-3)
    for step in range(2):
        loss, terms = player.loss(Step(task.batch(step), step))
        loss.backward()
        optimizer.step()
    assert set(terms) == {"seek", "frame", "landmarks", "face"} and all(
        value.isfinite() for value in terms.values()
    )
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in player.module.parameters())


def test_batches_repeat_and_mirror(faces):
    recipe = finder_task.Recipe(batch=4, canvas=64, network=TINY)
    batch = finder_task.build(recipe, faces, seed=5).batch(2)
    again = finder_task.build(recipe, faces, seed=5).batch(2)
    twice = finder_task.mirrored(finder_task.mirrored(batch))
    for name, value in batch.items():
        assert torch.equal(value.nan_to_num(), again[name].nan_to_num())
        assert torch.allclose(value.nan_to_num(), twice[name].nan_to_num(), atol=1e-5)


def test_a_cell_at_the_face_centre_must_find_it_and_its_rim_is_free():
    frames = torch.full((1, 2, 4), float("nan"))
    frames[0, 0] = torch.tensor([28.0, 36.0, 48.0, 0.0])
    frames[0, 1] = torch.tensor([80.0, 80.0, 80.0, 0.0])  # merely tolerated
    face, counted, frame = finder_task.cell_targets(frames, 12, 12)
    assert face[0, 4, 3] == 1 and torch.equal(frame[0, :, 4, 3], frames[0, 0])
    assert face.sum() < 9 and not counted[0, 4, 4] | (face[0, 4, 4] > 0) and not counted[0, 9, 9]
    assert counted[0, 0, 11] and face[0, 0, 11] == 0


def test_doubles_are_removed_best_first():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], float)
    assert keep_apart(boxes, np.array([0.5, 0.9, 0.3])) == [1, 2]


def test_no_face_is_found_inside_a_better_one():
    boxes = np.array([[0, 0, 10, 10], [4, 4, 7, 7], [8, 8, 12, 12]], float)
    assert keep_apart(boxes, np.array([0.9, 0.8, 0.7])) == [0, 2]


def test_a_large_face_that_is_doubtful_comes_after_a_small_sure_one():
    points = np.zeros((68, 2), np.float32)
    boxes = [np.float32([0, 0, side, side]) for side in (90, 20, 40)]
    faces = [FoundFace(box, score, points) for box, score in zip(boxes, (0.52, 0.97, 0.99), strict=True)]
    assert [face.score for face in sure_first(faces)] == [0.99, 0.97, 0.52]


@pytest.mark.parametrize("shape", [(64, 64), (300, 70), (90, 700)])
def test_any_photo_size_gives_a_list_largest_first(shape):
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found = EmbeddedDetector(tiny(), threshold=0.0)(photo)
    areas = [(f.score >= 0.6, np.prod(f.box[2:] - f.box[:2])) for f in found]
    assert areas == sorted(areas, reverse=True)  # the doubtful ones last
    assert all(
        f.landmarks.shape == (68, 2) and f.box.dtype == np.float32 and 0 <= f.score <= 1 for f in found
    )


@pytest.mark.parametrize(
    "photo", [np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.uint8), "photo.jpg"]
)
def test_what_is_not_a_photo_is_refused(photo):
    with pytest.raises(BadInput, match="uint8"):
        EmbeddedDetector(tiny())(photo)


def test_finding_leaves_the_network_as_it_was():
    network = tiny().train()
    state = {k: v.clone() for k, v in network.state_dict().items()}
    EmbeddedDetector(network)(np.zeros((64, 64, 3), np.uint8))
    assert network.training and all(torch.equal(v, state[k]) for k, v in network.state_dict().items())


def test_each_reference_face_is_matched_once():
    box, points = np.array([0, 0, 10, 10], np.float32), np.zeros((68, 2), np.float32)
    found = [FoundFace(box, 0.5, points), FoundFace(box + 1, 0.9, points)]
    assert match([box.tolist()], found) == [(0, 1)]


def test_measuring_a_finder_that_knows_the_reference(tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "a_1.png")
    points = np.random.default_rng(0).uniform(20, 60, (68, 2)).round(1)
    face = {"box": [10, 10, 60, 70], "landmarks68": points.tolist()}
    (tmp_path / "reference.json").write_text(json.dumps({"a_1.png": {"size": [80, 80], "faces": [face]}}))
    result = measure(lambda photo: [FoundFace(np.float32(face["box"]), 0.9, points)], tmp_path)
    assert result["summary"] | {"seconds_1024": 0} == {
        "recall": 1.0, "false_per_photo": 0.0, "landmark_error_percent": 0.0, "seconds_1024": 0,
    }  # fmt: skip
    assert result["recall_by_source"] == {"a": {"faces": 1, "found": 1, "recall": 1.0}}
    assert result["counts"]["beyond_reference"] == 0
    with pytest.raises(BadInput, match=r"reference\.json"):
        measure(lambda photo: [], tmp_path / "elsewhere")


def test_a_face_that_the_reference_lacks_is_false_unless_the_witness_finds_it(tmp_path):
    Image.new("RGB", (80, 80)).save(tmp_path / "a_1.png")
    (tmp_path / "reference.json").write_text(json.dumps({"a_1.png": {"size": [80, 80], "faces": []}}))
    boxes = [np.float32([5, 5, 30, 35]), np.float32([45, 40, 75, 75])]
    faces = [FoundFace(box, 0.9, np.zeros((68, 2), np.float32)) for box in boxes]
    alone = measure(lambda photo: faces, tmp_path)
    witnessed = measure(lambda photo: faces, tmp_path, lambda photo: faces[1:])
    assert alone["counts"]["false"] == 2 and witnessed["counts"]["false"] == 1
    assert witnessed["counts"]["beyond_reference"] == 2
    assert [row["box"] for row in witnessed["false"]] == [boxes[0].tolist()]
    assert [row["box"] for row in witnessed["unlisted"]] == [boxes[1].tolist()]


def dotted() -> Shown:
    """A black photo whose 68 landmarks are white dots."""
    points = np.stack([np.arange(68) % 10 * 6 + 60.5, np.arange(68) // 10 * 12 + 50.5], 1)
    photo = np.zeros((180, 200, 3), np.uint8)
    for x, y in points.astype(int):
        photo[y - 1 : y + 2, x - 1 : x + 2] = 255
    return Shown(photo, np.array([50.0, 40.0, 130.0, 140.0]), points)


@pytest.mark.parametrize(
    "name", ["96 px", "256 px", "32 px in 1024 px", "turned 30 degrees", "turned 90 degrees"]
)
def test_a_photo_made_harder_keeps_its_landmarks_on_the_face(name):
    before = dotted()
    after = conditions()[name](before._replace(number=1))
    size = np.sqrt(np.prod(after.box[2:] - after.box[:2]) / np.prod(before.box[2:] - before.box[:2]))
    levels = np.array([after.photo[int(y), int(x), 0] for x, y in after.landmarks])
    assert (levels > (128 if size > 0.9 else 20)).all() and after.photo.mean() < levels.mean() / 3
    inside = after.landmarks.astype(np.float32)
    assert (inside >= after.box[:2]).all() and (inside <= after.box[2:]).all()
    if name.endswith(" px"):
        assert float(np.sqrt(np.prod(after.box[2:] - after.box[:2]))) == pytest.approx(float(name.split()[0]))


def test_large_photos_are_cut_around_the_face_and_dark_ones_repeat():
    large = conditions()["2000 px"](dotted())
    assert max(large.photo.shape) <= 4900 and (large.box >= 0).all() and large.box[2] <= large.photo.shape[1]
    photo = np.full((40, 50, 3), 200, np.uint8)
    shown = Shown(photo, np.zeros(4), np.zeros((68, 2)))
    first, again, other = (darkened(shown._replace(number=i), 2.5, 6).photo for i in (0, 0, 1))
    assert first.mean() == pytest.approx(255 * (200 / 255) ** 2.5, abs=1) and first.std() == pytest.approx(
        6, abs=1
    )
    assert (first == again).all() and (first != other).any()


def test_detectors_are_measured_side_by_side_in_each_condition(tmp_path, monkeypatch):
    shown = dotted()
    Image.fromarray(shown.photo).save(tmp_path / "a_1.png")
    face = {"box": shown.box.tolist(), "landmarks68": shown.landmarks.tolist()}
    (tmp_path / "reference.json").write_text(
        json.dumps({"a_1.png": {"faces": [face]}, "b_1.png": {"faces": []}})
    )
    made = {"as it is": lambda shown: shown, "256 px": conditions()["256 px"]}
    monkeypatch.setattr(measure_conditions, "conditions", lambda: made)
    box, five = np.float32(shown.box), five_points(shown.landmarks)
    found = measure_conditions.measure(
        {
            "ganime_age": lambda photo: [FoundFace(box, 0.75, shown.landmarks)],
            "other": lambda photo: [FoundFace(box, 0.5, five + (1, 0)), FoundFace(box + 100, 0.5, five)],
        },
        tmp_path,
    )
    rows, eyes = found["by_condition"], np.linalg.norm(shown.landmarks[36] - shown.landmarks[45])
    assert found["photos"] == 1
    assert rows["as it is"] == {
        "ganime_age": {"recall": 1, "false": 0, "score": 0.75, "five_points": 0, "landmarks": 0},
        "other": {"recall": 1, "false": 1, "score": 0.5, "five_points": round(100 / eyes, 2)},
    }
    assert rows["256 px"]["ganime_age"] == {"recall": 0, "false": 1, "score": None}
    assert measure_conditions.other_finders(None) == measure_conditions.other_finders(tmp_path) == {}


def test_yunet_gives_boxes_and_five_points_of_the_photo(astronaut):
    file = SHARED / "models" / measure_conditions.YUNET
    if not file.is_file():
        pytest.skip("the shared YuNet is not beside this checkout")
    (face,) = measure_conditions.YuNet(file, max_side=300)(astronaut)
    assert box_overlap(face.box, ASTRONAUT) > 0.6 and face.landmarks.shape == (5, 2)
    assert np.abs(face.landmarks[:2] - ((203, 102), (247, 103))).max() < 6


@pytest.fixture(scope="module")
def shipped() -> EmbeddedDetector:
    from ganime_age.model.model import GanimeAge

    return EmbeddedDetector(GanimeAge.from_pretrained(parts=["finder"]).detector)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data", reason="needs scikit-image's pictures").astronaut()


def turned(photo: np.ndarray, degrees: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    matrix = cv2.getRotationMatrix2D((223, 120), degrees, scale)
    return cv2.warpAffine(photo, matrix, (512, 512), flags=cv2.INTER_AREA), matrix


def test_shipped_weights_find_the_astronaut(shipped, astronaut):
    (face,) = shipped(astronaut)
    assert box_overlap(face.box, ASTRONAUT) > 0.6
    left, right = face.landmarks[36:42].mean(0), face.landmarks[42:48].mean(0)
    assert np.abs(left - (203, 102)).max() < 4 and np.abs(right - (247, 103)).max() < 4


@pytest.mark.parametrize(("degrees", "scale"), [(25, 1.0), (-25, 1.0), (0, 0.45), (0, 2.2)])
def test_shipped_weights_follow_turn_and_size(shipped, astronaut, degrees, scale):
    (upright,) = shipped(astronaut)
    photo, matrix = turned(astronaut, degrees, scale)
    face = max(shipped(photo), key=lambda face: face.score)
    expected = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
    eyes = np.linalg.norm(expected[36] - expected[45])
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() < 0.08 * eyes


@pytest.mark.parametrize("quarters", [1, 3])
def test_shipped_weights_find_a_face_in_a_photo_on_its_side(shipped, astronaut, quarters):
    (upright,) = shipped(astronaut)
    (face,) = shipped(np.rot90(astronaut, quarters).copy())
    x, y = upright.landmarks.T
    expected = np.stack([y, 512 - x] if quarters == 1 else [512 - y, x], 1)
    assert np.linalg.norm(face.landmarks - expected, axis=1).mean() < 2


@pytest.mark.parametrize("light", [0.1, 0.05])
def test_shipped_weights_find_a_face_in_a_very_dark_photo(shipped, astronaut, light):
    (face,) = shipped((astronaut * light).astype(np.uint8))
    assert box_overlap(face.box, ASTRONAUT) > 0.6


@pytest.mark.parametrize("cut", [np.s_[:150], np.s_[:, 205:], np.s_[85:]], ids=["chin", "side", "forehead"])
def test_shipped_weights_find_a_face_cut_by_the_border(shipped, astronaut, cut):
    assert max(f.score for f in shipped(np.ascontiguousarray(astronaut[cut]))) > 0.5


@pytest.mark.parametrize("name", ["coffee", "gravel"])
def test_shipped_weights_find_no_face_where_there_is_none(shipped, name):
    picture = getattr(pytest.importorskip("skimage.data", reason="needs scikit-image's pictures"), name)()
    assert shipped(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)) == []


def test_shipped_weights_find_all_six_of_a_group(shipped):
    data = pytest.importorskip("insightface.data", reason="needs InsightFace's group photo")
    assert len(shipped(np.ascontiguousarray(data.get_image("t1")[..., ::-1]))) == 6
