"""Age estimators that measure edits and are in no weights: one that watches trainings, and a committee that reports."""
