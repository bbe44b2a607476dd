"""Train one network: `accelerate launch training/train.py --recipe recipes/NAME.toml --faces FOLDER --out DIR`.

`--set run.steps=100` changes a number of the recipe, `--minutes N` stops by the clock (the learning rate follows),
`--resume` goes on from DIR/checkpoint, `--init-from DIR` starts from the networks that another run wrote, and
`--dry-run` takes two steps in a folder that is thrown away.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from ganime_age.errors import BadInput  # noqa: E402
from ganime_age.learning.data import Faces  # noqa: E402
from ganime_age.learning.loop import Plan, Run  # noqa: E402
from ganime_age.learning.recipe import fill, read_recipe  # noqa: E402

TASKS = ("readers", "finder", "ganimation_age")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument(
        "--faces", type=Path, required=True, help="a folder with a manifest (training/prepare_faces.py)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--init-from", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args()


def prepare(given: argparse.Namespace, out: Path) -> Run:
    """The run that the command line asks for, ready to train."""
    recipe = read_recipe(given.recipe, given.set)
    plan = fill(Plan, recipe.get("run", {}), "[run] table")
    if given.minutes:
        plan.minutes = given.minutes
    if given.dry_run:
        plan.steps = 2
    if recipe.get("task") not in TASKS:
        raise BadInput(
            f"{given.recipe}: task {recipe.get('task')!r} is unknown; choose from {', '.join(TASKS)}"
        )
    module = importlib.import_module(f"ganime_age.learning.{recipe['task']}_task")
    numbers = fill(module.Recipe, recipe.get("recipe", {}), "[recipe] table")
    faces = Faces(given.faces, recipe.get("size", 128))
    torch.manual_seed(plan.seed)
    run = Run(module.build(numbers, faces, plan.seed), plan, out, Accelerator())
    if given.init_from:
        start_from(run, given.init_from)
    if given.resume:
        run.resume(out / "checkpoint")
    return run


def start_from(run: Run, folder: Path) -> None:
    """Load every network that the folder holds a file for, averages before plain ones."""
    found = 0
    for name, network in run.task.networks.items():
        for file in (folder / f"{name}.average.safetensors", folder / f"{name}.safetensors"):
            if file.is_file():
                network.load_state_dict(load_file(file))
                found += 1
                break
    if not found:
        raise BadInput(f"{folder} holds none of {', '.join(f'{n}.safetensors' for n in run.task.networks)}")
    for name, average in run.averages.items():
        average.module.load_state_dict(run.task.networks[name].state_dict())


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as thrown_away:
        run = prepare(given, Path(thrown_away) if given.dry_run else given.out)
        run.train()


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"error: {error}")
