"""The packages that training needs beside the package's own: asked for before a script imports them."""

import sys
from importlib.util import find_spec

from ...errors import MissingModel

TRAIN = ("accelerate", "pandas", "pyarrow", *(("tomli",) if sys.version_info < (3, 11) else ()))


def need_train() -> None:
    """End the process with one sentence and MissingModel's exit code when the extra `train` is not installed."""
    missing = [name for name in TRAIN if find_spec(name) is None]
    if missing:
        print(
            f"error: {', '.join(missing)} must be installed for this: pip install -e '.[train]'",
            file=sys.stderr,
        )
        sys.exit(MissingModel.exit_code)
