"""A multi-pose set: who is turned where, what may enter it, and what a stop, a full disk or bad faces leave of it."""

import importlib.util
import json
import sys
import tarfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.card import multipose as card_multipose
from ganime_age.card.results import Results
from ganime_age.edits import AGE_GROUPS, age_group
from ganime_age.errors import BadInput, MissingModel
from ganime_age.images.alignment import crop, frame_matrix
from ganime_age.images.detectors import EmbeddedDetector
from ganime_age.images.tensors import to_tensor
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.picture_store import encoded
from ganime_age.learning.evaluation.measure_multipose import measure
from ganime_age.learning.multipose import dataset as multipose
from ganime_age.learning.multipose import gates as multipose_gates
from ganime_age.learning.multipose import mesh_backend as multipose_mesh
from ganime_age.learning.multipose.gates import PoseCurve, PoseCurves
from ganime_age.learning.multipose.plan import Request, SourceRules, Wanted, held_out, people, plan, usable
from ganime_age.learning.multipose.refill import refill
from ganime_age.learning.multipose.sources import SourcePictures
from helpers.files import write_shard
from helpers.training import side_by_side

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "training" / "augment_multipose.py"
YAWS, PITCHES = (-30.0, 30.0), (0.0, 10.0)
SMALL = ("--yaw", -30, 30, "--pitch", 0, 10, "--count", 20, "--set", "part=4", "--set", "sources.most=4")
ANY_POSE = ("--set", "gates.pose=90")


def many_faces(folder: Path, count: int = 400, **columns) -> Faces:
    """A folder whose faces all show one grey picture: 0 to 80 years, two photos a person, a tenth of the people are for
    tests."""
    write_shard(folder / "a.tar", {"grey.webp": encoded(np.full((16, 16, 3), 128, np.uint8), "webp")})
    chance, person = np.random.default_rng(0), np.arange(count) // 2
    table = {
        "id": [f"face-{i}" for i in range(count)],
        "file": "a.tar/grey.webp",
        "split": np.where(person % 10 == 0, "test", "train"),
        "age": (chance.permutation(count) / count * 80).round(),
        "cluster": [f"c{p}" for p in person],
        "source": np.where(person % 3 == 0, "one", "two"),
        **{name: chance.uniform(-9, 9, count) for name in ("yaw", "pitch", "roll")},
        "landmarks": list(np.full((count, 136), 0.5, np.float32)),
    }
    pd.DataFrame(table | columns).to_parquet(folder / "manifest.parquet")
    return Faces(folder, 16, ("train", "val", "test"))


@pytest.fixture(scope="module")
def real(tmp_path_factory, model, portrait):
    """Forty photos of twenty people: one portrait, each a little darker, whose age is about what the readers say."""
    folder = tmp_path_factory.mktemp("real")
    found = EmbeddedDetector(model.detector)(portrait)[0]
    matrix = frame_matrix(found.landmarks, 128)
    face = crop(portrait, matrix, 128)
    with torch.inference_mode():
        read = model.readers.read_window(model.readers.window(to_tensor(face[None])))  # as the gates do
    points = ((found.landmarks @ matrix[:, :2].T + matrix[:, 2]) / 128).astype(np.float32)
    pictures = [face - np.minimum(face, i % 8) for i in range(40)]
    write_shard(folder / "a.tar", {f"{i}.webp": encoded(p, "webp") for i, p in enumerate(pictures)})
    ages = float(read.age[0]) + np.tile([-4, -2, 0, 2, 4], 8)
    table = {
        "id": [f"face-{i}" for i in range(40)],
        "file": [f"a.tar/{i}.webp" for i in range(40)],
        "split": ["test" if i < 4 else "train" for i in range(40)],
        "age": ages,
        "gender": "f",
        "cluster": [f"c{i // 2}" for i in range(40)],
        **dict(zip(("yaw", "pitch", "roll"), read.pose[0].tolist(), strict=True)),
        "landmarks": [points.ravel()] * 40,
        "action_units": [np.arange(17, dtype=np.float32) / 4] * 40,
    }
    pd.DataFrame(table).to_parquet(folder / "manifest.parquet")
    return folder


class Still:
    """A backend that turns nothing: (calls before it breaks, what it draws)."""

    name, versions = "still", {"model": "none"}

    def __init__(self, calls=10**9, draw=lambda faces, requests: faces):
        self.calls, self.draw, self.requests = calls, draw, []

    def make(self, faces, landmarks, labels, requests):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        assert faces.shape[1:] == (3, 128, 128) and landmarks.shape == (len(requests), 68, 2)
        assert all(label["age_group"] in AGE_GROUPS and label["gender"] == "f" for label in labels)
        self.requests += requests
        return self.draw(faces, requests)


@pytest.fixture
def script(model, monkeypatch):
    """augment_multipose.py within this process: run(*arguments, backend=...) -> its Set; errors come through."""
    spec = importlib.util.spec_from_file_location("augment_multipose", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "augment_multipose", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.GanimeAge, "from_pretrained", lambda *_: model)
    jobs, prepare = [], module.prepare
    monkeypatch.setattr(
        module, "prepare", lambda *given: jobs.append(prepare(*given)) or jobs[-1]
    )  # (Set, More)

    def run(*arguments, backend=None):
        if backend:
            monkeypatch.setattr(module, "backend_of", lambda *_: backend)
        monkeypatch.setattr(sys, "argv", ["augment_multipose.py", *map(str, arguments)])
        module.main()
        return jobs[-1][0]

    return run


def images(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "manifest.parquet")


def stored(out: Path, file: str) -> bytes:
    shard, _, member = file.partition("/")
    with tarfile.open(out / shard) as archive:
        return archive.extractfile(member).read()


def test_a_plan_is_even_over_ages_and_poses_and_no_person_is_in_both_splits(tmp_path):
    faces, rules = many_faces(tmp_path), SourceRules(most=30)
    rows, left_out = usable(faces, rules)
    wanted = Wanted(YAWS, PITCHES, 400)
    slots = plan(faces, rows, wanted, rules)
    assert len(rows) == 400 and not left_out
    assert slots == plan(faces, rows, wanted, rules) and [slot.number for slot in slots] == list(range(400))
    assert slots != plan(faces, rows, replace(wanted, seed=1), rules)
    person = people(faces.table)
    of = {
        split: {person[r] for s in slots if s.split == split for r in s.sources}
        for split in ("train", "test")
    }
    assert not of["train"] & of["test"] and sum(s.split == "test" for s in slots) == 40
    assert {faces.table["split"].iloc[r] for s in slots if s.split == "test" for r in s.sources} == {"test"}
    for part in (slots, slots[:120]):  # a run that ends early is as even as a whole one
        groups = pd.Series([age_group(faces.labels["age"][s.sources[0]]) for s in part if s.split == "train"])
        cells = pd.Series([(s.yaw, s.pitch) for s in part])
        assert groups.value_counts().max() - groups.value_counts().min() <= 5
        assert cells.value_counts().max() - cells.value_counts().min() <= 3
    pairs = [(r, s.yaw, s.pitch) for s in slots for r in s.sources]
    assert len(set(pairs)) == len(pairs)  # nobody is twice in one cell, not even as a spare


def test_what_stayed_unmade_is_made_of_others_and_what_cannot_be_in_the_nearest_pose(tmp_path):
    faces, rules = many_faces(tmp_path), SourceRules(most=30)
    rows, wanted = np.arange(400), Wanted((-30.0, 30.0, 40.0), (0.0,), 150)
    slots = plan(faces, rows, wanted, rules)

    def tried(slots, good):
        """One try of each slot; good: whether it passes."""
        rows = [s.sources[0] for s in slots]
        table = {"id": [f"multipose-{s.number:06d}" for s in slots], "split": [s.split for s in slots]}
        table |= {"source_id": [f"face-{r}" for r in rows], "age": faces.labels["age"][rows]}
        table |= {"cell_yaw": [s.yaw for s in slots], "cell_pitch": [s.pitch for s in slots]}
        return pd.DataFrame(table | {"reason": [None if good(s) else "pose" for s in slots]})

    first = tried(slots, lambda s: s.yaw < 0)
    again = refill(faces, rows, wanted, rules, slots, first)
    assert len(again) == first["reason"].notna().sum() and again[0].number == 150
    assert {s.yaw for s in again} == {30.0, 40.0}  # too few tries to give a cell up
    pairs = [(f"face-{s.sources[0]}", s.yaw) for s in again]
    assert not set(pairs) & set(zip(first["source_id"], first["cell_yaw"], strict=True))
    both = pd.concat([first, tried(again, lambda s: s.yaw == 30)])
    for split in ("train", "test"):
        assert (
            sum(s.split == split for s in again) == (first[first["reason"].notna()]["split"] == split).sum()
        )
    third = refill(faces, rows, wanted, rules, slots + again, pd.concat([both] * 8))
    assert third == []  # eight times the images that were made: nothing is missing
    hopeless = pd.concat([both, *[both[both["reason"].notna()]] * 30])
    third = refill(faces, rows, wanted, rules, slots + again, hopeless)
    assert 40 <= len(third) <= 150 - both["reason"].isna().sum()  # all for whom a source is left
    assert {s.yaw for s in third} == {-30.0, 30.0}  # 40 is given up
    everything = tried(slots + again, lambda s: True)
    assert refill(faces, rows, wanted, rules, slots + again, everything) == []


def test_people_are_told_apart_by_identity_and_cluster_together(tmp_path):
    table = pd.DataFrame({"identity": ["a", "a", None, None, None], "cluster": ["x", "y", "y", None, None]})
    assert list(people(table)) == [0, 0, 0, 3, 4]
    table["split"] = ["train", "train", "test", "train", "train"]
    assert list(held_out(table, 0.5, 0)) == [True, True, True, False, False]
    table["split"] = "train"
    apart = held_out(table, 1 / 3, 0)
    assert apart.any() and not apart.all() and len({*apart[:3].tolist()}) == 1


def test_what_cannot_be_turned_is_counted_by_reason(tmp_path):
    ages, yaws, marks = np.full(400, 30.0), np.zeros(400), np.full((400, 136), 0.5, np.float32)
    ages[:3], yaws[3:7], marks[7:9], marks[9] = np.nan, 40.0, 1.2, np.nan
    faces = many_faces(tmp_path, age=ages, yaw=yaws, landmarks=list(marks))
    rows, left_out = usable(faces, SourceRules())
    assert left_out == {"no age": 3, "no landmarks": 1, "turned too far": 4, "cut by the border": 2}
    assert list(rows) == list(range(10, 400))


def test_a_source_gives_an_image_of_the_side_that_it_has_room_for(tmp_path):
    kept = (600, 448, 447, 192, 100)
    for side in kept:
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
    faces = SimpleNamespace(folder=tmp_path, table=pd.DataFrame({"file": [f"{side}.png" for side in kept]}))
    small = SourcePictures(faces, range(len(kept)), 192)
    large = SourcePictures(faces, range(len(kept)), 192, 448)
    assert [len(small(row)) for row in range(len(kept))] == [256, 256, 256, 256, 128]
    assert [len(large(row)) for row in range(len(kept))] == [512, 512, 256, 256, 128]


def test_a_set_is_a_face_folder_with_everything_to_make_an_image_again(script, real, tmp_path):
    job = script("--faces", real, "--out", tmp_path, *SMALL, *ANY_POSE, backend=Still())
    table = images(tmp_path)
    assert (
        len(table) == 20
        and table["id"].is_unique
        and dict(table["split"].value_counts()) == {"train": 18, "test": 2}
    )
    assert set(zip(table["cell_yaw"], table["cell_pitch"], strict=True)) == {
        (y, p) for y in YAWS for p in PITCHES
    }
    assert set(table["backend"]) == {"still"} and set(table["versions"]) == {'{"model": "none"}'}
    assert (
        (table["identity_cosine"] > 0.99).all()
        and (table["face_score"] > 0.5).all()
        and table["reason"].isna().all()
    )
    sources = pd.read_parquet(real / "manifest.parquet").set_index("id").loc[table["source_id"]]
    assert np.allclose(table["age"], sources["age"]) and set(table["au_source"]) == {"source"}
    assert not set(table[table["split"] == "test"]["identity"]) & set(
        table[table["split"] == "train"]["identity"]
    )
    faces = Faces(tmp_path, 32)
    batch = faces.batch(np.arange(len(faces)))
    assert batch["face"].shape == (18, 3, 32, 32) and all(
        batch[k].isfinite().all() for k in ("age", "pose", "landmarks")
    )
    assert 0.3 < batch["landmarks"][:, 36:48, 1].mean() < 0.6  # eyes of the frame
    for _, row in table.iloc[::4].iterrows():
        assert multipose.make_again(job, row) == stored(tmp_path, row["file"])


def test_the_report_counts_what_the_manifest_holds(script, real, tmp_path):
    script("--faces", real / "manifest.parquet", "--out", tmp_path, *SMALL, *ANY_POSE, backend=Still())
    text, result = (tmp_path / "REPORT.md").read_text(), measure(tmp_path)
    assert (
        "20 images of 20 asked for, made by the still backend" in text and "10.0% are the test split" in text
    )
    assert all((tmp_path / "figures" / name).stat().st_size for name in ("identity.png", "age_drift.png"))
    assert (tmp_path / "figures" / "contact_sheet.jpg").is_file()
    summary = result["summary"]
    assert summary["images"] == 20 and summary["test_share"] == 0.1 and summary["rejected_share"] == 0
    assert abs(summary["age_drift_years"]) < 1e-3 and summary["images_per_second"] > 0
    assert sum(row["images"] for row in result["by_yaw"].values()) == 20
    text = card_multipose.multipose(Results(tmp_path, result))
    assert "by the backend still" in text and "first gate failed: none." in text and "| images | 20 |" in text
    some = card_multipose.multipose(Results(tmp_path, result | {"rejected": {"pose": 3, "age": 1}}))
    assert "first gate failed: pose 3, age 1." in some
    assert all(f"| {yaw} degrees | {row['images']:.0f} |" in text for yaw, row in result["by_yaw"].items())
    with pytest.raises(BadInput, match="holds no multi-pose set"):
        measure(real)


def test_every_gate_rejects_what_it_should_and_a_retry_has_another_seed(script, real, tmp_path):
    def draw(faces, requests):
        """A face only at the second try, which is the only one that moves the target."""
        first = torch.tensor([r.yaw in YAWS and r.pitch in PITCHES for r in requests])
        return torch.where(first[:, None, None, None], 0.0, faces)

    backend = Still(draw=draw)
    alone = ("--set", "sources.spares=0", "--set", "gates.identity=-1", "--set", "gates.age=100")
    script("--faces", real, "--out", tmp_path / "a", *SMALL, *ANY_POSE, *alone, backend=backend)
    report, table = json.loads((tmp_path / "a" / "report.json").read_text()), images(tmp_path / "a")
    assert report["rejected"] == {"no face": 20} and report["images"] == 20 and report["tries"] == 40
    assert (table["attempt"] == 1).all() and len({request.seed for request in backend.requests}) == 40
    moved = table[["target_yaw", "target_pitch"]].to_numpy() - table[["cell_yaw", "cell_pitch"]].to_numpy()
    assert 0 < np.abs(moved).max() <= 3.01

    script(
        "--faces",
        real,
        "--out",
        tmp_path / "b",
        *SMALL,
        *ANY_POSE,
        "--set",
        "gates.source_age=3.5",
        backend=Still(),
    )
    report = json.loads((tmp_path / "b" / "report.json").read_text())
    assert report["images"] == 20 and report["settings"]["sources"]["left out"] == {"age misread": 16}
    assert not set(images(tmp_path / "b")["source_id"]) & {f"face-{i}" for i in range(40) if i % 5 in (0, 4)}
    for gate, reason in (("pose=2", "pose"), ("identity=1.01", "identity")):
        command = ("--out", tmp_path / reason, *SMALL, *ANY_POSE, "--set", f"gates.{gate}", "--count", 4)
        with pytest.raises(BadInput, match=rf"holds no image \({reason} \d+\); .*loosen the recipe's gates"):
            script("--faces", real, *command, backend=Still())


def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_set(script, real, tmp_path):
    command = ("--faces", real, *SMALL, *ANY_POSE)
    script(*command, "--out", tmp_path / "whole", backend=Still())
    with pytest.raises(KeyboardInterrupt):
        script(*command, "--out", tmp_path / "cut", backend=Still(calls=3))
    done = sorted((tmp_path / "cut" / ".parts").glob("0*.json"))
    assert 0 < len(done) < 5 and not (tmp_path / "cut" / "manifest.parquet").exists()
    before = {path: path.stat().st_mtime_ns for path in done}
    with pytest.raises(BadInput, match="holds an unfinished set with other wanted"):
        script(*command, "--out", tmp_path / "cut", "--seed", 1, backend=Still())
    script(*command, "--out", tmp_path / "cut", backend=Still())
    assert {path: path.stat().st_mtime_ns for path in done} == before
    whole, cut = images(tmp_path / "whole"), images(tmp_path / "cut")
    assert whole["id"].tolist() == cut["id"].tolist()
    assert all(stored(tmp_path / "whole", f) == stored(tmp_path / "cut", f) for f in whole["file"])
    with pytest.raises(BadInput, match="holds a finished set; give another --out"):
        script(*command, "--out", tmp_path / "cut", backend=Still())
    with pytest.raises(BadInput, match="is a face folder already"):
        script("--faces", real, "--out", real, *SMALL)


def test_a_run_that_ends_by_the_clock_leaves_a_face_folder(script, real, tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 20))
    monkeypatch.setattr(multipose.time, "monotonic", lambda: next(clock))
    command = ("--faces", real, "--out", tmp_path, *SMALL, *ANY_POSE)
    script(*command, "--limit-minutes", 1, backend=Still())
    some = len(images(tmp_path))
    assert 0 < some < 20 and len(Faces(tmp_path, 16, ("train", "test"))) == some
    assert not json.loads((tmp_path / "report.json").read_text())["complete"]
    script(*command, backend=Still())
    assert len(images(tmp_path)) == 20


@pytest.mark.slow
def test_two_processes_share_a_mesh_set_and_any_image_can_be_made_again(script, real, tmp_path):
    gates = (*ANY_POSE, "--set", "gates.identity=0.1")
    options = [str(word) for word in ("--faces", real, "--out", tmp_path, *SMALL, *gates, "--count", 10)]
    two = side_by_side([sys.executable, str(SCRIPT), *options])
    errors = [process.communicate(timeout=300)[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], errors
    report, table = json.loads((tmp_path / "report.json").read_text()), images(tmp_path)
    assert report["complete"] and report["processes"] == [2] and len(table) == report["images"] > 7
    (tmp_path / "report.json").unlink()  # as if it had been stopped just before its end
    job = script(*options)
    for _, row in table.iloc[::3].iterrows():
        assert multipose.make_again(job, row) == stored(tmp_path, row["file"])


def test_the_mesh_backend_turns_heads_the_way_that_is_asked(model, real):
    faces = Faces(real, 128, ("train",))
    face = faces.batch(np.arange(1))
    label = {"age": 30.0, "age_group": "30-39", "gender": "f", "pose": faces.labels["pose"][0].tolist()}
    asked = [(-30.0, 0.0), (30.0, 0.0), (0.0, -15.0), (0.0, 15.0)]
    requests = [Request(0, yaw, pitch, 0) for yaw, pitch in asked]
    backend = multipose_mesh.MeshBackend(model)
    made = backend.make(
        face["face"].expand(4, -1, -1, -1), face["landmarks"].expand(4, -1, -1), [label] * 4, requests
    )
    assert made.shape == (4, 3, 128, 128) and made.isfinite().all() and made.abs().max() <= 1
    left, right, up, down = model.read(made).pose.tolist()
    assert left[0] < -15 and right[0] > 15 and up[1] + 6 < down[1]
    fitted = model.head.fit(face["landmarks"], face["pose"])
    target = multipose_mesh.framed(model.head, multipose_mesh.turned(fitted, yaw=30.0))
    again = frame_matrix(model.head.landmarks(target)[0].double().numpy(), 1)
    assert np.allclose(again, np.eye(2, 3), atol=0.01)


def test_a_measured_pose_allows_for_what_the_readers_say_of_turned_faces(model):
    curve = PoseCurve(yaw=(0.5, 1.0, 0.0, -5e-5), pitch=(1.0, 0.8, 0.0, 0.0, -0.005), faces=9)
    marks = PoseCurve(yaw=(0.0, 0.9, 0.0, 0.0), pitch=(2.0, 0.7, 0.0, 0.0, 0.0), faces=9)
    examiner = multipose_gates.Examiner(model, multipose_gates.Gates(), PoseCurves(curve, marks))
    chance = np.random.default_rng(0)
    target, source = chance.uniform(-45, 45, (50, 2)), chance.uniform(-10, 10, (50, 2))
    habit = chance.normal(0, 5, (50, 2))  # what is misread of a person, turned or not
    read = curve.said(target) + habit
    told = target, source, curve.said(source) + habit
    assert np.allclose(examiner.measured(*told, read, marks.said(target)), target)
    assert np.allclose(examiner.measured(*told, read + [8, -3], marks.said(target)) - target, [4, -1.5])
    assert np.allclose(examiner.measured(*told, read, marks.said(target) + [8, -3]) - target, [4, -1.5])
    assert np.allclose(examiner.measured(*told, read + [8, -3], 0 * read + np.nan) - target, [8, -3])
    poses = np.stack([chance.normal(0, 20, 4000), chance.normal(0, 10, 4000)], 1)
    fitted = multipose_gates.fitted(poses, curve.said(poses) + chance.normal(0, 3, (4000, 2)))
    corners = np.array([[-40, -15], [0, 0], [40, 15]])
    assert np.allclose(fitted.said(corners), curve.said(corners), atol=1) and fitted.faces == 4000
    assert np.allclose(PoseCurve().said(corners), corners)


@pytest.mark.parametrize(
    ("arguments", "columns", "words"),
    [
        (("--yaw", 80), {}, "--yaw 80 is out of range; give degrees between -60 and 60"),
        (("--count", 0), {}, "--count 0 must be 1 or more"),
        (("--count", 4000), {}, r"the faces give \d+ of the 3600 train images asked for"),
        ((), {"age": None}, r"none of the 400 faces of .* can be turned \(no age 400\)"),
        ((), {"landmarks": None}, r"can be turned \(no landmarks 400\)"),
        (
            (),
            {"landmarks": [np.full(136, 1.5, np.float32)] * 400},
            r"can be turned \(cut by the border 400\)",
        ),
        (("--set", "gates.poze=3"), {}, "the recipe's .gates. table has no poze"),
        (("--set", "part=0"), {}, "part in the recipe is 0"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(script, tmp_path, arguments, columns, words):
    (tmp_path / "faces").mkdir()
    many_faces(tmp_path / "faces", **columns)
    with pytest.raises(BadInput, match=words):
        script("--faces", tmp_path / "faces", "--out", tmp_path / "out", *arguments, backend=Still())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_weights_without_a_head_and_a_full_disk(
    script, real, tmp_path, model, monkeypatch
):
    with pytest.raises(BadInput, match="nowhere holds no manifest"):
        script("--faces", tmp_path / "nowhere", "--out", tmp_path / "out")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(multipose.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100_000))
    with pytest.raises(BadInput, match=r"20 images need about 1 MB in .*, 0 MB are free; make room"):
        script("--faces", real, "--out", tmp_path / "out", *SMALL, backend=Still())
    headless = type(model)(
        ("detector", "readers"), readers={"size": 32, "widths": [8] * 4, "blocks": [1] * 3}
    )
    with pytest.raises(MissingModel, match="head"):
        multipose_mesh.MeshBackend(headless)


def test_a_disk_that_fills_up_keeps_what_is_there(script, real, tmp_path, monkeypatch):
    command = ("--faces", real, "--out", tmp_path, *SMALL, *ANY_POSE)
    written, add = [], multipose.Part._try

    def full(self, pairs):
        written.append(1)
        if len(written) > 3:
            raise OSError(28, "No space left on device", str(tmp_path / "multipose-00003.tar"))
        return add(self, pairs)

    monkeypatch.setattr(multipose.Part, "_try", full)
    with pytest.raises(
        BadInput, match="No space left on device; what is made stays valid: mend that and run the same"
    ):
        script(*command, backend=Still())
    assert len(list(tmp_path.glob("*.tar"))) == len(list((tmp_path / ".parts").glob("0*.json"))) == 3
    monkeypatch.setattr(multipose.Part, "_try", add)
    script(*command, backend=Still())
    assert len(images(tmp_path)) == 20
