"""How far a job is: `progress(done, total, note)`, which every method of the editor takes."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, "int | None", str], None]
"""Called with the number of steps or frames done, how many there are (None where nobody knows) and what happens now.
`done` never falls; the last call has done == total."""

FIND, READ, EDIT, READ_AGAIN = (
    "Finding the face",
    "Reading the face",
    "Editing the face",
    "Reading the result",
)
FRAMES, DONE = "Frames", "Done"


class Steps:
    """Reports the steps of one job, each as it starts. progress: None reports nothing. total: how many there are."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.started = progress, total, 0

    def __call__(self, note: str) -> None:
        """The next step starts."""
        self._report(self.started, note)
        self.started += 1

    def finish(self) -> None:
        """All steps are done."""
        self._report(self.total, DONE)

    def _report(self, done: int, note: str) -> None:
        if self.progress is not None:
            self.progress(done, self.total, note)


class FrameCount:
    """Reports the frames of a clip, each when it is done. total: how many a clip's header promises, or None."""

    def __init__(self, progress: Progress | None, total: int | None):
        self.progress, self.total, self.done = progress, total, 0

    def add(self) -> None:
        """One more frame is done."""
        self.done += 1
        self._report(None if self.total is None else max(self.total, self.done))

    def finish(self) -> None:
        """The clip is over: a header that promised another number of frames, or none, is set right."""
        if self.done != self.total:
            self._report(self.done)

    def _report(self, total: int | None) -> None:
        if self.progress is not None:
            self.progress(self.done, total, FRAMES)
