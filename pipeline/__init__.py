"""Training of once-for-all supernets, by delayed ε-shrinking (DεpS) and others, from recipe to evaluated subnets."""

import importlib
import os

DISTRIBUTION = "delayed-epsilon-shrinking"

# Before torch is imported: where a process of a run is lost, torch's C++ side warns with stack traces on its own; what
# happened is told in one line by pipeline.processes.liveness.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _refuse_foreign_packages() -> None:
    """Our top-level names are generic, and an installed package of the same name replaces ours without a word."""
    for name in ("kernels", "data_shards", "cluster"):
        package = importlib.import_module(name)
        if getattr(package, "DISTRIBUTION", None) != DISTRIBUTION:
            raise ImportError(
                f"the package '{name}' at {getattr(package, '__file__', None)} belongs to another distribution; "
                f"uninstall that one, then reinstall {DISTRIBUTION}"
            )


_refuse_foreign_packages()
importlib.import_module("pipeline.console.home").settle_home()  # of ours from here on
