"""The controlnet backend of a multi-pose set: a diffusion model paints the turned head over a drawing of its pose.

A 3-D head is fitted to the landmarks and turned; its landmarks become the control picture (`pose_drawing`). Painting
starts from the turned mesh, which carries the person's own skin and hair, or from the photo. Zhang, Rao and Agrawala,
"Adding Conditional Control to Text-to-Image Diffusion Models" (ICCV 2023); image to image as SDEdit (ICLR 2022).
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch
from torch import Tensor

from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ...model.fingerprint import fingerprint
from ...networks.head import HeadModel
from ...networks.layers import resize
from .controlnet_models import Pair, check_pair, load, need_diffusers
from .controlnet_scenes import Recipe, Scene, Scenes
from .plan import Request
from .pose_drawing import STYLES


class ControlNet(Scenes):
    """See plan.Backend; `open_controlnet` makes one. style: one of STYLES."""

    name = "controlnet"

    def __init__(self, pair: Pair, pipeline: Any, recipe: Recipe, head: HeadModel, style: str):
        self.pipeline = pipeline
        sample = pipeline.unet.config.sample_size
        side = int(sample if isinstance(sample, int) else sample[0]) * pipeline.vae_scale_factor
        super().__init__(head.to(pipeline.device), recipe, style, recipe.side or side)
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
