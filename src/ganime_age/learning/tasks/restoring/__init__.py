"""Training the generator that restores what was erased, and the readers of patches that steer it."""
