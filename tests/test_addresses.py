"""Web addresses on the command line: refused, or fetched where --allow-download stands; other addresses never."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganime_age import FaceEditor
from ganime_age.cli import main as cli
from ganime_age.cli.addresses import photos_here
from helpers.web import serving

NOWHERE = "http://127.0.0.1:9/a.jpg"
REFUSED = f"{NOWHERE} is a web address, and nothing is fetched unless it is allowed"
COMMANDS = {
    "edit": ["edit", "PHOTO", "-o", "OUT.png", "--age", "70"],
    "edit by processes": ["edit", "PHOTO", "-o", "OUT.png", "--age", "70", "--workers", "2"],
    "expression": ["edit", "OTHER", "-o", "OUT.png", "--au-from", "PHOTO"],
    "strip": ["edit", "PHOTO", "-o", "OUT.png", "--strip", "5", "70"],
    "reenact": ["reenact", "PHOTO", "OTHER", "-o", "OUT.png"],
    "driving": ["reenact", "OTHER", "PHOTO", "-o", "OUT.png"],
    "animate": ["animate", "PHOTO", "-o", "OUT.mp4", "--to", "age=70"],
    "read": ["read", "PHOTO"],
    "verify": ["verify", "PHOTO"],
}
"""Every way in which a photo is given."""


@pytest.fixture(autouse=True)
def one_model(monkeypatch, model, editor):
    """The commands share the session's model, in an editor that fetches where the arguments say so."""
    fetching = FaceEditor(model, allow_download=True)
    monkeypatch.setattr(cli, "_editor", lambda args: fetching if args.allow_download else editor)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def photo(portrait_file):
    """The address of the portrait on a server."""
    with serving({"/my%20photo.png?size=3": (200, {}, portrait_file.read_bytes())}) as address:
        yield f"{address}/my%20photo.png?size=3"


def filled(kind, photo, other):
    """A command with its words in capitals replaced; results go into `out` beside the other photo."""
    words = {"PHOTO": photo, "OTHER": str(other), "OUT": str(other.parent / "out" / "new")}
    return [words.get(word, word.replace("OUT", words["OUT"])) for word in COMMANDS[kind]]


@pytest.mark.parametrize("kind", COMMANDS)
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (NOWHERE, f"{REFUSED}; download the photo, or set allow_download=True (--allow-download)"),
        ("ftp://a.org/a.jpg", "ftp://a.org/a.jpg cannot be fetched: only http and https are; download the"),
        ("https://a.org/a.mp4", "https://a.org/a.mp4 is a web address; download the clip and give its path"),
    ],
)
def test_an_address_is_refused_in_one_sentence(portrait_file, capsys, kind, address, sentence):
    assert cli.main(filled(kind, address, portrait_file)) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert [path.name for path in portrait_file.parent.iterdir()] == ["portrait.png"]


def test_a_photo_is_fetched_edited_and_named_as_it_is_there(photo, tmp_path, portrait_file, capsys):
    there, here = tmp_path / "there", tmp_path / "here.png"
    asked = ["--au", "AU12=3", "--allow-download"]
    assert cli.main(["edit", photo, "-o", f"{there}/", *asked]) == 0
    assert capsys.readouterr().out.startswith(f"{there / 'my photo.png'}  age ")
    assert cli.main(["edit", str(portrait_file), "-o", str(here), *asked]) == 0
    assert np.array_equal(*(np.asarray(Image.open(path)) for path in (there / "my photo.png", here)))


def test_what_is_fetched_may_be_called_as_the_result_is(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["edit", photo, "-o", "my photo.png", "--au", "AU12=3", "--allow-download"]) == 0
    assert Path("my photo.png").is_file()


def test_an_expression_is_read_at_its_address_and_faces_are_read_and_verified(photo, portrait_file, capsys):
    out = portrait_file.parent / "new.png"
    copied = ["edit", str(portrait_file), "-o", str(out), "--au-from", photo, "--allow-download"]
    assert cli.main(copied) == 0 and out.is_file()
    capsys.readouterr()
    assert cli.main(["read", photo, "--json", "--allow-download"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert cli.main(["verify", photo, str(out), "--allow-download"]) == 0
    fetched, edited = capsys.readouterr().out.splitlines()
    assert fetched == f"{photo}  not known: no watermark" and edited.startswith(f"{out}  edited: ")


def test_what_cannot_be_fetched_is_one_sentence(photo, tmp_path, capsys):
    gone = photo.replace("my", "no")
    assert cli.main(["edit", gone, "-o", str(tmp_path / "new.png"), "--age", "70", "--allow-download"]) == 2
    said = capsys.readouterr().err
    assert f"{gone} cannot be fetched (HTTP 404 Not Found); check the address" in said
    assert said.count("\n") == 1 and not (tmp_path / "new.png").exists()


def test_nothing_of_a_fetched_photo_stays(photo):
    args = Namespace(source=photo, driving=photo, au_from=photo, allow_download=True)
    with photos_here(args):
        places = [Path(args.source), Path(args.driving)]
        assert places[0] != places[1] and all(place.name == "my photo.png" for place in places)
        assert args.au_from == photo, "each process of a folder's edit fetches it"
    assert not any(place.exists() or place.parent.exists() for place in places)


ONE_FILE = ("strip", "reenact", "animate")
"""Commands that write one file: a folder's edits may go where fsspec leads."""


@pytest.mark.parametrize(
    ("kind", "out"),
    [
        *((kind, "https://a.org/new.png") for kind in (*ONE_FILE, "edit", "a folder")),
        *((kind, "s3://mine/new.png") for kind in ONE_FILE),
    ],
)
def test_an_output_at_an_address_is_refused(portrait_file, monkeypatch, capsys, kind, out):
    monkeypatch.chdir(portrait_file.parent)
    command = filled("edit" if kind == "a folder" else kind, str(portrait_file), portrait_file)
    command[command.index("-o") + 1] = out
    if kind == "a folder":
        command[1] = str(portrait_file.parent)
    assert cli.main(command) == 2
    said = f"ganime-age: the output {out} is an address; give a path on this machine\n"
    assert capsys.readouterr().err == said
    assert [path.name for path in portrait_file.parent.iterdir()] == ["portrait.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["memory://photos", "-o", "https://a.org/out", "--age", "70"],
            "the output https://a.org/out is an address",
        ),
        (
            ["PHOTO", "-o", "memory://out", "--age", "70"],
            "memory://out takes the edits of a folder or a shard; give",
        ),
        (["memory://photos", "-o", "a.png", "--strip", "5", "70"], "show one face of one photo"),
        (["photos.tar", "-o", "a.png", "--strip", "5", "70"], "show one face of one photo"),
        (["https://a.org/photos.tar", "-o", "out", "--age", "70"], "is the address of a shard; download it"),
    ],
)
def test_addresses_that_a_command_cannot_use_are_one_sentence(
    portrait_file, tmp_path, monkeypatch, capsys, words, sentence
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["edit", *(word.replace("PHOTO", str(portrait_file)) for word in words)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["portrait.png"]
