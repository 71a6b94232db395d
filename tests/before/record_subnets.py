"""Writes data/subnets.json.gz: sizes and logits of each network's smallest, largest and 50 random subnets."""

import random
from dataclasses import replace

import torch

from tests.before import recorded, subnets, today


def main() -> None:
    content = {}
    for network in subnets.SIDES:
        space, lot = today.supernet(network).space, random.Random(network)
        drawn = [
            space.smallest(),
            space.largest(),
            *(space.sample(torch.Generator().manual_seed(i)) for i in range(50)),
        ]
        texts = [
            str(replace(each, resolution=lot.randint(1, 2) * each.resolution - lot.randint(0, 9))) for each in drawn
        ]
        content[network] = subnets.figures(network, texts)
    recorded.write("subnets", content)


if __name__ == "__main__":
    main()
