"""A photo at a web address: fetched only where a caller allows it, within a size and a time.

Nothing but http and https is opened, before and after a redirection.
"""

from __future__ import annotations

import re
import time
from http.client import HTTPException
from pathlib import PurePosixPath
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import unquote
from urllib.response import addinfourl

from .._version import __version__
from ..errors import BadInput
from .endings import CLIPS
from .named import Named

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
"""How an address begins; what begins with one letter is a drive of Windows."""
NAME_KEPT = 60
"""Characters of a file's name that are kept, its last ones."""

MOST_BYTES = 50_000_000
SECONDS = 30.0
"""For the whole download."""
CHUNK = 1 << 16
HANDLERS = (
    request.ProxyHandler,
    request.UnknownHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPRedirectHandler,
    request.HTTPErrorProcessor,
)
"""urllib's, without those of FTP, of files and of data in the address."""


def is_address(source: object) -> bool:
    """Is it an address, such as https://..., rather than a path?"""
    return isinstance(source, str) and ADDRESS.match(source) is not None


def address_name(address: str) -> str:
    """What the file at an address is called: the last part of its path, of which nothing leads elsewhere."""
    path = re.split("[?#]", address)[0].partition("://")[2].partition("/")[2]
    last = unquote(path).rpartition("/")[2]
    return re.sub(r"[^\w. -]", "_", last)[-NAME_KEPT:].lstrip(".") or "photo"


def check_address(address: str, allowed: bool) -> None:
    """BadInput unless the photo at an address may be fetched: clips, and what is not http or https, never are."""
    if PurePosixPath(address_name(address)).suffix.lower() in CLIPS:
        raise BadInput(f"{address} is a web address; download the clip and give its path")
    if not address.lower().startswith(("http://", "https://")):
        raise BadInput(
            f"{address} cannot be fetched: only http and https are; download the photo and give its path"
        )
    if not allowed:
        raise BadInput(
            f"{address} is a web address, and nothing is fetched unless it is allowed; download the photo, or set "
            "allow_download=True (--allow-download)"
        )


def fetched(address: str, allowed: bool) -> Named:
    """The photo at a web address; BadInput as `check_address` and `fetch`."""
    check_address(address, allowed)
    return Named(fetch(address), address_name(address))


def fetch(address: str) -> bytes:
    """The bytes at a web address; BadInput says why it cannot be had, or is larger or slower than allowed."""
    opener = request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    until = time.monotonic() + SECONDS
    try:
        asked = request.Request(address, headers={"User-Agent": f"ganime_age/{__version__}"})
        with opener.open(asked, timeout=SECONDS) as answer:
            return _body(answer, address, until)
    except HTTPError as error:
        reason = f"HTTP {error.code} {error.reason}"
    except URLError as error:
        reason = str(getattr(error.reason, "strerror", None) or error.reason)
    except (HTTPException, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
    raise BadInput(f"{address} cannot be fetched ({reason}); check the address and the connection")


def _body(answer: addinfourl, address: str, until: float) -> bytes:
    pieces, size = [], 0
    while piece := answer.read1(CHUNK):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise BadInput(f"{address} is larger than {MOST_BYTES // 1_000_000} MB; give a smaller photo")
        if time.monotonic() > until:
            raise BadInput(
                f"{address} did not arrive within {SECONDS:.0f} s; download it first and give the file"
            )
    return b"".join(pieces)
