"""The kinds of failure that a person can do something about, each told in one line."""


class UsageError(ValueError):
    """A recipe, option or run that cannot work as asked: what, where, and which values are legal. Exit code 2."""


class RunFailure(RuntimeError):  # noqa: N818 (a failure of the run, named as people call it)
    """What went wrong while running: damage found, a loss that is not finite. Exit code 1."""


class PeerFailure(RunFailure):
    """Another process of the run failed, and tells why; this one leaves with it, silently."""
