"""Asked and read values as a small table that a screen reader can follow."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

from ganime_age.edits import AU_NAMES, AU_UNSEEN

from .age import plain_name
from .jobs import sentence


class Threshold(NamedTuple):
    """A cosine of the package's own identity reader, and how many in a hundred pairs of photos reach it: of different
    people, of one person. Measured on people it never saw: identity.thresholds in model_card/results/readers.json."""

    cosine: float
    strangers: int
    same: int


SAME_PERSON = Threshold(0.42, 1, 24)
"""From here a face passes as the same person."""
CLOSE = Threshold(0.22, 10, 57)

EMPTY = "<p class='note'>What was asked, what was reached, and whether it is still the same person.</p>"


def report(result: Any) -> str:
    """The report of one EditResult as HTML."""
    if not result.edited:
        return "<p><strong>Nothing was asked,</strong> so this is the photo as you gave it.</p>" + _facts(
            result
        )
    rows = "".join(_row(*row) for row in _rows(result))
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("", "asked", "before", "after"))
    warnings = "".join(f"<li>{html.escape(sentence(warning))}</li>" for warning in result.warnings)
    return (
        f"{_identity(result.identity)}<div class='scroll' tabindex='0' role='region' aria-label='Asked and reached'>"
        "<table><caption>Asked and reached, as the readers measure it</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}{_facts(result)}"
    )


def caption(result: Any) -> str:
    """One line about one of several results."""
    name = plain_name(result.method)
    return f"{name}: age {result.reading.age:.0f}, identity {result.identity:.2f}"


def clip_report(result: Any) -> str:
    """The report of a ClipResult as HTML."""
    notes = "".join(f"<li>{html.escape(sentence(warning))}</li>" for warning in result.warnings)
    width, height = result.size
    return (
        f"<p>{result.edited} of {result.frames} frames edited, {width}×{height} at {result.rate:.3g} frames a second; "
        f"{result.seconds:.1f} s.</p>{f'<ul>{notes}</ul>' if notes else ''}"
    )


def _rows(result: Any) -> list[tuple[str, str, str, str]]:
    before, after, driving = result.source_reading, result.reading, result.driving_reading
    asked_age = "" if result.edit.age is None else f"{result.edit.age:g}"
    rows = [("Age", asked_age, f"{before.age:.0f}", f"{after.age:.0f} ± {after.age_spread:.0f}")]
    asked = result.asked_units()
    if driving is not None:
        asked = {code: value for code, value in driving.action_units.items() if code not in AU_UNSEEN} | asked
        for name in ("yaw", "pitch"):
            values = (f"{round(getattr(reading, name))}°" for reading in (driving, before, after))
            rows.append((f"Head {name}", *values))
    for code, value in asked.items():
        units = (f"{reading.action_units[code]:.1f}" for reading in (before, after))
        rows.append((f"{AU_NAMES[code].capitalize()} · {code}", f"{value:.1f}", *units))
    return rows


def _row(name: str, *values: str) -> str:
    cells = "".join(f"<td>{value or '–'}</td>" for value in values)
    return f"<tr><th scope='row'>{name}</th>{cells}</tr>"


def _identity(cosine: float) -> str:
    passed = cosine >= SAME_PERSON.cosine
    verdict = "Same person" if passed else "Same person not confirmed"
    if passed:
        sure = f"Of pairs of different people, {SAME_PERSON.strangers} in 100 would pass too."
    else:
        sure = f"No proof of another: of pairs of photos of one person, {100 - SAME_PERSON.same} in 100 fail too."
        if cosine >= CLOSE.cosine:
            sure += f" These two are closer than {100 - CLOSE.strangers} in 100 pairs of different people."
    return (
        f"<p class='verdict {'pass' if passed else 'fail'}'><strong>{'✓' if passed else '✗'} {verdict}</strong> "
        f"identity cosine {cosine:.2f}, {'pass' if passed else 'fail'} at {SAME_PERSON.cosine:.2f} "
        f"<span>{sure}</span></p>"
    )


def _facts(result: Any) -> str:
    name = plain_name(result.method)
    box = " ".join(f"{value:.0f}" for value in result.source_reading.box)
    return (
        f"<p class='note'>Method {html.escape(name)}, weights {html.escape(result.weights)}; "
        f"face in the box {box}; {result.seconds:.2f} s. Measured by the package's own readers, "
        "whose errors the model card states.</p>"
    )
