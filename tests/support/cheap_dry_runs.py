"""Dry runs that do all that dry runs do, on as little as may be."""

import pytest

from pipeline.forecast import dry_run, trial_steps
from pipeline.methods import prior, work


def cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have dry runs train each phase's first step once, on two small images, and count the MACs of few steps."""
    monkeypatch.setattr(dry_run, "_TRIAL_MACS", 0)
    monkeypatch.setattr(dry_run, "_LEAST_TRIAL_IMAGES", 2)  # mixup and cutmix pair them
    monkeypatch.setattr(trial_steps, "_apart", lambda sides: [32])
    monkeypatch.setattr(trial_steps, "_WARM_UP_STEPS", 0)
    monkeypatch.setattr(trial_steps, "_LEAST_STEPS", 1)
    monkeypatch.setattr(trial_steps, "_SECONDS", 0.0)
    monkeypatch.setattr(work, "_DRAWN_STEPS", 2)
    prior_of_all = prior._table
    monkeypatch.setattr(prior, "_table", lambda space, width, size, seed: prior_of_all(space, width, 50, seed))
