"""The training benchmark counts what it says it counts, on recipes small enough for a test."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganime_age.learning.evaluation import measure_training
from ganime_age.learning.evaluation.measure_training import GANIMATION, OURS, WHOLE, Contender, figures
from ganime_age.learning.tasks import task_module
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
