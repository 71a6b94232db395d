"""Engines train a subnet from its graph where they have one, and by its layers where they have none."""

import torch

from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.single import SingleEngine
from pipeline.supernet.networks import NETWORKS
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["mobilenet_v3_digits"]


def test_a_captured_subnet_is_replayed_on_the_trunks_features_and_others_are_computed() -> None:
    engine = SingleEngine(lively(SPACE), OptimizerConfig())
    trunk = engine.supernet.trunk(images(), full=False)
    engine.graphs[SPACE.smallest()] = lambda features: 2 * features
    assert torch.equal(engine.forward(trunk, SPACE.smallest(), last=False), 2 * trunk.features)
    assert engine.forward(trunk, SPACE.largest(), last=True).shape == (4, 10)
    # Evaluation asks the supernet itself, which knows of no graphs.
    assert engine.whole_supernet()(trunk, SPACE.smallest()).shape == (4, 10)
