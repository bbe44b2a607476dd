"""Does an edit do what was asked, by judges that took no part in training? Every figure beside doing nothing.

Faces of age 20-29 of the test split are edited to the middle of the nine other groups, and each action unit is asked
for alone. The source age and action units are the model's own readings, as a user's edit has them. What doing nothing
scores is found by the same functions, from what the judges say of the unedited faces; a change or drift is then 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...edits import AGE_GROUPS
from ...model.methods import DEFAULT, METHODS
from ...model.model import GanimeAge
from ..data.faces import Faces
from .judges import Judges
from .measure_units import MEASURABLE, units
from .metrics import kernel_distance, response
from .photos.variants import NETWORK, PROTOTYPES, network_alone, prototypes_alone
from .reference_statistics import (
    RealAges,
    age_looks,
    hair_colour,
    hair_of,
    real_ages,
    verification,
    whole_frames,
)
from .test_faces import Sitters, aged, spread

TARGETS = {0: 1.0, 1: 5.0, 2: 8.0, 3: 12.0, 4: 17.0, 6: 35.0, 7: 45.0, 8: 60.0, 9: 75.0}
"""Group (index into AGE_GROUPS) -> years asked: its middle; 75 for 70+."""
HAIR_AGES = (65.0, 75.0, 85.0)
PART_AGES = (5.0, 17.0, 35.0, 60.0, 75.0)
"""Years asked of the parts of the default method."""
NOTES = {
    "who": "test faces of age 20-29 with a head turned by at most 30 degrees, evenly spread over the sources; edited "
    "from the age and action units that the model's own readers see, judged as 8-bit pictures",
    "identity": "both pictures are aligned by the five points of the source's labelled landmarks; verified when the "
    "cosine to the unedited face exceeds the threshold. Doing nothing compares a face with itself",
    "age": "Group error: distance of the judge's mean on edited faces from its mean on real test faces of that group. "
    "age_drift_years: mean absolute change while an action unit is asked",
    "kernel_distance": "squared MMD (x.y/D + 1)^3, unbiased, of the age judge's features, scaled to mean square 1 on "
    "real faces; edited faces of a group against real faces of it, mean and spread over 50 subsets of at most 100",
    "action_units": "slope and correlation of the change read against the change asked (target kept within 0..5, "
    "unedited faces as the change 0). The default judge is the network whose readings labelled the generator's "
    "training faces: its agreement with the labels' errors flatters the edit",
    "au12": "over the changes +1, +2, +3 and +4 alone",
    "measurable": MEASURABLE,
    "au_drift": "mean absolute change over all action units the judge sees, while the age is edited",
    "parts": "the default method without its generator and without its prototypes, on the same faces. age_slope: years "
    "read by the age judge per year asked, least squares; network_age_slope: of the generator alone; generator_share: "
    "what the age slope of the whole has beyond that of the prototypes alone, as a share of it, 0 where it has none",
    "hair": "CIELAB lightness L* (0..100) and chroma C* within the hair mask of the source, which the edit is "
    "judged in too; real: mean on faces over 60 minus mean on faces of 20-29 of the sources that fill the frame. "
    "The default judge taught the hair mask by which hair is greyed: where it looks and where the edit acts agree",
}


@dataclass
class Plan:
    """How many faces: count for ages, units for action units, hair for hair, per_source for the identity threshold,
    per_group of real faces for the age judge, ranges for what action units are measurable."""

    count: int = 200
    units: int = 100
    hair: int = 60
    per_source: int = 300
    per_group: int = 200
    ranges: int = 300

    @classmethod
    def of(cls, count: int) -> Plan:
        """In proportion to `count` sources, eight of each at least."""
        share = count / cls.count
        return cls(**{name: max(8, round(share * value)) for name, value in asdict(cls()).items()})


def measure(
    model: GanimeAge, faces: Faces, judges: Judges, plan: Plan | None = None, method: str = "ganimation_age"
) -> dict[str, Any]:
    """Everything that the judges at hand can say of a method's edits, as one results file.

    faces: a test split. A kind of judge that is None is left out, and so are its figures and their summary.
    BadInput when the split lacks the faces that a measure needs.
    """
    plan = plan or Plan()
    with torch.inference_mode():
        sitters = Sitters(model, method, faces, aged(faces, 20, 29, plan.count))
        few = sitters.thinned(plan.units)
        out = {
            "summary": no_change(sitters),
            "method": method,
            "judged_by": judges.names(),
            "faces": {"ages": len(sitters), "action_units": len(few), "sources": _shares(sitters.source)},
            "notes": NOTES,
        }
        _add(out, *ages(sitters, judges, plan))
        if judges.age and method == DEFAULT and METHODS[DEFAULT].part in getattr(model, "parts", ()):
            _add(out, *parts(sitters.thinned(plan.hair), judges))
        if judges.expression:
            targets = {AGE_GROUPS[group]: years for group, years in TARGETS.items()}
            _add(out, *units(few, judges, targets, plan.ranges))
        if judges.hair:
            out["hair"] = hair(sitters, judges, plan)
    return rounded(out)


def _add(out: dict[str, Any], summary: dict[str, Any], details: dict[str, Any]) -> None:
    out["summary"] |= summary
    out |= details


def _shares(names: np.ndarray) -> dict[str, int]:
    return {str(name): int((names == name).sum()) for name in np.unique(names)}


def no_change(sitters: Sitters) -> dict[str, float]:
    """How much a face changes when its own age and action units are asked; doing nothing changes nothing."""
    return {"no_change_l1": float(sitters.edited({})["change"].mean()), "nothing_no_change_l1": 0.0}


def ages(sitters: Sitters, judges: Judges, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and details of the nine age edits."""
    looks = {"identity": judges.identity} if judges.identity else {}
    looks |= age_looks(judges) if judges.age else {}
    yard = verification(sitters.faces, judges.identity, plan.per_source) if judges.identity else None
    real = real_ages(sitters.faces, judges, plan.per_group) if judges.age else None
    before = sitters.unedited(looks)
    after = {
        group: sitters.edited(looks, age=years)
        for group, years in tqdm(TARGETS.items(), desc="ages", unit="group")
    }
    if yard:
        for found in (before, *after.values()):
            verify(before["identity"], found, yard["threshold"])
    rows = [group_row(group, before, edited, real) for group, edited in after.items()]
    summary = {"mask_mean": mean_of(rows, "mask_mean"), "nothing_mask_mean": 0.0}
    details = {"groups": rows, "by_source": by_source(sitters, before, after, real)}
    everybody = list(real.age) if real else []
    for name, kinds in (("by_gender", genders(sitters)), ("by_turn", turns(sitters))):
        details[name] = {
            kind: part(own, before, after, everybody) for kind, own in kinds.items() if own.any()
        }
    if yard:
        summary |= {f"{n}verification_mean": mean_of(rows, f"{n}verification") for n in ("", "nothing_")}
        details["identity"] = yard
    if real:
        summary |= {f"{n}age_error_mean": mean_of(rows, f"{n}age_error") for n in ("", "nothing_")}
        details["age_judge"] = {"mean_absolute_error_years": real.error}
    return summary, details


def parts(sitters: Sitters, judges: Judges) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and rows of what the default method's prototypes and its generator do alone."""
    model, looks = sitters.model, age_looks(judges)
    assert isinstance(model, GanimeAge), "only a model has parts"
    models = {"both": model, PROTOTYPES: prototypes_alone(model), NETWORK: network_alone(model)}
    rows, slopes = [], {}
    for name, one in models.items():
        own = Sitters(one, sitters.method, sitters.faces, sitters.picks)
        found = [own.edited(looks, age=years) for years in PART_AGES]
        asked = np.repeat(PART_AGES, len(own))
        slopes[name], _ = response(asked, np.concatenate([edited["age"] for edited in found]))
        rows.append(
            {
                "edited_by": name,
                "faces": len(own),
                "age_slope": slopes[name],
                "change": np.mean([edited["change"].mean() for edited in found]),
            }
        )
    share = 1 - slopes[PROTOTYPES] / slopes["both"] if slopes["both"] > 0 else 0.0
    summary = {"network_age_slope": slopes[NETWORK], "generator_share": min(max(share, 0.0), 1.0)}
    return summary, {"parts": rows}


def verify(identity: np.ndarray, found: dict[str, Any], threshold: float) -> None:
    """Add to findings the `cosine` of their embeddings with the unedited faces' identity (N,D), and `verified` (N,)."""
    found["cosine"] = (identity * found["identity"]).sum(1)
    found["verified"] = found["cosine"] > threshold


def mean_of(rows: list[dict[str, Any]], column: str) -> float:
    return float(np.mean([row[column] for row in rows]))


def group_row(
    group: int, before: dict[str, Any], after: dict[str, Any], real: RealAges | None
) -> dict[str, Any]:
    """One row of the table of groups, from what the judges say of faces (N,...) before and after the edit."""
    row = {
        "group": AGE_GROUPS[group],
        "asked": TARGETS[group],
        "mask_mean": after["mask"].mean(),
        "change": after["change"].mean(),
    }
    if "verified" in after:
        row |= {
            "verification": after["verified"].mean(),
            "nothing_verification": before["verified"].mean(),
            "cosine": after["cosine"].mean(),
        }
    if real:
        row |= {"faces_real": real.count[group], "real_age": real.age[group]}
        for name, found in (("", after), ("nothing_", before)):
            row |= {f"{name}{key}": value for key, value in age_figures(found, real, group).items()}
    return row


def age_figures(found: dict[str, Any], real: RealAges, group: int) -> dict[str, float]:
    """How near faces are to real ones of a group: mean age, its distance, and the kernel distance with its spread."""
    age = found["age"].mean()
    figures = {"age": age, "age_error": abs(age - real.age[group])}
    if real.features:
        distance, spread_ = kernel_distance(found["features"] / real.scale, real.features[group])
        figures |= {"kernel_distance": distance, "kernel_spread": spread_}
    return figures


def by_source(
    sitters: Sitters, before: dict[str, Any], after: dict[int, Any], real: RealAges | None
) -> dict[str, Any]:
    """Verification and age error of each source's faces; groups with fewer than five real faces are left out."""
    aims = real.by_source if real else {}
    return {
        str(name): part(sitters.source == name, before, after, aims.get(str(name), []))
        for name in np.unique(sitters.source)
    }


def part(
    own: np.ndarray, before: dict[str, Any], after: dict[int, Any], aims: Sequence[float | None]
) -> dict[str, Any]:
    """The same of some of the faces, own (N,) bool, against the ages `aims` of real faces by group (None: unknown)."""
    row: dict[str, Any] = {"faces": int(own.sum())}
    if "verified" in before:
        row["verification_mean"] = np.mean([edited["verified"][own].mean() for edited in after.values()])
    goals = {group: aim for group in after if aims and (aim := aims[group]) is not None}
    if goals:
        errors = [abs(after[group]["age"][own].mean() - goal) for group, goal in goals.items()]
        still = [abs(before["age"][own].mean() - goal) for goal in goals.values()]
        row |= {
            "groups": len(goals),
            "age_error_mean": np.mean(errors),
            "nothing_age_error_mean": np.mean(still),
        }
    return row


def genders(sitters: Sitters) -> dict[str, np.ndarray]:
    """Which faces are labelled as women's and as men's, (N,) bool each; real faces of both are what they aim at."""
    table = sitters.faces.table
    label = table["gender"].to_numpy()[sitters.picks] if "gender" in table else np.full(len(sitters), None)
    return {name: label == letter for name, letter in (("women", "f"), ("men", "m"))}


def turns(sitters: Sitters) -> dict[str, np.ndarray]:
    """Which heads are turned by how many degrees, (N,) bool each."""
    yaw = np.abs(sitters.faces.labels["pose"][sitters.picks, 0])
    return {f"{low}-{low + 10} degrees": (yaw >= low) & (yaw < low + 10) for low in (0, 10, 20)}


def hair(sitters: Sitters, judges: Judges, plan: Plan) -> dict[str, Any]:
    """Does hair turn grey? Change of its lightness and chroma for targets over 60, beside that between real people."""
    assert judges.hair, "there is nothing to measure without a judge of hair"
    faces = sitters.faces
    own = spread(whole_frames(faces, sitters.picks), plan.hair)
    old = spread(whole_frames(faces, aged(faces, 61, 100, 1000)), plan.hair)
    if not len(own) or not len(old):
        return {"faces": len(own), "faces_over_60": len(old)}
    ones = Sitters(sitters.model, sitters.method, faces, own)
    masks, young = hair_of(faces, own, judges.hair)
    _, aged_hair = hair_of(faces, old, judges.hair)
    gap = np.nanmean(aged_hair, 0) - np.nanmean(young, 0)
    out = {
        "faces": int((~np.isnan(young[:, 0])).sum()),
        "faces_over_60": int((~np.isnan(aged_hair[:, 0])).sum()),
        "real": {"lightness": gap[0], "saturation": gap[1]},
        "nothing": {"lightness": 0.0, "saturation": 0.0},
    }
    for years in HAIR_AGES:
        after = ones.edited({"pictures": lambda pictures, _: pictures}, age=years)["pictures"]
        change = np.nanmean(np.stack([*map(hair_colour, after, masks)]) - young, 0)
        out[f"asked_{years:.0f}"] = {"lightness": change[0], "saturation": change[1]}
    return out


def rounded(value: Any) -> Any:
    """Numbers as JSON has them, with four digits after the point; NaN as null."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 4) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
