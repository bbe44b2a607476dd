"""The Space: exactly the files that it needs, taken from a checkout, shown, and pushed to the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, SpaceCard
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, not exported
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from yaml import YAMLError  # type: ignore[import-untyped]  # huggingface_hub's own parser

from ..errors import BadInput, MissingModel
from ..model.hub import check_name, commit, repository
from ..model.hub_errors import FAILURES, not_pushed
from ..model.shards import files_of
from ..model.storage import CONFIG, weights_name

CHECKOUT = Path(__file__).parents[3]
CARD, APP = "README.md", "app.py"
SINGLE = (CARD, "LICENSE", "requirements.txt", APP)
FOLDERS = ("src/ganime_age",)
KINDS = (".py", ".css", ".js", ".md", ".jpg", ".png", ".mp4", ".json", ".safetensors", ".typed")
NOT_THERE = ("learning", "web", "__pycache__")
"""Folders that the page never imports."""

_LINK = re.compile(r"\]\(([^)#:]+)\)")


def space_files(root: Path | None = None) -> dict[str, Path]:
    """The files of the Space by their names in it, where they lie in a checkout (by default the one of this package).

    These are the page, the package with its weights but without `learning/`, and the files that the README links.
    BadInput when it is no checkout, or when the README does not open with a Gradio Space's metadata.
    """
    root = root or CHECKOUT
    folder = "src/ganime_age/weights"
    stored = files_of(root / folder / weights_name())
    weights = [f"{folder}/{name}" for name in (CONFIG, *(file.name for file in stored))]
    for name in (*SINGLE, *FOLDERS, *weights):
        if not (root / name).exists():
            raise BadInput(
                f"there is no {name} beside this package; a Space is made from a checkout of the repository, "
                "so install it from there: pip install --editable ."
            )
    _check_card(root / CARD)
    return {path.relative_to(root).as_posix(): path for path in sorted({*_needed(root)})}


def listing(files: Mapping[str, Path]) -> str:
    """Each file with its size, and their sum."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    lines = [f"{size:>11,} {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"{sum(sizes.values()):>11,} bytes in {len(files)} files"])


@contextmanager
def without_bars() -> Iterator[None]:
    """The library's progress bars, one for each large file, are left out; what was set before is set again."""
    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def deploy(
    repo: str,
    files: Mapping[str, Path],
    private: bool | None = None,
    token: str | bool | None = None,
    sdk: str = "gradio",
) -> str:
    """Push files to the Space `repo` as one commit; the Space is made when there is none, of `sdk`: "gradio" or
    "static". Returns its address.

    Other files that are there stay. BadInput or MissingModel says in one sentence why it is refused.
    """
    check_name(repo)
    try:
        api = HfApi(token=token)
        repo = repository(api, repo, private, None, repo_type="space", space_sdk=sdk)
        with without_bars():
            commit(api, repo, files, message="Deploy ganime_age", repo_type="space")
        return f"{api.endpoint}/spaces/{repo}"
    except BadInput:
        raise
    except FAILURES as error:
        raise MissingModel(not_pushed(error, repo, None)) from None


def _needed(root: Path) -> Iterator[Path]:
    yield from (root / name for name in SINGLE)
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            inside = path.relative_to(root / folder).parts
            if path.is_file() and path.suffix in KINDS and not {*NOT_THERE} & {*inside}:
                yield path
    yield from filter(Path.is_file, (root / link for link in _LINK.findall((root / CARD).read_text("utf-8"))))


def _check_card(path: Path) -> None:
    """BadInput unless the README opens with what the Hub needs to run the page."""
    try:
        said = SpaceCard.load(path).data.to_dict()
    except (ValueError, YAMLError) as error:
        why = str(error).splitlines()[0]
        raise BadInput(f"the metadata on top of {CARD} cannot be read ({why}); mend it") from None
    for name, right in (("sdk", "gradio"), ("app_file", APP)):
        if said.get(name) != right:
            raise BadInput(
                f"{CARD} must open with a Gradio Space's metadata; {name} is {said.get(name)}, not {right}"
            )
