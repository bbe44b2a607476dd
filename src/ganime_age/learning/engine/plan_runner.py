"""Carrying out a plan: one child process a part, stopped in time, gone on with after any stop.

`OUT/PART` is the run of a part, `OUT/logs/PART.txt` what it said, `OUT/state.json` what a later call goes on from,
`OUT/pack` everything that must travel, `OUT/sheets` the newest sample sheet of each part.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ...atomic import replacing
from ...errors import BadInput
from .checkpoints import LIGHT_FILE, finished
from .collapse import Collapsed
from .plan import Part, TrainingPlan
from .plan_compare import Figures, compare

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PACK_FILE = LIGHT_FILE
"""No file of `OUT/pack` is larger than this many bytes."""
SHEET = 1280
"""Pixels of the longer side of a sheet in `OUT/sheets`."""
TICK = 0.5
"""Seconds between two looks at a child."""
PATIENCE = 2.0
"""Minutes beyond its own after which a part that does not end by itself is stopped."""
OVER = ("done", "collapsed")
"""States of parts that the same command does not try again."""


@dataclass
class Progress:
    """What is known of a part. state: waiting, training, done, collapsed, failed or skipped. minutes: had so far. kept:
    new or old, by the figures that were measured of either; empty where nothing was compared."""

    state: str = "waiting"
    why: str = ""
    minutes: float = 0.0
    kept: str = ""
    new: Figures = field(default_factory=dict)
    old: Figures = field(default_factory=dict)


class Runner:
    """A plan under way in a folder.

    launch: the command that trains, to which the recipe, the folder and the changes are added. root: the folder that
    it runs in, to which a plan's own folders are relative. recipes: the folder of the recipes. models: where the files
    of the plan's `files` are looked for, or None. pack: the command that makes a folder of weights of a light copy.
    say: takes one line. places: what FACES and MODELS stand for in the plan's commands; where they are given, parts are
    compared with what ships, which is given on and named in the summary where it is not worse.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        out: Path,
        launch: list[str],
        root: Path,
        recipes: Path,
        models: Path | None = None,
        pack: tuple[str, ...] = (),
        say: Callable[[str], None] = print,
        every: float = 60.0,
        places: Mapping[str, str] | None = None,
    ):
        self.plan, self.out, self.launch, self.root, self.recipes = plan, out, launch, root, recipes
        self.models, self.pack_command, self.say, self.every = models, pack, say, every
        self.places = places
        self.parts = {part.name: part for part in plan.parts}
        self.progress = self.recall()
        self.packed_at = 0.0

    def recall(self) -> dict[str, Progress]:
        """The state that an earlier call left. BadInput when the folder holds something else."""
        file = self.out / "state.json"
        known: dict[str, Any] = {}
        if file.is_file():
            try:
                said = json.loads(file.read_text())
                name, known = said["plan"], {k: Progress(**v) for k, v in said["parts"].items()}
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise BadInput(f"{file} is damaged ({type(error).__name__}: {error})") from None
            if name != self.plan.name:
                raise BadInput(
                    f"{self.out} was begun with the plan {name}; choose that plan or another --out"
                )
        elif self.out.is_dir() and any(one.name not in ("faces", ".lock") for one in self.out.iterdir()):
            raise BadInput(f"{self.out} holds other work; choose another --out")
        return {name: known.get(name, Progress()) for name in self.parts}

    def run(self, minutes: float, chosen: list[Part], again: bool = False) -> None:
        """Train the chosen parts within so many minutes in all, those of earlier calls included.

        again: parts that the collapse monitor had stopped are tried once more.
        """
        over = ("done",) if again else OVER
        left = [part for part in chosen if self.progress[part.name].state not in over]
        for part in left:
            self.progress[part.name].state = "waiting"
        with alone(self.out):
            self.keep()
            try:
                for number, part in enumerate(left, 1):
                    had = {name: one.minutes for name, one in self.progress.items()}
                    remaining = minutes - sum(had[one.name] for one in chosen)
                    waiting = [one.name for one in left if self.progress[one.name].state == "waiting"]
                    share = self.plan.budget(max(remaining, 0.0), had, waiting)[part.name]
                    self.take(part, share, f"{number}/{len(left)}")
            finally:
                self.keep()
                self.pack()

    def take(self, part: Part, minutes: float, number: str) -> None:
        """Train one part, or say why not."""
        own = self.progress[part.name]
        settings, why = self.settings(part)
        if why:
            own.state, own.why = "skipped", why
            self.say(f"{number} {part.name} is skipped: {why}")
        elif minutes < self.plan.least / 2 and not own.minutes:
            own.state, own.why = "skipped", f"{minutes:.2g} minutes were left for it"
            self.say(f"{number} {part.name} is skipped: {own.why}")
        else:
            own.state, own.why = "training", ""
            self.train(part, settings, minutes, number)
            self.say(f"{number} {part.name}: {own.state} after {own.minutes:.1f} minutes. {own.why}".rstrip())
            self.compare(part)
            self.draw(part)
            self.pack()
        self.keep()

    def compare(self, part: Part) -> None:
        """Keep what a part trained or what ships, whichever is better, where the plan says how to tell."""
        own = self.progress[part.name]
        if self.places is None or own.state != "done" or not part.better:
            return
        self.say(f"{part.name} is compared with what ships")
        found = compare(part, self.out / part.name, self.root, self.places, own.old)
        own.kept, own.why, own.new, own.old = found.kept, found.why, found.new, found.old
        self.say(f"{part.name}: {own.why}")

    def settings(self, part: Part) -> tuple[list[str], str]:
        """The changes that give a part the results and files it wants, and why it cannot be trained, if so."""
        out = list(part.changes)
        for setting, other in part.needs.items():
            folder = self.result(other)
            if folder is None:
                return [], self.lacking(other)
            out.append(f"{setting}={json.dumps(str(folder))}")
        for setting, other in part.uses.items():
            out.append(f"{setting}={json.dumps(str(self.result(other) or ''))}")
        for setting, name in part.files.items():
            file = self.models / name if self.models else None
            if file and file.is_file():
                out.append(f"{setting}={json.dumps(str(file.resolve()))}")
            elif part.stand_in and (self.root / part.stand_in).is_dir():
                return [], f"{name} is not at hand (--models FOLDER); {part.stand_in} stands in for it"
        return out, ""

    def result(self, name: str) -> Path | None:
        """The folder with what a part made, its stand-in where it made nothing, or None."""
        part, own = self.parts[name], self.progress[name]
        folder = self.root / part.stand_in
        stand_in = folder if part.stand_in and folder.is_dir() else None
        if own.state == "done" and not (own.kept == "old" and stand_in):
            return (self.out / name / ("weights" if part.packed else "light")).resolve()
        return stand_in

    def lacking(self, name: str) -> str:
        """Why there is no result of a part."""
        stand_in = self.parts[name].stand_in
        more = f", and {stand_in} is not there to stand in for it" if stand_in else ""
        return f"it needs {name}, which is {self.progress[name].state}{more}"

    def train(self, part: Part, settings: list[str], minutes: float, number: str) -> None:
        """Run the child of a part to its end; its state says how it ended."""
        own, folder = self.progress[part.name], self.out / part.name
        command = [*self.launch, "--recipe", str(self.recipes / f"{part.recipe}.toml"), "--out", str(folder)]
        command += ["--within", f"{minutes:.4f}", *(word for one in settings for word in ("--set", one))]
        if finished(folder / "checkpoint"):
            command.append("--resume")
        else:
            shutil.rmtree(folder, ignore_errors=True)  # what was begun and never saved
            start = self.start(part)
            command += ["--init-from", str(start)] if start else []
        logs = self.out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.keep()
        said = logs / f"{part.name}.txt"
        with said.open("ab") as log:
            begin = log.tell()
            child = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.root, preexec_fn=end_with_parent
            )
            try:
                late = self.watch(part, child, minutes, number)
            finally:
                stop(child)
        with said.open("rb") as log:
            log.seek(begin)
            words = log.read().decode(errors="replace")
        own.state, own.why = outcome(child.returncode, words, late, (folder / "light").is_dir())
        if own.state == "done" and part.packed:
            own.state, own.why = self.make_weights(part)

    def start(self, part: Part) -> Path | None:
        """The folder that a part starts from: another part's light copy, or one of the plan's, where it is there."""
        if part.start in self.parts:
            folder = self.out / part.start / "light"
            return folder.resolve() if self.progress[part.start].state == "done" else None
        folder = self.root / part.start
        return folder if part.start and folder.is_dir() else None

    def watch(self, part: Part, child: subprocess.Popen[bytes], minutes: float, number: str) -> bool:
        """Wait for a child, with a line and a look at its exports every minute; True when it had to be stopped."""
        own, started, before = self.progress[part.name], time.monotonic(), self.progress[part.name].minutes
        told = kept = started
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(TICK)
            now = time.monotonic()
            own.minutes = before + (now - started) / 60
            if child.returncode is not None:
                return False
            if (now - started) / 60 > minutes + max(PATIENCE, minutes / 2):
                return True
            if now - kept > self.every / 12:
                kept = now
                self.keep()
            if now - told > self.every:
                told = now
                seen = last_line(self.out / part.name / "log.jsonl")
                speed = (
                    f"step {seen['step']}, {seen['images_per_second']:.3g} images/s" if seen else "measuring"
                )
                self.say(
                    f"{number} {part.name}: {speed}, {(now - started) / 60:.1f} of {minutes:.1f} minutes"
                )
                self.draw(part)
                self.pack()

    def make_weights(self, part: Part) -> tuple[str, str]:
        """A folder of weights that holds the part's network alone."""
        folder = self.out / part.name
        command = [
            *self.pack_command,
            f"--{part.packed}",
            str(folder / "light"),
            "--out",
            str(folder / "weights"),
        ]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        return ("done", "") if done.returncode == 0 else ("failed", last_sentence(done.stdout + done.stderr))

    def keep(self) -> None:
        """Write `state.json` and `summary.json`."""
        parts = {name: asdict(one) for name, one in self.progress.items()}
        write_json(self.out / "state.json", {"plan": self.plan.name, "parts": parts})
        write_json(self.out / "summary.json", {"plan": self.plan.name, "parts": self.summary()})

    def summary(self) -> list[dict[str, Any]]:
        """A row a part: how it ended, how long it took, how fast it was, and how to measure what it made."""
        rows = []
        for name, part in self.parts.items():
            own, seen = self.progress[name], last_line(self.out / name / "log.jsonl") or {}
            seconds = 60 * seen.get("minutes", 0.0)
            light = self.out / name / "light"
            rows.append(
                {
                    "part": name,
                    "recipe": part.recipe,
                    "state": own.state,
                    "why": own.why,
                    "minutes": round(own.minutes, 2),
                    "steps": seen.get("step", 0),
                    "images": seen.get("images", 0),
                    "images_per_second": round(seen.get("images", 0) / seconds, 1) if seconds else None,
                    "kept": own.kept,
                    "figures": {"new": own.new, "old": own.old} if own.kept else {},
                    "evaluate": told(part.evaluate, light) if light.is_dir() else "",
                }
            )
        return rows

    def draw(self, part: Part) -> None:
        """Copy the newest sample sheet, small."""
        sheets = sorted((self.out / part.name).glob("sheet-*.jpg"))
        if not sheets:
            return
        place = self.out / "sheets"
        place.mkdir(exist_ok=True)
        with contextlib.suppress(OSError), Image.open(sheets[-1]) as sheet:  # one that is just being written
            small = sheet.convert("RGB")
            small.thumbnail((SHEET, SHEET))
            with replacing(place / f"{part.name}.jpg") as file:
                small.save(file, "jpeg", quality=85)

    def pack(self) -> None:
        """Bring all light copies, sheets and the summary into numbered tar files when something is newer than these."""
        files = [*sorted(self.out.glob("*/light/*")), *sorted((self.out / "sheets").glob("*.jpg"))]
        with contextlib.suppress(
            FileNotFoundError
        ):  # a part replaces its light copy just now; a minute later, then
            newest = max((file.stat().st_mtime for file in files), default=0.0)
            if newest <= self.packed_at:
                return
            self.keep()
            place = self.out / "pack"
            place.mkdir(exist_ok=True)
            bundles = bundled([*files, self.out / "summary.json"])
            for number, bundle in enumerate(bundles):
                with (
                    replacing(place / f"trained-{number:02d}.tar") as part,
                    tarfile.open(part, "w") as archive,
                ):
                    for file in bundle:
                        archive.add(file, file.relative_to(self.out))
            for old in sorted(place.glob("trained-*.tar"))[len(bundles) :]:
                old.unlink()
            self.packed_at = newest


def told(commands: str, light: Path) -> str:
    """A plan's commands for somebody who gives them by hand."""
    return commands.replace("LIGHT", str(light)).replace("RUNS", str(light.parents[1]))


def bundled(files: list[Path]) -> list[list[Path]]:
    """The files in as few lists as the order allows, each of at most PACK_FILE bytes as a tar file."""
    out: list[list[Path]] = []
    room = 0
    for file in files:
        size = -(-file.stat().st_size // 512) * 512 + 2048  # padded, with a long name's headers
        if not out or size > room:
            out.append([])
            room = PACK_FILE - 10240  # a tar file ends in up to so many zeros
        out[-1].append(file)
        room -= size
    return out


def outcome(code: int, words: str, late: bool, light: bool) -> tuple[str, str]:
    """State and reason of a child that ended with `code` after it had said `words`."""
    if late:
        return (
            ("done", "it was stopped late, its last export counts") if light else ("failed", "it did not end")
        )
    if code == 0 and light:
        return "done", ""
    inner = re.findall(r"exitcode\s*:\s*(-?\d+)", words)  # of the process that failed, as torchrun tells it
    code = int(inner[-1]) if inner else code
    if code == Collapsed.exit_code:
        return "collapsed", last_sentence(words)
    if code == -signal.SIGKILL:
        return "failed", "it was killed, perhaps for want of memory"
    return "failed", last_sentence(words) or f"it ended with code {code}"


def last_sentence(words: str) -> str:
    """The last error that a program told, without `error:`, or else its last line."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1].removeprefix("error: ")


def last_line(log: Path) -> dict[str, Any] | None:
    """The last whole line of a `log.jsonl`, or None."""
    try:
        lines = log.read_text().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            return dict(json.loads(line))
    return None


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs: asked first, killed after ten seconds."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def end_with_parent() -> None:
    """In a child, before it starts: on Linux it ends when the runner is killed, so that none trains on unwatched."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder; BadInput when another process trains in it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    f"another process trains in {out}; wait for it or choose another --out"
                ) from None
        yield


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")
