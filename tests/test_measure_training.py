"""The training benchmark counts what it says it counts, on recipes small enough for a test."""

import argparse
import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganime_age.errors import BadInput
from ganime_age.learning.evaluation import measure_training
from ganime_age.learning.evaluation.measure_training import GANIMATION, OURS, WHOLE, Contender, figures
from ganime_age.learning.tasks import task_module
from ganime_age.learning.tasks.rehearsal import rehearse
from ganime_age.networks.prototypes import Prototypes

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    OURS: [
        "recipe.batch=2",
        "recipe.r1_every=2",
        "recipe.generator.widths=[8,8,16]",
        "recipe.discriminator.widths=[8,8,8]",
    ],
    GANIMATION: [
        "recipe.batch=2",
        "recipe.generator.width=4",
        "recipe.generator.blocks=1",
        "recipe.discriminator.width=4",
    ],
}


def test_both_counts_come_from_the_median_round():
    """Two rounds of five steps with 25 images each, in 50 s: 1 image/s by the generator, 5 by every batch."""
    row = figures(Contender(None, steps=10, rounds=2, images=25), [90.0, 50.0, 10.0])
    assert (row["generator"], row["batch"]) == (1.0, 5.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the GPU in a process of its own: slow")
def test_both_recipes_are_measured_by_turns_without_face_data(tmp_path):
    save_file(Prototypes().state_dict(), tmp_path / "prototypes.safetensors")
    (tmp_path / "prototypes.json").write_text("{}")
    changes = SMALL | {OURS: [*SMALL[OURS], f"recipe.prototypes={tmp_path}"]}
    result = measure_training.measure(ROOT, task_module, repeats=1, changes=changes, faces=16)
    summary, recipes = result["summary"], result["devices"]["cpu"]["recipes"]
    assert set(recipes) == {OURS, GANIMATION, WHOLE} and all(value > 0 for value in summary.values())
    assert summary["images_per_second_ratio"] == pytest.approx(
        summary["images_per_second_ours"] / summary["images_per_second_ganimation"], rel=0.02
    )
    original, ours = recipes[GANIMATION], recipes[OURS]
    assert (original["steps_of_a_repeat"], original["generator_updates_of_a_repeat"]) == (5, 1)
    assert original["batch"] == pytest.approx(5 * original["generator"], rel=0.01)
    assert ours["batch"] == ours["generator"] and ours["steps_of_a_repeat"] == 2


def test_every_recipe_is_told_and_the_other_part_keeps_its_figures(tmp_path, monkeypatch):
    row = {"ok": True, "syncs_per_step": 1, "syncs_per_batch": 0, "images_per_second": 3.0}
    rows = {"one": row, "two": row | {"syncs_per_step": 4}, "three": {"ok": False, "why": "it fails"}}
    monkeypatch.setattr(rehearse, "rehearsed", lambda recipes, seconds: rows)
    given = argparse.Namespace(name="training", parts="recipes", quick=False, out=tmp_path / "training.json")
    given.out.write_text(
        json.dumps({"summary": {"images_per_second_ratio": 8.0}, "made_by": {"date": "before"}})
    )
    measured = runpy.run_path(str(ROOT / "training" / "evaluate.py"))["training"]
    found = measured(given, None)
    told = {"plan_recipes": 3, "plan_recipes_ok": 2, "syncs_per_step_max": 4}
    assert found["summary"] == {"images_per_second_ratio": 8.0} | told
    assert found["recipes"]["rows"] == rows and found["made_by"] == {"date": "before"}
    given.parts = "stairs"
    with pytest.raises(BadInput, match="training has the parts steps and recipes"):
        measured(given, None)


def test_a_row_of_a_results_file_stands_on_one_line():
    result = {"summary": {"a": 1.5, "b": None}, "rows": {"one": {"x": [1, 2], "y": "{\n [z], "}}, "none": {}}
    text = runpy.run_path(str(ROOT / "training" / "evaluate.py"))["lines"](result)
    assert json.loads(text) == result and '  "summary": {"a": 1.5, "b": null},' in text.splitlines()


@pytest.mark.slow
def test_a_recipe_is_tried_tiny_and_measured_at_its_own_size(tmp_path):
    recipes = ROOT / "training" / "recipes"
    found = rehearse.rehearsed([recipes / f"{name}.toml" for name in ("dual_shape", "head", "hair")], 0.1)
    assert found["head"]["ok"] and found["head"]["images_per_second"] is None, "it takes no steps"
    assert found["dual_shape"]["syncs_per_step"] == 1 and found["dual_shape"]["images_per_second"] > 0
    broken = tmp_path / "dual_shape.toml"
    broken.write_text((recipes / "dual_shape.toml").read_text().replace("batch", "flock"))
    (row,) = rehearse.rehearsed([broken]).values()
    assert not row["ok"] and row["why"].startswith("BadInput: ")
