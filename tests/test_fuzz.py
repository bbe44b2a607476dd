"""Damaged files: whatever is wrong with them, only our own errors come out, quickly, in little memory.

By default the run is short; `GANIME_FUZZ=2000 pytest tests/test_fuzz.py` tries 2,000 of each kind, and
`python training/evaluate.py fuzz` does so and writes down what came of it.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.fuzz import CASES, damaged

RUNS = int(os.environ.get("GANIME_FUZZ", "100"))
SECONDS = 5
MEGABYTES = 2000
FUZZ = Path(__file__).with_name("helpers") / "fuzz.py"


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_damaged_files_are_refused_or_read(kind):
    done = subprocess.run([sys.executable, FUZZ, kind, str(RUNS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cases"] == found["read"] + found["refused"] == RUNS
    assert found["read"] and found["refused"], "the harms must neither spare nor break everything"
    assert found["slowest_cpu_seconds"] < SECONDS and found["peak_added_mb"] < MEGABYTES


HARMFUL = {
    "sleeps": ("time.sleep(600)", "Timeout"),
    "waits for a lock": ("lock = threading.Lock(); lock.acquire(); lock.acquire()", "Timeout"),
    "raises": ("raise KeyError(7)", "case 0 of bad"),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_a_case_that_ends_otherwise_ends_the_run(kind):
    does, words = HARMFUL[kind]
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(FUZZ.parent)!r})
import fuzz
def case(rng):
    {does}
fuzz.HANGS, fuzz.CASES["bad"] = {0.5 if words == "Timeout" else 300}, lambda: iter([case])
fuzz.fuzz("bad", 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and words in done.stderr


def test_memory_that_a_case_takes_is_counted():
    code = f"""
import sys
sys.path.insert(0, {str(FUZZ.parent)!r})
import fuzz
fuzz.CASES["large"] = lambda: iter([lambda rng: bool(len(bytearray(300_000_000)))])
print(fuzz.fuzz("large", 1)["peak_added_mb"])
"""
    ballast = bytearray(400_000_000)  # what this process holds must not hide what that one takes
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert len(ballast) and 290 < float(done.stdout) < 400, done.stderr


def test_the_harms_are_the_same_in_every_run():
    content = bytes(range(256)) * 4
    assert [damaged(random.Random(3), content) for _ in range(2)] == [damaged(random.Random(3), content)] * 2
    assert len({damaged(random.Random(i), content) for i in range(50)}) == 50
