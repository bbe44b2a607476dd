"""The model card's table of age methods, laid out as AgeTransGAN's Table I, the paper's own numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.methods import METHODS, row_titles
from .edits import matcher
from .results import Results, columns, goals_summary, shown, table

BASELINES = {"prototypes": ("prototypes alone", "#8b6fb5"), "nothing": ("doing nothing", "#9a9aa0")}
"""Rows that no method edits: title and colour."""
INK = "#1d1d1f"
FIGURE = "table1.png"

PAPER_GROUPS = ("0-2", "3-6", "7-9", "10-14", "15-19", "30-39", "40-49", "50-69", "70+")
PAPER_VERIFIED = {
    "without MI": (83.2, 95.4, 98.5, 99.3, 99.3, 99.7, 99.3, 99.1, 93.6),
    "with MI": (85.3, 96.4, 99.1, 99.2, 99.7, 99.6, 99.7, 99.6, 94.2),
}
PAPER_AGES = {
    "real faces": (1.5, 4.9, 8.6, 12.8, 18.9, 31.9, 43.9, 57.2, 68.9),
    "without MI": (2.1, 5.2, 8.3, 13.8, 17.6, 33.4, 41.8, 54.6, 65.7),
    "with MI": (2.1, 5.0, 8.6, 13.4, 18.5, 34.7, 41.2, 54.1, 65.3),
}
"""Table I of the paper that adds the mutual identity loss to AgeTransGAN: verified in %, mean estimated age in years;
source faces of 20-29."""

DIFFERS = """What differs: the paper's matcher and age estimator are its own, ours those named above. A threshold
belongs to its matcher, so verification can be compared within a table, not across. An unedited face is always verified:
read verification and age error together."""


def title(name: str) -> str:
    """What a row is called."""
    return (row_titles() | BASELINES).get(name, (name, INK))[0]


def colour(name: str) -> str:
    """The colour of a row's curve."""
    return (row_titles() | BASELINES).get(name, (name, INK))[1]


def table1(results: Results) -> str:
    """Verification and mean age of every method by group, beside the paper's."""
    methods, groups = results.get("methods"), results.get("groups")
    left = [title(name) for name in results.get("left_out")]
    parts = [
        f"{results.number('faces', 'edited')} {results.get('notes', 'who')}.",
        f"Age judge: {results.get('judged_by', 'age')}; on real faces it is off by "
        f"{results.number('age_judge', 'mean_absolute_error_years', 'all')} years. {matcher(results)}",
        f"Not in the table, for want of weights: {', '.join(left)}." if left else "",
        _earlier(results),
        f"![Table I as measured here](figures/{FIGURE})",
        "Verified as the same person, in %:",
        _verified(methods, groups),
        "The paper's:",
        _rows(PAPER_GROUPS, {name: (*row, _mean(row)) for name, row in PAPER_VERIFIED.items()}, "mean"),
        "Mean estimated age, in years; the last column is its mean distance from that of real faces:",
        _ages(methods, groups),
        "The paper's:",
        _rows(PAPER_GROUPS, _with_error(PAPER_AGES), "error"),
        "What a row shows beside that of the prototypes alone is what its network has learnt over them.",
        _mi(results),
        _seeds(results),
        _by_yaw(results),
        goals_summary(results),
        " ".join(DIFFERS.split()),
    ]
    return "\n\n".join(part for part in parts if part)


def _earlier(results: Results) -> str:
    """Which rows were not measured anew; empty where all were."""
    if not results.has("earlier") or not results.get("earlier"):
        return ""
    dates = results.get("earlier")
    names = ", ".join(f"{'several runs' if row == 'seeds' else title(row)} ({dates[row]})" for row in dates)
    return f"Measured earlier, on the prototypes and the hair network of then, for those runs are not kept: {names}."


def _verified(methods: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    rows = {}
    for name, own in methods.items():
        shares = [100 * row["verification"] for row in own]
        rows[title(name)] = (*shares, _mean(shares))
    return _rows([group["group"] for group in groups], rows, "mean")


def _ages(methods: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> str:
    ages = {title(name): tuple(row["age"] for row in own) for name, own in methods.items()}
    ages = {"real faces": tuple(group["real_age"] for group in groups)} | ages
    asked = {"asked": (*(group["asked"] for group in groups), None)}
    return _rows([group["group"] for group in groups], asked | _with_error(ages), "error")


def _with_error(ages: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float | None, ...]]:
    """The rows with their mean distance from the row `real faces`."""
    real = ages["real faces"]
    return {
        name: (*row, None if row is real else _mean([abs(a - b) for a, b in zip(row, real, strict=True)]))
        for name, row in ages.items()
    }


def _rows(groups: Sequence[str], rows: Mapping[str, Sequence[float | None]], last: str) -> str:
    return table(["", *groups, last], [[name, *row] for name, row in rows.items()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _by_yaw(results: Results) -> str:
    """Means over the groups by how far the head is turned; empty where that was not measured."""
    if not results.has("yaw_bins"):
        return ""
    return f"By how far the head is turned, means over the groups:\n\n{_turned(results.get('yaw_bins'))}"


def _turned(bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Row -> its means by yaw, as a table."""
    rows = {f"{title(name)}, {row['yaw']} degrees": row for name, own in bins.items() for row in own}
    wanted = {
        "faces": "faces",
        "verification": "verified",
        "cosine": "cosine",
        "age_error": "age error, years",
    }
    return columns(rows, wanted, "turned")


def _mi(results: Results) -> str:
    """In how many groups the MI loss helps, here and in the paper; empty where several runs tell it better."""
    if results.has("summary", "agetransgan_seeds") or not results.has("summary", "mi_better_groups"):
        return ""
    pairs = zip(PAPER_VERIFIED["with MI"], PAPER_VERIFIED["without MI"], strict=True)
    paper, errors = sum(a > b for a, b in pairs), _with_error(PAPER_AGES)
    ours = [results.number("summary", f"agetransgan{end}_age_error_mean") for end in ("_mi", "")]
    better, equal, nearer = (
        results.number("summary", f"mi_{how}_groups") for how in ("better", "equal", "nearer")
    )
    return (
        f"With the MI loss more faces are verified than without it in {better} of {len(results.get('groups'))} groups "
        f"(paper: {paper} of {len(PAPER_GROUPS)}), as many in {equal}, and the mean cosine to the source is larger in "
        f"{nearer}; the mean age error is {ours[0]} years with it and {ours[1]} without "
        f"(paper: {shown(errors['with MI'][-1])} and {shown(errors['without MI'][-1])})."
    )


def _seeds(results: Results) -> str:
    """What the MI loss adds from run to run; empty where no row was trained several times."""
    if not results.has("seeds") or not results.get("seeds"):
        return ""
    runs = {
        f"{title(name)}, run {number}": run
        for name, own in results.get("seeds").items()
        for number, run in enumerate(own, 1)
    }
    wanted = {
        "verification_mean": "verified",
        "cosine_mean": "cosine",
        "age_error_mean": "age error, years",
    }
    told = [_gain(results, name) for name in METHODS if results.has("summary", f"{name}_seeds")]
    first = {name: own[0].get("yaw_bins", ()) for name, own in results.get("seeds").items()}
    parts = [f"Several runs: {results.get('notes', 'seeds')}.", columns(runs, wanted, "run"), *told]
    return "\n\n".join([*parts, "The first run of each, by how far the head is turned:", _turned(first)])


def _gain(results: Results, name: str) -> str:
    """One method's mean and spread of what the MI loss adds."""

    def number(key: str) -> str:
        return results.number("summary", f"{name}_seeds_mi_{key}")

    return (
        f"{METHODS[name].title}, {results.number('summary', f'{name}_seeds')} runs each: with the MI loss the share of "
        f"verified faces changes by {number('verification_gain')} (standard deviation from run to run "
        f"{number('verification_spread')}), the mean cosine by {number('cosine_gain')} ({number('cosine_spread')}) and "
        f"the age error by {number('age_error_gain')} years ({number('age_error_spread')}). By the means over the runs "
        f"it verifies more in {number('better_groups')} of {len(results.get('groups'))} groups, as many in "
        f"{number('equal_groups')}, and the mean cosine is larger in {number('nearer_groups')}."
    )
