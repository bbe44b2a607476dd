"""The model card and contact sheets: pictures, tables and charts rendered from results files.

`render` gives the card's text and `write_card` the card with its figures; both refuse results of other weights
(`check_current`). `contact_sheet` and `compare_sheet` lay out edited faces with their readings.
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .card import check_current, fingerprints, own_folder, read_results, render, write_card
    from .contact_sheet import compare_sheet, demo_sheet
    from .facts import Facts
    from .results import Goal
else:
    __getattr__ = exports(
        __name__,
        {
            "Facts": ".facts",
            "Goal": ".results",
            "check_current": ".card",
            "compare_sheet": ".contact_sheet",
            "demo_sheet": ".contact_sheet",
            "fingerprints": ".card",
            "own_folder": ".card",
            "read_results": ".card",
            "render": ".card",
            "write_card": ".card",
        },
    )

__all__ = [
    "Facts",
    "Goal",
    "check_current",
    "compare_sheet",
    "demo_sheet",
    "fingerprints",
    "own_folder",
    "read_results",
    "render",
    "write_card",
]
