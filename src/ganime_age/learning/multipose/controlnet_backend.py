"""The controlnet backend of a multi-pose set: a diffusion model paints the turned head over a drawing of its pose.

A 3-D head is fitted to the landmarks and turned; its landmarks become the control picture (`pose_drawing`). Painting
starts from the turned mesh, which carries the person's own skin and hair, or from the photo. Zhang, Rao and Agrawala,
"Adding Conditional Control to Text-to-Image Diffusion Models" (ICCV 2023); image to image as SDEdit (ICLR 2022).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ...model.fingerprint import fingerprint
from ...networks.head import HeadModel
from ...networks.layers import resize
from ...networks.mesh import draw, turned
from .controlnet_models import Pair, check_pair, load, need_diffusers
from .mesh_backend import framed
from .plan import Request
from .pose_drawing import STYLES, draw_pose, visible

CHOICES = {
    "init": ("mesh", "photo"),
    "repaint": ("all", "unseen", "background"),
    "drawing": ("auto", *STYLES),
    "gpu_dtype": ("float16", "bfloat16", "float32"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How an image is painted.

    strength: 0..1, the share of the noise schedule that the first picture goes through; 1 forgets it. guidance: weight
    of the prompt. steps: of the whole schedule. control_scale: weight of the control picture. scheduler: a class of
    diffusers; empty: the base's own. gpu_dtype: precision on a GPU; a processor computes in float32. side: of the
    painted picture in pixels; 0: what the base was trained at. init: the first picture, the turned `mesh` or the
    `photo`. repaint: `all`, only what the mesh had to invent (`unseen`), or only what is not head (`background`).
    drawing: the control picture's style; `auto` goes by the ControlNet's name. prompt: {person} becomes the age group
    and the gender in words. unchecked_because: why the base's safety checker is off; empty: it is on, and what it
    objects to comes out black.
    """

    strength: float = 0.5
    guidance: float = 6.0
    steps: int = 30
    control_scale: float = 1.0
    scheduler: str = "UniPCMultistepScheduler"
    gpu_dtype: str = "bfloat16"
    side: int = 0
    init: str = "mesh"
    repaint: str = "all"
    drawing: str = "auto"
    prompt: str = "a photo of the face of {person}"
    negative_prompt: str = ""
    unchecked_because: str = ""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadInput(
                    f"{name} in the recipe is {getattr(self, name)!r}; it must be {' or '.join(choices)}"
                )
        if not 0 < self.strength <= 1 or int(self.steps * self.strength) < 1:
            raise BadInput(
                f"strength {self.strength} of {self.steps} steps in the recipe leaves no step to paint in; strength is "
                "above 0 and at most 1, and strength times steps at least 1"
            )
        if self.repaint == "unseen" and self.init != "mesh":
            raise BadInput(
                'repaint = "unseen" in the recipe needs init = "mesh", which knows what it invented'
            )
        if self.side < 0 or self.side % 64:
            raise BadInput(
                f"side in the recipe is {self.side}; it must be a multiple of 64, or 0 for the base's own"
            )
        try:
            self.prompt.format(person="")
        except (KeyError, IndexError, ValueError, AttributeError):
            raise BadInput(
                f"prompt in the recipe is {self.prompt!r}; only {{person}} may stand in braces"
            ) from None


class Scene(NamedTuple):
    """What B images are painted from. first, control (B,3,P,P) in 0..1; mask (B,1,P,P): 1 where to paint."""

    first: Tensor
    control: Tensor
    mask: Tensor


class ControlNet:
    """See multipose_requests.Backend; `open_controlnet` makes one. style: one of STYLES."""

    name = "controlnet"

    def __init__(self, pair: Pair, pipeline: Any, recipe: Recipe, head: HeadModel, style: str):
        self.pipeline, self.recipe, self.style = pipeline, recipe, style
        self.head = head.to(pipeline.device)
        sample = pipeline.unet.config.sample_size
        self.side = (
            recipe.side or int(sample if isinstance(sample, int) else sample[0]) * pipeline.vae_scale_factor
        )
        self.versions = _versions(self, pair)

    @torch.inference_mode()
    def make(
        self, faces: Tensor, landmarks: Tensor, labels: list[dict[str, Any]], requests: list[Request]
    ) -> Tensor:
        """Faces (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1 of the frame, B labels and B requests -> (B,3,S,S).

        labels: age, age_group (one of AGE_GROUPS), gender (m, f or None) and pose (yaw, pitch, roll in degrees). An
        image depends on its request's seed and not on its neighbours, up to rounding in batches of other sizes.
        """
        device = self.pipeline.device
        scene = self.scene(faces.to(device).float(), landmarks.to(device).float(), labels, requests)
        painted = self.paint(scene, labels, [request.seed for request in requests])
        return resize(2 * painted - 1, faces.shape[-1]).clamp(-1, 1).to(faces)

    def scene(
        self, faces: Tensor, landmarks: Tensor, labels: list[dict[str, Any]], requests: list[Request]
    ) -> Scene:
        """The first picture, the control picture and the mask of one batch, in the FFHQ frame of the turned heads."""
        head = self.head.fit(landmarks, landmarks.new_tensor([label["pose"] for label in labels]))
        yaw, pitch = landmarks.new_tensor([[request.yaw, request.pitch] for request in requests]).unbind(1)
        source = self.head.points(head)
        target = self.head.points(framed(self.head, turned(head, yaw, pitch)))
        first, mask = faces, torch.ones_like(faces[:, :1])
        if self.recipe.init == "mesh":
            first, seen = draw(faces, source, target, self.head)
            mask = 1 - seen if self.recipe.repaint == "unseen" else mask
        if self.recipe.repaint == "background":
            mask = 1 - _stack(head_area(points, self.head, self.side) for points in target).to(faces)
        control = _stack(self.control(points) for points in target).to(faces)
        return Scene(
            resize((first + 1) / 2, self.side).clamp(0, 1), control, resize(mask, self.side).clamp(0, 1)
        )

    def control(self, points: Tensor) -> np.ndarray:
        """The mesh's points (V,3) in the target pose -> the control picture (P,P,3) uint8."""
        vertices = points.double().cpu().numpy()
        landmarks = vertices[self.head.landmark_index.cpu().numpy()]
        seen = visible(landmarks, vertices, self.head.triangles.cpu().numpy())
        return draw_pose(self.style, landmarks, seen, self.side)

    def paint(self, scene: Scene, labels: list[dict[str, Any]], seeds: list[int]) -> Tensor:
        """(B,3,P,P) float32 in 0..1. What the mask leaves out stays as it was in the first picture."""
        recipe = self.recipe
        masked = {} if recipe.repaint == "all" else {"mask_image": scene.mask}
        try:
            painted = self.pipeline(
                prompt=[recipe.prompt.format(person=person(label)) for label in labels],
                negative_prompt=[recipe.negative_prompt] * len(labels),
                image=scene.first,
                control_image=scene.control,
                height=self.side,
                width=self.side,
                strength=recipe.strength,
                num_inference_steps=recipe.steps,
                guidance_scale=recipe.guidance,
                controlnet_conditioning_scale=recipe.control_scale,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds],
                output_type="pt",
                **masked,
            ).images
        except torch.OutOfMemoryError:
            raise BadInput(
                f"the GPU's memory does not hold {len(seeds)} images of {self.side} pixels; lower batch in the recipe"
            ) from None
        painted = painted.to(scene.first)
        return scene.mask * painted + (1 - scene.mask) * scene.first


def open_controlnet(
    base: str | None,
    controlnet: str | None,
    recipe: Recipe,
    head: HeadModel,
    device: torch.device | str = "cpu",
) -> ControlNet:
    """Check what was named, then load it. base, controlnet: see `check_pair`. head: the part `head` of GanimeAge.
    BadInput and MissingModel say in one sentence what cannot be used or is missing."""
    device = torch.device(device)
    pair = check_pair(base, controlnet, recipe.repaint != "all")
    style = drawing_style(recipe.drawing, pair.controlnet.given)
    dtype = torch.float32 if device.type == "cpu" else getattr(torch, recipe.gpu_dtype)
    pipeline = load(pair, recipe.repaint != "all", not recipe.unchecked_because, dtype, device)
    if recipe.scheduler:
        fitting = {kind.__name__: kind for kind in pipeline.scheduler.compatibles}
        if recipe.scheduler not in fitting:
            names = ", ".join(sorted(fitting))
            raise BadInput(f"scheduler in the recipe is {recipe.scheduler!r}; choose from {names}")
        pipeline.scheduler = fitting[recipe.scheduler].from_config(pipeline.scheduler.config)
    return ControlNet(pair, pipeline, recipe, head, style)


def drawing_style(drawing: str, controlnet: str) -> str:
    """`auto` -> the style that a ControlNet's name speaks of; BadInput when it speaks of none."""
    if drawing != "auto":
        return drawing
    name = controlnet.lower().replace("_", "").replace("-", "")
    for style in STYLES:
        if style.replace("_", "") in name:
            return style
    raise BadInput(
        f"the name {controlnet} does not say which drawings the ControlNet knows; set drawing in the recipe to "
        + " or ".join(STYLES)
    )


def person(label: dict[str, Any]) -> str:
    """A label's age group and gender in a prompt's words: `a girl, 3 to 6 years old`, `a woman, over 70 years old`."""
    group = label.get("age_group")
    if group is None and label.get("age") is not None:
        group = AGE_GROUPS[age_group(label["age"])]
    female, male, either = ("woman", "man", "person")
    place = AGE_GROUPS.index(group) if group in AGE_GROUPS else len(AGE_GROUPS)
    if place == 0:
        female, male, either = "baby girl", "baby boy", "baby"
    elif place <= AGE_GROUPS.index("10-14"):
        female, male, either = "girl", "boy", "child"
    elif place == AGE_GROUPS.index("15-19"):
        female, male, either = "teenage girl", "teenage boy", "teenager"
    noun = {"f": female, "m": male}.get(str(label.get("gender")), either)
    if group not in AGE_GROUPS:
        return f"a {noun}"
    return f"a {noun}, {'over 70' if group == '70+' else group.replace('-', ' to ')} years old"


def head_area(points: Tensor, head: HeadModel, side: int) -> np.ndarray:
    """(side,side,1) uint8: 255 where a mesh with points (V,3) shows what turns with the head."""
    places = np.round(points[:, :2].cpu().numpy() * side).astype(np.int32)
    triangles = head.triangles.cpu().numpy()
    turns = head.turning.cpu().numpy()[triangles].mean(1) > 0.5
    area = np.zeros((side, side), np.uint8)
    for corners in places[triangles[turns]]:
        cv2.fillConvexPoly(area, corners, 255)
    return area[..., None]


def _stack(pictures: Iterator[np.ndarray]) -> Tensor:
    """(P,P,C) uint8 each -> (B,C,P,P) float32 in 0..1."""
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).float() / 255


def _versions(backend: ControlNet, pair: Pair) -> dict[str, str]:
    """All that another run needs to make the same images."""
    import transformers

    recipe, pipeline = backend.recipe, backend.pipeline
    checker = getattr(pipeline, "safety_checker", None)
    off = f"off: {recipe.unchecked_because}" if recipe.unchecked_because else "none in this base"
    return {
        "base": pair.base.version,
        "controlnet": pair.controlnet.version,
        "family": pair.family,
        "pipeline": type(pipeline).__name__,
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "drawing": backend.style,
        "side": str(backend.side),
        "safety_checker": off if checker is None else "on",
        "recipe": json.dumps(dataclasses.asdict(recipe), sort_keys=True),
        "head": fingerprint(backend.head),
        "diffusers": need_diffusers().__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
