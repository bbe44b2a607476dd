"""The command line before and around a command: help, typos, presets, places to write, completion, a stop."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from ganime_age.cli import main as cli
from ganime_age.cli.arguments import parser
from ganime_age.provenance import read_metadata


@pytest.fixture(autouse=True)
def one_model(monkeypatch, editor):
    """The commands share the session's editor, so no test loads weights."""
    monkeypatch.setattr(cli, "_editor", lambda args: editor)


def test_help_and_typos_import_neither_torch_nor_numpy():
    code = """
        import sys
        from ganime_age.cli import main as cli
        for argv in ([], ["edit", "--help"], ["edti"], ["edit", "a.jpg", "-o", "b.jpg", "--agee", "7"]):
            try:
                cli.main(argv)
            except SystemExit:
                pass
        print("loaded:", sorted({"torch", "numpy", "PIL", "cv2", "tqdm"} & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("loaded: []\n"), done.stdout[-200:] + done.stderr


def test_the_bare_command_prints_its_help(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([])
    said = capsys.readouterr()
    assert left.value.code in (0, None) and said.err == ""
    assert said.out.startswith("usage: ganime-age") and "deploy-space" in said.out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["edti", "x.jpg"], "there is no command 'edti'; did you mean edit?; see ganime-age --help"),
        (["paint"], "there is no command 'paint'; choose from edit, reenact, animate, read,"),
        (["edit", "x.jpg", "-o", "y.jpg", "--agee", "7"], "arguments: --agee 7; did you mean --age?; see"),
        (["edit", "x.jpg", "-o", "y.jpg", "--preset", "smyle"], "no preset 'smyle'; did you mean smile?"),
        (["edit", "x.jpg", "-o", "y.jpg", "--preset", "joy"], "no preset 'joy'; choose from smile, surprise"),
        (["edit", "x.jpg", "-o", "y.jpg", "--face", "both"], "'both' is no face; give a number, 0 is the"),
        (
            ["edit", "x.jpg", "-o", "y.jpg", "--method", "agetransgn"],
            "'agetransgn'; did you mean agetransgan?",
        ),
        (["edit", "x.jpg", "-o", "y.jpg", "--method", "reaging gann"], "'reaging gann'; did you mean ragan?"),
        (["edit", "x.jpg", "-o", "y.jpg", "--method", "alll"], "no method 'alll'; did you mean all?; see"),
        (["animate", "x.jpg", "-o", "y.mp4", "--method", "ganimaton"], "did you mean ganimation?; see"),
        (
            ["reenact", "x.jpg", "y.jpg", "-o", "z.png", "--method", "ragn"],
            "'ragn'; did you mean ragan?; see",
        ),
        (["-q", "read", "x.jpg"], "unrecognized arguments: -q; see ganime-age --help"),
    ],
)
def test_a_typo_is_told_what_may_be_meant(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == ""
    assert sentence in said.err and said.err.startswith("ganime-age: ") and said.err.count("\n") == 1


@pytest.mark.parametrize("method", ["AgeTransGAN", "Re-Aging GAN", "GANIMATION-AGE", "all", "magic"])
def test_titles_are_methods_and_the_weights_judge_what_is_near_none(method):
    given = parser(cli.RUN).parse_args(["edit", "x.jpg", "-o", "y.jpg", "--method", method])
    assert given.method == method


def test_a_preset_and_words_are_action_units(tmp_path, portrait_file, editor, monkeypatch):
    asked = []
    monkeypatch.setattr(editor.pipeline, "generate", lambda face, edit, method, **_: asked.append(edit))
    command = ["edit", str(portrait_file), "-o", str(tmp_path / "out.png"), "--overwrite"]
    assert cli.main([*command, "--preset", "Smile", "--au", "frown=2"]) == 0
    assert {code: target.value for code, target in asked[0].action_units.items()} == {
        "AU04": 2.0, "AU12": 3.5, "AU25": 2.0,
    }  # fmt: skip
    assert cli.main([*command, "--preset", "smile=1.75"]) == 0
    assert asked[1].action_units["AU12"].value == 1.75


def test_face_all_edits_every_face_of_a_photo_and_no_clip(tmp_path, two_faces, capsys):
    photo, out = tmp_path / "two.png", tmp_path / "out.png"
    Image.fromarray(two_faces).save(photo)
    assert cli.main(["edit", str(photo), "-o", str(out), "--age", "75", "--face", "all"]) == 0
    said, after = capsys.readouterr(), np.asarray(Image.open(out))
    assert said.out.count("age ") == 2 and "faces were found" not in said.err
    assert (after[:, :240] != two_faces[:, :240]).any() and (after[:, 400:] != two_faces[:, 400:]).any()
    clip = ["edit", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "o.mp4"), "--age", "7", "--face", "all"]
    assert cli.main(clip) == 2
    assert "--face all edits photos; name one face of a video" in capsys.readouterr().err


def test_a_strip_shows_one_photo_at_the_ages_that_are_named(tmp_path, portrait_file, capsys):
    out = tmp_path / "strip.png"
    command = ["edit", str(portrait_file), "-o", str(out)]
    assert cli.main([*command, "--strip", "20", "70"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}  ") and said.err == ""
    kind, record = read_metadata(out)
    assert record["ages"] == [20, 70] and record["age"] is None and kind.endswith("AlgorithmicMedia")
    assert Image.open(out).width > 3 * 256
    for wrong in (
        ["--strip", "20", "--age", "5"],
        ["--sheet", "--strip", "5"],
        ["--sheet", "--au", "AU12=1"],
    ):
        assert cli.main([*command, *wrong, "--overwrite"]) == 2
        assert "--strip and --sheet name what is asked; leave out" in capsys.readouterr().err
    assert cli.main(["edit", str(tmp_path), "-o", str(out), "--sheet"]) == 2
    assert "show one face of one photo" in capsys.readouterr().err
    assert cli.main([*command, "--sheet", "--face", "1", "--overwrite"]) == 2
    assert "--sheet shows the largest face by ganimation_age" in capsys.readouterr().err
    assert cli.main([*command, "--strip", "old", "--overwrite"]) == 2
    assert "age 'old' is not a number" in capsys.readouterr().err


def test_a_sheet_is_the_demos_of_a_photo_of_ones_own(tmp_path, portrait_file, portrait, monkeypatch, capsys):
    shown = []

    def sheet(editor, say, photo):
        shown.append(photo)
        return Image.new("RGB", (70, 70))

    monkeypatch.setattr("ganime_age.card.contact_sheet.demo_sheet", sheet)
    out = tmp_path / "sheet.png"
    assert cli.main(["edit", str(portrait_file), "-o", str(out), "--sheet"]) == 0
    assert shown == [portrait_file] and "70x70" in capsys.readouterr().out
    assert read_metadata(out)[1]["method"] == "ganimation_age"


def test_an_output_without_an_ending_is_asked_about(tmp_path, portrait_file, capsys):
    out = tmp_path / "older"
    command = ["edit", str(portrait_file), "--age", "70", "-o"]
    assert cli.main([*command, str(out)]) == 2
    asked = f"{out} has no ending; give {out}.png for a file or {out}/ for a folder"
    assert asked in capsys.readouterr().err and not out.exists()
    animate = ["animate", str(portrait_file), "--to", "age=70", "-o", str(out)]
    assert cli.main(animate) == 2
    assert f"give {out}.mp4 for a file" in capsys.readouterr().err and not out.exists()
    assert cli.main([*command, f"{out}/"]) == 0 and (out / "portrait.png").is_file()
    assert cli.main([*command, str(out), "--overwrite"]) == 0, "a folder that exists is one"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
@pytest.mark.parametrize("stop", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_stopped_leaves_no_half_file(tmp_path, stop):
    code = """
        import sys, time
        from pathlib import Path
        from ganime_age.atomic import replacing
        from ganime_age.cli import main as cli

        def write(args):
            with replacing(Path(args.photo)) as part:
                part.write_text("half")
                print("writing", flush=True)
                time.sleep(60)

        cli.RUN["read"] = write
        cli.run()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), "read", str(tmp_path / "out.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "writing\n" and len(list(tmp_path.iterdir())) == 1
        started = time.monotonic()
        running.send_signal(getattr(signal, stop))
        assert running.wait(timeout=30) == 128 + getattr(signal, stop)
    assert list(tmp_path.iterdir()) == [] and time.monotonic() - started < 30


def test_a_shell_that_asks_gets_completions(monkeypatch):
    """argcomplete is an extra: what matters is that it is handed every command."""
    given = []
    monkeypatch.setitem(sys.modules, "argcomplete", type(os)("argcomplete"))
    sys.modules["argcomplete"].autocomplete = given.append
    cli.complete()
    (parser,) = given
    assert all(name in parser.format_help() for name in cli.RUN)
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    cli.complete()
