"""A predictor of held-out accuracy: a sum of what each of a subnet's choices contributes, kept in a JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.predictor.encoding import chosen, legal
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet, SubnetError

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Predictor(BaseModel):
    """Top-1 accuracy in per cent = `intercept` + the sum of `contributions` over what a subnet chooses.

    Attributes:
        network: that it was fitted on, by its recipe's name.
        contributions: of each value, by the choice's name.
        subnets, images: that it was fitted on, and that each of these was measured on.
        rank_correlation: Spearman's, between measured accuracies and those predicted for subnets that were left out of
            the fit; 0 where it is not defined.
        mean_error: of these predictions, in points of accuracy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: str
    intercept: Finite
    contributions: dict[str, dict[str, Finite]]
    subnets: int = Field(gt=0)
    images: int = Field(gt=0)
    rank_correlation: Finite
    mean_error: Finite

    def __call__(self, space: Space, subnet: Subnet) -> float:
        """The accuracy predicted for a subnet of the space that it was read for.

        Raises:
            SubnetError: for a resolution that is none of the space's.
        """
        total = self.intercept
        for name, value in chosen(space, subnet):
            contribution = self.contributions[name].get(value)
            if contribution is None:
                raise SubnetError(f"subnet {subnet}: the predictor knows no {name} of {value}")
            total += contribution
        return total

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
        predictor = checked(read_json(path), TypeAdapter(Predictor))
    except OSError as error:
        raise UsageError(f"{key}: {path}: {error.strerror}; deps predictor makes one") from None
    except DamagedError as damage:
        raise UsageError(f"{key}: {path}: is damaged, or no predictor: {damage}") from None
    if reason := _difference(predictor, space):
        raise UsageError(f"{key}: {path}: is of {predictor.network} and does not fit: {reason}")
    return predictor


def _difference(predictor: Predictor, space: Space) -> str | None:
    """The first choice that predictor and space do not share; None where there is none."""
    ours, theirs = legal(space), predictor.contributions
    for name in (*ours, *theirs):
        if name not in theirs:
            return f"it lacks {name}"
        if name not in ours:
            return f"it has {name}, which is no choice here"
        if set(ours[name]) != set(theirs[name]):
            return f"its {name} is one of {', '.join(theirs[name])}, here of {', '.join(ours[name])}"
    return None
