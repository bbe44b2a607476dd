"""Facts of one training run: shown for the weights they belong to, and for no others."""

import json

import pytest

from ganime_age.card.card import fingerprints, own_folder, render
from ganime_age.card.facts import Facts
from ganime_age.card.results import Goal
from ganime_age.errors import BadInput
from ganime_age.learning.evaluation.measure_speed import FIGURES
from helpers.results import made_up, section, written

FACTS = own_folder() / "facts.json"
FROM_FACES = ("speed", FIGURES[-1])
"""A figure with a goal that is measured only where there is a face folder."""


@pytest.fixture
def results(small_model, tmp_path):
    return written(made_up(fingerprints(small_model)), tmp_path / "results")


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("<= 5.0", 5.0, True),
        ("<= 5.0", 5.01, False),
        ("< 2", 2.0, False),
        (">= 0.9", 0.9, True),
        (">= 0.9", 0.89, False),
        ("0.6 to 1.2", 1.2, True),
        ("0.6 to 1.2", 0.5, False),
        ("<= 0.5 of idle", 1.5, True),
        ("<= 0.5 of idle", 1.6, False),
    ],
)
def test_a_goal_that_is_missed_says_so(text, value, met):
    goal, summary = Goal("speed", "key", "a figure", "s", text), {"key": value, "idle": 3.0}
    assert goal.met(summary) is met and goal.beside(summary).endswith("**missed**") is not met
    assert goal.beside(summary).startswith(text.replace("0.5 of idle", "1.5"))


@pytest.mark.parametrize("text", ["", "good", "<=5", "> 3", "5 to", "<= x of idle"])
def test_a_goal_that_cannot_be_read_is_one_sentence(text):
    with pytest.raises(BadInput, match="write `<= 5` or `0.6 to 1.2`"):
        Goal("speed", "key", "a figure", "s", text)


def test_a_goal_relative_to_a_figure_that_is_missing_names_it():
    with pytest.raises(BadInput, match=r"needs idle in speed\.json's summary"):
        Goal("speed", "key", "a figure", "s", "<= 0.5 of idle").beside({"key": 1.0})


def test_goals_and_remarks_stand_beside_their_figures(small_model, results, tmp_path):
    facts = json.loads(FACTS.read_text())
    facts["goals"] = [
        {"file": "speed", "key": "edit_256_seconds", "label": "an edit", "goal": "< 0.00001"},
        {"file": "readers", "key": "identity_auc", "label": "identity", "goal": ">= 0.00001"},
    ]
    facts["remarks"]["readers"] = [{"text": "Learnt on a train.", "source": "the guard"}]
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    card = render(small_model, results, facts=tmp_path / "facts.json")
    assert "s | < 0.00001, **missed** |" in section(card, "### Speed of an edit")
    readers = section(card, "### Readers")
    assert "| >= 0.00001 |" in readers and "missed" not in readers and "Learnt on a train." in readers


def test_no_fact_of_the_shipped_weights_stands_on_another_models_card(small_model, results):
    with_facts, without = render(small_model, results, facts=FACTS), render(small_model, results)
    remarks = json.loads(FACTS.read_text())["remarks"]
    assert {"failures", "bias", "data", "table1", "age_estimator"} <= set(remarks)
    said = [row["text"][:40] for about in ("failures", "bias", "data") for row in remarks[about]]
    assert all(text in with_facts and text not in without for text in said)
    for name in ("All-Age-Faces", "Titan", "learnt for longer", "8.54", "**missed**"):
        assert name not in without, name
    assert "Whoever made these weights: say here what they get wrong." in without


def test_every_goal_and_remark_is_about_a_figure_that_exists_and_has_a_source():
    facts, given = Facts.read(FACTS), json.loads(FACTS.read_text())
    for goal in facts.goals():
        summary = json.loads((FACTS.parent / "results" / f"{goal.file}.json").read_text())["summary"]
        if goal.key in summary or (goal.file, goal.key) != FROM_FACES:
            assert goal.beside(summary), goal
    assert given["goals_source"] and all(
        row["text"] and row["source"] for rows in given["remarks"].values() for row in rows
    )
