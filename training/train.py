"""Train one network: `accelerate launch training/train.py --recipe recipes/NAME.toml --faces FOLDER --out DIR`.

`--set run.steps=100` changes a number of the recipe, `--minutes N` stops by the clock (the learning rate follows),
`--within N` stops N minutes after the command's start, reading faces and measuring included,
`--resume` goes on from DIR/checkpoint, `--init-from DIR` starts from the networks that another run wrote, and
`--dry-run` takes two steps in a folder that is thrown away. Several processes, each on its share of every step:
`torchrun --nproc_per_node 2 training/train.py ...`, with or without GPUs. Exit code 2: the recipe, the faces or OUT
cannot be used; 3: a model or a package is missing; 4: the collapse monitor stopped the run. The last line says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import tempfile
import time
from pathlib import Path

STARTED = time.monotonic()
LEAST = 0.05
"""Minutes that a run trains when reading faces and measuring took all that it was given."""

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
import torch  # noqa: E402

from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.data.joined_faces import JoinedFaces  # noqa: E402
from ganime_age.learning.data.packed_faces import check_parts, parts_of  # noqa: E402
from ganime_age.learning.data.resident import reside  # noqa: E402
from ganime_age.learning.engine.checkpoints import finished, start_from  # noqa: E402
from ganime_age.learning.engine.collapse import Collapsed  # noqa: E402
from ganime_age.learning.engine.distributed import agreed, make_accelerator  # noqa: E402
from ganime_age.learning.engine.logging import choose_tracker, start_tracker  # noqa: E402
from ganime_age.learning.engine.loop import Run  # noqa: E402
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe  # noqa: E402
from ganime_age.learning.engine.task import Plan  # noqa: E402
from ganime_age.learning.tasks import TASKS, task_module  # noqa: E402
from ganime_age.learning.tasks.probes import CollapseLimits  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument(
        "--faces",
        type=Path,
        nargs="+",
        required=True,
        help="a folder with a manifest (training/prepare_faces.py) or of parts (pack_faces.py), or several",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    clock = parser.add_mutually_exclusive_group()
    clock.add_argument("--minutes", type=float, help="of training, those before a resume included")
    clock.add_argument("--within", type=float, metavar="MINUTES", help="from the command's start to its end")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="DIR",
        help="a run's checkpoint folder; OUT/checkpoint if not named",
    )
    start.add_argument("--init-from", type=Path, metavar="DIR", help="a light folder or a checkpoint folder")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument(
        "--tracker",
        metavar="NAME",
        help="tensorboard (default), none, or another that accelerate knows: wandb, ...",
    )
    return parser.parse_args()


def prepare(given: argparse.Namespace, out: Path) -> Run:
    """The run that the command line asks for, ready to train."""
    tables = fill(Tables, read_recipe(given.recipe, given.set), "top level")
    try:
        module = task_module(tables.task)
    except KeyError:
        raise BadInput(
            f"{given.recipe}: task {tables.task!r} is unknown; choose from {', '.join(TASKS)}"
        ) from None
    plan, limits = planned(given, tables), fill(CollapseLimits, tables.watch, "[watch] table")
    numbers = fill(module.Recipe, tables.recipe, "[recipe] table")
    if given.resume is None:
        check_unused(out)
    tracker, note = choose_tracker("none" if given.dry_run else given.tracker)
    accelerator = make_accelerator(plan.precision, tracker, out)
    if note:
        accelerator.print(note)
    faces = shown(given.faces, tables)
    torch.manual_seed(plan.seed)
    run = Run(module.build(numbers, faces, plan.seed), plan, out, accelerator, limits.watch())
    if run.task.ahead and reside(faces, accelerator.device, plan.resident):
        plan.prefetch = False
    if given.init_from:
        start_from(run, given.init_from)
    if given.resume is not None:
        run.resume(Path(given.resume) if given.resume else given.out / "checkpoint")
    if given.within is not None:
        left = max(given.within - (time.monotonic() - STARTED) / 60, LEAST)
        plan.minutes = run.seconds / 60 + agreed(
            accelerator, left
        )  # else processes would end at different steps
    if given.dry_run:
        plan.steps = run.step + 2
    start_tracker(accelerator, tracker, dataclasses.asdict(tables), run.step)
    return run


def shown(folders: list[Path], tables: Tables) -> Faces | JoinedFaces:
    """The faces of the folders that the recipe wants. Of several processes one decodes, and a lock lets the others
    wait, however long that takes: a barrier would give up after half an hour."""
    folders = parts_of(folders)
    check_parts(folders)
    if len(folders) > 1 and tables.task in ("detector", "finder"):
        raise BadInput("the detector learns from one folder of faces; give one after --faces")
    parts = [
        Faces(folder, tables.size, sources=tuple(tables.sources), hold_out=tables.hold_out)
        for folder in folders
    ]
    return JoinedFaces(parts) if len(parts) > 1 else parts[0]


def planned(given: argparse.Namespace, tables: Tables) -> Plan:
    """How long and how, by the recipe and the command line; a dry run ends by its steps alone."""
    plan = fill(Plan, tables.run, "[run] table")
    if given.minutes is not None:
        plan = dataclasses.replace(plan, minutes=given.minutes)
    return dataclasses.replace(plan, steps=2, minutes=math.inf) if given.dry_run else plan


def check_unused(out: Path) -> None:
    """BadInput when the folder holds what a run left: a new run would replace it."""
    if finished(out / "checkpoint") or (out / "log.jsonl").exists():
        raise BadInput(f"{out} holds a run already; go on with --resume or choose another --out")


def main() -> None:
    given = arguments()
    torch.set_flush_denormal(
        True
    )  # before any work: numbers below 1e-38 make a CPU's step up to four times as long
    with tempfile.TemporaryDirectory() as thrown_away:
        run = prepare(given, Path(thrown_away) if given.dry_run else given.out)
        try:
            run.train()
        except Collapsed:
            run.accelerator.end_training()
            raise
        run.accelerator.end_training()


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        if os.environ.get("RANK", "0") == "0" or not isinstance(error, Collapsed):
            print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
