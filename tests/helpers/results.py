"""Results files whose figures all differ, and how a rendered card is read."""

import itertools
import json
import re
from pathlib import Path

from ganime_age.edits import AGE_GROUPS, AU_CODES
from ganime_age.learning.evaluation.measure_speed import FIGURES as SPEEDS

JUDGES = {
    "identity": "a matcher",
    "age": "an age judge",
    "expression": "blendshapes",
    "hair": "a hair network",
}
NOTES = {"who": "test faces", "identity": "two pictures"}


def made_up(weights: dict[str, str], chance=None) -> dict[str, dict]:
    """Results of every kind, as training/evaluate.py writes them; each figure differs from all others."""
    counter = itertools.count(1)
    n = lambda: round(1.0137 * next(counter) % 7 + 0.01 * next(counter), 4)  # noqa: E731
    named = lambda keys: {key: n() for key in keys.split()}  # noqa: E731
    twice = lambda keys: named(keys) | {f"nothing_{k}": v for k, v in named(keys).items()}  # noqa: E731
    scores = "verification_mean age_error_mean au12_slope au12_correlation au_correlation_mean au_drift"
    unit = lambda: named("slope correlation range_on_real_faces age_drift_years") | {"measurable": True}  # noqa: E731
    group = "real_age age nothing_age age_error verification nothing_verification cosine kernel_distance"
    kind = lambda: {"faces": next(counter)} | named("mae bias mean_read mean_true")  # noqa: E731
    outside = lambda: {"faces": next(counter)} | named("outside_years bias")  # noqa: E731
    found = lambda: named("recall false score five_points landmarks")  # noqa: E731
    results = {
        "edits-ganimation_age": {
            "summary": twice(f"{scores} age_drift_years no_change_l1 mask_mean")
            | named("network_age_slope generator_share"),
            "parts": [{"edited_by": "both", "faces": 23} | named("age_slope change")],
            "method": "ganimation_age",
            "judged_by": JUDGES,
            "faces": {"ages": 91, "action_units": 47},
            "notes": NOTES,
            "groups": [{"group": g, "asked": 7.0} | named(group) for g in AGE_GROUPS if g != "20-29"],
            "by_source": {"one set": {"faces": 13} | named("verification_mean age_error_mean")},
            "by_gender": {"women": {"faces": 17} | named("verification_mean age_error_mean")},
            "by_turn": {"0-10 degrees": {"faces": 19} | named("verification_mean age_error_mean")},
            "identity": named("threshold false_accept_rate true_accept_rate auc pairs_different pairs_same"),
            "action_units": {code: unit() for code in AU_CODES},
            "au12_levels": [named("level asked read") for _ in range(3)],
            "no_face_found": {"edited": 3, "edits": 377},
            "hair": {"faces": 29, "real": named("lightness saturation"), "asked_75": named("lightness saturation")},
        },
        "readers": {
            "summary": twice("age_mae_utkface age_mae_all")
            | named("au_correlation_mean identity_auc identity_tar_far1e3")
            | named("landmark_error_percent yaw_error_degrees pitch_error_degrees"),
            "faces": 1234,
            "identity": {"who": "all pairs"} | named("teacher_auc"),
            "age": {"constant_years": n(), "mae_by_set": named("this that")}
            | {f"by_{by}": {"first": kind(), "second": kind()} for by in ("group", "gender", "gender_and_group", "yaw")}
            | {"by_race": {"first": outside()}, "by_gender_and_range": {"second": outside()}}
            | {"by_gender_race_range": {"one": named("0-2 3-9"), "other": {"0-2": 9.5}}}
            | {"cell_faces": {"least": 8, "most": 12}},
            "au_correlation": dict.fromkeys(AU_CODES, None) | {"AU12": n()},
        },
        "finder": {
            "summary": named("recall false_per_photo landmark_error_percent seconds_1024"),
            "counts": {"photos": 231, "reference_faces": 245, "false": 4, "beyond_reference": 11},
            "conditions": {
                "photos": 48,
                "how": "small: resized",
                "by_condition": {
                    "as it is": {"ganime_age": found() | {"recall": 1.0, "landmarks": 2.0}, "yunet": found()},
                    "mask": {
                        "ganime_age": found() | {"recall": 0.75, "landmarks": 5.0},
                        "yunet": found() | {"recall": 0.8},
                    },
                },
            },
            "settings": {"matching": "one-to-one", "witness": "YuNet"},
            "recall_by_source": {"this": {"faces": 21} | named("recall")},
            "recall_by_box_side": {"128 px": named("recall"), "64-128 px": named("recall")},
        },
        "provenance": {
            "summary": named("detected_png detected_jpeg_75 psnr_db_median false_positives unmarked_trials")
            | {"false_positive_bound_per_face": 2.3e-09},
            "counts": {"photos": 59},
            "by_frame_side": [{"from": 0, "to": 128, "photos": 17} | named("png jpeg_85 jpeg_75")],
        },
        "speed": {
            "summary": named(" ".join(SPEEDS)),
            "notes": {"onnx_ratio": "Both draw the same picture."},
            "repeats": 5,
            "threads": 2,
        },
        "load": {
            "summary": named(
                "space_jobs space_visitors space_minutes space_mixed space_refused space_lost space_files_left "
                "space_memory_mb space_memory_mb_a_minute space_memory_mb_a_minute_standard_error "
                "space_memory_mb_a_minute_at_most"
            )
        },
        "training": {
            "summary": named("images_per_second_ours images_per_second_ganimation images_per_second_ratio"),
            "side": 128,
            "threads": 2,
        },
    }  # fmt: skip
    made = {"command": "python training/evaluate.py it", "date": "2026-01-02", "seed": 0, "torch": "2.13.0"}
    return {name: values | {"made_by": made | {"weights": weights}} for name, values in results.items()}


def written(files: dict[str, dict], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return folder


def section(card: str, start: str) -> str:
    """The card from a heading's first words to the next heading of its level."""
    level = start.split(" ")[0]
    (found,) = re.findall(rf"^{re.escape(start)}.*?(?=^{level} |\Z)", card, re.MULTILINE | re.DOTALL)
    return found
