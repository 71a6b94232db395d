"""The licence that published weights are under, by the layout that they are in."""

from __future__ import annotations

from pipeline.published.layout import ATTENTIVE_NAS, layout_of
from pipeline.supernet.space import Space

_OFA = "OFA's own weights are under the MIT licence; those of others in this layout (CompOFA, DεpS) are under theirs"
_NON_COMMERCIAL = "AttentiveNAS's and AlphaNet's weights are under CC BY-NC 4.0: not for commercial use"


def licence_note(space: Space) -> str:
    """What is to be told wherever weights imported into `space` are used."""
    return _NON_COMMERCIAL if layout_of(space) is ATTENTIVE_NAS else _OFA
