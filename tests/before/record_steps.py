"""Writes data/steps.json.gz: weights and momentum after five steps, and the processor of this machine."""

import sys
import tempfile
from pathlib import Path

import torch

from tests.before import recorded, steps, today
from tests.before.subnets import weights_for


def main(shards: Path) -> None:
    torch.set_num_threads(1)
    states = {}
    for case in steps.CASES:
        with tempfile.TemporaryDirectory() as runs:
            states[case] = recorded.summary(steps.state_after(case, shards, Path(runs)))
    in_float64 = recorded.summary(today.five_steps_in_float64(steps.FIVE, weights_for))
    recorded.write("steps", {"processor": recorded.processor(), "states": states, "in float64": in_float64})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
