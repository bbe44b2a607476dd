"""The training engine: it knows tasks, losses and checkpoints, and no faces."""
