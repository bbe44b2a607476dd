"""The judges of edits on real faces: they must see what anybody sees. Their files are not part of the repository."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ganime_age.edits import AU_CODES
from ganime_age.errors import MissingModel
from ganime_age.learning.evaluation.judges import Places, call
from ganime_age.learning.external.onnx_models import (
    FIVE_POINTS,
    AgeNetwork,
    Blendshapes,
    HairNetwork,
    OnnxIdentity,
    OwnReaders,
    five_points,
    similarity,
)
from ganime_age.networks.judging.age_judge import AgeJudge
from helpers.judges import MODELS, aligned, needs_models, same_and_different

AU12 = AU_CODES.index("AU12")


@needs_models
def test_one_person_is_more_alike_than_two(people):
    pytest.importorskip("onnxruntime")
    pictures, landmarks, persons, _ = people
    judge = OnnxIdentity(MODELS / "face_reid_0095.onnx")
    embeddings = judge(pictures, landmarks)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1)
    same, different = same_and_different(embeddings, persons)
    assert same.min() > different.max()
    shuffled = judge(pictures[:2], landmarks[:2] * 0.5)
    assert (shuffled * embeddings[:2]).sum(1).max() < 0.9  # where the points lie matters


@needs_models
def test_an_insightface_pack_judges_identity_as_its_network_does(people, model, tmp_path):
    pytest.importorskip("insightface")
    pictures, landmarks, persons, _ = people
    pack = tmp_path / "models" / "own"
    pack.mkdir(parents=True)
    shutil.copy(MODELS / "mobilefacenet_y1.onnx", pack / "w.onnx")
    judges = call("insightface:own", Places(model, tmp_path, tmp_path))
    assert judges.names() == {"identity": "InsightFace own/w.onnx"}
    same, different = same_and_different(judges.identity(pictures, landmarks), persons)
    assert same.min() > different.max()


@needs_models
def test_a_pack_that_only_finds_faces_is_no_judge(model, tmp_path):
    pytest.importorskip("insightface")
    with pytest.raises(MissingModel, match="neither a recognition nor a genderage model"):
        call("insightface:ganime_scrfd", Places(model, MODELS, tmp_path))


@needs_models
def test_a_smile_reads_as_more_of_action_unit_12(people):
    pytest.importorskip("mediapipe")
    pictures, landmarks, _, smiling = people
    judge = Blendshapes(MODELS / "face_landmarker.task")
    units = judge(pictures, landmarks)
    assert not np.isnan(units[:, AU12]).any() and np.isnan(units[:, AU_CODES.index("AU06")]).all()
    smile, neutral = units[smiling, AU12], units[~smiling, AU12]
    assert (smile > neutral).all() and smile.mean() > neutral.mean() + 1
    tight = judge.read(pictures[0][28:110, 28:100])
    assert tight[AU12] == pytest.approx(units[0, AU12], abs=1)


@needs_models
def test_a_picture_without_a_face_reads_as_nothing(faceless):
    pytest.importorskip("mediapipe")
    assert np.isnan(Blendshapes(MODELS / "face_landmarker.task").read(faceless)).all()


@needs_models
def test_hair_is_above_the_face_and_nowhere_on_it(portrait, editor):
    pytest.importorskip("onnxruntime")
    face, points = aligned(portrait, editor.detector(portrait)[0].landmarks)
    hair = HairNetwork(MODELS / "hair_prismanet_256.onnx")(face[None], points[None])[0]
    assert hair.shape == (128, 128) and 0.1 < hair.mean() < 0.7
    nose, chin = (points[[30, 8]] * 128).astype(int)
    assert not hair[nose[1] - 6 : chin[1] - 6, nose[0] - 6 : nose[0] + 6].any()
    assert hair[: int(points[17:27, 1].min() * 128)].mean() > 2 * hair[nose[1] :].mean()


def test_the_similarity_is_found_again():
    goal = np.array(FIVE_POINTS[128]) * 128
    turn = 0.3
    spin = 1.7 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = similarity((goal - (3, -5)) @ np.linalg.inv(spin).T, goal)
    assert matrix == pytest.approx(np.c_[spin, (3, -5)])


def test_five_points_are_eyes_nose_and_mouth_corners():
    landmarks = np.arange(136.0).reshape(68, 2)
    assert five_points(landmarks)[2:].tolist() == landmarks[[30, 48, 54]].tolist()
    assert five_points(landmarks)[0].tolist() == landmarks[36:42].mean(0).tolist()


def test_the_age_judge_is_read_from_its_folder_and_wins_when_named_last(model, tmp_path):
    torch.manual_seed(0)
    config = {"size": 32, "widths": [8, 8, 16]}
    network = AgeJudge(**config).eval()
    pictures = np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), np.uint8)
    (tmp_path / "age_judge.json").write_text(json.dumps(config))
    save_file(network.state_dict(), tmp_path / "age_judge.safetensors")
    judges = call(f"readers,age=folder:{tmp_path}", Places(model, None, tmp_path / "none"))
    assert isinstance(judges.age, AgeNetwork) and isinstance(judges.identity, OwnReaders)
    judge = judges.age
    with torch.inference_mode():
        faces = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
        assert judge(pictures, None) == pytest.approx(network(faces).numpy(), rel=1e-4)
        assert judge.features(pictures, None).shape == (3, 128)


@pytest.mark.parametrize("damage", ["truncated", "other network", "not json"])
def test_a_damaged_age_judge_is_named(tmp_path, damage):
    (tmp_path / "age_judge.json").write_text(
        "{" if damage == "not json" else '{"size": 32, "widths": [8, 8]}'
    )
    save_file(AgeJudge(size=32, widths=(8, 16)).state_dict(), tmp_path / "age_judge.safetensors")
    if damage == "truncated":
        whole = (tmp_path / "age_judge.safetensors").read_bytes()
        (tmp_path / "age_judge.safetensors").write_bytes(whole[:500])
    with pytest.raises(MissingModel, match="the age judge in .* cannot be loaded"):
        AgeNetwork(tmp_path)


@pytest.mark.parametrize("judge", [OnnxIdentity, HairNetwork, Blendshapes])
def test_a_file_that_is_no_network_is_named(tmp_path, judge):
    pytest.importorskip("mediapipe" if judge is Blendshapes else "onnxruntime")
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(MissingModel, match="junk is not a"):
        judge(tmp_path / "junk")
    with pytest.raises(MissingModel, match="gone is missing"):
        judge(tmp_path / "gone")
