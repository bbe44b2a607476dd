"""Erase and restore: what an edit would have to invent is erased, and a generator draws it (restorer.py)."""
