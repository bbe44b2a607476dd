"""README: its snippets run, its commands parse, its table of rooms is the code's, imports point down that table.

(test_docs.py runs the snippets of the pages in docs/; that their commands parse is seen here.)
"""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from ganime_age import FaceEditor, GanimeAge
from ganime_age.cli.main import RUN, parser
from helpers.pages import HOW_TOS, ROOT, calls, commands, snippets
from helpers.pages import README as PAGE

CODE = ROOT / "src" / "ganime_age"
README = PAGE.read_text(encoding="utf-8")
ROOMS = [line.split("|")[1].strip(" `") for line in README.splitlines() if re.match(r"\| `[\w./]+` \|", line)]
OUTSIDE = ("app.py", "training/")


def modules() -> dict[Path, str]:
    """Every module of the package with its room."""
    rooms = {}
    for path in sorted(CODE.rglob("*.py")):
        first, *rest = path.relative_to(CODE).parts
        if first != "learning":
            rooms[path] = f"{first}/" if rest else first
        elif rest != ["__init__.py"]:
            rooms[path] = f"learning/{rest[0]}/" if len(rest) > 1 else f"learning/{rest[0]}"
    return {path: room for path, room in rooms.items() if room != "__init__.py"}


def imported(path: Path) -> set[Path]:
    """The package's modules that a module imports, lazily too; TYPE_CHECKING is no exception."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            names = [base / alias.name for alias in node.names]
            for place in (base, *names):
                found |= {p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()}
    return found


def test_the_table_of_rooms_is_the_code():
    assert len(set(ROOMS)) == len(ROOMS)
    assert set(ROOMS) == set(modules().values()) | set(OUTSIDE)
    assert all((ROOT / room).exists() for room in OUTSIDE)


def test_imports_point_down_the_table():
    rooms = modules()
    for path, room in rooms.items():
        for other in imported(path):
            below = rooms.get(other, room)
            learns, is_learning = room.startswith("learning/"), below.startswith("learning/")
            assert learns or not is_learning, f"{path} imports {other}: only learning rooms may"
            if learns == is_learning:
                assert ROOMS.index(room) <= ROOMS.index(below), f"{path} imports upward: {other}"
            else:
                assert below != "cli/", f"{path} imports the command line: {other}"


def test_every_call_of_a_snippet_fits_its_signature():
    seen = set()
    for name, call in (call for page in (PAGE, *HOW_TOS) for call in calls(page)):
        owner, method = name.split(".")
        function = getattr({"FaceEditor": FaceEditor, "GanimeAge": GanimeAge}[owner], method)
        bound = inspect.signature(function)
        given = [None] * (len(call.args) + (not inspect.ismethod(function)))
        bound.bind(*given, **{str(word.arg): None for word in call.keywords})
        seen.add(name)
    wanted = "edit progression compare read reenact reenact_frames reenact_video animate_video edit_video"
    assert {f"FaceEditor.{method}" for method in wanted.split()} <= seen
    assert {"GanimeAge.from_pretrained", "GanimeAge.push_to_hub"} <= seen


def test_the_first_snippet_runs_as_it_stands(portrait, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(portrait).save("portrait.jpg", quality=95)
    snippet = next(text for text in snippets(PAGE) if "FaceEditor(" in text)
    exec(compile(snippet, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "years; identity" in said and "agetransgan" in said and "'action_units'" in said
    assert Path("older.png").is_file() and len(list(tmp_path.glob("age_*.png"))) == 5


@pytest.mark.parametrize("command", [command for page in (PAGE, *HOW_TOS) for command in commands(page)])
def test_every_command_parses(command):
    given = parser(RUN).parse_args(shlex.split(command, comments=True))
    assert given.run is RUN[shlex.split(command)[0]]


def test_the_five_figures_stand_on_the_first_screen():
    first = README.split("## ")[0]
    assert (
        first.count("\n| ") == 2 + 5
        and "make demo" in first
        and "make test" in first
        and "](model_card/figures/" in first
    )
    assert all(f"]({link})" in first for link in ("#in-a-browser", "#in-python", "#on-the-command-line"))
    assert "Ages come out short" in first and "| goal |" in first
