"""Does a face that is moved do what the driving face does, and is it still the source? By judges that took no part in
training, beside doing nothing and beside pasting the driving face in.

Faces of the test split drive each other: a source of one person, a driving face of another, and pairs of one person
where the manifest knows any; photos of two expressions of one person (raw) go through the editor whole. A clip is our
own: the sample photo sways its head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...editor import FaceEditor
from ...images.tensors import to_pictures
from ...model.methods import DEFAULT
from ...model.model import GanimeAge
from ...pipelines.reenactment import AGE_FIRST, MOVE_FIRST, SETTLED
from ..data.faces import Faces
from ..engine.devices import beside, device_of
from .judged_motion import Judged, figures, mesh_reader
from .judges import Judges
from .measure_edits import rounded
from .measure_reenacted_clip import clip_figures, photo_pairs
from .reenactment_baselines import pasted
from .reenactment_pairs import BINS, Pairs, drivers, one_person, strangers_of, two_persons
from .reference_statistics import verification
from .test_faces import aged, frontal, look, spread

AGE = 70.0
NEAR_AGE = 4.0
ORDERS = {"age_then_move": AGE_FIRST, "move_then_age": MOVE_FIRST}
"""Rows of the results -> when the age is edited."""
NOTES = {
    "who": "test faces; sources are turned by at most 30 degrees, driving faces by at most 45, of other persons; moved "
    "as a photo drives a photo (ganimation_age adds half of what the moved face lacks of the action units; a clip "
    "stays as it moves), from what the model's own readers see, and judged as 8-bit pictures of 128 px",
    "judges": "MediaPipe's FaceLandmarker reads pose, action units and landmarks. It took no part in training, but the "
    "labels of action units and pose that the package's readers learnt from are its readings: its agreement with the "
    "labels' errors flatters. Persons and ages are told by the judges named in judged_by",
    "pose": "mean of the absolute errors of yaw and pitch against the driving face; roll is 0 in an aligned frame",
    "action_units": "mean absolute difference to the driving face over the 15 that the judge sees, of 0..5; much of "
    "it is how another person's face reads in rest",
    "landmarks": "mean distance of 68 points after the best shift, scale and turn, in % of the eyes' distance; of two "
    "persons it holds the difference of their shapes, so the pairs of one person say more",
    "identity": "cosine to the source, aligned by the judge's own landmarks; verified above the threshold at which one "
    "pair in a thousand of different persons is accepted",
    "paste": "the driving face cut out along its landmarks' hull, moved onto the source's by the best shift, scale and "
    "turn, in the source's colours, with a soft seam",
    "age": "age_then_move: the age is edited first, then the face is moved, as in a clip; move_then_age: the face is "
    "moved, then the age is edited, as in a photo. aim: mean judged age of real test faces labelled 66 to "
    "74. age_error: distance of the mean judged age from it; moved_years: change of the mean judged age by the same "
    "movement with no age asked, so the judge's and the movement's part in the error; unmoved_age: mean judged age of "
    "the same faces aged and not moved",
    "trained": "mesh_alone: the linear head and its mesh, with nothing learnt on top; mesh_with_shape: the shape "
    "generator's perceptron corrects the landmarks; mesh_with_face: the face generator repairs the picture; moved has "
    "both. All are settled in the same way",
    "same_image": "a face that drives itself: mean absolute change, of the 0..1 range",
    "flicker": "mean change from one frame to the next of the judged age (years) and of the identity (1 - cosine)",
}


@dataclass
class Plan:
    """How many: pairs of different persons, people (pairs of one person), photos (pairs of whole photos), turned (pairs
    a yaw bin, for the age), frames of the clip, per_source faces for the identity threshold."""

    pairs: int = 200
    people: int = 76
    photos: int = 50
    turned: int = 40
    frames: int = 60
    per_source: int = 300

    @classmethod
    def of(cls, count: int) -> Plan:
        """In proportion to `count` pairs, eight of each at least."""
        share = count / cls.pairs
        return cls(**{name: max(8, round(share * value)) for name, value in asdict(cls()).items()})


def measure(
    model: GanimeAge,
    faces: Faces,
    judges: Judges,
    raw: Path | None = None,
    plan: Plan | None = None,
    method: str = DEFAULT,
    others: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that the judges at hand can say, as one results file.

    faces: a test split of 128 px. judges: expression must be MediaPipe's; a kind that is None is left out. raw: a
    folder with photos NAME_neutral_ID and NAME_smile_ID, or None. method: what edits ages; others: further methods,
    each of which is told in both orders too. BadInput when the split lacks faces that are needed.
    """
    plan = plan or Plan()
    model.require("dual_generator")
    mesh_reader(judges)
    yard = verification(faces, judges.identity, plan.per_source) if judges.identity else None
    threshold = yard["threshold"] if yard else None
    with torch.inference_mode():
        strangers, same = two_persons(faces, plan.pairs), one_person(faces, plan.people)
        found = {"two_persons": compared(model, faces, strangers, judges, threshold)}
        if len(same.source):
            found["one_person"] = compared(model, faces, same, judges, threshold)
        itself = same_image(model, faces, strangers.source)
        bins = {
            name: yaw_bins(model, faces, judges, threshold, plan.turned, name) if judges.age else {}
            for name in (method, *others)
        }
    editor = FaceEditor(model, device=device_of(model))
    if raw is not None:
        found["photos"] = photo_pairs(editor, raw, plan.photos, judges, threshold)
    clip = clip_figures(editor, judges, plan.frames)
    return rounded(
        {
            "summary": _summary(found) | {"same_image_l1": float(itself.mean())} | _of_clip(clip),
            "judged_by": judges.names(),
            "pairs": {name: rows["moved"]["faces"] for name, rows in found.items()},
            "notes": NOTES,
            **found,
            "same_image": {"faces": len(itself), "l1": itself.mean(), "l1_worst": itself.max()},
            "age_method": method,
            **bins.pop(method),
            "other_methods": bins,
            "clip": clip,
            "identity": yard,
        }
    )


def _summary(found: dict[str, Any]) -> dict[str, float]:
    """The main figures, of pairs of two persons; doing nothing's and the paste's under their prefixes."""
    out: dict[str, float] = {}
    names = {"": "moved", "nothing_": "nothing", "paste_": "paste"}
    for prefix, row in names.items():
        of = found["two_persons"][row]
        out |= {
            f"{prefix}{key}": of[key]
            for key in ("pose_error_degrees", "au_error", "identity_verification")
            if key in of
        }
    for kind in ("one_person", "photos"):
        if kind in found:
            out |= {
                f"{prefix}{kind}_landmark_error_percent": found[kind][row]["landmark_error_percent"]
                for prefix, row in names.items()
            }
    return out


def _of_clip(clip: dict[str, Any]) -> dict[str, float]:
    return {"frames_per_second_256": clip["frames_per_second"]} | clip["flicker"]


class Learnt(NamedTuple):
    """Which of the networks that were trained on top of head and mesh take part."""

    shape: bool = True
    face: bool = True


ALL_LEARNT = Learnt()
TRAINED = {
    "mesh_alone": Learnt(False, False),
    "mesh_with_shape": Learnt(True, False),
    "mesh_with_face": Learnt(False, True),
}
"""Rows of the results -> what took part."""


def moved(
    model: GanimeAge,
    source: Tensor,
    driving: Tensor,
    age: float | None = None,
    order: str = MOVE_FIRST,
    method: str = DEFAULT,
    learnt: Learnt = ALL_LEARNT,
) -> Tensor:
    """Faces (B,3,S,S) that take the driving faces' expression and pose, at an age in years if one is asked for, which
    is edited by `method` after the movement or, with AGE_FIRST, before it."""
    step = partial(moved_there, model)
    if age is None:
        return beside(model, step)(source, driving, learnt)
    if order == AGE_FIRST:
        return beside(model, step)(at_age(model, source, age, method), driving, learnt)
    face = beside(model, step)(source, driving, learnt)
    return at_age(model, face, age, method, of=source)


def at_age(model: GanimeAge, faces: Tensor, age: float, method: str, of: Tensor | None = None) -> Tensor:
    """Faces (B,3,S,S) at an age in years. of: the faces on which the age they have is read, themselves by default."""

    def edit(faces: Tensor, own: Tensor) -> Tensor:
        units, before = model.read(faces).action_units, model.read(own).age
        return model.edit(faces, before, torch.full_like(before, age), units, units, method).face

    return beside(model, edit)(faces, faces if of is None else of)


def moved_there(model: GanimeAge, source: Tensor, driving: Tensor, learnt: Learnt = ALL_LEARNT) -> Tensor:
    """Faces that were moved and settled, of tensors that lie where the model is."""
    own, other = model.read(source), model.read(driving)
    target = model.dual_generator.shape(own.landmarks, other.landmarks, learnt=learnt.shape)
    units = own.action_units, other.action_units
    face = model.reenact(source, own.landmarks, target, *units, learnt=learnt.face).face
    now = model.read(face)
    settled = torch.lerp(now.action_units, other.action_units, SETTLED)
    return model.edit(face, now.age, now.age, now.action_units, settled).face


def same_image(model: GanimeAge, faces: Faces, rows: np.ndarray) -> np.ndarray:
    """Mean absolute change (N,), of the 0..1 range, of faces that drive themselves."""
    itself = Pairs(rows, rows).batches(faces)
    return np.concatenate(
        [
            ((moved(model, one["face"], one["face"]) - one["face"]).abs().flatten(1).mean(1) / 2).numpy()
            for one, _ in itself
        ]
    )


def compared(
    model: GanimeAge, faces: Faces, pairs: Pairs, judges: Judges, threshold: float | None
) -> dict[str, Any]:
    """Figures of the moved faces, of head and mesh with less or nothing learnt on top, of doing nothing and of the
    paste, for the same pairs."""
    names = ("moved", *TRAINED, "nothing", "paste", "driving", "at")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for one, other in tqdm(pairs.batches(faces), desc="pairs", unit="batch"):
        pictures, drivings = to_pictures(one["face"]), to_pictures(other["face"])
        places = one["landmarks"].numpy(), other["landmarks"].numpy()
        rows = zip(pictures, places[0], drivings, places[1], strict=True)
        for name, learnt in {"moved": ALL_LEARNT, **TRAINED}.items():
            kept[name].append(to_pictures(moved(model, one["face"], other["face"], learnt=learnt)))
        kept["nothing"].append(pictures)
        kept["paste"].append(np.stack([pasted(*row) for row in rows]))
        kept["driving"].append(drivings)
        kept["at"].append(places[0])
    shown = {name: np.concatenate(parts) for name, parts in kept.items()}
    at = shown.pop("at")
    seen = {name: Judged.of(judges, pictures, at) for name, pictures in shown.items()}
    aims, source = seen.pop("driving"), seen["nothing"]
    return {name: figures(found, source, aims, threshold) for name, found in seen.items()}


def yaw_bins(
    model: GanimeAge,
    faces: Faces,
    judges: Judges,
    threshold: float | None,
    count: int,
    method: str = DEFAULT,
) -> dict[str, list[dict[str, Any]]]:
    """Faces aged to AGE and moved by heads turned by so many degrees, in both orders: judged age and identity, a row a
    bin."""
    assert judges.age
    old = look(faces, aged(faces, AGE - NEAR_AGE, AGE + NEAR_AGE, 200), {"age": judges.age})["age"].mean()
    sources = spread(np.flatnonzero(frontal(faces)), count)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ORDERS}
    for low, high in tqdm(BINS, desc="age 70", unit="bin"):
        able = np.flatnonzero(drivers(faces, low, high))
        if len(able):
            pairs = Pairs(sources, strangers_of(faces, sources, able))
            for name, found in aged_figures(model, faces, judges, threshold, pairs, old, method).items():
                rows[name].append({"yaw": f"{low}-{high}"} | found)
    return rows


def aged_figures(
    model: GanimeAge,
    faces: Faces,
    judges: Judges,
    threshold: float | None,
    pairs: Pairs,
    old: float,
    method: str = DEFAULT,
) -> dict[str, dict[str, Any]]:
    """Judged age and identity of faces aged to AGE and moved, in both orders. old: mean judged age of real faces of
    that age."""
    kept: dict[str, list[np.ndarray]] = {name: [] for name in (*ORDERS, "plain", "unmoved", "source", "at")}
    for one, other in pairs.batches(faces):
        face, driving = one["face"], other["face"]
        for name, order in ORDERS.items():
            kept[name].append(to_pictures(moved(model, face, driving, AGE, order, method)))
        kept["plain"].append(to_pictures(moved(model, face, driving)))
        kept["unmoved"].append(to_pictures(at_age(model, face, AGE, method)))
        kept["source"].append(to_pictures(face))
        kept["at"].append(one["landmarks"].numpy())
    shown = {name: np.concatenate(parts) for name, parts in kept.items()}
    at = shown.pop("at")
    seen = {name: Judged.of(judges, pictures, at) for name, pictures in shown.items()}
    ages = {name: _ages(found) for name, found in seen.items()}
    out = {}
    for name in ORDERS:
        row = out[name] = {
            "faces": len(at),
            "aim": old,
            "age": ages[name].mean(),
            "age_difference": ages[name].mean() - old,
            "age_error": abs(ages[name].mean() - old),
            "age_error_each": np.abs(ages[name] - old).mean(),
            "nothing_age_error": abs(ages["source"].mean() - old),
            "unmoved_age": ages["unmoved"].mean(),
            "moved_years": ages["plain"].mean() - ages["source"].mean(),
            "yaw_reached": np.nanmean(np.abs(seen[name].motion.pose[:, 0])),
        }
        who, source = seen[name].identity, seen["source"].identity
        if who is not None and source is not None and threshold is not None:
            cosine = (who * source).sum(1)
            row |= {"verification": (cosine > threshold).mean(), "cosine": cosine.mean()}
    return out


def _ages(found: Judged) -> np.ndarray:
    assert found.age is not None
    return found.age
