"""Subnets are called as before, are of the size that they were, and compute what they computed."""

from typing import Any

import pytest

from tests.before import recorded, subnets

NETWORKS: dict[str, Any] = recorded.read("subnets")

ROUNDING = 1e-6  # of the greatest logit: they are computed in float64, and given in float32


def test_each_network_of_then_was_recorded() -> None:
    assert set(NETWORKS) == {"mobilenet_v3", "mobilenet_v3_32px", "mobilenet_v3_digits"}
    assert all(len(found) >= 50 for found in NETWORKS.values())


@pytest.mark.parametrize("network", NETWORKS)
def test_subnets_are_of_the_same_size_and_give_the_same_logits(network: str) -> None:
    before = NETWORKS[network]
    now = subnets.figures(network, list(before))
    assert list(now) == list(before), "texts that are read are written again"
    for text, was in before.items():
        found = now[text]
        assert (found["macs"], found["parameters"]) == (was["macs"], was["parameters"]), text
        assert found["logits"] == pytest.approx(was["logits"], rel=0, abs=ROUNDING * was["scale"]), text
