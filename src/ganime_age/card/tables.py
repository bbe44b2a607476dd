"""Results files as Markdown: the measured tables of the model card. No figure stands here, each is looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..edits import AU_NAMES
from .detector import finder
from .edits import edits
from .multipose import age_estimator, multipose
from .photos import natural, photos
from .reenactment import reenactment
from .results import Results, columns, shown, summary, table
from .table1 import table1

WITHIN = "age, share of faces within the interval that is said to hold 80 %"
GAP = "age, years outside the labelled range: the worst race's mean less the best one's"
FAR = 5
"""Years outside the labelled range from which a cell of faces is counted as far off."""
RECUT = "age of one face cut out in three ways, largest less smallest, mean"
TAR = "identity, pairs of one person above the cosine that 1 in 1,000 pairs of different people exceed"


def readers(results: Results) -> str:
    """The readers on held-out faces: by set, age group, gender and head pose."""
    figures = [
        *_held(results, ("age_mae_utkface", "age on UTKFace, mean absolute error", "years")),
        ("age_mae_all", "age over all sets, mean absolute error", "years"),
        *_held(results, ("age_interval_coverage", WITHIN, ""), ("age_gap_race_years", GAP, "years")),
        ("au_correlation_mean", "action units, mean correlation with the labels", ""),
        *_held(results, ("recut_years_apart", RECUT, "years")),
        ("identity_auc", "identity, same or different person (AUC)", ""),
        *_held(results, ("identity_tar_far1e3", TAR, "")),
        ("landmark_error_percent", "68 landmarks, error in % of the eye distance", "%"),
        ("yaw_error_degrees", "yaw, error", "degrees"),
        ("pitch_error_degrees", "pitch, error", "degrees"),
    ]
    group = {
        "faces": "faces",
        "mae": "error, years",
        "bias": "bias, years",
        "mean_read": "read, mean",
        "mean_true": "true, mean",
    }
    by = {
        "by_group": "age group",
        "by_gender": "gender, as labelled",
        "by_gender_and_group": "gender and age group",
        "by_yaw": "head turned by",
    }
    parts = [
        f"{results.number('faces')} test faces. Identity: {results.get('identity', 'who')}; the teacher itself "
        f"reaches {results.number('identity', 'teacher_auc')}. Doing nothing answers "
        f"{results.number('age', 'constant_years')} years for everybody.",
        summary(results, figures),
        table(["set", "age error, years"], results.get("age", "mae_by_set").items()),
    ]
    parts += [
        columns(results.get("age", key), group, first) for key, first in by.items() if results.has("age", key)
    ]
    parts += _outside(results)
    units = {f"{code} {AU_NAMES[code]}": value for code, value in results.get("au_correlation").items()}
    parts.append(table(["action unit", "correlation with the label"], units.items()))
    if results.has("smiles"):
        parts.append(smiles(results))
    return "\n\n".join(parts)


def smiles(results: Results) -> str:
    """What is read of neutral and smiling photos of the same people, and what their lower lids show."""
    lids = {name: results.number("smiles", "lower_lids", name) for name in ("rise_percent", "higher")}
    text = (
        f"{results.number('smiles', 'people')} people, neutral and smiling: mean readings, and the share of people of "
        f"whom the smiling photo reads higher. AU06 has no labels. What geometry shows of it: the lower lids rise by "
        f"{lids['rise_percent']} % of the eye distance in the mean, and in {lids['higher']} of the people at all"
    )
    if results.get("smiles", "lower_lids")["told_by_au12_and_au07"] is not None:
        told = results.number("smiles", "lower_lids", "told_by_au12_and_au07")
        text += f"; AU12 and AU07 explain {told} of its variance"
    text += "."
    units = {f"{code} {AU_NAMES[code]}": row for code, row in results.get("smiles", "units").items()}
    told_as = {"neutral": "neutral", "smiling": "smiling", "higher": "higher, share of people"}
    return f"{text}\n\n{columns(units, told_as, 'action unit')}"


def _outside(results: Results) -> list[str]:
    """The age readings of faces with a range of ages, by race, gender and range, as far as they were measured."""
    told = {"faces": "faces", "outside_years": "outside the labelled range, years", "bias": "bias, years"}
    by = {"by_race": "race, as annotated", "by_gender_and_range": "gender and labelled range"}
    parts = [
        columns(results.get("age", key), told, first) for key, first in by.items() if results.has("age", key)
    ]
    if not results.has("age", "by_gender_race_range"):
        return parts
    rows = results.get("age", "by_gender_race_range")
    ranges = dict.fromkeys(at for row in rows.values() for at in row)
    worst, where = max((years, f"{who}, {at}") for who, row in rows.items() for at, years in row.items())
    cells = [years for row in rows.values() for years in row.values()]
    far = sum(years > FAR for years in cells)
    least, most = (results.number("age", "cell_faces", key) for key in ("least", "most"))
    text = (
        f"Years outside the labelled range by gender, race and range; with {least} to {most} faces a cell they are "
        f"rough. The worst is {where} with {shown(worst)}; {far} of {len(cells)} are more than {FAR} years off."
    )
    return [*parts, text, columns(rows, {at: at for at in ranges}, "gender and race, as annotated")]


def _held(results: Results, *figures: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    """The figures that this test split could give."""
    return [figure for figure in figures if results.has("summary", figure[0])]


def speed(results: Results) -> str:
    """Seconds an edit, the speed of clips, folders, graphs and the multi-pose set, and the generator's size."""
    figures = [
        ("edit_256_seconds", "an edit of a 256 px face photo", "s"),
        ("edit_12mp_seconds", "an edit of a 12-megapixel photo", "s"),
        *_held(
            results,
            ("clip_frames_per_second", "an age edit of a 720p clip, frames a second", ""),
            ("reenact_frames_per_second", "a 256 px photo driven by that clip, frames a second", ""),
            ("onnx_ratio", "seconds of an edit by torch over those by onnxruntime", ""),
            ("help_seconds", "`ganime-age --help`", "s"),
            (
                "workers_efficiency_2",
                "photos a second of two workers on two cores over twice those of one on one",
                "",
            ),
            (
                "multipose_images_per_second",
                "images a second made for a multi-pose set, rejected ones not counted",
                "",
            ),
        ),
        ("generator_gmacs_256", "the generator at 256 px", "G multiply-adds"),
    ]
    text = f"Median of {results.number('repeats')} on {results.number('threads')} threads of a CPU."
    notes = results.get("notes").values() if results.has("notes") else ()
    return f"{' '.join([text, *notes])}\n\n{summary(results, figures)}"


def load(results: Results) -> str:
    """What half an hour of visitors and a large folder lost, left and took."""
    kinds = {
        "space": (
            "the page",
            "{jobs} jobs of {visitors} visitors in {minutes} minutes, {mixed} mixed up; {refused} bad files refused",
        ),
        "folder": (
            "a folder",
            "{photos} photos by two processes in {minutes} minutes; {bad} bad ones, {bad_not_named} of them not named",
        ),
    }
    wanted = {"lost": "lost", "files_left": "files left", "memory_mb": "memory, MB"}
    wanted |= {
        "memory_mb_a_minute": "growth, MB a minute",
        "memory_mb_a_minute_standard_error": "its standard error",
        "memory_mb_a_minute_at_most": "at most",
    }
    found, rows = results.get("summary"), {}
    for kind, (name, said) in kinds.items():
        own = {
            key.removeprefix(f"{kind}_"): value for key, value in found.items() if key.startswith(f"{kind}_")
        }
        if own:
            rows[f"{name}: {said.format_map(own)}"] = own
    return columns(rows, wanted, "what was done")


def _clean(results: Results) -> list[tuple[str, str, str]]:
    """How many test pictures that nobody edited were taken for marked."""
    if not results.has("summary", "clean_photos"):
        return []
    of = f"of {results.number('summary', 'clean_photos')} pictures"
    return [("clean_false_positives", "found in test pictures that nobody edited", of)]


def provenance(results: Results) -> str:
    """The watermark: detection after common changes, visibility, false positives."""
    found = {
        key.removeprefix("detected_").replace("_", " "): value
        for key, value in results.get("summary").items()
        if key.startswith("detected_")
    }
    figures = [
        ("psnr_db_median", "the mark's PSNR where it is, median", "dB"),
        (
            "false_positives",
            "found where it is not",
            f"of {results.number('summary', 'unmarked_trials')} trials",
        ),
        ("false_positive_bound_per_face", "bound of its chance, a face", ""),
        *_clean(results),
    ]
    text = f"{results.number('counts', 'photos')} edited photos; found again after each of these changes:"
    marks = table(["changed to", "share of faces with the mark found"], found.items())
    rows = results.get("by_frame_side")
    sides = {f"{row['from']} to {row['to']} px": row for row in rows[:-1]}
    sides |= {f"{row['from']} px and more": row for row in rows[-1:]}
    wanted = {"photos": "photos", "png": "as written", "jpeg_85": "JPEG 85", "jpeg_75": "JPEG 75"}
    by_side = columns(sides, wanted, "side of the face's frame")
    return f"{text}\n\n{marks}\n\n{by_side}\n\n{summary(results, figures)}"


def training(results: Results) -> str:
    """Images a second of the default recipe beside GANimation's."""
    figures = [
        ("images_per_second_ours", "GANimation-age, images a second", ""),
        ("images_per_second_ganimation", "GANimation as published, images a second", ""),
        ("images_per_second_ratio", "times as fast, in images on which the generator was updated", ""),
        *_held(results, ("images_per_second_ratio_every_batch", "the same, in images of every batch", "")),
    ]
    figures += _held(results, ("plan_recipes_ok", "recipes that pass on a pretended GPU", ""))
    figures += _held(results, ("syncs_per_step_max", "waits of the host for it in a step, at most", ""))
    text = f"Full training steps at {results.number('side')} px on {results.number('threads')} CPU threads."
    return f"{text}\n\n{summary(results, figures)}{recipe_speeds(results)}"


def recipe_speeds(results: Results) -> str:
    """Images a second of every recipe that was measured."""
    rows = results.values.get("recipes", {}).get("rows", {})
    found = {name: row for name, row in rows.items() if row.get("images_per_second")}
    if not found:
        return ""
    wanted = {"syncs_per_step": "waits in a step", "images_per_second": "images a second of one core"}
    return f"\n\n{columns(found, wanted, 'recipe')}"


SECTIONS: tuple[tuple[str, str, Callable[[Results], str]], ...] = (
    ("photos", "Edits of whole photos", photos),
    ("natural", "What looks natural", natural),
    ("edits-*", "Edits: {method}", edits),
    ("table1", "Age methods side by side, as in AgeTransGAN's Table I", table1),
    ("multipose", "The multi-pose set", multipose),
    ("age_estimator", "Age estimator on turned heads", age_estimator),
    ("reenactment", "Reenactment", reenactment),
    ("readers", "Readers: age, action units, identity, landmarks, pose", readers),
    ("finder", "Face finder", finder),
    ("provenance", "Watermark", provenance),
    ("speed", "Speed of an edit", speed),
    ("load", "Under load", load),
    ("training", "Speed of training", training),
)
"""Name of the results file, heading, rendering function. A missing file has no section."""


def measured(found: Mapping[str, Results]) -> str:
    """All sections for which there is a results file (by name, without its ending)."""
    parts = []
    for pattern, heading, render in SECTIONS:
        names = [n for n in found if n == pattern or (pattern.endswith("*") and n.startswith(pattern[:-1]))]
        for name in sorted(names):
            title = heading.format(method=found[name].values.get("method", name))
            parts += [f"### {title}", render(found[name]), *found[name].remarks, _made_by(found[name])]
    return "\n\n".join(parts)


def _made_by(results: Results) -> str:
    made = results.get("made_by")
    return f"Written by `{made['command']}` on {made['date']} (seed {made['seed']}, torch {made['torch']})."
