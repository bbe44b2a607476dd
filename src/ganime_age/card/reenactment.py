"""The reenactment's results file as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model.methods import METHODS
from .results import Results, columns, summary

PAIRS = {
    "two_persons": "two persons",
    "one_person": "two photos of one person",
    "photos": "whole photos of one person, neutral to smile",
}
WAYS = {
    "moved": "reenactment",
    "mesh_alone": "head and mesh alone",
    "mesh_with_shape": "head and mesh with the shape generator",
    "mesh_with_face": "head and mesh with the face generator",
    "nothing": "doing nothing",
    "paste": "pasting the driving face",
}
ORDERS = {
    "move_then_age": "moved, then edited to 70",
    "age_then_move": "edited to 70, then moved",
    "age_by_yaw": "edited to 70, then moved",  # in results of before both orders were measured
}


COLUMNS = {
    "pose_error_degrees": "pose, degrees",
    "au_error": "action units",
    "landmark_error_percent": "landmarks, % of the eye distance",
    "identity_verification": "verified",
}
AGED = {
    "age": "judged age",
    "unmoved_age": "aged, not moved",
    "age_difference": "off real faces near 70, years",
    "moved_years": "of these, by the movement alone",
    "verification": "verified",
}


def reenactment(results: Results) -> str:
    """Distance of a moved face to the driving face and to its source; age by yaw; the clip."""
    rows = {
        f"{label}: {way}": results.get(kind, name)
        for kind, label in PAIRS.items()
        if results.has(kind)
        for name, way in WAYS.items()
        if results.has(kind, name)
    }
    by_yaw = _by_yaw(results.values)
    for method, orders in results.values.get("other_methods", {}).items():
        by_yaw |= _by_yaw(orders, f" by {METHODS[method].title}")
    parts = [
        f"{results.number('pairs', 'two_persons')} pairs: {results.get('notes', 'who')}. "
        f"{results.get('notes', 'judges')}.",
        summary(results, [figure for figure in _figures(results) if results.has("summary", figure[0])]),
        columns(rows, COLUMNS, "pairs"),
    ]
    if by_yaw:
        parts.append("Age and movement together, by how far the driving head is turned:")
        parts.append(columns(by_yaw, AGED, "driving yaw"))
    return "\n\n".join(parts)


def _by_yaw(orders: Mapping[str, Any], by: str = "") -> dict[str, dict[str, Any]]:
    """The rows of a method's ages in both orders, each by what it is called."""
    return {
        f"{row['yaw']} degrees, {order.replace('edited to 70', f'edited to 70{by}')}": row
        for name, order in ORDERS.items()
        for row in orders.get(name, ())
    }


def _figures(results: Results) -> list[tuple[str, str, str]]:
    """Keys of the summary with label and unit."""
    speed = f"frames of 256 px a second on {results.number('clip', 'threads')} CPU threads"
    return [
        ("pose_error_degrees", "yaw and pitch, error against the driving face", "degrees"),
        ("au_error", "action units, error against the driving face (0 to 5)", ""),
        ("identity_verification", "verified as the source person", ""),
        ("same_image_l1", "a face that drives itself, change of a pixel (0 to 1)", ""),
        ("frames_per_second_256", speed, ""),
        ("age_flicker_years", "a clip, change of the judged age from frame to frame", "years"),
        ("identity_flicker", "a clip, 1 - cosine of the identity from frame to frame", ""),
    ]
