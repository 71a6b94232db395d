"""`deps card`: a supernet and its model card in a folder that the hub takes, and that loads from there by its name."""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.files.json_file import write_json
from pipeline.recipe.keys import is_trained
from pipeline.recipe.reading import load_recipe, parse_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import leaves
from pipeline.run.layout import FRONT, SEARCH
from pipeline.supernet.networks import named
from pipeline.supernet.origin import Origin
from pipeline.supernet.store import load_supernet, save_supernet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.reports.run_folders import SUBNETS, make_run
from tests.pipeline.reports.test_report_text import NAMES, rendered
from tests.support.command_line import deps, refused
from tests.support.forked_program import REPOSITORY

FOUND = [("d1-k3-e3-r32", 880_000, 55_000, 91.0, 90.5), ("d2-k5-e6-r32", 4_000_000, 200_000, 97.25, 96.75)]
RECIPE = REPOSITORY / "recipes" / "digits.yaml"
SECRETS = [
    "tracking.uri=https://me:secret@host",
    "data={shards: /home/secret/digits, access: sequential, workers: 1, stream_from: https://secret/}",
]


def made(folder: Path, approach: str = "DεpS", origin: Origin | None = None) -> Path:
    """A finished run, with a supernet that was not trained."""
    make_run(folder, approach)
    recipe = load_recipe(RECIPE, [*SECRETS, f"runs={folder.parent}"]).model_copy(update={"approach": approach})
    (folder / "config.yaml").write_text(yaml.safe_dump(json.loads(recipe.model_dump_json())))
    torch.manual_seed(0)
    supernet = Supernet(named("mobilenet_v3_digits", classes=10).space())
    save_supernet(folder, supernet.space, supernet.state_dict(), origin)
    return folder


def searched(run: Path) -> Path:
    keys = ("subnet", "macs", "params", "validation_top1", "test_top1")
    front = [dict(zip(keys, row, strict=True)) for row in FOUND]
    (run / SEARCH).mkdir()
    write_json(run / SEARCH / FRONT, {"measured": 250, "validation_images": 1500, "front": front, "uniform": []})
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made(tmp_path / "run")


def carded(run: Path, *options: str) -> Path:
    output = run.parent / "hub" / "digits"
    done = deps("card", run, "--output", output, *options)
    assert done.returncode == 0, done.stderr
    assert f"Nothing was uploaded; that does: hf upload OWNER/NAME {output}" in done.stdout
    return output


def front_matter(folder: Path) -> dict:
    begin, matter, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(matter)


def listed_recipe(folder: Path) -> Recipe:
    [(_, text)] = re.findall(r"^(`+)yaml\n(.*?)^\1$", (folder / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    return parse_recipe(yaml.safe_load(text), "the card")


def test_the_folder_holds_the_supernet_to_the_last_bit_and_its_checksums(run: Path) -> None:
    folder = carded(run)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "supernet.json", "supernet.safetensors"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name in ("supernet.json", "supernet.safetensors"):
        content = (folder / name).read_bytes()
        assert content == (run / name).read_bytes()
        assert f"| {name} | {len(content):,} | {hashlib.sha256(content).hexdigest()} |" in card
    ours, theirs = load_supernet(run).state_dict(), load_supernet(str(folder)).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_the_card_tells_what_the_search_found_else_what_was_evaluated(run: Path) -> None:
    evaluated = (carded(run) / "README.md").read_text()
    assert all(name in evaluated for name, *_ in SUBNETS)
    shutil.rmtree(run.parent / "hub")
    folder = carded(searched(run))
    card = (folder / "README.md").read_text()
    assert "| d2-k5-e6-r32 | 4.00M | 0.200M | 97.25 | 96.75 |" in card
    assert "among 250 that were measured on 1,500 validation images" in card
    assert "| CPU process hours | 1.20 |" in card
    assert "| training MACs | 4.20 P |" in card
    results = front_matter(folder)["model-index"][0]["results"]
    assert [each["metrics"][0]["value"] for each in results] == [90.5, 96.75], "of the test split"
    run_without = made(run.parent / "plain")
    (run_without / "evaluation.json").unlink()
    shutil.rmtree(run.parent / "hub")
    assert "Not measured yet." in (carded(run_without) / "README.md").read_text()


def test_its_recipe_trains_the_same_and_tells_no_places(run: Path) -> None:
    folder = carded(run)
    told, trained = leaves(listed_recipe(folder)), leaves(load_recipe(run / "config.yaml"))
    places = {"data.stream_from"}
    assert {key: told[key] for key in trained if is_trained(key) and key not in places} == {
        key: value for key, value in trained.items() if is_trained(key) and key not in places
    }
    assert told["data.shards"] == "digits"
    assert "secret" not in (folder / "README.md").read_text()


def test_the_licence_is_unknown_unless_given_and_that_of_the_origin_is_told(tmp_path: Path) -> None:
    origin = Origin(network="AttentiveNAS", licence="CC BY-NC 4.0: not for commercial use", file="a.pth", sha256="0")
    run = made(tmp_path / "run", origin=origin)
    folder = carded(run)
    assert front_matter(folder)["license"] == "unknown"
    assert (
        "trained from a.pth (AttentiveNAS): CC BY-NC 4.0: not for commercial use" in (folder / "README.md").read_text()
    )
    shutil.rmtree(folder)
    assert front_matter(carded(run, "--license", "cc-by-nc-4.0"))["license"] == "cc-by-nc-4.0"


@pytest.mark.parametrize("name", [*NAMES, "```\n# heading", "---\nlicense: mit", "a: b # c"])
def test_text_of_the_recipe_is_that_text_and_no_markup(name: str, tmp_path: Path) -> None:
    if "\udcff" in name or "\x00" in name:
        pytest.skip("no recipe may hold it")
    plain, own = (carded(made(tmp_path / each / "run", approach)) for each, approach in (("a", "DεpS"), ("b", name)))
    assert front_matter(own) == front_matter(plain)
    body = (own / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    page = rendered(body)
    assert not page.tags & {"script", "a", "s", "ul", "ol", "blockquote", "hr", "img"}
    assert [text.strip() for text in page.texts["h1"]] == ["run: a supernet of mobilenet_v3_digits on digits100"]
    assert len(page.texts["h2"]) == 6
    assert listed_recipe(own).approach == name


def test_the_hub_reads_it(run: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    folder = carded(searched(run), "--license", "apache-2.0")
    data = hub.ModelCard.load(folder / "README.md").data
    assert (data.license, data.datasets, data.metrics) == ("apache-2.0", ["digits100"], ["accuracy"])
    assert {"supernet", "mobilenet_v3_digits", "deps"} <= set(data.tags)
    assert [each.metric_value for each in data.eval_results] == [90.5, 96.75]


@pytest.fixture
def on_the_hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local copy of `hf-hub:owner/digits`, as the hub's library lays it out; there is no network."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    cache, commit = run.parent / "cache", "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    of_name = cache / "models--owner--digits"
    (of_name / "refs").mkdir(parents=True)
    (of_name / "refs" / "main").write_text(commit)
    return Path(shutil.copytree(carded(run), of_name / "snapshots" / commit))


def test_a_name_of_the_hub_loads_as_its_folder_does(on_the_hub: Path, run: Path, digits: Path) -> None:
    ours = load_supernet(run).state_dict()
    for name in ("hf-hub:owner/digits", "hf-hub:owner/digits@main", Path("hf-hub:owner/digits")):
        assert all(torch.equal(ours[key], tensor) for key, tensor in load_supernet(name).state_dict().items())
    before = sorted(on_the_hub.iterdir())
    asked = ("--data", digits, "--convention", "none", "--json")
    by_name, by_folder = (
        deps("evaluate", place, *asked)
        for place in ("hf-hub:owner/digits", shutil.copytree(on_the_hub, run.parent / "c"))
    )
    assert by_name.returncode == by_folder.returncode == 0, by_name.stderr
    assert by_name.stdout == by_folder.stdout
    assert sorted(on_the_hub.iterdir()) == before, "the copy stays as it came"
    assert deps("search", "hf-hub:owner/digits", "--profile").returncode == 0


def test_names_that_the_hub_does_not_have_are_one_line(on_the_hub: Path) -> None:
    (on_the_hub / "supernet.safetensors").unlink()
    for name, code, complaint in (
        ("hf-hub:owner/other", 1, "the hub cannot be reached, and no copy is here"),
        ("hf-hub:owner/digits", 1, "the hub cannot be reached, and no copy is here"),
        ("hf-hub:not a name", 2, "is no name on the hub; hf-hub:OWNER/NAME"),
    ):
        assert complaint in refused(deps("search", name, "--profile"), code)


def test_without_its_library_a_name_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    line = refused(deps("search", "hf-hub:owner/digits", "--profile"))
    assert line.endswith("needs huggingface-hub: pip install 'delayed-epsilon-shrinking[hub]'")


def test_a_run_may_begin_with_a_name_of_the_hub() -> None:
    from pipeline.recipe.recipe import anchored

    recipe = load_recipe(RECIPE, ["model.start=hf-hub:owner/digits"])
    assert str(anchored(recipe).model.start) == "hf-hub:owner/digits"


def test_what_cannot_be_is_refused_in_a_line_and_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run.parent / "out"
    assert "--license 'MIT License': is none of the hub's" in refused(
        deps("card", run, "--output", output, "--license", "MIT License")
    )
    assert "exists already" in refused(deps("card", run, "--output", run))
    assert "is no run folder" in refused(deps("card", run / "search", "--output", output))
    written = []

    def failing(path: Path, content: bytes) -> None:
        if written:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", failing)
        assert "No space left on device" in refused(deps("card", run, "--output", output))
    (run / "supernet.safetensors").unlink()
    assert "a run writes it at its end" in refused(deps("card", run, "--output", output))
    assert [path.name for path in run.parent.iterdir()] == ["run"]
