"""The model card's tables of edits: requests, the judges' readings, and those of the unedited faces."""

from __future__ import annotations

from collections.abc import Mapping

from ..edits import AU_NAMES
from .results import Results, columns, shown, summary, table

WEAK = 0.3
"""Correlation of asked and read intensity below which an action unit counts as hardly responding."""


def edits(results: Results) -> str:
    """Edits of one method, by the judges at hand; the score of unedited faces beside each figure."""
    judges = results.get("judged_by")
    faces = (
        f"{results.number('faces', 'ages')} test faces (ages) and {results.number('faces', 'action_units')}"
    )
    parts = [
        f"{faces} (action units): {results.get('notes', 'who')}.",
        f"Judges: {'; '.join(f'{kind}: {name}' for kind, name in judges.items())}.",
        summary(results, _edit_figures(results, judges)),
        "By age group, as years asked, read and verified:",
        _age_groups(results),
        _sources(results),
    ]
    if results.has("parts"):
        parts.insert(-1, _parts(results))
    if "identity" in judges:
        parts.insert(3, matcher(results))
    if "expression" in judges:
        parts += [_units(results), _smiles(results)]
    if results.has("hair", "real"):
        parts.append(_hair(results))
    parts += [f"How it is measured:\n\n{_notes(results)}", _weakest(results)]
    return "\n\n".join(part for part in parts if part)


def _edit_figures(results: Results, judges: Mapping[str, str]) -> list[tuple[str, str, str]]:
    figures = []
    if "identity" in judges:
        figures.append(
            ("verification_mean", "age edits verified as the same person, mean of nine groups", "")
        )
    if "age" in judges:
        figures.append(
            ("age_error_mean", "age edits, distance to real faces' mean age, nine groups", "years")
        )
    if "expression" in judges:
        figures += [
            ("au12_slope", "AU12, change read for each step asked", ""),
            ("au12_correlation", "AU12, correlation of asked and read", ""),
            ("au_correlation_mean", "measurable action units, correlation of asked and read", ""),
            ("au_drift", "age edits, drift of the action units (0 to 5)", ""),
        ]
    if {"expression", "age"} <= set(judges):
        figures.append(("age_drift_years", "action unit edits, drift of the age", "years"))
    if results.has("parts"):
        figures += [
            ("network_age_slope", "the generator alone, years read per year asked", ""),
            ("generator_share", "the generator's share of the age that edits move (0 to 1)", ""),
        ]
    return [
        *figures,
        ("no_change_l1", "nothing asked, change of a pixel (0 to 1)", ""),
        ("mask_mean", "share of the face that age edits change", ""),
    ]


def matcher(results: Results) -> str:
    """The threshold of the identity judge with its false and true accept rates."""

    def get(key: str) -> str:
        return results.number("identity", key)

    known = f"; of {get('pairs_same')} pairs of one person it accepts {get('true_accept_rate')} (AUC {get('auc')})"
    return (
        f"Matcher {results.get('judged_by', 'identity')}: verified above a cosine of {get('threshold')}, which "
        f"accepts {get('false_accept_rate')} of {get('pairs_different')} pairs of different people"
        f"{known if results.has('identity', 'auc') else ''}."
    )


def _age_groups(results: Results) -> str:
    wanted = {
        "asked": "asked, years",
        "real_age": "real faces read",
        "age": "edited faces read",
        "nothing_age": "unedited read",
        "verification": "verified",
        "nothing_verification": "verified, doing nothing",
        "cosine": "cosine",
        "kernel_distance": "kernel distance",
        "nothing_kernel_distance": "kernel distance, doing nothing",
    }
    return columns({row["group"]: row for row in results.get("groups")}, wanted, "age group")


def _parts(results: Results) -> str:
    rows = {row["edited_by"]: row for row in results.get("parts")}
    wanted = {
        "faces": "faces",
        "age_slope": "years read per year asked",
        "change": "mean change of a pixel (0 to 1)",
    }
    return f"What the method's two parts do alone:\n\n{columns(rows, wanted, 'edited by')}"


def _sources(results: Results) -> str:
    wanted = {
        "faces": "faces",
        "verification_mean": "verified",
        "age_error_mean": "age error, years",
        "nothing_age_error_mean": "doing nothing",
    }
    parts = (
        ("the set the face is from", "by_source", "set"),
        ("gender, where the set labels it; the real faces of a group are of both", "by_gender", "gender"),
        ("how far the head is turned", "by_turn", "turn"),
    )
    return "\n\n".join(
        f"By {what}:\n\n" + columns(results.get(key), wanted, head) for what, key, head in parts
    )


def _units(results: Results) -> str:
    rows = {f"{code} {AU_NAMES[code]}": row for code, row in results.get("action_units").items()}
    wanted = {
        "slope": "slope",
        "correlation": "correlation",
        "range_on_real_faces": "range on real faces",
        "measurable": "measurable",
        "age_drift_years": "drift of the age, years",
    }
    lost = [results.number("no_face_found", key) for key in ("edited", "edits")]
    text = f"By action unit; the judge found no face on {lost[0]} of {lost[1]} edited pictures:"
    return f"{text}\n\n{columns(rows, wanted, 'action unit')}"


def _smiles(results: Results) -> str:
    rows = [[row["level"], row["asked"], row["read"]] for row in results.get("au12_levels")]
    return "AU12 step by step:\n\n" + table(["change", "asked, mean", "read, mean"], rows)


def _hair(results: Results) -> str:
    rows = [
        [
            name.replace("_", " ").replace("real", "real people, over 60 less 20-29"),
            row["lightness"],
            row["saturation"],
        ]
        for name, row in results.get("hair").items()
        if isinstance(row, dict)
    ]
    text = f"Does hair turn grey? {results.number('hair', 'faces')} faces whose hair shows:"
    return f"{text}\n\n{table(['change of the hair', 'lightness L*', 'chroma C*'], rows)}"


def _notes(results: Results) -> str:
    notes = results.get("notes").items()
    return "\n".join(f"- {key.replace('_', ' ')}: {note}" for key, note in notes if key != "who")


def _weakest(results: Results) -> str:
    """The worst age groups and action units, by the measures themselves."""
    said = []
    groups = [row for row in results.get("groups") if "age_error" in row]
    if groups:
        worst = max(groups, key=lambda row: float(row["age_error"]))
        said.append(
            f"the age group {worst['group']} is missed most: real faces are read as {shown(worst['real_age'])} "
            f"years, edited ones as {shown(worst['age'])}"
        )
    verified = [row for row in results.get("groups") if "verification" in row]
    if verified:
        worst = min(verified, key=lambda row: float(row["verification"]))
        said.append(
            f"the person is lost most often towards {worst['group']}: {shown(worst['verification'])} verified"
        )
    units = results.values.get("action_units", {})
    weak = [code for code, row in units.items() if row["measurable"] and row["correlation"] < WEAK]
    if weak:
        said.append(f"{', '.join(weak)} hardly answer")
    unseen = [code for code, row in units.items() if not row["measurable"]]
    if unseen:
        said.append(f"whether {', '.join(unseen)} answer could not be measured")
    return f"Where it fails most, by these measures: {'; '.join(said)}." if said else ""
