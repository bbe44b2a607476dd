"""That an edit of photos of many sizes stays in the same memory."""

import os
import subprocess
import sys

import pytest

CONVOLVE = """
import sys
import torch
from ganime_age.runtime import bound_memory

if sys.argv[1] == "bound":
    bound_memory()
torch.set_num_threads(1)
net = torch.nn.Conv2d(16, 16, 3, padding=1)
with torch.inference_mode():
    net(torch.zeros(1, 16, 50, 50))
    for side in range(60, 460):
        net(torch.zeros(1, 16, 8, side))
    print("AGAIN", flush=True)
    net(torch.zeros(1, 16, 50, 50))
"""


@pytest.mark.parametrize("kind, found", [("as it is", "cache_hit"), ("bound", "cache_miss")])
def test_programs_for_pictures_of_many_sizes_are_not_all_kept(kind, found):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ONEDNN", "MALLOC"))}
    ran = subprocess.run(
        [sys.executable, "-c", CONVOLVE, kind],
        check=True,
        stdout=subprocess.PIPE,
        env=environment | {"ONEDNN_VERBOSE": "2"},  # says of every program whether it was kept
    )
    _, _, after = ran.stdout.decode().partition("AGAIN")
    if "create:" not in after:
        pytest.skip("convolutions are not oneDNN's here")
    assert f"create:{found}" in after
