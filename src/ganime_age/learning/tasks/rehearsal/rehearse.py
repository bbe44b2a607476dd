"""What can be told of every recipe without a GPU: whether it would run on one, how often it would wait, its speed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...engine.distributed import accelerator_on
from ...engine.loop import Run
from ...engine.recipe import Tables, fill, read_recipe
from ...engine.task import Plan
from ...evaluation.measure_speed import threads
from .. import task_module
from .tiny import run_of, stand_ins, without_teachers, write_faces, write_networks
from .waits import waits_of

MOST_SECONDS = 12.0
"""Processor seconds after which the speed of a recipe counts as measured, even if its lazy terms have not all come."""


def rehearsed(recipes: Iterable[Path], seconds: float = MOST_SECONDS) -> dict[str, dict[str, Any]]:
    """Recipe -> ok: whether three steps of it, made tiny, pass on the pretended GPU (why: else the error);
    syncs_per_step, of which syncs_per_batch in making batches: how often the host waited for the device, at most;
    images_per_second: of the recipe as it stands, on noise, by the time of one processor core, so that other programs
    do not count; None for one that takes no steps.

    seconds: for how long the speed of each is measured; at 0 it is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="ganime-age-") as folder, without_teachers(), threads(1):
        place = Path(folder)
        faces, tiny = write_faces(place / "faces"), write_networks(place / "tiny")
        whole = write_networks(place / "whole", tiny=False)
        for recipe in recipes:
            row = on_pretended_gpu(recipe, faces, tiny, place / f"{recipe.stem}-tiny")
            if seconds and row["ok"]:
                row["images_per_second"] = speed(recipe, faces, whole, place / recipe.stem, seconds)
            found[recipe.stem] = row
    return found


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, int]:
    """plan_recipes: how many recipes were tried; plan_recipes_ok: how many passed; syncs_per_step_max: of those."""
    passed = [row for row in rows.values() if row["ok"]]
    return {
        "plan_recipes": len(rows),
        "plan_recipes_ok": len(passed),
        "syncs_per_step_max": max((row["syncs_per_step"] for row in passed), default=0),
    }


def on_pretended_gpu(recipe: Path, faces: Path, networks: Path, out: Path) -> dict[str, Any]:
    """Whether a recipe passes there, and how often the host waits."""
    try:
        waits = waits_of(recipe, faces, networks, out)
    except Exception as error:  # one recipe must not end the others
        return {"ok": False, "why": f"{type(error).__name__}: {error}"[:300]}
    both = [step + batch for step, batch in zip(waits.steps, waits.batches, strict=True)]
    return {"ok": True, "syncs_per_step": max(both), "syncs_per_batch": max(waits.batches)}


def speed(recipe: Path, faces: Path, networks: Path, out: Path, seconds: float) -> float | None:
    """Images a second of a recipe's own steps in the middle of its run, where nothing ramps up any more."""
    tables = fill(Tables, read_recipe(recipe, []), "top level")
    plan = fill(Plan, tables.run, "[run] table")
    run = run_of(
        tables, stand_ins(tables.task), plan, tables.size, (faces, networks, out), accelerator_on("cpu")
    )
    if not run.task.players:
        return None
    lazy = (vars(task_module(tables.task).Recipe()) | tables.recipe).get("r1_every", 1)
    steps = max(lazy, *(player.every for player in run.task.players))
    run.step = 10_000 * steps
    timed(run, 1, seconds)
    return float(f"{timed(run, steps, seconds):.4g}")


def timed(run: Run, steps: int, seconds: float) -> float:
    """Images a second of so many steps, or of those that begin within the seconds."""
    images, started = 0, time.process_time()
    for _ in range(steps):
        images += run.one_step(0.5)
        run.step += 1
        if time.process_time() - started > seconds:
            break
    run.listen()
    return images / (time.process_time() - started)
