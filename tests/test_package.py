"""The frame: the wheel holds the weights, the two requirement lists agree, the README shows the results files."""

import ast
import importlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import pytest

import ganime_age

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = ("gradio", "diffusers", "insightface", "accelerate", "mediapipe", "pandas", "skimage")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as pip builds it, from a copy of what a release holds."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    shutil.copytree(ROOT / "model_card", source / "model_card")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        out,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=180)
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_code_and_weights_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    stored = {f"ganime_age/weights/{p.name}" for p in (ROOT / "src/ganime_age/weights").iterdir()}
    assert stored <= names and "ganime_age/weights/config.json" in stored and len(stored) > 1
    assert {f"ganime_age/{p.name}" for p in (ROOT / "src/ganime_age").glob("*.py")} <= names
    assert all(name.startswith(("ganime_age/", "ganime_age-")) for name in names)


CARD = """
from ganime_age import GanimeAge, card
own = card.own_folder()
print(own, *card.read_results(own / "results"))
print(card.render(GanimeAge.from_pretrained(), facts=own / "facts.json"))
"""


@pytest.mark.slow
def test_an_installed_package_renders_its_model_card(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environ = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CARD], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    where, *card = done.stdout.splitlines()
    files = sorted(path.stem for path in (ROOT / "model_card" / "results").glob("*.json"))
    assert where.split() == [str(tmp_path / "ganime_age" / "model_card"), *files], done.stderr
    assert "## Training data" in card and (tmp_path / "ganime_age/model_card/LICENSE.md").exists()


def test_requirements_txt_is_the_package_and_the_space():
    given = (ROOT / "requirements.txt").read_text().split("\n")
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["space"]
    assert [line for line in given if line] == wanted


def test_versions_agree():
    assert PROJECT["version"] == ganime_age.__version__
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
    assert (
        re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
        == PROJECT["version"]
    )
    front = (ROOT / "README.md").read_text().split("---")[1]
    gradio = re.search(r"sdk_version: (\S+)", front)[1]
    assert (
        f"gradio>={gradio.rsplit('.', 1)[0]},<{int(gradio[0]) + 1}"
        in PROJECT["optional-dependencies"]["space"]
    )
    assert "app_file: app.py" in front and "sdk: gradio" in front


def test_the_readme_shows_the_results_files():
    done = subprocess.run(
        [sys.executable, ROOT / "training/render_readme.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_names_files_that_exist():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (ROOT / path).exists(), path


def test_importing_the_package_is_light():
    code = f"import sys, ganime_age; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def promised() -> list[tuple[Path, str]]:
    """Every name in the `__all__` of a package, with the package's `__init__.py`."""
    found = []
    for path in sorted((ROOT / "src" / "ganime_age").rglob("__init__.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if "__all__" in [getattr(target, "id", None) for target in targets]:
                found += [(path, name) for name in ast.literal_eval(node.value)]
    return found


def described(path: Path, name: str) -> str | None:
    """The docstring that stands at a name's definition: of a function, class or module, or the string after a constant.
    Where a file imports the name, the file that it comes from is read."""
    for module in (path.parent / f"{name}.py", path.parent / name / "__init__.py"):
        if (
            path.name == "__init__.py"
            and module.is_file()
            and not re.search(rf"import .*\b{name}\b", path.read_text())
        ):
            return ast.get_docstring(ast.parse(module.read_text()))
    nodes = list(ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node)
        body = getattr(node, "body", None)
        for first, second in itertools.pairwise(body if isinstance(body, list) else []):
            targets = first.targets if isinstance(first, ast.Assign) else [getattr(first, "target", None)]
            if name in [getattr(target, "id", None) for target in targets]:
                said = second.value if isinstance(second, ast.Expr) else None
                return said.value if isinstance(said, ast.Constant) and isinstance(said.value, str) else None
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level and name in [alias.name for alias in node.names]:
            module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            own = module.with_suffix(".py")
            return described(own if own.is_file() else module / "__init__.py", name)
    return None


def test_every_public_name_has_a_docstring():
    names = promised()
    assert {"AU_CODES", "FaceEditor", "GanimeAge", "render"} <= {name for _, name in names}
    bare = [f"{path.parent.name}.{name}" for path, name in names if not described(path, name)]
    assert [name for name in bare if not name.endswith(".__version__")] == []


def test_no_test_imports_a_test():
    """What several tests need is in tests/helpers/ and conftest.py, so a test module can be read and run alone."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            # child processes get their code as text
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            names += re.findall(r"^\s*(?:from|import) (test_\w+)", text, re.MULTILINE)
            assert not [name for name in names if name.startswith("test_")], f"{path.name}:{node.lineno}"


def test_requests_and_errors_need_no_torch():
    code = (
        "import sys, ganime_age.edits, ganime_age.errors; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["", ".model", ".images", ".pipelines", ".provenance", ".card", ".cli"])
def test_every_package_says_what_it_promises(package):
    found = importlib.import_module(f"ganime_age{package}")
    assert len(found.__doc__.split()) > 20 and found.__all__ == sorted(found.__all__)
    assert all(getattr(found, name) is not None for name in found.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(found, "nothing")  # noqa: B009
