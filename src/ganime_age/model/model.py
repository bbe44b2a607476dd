"""GanimeAge: every network of the package under one roof, tensors in and tensors out, weights on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from ..edits import AU_MAX
from ..errors import BadInput, MissingModel
from ..networks import agetransgan as agetransgan_networks
from ..networks import ganimation as ganimation_networks
from ..networks import ragan as ragan_networks
from ..networks.age_groups import edit_by_difference
from ..networks.detector import FaceDetector
from ..networks.dual_generator import DualGenerator, creased, render
from ..networks.ganimation_age import Generator
from ..networks.head import HeadModel
from ..networks.layers import Edited, resize
from ..networks.readers import Readers, Readings
from ..runtime import checked_device, checked_dtype
from . import hub
from .storage import (
    CONFIG,
    EMBEDDED,
    FORMAT_VERSION,
    check_file,
    fill,
    read_config,
    save,
    sketched,
    stored_dtype,
    weights_name,
)

PARTS = (
    "finder",
    "readers",
    "head",
    "ganimation_age",
    "ganimation",
    "agetransgan",
    "ragan",
    "dual_generator",
)
SHIPPED = ("finder", "readers", "head", "ganimation_age", "agetransgan", "ragan", "dual_generator")
METHODS = ("ganimation_age", "ganimation", "agetransgan", "ragan")
CHANGES = {"ganimation_age": ("age", "action_units"), "ganimation": ("action_units",)}
"""What each edit method can change; one that is not named changes ages alone."""


class GanimeAge(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="ganime_age",
    pipeline_tag="image-to-image",
    license="other",
    tags=["face-editing", "face-aging", "action-units", "safetensors"],
):
    """The parts that were asked for, as submodules of their own names. The keywords are config.json, flat.

    parts: any of PARTS. face_size: side in pixels that the editor crops faces to.
    crop_scale: size of the frame relative to FFHQ's. edit_size: side at which the generator works; what it changes is
    enlarged to the face's own side. The rest sizes the networks. BadInput names a number that cannot be.
    """

    def __init__(
        self,
        parts: tuple[str, ...] | list[str] = SHIPPED,
        face_size: int = 256,
        crop_scale: float = 1.0,
        edit_size: int = 128,
        finder: dict[str, Any] | None = None,
        reader_size: int = 96,
        reader_widths: tuple[int, ...] | list[int] = (24, 48, 96, 192),
        reader_blocks: tuple[int, ...] | list[int] = (2, 2, 2),
        reader_local: dict[str, Any] | None = None,
        generator_widths: tuple[int, ...] | list[int] = (40, 80, 160),
        generator_blocks: int = 2,
        ganimation: dict[str, Any] | None = None,
        head: dict[str, Any] | None = None,
        dual_generator: dict[str, Any] | None = None,
        agetransgan: dict[str, Any] | None = None,
        ragan: dict[str, Any] | None = None,
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
            self.finder = FaceDetector(**(finder or {}))
        if "readers" in self.parts:
            self.readers = Readers(reader_size, tuple(reader_widths), tuple(reader_blocks), reader_local)
        if "head" in self.parts:
            self.head = HeadModel(**(head or {}))
        if "ganimation_age" in self.parts:
            self.ganimation_age = Generator(tuple(generator_widths), generator_blocks)
        if "ganimation" in self.parts:
            self.ganimation = ganimation_networks.Generator(**(ganimation or {}))
        if "agetransgan" in self.parts:
            self.agetransgan = agetransgan_networks.Generator(**(agetransgan or {}))
        if "ragan" in self.parts:
            self.ragan = ragan_networks.Generator(**(ragan or {}))

        if "dual_generator" in self.parts:
            if "head" not in self.parts:
                raise BadInput("the part dual_generator works on the part head; name both")
            self.dual_generator = DualGenerator(self.head, **(dual_generator or {}))

    @property
    def methods(self) -> tuple[str, ...]:
        """The edit methods whose weights are loaded."""
        return tuple(method for method in METHODS if method in self.parts)

    def methods_for(self, *asked: str) -> tuple[str, ...]:
        """The loaded edit methods that can change all of what is asked: any of "age", "action_units"."""
        return tuple(m for m in self.methods if set(asked) <= set(CHANGES.get(m, ("age",))))

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

        Prototypes work at the face's own size, on landmarks that are read here; what a generator then changes at
        `edit_size` is enlarged and added, so the face keeps its own detail. Where nothing is asked nothing changes.
        attention tells how much of each pixel was changed, by either. agetransgan and ragan add the difference of two
        pictures that they draw: see networks/age_groups.py. ganimation has no prototypes. BadInput when the method is
        unknown or cannot change what is asked, MissingModel when its weights, or the readers', are not loaded.
        """
        if method not in METHODS:
            raise BadInput(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
        self.require(method)
        changes = not torch.equal(source_age, target_age), not torch.equal(source_aus, target_aus)
        if not any(changes):
            return Edited(faces, torch.zeros_like(faces[:, :1]))
        check_can(method, *changes)
        generator, asked = getattr(self, method), (source_age, target_age, source_aus, target_aus)
        side = getattr(generator, "size", self.edit_size)
        if method == "ganimation":
            drawn, small = faces, resize(faces, side)
            return enlarged(faces, drawn, small, generator(small, target_aus / AU_MAX))
        drawn = generator.prototypes(faces, self.read(faces).landmarks, *asked)
        small = resize(drawn, side)
        if method == "ganimation_age":
            return enlarged(faces, drawn, small, generator(small, *asked))
        return enlarged(faces, drawn, small, edit_by_difference(generator, small, source_age, target_age))

    def reenact(
        self,
        faces: Tensor,
        source_landmarks: Tensor,
        target_landmarks: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
    ) -> Edited:
        """Faces (B,3,S,S) in [-1,1] moved from the source to the target landmarks (B,68,2) in 0..1 of the frame, and
        from the source to the target action units (B,17) in 0..5.

        `dual_generator.shape` tells the target landmarks for a driving face. A mesh moves the face's own pixels; with
        ganimation_age's prototypes, where they are loaded, creases follow and an opening mouth is filled; what the face
        generator then repairs at `edit_size` is enlarged and added. A face of which nothing is asked comes back
        exactly. attention tells how much of each pixel was changed. MissingModel when the weights are not loaded.
        """
        self.require("dual_generator")
        asked = (source_landmarks != target_landmarks).any(2).any(1) | (source_aus != target_aus).any(1)
        if not asked.any():
            return Edited(faces, torch.zeros_like(faces[:, :1]))
        prototypes, shown = None, faces
        if "ganimation_age" in self.parts:
            prototypes = self.ganimation_age.prototypes
            shown = creased(faces, source_landmarks, target_aus - source_aus, prototypes)
        drawn, seen = render(shown, source_landmarks, target_landmarks, target_aus, self.head, prototypes)
        given = [resize(x, self.edit_size) for x in (drawn, seen, faces)]
        edited = enlarged(faces, drawn, given[0], self.dual_generator.face(*given, target_landmarks))
        moved = asked[:, None, None, None]
        return Edited(torch.where(moved, edited.face, faces), edited.attention * moved)

    def require(self, part: str) -> None:
        """MissingModel when the weights do not hold a part."""
        if part not in self.parts:
            raise MissingModel(
                f"these weights hold {', '.join(self.parts)}; load weights with {part} to use it"
            )

    def save_pretrained(  # type: ignore[override]  # the mixin's takes more, which does not fit these weights
        self, folder: str | Path, variant: str | None = None
    ) -> None:
        """Write config.json and model.safetensors, in the model's own precision; no other file is touched.

        variant: "fp16" or "bf16" writes a copy of that precision beside it, such as model.fp16.safetensors.
        BadInput, and nothing written, when a number is not finite or the folder cannot be written.
        """
        save(self, folder, variant)

    def push_to_hub(  # type: ignore[override]
        self,
        repo: str,
        *,
        branch: str | None = None,
        create_pr: bool = False,
        private: bool | None = None,
        commit_message: str = "Push ganime_age weights",
        token: str | bool | None = None,
        variant: str | None = None,
        files: Mapping[str, str | Path] | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, and `files` (path in the repository -> file here), as one commit.

        The repository and the branch are made where they do not exist; a README.md that is there is replaced only by
        one in `files`. Returns the web address of the commit, or of the pull request with `create_pr`. BadInput for a
        model or a request that cannot be pushed, MissingModel when the Hub does not take it.
        """
        return hub.push(
            self,
            repo,
            files=files or {},
            variant=variant,
            private=private,
            branch=branch,
            create_pr=create_pr,
            commit_message=commit_message,
            token=token,
        )

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | Path | None = None,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
        variant: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        dtype: torch.dtype | str | None = None,
        device: str | torch.device = "cpu",
        parts: tuple[str, ...] | list[str] | None = None,
    ) -> GanimeAge:
        """The embedded weights (no argument), a folder, or a Hub repository; ready to use (eval mode).

        parts loads a subset, and no more memory. dtype: of the model, float32 by default whatever the file holds;
        "auto" keeps the file's. variant: "fp16" or "bf16" reads that smaller file. revision: branch, tag or commit of
        a repository, of which subfolder holds the weights.
        Loading is strict: MissingModel names the missing, foreign, misshapen or non-finite tensor, or says why the
        source cannot be had; BadInput names a keyword that cannot be.
        """
        device = checked_device(device)
        folder = hub.weights_folder(
            EMBEDDED if source is None else source,
            revision=revision,
            subfolder=subfolder,
            variant=variant,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        return cls._loaded(folder, weights_name(variant), dtype, parts).to(device)

    @classmethod
    def _loaded(
        cls,
        folder: Path,
        name: str,
        dtype: torch.dtype | str | None,
        parts: tuple[str, ...] | list[str] | None,
    ) -> GanimeAge:
        """A model in eval mode from a folder's config.json and its weights file `name`."""
        config = read_config(folder / CONFIG)
        whole = sketched(cls, config, folder / CONFIG)
        config["parts"] = whole.parts if parts is None else checked_parts(parts)
        lacking = [part for part in config["parts"] if part not in whole.parts]
        if lacking:
            raise MissingModel(
                f"the weights in {folder} hold {', '.join(whole.parts)}, not {', '.join(lacking)}"
            )
        others = tuple(part for part in whole.parts if part not in config["parts"])
        expected = {k: v for k, v in whole.state_dict().items() if k.split(".")[0] not in others}
        check_file(folder / name, expected, others)
        dtype = stored_dtype(folder / name) if dtype == "auto" else checked_dtype(dtype)
        model = cls(**config).to(dtype)
        fill(model, folder / name)
        return model.eval().requires_grad_(False)


def enlarged(faces: Tensor, drawn: Tensor, small: Tensor, edited: Edited) -> Edited:
    """What a generator changed of `small` (B,3,s,s), added at its own size to what it is the small copy of, `drawn`
    (B,3,S,S); attention is the share that was changed of the faces (B,3,S,S), by whatever drew and by the generator."""

    def enlarge(x: Tensor) -> Tensor:
        return F.interpolate(x, size=faces.shape[-2:], mode="bicubic", align_corners=False)

    face, painted = edited
    if drawn.shape[-1] != small.shape[-1]:
        face = (drawn + enlarge(edited.face - small)).clamp(-1, 1)
        painted = enlarge(edited.attention).clamp(0, 1)
    kept = (1 - painted) * torch.exp(-8 * (drawn - faces).abs().mean(1, keepdim=True))
    return Edited(face, 1 - kept)


def check_can(method: str, age: bool, expression: bool) -> None:
    """BadInput when an edit method is asked to change an age, or an expression, that it cannot."""
    can = CHANGES.get(method, ("age",))
    if age and "age" not in can:
        raise BadInput(f"{method} edits expressions only; choose the method ganimation_age to change an age")
    if expression and "action_units" not in can:
        raise BadInput(f"{method} edits ages only; choose the method ganimation_age to change an expression")


def checked_parts(parts: Any) -> tuple[str, ...]:
    """The parts in the house's order; BadInput names one that does not exist."""
    given = () if isinstance(parts, str) or not isinstance(parts, Iterable) else tuple(parts)
    if not given:
        raise BadInput(f"parts {parts!r} must be a list of some of {', '.join(PARTS)}")
    for part in given:
        if part not in PARTS:
            raise BadInput(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in given)
