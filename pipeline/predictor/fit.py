"""Fitting a predictor to subnets whose accuracy was measured.

Ridge regression. How strong it is, and how much it believes in each group of features, is chosen by leaving out one
subnet at a time: whether products of sums help at all is found out so. How well it predicts is measured by leaving out
a fifth of the subnets at a time.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.features import Features
from pipeline.predictor.predictor import Predictor

_FOLDS = 5
# Beside sums, whose scale is 1. A group's scale is how large its coefficients are expected to be.
_CHOICES, _PRODUCTS = (0.05, 0.2, 0.6), (0.0, 0.3, 1.0)
_STRENGTHS = 10.0 ** np.arange(-6, 2)


def fit(encoding: Encoding, rows: Rows, accuracies: np.ndarray) -> Predictor:
    """The predictor of the measured top-1 `accuracies`, per cent, of two or more subnets: float64 [N]."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    features = Features(encoding)
    groups = [features.choices(rows), features.sums(rows), features.products(rows)]
    tried: list[tuple[Any, np.ndarray, tuple[float, ...]]] = []
    for choices, products in itertools.product(_CHOICES, _PRODUCTS):
        scales = (choices, 1.0, products)
        columns = np.concatenate([scale * group for scale, group in zip(scales, groups, strict=True)], axis=1)
        tried.append((RidgeCV(_STRENGTHS, gcv_mode="eigen").fit(columns, accuracies), columns, scales))
    fitted, columns, scales = max(tried, key=lambda each: each[0].best_score_)  # minus the mean square of the left-out
    folds = KFold(min(_FOLDS, len(rows)), shuffle=True, random_state=0)
    left_out = np.asarray(cross_val_predict(Ridge(fitted.alpha_), columns, accuracies, cv=folds))
    split = np.cumsum([group.shape[1] for group in groups])[:2]
    coefficients = [scale * part for scale, part in zip(scales, np.split(fitted.coef_, split), strict=True)]
    return Predictor(
        features,
        float(fitted.intercept_),
        *coefficients,
        subnets=len(rows),
        error=float(np.sqrt(np.mean((left_out - accuracies) ** 2))),
        rank_correlation=_rank_correlation(accuracies, left_out),
    )


def _rank_correlation(measured: np.ndarray, predicted: np.ndarray) -> float:
    """Spearman's; 0 where it is not defined."""
    from scipy.stats import rankdata

    if not np.ptp(measured) or not np.ptp(predicted):
        return 0.0
    return float(np.corrcoef(rankdata(measured), rankdata(predicted))[0, 1])
