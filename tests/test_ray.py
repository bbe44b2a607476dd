"""A folder on a Ray cluster of two workers: nothing lost, nothing twice, the same pictures as without."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganime_age.cli import main as cli
from ganime_age.cli.ray_workers import ray_answers
from ganime_age.cli.workers import Died
from ganime_age.errors import BadInput
from helpers.mortal import check_survived, mortal, shard_of, tiny_editor_weights


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine, whose actors find the tests' helpers."""
    ray = pytest.importorskip("ray", reason="the engine needs Ray: pip install 'ganime_age[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        ray.init(num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def test_a_killed_actor_loses_nothing_and_nothing_is_done_twice(cluster, tmp_path):
    log = tmp_path / "log"

    def setup():
        def work(number):
            with log.open("a") as file:
                file.write(f"{number}\n")
            if number == 4 or (number == 2 and log.read_text().split().count("2") == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            return number * number

        return work

    got = dict(ray_answers(range(6), setup, 2))
    assert sorted(got) == list(range(6))
    assert isinstance(got.pop(4), Died) and got == {n: n * n for n in range(6) if n != 4}
    assert sorted(log.read_text().split()) == sorted("01223445")


def test_the_engine_edits_a_folder_as_processes_do_and_goes_on_where_it_stopped(
    cluster, portrait, tmp_path, capsys, monkeypatch
):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in "ab":
        Image.fromarray(portrait).save(source / f"{name}.png")
    (source / "c.png").write_bytes(b"no photo")
    monkeypatch.chdir(tmp_path)
    asked = ["edit", "in", "--au", "AU12=3"]
    assert cli.main([*asked, "-o", "out", "--engine", "ray", "--workers", "2"]) == 2
    said = capsys.readouterr().err
    assert "1 of 3 photos failed" in said and said.count("c.png") == 1
    report = json.loads((out / "report.json").read_text())
    assert list(report["failed"]) == ["c.png"] and report["photos"] == 3
    assert cli.main([*asked, "-o", "plain"]) == 2
    for name in ("a.png", "b.png"):
        assert np.array_equal(
            np.array(Image.open(out / name)), np.array(Image.open(tmp_path / "plain" / name))
        )
    kept = (out / "a.png").stat().st_mtime_ns
    (source / "c.png").unlink()
    (out / "b.png").unlink()
    assert cli.main([*asked, "-o", "out", "--engine", "ray"]) == 0
    assert (out / "a.png").stat().st_mtime_ns == kept and (out / "b.png").is_file()


@pytest.mark.slow
def test_actors_that_are_killed_while_they_edit_or_write_lose_nothing_and_do_nothing_twice(
    cluster, portrait, model, tmp_path, monkeypatch
):
    shard = shard_of(portrait, tmp_path / "shard.tar", "abcdef")
    asked = ["edit", str(shard), "--au", "AU12=3", "--weights"]
    asked.append(str(tiny_editor_weights(model, tmp_path / "weights")))
    assert cli.main([*asked, "-o", str(tmp_path / "plain")]) == 0
    log, out = tmp_path / "log", tmp_path / "out"
    monkeypatch.setattr(cli, "_worker", partial(mortal, log))
    assert cli.main([*asked, "-o", str(out), "--engine", "ray", "--workers", "2"]) == 0
    check_survived(log, out, tmp_path / "plain", "abcdef")
    assert json.loads((out / "report.json").read_text())["failed"] == {}


def test_a_cluster_without_a_gpu_says_so(cluster):
    with pytest.raises(BadInput, match="the Ray cluster has no GPU; leave --device cuda out"):
        list(ray_answers([1], Path, 1, gpus=1.0))


def test_an_engine_that_is_not_installed_is_one_sentence_and_writes_nothing(
    tmp_path, portrait, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "in").mkdir()
    Image.fromarray(portrait).save(tmp_path / "in" / "a.png")
    asked = ["edit", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--age", "70", "--engine", "ray"]
    assert cli.main(asked) == 3
    assert "Ray is not installed; pip install 'ganime_age[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main(["edit", str(tmp_path / "in" / "a.png"), *asked[2:]]) == 2
    assert "--engine ray shares a folder among processes; a.png is one file" in capsys.readouterr().err
