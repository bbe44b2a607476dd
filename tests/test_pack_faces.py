"""A face folder travels as parts: any of them trains, all labels and the share that is real survive."""

import errno
import json
import runpy
import shutil
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning.data import packed_faces
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.joined_faces import JoinedFaces
from ganime_age.learning.data.packed_faces import Settings, check_parts, join_parts, pack, parts_of
from ganime_age.learning.engine.recipe import Tables
from helpers.training import ROOT

SPLITS = ("train", "val", "test")
SMALL = Settings(48, 80)
MB = 0.11
"""A part's size that spreads the 24 faces over several parts."""


@pytest.fixture
def parts(face_shards, tmp_path):
    return pack(face_shards, tmp_path / "parts", MB, SMALL)


@pytest.fixture
def script(monkeypatch, capfd):
    """pack_faces.py in this process -> its exit status and the last line it said."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pack_faces.py", *map(str, arguments)])
        status = 0
        try:
            runpy.run_path(str(ROOT / "training" / "pack_faces.py"), run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        read = capfd.readouterr()
        return status, (read.out or read.err).strip().splitlines()[-1]

    return run


def by_id(faces) -> dict[str, int]:
    return {name: row for row, name in enumerate(faces.table["id"])}


def test_every_label_and_every_picture_survives(face_shards, parts, tmp_path):
    assert len(parts) > 1
    before = Faces(face_shards, 32, SPLITS)
    after = Faces(join_parts(parts, tmp_path / "joined")[0], 32, SPLITS)
    rows, own = by_id(before), by_id(after)
    assert rows.keys() == own.keys()
    order = [own[name] for name in rows]
    for name, values in before.labels.items():
        if name != "person":  # persons are numbered in the order of the rows
            np.testing.assert_array_equal(values, after.labels[name][order], err_msg=name)
    for name in before.table.columns.drop("file"):
        pd.testing.assert_series_equal(
            before.table[name], after.table[name].iloc[order].reset_index(drop=True), check_dtype=False
        )
    one, two = before.batch(np.arange(24)), after.batch(np.array(order))
    assert (one["face"] - two["face"]).abs().mean() < 0.12  # of 2: WebP, on noise
    assert (one["valid"] - two["valid"]).abs().mean() < 0.02
    assert two["valid"].min() < 0.1


def test_a_part_is_a_face_folder_and_no_larger_than_asked(parts):
    for part in parts:
        assert sum(file.stat().st_size for file in part.iterdir()) <= MB * 1e6
        assert len(Faces(part, 32, SPLITS)) == json.loads((part / "pack.json").read_text())["faces"]
    some = JoinedFaces([Faces(part, 32, SPLITS) for part in parts[:2]])
    assert len(some) == sum(len(Faces(part, 32, SPLITS)) for part in parts[:2])


def test_parts_are_fair_samples(face_shards, tmp_path):
    """Faces come in no order that the folder had: a part is no single source."""
    part = pack(face_shards, tmp_path / "parts", MB, SMALL)[0]
    assert set(Faces(part, 32, SPLITS).table["source"]) == {"utkface", "ffhq"}


def test_only_some_splits_travel(face_shards, tmp_path):
    parts = pack(face_shards, tmp_path / "parts", 5, Settings(48, 80, ("train", "val")))
    assert len(parts) == 1 and set(pd.read_parquet(parts[0] / "manifest.parquet")["split"]) == {
        "train",
        "val",
    }
    with pytest.raises(BadInput, match="no face in the split dev"):
        pack(face_shards, tmp_path / "none", 5, Settings(48, 80, ("dev",)))


def test_pictures_are_shrunk_but_never_enlarged(face_shards, tmp_path):
    def side(settings, name):
        with tarfile.open(pack(face_shards, tmp_path / name, 5, settings)[0] / "faces-000.tar") as shard:
            return Image.open(shard.extractfile(shard.next())).size

    assert side(SMALL, "small") == (48, 48)
    assert side(Settings(256, 80), "large") == (64, 64)


def test_a_folder_of_parts_stands_for_them_all(parts, face_shards):
    assert parts_of([parts[0].parent]) == parts
    assert parts_of([parts[1], face_shards]) == [parts[1], face_shards]


def test_joining_leaves_other_folders_as_they_are(parts, face_shards, tmp_path):
    joined, other = join_parts([*parts, face_shards], tmp_path / "joined")
    assert other == face_shards and len(Faces(joined, 32, SPLITS)) == 24


def test_a_subset_of_the_parts_joins_too(parts, tmp_path):
    joined = join_parts(parts[1:], tmp_path / "joined")[0]
    assert 0 < len(Faces(joined, 32, SPLITS)) < 24


def test_parts_of_other_settings_are_refused(parts, face_shards, tmp_path):
    other = pack(face_shards, tmp_path / "other", 5, Settings(40, 80))
    with pytest.raises(BadInput, match="was packed with side 48, .* with 40"):
        check_parts([*parts, *other])


def test_a_part_that_misses_its_shard_is_named(parts):
    (parts[1] / "faces-001.tar").unlink()
    with pytest.raises(BadInput, match="001 lacks its shard faces-001.tar; copy the part again"):
        check_parts(parts)


def test_a_part_cut_short_is_named(parts):
    shard = parts[0] / "faces-000.tar"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"faces-000.tar has \d+ bytes of \d+"):
        check_parts(parts)


def test_a_damaged_note_is_named(parts):
    (parts[0] / "pack.json").write_text("{")
    with pytest.raises(BadInput, match="pack.json is damaged"):
        check_parts(parts)


def test_a_part_given_twice_is_named(parts, tmp_path):
    shutil.copytree(parts[0], tmp_path / "again")
    with pytest.raises(BadInput, match="are the same part"):
        check_parts([*parts, tmp_path / "again"])


def test_a_folder_with_other_work_is_left_alone(face_shards, tmp_path, script):
    (tmp_path / "work.txt").write_text("mine")
    status, said = script(face_shards, "--out", tmp_path)
    assert status == 2 and said == f"error: {tmp_path} holds other work; choose a new folder for the parts"
    assert [file.name for file in tmp_path.iterdir()] == ["work.txt"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(face_shards, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packed_faces, "write_manifest", full)
    with pytest.raises(BadInput, match="cannot be written to .*: No space left on device; make room"):
        pack(face_shards, tmp_path / "parts", MB, SMALL)
    assert not list(tmp_path.iterdir())


def test_a_size_that_holds_no_face_is_refused(face_shards, tmp_path):
    with pytest.raises(BadInput, match="hold no face; give --max-mb at least 0.0"):
        pack(face_shards, tmp_path / "parts", 0.01, SMALL)


def test_a_folder_whose_shard_is_missing_is_named(face_shards, tmp_path):
    shutil.copy(face_shards / "manifest.parquet", tmp_path)
    with pytest.raises(BadInput, match="faces-00.tar/face0.webp cannot be read"):
        pack(tmp_path, tmp_path / "parts", MB, SMALL)


def test_a_table_of_texts_is_packed_too(face_shards, tmp_path):
    table = pd.read_parquet(face_shards / "manifest.parquet")
    for name in ("action_units", "landmarks", "teacher_identity"):
        table[name] = [" ".join(map(repr, row.tolist())) for row in table[name]]
    table.to_csv(tmp_path / "manifest.csv", index=False)
    (tmp_path / "faces-00.tar").symlink_to(face_shards / "faces-00.tar")
    packed = Faces(pack(tmp_path, tmp_path / "parts", 5, SMALL)[0], 32, SPLITS)
    before = Faces(face_shards, 32, SPLITS)
    order = [by_id(packed)[name] for name in by_id(before)]
    np.testing.assert_allclose(packed.labels["landmarks"][order], before.labels["landmarks"], rtol=1e-6)


def test_the_script_tells_what_it_wrote(face_shards, tmp_path, script):
    status, said = script(
        face_shards, "--out", tmp_path / "p", "--max-mb", 5, "--side", 48, "--only", "train"
    )
    assert status == 0 and said.startswith("1 parts, 0.") and said.endswith(f"-> {tmp_path / 'p'}")
    assert set(Faces(tmp_path / "p" / "000", 32).table["split"]) == {"train"}


def test_training_takes_parts_and_refuses_a_mixture(parts, face_shards, tmp_path):
    train = runpy.run_path(str(ROOT / "training" / "train.py"))["shown"]
    assert len(train([parts[0].parent], Tables("readers", 32))) == 16
    other = pack(face_shards, tmp_path / "other", 5, Settings(48, 60))
    with pytest.raises(BadInput, match="was packed with quality 80"):
        train([*parts, *other], Tables("readers", 32))
