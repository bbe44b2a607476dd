"""Put trained networks into one folder: `python training/pack.py --readers RUN/light --generator RUN/light ...`.

Each folder is a `light/` that training/train.py wrote. A part that is not named is taken over from the weights folder
as it is; one that it does not hold either is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from safetensors.torch import load_file  # noqa: E402

from ganime_age.errors import GanimeAgeError, MissingModel  # noqa: E402
from ganime_age.model.model import EMBEDDED, GanimeAge, read_config  # noqa: E402
from ganime_age.model.storage import save  # noqa: E402

LARGEST = 15_000_000
"""Bytes that one file of the shipped weights may have."""
KEYWORDS = {
    "readers": ("readers", {"size": "reader_size", "widths": "reader_widths", "blocks": "reader_blocks"}),
    "local_reader": ("readers.local", "reader_local"),
    "generator": ("ganimation_age", {"widths": "generator_widths", "blocks": "generator_blocks"}),
    "finder": ("finder", "finder"),
    "agetransgan": ("agetransgan", "agetransgan"),
    "ragan": ("ragan", "ragan"),
    "head": ("head", "head"),
    "dual_generator": ("dual_generator", "dual_generator"),
}
"""A network's name in training -> its place in the model, and its keywords in config.json: each by a name of its own,
or all under one."""


def trained(name: str, folder: Path) -> tuple[dict, dict]:
    """The model's keywords and tensors, by their names there, of one trained network."""
    place, keywords = KEYWORDS[name]
    try:
        config = json.loads((folder / f"{name}.json").read_text())
        state = load_file(folder / f"{name}.safetensors")
    except OSError as error:
        raise MissingModel(f"{folder} holds no finished {name}: {error}") from None
    single = isinstance(keywords, str)
    config = {keywords: config} if single else {keywords[key]: value for key, value in config.items()}
    return config, {
        f"{place}.{key}": value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def trained_as(key: str) -> str | None:
    """The network in training that a tensor of the model belongs to: the one whose place is the longest start of it."""
    names = [name for name, (place, _) in KEYWORDS.items() if key.startswith(f"{place}.")]
    return max(names, key=lambda name: len(KEYWORDS[name][0]), default=None)


def pack(folders: dict[str, Path], out: Path) -> tuple[GanimeAge, list[Path]]:
    """Join what was trained with what the folder `out` already holds, and save it there; returns the weights' files."""
    config, state, parts = {}, {}, {KEYWORDS[name][0].split(".")[0] for name in folders}
    if (out / "config.json").is_file():
        config = read_config(out / "config.json")
        whole = GanimeAge.from_pretrained(out).state_dict()
        state = {key: value for key, value in whole.items() if trained_as(key) not in folders}
        parts |= set(config["parts"])
    for name, folder in folders.items():
        keywords, tensors = trained(name, folder)
        config |= keywords
        state |= tensors
    if "local_reader" in folders and not any(key.startswith("readers.age_head.") for key in state):
        raise MissingModel("a local_reader corrects readers, which are not there; name --readers too")
    model = GanimeAge(**config | {"parts": sorted(parts)})
    model.load_state_dict(state)
    return model.half(), save(model, out, largest=LARGEST)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in KEYWORDS:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    given = vars(parser.parse_args())
    out = given.pop("out")
    model, files = pack({name: folder for name, folder in given.items() if folder}, out)
    (out / "README.md").unlink(missing_ok=True)
    size = sum(file.stat().st_size for file in files) / 1e6
    if given["readers"] and not given["local_reader"] and model.readers.local is not None:
        print(
            "the local reader of before stays, which learnt on other readers: train the recipe local_reader again"
        )
    print(f"{', '.join(model.parts)}: {size:.1f} MB in half precision -> {out}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
