"""GanimeAge: every network of the package under one roof, tensors in and tensors out, weights on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from ..errors import BadInput, MissingModel
from ..networks import ganimation, ganimation_age
from ..networks.detector import FaceDetector
from ..networks.dual_generator import DualGenerator, creased, render
from ..networks.head import HeadModel
from ..networks.layers import Edited, resize, unchanged_share
from ..networks.readers import Readers, Readings
from ..runtime import checked_device, checked_dtype
from . import hub
from .methods import DEFAULT, METHODS, Method, methods_that_edit, shipped
from .methods import parts as known_parts
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


class GanimeAge(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="ganime_age",
    pipeline_tag="image-to-image",
    license="other",
    tags=["face-editing", "face-aging", "action-units", "safetensors"],
):
    """The parts that were asked for, as submodules of their own names. The keywords are config.json, flat.

    parts: any of methods.parts(). face_size: side in pixels that the editor crops faces to.
    crop_scale: size of the frame relative to FFHQ's. edit_size: side at which the generator works; what it changes is
    enlarged to the face's own side. The rest sizes the networks. BadInput names a number that cannot be.
    """

    finder: FaceDetector
    readers: Readers
    head: HeadModel
    ganimation_age: ganimation_age.Generator
    ganimation: ganimation.Generator
    dual_generator: DualGenerator

    def __init__(
        self,
        parts: tuple[str, ...] | list[str] | None = None,
        face_size: int = 256,
        crop_scale: float = 1.0,
        edit_size: int = 128,
        reader_size: int = 96,
        reader_widths: tuple[int, ...] | list[int] = (24, 48, 96, 192),
        reader_blocks: tuple[int, ...] | list[int] = (2, 2, 2),
        reader_local: dict[str, Any] | None = None,
        generator_widths: tuple[int, ...] | list[int] = (40, 80, 160),
        generator_blocks: int = 2,
        format_version: int = FORMAT_VERSION,
        **networks: dict[str, Any] | None,
    ):
        super().__init__()
        self.parts = checked_parts(shipped() if parts is None else parts)
        foreign = sorted(set(networks) - set(known_parts()))
        if foreign:
            raise TypeError(f"GanimeAge.__init__() got an unexpected keyword argument {foreign[0]!r}")
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
        networks["readers"] = {
            "size": reader_size, "widths": tuple(reader_widths), "blocks": tuple(reader_blocks), "local": reader_local,
        }  # fmt: skip
        networks["ganimation_age"] = {"widths": tuple(generator_widths), "blocks": generator_blocks}
        for name in self.parts:
            self.add_module(name, self._network(name, networks.get(name) or {}))

    def _network(self, name: str, keywords: dict[str, Any]) -> nn.Module:
        part = known_parts()[name]
        lacking = [other for other in part.borrows if other not in self.parts]
        if lacking:
            raise BadInput(f"the part {name} works on the part {lacking[0]}; name both")
        return part.network(*(getattr(self, other) for other in part.borrows), **keywords)

    @property
    def methods(self) -> tuple[str, ...]:
        """The edit methods whose weights are loaded."""
        return tuple(name for name, row in METHODS.items() if row.part in self.parts)

    def methods_for(self, *asked: str) -> tuple[str, ...]:
        """The loaded edit methods that can change all of what is asked: any of "age", "action_units"."""
        return tuple(name for name in methods_that_edit(*asked) if name in self.methods)

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
        method: str = DEFAULT,
    ) -> Edited:
        """Faces (B,3,S,S) in [-1,1] from the source to the target ages (B,) in years and action units (B,17) in 0..5.

        Prototypes work at the face's own size, on landmarks that are read here; what a generator then changes at
        `edit_size` is enlarged and added, so the face keeps its own detail. Where nothing is asked nothing changes.
        attention tells how much of each pixel was changed, by either. agetransgan and ragan add the difference of two
        pictures that they draw: see networks/age_groups.py. ganimation has no prototypes. BadInput when the method is
        unknown or cannot change what is asked, MissingModel when its weights, or the readers', are not loaded.
        """
        row = method_row(method)
        self.require(row.part)
        changes = not torch.equal(source_age, target_age), not torch.equal(source_aus, target_aus)
        if not any(changes):
            return Edited(faces, torch.zeros_like(faces[:, :1]))
        check_method_edits(row, *changes)
        request = (source_age, target_age, source_aus, target_aus)
        network, shown = getattr(self, row.part), faces
        if row.reads:
            shown = network.prototypes(faces, self.read(faces).landmarks, *request)
        small = resize(shown, getattr(network, "size", self.edit_size))
        return add_change(faces, shown, small, row.edit(network, small, *request))

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
        edited = add_change(faces, drawn, given[0], self.dual_generator.face(*given, target_landmarks))
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


def add_change(faces: Tensor, shown: Tensor, small: Tensor, edited: Edited) -> Edited:
    """Add what a generator changed of a small copy to the full-size face, so that the face keeps its own detail.

    faces: the originals (B,3,S,S). shown: what prototypes or a mesh made of them, (B,3,S,S). small: the copy of
    `shown` that the generator saw, (B,3,s,s). edited: its result, at the side s. The attention that is returned is the
    share by which each pixel of `faces` was changed, before the generator or by it.
    """

    def enlarge(x: Tensor) -> Tensor:
        return F.interpolate(x, size=faces.shape[-2:], mode="bicubic", align_corners=False)

    face, painted = edited
    if shown.shape[-1] != small.shape[-1]:
        face = (shown + enlarge(edited.face - small)).clamp(-1, 1)
        painted = enlarge(edited.attention).clamp(0, 1)
    return Edited(face, 1 - (1 - painted) * unchanged_share(shown - faces))


def method_row(name: str) -> Method:
    """The row of a method; BadInput names one that does not exist."""
    if name not in METHODS:
        raise BadInput(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]


def check_method_edits(row: Method, age: bool, expression: bool) -> None:
    """BadInput when a method is asked to change an age, or an expression, that it cannot."""
    for wanted, kind, noun, others in (
        (age, "age", "an age", "expressions"),
        (expression, "action_units", "an expression", "ages"),
    ):
        if wanted and kind not in row.edits:
            able = methods_that_edit(kind)[0]
            raise BadInput(f"{row.name} edits {others} only; choose the method {able} to change {noun}")


def checked_parts(parts: Any) -> tuple[str, ...]:
    """The parts in the order of methods.parts(); BadInput names one that does not exist."""
    known = tuple(known_parts())
    given = () if isinstance(parts, str) or not isinstance(parts, Iterable) else tuple(parts)
    if not given:
        raise BadInput(f"parts {parts!r} must be a list of some of {', '.join(known)}")
    for part in given:
        if part not in known:
            raise BadInput(f"unknown part {part!r}; choose from {', '.join(known)}")
    return tuple(part for part in known if part in given)
