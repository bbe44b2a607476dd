"""Real faces and the judges' files, which lie beside the repository on a founder's machine and are no part of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganime_age.images.alignment import crop, frame_matrix

SHARED = Path(__file__).resolve().parents[3] / "shared"
MODELS, RAW = SHARED / "models", SHARED / "data" / "raw"
needs_models = pytest.mark.skipif(
    not (MODELS.is_dir() and RAW.is_dir()), reason="the judges' files and real photos are not beside the repository"
)  # fmt: skip


def aligned(photo: np.ndarray, landmarks: np.ndarray, side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """The face in the FFHQ frame (side,side,3), and its landmarks in 0..1 of the frame."""
    matrix = frame_matrix(landmarks, side)
    return crop(photo, matrix, side), (landmarks @ matrix[:, :2].T + matrix[:, 2]) / side


def four_people() -> tuple[np.ndarray, ...]:
    """Four people, neutral and smiling: pictures (8,128,128,3), landmarks (8,68,2), persons and smiles (8,)."""
    reference = json.loads((RAW / "reference.json").read_text())
    numbers = sorted(name[-7:-4] for name in reference if name.startswith("frll_smile"))
    found = []
    for number in [n for n in numbers if f"frll_neutral_{n}.jpg" in reference][:4]:
        for smiles in (False, True):
            name = f"frll_{'smile' if smiles else 'neutral'}_{number}.jpg"
            points = np.array(reference[name]["faces"][0]["landmarks68"])
            found.append(
                (*aligned(np.asarray(Image.open(RAW / name).convert("RGB")), points), number, smiles)
            )
    pictures, landmarks, persons, smiling = zip(*found, strict=True)
    return np.stack(pictures), np.stack(landmarks), np.array(persons), np.array(smiling)


def same_and_different(embeddings: np.ndarray, persons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(len(persons), 1)
    scores, same = (embeddings @ embeddings.T)[first, second], persons[first] == persons[second]
    return scores[same], scores[~same]
