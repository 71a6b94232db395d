"""The console command `deps`: makes sure that our packages are really ours, then hands over to `pipeline.cli`, with the
commands of `cluster`, which `pipeline` knows nothing of."""

import importlib
import sys


def main() -> None:
    try:
        pipeline = importlib.import_module("pipeline")
        if getattr(pipeline, "DISTRIBUTION", None) != "delayed-epsilon-shrinking":
            raise ImportError(
                f"the package 'pipeline' at {getattr(pipeline, '__file__', None)} belongs to another distribution; "
                "uninstall that one, then reinstall delayed-epsilon-shrinking"
            )
        cli = importlib.import_module("pipeline.cli")
        importlib.import_module("cluster.cli").add_commands(cli.app)
    except ImportError as error:
        print(f"deps: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
