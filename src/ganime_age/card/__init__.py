"""The model card and contact sheets: pictures, tables and charts rendered from results files."""

from .card import check_current, fingerprints, own_folder, read_results, render, write_card

__all__ = ["check_current", "fingerprints", "own_folder", "read_results", "render", "write_card"]
