"""The command line: `ganime-age edit | reenact | animate | read | verify | demo | convert | push | deploy-space`.

Its promise is the commands, their options and exit codes (0 all well, 1 a bug, 2 bad input, 3 a missing or damaged
model), not Python names; `ganime-age COMMAND --help` describes each.
"""

__all__: list[str] = []
