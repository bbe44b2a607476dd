"""Train what a plan names, one recipe after another: `train_all.py --faces FACES --out RUNS --minutes 25 --plan NAME`.

A plan (training/plans/NAME.toml, or a file of your own) says which recipes, in which order, each one's share of the
minutes, and what each is given of the others. The same command goes on after any stop. A recipe that fails does not
end the plan: those that need it take the checkpoint that stands in for it, or are skipped. `--only A,B` and `--from A`
choose parts, `--dry-run` prints the plan with each part's minutes, with `--measure` also the images that it will see.
`--keep-better` compares each part with what ships, by the plan's `evaluate`, and keeps what is better.
`--num_processes` trains each part in several processes, one a GPU. `--faces` takes face folders and parts of packs.
`--models` is a folder with face_landmarker.task, hair_prismanet_256.onnx and mobilefacenet_y1.onnx, as far as you have
them. RUNS/summary.json says what came of it, RUNS/pack holds all that must travel, RUNS/sheets what to look at.

Exit code 0: every chosen part is trained; 1: some are not, the table says which and why; 2: the plan, the faces or
RUNS cannot be used.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.manifest import Manifest  # noqa: E402
from ganime_age.learning.data.packed_faces import join_parts, parts_of  # noqa: E402
from ganime_age.learning.engine.plan import Part, TrainingPlan, read_plan  # noqa: E402
from ganime_age.learning.engine.plan_measure import Speed, measure  # noqa: E402
from ganime_age.learning.engine.plan_runner import Runner  # noqa: E402
from ganime_age.learning.engine.recipe import Tables, fill, read_recipe  # noqa: E402
from ganime_age.learning.engine.task import Plan  # noqa: E402
from ganime_age.learning.tasks import task_module  # noqa: E402

PLANS, RECIPES = ROOT / "training" / "plans", ROOT / "training" / "recipes"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--faces", type=Path, nargs="+", required=True, help="face folders, or parts of packs"
    )
    parser.add_argument("--out", type=Path, required=True, help="a new folder, or the one to go on in")
    parser.add_argument("--minutes", type=float, required=True, help="of all chosen parts together")
    parser.add_argument("--plan", default="h100_25min", help="smoke, cpu_2h, h100_25min, or a file")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], metavar="A,B")
    parser.add_argument("--from", dest="first", default="", metavar="A")
    parser.add_argument("--models", type=Path, help="folder of models from elsewhere")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and train nothing")
    parser.add_argument(
        "--measure",
        type=int,
        nargs="?",
        const=10,
        metavar="STEPS",
        help="with --dry-run: let every part take so many steps (10) in a folder that is thrown away",
    )
    parser.add_argument("--keep-better", action="store_true", help="compare each part with what ships")
    parser.add_argument("--num_processes", "--num-processes", type=int, default=1, help="of each part")
    return parser.parse_args()


def recipe_files(folder: Path) -> list[str]:
    """Names of the recipes that train.py takes: those that name a task."""
    return sorted(path.stem for path in folder.glob("*.toml") if "task" in read_recipe(path, []))


def check_settings(part: Part) -> None:
    """BadInput names a change of a part that its recipe does not know, before anything is trained."""
    try:
        tables = fill(Tables, read_recipe(RECIPES / f"{part.recipe}.toml", list(part.changes)), "top level")
        fill(Plan, tables.run, "[run] table")
        task = task_module(tables.task)
        given = {name.removeprefix("recipe."): "" for name in (*part.needs, *part.uses, *part.files)}
        fill(task.Recipe, tables.recipe | given, "[recipe] table")
    except BadInput as error:
        raise BadInput(f"{part.name} of the plan: {error}") from None


def table(runner: Runner) -> str:
    """What came of every part, and what to evaluate next."""
    rows = runner.summary()
    lines = [f"{'part':28}{'state':11}{'minutes':>8}{'steps':>8}{'images/s':>10}  why"]
    for row in rows:
        speed = row["images_per_second"] or ""
        lines.append(
            f"{row['part']:28}{row['state']:11}{row['minutes']:8.1f}{row['steps']:8}{speed:>10}  {row['why']}"
        )
    todo = [row["evaluate"] for row in rows if row["state"] == "done" and row["evaluate"]]
    return "\n".join(lines + (["to evaluate:", *(f"  {one}" for one in todo)] if todo else []))


def foretold(plan: TrainingPlan, parts: list[Part], minutes: float, speeds: dict[str, Speed]) -> str:
    """The plan with each part's minutes, and its images where its speed was measured."""
    shares = plan.budget(minutes, {}, [part.name for part in parts])
    lines = [f"{plan.name}, {minutes:g} minutes:"]
    for part in parts:
        given = sorted({*part.needs.values(), *part.uses.values()})
        more = f"starts from {part.start}" if part.start else ""
        more += f"{', ' if more and given else ''}given {', '.join(given)}" if given else ""
        seen = foreseen(speeds[part.name], shares[part.name]) if part.name in speeds else ""
        lines.append(f"{part.name:28}{part.recipe:28}{shares[part.name]:6.1f} minutes  {seen}{more}".rstrip())
    return "\n".join(lines)


def foreseen(speed: Speed, minutes: float) -> str:
    """What a part will get done in its minutes."""
    if speed.why:
        return f"not measured: {speed.why}  "
    late = "too few for its start; " if speed.start >= minutes else ""
    told = (
        f"{speed.images(minutes):,} images at {speed.images_per_second:.3g}/s after {speed.start:.1f} minutes"
    )
    return f"{late}{told}  "


def launcher(processes: int) -> list[str]:
    """The command that trains one part, in so many processes."""
    script = str(ROOT / "training" / "train.py")
    if processes == 1:
        return [sys.executable, script]
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *several, script]


def chosen_plan(given: argparse.Namespace) -> tuple[TrainingPlan, list[Part]]:
    """The plan and its chosen parts, all settings of which are checked."""
    if not (math.isfinite(given.minutes) and given.minutes > 0):
        raise BadInput(f"--minutes is {given.minutes:g}; it must be above 0")
    if given.num_processes < 1 or (given.measure is not None and given.measure < 1):
        raise BadInput("--num_processes and the steps of --measure must be at least 1")
    if given.measure is not None and not given.dry_run:
        raise BadInput("--measure belongs to --dry-run; give both, or neither to train")
    named = Path(given.plan)
    file = named if named.suffix == ".toml" else PLANS / f"{named}.toml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in PLANS.glob("*.toml")))
        raise BadInput(f"there is no plan {given.plan}; choose {known} or a .toml file")
    plan = read_plan(file, recipe_files(RECIPES))
    parts = plan.chosen(given.only, given.first)
    plan.check_minutes(given.minutes, parts)
    for part in parts:
        check_settings(part)
    return plan, parts


def face_folders(given: argparse.Namespace, out: Path) -> list[str]:
    """The face folders, parts of packs joined in `out`."""
    folders = join_parts([folder.resolve() for folder in parts_of(given.faces)], out / "faces")
    for folder in folders:
        Manifest(folder)
    return list(map(str, folders))


def runner_of(given: argparse.Namespace, plan: TrainingPlan, out: Path, say: Callable[[str], None]) -> Runner:
    """What carries out the plan in a folder."""
    pack = (sys.executable, str(ROOT / "training" / "pack.py"))
    models = {"MODELS": str(given.models.resolve())} if given.models else {}
    places = models if given.keep_better else None
    launch = [*launcher(given.num_processes), "--tracker", "none", "--faces"]
    runner = Runner(plan, out, launch, ROOT, RECIPES, given.models, pack, say, places=places)
    folders = face_folders(given, out)
    runner.launch += folders
    if places is not None:
        places["FACES"] = folders[0]
    return runner


def tell(line: str) -> None:
    """A line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> int:
    given = arguments()
    plan, parts = chosen_plan(given)
    if given.dry_run:
        speeds = {}
        if given.measure is not None:
            speeds = measure(
                plan, parts, given.measure, lambda short, out: runner_of(given, short, out, tell)
            )
        print(foretold(plan, parts, given.minutes, speeds))
        return 0
    out = given.out.resolve()

    def say(line: str) -> None:
        tell(line)
        with (out / "train_all.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {line}\n")

    runner = runner_of(given, plan, out, say)
    try:
        runner.run(given.minutes, parts, again=bool(given.only))
    finally:
        print(table(runner))
    return 0 if all(runner.progress[part.name].state == "done" for part in parts) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(
            f"error: {error.filename or 'RUNS'} cannot be written ({error.strerror or error}); "
            "make room and give the same command again: what was trained is kept",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
