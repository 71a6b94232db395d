"""Accuracy of subnets as a linear function of their features, fitted to those that were measured.

Ridge regression, with leave-one-out cross-validation to choose how strong it is and how much it believes in each group
of features: whether products of sums help at all is found out so. What the left-out subnets were off by is its error.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.search.encoding import Encoding, Rows
from pipeline.search.features import Features
from pipeline.supernet.space import Space

# Beside sums, whose scale is 1. A group's scale is how large its coefficients are expected to be.
_CHOICES, _PRODUCTS = (0.05, 0.2, 0.6), (0.0, 0.3, 1.0)
_STRENGTHS = 10.0 ** np.arange(-6, 2)


@dataclass(frozen=True, eq=False)
class Predictor:
    """Of top-1 accuracy, per cent.

    Attributes:
        intercept, choices, sums, products: coefficients of the features; products may all have 0.
        error: root mean square of what measured subnets were off by, each predicted from all others, points.
        samples: number of subnets that it was fitted to.
    """

    features: Features
    intercept: float
    choices: np.ndarray
    sums: np.ndarray
    products: np.ndarray
    error: float
    samples: int

    @staticmethod
    def fit(encoding: Encoding, rows: Rows, accuracies: np.ndarray) -> Predictor:
        """The predictor of the measured `accuracies` of two or more subnets: float64 [N]."""
        from sklearn.linear_model import RidgeCV

        features = Features(encoding)
        groups = [features.choices(rows), features.sums(rows), features.products(rows)]
        tried: list[tuple[Any, tuple[float, ...]]] = []
        for choices, products in itertools.product(_CHOICES, _PRODUCTS):
            scales = (choices, 1.0, products)
            columns = np.concatenate([scale * group for scale, group in zip(scales, groups, strict=True)], axis=1)
            tried.append((RidgeCV(_STRENGTHS, gcv_mode="eigen").fit(columns, accuracies), scales))
        fitted, scales = max(tried, key=lambda each: each[0].best_score_)  # minus the mean square of the left-out
        split = np.cumsum([group.shape[1] for group in groups])[:2]
        found = [scale * part for scale, part in zip(scales, np.split(fitted.coef_, split), strict=True)]
        error = math.sqrt(max(-float(fitted.best_score_), 0.0))
        return Predictor(features, float(fitted.intercept_), *found, error=error, samples=len(rows))

    def __call__(self, rows: Rows) -> np.ndarray:
        """Predicted top-1, per cent: float64 [N]."""
        features = self.features
        predicted = self.intercept + features.choices(rows) @ self.choices + features.sums(rows) @ self.sums
        return predicted + features.products(rows) @ self.products if self.products.any() else predicted

    def write(self, path: Path) -> None:
        """Write it as JSON, with the SHA-256 of its space.

        Raises:
            OSError: where `path` cannot be written.
        """
        vectors = {name: getattr(self, name).tolist() for name in ("choices", "sums", "products")}
        about = {"space": _digest(self.features.encoding.space), "samples": self.samples, "error": self.error}
        write_json(path, {**about, "intercept": self.intercept, **vectors})

    @staticmethod
    def read(path: Path, space: Space) -> Predictor:
        """The predictor that `write` wrote.

        Raises:
            UsageError: where there is none, or it is damaged, or of another space.
        """
        features = Features(Encoding(space))
        try:
            content = checked(read_json(path), TypeAdapter(_Written))
            if content.space != _digest(space):
                raise UsageError(f"{path}: is the predictor of another space")
            for name, wanted in features.lengths().items():
                if len(getattr(content, name)) != wanted:
                    raise DamagedError(f"{name}: {len(getattr(content, name))} coefficients, not {wanted}")
        except OSError as error:
            raise UsageError(f"{path}: is no predictor: {error.strerror}") from None
        except DamagedError as damage:
            raise UsageError(f"{path}: is damaged: {damage}") from None
        vectors = (np.array(each, np.float64) for each in (content.choices, content.sums, content.products))
        return Predictor(features, content.intercept, *vectors, error=content.error, samples=content.samples)


_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    space: str
    samples: int = Field(ge=2)
    error: float = Field(ge=0, allow_inf_nan=False)
    intercept: _Finite
    choices: tuple[_Finite, ...]
    sums: tuple[_Finite, ...]
    products: tuple[_Finite, ...]


def _digest(space: Space) -> str:
    return hashlib.sha256(json.dumps(asdict(space), sort_keys=True).encode()).hexdigest()
