"""Three nodes on ComfyUI's IMAGE, a float tensor (B,H,W,C) in 0..1, RGB.

A node is a class with INPUT_TYPES, RETURN_TYPES, FUNCTION and CATEGORY. ComfyUI shows the sentence of a BadInput that a
node raises.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganime_age import BadInput, EditResult, FaceEditor, GanimeAge
from ganime_age.edits import PRESETS
from ganime_age.model.methods import DEFAULT, METHODS

NOTHING = "none"
"""The choice of no preset."""
STOP, KEEP = "stop", "keep the picture"
STRENGTH = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.5, "step": 0.05})
FACE = ("INT", {"default": 0, "min": 0, "max": 99, "tooltip": "which face, 0 is the largest"})
NO_FACE = ([STOP, KEEP], {"tooltip": "what to do with a picture in which no face is found"})


@lru_cache(maxsize=1)
def editor() -> FaceEditor:
    """One editor for all nodes, on the fastest device here."""
    return FaceEditor(GanimeAge.from_pretrained(), device="auto")


class Node:
    """What the nodes share: pictures in, pictures out."""

    CATEGORY = "ganime_age"
    RETURN_TYPES: tuple[str, ...] = ("IMAGE",)
    RETURN_NAMES: tuple[str, ...] = ("image",)
    FUNCTION = "edit"


class Age(Node):
    """Every picture's face at another age."""

    DESCRIPTION = "The same person at another age. The edit carries ganime_age's watermark."
    RETURN_TYPES = ("IMAGE", "FLOAT")
    RETURN_NAMES = ("image", "age_before")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's sockets and widgets."""
        methods = [name for name, row in METHODS.items() if "age" in row.edits]
        years = {"default": 70.0, "min": 0.0, "max": 100.0, "step": 1.0, "display": "slider"}
        required = {"image": ("IMAGE",), "age": ("FLOAT", years), "strength": STRENGTH}
        choices = {"method": (methods, {"default": DEFAULT}), "face": FACE, "no_face": NO_FACE}
        return {"required": required, "optional": choices}

    def edit(
        self,
        image: Tensor,
        age: float,
        strength: float = 1.0,
        method: str = DEFAULT,
        face: int = 0,
        no_face: str = STOP,
    ) -> tuple[Tensor, float]:
        """The pictures (B,H,W,3), and the age in years that was read on the first face."""
        options = {"age": age, "strength": strength, "method": method, "face": face}
        made = edited(image, no_face, **options)
        read = next((one.source_reading.age for one in made if isinstance(one, EditResult)), 0.0)
        return pictures(image, made), read


class Expression(Node):
    """Every picture's face with another expression."""

    DESCRIPTION = "Another expression: a preset, and action units such as AU12=3, frown=+2."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's sockets and widgets."""
        units = {"default": "", "tooltip": "one after another, as AU12=3, frown=+2, jaw drop=1"}
        required = {
            "image": ("IMAGE",),
            "preset": ([NOTHING, *PRESETS], {"default": "smile"}),
            "action_units": ("STRING", units),
            "strength": STRENGTH,
        }
        return {"required": required, "optional": {"face": FACE, "no_face": NO_FACE}}

    def edit(
        self,
        image: Tensor,
        preset: str,
        action_units: str = "",
        strength: float = 1.0,
        face: int = 0,
        no_face: str = STOP,
    ) -> tuple[Tensor]:
        """The pictures (B,H,W,3)."""
        asked = [] if preset == NOTHING else [preset]
        asked += [words for words in action_units.split(",") if words.strip()]
        made = edited(image, no_face, action_units=asked, strength=strength, face=face)
        return (pictures(image, made),)


class Reenact(Node):
    """A face that moves like another."""

    DESCRIPTION = "The face of one picture does what the face of the driving pictures does."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The node's sockets and widgets."""
        relative = {"default": True, "tooltip": "of several driving pictures, the motion since the first"}
        required = {"image": ("IMAGE",), "driving": ("IMAGE",), "strength": STRENGTH}
        choices = {"relative": ("BOOLEAN", relative), "face": FACE, "driving_face": FACE}
        return {"required": required, "optional": choices}

    def edit(
        self,
        image: Tensor,
        driving: Tensor,
        strength: float = 1.0,
        relative: bool = True,
        face: int = 0,
        driving_face: int = 0,
    ) -> tuple[Tensor]:
        """One picture (1,H,W,3) for each driving one; of `image` the first is moved."""
        source, drivers = channels_first(image)[0], channels_first(driving)
        options: dict[str, Any] = {"strength": strength, "face": face, "driving_face": driving_face}
        if len(drivers) == 1:
            return (channels_last([editor().reenact(source, drivers[0], **options).tensor()]),)
        frames = editor().reenact_frames(source, list(drivers), relative=relative, **options)
        return (torch.stack([torch.from_numpy(np.array(frame)).float() / 255 for frame in frames]),)


def edited(image: Tensor, no_face: str, **options: Any) -> list[EditResult | BadInput]:
    """The result of each picture; with `no_face` set to KEEP, the error in its place where there is no face."""
    made: list[EditResult | BadInput] = []
    for result in editor().edit_many(channels_first(image), errors="return", **options):
        faceless = isinstance(result, BadInput) and str(result).startswith(("no face", "face "))
        if not isinstance(result, EditResult) and not (faceless and no_face == KEEP):
            raise result
        made.append(result)
    return made


def pictures(image: Tensor, made: list[EditResult | BadInput]) -> Tensor:
    """The edited pictures (B,H,W,3), with the given one where there is no result."""
    given = channels_first(image)[:, :3]
    done = [
        one.tensor() if isinstance(one, EditResult) else own for one, own in zip(made, given, strict=True)
    ]
    return channels_last(done)


def channels_first(image: Tensor) -> Tensor:
    """(B,H,W,C) -> (B,C,H,W)."""
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise BadInput(f"an IMAGE is a tensor (B,H,W,C) in 0..1, got {tuple(image.shape)}")
    return image.permute(0, 3, 1, 2)


def channels_last(faces: list[Tensor]) -> Tensor:
    """B pictures (3,H,W) -> (B,H,W,3) on the processor, where ComfyUI keeps its pictures."""
    return torch.stack([face.cpu().permute(1, 2, 0) for face in faces])


NODE_CLASS_MAPPINGS = {"GanimeAgeAge": Age, "GanimeAgeExpression": Expression, "GanimeAgeReenact": Reenact}
NODE_DISPLAY_NAME_MAPPINGS = {
    "GanimeAgeAge": "Age (ganime_age)",
    "GanimeAgeExpression": "Expression (ganime_age)",
    "GanimeAgeReenact": "Reenact (ganime_age)",
}
