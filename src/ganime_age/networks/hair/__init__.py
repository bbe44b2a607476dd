"""Hair: where it is, to the strand (finding.py), and how it turns grey or young (growing.py, with what is known of the
head in on_head.py and of a beard in beard.py)."""
