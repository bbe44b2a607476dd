"""The page and the command line in use: what is measured for half an hour works for seconds, and can fail."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import load_folder, load_space
from helpers.memory import Resident, family

GROWING = """
import time
held = []
while True:
    held.append(bytearray(b"x" * 2_000_000))
    time.sleep(0.02)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GROWING!r}])"

LINUX = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory over time is read from Linux's /proc"
)


@LINUX
@pytest.mark.slow
def test_a_folder_loses_no_photo_names_the_bad_ones_and_leaves_nothing_else(tmp_path):
    found = load_folder.measure(tmp_path, 20)
    assert (found["photos"], found["bad"], found["edited"]) == (20, 1, 19)
    assert not any(found[key] for key in ("lost", "bad_not_named", "good_named_as_bad", "files_left"))


@LINUX
@pytest.mark.slow
def test_visitors_get_their_own_photos_back_whatever_they_ask_for(tmp_path):
    found = load_space.measure(tmp_path, 2, 0.4)
    assert found["jobs"] > 4 and not any(found[key] for key in ("lost", "mixed", "files_left"))


def test_another_visitors_photo_is_told_from_the_own_one(tmp_path):
    one, other = (load_space.photo_of(i, tmp_path / f"{i}.png") for i in (0, 1))
    assert not load_space.own(one, other), "mixed up"
    assert not load_space.own(one, one), "nothing was done"


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory over time is read from Linux's /proc"
)
def test_memory_that_grows_is_seen_to_grow_in_a_process_and_its_children():
    child = subprocess.Popen([sys.executable, "-c", PARENT])
    try:
        end = time.monotonic() + 30
        while len(family(child.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        with Resident(child.pid, 0.1) as memory:
            time.sleep(2)
        grown = memory.growth()
        slope, spread = grown["memory_mb_a_minute"], grown["memory_mb_a_minute_standard_error"]
        assert (
            grown["memory_mb_a_minute_at_most"] > slope > 300 > spread
        )  # about 6,000 MB a minute where nothing else runs
    finally:
        for process in reversed(family(child.pid)):
            subprocess.run(["kill", "-9", str(process)], check=False)
        child.wait(10)
