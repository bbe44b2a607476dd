"""What users do wrong and what breaks around them: one case each, in Python, on the command line and on the page.

A bad input is one sentence that says what to do, never a traceback and never half a file. Exit codes: 2 bad input, 3 a
missing or damaged model, 1 a bug. `ELSEWHERE` names the tests that hold the other cases.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from safetensors.torch import load_file, save_file

from ganime_age import BadInput, FaceEditor, GanimeAge, MissingModel, verify
from ganime_age.cli import main as cli

TESTS = Path(__file__).parent
ELSEWHERE = {
    "a file over the upload limit": "test_bad_inputs.py::test_an_upload_over_the_limit_is_refused",
    "EXIF orientation": "test_photo.py::test_exif_orientation_is_applied",
    "GPS and EXIF": "test_provenance.py::test_nothing_of_the_source_file_passes_into_an_output",
    "colour modes": "test_photo.py::test_other_modes_show_the_same_picture",
    "several faces": "test_editor.py::test_of_several_faces_the_largest_is_edited_and_any_can_be_picked",
    "a face cut by the border": "test_editor.py::test_a_face_at_the_border_is_edited_with_a_warning",
    "a tiny face": "test_editor.py::test_a_small_face_in_a_large_photo_is_edited_in_place",
    "nothing asked": "test_editor.py::test_nothing_asked_changes_not_one_byte",
    "unknown, gated, private repositories": "test_hub.py::test_the_six_refusals_differ_and_each_says_what_to_do",
    "a busy Hub": "test_hub.py::test_a_busy_hub_is_asked_again_and_it_is_said",
    "a short answer": "test_hub.py::test_a_short_answer_is_refused_and_never_used",
    "a login page instead of the Hub": "test_hub.py::test_a_login_page_of_the_network_is_named",
    "a killed download": "test_hub.py::test_a_killed_download_leaves_no_half_file_and_the_next_load_works",
    "broken training folders": "test_training.py::test_broken_folders_are_named",
    "an unreadable training picture": "test_training.py::test_an_unreadable_picture_is_named",
    "a save that is killed": "test_loop.py::test_a_save_killed_at_any_instant_leaves_a_whole_checkpoint",
    "a run that is killed": "test_loop.py::test_a_run_killed_between_checkpoints_goes_on_bit_exactly",
    "a broken video": "test_video.py::test_a_bad_file_is_one_sentence_and_nothing_is_written",
    "a video on a full disk": "test_video.py::test_a_full_disk_is_one_sentence_and_leaves_nothing",
    "a photo on a full disk": "test_ways_in.py::test_a_full_disk_is_one_sentence_and_leaves_what_was_there",
    "a folder on a full disk": "test_workers.py::test_a_full_disk_is_one_sentence_a_photo_and_the_next_run_goes_on",
    "a web address": "test_addresses.py::test_an_address_is_refused_in_one_sentence",
    "a folder that cannot be reached": "test_workers.py::test_whatever_a_transfer_library_raises_is_one_sentence",
    "a judge's file that is no network": "test_judges.py::test_a_file_that_is_no_network_is_named",
    "PyAV is missing": "test_video.py::test_without_pyav_one_sentence_says_what_to_install",
    "mediapipe is missing": "test_prepare.py::test_without_mediapipe_the_extra_is_named",
    "c2pa-python is missing": "test_provenance.py::test_signing_without_the_package_says_what_to_install",
}


def test_the_tests_that_hold_the_other_cases_exist():
    for case, where in ELSEWHERE.items():
        name, test = where.split("::")
        assert f"def {test}(" in (TESTS / name).read_text(), case


@pytest.fixture(autouse=True)
def one_model(monkeypatch, editor):
    """The command line shares the session's editor where no other weights are asked for."""
    real = cli._editor
    monkeypatch.setattr(cli, "_editor", lambda args: real(args) if args.weights else editor)


def pictured(image, **options):
    """A case's file, made with Pillow."""

    def make(path):
        image.save(path, **options)

    return make


def written(content):
    return lambda path: path.write_bytes(content)


def truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:20000])


RED, BLUE = (Image.new("RGB", (90, 90), colour) for colour in ("red", "blue"))
UNREADABLE = "is not a readable image (JPEG, PNG, WebP, AVIF, BMP or TIFF)"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"/>'
MOVING = {"save_all": True, "append_images": [BLUE], "duration": 99}
BAD_FILES = {
    "text": ("note.png", written(b"no picture"), UNREADABLE),
    "0 bytes": ("empty.jpg", written(b""), "is an empty file; give a photo"),
    "HTML": ("page.png", written(b"<html><body>404</body></html>"), UNREADABLE),
    "SVG": ("drawing.svg", written(SVG), UNREADABLE),
    "SVG named PNG": ("drawing.png", written(SVG), UNREADABLE),
    "a PDF": ("scan.jpg", written(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"), UNREADABLE),
    "truncated": ("cut.png", truncated, "is damaged or cut off; give the whole file"),
    "41 megapixels": ("large.png", pictured(Image.new("1", (8200, 5000))), "is 8200x5000; the limit is 40 megapixels"),
    "144 megapixels": (
        "bomb.png", pictured(Image.new("1", (12000, 12000))), "is 12000x12000; the limit is 40 megapixels"),
    "400 megapixels": (
        "bomb.png", pictured(Image.new("1", (20000, 20000))), "is far too large; the limit is 40 megapixels"),
    "moving GIF": ("moving.gif", pictured(RED, **MOVING), "is a moving picture; give one photo"),
    "moving WebP": ("moving.webp", pictured(RED, **MOVING), "is a moving picture; give one photo"),
    "63 pixels": ("small.png", pictured(RED.resize((63, 90))), "is 63x90; both sides must be at least 64 pixels"),
    "a strip": ("strip.png", pictured(Image.new("L", (20000, 10))), "is 20000x10; both sides must be at least 64"),
}  # fmt: skip
"""Name of the file, how it is made, the words after its name."""


@pytest.fixture
def bad_file(request, tmp_path):
    name, make, words = BAD_FILES[request.param]
    folder = tmp_path / "photos"
    folder.mkdir()
    make(folder / name)
    return folder / name, words


def in_a_second(call):
    """Whatever comes out; refusing must not take long, so that nobody can keep a server busy with one small file.
    What other threads compute, such as a page's, does not count."""
    started = time.thread_time()
    result = call()
    assert time.thread_time() - started < 1
    return result


@pytest.mark.parametrize("bad_file", BAD_FILES, indirect=True)
def test_a_bad_file_is_one_sentence_at_every_door(bad_file, tmp_path, editor, capsys, monkeypatch):
    gr = pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")
    from ganime_age.space import loader

    path, words = bad_file
    with pytest.raises(BadInput) as caught:
        in_a_second(lambda: editor.edit(path, age=70))
    assert str(caught.value).startswith(f"{path.name} {words}") and "\n" not in str(caught.value)
    out = tmp_path / "out" / "result.png"
    assert in_a_second(lambda: cli.main(["edit", str(path), "-o", str(out), "--age", "70"])) == 2
    said = capsys.readouterr()
    assert f"{path.name} {words}" in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not out.parent.exists()
    monkeypatch.setattr(loader, "get_upload_folder", lambda: str(path.parent))
    payload = gr.data_classes.ImageData(path=str(path))
    refusal = in_a_second(lambda: loader.PhotoInput().preprocess(payload))
    assert isinstance(refusal, BadInput) and words in str(refusal)


BAD_SOURCES = {
    "None": (None, "a NoneType is not a photo; give a path, bytes, a PIL image or an array"),
    "a number": (7, "a int is not a photo"),
    "no bytes": (b"", "the photo is not a readable image"),
    "NaN": (np.full((90, 90, 3), np.nan), "the photo holds NaN or infinite values; give numbers"),
    "two channels": (np.zeros((90, 90, 2), np.uint8), "the photo has shape (90, 90, 2)"),
    "an object array": (np.full((90, 90, 3), None), "the photo has shape (90, 90, 3) and type object"),
    "a complex array": (np.zeros((90, 90, 3), complex), "and type complex128"),
    "nothing at all": (
        np.zeros((0, 0, 3), np.uint8),
        "the photo is 0x0; both sides must be at least 64 pixels",
    ),
    "a missing file": ("none.jpg", "none.jpg does not exist; check the path"),
    "a folder": (str(TESTS), "tests is a folder; give one photo"),
    "a NUL in the path": ("a\0b.jpg", "cannot be read"),
    "a path too long": ("x" * 5000 + ".jpg", "cannot be read (File name too long); check the file"),
    "an empty path": ("", "is a folder; give one photo"),
}


@pytest.mark.parametrize("kind", BAD_SOURCES)
def test_what_is_no_photo_is_one_sentence(editor, kind):
    source, words = BAD_SOURCES[kind]
    with pytest.raises(BadInput) as caught:
        editor.edit(source, age=70)
    assert words in str(caught.value) and "\n" not in str(caught.value)


BAD_REQUESTS = {
    "age 500": ({"age": 500}, ["--age", "500"], "age 500 is out of range; give years between 0 and 100"),
    "age -1": ({"age": -1}, ["--age", "-1"], "age -1 is out of range; give years between 0 and 100"),
    "age NaN": ({"age": float("nan")}, ["--age", "nan"], "age nan is out of range"),
    "age inf": ({"age": "inf"}, ["--age", "inf"], "age inf is out of range"),
    "age text": ({"age": "old"}, ["--age", "old"], "age 'old' is not a number; give years between 0 and 100"),
    "age list": ({"age": [5]}, None, "age [5] is not a number"),
    "AU range": (
        {"action_units": {"AU12": 6}},
        ["--au", "AU12=6"],
        "AU12=6 is out of range; give an intensity",
    ),
    "AU minus": (
        {"action_units": ["AU12=-6"]},
        ["--au", "AU12=-6"],
        "AU12=-6 is out of range; give a change",
    ),
    "AU NaN": ({"action_units": ["AU12=nan"]}, ["--au", "AU12=nan"], "AU12=nan is out of range"),
    "AU None": ({"action_units": {"AU12": None}}, None, "AU12=None is not a number; give an intensity"),
    "AU unknown": (
        {"action_units": {"AU99": 1}},
        ["--au", "AU99=1"],
        "unknown action unit 'AU99'; choose from AU01",
    ),
    "AU number": ({"action_units": 3}, None, "action units cannot be read from 3; write {'AU12': 3}"),
    "AU array": ({"action_units": np.ones(5)}, None, "cannot read the action unit"),
    "AU vector": ({"action_units": [0.0] * 5}, None, "cannot read the action unit 0.0; write it as AU12=3"),
    "AU twice": (
        {"action_units": ["AU1=1", "AU01=2"]},
        ["--au", "AU1=1", "--au", "AU01=2"],
        "asked for twice",
    ),
    "AU not trained": (
        {"action_units": {"AU06": 1}},
        ["--au", "AU06=1"],
        "AU06 (cheek raiser) cannot be edited",
    ),
    "turn": ({"turn": {"yaw": 40}}, ["--yaw", "40"], "yaw 40 is out of range; give degrees from -15 to 15"),
    "parts": (
        {"age": 7, "method": "ragan", "parts": "hair"},
        ["--age", "7", "--method", "ragan", "--parts", "hair"],
        "Re-Aging GAN changes an age as a whole; leave out parts",
    ),
    "strength": ({"age": 7, "strength": 2}, ["--age", "7", "--strength", "2"], "strength 2 is out of range"),
    "method": (
        {"age": 7, "method": "x"},
        ["--age", "7", "--method", "x"],
        "unknown method 'x'; these weights hold",
    ),
    "face": ({"age": 7, "face": 1}, ["--age", "7", "--face", "1"], "face 1 does not exist"),
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_a_bad_request_is_one_sentence(editor, portrait, portrait_file, tmp_path, capsys, kind):
    given, arguments, words = BAD_REQUESTS[kind]
    with pytest.raises(BadInput) as caught:
        editor.edit(portrait, **given)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    if arguments is None:
        return
    assert cli.main(["edit", str(portrait_file), "-o", str(tmp_path / "out" / "o.png"), *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_face_is_one_sentence_and_the_photo_stays(editor, faceless, tmp_path, capsys):
    path = tmp_path / "wall.png"
    Image.fromarray(faceless).save(path)
    before = path.read_bytes()
    words = "no face was found in wall.png; give a photo with a face that looks at the camera"
    with pytest.raises(BadInput) as caught:
        editor.edit(path, age=70)
    assert str(caught.value) == words
    assert cli.main(["edit", str(path), "-o", str(tmp_path / "o.png"), "--age", "70"]) == 2
    assert capsys.readouterr().err == f"ganime-age: {words}\n"
    assert path.read_bytes() == before and not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    "name", ["with spaces.png", "ünï çødé 年.png", "😀.png", "-dash.png", "x" * 200 + ".png"]
)
def test_any_file_name_works(tmp_path, portrait_file, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(portrait_file, name)
    source = f"./{name}" if name.startswith("-") else name
    out = f"new folder/{name}"
    assert cli.main(["edit", source, "-o", out, "--age", "70"]) == 0
    assert Image.open(out).size == (320, 320)


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x" * 300 + ".png", "cannot be written (File name too long); choose another place"),
        ("file/out.png", "cannot be written"),
        ("there.png", "exists; give another name or add --overwrite"),
        ("out.bmp", "out.bmp cannot be written as .bmp; choose .png, .jpg or .webp"),
        ("/proc/none/out.png", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_is_one_line(tmp_path, portrait_file, capsys, out, words):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "there.png").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli.main(["edit", str(portrait_file), "-o", str(tmp_path / out), "--age", "70"]) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "there.png").read_text() == "mine"


def cuda(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; ...)")


PEBIBYTE = 1 << 50
SHORTAGES = {
    "PyTorch": lambda *args, **kwargs: torch.empty(PEBIBYTE, dtype=torch.uint8),
    "NumPy": lambda *args, **kwargs: np.empty(PEBIBYTE, np.uint8),
    "OpenCV": lambda *args, **kwargs: cv2.resize(np.zeros((8, 8), np.uint8), (1 << 30, 1 << 20)),
    "CUDA": cuda,
}
"""More than any machine has, asked of each library; each says no in its own way."""
NO_MEMORY = "not enough memory on cpu; close other programs"


@pytest.mark.parametrize("kind", SHORTAGES)
def test_memory_that_runs_out_is_one_sentence_and_the_next_edit_works(editor, portrait, monkeypatch, kind):
    with monkeypatch.context() as patch:
        patch.setattr(editor.model, "edit", SHORTAGES[kind])
        with pytest.raises(MissingModel, match=NO_MEMORY):
            editor.edit(portrait, age=70)
        with pytest.raises(MissingModel, match=NO_MEMORY):
            list(editor.animate(portrait, keyframes=[{"age": 70}], frames=2))
    with monkeypatch.context() as patch:
        patch.setattr(editor.model, "read", SHORTAGES[kind])
        with pytest.raises(MissingModel, match=NO_MEMORY):
            editor.read(portrait)
    with pytest.raises(MissingModel, match=NO_MEMORY):
        verify(portrait, SHORTAGES[kind])
    assert editor.edit(portrait, age=70).edited


def test_a_decoder_without_memory_does_not_blame_the_file(editor, portrait_file, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", SHORTAGES["NumPy"])
    with pytest.raises(MissingModel, match=NO_MEMORY):
        editor.read(portrait_file)


def test_other_errors_stay_what_they_are(editor, portrait, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(editor.model, "edit", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        editor.edit(portrait, age=70)


def changed(change):
    """A harm to the tensors of a folder."""

    def harm(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return harm


def cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def configured(**keywords):
    def harm(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | keywords))

    return harm


def first(tensors):
    return min(key for key, tensor in tensors.items() if tensor.is_floating_point())


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
BAD_WEIGHTS = {
    "truncated": (cut, "model.safetensors is damaged"),
    "garbage": (put("model.safetensors", os.urandom(500)), "model.safetensors is damaged"),
    "empty": (put("model.safetensors", b""), "model.safetensors is damaged"),
    "git-lfs pointer": (put("model.safetensors", POINTER), "is a git-lfs pointer"),
    "NaN": (
        changed(lambda t: t[first(t)].flatten()[:1].fill_(float("nan"))),
        "holds NaN or infinite numbers",
    ),
    "missing tensor": (changed(lambda t: t.pop(first(t))), "lacks tensor"),
    "foreign tensor": (changed(lambda t: t.update(more=torch.zeros(1))), "holds the foreign tensor more"),
    "shape": (changed(lambda t: t.update({first(t): torch.zeros(1, 2, 3)})), "has the shape (1, 2, 3)"),
    "pickle": (
        pickled,
        "pytorch_model.bin is a pickle and never loaded: convert it with `ganime-age convert`",
    ),
    "newer format": (configured(format_version=99), "has format version 99"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "empty config": (put("config.json", b""), "config.json cannot be read"),
    "config is a list": (put("config.json", b"[]"), "config.json holds a list"),
    "unknown key": (configured(colour="red"), "holds what this ganime_age does not know: colour"),
    "huge width": (
        configured(ganimation_age={"widths": [10**9] * 3}),
        "config.json: ganimation_age.widths holds 1000000000",
    ),
    "huge depth": (
        configured(ganimation_age={"blocks": 10**9}),
        "config.json: ganimation_age.blocks holds 1000000000",
    ),
    "deep nesting": (put("config.json", b"[" * 100_000), "config.json"),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_bad_weights_are_named_in_one_line_with_exit_code_3(
    small_weights, tmp_path, portrait_file, capsys, kind
):
    harm, words = BAD_WEIGHTS[kind]
    folder = tmp_path / "weights"
    shutil.copytree(small_weights, folder)
    harm(folder)
    with pytest.raises(MissingModel) as caught:
        GanimeAge.from_pretrained(folder)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    out = tmp_path / "out" / "o.png"
    assert (
        cli.main(["edit", str(portrait_file), "-o", str(out), "--age", "70", "--weights", str(folder)]) == 3
    )
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not out.parent.exists() and not Path("ran").exists()


def test_a_byte_order_mark_in_a_config_is_no_harm(small_weights, tmp_path):
    shutil.copytree(small_weights, tmp_path / "weights")
    config = tmp_path / "weights" / "config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert GanimeAge.from_pretrained(tmp_path / "weights").parts == (
        "readers",
        "prototypes",
        "ganimation_age",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--weights", "no/such-repository"], 3, "no/such-repository"),
        (["--weights", "./nowhere"], 3, "./nowhere is not a folder with weights"),
        (["--device", "toaster"], 2, "unknown device 'toaster'; choose cpu, cuda or mps"),
        (["--finder", "insightface:models/none"], 3, "holds no InsightFace models; put the pack none there"),
    ],
)
def test_what_is_missing_is_one_line(
    portrait_file, tmp_path, capsys, monkeypatch, editor, arguments, code, words
):
    monkeypatch.undo()
    monkeypatch.setattr(
        GanimeAge, "from_pretrained", _embedded_or_real(GanimeAge.from_pretrained, editor.model)
    )
    out = tmp_path / "out" / "o.png"
    assert cli.main(["edit", str(portrait_file), "-o", str(out), "--age", "70", *arguments]) == code
    said = capsys.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert not out.parent.exists()


def _embedded_or_real(real, embedded):
    return lambda pretrained_model_name_or_path=None, **keywords: (
        real(pretrained_model_name_or_path, **keywords) if pretrained_model_name_or_path else embedded
    )


@pytest.mark.parametrize("module", ["skimage", "insightface"])
def test_an_optional_package_that_is_missing_is_named(editor, tmp_path, monkeypatch, module):
    from ganime_age.card.contact_sheet import demo_sheet
    from ganime_age.images.detectors import InsightFaceDetector

    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "models" / "pack").mkdir(parents=True)
    (tmp_path / "models" / "pack" / "det.onnx").touch()
    with pytest.raises(MissingModel, match="pip install"):
        if module == "skimage":
            demo_sheet(editor, print)
        else:
            InsightFaceDetector(tmp_path, "pack")


def test_a_bug_is_exit_code_1_and_only_debug_shows_the_traceback(portrait_file, tmp_path):
    """A real process: nothing but one line, or the traceback when asked."""
    code = (
        "import sys; from ganime_age.cli import main as cli\n"
        "def broken(args): raise ZeroDivisionError('oops')\n"
        "cli._editor = broken\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "edit", portrait_file, "-o", tmp_path / "o.png", "--age", "70"]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent / "src")}
    run = lambda *more: subprocess.run([*command, *more], capture_output=True, text=True, env=environment)  # noqa: E731
    plain, debug = run(), run("--debug")
    assert plain.returncode == debug.returncode == 1
    assert plain.stderr.count("\n") == 1 and "a bug stopped this (ZeroDivisionError: oops)" in plain.stderr
    assert "Traceback" in debug.stderr


class Slow(FaceEditor):
    """An editor whose jobs wait until they may go on; `end` waits for the one that runs, the others are refused.

    A thread that still computes when Python ends aborts the process.
    """

    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)
        self.gate, self.ended, self.running = threading.Event(), threading.Event(), threading.Lock()

    def edit(self, *args, **keywords):
        with self.running:
            self.gate.wait(60)
            if self.ended.is_set():
                raise BadInput("the tests are over")
            return super().edit(*args, **keywords)

    def end(self):
        self.ended.set()
        self.gate.set()
        with self.running:
            pass


@pytest.fixture(scope="module")
def served(editor):
    """The page on this machine: its address and the gate that its jobs wait at."""
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")
    from ganime_age.space import page

    slow = Slow(editor.model)
    blocks = page.build(slow)
    launch = {**page.LAUNCH, "prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
    _, url, _ = blocks.launch(**launch)
    yield url.rstrip("/"), slow.gate, blocks
    slow.end()
    blocks.close()


def posted(url, body, content_type="application/json"):
    """Status and text of a POST."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def uploaded(url, content, name="photo.png"):
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    body = head + content + b"\r\n--b--\r\n"
    return posted(f"{url}/gradio_api/upload", body, "multipart/form-data; boundary=b")


def asked(url, photo, years=70):
    """The last event of one edit over plain HTTP."""
    _, text = posted(f"{url}/gradio_api/call/edit", {"data": [photo, years, None, None, 0, "png", True]})
    address = f"{url}/gradio_api/call/edit/{json.loads(text)['event_id']}"
    with urllib.request.urlopen(address, timeout=120) as answer:
        return answer.read().decode()


def file_data(path, url=None):
    return {"path": path, "url": url, "meta": {"_type": "gradio.FileData"}}


def test_an_upload_over_the_limit_is_refused(served):
    url, _, _ = served
    status, _ = uploaded(url, b"\0" * (21 << 20))
    assert status == 413


@pytest.mark.parametrize(
    "photo",
    [
        {"path": "/etc/passwd"},
        {"path": str(TESTS.parent / "README.md")},
        file_data("/etc/hostname"),
        {"path": "", "url": "data:image/png;base64,iVBORw0KGgo="},
        file_data("http://localhost:9/x.png", "http://localhost:9/x.png"),
        file_data("http://169.254.169.254/latest", "http://169.254.169.254/latest"),
    ],
)
def test_the_servers_own_files_data_and_inner_addresses_are_refused(served, photo):
    url, gate, _ = served
    gate.set()
    answer = asked(url, photo)
    assert "event: error" in answer and "root:" not in answer and "event: complete" not in answer


def test_two_visitors_get_their_own_pictures_and_one_job_runs_at_a_time(served, portrait):
    url, gate, blocks = served
    gate.set()
    assert blocks.delete_cache == (600, 3600)
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    paths = []
    for photo in (portrait, mirrored):
        file = __import__("io").BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        paths.append(json.loads(uploaded(url, file.getvalue())[1])[0])
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda path: asked(url, file_data(path)), paths))
    for answer, photo, other in zip(answers, (portrait, mirrored), (mirrored, portrait), strict=True):
        assert "event: complete" in answer, answer
        line = [row for row in answer.splitlines() if row.startswith("data: ")][-1]
        picture, report = json.loads(line.removeprefix("data: "))
        with urllib.request.urlopen(picture["url"]) as file:
            shown = np.asarray(Image.open(file).convert("RGB")).astype(float)
        assert np.abs(shown - photo).mean() < np.abs(shown - other).mean() / 4
        assert report["asked"]["age"] == 70


def test_a_full_queue_says_so(served, portrait_file):
    url, gate, _ = served
    gate.clear()
    path = json.loads(uploaded(url, portrait_file.read_bytes())[1])[0]
    data = {"data": [file_data(path), 70, None, None, 0, "png", True]}
    try:
        answers = [posted(f"{url}/gradio_api/call/edit", data) for _ in range(20)]
        refused = [text for status, text in answers if status != 200]
        assert refused and all("queue is full" in text.lower() for text in refused)
    finally:
        gate.set()
