"""Write the README's figures from model_card/results/*.json: `python training/render_readme.py [--check]`.

The README shows five figures and where ages come out short; the model card shows all of them. Goals stand in
model_card/facts.json. --check writes nothing and exits 1 when the README does not show what the results files hold.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.card.facts import Facts  # noqa: E402
from ganime_age.card.results import (  # noqa: E402
    Goal,  # noqa: E402
    Results,
    shown,
    table,
)
from ganime_age.errors import GanimeAgeError  # noqa: E402

PHOTOS, EDITS, READERS, SPEED = "photos", "edits-ganimation_age", "readers", "speed"
FIGURES = (
    (EDITS, "age_error_mean", "age edits: mean read age, distance to real people of that age", "years"),
    (EDITS, "verification_mean", "age edits: verified as the same person", ""),
    (EDITS, "au_correlation_mean", "expression edits: correlation of asked and read action units", ""),
    (READERS, "age_mae_all", "reading an age: mean absolute error", "years"),
    (SPEED, "edit_12mp_seconds", "one edit of a 12-megapixel photo on 2 CPU cores", "s"),
)
"""Results file, key of its summary, label and unit of the five figures."""
ON_PHOTOS = (
    (PHOTOS, *FIGURES[0][1:]),
    (PHOTOS, *FIGURES[1][1:]),
    (PHOTOS, "smile_points_left", "a real smile asked: error of the mouth's points that is left", ""),
    *FIGURES[3:],
)
"""The same where edits of whole photos were measured: these are what a user sees."""
OLDER = ("40-49", "50-69", "70+")
"""Age groups whose edits the README compares with real people."""


def figures(found: dict[str, Results], goals: dict[tuple[str, str], Goal]) -> str:
    """The five figures as a Markdown table; each with its weakest case, its goal and the score of unedited photos."""
    rows = []
    for file, key, label, unit in ON_PHOTOS if measured_on_photos(found) else FIGURES:
        results = found[file]
        idle = results.number("summary", f"nothing_{key}") if results.has("summary", f"nothing_{key}") else ""
        value = f"{results.number('summary', key)} {unit}".strip()
        goal = goals[file, key].beside(results.get("summary"))
        rows.append([label, value, weakest(results, key), goal, idle])
    what = (
        "on photos and faces that nothing learnt from" if measured_on_photos(found) else "on held-out faces"
    )
    head = [what, "value", "weakest case", "goal", "doing nothing"]
    return table(head, rows)


def measured_on_photos(found: dict[str, Results]) -> bool:
    """Whether all figures of whole photos that the README shows were measured."""
    return all(
        PHOTOS in found and found[PHOTOS].has("summary", key) for file, key, *_ in ON_PHOTOS if file == PHOTOS
    )


def weakest(results: Results, key: str) -> str:
    """The age group or action unit for which a figure is worst, with its value; empty where it has no parts."""
    groups = {row["group"]: row for row in results.get("groups")} if results.has("groups") else {}
    if key == "age_error_mean":
        name = max(groups, key=lambda group: float(groups[group]["age_error"]))
        return f"{shown(groups[name]['age_error'])} towards {name}"
    if key == "verification_mean":
        name = min(groups, key=lambda group: float(groups[group]["verification"]))
        return f"{shown(groups[name]['verification'])} towards {name}"
    if key == "au_correlation_mean":
        units = {code: row for code, row in results.get("action_units").items() if row["measurable"]}
        name = min(units, key=lambda code: float(units[code]["correlation"]))
        return f"{shown(units[name]['correlation'])} for {name}"
    if key == "age_mae_all":
        ages = results.get("age", "by_group")
        name = max(ages, key=lambda group: float(ages[group]["mae"]))
        return f"{shown(ages[name]['mae'])} for {name}"
    return ""


def missed(found: dict[str, Results], goals: list[Goal]) -> str:
    """Every figure of the project that misses its goal, as a Markdown list."""
    held = [g for g in goals if g.file in found and found[g.file].has("summary", g.key)]
    lines = []
    for goal in held:
        results = found[goal.file]
        if not goal.met(results.get("summary")):
            value = f"{results.number('summary', goal.key)} {goal.unit}".strip()
            lines.append(f"- {goal.label}: {value}, goal {goal.text}")
    return "\n".join([f"Of {len(held)} figures with a goal, {len(lines)} miss it:", "", *lines])


def short(edits: Results) -> str:
    """Where ages come out short, as two sentences."""
    on_photos = edits.has("by_source") and edits.path.stem == PHOTOS
    what = "photos" if on_photos else "test faces"
    judge = f"the age judges ({edits.get('judged_by', 'age')})" if on_photos else "the age judge"
    where = "whole photos, from file to file" if on_photos else "aligned test faces, not on whole photos"
    groups = {row["group"]: row for row in edits.get("groups")}
    years, edited, real = (
        ", ".join(f"{groups[name][key]:.0f}" for name in OLDER) for key in ("asked", "age", "real_age")
    )
    return (
        f"Asked for {years} years, edited {what} are read by {judge} as {edited}; real people of the age "
        f"groups {', '.join(OLDER)} are read as {real}. That is on {where}."
    )


def fill(readme: str, name: str, text: str) -> str:
    """The README with `text` between the markers of `name`; ValueError when a marker is missing."""
    start, end = f"<!-- {name}: written by training/render_readme.py -->", f"<!-- /{name} -->"
    if start not in readme or end not in readme:
        raise ValueError(f"README.md needs the markers {start} and {end}")
    between = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    return between.sub(lambda _: f"{start}\n{text}\n{end}", readme)


def rendered(readme: str, folder: Path) -> str:
    """The README with all its figures. folder: holds results/ and facts.json."""
    found = {path.stem: Results.read(path) for path in sorted(folder.glob("results/*.json"))}
    goals = list(Facts.read(folder / "facts.json").goals())
    parts = {
        "figures": figures(found, {(goal.file, goal.key): goal for goal in goals}),
        "short": short(found[PHOTOS] if measured_on_photos(found) else found[EDITS]),
        "missed": missed(found, goals),
    }
    for name, text in parts.items():
        readme = fill(readme, name, text)
    return readme


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    path = ROOT / "README.md"
    before = path.read_text(encoding="utf-8")
    after = rendered(before, ROOT / "model_card")
    if not given.check:
        path.write_text(after, encoding="utf-8")
        return 0
    if before != after:
        print(
            "README.md does not show the results files; run python training/render_readme.py", file=sys.stderr
        )
    return int(before != after)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
