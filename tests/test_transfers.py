"""Transfers behind URLs that fail for a moment are tried again; what lasts is told, and at once."""

import io
import json
import tarfile
from collections import Counter
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile
from PIL import Image

from ganime_age.cli import folders
from ganime_age.cli import main as cli
from ganime_age.cli.photos import Reader, find, source_at
from ganime_age.errors import BadInput


class Strange(Exception):
    """What a transfer library raises that is no OSError, such as botocore's ClientError."""


class Flaky(LocalFileSystem):
    """A disk that fails as `faults` says, by the name of a file: the last exception comes first, None for none."""

    protocol = ("flaky",)
    faults = {}
    asked = Counter()

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(path.removeprefix("flaky://"))

    @classmethod
    def fail(cls, path):
        name = path.rsplit("/", 1)[-1]
        cls.asked[name] += 1
        if cls.faults.get(name) and (fault := cls.faults[name].pop()):
            raise fault

    def get_file(self, path, *given, **options):
        self.fail(path)
        return super().get_file(path, *given, **options)

    def put_file(self, local, path, *given, **options):
        self.fail(path)
        return super().put_file(local, path, *given, **options)

    def _open(self, path, *given, **options):
        self.fail(path)
        return super()._open(path, *given, **options)


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, in their order; none really are."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(Flaky, "faults", {})
    monkeypatch.setattr(Flaky, "asked", Counter())
    waited = []
    monkeypatch.setattr(folders, "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def edit(tmp_path, portrait, editor, monkeypatch):
    """Edits a folder of a photo and of a shard with another behind flaky://, to `out` there; the exit code."""
    place = tmp_path / "in"
    place.mkdir()
    Image.fromarray(portrait).save(place / "a.png")
    content = (place / "a.png").read_bytes()
    with tarfile.open(place / "one.tar", "w") as archive:
        member = tarfile.TarInfo("k.png")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    def here(tasks, setup, count):
        work = setup()
        return ((number, work(task)) for number, task in enumerate(tasks))

    monkeypatch.setattr(cli, "_editor", lambda args: editor)
    monkeypatch.setattr(cli, "answers", here)
    asked = ["edit", f"flaky://{place}", "-o", f"flaky://{tmp_path}/out", "--au", "AU12=3"]
    return lambda: cli.main(asked)


def edits(tmp_path):
    return sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))


def test_a_transfer_that_fails_twice_is_done_in_a_third_try_after_growing_pauses(waits, edit, tmp_path):
    Flaky.faults = {
        "a.png": [Strange("slow down"), TimeoutError()],
        "one.tar": [OSError("reset by peer"), None, Strange(), OSError("gone")],
    }
    assert edit() == 0
    assert edits(tmp_path) == ["a.png", "one/k.png"]
    first, second = folders.WAITS
    assert 0 < first < second < 10 and Counter(waits)[first] == 3 and Counter(waits)[second] == 2


def test_a_third_failure_is_told_of_that_photo_and_the_next_run_goes_on(waits, edit, tmp_path, capsys):
    Flaky.faults = {"a.png": [Strange("slow down") for _ in range(3)]}
    assert edit() == 2
    said = capsys.readouterr().err
    assert "a.png: flaky://" in said and "(slow down)" in said and "1 of 2 photos failed" in said
    assert list(json.loads((tmp_path / "out" / "report.json").read_text())["failed"]) == ["a.png"]
    assert edits(tmp_path) == ["one/k.png"] and len(waits) == 2
    assert edit() == 0 and edits(tmp_path) == ["a.png", "one/k.png"]


@pytest.mark.parametrize("error", [FileNotFoundError("a.png"), PermissionError("not yours")])
def test_what_another_try_does_not_mend_is_tried_once(waits, edit, tmp_path, capsys, error):
    Flaky.faults = {"a.png": [error]}
    assert edit() == 2 and waits == [] and Flaky.asked["a.png"] == 1
    assert str(error) in capsys.readouterr().err and edits(tmp_path) == ["one/k.png"]


class Ranged(Flaky):
    """Files that are fetched by ranges, as those of s3:// and hf:// are; `fetched` counts their bytes."""

    protocol = ("ranged",)
    fetched = Counter()

    @classmethod
    def _strip_protocol(cls, path):
        return LocalFileSystem._strip_protocol(path.removeprefix("ranged://"))

    def _open(self, path, mode="rb", block_size=None, autocommit=True, **options):
        return Range(self, path, mode, block_size or "default", autocommit, **options)


class Range(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        self.fs.fetched[self.path.rsplit("/", 1)[-1]] += end - start
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(end - start)


def test_of_a_tar_file_behind_a_url_each_photo_is_fetched_alone(tmp_path, monkeypatch):
    fsspec.register_implementation("ranged", Ranged, clobber=True)
    monkeypatch.setattr(Ranged, "fetched", Counter())
    contents = [bytes([65 + number]) * 100_000 for number in range(5)]
    with tarfile.open(tmp_path / "one.tar", "w") as archive:
        for number, content in enumerate(contents):
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    source = source_at(f"ranged://{tmp_path}/one.tar")
    photos = find(source).photos
    Ranged.fetched.clear()
    with Reader(source).read(photos[3]) as file:
        assert file.read() == contents[3] and Ranged.fetched["one.tar"] == len(contents[3])


class Cut:
    """Files on a connection that breaks: what is put there stays in part, and its first removal fails."""

    def __init__(self):
        self.held, self.removals = set(), 0

    def invalidate_cache(self):
        pass

    def ls(self, path, detail):
        return []

    def exists(self, path):
        return path in self.held

    def makedirs(self, path, exist_ok):
        pass

    def put_file(self, local, path):
        self.held.add(path)
        raise ConnectionError("the line is down")

    def rm_file(self, path):
        self.removals += 1
        if self.removals == 1:
            raise ConnectionError("the line is down")
        self.held.discard(path)


def test_a_part_that_could_not_be_removed_goes_with_a_later_try(waits, monkeypatch):
    files = Cut()
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (files, "out"))
    with pytest.raises(BadInput, match="the line is down"), folders.There("cut://out").write("a.png") as copy:
        copy.write_bytes(b"an edit")
    assert files.removals == 3 and not files.held
