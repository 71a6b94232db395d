"""Fitting a predictor to subnets whose accuracy was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.predictor.encoding import encode, legal
from pipeline.predictor.predictor import Predictor
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

LEAST = 10  # subnets
_FOLDS = 5
_PENALTIES = tuple(10.0**power for power in range(-3, 4))


def fit(network: str, space: Space, measured: Sequence[tuple[Subnet, float]], images: int) -> Predictor:
    """The ridge regression of accuracy on what subnets choose.

    Its penalty is chosen by leaving out one subnet at a time. How well it predicts is measured by leaving out a fifth
    of the subnets at a time.

    Args:
        network: its name, for the file.
        measured: at least `LEAST` subnets of `space`, and the top-1 accuracy of each, per cent.
        images: that it was measured on.
    """
    from scipy.stats import rankdata
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    assert len(measured) >= LEAST
    inputs = np.stack([encode(space, subnet) for subnet, _ in measured])  # [subnets, values]
    outputs = np.array([accuracy for _, accuracy in measured])
    ridge = RidgeCV(alphas=_PENALTIES)
    folds = KFold(_FOLDS, shuffle=True, random_state=0)
    left_out = np.asarray(cross_val_predict(ridge, inputs, outputs, cv=folds))
    correlation = np.corrcoef(rankdata(outputs), rankdata(left_out))[0, 1] if _vary(outputs, left_out) else 0.0
    ridge.fit(inputs, outputs)
    weights = iter(np.asarray(ridge.coef_).tolist())
    return Predictor(
        network=network,
        intercept=float(ridge.intercept_),
        contributions={name: {value: next(weights) for value in values} for name, values in legal(space).items()},
        subnets=len(measured),
        images=images,
        rank_correlation=float(correlation),
        mean_error=float(np.abs(outputs - left_out).mean()),
    )


def _vary(*figures: np.ndarray) -> bool:
    return all(np.ptp(each) > 0 for each in figures)
