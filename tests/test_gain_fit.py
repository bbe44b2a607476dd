"""Fitting gains: what costs less is taken, knot by knot, and the proportion of tone and texture stays."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.engine.recipe import read_recipe
from ganime_age.learning.tasks.prototype_fitting.gain_fit import (
    KNOT_AGES,
    MOST,
    Edits,
    Score,
    as_recipe,
    fit_gains,
    gains_of,
    moved,
    unbiased,
)
from ganime_age.model.model import GanimeAge
from ganime_age.networks.judging.age_judge import AgeJudge
from ganime_age.networks.prototypes import KNOTS, MAPS
from helpers.painted import paint_faces

ROOT = Path(__file__).parents[1]
RING = torch.linspace(0, 2 * torch.pi, 69)[:68]
SHAPE = torch.stack([0.5 + 0.25 * RING.cos(), 0.55 + 0.3 * RING.sin()], 1)
TONE, TEXTURE = MAPS.index("tone"), MAPS.index("texture")


@pytest.fixture
def model():
    """A model whose prototypes and readers change and know nothing."""
    torch.manual_seed(0)
    return GanimeAge(
        ("readers", "identity", "prototypes"), 64, edit_size=64, prototypes={"hair_width": 4, "wrinkles": 2}
    ).eval()


class Wanted:
    """Stands in for Edits: an edit costs the distance of the prototypes' gains from wanted ones."""

    batches: list = []
    source_ages = (4.0, 60.0)

    def __init__(self, prototypes):
        self.prototypes = prototypes

    def score(self, asked):
        knot = KNOT_AGES.index(asked)
        tone = abs(float(self.prototypes.outward[TONE, knot]) - 2.5 * 0.85)
        creases = abs(float(self.prototypes.wrinkles.onset[knot]) - 0.7225)
        return Score(0.0, tone + creases, 1.0, tone + creases)


def test_gains_go_where_edits_cost_least_and_the_young_ones_stay(model):
    prototypes = model.prototypes
    prototypes.outward[TONE], prototypes.outward[TEXTURE], prototypes.wrinkles.onset[:] = 2.5, 1.25, 1.0
    before = gains_of(prototypes)
    said = []
    found = fit_gains(model, Wanted(prototypes), sweeps=3, youngest=49, told=said.append)
    old = [knot for knot in range(KNOTS) if KNOT_AGES[knot] >= 49]
    young = [knot for knot in range(KNOTS) if knot not in old]
    tone, texture = (np.array(found["gains"]["outward"][name]) for name in ("tone", "texture"))
    assert np.allclose(tone[old], 2.12) and np.allclose(tone[old] / texture[old], 2, atol=0.02)
    assert np.allclose(np.array(found["gains"]["wrinkles"])[old], 0.72)
    assert np.allclose(tone[young], 2.5) and np.allclose(np.array(found["gains"]["wrinkles"])[young], 1.0)
    assert as_recipe(gains_of(prototypes)) == found["gains"] != as_recipe(before), "the prototypes have them"
    assert sum(row["cost"] for row in found["after"]) < sum(row["cost"] for row in found["before"])
    assert any("0 moves" in line for line in said)


def test_at_last_creases_are_as_deep_as_leaves_no_bias():
    given = {"outward": {}, "wrinkles": {"depth": [0.0] * 7 + [0.45, 0.75, 1.0, 1.1, 1.2]}}
    years = lambda gains: 8 * np.log(np.mean(gains["wrinkles"]["depth"])) + 4  # noqa: E731
    found = unbiased(given, years)
    assert years(given) < -2 and years(found) == pytest.approx(0, abs=0.05)
    before, after = (np.array(gains["wrinkles"]["depth"]) for gains in (given, found))
    assert np.allclose(after[7:] / before[7:], after[7] / before[7]) and not after[:7].any()
    assert unbiased(given, lambda gains: -1.0) == given, (
        "what depth does not change is no reason for more of it"
    )


def test_creases_are_no_deeper_than_an_age_may_have():
    gains = {"outward": {}, "wrinkles": {"depth": [1.0] * KNOTS}}
    for knot in range(KNOTS):
        for _ in range(12):
            gains = moved(gains, knot, "creases", 1.18)
    depth = np.array(gains["wrinkles"]["depth"])
    assert not depth[:6].any() and 0 < depth[6] < 0.2 * depth[8] and depth[-1] == MOST["depth"]
    assert (np.diff(depth) >= 0).all()


def test_edits_are_held_against_what_is_read_on_real_faces(model, tmp_path):
    faces = paint_faces(tmp_path)
    edits = Edits(faces, model, AgeJudge(32, (8, 8)).eval(), count=6)
    found = edits.score(95)
    assert found.cosine == pytest.approx(1, abs=1e-3) and found.error >= abs(found.bias)
    assert found.cost == pytest.approx(found.error + abs(found.bias) + 10 * (1 - found.cosine), abs=1e-2)
    low, high = np.quantile(faces.labels["age"], [0.3, 0.7])
    between = Edits(faces, model, AgeJudge(32, (8, 8)).eval(), count=6, source_ages=(low, high))
    assert all(((low <= one["age"]) & (one["age"] <= high)).all() for one in between.batches)
    faces.labels["age"][:] = np.nan
    with pytest.raises(BadInput, match="no validation face of 4 to 60 years"):
        Edits(faces, model, AgeJudge(32, (8, 8)).eval(), count=6)


def test_what_a_network_draws_counts(model, tmp_path):
    torch.manual_seed(1)
    drawing = GanimeAge(
        (*model.parts, "ganimation_age"),
        64,
        edit_size=64,
        prototypes={"hair_width": 4, "wrinkles": 2},
        ganimation_age={"kind": "restorer", "widths": [8, 8, 8], "deep": 1, "draws": ["skin"]},
    ).eval()
    network = drawing.ganimation_age
    network.use_mean_shape(SHAPE)
    for module in network.modules():
        if type(module).__name__ == "Modulator":
            torch.nn.init.normal_(module.linear.weight)
    torch.nn.init.normal_(network.head.weight)
    for part in (model, drawing):
        part.prototypes.mean_shape.copy_(SHAPE)
        part.prototypes.region.fill_(1.0)
    face = torch.rand(2, 3, 64, 64) * 2 - 1
    faces, judge = paint_faces(tmp_path), AgeJudge(32, (8, 8)).eval()
    ages = torch.tensor([30.0, 30.0]), torch.tensor([70.0, 70.0])
    alone, drawn = (
        Edits(faces, one, judge, count=6).edited(face, SHAPE.expand(2, -1, -1), ages)
        for one in (model, drawing)
    )
    assert torch.allclose(alone, face, atol=1e-4) and not torch.allclose(drawn, face, atol=1e-2)


def test_recipe_and_weights_have_the_gains_that_were_fitted():
    found = json.loads((ROOT / "training" / "recipes" / "prototypes_gains.json").read_text())
    fitted, ranges = found["gains"], [fit["ages"] for fit in found["fits"]]
    gains = read_recipe(ROOT / "training" / "recipes" / "prototypes.toml", [])["recipe"]["gains"]
    packed = as_recipe(gains_of(GanimeAge.from_pretrained(parts=["prototypes"]).prototypes))
    # The youngest ones are chosen by hand.
    of_fit = np.array([any(low <= age <= high for low, high in ranges) for age in KNOT_AGES])
    assert np.array(KNOT_AGES)[of_fit].tolist() == [10, 15, 28, 38, 49, 63, 79, 95]
    for name in ("shape", "tone", "texture"):
        chosen = np.array(gains["outward"][name])
        assert np.array_equal(chosen[of_fit], np.array(fitted["outward"][name])[of_fit])
        assert np.allclose(packed["outward"][name], chosen, atol=0.011)  # half precision
        assert chosen.max() <= MOST[name]  # or another fit could not keep them
    assert gains["wrinkles"] == fitted["wrinkles"]
    assert np.allclose(packed["wrinkles"], fitted["wrinkles"], atol=0.011)


def test_fits_of_other_ages_stay_beside_a_new_one(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import refine_prototypes

    monkeypatch.setattr(refine_prototypes, "FITTED", tmp_path / "gains.json")
    for number, ages in enumerate(([28, 100], [10, 15], [10, 21], [63, 79])):
        refine_prototypes.remember({"gains": {"number": number}, "ages": ages, "faces": number})
    found = json.loads((tmp_path / "gains.json").read_text())
    assert found["gains"] == {"number": 3}
    assert [(fit["ages"], fit["faces"]) for fit in found["fits"]] == [
        ([28, 100], 0), ([10, 21], 2), ([63, 79], 3),
    ]  # fmt: skip
    assert not any("gains" in fit for fit in found["fits"])
