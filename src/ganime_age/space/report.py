"""Asked and read values as a small table that a screen reader can follow."""

from __future__ import annotations

import html
import urllib.parse
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..model.thresholds import Threshold
from .age import plain_name
from .expression import WORDS, plainly
from .jobs import sentence

EMPTY = "<p class='note'>What was asked, what was reached, and whether it is still the same person.</p>"


def report(
    result: Any,
    thresholds: Sequence[Threshold],
    editable: Collection[str],
    likeness: Mapping[str, float] | None = None,
) -> str:
    """The report of one EditResult as HTML: three short lines, the rest folded. thresholds, editable: what the weights
    state of identity and of action units. likeness: cosines by other measures, which have a line each."""
    if not result.edited:
        return "<p><strong>Nothing was asked,</strong> so this is the photo as you gave it.</p>" + _facts(
            result
        )
    rows = "".join(_row(*row) for row in _rows(result, editable))
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Measured", "asked", "before", "after"))
    warnings = "".join(f"<li>{html.escape(sentence(warning))}</li>" for warning in result.warnings)
    lines = f"<dt>Asked</dt><dd>{title(result)}</dd><dt>Reached</dt><dd>{_reached(result)}</dd>"
    return (
        f"<dl>{lines}{_identity(result.identity, thresholds)}{_others(likeness or {})}</dl>"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}"
        "<details><summary>Details</summary>"
        "<div class='scroll' tabindex='0' role='region' aria-label='Asked and reached'>"
        "<table><caption>Asked and reached, as the readers measure it</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{_facts(result)}"
        f"<p class='note'><a href='{html.escape(link(result))}'>Link with these settings</a></p></details>"
    )


def link(result: Any) -> str:
    """The settings of an edit as the end of the page's address, such as ?age=70&AU12=3."""
    asked = {} if result.edit.age is None else {"age": f"{result.edit.age:g}"}
    units = {code: target.value for code, target in result.edit.action_units.items()}
    asked |= {code: f"{value:g}" for code, value in units.items()}
    asked |= {} if result.edit.strength == 1 else {"strength": f"{result.edit.strength:g}"}
    more = result.edit.more()
    asked |= {name: f"{angle:g}" for name, angle in more.get("turn", {}).items() if angle}
    asked |= {"parts": ",".join(more["parts"])} if "parts" in more else {}
    return "?" + urllib.parse.urlencode(asked)


def title(result: Any) -> str:
    """What was asked, in a few words."""
    edit, units = result.edit, result.asked_units()
    words = [] if edit.age is None else [f"{edit.age:g} years"]
    more = edit.more()
    words += [f"{' and '.join(more['parts'])} only"] if "parts" in more else []
    words += [f"{name} {angle:+g}°" for name, angle in more.get("turn", {}).items() if angle]
    if result.driving_reading is not None:
        words.append("like the driving photo")
    words += [f"{WORDS[code].lower()} {value:.1f}" for code, value in list(units.items())[:3]]
    words += [f"{len(units) - 3} more"] if len(units) > 3 else []
    return ", ".join(words + ([f"strength {edit.strength:g}"] if edit.strength != 1 else [])) or "nothing"


def _reached(result: Any) -> str:
    """What the readers see of it, in a few words."""
    before, after = result.source_reading, result.reading
    words = [f"reads as {after.age:.0f} ± {after.age_spread:.0f} years (before: {before.age:.0f})"]
    for name, angle in result.edit.more().get("turn", {}).items():
        if angle and name != "roll":  # the readers see faces upright
            words.append(f"{name} {round(getattr(before, name))}° → {round(getattr(after, name))}°")
    for code in list(result.asked_units())[:3]:
        words.append(
            f"{WORDS[code].lower()} {before.action_units[code]:.1f} → {after.action_units[code]:.1f}"
        )
    return ", ".join(words)


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
    for name, angle in result.edit.more().get("turn", {}).items():
        if angle and name != "roll":  # the readers see faces upright
            values = (f"{round(getattr(reading, name))}°" for reading in (before, after))
            rows.append((f"Head {name}", f"{angle:+g}°", *values))
    if driving is not None:
        asked = {code: value for code, value in driving.action_units.items() if code in editable} | asked
        for name in ("yaw", "pitch"):
            values = (f"{round(getattr(reading, name))}°" for reading in (driving, before, after))
            rows.append((f"Head {name}", *values))
    for code, value in asked.items():
        units = (f"{reading.action_units[code]:.1f}" for reading in (before, after))
        rows.append((plainly(code), f"{value:.1f}", *units))
    return rows


def _row(name: str, *values: str) -> str:
    cells = "".join(f"<td>{value or '–'}</td>" for value in values)
    return f"<tr><th scope='row'>{name}</th>{cells}</tr>"


def _identity(cosine: float, thresholds: Sequence[Threshold]) -> str:
    """How alike the faces are, on a scale with the ranges of pairs of one person and of different people; nothing
    where the weights state no ranges."""
    if not thresholds:
        return ""
    strict, loose = thresholds[0], thresholds[-1]
    if cosine >= strict.cosine:
        where = f"more alike than {_in_100(1 - strict.different)} in 100 pairs of different people"
    elif cosine >= loose.cosine:
        where = "where both kinds of pairs lie, so this cannot be told"
    else:
        where = f"less alike than {_in_100(loose.same)} in 100 pairs of one person"
    spans = ((0.0, strict.cosine, "other", "different people"), (loose.cosine, 1.0, "same", "one person"))
    bars = "".join(
        f"<i class='{kind}' style='left:{_at(low)}%;width:{_at(high) - _at(low)}%'><b>{name}</b></i>"
        for low, high, kind, name in spans
    )
    return (
        f"<dt>Same person?</dt><dd>likeness {cosine:.2f}: {where}"
        f"<span class='likeness' aria-hidden='true'>{bars}<i class='mark' style='left:{_at(cosine)}%'></i></span></dd>"
    )


def _others(likeness: Mapping[str, float]) -> str:
    """The likeness by other measures, for which no ranges are known."""
    return "".join(
        f"<dt>By {html.escape(name)}</dt><dd>likeness {cosine:.2f}</dd>" for name, cosine in likeness.items()
    )


def _at(cosine: float) -> int:
    """Where a cosine lies on the scale, in percent; what is below 0 lies at its start."""
    return round(100 * min(max(cosine, 0.0), 1.0))


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
