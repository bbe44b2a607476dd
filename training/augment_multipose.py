"""Turn the people of a face folder into other head poses: `accelerate launch training/augment_multipose.py
--faces FOLDER --out OUT --backend mesh|controlnet --yaw -45 -30 -15 15 30 45 --pitch -15 0 15 --count 10400 --seed 0`.

OUT becomes a face folder itself (training/train.py takes it as it is), 90 % train and 10 % test, no person in both,
with every image's source, target and measured pose, seed, backend, model ids and scores in its manifest, and REPORT.md.
Images come evenly over age groups, yaw and pitch. mesh needs nothing but this package; controlnet needs diffusers and
two named models (see training/README.md). What may enter the set, and which faces are turned, stands in the recipe.
With --dry-run the controlnet backend downloads nothing and paints nothing: it prints what would be downloaded and how
long a GPU would take, and draws control pictures into OUT/dry_run.

A run that is stopped, killed or ends by --limit-minutes goes on when the same command is given again, also with another
number of processes: `torchrun --nproc_per_node 2 training/augment_multipose.py ...`. Exit code 2: the faces, the recipe
or OUT cannot be used; 3: a model or a package is missing. The last line says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
import numpy as np  # noqa: E402
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from tqdm import tqdm  # noqa: E402

from ganime_age.atomic import replacing  # noqa: E402
from ganime_age.card.card import fingerprints  # noqa: E402
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.engine.distributed import make_accelerator  # noqa: E402
from ganime_age.learning.engine.recipe import fill, read_recipe  # noqa: E402
from ganime_age.learning.multipose.dataset import (
    Backend,
    More,
    Set,
    add_round,
    begin,
    check_unfinished,
    gather,
    make_set,
    refusing,
)
from ganime_age.learning.multipose.gates import (
    Examiner,
    Gates,
    Looks,
    PoseCurve,
    PoseCurves,
    pose_curves,
    source_looks,
)
from ganime_age.learning.multipose.plan import SourceRules, Wanted, plan, thinned, usable  # noqa: E402
from ganime_age.learning.multipose.refill import refill  # noqa: E402
from ganime_age.learning.multipose.report import write_report  # noqa: E402
from ganime_age.learning.multipose.shards import WORK  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402

WHERE_TO = {"yaw": 60.0, "pitch": 35.0}
"""The largest angles that can be asked for: the readers cannot measure beyond."""


@dataclass
class Recipe:
    """A recipe's top level. part: images of one shard. batch: images made at once. The tables are for SourceRules,
    Gates and the Recipe of each backend."""

    part: int = 100
    batch: int = 8
    sources: dict[str, Any] = field(default_factory=dict)
    gates: dict[str, Any] = field(default_factory=dict)
    mesh: dict[str, Any] = field(default_factory=dict)
    controlnet: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.part < 1:
            raise BadInput(f"part in the recipe is {self.part}; it must be at least 1")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=Path, required=True, help="a face folder, or its manifest")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backend", choices=("mesh", "controlnet"), default="mesh")
    parser.add_argument("--yaw", type=float, nargs="+", default=[-45, -30, -15, 15, 30, 45], help="degrees")
    parser.add_argument("--pitch", type=float, nargs="+", default=[-15, 0, 15], help="degrees")
    parser.add_argument("--count", type=int, default=10400, help="images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", type=Path, help="training/recipes/multipose.toml where not named")
    parser.add_argument(
        "--set", action="append", default=[], metavar="TABLE.KEY=VALUE", help="changes the recipe"
    )
    parser.add_argument("--weights", help="a model's folder or Hub name, instead of the embedded one")
    parser.add_argument("--base", help="controlnet: Stable Diffusion, a folder or a Hub name")
    parser.add_argument("--controlnet", help="controlnet: the ControlNet, a folder or a Hub name")
    parser.add_argument("--limit-minutes", type=float, default=math.inf)
    parser.add_argument(
        "--dry-run",
        type=int,
        nargs="?",
        const=24,
        metavar="PICTURES",
        help="controlnet: draw so many (24), paint none",
    )
    parser.add_argument(
        "--seconds-per-step",
        type=float,
        help="controlnet, dry run: of one image on your GPU, for the time it would take",
    )
    return parser.parse_args()


def check(given: argparse.Namespace) -> None:
    """BadInput for numbers that cannot be."""
    for name, reach in WHERE_TO.items():
        for angle in getattr(given, name):
            if not abs(angle) <= reach:
                raise BadInput(
                    f"--{name} {angle:g} is out of range; give degrees between -{reach:g} and {reach:g}"
                )
    if given.count < 1:
        raise BadInput(f"--count {given.count} must be 1 or more")
    if not given.limit_minutes > 0:
        raise BadInput(f"--limit-minutes {given.limit_minutes:g} must be above 0")
    if given.seed < 0:
        raise BadInput(f"--seed {given.seed} must be 0 or more")
    check_dry_run(given)


def check_dry_run(given: argparse.Namespace) -> None:
    """BadInput for a dry run that cannot be."""
    if given.seconds_per_step is not None and given.dry_run is None:
        raise BadInput("--seconds-per-step is for --dry-run; add that, or leave it out")
    if given.seconds_per_step is not None and not 0 < given.seconds_per_step < math.inf:
        raise BadInput(f"--seconds-per-step {given.seconds_per_step:g} must be a number above 0")
    if given.dry_run is None:
        return
    if given.backend == "mesh":
        raise BadInput("--dry-run is for --backend controlnet; the mesh downloads nothing and needs no GPU")
    if given.dry_run < 1:
        raise BadInput(f"--dry-run {given.dry_run} must draw 1 picture or more")


def backend_of(given: argparse.Namespace, recipe: Recipe, model: GanimeAge, device: torch.device) -> Backend:
    if given.backend == "mesh":
        from ganime_age.learning.multipose import mesh_backend as mesh

        return mesh.MeshBackend(model, fill(mesh.Recipe, recipe.mesh, "[mesh] table"))
    from ganime_age.learning.multipose import controlnet_backend as controlnet
    from ganime_age.learning.multipose.controlnet_scenes import Recipe as Painting

    model.require("head")
    numbers = fill(Painting, recipe.controlnet, "[controlnet] table")
    return controlnet.open_controlnet(given.base, given.controlnet, numbers, model.head, device)


def asked(given: argparse.Namespace) -> tuple[Recipe, SourceRules, Wanted]:
    """The recipe, which faces are turned, and the images that the command line asks for."""
    name = "multipose" if given.backend == "mesh" else f"multipose_{given.backend}"
    path = given.recipe or ROOT / "training" / "recipes" / f"{name}.toml"
    recipe = fill(Recipe, read_recipe(path, given.set), "top level")
    wanted = Wanted(tuple(sorted(set(given.yaw))), tuple(sorted(set(given.pitch))), given.count, given.seed)
    return recipe, fill(SourceRules, recipe.sources, "[sources] table"), wanted


def dry_run(given: argparse.Namespace) -> None:
    """Say what a controlnet run would take and draw its first control pictures. Ages are taken from the labels: which
    sources the readers would leave out is not known before they have read them."""
    from ganime_age.learning.multipose import controlnet_dry_run as dry
    from ganime_age.learning.multipose.controlnet_scenes import Recipe as Painting

    recipe, rules, wanted = asked(given)
    job = dry.look(
        given.base or "", given.controlnet or "", fill(Painting, recipe.controlnet, "[controlnet] table")
    )
    faces = Faces(given.faces.parent if given.faces.is_file() else given.faces, 128, ("train", "val", "test"))
    rows = thinned(faces, usable(faces, rules)[0], wanted.count, wanted.seed)
    slots = plan(faces, rows, wanted, rules)
    model = GanimeAge.from_pretrained(given.weights, parts=["head"], local_files_only=True)
    for line in job.lines(wanted.count, given.seconds_per_step):
        print(line)
    with refusing(given.out):
        drawn = dry.draw(job, faces, slots[: given.dry_run], rules, model.head, wanted.seed)
        count = dry.write(
            given.out, job, faces, tqdm(drawn, total=min(given.dry_run, len(slots)), unit="picture")
        )
    print(
        f"drawn: {count} control pictures ({job.style}) -> {given.out / dry.FOLDER}; nothing was downloaded"
    )


def prepare(given: argparse.Namespace, accelerator: Accelerator) -> tuple[Set, More]:
    """The set that the command line asks for, begun in OUT, and what plans its further rounds."""
    recipe, rules, wanted = asked(given)
    gates = fill(Gates, recipe.gates, "[gates] table")
    folder = given.faces.parent if given.faces.is_file() else given.faces
    with accelerator.main_process_first():
        faces = Faces(folder, 128, ("train", "val", "test"))
    rows, left_out = usable(faces, rules)
    rows = thinned(faces, rows, wanted.count, wanted.seed)
    model = GanimeAge.from_pretrained(given.weights)
    backend = backend_of(given, recipe, model, accelerator.device)
    examiner = Examiner(model, gates, device=accelerator.device)
    kept = given.out / WORK / "sources.npz"
    looks = kept_looks(kept, rows) or read_together(accelerator, examiner, faces, rows)
    job, more = planned(given, faces, rows, left_out, looks, backend, examiner, recipe, rules, wanted)
    accelerator.wait_for_everyone()  # all have seen what was kept, or have read
    if accelerator.is_main_process:
        begin(job)
        (job.work / "faces").write_text(str(folder.resolve()))
        with replacing(kept) as part, part.open("wb") as stream:
            np.savez(stream, rows=rows, **looks._asdict())
        keep_curves(job.work / "pose_curves.json", examiner, faces)
    accelerator.wait_for_everyone()
    curves = json.loads((job.work / "pose_curves.json").read_text())
    examiner.curves = PoseCurves(**{name: PoseCurve(**curve) for name, curve in curves.items()})
    return job, more


def planned(
    given: argparse.Namespace,
    faces: Faces,
    rows: np.ndarray,
    left_out: Counter[str],
    looks: Looks,
    backend: Backend,
    examiner: Examiner,
    recipe: Recipe,
    rules: SourceRules,
    wanted: Wanted,
) -> tuple[Set, More]:
    """The set of the sources whose age is read about right. BadInput when they do not make that many images."""
    good = np.abs(looks.age - faces.labels["age"][rows]) <= examiner.gates.source_age
    parts = fingerprints(examiner.model)
    left = left_out + Counter({"age misread": int((~good).sum())})
    settings = {
        "wanted": dataclasses.asdict(wanted),
        "recipe": dataclasses.asdict(recipe),
        "sources": {"faces": len(faces), "usable": int(good.sum()), "left out": left},
    }
    job = Set(
        faces=faces,
        slots=plan(faces, rows[good], wanted, rules),
        backend=backend,
        examiner=examiner,
        looks={int(rows[i]): Looks(*(values[i] for values in looks)) for i in np.flatnonzero(good)},
        rules=rules,
        out=given.out,
        settings=settings,
        weights=f"finder {parts['detector']}, readers {parts['readers']}",
        seed=given.seed,
        part=recipe.part,
        batch=recipe.batch,
    )
    return job, partial(refill, faces, rows[good], wanted, rules)


def read_together(accelerator: Accelerator, examiner: Examiner, faces: Faces, rows: np.ndarray) -> Looks:
    """What the readers say of the sources; every process reads its share."""
    padded = np.resize(rows, -(-len(rows) // accelerator.num_processes) * accelerator.num_processes)
    share = source_looks(
        examiner, faces, padded.reshape(accelerator.num_processes, -1)[accelerator.process_index]
    )
    return Looks(
        *(
            accelerator.gather(torch.from_numpy(v).to(accelerator.device)).cpu().numpy()[: len(rows)]
            for v in share
        )
    )


def kept_looks(path: Path, rows: np.ndarray) -> Looks | None:
    """What an earlier run read of the same sources."""
    if not path.is_file():
        return None
    with np.load(path) as kept:
        same = np.array_equal(kept["rows"], rows) and set(Looks._fields) <= set(kept.files)
        return Looks(**{name: kept[name] for name in Looks._fields}) if same else None


def keep_curves(path: Path, examiner: Examiner, faces: Faces) -> None:
    """Every process and every later run judges by the same curves."""
    if not path.is_file():
        curves = pose_curves(examiner, faces)
        with replacing(path) as part:
            part.write_text(json.dumps({name: curve._asdict() for name, curve in curves._asdict().items()}))


def main() -> None:
    given = arguments()
    check(given)
    check_unfinished(given.out)
    if given.dry_run is not None:
        return dry_run(given)
    accelerator = make_accelerator("no", None, given.out)
    torch.manual_seed(given.seed)
    job, more = prepare(given, accelerator)
    end, again = time.monotonic() + 60 * given.limit_minutes, True
    while again:
        make_set(job, accelerator.process_index, accelerator.num_processes, end)
        accelerator.wait_for_everyone()
        again = add_round(job, more)
    if accelerator.is_main_process:
        report = gather(job)
        write_report(given.out)
        rest = "" if report["complete"] else "; the same command goes on from here"
        print(f"{report['images']} of {report['asked']} images -> {given.out / 'manifest.parquet'}{rest}")
    accelerator.end_training()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
