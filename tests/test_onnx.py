"""Graphs for onnxruntime: the pixels of torch without torch, and one sentence for what cannot be."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import FaceEditor
from ganime_age.cli.main import main
from ganime_age.errors import BadInput, MissingModel
from ganime_age.images import alignment, plain
from ganime_age.images.frames import side_in_photo
from ganime_age.networks.denoising.denoiser import Denoiser
from ganime_age.networks.denoising.distilled import Distilled
from ganime_age.networks.denoising.redraw import redrawn
from ganime_age.networks.layers import Window, choose, cut
from ganime_age.networks.restoring.lay import Request
from ganime_age.provenance.watermark import add_watermark

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from ganime_age.onnx import OnnxEditor, export, stages  # noqa: E402
from ganime_age.onnx.exporter import Weights, library  # noqa: E402
from ganime_age.onnx.recorder import Recorder  # noqa: E402

REQUESTS = (
    {"age": 70, "action_units": {"AU12": 3}},
    {"age": 12, "action_units": {"AU45": 5, "AU26": 2}},
    {"age": 70, "action_units": {"AU12": 3.5, "AU25": 0}},
)
"""An older face that smiles, a younger one whose eyes close, and one whose lips meet."""
WITHOUT_TORCH = """
import json, sys
for name in ("torch", "cv2", "huggingface_hub"):
    sys.modules[name] = None  # importing one is an error
from ganime_age.onnx import OnnxEditor
graphs, photo, requests, *targets = sys.argv[1:]
editor = OnnxEditor(graphs, threads=1)
for request, target in zip(json.loads(requests), targets, strict=True):
    result = editor.edit(photo, **request)
    result.save(target)
print(json.dumps([result.reading.age, result.weights, editor.edit(photo).edited]))
"""


@pytest.fixture(scope="module")
def graphs(model, tmp_path_factory):
    """The shipped model, for faces of 256 and of 320 px."""
    folder = tmp_path_factory.mktemp("onnx") / "graphs"
    export(model, folder, sides=[256, 320])
    return folder


@pytest.fixture
def copied(graphs, tmp_path):
    """A copy to harm."""
    return shutil.copytree(graphs, tmp_path / "graphs")


@pytest.mark.slow
def test_edits_without_torch_give_the_pixels_of_torch(graphs, model, portrait_file, tmp_path):
    editor = FaceEditor(model)
    editor.pipeline.beyond = False  # graphs change hair within the face's frame alone, and no neck
    targets = [tmp_path / f"{i}.png" for i in range(len(REQUESTS))]
    given = [graphs, portrait_file, json.dumps(REQUESTS), *targets]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, given)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    age, weights, edited = json.loads(ran.stdout)
    for request, target in zip(REQUESTS, targets, strict=True):
        there = np.array(Image.open(target)).astype(int)
        result = editor.edit(portrait_file, **request)
        assert np.abs(there - np.array(result.image)).max() <= 1
        # Which of oneDNN's kernels torch takes, and how they round, depends on the processor; its own do not.
        with torch.backends.mkldnn.flags(enabled=False):
            off = np.abs(there - np.array(editor.edit(portrait_file, **request).image))
        assert off.max() <= 1 and off.mean() < 1e-3
        assert np.abs(there - np.array(Image.open(portrait_file))).max() > 20, "the edit is one"
    assert abs(age - result.reading.age) < 0.1 and weights == editor.weights
    assert not edited, "a request without a change edits nothing"


@pytest.fixture
def large_portrait(portrait):
    """A photo whose face is larger than what the networks look at, and not upright."""
    large = Image.fromarray(portrait).resize((560, 560), Image.Resampling.BICUBIC)
    return np.array(large.rotate(12, Image.Resampling.BICUBIC))


@pytest.mark.slow
def test_a_large_face_is_found_and_edited_as_by_torch(graphs, model, large_portrait):
    editor, other = FaceEditor(model), OnnxEditor(graphs, threads=1)
    editor.pipeline.beyond = False
    expected, found = editor.pipeline.detector(large_portrait)[0], other.detector(large_portrait)[0]
    assert np.abs(found.landmarks - expected.landmarks).max() < 1e-3  # pixels; grey strands tell more
    result = other.edit(large_portrait, age=70)
    assert 256 < side_in_photo(other._aligned(large_portrait, found).matrix, 256) <= 320
    off = np.abs(np.array(result.image).astype(int) - np.array(editor.edit(large_portrait, age=70).image))
    assert off.max() <= 1 and off.mean() < 1e-3
    assert np.abs(np.array(result.image).astype(int) - large_portrait).max() > 20, "the edit is one"


@pytest.mark.parametrize("scale", [1.7, 0.8, 0.51, 0.49, 0.3, 0.11])
def test_faces_are_cut_out_without_opencv_as_with_it(large_portrait, scale):
    turn = np.array([[0.96, -0.28], [0.28, 0.96]]) * scale
    matrix = np.c_[turn, (48, 48) - turn @ (271.3, 290.6)]
    exact, expected = (one.crop(large_portrait, matrix, 96, False) for one in (plain, alignment))
    assert exact.dtype == expected.dtype == np.float32
    assert np.abs(exact - expected).max() < 1e-3 and 0 <= expected.min() <= expected.max() <= 255
    levels, expected = (one.crop(large_portrait, matrix, 96).astype(int) for one in (plain, alignment))
    off = np.abs(levels - expected)
    assert off.max() <= 1 and (off > 0).mean() < 1e-4  # halves of a level are rounded either way


def test_photos_are_shrunk_without_opencv_as_with_it(large_portrait):
    for size in ((280, 280), (500, 431), (200, 190)):
        off = np.abs(
            plain.shrink(large_portrait, *size).astype(int) - alignment.shrink(large_portrait, *size)
        )
        assert off.max() <= 1 and (off > 0).mean() < 1e-3


@pytest.mark.parametrize("side", [150.0, 400.0, 900.0])
def test_graphs_mark_a_face_of_any_size_as_torch_does(model, portrait, side):
    face = np.asarray(portrait)[:256, :256]
    marks = model.prototypes.mean_shape.cpu()
    expected = add_watermark(face, marks.numpy(), side=side) - face
    levels = torch.from_numpy(face.copy()).permute(2, 0, 1)[None].float()
    off = np.abs(stages.mark_of(levels, marks, torch.tensor(side))[0, 0].numpy() - expected[..., 0])
    assert off.max() < 0.5 and off.mean() < 1e-3  # pixels on the head's outline are filled a little otherwise


def run(model, **given):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)


def test_both_ways_of_a_choice_are_in_the_graph():
    x, graph = torch.tensor([[[[1.0]]]]), Recorder()
    with graph.recording({"x": x}):
        y = choose(x.flatten() > 0, lambda: 2 * x, lambda: x - 1)
    made = graph.model({"y": y})
    for value, expected in ((3.0, 6.0), (-3.0, -4.0)):
        assert run(made, x=np.full((1, 1, 1, 1), value, np.float32))[0].item() == expected


def test_a_window_lies_where_the_values_say():
    x, span, graph = torch.arange(36.0).view(1, 1, 6, 6), torch.tensor([1, 3]), Recorder()
    with graph.recording({"x": x, "span": span}):
        window = Window(span, span + 1)
        y = window.put(x, 10 * window.cut(x))
        line = cut(x, 3, span)
    made = graph.model({"y": y, "line": line}, {"line": (1, 1, 6, "w")})
    got, piece = run(made, x=x.numpy(), span=np.array([2, 5]))
    expected = x.numpy().copy()
    expected[..., 2:5, 3:6] *= 10
    assert np.array_equal(got, expected) and np.array_equal(piece, x.numpy()[..., 2:5])


@pytest.mark.parametrize("kind", [Denoiser, Distilled])
def test_a_face_is_drawn_anew_in_the_window_that_its_landmarks_say(kind):
    torch.manual_seed(0)
    network, shape = kind((8, 16), (1, 1)), torch.rand(1, 68, 2)
    for part in network.parameters():
        torch.nn.init.normal_(part, std=0.1)
    given = {
        "face": torch.rand(1, 3, 64, 64) * 2 - 1,
        "marks": 0.4 + 0.1 * shape,
        "age": torch.tensor([70.0]),
    }

    def draw(face, closed, marks, age):
        units = torch.zeros(1, 17)
        request = Request(torch.tensor([30.0]), age, units, units)
        return redrawn(network, face, lambda: face.flip(3), (closed, marks), request)

    def with_closed_lips(marks):
        closed = marks.clone()
        closed[:, 60:68, 1] = marks[:, 60:61, 1]
        return closed

    given["closed"] = with_closed_lips(given["marks"])
    graph = Recorder()
    with graph.recording(given):
        drawn = draw(**given)
    made = graph.model({"edited": drawn.face, "attention": drawn.attention})
    noises = [one for one in graph.constants.values() if one.shape == given["face"].shape and one.any()]
    assert len(noises) == (kind is Denoiser), "one for all evaluations; a student needs none"
    for marks, age in ((0.2 + 0.6 * shape, 20.0), (0.5 + 0.1 * shape, 41.0), (0.4 * shape, 30.0)):
        there = {"face": given["face"], "marks": marks, "age": torch.tensor([age])}
        there["closed"] = with_closed_lips(marks)
        with torch.no_grad():
            expected = draw(**there)
        got = run(made, **{name: value.numpy() for name, value in there.items()})
        assert all(np.abs(a - b.numpy()).max() < 1e-3 for a, b in zip(got, expected, strict=True))
        assert torch.equal(expected.face, given["face"]) == (age == 30)


def test_a_convolution_in_a_branch_has_weights_of_its_own_made_of_shared_ones():
    x, graph, conv = torch.rand(1, 2, 8, 8), Recorder(), torch.nn.Conv2d(2, 2, 3, padding=1)
    with graph.recording({"x": x}):
        y = choose(x.flatten().amax(0, keepdim=True) > 0, lambda: conv(conv(x)), lambda: x)
    made = graph.model({"y": y})
    (choice,) = (node for node in made.graph.node if node.op_type == "If")
    (way,) = (one.g for one in choice.attribute if one.name == "then_branch")
    kinds = [node.op_type for node in way.node]
    assert kinds.count("Reshape") == 2 and kinds.count("Conv") == 2
    assert np.abs(run(made, x=x.numpy())[0] - conv(conv(x)).detach().numpy()).max() < 1e-5


def test_an_operator_that_is_not_known_is_named():
    x, graph = torch.rand(3, 3), Recorder()
    with pytest.raises(NotImplementedError, match="linalg_det"), graph.recording({"x": x}):
        torch.linalg.det(x)


@pytest.mark.parametrize("half, size", [(False, 4096), (True, 2048)])
def test_graphs_share_their_weights_in_one_file(tmp_path, half, size):
    shared, models = torch.rand(1024), []
    for name in ("a", "b"):
        x, graph = torch.rand(1024), Recorder()
        with graph.recording({"x": x}):
            y = x + shared
        models.append((name, graph.model({"y": y})))
    weights = Weights(library(), tmp_path / "weights.bin", half)
    with weights:
        for name, made in models:
            weights.take_from(made)
            (tmp_path / f"{name}.onnx").write_bytes(made.SerializeToString())
    assert (tmp_path / "weights.bin").stat().st_size == size
    got = onnxruntime.InferenceSession(tmp_path / "b.onnx").run(None, {"x": np.zeros(1024, np.float32)})[0]
    assert np.abs(got - shared.numpy()).max() <= (5e-4 if half else 0)


def test_what_is_missing_or_damaged_is_one_sentence(copied, tmp_path):
    with pytest.raises(
        MissingModel, match=r"holds no manifest\.json; make the graphs with ganime-age export"
    ):
        OnnxEditor(tmp_path)
    data = (copied / "read.onnx").read_bytes()
    (copied / "read.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(MissingModel, match=r"read\.onnx is damaged or cut off; export the graphs again"):
        OnnxEditor(copied)
    (copied / "read.onnx").unlink()
    with pytest.raises(MissingModel, match=r"read\.onnx is missing; export the graphs again"):
        OnnxEditor(copied)
    (copied / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(MissingModel, match=r"manifest\.json is damaged"):
        OnnxEditor(copied)


def test_requests_are_refused_as_the_editor_refuses_them(graphs, faceless, portrait):
    editor = OnnxEditor(graphs, threads=1)
    with pytest.raises(BadInput, match="no face was found in the photo"):
        editor.edit(faceless, age=70)
    with pytest.raises(BadInput, match="AU06 .* cannot be edited"):
        editor.edit(portrait, action_units={"AU06": 3})
    with pytest.raises(BadInput, match="face 3 does not exist; the photo has 1 face"):
        editor.edit(portrait, age=70, face=3)


def test_the_command_says_in_one_sentence_what_cannot_be_exported(small_weights, tmp_path, capsys):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("mine")
    for args, sentence in (
        ([tmp_path / "work"], "holds other work, such as thesis.txt; give an empty folder or a new one"),
        ([tmp_path / "new", "--weights", small_weights], "load weights with detector to use it"),
    ):
        assert main(["export", *map(str, args)]) in (2, 3)
        assert sentence in capsys.readouterr().err
    assert (tmp_path / "work" / "thesis.txt").read_text() == "mine" and not (tmp_path / "new").exists()


def test_sides_that_cannot_be_are_named(model, tmp_path):
    with pytest.raises(
        BadInput, match="a face of 300 pixels cannot be exported; give 256, or multiples of 64"
    ):
        export(model, tmp_path / "graphs", sides=[256, 300])
