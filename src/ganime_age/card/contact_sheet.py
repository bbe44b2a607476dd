"""One picture of many edits: the photo before and after, then rows of faces with what was read on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..editor import FaceEditor
from ..edits import NO_SMILE
from ..errors import MissingModel
from ..images.photo import PhotoLike, load_photo
from ..results import EditResult

PAPER, INK, GREY = "#faf9f6", "#1d1d1f", "#6e6e73"
TILE, GAP, MARGIN = 256, 28, 72
LINE = 28
CAPTION = 62
ROW_LENGTH = 7

DEMO_AGES = (5, 15, 30, 50, 70, 85)
DEMO_EXPRESSIONS = (
    ("half a smile", {"AU12": 2.0}),
    ("no smile", NO_SMILE),
    ("frown", {"AU04": 4.5}),
    ("raised brows", {"AU01": 4.5, "AU02": 4.5}),
    ("jaw drop", {"AU26": 4.5}),
)
"""The bundled photo shows a full smile, so the sheet takes it away."""

DEMO_BOTH = ("70 without a smile", 70, NO_SMILE)


@dataclass(frozen=True)
class Tile:
    """A picture with a title and small lines under it."""

    image: Image.Image
    title: str
    lines: tuple[str, ...] = ()


def demo_sheet(editor: FaceEditor, say: Callable[[str], None], given: PhotoLike | None = None) -> Image.Image:
    """Edit a photo, by default the bundled astronaut, in ages, expressions and both; `say` gets one line an edit.
    Returns the sheet."""
    photo = astronaut() if given is None else load_photo(given)
    asked: list[tuple[str, int | None, dict[str, float] | None]]
    asked = [(f"age {age}", age, None) for age in DEMO_AGES]
    asked += [(title, None, units) for title, units in DEMO_EXPRESSIONS] + [DEMO_BOTH]
    edits = [(title, _edit(editor, say, photo, title, age, units)) for title, age, units in asked]
    title, both = edits[-1]
    faces = [Tile(both.source_face, "original", source_lines(both)), *(tile(*edit) for edit in edits)]
    faces.append(Tile(both.attention, "what changed", ("white where the last", "face was changed most")))
    photos = [Tile(Image.fromarray(photo), "the photo"), Tile(both.image, f"the photo, {title}")]
    return contact_sheet("ganime_age", _about(both), photos, faces)


def tile(title: str, result: EditResult) -> Tile:
    """The edited face with what was asked, what was read on it and the identity cosine."""
    lines = [f"age read {result.reading.age:.0f} ± {result.reading.age_spread:.0f}"]
    for code, asked in result.asked_units().items():
        lines.append(f"{code} asked {asked:.1f}, read {result.reading.action_units[code]:.1f}")
    return Tile(result.face, title, (*lines, f"identity {result.identity:.2f}"))


def compare_sheet(results: list[EditResult]) -> Image.Image:
    """What `FaceEditor.compare` gives as one row, RGB: the original, then every method's face by its name."""
    first = results[0]
    return strip([Tile(first.source_face, "original", source_lines(first)), *map(_method_tile, results)])


def ages_strip(results: list[EditResult]) -> Image.Image:
    """What `FaceEditor.progression` gives as one row, RGB: the original, then the face at every age."""
    first = results[0]
    aged = (tile(f"age {result.edit.age:g}", result) for result in results)
    return strip([Tile(first.source_face, "original", source_lines(first)), *aged])


def _method_tile(result: EditResult) -> Tile:
    one = tile(result.method, result)
    asked = () if result.edit.age is None else (f"age asked {result.edit.age:g}",)
    return replace(one, lines=(*asked, *one.lines))


def source_lines(result: EditResult) -> tuple[str, ...]:
    """What was read on the original: its age and the action units that `result` changed."""
    source = result.source_reading
    units = [f"{code} read {source.action_units[code]:.1f}" for code in result.edit.action_units]
    return (f"age read {source.age:.0f} ± {source.age_spread:.0f}", *units)


def contact_sheet(heading: str, about: tuple[str, ...], photos: list[Tile], faces: list[Tile]) -> Image.Image:
    """Draw the sheet, RGB: heading and whole photos on top, faces in rows of seven under them."""
    photo_side = 2 * TILE + GAP
    rows = [faces[i : i + ROW_LENGTH] for i in range(0, len(faces), ROW_LENGTH)]
    heights = [TILE + CAPTION + LINE * max(len(face.lines) for face in row) for row in rows]
    width = 2 * MARGIN + ROW_LENGTH * TILE + (ROW_LENGTH - 1) * GAP
    top_height = photo_side + CAPTION
    sheet = Image.new("RGB", (width, 2 * MARGIN + top_height + sum(heights) + len(rows) * GAP), PAPER)
    left = width - MARGIN - len(photos) * photo_side - (len(photos) - 1) * GAP
    _write_heading(sheet, heading, about)
    _place_row(sheet, photos, left, MARGIN, photo_side)
    y = MARGIN + top_height + GAP
    for row, height in zip(rows, heights, strict=True):
        _place_row(sheet, row, MARGIN, y, TILE)
        y += height + GAP
    return sheet


def strip(faces: list[Tile]) -> Image.Image:
    """One row of faces as the sheet shows them, RGB."""
    height = TILE + CAPTION + LINE * max(len(face.lines) for face in faces)
    row = Image.new("RGB", (GAP + len(faces) * (TILE + GAP), height + 2 * GAP), PAPER)
    _place_row(row, faces, GAP, GAP, TILE)
    return row


def _place_row(sheet: Image.Image, tiles: list[Tile], x: int, y: int, side: int) -> None:
    draw = ImageDraw.Draw(sheet)
    for one in tiles:
        image = one.image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(image, (x, y), _rounded(side))
        draw.text((x, y + side + 12), one.title, INK, _font(29))
        for i, line in enumerate(one.lines):
            draw.text((x, y + side + 54 + i * LINE), line, GREY, _font(21))
        x += side + GAP


def _write_heading(sheet: Image.Image, heading: str, about: tuple[str, ...]) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN - 4, MARGIN - 20), heading, INK, _font(92))
    for i, line in enumerate(about):
        draw.text((MARGIN, MARGIN + 124 + i * 38), line, GREY, _font(27))


def _rounded(side: int) -> Image.Image:
    """Mask of a square with softly rounded corners, drawn at four times its size."""
    mask = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * side - 1, 4 * side - 1), radius=32, fill=255)
    return mask.resize((side, side), Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _about(result: EditResult) -> tuple[str, ...]:
    return (
        "One photo in; the same person at another age",
        "and with another expression out.",
        "",
        f"Method {result.method}, with the weights that ship",
        "inside the package. Under each face stands what the",
        "readers measure on it after the edit.",
        "",
        "identity: cosine between the embeddings of the",
        "original and the edited face; 1 is the same.",
    )


def _edit(
    editor: FaceEditor,
    say: Callable[[str], None],
    photo: np.ndarray,
    title: str,
    age: float | None,
    units: dict[str, float] | None,
) -> EditResult:
    result = editor.edit(photo, age=age, action_units=units)
    say(f"{title:<18} {result.seconds:5.2f} s")
    return result


def astronaut() -> np.ndarray:
    """The demo's photo, uint8 (512,512,3): a portrait by NASA; MissingModel when scikit-image is not installed."""
    try:
        from skimage import data
    except ImportError:
        raise MissingModel("the demo's photo comes with scikit-image; pip install scikit-image") from None
    return np.asarray(data.astronaut())
