"""Write the README's results table from model_card/results/*.json: `python training/render_readme.py [--check]`.

--check writes nothing and exits 1 when the README does not show what the results files hold.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARKERS = ("<!-- results: written by training/render_readme.py -->", "<!-- /results -->")

FIGURES = (
    ("readers", "age_mae_utkface", "age, mean absolute error on UTKFace", "years", "<= 5.0"),
    ("readers", "age_mae_all", "age, mean absolute error over all sets", "years", "<= 5.5"),
    ("readers", "au_correlation_mean", "action units, mean correlation", "", ">= 0.80"),
    ("readers", "identity_auc", "identity, same or different person (AUC)", "", ">= 0.97"),
    ("readers", "landmark_error_percent", "68 landmarks, error", "% of the eye distance", "<= 3.0"),
    ("finder", "recall", "finder, reference faces found at IoU 0.5", "", ">= 0.97"),
    ("finder", "false_per_photo", "finder, false faces a photo", "", "<= 0.05"),
    ("finder", "landmark_error_percent", "finder, 68 landmarks, error", "% of the eye distance", "<= 4.0"),
    ("finder", "seconds_1024", "finder, a 1024 px photo", "s", "< 0.3"),
    ("edits-ganimation_age", "verification_mean", "age edits verified as the same person", "", ">= 0.9"),
    (
        "edits-ganimation_age",
        "age_error_mean",
        "age edits, error of the mean age over nine groups",
        "years",
        "<= 5",
    ),
    ("edits-ganimation_age", "age_drift_years", "action unit edits, drift of the age", "years", "<= 2"),
    ("edits-ganimation_age", "au12_slope", "AU12 edits, read for each step asked", "", "0.6 to 1.2"),
    ("edits-ganimation_age", "au12_correlation", "AU12 edits, correlation of asked and read", "", ">= 0.8"),
    (
        "edits-ganimation_age",
        "au_correlation_mean",
        "action unit edits, correlation of asked and read",
        "",
        ">= 0.6",
    ),
    ("edits-ganimation_age", "au_drift", "age edits, drift of the action units (0 to 5)", "", "<= 0.3"),
    ("edits-ganimation_age", "no_change_l1", "nothing asked, change of a pixel (0 to 1)", "", "<= 0.02"),
    (
        "table1",
        "agetransgan_verification_mean",
        "AgeTransGAN, ages verified as the same person",
        "",
        ">= 0.92",
    ),
    ("table1", "agetransgan_mi_verification_mean", "AgeTransGAN with MI, verified", "", ">= 0.92"),
    ("table1", "ragan_verification_mean", "Re-Aging GAN, verified", "", ">= 0.92"),
    ("table1", "ragan_mi_verification_mean", "Re-Aging GAN with MI, verified", "", ">= 0.92"),
    ("table1", "prototypes_verification_mean", "prototypes alone, verified", "", ""),
    ("table1", "agetransgan_age_error_mean", "AgeTransGAN, error of the mean age", "years", "<= 4"),
    (
        "table1",
        "agetransgan_mi_age_error_mean",
        "AgeTransGAN with MI, error of the mean age",
        "years",
        "<= 4",
    ),
    ("table1", "ragan_age_error_mean", "Re-Aging GAN, error of the mean age", "years", "<= 4"),
    ("table1", "ragan_mi_age_error_mean", "Re-Aging GAN with MI, error of the mean age", "years", "<= 4"),
    ("table1", "prototypes_age_error_mean", "prototypes alone, error of the mean age", "years", ""),
    ("table1", "mi_better_groups", "groups of nine in which MI verifies more", "", ">= 7"),
    ("multipose", "images", "multi-pose images made", "", ">= 10,400"),
    ("multipose", "images_per_second", "the same, images a second on 2 CPU cores", "", ">= 10"),
    ("age_estimator", "multipose_mae_before", "age on turned pictures, mean absolute error", "years", ""),
    ("age_estimator", "multipose_mae_after", "the same, after training on turned heads", "years", "less"),
    ("age_estimator", "reader_mae_yaw20_before", "age on real faces turned by over 20 degrees", "years", ""),
    ("age_estimator", "reader_mae_yaw20_after", "the same, after training on turned heads", "years", "less"),
    (
        "reenactment",
        "pose_error_degrees",
        "reenactment, yaw and pitch against the driving face",
        "degrees",
        "<= 5",
    ),
    (
        "reenactment",
        "au_error",
        "reenactment, action units against the driving face (0 to 5)",
        "",
        "half of nothing's",
    ),
    ("reenactment", "identity_verification", "reenactment verified as the same person", "", ">= 0.85"),
    ("reenactment", "same_image_l1", "reenactment by itself, change of a pixel (0 to 1)", "", "<= 0.03"),
    ("reenactment", "frames_per_second_256", "reenactment, 256 px frames a second, 2 CPU cores", "", ">= 4"),
    ("speed", "edit_256_seconds", "one edit of a 256 px face photo, 2 CPU cores", "s", "< 1"),
    ("speed", "edit_12mp_seconds", "one edit of a 12-megapixel photo, 2 CPU cores", "s", "< 2"),
    ("speed", "generator_gmacs_256", "generator at 256 px", "G multiply-adds", "<= 5"),
    (
        "training",
        "images_per_second_ratio",
        "training, images/s beside GANimation's own step",
        "times",
        ">= 8",
    ),
)
"""Results file, key of its summary, what it is called, its unit, and what was set out to be reached. What doing nothing
would score stands beside it where the summary has it, by the same key after `nothing_`."""


def render(results: Path) -> str:
    """The table as Markdown; a figure whose file is not there is left out."""
    rows = ["| measured | value | to reach, or for comparison |", "|---|---|---|"]
    for file, key, label, unit, goal in FIGURES:
        summary = read_summary(results / f"{file}.json")
        if summary.get(key) is not None:
            nothing = summary.get(f"nothing_{key}")
            aim = goal if nothing is None else f"{goal}; doing nothing: {nothing:.3g}"
            value = f"{summary[key]:,}" if isinstance(summary[key], int) else f"{summary[key]:.3g}"
            rows.append(f"| {label} | {f'{value} {unit}'.strip()} | {aim} |")
    return "\n".join(rows)


def read_summary(path: Path) -> dict[str, float]:
    """The plain numbers of one results file; empty when the file is not there."""
    return json.loads(path.read_text(encoding="utf-8"))["summary"] if path.exists() else {}


def fill(readme: str, table: str) -> str:
    """The README's text with the table between its markers; ValueError when a marker is missing."""
    start, end = MARKERS
    if start not in readme or end not in readme:
        raise ValueError(f"README.md needs the markers {start} and {end}")
    between = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    return between.sub(lambda _: f"{start}\n{table}\n{end}", readme)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    path = ROOT / "README.md"
    before = path.read_text(encoding="utf-8")
    after = fill(before, render(ROOT / "model_card" / "results"))
    if not given.check:
        path.write_text(after, encoding="utf-8")
        return 0
    if before != after:
        print(
            "README.md does not show the results files; run python training/render_readme.py", file=sys.stderr
        )
    return int(before != after)


if __name__ == "__main__":
    sys.exit(main())
