"""A folder in several processes: nothing lost, nothing twice, and a run that was stopped goes on."""

import errno
import json
import os
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from ganime_age.cli import main as cli
from ganime_age.cli.folder_report import Report
from ganime_age.cli.workers import Died, answers
from helpers.files import files_no_larger_than
from helpers.mortal import check_survived, mortal, shard_of, tiny_editor_weights


def fragile(log):
    """Writes each task's number down; the first time it meets task 2, and whenever it meets task 5, it is killed."""

    def work(number):
        with log.open("a") as file:
            file.write(f"{number}\n")
        if number == 5 or (number == 2 and log.read_text().split().count("2") == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    return work


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(tmp_path):
    log = tmp_path / "log"
    found = list(answers(range(8), partial(fragile, log), 2))
    assert sorted(number for number, _ in found) == list(range(8))
    got = dict(found)
    assert isinstance(got.pop(5), Died) and got == {n: n * n for n in range(8) if n != 5}
    assert sorted(log.read_text().split()) == sorted("0122345567")


@pytest.mark.slow
def test_workers_that_are_killed_while_they_edit_or_write_lose_nothing_and_do_nothing_twice(
    tmp_path, portrait, model, monkeypatch, capfd
):
    shard = shard_of(portrait, tmp_path / "shard.tar", "abcdef")
    asked = ["edit", str(shard), "--au", "AU12=3", "--weights"]
    asked.append(str(tiny_editor_weights(model, tmp_path / "weights")))
    assert cli.main([*asked, "-o", str(tmp_path / "plain")]) == 0
    capfd.readouterr()
    log, out = tmp_path / "log", tmp_path / "out"
    monkeypatch.setattr(cli, "_worker", partial(mortal, log))
    assert cli.main([*asked, "-o", str(out), "--workers", "2"]) == 0
    check_survived(log, out, tmp_path / "plain", "abcdef")
    told = capfd.readouterr().out.splitlines()
    assert sorted(line.split("  ")[0] for line in told) == [f"{out}/shard/{name}.png" for name in "abcdef"]
    assert json.loads((out / "report.json").read_text()) | {"asked": 0} == {
        "asked": 0,
        "photos": 6,
        "failed": {},
    }


@pytest.fixture
def folder(tmp_path, portrait, editor, monkeypatch):
    """A folder of two photos and a file that is none, edited in this process with the tests' own editor."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a", "b"):
        Image.fromarray(portrait).save(source / f"{name}.png")
    (source / "c.png").write_bytes(b"no photo")

    def here(tasks, setup, count):
        work = setup()
        return ((number, work(task)) for number, task in enumerate(tasks))

    monkeypatch.setattr(cli, "_editor", lambda args: editor)
    monkeypatch.setattr(cli, "answers", here)
    return source


def edited(folder, *more):
    return cli.main(
        ["edit", str(folder), "-o", str(folder.parent / "out"), "--au", "AU12=3", "--workers", "2", *more]
    )


def test_a_run_goes_on_where_it_was_stopped_and_reports_what_failed(folder, capsys):
    out = folder.parent / "out"
    assert edited(folder) == 2
    assert "1 of 3 photos failed" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert list(report["failed"]) == ["c.png"] and report["photos"] == 3
    kept = (out / "a.png").stat().st_mtime_ns
    (out / "b.png").unlink()
    (out / ".b.png.0f.part").write_bytes(b"what a killed process leaves")
    Image.open(folder / "a.png").save(folder / "c.png")
    assert edited(folder) == 0
    assert (out / "a.png").stat().st_mtime_ns == kept, "what is there is left as it is"
    pictures = [np.array(Image.open(out / f"{name}.png")) for name in "abc"]
    assert all((picture == pictures[0]).all() for picture in pictures)
    assert json.loads((out / "report.json").read_text())["failed"] == {}
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png", "report.json"]


def test_folders_behind_urls_are_edited_as_those_here_are(folder, capsys):
    """By file://, the URL that needs no service; s3:// and hf:// take the same way."""
    out = folder.parent / "far"
    # As many threads as for those here, since others round otherwise.
    asked = ["edit", folder.as_uri(), "-o", out.as_uri(), "--au", "AU12=3", "--workers", "2"]
    assert cli.main(asked) == 2
    said = capsys.readouterr()
    assert "c.png" in said.err and f"1 of 3 photos failed; {out.as_uri()}/report.json names them" in said.err
    assert f"{out.as_uri()}/a.png  age" in said.out
    edited(folder)
    for name in ("a.png", "b.png"):
        near, far = (np.array(Image.open(place / name)) for place in (folder.parent / "out", out))
        assert np.array_equal(near, far)
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "report.json"]
    (folder / "c.png").unlink()
    capsys.readouterr()
    assert cli.main(asked) == 0 and "2 of 2 photos are there already" in capsys.readouterr().err
    assert cli.main([*asked, "--strength", "0.5"]) == 2
    assert "holds edits of another request" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("file:///nowhere/at/all", 2, "file:///nowhere/at/all holds no photos; give a folder with"),
        (
            "nosuch://bucket/photos",
            2,
            "nosuch://bucket/photos cannot be reached (Protocol not known: nosuch)",
        ),
        ("gdrive://photos", 3, "gdrive://photos cannot be reached: "),
    ],
)
def test_a_url_that_leads_nowhere_is_one_sentence(folder, capsys, url, code, sentence):
    assert cli.main(["edit", url, "-o", str(folder.parent / "out"), "--age", "70"]) == code
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not (folder.parent / "out").exists()


def test_a_full_disk_is_one_sentence_a_photo_and_the_next_run_goes_on(folder, capsys):
    (folder / "c.png").unlink()
    out = folder.parent / "out"
    with files_no_larger_than(9_000):
        assert edited(folder) == 2
    said = capsys.readouterr()
    full = "cannot be written (File too large); choose another place"
    failed = {name: f"{out / name} {full}" for name in ("a.png", "b.png")}
    lines = [*failed.values(), f"2 of 2 photos failed; {out}/report.json names them"]
    assert said.err.splitlines() == [f"ganime-age: {line}" for line in lines]
    assert [path.name for path in out.iterdir()] == ["report.json"] and said.out == ""
    assert json.loads((out / "report.json").read_text())["failed"] == failed
    assert edited(folder) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "report.json"]


def test_a_disk_that_is_full_before_or_at_the_end_is_one_sentence_and_leaves_no_half_file(
    folder, capsys, monkeypatch
):
    (folder / "c.png").unlink()
    out = folder.parent / "out"
    with files_no_larger_than(100):
        assert edited(folder) == 2
    sentence = f"ganime-age: {out} cannot be written (File too large); choose another place\n"
    assert capsys.readouterr().err == sentence and not out.exists()
    finish = Report.finish

    def full(report, photos, below):
        with files_no_larger_than(100):
            finish(report, photos, below)

    monkeypatch.setattr(Report, "finish", full)
    assert edited(folder) == 2
    assert capsys.readouterr().err == sentence
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "report.json"]
    json.loads((out / "report.json").read_text())


def test_a_full_disk_is_no_bug_wherever_it_is_met(folder, service, capsys, monkeypatch):
    """Copies of what lies behind a URL are kept in the system's folder for such files."""
    (folder / "c.png").unlink()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "copies")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    url = folder.as_uri().replace("file://", "service://")
    asked = ["edit", url, "-o", str(folder.parent / "out"), "--au", "AU12=3", "--workers", "2"]
    assert cli.main(asked) == 2
    said = capsys.readouterr().err
    assert "a.png: nothing can be written to copies (No space left on device); make room" in said
    assert "a bug stopped" not in said and "2 of 2 photos failed" in said


class Refused(Exception):
    """What a transfer library raises: of no base that anybody else knows."""


class Service(LocalFileSystem):
    """A file system of this machine behind a URL of its own, whose `broken` operations are refused."""

    protocol = "service"
    broken: ClassVar[dict[str, Exception]] = {}

    def ls(self, path, **how):
        self.meet("ls")
        return super().ls(path, **how)

    def get_file(self, path, target, **how):
        self.meet("get_file", path)
        super().get_file(path, target, **how)

    def put_file(self, source, path, **how):
        if "put_file" in self.broken:
            Path(path).write_bytes(b"half of i")
        self.meet("put_file", path)
        super().put_file(source, path, **how)

    def meet(self, operation, path=""):
        if operation in self.broken and not path.endswith(("b.png", "report.json")):
            raise self.broken[operation]


@pytest.fixture
def service(monkeypatch):
    fsspec.register_implementation("service", Service, clobber=True)
    monkeypatch.setattr(Service, "broken", {})
    return Service


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Refused("[Errno -2] Name or service not known\nand more"), "[Errno -2] Name or service not known"),
        (Refused(), "Refused"),
    ],
)
def test_whatever_a_transfer_library_raises_is_one_sentence(folder, service, capsys, error, cause):
    service.broken["ls"] = error
    url = folder.as_uri().replace("file://", "service://")
    assert cli.main(["edit", url, "-o", str(folder.parent / "out"), "--age", "70"]) == 2
    wanted = f"{url} cannot be reached ({cause}); check its name, the connection and your rights to it"
    assert capsys.readouterr().err == f"ganime-age: {wanted}\n"


@pytest.mark.parametrize("operation", ["get_file", "put_file"])
def test_a_photo_that_is_not_transferred_fails_alone_and_leaves_no_half_file(
    folder, service, capsys, operation
):
    (folder / "c.png").unlink()
    out = folder.parent / "far"
    service.broken[operation] = Refused("the line is cut")
    urls = [place.as_uri().replace("file://", "service://") for place in (folder, out)]
    assert cli.main(["edit", urls[0], "-o", urls[1], "--au", "AU12=3", "--workers", "2"]) == 2
    said = capsys.readouterr().err
    where = urls[0] if operation == "get_file" else urls[1]
    assert f"a.png: {where} cannot be reached (the line is cut)" in said and "1 of 2 photos failed" in said
    assert sorted(path.name for path in out.iterdir()) == ["b.png", "report.json"]


def test_a_folder_with_other_work_is_refused_in_one_sentence(folder, capsys):
    out = folder.parent / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert edited(folder) == 2
    assert "holds other work; give an empty folder, or add --overwrite" in capsys.readouterr().err
    (out / "thesis.txt").unlink()
    (out / "report.json").write_text(json.dumps({"asked": {"age": 5}}))
    assert edited(folder) == 2
    assert "holds edits of another request" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["report.json"]


def test_a_request_that_cannot_be_is_one_sentence(folder, portrait_file, capsys):
    assert edited(folder, "--workers", "0") == 2
    assert "0 workers edit nothing; give 1 or more" in capsys.readouterr().err
    one = ["edit", str(portrait_file), "-o", str(Path(portrait_file).parent / "o.png"), "--age", "70"]
    assert cli.main([*one, "--workers", "2"]) == 2
    assert "--workers shares a folder among processes; portrait.png is one file" in capsys.readouterr().err


def test_a_worker_that_cannot_begin_is_given_up():
    found = dict(answers([1], partial(os._exit, 3), 1))
    assert found == {0: Died(3)}


def test_what_is_wrong_for_all_photos_is_said_once_and_before_any_process(folder, capsys):
    assert edited(folder, "--au-from", str(folder.parent / "missing.jpg")) == 2
    assert capsys.readouterr().err.count("missing.jpg") == 1
    assert not (folder.parent / "out").exists()
