"""The command line in this process, with real files: what it writes, says and returns."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ganime_age.cli import main as cli


@pytest.fixture(autouse=True)
def one_model(monkeypatch, editor):
    """The commands share the session's editor where nothing else is asked, so each test loads no weights."""
    real = cli._editor
    plain = {"weights": None, "device": "cpu", "detector": "embedded"}
    monkeypatch.setattr(cli, "_editor", lambda a: editor if plain.items() <= vars(a).items() else real(a))


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_edit_writes_the_photo_and_says_what_it_read(tmp_path, portrait_file, portrait, capsys):
    out = tmp_path / "new folder" / "older.png"
    assert (
        cli.main(
            ["edit", str(portrait_file), "-o", str(out), "--age", "70", "--au", "AU12=3", "--au", "AU04=+1"]
        )
        == 0
    )
    said = capsys.readouterr()
    assert pixels(out).shape == portrait.shape and (pixels(out) != portrait).any()
    assert str(out) in said.out and "(asked 70)" in said.out and "AU12" in said.out and "identity" in said.out
    assert said.err == ""
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "png"])
def test_the_suffix_chooses_the_format(tmp_path, portrait_file, portrait, suffix):
    out = tmp_path / f"out.{suffix}"
    assert cli.main(["edit", str(portrait_file), "-o", str(out), "--age", "70"]) == 0
    image = Image.open(out)
    assert image.format == {"jpg": "JPEG", "jpeg": "JPEG"}.get(suffix, suffix.upper())
    assert image.size == portrait.shape[1::-1]
    assert b"compositeWithTrainedAlgorithmicMedia" in out.read_bytes()


def test_metadata_of_the_photo_never_reaches_the_output(tmp_path, portrait):
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    photo = tmp_path / "with exif.jpg"
    Image.fromarray(portrait).save(photo, exif=exif)
    assert b"secret camera" in photo.read_bytes()
    assert cli.main(["edit", str(photo), "-o", str(tmp_path / "out.jpg"), "--age", "60"]) == 0
    assert b"secret camera" not in (tmp_path / "out.jpg").read_bytes()


def test_a_folder_gives_a_folder_and_a_bad_file_does_not_stop_it(tmp_path, portrait, faceless, capsys):
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    Image.fromarray(portrait).save(photos / "a.png")
    (photos / "b.jpg").write_bytes(b"no photo at all")
    Image.fromarray(faceless).save(photos / "c.png")
    Image.fromarray(portrait).save(photos / "d.bmp")
    (photos / "notes.txt").write_text("not looked at")
    assert cli.main(["edit", str(photos), "-o", str(out), "--age", "70"]) == 2
    said = capsys.readouterr()
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "d.bmp.png"]
    assert "b.jpg is not a readable image" in said.err
    assert "no face was found in c.png" in said.err
    assert "2 of 4 photos failed" in said.err
    assert "Traceback" not in said.err
    (photos / "b.jpg").unlink()
    (photos / "c.png").unlink()
    assert cli.main(["edit", str(photos), "-o", str(out), "--age", "70"]) == 2
    assert "exists; give another name or add --overwrite" in capsys.readouterr().err
    assert cli.main(["edit", str(photos), "-o", str(out), "--age", "70", "--overwrite"]) == 0


def test_read_prints_numbers(portrait_file, capsys):
    assert cli.main(["read", str(portrait_file), "--json"]) == 0
    (reading,) = json.loads(capsys.readouterr().out)
    assert (
        len(reading["landmarks"]) == 68 and len(reading["action_units"]) == 17 and 0 <= reading["age"] <= 100
    )
    assert cli.main(["read", str(portrait_file)]) == 0
    assert capsys.readouterr().out.startswith("face 0: age ")


def test_demo_writes_a_sheet_and_says_where(tmp_path, capsys):
    out = tmp_path / "deep" / "sheet.jpg"
    assert cli.main(["demo", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert Image.open(out).width > 1500
    assert str(out) in said and "age 85" in said


def _bad(tmp_path, name, content=b"hello"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


BAD_COMMANDS = {
    "not an image": (lambda t, p: [_bad(t, "x.png"), "--age", "70"], 2, "x.png is not a readable image"),
    "empty": (lambda t, p: [_bad(t, "x.png", b""), "--age", "70"], 2, "x.png is an empty file; give a photo"),
    "truncated": (
        lambda t, p: [_bad(t, "x.png", open(p, "rb").read()[:9000]), "--age", "70"],
        2,
        "x.png is damaged or cut off; give the whole file",
    ),
    "missing": (
        lambda t, p: [str(t / "gone.jpg"), "--age", "70"],
        2,
        "gone.jpg does not exist; check the path",
    ),
    "no face": (
        lambda t, p: [_faceless(t), "--age", "70"],
        2,
        "no face was found in empty.png; give a photo with a face",
    ),
    "age 500": (lambda t, p: [p, "--age", "500"], 2, "age 500 is out of range; give years between 0 and 100"),
    "age -1": (lambda t, p: [p, "--age", "-1"], 2, "age -1 is out of range"),
    "age nan": (lambda t, p: [p, "--age", "nan"], 2, "age nan is out of range"),
    "age word": (lambda t, p: [p, "--age", "old"], 2, "age 'old' is not a number"),
    "unknown AU": (lambda t, p: [p, "--au", "AU99=1"], 2, "unknown action unit 'AU99'; choose from AU01"),
    "AU range": (
        lambda t, p: [p, "--au", "AU12=6"],
        2,
        "AU12=6 is out of range; give an intensity between 0 and 5",
    ),
    "AU without value": (lambda t, p: [p, "--au", "AU12"], 2, "cannot read the action unit 'AU12'"),
    "unknown method": (lambda t, p: [p, "--age", "70", "--method", "magic"], 2, "unknown method 'magic'"),
    "nothing asked": (lambda t, p: [p], 2, "nothing is asked for; give --age, --au or --au-from"),
    "strength": (lambda t, p: [p, "--age", "70", "--strength", "x"], 2, "strength 'x' is not a number"),
    "face": (
        lambda t, p: [p, "--age", "70", "--face", "3"],
        2,
        "face 3 does not exist; portrait.png has 1 face",
    ),
    "device": (lambda t, p: [p, "--age", "70", "--device", "toaster"], 2, "unknown device 'toaster'"),
    "detector": (
        lambda t, p: [p, "--age", "70", "--detector", "magic"],
        2,
        "unknown detector 'magic'; choose embedded or",
    ),
    "detector by its old option": (
        lambda t, p: [p, "--age", "70", "--finder", "magic"],
        2,
        "unknown detector 'magic'; choose embedded or",
    ),
    "detector pack": (
        lambda t, p: [p, "--age", "70", "--detector", f"insightface:{t / 'models' / 'none'}"],
        3,
        "holds no InsightFace models; put the pack none there or use the embedded detector",
    ),
    "no weights": (lambda t, p: [p, "--age", "70", "--weights", str(t / "none")], 3, "none"),
    "bad weights": (lambda t, p: [p, "--age", "70", "--weights", _bad_weights(t)], 3, "broken"),
    "empty folder": (lambda t, p: [_folder(t), "--age", "70"], 2, "holds no photos; give a folder with"),
}


def _faceless(tmp_path):
    Image.new("RGB", (200, 200), (90, 120, 140)).save(tmp_path / "empty.png")
    return str(tmp_path / "empty.png")


def _folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return str(tmp_path / "folder")


def _bad_weights(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x00" * 100)
    return str(folder)


@pytest.mark.parametrize("kind", BAD_COMMANDS)
def test_a_bad_command_is_one_line_and_writes_nothing(tmp_path, portrait_file, capsys, kind):
    given, code, sentence = BAD_COMMANDS[kind]
    arguments = given(tmp_path, str(portrait_file))
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["edit", *arguments, "-o", str(tmp_path / "out" / "result.png")]) == code
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.err.startswith("ganime-age: ")
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_the_output_must_not_be_the_input(tmp_path, portrait_file, capsys):
    before = portrait_file.read_bytes()
    for target in (portrait_file, tmp_path):
        assert cli.main(["edit", str(portrait_file), "-o", str(target), "--age", "70", "--overwrite"]) == 2
        assert "the output is the input portrait.png; give another name" in capsys.readouterr().err
    assert cli.main(["edit", str(tmp_path), "-o", str(tmp_path), "--age", "70", "--overwrite"]) == 2
    assert "the output folder is the input folder" in capsys.readouterr().err
    assert portrait_file.read_bytes() == before


def test_an_unknown_suffix_and_an_existing_file_are_refused(tmp_path, portrait_file, capsys):
    assert cli.main(["edit", str(portrait_file), "-o", str(tmp_path / "out.xyz"), "--age", "70"]) == 2
    assert "out.xyz cannot be written as .xyz; choose .png, .jpg or .webp" in capsys.readouterr().err
    there = tmp_path / "there.png"
    there.write_bytes(b"mine")
    assert cli.main(["edit", str(portrait_file), "-o", str(there), "--age", "70"]) == 2
    assert "there.png exists; give another name or add --overwrite" in capsys.readouterr().err
    assert there.read_bytes() == b"mine"
    assert cli.main(["edit", str(portrait_file), "-o", str(there), "--age", "70", "--overwrite"]) == 0


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, portrait_file, capsys):
    (tmp_path / "file").write_text("in the way")
    assert (
        cli.main(["edit", str(portrait_file), "-o", str(tmp_path / "file" / "out.png"), "--age", "70"]) == 2
    )
    assert "cannot be written" in capsys.readouterr().err


def test_debug_adds_the_traceback(portrait_file, tmp_path, capsys):
    assert (
        cli.main(
            [
                "edit",
                str(portrait_file),
                "-o",
                str(tmp_path / "o.png"),
                "--face",
                "9",
                "--age",
                "70",
                "--debug",
            ]
        )
        == 2
    )
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_exit_one_without_a_traceback(portrait_file, tmp_path, capsys, monkeypatch):
    def broken(args):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli, "_editor", broken)
    assert cli.main(["edit", str(portrait_file), "-o", str(tmp_path / "o.png"), "--age", "70"]) == 1
    assert capsys.readouterr().err.startswith("ganime-age: a bug stopped this (ZeroDivisionError: oops)")


@pytest.mark.parametrize(
    "arguments", [["paint"], ["edit"], ["edit", "x.png", "-o", "y.png", "--face", "left"]]
)
def test_a_wrong_command_line_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.err.count("\n") == 1 and said.err.startswith("ganime-age: ")


def test_a_real_process_edits_a_photo(tmp_path, portrait_file):
    out = tmp_path / "older.jpg"
    command = [
        sys.executable,
        "-m",
        "ganime_age.cli",
        "edit",
        str(portrait_file),
        "-o",
        str(out),
        "--age",
        "70",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and out.exists() and str(out) in done.stdout
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_version_is_told(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    from ganime_age import __version__

    assert capsys.readouterr().out == f"ganime-age {__version__}\n"


def test_all_methods_edit_every_photo_of_a_folder(tmp_path, portrait):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(portrait).save(folder / f"{name}.png")
    out = tmp_path / "out"
    assert cli.main(["edit", str(folder), "-o", str(out), "--age", "60", "--method", "all"]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["a.png", "b.png"]


def test_what_another_photo_shows_is_asked_of_every_photo_of_a_folder(
    tmp_path, portrait, editor, monkeypatch
):
    """The arguments stay as they were given, so nothing is asked twice."""
    asked = []
    monkeypatch.setattr(editor.pipeline, "generate", lambda face, edit, method, **_: asked.append(edit))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(portrait).save(folder / f"{name}.png")
    command = ["edit", str(folder), "-o", str(tmp_path / "out"), "--au", "AU12=1"]
    assert cli.main([*command, "--au-from", str(folder / "a.png")]) == 0
    assert len(asked) == 2 and asked[0] == asked[1]
    assert asked[0].action_units["AU12"].value == 1 and len(asked[0].action_units) > 10


def test_the_page_starts_from_the_package_with_its_port_and_its_device(monkeypatch, capsys):
    page = pytest.importorskip("ganime_age.space.page", reason="the page needs gradio")
    served = []
    monkeypatch.setattr(page, "serve", lambda editor, *how: served.append((editor.device.type, *how)))
    assert cli.main(["app", "--port", "7999", "--device", "cpu"]) == 0 and served == [("cpu", 7999, False)]
    assert (
        cli.main(["app", "--port", "99999"]) == 2 and "port 99999 is out of range" in capsys.readouterr().err
    )
    monkeypatch.delitem(sys.modules, "ganime_age.space.page")
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app"]) == 3 and "pip install 'ganime_age[space]'" in capsys.readouterr().err
