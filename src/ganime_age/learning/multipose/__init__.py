"""The multi-pose set: faces turned to other poses, gated and packed."""
