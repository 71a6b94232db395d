"""What goes wrong with a stream, before it is known which sample is concerned."""


class StreamFailure(RuntimeError):  # noqa: N818 (named as ShardDamage is: for what it tells)
    """A stream that cannot be opened, or that ends before the shard does; tells why, in words.

    Attributes:
        final: whether it would be the same another time.
    """

    def __init__(self, reason: str, final: bool = False):
        super().__init__(reason)
        self.final = final
