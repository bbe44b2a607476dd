"""The model card's tables of edits of whole photos, by source, race, age asked, judge and method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.methods import METHODS
from .edits import matcher
from .results import Results, columns, shown, summary, table

PAPER_NATURAL = 70
"""By eye, of 100."""

FIGURES = (
    ("age_error_mean", "distance to real faces' mean age, nine groups, mean of the sources", "years"),
    ("age_slope", "years read for each year asked", ""),
    ("real_age_slope", "years read for each year that real people are older", ""),
    ("age_single_error", "the same distance of single photos", "years"),
    ("age_spread", "spread of the readings over photos, standard deviation", "years"),
    ("verification_mean", "verified as the same person", ""),
    ("outside_change_mean", "change outside face, neck and hair, mean", "of 255"),
    ("outside_change_999", "the same, 99.9th percentile", "of 255"),
    ("border_step", "step across the border of the frame", "of 255"),
    ("border_step_alike", "the same, of hair beside hair and of the rest beside the rest", "of 255"),
    ("headwear_change_mean", "change of headwear", "of 255"),
    ("size_spread_years", "reading of one photo at 256, 512 and 1,024 px, largest less smallest", "years"),
    (
        "smile_points_left",
        "real smiles: error of the mouth's points that is left, share of doing nothing",
        "",
    ),
    ("smile_blendshapes_left", "real smiles: error of the blendshapes that is left", ""),
    ("smile_nearer", "real smiles: share of edits that come nearer, by the points", ""),
    ("blind_natural_edits", "blind sheet: edits that looked natural", ""),
    ("blind_natural_real_photos", "blind sheet: real photos that looked natural", ""),
)
"""Key of the summary, label and unit; what was not measured is left out."""
OF_PART = {
    "photos": "photos",
    "age_error_mean": "age error, years",
    "nothing_age_error_mean": "doing nothing",
    "slope": "slope",
    "single_error": "single photos, years",
    "spread": "spread, years",
    "verification": "verified",
    "own_age_error": "unedited, error of the known age",
}
OF_METHOD = {
    "photos": "photos",
    "age_error_mean": "age error, years",
    "slope": "slope",
    "verification": "verified",
    "outside_change_mean": "change outside, of 255",
    "border_step": "step at the border, of 255",
    "border_step_alike": "hair beside hair, rest beside rest",
}


def photos(results: Results) -> str:
    """Edits of whole photos from file to file; the score of unedited photos beside each figure."""
    judges = "; ".join(f"{kind}: {name}" for kind, name in results.get("judged_by").items())
    held = [figure for figure in FIGURES if results.has("summary", figure[0])]
    parts = [
        f"{_counts(results)}: {results.get('notes', 'who')}.",
        f"Judges: {judges}. None steered an edit.",
        summary(results, held),
        blind(results),
        matcher(results),
        "The default method, its two parts, and the other methods, on the same photos:",
        columns(results.get("methods"), OF_METHOD, "edited by") if results.has("methods") else "",
        "By years asked:",
        _groups(results),
        "By judge:",
        columns(results.get("judges"), _JUDGE, "judge"),
        *_lines(results),
        _expressions(results),
        _sizes(results),
        _natural(results),
        _mark(results),
        f"How it is measured:\n\n{_notes(results)}",
    ]
    return "\n\n".join(part for part in _without_empty_tables(parts))


def blind(results: Results) -> str:
    """What a viewer of the blind sheet counted."""
    if not results.has("blind"):
        return ""
    told = _counted(results.get("blind"))
    return f"The blind sheet, edits among real photos in random order: {told}."


def natural(results: Results) -> str:
    """What viewers of each method's blind sheet counted."""
    rows = [
        f"- {METHODS[name].title if name in METHODS else name}, weights {row['weights'][:8]}, {row['date']}: "
        f"{_counted(row)}."
        for name, row in results.get("methods").items()
    ]
    told = (
        "Edits of one method among as many real photos, in random order and one by one, up to 640 pixels. The authors "
        f"of the CelebA study of GANimation-age counted {PAPER_NATURAL} of 100 random edits as natural."
    )
    return "\n\n".join([told, "\n".join(rows)])


def _counted(answers: Mapping[str, Any]) -> str:
    counts = " and ".join(
        f"{row['natural']} of {row['answered']} {kind.replace('_', ' ')}"
        for kind, row in answers.items()
        if kind in ("edits", "real_photos")
    )
    return f"{counts} looked natural to {answers['by']}"


_JUDGE = {
    "age_error_mean": "age error, years",
    "slope": "slope",
    "real_faces_slope": "slope on real faces",
    "real_faces_error": "mean absolute error on real faces, years",
}


def _without_empty_tables(parts: list[str]) -> list[str]:
    """The parts but for empty ones, and for a heading whose table is empty."""
    return [
        part
        for part, following in zip(parts, [*parts[1:], "end"], strict=True)
        if part and (following or part[-1] != ":")
    ]


def _counts(results: Results) -> str:
    counted = [f"{number} {name}" for name, number in results.get("faces").items() if name != "left_out"]
    left = results.get("faces", "left_out")
    checked = "" if results.get("training_pictures_checked") else " (training pictures could not be told)"
    return (
        f"{', '.join(counted)}; left out: {left['learnt_from']} that a network of ours learnt from{checked}, "
        f"{left['no_face_or_another']} without a face that is found"
    )


def _groups(results: Results) -> str:
    wanted = {
        "asked": "asked, years",
        "real_age": "real faces read",
        "age": "edited photos read",
        "nothing_age": "unedited read",
        "age_error": "age error",
        "spread": "spread",
        "verification": "verified",
        "outside_change_mean": "change outside",
        "border_step": "step at the border",
    }
    rows = results.get("groups")
    by_group = columns({row["group"]: row for row in rows}, wanted, "age group")
    judges = list(rows[0]["judges"])
    each = [
        [row["group"], *(row["judges"][j] for j in judges), *(row["real_judges"][j] for j in judges)]
        for row in rows
    ]
    head = ["age group", *(f"{name}, edited" for name in judges), *(f"{name}, real" for name in judges)]
    return f"{by_group}\n\nEach judge's mean reading:\n\n{table(head, each)}"


def _lines(results: Results) -> list[str]:
    said = []
    for key, words in (
        ("by_source", "source"),
        ("by_race", "race, as FairFace's annotators saw it"),
        ("by_known_age", "known age of the person"),
    ):
        if results.has(key) and results.get(key):
            said += [f"By {words}:", columns(results.get(key), OF_PART, words.split(",")[0])]
    return said


def _expressions(results: Results) -> str:
    if not results.has("expressions"):
        return ""
    wanted = {
        "edits": "edits",
        "points_left": "points left",
        "nearer_by_points": "nearer",
        "blendshapes_left": "blendshapes left",
        "nearer_by_blendshapes": "nearer by blendshapes",
    }
    rows = {
        words: results.get("expressions", key)
        for key, words in (("to_smile", "neutral to smiling"), ("to_neutral", "smiling to neutral"))
    }
    return (
        f"Real pairs of {results.number('expressions', 'people')} people (by {results.get('expressions', 'judge')}): "
        f"the action units read on one photo are asked of the other.\n\n{columns(rows, wanted, 'edit')}"
    )


def _sizes(results: Results) -> str:
    if not results.has("sizes") or not results.get("sizes", "by_size"):
        return ""
    rows = {f"{side} px": row for side, row in results.get("sizes", "by_size").items()}
    wanted = {key: key.replace("_", " ") for key in next(iter(rows.values()))}
    return f"One photo at three sizes, read:\n\n{columns(rows, wanted, 'longer side')}"


def _natural(results: Results) -> str:
    if not results.has("naturalness") or not results.get("naturalness"):
        return ""
    rows = [
        [
            kind,
            row["distance_mean"],
            row["nothing_distance_mean"],
            max(g["standard_error"] for g in row["groups"].values()),
        ]
        for kind, row in results.get("naturalness").items()
    ]
    head = ["crop", "edited", "unedited", "largest standard error of a group"]
    return f"Kernel distance to real faces of the group asked, mean of the groups:\n\n{table(head, rows)}"


def _mark(results: Results) -> str:
    if not results.has("mark"):
        return ""
    marked, plain = (results.get("mark", name) for name in ("with", "without"))
    return (
        f"Asked for {results.number('mark', 'asked')} years, {results.number('mark', 'photos')} photos change outside "
        f"by {shown(marked['outside'])} of 255 with the watermark and {shown(plain['outside'])} without; the step at "
        f"the border is {shown(marked['border'])} and {shown(plain['border'])}."
    )


def _notes(results: Results) -> str:
    notes = results.get("notes").items()
    return "\n".join(f"- {key.replace('_', ' ')}: {note}" for key, note in notes if key != "who")
