"""report.json of a folder of edits: what was asked, how many photos there are, and what failed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..atomic import replacing
from ..errors import BadInput
from .folders import Folder

NAME = "report.json"


@dataclass
class Report:
    """folder: where the edits are. asked: the request of all of them. failed: photo -> sentence."""

    folder: Folder
    asked: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, folder: Folder, asked: dict[str, Any], overwrite: bool) -> Report:
        """The report of a folder that is new or empty, holds edits of the same request, or may be overwritten; written
        at once, so that a run that is stopped is known again. BadInput for other work."""
        report = cls(folder, json.loads(json.dumps(asked, default=str)))
        if folder.names() and not overwrite:
            before = report.before()
            if before is None:
                raise BadInput(f"{folder} holds other work; give an empty folder, or add --overwrite")
            if before != report.asked:
                raise BadInput(
                    f"{folder} holds edits of another request; give an empty folder, or add --overwrite"
                )
        report.write()
        return report

    def before(self) -> dict[str, Any] | None:
        """What an earlier run asked; None where there is no report."""
        try:
            with self.folder.read(NAME) as path:
                asked = json.loads(path.read_text("utf-8"))["asked"]
        except (BadInput, OSError, ValueError, KeyError, TypeError):
            return None
        return asked if isinstance(asked, dict) else None

    def finish(self, photos: int, below: Iterable[str]) -> None:
        """Write it when all photos were tried, and remove what killed processes left of theirs. below: the folders that
        edits were written to, by their names below this one, "" for itself."""
        self.folder.tidy(below)
        self.write(photos)

    def write(self, photos: int | None = None) -> None:
        """Write it, whole or not at all. photos: how many the folder has, once all were tried."""
        said = {"asked": self.asked, "photos": photos, "failed": self.failed}
        try:
            with self.folder.write(NAME) as path, replacing(path, make_folders=True) as part:
                part.write_text(json.dumps(said, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise BadInput(
                f"{self.folder} cannot be written ({error.strerror or error}); choose another place"
            ) from None
