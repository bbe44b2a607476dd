"""Photos in tar and parquet shards: edited as files are, each to a name that tells its shard and its key."""

import gzip
import io
import json
import sys
import tarfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganime_age.cli import main as cli
from ganime_age.cli.folders import Here
from ganime_age.cli.photos import Reader, find, source_at
from ganime_age.errors import BadInput


def packed(photo, format="PNG"):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, format)
    return file.getvalue()


def tar(path, members):
    """members: (name, content) pairs; a content that is no bytes is where a link leads."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
    return path


def parquet(path, columns, rows_per_group=2):
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    return path


def structs(contents, paths):
    """A column as Hugging Face's datasets writes pictures."""
    rows = [{"bytes": content, "path": path} for content, path in zip(contents, paths, strict=True)]
    return pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def read(source):
    """Every photo's name and content, in the order in which they are found."""
    reader, found = Reader(source), {}
    for photo in find(source).photos:
        with reader.read(photo) as file:
            found[photo.name] = file.read_bytes() if photo.place is None else file.read()
    return found


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def edit(tmp_path, editor, monkeypatch):
    """The command, in this process with the tests' own editor: arguments -> exit code."""

    def here(tasks, setup, count):
        work = setup()
        return ((number, work(task)) for number, task in enumerate(tasks))

    monkeypatch.setattr(cli, "_editor", lambda args: editor)
    monkeypatch.setattr(cli, "answers", here)
    return lambda source, *more: cli.main(
        ["edit", str(source), "-o", str(tmp_path / "out"), "--au", "AU12=3", *more]
    )


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


# What shards hold.


def test_a_webdataset_shard_gives_its_pictures_by_their_keys_and_nothing_else(place):
    shard = tar(
        place / "photos-000.tar",
        [
            ("0001.json", b"{}"),
            ("0001.jpg", b"one"),
            ("0001.cls", b"7"),
            ("./deep/0002.PNG", b"two"),
            ("._0001.jpg", b"left by a Mac"),
            ("/home/me/0003.webp", b"three"),
            ("0004." + 120 * "x" + ".jpg", b"a name that the plain header has no room for"),
        ],
    )
    assert read(source_at(str(shard))) == {
        "photos-000/0001.jpg": b"one",
        "photos-000/deep/0002.PNG": b"two",
        "photos-000/home/me/0003.webp": b"three",
        "photos-000/0004." + 120 * "x" + ".jpg": b"a name that the plain header has no room for",
    }


CONTENTS = [b"one", b"two", b"three", b"four", b"five"]
NAMES = ["a.jpg", "b.jpg", None, "d.jpg", "e.jpg"]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"image": structs(CONTENTS, NAMES)}, ["a.jpg", "b.jpg", "2", "d.jpg", "e.jpg"]),
        ({"face": structs(CONTENTS, NAMES), "label": range(5)}, ["a.jpg", "b.jpg", "2", "d.jpg", "e.jpg"]),
        ({"image": structs(CONTENTS, NAMES), "id": [7, 8, 9, 10, 11]}, ["7", "8", "9", "10", "11"]),
        ({"jpg": CONTENTS, "__key__": list("abcde")}, [f"{key}.jpg" for key in "abcde"]),
        (
            {"bytes": pa.array(CONTENTS, pa.large_binary()), "path": NAMES},
            "a.jpg b.jpg 2 d.jpg e.jpg".split(),
        ),
        ({"png": CONTENTS, "mask": CONTENTS}, [f"{row}.png" for row in range(5)]),
    ],
    ids=["datasets", "another name", "numbers", "key", "path", "rows"],
)
def test_a_parquet_file_gives_a_picture_a_row_called_as_its_columns_say(place, columns, names):
    columns = {
        name: list(column) if isinstance(column, range) else column for name, column in columns.items()
    }
    found = read(source_at(str(parquet(place / "train.parquet", columns))))
    assert found == {f"train/{name}": content for name, content in zip(names, CONTENTS, strict=True)}


def test_rows_are_read_in_any_order_and_a_row_group_once_in_its_own(place, monkeypatch):
    contents = [bytes([number]) * 10 for number in range(30)]
    source = source_at(str(parquet(place / "p.parquet", {"image": contents}, rows_per_group=20)))
    photos, opened = find(source).photos, Counter()
    plain = Here.open
    monkeypatch.setattr(Here, "open", lambda *given: opened.update(["it"]) or plain(*given))
    reader = Reader(source)

    def content(number):
        with reader.read(photos[number]) as file:
            return file.read()

    assert [content(number) for number in range(0, 30, 3)] == contents[::3] and opened["it"] == 2
    for number in (29, 3, 3, 0, 25, 4):
        assert content(number) == contents[number]


def test_only_the_photos_of_one_row_group_are_in_memory_at_a_time(place):
    megabyte, rng = 1 << 20, np.random.default_rng(0)
    contents = [rng.bytes(megabyte) for _ in range(64)]
    source = source_at(str(parquet(place / "p.parquet", {"image": contents}, rows_per_group=8)))
    photos, reader, before = find(source).photos, Reader(source), pa.total_allocated_bytes()
    for photo, content in zip(photos, contents, strict=True):
        with reader.read(photo) as file:
            assert file.read() == content
        assert pa.total_allocated_bytes() - before < 32 * megabyte


# Edits of them.


def test_shards_beside_photos_are_edited_as_those_are_by_one_process_and_by_workers(
    place, tmp_path, portrait, edit, capsys
):
    photo = packed(portrait)
    (place / "a.png").write_bytes(photo)
    tar(place / "one.tar", [("k1.png", photo), ("k1.json", b"{}"), ("k2.png", b"no photo")])
    parquet(place / "two.parquet", {"image": structs([photo, photo], ["r1.png", None])})
    (place / "metadata.parquet").write_bytes(
        parquet(tmp_path / "m.parquet", {"file_name": ["a.png"], "age": [30]}).read_bytes()
    )
    out, wanted = tmp_path / "out", ["a.png", "one/k1.png", "two/1.png", "two/r1.png"]
    assert edit(place) == 2
    said = capsys.readouterr()
    assert tree(out) == wanted
    assert "one/k2.png: k2.png is not a readable image" in said.err and "1 of 5 photos failed" in said.err
    assert "metadata.parquet holds no column of pictures" in said.err and "it is left out" in said.err
    pictures = [np.array(Image.open(out / name)) for name in wanted]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert not np.array_equal(pictures[0], portrait)
    assert edit(place, "--workers", "2", "--overwrite") == 2
    assert "1 of 5 photos failed" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert list(report["failed"]) == ["one/k2.png"] and report["photos"] == 5
    assert tree(out) == sorted([*wanted, "report.json"])


def test_a_run_over_shards_goes_on_where_it_was_stopped(place, tmp_path, portrait, edit, capsys):
    photo, out = packed(portrait), tmp_path / "out"
    shard = tar(place / "one.tar", [(f"{key}/photo.png", photo) for key in "ab"])
    assert edit(shard, "--workers", "2") == 0
    kept = (out / "one" / "a" / "photo.png").stat().st_mtime_ns
    (out / "one" / "b" / "photo.png").unlink()
    (out / "one" / "b" / ".photo.png.0f.part").write_bytes(b"what a killed process leaves")
    assert edit(shard, "--workers", "2") == 0
    assert "1 of 2 photos are there already" in capsys.readouterr().err
    assert (out / "one" / "a" / "photo.png").stat().st_mtime_ns == kept
    assert tree(out) == ["one/a/photo.png", "one/b/photo.png", "report.json"]


def test_shards_behind_urls_are_edited_as_those_here_are(place, tmp_path, portrait, edit, capsys):
    """By file://, the URL that needs no service; s3:// and hf:// take the same way."""
    photo, out = packed(portrait), tmp_path / "out"
    tar(place / "one.tar", [("k.png", photo), ("l.png", b"no photo")])
    parquet(place / "two.parquet", {"image": [photo], "key": ["r.png"]})
    far = tmp_path / "far"
    assert edit(place.as_uri(), "-o", far.as_uri(), "--workers", "2") == 2
    assert "one/l.png: l.png is not a readable image" in capsys.readouterr().err
    assert tree(far) == ["one/k.png", "report.json", "two/r.png"]
    assert edit(f"{place.as_uri()}/two.parquet", "--workers", "2") == 0
    assert tree(out) == ["report.json", "two/r.png"]
    for name in ("one/k.png", "two/r.png"):
        assert np.array_equal(np.array(Image.open(far / name)), np.array(Image.open(out / "two" / "r.png")))
    assert edit(place.as_uri(), "-o", far.as_uri(), "--workers", "2") == 2
    assert "2 of 3 photos are there already" in capsys.readouterr().err


def test_names_that_lead_out_of_the_output_folder_are_refused_and_the_rest_is_edited(
    place, tmp_path, portrait, edit, capsys
):
    photo = packed(portrait)
    members = [
        "../up.png",
        "a/../../../up.png",
        "x\\..\\..\\up.png",
        "a\nb.png",
        201 * "n" + ".png",
        "good.png",
    ]
    shard = tar(place / "one.tar", [(name, photo) for name in members])
    rows = {"image": [photo, photo], "path": ["../../up.png", "/good.png"]}
    parquet(place / "two.parquet", rows)
    assert edit(place, "--workers", "2") == 2
    assert tree(tmp_path) == [
        "in/one.tar",
        "in/two.parquet",
        "out/one/good.png",
        "out/report.json",
        "out/two/good.png",
    ]
    said = capsys.readouterr().err
    assert "'../up.png' in one.tar is no name for a file in the output folder; give" in said
    assert "6 of 8 photos failed" in said
    failed = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert list(failed) == [f"one.tar/{name}" for name in members[:-1]] + ["two.parquet/../../up.png"]
    assert shard.is_file()


def test_two_photos_of_one_name_are_told_and_the_first_is_edited(place, tmp_path, portrait, edit, capsys):
    photo = packed(portrait)
    tar(place / "one.tar", [("k.png", photo), ("k.png", b"another"), ("k.png", b"a third")])
    parquet(place / "one.parquet", {"image": [photo, photo], "id": ["other", "k"]})
    assert edit(place, "--workers", "2") == 2
    said, out = capsys.readouterr().err, tmp_path / "out"
    assert tree(out) == ["one/k.png", "one/other.png", "report.json"]
    assert "one/k.png would be written from one.parquet and one.tar; the first is edited" in said
    assert said.count("would be written") == 3 and "3 of 5 photos failed" in said
    assert len(json.loads((out / "report.json").read_text())["failed"]) == 3


def test_a_damaged_shard_gives_what_comes_before_the_damage_and_goes_on_when_it_is_whole(
    place, tmp_path, portrait, edit, capsys
):
    photo, out = packed(portrait), tmp_path / "out"
    whole = tar(place / "one.tar", [("a.png", photo), ("b.png", photo)]).read_bytes()
    (place / "one.tar").write_bytes(whole[: 512 + len(photo) + 2048])
    (place / "z.png").write_bytes(photo)
    assert edit(place, "--workers", "2") == 2
    said = capsys.readouterr().err
    assert "one.tar is damaged or cut off (unexpected end of data); make or copy it again" in said
    assert "'b.png' in one.tar is cut off" in said and "2 of 4 photos failed" in said
    assert tree(out) == ["one/a.png", "report.json", "z.png"]
    kept = (out / "one" / "a.png").stat().st_mtime_ns
    (place / "one.tar").write_bytes(whole)
    assert edit(place, "--workers", "2") == 0
    assert tree(out) == ["one/a.png", "one/b.png", "report.json", "z.png"]
    assert (out / "one" / "a.png").stat().st_mtime_ns == kept


def test_damage_between_two_members_is_never_taken_for_the_end(place):
    shard = tar(place / "one.tar", [("a.png", b"one"), ("b.png", b"two"), ("c.png", b"three")])
    content = bytearray(shard.read_bytes())
    content[1024 + 100] ^= 0xFF
    shard.write_bytes(content)
    found = find(source_at(str(shard)))
    assert [photo.name for photo in found.photos] == ["one/a.png"]
    assert "one.tar is damaged or cut off (a header is damaged)" in str(found.failed["one.tar"])


def test_rows_that_are_damaged_fail_alone(place):
    contents = [np.random.default_rng(number).bytes(5000) for number in range(4)]
    path = parquet(place / "p.parquet", {"image": [*contents[:3], None]})
    found, content = find(source_at(str(path))).photos, bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).dictionary_page_offset
    content[start : start + 400] = bytes(400)
    path.write_bytes(content)
    reader = Reader(source_at(str(path)))
    for photo, said in ((found[0], "p.parquet"), (found[1], "p.parquet"), (found[3], "holds no bytes")):
        with pytest.raises(BadInput, match=said) as raised, reader.read(photo):
            pass
        assert "\n" not in str(raised.value)
    with reader.read(found[2]) as file:
        assert file.read() == contents[2]


def empty_tar(place):
    return tar(place / "x.tar", [("a.json", b"{}")])


def written(name, content):
    def write(place):
        (place / name).write_bytes(content)
        return place / name

    return write


def cut_parquet(place):
    path = parquet(place / "x.parquet", {"image": CONTENTS})
    path.write_bytes(path.read_bytes()[:-9])
    return path


def empty_parquet(place):
    return parquet(place / "x.parquet", {"image": pa.array([], pa.binary())})


def two_columns(place):
    return parquet(place / "x.parquet", {"left": structs([b"1"], ["a"]), "right": structs([b"1"], ["a"])})


NOT_A_TAR = 600 * b"no tar file "


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (empty_tar, "x.tar holds no photos; give a shard with .jpg, "),
        (
            lambda place: tar(place / "x.tar", [("a.png", "b.png")]),
            "'a.png' in x.tar is a link or has holes; pack",
        ),
        (written("x.tar", b""), "x.tar is damaged or cut off (empty file)"),
        (written("x.tar", NOT_A_TAR), "x.tar is damaged or cut off ("),
        (written("x.tar", gzip.compress(NOT_A_TAR)), "x.tar is compressed; unpack it to a plain .tar file"),
        (written("x.tar.gz", gzip.compress(NOT_A_TAR)), "x.tar.gz is compressed; unpack it"),
        (written("x.parquet", NOT_A_TAR), "x.parquet is damaged or cut off ("),
        (written("x.parquet", b""), "x.parquet is damaged or cut off ("),
        (cut_parquet, "x.parquet is damaged or cut off ("),
        (empty_parquet, "x.parquet holds no photos; give a shard with"),
        (
            lambda place: parquet(place / "x.parquet", {"age": [1]}),
            "x.parquet holds no column of pictures; give its bytes one named image, jpg, ",
        ),
        (two_columns, "x.parquet holds no column of pictures; give its bytes one named image, jpg, "),
        (lambda place: place / "x.tar", "x.tar does not exist; check the path"),
    ],
)
@pytest.mark.parametrize("far", [False, True], ids=["here", "url"])
def test_a_shard_of_which_nothing_can_be_edited_is_one_sentence(
    place, tmp_path, edit, capsys, make, sentence, far
):
    path = make(place)
    assert edit(path.as_uri() if far else path) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_without_pyarrow_parquet_files_fail_in_one_sentence_and_the_rest_is_edited(
    place, tmp_path, portrait, edit, capsys, monkeypatch
):
    path = parquet(place / "x.parquet", {"image": CONTENTS})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert edit(path) == 3
    said = capsys.readouterr().err
    assert "x.parquet is read by pyarrow, which is not installed; pip install 'ganime_age[parquet]'" in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists()
    (place / "a.png").write_bytes(packed(portrait))
    assert edit(place) == 3 and "1 of 2 photos failed" in capsys.readouterr().err
    assert tree(tmp_path / "out") == ["a.png"]


def test_shards_that_are_all_of_no_use_are_one_sentence(place, edit, capsys):
    empty_tar(place)
    empty_parquet(place)
    assert edit(place) == 2
    said = capsys.readouterr().err
    assert f"x.parquet holds no photos; give a shard with {cli.SUFFIXES[0]}" in said and said.count("\n") == 1
    assert f"; 1 more of {place} cannot be used either" in said


def test_a_shard_gives_a_folder_and_no_file(place, tmp_path, edit, capsys):
    shard = tar(place / "one.tar", [("a.png", b"")])
    assert edit(shard, "-o", str(tmp_path / "out.png")) == 2
    assert "one.tar is a shard but" in capsys.readouterr().err
    assert edit(shard) == 2
    assert "one/a.png: a.png is an empty file; give a photo" in capsys.readouterr().err


def test_a_folder_that_is_called_like_a_shard_is_a_folder(tmp_path):
    folder = tmp_path / "photos.parquet"
    folder.mkdir()
    tar(folder / "part.tar", [("a.png", b"one")])
    assert read(source_at(str(folder))) == {"part/a.png": b"one"}


def test_files_in_a_folder_that_hold_no_photos_are_left_out_and_are_no_failure(
    place, tmp_path, portrait, edit, capsys
):
    (place / "a.png").write_bytes(packed(portrait))
    empty_tar(place)
    (place / "code.tgz").write_bytes(gzip.compress(NOT_A_TAR))
    assert edit(place) == 0 and tree(tmp_path / "out") == ["a.png"]
    said = capsys.readouterr().err
    assert "x.tar holds no photos" in said and "code.tgz is compressed" in said and "failed" not in said
