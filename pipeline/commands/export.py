"""`deps export`: a subnet as files that run without this project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from data_shards.loading.loader import EvaluationLoader
from data_shards.one_line import readable, shown
from pipeline.commands.export_card import FILES, INT8, NAIVE, ONNX, TORCH, Asked, Made, card_content
from pipeline.commands.opening import Opened, open_supernet
from pipeline.console.tables import print_json, print_table
from pipeline.deploy.card import CARD, CARD_JSON, RECIPE, card
from pipeline.deploy.gate import Gated, gate
from pipeline.deploy.images import Sample, sample
from pipeline.deploy.measure import Measured, check_equal, measure
from pipeline.deploy.onnx_graph import to_onnx
from pipeline.deploy.program import content_of, load_program, to_program
from pipeline.deploy.quantise import Quantiser
from pipeline.deploy.runtime import Runtime, latencies
from pipeline.errors import RunFailure, UsageError
from pipeline.evaluation.evaluate import Evaluator
from pipeline.extras import check_installed
from pipeline.files.json_file import write_json
from pipeline.files.whole_folder import whole_folder
from pipeline.processes.group import Processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.published.importing import refuse_existing
from pipeline.recipe.writing import write_recipe
from pipeline.supernet.extract import extract
from pipeline.supernet.fold import fold_batch_norm
from pipeline.supernet.subnet import Subnet

_COLUMNS = {
    "words": ("", ""),
    "top1": ("top-1 %", ".2f"),
    "top5": ("top-5 %", ".2f"),
    "others": ("another top class than torch's", ",d"),
    "size": ("bytes", ">"),
    "time": ("ms per image", ">"),
}


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats in `text`, which has commas between them, in the order of `FILES`.

    Raises:
        UsageError: naming the legal ones.
    """
    names = [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in FILES]:
        raise UsageError(f"--format {shown(wrong[0])}: legal values, with commas between them: {', '.join(FILES)}")
    return tuple(name for name in FILES if name in names)


def export_subnet(asked: Asked, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Write the files and their card into the new folder `asked.output`; returns what `card.json` holds.

    Raises:
        UsageError: where something asked for cannot be had; before anything is computed.
        RunFailure: where a file does not give the network's logits, or INT8 loses more than `asked.max_drop`. Nothing
            is written then.
    """
    refuse_existing(asked.output)
    check_installed("deps export", "deploy", "onnx", "onnxscript", "onnxruntime")
    opened = open_supernet(asked.folder, asked.shards, asked.convention)
    subnet = opened.supernet.space.parse(asked.subnet)
    try:
        with whole_folder(asked.output) as folder:
            return _Export(asked, opened, subnet, tell).write(folder)
    except OSError as error:
        if error.filename != str(asked.output):
            raise
        raise UsageError(f"--output {asked.output}: cannot be written: {error.strerror}") from None


def print_export(asked: Asked, as_json: bool) -> None:
    """Export, and print how good, large and fast the files are; see `export_subnet`."""
    with Console(stderr=True).status("exporting") as status:
        content = export_subnet(asked, lambda text: status.update(text))
    if as_json:
        print_json(content)
        return
    times = content["latency"]["milliseconds"]
    rows = [
        {
            **row,
            "size": f"{content['files'][row['file']]['bytes']:,d}" if row["file"] else "",
            "time": f"{times[name]:.3f}" if name in times else "",
        }
        for name, row in content["test"]["networks"].items()
    ]
    print_table(f"{asked.output}: {content['subnet']} on {content['test']['images']:,d} test images", rows, _COLUMNS)
    if int8 := content["int8"]:
        names, drop = int8["float_layers"], int8["drop"]
        stayed = (
            f"in float stayed {len(names)} of {int8['layers']} layers, {', '.join(names)}" if names else "all layers"
        )
        print(
            f"INT8: {stayed}; loses {int8['test_drop_points']:.2f} points of top-1 on the test split, "
            f"{drop['points']:.2f} ± {drop['error']:.2f} on the {int8['choice_images']:,d} {int8['chosen_on']} images "
            f"that its layers were chosen by; {int8['max_drop_points']:g} are allowed"
        )
    if content["licence"]:
        print(readable(content["licence"]))
    names = (*content["files"], CARD, CARD_JSON, *([RECIPE] if content["training"] else ()))
    print(f"Written: {', '.join(str(asked.output / name) for name in names)}")


class _Export:
    """One export: everything on this process and its processor, where the files will run as well."""

    def __init__(self, asked: Asked, opened: Opened, subnet: Subnet, tell: Callable[[str], None]) -> None:
        self.asked, self.opened, self.subnet, self.tell = asked, opened, subnet, tell
        self.side = opened.supernet.space.image_side(subnet)
        self.threads = torch.get_num_threads()
        self.processes = Processes(0, 1, torch.device("cpu"))
        batches = [(opened.evaluation.batch_size, self.side)]
        self.config = fit_readers(opened.config, opened.data.train, batches, self.processes)

    def write(self, folder: Path) -> dict[str, Any]:
        """Make the files, check them, and write them with their card; returns what `card.json` holds."""
        made = self._made()
        for name in self.asked.formats:
            (folder / FILES[name]).write_bytes(made.files[name])
        if self.opened.recipe is not None:
            write_recipe(folder / RECIPE, self.opened.recipe, f"what {self.subnet} was trained by")
        content = card_content(self.asked, self.opened, self.subnet, made)
        write_json(folder / CARD_JSON, content)
        (folder / CARD).write_text(card(content), encoding="utf-8")
        return content

    def _made(self) -> Made:
        formats, data = self.asked.formats, self.opened.data
        self.tell("recalibrating")
        original = self._network()
        self.tell("reading images")
        images = sample(data, self.config, self.side)
        self.tell("tracing")
        folded = fold_batch_norm(original).to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        program = to_program(folded, self.side)
        files: dict[str, bytes] = {}
        if TORCH in formats:
            files[TORCH] = content_of(program)
            check_equal(original, load_program(files[TORCH]), images.calibration.normalised(), FILES[TORCH])
        networks: dict[str, Callable[[Tensor], Tensor]] = {}
        gated = None
        if {ONNX, INT8} & set(formats):
            self.tell("converting to ONNX")
            files[ONNX] = to_onnx(program)
            networks[ONNX] = Runtime(files[ONNX], self.threads)
            check_equal(original, networks[ONNX], images.calibration.normalised(), FILES[ONNX])
        if INT8 in formats:
            gated = self._gated(files[ONNX], networks[ONNX], images)
            files[INT8] = gated.model
            networks[NAIVE] = Runtime(gated.naive, self.threads)
            if gated.float_layers:
                networks[INT8] = Runtime(gated.model, self.threads)
        self.tell("measuring on the test split")
        test = EvaluationLoader(data.test, self.config, self.side, self.opened.evaluation.batch_size, rank=0, world=1)
        measured = measure(original, networks, test)
        if gated is not None:
            measured.setdefault(INT8, measured[NAIVE])
            self._check_drop(measured, gated)
        self.tell("timing")
        onnx = {name: files[name] for name in (ONNX, INT8) if name in files}
        times = latencies(onnx, next(images.calibration.normalised())[:1]) if onnx else {}
        return Made(files, images, measured, gated, times)

    def _network(self) -> nn.Module:
        supernet = self.opened.supernet
        if self.opened.is_static:  # whose statistics are its own, and need no recalibration
            return extract(supernet, self.subnet)
        data = self.opened.data
        evaluator = Evaluator(data.train, data.test, self.config, self.opened.evaluation, self.processes)
        return evaluator.network(supernet, self.subnet)

    def _gated(self, model: bytes, in_float: Callable[[Tensor], Tensor], images: Sample) -> Gated:
        self.tell("calibrating")
        quantiser, limit = Quantiser(model, images.calibration.normalised()), self.asked.max_drop
        gated = gate(quantiser, in_float, images.choice, limit, self.threads, self.tell)
        if not gated.holds:
            raise RunFailure(
                f"int8: with {len(gated.float_layers)} of {len(gated.layers)} layers in float it still loses "
                f"{gated.drop} points of top-1 on {len(images.choice)} {images.chosen_on} images, more than --max-drop "
                f"{limit:g}; nothing is written"
            )
        return gated

    def _check_drop(self, measured: Mapping[str, Measured], gated: Gated) -> None:
        """The verdict: what was chosen on other images is looked at on the test split once, and not changed by it."""
        before, after = (measured[name].accuracy.top1 for name in (ONNX, INT8))
        if before - after > self.asked.max_drop:
            raise RunFailure(
                f"int8: loses {before - after:.2f} points of top-1 on the test split ({before:.2f} to {after:.2f} %), "
                f"more than --max-drop {self.asked.max_drop:g}, though {gated.drop} on the images that its layers were "
                "chosen by; nothing is written; a smaller --max-drop leaves more of them in float"
            )
