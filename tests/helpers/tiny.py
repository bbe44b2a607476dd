"""Networks small enough for a test: their keywords, and folders of weights as training leaves them."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

TINY = {
    "face_size": 64,
    "edit_size": 64,
    "detector": {"seek_width": 8, "mark_width": 8, "crop_side": 32},
    "readers": {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]},
    "ganimation_age": {"widths": [8, 8, 16], "blocks": 1},
    "identity": {"widths": [8, 8, 16], "blocks": [1, 1, 1], "squeeze": 4},
}
"""Keywords of a GanimeAge."""
READERS = {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}
GENERATOR = {"widths": [8, 8, 16], "blocks": 1}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Bit-equal tensors under equal names."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def light(folder: Path, name: str, network: torch.nn.Module, config: dict) -> Path:
    """A folder as training leaves it."""
    folder.mkdir(exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(config))
    return folder
