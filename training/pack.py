"""Put trained networks into one folder: `python training/pack.py --readers RUN/light --generator RUN/light ...`.

Each folder is a `light/` that training/train.py wrote. A part that is not named is taken over from the weights folder
as it is; one that it does not hold either is left out. `--blend 0.6` goes six tenths of the way from OUT's present
weights to the trained ones, for a training that began with OUT's. `--eight-bit ragan` stores that part in eight bits,
half the bytes of half precision, and so does every call from then on. Every call moves OUT: pack into a copy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from ganime_age.errors import BadInput, GanimeAgeError, MissingModel  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.engine.checkpoints import read_network  # noqa: E402
from ganime_age.learning.evaluation.measure_table1 import parted  # noqa: E402
from ganime_age.learning.tasks.aligned.attributes import spread_for  # noqa: E402
from ganime_age.model.methods import METHODS, PROTOTYPES  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402
from ganime_age.model.storage import CONFIG, EMBEDDED, LARGEST, read_config, save  # noqa: E402
from ganime_age.model.thresholds import Threshold, thresholds_of  # noqa: E402

PLACES = {
    "readers": "readers",
    "local_reader": "readers.local",
    "finder": "detector",
    "head": "head",
    "prototypes": "prototypes",
    "hair": "prototypes.hair",
    "dual_generator": "dual_generator",
    "identity": "identity",
    "attributes": "attributes",
    "aifd": "aifd",
} | {row.packed_as: row.part for row in METHODS.values()}
"""What is packed -> its place in the model. Most are called as their networks are in training."""
FILES = {row.packed_as: row.trained_name for row in METHODS.values()}
"""The network's name in training, of those for which it may be another one."""

JUDGED_BY = {"readers", "local_reader", "identity"}
"""Networks that decide who somebody is: new ones have other identity thresholds."""


class Packed:
    """Keywords and tensors of a model that is put together."""

    def __init__(self, config: dict[str, Any], state: dict[str, Tensor]):
        self.config, self.state = config, state

    @classmethod
    def of(cls, folder: Path, without: Iterable[str]) -> Packed:
        """What a folder of weights holds, but for the networks that are named."""
        if not (folder / CONFIG).is_file():
            return cls({"parts": []}, {})
        config, _ = read_config(folder / CONFIG)
        whole = GanimeAge.from_pretrained(folder).state_dict()
        return cls(config, {key: value for key, value in whole.items() if trained_as(key) not in without})

    def add(
        self, name: str, folder: Path, before: dict[str, Tensor] | None = None, blend: float = 1.0
    ) -> None:
        """Put in a trained network; the prototypes that a generator was trained on become the part of that name.

        before: tensors of the model with whose network the training began; blend: see `blended`."""
        keywords, tensors = trained(name, folder)
        network, prototypes = parted(tensors)
        place = PLACES[name]
        if before is not None:
            held = {key: value for key, value in before.items() if trained_as(key) == name}
            older = {key.removeprefix(f"{place}."): value for key, value in held.items()}
            network = blended(older, network, blend, name)
        part, _, inner = place.partition(".")
        if inner:
            self.config[part] = (self.config.get(part) or {}) | {inner: keywords}
        else:
            kept = {"local": self.config[part]["local"]} if self._corrected(part) else {}
            self.config[part] = keywords | kept
        self.state |= {f"{place}.{key}": value for key, value in network.items()}
        for key, value in prototypes.items():
            self._put_prototype(key, value, folder)
        self.config["parts"] = sorted({*self.config["parts"], part})

    def _corrected(self, part: str) -> bool:
        """Whether the readers keep a local reader that is not packed anew."""
        return part == "readers" and any(key.startswith("readers.local.") for key in self.state)

    def _put_prototype(self, key: str, value: Tensor, folder: Path) -> None:
        name = f"{PROTOTYPES}.{key}"
        if key.startswith("hair.") and "hair" in (self.config.get(PROTOTYPES) or {}):
            return  # a hair network that was packed by itself serves every generator
        if name in self.state and not torch.equal(self.state[name], value):
            raise BadInput(
                f"{folder} was trained on other prototypes than the rest ({key} differs); weights hold one set for all "
                "methods: train on the same ones, or pack into another folder with --out"
            )
        self.state[name] = value


def trained(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keywords and tensors of one trained network, from one file or several."""
    file = FILES.get(name, name)
    try:
        config = json.loads((folder / f"{file}.json").read_text())
    except (OSError, ValueError) as error:
        raise MissingModel(f"{folder} holds no finished {name}: {error}") from None
    state = read_network(folder, file)
    if state is None:
        raise MissingModel(f"{folder} holds no finished {name}: {file}.safetensors is missing")
    return config, {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def blended(
    before: dict[str, Tensor], after: dict[str, Tensor], blend: float, name: str
) -> dict[str, Tensor]:
    """(1 - blend) before + blend after: weights on the straight line from a network to what further training made of
    it, 0 < blend <= 1, where the errors of both are often smaller (Wortsman et al., CVPR 2022). Running statistics of
    a normalisation lie on that line, too, which is right for neither. BadInput when the tensors do not match."""
    other = before.keys() ^ after.keys() | {
        key for key in before.keys() & after.keys() if before[key].shape != after[key].shape
    }
    if other:
        raise BadInput(
            f"the weights in --out hold no {name} with the same tensors ({min(other)} differs): --blend needs those "
            "with which the training began"
        )
    return {
        key: torch.lerp(before[key].float(), value, blend) if value.is_floating_point() else value
        for key, value in after.items()
    }


def trained_as(key: str) -> str | None:
    """The network in training that a tensor of the model belongs to: the one whose place is the longest start of it."""
    names = [name for name, place in PLACES.items() if key.startswith(f"{place}.")]
    return max(names, key=lambda name: len(PLACES[name]), default=None)


def pack(
    folders: dict[str, Path],
    out: Path,
    results: Path | None = None,
    faces: Path | None = None,
    blend: float = 1.0,
    eight_bit: Iterable[str] = (),
) -> tuple[GanimeAge, list[Path]]:
    """Join what was trained with what the folder `out` already holds, and save it there; returns the weights' files.

    results: a results file of the readers, whose identity thresholds the weights then state. Without it, they keep
    theirs unless what reads identity, or the landmarks for it, is new. faces: a face folder; new `attributes` state
    intervals that hold 80 % of the ages of its validation faces. blend: how far to go
    from what `out` holds to what was trained, see `blended`. eight_bit: parts to store in eight bits, beside those that
    `out` stores so; the rest is stored in half precision. The model that is returned has the numbers before rounding.
    """
    if not 0 < blend <= 1:
        raise BadInput(f"--blend is {blend:g}; it must be above 0 and at most 1")
    before = None
    if blend < 1:
        if not folders or not (out / CONFIG).is_file():
            raise BadInput(
                "--blend needs a trained network and, in --out, the weights with which its training began"
            )
        before = GanimeAge.from_pretrained(out).state_dict()
    thresholds = measured_thresholds(results) if results else None
    # Prototypes are trained with a hair network of their own, which takes the place of the one before.
    packed = Packed.of(out, {*folders, *(["hair"] if "prototypes" in folders else [])})
    for name, folder in folders.items():
        packed.add(name, folder, before, blend)
    if "local_reader" in folders and not any(key.startswith("readers.age_head.") for key in packed.state):
        raise MissingModel("a local_reader corrects readers, which are not there; name --readers too")
    if "hair" in folders and f"{PROTOTYPES}.mean_shape" not in packed.state:
        raise MissingModel(
            "a hair network serves prototypes, which are not there; name --prototypes too, or give a folder of "
            "weights that holds them as --out"
        )
    if thresholds is not None:
        packed.config["identity_thresholds"] = thresholds
    elif folders.keys() & JUDGED_BY:
        packed.config["identity_thresholds"] = ()
    packed.config["eight_bit"] = [*packed.config.get("eight_bit", ()), *eight_bit]
    model = GanimeAge(**packed.config)
    for part in eight_bit:
        if part not in model.parts:
            raise BadInput(f"--eight-bit names {part}, and these weights hold {', '.join(model.parts)}")
    model.load_state_dict(packed.state)
    if faces and "attributes" in folders:
        model.attributes.spread_scale.fill_(spread_for(model.attributes.eval(), Faces(faces, 160, ("val",))))
    return model, save(model, out, largest=LARGEST, dtype=torch.float16)


def measured_thresholds(results: Path) -> tuple[Threshold, ...]:
    """The identity thresholds of a results file of the readers; BadInput when it holds none."""
    try:
        return thresholds_of(json.loads(results.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(
            f"{results} holds no identity thresholds ({type(error).__name__}: {error}); measure the readers with "
            "training/evaluate.py readers"
        ) from None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in PLACES:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument(
        "--results", type=Path, help="results of these readers, such as model_card/results/readers.json: the weights "
        "state their identity thresholds"
    )  # fmt: skip
    parser.add_argument(
        "--faces",
        type=Path,
        help="a face folder, by whose validation faces the spread of --attributes is scaled",
    )
    parser.add_argument(
        "--blend",
        type=float,
        default=1.0,
        help="above 0 to 1: how far from OUT's weights to the trained ones",
    )
    parser.add_argument(
        "--eight-bit",
        nargs="+",
        default=[],
        metavar="PART",
        help="parts of the weights to store in eight bits, beside those that OUT stores so",
    )
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    given = vars(parser.parse_args())
    out, results, faces, blend, eight_bit = (
        given.pop(name) for name in ("out", "results", "faces", "blend", "eight_bit")
    )
    folders = {name: folder for name, folder in given.items() if folder}
    model, files = pack(folders, out, results, faces, blend, eight_bit)
    (out / "README.md").unlink(missing_ok=True)
    size = sum(file.stat().st_size for file in files) / 1e6
    if given["readers"] and not given["local_reader"] and model.readers.local is not None:
        print(
            "the local reader of before stays, which learnt on other readers: train the recipe local_reader again"
        )
    if given["attributes"] and not faces:
        print("the spread of ages is the network's own: pack with --faces to scale it to held-out faces")
    if any(given[name] for name in JUDGED_BY) and not results:
        print("the identity thresholds were of the readers before: measure again, then pack with --results")
    eight = f", {', '.join(model.eight_bit)} in eight bits" if model.eight_bit else ""
    print(f"{', '.join(model.parts)}: {size:.1f} MB in half precision{eight} -> {out}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
