"""The networks under one roof, the table of edit methods, their files, and the Hub.

`GanimeAge` holds the parts: it reads, edits and reenacts aligned faces as tensors, and loads and saves itself from a
folder or a Hub repository. `METHODS` is the one table of edit methods; a new method is a row of it.
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .methods import METHODS, Method, Part
    from .model import GanimeAge
else:
    __getattr__ = exports(
        __name__,
        {
            "GanimeAge": ".model",
            "METHODS": ".methods",
            "Method": ".methods",
            "Part": ".methods",
        },
    )

__all__ = ["GanimeAge", "METHODS", "Method", "Part"]
