"""One request by every method: what `FaceEditor.compare` gives and the sheet that the command line writes of it."""

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import BadInput, FaceEditor, GanimeAge
from ganime_age.card.contact_sheet import compare_sheet
from ganime_age.cli.main import main
from ganime_age.errors import MissingModel
from ganime_age.provenance.xmp import read_metadata

TINY = {
    "ganimation": {"width": 8, "blocks": 1},
    "agetransgan": {"size": 64, "width": 0.1, "style": 16, "layers": 1},
    "ragan": {"widths": [8, 8], "blocks": 1},
}


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    """The embedded weights, with a tiny network at random of every edit method but the first."""
    torch.manual_seed(0)
    config = model.config | {"parts": ("finder", "readers", "ganimation_age", *TINY)} | TINY
    full = GanimeAge(**config)
    kept = {key: value for key, value in model.state_dict().items() if key.split(".")[0] not in TINY}
    full.load_state_dict(kept, strict=False)
    folder = tmp_path_factory.mktemp("all") / "weights"
    full.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def all_methods(weights):
    return FaceEditor(GanimeAge.from_pretrained(weights))


def test_an_age_is_asked_of_every_method_that_changes_ages(all_methods, portrait):
    results = all_methods.compare(portrait, age=70)
    assert [result.method for result in results] == ["ganimation_age", "agetransgan", "ragan"]
    for result in results:
        alone = all_methods.edit(portrait, age=70, method=result.method)
        assert np.array_equal(np.asarray(result.image), np.asarray(alone.image))
        assert result.source_reading.age == alone.source_reading.age


def test_an_expression_and_both_are_asked_of_those_that_can(all_methods, portrait):
    named = lambda **asked: [r.method for r in all_methods.compare(portrait, **asked)]  # noqa: E731
    assert named(action_units={"AU04": 3}) == ["ganimation_age", "ganimation"]
    assert named(action_units=["AU04=+1"], age=60) == ["ganimation_age"]
    assert named() == list(all_methods.model.methods)  # nothing asked: anybody can


def test_with_the_shipped_weights_there_is_at_least_the_default_method(editor, portrait):
    results = editor.compare(portrait, age=20, strength=0.5, mark=False)
    assert "ganimation_age" in [result.method for result in results]
    assert all(result.edit.strength == 0.5 and not result.mark for result in results)


@pytest.mark.parametrize(
    ("parts", "asked", "words"),
    [
        (("finder", "readers", "ganimation"), {"age": 5}, "hold ganimation, which cannot change age"),
        (("finder", "readers"), {"age": 5}, "hold no method, which cannot change age"),
        (
            ("finder", "readers", "ragan"),
            {"age": 5, "action_units": {"AU12": 1}},
            "cannot change age and action units",
        ),
        (("finder", "readers", "ragan"), {"age": 500}, "age 500 is out of range"),
    ],
)
def test_what_no_method_can_do_is_one_sentence(weights, portrait, parts, asked, words):
    editor = FaceEditor(GanimeAge.from_pretrained(weights, parts=parts))
    with pytest.raises(BadInput, match=words):
        editor.compare(portrait, **asked)


def test_a_method_whose_part_is_not_held_is_named(weights, portrait):
    editor = FaceEditor(GanimeAge.from_pretrained(weights, parts=("finder", "readers", "ganimation_age")))
    with pytest.raises(
        MissingModel,
        match="hold detector, readers, prototypes, ganimation_age; load weights with agetransgan",
    ):
        editor.edit(portrait, age=70, method="agetransgan")


def test_the_sheet_shows_the_original_and_every_face(all_methods, portrait):
    results = all_methods.compare(portrait, age=70)
    sheet = compare_sheet(results)
    one = compare_sheet(results[:1])
    assert sheet.mode == "RGB" and sheet.height == one.height
    assert (sheet.width - one.width) % 2 == 0 and sheet.width > 1.5 * one.width
    first = np.asarray(sheet)[:, : one.width - 28]
    assert np.array_equal(first, np.asarray(one)[:, : one.width - 28])
    second = np.asarray(sheet)[28 : 28 + 256, 28 + 2 * 284 : 28 + 2 * 284 + 256].astype(float)
    face = np.asarray(results[1].face.resize((256, 256), Image.Resampling.LANCZOS))
    assert np.abs(second - face)[20:-20, 20:-20].max() == 0


def test_the_command_writes_one_labelled_and_marked_sheet(weights, portrait_file, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    command = ["edit", str(portrait_file), "--method", "all", "--weights", str(weights)]
    assert main([*command, "--age", "70", "-o", str(out)]) == 0
    said = capsys.readouterr().out
    for method in ("ganimation_age", "agetransgan", "ragan"):
        assert f"{out}  {method}: age " in said
    with Image.open(out) as sheet:
        assert sheet.width > 1000
    _, record = read_metadata(out)
    assert record["method"] == "ganimation_age, agetransgan, ragan" and record["age"] == 70
    assert main([*command, "--age", "70", "-o", str(tmp_path / "clip.mp4")]) == 2
    assert "name one method for a video" in capsys.readouterr().err and not (tmp_path / "clip.mp4").exists()


def test_read_shows_where_the_age_branch_looks(editor, portrait):
    (reading,) = editor.read(portrait)
    assert reading.age_attention.ndim == 2 and reading.age_attention.dtype == np.float32
    assert 0 <= reading.age_attention.min() <= reading.age_attention.max() <= 1
    assert "age_attention" not in reading.to_dict()
