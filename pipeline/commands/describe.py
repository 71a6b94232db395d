"""`deps describe`: MACs and parameters of a space's subnets."""

from __future__ import annotations

from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.recipe.named_space import named_space
from pipeline.supernet.complexity import complexity
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

_COLUMNS = {"subnet": ("subnet", ""), "macs": ("MACs", ",d"), "params": ("parameters", ",d")}


def describe_subnet(space: Space, subnet: Subnet) -> dict[str, str | int]:
    """Text, MACs and parameters of one subnet."""
    size = complexity(space, subnet)
    return {"subnet": str(subnet), "macs": size.macs, "params": size.parameters}


def print_description(
    name: str,
    depth: int | None,
    expand: int | None,
    kernel: int | None,
    resolution: int | None,
    width: float | None,
    subnet_text: str | None,
    as_json: bool,
) -> None:
    """Print one subnet where any choice is given (the full model's for the rest), else the Pareto row."""
    space = named_space(name, width)
    chosen = any(value is not None for value in (depth, expand, kernel, resolution))
    if subnet_text is not None and chosen:
        raise UsageError("--subnet: says everything already; leave out --depth, --expand, --kernel and --resolution")
    if subnet_text is not None:
        subnets = [space.parse(subnet_text)]
    elif chosen:
        subnets = [space.uniform(depth, kernel, expand, resolution)]
    else:
        subnets = [subnet for _, subnet in space.pareto_row()]
    rows = [describe_subnet(space, subnet) for subnet in subnets]
    if as_json:
        print_json(rows)
    else:
        print_table(f"{name}: MACs of one image; trainable parameters of the extracted network", rows, _COLUMNS)
