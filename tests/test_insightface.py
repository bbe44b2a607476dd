"""InsightFace as finder and as identity measure, by a stand-in with the interface of insightface 2."""

import json
import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from ganime_age import BadInput, FaceEditor, MissingModel
from ganime_age.cli import main as cli
from ganime_age.images import detectors


class Recognition:
    """A network of a pack: a code that is the colour at the left eye."""

    taskname = "recognition"

    def get(self, img, face):
        assert img.dtype == np.uint8 and face.kps.shape == (5, 2)
        x, y = face.kps[0].astype(int)
        face["embedding"] = 3 * img[y, x, ::-1].astype(np.float32)
        return face["embedding"]


class FaceAnalysis:
    """insightface.app.FaceAnalysis as version 2 has it. made: the arguments of each that was built."""

    made: list = []
    has = ("detection", "recognition", "landmark_3d_68")

    def __init__(
        self,
        name="buffalo_l",
        root="~/.insightface",
        allowed_modules=None,
        *,
        addons=None,
        liveness_mode="normal",
        providers=None,
    ):
        print("Applied providers: ...")
        self.asked = {"name": name, "root": root, "providers": providers}
        networks = {"detection": object(), "recognition": Recognition(), "landmark_3d_68": object()}
        self.models = {kind: networks[kind] for kind in allowed_modules if kind in self.has}
        FaceAnalysis.made.append(self)

    def prepare(self, ctx_id=0, det_thresh=0.5, det_size=None):
        self.asked["ctx_id"] = ctx_id

    def get(self, img, max_num=0):
        points = np.random.default_rng(0).random((68, 3)).astype(np.float32) * 50
        box = np.array([4, 4, 60, 60], np.float32)
        return [SimpleNamespace(bbox=box, det_score=0.9, kps=points[:5, :2], landmark_3d_68=points)]


@pytest.fixture
def pack(monkeypatch, tmp_path):
    """A pack's root, where the package is the stand-in."""
    app = ModuleType("insightface.app")
    app.FaceAnalysis = FaceAnalysis
    package = ModuleType("insightface")
    package.app = app
    monkeypatch.setitem(sys.modules, "insightface", package)
    monkeypatch.setitem(sys.modules, "insightface.app", app)
    (tmp_path / "models" / "own").mkdir(parents=True)
    (tmp_path / "models" / "own" / "w.onnx").write_bytes(b"")
    FaceAnalysis.made.clear()
    return tmp_path


def onnxruntime(monkeypatch, *providers):
    there = ModuleType("onnxruntime")
    there.get_available_providers = lambda: [*providers, "CPUExecutionProvider"]
    monkeypatch.setitem(sys.modules, "onnxruntime", there)


@pytest.mark.parametrize(
    ("device", "number", "providers"),
    [
        ("cpu", -1, ["CPUExecutionProvider"]),
        ("cuda", 0, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("cuda:1", 1, ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("mps", -1, ["CPUExecutionProvider"]),
    ],
)
@pytest.mark.parametrize("kind", [detectors.InsightFaceDetector, detectors.InsightFaceIdentity])
def test_it_computes_on_the_device_that_is_named(pack, monkeypatch, kind, device, number, providers, capsys):
    onnxruntime(monkeypatch, "CUDAExecutionProvider")
    kind(pack, "own", device=torch.device(device))
    asked = FaceAnalysis.made[0].asked
    assert (asked["ctx_id"], asked["providers"], asked["name"]) == (number, providers, "own")
    assert capsys.readouterr().out == ""


def test_an_onnxruntime_without_cuda_is_one_sentence(pack, monkeypatch):
    onnxruntime(monkeypatch)
    with pytest.raises(
        MissingModel, match="cannot use the device cuda; pip install onnxruntime-gpu, or choose"
    ):
        detectors.InsightFaceDetector(pack, "own", device="cuda")


def test_identities_are_unit_codes_of_the_face_where_the_eye_lies(pack):
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    pictures[0, 16, 32], pictures[1, 16, 32] = (3, 4, 0), (0, 4, 3)
    landmarks = np.tile(np.array([0.5, 0.25]), (2, 68, 1))
    codes = detectors.InsightFaceIdentity(pack, "own")(pictures, landmarks)
    assert codes == pytest.approx(np.array([[0.6, 0.8, 0], [0, 0.8, 0.6]]))


def test_the_editor_recognises_by_it(pack, model, two_faces):
    seen = []

    def recogniser(pictures, landmarks):
        seen.append((pictures.dtype, pictures.shape[1:], landmarks.shape[1:], landmarks.max() <= 1))
        return np.eye(len(pictures), dtype=np.float32)

    readings = FaceEditor(model, recogniser=recogniser).read(two_faces)
    assert not seen  # nobody asked yet
    assert readings[0].identity @ readings[1].identity == 0 and readings[0].identity.tolist() == [1, 0]
    assert seen == [(np.uint8, (model.face_size, model.face_size, 3), (68, 2), True)]


def test_read_says_how_like_the_faces_are_and_the_licence(pack, tmp_path, two_faces, capsys):
    from PIL import Image

    Image.fromarray(two_faces).save(tmp_path / "two.png")
    command = ["read", str(tmp_path / "two.png"), "--identity", f"insightface:{pack / 'models' / 'own'}"]
    assert cli.main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert "non-commercial research" in said.err and said.err.count("\n") == 1
    rows = [row["likeness"] for row in json.loads(said.out)]
    assert rows[0][0] == rows[1][1] == 1 and rows[0][1] == rows[1][0] <= 1


BAD = {
    "readers": "unknown identity measure 'readers'; write insightface:PACK",
    "insightface:": "unknown identity measure 'insightface:'; write insightface:PACK",
    "insightface:no/pack": "is no InsightFace pack; give its folder",
    "insightface:no/models/none": "none holds no InsightFace models; put the pack none there or leave the identity",
}


@pytest.mark.parametrize("named", BAD)
def test_what_is_no_pack_is_one_line(named):
    with pytest.raises((BadInput, MissingModel), match=BAD[named]):
        cli._recogniser(named, "cpu")


def test_without_the_package_it_is_one_sentence(pack, monkeypatch):
    monkeypatch.setitem(sys.modules, "insightface.app", None)
    with pytest.raises(
        MissingModel, match="InsightFace is not installed; pip install insightface onnxruntime"
    ):
        detectors.InsightFaceIdentity(pack, "own")


# On the page


@pytest.fixture
def own_pack(pack, monkeypatch, editor):
    """The pack lies where InsightFace looks by itself; it finds what the weights' own detector finds, and has no
    network for landmarks."""

    def get(self, img, max_num=0):
        found = editor.detector(np.ascontiguousarray(img[..., ::-1]))
        return [SimpleNamespace(bbox=one.box, det_score=one.score, kps=one.landmarks[:5]) for one in found]

    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")
    monkeypatch.setattr(FaceAnalysis, "get", get)
    monkeypatch.setattr(FaceAnalysis, "has", ("detection", "recognition"))
    monkeypatch.setattr(detectors, "PACKS", pack)
    onnxruntime(monkeypatch)
    for name in ("insightface", "onnxruntime"):
        monkeypatch.setattr(sys.modules[name], "__spec__", ModuleSpec(name, None))
    return pack


def test_the_page_has_the_box_only_where_package_and_pack_are(own_pack, editor, portrait, monkeypatch):
    from ganime_age.space import insightface, jobs

    box = insightface.show()
    assert box.visible and box.value is False and "own" in box.label
    assert "non-commercial research only" in box.info
    (own_pack / "models" / "own" / "w.onnx").unlink()
    assert not insightface.show().visible
    with pytest.raises(MissingModel, match="InsightFace is not installed here; untick its box"):
        jobs.Jobs(editor).read(portrait, True)
    (own_pack / "models" / "buffalo_l").mkdir()
    (own_pack / "models" / "buffalo_l" / "w.onnx").write_bytes(b"")
    assert "buffalo_l" in insightface.show().label
    monkeypatch.setitem(sys.modules, "insightface", None)
    assert not insightface.show().visible
    assert FaceAnalysis.made == []  # nothing is loaded before somebody ticks the box


def test_a_ticked_box_finds_by_it_and_reports_its_likeness(own_pack, editor, portrait):
    import gradio as gr

    from ganime_age.space import jobs, page
    from ganime_age.space.handlers import Handlers, Seen

    with gr.Blocks():
        on, _ = page.lay_out(jobs.Jobs(editor))
    does, request = Handlers(jobs.Jobs(editor), on), SimpleNamespace(session_hash="insight")
    given = {part: part.value for part in (*on.request(), on.stage.picture_format)}
    given |= {on.seen: Seen()._asdict(), on.past: [], on.consent: True}
    given |= {on.photo: portrait, on.insight: True}
    assert len(does.look(given, request)[on.found]["ages"]) == 1
    assert [list(one.models) for one in FaceAnalysis.made] == [["detection"]]
    given |= {on.age.change: True, on.age.years: 70}
    said = does.edit(given, request)[on.results.report]
    assert re.search(r"<dt>By InsightFace own</dt><dd>likeness [01]\.\d\d</dd>", said)
    assert "Same person?" in said
    assert len(FaceAnalysis.made) == 2  # the detector is kept, the recognition came with the report
    plain = does.edit(given | {on.insight: False}, request)[on.results.report]
    assert "InsightFace" not in plain and len(FaceAnalysis.made) == 2
