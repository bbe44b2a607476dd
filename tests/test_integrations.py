"""The notebook runs, the Dockerfile builds from what is here, the ComfyUI nodes keep the node protocol."""

import ast
import base64
import importlib.util
import io
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import BadInput, FaceEditor, verify
from ganime_age.cli.main import RUN, parser

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "integrations" / "notebook" / "ganime_age.ipynb"
NODES = ROOT / "integrations" / "comfyui"


def cells():
    """The code of the notebook's cells."""
    return ["".join(cell["source"]) for cell in read_notebook()["cells"] if cell["cell_type"] == "code"]


def read_notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_the_notebook_holds_six_cells_without_results():
    notebook = read_notebook()
    assert notebook["nbformat"] == 4 and len(cells()) == 6
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def drawn(outputs):
    """The picture below a cell, uint8 (H,W,3); None where it shows none."""
    (shown,) = [out["data"] for out in outputs if out["output_type"] == "execute_result"] or [{}]
    if "image/png" not in shown:
        return None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))).convert("RGB"))


@pytest.mark.slow
def test_the_notebook_runs_in_a_kernel_of_its_own(portrait, tmp_path, monkeypatch):
    """As a user runs it: in a new process, with the embedded weights, in a folder that holds nothing."""
    nbclient = pytest.importorskip("nbclient", reason="the notebook is run by nbclient: pip install nbclient")
    pytest.importorskip("ipykernel", reason="the notebook runs in ipykernel: pip install ipykernel")
    import nbformat

    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (tmp_path / "work").mkdir()
    where = {"metadata": {"path": str(tmp_path / "work")}}
    client = nbclient.NotebookClient(
        nbformat.read(NOTEBOOK, 4), timeout=600, kernel_name="python3", resources=where
    )
    outputs = [cell["outputs"] for cell in client.execute()["cells"] if cell["cell_type"] == "code"]
    assert [drawn(out) is not None for out in outputs] == [False, False, True, True, True, True]
    said = "".join(out.get("text", "") for out in outputs[2])
    before, after = map(int, re.search(r"(\d+) -> (\d+) years, identity", said).groups())
    assert after > before + 10 and (drawn(outputs[5]) != portrait).any()
    assert verify(tmp_path / "work" / "older.jpg").edited and not verify(drawn(outputs[5])).edited


def test_the_dockerfile_copies_what_is_here_and_starts_the_page():
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and line[0] != "#"]
    known = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "ENTRYPOINT", "CMD"}
    given = {name: [words for word, words in lines if word == name] for name in known}
    assert {word for word, _ in lines} <= known
    ignored = (ROOT / ".dockerignore").read_text().split()
    for words in given["COPY"]:
        for source in words.split()[:-1]:
            assert (ROOT / source).exists() and source not in ignored
    assert {"pyproject.toml", "setup.py", "README.md", "src", "model_card"} <= set(
        " ".join(given["COPY"]).split()
    )
    command = json.loads(given["ENTRYPOINT"][0]) + json.loads(given["CMD"][0])
    assert command[0] == "ganime-age"
    options = parser(RUN).parse_args(command[1:])
    assert options.run is RUN["app"] and [str(options.port)] == given["EXPOSE"] and options.device == "auto"
    assert "GRADIO_SERVER_NAME=0.0.0.0" in shlex.split(given["ENV"][0]), (
        "else no other machine reaches the page"
    )
    pinned = re.search(r"^TORCH \?= (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert f"TORCH={pinned}" in given["ARG"] and any("whl/cpu" in words for words in given["ARG"])
    assert given["USER"] == ["user"], "the page does not run as root"


@pytest.fixture(scope="module")
def nodes(editor):
    """The node pack as ComfyUI loads it, by its folder's path, with the session's editor."""
    spec = importlib.util.spec_from_file_location(
        "comfy_ganime_age", NODES / "__init__.py", submodule_search_locations=[str(NODES)]
    )
    pack = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = pack
    spec.loader.exec_module(pack)
    sys.modules[f"{spec.name}.nodes"].editor = lambda: editor
    yield pack
    del sys.modules[spec.name], sys.modules[f"{spec.name}.nodes"]


def as_image(*photos):
    """IMAGE: (B,H,W,3) in 0..1."""
    return torch.stack([torch.tensor(photo).float() / 255 for photo in photos])


def run(pack, name, **inputs):
    """A node as ComfyUI runs it: with its own defaults for what is not connected, by the name in FUNCTION."""
    kind = pack.NODE_CLASS_MAPPINGS[name]
    sockets = kind.INPUT_TYPES()
    defaults = {}
    for socket, (type_, *rest) in {**sockets["required"], **sockets.get("optional", {})}.items():
        options = rest[0] if rest else {}
        choices = type_[0] if isinstance(type_, list) else None
        if "default" in options or choices is not None:
            defaults[socket] = options.get("default", choices)
    result = getattr(kind(), kind.FUNCTION)(**defaults | inputs)
    assert isinstance(result, tuple) and len(result) == len(kind.RETURN_TYPES) == len(kind.RETURN_NAMES)
    return result


@pytest.fixture(scope="module")
def small(portrait):
    return np.asarray(Image.fromarray(portrait).resize((160, 160), Image.Resampling.LANCZOS))


def test_every_node_keeps_the_protocol(nodes):
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    for kind in nodes.NODE_CLASS_MAPPINGS.values():
        sockets = kind.INPUT_TYPES()
        assert sockets["required"]["image"] == ("IMAGE",) and kind.RETURN_TYPES[0] == "IMAGE"
        assert callable(getattr(kind, kind.FUNCTION)) and kind.CATEGORY == "ganime_age"


def test_age_changes_every_picture_and_keeps_its_shape(nodes, editor, small, faceless):
    blank = np.asarray(Image.fromarray(faceless).resize((160, 160)))
    given = as_image(small, blank)
    image, age = run(nodes, "GanimeAgeAge", image=given, age=75.0, no_face="keep the picture")
    assert (
        image.shape == given.shape and image.dtype == torch.float32 and 0 <= image.min() <= image.max() <= 1
    )
    assert torch.equal(image[1], given[1]) and age == pytest.approx(editor.read(small)[0].age, abs=0.1)
    alone = np.asarray(editor.edit(small, age=75).image).astype(int)
    assert np.abs((image[0].numpy() * 255).round() - alone).max() <= 2 and (alone != small).any()
    with pytest.raises(BadInput, match="no face was found"):
        run(nodes, "GanimeAgeAge", image=as_image(blank))
    with pytest.raises(BadInput, match="an IMAGE is a tensor"):
        run(nodes, "GanimeAgeAge", image=given[0])


def test_expression_takes_a_preset_and_action_units(nodes, editor, small, monkeypatch):
    asked = []
    monkeypatch.setattr(
        editor.pipeline, "generate_many", lambda f, edit, *_, **__: asked.append(edit) or [None]
    )
    (image,) = run(nodes, "GanimeAgeExpression", image=as_image(small), action_units="frown=2, AU26=1")
    assert {code: target.value for code, target in asked[0].action_units.items()} == {
        "AU04": 2.0, "AU12": 3.5, "AU25": 2.0, "AU26": 1.0,
    }  # fmt: skip
    assert torch.equal(image, as_image(small))


def test_reenact_gives_a_picture_for_each_driving_one(nodes, small):
    mirrored = np.ascontiguousarray(small[:, ::-1])
    (one,) = run(nodes, "GanimeAgeReenact", image=as_image(small), driving=as_image(mirrored))
    assert one.shape == (1, 160, 160, 3) and not torch.equal(one, as_image(small))
    (two,) = run(nodes, "GanimeAgeReenact", image=as_image(small), driving=as_image(small, mirrored))
    assert two.shape == (2, 160, 160, 3) and not torch.equal(two[0], two[1])


def test_the_editor_of_the_nodes_is_on_the_fastest_device():
    tree = ast.parse((NODES / "nodes.py").read_text())
    (made,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "editor"]
    assert 'device="auto"' in ast.unparse(made).replace("'", '"') and FaceEditor is not None
