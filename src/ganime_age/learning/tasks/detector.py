"""Training the face detector: composites, the targets of proposal cells, and crops that its second stage gets wrong."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...images.search import MARKER_SPAN
from ...images.tensors import to_tensor
from ...networks.detector import PROPOSAL_STRIDE, FaceDetector, FaceLandmarks, Proposals
from ...networks.layers import precise
from ...networks.mirror import mirrored_landmarks
from .. import losses
from ..data.backgrounds import Backgrounds, FaceBank
from ..data.composites import Composer
from ..data.faces import Faces
from ..engine.recipe import fill
from ..engine.task import Losses, Player, Step, Task

Answer = TypeVar("Answer", Proposals, FaceLandmarks)
MOST_FACES = 6
"""Faces on one canvas at most."""
FACES = 0.625
"""Share of the closeups that show a face."""
SOUGHT = (30.0, 72.0)
"""Range of frame sides in pixels that the proposal network must find."""
TOLERATED = (22.0, 92.0)
"""Range of frame sides in pixels that it may find; a cell near such a face does not count."""


@dataclass
class Weights:
    """Weights of the terms; see seeker_terms and marker_terms."""

    seek: float = 1.0
    frame: float = 4.0
    landmarks: float = 10.0
    face: float = 1.0


@dataclass
class Recipe:
    """Numbers of a detector recipe. canvas: side in pixels of the pictures that the proposal network learns on."""

    batch: int = 32
    canvas: int = 96
    lr: float = 2e-3
    weight_decay: float = 0.01
    network: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)


def bank_of(faces: Faces) -> FaceBank:
    """The faces that have landmarks; sources of many pictures are drawn less often each, by the root of their size."""
    good = np.flatnonzero(np.isfinite(faces.labels["landmarks"]).all((1, 2)))
    weight = np.ones(len(good))
    if "source" in faces.table:
        source = faces.table["source"].iloc[good]
        weight = 1 / np.sqrt(source.map(source.value_counts()).to_numpy(float))
    return FaceBank(faces.pictures, faces.labels["landmarks"][good], faces.rows[good], weight)


def draw_batch(composer: Composer, size: int, seed: int, step: int) -> dict[str, Tensor]:
    """size canvases and size closeups; a pure function of seed and step but for the backgrounds' pool.

    canvases (B,3,S,S), closeups (B,3,C,C) in [-1,1]; frames (B,6,4) NaN where there is none; landmarks (B,68,2) in
    0..1 of the closeup; is_face (B,) 0 or 1.
    """
    rng = np.random.default_rng([seed, step])
    scenes = [composer.scene(rng) for _ in range(size)]
    faces = round(FACES * size)
    closeups = [
        composer.closeup_of_face(rng) if i < faces else composer.closeup_of_none(rng) for i in range(size)
    ]
    frames = np.full((size, MOST_FACES, 4), np.nan, np.float32)
    for row, scene in zip(frames, scenes, strict=True):
        row[: len(scene.frames)] = scene.frames
    return {
        "canvases": as_batch([s.picture for s in scenes]),
        "frames": torch.from_numpy(frames),
        "closeups": as_batch([c.picture for c in closeups]),
        "landmarks": torch.from_numpy(np.stack([c.landmarks for c in closeups]).astype(np.float32)),
        "is_face": torch.tensor([float(c.is_face) for c in closeups]),
    }


def mirrored(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same batch in a mirror: half the price of drawing another."""
    side = batch["canvases"].shape[-1]
    frames, points = batch["frames"].clone(), mirrored_landmarks(batch["landmarks"])
    frames[..., 0], frames[..., 3] = side - frames[..., 0], -frames[..., 3]
    pictures = {name: batch[name].flip(-1) for name in ("canvases", "closeups")}
    return batch | pictures | {"frames": frames, "landmarks": points}


def as_batch(pictures: list[np.ndarray]) -> Tensor:
    """Pictures (S,S,3) uint8 -> (B,3,S,S) float32 in [-1,1], channels last."""
    return to_tensor(np.stack(pictures)).contiguous(memory_format=torch.channels_last)


def cell_targets(frames: Tensor, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (B,N,4) -> per cell: face (B,h,w) 1/0, counted (B,h,w) bool, its frame (B,4,h,w).

    A cell is a face within 0.12 frames of a face centre (or nearest to it), and not counted within 0.25 frames of
    one, nor near a face of a size that is merely tolerated.
    """
    y = (torch.arange(h, device=frames.device) + 0.5) * PROPOSAL_STRIDE
    x = (torch.arange(w, device=frames.device) + 0.5) * PROPOSAL_STRIDE
    dx = x[None, None, None] - frames[..., 0, None, None]  # (B,N,1,w)
    dy = y[None, None, :, None] - frames[..., 1, None, None]  # (B,N,h,1)
    side = frames[..., 2:].norm(dim=-1)[..., None, None]  # (B,N,1,1)
    far = (dx**2 + dy**2).sqrt() / side
    nearest = (dx.abs() <= PROPOSAL_STRIDE / 2) & (dy.abs() <= PROPOSAL_STRIDE / 2)
    sought = (side >= SOUGHT[0]) & (side <= SOUGHT[1])
    tolerated = (side >= TOLERATED[0]) & (side <= TOLERATED[1])
    hit = sought & ((far < 0.12) | nearest)
    face, vague = hit.any(1), ((far < 0.25) & tolerated).any(1)
    owner = torch.where(hit, far, torch.inf).argmin(1)  # (B,h,w)
    frame = torch.gather(frames.nan_to_num(), 1, owner.flatten(1)[..., None].expand(-1, -1, 4))
    return face.float(), face | ~vague, frame.transpose(1, 2).unflatten(2, (h, w))


def in_float32(answer: Answer) -> Answer:
    """What a network says, for the losses: a place in bfloat16 is off by up to half a pixel of 96."""
    return type(answer)(*(values.float() for values in answer))


def seeker_terms(sought: Proposals, frames: Tensor) -> dict[str, Tensor]:
    """seek: is a cell a face? frame: error of the frames at face cells. frames (B,N,4), NaN where there is none."""
    face, counted, frame = cell_targets(frames, *sought.logits.shape[-2:])
    return {
        "seek": losses.focal(sought.logits[:, 0], face, counted),
        "frame": losses.frame_error(sought.frames, frame, face),
    }


def marker_terms(
    marked: FaceLandmarks, landmarks: Tensor, is_face: Tensor, counted: Tensor | None = None
) -> dict[str, Tensor]:
    """landmarks (B,68,2) in 0..1 of the crop: their error inside it; face: is the crop one? is_face (B,) 0/1.
    counted: see losses.over_rows."""
    return {
        "landmarks": losses.crop_landmarks(marked.landmarks, landmarks, is_face),
        "face": losses.binary(marked.logits, is_face, counted),
    }


class HardCrops(NamedTuple):
    """Crops (K,3,side,side) of the canvases; truth (K,) 1 for a face, else 0; counted (K,) 0 for one that teaches
    nothing. K is the same in every step: a crop that does not count is weighed with 0 instead of being left out."""

    pictures: Tensor
    truth: Tensor
    counted: Tensor


def hard_crops(sought: Proposals, batch: dict[str, Tensor], side: int, share: float = 0.4) -> HardCrops:
    """The proposal network's faces on the canvases, right and wrong, for the marker.

    The highest-scored wrong cell of a fraction `share` of the canvases, which does not count where a face lies there,
    and half as many true frames; where a canvas has none, its wrong cell once more, uncounted.
    """
    canvases, logits = batch["canvases"], sought.logits.detach()[:, 0].float()
    face, counted, _ = cell_targets(batch["frames"], *logits.shape[-2:])
    score, cell = torch.where(counted & (face == 0), logits, -torch.inf).flatten(1).max(1)
    chosen = score.topk(max(1, int(share * len(canvases)))).indices
    places = sought.frames.detach().flatten(2).float()
    wrong = places.gather(2, cell[:, None, None].expand(-1, 4, 1))[..., 0]  # (B,4), of every canvas
    others, sizes = batch["frames"][chosen], batch["frames"][..., 2:].norm(dim=-1)
    near = (others[..., :2] - wrong[chosen, None, :2]).norm(dim=-1) < 0.35 * sizes[chosen]
    # The first canvases with a face of the right size: a stable sort puts them before the others, in their order.
    fits = (sizes[:, 0] > SOUGHT[0]) & (sizes[:, 0] < TOLERATED[1])
    first = fits.float().argsort(descending=True, stable=True)[: len(chosen) // 2]
    true = torch.where(fits[first, None], batch["frames"][first, 0].nan_to_num(), wrong[first])
    crops = cut(canvases[torch.cat([chosen, first])], torch.cat([wrong[chosen], true]), side)
    truth = torch.cat([torch.zeros_like(score[chosen]), torch.ones_like(score[first])])
    return HardCrops(crops, truth, torch.cat([~near.any(1), fits[first]]).float())


def cut(canvases: Tensor, rows: Tensor, side: int) -> Tensor:
    """Marker crops (K,3,side,side) around frame rows (K,4) of canvases (K,3,S,S)."""
    size = canvases.shape[-1]
    ax, ay = (rows[:, 2:] * MARKER_SPAN / size).unbind(1)
    centre = rows[:, :2] * 2 / size - 1
    theta = torch.stack([ax, -ay, centre[:, 0], ay, ax, centre[:, 1]], 1).view(-1, 2, 3)
    with precise(canvases):
        grid = F.affine_grid(theta, [len(rows), 3, side, side], align_corners=False)
    return F.grid_sample(canvases, grid, padding_mode="border", align_corners=False)


def build(recipe: Recipe, faces: Faces, seed: int) -> Task:
    """The detector's task on composites of a folder's faces; `finder` is its name in weights."""
    weights = fill(Weights, recipe.weights, "[recipe.weights] table")
    finder = FaceDetector(**recipe.network)
    finder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    bank = bank_of(faces)
    composer = Composer(bank, Backgrounds(bank), recipe.canvas, finder.crop_side)

    @lru_cache(maxsize=1)
    def composed(number: int) -> dict[str, Tensor]:
        return draw_batch(composer, recipe.batch, seed, number)

    def batch(step: int) -> dict[str, Tensor]:
        return mirrored(composed(step // 2)) if step % 2 else composed(step // 2)

    def loss(step: Step[None]) -> Losses:
        batch = step.batch
        sought = in_float32(finder.propose(batch["canvases"]))
        terms = seeker_terms(sought, batch["frames"])
        hard = hard_crops(sought, batch, finder.crop_side)
        marked = in_float32(finder.locate(torch.cat([batch["closeups"], hard.pictures])))
        nowhere = batch["landmarks"].new_full((len(hard.truth), 68, 2), -1.0)
        landmarks, truth = torch.cat([batch["landmarks"], nowhere]), torch.cat([batch["is_face"], hard.truth])
        counted = torch.cat([torch.ones_like(batch["is_face"]), hard.counted])
        terms |= marker_terms(marked, landmarks, truth, counted)
        return losses.weighted_sum(terms, vars(weights))

    return Task(
        networks={"finder": finder},
        players=[
            Player(
                "finder",
                finder,
                loss,
                recipe.lr,
                weight_decay=recipe.weight_decay,
                weights=lambda number: vars(weights),
            )
        ],
        batch=batch,
        configs={"finder": finder.config},
        averaged=("finder",),
    )
