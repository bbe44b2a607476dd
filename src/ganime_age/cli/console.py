"""What the command line prints: one line a file, warnings and progress beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ..images.named import Named
    from ..pipelines.progress import Progress
    from ..provenance.c2pa import Signer
    from ..results import ClipResult, EditResult

T = TypeVar("T")


def say(text: str) -> None:
    """One line to stderr, beside a progress bar that may be there."""
    from tqdm import tqdm

    tqdm.write(f"ganime-age: {text}", file=sys.stderr)


def tell(text: str) -> None:
    """One line to stdout, beside a progress bar that may be there; at once, for this process may be killed later."""
    from tqdm import tqdm

    tqdm.write(text)
    sys.stdout.flush()


def photo_bar(photos: Sequence[T]) -> Iterator[T]:
    """The photos one by one, with a progress bar on stderr, where that is a terminal."""
    from tqdm import tqdm

    yield from tqdm(photos, unit="photo", file=sys.stderr, disable=None)


@contextmanager
def photo_count(total: int) -> Iterator[Callable[[], object]]:
    """A progress bar of photos on stderr, where that is a terminal; what it gives is called as each is done."""
    from tqdm import tqdm

    with tqdm(total=total, unit="photo", file=sys.stderr, disable=None) as bar:
        yield lambda: bar.update()


@contextmanager
def frame_bar() -> Iterator[Progress]:
    """A progress bar of frames on stderr, where that is a terminal, as the editor's `progress=`."""
    from tqdm import tqdm

    with tqdm(unit="frame", file=sys.stderr, disable=None, leave=False) as bar:

        def progress(done: int, total: int | None, note: str) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def say_unmarked(args: argparse.Namespace, target: Path) -> None:
    """Name a file that --no-mark left without a mark."""
    if args.no_mark:
        say(f"{target.name} is not marked as edited; say so wherever you show it")


def say_warnings(source: Path | Named, *results: EditResult | ClipResult) -> None:
    """What results warn of, but for the missing mark, which `say_unmarked` tells with the file's name."""
    from ..results import UNMARKED

    for warning in (warning for result in results for warning in result.warnings if warning != UNMARKED):
        say(f"{source.name}: {warning}")


def say_clip(args: argparse.Namespace, result: ClipResult, source: Path, target: Path) -> None:
    """Print what became of a clip."""
    say_warnings(source, result)
    say_unmarked(args, target)
    rate = f"{result.frames} frames at {result.rate:.4g} a second"
    tell(f"{target}  {rate}, {result.edited} edited  {result.seconds:.1f} s")


def save(
    args: argparse.Namespace,
    result: EditResult,
    source: Path | Named,
    target: Path,
    signer: Signer | None,
    shown: str | None = None,
) -> None:
    """Write an edited photo and print what was read on it. shown: what to call the target, by default its path."""
    say_warnings(source, result, *result.others)
    result.save(target, signer)
    say_unmarked(args, target)
    if signer is not None and not result.edited:
        say(f"{source.name}: nothing was changed, so {target.name} is not signed")
    for one in (result, *result.others):
        tell(f"{shown or target}  {summary(one)}")


def summary(result: EditResult) -> str:
    """What was read before and after, beside what was asked, in one line."""
    before, after = result.source_reading, result.reading
    asked = "" if result.edit.age is None else f" (asked {result.edit.age:g})"
    parts = [f"age {before.age:.0f} -> {after.age:.0f}{asked}"]
    for code, value in result.asked_units().items():
        was, now = (reading.action_units[code] for reading in (before, after))
        parts.append(f"{code} {was:.1f} -> {now:.1f} (asked {value:g})")
    if result.driving_reading is not None:
        yaws = [f"{reading.yaw:.0f}" for reading in (before, after, result.driving_reading)]
        parts.append("yaw {} -> {} (driving {})".format(*yaws))
    return "  ".join([*parts, f"identity {result.identity:.2f}", f"{result.seconds:.1f} s"])
