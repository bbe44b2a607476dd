"""How well readers of identity tell two photos of one person from photos of two, and a face's own edit from a stranger.

Every reader says of a face who it is, as a unit vector; a pair is verified when the cosine exceeds a threshold. The
threshold of each reader is the one that 1 in 1,000 pairs of strangers exceed, on the named people of the split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import BadInput
from ...images.tensors import to_pictures, to_tensor
from ...model.methods import IDENTITY
from ...model.model import GanimeAge
from ...networks.aligned.identity import IdentityReader
from ..data.faces import Faces
from ..engine.devices import beside
from .judges import Judge
from .metrics import auc, pair_scores, threshold_at
from .test_faces import spread

FALSE_ACCEPTS = 1e-3
AGES = (5.0, 20.0, 40.0, 60.0, 80.0)
"""Years that every face is edited to."""
BATCH = 50
Look = Callable[[Tensor, Tensor], Tensor]
"""Faces (B,3,S,S) in [-1,1] and their labelled landmarks (B,68,2) -> who they are, (B,D) of unit length."""
NOTES = {
    "who": "all pairs of the split's named people (CelebA), none of whom is trained on",
    "tar_far1e3": "share of same-person pairs whose cosine exceeds the threshold, which a share of 1e-3 of the pairs "
    "of strangers exceeds",
    "edited": "each face beside its own edits to 5, 20, 40, 60 and 80 years by the default method, from the age and "
    "action units that the package reads; strangers are the edits of the other people. tar: share of a face's own "
    "edits above the threshold of the unedited pairs; far: the same of strangers' edits",
    "teacher": "what the identity reader learnt from, as it read the faces where the set was made",
}


def measure(
    readers: Mapping[str, Look], faces: Faces, model: GanimeAge | None = None, count: int = 200
) -> dict[str, Any]:
    """Figures of every reader by its name, on the split's named people. model: edits `count` of them; None leaves that
    out. The row `teacher` comes from the manifest and has no edits. BadInput when the split names nobody."""
    named = np.flatnonzero(faces.labels["person"] >= 0)
    person = faces.labels["person"][named]
    if not len(named):
        raise BadInput(
            f"{faces.folder} names no person in this split; identity is measured on pairs of people"
        )
    found = {name: embed(look, shown(faces, named)) for name, look in readers.items()}
    teacher = faces.labels["teacher"][named]
    rows = {name: verification(read, person) for name, read in found.items()}
    if not np.isnan(teacher).any():
        rows["teacher"] = verification(teacher, person)
        for name, read in found.items():
            if read.shape == teacher.shape:
                rows[name]["cosine_to_teacher"] = float((read * teacher).sum(1).mean())
    if model is not None:
        picks = spread(np.arange(len(named)), count)
        edited = [face for face, _ in edits(model, faces, named[picks])]
        landmarks = torch.from_numpy(faces.labels["landmarks"][named[picks]])
        for name, look in readers.items():
            by_age = np.stack([embed(look, iter([(face, landmarks)])) for face in edited])  # (ages, count, D)
            rows[name] |= edited_pairs(found[name][picks], by_age, person[picks], rows[name]["threshold"])
    return {
        "summary": {
            f"{name}_{figure}": row[figure]
            for name, row in rows.items()
            for figure in ("auc", "tar_far1e3", "edited_auc", "edited_tar")
            if figure in row
        },
        "faces": len(named),
        "people": len(np.unique(person)),
        "readers": rows,
        "notes": NOTES,
    }


def verification(identity: np.ndarray, person: np.ndarray) -> dict[str, float]:
    """AUC, threshold and share of verified same-person pairs of embeddings (N,D) of people (N,); empty where there are
    not both kinds of pairs."""
    same, different = pair_scores(identity, person)
    if not len(same) or not len(different):
        return {}
    threshold = threshold_at(different, FALSE_ACCEPTS)
    return {
        "auc": auc(same, different),
        "tar_far1e3": float((same > threshold).mean()),
        "threshold": threshold,
        "pairs_same": len(same),
        "pairs_different": len(different),
    }


def edited_pairs(
    before: np.ndarray, after: np.ndarray, person: np.ndarray, threshold: float
) -> dict[str, Any]:
    """Faces (N,D) beside edits of them (K,N,D), one a target age: each against its own edits and those of others."""
    own = (after * before).sum(2)  # (K,N)
    others = np.einsum("nd,kmd->knm", before, after)[:, person[:, None] != person]
    return {
        "edited_auc": auc(own.ravel(), others.ravel()),
        "edited_tar": float((own > threshold).mean()),
        "edited_far": float((others > threshold).mean()),
        "edited_tar_by_age": {
            f"{age:g}": round(float((part > threshold).mean()), 4)
            for age, part in zip(AGES, own, strict=False)
        },
    }


def shown(faces: Faces, picks: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """Faces and their labelled landmarks, a few at a time."""
    for part in np.array_split(picks, -(-len(picks) // BATCH)):
        batch = faces.batch(part)
        yield batch["face"], batch["landmarks"]


def edits(model: GanimeAge, faces: Faces, picks: np.ndarray) -> Iterator[tuple[Tensor, float]]:
    """The faces edited to each of AGES as 8-bit pictures hold them, (N,3,S,S), and the age."""
    with torch.inference_mode():
        read_of, edit = beside(model, model.read), beside(model, model.edit)
        sources = [(face, read_of(face)) for face, _ in shown(faces, picks)]
        for age in AGES:
            after = [
                edit(face, read.age, torch.full_like(read.age, age), *(read.action_units,) * 2).face
                for face, read in sources
            ]
            yield to_tensor(to_pictures(torch.cat(after))), age


def embed(look: Look, batches: Iterator[tuple[Tensor, Tensor]]) -> np.ndarray:
    """Who a reader sees in all faces, (N,D)."""
    with torch.inference_mode():
        return np.concatenate(
            [
                look(*(part[start : start + BATCH] for part in batch)).numpy()
                for batch in batches
                for start in range(0, len(batch[0]), BATCH)
            ]
        )


def looks_of(trial: IdentityReader | None, model: GanimeAge, judge: Judge | None = None) -> dict[str, Look]:
    """An identity reader on trial, by default the model's own, on the landmarks that the model finds and on labelled
    ones; the model's own beside one on trial; the head of its readers; and an identity judge."""

    def shipped(face: Tensor, landmarks: Tensor) -> Tensor:
        return beside(model, model.read)(face).identity

    def head(face: Tensor, landmarks: Tensor) -> Tensor:
        return beside(model, model.readers)(face).identity

    own = model.identity if IDENTITY in model.parts else None
    network = trial or own

    def identity(face: Tensor, landmarks: Tensor) -> Tensor:
        assert network is not None
        return beside(network, network)(face, beside(model, model.readers)(face).landmarks)

    def judged(face: Tensor, landmarks: Tensor) -> Tensor:
        assert judge is not None
        return torch.from_numpy(judge(to_pictures(face), landmarks.numpy()))

    looks: dict[str, Look] = {"readers_head": head}
    if own is not None and trial is not None:
        looks["shipped"] = shipped
    if network is not None:
        looks |= {"identity": identity, "identity_labelled_landmarks": beside(network, network.eval())}
    if judge is not None:
        looks["judge"] = judged
    return looks
