"""Raw photos become a face folder: every kind of set, whatever is wrong with some of its files, and after a stop."""

import copyreg
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganime_age.edits import AU_CODES
from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.external.mediapipe_face import BlendshapeReader
from ganime_age.learning.prepare import prepare as preparing
from ganime_age.learning.prepare.celeba_aus import read_aus_pickle
from ganime_age.learning.prepare.face_sources import (
    FaceSource,
    Known,
    LeftOut,
    age_of_group,
    kind_of,
    open_source,
)
from ganime_age.learning.prepare.prepare import Settings, prepare, split_of
from ganime_age.learning.prepare.pseudo_labels import CutFace, FaceReader, Measured
from ganime_age.learning.prepare.shard_list import link_shard_list
from ganime_age.model.model import GanimeAge
from helpers.files import files_no_larger_than, write_shard

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "training" / "prepare_faces.py"
LANDMARKER = ROOT.parent / "shared" / "models" / "face_landmarker.task"
ALL_TRAIN = ("--split", "1/0/0")
UNITS = np.linspace(0, 5, 17).astype(np.float32)


@pytest.fixture
def script(model, monkeypatch):
    """prepare_faces.py within this process: (arguments) -> what it printed is in capsys; BadInput comes through."""
    spec = importlib.util.spec_from_file_location("prepare_faces", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(GanimeAge, "from_pretrained", lambda *_: model)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare_faces.py", *map(str, arguments)])
        module.main()

    return run


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def save(path: Path, pixels: np.ndarray, shade: int = 0) -> None:
    """A photo of its own bytes: a little darker by `shade`."""
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels - np.minimum(pixels, shade)).save(path)


def manifest_of(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "manifest.parquet").set_index("source_name")


def loaded(out: Path) -> dict:
    faces = Faces(out, 32)
    return faces.batch(np.arange(len(faces)))


def test_utkface_names_give_ages_and_what_cannot_be_used_is_counted(
    script, raw, tmp_path, portrait, faceless, capsys
):
    save(raw / "25_1_0_20170109.jpg.chip.jpg", portrait[50:190, 95:230])  # cut by its border
    save(raw / "40_0_2_20170110.jpg", portrait)
    save(raw / "31_1_0_20180109.jpg", faceless)
    save(raw / "39_1_20170116174525125.jpg", portrait, 2)
    (raw / "30_1_0_20170109.jpg").write_bytes((raw / "40_0_2_20170110.jpg").read_bytes()[:3000])
    script(raw, tmp_path / "out", *ALL_TRAIN)
    table, report = (
        manifest_of(tmp_path / "out"),
        json.loads((tmp_path / "out" / "prepared.json").read_text()),
    )
    assert dict(table["age"]) == {"25_1_0_20170109.jpg.chip.jpg": 25, "40_0_2_20170110.jpg": 40}
    assert list(table["gender"]) == ["f", "m"] and list(table["age_group"]) == ["20-29", "40-49"]
    assert table["valid"].iloc[0] < 0.9 and table["valid"].iloc[1] == 1
    assert report["photos"] == 5 and report["faces"] == 2
    assert report["left_out"] == {"bad name": 1, "unreadable": 1, "no face": 1}
    told = capsys.readouterr().out
    assert "31_1_0_20180109.jpg: no face" in told and "30_1_0_20170109.jpg: unreadable" in told
    batch = loaded(tmp_path / "out")
    assert batch["valid"][0].min() == 0 and batch["valid"][1].min() == 1
    assert batch["landmarks"].min() > -0.2 and batch["landmarks"].max() < 1.2
    assert 0.3 < batch["landmarks"][1, 36:48, 1].mean() < 0.6  # eyes of the frame
    seen = [AU_CODES.index(code) for code in ("AU06", "AU09")]
    assert batch["action_units"].isnan()[:, seen].all() and batch["action_units"].isnan().sum() == 4
    assert set(table["au_source"]) == {"reader"} and not any((tmp_path / "out").glob(".preparing"))


@pytest.mark.slow
def test_cacd_names_are_people_and_train_takes_the_folder(raw, tmp_path, portrait):
    for i, name in enumerate(("40_Jane_Roe_0001", "52_Jane_Roe_0002", "33_Al_Ox_0001", "34_Al_Ox_0003")):
        save(raw / f"{name}.jpg", portrait, i)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(raw), str(tmp_path / "out"), *ALL_TRAIN]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "4 faces of 4 photos" in done.stdout and "preparing cacd" in done.stderr
    assert dict(manifest_of(tmp_path / "out")["identity"])["52_Jane_Roe_0002.jpg"] == "Jane_Roe"
    assert loaded(tmp_path / "out")["person"].unique().numel() == 2
    tiny = ("size=32", "recipe.batch=2", "recipe.network.size=32", "recipe.network.widths=[8,8,8,16]",
            "recipe.network.blocks=[1,1,1]")  # fmt: skip
    train = [sys.executable, str(ROOT / "training" / "train.py"), "--dry-run", "--out", str(tmp_path / "run")]
    train += [
        "--faces",
        str(tmp_path / "out"),
        "--recipe",
        str(ROOT / "training" / "recipes" / "readers.toml"),
    ]
    train += [part for change in tiny for part in ("--set", change)]
    done = subprocess.run(train, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_ffhq_groups_become_ages_and_unsure_labels_are_left_out(script, raw, tmp_path, portrait):
    for i in range(4):
        save(raw / "00000" / f"{i:05d}.png", portrait, i)
    (raw / "ffhq_aging_labels.csv").write_text(
        "image_number,age_group,age_group_confidence,gender,gender_confidence,head_pitch,head_roll,head_yaw\n"
        "0,20-29,0.9,male,1,0,0,0\n1,70-120,0.8,female,0.7,0,0,0\n2,3-6,0.4,male,1,0,0,0\n"
    )
    script(raw, tmp_path / "out", *ALL_TRAIN, "--files", "--format", "png", "--size", "256", "--aligned")
    table, report = (
        manifest_of(tmp_path / "out"),
        json.loads((tmp_path / "out" / "prepared.json").read_text()),
    )
    assert list(table["age"]) == [25, 75] and set(table["age_source"]) == {"group"}
    assert list(table["gender"]) == ["m", "f"]
    assert report["left_out"] == {"unsure label": 1, "no label": 1}
    taken = np.asarray(Image.open(tmp_path / "out" / table["file"].iloc[0]))
    whole = np.asarray(Image.fromarray(portrait).resize((256, 256), Image.Resampling.BOX))
    assert taken.shape == (256, 256, 3) and np.abs(taken.astype(int) - whole).mean() < 6  # taken whole
    script(raw, tmp_path / "all", *ALL_TRAIN, "--label-confidence", "0")
    assert list(manifest_of(tmp_path / "all")["age"]) == [25, 75, 5]


PRUNED = {
    "sure of all": ("None,10,10,0,0,0.7", None),
    "unsure gender": ("None,10,10,0,0,0.65", "unsure label"),
    "turned": ("Normal,10,10,0,-41,0.9", "turned head"),
    "nods": ("None,10,10,30,0,0.9", "turned head"),
    "one eye": ("None,89,49,0,0,0.9", None),
    "one eye too far": ("None,5,90,0,0,0.9", "hidden eyes"),
    "both eyes": ("None,55,60,0,0,0.9", "hidden eyes"),
    "dark": ("Dark,10,10,0,0,0.9", "dark glasses"),
    "nothing found": ("-1,-1,-1,-1,-1,0.9", None),
    "empty pose": ("None,10,10,,,0.9", None),
    "empty cells": (",,,,,0.9", None),
    "an empty eye": ("None,,95,0,0,0.9", "hidden eyes"),
    "another empty eye": ("None,95,,0,0,0.9", "hidden eyes"),
    "empty confidence": ("None,10,10,0,0,", "unsure label"),
}


@pytest.mark.parametrize("kind", PRUNED)
def test_ffhq_is_pruned_as_its_authors_do(tmp_path, portrait, kind):
    said, why = PRUNED[kind]
    (tmp_path / "parsings").mkdir()
    for place in (tmp_path, tmp_path / "parsings"):  # a map is no photo
        save(place / "00000.png", portrait[:8, :8], 0)
    (tmp_path / "labels.csv").write_text(
        "image_number,age_group,age_group_confidence,gender,glasses,left_eye_occluded,right_eye_occluded,"
        f"head_pitch,head_yaw,gender_confidence\n0,20-29,0.9,male,{said}\n"
    )
    source = open_source(tmp_path)
    assert source.files == ["00000.png"]
    if why is None:
        assert source.known("00000.png").gender == "m"
    else:
        with pytest.raises(LeftOut) as left:
            source.known("00000.png")
        assert left.value.kind == why
    assert open_source(tmp_path, least=0).known("00000.png").age == 25


def test_an_empty_confidence_is_left_out_unless_every_face_is_kept(tmp_path, portrait):
    save(tmp_path / "00000.png", portrait[:8, :8], 0)
    (tmp_path / "labels.csv").write_text("image_number,age_group,age_group_confidence\n0,20-29,\n")
    with pytest.raises(LeftOut, match="the confidence of its age group is below 0.6"):
        open_source(tmp_path).known("00000.png")
    assert open_source(tmp_path, least=0).known("00000.png").age == 25


@pytest.mark.slow
def test_workers_make_the_same_faces_and_go_on_where_one_process_stopped(
    script, raw, tmp_path, portrait, faceless, monkeypatch
):
    monkeypatch.setattr(preparing, "PART_PHOTOS", 3)
    for i in range(5):
        save(raw / f"{20 + i}_{i % 2}_0_2017{i}.jpg", faceless if i == 3 else portrait, i)
    (raw / "30_0_0_20179.jpg").write_bytes(b"no photo")
    (raw / "300_0_0_20179.jpg").write_bytes(b"no age")
    script(raw, tmp_path / "one", "--size", "512")
    stopped, real = [], FaceReader.measure

    def measure(reader, faces):
        if len(stopped) == 1:
            raise KeyboardInterrupt
        stopped.append(len(faces))
        return real(reader, faces)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FaceReader, "measure", measure)
        script(raw, tmp_path / "two", "--size", "512")
    assert (tmp_path / "two" / ".preparing" / "faces-00000.json").is_file()
    script(raw, tmp_path / "two", "--size", "512", "--workers", "2")
    pd.testing.assert_frame_equal(manifest_of(tmp_path / "one"), manifest_of(tmp_path / "two"))
    report, other = (json.loads((tmp_path / n / "prepared.json").read_text()) for n in ("one", "two"))
    assert report == other and sum(report["left_out"].values()) == 3 and report["faces"] == 4
    for shard in sorted((tmp_path / "one").glob("*.tar")):
        with tarfile.open(shard) as one, tarfile.open(tmp_path / "two" / shard.name) as two:
            for member in one.getmembers():
                assert one.extractfile(member).read() == two.extractfile(member.name).read()
    first = manifest_of(tmp_path / "one")["file"].iloc[0]
    with tarfile.open(tmp_path / "one" / first.split("/")[0]) as shard:
        assert Image.open(shard.extractfile(first.split("/")[1])).size == (512, 512)
    with pytest.raises(BadInput, match="--workers is 0; it must be at least 1"):
        script(raw, tmp_path / "three", "--workers", "0")


def test_celeba_takes_people_and_ganimations_action_units(script, raw, tmp_path, portrait):
    for i in (1, 2):
        save(raw / f"00000{i}.jpg", portrait, i)
    (raw / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 17\n")
    (tmp_path / "aus.pkl").write_bytes(pickle.dumps({"000001": UNITS}))
    script(raw, tmp_path / "out", "--aus", tmp_path / "aus.pkl", *ALL_TRAIN, "--read-ages")
    table = manifest_of(tmp_path / "out")
    assert list(table["identity"]) == ["2880", "17"] and list(table["au_source"]) == ["aus.pkl", "reader"]
    assert np.allclose(table["action_units"].iloc[0], UNITS)
    assert set(table["age_source"]) == {"reader"} and table["age"].between(15, 70).all()


def test_openface_tables_are_read_a_photo_each_or_all_in_one(script, raw, tmp_path, portrait):
    header = "frame, face_id, confidence, success, " + ", ".join(f"{code}_r" for code in AU_CODES)
    numbers = ", ".join(f"{value:.4f}" for value in UNITS)
    for i, (sure, success) in enumerate(((0.98, 1), (0.98, 0), (0.3, 1))):
        save(raw / f"p{i}.jpg", portrait, i)
        (raw / f"p{i}.csv").write_text(f"{header}\n1, 0, {sure}, {success}, {numbers}\n")
    script(raw, tmp_path / "out", *ALL_TRAIN)
    table = manifest_of(tmp_path / "out")
    assert list(table["au_source"]) == ["openface", "reader", "reader"]
    assert np.allclose(table["action_units"].iloc[0], UNITS, atol=1e-3)
    one = tmp_path / "openface.csv"
    one.write_text("file,confidence,AU12_r\np0.jpg,0.9,2.5\np2,0.9,3.5\n")
    known = open_source(raw, "openface", units=one).known
    assert (
        known("p0.jpg").action_units[AU_CODES.index("AU12")] == 2.5 and known("p1.jpg").action_units is None
    )
    assert known("p2.jpg").action_units[AU_CODES.index("AU12")] == 3.5


def test_a_plain_table_gives_what_it_has(script, raw, tmp_path, two_faces):
    save(raw / "a b.png", two_faces)
    labels = tmp_path / "faces.csv"
    labels.write_text(
        "file,age_group,identity,split,AU12,yaw,pitch,roll,source\na b.png,30-39,me,val,4,1,2,3,mine\n"
    )
    script(raw, tmp_path / "out", "--labels", labels)
    row = manifest_of(tmp_path / "out").iloc[0]
    assert (row["age"], row["identity"], row["split"], row["source"]) == (35, "me", "val", "mine")
    assert (row["yaw"], row["pitch"], row["roll"], row["au_source"]) == (1, 2, 3, "csv")
    assert row["action_units"][AU_CODES.index("AU12")] == 4 and np.isnan(row["action_units"]).sum() == 16
    assert row["valid"] == 1  # the larger of the two faces: the smaller is cut by the right border
    labels.write_text("file,age\na b.png,130\n")
    with pytest.raises(BadInput, match="outside 0..100"):
        script(raw, tmp_path / "other", "--labels", labels)


def test_labelled_shards_are_linked(script, raw, tmp_path, portrait):
    out = io.BytesIO()
    Image.fromarray(portrait).save(out, "webp")
    write_shard(raw / "s-00.tar", {f"{i}.webp": out.getvalue() for i in "ab"})
    label = {
        "shard": "s-00.tar",
        "source": "s",
        "split": "train",
        "age": 30.0,
        "identity": None,
        "gender": "f",
    }
    label |= {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "source_name": "x.jpg"}
    pd.DataFrame([label | {"id": i, "cluster": i} for i in "ab"]).to_parquet(raw / "labels.parquet")
    names = BlendshapeReader.names
    (raw / "blendshape_names.json").write_text(json.dumps(names))
    numbers = {"landmarks68": np.full((2, 68, 2), 0.5, np.float16), "blendshapes": np.zeros((2, len(names)))}
    np.savez(raw / "arrays.npz", id=np.array(["a", "b"]), teacher_identity=np.ones((2, 128)), **numbers)
    script(raw, tmp_path / "out")
    assert (tmp_path / "out" / "s-00.tar").is_symlink()
    assert loaded(tmp_path / "out")["age"].tolist() == [30, 30]


def webdataset(raw, shards, portrait, each=2):
    """Shards faces-000.tar and so on, with samples of a picture and, for all but the last, its labels."""
    out = io.BytesIO()
    Image.fromarray(portrait).resize((32, 32)).save(out, "png")
    said = {"age": 30, "identity": "p", "split": "train", "landmarks": [[0.5, 0.5]] * 68, "more": "unknown"}
    for number in range(shards):
        files = {}
        for i in range(each):
            files |= {f"a/{i}.png": out.getvalue()} | (
                {f"a/{i}.json": json.dumps(said).encode()} if i < each - 1 else {}
            )
        write_shard(raw / f"faces-{number:03d}.tar", files)
    return raw / f"faces-{{000..{shards - 1:03d}}}.tar"


def test_a_list_of_shards_is_linked_and_trains(script, raw, tmp_path, portrait):
    ranged = webdataset(raw, 3, portrait)
    (raw / "list.txt").write_text("# all but the last\nfaces-{000..001}.tar\n\n")
    script(ranged, tmp_path / "all", *ALL_TRAIN)
    script(raw / "list.txt", tmp_path / "two", *ALL_TRAIN)
    assert (tmp_path / "all" / "faces-002.tar").is_symlink()
    ages = loaded(tmp_path / "all")["age"]
    assert ages[:2].tolist() == [30, pytest.approx(float("nan"), nan_ok=True)] and len(ages) == 6
    table = pd.read_parquet(tmp_path / "two" / "manifest.parquet")
    assert table["id"].tolist() == [f"faces-00{n}/a/{i}" for n in range(2) for i in range(2)]
    assert table["age_group"].fillna("").tolist() == ["30-39", ""] * 2
    assert table["identity"].fillna("").tolist() == ["p", ""] * 2


def test_memory_does_not_grow_with_the_shards(raw, tmp_path, portrait):
    peaks = []
    webdataset(raw, 12, portrait, each=60)
    for last in (1, 11):
        tracemalloc.start()
        assert link_shard_list(raw / f"faces-{{000..{last:03d}}}.tar", tmp_path / str(last)) == 60 * (
            last + 1
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000, peaks


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("faces-{000..002}.tar", "faces-002.tar is missing"),
        ("faces-{001..000}.tar", "runs backwards; write {000..001}"),
        ("none.txt", "names no shards"),
        ("twice.txt", "names two shards faces-000.tar"),
        ("labels.tar", r"a.json is not JSON"),
        ("odd.tar", "landmarks of odd.tar/a.png holds 2 numbers, not 136"),
        ("words.tar", "the labels of words.tar/a.png cannot be read"),
        ("empty.tar", "holds no pictures"),
        ("broken.tar", "broken.tar cannot be read"),
    ],
)
def test_a_list_of_shards_that_cannot_be_used_is_one_sentence(raw, tmp_path, portrait, name, words):
    webdataset(raw, 2, portrait)
    (raw / "none.txt").write_text("# nothing\n")
    (raw / "twice.txt").write_text("faces-000.tar\n./faces-000.tar\n")
    for file, label in (("labels", b"{"), ("odd", b'{"landmarks": [1, 2]}'), ("words", b'{"age": "old"}')):
        write_shard(raw / f"{file}.tar", {"a.png": b"", "a.json": label})
    write_shard(raw / "empty.tar", {"a.txt": b""})
    (raw / "broken.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(BadInput, match=words) as error:
        link_shard_list(raw / name, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out" / "manifest.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere", "out"), "nowhere is not a folder"),
        (("RAW", "out", "--kind", "shards"), "labels.parquet is missing"),
        (("RAW", "out"), "cannot be told from its files; name it with --kind"),
        (("RAW", "out", "--kind", "ffhq"), "is not FFHQ-Aging's CSV of labels; name it with --labels"),
        (("RAW", "RAW/out", "--kind", "openface"), "lies in the folder of the photos"),
        (("RAW", "out", "--kind", "openface", "--split", "1/2"), "three shares that add up to 1"),
        (("RAW", "out", "--kind", "openface", "--split", "a"), "cannot read --split a"),
        (("RAW", "out", "--kind", "openface", "--min-confidence", "7"), "not within 0..1"),
        (("RAW", "out", "--kind", "openface", "--face-landmarker", "RAW/x.jpg"), "face_landmarker|MediaPipe"),
        (
            ("RAW", "out", "--kind", "openface"),
            "none of the 1 photos gave a face .no face 1.; the first, x.jpg",
        ),
    ],
)
def test_what_cannot_be_prepared_is_one_sentence(
    script, raw, tmp_path, faceless, monkeypatch, arguments, words
):
    save(raw / "x.jpg", faceless)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((BadInput, MissingModel), match=words):
        script(*[part.replace("RAW", "raw") for part in arguments])
    assert not (tmp_path / "out" / "manifest.parquet").exists()


class Cutter:
    """Stands where a FaceReader stands: every photo is a face, at once."""

    teacher = None

    def __init__(self, stop_at: int = -1):
        self.cuts, self.stop_at = 0, stop_at

    def cut(self, photo: np.ndarray) -> CutFace:
        if self.cuts == self.stop_at:
            raise KeyboardInterrupt
        self.cuts += 1
        return CutFace(photo[:32, :32], np.full((68, 2), 0.5, np.float32), 1.0, 1.0, 64.0)

    def measure(self, faces):
        return [Measured(float(face.picture[0, 0, 0]), (0.0, 0.0, 0.0), UNITS) for face in faces]


def unlabelled(raw: Path, count: int) -> FaceSource:
    for i in range(count):
        save(raw / f"{i:04d}.png", np.full((64, 64, 3), 200, np.uint8), i % 200)
    return FaceSource("openface", raw, sorted(path.name for path in raw.iterdir()), lambda file: Known())


def test_a_stopped_run_goes_on_where_it_was_and_has_no_manifest_before(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "PART_PHOTOS", 4)
    source, out, settings = unlabelled(raw, 11), tmp_path / "out", Settings()
    with pytest.raises(KeyboardInterrupt):
        prepare(source, Cutter(stop_at=6), out, settings, {"size": 32})
    assert [path.name for path in out.iterdir()] == [".preparing"]
    assert not (out / ".preparing" / "faces-00001.tar").exists()
    with pytest.raises(BadInput, match="unfinished preparation of other photos or settings"):
        prepare(source, Cutter(), out, settings, {"size": 64})
    rest = Cutter()
    report = prepare(source, rest, out, settings, {"size": 32})
    assert rest.cuts == 11 - 4 and report["faces"] == 11
    prepare(source, Cutter(), tmp_path / "once", settings, {"size": 32})
    pd.testing.assert_frame_equal(manifest_of(out), manifest_of(tmp_path / "once"))
    assert sorted(path.name for path in out.iterdir()) == sorted(
        path.name for path in (tmp_path / "once").iterdir()
    )
    assert len(Faces(out, 16, preparing.SPLITS)) == 11
    with pytest.raises(BadInput, match="exists; give a new folder"):
        prepare(source, Cutter(), out, settings, {"size": 32})


def test_a_full_disk_leaves_no_manifest_and_the_rest_can_go_on(raw, tmp_path):
    source, out = unlabelled(raw, 40), tmp_path / "out"
    with (
        files_no_larger_than(20_000),
        pytest.raises(BadInput, match="cannot be written: .*run the same command again"),
    ):
        prepare(source, Cutter(), out, Settings(), {})
    assert not (out / "manifest.parquet").exists() and not list(out.rglob("*.tar"))
    assert prepare(source, Cutter(), out, Settings(), {})["faces"] == 40


def test_memory_does_not_grow_with_the_photos(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "PART_PHOTOS", 50)
    peaks, source = [], unlabelled(raw, 600)
    for count in (100, 600):
        part = FaceSource(source.kind, source.folder, source.files[:count], source.known)
        tracemalloc.start()
        prepare(part, Cutter(), tmp_path / str(count), Settings(), {})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 200_000, peaks


def test_no_person_is_in_two_splits_and_the_shares_hold(raw, tmp_path):
    settings = Settings((0.6, 0.2, 0.2), seed=3)
    splits = pd.Series([split_of(f"person {i}", settings) for i in range(4000)])
    shares = splits.value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.6, abs=0.03) and shares["val"] == pytest.approx(0.2, abs=0.03)
    source = unlabelled(raw, 60)
    people = FaceSource("cacd", raw, source.files, lambda file: Known(identity=f"p{int(file[:4]) % 12}"))
    prepare(people, Cutter(), tmp_path / "out", settings, {})
    table = manifest_of(tmp_path / "out")
    assert (table.groupby("identity")["split"].nunique() == 1).all() and table["split"].nunique() == 3
    (raw / "copy.png").write_bytes((raw / "0007.png").read_bytes())
    twice = FaceSource("openface", raw, ["0007.png", "copy.png"], source.known)
    prepare(twice, Cutter(), tmp_path / "twice", settings, {})
    assert manifest_of(tmp_path / "twice")["split"].nunique() == 1


def test_kinds_are_told_by_their_files(raw, portrait):
    assert age_of_group("70-120") == age_of_group("70+") == 75 and age_of_group("0-2") == 1.5
    assert age_of_group("15-20 or so") == 17.5 and age_of_group(None) is None
    (raw / "1_0_0_1.jpg").touch()
    assert kind_of(raw) == "utkface"
    (raw / "identity_CelebA.txt").touch()
    assert kind_of(raw) == "celeba"
    (raw / "labels.csv").write_text("image_number, age_group\n")
    assert kind_of(raw) == "ffhq"


def test_mediapipe_gives_the_action_units_when_it_is_asked(model, portrait, tmp_path, monkeypatch):
    pytest.importorskip("mediapipe", reason="MediaPipe is not installed")
    (tmp_path / "junk.task").write_bytes(b"junk")
    with pytest.raises(BadInput, match="junk.task is not a face_landmarker.task"):
        BlendshapeReader(tmp_path / "junk.task")
    if not LANDMARKER.is_file():
        pytest.skip("../shared/models/face_landmarker.task is not there")
    with BlendshapeReader(LANDMARKER) as teacher:
        units = FaceReader(model, teacher=teacher).cut(portrait).action_units
        assert teacher(np.full((320, 320, 3), 128, np.uint8)) is None
    assert units[AU_CODES.index("AU12")] > 3 and units[AU_CODES.index("AU45")] < 2  # the astronaut smiles
    assert np.isnan(units[[AU_CODES.index("AU06"), AU_CODES.index("AU09")]]).all()


def test_without_mediapipe_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingModel, match=r"ganime_age\[evaluate\]"):
        BlendshapeReader("face_landmarker.task")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [UNITS, UNITS.astype(">f8"), UNITS.tolist(), tuple(np.float64(v) for v in UNITS)]
)
def test_action_units_are_read_from_any_protocol(tmp_path, protocol, value):
    (tmp_path / "aus.pkl").write_bytes(pickle.dumps({"000001": value, "b": value}, protocol))
    read = read_aus_pickle(tmp_path / "aus.pkl")
    assert list(read) == ["000001", "b"] and np.allclose(read["000001"], UNITS)


def test_both_spellings_of_numpy_are_known(tmp_path):
    content = pickle.dumps({"a": UNITS}, 2)
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    assert new in content or old in content
    for spelling in (new, old):
        (tmp_path / "aus.pkl").write_bytes(content.replace(new, old).replace(old, spelling))
        assert np.allclose(read_aus_pickle(tmp_path / "aus.pkl")["a"], UNITS)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Odd:
    pass


HOSTILE = {
    "os.system": lambda mark: pickle.dumps({"a": Calls(os.system, f"touch {mark}")}),
    "builtins.eval": lambda mark: pickle.dumps({"a": Calls(eval, f"open({str(mark)!r}, 'w')")}),
    "copyreg._reconstructor": lambda mark: pickle.dumps({"a": Odd()}, 0),
    "copyreg.__newobj__": lambda mark: b"ccopyreg\n__newobj__\n(cos\nPathLike\ntR.",
    "a dotted name": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "numpy.load": lambda mark: b"cnumpy\nload\n(S'x.npy'\ntR.",
    "an extension": lambda mark: b"\x80\x02\x82\xf0(X\x04\x00\x00\x00truetR.",
    "a persistent id": lambda mark: b"Pos.system\n.",
    "objects in an array": lambda mark: pickle.dumps({"a": np.array([Odd()] * 17, object)}),
    "a function's defaults": lambda mark: b"cnumpy.core.multiarray\nscalar\n(N}S'__defaults__'\n(K\x01tstb.",
    "a class's attribute": lambda mark: b"cnumpy\nndarray\n(N}S'values'\nK\x01stb.",
    "a set": lambda mark: pickle.dumps({"a": {1, 2}}, 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path, monkeypatch, name):
    mark = tmp_path / "ran"
    content = HOSTILE[name](mark)
    copyreg.add_extension("os", "system", 0xF0)
    monkeypatch.setattr(os, "system", lambda *_: mark.touch())
    try:
        (tmp_path / "aus.pkl").write_bytes(content)
        with pytest.raises(
            BadInput, match=r"aus\.pkl was not read: it asks for .*only dicts, strings, numbers"
        ):
            read_aus_pickle(tmp_path / "aus.pkl")
    finally:
        copyreg.remove_extension("os", "system", 0xF0)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable pickle"),
        (pickle.dumps({"a": UNITS})[:-40], "not a readable pickle"),
        (pickle.dumps([1, 2]), "must hold a dict"),
        (pickle.dumps({"a": [1.0] * 16}), "'a' does not have 17"),
        (pickle.dumps({"a": [float("nan")] * 17}), "'a' does not have 17 finite"),
        (pickle.dumps({"a": "text"}), "'a' does not have 17"),
        (pickle.dumps({(1, 2): UNITS}), "is not a picture's name"),
    ],
)
def test_a_pickle_of_something_else_is_one_sentence(tmp_path, content, words):
    (tmp_path / "aus.pkl").write_bytes(content)
    with pytest.raises(BadInput, match=words):
        read_aus_pickle(tmp_path / "aus.pkl")
