"""Golden outputs: a few numbers of every network's output on two fixed faces, kept in tests/golden.json.

After an intended change of weights or of numerics, write the file anew from the repository's root and look at the diff:

    PYTHONPATH=src:tests python -m helpers.golden
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data
from torch import Tensor, nn

from ganime_age.editor import FaceEditor
from ganime_age.edits import AU_CODES
from ganime_age.model.model import GanimeAge
from ganime_age.networks import ganimation, ganimation_age_published, mesh
from ganime_age.networks.aligned import aifd, identity
from ganime_age.networks.dual_generator import fit_heads
from ganime_age.networks.judging import age_judge
from ganime_age.networks.perceptual import perceptual_from

FILE = Path(__file__).parent.parent / "golden.json"
SIDE = 192
AGES = torch.tensor([30.0, 30.0]), torch.tensor([72.0, 8.0])
METHODS_OF_AGE = ("ganimation_age", "agetransgan", "ragan")


def astronaut() -> np.ndarray:
    """A photo with one face, uint8 (320,320,3)."""
    return data.astronaut()[0:320, 60:380].copy()


def synthetic_face() -> Tensor:
    """(1,3,SIDE,SIDE) in [-1,1]: a smooth ellipse of skin with brows, eyes, nose and mouth, by formula alone."""
    line = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    y, x = torch.meshgrid(line, line, indexing="ij")

    def spot(at: tuple[float, float], width: float, height: float) -> Tensor:
        return torch.exp(-(((x - at[0]) / width) ** 2 + ((y - at[1]) / height) ** 2))

    skin = torch.sigmoid(40 * (1 - ((x - 0.5) / 0.33) ** 2 - ((y - 0.55) / 0.42) ** 2))
    dark = 0.9 * (spot((0.37, 0.45), 0.05, 0.02) + spot((0.63, 0.45), 0.05, 0.02)) + 0.5 * (
        spot((0.36, 0.38), 0.08, 0.015) + spot((0.64, 0.38), 0.08, 0.015) + spot((0.5, 0.62), 0.05, 0.015)
    )
    lips = spot((0.5, 0.76), 0.11, 0.025)
    face = torch.stack([0.5 - dark, 0.15 - dark - 0.4 * lips, -0.05 - dark - 0.3 * lips])
    ground = torch.stack([0.3 * x - 0.5, 0.3 * y - 0.4, -0.3 * x])
    return (skin * face + (1 - skin) * ground).clamp(-1, 1).float()[None]


def faces() -> Tensor:
    """(2,3,SIDE,SIDE) in [-1,1]: the astronaut's face by a fixed crop, so that no detector decides, and a synthetic
    one."""
    crop = data.astronaut()[22 : 22 + SIDE, 128 : 128 + SIDE]
    photo = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    return torch.cat([photo, synthetic_face()])


def numbers(values: Tensor | np.ndarray) -> list[float]:
    """Mean, standard deviation and ten values spread over a tensor, at no common row or column."""
    flat = torch.as_tensor(values).detach().double().flatten()
    places = ((0.618034 * torch.arange(1, 11, dtype=torch.float64)).frac() * len(flat)).long()
    return [round(float(v), 5) for v in (flat.mean(), flat.std(unbiased=False), *flat[places])]


def filled(network: nn.Module) -> nn.Module:
    """A network without shipped weights, its numbers a fixed function of their place."""
    with torch.no_grad():
        for index, tensor in enumerate(network.parameters()):
            wave = torch.sin(1.7 * torch.arange(tensor.numel(), dtype=torch.float64) ** 1.1 + index)
            tensor.copy_((wave.view(tensor.shape) * (2 / max(1, tensor[0].numel())) ** 0.5).float())
    return network.eval().requires_grad_(False)


def units() -> tuple[Tensor, Tensor]:
    """Action units (2,17) before and after: a smile, a dropped jaw, raised brows."""
    target = torch.zeros(2, len(AU_CODES))
    for code, value in (("AU12", 3.0), ("AU25", 2.5), ("AU26", 2.0), ("AU01", 1.5)):
        target[:, AU_CODES.index(code)] = value
    return torch.zeros_like(target), target


def shipped(model: GanimeAge) -> dict[str, list[float]]:
    """What the shipped networks give on both faces."""
    face, (before, after), out = faces(), units(), {}
    readings = model.read(face)
    for name in ("age", "action_units", "landmarks", "pose", "identity", "attention"):
        scale = {"age": 100.0, "action_units": 5.0, "pose": 90.0}.get(name, 1.0)
        out[f"readings.{name}"] = numbers(getattr(readings, name) / scale)
    for method in METHODS_OF_AGE:
        edited = model.edit(face, *AGES, before, before, method=method)
        out[f"{method}.age.face"] = numbers(edited.face)
        out[f"{method}.age.attention"] = numbers(edited.attention)
    edited = model.edit(face, AGES[0], AGES[0], before, after, method="ganimation_age")
    out["ganimation_age.expression.face"] = numbers(edited.face)
    out["ganimation_age.expression.attention"] = numbers(edited.attention)
    return out | reenacted(model, face, readings.landmarks, (before, after))


def reenacted(
    model: GanimeAge, face: Tensor, landmarks: Tensor, aus: tuple[Tensor, Tensor]
) -> dict[str, list[float]]:
    """The head model's fit, the drawn mesh, the shape generator and the face generator."""
    (head,) = fit_heads(model.head, landmarks)
    turned = mesh.turned(head, yaw=head.pose[:, 0] + 22)
    drawn = mesh.draw(face, model.head.points(head), model.head.points(turned), model.head)
    shape = model.dual_generator.shape(landmarks, landmarks.flip(0))
    moved = model.reenact(face, landmarks, model.head.landmarks(turned), *aus)
    return {
        "head.pose": numbers(head.pose / 90),
        "head.points": numbers(model.head.points(turned)),
        "mesh.face": numbers(drawn.face),
        "mesh.seen": numbers(drawn.seen),
        "dual_generator.shape": numbers(shape),
        "dual_generator.face": numbers(moved.face),
        "dual_generator.attention": numbers(moved.attention),
    }


def unshipped(model: GanimeAge) -> dict[str, list[float]]:
    """Networks whose weights do not ship, with weights by formula, and the perceptual distance."""
    face, age, aus = faces()[..., 32:160, 32:160], AGES[1], units()[1]
    landmarks = model.read(faces()).landmarks
    reader = filled(identity.IdentityReader())
    identified = filled(aifd.AIFD(reader))(face, landmarks)
    published = filled(ganimation_age_published.Generator(16, 8, 1))(face, age, aus)
    judged = filled(ganimation_age_published.Discriminator(width=4))(face)
    return {
        "ganimation": numbers(filled(ganimation.Generator(width=8, blocks=1))(face, aus / 5).face),
        "ganimation.critic": numbers(filled(ganimation.Discriminator(width=4))(face)[1]),
        "ganimation_age_published": numbers(published.face),
        "ganimation_age_published.aus": numbers(judged.aus),
        "aifd.identity": numbers(identified.identity),
        "aifd.age": numbers(identified.age / 100),
        "identity": numbers(reader(face, landmarks)),
        "age_judge": numbers(filled(age_judge.AgeJudge())(face) / 100),
        "perceptual": numbers(perceptual_from("", "rgb", model.readers)(face[:1], face[1:])[None]),
    }


def edited_photo(editor: FaceEditor) -> dict[str, list[float]]:
    """Photo in, photo out: detection, alignment, edit and paste, as means of 16 x 16 pixels in 0..1."""
    result = editor.edit(astronaut(), age=70, mark=False)

    def blocks(picture: Any) -> np.ndarray:
        pixels = np.asarray(picture.convert("RGB"), np.float64) / 255
        size = pixels.shape[0] // 16
        return pixels[: 16 * size, : 16 * size].reshape(size, 16, size, 16, 3).mean((1, 3))

    return {
        "detector.landmarks": numbers(result.source_reading.landmarks / 320),
        "detector.box": numbers(result.source_reading.box / 320),
        "editor.photo": numbers(blocks(result.image)),
        "editor.face": numbers(blocks(result.face)),
    }


@torch.no_grad()
def golden(model: GanimeAge, editor: FaceEditor) -> dict[str, list[float]]:
    """All numbers, by name."""
    parts: tuple[Callable[[], dict[str, list[float]]], ...] = (
        lambda: shipped(model),
        lambda: unshipped(model),
        lambda: edited_photo(editor),
    )
    return {name: values for part in parts for name, values in part().items()}


if __name__ == "__main__":
    shipped_model = GanimeAge.from_pretrained()
    rows = golden(shipped_model, FaceEditor(shipped_model))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in rows.items())
    FILE.write_text("{\n" + lines + "\n}\n")
