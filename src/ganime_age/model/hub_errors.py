"""What the Hub, the network or the disk refused, as one sentence that says what to do."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of the transport in use
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from .storage import CONFIG

FAILURES = (HTTPError, OSError, ValueError, RuntimeError)
"""What huggingface_hub and the transports below it raise."""

_LOG_IN = "log in with `hf auth login` or give a token"


def passing(error: Exception) -> bool:
    """May the same request succeed later? Refusals and a cache that cannot be written will not pass."""
    if isinstance(error, HfHubHTTPError):
        status, method = error.response.status_code, error.response.request.method
        return status >= 500 or (status in (408, 429) and method == "HEAD")  # the library repeats GET itself
    if isinstance(error, LocalEntryNotFoundError | FileMetadataError | ConnectionError | TimeoutError):
        return True
    if isinstance(error, LocalTokenNotFoundError | EntryNotFoundError | ValueError):
        return False
    return getattr(error, "errno", None) is None


def no_such_file(error: Exception) -> bool:
    """Whether a repository answered that it lacks the file."""
    return isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)


def not_loaded(error: Exception, repo: str, name: str, revision: str | None) -> str:
    """Why the file `name` of a repository cannot be had."""
    if no_such_file(error):
        if PurePosixPath(name).name == CONFIG:
            return (
                f"{repo} holds no {name}, so it holds no ganime_age weights; check the name and the subfolder"
            )
        return f"{repo} holds no {name}; ask for another variant or for none"
    if "Consistency check" in str(error):
        return f"the download of {name} from {repo} broke off; try again"
    errno = getattr(error, "errno", None)
    if errno is not None and not isinstance(error, ConnectionError):
        return f"{repo} cannot be stored here ({os.strerror(errno)}); free space or give another cache_dir"
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repo} is not in the local cache and HF_HUB_OFFLINE forbids to download it; unset HF_HUB_OFFLINE"
    return _refused(error, repo, revision, "loaded from") or (
        f"{repo} is not in the local cache and the Hub cannot be reached ({short(error)}); check the network"
    )


def not_pushed(error: Exception, repo: str, branch: str | None) -> str:
    """Why a repository does not take what is pushed."""
    if isinstance(error, OfflineModeIsEnabled):
        return f"{repo} cannot be pushed to the Hub because HF_HUB_OFFLINE is set; unset it"
    return _refused(error, repo, branch, "pushed to") or (
        f"{repo} cannot be pushed to the Hub ({short(error)}); check the network and the name"
    )


def no_folder(source: str | Path) -> str:
    """What is neither a folder nor a name of a repository."""
    return f"{source} is not a folder with weights; give a folder or a Hub repository such as org/name"


def short(error: Exception) -> str:
    """What happened, in a few words for a bracket."""
    if isinstance(error, HfHubHTTPError):
        said = getattr(error, "server_message", None)
        return f"HTTP {error.response.status_code}{': ' if said else ''}{said or ''}".split("\n")[0][:120]
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:120]


def _refused(error: Exception, repo: str, revision: str | None, action: str) -> str | None:
    """What the Hub answered; None when it did not answer, or nothing that has a sentence of its own."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated; ask for access on its page on the Hub, then {_LOG_IN}"
    if isinstance(error, RepositoryNotFoundError) and status == 401:
        return (
            f"there is no folder {repo}, and on the Hub it is private or absent; check the name, or {_LOG_IN}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no folder {repo}, and no model on the Hub of that name that your token sees; check it"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}; give one of its branches, tags or commits"
    if isinstance(error, HFValidationError):
        return no_folder(repo)
    if isinstance(error, LocalTokenNotFoundError):
        return f"no token is stored on this machine; {_LOG_IN}"
    if isinstance(error, FileMetadataError):
        return (
            f"{repo} cannot be {action} the Hub: something else answers in its place, "
            "a login page or a proxy; log in to the network or check HF_ENDPOINT"
        )
    if status == 401:
        return f"the Hub does not accept the token; {_LOG_IN} that is valid"
    if status == 403:
        return f"your token does not allow this with {repo}; give one with the right permissions"
    if status == 429 or status >= 500:
        meaning = "too many requests" if status == 429 else "a fault on its side"
        return f"{repo} cannot be {action} the Hub, which answers {status} ({meaning}); try again later"
    return None
