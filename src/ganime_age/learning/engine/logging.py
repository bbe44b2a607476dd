"""What a run logs while it trains: a progress bar, `log.jsonl`, and a tracker (TensorBoard, or another by name)."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from PIL import Image
from tqdm import tqdm

from ...atomic import replacing
from ...errors import BadInput, MissingModel

BAR = "{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}"
"""Format of the bar. The time left is extrapolated from the fraction of the run that is done, by steps or by the clock,
whichever is further."""


class RunLog:
    """The main process writes; in the others every call does nothing."""

    def __init__(self, out: Path, accelerator: Accelerator, progress: float = 0.0):
        self.out, self.accelerator, self.mute = Path(out), accelerator, not accelerator.is_main_process
        seldom = {} if sys.stderr.isatty() else {"mininterval": 20, "maxinterval": 60}
        self.bar = tqdm(total=1.0, initial=progress, bar_format=BAR, disable=self.mute, **seldom)
        self.images, self.since = 0, time.monotonic()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    @property
    def speed(self) -> float:
        """Images per second of all processes since the last line of the log."""
        return self.images / max(time.monotonic() - self.since, 1e-9)

    def advance(self, images: int, progress: float, step: int, terms: dict[str, float]) -> None:
        """One more step: moves the bar."""
        self.images += images
        if not self.mute:
            text = " ".join(f"{name} {value:.3g}" for name, value in terms.items())
            self.bar.set_postfix_str(f"step {step} {self.speed:.1f} images/s {text}", refresh=False)
            self.bar.update(max(progress - self.bar.n, 0))

    def write(self, step: int, seconds: float, values: dict[str, Any]) -> None:
        """One line of `log.jsonl`, and the same numbers to the tracker. What is not finite is written as null."""
        if self.mute:
            return
        values = values | {"images_per_second": self.speed}
        self.images, self.since = 0, time.monotonic()
        line = {"step": step, "minutes": round(seconds / 60, 2)} | {k: tidy(v) for k, v in values.items()}
        self.out.mkdir(parents=True, exist_ok=True)
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        self.accelerator.log({k: v for k, v in values.items() if not isinstance(v, str)}, step=step)

    def message(self, sentence: str) -> None:
        """A sentence above the bar."""
        if not self.mute:
            self.bar.write(sentence, file=sys.stderr)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Show a written picture in every tracker that takes images."""
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                pixels = np.asarray(Image.open(path).convert("RGB"))[None]
                options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
                tracker.log_images({name: pixels}, step=step, **options)


def tidy(value: Any) -> Any:
    """Four digits of a number, None of one that is not finite, anything else as it is."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None


def forget_after(log: Path, step: int) -> None:
    """Drop the lines of a log that a resumed run will write again, and a last line that a kill cut short."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue
    with replacing(log) as part:
        part.write_text("".join(kept))


def choose_tracker(name: str | None) -> tuple[str | None, str | None]:
    """The tracker to use and a note for the user, either may be None.

    name: None for TensorBoard when it is installed, `none`, or a tracker that accelerate knows. BadInput names an
    unknown one, MissingModel one that is not installed.
    """
    installed = [str(getattr(known, "value", known)) for known in get_available_trackers()]
    if name is None:
        note = "TensorBoard is not installed, so losses go to log.jsonl only; pip install tensorboard to see curves"
        return ("tensorboard", None) if "tensorboard" in installed else (None, note)
    if name == "none":
        return None, None
    if name not in LOGGER_TYPE_TO_CLASS:
        raise BadInput(
            f"tracker {name} is unknown; choose none or one of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}"
        )
    if name not in installed:
        raise MissingModel(
            f"tracker {name} is not installed: pip install {name.replace('_', '-')}, or --tracker none"
        )
    return name, None


def start_tracker(accelerator: Accelerator, name: str | None, recipe: dict[str, Any], step: int) -> None:
    """Open the tracker with the recipe as its settings; TensorBoard forgets what a resumed run repeats."""
    if name is None:
        return
    options = {"tensorboard": {"purge_step": step + 1}} if step else {}
    accelerator.init_trackers("ganime_age", config=flat(recipe), init_kwargs=options)


def flat(recipe: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's nested tables as `table.key`; lists as text."""
    out: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            out[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return out
