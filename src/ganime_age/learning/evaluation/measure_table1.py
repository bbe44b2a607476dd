"""AgeTransGAN's Table I with our methods: do they keep the person and reach the age, by judges that took no part?

As in the paper, test faces of age 20-29 are led to the nine other groups. The age asked of each is the mean age of the
test split's real faces of that group; the age judge's mean on the edited faces is held against its mean on those. The
pieces are those of `measure_edits`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

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
COMPARED = ("verification", "cosine")
"""By which two rows are compared, group by group."""
OWN = "own"
"""In --runs, the measured weights themselves."""
KEPT = ("methods", "yaw_bins", "weights", "seeds")
"""What of an older results file can stand beside rows that are measured anew, by row."""
NOTES = {
    "who": "test faces of age 20-29 with a head turned by at most 30 degrees, evenly spread over the sources; edited "
    "from the age that the readers see to the mean labelled age of the test split's real faces of the group, judged as "
    "8-bit pictures",
    "prototypes": "the mean change of an age alone, on which every other method draws",
    "verification": "both pictures are aligned by the five points of the source's labelled landmarks; verified when "
    "the cosine to the unedited face exceeds the threshold. Doing nothing compares a face with itself",
    "yaw_bins": "the same for heads turned by so many degrees, at most a third as many faces a bin; means over the "
    "nine groups. Real ages, and the threshold, are of heads turned by at most 30 degrees",
    "seeds": "runs from one checkpoint without the MI loss, with and without it, of as many steps each, that differ by "
    "their seed alone",
    "age": "age_error: distance of the age judge's mean on the edited faces from its mean on real ones of the group",
}


def part_of(row: str) -> str:
    """The part of the weights that edits in a row."""
    return row if row == PROTOTYPES else METHODS[table1_rows()[row]].part


Editing: TypeAlias = "GanimeAge | PrototypesAlone"
"""What edits in a row."""


@dataclass
class Yard:
    """What every row is held against. looks: the judges by what they say; real: ages of real faces by group; picks:
    which faces are edited; asked: group -> years."""

    faces: Faces
    looks: dict[str, Any]
    verified: dict[str, Any]
    real: RealAges
    picks: np.ndarray
    asked: dict[int, float]

    @classmethod
    def of(cls, faces: Faces, judges: Judges, plan: Plan) -> Yard:
        """Of a test split; BadInput when a judge of identity or age is missing, or the faces that it needs."""
        if not judges.identity or not judges.age:
            raise BadInput("table1 needs a judge of identity and one of age; name both in --judges")
        verified = verification(faces, judges.identity, plan.per_source)
        real = real_ages(faces, Judges(age=_alone(judges.age)), plan.per_group)
        asked = {group: real_mean(faces, group) for group in TARGETS}
        looks = {"identity": judges.identity, "age": judges.age}
        return cls(faces, looks, verified, real, aged(faces, 20, 29, plan.count), asked)

    def sitters(self, model: Editing, row: str, picks: np.ndarray | None = None) -> Sitters:
        """The people who are edited by what a row edits with."""
        chosen = self.picks if picks is None else picks
        return Sitters(model, table1_rows().get(row, row), self.faces, chosen)

    def rows(self, sitters: Sitters, name: str = "") -> list[dict[str, Any]]:
        """What the judges say of the edits to each group."""
        before = sitters.unedited(self.looks)
        asked = tqdm(self.asked.items(), desc=name, unit="group") if name else self.asked.items()
        return [self.row(group, before, sitters.edited(self.looks, age=years)) for group, years in asked]

    def row(self, group: int, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
        """What the judges say of one group."""
        for found in (before, after):
            verify(before["identity"], found, self.verified["threshold"])
        row = group_row(group, before, after, self.real) | {"asked": self.asked[group]}
        return {
            key: row[key]
            for key in ("group", "verification", "cosine", "age", "age_error", "mask_mean", "change")
        }

    def untouched(self, sitters: Sitters) -> list[dict[str, Any]]:
        """The row of doing nothing."""
        before = sitters.unedited(self.looks)
        still = before | {"mask": np.zeros(1), "change": np.zeros(1)}
        return [self.row(group, before, dict(still)) for group in TARGETS]


def measure(
    models: Mapping[str, Editing],
    faces: Faces,
    judges: Judges,
    plan: Plan | None = None,
    seeds: Mapping[str, Sequence[GanimeAge]] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The table as one results file. models: row of the table -> what edits it; the rows that lack one are `left_out`.
    seeds: see `over_seeds`. earlier: an older results file, whose rows stand where nothing measures them anew.

    faces: a test split. BadInput when a judge of identity or age is missing, or the faces that it needs.
    """
    if not models:
        raise BadInput(
            f"there is no method to measure; name weights with --runs, for one of {', '.join(table1_rows())}"
        )
    plan = plan or Plan()
    with torch.inference_mode():
        yard = Yard.of(faces, judges, plan)
        rows = {name: yard.rows(yard.sitters(model, name), name) for name, model in models.items()}
        first = next(iter(models))
        rows[NOTHING] = yard.untouched(yard.sitters(models[first], first))
        by_yaw = yaw_bins(models, yard, plan.count)
        repeated = over_seeds(seeds or {}, yard, plan.count)
    weights = {name: part_fingerprint(model, part_of(name)) for name, model in models.items()}
    kept = earlier_rows(earlier or {}, rows, repeated)
    aims = [_aim(group, yard.asked[group], yard.real) for group in TARGETS]
    faces_seen = {"edited": len(yard.picks), "real": int(sum(yard.real.count))}
    if earlier:
        check_alike(earlier, rounded({"judged_by": judges.names(), "faces": faces_seen, "groups": aims}))
    measured: tuple[dict[str, Any], ...] = (rows, by_yaw, weights, repeated)
    parts = zip(KEPT, measured, strict=True)
    rows, by_yaw, weights, repeated = (kept.get(key, {}) | new for key, new in parts)
    return rounded(
        {
            "summary": summary(rows) | seeds_summary(repeated),
            "judged_by": judges.names(),
            "faces": faces_seen,
            "groups": aims,
            "methods": {name: rows[name] for name in (*table1_rows(), PROTOTYPES, NOTHING) if name in rows},
            "yaw_bins": by_yaw,
            "seeds": repeated,
            "left_out": [
                name
                for name, of in table1_rows().items()
                if name not in rows and name not in repeated and METHODS[of].shipped
            ],
            "earlier": kept.get("dates", {}),
            "weights": weights,
            "identity": yard.verified,
            "age_judge": {"mean_absolute_error_years": yard.real.error},
            "notes": NOTES,
        }
    )


def earlier_rows(
    earlier: Mapping[str, Any], rows: Mapping[str, Any], seeds: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Of an older results file what stands where nothing is measured anew: methods, yaw_bins, weights and seeds by row
    of the table, and `dates`, of such rows and of `seeds`, when they were measured."""
    if not earlier:
        return {}
    names = [name for name in earlier["methods"] if name not in rows]
    kept = {key: {name: earlier[key][name] for name in names} for key in KEPT[:3]}
    known = earlier.get("earlier", {})
    today = earlier["made_by"]["date"]
    dates = {name: known.get(name, today) for name in names}
    kept["seeds"] = {name: runs for name, runs in earlier.get("seeds", {}).items() if name not in seeds}
    if kept["seeds"]:
        dates["seeds"] = known.get("seeds", today)
    return kept | {"dates": dates}


def check_alike(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """BadInput where an older results file was measured otherwise: its rows do not stand beside new ones."""
    for key, value in now.items():
        if earlier.get(key) != value:
            raise BadInput(
                f"the rows to keep were measured with other {key}; measure with the same judges, faces and --count, or "
                "leave --earlier out"
            )


def over_seeds(
    models: Mapping[str, Sequence[GanimeAge]], yard: Yard, count: int
) -> dict[str, list[dict[str, Any]]]:
    """Row -> what the judges say of each of several runs that differ by their seed alone: means over the groups, and
    verification, cosine and age_error of each group; of the first run by yaw too, see `yaw_bins`. models: row -> what
    edits it, a run each."""
    found: dict[str, list[dict[str, Any]]] = {}
    turned_heads = yaw_bins({name: runs[0] for name, runs in models.items()}, yard, count)
    for name, runs in models.items():
        for number, model in enumerate(runs, 1):
            groups = yard.rows(yard.sitters(model, name), f"{name} {number}")
            columns = ("verification", "cosine", "age_error")
            one: dict[str, Any] = {f"{column}_mean": mean_of(groups, column) for column in columns}
            one |= {column: [row[column] for row in groups] for column in columns}
            one["weights"] = part_fingerprint(model, part_of(name))
            found.setdefault(name, []).append(one)
        found[name][0]["yaw_bins"] = turned_heads[name]
    return found


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


def yaw_bins(models: Mapping[str, Editing], yard: Yard, count: int) -> dict[str, list[dict[str, Any]]]:
    """Row -> means over the groups for faces of age 20-29 turned by so many degrees, a bin each: at most a third of
    `count` faces a bin; a bin without faces is left out."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    for low, high in YAW_BINS:
        picks = spread(turned(yard.faces, low, high), max(1, count // len(YAW_BINS)))
        if not len(picks):
            continue
        for name, model in models.items():
            groups = yard.rows(yard.sitters(model, name, picks))
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


def summary(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means over the groups by method, and what the MI loss does to AgeTransGAN."""
    out: dict[str, Any] = {}
    for name, own in rows.items():
        for column in ("verification", "age_error"):
            out[f"{name}_{column}_mean"] = mean_of(own, column)
    pair = "agetransgan", "agetransgan_mi"
    if set(pair) <= set(rows):
        without, with_mi = ({key: [row[key] for row in rows[name]] for key in COMPARED} for name in pair)
        out |= {f"mi_{key}": value for key, value in compared(without, with_mi).items()}
    return out


def compared(
    without: Mapping[str, Sequence[float]], with_mi: Mapping[str, Sequence[float]]
) -> dict[str, int]:
    """In how many groups MI verifies more often than the same method without, as often, and has the larger mean cosine
    to the source, which tells more where both verify nearly everybody. Each: COMPARED by group."""
    verified = list(zip(with_mi["verification"], without["verification"], strict=True))
    nearer = zip(with_mi["cosine"], without["cosine"], strict=True)
    return {
        "better_groups": sum(int(a > b) for a, b in verified),
        "equal_groups": sum(int(a == b) for a, b in verified),
        "nearer_groups": sum(int(a > b) for a, b in nearer),
    }


def seeds_summary(seeds: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Of each method of which both rows were trained several times: `compared` of the means over the runs, and mean and
    spread (standard deviation of a sample) of what MI adds, from run to run, in verification, cosine and age error."""
    out: dict[str, Any] = {}
    for name in table1_rows().values():
        pair = seeds.get(name, ()), seeds.get(f"{name}_mi", ())
        if f"{name}_seeds" in out or not all(pair):
            continue
        means = [{key: np.mean([run[key] for run in runs], 0).tolist() for key in COMPARED} for runs in pair]
        out[f"{name}_seeds"] = min(map(len, pair))
        found = compared(*means)
        out |= {f"{name}_seeds_mi_{key}": value for key, value in found.items()}
        if name == "agetransgan":  # these runs differ by MI alone, rows of the table by more
            out |= {f"mi_{key}": value for key, value in found.items()}
        for column in ("verification", "cosine", "age_error"):
            gain = [b[f"{column}_mean"] - a[f"{column}_mean"] for a, b in zip(*pair, strict=False)]
            out[f"{name}_seeds_mi_{column}_gain"] = float(np.mean(gain))
            out[f"{name}_seeds_mi_{column}_spread"] = float(np.std(gain, ddof=1)) if len(gain) > 1 else 0.0
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


def seeds_of(model: GanimeAge, runs: list[str]) -> dict[str, list[GanimeAge]]:
    """Row -> what edits it, a run each, of `ROW=FOLDER,FOLDER,...`; folders and errors as those of `models_of`."""
    found: dict[str, list[GanimeAge]] = {}
    for run in runs:
        row, _, folders = run.partition("=")
        if row not in table1_rows() or not all(folders.split(",")):
            raise BadInput(f"--seeds {run}: write ROW=FOLDER,FOLDER with a ROW of {', '.join(table1_rows())}")
        if row in found:
            raise BadInput(f"--seeds names {row} twice; write {row}=FOLDER,FOLDER once, with all of its runs")
        found[row] = [_editing(model, part_of(row), folder) for folder in folders.split(",")]
    for name in found:
        own, with_mi = found[name], found.get(f"{name}_mi", found[name])
        if len(own) != len(with_mi):
            raise BadInput(
                f"--seeds has {len(own)} runs of {name} and {len(with_mi)} of {name}_mi; they are compared in pairs"
            )
    return found


def models_of(model: GanimeAge, runs: list[str], only: bool = False) -> dict[str, Editing]:
    """Row -> what edits it, in the table's order: the methods that the model holds, `ROW=FOLDER` for others, and the
    prototypes of the first of them.

    Which row the model's own part belongs to is not known where a run of the same part is named: it is then left out.
    only: of the rows of methods, those that are named.
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
    own = {
        row: OWN for row in table1_rows() if row in model.methods and part_of(row) not in taken and not only
    }
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
