"""Cosines of the identity reader from which two faces count as one person, as the weights state them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import BadInput


class Threshold(NamedTuple):
    """cosine: -1..1. different, same: share of the pairs of photos of different people, and of one person, that reach
    it, 0..1 each, measured on people that the readers never saw."""

    cosine: float
    different: float
    same: float


FORMAT_2_THRESHOLDS = (Threshold(0.42, 0.01, 0.24), Threshold(0.22, 0.10, 0.57))
"""What ganime_age assumed of all weights until format 2."""


def checked_thresholds(given: Any) -> tuple[Threshold, ...]:
    """Thresholds from config.json, the strictest first; BadInput names what is no threshold."""
    found = []
    for one in given or ():
        try:
            threshold = Threshold(**one) if isinstance(one, Mapping) else Threshold(*one)
            cosine, *shares = (float(value) for value in threshold)
        except (TypeError, ValueError):
            raise BadInput(
                f"identity threshold {one!r} needs the numbers {', '.join(Threshold._fields)}"
            ) from None
        if not -1 <= cosine <= 1 or not all(0 <= share <= 1 for share in shares):
            raise BadInput(f"identity threshold {one!r} needs a cosine within -1..1 and shares within 0..1")
        found.append(Threshold(cosine, *shares))
    return tuple(sorted(found, reverse=True))


def thresholds_of(
    results: Mapping[str, Any], accepted: Iterable[str] = ("0.01", "0.1")
) -> tuple[Threshold, ...]:
    """The thresholds that a results file of the readers states for shares of different people."""
    table = results["identity"]["thresholds"]
    return tuple(
        Threshold(round(table[share]["cosine"], 2), float(share), round(table[share]["same_accepted"], 2))
        for share in accepted
    )
