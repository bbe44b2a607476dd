"""The collapse monitor: it stops what no longer edits, says why in one sentence, and keeps the last good checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ganime_age.learning.engine.collapse import Collapsed, CollapseMonitor
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.task import Plan, Player, Task
from ganime_age.learning.losses import weighted_sum
from ganime_age.learning.tasks.probes import AU12, CollapseLimits, probe_edits
from helpers.training import ENVIRONMENT, TRAIN, order, recipe

HEALTHY = {"mask": 0.2, "age_slope": 0.7, "age_slope_judge": 0.6, "gap": 0.1, "au12_slope": 0.5}


class Editor(nn.Module):
    """Repaints a share of every pixel, the same everywhere, brighter with each year asked; AU12 shows in red."""

    def __init__(self, strength: float = 0.0):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(strength))

    def forward(self, face, source_age, target_age, source_aus, target_aus):
        share = self.share.sigmoid().expand(len(face), 1, 1, 1)
        colour = face + ((target_age - source_age) / 100)[:, None, None, None]
        smile = (target_aus - source_aus)[:, AU12, None, None] / 10
        return face + share * (torch.cat([colour[:, :1] + smile[..., None], colour[:, 1:]], 1) - face), share


def read(face):
    """A reader that sees years as brightness of blue, AU12 as red over blue, and persons as directions."""
    means = face.mean((2, 3))
    units = torch.zeros(len(face), 17)
    units[:, AU12] = 10 * (means[:, 0] - means[:, 2])
    return SimpleNamespace(
        age=100 * means[:, 2], action_units=units, identity=nn.functional.normalize(means, dim=1)
    )


def judge(face):
    """One that sees half of each year, and nothing else."""
    return SimpleNamespace(age=50 * face.mean((2, 3))[:, 2])


def faces(count: int = 3) -> dict[str, torch.Tensor]:
    age = torch.linspace(20, 60, count)
    return {
        "face": (age / 100)[:, None, None, None].expand(-1, 3, 4, 4),
        "age": age,
        "action_units": torch.full((count, 17), torch.nan),
    }


def test_probe_measures_what_an_editor_is_known_to_do():
    found = probe_edits(Editor(0.0), read, judge, faces())
    assert found["mask"] == pytest.approx(0.5)
    assert found["age_slope"] == pytest.approx(0.5, abs=1e-4)
    assert found["age_slope_judge"] == pytest.approx(0.25, abs=1e-4)
    assert found["gap"] == pytest.approx(0.25, abs=1e-4)
    assert found["au12_slope"] == pytest.approx(0.5, abs=1e-4)
    assert found["identity"] == pytest.approx(1, abs=1e-4)
    assert found["no_change_l1"] == pytest.approx(0, abs=1e-6)
    assert "au12_slope_judge" not in found and "identity_judge" not in found
    unknown = faces() | {"age": torch.full((3,), torch.nan)}
    assert probe_edits(Editor(0.0), read, None, unknown).keys() == found.keys() - {"age_slope_judge", "gap"}
    brighter = lambda face, *asked: (face + 0.1, torch.ones(3, 1, 4, 4))  # noqa: E731
    changed = probe_edits(brighter, read, judge, faces())
    assert changed["no_change_l1"] == pytest.approx(0.05) and changed["age_slope"] == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": 0.004}, "mask's mean is 0.004, below 0.02: edits change almost nothing"),
        ({"mask": 0.99}, "mask's mean is 0.99, above 0.95: nearly every pixel is repainted"),
        ({"age_slope": 0.03}, "age response is flat: 0.030 read per year asked, below 0.1"),
        ({"au12_slope": -0.2}, "AU12 response is flat: -0.200 read per intensity asked, below 0.1"),
        ({"gap": 0.7}, "exceeds the judge's by 0.70, above 0.6"),
        ({"identity": float("nan")}, "identity is nan"),
    ],
)
def test_each_limit_has_its_clause(change, words):
    watch = CollapseLimits().watch()
    assert watch.faults(5000, HEALTHY) == []
    (clause,) = watch.faults(5000, HEALTHY | change)
    assert words in clause


def test_a_response_may_be_flat_at_first_and_one_bad_probe_is_forgiven():
    monitor = CollapseMonitor(CollapseLimits(flat_after=100, patience=2).watch())
    flat = HEALTHY | {"age_slope": 0.0, "gap": 0.0}
    assert not monitor.judge(99, flat).faults
    first, good, again, second = (
        monitor.judge(step, p) for step, p in ((100, flat), (101, HEALTHY), (102, flat), (103, flat))
    )
    assert first.faults and not first.stop and not good.faults and not again.stop and second.stop
    assert CollapseMonitor(CollapseLimits(flat_after=100).watch()).judge(100, flat, last=True).stop


def test_a_gap_that_grows_without_the_judge_is_an_alarm_and_no_stop():
    def looks(gaps, judged):
        monitor = CollapseMonitor(CollapseLimits(gap_probes=3, gap_growth=0.05).watch())
        probes = [HEALTHY | {"gap": g, "age_slope_judge": j} for g, j in zip(gaps, judged, strict=True)]
        return [monitor.judge(step, probe) for step, probe in enumerate(probes)], monitor

    fooled, monitor = looks([0.1, 0.2, 0.3, 0.4], [0.3, 0.3, 0.3, 0.25])
    assert [bool(v.alarm) for v in fooled] == [False, False, False, True] and not any(v.stop for v in fooled)
    assert "grew over 3 probes, from 0.10 to 0.40" in fooled[-1].alarm
    again = CollapseMonitor(CollapseLimits().watch())
    again.recall(json.loads(json.dumps(monitor.memory())))
    assert again.judge(4, HEALTHY | {"gap": 0.5, "age_slope_judge": 0.2}).alarm
    learning, _ = looks([0.1, 0.2, 0.3, 0.4], [0.3, 0.4, 0.5, 0.6])
    wavering, _ = looks([0.1, 0.2, 0.15, 0.4], [0.3, 0.3, 0.3, 0.3])
    assert not any(v.alarm for v in learning + wavering)


def collapsing(kind: str) -> Task:
    """An editor whose loss drives the mask to 0, or into what is not a number."""
    torch.manual_seed(0)
    editor = Editor(0.5)

    weights = {"mask": 3.0, "cycle": 1.0}

    def loss(step):
        share = editor.share.sigmoid()
        terms = {"mask": share, "cycle": 0.01 * share}
        if kind == "nan" and step.number == 7:
            terms["cycle"] = (share - 2).log()
        return weighted_sum(terms, weights, shown={"shown": share * 100})

    return Task(
        networks={"editor": editor},
        players=[Player("editor", editor, loss, 0.3, weights=lambda number: weights)],
        batch=lambda number: {"face": torch.zeros(2, 3, 4, 4)},
        probe=lambda networks: probe_edits(networks["editor"], read, judge, faces()),
        watch=CollapseLimits().watch(),
    )


def run_of(kind: str, out: Path, **changes) -> Run:
    plan = {"warmup": 1, "schedule": "constant", "log_every": 1, "save_every": 2, "watch_every": 3} | changes
    return Run(collapsing(kind), Plan(**({"steps": 60} | plan)), out)


def test_a_mask_that_goes_to_nothing_stops_the_run_and_the_last_good_checkpoint_is_kept(tmp_path):
    run = run_of("mask", tmp_path)
    with pytest.raises(Collapsed) as stopped:
        run.train()
    sentence = str(stopped.value)
    kept = json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"]
    assert f"step {run.step}: the mask's mean is 0.0" in sentence and "below 0.02" in sentence
    assert (
        "largest weighted terms: mask 0." in sentence and "cycle 0." in sentence and "shown" not in sentence
    )
    assert f"the last good checkpoint is kept at {tmp_path / 'checkpoint'}" in sentence
    assert stopped.value.exit_code == 4
    log = {line["step"]: line for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())}
    assert log[kept]["probe_mask"] >= 0.02 and kept % 2 == 0
    unhappy = [step for step, line in log.items() if line.get("probe_mask", 1) < 0.02]
    assert len(unhappy) == 2 and min(unhappy) > kept and max(unhappy) == run.step < 60
    assert any(step % 2 == 0 for step in unhappy)
    again = run_of("mask", tmp_path)
    again.resume(tmp_path / "checkpoint")
    assert again.step == kept
    assert float(again.task.networks["editor"].share.detach().sigmoid()) == pytest.approx(
        log[kept]["probe_mask"], rel=1e-3
    )


def test_an_alarm_stands_in_the_log_and_the_run_goes_on(tmp_path, capsys):
    run = run_of("mask", tmp_path, steps=5, watch_every=1, save_every=100)
    probes = iter([HEALTHY | {"gap": gap, "age_slope_judge": 0.3} for gap in (0.1, 0.2, 0.3, 0.4, 0.35)])
    run.task.probe = lambda networks: next(probes)
    run.train()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert ["alarm" in line for line in log] == [False, False, False, True, False]
    assert "grew over 3 probes, from 0.10 to 0.40" in log[3]["alarm"] and log[3]["probe_gap"] == 0.4
    assert "alarm, step 4: the gap between reader and judge" in capsys.readouterr().err
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 5


def test_a_run_that_ends_collapsed_does_not_end_well(tmp_path):
    run = run_of("mask", tmp_path, watch_every=1000, save_every=1000, steps=40)
    with pytest.raises(Collapsed, match="step 40: the mask's mean .* no checkpoint had been saved yet"):
        run.train()
    assert not (tmp_path / "checkpoint").exists()


def test_a_loss_that_is_no_number_stops_the_run_before_it_spoils_the_weights(tmp_path):
    run = run_of("nan", tmp_path)
    with pytest.raises(
        Collapsed, match=r"step 7: the loss of the editor is not finite; largest weighted terms: cycle nan"
    ):
        run.train()
    assert run.task.networks["editor"].share.isfinite()
    assert json.loads((tmp_path / "checkpoint" / "state.json").read_text())["step"] == 6


@pytest.mark.slow
def test_the_script_ends_with_code_4_and_one_sentence(face_shards, tmp_path):
    toml = recipe(tmp_path, 50, save_every=1000)
    command = [
        sys.executable,
        str(TRAIN),
        *order(face_shards, tmp_path / "out", toml, "--set", "recipe.lr=1e30"),
    ]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 4 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "of the readers is not finite" in last and "; largest weighted terms: " in last
    assert not (tmp_path / "out" / "checkpoint").exists()
