"""Opens what a recipe's `data` names."""

from __future__ import annotations

from data_shards.config import DataConfig
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.store.index import Split, open_split
from data_shards.streaming.remote import open_remote


def open_data(config: DataConfig) -> tuple[Split, Split]:
    """Opens the training split, wherever it is, and the test split, which is always in the folder.

    Raises:
        ShardUsageError: as `open_split` does; also where training shards are elsewhere and the test split is damaged.
        ShardDamage: as `open_split` does.
    """
    if config.stream_from is None:
        return open_split(config.shards, "train"), open_split(config.shards, "test")
    train = open_remote(config.shards, "train", config.stream_from)
    try:
        return train, open_split(config.shards, "test")
    except ShardDamage as damage:
        raise ShardUsageError(
            f"{damage}; with data.stream_from only training shards are elsewhere: the test split must be whole in "
            f"{config.shards}"
        ) from None
