"""The model card of a trained supernet: a README as the Hugging Face hub reads it, front matter included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from pipeline.console.quantities import with_prefix
from pipeline.files.whole_file import Digest
from pipeline.predictor.encoding import Encoding
from pipeline.recipe.keys import is_trained
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.reports.page import Block, Code, Heading, Listing, Table, Text, to_markdown
from pipeline.reports.run_record import RunRecord
from pipeline.reports.searched import Front
from pipeline.reports.sections import NONE, macs_text, millions, significant
from pipeline.supernet.complexity import complexity
from pipeline.supernet.origin import Origin
from pipeline.supernet.space import Space

UNKNOWN = "unknown"  # licence
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,40}")  # as the hub's identifiers are
_DATA_SET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_FOLDER = "FOLDER"  # in what is to be typed: where the card lies


@dataclass(frozen=True)
class Published:
    """What a card tells of.

    Attributes:
        run: whose supernet it is.
        front: found by `deps search`; None where nothing was searched.
        origin: of weights of others that it was trained from.
        licence: by the hub's identifier.
        files: that lie beside the card, by name.
    """

    run: RunRecord
    recipe: Recipe
    space: Space
    front: Front | None
    origin: Origin | None
    licence: str
    files: Mapping[str, Digest]


class _Row(NamedTuple):
    """A subnet and its top-1, in per cent; None where it was not measured on validation images."""

    subnet: str
    macs: int
    params: int
    validation: float | None
    test: float


def is_licence(text: str) -> bool:
    """Whether the hub could know a licence by this identifier."""
    return _LICENCE.fullmatch(text) is not None


def card(published: Published) -> str:
    """The text of README.md, in Markdown. What the recipe brings along is text on it, and no markup."""
    info, recipe = published.run.info, published.recipe
    title = f"{info.name}: a supernet of {recipe.space.network} on {info.dataset}"
    blocks = [
        *_what(published),
        *_accuracy(published),
        *_use(published),
        *_cost(published.run),
        *_recipe(recipe),
        *_licence(published),
        *_files(published.files),
    ]
    front_matter = yaml.safe_dump(_front_matter(published), sort_keys=False, allow_unicode=True)
    return f"---\n{front_matter}---\n\n{to_markdown(title, blocks)}"


def _rows(published: Published) -> list[_Row]:
    """The subnets that the card tells the accuracy of: found by a search, else evaluated; by ascending MACs."""
    if published.front is not None:
        found = published.front.front
        return [_Row(each.subnet, each.macs, each.params, each.validation_top1, each.test_top1) for each in found]
    return [_Row(each.subnet, each.macs, each.params, None, each.top1) for each in published.run.subnets or ()]


def _front_matter(published: Published) -> dict[str, Any]:
    info, recipe = published.run.info, published.recipe
    data_set = [info.dataset] if _DATA_SET.fullmatch(info.dataset) else []
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": info.dataset, "name": info.dataset, "split": "test"},
            "metrics": [{"type": "accuracy", "name": f"top-1 of {row.subnet}, %", "value": round(row.test, 2)}],
        }
        for row in _rows(published)
    ]
    tags = ["image-classification", "once-for-all", "supernet", "neural-architecture-search"]
    return {
        "license": published.licence,
        "pipeline_tag": "image-classification",
        "tags": [*tags, recipe.space.network, recipe.schedule.name],
        **({"datasets": data_set} if data_set else {}),
        "metrics": ["accuracy"],
        **({"model-index": [{"name": info.name, "results": results}]} if results else {}),
    }


def _what(published: Published) -> list[Block]:
    info, space = published.run.info, published.space
    least, most = (complexity(space, subnet) for subnet in (space.smallest(), space.largest()))
    count = Encoding(space).size()
    text = (
        f"One set of weights, of which {count:,} networks can be cut out without training: from "
        f"{with_prefix(least.macs, 'MACs')} and {millions(least.parameters)} parameters to "
        f"{with_prefix(most.macs, 'MACs')} and {millions(most.parameters)}. Images of {_sides(space)} px, "
        f"{info.classes} classes. Trained by {info.approach} (schedule ",
        Code(published.recipe.schedule.name),
        f") for {round(info.epochs, 2):g} epochs on {info.dataset}, seed {info.seed}.",
    )
    return [Text(*text)]


def _sides(space: Space) -> str:
    return ", ".join(map(str, space.resolutions))


def _accuracy(published: Published) -> list[Block]:
    heading, rows = Heading("Accuracy"), _rows(published)
    if not rows:
        return [heading, Text("Not measured yet.")]
    searched = published.front is not None
    cells = [[row.subnet, millions(row.macs), millions(row.params), *_percents(row, searched)] for row in rows]
    validation = ["validation, %"] if searched else []
    table = Table(["subnet", "MACs", "parameters", *validation, "test, %"], cells)
    note = "Top-1 of each subnet with its batch norm recalibrated on training images."
    if published.front is not None:
        note += (
            f" The most accurate ones at their MACs among {published.front.measured:,} that were measured on "
            f"{published.front.validation_images:,} validation images; the test split chose nothing."
        )
    return [heading, table, Text(note)]


def _percents(row: _Row, searched: bool) -> list[str]:
    measured = [row.validation, row.test] if searched else [row.test]
    return [NONE if each is None else f"{each:.2f}" for each in measured]


def _use(published: Published) -> list[Block]:
    rows = _rows(published)
    subnet = rows[len(rows) // 2].subnet if rows else str(published.space.smallest())
    program = f"""\
from pipeline.supernet.extract import extract
from pipeline.supernet.store import load_supernet

supernet = load_supernet("{_FOLDER}")  # or "hf-hub:OWNER/NAME"
network = extract(supernet, supernet.space.parse("{subnet}"))  # a plain torch network
"""
    commands = f"""\
deps evaluate {_FOLDER} --data SHARDS --subnet {subnet}
deps train RECIPE model.start={_FOLDER}
"""
    return [
        Heading("How to load it"),
        Text(
            "With the package ",
            Code("delayed-epsilon-shrinking"),
            " (its extra ",
            Code("hub"),
            " for names of the hub). Images are RGB, normalised by ImageNet's means and deviations. A network that was "
            "cut out needs its batch norm recalibrated on training images (",
            Code("pipeline.evaluation.recalibrate"),
            ") before it is used.",
        ),
        Listing(program, "python"),
        Listing(commands, "sh"),
    ]


def _cost(run: RunRecord) -> list[Block]:
    ledger, info = run.ledger, run.info
    rows = [
        [ledger.unit, significant(ledger.hours)],
        ["training MACs", macs_text(ledger.training_macs)],
        *([["dollars", f"{ledger.dollars:,.2f}"]] if ledger.dollars is not None else []),
        ["processes", str(info.world_size)],
        ["machine", info.machine],
        ["engine", info.engine],
        ["versions", ", ".join(f"{name} {version}" for name, version in info.versions.items())],
    ]
    return [Heading("What training cost"), Table(["", ""], rows, labels=2)]


def _recipe(recipe: Recipe) -> list[Block]:
    """The keys that decide on the weights; of places on the machine or in the network, no more than the last name."""
    told = _trained(resolved(recipe))
    told["data"] = {"shards": recipe.data.shards.name, **told["data"], "stream_from": None}
    if recipe.model.start is not None:
        told["model"]["start"] = recipe.model.start.name
    if recipe.schedule.predictor is not None:
        told["schedule"]["sampling"]["predictor"] = recipe.schedule.predictor.name
    text = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    note = Text("As ", Code("deps train"), " takes it, once the places in it are yours.")
    return [Heading("Recipe"), note, Listing(text, "yaml")]


def _trained(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The keys of a recipe whose other values would train other weights."""
    kept: dict[str, Any] = {}
    for key, value in tree.items():
        if not is_trained(f"{prefix}{key}"):
            continue
        kept[key] = _trained(value, f"{prefix}{key}.") if isinstance(value, dict) else value
    return kept


def _licence(published: Published) -> list[Block]:
    text = f"Licence of the weights: {published.licence}."
    if published.origin is not None:
        text += (
            f" They were trained from {published.origin.file} ({published.origin.network}): {published.origin.licence}."
        )
    return [Heading("Licence"), Text(text)]


def _files(files: Mapping[str, Digest]) -> list[Block]:
    rows = [[name, f"{digest.bytes:,}", digest.sha256] for name, digest in files.items()]
    return [Heading("Files"), Table(["file", "bytes", "SHA-256"], rows)]
