"""Format 2 of the weights, which ganime_age wrote until version 0.2, as keywords and tensor names of format 3.

Format 3 differs in four ways. The prototypes are a part of their own; format 2 held a copy inside each network that
draws on them. The part `finder` is called `detector`. The keywords of readers and ganimation_age are nested like those
of the other parts. Editable action units and identity thresholds stand in config.json; they were constants of the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from .methods import PROTOTYPES
from .thresholds import FORMAT_2_THRESHOLDS

FORMAT = 2
FORMER_PARTS = {"finder": "detector"}
"""Names of parts until format 2 -> their names now. They are still accepted where parts are named."""
WITH_PROTOTYPES = ("ganimation_age", "agetransgan", "ragan")
"""The parts that held their own copy of the prototypes."""

_FLAT = {
    "readers": {
        "size": ("reader_size", 96),
        "widths": ("reader_widths", [24, 48, 96, 192]),
        "blocks": ("reader_blocks", [2, 2, 2]),
        "local": ("reader_local", None),
    },
    "ganimation_age": {
        "widths": ("generator_widths", [40, 80, 160]),
        "blocks": ("generator_blocks", 2),
    },
}
"""Part -> keyword -> its name in a config of format 2 and its value where it is not given."""


def present_names(parts: Any) -> Any:
    """Names of parts as they are called now; what is no list of names stays as it is."""
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        return parts
    return [FORMER_PARTS.get(part, part) if isinstance(part, str) else part for part in parts]


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config of format 2 -> keywords of format 3. Keywords that format 2 did not have stay, to be refused by name."""
    new = {FORMER_PARTS.get(key, key): value for key, value in config.items() if key != "format_version"}
    for part, keywords in _FLAT.items():
        new[part] = {
            key: new.pop(former, default)
            for key, (former, default) in keywords.items()
        }  # fmt: skip
    if "parts" in new:
        new["parts"] = present_names(new["parts"])
    return new | {"identity_thresholds": [one._asdict() for one in FORMAT_2_THRESHOLDS]}


def names_in_file(key: str, parts: Iterable[str]) -> tuple[str, ...]:
    """The names under which files of format 2 hold a tensor; the prototypes have one in each of `parts`."""
    part, _, rest = key.partition(".")
    if part == PROTOTYPES:
        return tuple(f"{holder}.{key}" for holder in WITH_PROTOTYPES if holder in parts)
    former = {new: old for old, new in FORMER_PARTS.items()}
    return (f"{former.get(part, part)}.{rest}",)


def under_former_names(state: Mapping[str, Tensor], parts: Iterable[str]) -> dict[str, Tensor]:
    """Tensors of a model under all the names that format 2 gave them, as a fingerprint counts them."""
    parts = tuple(parts)
    return {
        name: tensor
        for key, tensor in state.items()
        for name in names_in_file(key, parts) or (key,)
    }  # fmt: skip
