"""A face folder may be large, half broken, read-only or asked for by several processes: what then is relied on."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.learning.data import picture_cache
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.picture_cache import fingerprint
from ganime_age.learning.engine import atomic_files as files
from helpers.files import files_no_larger_than, write_shard

ROOT = Path(__file__).resolve().parents[1]
SIZE = 16


def grey(value: int, side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (value,) * 3).save(out, "png")
    return out.getvalue()


def write_manifest(folder: Path, names: list[str], **columns) -> None:
    table = pd.DataFrame({"id": names, "file": names, "split": "train", **columns})
    table.to_parquet(folder / "manifest.parquet")


@pytest.fixture
def folder(tmp_path):
    """Eight faces in two shards and two plain files; face i is grey of value 10 i."""
    write_shard(tmp_path / "a.tar", {f"{i}.png": grey(10 * i) for i in range(4)})
    write_shard(tmp_path / "b.tar", {f"{i}.png": grey(10 * i) for i in range(4, 8)})
    for i in (8, 9):
        (tmp_path / f"{i}.png").write_bytes(grey(10 * i))
    names = [f"{'a' if i < 4 else 'b'}.tar/{i}.png" if i < 8 else f"{i}.png" for i in range(10)]
    write_manifest(tmp_path, names[::-1])
    return tmp_path


def values(faces: Faces) -> list[int]:
    """The grey value of every face that is there."""
    return faces.pictures[faces.rows, 0, 0, 0].tolist()


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_pictures_come_in_the_order_of_the_manifest(folder):
    assert values(Faces(folder, SIZE)) == [10 * i for i in range(9, -1, -1)]
    assert not left_over(folder)


def test_a_manifest_that_names_other_files_is_noticed(folder):
    Faces(folder, SIZE)
    table = pd.read_parquet(folder / "manifest.parquet")
    table.iloc[::-1].to_parquet(folder / "manifest.parquet")
    assert values(Faces(folder, SIZE)) == [10 * i for i in range(10)]


def test_a_cache_that_fits_is_kept_and_one_of_an_earlier_version_is_believed_after_a_look(folder):
    Faces(folder, SIZE)
    cache = folder / f"cache-{SIZE}.npy"
    made = cache.stat().st_ino
    (folder / f"cache-{SIZE}.json").unlink()
    Faces(folder, SIZE)
    assert cache.stat().st_ino == made
    (folder / f"cache-{SIZE}.json").unlink()
    np.save(cache, np.full((10, 4, SIZE, SIZE), 77, np.uint8))
    assert values(Faces(folder, SIZE)) == [10 * i for i in range(9, -1, -1)]


def test_pictures_that_cannot_be_read_are_named_and_left_out(folder, capsys):
    (folder / "9.png").write_bytes(b"no picture")
    (folder / "8.png").unlink()
    whole = (folder / "b.tar").read_bytes()
    (folder / "b.tar").write_bytes(
        whole[: 512 * 5]
    )  # two members of two blocks each, then half a header's worth
    faces = Faces(folder, SIZE)
    told = capsys.readouterr().err
    assert values(faces) == [50, 40, 30, 20, 10, 0] and len(faces) == 6
    assert "4 of 10 pictures cannot be read" in told
    for name in (
        "9.png is not a readable picture",
        "8.png cannot be read",
        "b.tar/6.png cannot be read",
        "cut off",
    ):
        assert name in told
    assert values(Faces(folder, SIZE)) == values(faces)


def test_a_folder_of_nothing_readable_is_one_sentence(folder):
    write_manifest(folder, ["x.png", "y.png"])
    with pytest.raises(BadInput, match=r"none of the 2 pictures of .* can be read; .*x\.png cannot be read"):
        Faces(folder, SIZE)
    assert not left_over(folder) and not (folder / f"cache-{SIZE}.npy").exists()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, monkeypatch):
    with files_no_larger_than(4096), pytest.raises(BadInput, match="cannot be written to .*make room"):
        Faces(folder, SIZE)
    assert not left_over(folder) and not (folder / f"cache-{SIZE}.npy").exists()
    monkeypatch.setattr(picture_cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(BadInput, match="needs 0.0 GB"):
        Faces(folder, SIZE)
    monkeypatch.undo()
    assert len(Faces(folder, SIZE)) == 10


def test_a_read_only_folder_keeps_its_cache_elsewhere(folder, tmp_path_factory, monkeypatch, capsys):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    before = sorted(folder.iterdir())
    can = files.is_writable
    monkeypatch.setattr(picture_cache, "is_writable", lambda place: place != folder and can(place))
    assert values(Faces(folder, SIZE)) == [10 * i for i in range(9, -1, -1)]
    assert f"cannot be written; its decoded faces go to {home}" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
    monkeypatch.setattr(picture_cache, "decode", None)
    assert len(Faces(folder, SIZE)) == 10  # found again, not decoded again
    monkeypatch.setattr(picture_cache, "is_writable", lambda place: False)
    with pytest.raises(BadInput, match="neither .* can be written; set XDG_CACHE_HOME"):
        Faces(folder, SIZE + 1)


def test_lists_of_a_csv_manifest_are_read(folder):
    text = "id,file,split,age,action_units\n"
    text += f'one,9.png,train,30,"{[0.5] * 17}"\ntwo,8.png,train,,\nodd,8.png,train,5,"1 2 3"\n'
    (folder / "manifest.parquet").unlink()
    (folder / "manifest.csv").write_text(text)
    batch = Faces(folder, SIZE).batch(np.arange(3))
    assert batch["action_units"][0].tolist() == [0.5] * 17 and batch["action_units"][1:].isnan().all()
    assert batch["age"][0] == 30 and batch["age"][1].isnan()


def test_labels_of_a_split_are_those_of_its_rows(folder):
    units = np.random.default_rng(0).uniform(0, 5, (10, 17)).astype(np.float32)
    lists = [None if i == 3 else row for i, row in enumerate(units)]
    table = pd.read_parquet(folder / "manifest.parquet").assign(action_units=lists, age=np.arange(10.0))
    table["split"] = ["val" if i % 2 else "train" for i in range(10)]
    table.to_parquet(folder / "manifest.parquet", row_group_size=3)
    labels = Faces(folder, SIZE, ("val",)).labels
    assert labels["age"].tolist() == [1, 3, 5, 7, 9]
    assert np.isnan(labels["action_units"][1]).all()
    assert (labels["action_units"][[0, 2, 3, 4]] == units[[1, 5, 7, 9]]).all()
    assert np.isnan(labels["landmarks"]).all() and labels["landmarks"].shape == (5, 68, 2)


def test_a_broken_manifest_is_named(folder):
    (folder / "manifest.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(BadInput, match=r"manifest\.parquet cannot be read"):
        Faces(folder, SIZE)


def python(code: str, *arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


STOPPING = """
import time
from ganime_age.learning.data import picture_cache
real, done = picture_cache.decode, []
def decode(*args):
    done.append(args)
    if len(done) == 80:
        print("halfway", flush=True)
        time.sleep(600)
    return real(*args)
picture_cache.decode = decode
"""


def test_a_killed_decoding_starts_again_and_two_at_once_do_not_meet(tmp_path):
    code = "import sys; from ganime_age.learning.data.faces import Faces; "
    code += "f = Faces(sys.argv[1], 128); print(len(f), int(f.pictures[:, 0].astype(int).sum()))"
    count = 160
    noise = [np.random.default_rng(i).integers(0, 256, (256, 256, 3), np.uint8) for i in range(8)]
    contents = []
    for pixels in noise:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "png", compress_level=1)
        contents.append(out.getvalue())
    write_shard(tmp_path / "a.tar", {f"{i}.png": contents[i % 8] for i in range(count)})
    write_manifest(tmp_path, [f"a.tar/{i}.png" for i in range(count)])
    killed = python(STOPPING + code, tmp_path)
    assert killed.stdout.readline() == "halfway\n", killed.communicate()
    killed.kill()
    killed.communicate()
    assert left_over(tmp_path) and not (tmp_path / "cache-128.npy").exists()
    both = [python(code, tmp_path) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0] and told[0][0].startswith(f"{count} ")
    assert sum("decoding" in err for _, err in told) == 1 and not left_over(tmp_path)


def synthetic(folder: Path, count: int) -> Path:
    """A folder of `count` faces as after decoding: every label, and a cache of black pictures."""
    folder.mkdir()
    names = pd.Series([f"faces-{i // 8192:02d}.tar/utkface-{i:07d}.webp" for i in range(count)])
    rng = np.random.default_rng(0)
    lists = {}
    for name, width in (("action_units", 17), ("landmarks", 136), ("teacher_identity", 128)):
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
        lists[name] = pa.ListArray.from_arrays(offsets, pa.array(rng.random(count * width, np.float32)))
    short = {
        "id": names.str[-20:], "file": names, "split": ["train"] * count, "source": ["utkface"] * count,
        "age": rng.uniform(0, 90, count), "identity": [f"person {i % 5000}" for i in range(count)],
    }  # fmt: skip
    pq.write_table(pa.table(short | lists), folder / "manifest.parquet", row_group_size=4096)
    np.lib.format.open_memmap(folder / "cache-8.npy", "w+", np.uint8, (count, 4, 8, 8)).flush()
    note = {"fingerprint": fingerprint(folder, names), "unreadable": {}}
    (folder / "cache-8.json").write_text(json.dumps(note))
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_seventy_thousand_faces_need_no_more_memory_than_a_thousand(tmp_path):
    code = """
import sys
from ganime_age.learning.data.faces import Faces, balanced_weights, draw
faces = Faces(sys.argv[1], 8)
weights = balanced_weights(faces.labels["age"])
for step in range(40):
    faces.batch(*draw(step, 0, 64, weights))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(len(faces), status["VmHWM"].split()[0])
"""
    peak = {}
    for count in (1000, 70_000):
        out, err = python(code, synthetic(tmp_path / str(count), count)).communicate()
        assert out, err
        loaded, peak[count] = map(int, out.split())
        assert loaded == count
    assert peak[70_000] - peak[1000] < 96 * 1024, peak  # kB; read whole it is 300 MB
