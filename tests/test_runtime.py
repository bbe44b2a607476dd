"""That an edit of photos of many sizes stays in the same memory."""

import subprocess
import sys
from pathlib import Path

import pytest

CONVOLVE = """
import sys
import torch
from ganime_age.runtime import bound_memory

def held():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1024

if sys.argv[1] == "bound":
    bound_memory()
torch.set_num_threads(1)
net = torch.nn.Conv2d(16, 16, 3, padding=1)
with torch.inference_mode():
    for side in range(24, 324):
        net(torch.zeros(1, 16, side, side + 1))
    before = held()
    for side in range(24, 724):
        net(torch.zeros(1, 16, side % 100 + 24, side))
print(held() - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="a process's memory is read from Linux's /proc"
)
def test_programs_for_pictures_of_many_sizes_are_not_all_kept():
    grown = {}
    for kind in ("bound", "as it is"):
        ran = subprocess.run([sys.executable, "-c", CONVOLVE, kind], check=True, stdout=subprocess.PIPE)
        grown[kind] = float(ran.stdout)
    print(grown)
    assert grown["bound"] < 0.7 * grown["as it is"]
