"""A blind sheet: edits and real photos in random order on one page, to be told apart by eye.

Every photo stands there once, edited or as it is, so that nobody can compare. The key lies in a file beside the page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ....editor import FaceEditor
from ....errors import BadInput
from ....images.alignment import apply, frame_matrix, invert
from ....model.methods import DEFAULT, METHODS
from .editing import Opened, aged_photos, expressed_photo
from .whole_photos import rows_of

KEY, PAGE, FORM = "key.json", "index.html", "form.csv"
COUNT = 100
"""Pictures on a page, where there are as many photos."""
SIDES, SCALE = (320, 640), 1.3
"""Least and greatest longer side of a picture on the page in pixels, and the side in frames of what it shows."""
AGES = (1.0, 8.0, 17.0, 35.0, 45.0, 60.0, 75.0)
EXPRESSIONS: tuple[Mapping[str, float], ...] = (
    {"AU12": 3.5, "AU25": 1.5},
    {"AU04": 3.5, "AU15": 2.0},
    {"AU01": 3.0, "AU05": 2.0, "AU26": 2.5},
)
AS_EXPRESSION = 1 / 3
"""Share of the edits that change the expression instead of the age."""
ANSWERS = ("natural", "made")
"""What a viewer may answer of a picture."""


def write_sheet(
    editor: FaceEditor,
    photos: Iterable[Opened],
    folder: Path,
    scratch: Path,
    count: int = COUNT,
    seed: int = 0,
    method: str = DEFAULT,
) -> int:
    """Pictures, page and key in `folder`, half of them a method's edits (of an odd number one more); returns how many.

    BadInput when there are fewer than two photos, or the folder cannot be written.
    """
    chosen = list(islice(photos, count))
    if len(chosen) < 2:
        raise BadInput("a blind sheet needs two or more photos with a face; give more with --photos")
    chance = np.random.default_rng(seed)
    edited = np.arange(len(chosen)) % 2 == 0
    names = [f"{number + 1:03d}" for number in range(len(chosen))]
    key: dict[str, Any] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        order = chance.permutation(len(chosen))
        for name, place in zip(tqdm(names, desc="blind sheet", unit="picture"), order, strict=True):
            one = chosen[place]
            asked = drawn_request(chance, method) if edited[place] else None
            after = one.pixels if asked is None else made(editor, one, asked, scratch, method)
            picture(after, one.landmarks).save(folder / f"{name}.jpg", quality=92)
            key[name] = {"edited": asked is not None, "asked": asked, "photo": one.photo.path.name}
            key[name] |= {"method": method} if asked else {}
        (folder / KEY).write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
        (folder / PAGE).write_text(page(names), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror or error}") from None
    return len(chosen)


def drawn_request(chance: np.random.Generator, method: str = DEFAULT) -> dict[str, Any]:
    """An age or an expression that the method can change, drawn at random."""
    able = METHODS[method].edits
    expression = chance.random() < AS_EXPRESSION
    if "age" not in able or (expression and "action_units" in able):
        return {"action_units": dict(EXPRESSIONS[chance.integers(len(EXPRESSIONS))])}
    return {"age": float(AGES[chance.integers(len(AGES))])}


def made(
    editor: FaceEditor, one: Opened, asked: Mapping[str, Any], scratch: Path, method: str = DEFAULT
) -> np.ndarray:
    """The photo (H,W,3) after a request."""
    if "age" in asked:
        return next(iter(aged_photos(editor, one, (asked["age"],), scratch, method)))[1]
    units = {c: v for c, v in asked["action_units"].items() if c in editor.model.editable_action_units}
    return expressed_photo(editor, one, units, scratch, method)


def picture(pixels: np.ndarray, landmarks: np.ndarray) -> Image.Image:
    """The face with some surroundings, as far as the photo goes, without metadata: as large as it is within SIDES."""
    side = SIDES[0]
    back = invert(frame_matrix(landmarks, side, SCALE))
    corners = apply(back, np.array([[0.0, 0], [side, 0], [0, side], [side, side]]))
    size = pixels.shape[1], pixels.shape[0]
    left, top = np.clip(corners.min(0), 0, size).astype(int)
    right, bottom = np.clip(corners.max(0), 0, size).astype(int)
    shown = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    longer = max(shown.size)
    scale = float(np.clip(longer, *SIDES)) / longer
    return shown.resize([max(1, round(n * scale)) for n in shown.size], Image.Resampling.LANCZOS)


def page(names: list[str]) -> str:
    """The page: every picture with two answers, and a button that saves the form. It needs no server."""
    rows = "\n".join(
        f'<fieldset><img src="{name}.jpg" alt="picture {name}" loading="lazy">'
        f"<legend>{name}</legend>"
        + "".join(
            f'<label><input type="radio" name="{name}" value="{answer}"> {html.escape(answer)}</label>'
            for answer in ANSWERS
        )
        + "</fieldset>"
        for name in names
    )
    return PAGE_TEXT.replace("{rows}", rows).replace("{count}", str(len(names))).replace("{form}", FORM)


PAGE_TEXT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Natural or made?</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; padding: 0 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(660px, 100%), 1fr)); gap: 1rem; }
fieldset { border: 1px solid #bbb; border-radius: 8px; padding: .5rem; }
img { display: block; max-width: 100%; border-radius: 4px; }
label { display: inline-block; padding: .5rem 1rem .25rem 0; }
footer { position: sticky; bottom: 0; background: #fff; padding: 1rem 0; }
button { font: inherit; padding: .5rem 1rem; }
</style>
</head>
<body>
<h1>Natural or made?</h1>
<p>Some of these {count} pictures are photos as they were taken, some were edited by a program. Look at each for a few
seconds, say whether it looks natural or made, and save the form. Pictures that you leave out do not count.</p>
<form>
<main>
{rows}
</main>
<footer><button type="submit">Save the form</button> <output></output></footer>
</form>
<script>
const form = document.querySelector("form"), said = document.querySelector("output");
const answers = () => [...new FormData(form)];
form.addEventListener("change", () => { said.textContent = answers().length + " of {count} answered"; });
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const lines = ["picture,answer", ...answers().map((pair) => pair.join(","))].join("\\n") + "\\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines], { type: "text/csv" }));
  link.download = "{form}";
  link.click();
});
</script>
</body>
</html>
"""


def read_form(form: Path, folder: Path | None = None) -> dict[str, Any]:
    """What a viewer answered, held against the key in `folder`, by default the form's own: summary figures and counts.

    BadInput names a form or key that cannot be read, an unknown picture, and an answer that is neither of the two.
    """
    place = (folder or form.parent) / KEY
    try:
        key = json.loads(place.read_text(encoding="utf-8"))
        edited = {name: bool(row["edited"]) for name, row in key.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{place} cannot be read as the key of a blind sheet ({error}); name its folder with --blind"
        ) from None
    answers: dict[str, str] = {}
    for row in rows_of(form, ("picture", "answer")):
        name, answer = row["picture"], row["answer"].lower()
        if name not in edited or name in answers:
            why = "is answered twice" if name in answers else "is no picture of the sheet"
            raise BadInput(f"{form}: {name!r} {why}; correct the form")
        if answer not in ANSWERS:
            raise BadInput(f"{form}, {name}: {answer!r} is no answer; write {' or '.join(ANSWERS)}")
        answers[name] = answer
    return counted(answers, edited, form)


def check_sheet(folder: Path, method: str) -> None:
    """BadInput where a sheet's key says that its edits are another method's."""
    try:
        key = json.loads((folder / KEY).read_text(encoding="utf-8"))
        others = {row["method"] for row in key.values() if "method" in row} - {method}
    except (OSError, ValueError, TypeError, AttributeError):
        return  # read_form names what is wrong with it
    if others:
        raise BadInput(
            f"the edits of the sheet in {folder} are by {', '.join(sorted(others))}; give that --method"
        )


def counted(answers: Mapping[str, str], edited: Mapping[str, bool], form: Path) -> dict[str, Any]:
    """Shares of edits and of real photos that looked natural."""
    found = {}
    for name, made_ in (("edits", True), ("real_photos", False)):
        own = [answer == ANSWERS[0] for picture, answer in answers.items() if edited[picture] == made_]
        if not own:
            raise BadInput(f"{form} answers none of the {name.replace('_', ' ')}; answer more of the sheet")
        found[name] = {"answered": len(own), "natural": sum(own), "share": sum(own) / len(own)}
    return found
