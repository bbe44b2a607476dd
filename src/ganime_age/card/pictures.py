"""The model card's pictures: a public-domain portrait, edited by the model that the card is about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..editor import FaceEditor
from ..edits import NO_SMILE
from ..errors import BadInput
from ..model.model import GanimeAge
from ..provenance.metadata import write_edited
from .contact_sheet import Tile, astronaut, demo_sheet, source_lines, strip, tile

METHOD = "ganimation_age"
QUALITY = 63
"""Of the pictures' JPEG: they lie in every checkout."""

PICTURES = {
    "ages.jpg": "One photo at six ages; under each face, what the readers measure on it",
    "expressions.jpg": "Expressions, and one with another age; action units from 0 to 5, asked and read",
    "astronaut.jpg": "The contact sheet of ganime-age demo",
}
FAILURES = {"failures.jpg": "Asked too much of one photo: the ends of the ranges and beyond"}

_STRIPS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "ages.jpg": tuple((f"age {age}", {"age": age}) for age in (5, 15, 30, 50, 70, 85)),
    "expressions.jpg": (
        ("no smile", {"action_units": NO_SMILE}),
        ("half a smile", {"action_units": {"AU12": 2.0}}),
        ("frown", {"action_units": NO_SMILE | {"AU04": 4.5}}),
        ("raised brows", {"action_units": {"AU01": 4.5, "AU02": 4.5}}),
        ("jaw drop", {"action_units": NO_SMILE | {"AU26": 4.5}}),
        ("70, no smile", {"age": 70, "action_units": NO_SMILE}),
    ),
    "failures.jpg": (
        ("age 1", {"age": 1}),
        ("age 100, 1.5 times", {"age": 100, "strength": 1.5}),
        ("jaw drop, no smile", {"action_units": NO_SMILE | {"AU26": 5.0, "AU25": 5.0}}),
        ("blink", {"action_units": {"AU45": 5.0}}),
        ("lips pulled down", {"action_units": NO_SMILE | {"AU15": 5.0, "AU17": 5.0}}),
        (
            "everything at once",
            {"age": 90, "action_units": {"AU01": 5.0, "AU04": 5.0, "AU10": 5.0, "AU20": 5.0}},
        ),
    ),
}
"""File of a strip -> the title and the keywords of `FaceEditor.edit` of each of its faces."""


def draw(model: GanimeAge, folder: Path) -> tuple[str, ...]:
    """Write every picture into a folder; their names, or none when the model cannot edit the portrait.

    MissingModel when scikit-image, which brings the portrait, is not installed.
    """
    if not {"detector", "readers", METHOD} <= set(model.parts):
        return ()
    editor = FaceEditor(model)
    photo = astronaut()
    try:
        editor.read(photo)
    except BadInput:  # weights that find no face in it: there is nothing to show
        return ()
    pictures = {name: strip(_tiles(editor, photo, asked)) for name, asked in _STRIPS.items()}
    pictures["astronaut.jpg"] = demo_sheet(editor, lambda line: None)
    for name, picture in pictures.items():
        record = {"method": METHOD, "weights": editor.weights}
        write_edited(picture, folder / name, record, quality=QUALITY)
    return tuple(pictures)


def _tiles(editor: FaceEditor, photo: Any, asked: tuple[tuple[str, Mapping[str, Any]], ...]) -> list[Tile]:
    """The original and its edits."""
    results = [(title, editor.edit(photo, **request)) for title, request in asked]
    original = results[0][1]
    return [Tile(original.source_face, "original", source_lines(original)), *(tile(*one) for one in results)]
