"""Judges, test faces, metrics and the measurements that write results files."""

__all__ = [
    "detection",
    "judge_motion",
    "judged_motion",
    "judges",
    "measure_edits",
    "measure_estimator",
    "measure_multipose",
    "measure_provenance",
    "measure_readers",
    "measure_reenacted_clip",
    "measure_reenactment",
    "measure_speed",
    "measure_table1",
    "measure_training",
    "measure_units",
    "metrics",
    "reenactment_baselines",
    "reenactment_pairs",
    "reference_statistics",
    "test_faces",
]
