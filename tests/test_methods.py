"""The table of methods: one row and one network are all that a new method needs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganime_age import Edit, FaceEditor, GanimeAge, MissingModel
from ganime_age.card.card import render
from ganime_age.card.contact_sheet import compare_sheet
from ganime_age.cli import main as cli
from ganime_age.model import methods
from ganime_age.networks.layers import Edited
from ganime_age.pipelines.face import FacePipeline
from helpers.puppets import found_face
from helpers.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]


class Brighter(nn.Module):
    """A toy generator: the face, brighter by what it has learnt."""

    def __init__(self, size: int = 64):
        super().__init__()
        self.size, self.light = size, nn.Parameter(torch.tensor(0.2))


def brighten(network, faces, source_age, target_age, source_aus, target_aus):
    return Edited((faces + network.light).clamp(-1, 1), torch.full_like(faces[:, :1], 0.5))


@pytest.fixture
def toy(monkeypatch):
    row = methods.Method(
        "toy", "Toy GAN", ("age",), part="toy", colour="#123456", edit=brighten, network=Brighter, reads=False
    )
    monkeypatch.setitem(methods.METHODS, "toy", row)
    return row


@pytest.fixture
def with_toy(toy, model, tmp_path):
    """The shipped detector, readers and default method, and the toy; saved and loaded."""
    parts = ("detector", "readers", "prototypes", "ganimation_age", "toy")
    built = GanimeAge(**model.config | {"parts": parts, "toy": {"size": 64}})
    built.load_state_dict(
        {key: value for key, value in model.state_dict().items() if key.split(".")[0] in parts}, strict=False
    )
    built.save_pretrained(tmp_path / "weights")
    return GanimeAge.from_pretrained(tmp_path / "weights")


def test_a_row_and_a_network_make_a_method(with_toy, portrait, capsys):
    assert with_toy.parts[-1] == "toy" and with_toy.toy.size == 64
    assert with_toy.methods_for("age") == ("ganimation_age", "toy")
    assert with_toy.methods_for("action_units") == ("ganimation_age",)
    with pytest.raises(SystemExit):
        cli.main(["edit", "--help"])
    assert "ganimation_age_published, toy (default: ganimation_age)" in " ".join(
        capsys.readouterr().out.split()
    )
    results = FaceEditor(with_toy).compare(portrait, age=70)
    assert [result.method for result in results] == ["ganimation_age", "toy"]
    sheet = np.asarray(compare_sheet(results))
    assert sheet.shape[1] > np.asarray(compare_sheet(results[:1])).shape[1]
    assert results[1].reading.age != results[1].source_reading.age
    assert "the generator Toy GAN" in render(with_toy, pictures=False)


def test_a_draft_of_a_method_that_draws_on_no_prototypes_needs_none(toy):
    sketch = pytest.importorskip("ganime_age.space.sketch", reason="the page needs gradio")
    config = {name: TINY[name] for name in ("face_size", "edit_size", "readers")}
    bare = FacePipeline(GanimeAge(("readers", "toy"), **config, toy={"size": 64}), "cpu", lambda photo: [])
    photo, found = np.full((100, 100, 3), 120, np.uint8), found_face(50)
    (face,) = bare.read([bare.align(photo, found.landmarks, found.box)])
    (start,) = sketch.sketches_of(bare, photo, [face.reading.but(landmarks=found.landmarks)])
    assert sketch.draw(bare, start, Edit.of(70), "toy")["src"].startswith("data:image/jpeg")


def test_labels_colours_and_rows_come_from_the_table(toy):
    assert methods.label("toy") == "Toy GAN" and methods.label("ganimation") == "GANimation (expression)"
    assert methods.row_titles()["toy"] == ("Toy GAN", "#123456")
    assert list(methods.table1_rows().values()) == ["agetransgan"] * 3 + ["ragan"] * 2 + [
        "toy",
        "ganimation_age",
        "ganimation_age_published",
    ]
    assert "toy" in methods.shipped()
    assert not {"ganimation", "ganimation_age_published"} & set(methods.shipped())


@pytest.mark.parametrize("name", ["ganimation", "ganimation_age_published"])
def test_weights_that_are_not_shipped_are_missing_in_a_sentence_that_says_how_to_make_them(model, name):
    with pytest.raises(
        MissingModel, match=f"load weights with {name} to use it; they are not shipped: "
    ) as said:
        model.require(name)
    recipe, option = re.search(
        r"train (\S+), then training/pack.py (\S+) RUN/light", str(said.value)
    ).groups()
    assert (ROOT / recipe).is_file() and option == f"--{name}"


def test_a_method_whose_part_the_weights_lack_is_one_sentence(toy, model):
    face, years, units = torch.zeros(1, 3, 64, 64), torch.tensor([30.0]), torch.zeros(1, 17)
    with pytest.raises(
        MissingModel, match="^these weights hold detector, .*; load weights with toy to use it$"
    ):
        model.edit(face, years, years + 40, units, units, method="toy")
