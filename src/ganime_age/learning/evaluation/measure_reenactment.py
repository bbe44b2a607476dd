"""Does a face that is moved do what the driving face does, and is it still the source? By judges that took no part in
training, beside doing nothing and beside pasting the driving face in.

Faces of the test split drive each other: a source of one person, a driving face of another, and pairs of one person
where the manifest knows any; photos of two expressions of one person (raw) go through the editor whole. A clip is our
own: the sample photo sways its head.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...editor import FaceEditor
from ...images.tensors import to_pictures
from ...model.model import GanimeAge
from ...pipelines.reenactment import SETTLED
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
    "age": "the age is edited first, then the face is moved. aim: mean judged age of real test faces labelled 66 to "
    "74. age_error: distance of the mean judged age from it; moved_years: change of the mean judged age by the same "
    "movement with no age asked, so the judge's and the movement's part in the error",
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
    model: GanimeAge, faces: Faces, judges: Judges, raw: Path | None = None, plan: Plan | None = None
) -> dict[str, Any]:
    """Everything that the judges at hand can say, as one results file.

    faces: a test split of 128 px. judges: expression must be MediaPipe's; a kind that is None is left out. raw: a
    folder with photos NAME_neutral_ID and NAME_smile_ID, or None. BadInput when the split lacks faces that are needed.
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
        bins = yaw_bins(model, faces, judges, threshold, plan.turned) if judges.age else []
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
            "age_by_yaw": bins,
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


def moved(model: GanimeAge, source: Tensor, driving: Tensor, age: float | None = None) -> Tensor:
    """Faces (B,3,S,S) that take the driving faces' expression and pose, at an age in years if one is asked for."""
    return beside(model, partial(moved_there, model))(source, driving, age)


def moved_there(model: GanimeAge, source: Tensor, driving: Tensor, age: float | None) -> Tensor:
    """`moved`, of tensors that lie where the model is."""
    if age is not None:
        read = model.read(source)
        asked = (read.age, torch.full_like(read.age, age), read.action_units, read.action_units)
        source = model.edit(source, *asked).face
    own, other = model.read(source), model.read(driving)
    target = model.dual_generator.shape(own.landmarks, other.landmarks)
    face = model.reenact(source, own.landmarks, target, own.action_units, other.action_units).face
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
    """Figures of the moved faces, of doing nothing and of the paste, for the same pairs."""
    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("moved", "nothing", "paste", "driving", "at")}
    for one, other in tqdm(pairs.batches(faces), desc="pairs", unit="batch"):
        pictures, drivings = to_pictures(one["face"]), to_pictures(other["face"])
        places = one["landmarks"].numpy(), other["landmarks"].numpy()
        rows = zip(pictures, places[0], drivings, places[1], strict=True)
        kept["moved"].append(to_pictures(moved(model, one["face"], other["face"])))
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
    model: GanimeAge, faces: Faces, judges: Judges, threshold: float | None, count: int
) -> list[dict[str, Any]]:
    """Faces aged to AGE and moved by heads turned by so many degrees: judged age and identity, a row a bin."""
    assert judges.age
    old = look(faces, aged(faces, AGE - NEAR_AGE, AGE + NEAR_AGE, 200), {"age": judges.age})["age"].mean()
    sources, rows = spread(np.flatnonzero(frontal(faces)), count), []
    for low, high in tqdm(BINS, desc="age 70", unit="bin"):
        able = np.flatnonzero(drivers(faces, low, high))
        if len(able):
            pairs = Pairs(sources, strangers_of(faces, sources, able))
            rows.append({"yaw": f"{low}-{high}"} | aged_figures(model, faces, judges, threshold, pairs, old))
    return rows


def aged_figures(
    model: GanimeAge, faces: Faces, judges: Judges, threshold: float | None, pairs: Pairs, old: float
) -> dict[str, Any]:
    """Judged age and identity of faces aged to AGE and moved. old: mean judged age of real faces of that age."""
    parts = [
        [to_pictures(moved(model, one["face"], other["face"], age)) for age in (AGE, None)]
        + [to_pictures(one["face"]), one["landmarks"].numpy()]
        for one, other in pairs.batches(faces)
    ]
    *shown, at = (np.concatenate(part) for part in zip(*parts, strict=True))
    seen, plain, source = (Judged.of(judges, pictures, at) for pictures in shown)
    assert seen.age is not None and plain.age is not None and source.age is not None
    row = {
        "faces": len(at),
        "aim": old,
        "age": seen.age.mean(),
        "age_difference": seen.age.mean() - old,
        "age_error": abs(seen.age.mean() - old),
        "age_error_each": np.abs(seen.age - old).mean(),
        "nothing_age_error": abs(source.age.mean() - old),
        "moved_years": plain.age.mean() - source.age.mean(),
        "yaw_reached": np.nanmean(np.abs(seen.motion.pose[:, 0])),
    }
    if seen.identity is not None and source.identity is not None and threshold is not None:
        cosine = (seen.identity * source.identity).sum(1)
        row |= {"verification": (cosine > threshold).mean(), "cosine": cosine.mean()}
    return row
