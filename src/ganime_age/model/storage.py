"""A folder of weights: config.json and model.safetensors, written whole and read strictly.

Whatever such a folder may hold, reading it gives a model that it fits exactly or one sentence that names the file and
the tensor. Never a pickle, never a random number, and no more memory than the file's own size allows for. Parts that
the config names are stored in eight bits: see eight_bit.py.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .._version import __version__
from ..atomic import replacing
from ..errors import BadInput, MissingModel
from . import format2
from .eight_bit import SCALES, is_eight_bit, quantised, restored, scale_name
from .methods import parts as known_parts
from .shards import Joined, files_of, index_of, others_of

EMBEDDED = Path(__file__).parents[1] / "weights"
FORMAT_VERSION = 4
"""The newest format: some parts are stored in eight bits (eight_bit.py), and config.json names them."""
WITHOUT_EIGHT_BIT = 3
"""The format of weights with no such part, so that older packages read them."""
EIGHT_BIT = "eight_bit"
CONFIG = "config.json"
LARGEST = 15_000_000
"""Bytes that one file of the shipped, and of converted, weights may have."""
VARIANTS = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Reduced copies of the weights, `model.fp16.safetensors` beside `model.safetensors`."""
PICKLES = (".pth", ".pt", ".bin", ".pkl", ".pickle", ".ckpt")

_WRITER = "ganime_age_version"
_LARGEST_CONFIG = 100_000  # bytes
_LARGEST_NUMBER = 4096
_MOST_BLOCKS = 64
_FLOATS = {"F16", "BF16", "F32", "F64"}
_INTEGERS = {"I64", "I32", "I16", "I8", "U8", "BOOL"}


def weights_name(variant: str | None = None) -> str:
    """`model.safetensors`, or `model.fp16.safetensors` for a variant; BadInput names one that does not exist."""
    if variant is None:
        return "model.safetensors"
    if variant not in VARIANTS:
        raise BadInput(f"unknown variant {variant!r}; choose from {', '.join(VARIANTS)}, or leave it out")
    return f"model.{variant}.safetensors"


def read_config(path: Path) -> tuple[dict[str, Any], int]:
    """config.json as keywords of the model, and the format version in which the file's tensors are named.

    A config of format 2 is converted. MissingModel names the file and what is wrong with it.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise MissingModel(
                f"{path} is larger than {_LARGEST_CONFIG // 1000} kB; it is no config of weights"
            )
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingModel(_lacking(path, "give a folder that GanimeAge.save_pretrained wrote")) from None
    except (OSError, ValueError, RecursionError) as error:
        raise MissingModel(f"{path} cannot be read: {error}") from None
    if not isinstance(config, dict):
        raise MissingModel(f"{path} holds a {type(config).__name__}, not the keywords of a model")
    writer = config.pop(_WRITER, None)
    version = config.pop("format_version", format2.FORMAT)
    if type(version) is not int or version < 1:
        raise MissingModel(
            f"{path} holds the format_version {version!r}, which is not a whole number from 1 on"
        )
    if version > FORMAT_VERSION:
        install = f"ganime_age {writer} or newer" if _is_version(writer) else "a newer ganime_age"
        raise MissingModel(
            f"{path} has format version {version}, this ganime_age reads up to {FORMAT_VERSION}; install {install}"
        )
    if version < format2.FORMAT:
        raise MissingModel(
            f"{path} has the old format version {version}, this ganime_age reads {format2.FORMAT} to "
            f"{FORMAT_VERSION}; take newer weights, or install the ganime_age that wrote them"
        )
    if EIGHT_BIT in config and version < FORMAT_VERSION:
        raise MissingModel(
            f"{path} has format version {version} and names parts in {EIGHT_BIT}, which came with format "
            f"{FORMAT_VERSION}; save or download the weights again"
        )
    _check_numbers(config, path)
    return (format2.upgraded(config) if version == format2.FORMAT else config), version


def sketched(kind: type[nn.Module], config: dict[str, Any], path: Path) -> Any:
    """The model that a config describes, without memory for its tensors; MissingModel when there can be none."""
    foreign = set(config) - set(inspect.signature(kind).parameters) - set(known_parts())
    if foreign:
        raise MissingModel(
            f"{path} holds what this ganime_age does not know: {', '.join(map(_plain, sorted(foreign)[:3]))}; "
            "install the version that wrote it"
        )
    try:
        with torch.device("meta"):
            return kind(**config)
    except Exception as error:  # numbers from a file may break a constructor in any way
        raise MissingModel(f"{path} describes no model that can be built: {_first_line(error)}") from None


class StoredWeights:
    """A weights file and the names under which it holds a model's tensors.

    version: of its format. held: the parts in the file. parts: those that are wanted of it; others are left alone.
    eight_bit: the parts whose large tensors it stores in eight bits.
    """

    def __init__(
        self,
        path: Path,
        version: int,
        held: Iterable[str],
        parts: Iterable[str],
        eight_bit: Iterable[str] = (),
    ):
        self.path, self.version = path, version
        self.held, self.parts, self.eight_bit = tuple(held), tuple(parts), tuple(eight_bit)

    def names(self, key: str) -> tuple[str, ...]:
        """The names of a tensor in the file; format 2 held copies of the prototypes, which must be equal."""
        if self.version != format2.FORMAT:
            return (key,)
        return format2.names_in_file(key, self.parts) or format2.names_in_file(key, self.held)[:1]

    def layout(self, key: str, tensor: Tensor) -> dict[str, tuple[tuple[int, ...], set[str]]]:
        """Names in the file -> shape and kinds of numbers of what it must hold for a tensor of the model."""
        shape, names = tuple(tensor.shape), self.names(key)
        if is_eight_bit(key, tensor, self.eight_bit):
            scales = {scale_name(name): (shape[:1], SCALES) for name in names}
            return {name: (shape, {"I8"}) for name in names} | scales
        return {name: (shape, _FLOATS if tensor.is_floating_point() else _INTEGERS) for name in names}

    def check(self, expected: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and kinds of numbers with a state dict; MissingModel names what does not fit."""
        wanted = {
            name: row for key, tensor in expected.items() for name, row in self.layout(key, tensor).items()
        }
        others = {
            name.partition(".")[0]
            for part in set(self.held) - set(self.parts)
            for name in self.names(f"{part}.")
        }
        with _opened(self.path) as file:
            given = {key for key in file.keys() if key in wanted or key.partition(".")[0] not in others}
            for problem, keys in (("lacks", set(wanted) - given), ("holds the foreign", given - set(wanted))):
                if keys:
                    raise MissingModel(
                        f"{self.path} {problem} tensor {_plain(min(keys))}; "
                        "the file does not belong to this config"
                    )
            for key, (shape, kinds) in wanted.items():
                stored = file.get_slice(key)
                if tuple(stored.get_shape()) != shape:
                    raise MissingModel(
                        f"{self.path}: {key} has the shape {tuple(stored.get_shape())}, the config asks for {shape}"
                    )
                if stored.get_dtype() not in kinds:
                    raise MissingModel(
                        f"{self.path}: {key} holds {stored.get_dtype()} numbers, which do not fit there"
                    )

    def fill(self, model: nn.Module) -> None:
        """Copy the checked file's tensors into the model's own, and no others.

        MissingModel names one that is not finite, a scale below 0, and copies of format 2 that are not equal.
        """
        with _opened(self.path) as file:
            for key, own in model.state_dict().items():
                name, *copies = self.names(key)
                stored = file.get_tensor(name)
                given = stored
                if is_eight_bit(key, own, self.eight_bit):
                    given = restored(stored, self._scale(file, name))
                given = given.to(own.dtype)
                if not torch.isfinite(given).all():
                    raise MissingModel(
                        f"{self.path}: {name} holds NaN or infinite numbers; download or save the weights again"
                    )
                for copy in copies:
                    if not torch.equal(stored, file.get_tensor(copy)):
                        raise MissingModel(_differing(self.path, name, copy))
                own.copy_(given)

    def _scale(self, file: Joined, name: str) -> Tensor:
        """The scales of a tensor in eight bits; MissingModel where one is below 0, infinite or NaN."""
        scale: Tensor = file.get_tensor(scale_name(name))
        if not (torch.isfinite(scale) & (scale >= 0)).all():
            raise MissingModel(
                f"{self.path}: {scale_name(name)} holds numbers that are no scales, below 0, infinite or NaN; "
                "download or save the weights again"
            )
        return scale


def _differing(path: Path, name: str, copy: str) -> str:
    one, other = (key.partition(".")[0] for key in (name, copy))
    return (
        f"{path}: {name} and {copy} differ, and weights hold one set of prototypes for all methods; load {one} or "
        f"{other} alone, with parts=['detector', 'readers', '{one}']"
    )


def stored_dtype(path: Path, besides: Collection[str] = ()) -> torch.dtype:
    """The one precision of a file's floating tensors; float32 where they differ. besides: parts that do not count."""
    names = {"F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
    with _opened(path) as file:
        keys = [key for key in file.keys() if key.partition(".")[0] not in besides]
        found = {file.get_slice(key).get_dtype() for key in keys} & _FLOATS
    return names.get(found.pop(), torch.float32) if len(found) == 1 else torch.float32


def save(
    model: Any,
    folder: str | Path,
    variant: str | None = None,
    largest: int | None = None,
    config: Any = None,
    dtype: torch.dtype | None = None,
) -> list[Path]:
    """Write config.json and the weights; BadInput, and nothing written, when they could not be read back. Returns the
    weights' files: one, or with `largest`, the bytes that one may have, as many as it takes (see shards.py).
    config: keywords, or a dataclass of them, to write instead of those that the model was built with. dtype: of what is
    not stored in eight bits; by default that of the variant, or else the model's own."""
    folder, name = Path(folder), weights_name(variant)
    given = model.config if config is None else config
    if is_dataclass(given) and not isinstance(given, type):
        given = asdict(given)
    absent = {*known_parts(), EIGHT_BIT} - set(model.parts)
    config = {key: value for key, value in given.items() if key not in absent}
    config |= {
        "parts": list(model.parts),
        "editable_action_units": list(model.editable_action_units),
        "identity_thresholds": [one._asdict() for one in model.identity_thresholds],
    } | ({EIGHT_BIT: list(model.eight_bit)} if model.eight_bit else {})
    state = model.state_dict()
    sketch = sketched(type(model), config, folder / CONFIG).state_dict()
    if {k: v.shape for k, v in sketch.items()} != {k: v.shape for k, v in state.items()}:
        raise BadInput("the model was changed after it was built; its config no longer describes its tensors")
    state = _all_to_store(state, dtype or VARIANTS.get(variant or ""), model.eight_bit)
    version = FORMAT_VERSION if model.eight_bit else WITHOUT_EIGHT_BIT
    facts = {"format_version": version, _WRITER: __version__}
    text = json.dumps(config | facts, sort_keys=True, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _write(state, folder / name, largest)
        _replace(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise BadInput(f"{folder} cannot be written ({reason}); choose another place") from None
    return files


def _write(state: dict[str, Tensor], target: Path, largest: int | None) -> list[Path]:
    """The tensors in one file, or in parts and their index, in place of what was there from before."""
    if largest is None:
        _replace(target, partial(save_file, state, metadata={"format": "pt"}))
        return [target]
    pattern = f"{target.stem}{{suffix}}.safetensors"
    split = split_torch_state_dict_into_shards(state, filename_pattern=pattern, max_shard_size=largest)
    for name, keys in split.filename_to_tensors.items():
        part = {key: state[key] for key in keys}
        _replace(target.with_name(name), partial(save_file, part, metadata={"format": "pt"}))
    names = list(split.filename_to_tensors)
    if split.is_sharded:
        text = (
            json.dumps({"metadata": split.metadata, "weight_map": split.tensor_to_filename}, indent=1) + "\n"
        )
        _replace(index_of(target), lambda path: path.write_text(text, encoding="utf-8"))
    for file in others_of(target, [*names, index_of(target).name] if split.is_sharded else names):
        file.unlink(missing_ok=True)
    return [target.with_name(name) for name in names]


def _all_to_store(
    state: Mapping[str, Tensor], dtype: torch.dtype | None, eight_bit: Collection[str]
) -> dict[str, Tensor]:
    """A model's tensors as its file holds them, where `eight_bit` names the parts of which large ones are quantised."""
    stored: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if is_eight_bit(key, tensor, eight_bit):
            stored[key], stored[scale_name(key)] = quantised(_to_store(key, tensor, torch.float32))
        else:
            stored[key] = _to_store(key, tensor, dtype)
    return stored


def _to_store(key: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu()
    if dtype and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    if not torch.isfinite(tensor).all():
        raise BadInput(f"{key} holds NaN or infinite numbers in {tensor.dtype}; such weights are not saved")
    return tensor.contiguous()


def _replace(target: Path, write: Callable[[Path], Any]) -> None:
    """Write whole or not at all, as readable as any new file: safetensors' own are the owner's alone."""
    with replacing(target) as part:
        write(part)


class _opened:
    """safe_open of a weights file, or of the parts that take its place, whose failures are one sentence."""

    def __init__(self, path: Path):
        self.path, self.files = path, ExitStack()

    def __enter__(self) -> Joined:
        with ExitStack() as opening:
            opened = [self._enter(opening, file) for file in files_of(self.path)]
            self.files = opening.pop_all()
        return Joined(opened)

    def _enter(self, opening: ExitStack, file: Path) -> Any:
        try:
            opened: Any = safe_open(file, framework="pt")
            return opening.enter_context(opened)
        except (SafetensorError, OSError) as error:
            raise MissingModel(_why_not_opened(file, error)) from None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.files.close()
        if isinstance(error, SafetensorError | OSError):
            raise MissingModel(_why_not_opened(self.path, error)) from None


def _why_not_opened(path: Path, error: Exception) -> str:
    if not path.is_file():
        held = sorted(p.name for p in path.parent.glob("model*.safetensors"))
        return _lacking(
            path, f"the folder holds {', '.join(held)}" if held else "save the weights there again"
        )
    with path.open("rb") as file:
        if file.read(50).startswith(b"version https://git-lfs"):
            return f"{path} is a git-lfs pointer, not the weights; run `git lfs pull` in its folder"
    return (
        f"{path} is damaged ({_first_line(error)}); save or download the weights again (force_download=True)"
    )


def _lacking(path: Path, hint: str) -> str:
    """Sentence about a missing file; old weights that lie there instead are named."""
    if path.parent.is_dir():
        old = sorted(p.name for p in path.parent.iterdir() if p.suffix in PICKLES)
        if old:
            hint = f"{old[0]} is a pickle and never loaded: convert it with `ganime-age convert`"
    return f"{path} is missing; {hint}"


def _check_numbers(value: Any, path: Path, name: str = "") -> None:
    """MissingModel for a number no network of this package could have, before anything is built with it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_numbers(inner, path, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            _check_numbers(inner, path, name)
    elif isinstance(value, int | float):
        most = _MOST_BLOCKS if name.endswith("blocks") else _LARGEST_NUMBER
        if not math.isfinite(value) or abs(value) > most:
            raise MissingModel(f"{path}: {_plain(name)} holds {str(value)[:20]}, which is beyond {most}")


def _plain(name: str) -> str:
    """A name from a file, fit for one line."""
    return (name if name.isprintable() else ascii(name))[:80]


def _is_version(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,30}", text) is not None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
