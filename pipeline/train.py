"""The program that trains, on one process or on each of many: parse, train, exit.

Started by `deps train RECIPE`, `deepspeed --module pipeline.train RECIPE`, `torchrun -m pipeline.train RECIPE` or
`srun python -m pipeline.train RECIPE`. What trains is imported when it is called for: each process that reads ahead
imports this program again, as Python's way of starting processes has it, and needs none of that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from pipeline.console.exit_codes import exit_code, one_line_errors
from pipeline.errors import UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def main() -> None:
    """Parse the command line of one process, train, and exit as `pipeline.console.exit_codes` says."""
    parser = _Parser(
        prog="pipeline.train",
        description="Train a supernet by a recipe. `deps train` is the same on one process.",
        epilog="example: deepspeed --num_gpus 2 --module pipeline.train recipes/digits.yaml seed=1",
    )
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="a YAML file, see recipes/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of any recipe key, for example seed=1")
    parser.add_argument("--resume", action="store_true", help="continue the run if it was begun")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # added by the deepspeed launcher
    with one_line_errors("pipeline.train"):
        arguments = parser.parse_intermixed_args()
        from pipeline.experiment import train
        from pipeline.recipe.reading import load_recipe

        sys.exit(exit_code(train(load_recipe(arguments.recipe, arguments.overrides), arguments.resume)))


if __name__ == "__main__":
    main()
