"""The library's pages: pdoc builds them without a warning, and the first one leads to all others."""

import inspect
import os
import shlex
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from ganime_age import FaceEditor

ROOT = Path(__file__).resolve().parents[1]


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
