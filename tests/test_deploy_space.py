"""The Space: its files, the push to a stand-in for the Hub over real HTTP, and a start as on a stranger's machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard, constants

from ganime_age.cli import deploy_space as deploying
from ganime_age.cli import main as cli
from ganime_age.cli.deploy_space import space_files
from helpers.fakehub import OWNER, TOKEN

ROOT = Path(__file__).parent.parent
SPACE = f"{OWNER}/faces"
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


@pytest.fixture
def hub(online, monkeypatch):
    """The stand-in, where this machine's token is its owner's."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return online


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A small checkout that may be spoilt."""
    names = (
        "README.md",
        "LICENSE",
        "requirements.txt",
        "app.py",
        "src/ganime_age/space/page.py",
        "src/ganime_age/cli/main.py",
    )
    weights = [f"src/ganime_age/weights/{name}" for name in ("config.json", "model.safetensors")]
    for name in (*names, *weights):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    monkeypatch.setattr(deploying, "CHECKOUT", tmp_path)
    return tmp_path


def said(capsys, *words):
    """Exit code, what is printed, and what is said of a failure, of `ganime-age deploy-space`."""
    code = cli.main(["deploy-space", *words])
    out, err = capsys.readouterr()
    assert err.count("\n") <= 1 and "Traceback" not in err
    return code, out, err


def test_a_dry_run_shows_the_files_with_their_sizes_and_asks_nobody(hub, capsys):
    code, out, _ = said(capsys, SPACE, "--dry-run")
    shown = {name: int(size.replace(",", "")) for size, name in re.findall(r"^ *([\d,]+) (\S+)$", out, re.M)}
    assert code == 0 and set(shown) == set(space_files()) and hub.seen == []
    assert shown == {name: (ROOT / name).stat().st_size for name in shown}
    assert f"{sum(shown.values()):,} bytes in {len(shown)} files" in out
    assert out.splitlines()[-1].startswith("Nothing was uploaded")


def test_the_space_holds_the_page_and_what_it_runs_on_and_no_more():
    names = set(space_files())
    code = {f"src/ganime_age/{path.name}" for path in (ROOT / "src/ganime_age").glob("*.py")}
    room = "src/ganime_age/space"
    page = {f"{room}/{path.name}" for kind in ("*.py", "*.css", "*.js") for path in (ROOT / room).glob(kind)}
    assert code | page | {"README.md", "app.py", "requirements.txt", "LICENSE"} <= names
    examples = {f"{room}/pictures/{path.name}" for path in (ROOT / room / "pictures").iterdir()}
    assert examples <= names
    stored = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src/ganime_age/weights").iterdir()}
    assert stored <= names and "src/ganime_age/weights/config.json" in stored and len(stored) > 1
    assert not [
        name for name in names if name.startswith(("tests/", "training/", ".")) or "/learning/" in name
    ]
    assert not [name for name in names if name.endswith((".pyc", ".pyi", ".pt", ".pth", ".parquet"))]
    readme = (ROOT / "README.md").read_text()
    pictures = {name for name in names if name.endswith((".jpg", ".png")) and not name.startswith(room)}
    assert all(f"]({name})" in readme for name in pictures)
    assert all(f"]({name})" in readme for name in names if name.startswith("model_card/"))


def test_the_readme_opens_as_the_hub_wants_it():
    card = SpaceCard.load(ROOT / "README.md")
    said = card.data.to_dict()
    assert (said["sdk"], said["app_file"]) == ("gradio", "app.py") and (ROOT / "app.py").is_file()
    assert {said["colorFrom"], said["colorTo"]} <= COLORS
    assert said["title"] and len(said["emoji"]) <= 2 and len(said["short_description"]) <= 60
    floor, below = re.search(
        r"^gradio>=([\d.]+),<(\d+)$", (ROOT / "requirements.txt").read_text(), re.M
    ).groups()
    version = [int(part) for part in said["sdk_version"].split(".")]
    assert [int(part) for part in floor.split(".")] <= version[:2] and version[0] < int(below)
    assert said["python_version"] in ("3.10", "3.11", "3.12")
    assert SpaceCard(str(card)).data.to_dict() == said


def test_a_space_is_made_and_holds_the_files_byte_for_byte(hub, capsys):
    for _ in range(2):  # the second time it is there already
        code, out, _ = said(capsys, SPACE)
        assert code == 0 and out.splitlines()[-1] == f"{hub.url}/spaces/{SPACE}"
    repo = hub.repos[SPACE]
    assert repo.sdk == "gradio" and not repo.private
    held = repo.commits[repo.refs["main"]]
    assert {name: held[name] for name in held if name != ".gitattributes"} == {
        name: path.read_bytes() for name, path in space_files().items()
    }
    assert ("POST", f"/api/spaces/{SPACE}/commit/main") in hub.seen
    assert ("POST", "/api/validate-yaml") in hub.seen


def test_a_private_space_is_private_and_a_public_one_is_not_taken_for_it(hub, checkout, capsys):
    assert said(capsys, SPACE, "--private")[0] == 0 and hub.repos[SPACE].private
    hub.repos.clear()
    assert said(capsys, SPACE)[0] == 0
    code, _, why = said(capsys, SPACE, "--private")
    assert code == 2 and "exists and is public" in why


def test_refusals_are_one_sentence(hub, checkout, capsys, monkeypatch):
    for name, exit_code, words in (
        ("no name", 2, "is no name of a Hub repository"),
        ("somebody/faces", 3, "does not allow"),
    ):
        code, _, why = said(capsys, name)
        assert code == exit_code and words in why
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept the token" in said(capsys, SPACE)[2]
    monkeypatch.setenv("HF_TOKEN", "")
    assert "log in with `hf auth login`" in said(capsys, SPACE)[2]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, why = said(capsys, SPACE)
    assert code == 3 and "HF_HUB_OFFLINE is set" in why
    assert hub.repos == {}


def test_without_a_checkout_or_its_card_it_says_so(hub, checkout, capsys):
    card = checkout / "README.md"
    text = card.read_text()
    for spoilt, words in (
        (text.replace("sdk: gradio", "sdk: docker"), "sdk is docker, not gradio"),
        (text.replace("title:", "title: [", 1), "cannot be read"),
        ("# a page", "Gradio Space"),
    ):
        card.write_text(spoilt)
        code, out, why = said(capsys, SPACE, "--dry-run")
        assert code == 2 and words in why and out == ""
    (checkout / "app.py").unlink()
    code, _, why = said(capsys, SPACE, "--dry-run")
    assert code == 2 and "made from a checkout" in why and hub.seen == []


@pytest.mark.slow
def test_the_files_alone_answer_on_a_strangers_machine(tmp_path):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")
    for name, path in space_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "PYTHONPATH": ""}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with open(tmp_path / "log", "w") as log:
        run = subprocess.Popen(
            [sys.executable, "app.py"], cwd=tmp_path, env=kept | given, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        assert answers(f"http://127.0.0.1:{port}/", run) == 200, (tmp_path / "log").read_text()
    finally:
        run.terminate()
        run.wait(30)
    assert list((tmp_path / "src/ganime_age/__pycache__").glob("editor.*"))  # its own files ran


def answers(url, run, seconds=240):
    """The status with which a page answers, once it does; None when its process ends or never answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and run.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status
        except OSError:
            time.sleep(0.1)
    return None
