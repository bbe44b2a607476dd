"""A photo at a web address: fetched only where a caller allows it, within a size and a time.

Nothing but http and https is opened, before and after a redirection.
"""

from __future__ import annotations

import time
from http.client import HTTPException
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.response import addinfourl

from .._version import __version__
from ..errors import BadInput

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
    """Is it a web address, rather than a path?"""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


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
