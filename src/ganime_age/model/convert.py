"""Weights of older code, in pickled .pth files or older formats, as a folder. Nothing but tensors is ever unpickled."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from ..edits import AU_CODES
from ..errors import BadInput
from ..networks.ganimation import Generator
from .methods import ATTRIBUTES, IDENTITY
from .model import GanimeAge
from .shards import index_of
from .storage import LARGEST, VARIANTS, save, weights_name

METHODS = ("ganimation",)

_LAYOUTS = {
    "ganimation": (
        (r"main\.(\d+)\.main\.", r"trunk.\1.residual."),
        (r"main\.", "trunk."),
        (r"img_reg\.0\.", "colour."),
        (r"attetion_reg\.0\.", "attention."),
    ),
    "ganimation, with plain instance normalisation": (
        (r"model\.(\d+)\.conv_block\.", r"trunk.\1.residual."),
        (r"model\.", "trunk."),
        (r"color_top\.0\.", "colour."),
        (r"au_top\.0\.", "attention."),
    ),
}
"""Names in the two public implementations of GANimation (Pumarola et al., ECCV 2018) -> names in ours."""
_WRAPPERS = ("state_dict", "generator", "gen", "net_gen", "g_ema", "model")
_AGETRANSGAN = ("convs_ei.", "convs_es.")


def convert(old: str | Path, folder: str | Path, method: str | None = None) -> GanimeAge:
    """Write old weights as a folder of weights of today's format.

    old: a folder of weights of an older format, with its reduced copies; or what torch.save wrote of a network's state
    dict, or of a dict that holds one, which is put beside the embedded detector and readers. method: the network to
    expect in such a file, "ganimation"; by default the names in the file tell. BadInput, and nothing written, says why
    the file or the folder cannot be; MissingModel what is wrong with a folder of weights.
    """
    if method is not None and method not in METHODS:
        raise BadInput(f"no file can be converted to the method {method!r}; choose from {', '.join(METHODS)}")
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise BadInput(f"{folder} already holds weights; give a new folder")
    if Path(old).is_dir():
        return _convert_folder(Path(old), folder)
    keywords, state = ganimation(tensors(Path(old)), Path(old))
    shipped = GanimeAge.from_pretrained(parts=["detector", "readers", IDENTITY, ATTRIBUTES])
    parts = [*shipped.parts, "ganimation"]
    given = {"parts": parts, "ganimation": keywords, "editable_action_units": AU_CODES}
    model = GanimeAge(**shipped.config | given)
    for part in shipped.parts:
        getattr(model, part).load_state_dict(getattr(shipped, part).state_dict())
    model.ganimation.load_state_dict(state)
    model.save_pretrained(folder)
    return model.eval()


def _convert_folder(old: Path, folder: Path) -> GanimeAge:
    """A folder of weights with its reduced copies, each in the precision that it has, no file over LARGEST bytes."""
    copies = [
        variant
        for variant in (None, *VARIANTS)
        if any(file.exists() for file in (old / weights_name(variant), index_of(old / weights_name(variant))))
    ]
    for variant in copies or [None]:
        model = GanimeAge.from_pretrained(old, variant=variant, dtype="auto")
        save(model, folder, variant, largest=LARGEST)
    return model


def tensors(path: Path) -> dict[str, Tensor]:
    """The state dict of a pickled file, without the prefix of data-parallel training."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if re.search("Unsupported (global|class)|GLOBAL|unrecognized function", str(error)):
            raise BadInput(
                f"{path} holds code or objects beside its tensors, which may do harm and are not loaded; "
                "save the state dict alone where the file comes from"
            ) from None
        raise BadInput(f"{path} is not a file that torch.save wrote, or it is damaged") from None
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; check the path") from None
    except Exception:  # whatever a damaged archive makes the reader raise
        raise BadInput(f"{path} is not a file that torch.save wrote, or it is damaged") from None
    while isinstance(found, dict) and (inner := [k for k in _WRAPPERS if isinstance(found.get(k), dict)]):
        found = found[inner[0]]
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise BadInput(f"{path} holds no state dict, names with a tensor each")
    return {re.sub(r"^module\.", "", str(key)): value for key, value in found.items()}


def ganimation(old: dict[str, Tensor], path: Path) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Keywords and state dict of networks.ganimation.Generator from an old state dict.

    BadInput says what the file is, or names the first tensors that do not match.
    """
    if all(any(key.startswith(prefix) for key in old) for prefix in _AGETRANSGAN):
        raise BadInput(
            f"{path} holds an AgeTransGAN of another form than this ganime_age's; only GANimation is converted"
        )
    layout = max(_LAYOUTS, key=lambda name: len(_renamed(old, name)[0]))
    state, foreign = _renamed(old, layout)
    first = state.get("trunk.0.weight")
    if first is None or first.ndim != 4:
        raise BadInput(f"{path} holds no network that can be converted; it begins with {_some(list(old))}")
    residuals = {key.split(".")[1] for key in state if ".residual." in key}
    keywords = {"conditions": first.shape[1] - 3, "width": first.shape[0], "blocks": len(residuals)}
    if keywords["conditions"] != len(AU_CODES):
        raise BadInput(
            f"{path} holds a network for {keywords['conditions']} conditions; "
            f"only those for the {len(AU_CODES)} action units can be converted"
        )
    with torch.device("meta"):
        network = Generator(**keywords)
    if layout != "ganimation":
        _make_plain(network, state)
    wanted = network.state_dict()
    wrong = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
    if wrong or foreign or set(state) - set(wanted):
        names = foreign or [_old_name(key, layout) for key in wrong or sorted(set(state) - set(wanted))]
        raise BadInput(f"{path} does not match the published GANimation generator at {_some(names)}")
    return keywords, {key: value.float() for key, value in state.items()}


def _renamed(old: dict[str, Tensor], layout: str) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under our names, and the names that the layout does not know."""
    state, foreign = {}, []
    for key, value in old.items():
        for pattern, name in _LAYOUTS[layout]:
            renamed, count = re.subn(f"^{pattern}", name, key)
            if count:
                state[renamed] = value
                break
        else:
            foreign.append(key)
    return state, foreign


def _old_name(key: str, layout: str) -> str:
    """Our name as the file would have it, for a sentence."""
    for old, new in _LAYOUTS[layout]:
        prefix = re.escape(new).replace(r"\\1", r"(\d+)")
        found = re.match(prefix, key)
        if found:
            plain = old.replace(r"(\d+)", found[1] if found.groups() else "").replace("\\", "")
            return plain + key[found.end() :]
    return key


def _make_plain(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Make our affine instance normalisation do nothing more than the plain one; in place.

    The bias of a convolution has no effect before an instance normalisation, which subtracts the mean.
    """
    modules = dict(network.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.InstanceNorm2d):
            state.setdefault(f"{name}.weight", torch.ones(module.num_features))
            state.setdefault(f"{name}.bias", torch.zeros(module.num_features))
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and name.startswith("trunk."):
            state.pop(f"{name}.bias", None)


def _some(names: list[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1] for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
