"""The marks of an edited picture, and the search for them: metadata, watermark, Content Credentials.

`ganime_age.verify` is the question to ask; `Verdict` its answer. `write_edited` writes a picture with its mark,
`read_metadata` reads one back, and `Signer` holds the key for Content Credentials (C2PA).
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .c2pa import Signer
    from .metadata import write_edited
    from .verify import Verdict
    from .xmp import read_metadata
else:
    __getattr__ = exports(
        __name__,
        {
            "Signer": ".c2pa",
            "Verdict": ".verify",
            "read_metadata": ".xmp",
            "write_edited": ".metadata",
        },
    )

__all__ = ["Signer", "Verdict", "read_metadata", "write_edited"]
