"""The skin of an edited face: which part of a face it is, its texture, and the creases of old age."""
