"""What the readers say twice of one person: of one face cut out in other ways, of neutral and smiling photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age.card import tables
from ganime_age.card.results import Results
from ganime_age.edits import AU_UNSEEN
from ganime_age.errors import BadInput
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.evaluation import measure_steadiness as steadiness
from ganime_age.learning.evaluation.photos.whole_photos import pairs_of, photos_of
from helpers.ages import face_folder


def test_cuts_of_one_face_are_as_far_apart_as_their_readings(tmp_path, model, monkeypatch):
    faces = Faces(face_folder(tmp_path / "faces"), 64)
    found = steadiness.recut(model, faces, count=6)
    assert found["faces"] == 6 and found["years_apart"] > 0 and 0 <= found["within_2_years"] <= 1
    assert found == steadiness.recut(model, faces, count=6), "the same cuts every time"
    monkeypatch.setattr(steadiness, "random_affine", lambda face, *_: (face, None))
    same = steadiness.recut(model, faces, count=6)
    assert (same["years_apart"], same["within_2_years"]) == (0, 1)


def test_a_smile_is_read_on_the_smiling_photo(tmp_path, editor, portrait):
    editor.edit(portrait, action_units={"AU12": 0.0}, mark=False).image.save(tmp_path / "a_neutral_1.png")
    Image.fromarray(portrait).save(tmp_path / "a_smile_1.png")
    found = steadiness.smiles(editor, pairs_of(photos_of([tmp_path])))
    smile = found["units"]["AU12"]
    assert found["people"] == 1 and smile["higher"] == 1 and smile["smiling"] > smile["neutral"] + 0.3
    assert not set(found["units"]) & set(AU_UNSEEN)
    with pytest.raises(BadInput, match="no person has a neutral and a smiling photo"):
        steadiness.smiles(editor, [])


def test_lower_lids_rise_in_a_tilted_face_as_in_an_upright_one():
    points = np.zeros((68, 2))
    points[[36, 39, 42, 45]] = [[0, 0], [30, 0], [70, 0], [100, 0]]
    points[[40, 41, 46, 47]] = [[20, 8], [10, 8], [80, 8], [90, 8]]
    assert steadiness.lid_height(points) == pytest.approx(-0.08)
    angle = 0.4
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert steadiness.lid_height(points @ turn) == pytest.approx(-0.08)


def test_what_causes_tell_of_an_effect_is_explained():
    causes = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).numpy()
    other = np.random.default_rng(1).normal(size=200)
    assert steadiness.explained(causes, causes @ [2.0, -1.0] + 3) == pytest.approx(1)
    assert steadiness.explained(causes, other) < 0.05
    assert steadiness.explained(causes, causes[:, 0] + other) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    "told, words", [(0.66, "explain 0.66 of its variance."), (None, "of the people at all.")]
)
def test_the_card_shows_what_smiles_read(told, words):
    rows = {"AU12": {"neutral": 0.2, "smiling": 2.5, "higher": 0.98}}
    lids = {"rise_percent": 0.31, "higher": 0.88, "told_by_au12_and_au07": told}
    found = {"smiles": {"people": 51, "units": rows, "lower_lids": lids}}
    shown = tables.smiles(Results(Path("readers.json"), found))
    text, table = shown.split("\n\n")
    assert text.startswith("51 people") and text.endswith(words) and "0.31 %" in text
    assert "| AU12 lip corner puller | 0.2 | 2.5 | 0.98 |" in table
