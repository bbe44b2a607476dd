"""What is in memory and has a name, as a file that was opened has."""

from __future__ import annotations

import io


class Named(io.BytesIO):
    """A photo's content as an open file. name: what it is called where it came from."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name
