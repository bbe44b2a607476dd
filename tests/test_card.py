"""The model card: every figure from a results file of these weights, snippets that run, fresh when pushed."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from ganime_age.card import pictures as drawn
from ganime_age.card.card import fingerprints, own_folder, render, write_card
from ganime_age.cli import main as cli
from ganime_age.edits import AGE_GROUPS
from ganime_age.errors import BadInput
from helpers.fakehub import TOKEN
from helpers.hub import FACES, environment
from helpers.results import made_up, section, written

ROOT = Path(__file__).resolve().parents[1]
FACTS = own_folder() / "facts.json"


@pytest.fixture
def results(small_model, tmp_path):
    """A folder of results files of the small model."""
    return written(made_up(fingerprints(small_model)), tmp_path / "results")


def change(folder: Path, name: str, *keys: str, value=None) -> None:
    """Set a value of a results file, or take its key out."""
    values = found = json.loads((folder / f"{name}.json").read_text())
    for key in keys[:-1]:
        found = found[key]
    if value is None:
        del found[keys[-1]]
    else:
        found[keys[-1]] = value
    (folder / f"{name}.json").write_text(json.dumps(values))


def cells(text: str) -> list[str]:
    """What stands in the columns after the first of every table, headings left out."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    marks = {i for i, row in enumerate(rows) if set("".join(row)) <= set("-")}
    return [cell for i, row in enumerate(rows) if not {i, i + 1} & marks for cell in row[1:]]


def numbers(values) -> list[float]:
    """Every number of a results file."""
    if isinstance(values, dict | list):
        inner = values.values() if isinstance(values, dict) else values
        return [number for value in inner for number in numbers(value)]
    return [] if isinstance(values, bool | str | None) else [float(values)]


def unsupported(text: str, held: list[float]) -> list[str]:
    """Figures of the tables that no number of the files rounds to."""
    figures = [f for cell in cells(text) for f in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", cell)]
    shown = {float(f"{value:.3g}") for value in held} | set(held)
    return [figure for figure in figures if float(figure) not in shown]


def test_every_figure_of_every_table_stands_in_its_results_file(small_model, results):
    card = render(small_model, results)
    for name, heading in {
        "edits-ganimation_age": "### Edits: ganimation_age",
        "readers": "### Readers",
        "finder": "### Face finder",
        "provenance": "### Watermark",
        "speed": "### Speed of an edit",
        "training": "### Speed of training",
    }.items():
        own, values = section(card, heading), json.loads((results / f"{name}.json").read_text())
        assert unsupported(own, numbers(values)) == []
        for value in numbers(values["summary"]):
            assert f"{value:.3g}" in own, (name, value)


def test_what_was_lost_and_how_memory_grew_stands_in_the_card(small_model, results):
    own = section(render(small_model, results), "### Under load")
    found = json.loads((results / "load.json").read_text())["summary"]
    assert (
        f"{found['space_jobs']} jobs of {found['space_visitors']} visitors" in own and "a folder" not in own
    )
    for key in ("lost", "files_left", "memory_mb_a_minute", "memory_mb_a_minute_at_most"):
        assert f"{found[f'space_{key}']:.3g}" in "".join(cells(own))


def test_doing_nothing_the_matcher_and_each_group_stand_beside_the_edits(small_model, results):
    edits = json.loads((results / "edits-ganimation_age.json").read_text())
    own = section(render(small_model, results), "### Edits: ganimation_age")
    for value in (edits["summary"]["nothing_verification_mean"], *edits["identity"].values()):
        assert f"{value:.3g}" in own
    assert all(f"| {group} | 7 |" in own for group in AGE_GROUPS if group != "20-29")
    assert "Judges: identity: a matcher; age: an age judge" in own
    change(results, "edits-ganimation_age", "judged_by", value={"age": "an age judge"})
    own = section(render(small_model, results), "### Edits: ganimation_age")
    assert "Matcher" not in own and "AU12" not in own and "distance to real faces" in own


def test_what_was_measured_worst_is_said(small_model, results):
    change(results, "edits-ganimation_age", "action_units", "AU45", "correlation", value=0.11)
    change(results, "edits-ganimation_age", "action_units", "AU14", "measurable", value=False)
    worst = {
        "group": "70+",
        "asked": 75.0,
        "age_error": 44.0,
        "real_age": 71.7,
        "age": 27.7,
        "verification": 0.011,
    }
    change(results, "edits-ganimation_age", "groups", value=[worst])
    own = section(render(small_model, results), "### Edits: ganimation_age")
    assert "the age group 70+ is missed most: real faces are read as 71.7 years, edited ones as 27.7" in own
    assert "towards 70+: 0.011 verified" in own and "whether AU14 answer could not be measured" in own
    assert re.search(r"AU45[ ,].*hardly answer", own)


def test_where_the_detector_and_the_readers_fall_short_is_said(small_model, results):
    card = render(small_model, results)
    own = section(card, "### Face finder")
    assert (
        "11 found faces stand where the reference, another detector's, lists none; false are the 4 of them"
        in own
    )
    assert "Fewer than 90% of the faces are found: mask (0.75)." in own and "mask (YuNet, 0.8)" in own
    assert "twice as far as on the photo as it is: mask (5 %)." in own and "InsightFace: found" not in own
    assert "The worst is other, 0-2 with 9.5" in section(card, "### Readers")
    change(results, "finder", "conditions", "by_condition", "mask", "ganime_age", "recall", value=0.9)
    assert "of the faces are found: nowhere." in section(render(small_model, results), "### Face finder")


def test_training_sets_and_cost_come_from_the_facts_file(small_model, tmp_path):
    facts = json.loads(FACTS.read_text())
    for row in facts["sets"]:
        row["faces"] += 1111
    facts |= {"runs": [{"network": "one", "minutes": 90}, {"network": "two", "minutes": 45}], "cores": 3}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    card = render(small_model, facts=tmp_path / "facts.json")
    for row in facts["sets"]:
        assert f"| {row['name']} | {row['faces']} | {row['labels']} | {row['terms']} |" in card
    assert "| one | 90 |" in card and "2.2 hours on a machine of 3 cores, so 6.8 core hours at most" in card
    del facts["runs"]
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    with pytest.raises(BadInput, match=r"facts\.json lacks runs"):
        render(small_model, facts=tmp_path / "facts.json")


def test_the_facts_file_has_what_its_sources_say():
    notes = (ROOT / "training" / "history.md").read_text()
    table = section(notes, "## The runs")
    for run in json.loads(FACTS.read_text())["runs"]:
        name = run["network"].split(",")[0]
        row = next(line for line in table.splitlines() if line.startswith(f"| {name} |"))
        assert re.search(rf"\b{run['minutes']}( minutes|`)", row), run


def test_what_was_not_measured_is_left_out_and_what_is_not_known_is_said(small_model, results):
    (results / "finder.json").unlink()
    (results / "speed.json").rename(results / "speed-quick.json")
    card = render(small_model, results)
    assert "### Readers" in card and "### Face finder" not in card and "### Speed of an edit" not in card
    bare = render(small_model)
    assert "These weights have not been measured." in bare and "say here what they were trained on" in bare
    assert "model-index" not in bare and "UTKFace |" not in bare


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("readers", ("summary", "identity_auc")),
        ("readers", ("made_by", "weights")),
        ("edits-ganimation_age", ("groups",)),
        ("edits-ganimation_age", ("identity", "threshold")),
        ("provenance", ("counts", "photos")),
    ],
)
def test_a_missing_key_is_named_with_its_file(small_model, results, name, keys):
    change(results, name, *keys)
    with pytest.raises(BadInput) as caught:
        render(small_model, results)
    assert f"{name}.json lacks {'.'.join(keys)}; measure again" in str(caught.value)


def test_a_damaged_file_and_a_missing_folder_are_named(small_model, results):
    (results / "speed.json").write_text("{")
    with pytest.raises(BadInput, match=r"speed\.json cannot be read as results"):
        render(small_model, results)
    (results / "speed.json").write_text("[]")
    with pytest.raises(BadInput, match=r"speed\.json holds no results"):
        render(small_model, results)
    with pytest.raises(BadInput, match="none is not a folder of results files"):
        render(small_model, results / "none")


def test_results_of_other_weights_are_refused_for_the_parts_they_rely_on(small_model, results):
    for part, refused in (("readers", "edits-ganimation_age"), ("ganimation_age", "edits-ganimation_age")):
        written(made_up(fingerprints(small_model) | {part: "0" * 16}), results)
        with pytest.raises(BadInput) as caught:
            render(small_model, results)
        assert f"{refused}.json was measured on other weights of {part} than these" in str(caught.value)
        assert "`python training/evaluate.py it`" in str(caught.value)
    (results / "edits-ganimation_age.json").unlink()
    assert "### Readers" in render(small_model, results)


def test_the_metadata_is_what_the_hub_takes(small_model, results):
    card = ModelCard(render(small_model, results, repo="me/faces"))
    assert card.data.license == "other" and card.data.license_link == "LICENSE.md"
    assert card.data.library_name == "ganime_age" and card.data.pipeline_tag == "image-to-image"
    scores = {(score.dataset_name, score.metric_name): score.metric_value for score in card.data.eval_results}
    summaries = [json.loads(path.read_text())["summary"] for path in results.glob("*.json")]
    assert len(scores) == 7 and set(scores.values()) <= {v for summary in summaries for v in summary.values()}
    assert scores["UTKFace, test split", "age, mean absolute error in years"] == next(
        summary["age_mae_utkface"] for summary in summaries if "age_mae_utkface" in summary
    )


def test_the_card_says_what_a_card_must(small_model):
    card = render(small_model, facts=FACTS)
    for heading in (
        "## How to use it", "## Intended use", "### Out of scope", "### Consent", "### Minors", "## Failure cases",
        "## Bias and limits", "## Training data", "## Environmental cost", "## Measured", "## Citation",
    ):  # fmt: skip
        assert len(section(card, heading).split()) > 3, heading
    for word in ("UTKFace", "All-Age-Faces", "CelebA", "FFHQ", "a GAN", "non-commercial", "skin tone", "ECCV 2018",
                 "ECCV 2022", "CVPR 2021", "ICCV 2021", "CVPR 2022", "1995", "2001", "Apache License 2.0"):  # fmt: skip
        assert word in card, word
    assert "$" not in card
    for path in re.findall(r"\]\((?!http)([^)]+)\)", card):
        assert (ROOT / "model_card" / path).exists(), path


def code(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


def test_the_snippets_run(model, portrait, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(portrait).save("portrait.jpg", quality=95)
    card = render(model)
    (python,) = code(card, "python")
    exec(compile(python, "card", "exec"), {})
    assert "years; identity" in capsys.readouterr().out and Path("older.png").exists()
    install, commands = code(card, "bash")
    assert install.startswith("pip install .")
    for command in commands.strip().splitlines():
        program, *arguments = shlex.split(command)
        assert program == "ganime-age" and cli.main(arguments) == 0, capsys.readouterr().err
    assert "edited" in capsys.readouterr().out


@pytest.mark.slow
def test_a_push_renders_the_card_at_that_moment_and_refuses_a_stale_one(
    online, model, tmp_path, monkeypatch, capsys, portrait
):  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    shorter = {name: asked[:2] for name, asked in drawn._STRIPS.items()}  # each edit of them takes its time
    monkeypatch.setattr(drawn, "_STRIPS", shorter)
    monkeypatch.setattr(drawn, "demo_sheet", lambda editor, say: Image.fromarray(portrait))
    files = lambda: online.repos[FACES].commits[online.repos[FACES].refs["main"]]  # noqa: E731
    results = written(made_up(fingerprints(model)), tmp_path / "results")
    push = ["push", FACES, "--results", str(results)]
    assert cli.main(push) == 0, capsys.readouterr().err
    pictures = {f"figures/{name}.jpg" for name in ("ages", "expressions", "failures", "astronaut")}
    others = {".gitattributes", "README.md", "LICENSE.md", "config.json", "model.safetensors"}
    assert set(files()) == others | pictures
    card = files()["README.md"].decode()
    assert all(f"]({path})" in card for path in (*pictures, "LICENSE.md")) and "## Training data" in card
    assert (
        files()["figures/ages.jpg"][:2] == b"\xff\xd8"
        and b"research, non-commercial" in files()["LICENSE.md"].lower()
    )

    commits = set(online.repos[FACES].commits)
    change(results, "finder", "made_by", "weights", "finder", value="0" * 16)
    assert cli.main(push) == 2
    assert "finder.json was measured on other weights of detector" in capsys.readouterr().err
    assert set(online.repos[FACES].commits) == commits

    Image.fromarray(portrait).save(tmp_path / "portrait.jpg", quality=95)
    (python,) = code(card, "python")
    assert f'from_pretrained("{FACES}")' in python
    done = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, env=environment(online, tmp_path / "cache"),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "years; identity" in done.stdout, done.stderr


def test_weights_of_ones_own_are_pushed_without_figures_of_others(
    online, small_weights, monkeypatch, capsys
):  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert cli.main(["push", FACES, "--weights", str(small_weights)]) == 0, capsys.readouterr().err
    files = online.repos[FACES].commits[online.repos[FACES].refs["main"]]
    card = files["README.md"].decode()
    assert "These weights have not been measured." in card and "say here what they were trained on" in card
    assert "figures/" not in card and not any(name.startswith("figures/") for name in files)


def test_the_card_in_the_repository_is_current(monkeypatch, capsys):
    script = runpy.run_path(
        str(ROOT / "training" / "render_card.py")
    )  # in this process: torch is loaded already
    monkeypatch.setattr(sys, "argv", ["render_card.py", "--check"])
    assert script["main"]() == 0, capsys.readouterr().err


def test_writing_a_card_twice_gives_the_same_text(small_model, results, tmp_path):
    first, second = (
        write_card(tmp_path / n, small_model, results, facts=FACTS)["README.md"] for n in ("a", "b")
    )
    assert first.read_bytes() == second.read_bytes()
