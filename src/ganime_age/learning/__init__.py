"""What trains and measures. Imported by training/ and the tests alone."""

__all__ = ["data", "engine", "evaluation", "external", "losses", "multipose", "prepare", "tasks"]
