"""Whether what a part trained is better than what ships, by the figures that its plan names."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .plan import Part

Figures = dict[str, float]


@dataclass
class Verdict:
    """kept: new or old; empty where nothing was compared. why: a sentence. new, old: figures by their names."""

    kept: str = ""
    why: str = ""
    new: Figures = field(default_factory=dict)
    old: Figures = field(default_factory=dict)


class CannotCompare(Exception):
    """A command failed, or its results lack a figure; the message says which."""


def compare(part: Part, folder: Path, root: Path, places: Mapping[str, str], old: Figures) -> Verdict:
    """Measure what a part trained and what ships, and say which is kept. The old is kept where this is impossible.

    folder: the part's run; its light copy is measured, what the commands say goes to `compare.txt`. root: where the
    commands run. places: what FACES and MODELS stand for. old: figures of what ships, when they are known already.
    """
    work = folder / "compared"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    own = {"LIGHT": folder / "light", "RUNS": folder.parent, "NEW": work / "new"}
    words = dict(places) | {name: str(place.resolve()) for name, place in own.items()}
    with (folder / "compare.txt").open("a") as log:
        try:
            if set(old) != set(part.better):
                old = measured(part.shipped, part, root, words, work / "shipped", log)
            new = measured(part.evaluate, part, root, words, work / "trained", log)
        except CannotCompare as error:
            return Verdict("old", f"it cannot be compared ({error}), so what ships is kept", {}, old)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    kept = "new" if is_better(new, old, part.better) else "old"
    told = ", ".join(f"{name} {new[name]:.4g} against {old[name]:.4g}" for name in part.better)
    return Verdict(kept, f"{'it is better' if kept == 'new' else 'what ships is kept'}: {told}", new, old)


def is_better(new: Figures, old: Figures, better: Mapping[str, str]) -> bool:
    """Whether no figure is worse and one is better. better: figure -> smaller or larger."""
    gains = [(new[name] - old[name]) * (1 if way == "larger" else -1) for name, way in better.items()]
    return min(gains) >= 0 and max(gains) > 0


def measured(commands: str, part: Part, root: Path, words: Mapping[str, str], out: Path, log: Any) -> Figures:
    """Run commands joined by `&&`, the last one with `--out`, and read the figures from the results file."""
    *before, last = [shlex.split(one) for one in commands.split("&&")]
    for command in (*before, [*last, "--out", str(out)]):
        done = [sys.executable if word == "python" else filled(word, words) for word in command]
        if "FACES" in done or "MODELS" in done:
            raise CannotCompare("it needs --models FOLDER" if "MODELS" in done else "it needs --faces")
        log.write(f"$ {shlex.join(done)}\n")
        log.flush()
        ended = subprocess.run(done, cwd=root, capture_output=True, text=True, check=False)
        log.write(f"{ended.stdout}{ended.stderr}\n")
        if ended.returncode:
            lines = (ended.stdout + ended.stderr).strip().splitlines() or [
                f"it ended with code {ended.returncode}"
            ]
            raise CannotCompare(lines[-1].removeprefix("error: "))
    return {name: figure(out, name) for name in part.better}


def filled(word: str, words: Mapping[str, str]) -> str:
    """A word of a command with the place that stands for a name, alone or behind `=`."""
    before, equals, last = word.rpartition("=")
    return before + equals + words.get(last, last)


def figure(out: Path, name: str) -> float:
    """A number of the one results file in a folder, by its dotted name."""
    try:
        (file,) = out.glob("*.json")
        value: Any = json.loads(file.read_text())
        for key in name.split("."):
            value = value[key]
        return float(value)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CannotCompare(f"the results hold no number {name} ({type(error).__name__})") from None
