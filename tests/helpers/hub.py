"""The stand-in for the Hub, as a test and its child processes reach it."""

import os
from pathlib import Path

from helpers.fakehub import OWNER

FACES = f"{OWNER}/faces"


def environment(server, cache, **more) -> dict[str, str]:
    """Of a process that reaches the stand-in as it would reach the Hub."""
    given = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}
    path = str(Path(__file__).parents[2] / "src")
    return os.environ | given | {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": path, "HF_TOKEN": ""} | more
