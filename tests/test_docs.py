"""The how-tos in docs/ run as they stand; the library's pages are built without a warning, the first leads to all, and
every parameter is listed."""

import dataclasses
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import typing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganime_age
import ganime_age.onnx
from ganime_age import FaceEditor, GanimeAge
from ganime_age.model import model as models
from helpers import fakehub
from helpers.pages import HOW_TOS, ROOT, commands, snippets


@pytest.fixture
def desk(portrait, model, tmp_path, monkeypatch):
    """A folder with the files that the how-tos name, to work in; the embedded weights are loaded already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(GanimeAge, "from_pretrained", lambda *_, **__: model)
    (tmp_path / "photos").mkdir()
    for name in ("portrait.jpg", "a.jpg", "b.jpg", "photos/one.jpg"):
        Image.fromarray(portrait).save(name, quality=95)
    Image.new("RGB", (99, 99)).save("photos/two.jpg")
    return tmp_path


def follow(page):
    """Run the Python of a how-to from its first line to its last, as a reader types it; what it names in the end."""
    names = {}
    for snippet in snippets(ROOT / "docs" / page):
        exec(compile(snippet, page, "exec"), names)
    return names


def test_the_how_tos_are_short_and_name_what_exists():
    assert {page.name for page in HOW_TOS} == {
        "batch.md", "gpu.md", "hub.md", "tensors.md", "training.md", "video.md"
    }  # fmt: skip
    for page in HOW_TOS:
        text = page.read_text(encoding="utf-8")
        assert 20 <= text.count("\n") <= 55 and max(map(len, text.splitlines())) <= 130, page.name
        links = re.findall(r"\]\((?!http)([^)#]+)", text)
        files = re.findall(r"`((?:training|docs|src|model_card)/[\w/.-]+)`", text)
        assert all((page.parent / link).exists() for link in links), page.name
        assert all((ROOT / file).exists() for file in files), page.name


@pytest.mark.slow
def test_many_photos(desk, capsys):
    follow("batch.md")
    assert [path.name for path in (desk / "edited").iterdir()] == ["one.jpg"]
    assert "two.jpg is left out: no face was found" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_photo_to_tensors_and_back(desk, portrait, capsys):
    names = follow("tensors.md")
    assert (
        names["face"].shape == names["edited"].face.shape == (1, 3, 256, 256) and len(names["matrices"]) == 1
    )
    assert names["edited"].attention.shape == (1, 1, 256, 256)
    assert names["older"].shape == portrait.shape and (names["older"] != names["photo"]).any()
    assert "torch.Size([1, 17])" in capsys.readouterr().out
    written, shown = np.asarray(Image.open("older.png")), np.asarray(names["result"].image)
    assert np.array_equal(written, shown), "red is red again"
    assert (
        np.abs(shown[..., ::-1].astype(int) - portrait).mean()
        > 10
        > np.abs(shown.astype(int) - portrait).mean()
    )
    assert (
        names["pixels"].shape == (3, *portrait.shape[:2])
        and 0 <= names["pixels"].min() < names["pixels"].max() <= 1
    )


@pytest.mark.slow
def test_on_a_gpu(desk, capsys):
    names = follow("gpu.md")
    assert capsys.readouterr().out.strip() == str(names["editor"].device)
    assert Path("older.jpg").is_file() and Path("half.jpg").is_file() == names["torch"].cuda.is_available()


@pytest.mark.slow
def test_clips(desk, portrait):
    pytest.importorskip("av", reason="clips need PyAV: pip install 'ganime_age[video]'")
    from helpers.clips import make_clip, pictures_of

    make_clip("clip.mp4", [np.roll(portrait, 2 * i, 1) for i in range(3)])
    follow("video.md")
    for name, frames in (("older.mp4", 3), ("moved.mp4", 3), ("aged.gif", 6)):
        pictures = [picture for picture, _ in pictures_of(name)]
        assert len(pictures) == frames and pictures[0].shape == portrait.shape, name


def test_weights_on_the_hub(online, small_weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "EMBEDDED", small_weights)
    monkeypatch.setattr(fakehub, "OWNER", "org")
    monkeypatch.setenv("HF_TOKEN", fakehub.TOKEN)
    follow("hub.md")
    assert online.repos["org/faces"].private
    names = {path.name for path in Path("faces").iterdir()}
    assert names == {"config.json", "model.safetensors", "model.fp16.safetensors"}


@pytest.mark.slow
def test_the_commands_of_training_are_there_with_their_options():
    page = ROOT / "docs" / "training.md"
    given = [*commands(page, "python"), *commands(page, "accelerate launch")]
    assert [command.split()[0] for command in given] == [
        f"training/{name}.py" for name in ("prepare_faces", "pack", "evaluate", "train")
    ]
    for command in given:
        script, *words = shlex.split(command)
        known = subprocess.run(
            [sys.executable, ROOT / script, "--help"], check=True, capture_output=True, text=True
        ).stdout
        options = [word for word in words if word.startswith("--")]
        assert all(re.search(rf"{option}\b", known) for option in options), (command, options)
        recipes = [word for word in words if word.endswith(".toml")]
        assert all((ROOT / recipe).is_file() for recipe in recipes)


@pytest.fixture
def pdoc(tmp_path):
    """What `make docs` runs, with another folder for the pages: run(*modules) -> what became of it."""
    pytest.importorskip("pdoc", reason="the library's pages need pdoc: pip install 'ganime_age[docs]'")
    make = shutil.which("make") or pytest.skip(
        "what builds the library's pages stands in the Makefile: install make"
    )
    said = subprocess.run(
        [make, "--dry-run", "docs", f"DOCS={tmp_path / 'pages'}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    lines = said.stdout.replace("\\\n", " ").splitlines()
    (command,) = (shlex.split(line) for line in lines if " -m pdoc " in line)
    start = command.index("ganime_age")

    def run(*modules):
        words = [sys.executable, *command[1:start], *(modules or command[start:])]
        environ = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True)

    run.modules = command[start:]
    return run


@pytest.mark.slow
def test_the_librarys_pages_are_built_and_the_first_leads_to_the_others(pdoc, tmp_path):
    done = pdoc()
    assert done.returncode == 0, done.stderr
    pages, (first, *rooms) = tmp_path / "pages", pdoc.modules
    landing = (pages / f"{first}.html").read_text()
    assert first in (pages / "index.html").read_text() and len(rooms) == 8
    for room in rooms:
        page = f"{room.replace('.', '/')}.html"
        assert (pages / page).is_file() and f'href="{page}"' in landing, room
    assert "<li><strong>age:</strong>" in landing, "parameters stand in a list"


def test_a_type_that_the_pages_cannot_show_fails_the_build(pdoc, tmp_path):
    module = tmp_path / "module.py"
    for kind, built in (("int", True), ("NotThere", False)):
        module.write_text(f'from __future__ import annotations\n\n\ndef f(x: "{kind}") -> None: ...\n')
        done = pdoc(str(module))
        assert (done.returncode == 0) is built and ("NotThere" in done.stderr) is not built, done.stderr


def test_the_types_of_the_editor_can_be_read_at_run_time():
    methods = inspect.getmembers(FaceEditor, inspect.isfunction)
    hints = {name: typing.get_type_hints(method) for name, method in methods if not name.startswith("_")}
    assert {"Image", "ndarray", "Tensor"} <= {
        kind.__name__ for kind in typing.get_args(hints["edit"]["photo"])
    }


def exported():
    """What a user calls, by its name, with the docstring that lists its parameters: the functions of ganime_age and
    ganime_age.onnx, and of their classes the constructor and the public methods."""
    for package in (ganime_age, ganime_age.onnx):
        for name in package.__all__:
            thing = getattr(package, name)
            if inspect.isfunction(thing):
                yield name, thing, thing.__doc__
            if not inspect.isclass(thing) or issubclass(thing, Exception):
                continue
            of = thing if dataclasses.is_dataclass(thing) else thing.__init__
            yield name, thing.__init__, of.__doc__
            for attribute, method in vars(thing).items():
                method = getattr(method, "__func__", method)  # of a classmethod
                if inspect.isfunction(method) and not attribute.startswith("_"):
                    yield f"{name}.{attribute}", method, method.__doc__


def listed(docstring):
    """The names that the sections Args and Attributes of a docstring explain, in their order."""
    text = inspect.cleandoc(docstring or "")
    sections = re.findall(r"^(?:Args|Attributes):\n((?: +.*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^    (\w+): \S", "\n".join(sections), re.MULTILINE)


def tells_what_comes_back(function, docstring):
    """Whether a docstring has the section that its return annotation asks for, with a text: Yields for an Iterator,
    Returns for all else but None."""
    kind = str(inspect.signature(function).return_annotation)
    section = "Yields" if kind.startswith("Iterator[") else "Returns"
    found = re.search(rf"^{section}:\n {{4}}\S", inspect.cleandoc(docstring or ""), re.MULTILINE)
    return found is not None


def test_every_parameter_of_what_the_package_exports_is_listed():
    takes, wrong = {}, {}
    for name, function, docstring in exported():
        takes[name] = [one for one in inspect.signature(function).parameters if one not in ("self", "cls")]
        if listed(docstring) != takes[name]:
            wrong[name] = sorted(set(listed(docstring)) ^ set(takes[name])) or "in another order"
    assert {"FaceEditor", "GanimeAge.from_pretrained", "EditResult", "verify", "export"} <= set(takes)
    assert wrong == {}
    # The class explains the options of edit() that other methods have as well.
    rows = re.findall(r"^ *- (`.+?`): ", FaceEditor.__doc__, re.MULTILINE)
    explained = re.findall(r"`(\w+)`", " ".join(rows))
    counts = Counter(one for name in takes if name.startswith("FaceEditor.") for one in takes[name])
    assert {one for one in takes["FaceEditor.edit"] if counts[one] > 1} - {"photo"} <= set(explained)


def test_what_every_function_of_the_package_returns_is_told():
    """A method that takes nothing, such as `to_dict`, is exempt, as properties are: its first line states the value."""
    asked, silent = set(), []
    for name, function, docstring in exported():
        signature = inspect.signature(function)
        kind, takes = signature.return_annotation, set(signature.parameters) - {"self", "cls"}
        if kind not in (None, "None", inspect.Signature.empty) and takes:
            asked.add(name)
            silent += [name] * (not tells_what_comes_back(function, docstring))
    assert {"FaceEditor.animate", "GanimeAge.from_pretrained", "OnnxEditor.paste", "verify"} <= asked
    assert silent == []
