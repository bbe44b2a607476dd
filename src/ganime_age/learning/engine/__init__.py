"""The training engine: it knows tasks, losses and checkpoints, and no faces."""

__all__ = [
    "atomic_files",
    "checkpoints",
    "collapse",
    "distributed",
    "logging",
    "loop",
    "recipe",
    "requirements",
    "task",
]
