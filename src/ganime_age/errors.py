"""What a user may do wrong or lack, as exceptions whose message is one plain sentence."""


class GanimeAgeError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class BadInput(GanimeAgeError, ValueError):
    """The photo, the request or the data cannot be used; the message says why and what to do."""

    exit_code = 2


class MissingModel(GanimeAgeError):
    """Weights, a network connection or an optional package are missing or damaged."""

    exit_code = 3
