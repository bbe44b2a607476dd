"""Endings of the files that the package reads and writes. No packages here: the command line's help shows them."""

from __future__ import annotations

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
"""Endings of the photo files that a folder is searched for."""

SHARDS = (".tar", ".parquet")
"""Endings of the files that hold many photos."""

CLIPS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".3gp", ".ts", ".mpg", ".mpeg", ".flv", ".wmv")
"""File endings that are always clips; a .gif may also be a photo."""

WRITTEN_PHOTOS = ".png, .jpg or .webp"
"""In words, the endings with which an edited photo is written."""

WRITTEN_CLIPS = ".mp4 or .gif"
"""In words, the endings with which a clip is written."""
