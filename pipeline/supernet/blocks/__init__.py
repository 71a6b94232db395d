"""The kinds of blocks that stages are made of, by the names that spaces call them by."""

from __future__ import annotations

from pipeline.supernet.blocks.block import ElasticBlock
from pipeline.supernet.blocks.mbconv import ElasticMBConv

BLOCKS: dict[str, type[ElasticBlock]] = {
    "mbconv": ElasticMBConv,
}
