"""How images are shown to a supernet that has no recipe: by the conventions of its network's authors."""

from __future__ import annotations

from pathlib import Path

from data_shards.config import DataConfig
from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.evaluation.conventions import CONVENTIONS
from pipeline.published.layout import ATTENTIVE_NAS, layout_of
from pipeline.supernet.space import Space

AUTO, NONE = "auto", "none"
_LEAST_SIDE = 128  # of images that are shown as ImageNet's are, pixels


def imported_data(space: Space, shards: Path, convention: str) -> DataConfig:
    """The images of `shards`, for subnets of `space`.

    Args:
        convention: a name out of `CONVENTIONS`; NONE for whole images; AUTO for the first one published for the
            network's layout (`ofa`, `attentive_nas`), but NONE where its images are small.

    Raises:
        UsageError: naming the legal conventions.
    """
    data = DataConfig(shards=shards)
    if convention == AUTO:
        published = "attentive_nas" if layout_of(space) is ATTENTIVE_NAS else "ofa"
        convention = published if max(space.image_sides) >= _LEAST_SIDE else NONE
    if convention == NONE:
        return data
    if convention not in CONVENTIONS:
        raise UsageError(f"--convention {shown(convention)}: legal values: {', '.join((AUTO, NONE, *CONVENTIONS))}")
    return CONVENTIONS[convention].applied_to(data)
