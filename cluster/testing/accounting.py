"""The accounting of the tests' SLURM: slurmdbd, and a MariaDB of its own that listens on a socket in the folder."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

from cluster.testing.daemons import PATH, Daemons, NoSlurmError, listens

PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "my_print_defaults")
CONFIGURATIONS = ("mariadb.cnf", "slurmdbd.conf")


def missing_for_accounting() -> list[str]:
    """What of slurmdbd and MariaDB is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def environment(folder: Path) -> dict[str, str]:
    """What slurmdbd needs to find the database of `folder`."""
    return {"MYSQL_UNIX_PORT": str(_socket(folder))}


def start(folder: Path, port: int, daemons: Daemons) -> None:
    """Make an empty database in `folder`, and start its server and slurmdbd; munge must be up.

    Args:
        port: of slurmdbd, as in its configuration.

    Raises:
        NoSlurmError: the database cannot be made, or a daemon does not come up.
    """
    defaults = f"--defaults-file={folder / CONFIGURATIONS[0]}"
    # This user is let in through the socket without a password, and nobody else is.
    command = ["mariadb-install-db", defaults, f"--auth-root-socket-user={getpass.getuser()}", "--skip-test-db"]
    with (folder / "mariadb-install-db.output").open("wb") as output:
        done = subprocess.run(
            command, env={**os.environ, "PATH": PATH}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    if done.returncode != 0:
        raise NoSlurmError(f"mariadb-install-db: ended with exit code {done.returncode}, see {output.name}")
    daemons.start("mariadbd", defaults)
    daemons.wait_for(_socket(folder).exists)
    daemons.start("slurmdbd", "-D")  # its configuration lies beside slurm.conf
    daemons.wait_for(lambda: listens(port))


def _socket(folder: Path) -> Path:
    return folder / "mariadb.socket"
