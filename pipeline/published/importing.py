"""From a published checkpoint to a folder that holds it as a supernet of ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.published.besides import save_besides
from pipeline.published.checkpoint_file import CheckpointFile, read_checkpoint
from pipeline.published.convert import Taken, by_normal_name, to_ours
from pipeline.published.licences import licence_note
from pipeline.published.names import TRACKED, TRACKING
from pipeline.published.recognise import Recognised, check_name, fits_name, recognise
from pipeline.published.static_net import STATE, static_network
from pipeline.supernet.origin import Origin
from pipeline.supernet.store import save_supernet


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes:
        recognised: the network.
        keys: names in the state dict.
        ignored: what of the file is no part of the supernet.
        files: that were written.
    """

    recognised: Recognised
    origin: Origin
    keys: int
    ignored: tuple[str, ...]
    files: tuple[Path, ...]


def import_checkpoint(
    path: Path,
    network: str,
    output: Path,
    ema: bool = False,
    resolution: int | None = None,
    epsilon: float | None = None,
) -> Imported:
    """Write the checkpoint in `path` into the new folder `output`.

    Args:
        path: a file that `torch.save` wrote, or the folder of one of OFA's static networks.
        network: its name, or `recognise.AUTO`.
        ema: take the moving average of the weights.
        resolution: side of the images of a static network, pixels, where it does not tell it.
        epsilon: of the batch norms, which no state dict tells; by default the one of the network's authors.

    Raises:
        UsageError: where the file holds no published network, or `output` is there already; nothing is written then.
    """
    refuse_existing(output)
    check_name(network)
    static = static_network(path, resolution) if path.is_dir() else None
    file = read_checkpoint(path / STATE if static else path, ema)
    try:
        recognised = static or recognise(by_normal_name(file.state), network, resolution)
        if not fits_name(network, recognised.space):
            raise UsageError(f"--network {network}: is another one than the file's, which is {recognised.words}")
        if resolution is not None and recognised.space.largest() != recognised.space.smallest():
            raise UsageError("--resolution: is for static networks; of a supernet, the recipe and each subnet say it")
        if epsilon is not None:
            words = f"{recognised.words}, epsilon {epsilon:g}"
            recognised = Recognised(replace(recognised.space, epsilon=epsilon), words)
        taken = to_ours(file.state, recognised.space)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    origin, files = _write(output, path.name, file, recognised, taken)
    return Imported(recognised, origin, len(file.state), _ignored(file, taken), files)


def refuse_existing(output: Path) -> None:
    """Raises UsageError where `output` is there: nothing is overwritten."""
    try:
        output.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"--output {output}: cannot be written: {error}") from None
    raise UsageError(f"--output {output}: exists already, and nothing is overwritten; name another")


def _write(
    output: Path, name: str, file: CheckpointFile, recognised: Recognised, taken: Taken
) -> tuple[Origin, tuple[Path, ...]]:
    made = False
    try:
        output.mkdir(parents=True)
        made = True
        digest = save_besides(output, list(file.state), taken.besides)
        origin = Origin(
            network=recognised.words,
            licence=licence_note(recognised.space),
            file=name,
            sha256=file.sha256,
            besides=digest,
        )
        return origin, tuple(save_supernet(output, recognised.space, taken.weights, origin))
    except OSError as error:
        if made:
            shutil.rmtree(output, ignore_errors=True)
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None


def _ignored(file: CheckpointFile, taken: Taken) -> tuple[str, ...]:
    """Counters and statistics of batch norms, by number; and what the file has besides the state, by name."""
    counts = {
        TRACKING: sum(TRACKING in name.split(".") for name in taken.besides),
        TRACKED: sum(TRACKING not in name.split(".") for name in taken.besides),
    }
    return (*(f"{count} × {part}" for part, count in counts.items() if count), *file.others)
