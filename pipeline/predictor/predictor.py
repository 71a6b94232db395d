"""A predictor of held-out accuracy: a sum of what each of a subnet's features contributes, kept in a JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.features import Features
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, eq=False)
class Predictor:
    """Of top-1 accuracy, per cent.

    Attributes:
        intercept, choices, sums, products: coefficients of the features; products may all have 0.
        subnets: how many it was fitted to.
        error: root mean square of what predictions of subnets that were left out of the fit are off by, points.
        rank_correlation: Spearman's, between these predictions and what was measured; 0 where it is not defined.
    """

    features: Features
    intercept: float
    choices: np.ndarray
    sums: np.ndarray
    products: np.ndarray
    subnets: int
    error: float
    rank_correlation: float

    def __call__(self, rows: Rows) -> np.ndarray:
        """Predicted top-1, per cent: float64 [N]."""
        features = self.features
        predicted = self.intercept + features.choices(rows) @ self.choices + features.sums(rows) @ self.sums
        return predicted + features.products(rows) @ self.products if self.products.any() else predicted

    def of(self, subnet: Subnet) -> float:
        """Predicted top-1 of one subnet, per cent.

        Raises:
            SubnetError: for a resolution that is none of the space's.
        """
        return float(self(self.features.encoding.encode([subnet]))[0])

    def written(self, network: str, images: int) -> Written:
        """What its file holds.

        Args:
            network: that it was fitted on, by its recipe's name.
            images: that each subnet was measured on.
        """
        weights = iter(self.choices.tolist())
        names = self.features.names()
        products = zip(*np.triu_indices(len(names)), self.products.tolist(), strict=True)
        return Written(
            network=network,
            intercept=self.intercept,
            contributions={
                name: {value: next(weights) for value in values} for name, values in _legal(self.features).items()
            },
            sums=dict(zip(names, self.sums.tolist(), strict=True)),
            products={f"{names[one]} * {names[other]}": weight for one, other, weight in products if weight},
            subnets=self.subnets,
            images=images,
            error=self.error,
            rank_correlation=self.rank_correlation,
        )


class Written(BaseModel):
    """Top-1 accuracy in per cent = `intercept` + the sum of `contributions` over what a subnet chooses + its `sums` and
    their `products`, each times its factor; see `Features`.

    Attributes:
        contributions: of each value, by the choice's name.
        sums, products: factors by name; 0 where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    intercept: Finite
    contributions: dict[str, dict[str, Finite]]
    sums: dict[str, Finite]
    products: dict[str, Finite]
    subnets: int = Field(gt=0)
    images: int = Field(gt=0)
    error: float = Field(ge=0, allow_inf_nan=False)
    rank_correlation: Finite

    def write(self, path: Path) -> None:
        """Raises OSError where it cannot be written."""
        write_json(path, self.model_dump(mode="json"))


def read_predictor(path: Path, space: Space, key: str) -> Predictor:
    """The predictor in a file, for subnets of `space`.

    Args:
        key: what named the file, for messages.

    Raises:
        UsageError: where it cannot be read, is damaged, or is of another network or other choices.
    """
    try:
        content = checked(read_json(path), TypeAdapter(Written))
    except OSError as error:
        raise UsageError(f"{key}: {path}: {error.strerror}; deps predictor makes one") from None
    except DamagedError as damage:
        raise UsageError(f"{key}: {path}: is damaged, or no predictor: {damage}") from None
    features = Features(Encoding(space))
    if reason := _difference(content, features):
        raise UsageError(f"{key}: {path}: is of {content.network} and does not fit: {reason}")
    names = features.names()
    pairs = (f"{names[one]} * {names[other]}" for one, other in zip(*np.triu_indices(len(names)), strict=True))
    return Predictor(
        features,
        content.intercept,
        np.array([content.contributions[name][value] for name, values in _legal(features).items() for value in values]),
        np.array([content.sums.get(name, 0.0) for name in names]),
        np.array([content.products.get(pair, 0.0) for pair in pairs]),
        content.subnets,
        content.error,
        content.rank_correlation,
    )


def _legal(features: Features) -> dict[str, tuple[str, ...]]:
    """The values of each choice, as text, by the choice's name."""
    encoding = features.encoding
    return {encoding.name(column): tuple(map(str, values)) for column, values in enumerate(encoding.values)}


def _difference(content: Written, features: Features) -> str | None:
    """The first choice or feature that file and space do not share; None where there is none."""
    ours, theirs = _legal(features), content.contributions
    for name in (*ours, *theirs):
        if name not in theirs:
            return f"it lacks {name}"
        if name not in ours:
            return f"it has {name}, which is no choice here"
        if set(ours[name]) != set(theirs[name]):
            return f"its {name} is one of {', '.join(theirs[name])}, here of {', '.join(ours[name])}"
    names = set(features.names())
    found = {*content.sums, *(part for pair in content.products for part in pair.split(" * "))}
    return next((f"it has {name}, which is nothing here" for name in sorted(found - names)), None)
