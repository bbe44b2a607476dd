"""What the figures about edits mean: checked on edits, faces and judges whose every number is known."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ganime_age.edits import AGE_GROUPS, AU_CODES, AU_UNSEEN
from ganime_age.errors import BadInput, MissingModel
from ganime_age.learning.evaluation.judges import Judges, Places, call
from ganime_age.learning.evaluation.measure_edits import Plan, measure
from ganime_age.learning.evaluation.measure_units import SEEN
from ganime_age.learning.evaluation.metrics import kernel_distance, pair_scores, response, threshold_at
from ganime_age.learning.evaluation.reference_statistics import hair_colour, numbered
from ganime_age.model.model import GanimeAge
from helpers.painted import Painter, blue, named, red

ROOT = Path(__file__).resolve().parents[1]
AU12 = AU_CODES.index("AU12")
SUMMARY = {
    "verification_mean", "age_error_mean", "au12_slope", "au12_correlation", "au_correlation_mean", "no_change_l1",
    "age_drift_years", "au_drift", "mask_mean",
}  # fmt: skip
SIDE = 32


def test_the_threshold_lets_through_as_many_as_were_allowed():
    scores = np.random.default_rng(0).permutation(10_000) / 10_000
    assert (scores > threshold_at(scores, 1e-3)).sum() == 10
    assert (scores > threshold_at(scores[:100], 1e-3)).sum() == (scores > scores[:100].max()).sum()


def test_kernel_distance_is_zero_for_one_distribution_and_grows_with_the_gap():
    chance = np.random.default_rng(0)
    first, same, near, far = (chance.normal(shift, 1, (400, 16)) for shift in (0, 0, 0.5, 1.0))
    nothing, spread = kernel_distance(first, same)
    assert abs(nothing) < 2 * spread
    assert nothing + spread < kernel_distance(first, near)[0] < kernel_distance(first, far)[0]


def test_kernel_distance_is_that_of_the_paper_by_hand():
    x, y = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [3.0, 0.0]])
    kernel = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y)[0] == pytest.approx(kernel(*x) + kernel(*y) - 2 * across)


def test_response_is_a_slope_and_a_correlation():
    asked = np.array([0.0, 1, 2, 3, np.nan])
    assert response(asked, 0.5 * asked + 1) == pytest.approx((0.5, 1))
    assert response(asked, np.zeros(5)) == (0, 0)
    slope, correlation = response(np.array([0.0, 1, 0, 1]), np.array([0.0, 1, 1, 0]))
    assert (slope, correlation) == pytest.approx((0, 0))


def test_hair_colour_is_lightness_and_chroma_of_the_masked_part():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:5] = 255
    mask = np.zeros((10, 10), bool)
    mask[:5] = True
    assert hair_colour(picture, mask) == pytest.approx([100, 0], abs=0.1)
    picture[:5] = (120, 60, 20)
    assert hair_colour(picture, mask)[1] > 20
    assert np.isnan(hair_colour(picture, np.zeros((10, 10), bool))).all()


class Rows:
    """As much of a face folder as tells who is who."""

    def __init__(self, table):
        self.table = table

    def __len__(self):
        return len(self.table)


def test_who_is_unknown_is_somebody_of_their_own():
    long = "a name that is longer than most others are"
    clusters = [None, "c", f"{long} 1", f"{long} 1", f"{long} 2", None]
    numbers = numbered(Rows(pd.DataFrame({"cluster": clusters})), "cluster")
    assert numbers[2] == numbers[3] and len(set(numbers)) == 5
    assert len(set(numbered(Rows(pd.DataFrame({"id": range(3)})), "identity"))) == 3


def test_a_pair_whose_labels_and_clusters_disagree_counts_as_neither():
    embeddings = np.eye(4)[[0, 0, 0, 1]]
    same, different = pair_scores(embeddings, np.array([1, 1, 2, 3]), np.array([1, 1, 1, 2]))
    assert same.tolist() == [1] and different.tolist() == [0, 0, 0]


def features(pictures, landmarks):
    return pictures.reshape(len(pictures), -1, 3).mean(1) / 100


def green(pictures, landmarks):
    units = np.zeros((len(pictures), 17))
    units[:, AU12] = pictures[..., 1].mean((1, 2)) / 40
    units[:, [AU_CODES.index(code) for code in AU_UNSEEN]] = np.nan
    return units


def everywhere(pictures, landmarks):
    return np.ones(pictures.shape[:3], bool)


ALL = Judges(named(blue), named(red, features=features), named(green), named(everywhere))


def test_edits_of_known_effect_measure_as_what_they_are(painted_faces):
    result = measure(Painter(), painted_faces, ALL, Plan.of(200), "painter")
    summary = result["summary"]
    assert set(summary) == SUMMARY | {f"nothing_{name}" for name in SUMMARY}
    assert summary["age_error_mean"] < 1 < 20 < summary["nothing_age_error_mean"]
    assert summary["verification_mean"] == summary["nothing_verification_mean"] == 1
    assert summary["au12_slope"] == pytest.approx(0.5, abs=0.02) and summary["au12_correlation"] > 0.99
    assert summary["nothing_au12_slope"] == summary["nothing_au12_correlation"] == 0
    assert summary["mask_mean"] == 0.25 and summary["no_change_l1"] == 0 and summary["au_drift"] == 0
    drifts = {unit: row["age_drift_years"] for unit, row in result["action_units"].items()}
    assert drifts["AU12"] > 1 and sum(drifts.values()) == drifts["AU12"] and len(drifts) == len(SEEN)
    assert drifts["AU12"] / len(SEEN) < summary["age_drift_years"] < drifts["AU12"]
    assert [unit for unit, row in result["action_units"].items() if row["measurable"]] == ["AU12"]
    assert result["response"]["AU12"]["AU12"] == pytest.approx(0.5, abs=0.02)
    assert result["response"]["AU01"]["AU12"] == result["response"]["AU12"]["AU01"] == 0
    assert result["identity"]["true_accept_rate"] == 1 and result["identity"]["pairs_same"] == 40
    assert [row["group"] for row in result["groups"]] == [g for g in AGE_GROUPS if g != "20-29"]
    for row in result["groups"]:
        assert row["age"] == pytest.approx(row["asked"], abs=0.3)
        assert row["kernel_distance"] < row["nothing_kernel_distance"] or row["group"] == "15-19"
    for kind in (result["by_source"]["drawn"], result["by_turn"]["0-10 degrees"]):
        assert kind["age_error_mean"] == pytest.approx(summary["age_error_mean"])


def test_what_no_judge_is_named_for_is_left_out(painted_faces):
    result = measure(Painter(), painted_faces, Judges(identity=named(blue)), Plan.of(20), "painter")
    measured = {"verification_mean", "mask_mean", "no_change_l1"}
    assert set(result["summary"]) == measured | {f"nothing_{name}" for name in measured}
    assert "action_units" not in result and "hair" not in result


@pytest.mark.slow
def test_a_generator_that_does_nothing_measures_as_nothing(painted_faces):
    torch.manual_seed(0)
    model = GanimeAge(
        ("readers", "ganimation_age"), 64, edit_size=64,
        readers={"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]},
        ganimation_age={"widths": [8, 8, 16], "blocks": 1},
    ).eval()  # fmt: skip
    summary = measure(model, painted_faces, ALL, Plan.of(8))["summary"]
    for name in SUMMARY - {"mask_mean"}:
        assert summary[name] == pytest.approx(summary[f"nothing_{name}"], abs=0.02), name
    assert summary["network_age_slope"] == summary["generator_share"] == 0

    prototypes = model.prototypes
    prototypes.region.fill_(1.0)
    prototypes.age_tone[:, 0] = torch.linspace(-2, 2, len(prototypes.age_tone))[:, None, None]
    found = measure(model, painted_faces, Judges(age=named(red, features=features)), Plan.of(8))
    rows = {row["edited_by"]: row["age_slope"] for row in found["parts"]}
    assert rows["both"] == rows["prototypes alone"] > 0.05 > abs(rows["network alone"])
    assert found["summary"]["generator_share"] == 0


def test_a_judge_that_finds_no_face_is_counted_and_the_rest_still_measures(painted_faces):
    def shy(pictures, landmarks):
        units = green(pictures, landmarks)
        units[::2] = np.nan
        return units

    result = measure(Painter(), painted_faces, Judges(expression=named(shy)), Plan.of(200), "painter")
    assert result["no_face_found"]["real"] > 0
    assert result["summary"]["au12_slope"] == pytest.approx(0.5, abs=0.02)


def test_faces_that_are_not_there_are_named(painted_faces):
    young = SimpleNamespace(**vars(painted_faces))
    young.labels = painted_faces.labels | {"age": np.full(len(painted_faces), 5.0, np.float32)}
    young.batch = painted_faces.batch
    with pytest.raises(BadInput, match="no test face aged 20 to 29"):
        measure(Painter(), young, ALL, Plan.of(20), "painter")


@pytest.mark.parametrize(
    ("judges", "error", "words"),
    [
        ("default", MissingModel, "need --models FOLDER with face_reid_0095.onnx"),
        ("taste=readers", BadInput, "'taste' is no kind of judge; choose from identity, age"),
        ("hair=readers", BadInput, "readers cannot judge hair"),
        ("somebody", BadInput, "choose default, readers, insightface:PACK"),
        ("", BadInput, "names no judge"),
        ("identity=onnx:none.onnx", MissingModel, "none.onnx is missing"),
        ("onnx:a=b/none.onnx", MissingModel, "a=b/none.onnx is missing"),
        ("age=folder:none", MissingModel, "none/age_judge.json is missing"),
        ("insightface:none", MissingModel, "holds no InsightFace models"),
    ],
)
def test_judges_that_cannot_be_called_are_one_sentence(model, tmp_path, judges, error, words):
    with pytest.raises(error, match=words):
        call(judges, Places(model, None, tmp_path))


def test_the_readers_judge_where_there_is_nobody_else(model, tmp_path):
    judges = call("readers", Places(model, None, tmp_path))
    assert set(judges.names()) == {"identity", "age", "expression"}
    pictures = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    units = judges.expression(pictures, np.zeros((2, 68, 2)))
    assert np.isnan(units).sum() == 2 * len(AU_UNSEEN)
    assert np.linalg.norm(judges.identity(pictures, None), axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_missing_judge_ends_the_script_with_code_3(tmp_path):
    command = [sys.executable, str(ROOT / "training" / "evaluate.py"), "edits"]
    done = subprocess.run(
        [*command, "--faces", str(tmp_path), "--models", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "is missing" in done.stderr and len(done.stderr.strip().splitlines()) == 1
