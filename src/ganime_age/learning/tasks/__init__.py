"""What each recipe trains, one task a file, and what they share."""

import importlib
from types import ModuleType

__all__ = ["FORMER", "TASKS", "task_module"]

TASKS = (
    "readers",
    "local_reader",
    "age_judge",
    "aifd",
    "identity",
    "attributes",
    "hair",
    "prototypes",
    "detector",
    "head",
    "ganimation_age",
    "ganimation_age_published",
    "ganimation",
    "agetransgan",
    "ragan",
    "dual_shape",
    "dual_generator",
    "restore",
    "denoise",
    "distil",
)
"""What a recipe's `task` may be: modules of this package with a `Recipe` and a `build`."""

ROOMS = {
    "restore": "restoring",
    "denoise": "denoising",
    "distil": "denoising",
    "identity": "aligned",
    "attributes": "aligned",
}
"""Tasks whose module lies in a package of its own."""

FORMER = {"finder": "detector", "ganimation_age_seed": "ganimation_age_published"}
"""Names of tasks in older recipes."""


def task_module(name: str) -> ModuleType:
    """The module of a task of TASKS, or of its former name. KeyError for any other."""
    name = FORMER.get(name, name)
    if name not in TASKS:
        raise KeyError(name)
    return importlib.import_module(".".join([__name__, *([ROOMS[name]] if name in ROOMS else []), name]))
