"""The kinds of blocks that stages are made of, by the names that spaces call them by."""

from __future__ import annotations

from pipeline.supernet.blocks.block import ElasticBlock
from pipeline.supernet.blocks.bottleneck import ElasticBottleneck
from pipeline.supernet.blocks.mbconv import ElasticMBConv
from pipeline.supernet.blocks.residual_conv import ElasticResidualConv

BLOCKS: dict[str, type[ElasticBlock]] = {
    "mbconv": ElasticMBConv,
    "bottleneck": ElasticBottleneck,
    "residual_conv": ElasticResidualConv,
}
