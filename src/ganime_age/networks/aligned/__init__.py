"""Readers that see a face aligned by five points: who it is, and how old."""
