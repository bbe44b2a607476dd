"""The model card on turned heads: the set that was made of them, and an age estimator that learnt from it."""

from __future__ import annotations

from .results import Results, columns, goals_summary, summary, table

BY_YAW = {
    "images": "images",
    "identity_cosine": "identity cosine",
    "age_drift": "age drift, years",
    "age_error": "age error, years",
    "yaw_error": "yaw error, degrees",
    "pitch_error": "pitch error, degrees",
}


def multipose(results: Results) -> str:
    """A multi-pose set: counts, rejects, and identity and age by yaw."""
    figures = [
        ("images", "images", ""),
        ("test_share", "share of the test split, whose people are in no training image", ""),
        ("identity_cosine_mean", "identity, mean cosine to the source", ""),
        ("age_drift_years", "age read on the image, minus on its source", "years"),
        ("rejected_share", "tries that a gate rejected", ""),
        ("images_per_second", "images a second, of all processes, rejected tries included", ""),
    ]
    by_yaw = {f"{yaw} degrees": row for yaw, row in results.get("by_yaw").items()}
    rejects = ", ".join(f"{reason} {count}" for reason, count in results.get("rejected").items())
    parts = [
        f"Made by the backend {results.get('backend')} of training/augment_multipose.py. Identity, age and pose are "
        "what the package's own readers see.",
        summary(results, figures),
        f"Rejected, by the first gate failed: {rejects or 'none'}.",
        columns(by_yaw, BY_YAW, "target yaw"),
    ]
    return "\n\n".join(parts)


def age_estimator(results: Results) -> str:
    """The age estimator on turned heads, before and after training on them."""
    labels = {
        "multipose_mae": "turned pictures of a multi-pose test split",
        "reader_mae_yaw20": "turned real faces",
        "real_turned": "turned photos of FairFace and UTKFace that no reader chose",
    }
    rows = [
        [label, *(results.get("summary").get(f"{key}_{when}") for when in ("before", "after"))]
        for key, label in labels.items()
        if results.has("summary", f"{key}_before")
    ]
    parts = [
        f"{results.number('faces', 'multipose')} pictures of the {results.get('notes', 'multipose')}.",
        table(["mean absolute age error, years", "before", "after training on turned heads"], rows),
        goals_summary(results),
        "By how far the head is turned:",
    ]
    for key in ("by_yaw", "real_by_yaw"):
        if key in results.values:
            before, after = (results.get(key, when) for when in ("before", "after"))
            both = {turn: row | {"after": after[turn]["mae"]} for turn, row in before.items()}
            first = "turned pictures" if key == "by_yaw" else "real faces"
            parts.append(columns(both, {"faces": "faces", "mae": "before", "after": "after"}, first))
    if results.has("real_turned", "before", "mae"):
        parts.append(_real_turned(results))
    return "\n\n".join(part for part in parts if part)


def _real_turned(results: Results) -> str:
    """Which turned photos were read, of which set, and by which readers."""
    found, weights = results.get("real_turned", "before"), results.get("real_turned", "weights")
    sets = [f"{row['mae']:.3g} years on {row['faces']} of {name}" for name, row in found["by_source"].items()]
    return (
        f"The turned photos are {results.get('notes', 'real_turned')}. Before: {', '.join(sets)}; the median age for "
        f"everybody: {found['constant']:.3g} years. Readers, by their fingerprints: "
        + ", ".join(f"{when} {digits}" for when, digits in weights.items())
        + "."
    )
