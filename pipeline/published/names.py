"""The many ways in which published state dicts spell one and the same name."""

from __future__ import annotations

import itertools
import re

# Parts that elastic layers wrap once more: `conv.conv.weight` where the static layer has `conv.weight`.
_WRAPS = frozenset({"conv", "bn", "linear"})
# AttentiveNAS's static networks number the layers of their head.
_HEADS = {"last_conv.0.": "last_conv.final_expand_layer.", "last_conv.2.": "last_conv.feature_mix_layer."}

TRACKED = "num_batches_tracked"  # beside a batch norm's statistics, in their layouts alone
TRACKING = "bn_tracking"  # statistics of AttentiveNAS's that nothing reads
_BESIDES = re.compile(rf"(.+?)\.(?:{TRACKED}|{TRACKING}\.\d+\.(?:running_mean|running_var|{TRACKED}))")


def normal(name: str) -> str:
    """One spelling for all: without `module.`, with OFA's newer `conv` for a block's body, with single wraps."""
    parts = ("conv" if part == "mobile_inverted_conv" else part for part in name.split(".") if part != "module")
    runs = ((part, len(list(run))) for part, run in itertools.groupby(parts))
    found = ".".join(".".join([part] if part in _WRAPS else [part] * length) for part, length in runs)
    for numbered, named in _HEADS.items():
        if found.startswith(numbered):
            return named + found.removeprefix(numbered)
    return found


def norm_of(name: str) -> str | None:
    """Normal name of the batch norm that a counter or statistic lies beside; None where `name` is none of these.

    They are those that no network computes with.
    """
    match = _BESIDES.fullmatch(name)
    return None if match is None else normal(match[1])
