"""Readers that see a face aligned by five points: who it is, how old it looks and what it does."""
