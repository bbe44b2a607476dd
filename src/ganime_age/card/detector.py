"""The face detector's results as Markdown: ordinary photos, and the same photos made harder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .results import Results, columns, shown, summary

LEAST_RECALL = 0.9
"""A condition in which fewer faces are found is named as a shortfall."""
OURS = "ganime_age"
OTHERS = {"insightface": "InsightFace", "yunet": "YuNet"}


def finder(results: Results) -> str:
    """The face detector on ordinary photos."""
    figures = [
        ("recall", "reference faces found", ""),
        ("false_per_photo", "false faces a photo", ""),
        ("landmark_error_percent", "68 landmarks, error in % of the eye distance", "%"),
        ("seconds_1024", "a photo of 1024 px", "s"),
    ]
    wanted, sides = {"faces": "faces", "recall": "found"}, results.get("recall_by_box_side")
    parts = [
        f"{results.number('counts', 'photos')} photos with {results.number('counts', 'reference_faces')} "
        f"reference faces; matched {results.get('settings', 'matching')}.{_unlisted(results)}",
        summary(results, figures),
        columns(results.get("recall_by_source"), wanted, "set"),
        columns(dict(sorted(sides.items(), key=_first_number)), wanted, "side of the face"),
    ]
    return "\n\n".join([*parts, *([conditions(results)] if results.has("conditions") else [])])


def _unlisted(results: Results) -> str:
    """Which of the faces that the reference lacks count as false, where a witness was asked."""
    if not results.has("settings", "witness"):
        return ""
    witness = results.get("settings", "witness")
    if witness is None:
        return " Every found face that the reference, another detector's, lacks counts as false."
    return (
        f" {results.number('counts', 'beyond_reference')} found faces stand where the reference, another detector's, "
        f"lists none; false are the {results.number('counts', 'false')} of them that a third detector, {witness}, does "
        "not find either."
    )


def conditions(results: Results) -> str:
    """The detector on photos made harder, beside those of others, and in which conditions it falls short."""
    rows = results.get("conditions", "by_condition")
    wanted = {
        "recall": "found",
        "false": "false a photo",
        "score": "score",
        "landmarks": "68 landmarks, %",
        "five_points": "five points, %",
    }
    # One row of the table a condition, in which a detector's figure has the detector's name before its own.
    flat = {
        name: {f"{who} {key}": value for who, row in by.items() for key, value in row.items()}
        for name, by in rows.items()
    }
    heads = {f"{OURS} {key}": head for key, head in wanted.items()}
    for who, title in OTHERS.items():
        heads |= {
            f"{who} {key}": f"{title}: {wanted[key]}" for key in ("recall", "false", "score", "five_points")
        }
    how = results.get("conditions", "how")
    text = (
        f"{results.number('conditions', 'photos')} of the photos made harder. {how[:1].upper()}{how[1:]}. Errors are "
        "in % of the eye distance, of the faces found; hidden points count, and the detectors define their five "
        "points a little differently. The boxes of the reference are SCRFD's, an InsightFace detector's, "
        f"which favours it here. {_shortfalls(rows)}"
    )
    return f"{text}\n\n{columns(flat, heads, 'the photo')}"


def _shortfalls(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """In words: the worst size and angle, where too few faces are found, where another detector finds more, where
    landmarks err twice as much as on the photo as it is."""
    ours = {name: row[OURS] for name, row in rows.items()}
    least = [
        min((row["recall"] for name, row in ours.items() if "px" in name), default=None),
        min((row["recall"] for name, row in ours.items() if "turned" in name), default=None),
    ]
    few = [f"{name} ({shown(row['recall'])})" for name, row in ours.items() if row["recall"] < LEAST_RECALL]
    behind = [
        f"{name} ({OTHERS[who]}, {shown(row[who]['recall'])})"
        for name, row in rows.items()
        for who in OTHERS
        if who in row and row[who]["recall"] > ours[name]["recall"]
    ]
    usual = next(iter(ours.values())).get("landmarks")
    far = [
        f"{name} ({shown(row['landmarks'])} %)"
        for name, row in ours.items()
        if usual and row.get("landmarks") and row["landmarks"] > 2 * usual
    ]
    told = {
        f"Fewer than {LEAST_RECALL:.0%} of the faces are found: ": few,
        "Another detector finds more: ": behind,
        "Landmarks err more than twice as far as on the photo as it is: ": far,
    }
    worst = f"The least share found is {shown(least[0])} of all sizes and {shown(least[1])} of all angles. "
    return worst + " ".join(f"{start}{', '.join(names) or 'nowhere'}." for start, names in told.items())


def _first_number(item: tuple[str, Any]) -> int:
    return int(re.findall(r"\d+", item[0])[0])
