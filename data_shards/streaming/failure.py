"""The error of a stream: that it fails is known before it is known which sample that concerns."""


class StreamFailure(RuntimeError):  # noqa: N818 (named as ShardDamage is: for what it tells)
    """A stream cannot be opened, or has ended before the shard did; its text tells why.

    Attributes:
        final: whether it would fail again if it were tried again.
    """

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason)
        self.final = final
