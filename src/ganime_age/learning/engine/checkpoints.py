"""Checkpoints that a kill at any instant leaves whole, and exported weights: the folder `light/`, in half precision."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...errors import BadInput, MissingModel
from ...model import eight_bit
from ...model.shards import files_of, index_of

N = TypeVar("N", bound=nn.Module)
LIGHT_FILE = 16 * 2**20
"""Exported weights are split so that each file is smaller than this, in bytes."""
HEADER = 2**16
"""Bytes of each exported file that are left for safetensors' header."""


def replace_folder(final: Path, fill: Callable[[Path], None]) -> None:
    """Write `final` anew: `fill(part)` writes beside it, then the names change.

    Killed at any instant, either `final` or `FINAL.old` is whole; `finished` finds it.
    """
    part, old = (final.with_name(final.name + end) for end in (".part", ".old"))
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    fill(part)
    if old.exists() and not final.exists():
        os.replace(old, final)
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(part, final)
    shutil.rmtree(old, ignore_errors=True)


def finished(folder: Path) -> Path | None:
    """The whole checkpoint at `folder`, or the one beside it that an interrupted save had put away, or None."""
    for place in (folder, folder.with_name(folder.name + ".old")):
        if (place / "state.json").is_file():
            return place
    return None


def write_checkpoint(run: Any, folder: Path) -> None:
    """Everything a run goes on from: networks, averages, optimisers, counters."""
    for name, network in run.task.networks.items():
        save_file(whole(network.state_dict()), folder / f"{name}.safetensors")
    for name, average in run.averages.items():
        save_file(whole(average.module.state_dict()), folder / f"{name}.average.safetensors")
    for player, optimizer in zip(run.task.players, run.optimizers, strict=True):
        save_file(flat_optimizer(optimizer), folder / f"{player.name}.optimizer.safetensors")
    counts = {name: int(average.n_averaged) for name, average in run.averages.items()}
    (folder / "state.json").write_text(json.dumps(run.counters() | {"averages": counts}))


def read_checkpoint(run: Any, folder: Path) -> dict[str, Any]:
    """Undo write_checkpoint; returns the counters. BadInput names what is missing or does not fit."""
    place = finished(folder)
    if place is None:
        raise BadInput(f"{folder} holds no finished checkpoint (state.json is missing)")
    state = read_state(place / "state.json", run.averages)
    for name, network in run.task.networks.items():
        fit(network, read_tensors(place / f"{name}.safetensors"), place)
    for name, average in run.averages.items():
        fit(average.module, read_tensors(place / f"{name}.average.safetensors"), place)
        average.n_averaged.fill_(state["averages"][name])
    for player, optimizer in zip(run.task.players, run.optimizers, strict=True):
        restore_optimizer(optimizer, read_tensors(place / f"{player.name}.optimizer.safetensors"))
    return state


def read_state(file: Path, averages: Iterable[str]) -> dict[str, Any]:
    """The counters of a checkpoint, each of its type; BadInput names a file that is damaged."""
    try:
        state = json.loads(file.read_text())
        return {
            "step": int(state["step"]),
            "seconds": float(state["seconds"]),
            "images": int(state.get("images", 0)),
            "watch": dict(state.get("watch", {})),
            "averages": {name: int(state["averages"][name]) for name in averages},
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"{file} is damaged ({type(error).__name__}: {error})") from None


def write_light(
    networks: dict[str, nn.Module],
    configs: dict[str, dict[str, Any]],
    folder: Path,
    notes: dict[str, str] | None = None,
) -> None:
    """Networks in half precision with what they are built from, each file below 16 MiB.

    A larger network becomes `NAME-00001-of-0000N.safetensors` beside an index, as the Hub has it.
    Notes go to `notes.json`.
    """
    for name, config in configs.items():
        save_torch_state_dict(
            halved(networks[name]),
            folder,
            filename_pattern=f"{name}{{suffix}}.safetensors",
            max_shard_size=LIGHT_FILE - HEADER,
        )
        (folder / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")
    if notes:
        (folder / "notes.json").write_text(json.dumps(notes, indent=2) + "\n")


def check_light(networks: dict[str, nn.Module], configs: dict[str, dict[str, Any]]) -> None:
    """BadInput names a tensor that alone does not fit into a file of exported weights."""
    for name in configs:
        for key, value in networks[name].state_dict().items():
            if 2 * value.numel() > LIGHT_FILE - HEADER:
                raise BadInput(
                    f"{key} of the {name} has {value.numel():,} numbers; a file of a light copy holds at most "
                    f"{(LIGHT_FILE - HEADER) // 2:,} in half precision: make that layer smaller"
                )


def read_network(folder: Path, name: str) -> dict[str, Tensor] | None:
    """A network's weights from a checkpoint (its average first), exported weights, or the weights of a model that has
    it as a part of this name; each whole or in several files.

    None when the folder holds no such network; BadInput names a file that is missing or damaged.
    """
    for stem, prefix in ((f"{name}.average", ""), (name, ""), ("model", f"{name}.")):
        whole = folder / f"{stem}.safetensors"
        if not whole.is_file() and not index_of(whole).is_file():
            continue
        try:
            files = files_of(whole)
        except MissingModel as error:
            raise BadInput(str(error)) from None
        held = eight_bit.whole({key: value for file in files for key, value in read_tensors(file).items()})
        return {key[len(prefix) :]: value for key, value in held.items() if key.startswith(prefix)} or None
    return None


def keywords_of(folder: str | Path, name: str) -> dict[str, Any]:
    """The keywords of a network of exported weights, or of a part of a model's weights; BadInput where none stand."""
    file, whole = Path(folder) / f"{name}.json", Path(folder) / "config.json"
    try:
        if not file.is_file() and whole.is_file():
            return json.loads(whole.read_text()).get(name) or {}
        return {**json.loads(file.read_text())}
    except FileNotFoundError:
        raise BadInput(
            f"{file} is missing; run the recipe that makes {name} first (training/README.md)"
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{file} describes no network {name}: {error}") from None


def load_light(kind: Callable[..., N], folder: str | Path, name: str) -> N:
    """A network from exported weights, or a part of a model's weights, in eval mode: built from `NAME.json` or the
    part's keywords in `config.json`, filled from its weights.

    BadInput names what is missing or damaged, or does not fit.
    """
    keywords = keywords_of(folder, name)
    try:
        network = kind(**keywords)
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise BadInput(f"{Path(folder) / name}.json describes no network {name}: {error}") from None
    weights = read_network(Path(folder), name)
    if weights is None:
        raise BadInput(
            f"{folder} holds no {name}.safetensors; run the recipe that makes {name} first (training/README.md)"
        )
    fit(network, weights, Path(folder), f"{name}.json says")
    return network.eval()


def start_from(run: Any, folder: Path) -> None:
    """Load every network of which the folder holds weights; averages start there too."""
    found = 0
    for name, network in run.task.networks.items():
        weights = read_network(folder, name)
        if weights is not None:
            fit(network, weights, folder)
            found += 1
    if not found:
        raise BadInput(f"{folder} holds none of {', '.join(f'{n}.safetensors' for n in run.task.networks)}")
    for name, average in run.averages.items():
        average.module.load_state_dict(run.task.networks[name].state_dict())


def read_tensors(file: Path) -> dict[str, Tensor]:
    """A safetensors file; BadInput names one that is missing or damaged."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None


def fit(network: nn.Module, weights: dict[str, Tensor], source: Path, expected: str = "the recipe's") -> None:
    """load_state_dict with one sentence when the network is another one than expected."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise BadInput(
            f"the weights in {source} are of another network than {expected}: {first[0].strip()}"
        ) from None


def whole(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous().cpu() for name, value in state.items()}


def halved(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.half() if v.is_floating_point() else v for k, v in whole(network.state_dict()).items()}


def flat_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state as tensors by name, `INDEX.NAME`; the hyperparameters stand in the recipe."""
    return {
        f"{index}.{name}": value.detach().contiguous().cpu()
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Undo flat_optimizer."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
