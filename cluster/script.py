"""The batch script of a job, from its template.

jinja2 is the template engine: templates stay readable shell with a few conditions in it, one extends another, and an
undefined name is an error. It is there anyway, as torch needs it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2

from cluster.resources import Resources
from pipeline.errors import UsageError

Launcher = Literal["deepspeed", "srun", "deepspeed-slurm"]
Container = Literal["none", "pyxis", "apptainer"]
TEMPLATES = Path(__file__).with_name("templates")
# What means the same unquoted to the shell, to sbatch (where % is a pattern) and in a list of mounts (with , and :).
_PLAIN = re.compile(r"[\w./+=@-]+")


@dataclass(frozen=True)
class Start:
    """How a job starts its processes, and starts again.

    Attributes:
        image: of the container, if there is one.
        most_requeues: times that a job that ran out of time queues again.

    Raises:
        UsageError: naming the options that do not go together.
    """

    launcher: Launcher = "deepspeed"
    container: Container = "none"
    image: str | None = None
    most_requeues: int = 100

    def __post_init__(self) -> None:
        if (self.container == "none") != (self.image is None):
            raise UsageError("--container, --image: go together, as in --container pyxis --image IMAGE")
        if self.launcher == "deepspeed-slurm" and self.container != "none":
            raise UsageError(
                "--launcher deepspeed-slurm: calls srun by itself, outside of containers; use deepspeed or srun"
            )


def render(
    start: Start,
    resources: Resources,
    folder: Path,
    name: str,
    runs: Sequence[Path],
    read: Collection[Path],
    written: Collection[Path],
) -> str:
    """The script of the job in `folder`.

    Args:
        runs: their folders; several make an array.
        read, written: folders that a container must see under the same path.

    Raises:
        UsageError: for a folder whose name does not mean the same to all that read the script.
    """
    mounts = [] if start.container == "none" else sorted({*read, *written})
    for path in (folder, *runs, *mounts):
        if not _PLAIN.fullmatch(str(path)):
            raise UsageError(f"{path}: a job's folders may have letters, digits and . _ + = @ - in their names only")
    image = start.image or ""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content: dict[str, Any] = {
        "container": start.container,
        # A file is meant from here; the job starts in its own folder.
        "image": shlex.quote(os.path.abspath(image) if os.path.isfile(image) else image),
        "resources": resources,
        # DeepSpeed's launcher is one task on each node, and starts the processes there.
        "tasks_per_node": 1 if start.launcher == "deepspeed" else resources.processes_per_node,
        "folder": folder,
        "name": name,
        "runs": runs,
        "array": len(runs) > 1,
        "written": sorted(written),
        "mounts": [f"{path}:{path}" for path in mounts],
        "most_requeues": start.most_requeues,
        "environment": shlex.quote(sys.prefix),
    }
    return environment.get_template(f"{start.launcher}.sh.j2").render(content)
