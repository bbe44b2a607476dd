"""Judges, test faces, metrics and the measurements that write results files."""
