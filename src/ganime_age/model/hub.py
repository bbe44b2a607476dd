"""Weights from the Hugging Face Hub and back to it. Every failure is one sentence that says what to do."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import FileMetadataError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import filter_repo_objects, validate_repo_id  # type: ignore[attr-defined]  # documented, not exported

from ..errors import BadInput, MissingModel
from .hub_errors import FAILURES, no_folder, no_such_file, not_loaded, not_pushed, passing, short
from .shards import files_of, index_of
from .storage import CONFIG, PICKLES, weights_name

log = logging.getLogger(__name__)

RETRY_WAITS = (1.0, 3.0)
"""Seconds between the tries of a request that the network or a busy Hub let fail."""
PATIENCE = 8.0
"""Seconds after which a failing request is not tried again."""

_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def weights_folder(
    source: str | Path,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
    **hub: Any,
) -> Path:
    """A folder as it is, else config.json and the weights of a Hub repository, both of one commit, in the cache.

    hub: token, cache_dir, local_files_only, force_download. BadInput for keywords that cannot be;
    MissingModel says in one sentence why the weights cannot be had.
    """
    inside = _subfolder(subfolder)
    folder = Path(os.path.expanduser(source))
    if source and os.path.isdir(folder):
        if revision is not None:
            raise BadInput(f"{source} is a folder and has no revision {revision!r}; leave the revision out")
        return folder / inside
    if os.path.isfile(folder):
        raise MissingModel(_about_file(folder))
    if isinstance(source, Path) or not _REPO.fullmatch(source) or source.startswith("."):
        raise MissingModel(no_folder(source))
    return _downloaded(source, weights_name(variant), inside, revision, **hub)


def split_revision(text: str) -> tuple[str, str | None]:
    """`org/name@revision` in its two halves; a path that exists is a path, whatever it holds."""
    source, at, revision = text.rpartition("@")
    return (source, revision) if at and source and revision and not os.path.exists(text) else (text, None)


def check_name(repo: str) -> None:
    """BadInput when a repository cannot have that name."""
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise BadInput(f"{repo!r} is no name of a Hub repository; give one such as org/name") from None


@dataclass(frozen=True)
class Choice:
    """Which files a push sends and which of the repository's it removes, by patterns such as "*.json"."""

    allow: list[str] | str | None = None
    ignore: list[str] | str | None = None
    delete: list[str] | str | None = None

    def sent(self, names: Iterable[str]) -> list[str]:
        """The names that are sent; BadInput when the patterns leave none."""
        kept = list(filter_repo_objects(names, allow_patterns=self.allow, ignore_patterns=self.ignore))
        if not kept:
            raise BadInput("allow_patterns and ignore_patterns leave no file to push; change them")
        return kept

    def removed(self, api: HfApi, repo: str, branch: str | None, sent: Iterable[str]) -> list[str]:
        """The files of the repository that are removed; those that are sent anew are not."""
        if self.delete is None:
            return []
        files = api.model_info(repo, revision=branch).siblings or []
        held = {file.rfilename for file in files} - set(sent) - {".gitattributes"}
        return sorted(filter_repo_objects(held, allow_patterns=self.delete))


def push(
    model: Any,
    repo: str,
    *,
    files: Mapping[str, str | Path],
    config: Any,
    variant: str | None,
    private: bool | None,
    branch: str | None,
    create_pr: bool,
    commit_message: str,
    token: str | bool | None,
    choice: Choice,
    card: Mapping[str, Any],
) -> str:
    """What GanimeAge.push_to_hub does: a fresh folder of the model and `files`, uploaded as one commit."""
    check_name(repo)
    with TemporaryDirectory() as made:
        folder = Path(made)
        model.save_pretrained(folder, variant=variant, config=config)
        _add_files(folder, files)
        try:
            api = HfApi(token=token)
            repo = repository(api, repo, private, branch)
            if not (folder / "README.md").exists() and not api.file_exists(
                repo, "README.md", revision=branch
            ):
                model.generate_model_card(**card).save(folder / "README.md")
            all_files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
            sent = {name: all_files[name] for name in choice.sent(all_files)}
            removed = choice.removed(api, repo, branch, sent)
            return commit(api, repo, sent, branch, create_pr, commit_message, removed=removed)
        except BadInput:
            raise
        except FAILURES as error:
            raise MissingModel(not_pushed(error, repo, branch)) from None


def _add_files(folder: Path, files: Mapping[str, str | Path]) -> None:
    for name, file in files.items():
        target = folder / _subfolder(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        except OSError as error:
            raise BadInput(f"{file} cannot be read ({error.strerror}); it is not pushed") from None


def repository(api: HfApi, repo: str, private: bool | None, branch: str | None, **kind: Any) -> str:
    """The full name of a repository and its branch that exist now. kind: repo_type and space_sdk of a Space."""
    repo = api.create_repo(repo, private=private, exist_ok=True, **kind).repo_id
    if private and not api.repo_info(repo, repo_type=kind.get("repo_type")).private:
        raise BadInput(
            f"{repo} exists and is public; make it private in its settings or push without private"
        )
    if branch:
        api.create_branch(repo, branch=branch, exist_ok=True)
    return repo


def commit(
    api: HfApi,
    repo: str,
    files: Mapping[str, Path],
    branch: str | None = None,
    create_pr: bool = False,
    message: str = "",
    repo_type: str | None = None,
    removed: Iterable[str] = (),
) -> str:
    """Add files, by their names in the repository, and remove others, as one commit; returns its address, or that of
    its pull request."""
    made = api.create_commit(
        repo,
        [
            *(CommitOperationAdd(name, path) for name, path in sorted(files.items())),
            *(CommitOperationDelete(name) for name in removed),
        ],
        commit_message=message,
        revision=branch,
        create_pr=create_pr,
        repo_type=repo_type,
    )
    return made.pr_url or made.commit_url


class _NoSuchFile(MissingModel):
    """The repository is there and lacks the file."""


def _downloaded(repo: str, weights: str, inside: PurePosixPath, revision: str | None, **hub: Any) -> Path:
    """The configuration fixes the commit from which the weights come."""
    if hub.get("force_download") and hub.get("local_files_only"):
        raise BadInput("force_download and local_files_only contradict each other; leave one out")
    try:
        config = Path(_file(repo, (inside / CONFIG).as_posix(), revision, **hub))
        _fetch_weights(repo, inside / weights, config.parents[len(inside.parts)].name, **hub)
    except HFValidationError:
        raise MissingModel(no_folder(repo)) from None
    return config.parent


def _fetch_weights(repo: str, file: PurePosixPath, commit: str, **hub: Any) -> None:
    """The weights' file into the cache, or where the repository has none the files that its index names."""
    index = index_of(file)
    known = try_to_load_from_cache(repo, index.as_posix(), cache_dir=hub.get("cache_dir"), revision=commit)
    if hub.get("force_download") or not isinstance(known, str):
        try:
            _file(repo, file.as_posix(), commit, **hub)
            return
        except _NoSuchFile as error:
            missing = str(error)
        try:
            known = _file(repo, index.as_posix(), commit, **hub)
        except _NoSuchFile:
            raise MissingModel(missing) from None
    for part in files_of(Path(known).with_name(file.name)):
        _file(repo, file.with_name(part.name).as_posix(), commit, **hub)


def _file(
    repo: str,
    name: str,
    revision: str | None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> str:
    """One file's path in the cache. A Hub that stumbles is asked again, visibly; if it is away, the cache has to do."""
    cached = try_to_load_from_cache(repo, name, cache_dir=cache_dir, revision=revision)
    cached = cached if isinstance(cached, str) and not force_download else None
    if cached and (local_files_only or _COMMIT.fullmatch(revision or "")):
        return cached
    if local_files_only:
        raise MissingModel(f"{repo} is not in the local cache and local_files_only forbids to download it")
    started = time.monotonic()
    for wait in (*RETRY_WAITS, None):
        try:
            _ask(repo, name, revision, token)
            return hf_hub_download(
                repo, name, revision=revision, token=token, cache_dir=cache_dir, force_download=force_download
            )
        except FAILURES as error:
            offline = isinstance(error, OfflineModeIsEnabled)
            last = offline or wait is None or time.monotonic() - started > PATIENCE
            if not passing(error) or (last and not cached):
                kind = _NoSuchFile if no_such_file(error) else MissingModel
                raise kind(not_loaded(error, repo, name, revision)) from None
            if cached:
                if not offline:
                    log.warning(
                        "the Hub cannot be reached (%s); %s is taken from the cache", short(error), repo
                    )
                return cached
            log.warning("the Hub did not answer well (%s); trying again in %g s", short(error), wait)
            time.sleep(wait or 0.0)
    raise AssertionError("the last try returns or raises")


def _ask(repo: str, name: str, revision: str | None, token: str | bool | None) -> None:
    """One question that fails at once where the library's own would be repeated for 23 s."""
    url = hf_hub_url(repo, name, revision=revision)
    if get_hf_file_metadata(url, token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT).commit_hash is None:
        raise FileMetadataError("what answers is not the Hub")


def _subfolder(text: str | None) -> PurePosixPath:
    """A path that stays inside its repository or folder."""
    path = PurePosixPath(text or ".")
    if path.is_absolute() or ".." in path.parts or "\\" in str(path):
        raise BadInput(f"{text!r} leads out of the weights; give a path inside them, such as a/b")
    return path


def _about_file(path: Path) -> str:
    if path.suffix.lower() in PICKLES:
        return f"{path} is a pickle, which is never loaded; convert it with `ganime-age convert {path} NEW_FOLDER`"
    return f"{path} is a file; give the folder that holds {CONFIG} and {weights_name()}"
