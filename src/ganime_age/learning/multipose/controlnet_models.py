"""A diffusion base and a ControlNet, from folders or the Hub: checked to be of one family, then loaded.

diffusers is imported here, inside a function, and nowhere else. Weights are read from safetensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ...errors import BadInput, MissingModel
from ...model.hub import split_revision
from ...model.hub_errors import FAILURES, not_loaded, short

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
"""Width of the text features that a U-Net attends to -> the family that has it."""
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+(/[\w.-]+)*")


class Source(NamedTuple):
    """Where a model is: a folder, or a repository with the commit that all its files come from."""

    given: str
    place: str
    inside: str
    commit: str | None

    @property
    def version(self) -> str:
        """What was given, and the commit or the digest of the folder's files, so that it can be found again."""
        if self.commit is None:
            return f"{self.given} (sha256 {_digest(Path(self.place))})"
        return f"{'/'.join(filter(None, (self.place, self.inside)))}@{self.commit}"


class Pair(NamedTuple):
    """A base and a ControlNet that fit each other. family: in words; xl: whether it is Stable Diffusion XL."""

    base: Source
    controlnet: Source
    family: str
    xl: bool


class NotHere(MissingModel):
    """A repository's file that is not on this machine, where nothing may be downloaded."""


def check_pair(base: str | None, controlnet: str | None, inpaint: bool, download: bool = True) -> Pair:
    """Look at the configurations alone, a few kilobytes, before any weights are fetched.

    base, controlnet: folders, or `ORG/NAME`, `ORG/NAME/SUBFOLDER`, each with `@REVISION` or without. inpaint: whether
    the inpainting pipeline is to run. BadInput when one is not named or they do not fit; MissingModel when one cannot
    be had, which is NotHere where a configuration would have to be downloaded and `download` is False.
    """
    if not base or not controlnet:
        raise BadInput(
            "the controlnet backend needs --base and --controlnet; nothing is downloaded unless both are named"
        )
    base_at, index = config_of(base, "model_index.json", "a diffusers pipeline", None, download)
    control_at, control = config_of(controlnet, "config.json", "a diffusers ControlNet", None, download)
    pipeline, network = str(index.get("_class_name")), str(control.get("_class_name"))
    if not re.fullmatch(r"StableDiffusion(XL)?\w*Pipeline", pipeline):
        raise BadInput(f"{base} is a {pipeline}; a base must be a Stable Diffusion 1, 2 or XL pipeline")
    if network != "ControlNetModel":
        raise BadInput(f"{controlnet} is a {network}; --controlnet must name a ControlNetModel")
    _, unet = config_of(base, "unet/config.json", "a diffusers pipeline with a U-Net", base_at, download)
    if unet.get("in_channels", 4) != 4 and not inpaint:
        raise BadInput(
            f'{base} is made for inpainting; set repaint to "unseen" or "background", or take another base'
        )
    kinds = [family_of(config) for config in (unet, control)]
    if kinds[0] != kinds[1]:
        raise BadInput(
            f"the base {base} is of {_family(*kinds[0])} and the ControlNet {controlnet} of {_family(*kinds[1])}; "
            "take both of one family"
        )
    return Pair(base_at, control_at, _family(*kinds[0]), pipeline.startswith("StableDiffusionXL"))


def load(pair: Pair, inpaint: bool, checked: bool, dtype: torch.dtype, device: torch.device) -> Any:
    """The pipeline of a family and a task, on its device. checked: with the safety checker that the base has.

    MissingModel when a package is not installed or weights cannot be loaded.
    """
    diffusers = need_diffusers()
    diffusers.utils.logging.set_verbosity_error()  # its warnings are for who writes pipelines
    task = "Inpaint" if inpaint else "Img2Img"
    kind = getattr(diffusers, f"StableDiffusion{'XL' if pair.xl else ''}ControlNet{task}Pipeline")
    parts: dict[str, Any] = {"controlnet": _loaded(diffusers.ControlNetModel, pair.controlnet, dtype)}
    if pair.xl:
        parts["add_watermarker"] = False  # else it depends on what is installed whether images carry one
    elif not checked:
        parts |= {"safety_checker": None, "requires_safety_checker": False}
    pipeline = _loaded(kind, pair.base, dtype, **parts)
    pipeline.set_progress_bar_config(disable=True)
    try:
        return pipeline.to(device)
    except torch.OutOfMemoryError:
        raise BadInput(
            f"{pair.base.given} does not fit into the memory of {device}; take a smaller base"
        ) from None


def need_diffusers() -> Any:
    """The package diffusers; MissingModel when it or transformers is not installed."""
    try:
        import diffusers
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingModel(
            f"{error.name} is not installed, which the controlnet backend needs; pip install 'ganime_age[multipose]' "
            "(Python 3.11 or newer)"
        ) from None
    return diffusers


def family_of(config: dict[str, Any]) -> tuple[int, bool]:
    """What a U-Net and a ControlNet of one family share: text features, and whether sizes are a condition too."""
    width = config.get("cross_attention_dim") or 0
    return int(width[0] if isinstance(width, list) else width), config.get(
        "addition_embed_type"
    ) == "text_time"


def _family(width: int, xl: bool) -> str:
    name = FAMILIES.get(width, "an unnamed family")
    return f"{name} ({width} text features{', sizes as conditions' if xl else ''})"


def config_of(
    given: str, name: str, what: str, at: Source | None = None, download: bool = True
) -> tuple[Source, dict[str, Any]]:
    """One of a model's JSON files, and where it lies; at: where its first file was. NotHere without `download` when a
    repository's file is not in the local cache; else MissingModel says why it cannot be had."""
    source = at or source_of(given)
    file = PurePosixPath(source.inside, name).as_posix()
    try:
        if source.commit is None and os.path.isdir(source.place):
            path = Path(source.place, name)
        else:
            path = Path(
                hf_hub_download(source.place, file, revision=source.commit, local_files_only=not download)
            )
            source = source._replace(commit=path.parents[len(PurePosixPath(file).parts) - 1].name)
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise MissingModel(f"{given} holds a damaged {name}; it is no JSON object")
        return source, config
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MissingModel(f"{given} holds a damaged {name} ({short(error)}); fetch it again") from None
    except (FileNotFoundError, EntryNotFoundError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            if not download:
                raise NotHere(f"{given} is not on this machine") from None
            cause = error.__cause__
            why = cause if isinstance(cause, OfflineModeIsEnabled) else error
            raise MissingModel(not_loaded(why, source.place, file, source.commit)) from None
        raise MissingModel(
            f"{given} holds no {name}, so it is not {what}; check the name and the subfolder"
        ) from None
    except FAILURES as error:
        raise MissingModel(not_loaded(error, source.place, file, source.commit)) from None


def source_of(given: str) -> Source:
    """What a name means; a folder that exists is a folder."""
    if os.path.isdir(os.path.expanduser(given)):
        return Source(given, os.path.expanduser(given), "", None)
    name, revision = split_revision(given)
    if not _ON_HUB.fullmatch(name) or name.startswith(".") or ".." in name.split("/"):
        raise MissingModel(
            f"{given} is neither a folder nor a name on the Hub such as org/name or org/name/subfolder"
        )
    org, repo, *inside = name.split("/")
    return Source(given, f"{org}/{repo}", "/".join(inside), revision)


def _loaded(kind: Any, source: Source, dtype: torch.dtype, **parts: Any) -> Any:
    """One model in a precision: its half-precision weights if it has them and they are asked for, or only them."""
    at = {"revision": source.commit} | ({"subfolder": source.inside} if source.inside else {})
    failed: dict[str | None, Exception] = {}
    for variant in (None, "fp16") if dtype == torch.float32 else ("fp16", None):
        try:
            return kind.from_pretrained(
                source.place, dtype=dtype, variant=variant, use_safetensors=True, **at, **parts
            )
        except Exception as error:  # whatever diffusers, transformers, safetensors or the Hub raise
            failed[variant] = error
    if _only_pickles(source, failed[None]):
        loader = "DiffusionPipeline" if kind.__name__.endswith("Pipeline") else kind.__name__
        raise MissingModel(
            f"{source.given} holds its weights as .bin, which are pickles and never loaded here; where you trust them, "
            f'convert them once: python -c "from diffusers import {loader} as M; '
            f"M.from_pretrained('{source.place}', use_safetensors=False).save_pretrained('NEW_FOLDER')\", then name "
            "NEW_FOLDER"
        )
    raise MissingModel(f"{source.given} cannot be loaded: {short(failed[None])}")


def _only_pickles(source: Source, error: Exception) -> bool:
    """Whether a model has weights in .bin and none in safetensors: by its folder's files, or by what the Hub's loader
    says of a repository."""
    if source.commit is None:
        files = [path.suffix for path in Path(source.place).rglob("*")]
        return ".bin" in files and ".safetensors" not in files
    said = str(error)
    return "safetensors" in said and any(words in said for words in ("no file named", "Could not find"))


def _digest(folder: Path) -> str:
    """Sixteen hexadecimal digits that tell folders with other names or contents of files apart."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
