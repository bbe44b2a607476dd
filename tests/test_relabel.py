"""Ages estimated anew: what a manifest then says, what stays, and who may estimate."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.manifest import Manifest
from ganime_age.learning.prepare.age_estimators import age_range, ages_of, estimator_of, stored_readers
from ganime_age.learning.prepare.relabel import relabel
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS, light

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32
POINTS = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2)).astype(np.float32)


class Brightness:
    """An estimator that reads the age off the grey of a face, and does not tell faces that are black."""

    name = "brightness"

    def __call__(self, pictures, landmarks):
        age = pictures.mean((1, 2, 3)) / 2
        age[age < 1] = np.nan
        return age, age / 10


def grey_faces(folder: Path, form: str = "parquet", **columns) -> Path:
    """Six grey faces of the ages 0, 10 .. 50 by their brightness; the labels are 5 years off."""
    (folder / "all").mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (SIDE, SIDE), (20 * i,) * 3).save(folder / "all" / f"{i}.png")
    table = pd.DataFrame(
        {
            "id": [f"f{i}" for i in range(6)],
            "file": [f"all/{i}.png" for i in range(6)],
            "split": ["train"] * 4 + ["test", "val"],
            "age": [10.0 * i + 5 for i in range(5)] + [np.nan],
            "age_group": ["3-6", "15-19", "20-29", "30-39", "40-49", None],
            "identity": ["007", "007", None, "b", "c", "d"],
            "landmarks": [POINTS.ravel().tolist()] * 5 + [None],
        }
        | columns
    )
    for name in [name for name, value in columns.items() if value is None]:
        del table[name]
    if form == "parquet":
        table.to_parquet(folder / "manifest.parquet")
    else:
        table.to_csv(folder / "manifest.csv", index=False)
    return folder


def read(folder: Path) -> pd.DataFrame:
    parquet = folder / "manifest.parquet"
    return pd.read_parquet(parquet) if parquet.exists() else pd.read_csv(folder / "manifest.csv")


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_estimates_are_written_and_the_old_labels_stay(tmp_path, form):
    faces = grey_faces(tmp_path / "faces", form)
    before, out = read(faces), tmp_path / "new" / "faces"
    told = relabel(faces, Brightness(), out)
    after = read(out)
    assert told == {
        "faces": 6,
        "estimated": 5,
        "spread_mean": pytest.approx(3),
        "distance_mean": pytest.approx(5),
    }
    assert after["age"].tolist() == pytest.approx([5, 10, 20, 30, 40, 50])  # the black face keeps its label
    assert after["age_group"].tolist() == ["3-6", "10-14", "20-29", "30-39", "40-49", "50-69"]
    assert after["age_spread"].tolist() == pytest.approx([np.nan, 1, 2, 3, 4, 5], nan_ok=True)
    assert after["age_estimator"].fillna("").tolist() == [""] + ["brightness"] * 5
    assert after["age_label"].equals(before["age"]) and after["age_group_label"].equals(before["age_group"])
    assert read(faces).equals(before)
    for folder in (faces, out):  # the rest is as it was, long columns and texts that look like numbers too
        batch = np.concatenate(list(Manifest(folder).lists()))
        assert batch[0, 17:153].tolist() == pytest.approx(POINTS.ravel().tolist())
        assert np.isnan(batch[5]).all()
        assert Manifest(folder).table()["identity"].fillna("").tolist() == ["007", "007", "", "b", "c", "d"]
    assert (Faces(out, SIDE).batch(np.array([3]))["age"] == 30).all()


def test_a_second_estimate_replaces_the_first_and_not_the_label(tmp_path):
    faces = grey_faces(tmp_path, age_source=["file"] * 6)
    labels = read(faces)["age"]
    relabel(faces, Brightness())
    older = lambda pictures, landmarks: tuple(2 * v for v in Brightness()(pictures, landmarks))  # noqa: E731
    older.name = "older"
    relabel(faces, older)
    after = read(faces)
    assert after["age_label"].equals(labels) and after["age"].tolist() == pytest.approx(
        [5, 20, 40, 60, 80, 100]
    )
    assert after["age_estimator"][1] == "older"
    assert after["age_source"].tolist() == ["file"] + ["estimator"] * 5
    assert set(after["age_label_source"]) == {"file"}


def test_a_manifest_without_ages_gets_them(tmp_path):
    faces = grey_faces(tmp_path, age=None, age_group=None)
    assert relabel(faces, Brightness())["distance_mean"] is None
    after = read(faces)
    assert after["age"].tolist() == pytest.approx([np.nan, 10, 20, 30, 40, 50], nan_ok=True)
    assert after["age_label"].isna().all() and after["age_group"].isna().tolist() == [True] + [False] * 5


def test_a_picture_that_cannot_be_read_keeps_its_age(tmp_path):
    faces = grey_faces(tmp_path)
    (faces / "all" / "2.png").write_bytes(b"junk")
    assert relabel(faces, Brightness())["estimated"] == 4
    assert read(faces)["age"][2] == 25 and read(faces)["age_estimator"].isna()[2]


def test_what_stops_it_leaves_everything_as_it_was(tmp_path):
    faces, out = grey_faces(tmp_path / "faces"), tmp_path / "out"

    def fails(pictures, landmarks):
        raise KeyboardInterrupt

    for target in (out, None):
        before = (faces / "manifest.parquet").read_bytes()
        with pytest.raises(KeyboardInterrupt):
            relabel(faces, fails, target)
        assert (faces / "manifest.parquet").read_bytes() == before and not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"faces"}
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(BadInput, match="out exists; give a new folder, or --in-place"):
        relabel(faces, Brightness(), out)


def relabel_ages(monkeypatch, *words) -> None:
    """The script in this process."""
    spec = importlib.util.spec_from_file_location("relabel_ages", ROOT / "training" / "relabel_ages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["relabel_ages.py", *map(str, words)])
    module.main()


def test_the_script_relabels_with_the_readers_of_a_run(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    faces = grey_faces(tmp_path / "faces")
    run = light(tmp_path / "light", "readers", Readers(**READERS), READERS)
    relabel_ages(monkeypatch, "--faces", faces, "--in-place", "--estimator", run)
    said = capsys.readouterr().out
    assert "6 of 6 ages estimated by readers of light" in said and "mean spread" in said
    readers, config = stored_readers(str(run))
    shown = Faces(faces, 128, ("val",)).batch(np.array([0]))["face"]
    with torch.inference_mode():
        found = readers(shown)
    assert read(faces)["age"][5] == pytest.approx(float(found.age), abs=0.01)
    assert read(faces)["age_spread"][5] == pytest.approx(float(found.age_spread), abs=0.01)
    assert config == READERS


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("FACES", "--out", "FACES"), BadInput, "exists; give a new folder, or --in-place"),
        (
            ("FACES", "--in-place", "--estimator", "insightface:none"),
            MissingModel,
            "holds no InsightFace models",
        ),
        (("FACES", "--in-place", "--device", "toaster"), BadInput, "unknown device 'toaster'"),
    ],
)
def test_what_the_script_cannot_use_is_one_sentence(tmp_path, monkeypatch, words, error, said):
    faces = grey_faces(tmp_path / "faces")
    before = (faces / "manifest.parquet").read_bytes()
    with pytest.raises(error, match=said):
        relabel_ages(monkeypatch, "--faces", *(faces if word == "FACES" else word for word in words))
    assert (faces / "manifest.parquet").read_bytes() == before


def test_a_folder_without_a_manifest_ends_the_script_with_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "training" / "relabel_ages.py"), "--in-place", "--faces"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "holds no manifest.parquet or manifest.csv" in done.stderr


@pytest.mark.parametrize(
    ("label", "years"),
    [
        ("20-29", (20, 30)),
        ("(25, 32)", (25, 33)),
        ("age_4_6", (4, 7)),
        ("03: 20-29", (20, 30)),
        ("0-2 years old", (0, 3)),
        ("70+", (70, 80)),
        ("more than 70", (70, 80)),
        ("under 3", (0, 3)),
        ("20s", (20, 30)),
        ("7", (7, 7)),
        ("age group 7", (7, 7)),
        ("LABEL_7", None),
        ("30-20", None),
        ("1990-1999", None),
        ("cat", None),
        ("1-2-3", None),
    ],
)
def test_a_label_is_a_range_of_years_or_no_age(label, years):
    assert age_range(label) == years


def test_labels_that_are_no_ages_are_named():
    with pytest.raises(MissingModel, match="it has the labels 'cat', 'dog', which are no ages"):
        ages_of("it", ["cat", "20-29", "dog"])
    with pytest.raises(MissingModel, match="it knows one age only"):
        ages_of("it", ["7"])


LABELS = ("0-9", "20-29", "more than 70")


@pytest.fixture
def classifier(tmp_path):
    """A folder with a tiny image classifier of transformers whose labels are ages."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=8,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    network = transformers.ViTForImageClassification(config)
    torch.nn.init.normal_(network.classifier.weight, std=1.0)
    folder = tmp_path / "vit-ages"
    network.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def test_a_classifier_estimates_by_the_expectation_over_its_labels(classifier):
    transformers = pytest.importorskip("transformers")
    pictures = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE, 3), np.uint8)
    estimator = estimator_of(f"hf:{classifier}")
    network = transformers.ViTForImageClassification.from_pretrained(classifier).eval()
    shown = transformers.ViTImageProcessor.from_pretrained(classifier)(list(pictures), return_tensors="pt")
    with torch.inference_mode():
        age, spread = estimator(pictures, None)
        chance = network(**shown).logits.softmax(1).numpy()
    assert estimator.name == "hf:vit-ages"
    assert age == pytest.approx(chance @ [5, 25, 75], abs=1e-3) and np.ptp(age) > 0.01
    square = chance @ [5**2 + 100 / 12, 25**2 + 100 / 12, 75**2 + 100 / 12]
    assert spread == pytest.approx(np.sqrt(square - age**2), abs=1e-2)


@pytest.mark.parametrize("damage", ["labels", "head", "weights", "processor", "pickle"])
def test_a_classifier_that_tells_no_ages_is_named(classifier, damage):
    weights = classifier / "model.safetensors"
    if damage == "labels":
        text = (classifier / "config.json").read_text()
        (classifier / "config.json").write_text(text.replace("more than 70", "a cat"))
    elif damage == "head":
        kept = {name: value for name, value in load_file(weights).items() if "classifier" not in name}
        save_file(kept, weights, {"format": "pt"})
    elif damage == "weights":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "processor":
        (classifier / "preprocessor_config.json").unlink()
    else:
        torch.save(load_file(weights), classifier / "pytorch_model.bin")
        weights.unlink()
    said = {"labels": "has the labels 'a cat'", "head": "lack classifier.bias"}
    with pytest.raises(
        MissingModel, match=said.get(damage, "cannot be loaded as an image classifier")
    ) as caught:
        estimator_of(f"hf:{classifier}")
    assert "\n" not in str(caught.value)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingModel, match="transformers is not installed; pip install transformers"):
        estimator_of("hf:some/model")


def genderage(path: Path) -> None:
    """A network of InsightFace's form (1,3,96,96) -> (1,3) whose age is 100 years for white and 0 for black."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    make, number = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("ReduceMean", ["data", "axes"], ["grey"], keepdims=1),
        make.make_node("Flatten", ["grey"], ["flat"]),
        make.make_node("Add", ["flat", "one"], ["above"]),
        make.make_node("Mul", ["above", "half"], ["age"]),
        make.make_node("Concat", ["flat", "flat", "age"], ["fc1"], axis=1),
    ]
    constants = [
        make.make_tensor("axes", onnx.TensorProto.INT64, [3], [1, 2, 3]),
        make.make_tensor("one", number, [1], [127.5 / 128]),
        make.make_tensor("half", number, [1], [0.5 * 128 / 127.5]),
    ]
    graph = make.make_graph(
        nodes,
        "genderage",
        [make.make_tensor_value_info("data", number, [1, 3, 96, 96])],
        [make.make_tensor_value_info("fc1", number, [1, 3])],
        constants,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    path.parent.mkdir(parents=True)
    onnx.save(model, path)


def test_a_pack_estimates_the_faces_that_have_landmarks(tmp_path):
    pytest.importorskip("insightface", reason="insightface is not installed")
    genderage(tmp_path / "models" / "own" / "genderage.onnx")
    faces = grey_faces(tmp_path / "faces")
    estimator = estimator_of("insightface:own", tmp_path)
    assert relabel(faces, estimator)["estimated"] == 5
    after = read(faces)
    bright = [20 * i / 255 * 100 for i in range(5)]
    assert (
        after["age"][:5].tolist() == pytest.approx(bright, abs=15)
        and after["age"][:5].is_monotonic_increasing
    )
    assert after["age"].isna()[5] and after["age_spread"].isna()[5]
    assert (after["age_spread"][1:5] >= 0).all()
    assert after["age_estimator"][0] == "InsightFace own/genderage.onnx"
