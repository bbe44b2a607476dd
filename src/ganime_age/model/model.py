"""GanimeAge: every network of the package under one roof, tensors in and tensors out, weights on the Hub."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from ..edits import AGE_MAX, AGE_PARTS, AU_CODES, AU_MAX, LABELLED_AUS, parse_action_units
from ..errors import BadInput, MissingModel
from ..networks import ganimation, ganimation_age
from ..networks.aligned.aifd import AIFD
from ..networks.aligned.attributes import AttributeReader
from ..networks.aligned.identity import IdentityReader
from ..networks.denoising.unet import FaceUNet
from ..networks.detector import FaceDetector
from ..networks.dual_generator import DualGenerator, creased, render
from ..networks.hair.finding import Place
from ..networks.hair.growing import REACH_FADE, Growth
from ..networks.head import HeadModel
from ..networks.layers import Edited, enlarge_smoothly, precise, resize, unchanged_share
from ..networks.mesh import Turned, turn
from ..networks.mouth import opened
from ..networks.prototypes import Prototypes
from ..networks.readers import Readers, Readings
from ..networks.restoring.restorer import Restorer
from ..runtime import checked_device, checked_dtype
from . import hub
from .format2 import present_names
from .methods import (
    ATTRIBUTES,
    DEFAULT,
    IDENTITY,
    METHODS,
    PROTOTYPES,
    Method,
    how_to_get,
    method_called,
    methods_that_edit,
    shipped,
    with_companions,
)
from .methods import parts as known_parts
from .storage import (
    CONFIG,
    EMBEDDED,
    StoredWeights,
    read_config,
    save,
    sketched,
    stored_dtype,
    weights_name,
)
from .thresholds import checked_thresholds


class GanimeAge(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="ganime_age",
    pipeline_tag="image-to-image",
    license="other",
    tags=["face-editing", "face-aging", "action-units", "safetensors"],
):
    """The parts that were asked for, as submodules of their own names; tensors in, tensors out. `from_pretrained` gives
    a model with its weights.
    """

    detector: FaceDetector
    readers: Readers
    head: HeadModel
    prototypes: Prototypes
    ganimation_age: ganimation_age.AnyGenerator
    ganimation: ganimation.Generator
    dual_generator: DualGenerator
    identity: IdentityReader
    attributes: AttributeReader
    aifd: AIFD

    def __init__(
        self,
        parts: tuple[str, ...] | list[str] | None = None,
        face_size: int = 256,
        crop_scale: float = 1.0,
        edit_size: int = 128,
        editable_action_units: Iterable[str] = LABELLED_AUS,
        identity_thresholds: Iterable[Any] = (),
        eight_bit: Iterable[str] = (),
        **networks: dict[str, Any] | None,
    ):
        """A model of the parts that are named. The keywords are those of config.json.

        Args:
            parts: any of methods.parts(); a method brings the prototypes that it draws on. By default those that are
                shipped.
            face_size: side in pixels that the editor crops faces to, a multiple of 8 within 64..1024.
            crop_scale: size of the frame relative to FFHQ's, 0.5..2.
            edit_size: side in pixels at which a generator works that has no side of its own, a multiple of 8 within
                64..1024; what it changes is enlarged to the face's side.
            editable_action_units: the codes for which the methods were trained.
            identity_thresholds: see model/thresholds.py; empty where none were measured.
            eight_bit: the parts whose large tensors `save_pretrained` stores in eight bits, half the bytes of float16,
                with a scale for each output channel; those that the model does not hold are left out.
            networks: part -> the keywords of its network.

        Raises:
            BadInput: names a number, a part or a code that cannot be.
        """
        super().__init__()
        self.parts = checked_parts(shipped() if parts is None else parts)
        foreign = sorted(set(networks) - set(known_parts()))
        if foreign:
            raise TypeError(f"GanimeAge.__init__() got an unexpected keyword argument {foreign[0]!r}")
        if face_size % 8 or edit_size % 8 or not 64 <= face_size <= 1024 or not 64 <= edit_size <= 1024:
            raise BadInput(
                f"face_size {face_size} and edit_size {edit_size} must be multiples of 8 within 64..1024"
            )
        if not 0.5 <= crop_scale <= 2:
            raise BadInput(f"crop_scale {crop_scale} must be within 0.5..2")
        self.face_size, self.crop_scale, self.edit_size = face_size, crop_scale, edit_size
        self.editable_action_units = checked_units(editable_action_units)
        self.identity_thresholds = checked_thresholds(identity_thresholds)
        self.eight_bit = checked_eight_bit(eight_bit, self.parts)
        for name in self.parts:
            self.add_module(name, self._network(name, networks.get(name) or {}))

    def _network(self, name: str, keywords: dict[str, Any]) -> nn.Module:
        part = known_parts()[name]
        lacking = [other for other in part.borrows if other not in self.parts]
        if lacking:
            raise BadInput(f"the part {name} works on the part {lacking[0]}; name both")
        return part.network(*(getattr(self, other) for other in part.borrows), **keywords)

    @property
    def config(self) -> dict[str, Any]:
        """The keywords that the model was built with, as config.json holds them: `GanimeAge(**model.config)` is a model
        of the same networks. A copy, which may be changed."""
        return deepcopy(cast(dict[str, Any], self._hub_mixin_config))

    @property
    def settings(self) -> dict[str, Any]:
        """What a fingerprint must know beside the networks."""
        return {"face_size": self.face_size, "crop_scale": self.crop_scale, "edit_size": self.edit_size}

    @property
    def methods(self) -> tuple[str, ...]:
        """The edit methods whose weights are loaded."""
        return tuple(name for name, row in METHODS.items() if row.part in self.parts)

    def methods_for(self, *asked: str) -> tuple[str, ...]:
        """The loaded edit methods that can change all of what is asked.

        Args:
            asked: any of "age", "action_units".

        Returns:
            Their names, in the order of the table of methods.
        """
        return tuple(name for name in methods_that_edit(*asked) if name in self.methods)

    def read(self, faces: Tensor, identity: bool = True) -> Readings:
        """Measure faces.

        Who somebody is is read by the part `identity`, on the face aligned by the landmarks that the readers found;
        where the weights, or the parts that were loaded, have none, by a head of the readers, which confuses far more
        people. Age and action units are read in the same way by the part `attributes`, where it is loaded; of the units
        it is the mean with what the readers see.

        Args:
            faces: (B,3,S,S) in [-1,1], any square side.
            identity: False leaves it zero, and saves time where nobody asks who it is.

        Returns:
            Readings of B faces.

        Raises:
            MissingModel: the weights hold no readers.
        """
        self.require("readers")
        own = IDENTITY in self.parts
        read = self.readers(faces, identity and not own)
        if ATTRIBUTES in self.parts:
            seen = self.attributes(faces, read.landmarks)
            units = (read.action_units + seen.action_units) / 2
            read = read._replace(
                age=seen.age, age_spread=seen.spread, age_logits=seen.logits, action_units=units
            )
        if not (identity and own):
            return read
        return read._replace(identity=self.identity(faces, read.landmarks))

    def edit(
        self,
        faces: Tensor,
        source_age: Tensor,
        target_age: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
        method: str = DEFAULT,
        landmarks: Tensor | None = None,
        parts: Collection[str] = AGE_PARTS,
        hair: Tensor | None = None,
        changed: Tensor | None = None,
    ) -> Edited:
        """Change faces from the source to the target ages and action units. Where nothing is asked nothing changes.

        Prototypes work at the face's own size; what a generator then changes at `edit_size`, within the face, is
        enlarged and added, so the face keeps its own detail. A face without colour stays without. agetransgan and ragan
        add the difference of two pictures that they draw: see networks/age_groups.py. ganimation has no prototypes.
        What is neither near the face nor hair stays as it is, whatever a generator paints there.

        Args:
            faces: (B,3,S,S) in [-1,1].
            source_age: (B,) years, 0..100.
            target_age: (B,) years, 0..100.
            source_aus: action units (B,17) in 0..5.
            target_aus: action units (B,17) in 0..5.
            method: which of the loaded methods edits, by name or title.
            landmarks: (B,68,2) in 0..1, on which prototypes work; by default read here.
            parts: of AGE_PARTS, what the age changes; only the default method can leave some out.
            hair: (B,1,S,S) in 0..1: where it is, if it has its new age already (`grow_hair`); by default it is found
                and grown here.
            changed: the faces as `change_by_prototypes` gave them, if it did.

        Returns:
            The faces (B,3,S,S) in [-1,1], and in `attention` (B,1,S,S) in 0..1 how much of each pixel was changed, by
            prototypes or generator.

        Raises:
            BadInput: the method is unknown or cannot change what is asked, or an age is NaN or outside 0..100.
            MissingModel: its weights, or the readers', are not loaded.
        """
        row = method_row(method_called(method))
        self.require(row.part)
        changes = not torch.equal(source_age, target_age), not torch.equal(source_aus, target_aus)
        if not any(changes):
            return Edited(faces, torch.zeros_like(faces[:, :1]))
        check_method_edits(row, *changes)
        check_ages(source_age, target_age)
        if changes[0] and set(parts) != set(AGE_PARTS):
            check_whole(row)
        request = source_age, target_age, source_aus, target_aus
        return self.change(faces, request, row, landmarks, parts, hair, changed)

    def change_by_prototypes(
        self,
        faces: Tensor,
        request: tuple[Tensor, Tensor, Tensor, Tensor],
        method: str,
        landmarks: Tensor,
        parts: Collection[str] = AGE_PARTS,
        hair: Tensor | None = None,
    ) -> Tensor | None:
        """The first part of `edit`, for who does both at a time: what prototypes make of faces, before a method's
        network draws on it.

        Args:
            faces: (B,3,S,S) in [-1,1].
            request: source and target ages (B,) in years, source and target action units (B,17) in 0..5.
            method: which of the loaded methods edits, by name or title.
            landmarks: (B,68,2) in 0..1.
            parts: of AGE_PARTS, what the age changes.
            hair: as for `edit`.

        Returns:
            The faces (B,3,S,S) in [-1,1]; None where the method draws on the faces themselves.

        Raises:
            BadInput: the method is unknown.
            MissingModel: its weights are not loaded.
        """
        row = method_row(method_called(method))
        self.require(row.part)
        if not self.draws_on_prototypes(row):
            return None
        return self.prototypes_of(parts)(faces, landmarks, *request, hair)

    def prototypes_of(self, parts: Collection[str]) -> Prototypes:
        """The prototypes, of whose ages only some parts change something.

        Args:
            parts: of AGE_PARTS.

        Returns:
            The model's own for all parts, otherwise a copy that shares their weights.
        """
        return self.prototypes if set(parts) == set(AGE_PARTS) else self.prototypes.only(parts)

    def change(
        self,
        faces: Tensor,
        request: tuple[Tensor, Tensor, Tensor, Tensor],
        row: Method,
        landmarks: Tensor | None = None,
        parts: Collection[str] = AGE_PARTS,
        hair: Tensor | None = None,
        changed: Tensor | None = None,
    ) -> Edited:
        """`edit` of a request that was checked: arithmetic on tensors alone, so that it can be recorded as a graph
        (onnx/).

        Args:
            faces: (B,3,S,S) in [-1,1].
            request: source and target ages (B,) in years, source and target action units (B,17) in 0..5.
            row: the method.
            landmarks: as for `edit`.
            parts: as for `edit`.
            hair: as for `edit`.
            changed: as for `edit`.

        Returns:
            As `edit`.

        Raises:
            MissingModel: landmarks are to be read, and the weights hold no readers.
        """
        source_age, target_age, source_aus, target_aus = request
        network = getattr(self, row.part)
        side = getattr(network, "size", self.edit_size)
        if not self.draws_on_prototypes(row):
            small = resize(faces, side)
            return add_change(faces, faces, small, row.edit(network, small, *request))
        if landmarks is None:
            seen = resize(faces, min(faces.shape[-1], self.face_size))
            landmarks = self.read(seen, identity=False).landmarks
        prototypes = self.prototypes_of(parts)
        shown = prototypes(faces, landmarks, *request, hair) if changed is None else changed
        whole = request
        if "skin" not in parts:  # what a generator draws of an age is skin
            request = (source_age, source_age, source_aus, target_aus)
        small = resize(shown, side)
        given: dict[str, Any] = {}
        if isinstance(network, Restorer | FaceUNet):
            moved = prototypes.moved_landmarks(landmarks, (source_age, target_age), request[2:])
            given = {"landmarks": (landmarks, moved)}
        if isinstance(network, FaceUNet):
            given["moved"] = lambda: prototypes.moved_face(resize(faces, side), landmarks, whole)
        drawn = row.edit(network, small, *request, **given)
        drawn = prototypes.limit(small, drawn, landmarks, whole)
        return add_change(faces, shown, small, drawn)

    def moved_landmarks(
        self,
        landmarks: Tensor,
        request: tuple[Tensor, Tensor, Tensor, Tensor],
        method: str,
        parts: Collection[str] = AGE_PARTS,
    ) -> Tensor:
        """Where landmarks lie after an edit.

        Args:
            landmarks: (B,68,2) in 0..1.
            request: source and target ages (B,) in years, source and target action units (B,17) in 0..5.
            method: which of the loaded methods edits.
            parts: of AGE_PARTS, what the age changes.

        Returns:
            (B,68,2) in sides of the faces' frame, as `landmarks`; those given where the method draws on no prototypes.
        """
        if not self.draws_on_prototypes(METHODS[method]):
            return landmarks
        return self.prototypes_of(parts).moved_landmarks(landmarks, request[:2], request[2:])

    def draws_on_prototypes(self, row: Method) -> bool:
        """Whether a loaded method draws on what the prototypes change first; others paint the face as it is.

        Args:
            row: the method.

        Returns:
            True if it does.
        """
        return row.reads and not getattr(getattr(self, row.part), "direct", False)

    def find_hair(self, pictures: Tensor, frame: Place | None = None) -> Tensor:
        """Where hair is.

        Args:
            pictures: (B,3,S,S) in [-1,1], of faces' frames, or of more than them.
            frame: where the face's frame lies in pictures of more than it.

        Returns:
            (B,1,S,S) in 0..1.

        Raises:
            MissingModel: the weights hold no prototypes.
        """
        self.require(PROTOTYPES)
        with precise(pictures):
            return self.prototypes.find_hair(pictures, frame)

    def grow_hair(
        self,
        pictures: Tensor,
        landmarks: Tensor,
        source_age: Tensor,
        target_age: Tensor,
        hair: Tensor,
    ) -> Tensor:
        """Pictures with their hair grown from the source to the target ages. What is no hair stays as it is.

        Args:
            pictures: (B,3,S,S) in [-1,1], which show more than a face's frame.
            landmarks: (B,68,2) in 0..1 of them.
            source_age: (B,) years.
            target_age: (B,) years.
            hair: (B,1,S,S) in 0..1, where `find_hair` found it.

        Returns:
            The pictures (B,3,S,S), not clamped: bright hair may lie beyond 1.

        Raises:
            MissingModel: the weights hold no prototypes.
        """
        growth = self.hair_to_grow(pictures, landmarks, hair, target_age > source_age)
        return self.grow_ready_hair(growth, source_age, target_age)

    def hair_to_grow(self, pictures: Tensor, landmarks: Tensor, hair: Tensor, older: Tensor) -> Growth:
        """What `grow_hair` needs of pictures whatever the ages are.

        Args:
            pictures: as for `grow_hair`.
            landmarks: as for `grow_hair`.
            hair: as for `grow_hair`.
            older: (B,) bool, whether each grows older, not younger.

        Returns:
            A Growth of B pictures, for `grow_ready_hair`.

        Raises:
            MissingModel: the weights hold no prototypes.
        """
        self.require(PROTOTYPES)
        with precise(pictures):
            return Growth.of(pictures, hair, landmarks, older, REACH_FADE)

    def grow_ready_hair(self, growth: Growth, source_age: Tensor, target_age: Tensor) -> Tensor:
        """`grow_hair` from what `hair_to_grow` gave, for any number of ages in that direction.

        Args:
            growth: of `hair_to_grow`.
            source_age: (B,) years.
            target_age: (B,) years.

        Returns:
            As `grow_hair`.
        """
        with precise(growth.picture):
            return self.prototypes.grow(growth, (source_age, target_age))

    def forward(
        self,
        faces: Tensor,
        age: float | Tensor | None = None,
        action_units: Tensor | np.ndarray | Mapping[str, float | str] | Iterable[str] | None = None,
        method: str = DEFAULT,
    ) -> Edited:
        """`edit` from what the readers see: `model(faces, age=70)` or `model(faces, action_units="smile")`.

        What is None or not named stays as it is read.

        Args:
            faces: (B,3,S,S) in [-1,1].
            age: target in years, 0..100, one for all or (B,).
            action_units: targets (B,17) in 0..5, in the order of AU_CODES, or one request for all faces in the words of
                `edits.parse_action_units`, such as {"AU12": 3} or ["frown=+2"].
            method: which of the loaded methods edits, by name or title.

        Returns:
            As `edit`.

        Raises:
            BadInput: as `edit`.
            MissingModel: as `edit`.
        """
        read = self.read(resize(faces, min(faces.shape[-1], self.face_size)), identity=False)
        ages = read.age if age is None else torch.as_tensor(age, dtype=read.age.dtype, device=read.age.device)
        units = wanted_units(action_units, read.action_units, self.editable_action_units)
        if ages.ndim > 1 or ages.numel() not in (1, len(faces)) or units.shape != read.action_units.shape:
            raise BadInput(
                f"{len(faces)} faces take one age or as many, and action units ({len(faces)},17); "
                f"got {tuple(ages.shape)} and {tuple(units.shape)}"
            )
        return self.edit(faces, read.age, ages.expand(len(faces)), read.action_units, units, method)

    def reenact(
        self,
        faces: Tensor,
        source_landmarks: Tensor,
        target_landmarks: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
        *,
        learnt: bool = True,
        hair: Tensor | None = None,
    ) -> Edited:
        """Faces moved from the source to the target landmarks, and from the source to the target action units.

        `dual_generator.shape` tells the target landmarks for a driving face. A mesh moves the face's own pixels; with
        prototypes, where they are loaded, creases follow and an opening mouth is filled; what the face generator then
        repairs at `edit_size` is enlarged and added. A face of which nothing is asked comes back exactly.

        Args:
            faces: (B,3,S,S) in [-1,1].
            source_landmarks: (B,68,2) in 0..1 of the frame.
            target_landmarks: (B,68,2) in 0..1 of the frame.
            source_aus: action units (B,17) in 0..5.
            target_aus: action units (B,17) in 0..5.
            learnt: False leaves the face generator's repair out, to measure what it adds.
            hair: (B,1,S,S) in 0..1: where it is, if that is known.

        Returns:
            The faces (B,3,S,S) in [-1,1], and in `attention` (B,1,S,S) in 0..1 how much of each pixel was changed.

        Raises:
            MissingModel: the weights of dual_generator are not loaded.
        """
        self.require("dual_generator")
        asked = (source_landmarks != target_landmarks).any(2).any(1) | (source_aus != target_aus).any(1)
        if not asked.any():
            return Edited(faces, torch.zeros_like(faces[:, :1]))
        prototypes, shown = None, faces
        if PROTOTYPES in self.parts:
            prototypes = self.prototypes
            shown = creased(faces, source_landmarks, target_aus - source_aus, prototypes, hair)
        drawn, seen = render(shown, source_landmarks, target_landmarks, target_aus, self.head, prototypes)
        given = [resize(x, self.edit_size) for x in (drawn, seen, faces)]
        if learnt:
            edited = add_change(faces, drawn, given[0], self.dual_generator.face(*given, target_landmarks))
            if prototypes is not None:  # teeth are finer than what it was trained on
                inside = opened(source_landmarks, target_landmarks, faces.shape[-1])
                edited = edited._replace(face=torch.lerp(edited.face, drawn, inside))
        else:
            edited = Edited(drawn, 1 - unchanged_share(drawn - faces))
        moved = asked[:, None, None, None]
        return Edited(torch.where(moved, edited.face, faces), edited.attention * moved)

    def turn(self, faces: Tensor, landmarks: Tensor, degrees: Tensor) -> Turned:
        """Faces with their heads turned; see networks/mesh.py.

        Args:
            faces: (B,3,S,S) in [-1,1].
            landmarks: (B,68,2) in 0..1.
            degrees: (B,3), yaw, pitch and roll in degrees, a few.

        Returns:
            The faces (B,3,S,S) in [-1,1] as `face`, and as `landmarks` where theirs are now, (B,68,2) in 0..1.

        Raises:
            MissingModel: the weights lack the part `head`.
        """
        self.require("head")
        return turn(faces, landmarks, degrees, self.head)

    def require(self, part: str) -> None:
        """Check that the weights hold a part.

        Args:
            part: its name.

        Raises:
            MissingModel: they do not.
        """
        if part not in self.parts:
            raise MissingModel(
                f"these weights hold {', '.join(self.parts)}; load weights with {part} to use it{how_to_get(part)}"
            )

    def save_pretrained(
        self,
        save_directory: str | Path,
        variant: str | None = None,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write config.json and model.safetensors, in the model's own precision; no other file is touched.

        Parts that `eight_bit` names are stored in eight bits. Their numbers come back rounded; those of a part that was
        loaded so come back as they were.

        Args:
            save_directory: the folder to write to.
            variant: "fp16" or "bf16" writes a copy of that precision beside it, such as model.fp16.safetensors; what is
                stored in eight bits stays so.
            config: keywords to write instead of the model's own.
            repo_id: the repository to push to, by default the folder's name.
            push_to_hub: whether to push as well.
            model_card_kwargs: as for `push_to_hub`.
            push_to_hub_kwargs: what else `push_to_hub` takes.

        Returns:
            The commit's address with push_to_hub.

        Raises:
            BadInput: a number is not finite, a config does not describe the tensors, or the folder cannot be written;
                nothing is written.
        """
        if push_to_hub_kwargs and not push_to_hub:
            raise TypeError(
                f"save_pretrained() got an unexpected keyword argument {next(iter(push_to_hub_kwargs))!r}"
            )
        save(self, save_directory, variant, config=config)
        if not push_to_hub:
            return None
        return self.push_to_hub(
            repo_id or Path(save_directory).name,
            variant=variant,
            config=config,
            model_card_kwargs=model_card_kwargs,
            **push_to_hub_kwargs,
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        """The mixin's hook: what `save_pretrained` writes."""
        save(self, save_directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        config: Any = None,
        commit_message: str = "Push ganime_age weights",
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
        variant: str | None = None,
        files: Mapping[str, str | Path] | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, and `files`, as one commit.

        The repository and the branch are made where they do not exist. A README.md that is there is replaced only by
        one in `files`; where there is none the mixin's card is made.

        Args:
            repo_id: name of the repository, as "org/name".
            config: keywords to write instead of the model's own.
            commit_message: what the commit says.
            private: whether a new repository is private; True is refused for one that is public.
            token: of the Hub; by default the one of this machine's login, False for none.
            branch: where the commit goes, by default the main branch.
            create_pr: whether it goes into a pull request.
            allow_patterns: names of the files to send, such as "*.json"; by default all.
            ignore_patterns: names of the files not to send.
            delete_patterns: names of files of the repository to remove in the same commit.
            model_card_kwargs: what the mixin's card is made of.
            variant: as for `save_pretrained`.
            files: path in the repository -> file here.

        Returns:
            The web address of the commit, or of the pull request with `create_pr`.

        Raises:
            BadInput: a model or a request that cannot be pushed.
            MissingModel: the Hub does not take it.
        """
        choice = hub.Choice(allow_patterns, ignore_patterns, delete_patterns)
        return hub.push(
            self,
            repo_id,
            files=files or {},
            config=config,
            variant=variant,
            private=private,
            branch=branch,
            create_pr=bool(create_pr),
            commit_message=commit_message,
            token=token,
            choice=choice,
            card=model_card_kwargs or {},
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None = None,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        subfolder: str | None = None,
        variant: str | None = None,
        dtype: torch.dtype | str | None = None,
        device: str | torch.device = "cpu",
        parts: tuple[str, ...] | list[str] | None = None,
        **model_kwargs: Any,
    ) -> GanimeAge:
        """The embedded weights (no argument), a folder, or a Hub repository; ready to use.

        The model is in eval mode and frozen: no parameter requires a gradient. To train a part, call
        `model.PART.requires_grad_().train()`. Weights of format 2 are converted as they load. Loading is strict.

        Args:
            pretrained_model_name_or_path: a folder, or a Hub repository as "org/name"; None for the embedded weights.
            force_download: whether files of the Hub are fetched again where the cache holds them.
            token: of the Hub; by default the one of this machine's login, False for none.
            cache_dir: where files of the Hub are kept, by default the Hub's own cache.
            local_files_only: whether the cache alone is asked, not the Hub.
            revision: branch, tag or commit of a repository.
            subfolder: of the repository or folder, which holds the weights.
            variant: "fp16" or "bf16" reads that smaller file.
            dtype: of the model, float32 by default whatever the file holds; "auto" keeps the file's, where what is
                stored in eight bits counts as float32.
            device: where the model lies; "auto" is the fastest here.
            parts: loads a subset, and no more memory; without `identity` no identity thresholds are stated.
            model_kwargs: none; TypeError names one that is given.

        Returns:
            The model on `device`, with the parts that were asked for.

        Raises:
            MissingModel: names the missing, foreign, misshapen or non-finite tensor, or why the source cannot be had.
            BadInput: names a keyword that cannot be.
        """
        if model_kwargs:
            unknown = next(iter(model_kwargs))
            raise TypeError(f"from_pretrained() got an unexpected keyword argument {unknown!r}")
        source = EMBEDDED if pretrained_model_name_or_path is None else pretrained_model_name_or_path
        return cls._from_pretrained(
            model_id=source,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            map_location=device,
            subfolder=subfolder,
            variant=variant,
            dtype=dtype,
            parts=parts,
        )

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str | Path,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str | torch.device = "cpu",
        strict: bool = True,
        subfolder: str | None = None,
        variant: str | None = None,
        dtype: torch.dtype | str | None = None,
        parts: tuple[str, ...] | list[str] | None = None,
        **model_kwargs: Any,
    ) -> GanimeAge:
        """The mixin's hook, strict whatever `strict` says: config.json alone tells what is built."""
        device = checked_device(map_location)
        folder = hub.weights_folder(
            model_id,
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
        config, version = read_config(folder / CONFIG)
        whole = sketched(cls, config, folder / CONFIG)
        config["parts"] = whole.parts if parts is None else checked_parts(parts)
        if IDENTITY in whole.parts and IDENTITY not in config["parts"]:
            config["identity_thresholds"] = ()  # they were measured with the part that is left out
        lacking = [part for part in config["parts"] if part not in whole.parts]
        if lacking:
            raise MissingModel(
                f"the weights in {folder} hold {', '.join(whole.parts)}, not {', '.join(lacking)}"
            )
        stored = StoredWeights(folder / name, version, whole.parts, config["parts"], whole.eight_bit)
        stored.check({k: v for k, v in whole.state_dict().items() if k.split(".")[0] in config["parts"]})
        kept = dtype == "auto"
        dtype = stored_dtype(folder / name, whole.eight_bit) if kept else checked_dtype(dtype)
        model = cls(**config).to(dtype)
        for part in model.eight_bit if kept else ():
            getattr(model, part).to(torch.promote_types(dtype, torch.float32))
        stored.fill(model)
        return model.eval().requires_grad_(False)


def add_change(faces: Tensor, shown: Tensor, small: Tensor, edited: Edited) -> Edited:
    """Add what a generator changed of a small copy to the full-size face, so that the face keeps its own detail.

    faces: the originals (B,3,S,S). shown: what prototypes or a mesh made of them, (B,3,S,S). small: the copy of
    `shown` that the generator saw, (B,3,s,s). edited: its result, at the side s. The attention that is returned is the
    share by which each pixel of `faces` was changed, before the generator or by it.
    """

    face, painted = edited
    if shown.shape[-1] != small.shape[-1]:
        face = (shown + enlarge_smoothly(edited.face - small, shown.shape[-1])).clamp(-1, 1)
        painted = enlarge_smoothly(edited.attention, shown.shape[-1]).clamp(0, 1)
    return Edited(face, 1 - (1 - painted) * unchanged_share(shown - faces))


def method_row(name: str) -> Method:
    """The row of a method; BadInput names one that does not exist."""
    if name not in METHODS:
        raise BadInput(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]


def check_whole(row: Method) -> None:
    """BadInput unless a method can change some parts of an age and leave others."""
    if row.name != DEFAULT:
        whole = f"{row.title} changes an age as a whole"
        raise BadInput(f"{whole}; leave out parts, or choose {METHODS[DEFAULT].title}")


def check_method_edits(row: Method, age: bool, expression: bool) -> None:
    """BadInput when a method is asked to change an age, or an expression, that it cannot."""
    for wanted, kind, noun, others in (
        (age, "age", "an age", "expressions"),
        (expression, "action_units", "an expression", "ages"),
    ):
        if wanted and kind not in row.edits:
            able = methods_that_edit(kind)[0]
            raise BadInput(f"{row.name} edits {others} only; choose the method {able} to change {noun}")


def wanted_units(
    asked: Tensor | np.ndarray | Mapping[str, float | str] | Iterable[str] | None,
    read: Tensor,
    editable: Collection[str],
) -> Tensor:
    """Target action units (B,17) in 0..5 from what is read (B,17) and what is asked: targets, or words for all faces,
    where those that are not named stay as read. BadInput as `parse_action_units`."""
    if asked is None:
        return read
    if isinstance(asked, (Tensor, np.ndarray)):
        return torch.as_tensor(asked).to(read)
    units = read.clone()
    for code, target in parse_action_units(asked, editable=editable).items():
        i = AU_CODES.index(code)
        units[:, i] = (read[:, i] + target.value).clamp(0, AU_MAX) if target.relative else target.value
    return units


def check_ages(*ages: Tensor) -> None:
    """BadInput for ages (B,) that do not lie within 0..100 years, or are not numbers."""
    for age in ages:
        if not ((age >= 0) & (age <= AGE_MAX)).all():
            raise BadInput(f"ages {age.tolist()} must all lie between 0 and {AGE_MAX:.0f} years")


def checked_units(codes: Any) -> tuple[str, ...]:
    """Action unit codes in the order of AU_CODES; BadInput names one that does not exist."""
    given = () if isinstance(codes, str) else tuple(codes)
    for code in given:
        if code not in AU_CODES:
            raise BadInput(f"unknown action unit {code!r}; choose from {' '.join(AU_CODES)}")
    return tuple(code for code in AU_CODES if code in given)


def checked_parts(parts: Any) -> tuple[str, ...]:
    """The parts and those that they bring, in the order of methods.parts(); BadInput names one that does not exist.

    Names of parts in older weights, such as finder, are accepted.
    """
    known = tuple(known_parts())
    given = () if isinstance(parts, str) or not isinstance(parts, Iterable) else tuple(parts)
    if not given:
        raise BadInput(f"parts {parts!r} must be a list of some of {', '.join(known)}")
    for part in present_names(given):
        if part not in known:
            raise BadInput(f"unknown part {part!r}; choose from {', '.join(known)}")
    return with_companions(present_names(given))


def checked_eight_bit(named: Any, held: Collection[str]) -> tuple[str, ...]:
    """Those of the parts that are held which are named, in their order; BadInput names one that does not exist."""
    if isinstance(named, str) or not isinstance(named, Iterable):
        raise BadInput(f"eight_bit {named!r} must be a list of parts")
    given = list(named)
    for part in given:
        if part not in known_parts():
            raise BadInput(
                f"eight_bit names the unknown part {part!r}; choose from {', '.join(known_parts())}"
            )
    return tuple(part for part in held if part in given)
