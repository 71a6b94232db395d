"""Spaces as the tests have them besides the networks'."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space

# Whatever the machine is busy with.
patiently = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])

# Two stages, other channels, one projected shortcut.
TOY = Space(
    stem=(LayerSpace("first", "conv", (8,), 3, 2, "first_bn", "relu"),),
    stages=(
        StageSpace("mbconv", (8,), (1, 2), (3, 5), (2, 4), 1, "relu"),
        StageSpace("mbconv", (24,), (1, 2), (3,), (2, 3), 2, "swish", squeeze_excite=True, shortcut="projected"),
    ),
    head=(LayerSpace("pool", "pool"), LayerSpace("classifier", "linear", (10,), bias=True)),
    resolutions=(16,),
)

# Everything varies: stem, widths, fractional ratios, head; nothing is shared by all subnets.
OPEN = Space(
    stem=(
        LayerSpace("first", "conv", (8, 16), 3, 2, "first_bn", "swish"),
        StageSpace("mbconv", (16,), (1, 2), (3,), (1,), 1, "swish", shortcut="none", has_expand_conv=False),
    ),
    stages=(
        StageSpace("mbconv", (16, 24), (1, 3), (3, 5), (0.5, 1, 2.5), 2, "relu", has_transforms=False, per="stage"),
        StageSpace("mbconv", (24,), (2,), (3, 7), (2, 3), 1, "h_swish", squeeze_excite=True),
        StageSpace("mbconv", (32, 40), (1, 2), (5,), (2, 4), 2, "swish", shortcut="projected", ties=((1, 2), (2, 4))),
    ),
    head=(
        LayerSpace("mix", "conv", (64, 96), norm="mix_bn", activation="relu"),
        LayerSpace("pool", "pool"),
        LayerSpace("wide", "linear", (48, 80), activation="swish"),
        LayerSpace("classifier", "linear", (10,), bias=True),
    ),
    resolutions=(16, 24),
    epsilon=1e-3,
)


def choices(values: list[float], most: int = 3) -> st.SearchStrategy[tuple]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(sorted).map(tuple)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any space of up to four stages."""
    stages = []
    for _ in range(draw(st.integers(1, 4))):
        depths = draw(choices([1, 2, 3, 5]))
        expands = draw(choices([0.2, 0.25, 0.35, 1, 2.5, 3, 4, 6, 12]))
        ties = tuple((depth, draw(st.sampled_from(expands))) for depth in depths) if draw(st.booleans()) else ()
        kernels, widths = draw(choices([1, 3, 5, 7, 9, 11])), draw(choices([8, 16, 24, 104]))
        per = draw(st.sampled_from(["block", "stage"]))
        stages.append(StageSpace("mbconv", widths, depths, kernels, expands, 1, "relu", per=per, ties=ties))
    stem, head = (
        tuple(
            LayerSpace(f"{place}{index}", "conv", draw(choices([8, 16, 24])))
            for index in range(draw(st.integers(0, 2)))
        )
        for place in ("stem", "head")
    )
    classifier = LayerSpace("classifier", "linear", (10,), bias=True)
    return Space(stem, tuple(stages), (*head, classifier), draw(choices([16, 32, 224])))
