"""Asked and read values as a small table that a screen reader can follow."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from typing import Any

from ..edits import AU_NAMES
from ..model.thresholds import Threshold
from .age import plain_name
from .jobs import sentence

EMPTY = "<p class='note'>What was asked, what was reached, and whether it is still the same person.</p>"


def report(result: Any, thresholds: Sequence[Threshold], editable: Collection[str]) -> str:
    """The report of one EditResult as HTML. thresholds, editable: what the weights state of identity and of action
    units."""
    if not result.edited:
        return "<p><strong>Nothing was asked,</strong> so this is the photo as you gave it.</p>" + _facts(
            result
        )
    rows = "".join(_row(*row) for row in _rows(result, editable))
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("", "asked", "before", "after"))
    warnings = "".join(f"<li>{html.escape(sentence(warning))}</li>" for warning in result.warnings)
    return (
        f"{_identity(result.identity, thresholds)}"
        "<div class='scroll' tabindex='0' role='region' aria-label='Asked and reached'>"
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


def _rows(result: Any, editable: Collection[str]) -> list[tuple[str, ...]]:
    before, after, driving = result.source_reading, result.reading, result.driving_reading
    asked_age = "" if result.edit.age is None else f"{result.edit.age:g}"
    rows: list[tuple[str, ...]] = [
        ("Age", asked_age, f"{before.age:.0f}", f"{after.age:.0f} ± {after.age_spread:.0f}")
    ]
    asked = result.asked_units()
    if driving is not None:
        asked = {code: value for code, value in driving.action_units.items() if code in editable} | asked
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


def _identity(cosine: float, thresholds: Sequence[Threshold]) -> str:
    """Whether the face passes as the same person, at the thresholds that the weights state, the strictest first."""
    if not thresholds:
        return (
            f"<p class='verdict'>identity cosine {cosine:.2f} <span>These weights state no threshold from which two "
            "faces count as one person.</span></p>"
        )
    strict, *looser = thresholds
    passed = cosine >= strict.cosine
    verdict = "Same person" if passed else "Same person not confirmed"
    if passed:
        sure = f"Of pairs of different people, {_in_100(strict.different)} in 100 would pass too."
    else:
        sure = f"No proof of another: of pairs of photos of one person, {_in_100(1 - strict.same)} in 100 fail too."
        close = next((one for one in looser if cosine >= one.cosine), None)
        if close:
            sure += (
                f" These two are closer than {_in_100(1 - close.different)} in 100 pairs of different people."
            )
    return (
        f"<p class='verdict {'pass' if passed else 'fail'}'><strong>{'✓' if passed else '✗'} {verdict}</strong> "
        f"identity cosine {cosine:.2f}, {'pass' if passed else 'fail'} at {strict.cosine:.2f} "
        f"<span>{sure}</span></p>"
    )


def _in_100(share: float) -> int:
    return round(100 * share)


def _facts(result: Any) -> str:
    name = plain_name(result.method)
    box = " ".join(f"{value:.0f}" for value in result.source_reading.box)
    return (
        f"<p class='note'>Method {html.escape(name)}, weights {html.escape(result.weights)}; "
        f"face in the box {box}; {result.seconds:.2f} s. Measured by the package's own readers, "
        "whose errors the model card states.</p>"
    )
