"""The ruler for whole photos: what a user sees of an edit, from file to file, by networks that took no part in it."""

__all__ = [
    "age_readers",
    "assemble",
    "blind",
    "editing",
    "expressions",
    "figures",
    "frames",
    "measure_photos",
    "naturalness",
    "sizes",
    "surroundings",
    "variants",
    "whole_photos",
]
