"""The rules of the house, read from the source: where a package is used, how much a folder holds.

(test_readme.py holds that imports point down README's table of rooms.)
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "ganime_age"
ENTRIES = [
    ROOT / "app.py",
    *sorted((ROOT / "training").glob("*.py")),
]
SOURCES = [*sorted(PACKAGE.rglob("*.py")), *ENTRIES]
MOST_MODULES = 24
# Heavy packages, and the only places that import them.
HOMES = {
    "gradio": ("space/", "app.py"),
    "diffusers": ("learning/multipose/",),
    "insightface": ("images/detectors.py", "learning/external/"),
    "mediapipe": ("learning/external/",),
    "onnxruntime": ("images/detectors.py", "learning/external/", "onnx/"),
    "accelerate": ("learning/engine/", "training/"),
}
# What a package brings along, and what no extra can: the Hub's client reads YAML, c2pa-python signs with
# cryptography, and the machines of a Space that lends GPUs hold `spaces`.
BROUGHT = {"yaml": "huggingface-hub", "cryptography": "c2pa-python", "spaces": None}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "c2pa": "c2pa-python",
}


def place(path: Path) -> str:
    """How the rules name a file: from the package's folder, or from the repository's."""
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imports(path: Path) -> list[tuple[int, str]]:
    """(line, full name) of every module that a file imports, anywhere in it; a name of a module counts as itself."""
    inside = path.relative_to(PACKAGE.parent if path.is_relative_to(PACKAGE) else ROOT).parent.parts
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = [*inside[: len(inside) - node.level + 1]] if node.level else []
            module = ".".join([*parts, *([node.module] if node.module else [])])
            folder = PACKAGE.parent / module.replace(".", "/")
            for alias in node.names:
                is_module = (folder / f"{alias.name}.py").is_file() or (folder / alias.name).is_dir()
                found.append((node.lineno, f"{module}.{alias.name}" if is_module else module))
    return found


def test_nothing_outside_learning_imports_it():
    package = [path for path in PACKAGE.rglob("*.py") if not place(path).startswith("learning/")]
    users = [
        place(path) for path in package for _, name in imports(path) if name.startswith("ganime_age.learning")
    ]
    assert users == []


def test_no_package_grows_beyond_what_one_reads_at_a_glance():
    sizes = {
        folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in PACKAGE.rglob("*.py")}
    }
    assert {place(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_stay_in_their_rooms(package):
    users = {place(path) for path in SOURCES for _, name in imports(path) if name.split(".")[0] == package}
    assert users and not [user for user in users if not user.startswith(HOMES[package])]


def declared() -> set[str]:
    """Every distribution that pyproject.toml names, but for those that only the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [line for name in extras if name != "test" for line in extras[name]]
    return {re.match(r"[\w-]+", line)[0].lower() for line in lines}


def test_every_package_that_a_file_imports_stands_in_an_extra():
    known, missing = declared(), set()
    for path in SOURCES:
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names | {"ganime_age"}:
                continue
            by = BROUGHT.get(top, DISTRIBUTIONS.get(top, top.replace("_", "-")))
            if by is not None and by not in known:
                missing.add(f"{place(path)}:{line} {top}")
    assert missing == set()


# Names with an underscore that libraries offer under no other: of named tuples, argparse, torch's operations on lists
# of tensors, and what tells one storage of tensors from another.
OFFERED = (
    "_asdict",
    "_replace",
    "_fields",
    "_SubParsersAction",
    "_foreach_lerp_",
    "_foreach_copy_",
    "_cdata",
)


def private(name: str) -> bool:
    """A leading underscore, but for OFFERED."""
    return name.startswith("_") and not name.endswith("__") and name not in OFFERED


def reached(path: Path) -> list[str]:
    """Private names of other modules and objects in a file. `self._x` and `cls._x` are its own, and so is what an
    object of a class of the same file keeps: names that the file itself assigns or defines."""
    nodes = nodes_of(path)
    own = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    own |= {n.target.id for n in nodes if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if private(alias.name) and alias.name != "_version"]
            found += [f"{place(path)}:{node.lineno} imports {name}" for name in names]
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not mine and not ast.unparse(node.value).startswith("super()"):
                found.append(f"{place(path)}:{node.lineno} reads {ast.unparse(node)}")
    return found


def test_nobody_reaches_into_private_names():
    assert [wrong for path in SOURCES for wrong in reached(path)] == []
