"""AgeTransGAN's Table I with our methods: do they keep the person and reach the age, by judges that took no part?

As in the paper, test faces of age 20-29 are led to the nine other groups. The age asked of each is the mean age of the
test split's real faces of that group; the age judge's mean on the edited faces is held against its mean on those. The
pieces are those of `measure_edits`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter
from tqdm import tqdm

from ...edits import AGE_GROUPS, GROUP_STARTS, age_group
from ...errors import BadInput
from ...model.fingerprint import part_fingerprint
from ...model.methods import ATTRIBUTES, METHODS, table1_rows
from ...model.model import GanimeAge, add_change
from ...networks.layers import Edited
from ...networks.readers import Readings
from ..data.faces import Faces
from ..engine.checkpoints import fit, read_network
from ..engine.devices import device_of
from .judges import Judges
from .measure_edits import TARGETS, Plan, group_row, mean_of, rounded, verify
from .reference_statistics import RealAges, real_ages, verification
from .test_faces import Sitters, aged, frontal, spread

PROTOTYPES = "prototypes"
"""The row of what the other methods' networks draw on, alone."""
NOTHING = "nothing"
YAW_BINS = ((0, 15), (15, 30), (30, 45))
"""Degrees, either way."""
OWN = "own"
"""In --runs, the measured weights themselves."""
NOTES = {
    "who": "test faces of age 20-29 with a head turned by at most 30 degrees, evenly spread over the sources; edited "
    "from the age that the readers see to the mean labelled age of the test split's real faces of the group, judged as "
    "8-bit pictures",
    "prototypes": "the mean change of an age alone, on which every other method draws",
    "verification": "both pictures are aligned by the five points of the source's labelled landmarks; verified when "
    "the cosine to the unedited face exceeds the threshold. Doing nothing compares a face with itself",
    "yaw_bins": "the same for heads turned by so many degrees, at most a third as many faces a bin; means over the "
    "nine groups. Real ages, and the threshold, are of heads turned by at most 30 degrees",
    "age": "age_error: distance of the age judge's mean on the edited faces from its mean on real ones of the group",
}


def part_of(row: str) -> str:
    """The part of the weights that edits in a row."""
    return row if row == PROTOTYPES else METHODS[table1_rows()[row]].part


def measure(
    models: Mapping[str, GanimeAge | PrototypesAlone], faces: Faces, judges: Judges, plan: Plan | None = None
) -> dict[str, Any]:
    """The table as one results file. models: row of the table -> what edits it; the rows that lack one are `left_out`.

    faces: a test split. BadInput when a judge of identity or age is missing, or the faces that it needs.
    """
    if not judges.identity or not judges.age:
        raise BadInput("table1 needs a judge of identity and one of age; name both in --judges")
    if not models:
        raise BadInput(
            f"there is no method to measure; name weights with --runs, for one of {', '.join(table1_rows())}"
        )
    plan, looks = plan or Plan(), {"identity": judges.identity, "age": judges.age}
    with torch.inference_mode():
        yard = verification(faces, judges.identity, plan.per_source)
        real = real_ages(faces, Judges(age=_alone(judges.age)), plan.per_group)
        picks = aged(faces, 20, 29, plan.count)
        asked = {group: real_mean(faces, group) for group in TARGETS}
        found: dict[str, Any] = {}
        before: dict[str, Any] = {}
        for name, model in models.items():
            sitters = Sitters(model, table1_rows().get(name, name), faces, picks)
            before = before or sitters.unedited(looks)
            found[name] = {
                group: sitters.edited(looks, age=years)
                for group, years in tqdm(asked.items(), desc=name, unit="group")
            }
        by_yaw = yaw_bins(models, faces, looks, asked, real, yard["threshold"], plan.count)
    still = before | {"mask": np.zeros(1), "change": np.zeros(1)}
    found[NOTHING] = {group: dict(still) for group in TARGETS}
    rows = {
        name: [
            _row(group, asked[group], before, one, yard["threshold"], real) for group, one in edited.items()
        ]
        for name, edited in found.items()
    }
    return rounded(
        {
            "summary": summary(rows),
            "judged_by": judges.names(),
            "faces": {"edited": len(picks), "real": int(sum(real.count))},
            "groups": [_aim(group, asked[group], real) for group in TARGETS],
            "methods": rows,
            "yaw_bins": by_yaw,
            "left_out": [
                name for name, of in table1_rows().items() if name not in models and METHODS[of].shipped
            ],
            "weights": {name: part_fingerprint(model, part_of(name)) for name, model in models.items()},
            "identity": yard,
            "age_judge": {"mean_absolute_error_years": real.error},
            "notes": NOTES,
        }
    )


def _aim(group: int, asked: float, real: RealAges) -> dict[str, Any]:
    """What the edits to a group are held against."""
    return {
        "group": AGE_GROUPS[group],
        "asked": asked,
        "real_age": real.age[group],
        "faces_real": real.count[group],
    }


class PrototypesAlone:
    """The prototypes of a model, without what a generator adds to them; edits as GanimeAge does."""

    def __init__(self, model: GanimeAge):
        self.model, self.prototypes = model, model.prototypes

    def parameters(self) -> Iterator[Parameter]:
        return self.model.parameters()

    def read(self, faces: Tensor) -> Readings:
        return self.model.read(faces)

    def edit(self, faces: Tensor, *asked: Any) -> Edited:
        """See GanimeAge.edit; the method, named last, is always this one."""
        shown = self.prototypes(faces, self.read(faces).landmarks, *asked[:4])
        unchanged = torch.zeros_like(shown[:, :1])
        return add_change(faces, shown, shown, Edited(shown, unchanged))


def yaw_bins(
    models: Mapping[str, GanimeAge | PrototypesAlone],
    faces: Faces,
    looks: dict[str, Any],
    asked: Mapping[int, float],
    real: RealAges,
    threshold: float,
    count: int,
) -> dict[str, list[dict[str, Any]]]:
    """Row -> means over the groups for faces of age 20-29 turned by so many degrees, a bin each: at most a third of
    `count` faces a bin; a bin without faces is left out."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    for low, high in YAW_BINS:
        picks = spread(turned(faces, low, high), max(1, count // len(YAW_BINS)))
        if not len(picks):
            continue
        for name, model in models.items():
            sitters = Sitters(model, table1_rows().get(name, name), faces, picks)
            before = sitters.unedited(looks)
            groups = [
                _row(group, years, before, sitters.edited(looks, age=years), threshold, real)
                for group, years in asked.items()
            ]
            means = {key: mean_of(groups, key) for key in ("verification", "cosine", "age_error")}
            found[name].append({"yaw": f"{low}-{high}", "faces": len(picks)} | means)
    return found


def turned(faces: Faces, low: float, high: float) -> np.ndarray:
    """Rows of faces of age 20-29 with landmarks whose heads are turned by low..high degrees, either way."""
    age, yaw = faces.labels["age"], np.abs(faces.labels["pose"][:, 0])
    known = ~np.isnan(faces.labels["landmarks"]).any((1, 2))
    return np.flatnonzero((age >= 20) & (age <= 29) & (yaw >= low) & (yaw < high) & known)


def _alone(judge: Any) -> Any:
    """An age judge without its features: the table has no kernel distance."""
    return lambda pictures, landmarks: judge(pictures, landmarks)


def _row(
    group: int, asked: float, before: dict[str, Any], after: dict[str, Any], threshold: float, real: RealAges
) -> dict[str, Any]:
    """What the judges say of one method in one group."""
    for found in (before, after):
        verify(before["identity"], found, threshold)
    row = group_row(group, before, after, real) | {"asked": asked}
    return {
        key: row[key]
        for key in ("group", "verification", "cosine", "age", "age_error", "mask_mean", "change")
    }


def summary(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means over the groups by method. In how many of them MI verifies more often than AgeTransGAN without, as often,
    and has the larger mean cosine to the source, which tells more where both verify nearly everybody."""
    out: dict[str, Any] = {}
    for name, own in rows.items():
        for column in ("verification", "age_error"):
            out[f"{name}_{column}_mean"] = mean_of(own, column)
    if {"agetransgan", "agetransgan_mi"} <= set(rows):
        pairs = list(zip(rows["agetransgan_mi"], rows["agetransgan"], strict=True))
        out["mi_better_groups"] = sum(int(a["verification"] > b["verification"]) for a, b in pairs)
        out["mi_equal_groups"] = sum(int(a["verification"] == b["verification"]) for a, b in pairs)
        out["mi_nearer_groups"] = sum(int(a["cosine"] > b["cosine"]) for a, b in pairs)
    return out


def real_mean(faces: Faces, group: int) -> float:
    """Mean labelled age in years of the frontal faces of a group; BadInput when there is none."""
    age = faces.labels["age"][frontal(faces)]
    own = [years for years in age[~np.isnan(age)] if age_group(float(years)) == group]
    if not own:
        raise BadInput(
            f"{faces.folder} has no test face of {GROUP_STARTS[group]} years or a little more to aim at"
        )
    return float(np.mean(own))


def models_of(model: GanimeAge, runs: list[str]) -> dict[str, GanimeAge | PrototypesAlone]:
    """Row -> what edits it, in the table's order: the methods that the model holds, `ROW=FOLDER` for others, and the
    prototypes of the first of them.

    Which row the model's own part belongs to is not known where a run of the same part is named: it is then left out.
    FOLDER is a folder of weights, a run's `light` folder, or `own` for the model itself. All read with the model's
    readers. BadInput names a row that does not exist, MissingModel or BadInput what cannot be loaded.
    """
    named = {}
    for run in runs:
        row, _, folder = run.partition("=")
        if row not in table1_rows() or not folder:
            raise BadInput(f"--runs {run}: write ROW=FOLDER with a ROW of {', '.join(table1_rows())}")
        named[row] = folder
    taken = {part_of(row) for row in named}
    own = {row: OWN for row in table1_rows() if row in model.methods and part_of(row) not in taken}
    model.require("readers")
    wanted = own | named
    found = {row: _editing(model, part_of(row), wanted[row]) for row in table1_rows() if row in wanted}
    first = next((row for row in found if METHODS[table1_rows()[row]].reads), None)
    return found | ({PROTOTYPES: PrototypesAlone(found[first])} if first else {})


def _editing(model: GanimeAge, part: str, folder: str) -> GanimeAge:
    if folder == OWN:
        model.require(part)
        return model
    (trained,) = {row.trained_name for row in METHODS.values() if row.part == part}
    light = Path(folder) / f"{trained}.json"
    one = light_model(part, light) if light.is_file() else GanimeAge.from_pretrained(folder, parts=(part,))
    for name in (ATTRIBUTES, "readers"):
        if name in model.parts:
            one.add_module(name, getattr(model, name))
            one.parts = (name, *one.parts)
    return one.to(device_of(model)).eval()


def light_model(part: str, config: Path) -> GanimeAge:
    """A model of one part from a run's light folder; BadInput when it is of another method, or damaged."""
    try:
        one = GanimeAge((part,), **{part: json.loads(config.read_text())})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{config} describes no generator of {part}: {error}") from None
    weights = read_network(config.parent, config.stem)
    if weights is None:
        raise BadInput(f"{config.parent} holds no {config.stem}.safetensors; name a run that is finished")
    network, prototypes = parted(weights)
    fit(getattr(one, part), network, config.parent, f"a generator of {part}")
    if prototypes:
        fit(one.prototypes, prototypes, config.parent, "those that this ganime_age draws on")
    return one.requires_grad_(False)


def parted(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a trained generator, and those of the prototypes that it was trained on."""
    network, prototypes = {}, {}
    for key, value in weights.items():
        part, _, rest = key.partition(".")
        if part == PROTOTYPES:
            prototypes[rest] = value
        else:
            network[key] = value
    return network, prototypes
