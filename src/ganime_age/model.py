"""GanimeAge: every network of the package under one roof, tensors in and tensors out, weights on the Hub."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import BadInput, MissingModel
from .networks.finder import FaceFinder
from .networks.ganimation import Edited, Generator
from .networks.layers import resize
from .networks.readers import Readers, Readings

EMBEDDED = Path(__file__).parent / "weights"
FORMAT_VERSION = 1
PARTS = ("finder", "readers", "ganimation_age")
METHODS = ("ganimation_age",)


class GanimeAge(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="ganime_age",
    pipeline_tag="image-to-image",
    license="other",
    tags=["face-editing", "face-aging", "action-units", "safetensors"],
):
    """The parts that were asked for, as submodules of their own names. The keywords are config.json, flat.

    parts: any of finder, readers, ganimation_age. face_size: side in pixels that the editor crops faces to.
    crop_scale: size of the frame relative to FFHQ's. edit_size: side at which the generator works; what it changes is
    enlarged to the face's own side. The rest sizes the networks. BadInput names a number that cannot be.
    """

    def __init__(
        self,
        parts: tuple[str, ...] | list[str] = PARTS,
        face_size: int = 256,
        crop_scale: float = 1.0,
        edit_size: int = 128,
        finder: dict | None = None,
        reader_size: int = 96,
        reader_widths: tuple[int, ...] | list[int] = (24, 48, 96, 192),
        reader_blocks: tuple[int, ...] | list[int] = (2, 2, 2),
        generator_widths: tuple[int, ...] | list[int] = (40, 80, 160),
        generator_blocks: int = 2,
        format_version: int = FORMAT_VERSION,
    ):
        super().__init__()
        self.parts = checked_parts(parts)
        if format_version > FORMAT_VERSION:
            raise MissingModel(
                f"these weights have format version {format_version}, this ganime_age reads up to {FORMAT_VERSION}; "
                "install a newer ganime_age"
            )
        if face_size % 8 or edit_size % 8 or not 64 <= face_size <= 1024 or not 64 <= edit_size <= 1024:
            raise BadInput(
                f"face_size {face_size} and edit_size {edit_size} must be multiples of 8 within 64..1024"
            )
        if not 0.5 <= crop_scale <= 2:
            raise BadInput(f"crop_scale {crop_scale} must be within 0.5..2")
        self.face_size, self.crop_scale, self.edit_size = face_size, crop_scale, edit_size
        if "finder" in self.parts:
            self.finder = FaceFinder(**(finder or {}))
        if "readers" in self.parts:
            self.readers = Readers(reader_size, tuple(reader_widths), tuple(reader_blocks))
        if "ganimation_age" in self.parts:
            self.ganimation_age = Generator(tuple(generator_widths), generator_blocks)

    @property
    def methods(self) -> tuple[str, ...]:
        """The edit methods whose weights are loaded."""
        return tuple(method for method in METHODS if method in self.parts)

    def read(self, faces: Tensor) -> Readings:
        """Faces (B,3,S,S) in [-1,1], any square side -> Readings of B faces."""
        self.require("readers")
        return self.readers(faces)

    def edit(
        self,
        faces: Tensor,
        source_age: Tensor,
        target_age: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
        method: str = "ganimation_age",
    ) -> Edited:
        """Faces (B,3,S,S) in [-1,1] from the source to the target ages (B,) in years and action units (B,17) in 0..5.

        The face is moved by the action units at its own size; what the generator then changes at `edit_size` is
        enlarged and added, so the face keeps its own detail. Where nothing is asked nothing changes. The landmarks
        that are moved are read here. BadInput when the method is unknown, MissingModel when its weights, or the
        readers', are not loaded.
        """
        if method not in METHODS:
            raise BadInput(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
        self.require(method)
        generator = getattr(self, method)
        if not torch.equal(source_aus, target_aus):
            faces = generator.motion(faces, self.read(faces).landmarks, target_aus - source_aus)
        small = resize(faces, self.edit_size)
        edited = generator(small, source_age, target_age, source_aus, target_aus)
        if faces.shape[-1] == self.edit_size:
            return edited
        enlarge = lambda x: F.interpolate(x, size=faces.shape[-2:], mode="bicubic", align_corners=False)  # noqa: E731
        face = (faces + enlarge(edited.face - small)).clamp(-1, 1)
        return Edited(face, enlarge(edited.attention).clamp(0, 1))

    def require(self, part: str) -> None:
        """MissingModel when the weights do not hold a part."""
        if part not in self.parts:
            raise MissingModel(
                f"these weights hold {', '.join(self.parts)}; load weights with {part} to use it"
            )

    def _save_pretrained(self, save_directory: Path) -> None:
        """Half precision: what is shipped and pushed."""
        state = {k: v.half() if v.is_floating_point() else v for k, v in self.state_dict().items()}
        state = {k: v.contiguous().cpu() for k, v in state.items()}
        save_file(state, save_directory / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        parts: tuple[str, ...] | list[str] | None = None,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> GanimeAge:
        """The embedded weights (no argument), a folder, or a Hub repository; ready to use (eval mode).

        parts loads a subset. Loading is strict: MissingModel names the missing, foreign, misshapen or non-finite
        tensor, or says why the source cannot be had.
        """
        hub = {
            "revision": revision,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
        }
        folder = EMBEDDED if source is None else weights_folder(str(source), hub)
        config = read_config(folder / "config.json")
        held = checked_parts(config.get("parts", PARTS))
        config["parts"] = held if parts is None else checked_parts(parts)
        lacking = [part for part in config["parts"] if part not in held]
        if lacking:
            raise MissingModel(f"the weights in {folder} hold {', '.join(held)}, not {', '.join(lacking)}")
        model = cls(**config)
        load_strictly(model, folder / "model.safetensors", held)
        return model.eval().requires_grad_(False).to(device)


def checked_parts(parts: Any) -> tuple[str, ...]:
    """The parts in the house's order; BadInput names one that does not exist."""
    if isinstance(parts, str) or not parts:
        raise BadInput(f"parts {parts!r} must be a list of some of {', '.join(PARTS)}")
    for part in parts:
        if part not in PARTS:
            raise BadInput(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in parts)


def weights_folder(source: str, hub: dict[str, Any]) -> Path:
    """A folder as it is, else a Hub repository's snapshot; MissingModel says in one sentence why it cannot be had."""
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists() or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise MissingModel(
            f"{source} is not a folder with weights; give a folder or a Hub repository such as org/name"
        )
    try:
        return Path(snapshot_download(source, allow_patterns=["config.json", "model.safetensors"], **hub))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise MissingModel(
            f"{source} is not in the local cache and the Hub cannot be reached; check the network"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MissingModel(f"the Hub repository {source} cannot be loaded: {reason}") from None


def read_config(path: Path) -> dict[str, Any]:
    """config.json as keywords of GanimeAge; MissingModel names the file and what is wrong with it."""
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingModel(f"{path} is missing; give a folder that GanimeAge.save_pretrained wrote") from None
    except (OSError, ValueError) as error:
        raise MissingModel(f"{path} cannot be read: {error}") from None
    known = set(inspect.signature(GanimeAge.__init__).parameters) - {"self"}
    if not isinstance(config, dict) or set(config) - known:
        foreign = (
            ", ".join(sorted(set(config) - known)) if isinstance(config, dict) else type(config).__name__
        )
        raise MissingModel(
            f"{path} holds what this ganime_age does not know: {foreign}; install the version that wrote it"
        )
    return config


def load_strictly(model: GanimeAge, path: Path, held: tuple[str, ...]) -> None:
    """Fill the model's tensors from a file that holds `held`; MissingModel names the first that does not fit."""
    own = model.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            given = set(file.keys())
            wanted = {key for key in given if key.split(".")[0] in model.parts}
            foreign = [key for key in given if key.split(".")[0] not in held] + [
                key for key in wanted if key not in own
            ]
            for problem, keys in (("lacks", set(own) - wanted), ("holds the foreign", foreign)):
                if keys:
                    raise MissingModel(
                        f"{path} {problem} tensor {min(keys)}; the file does not belong to this config"
                    )
            for key in wanted:
                check_tensor(own[key], file.get_tensor(key), key, path)
    except (SafetensorError, OSError) as error:
        raise MissingModel(
            f"{path} is missing or damaged ({error}); download or save the weights again"
        ) from None


def check_tensor(own: Tensor, given: Tensor, key: str, path: Path) -> None:
    """Copy one tensor after checking its shape and that every number is finite."""
    if own.shape != given.shape:
        raise MissingModel(
            f"{path}: {key} has the shape {tuple(given.shape)}, the config asks for {tuple(own.shape)}"
        )
    if given.is_floating_point() and not torch.isfinite(given).all():
        raise MissingModel(f"{path}: {key} holds NaN or infinite numbers; download or save the weights again")
    own.copy_(given)
