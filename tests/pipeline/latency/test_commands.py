"""`deps latency` and a table in `deps search`, with the real runtime where that is quick; no time is looked at."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands import latency as command
from pipeline.errors import UsageError
from pipeline.latency.rounds import StopRule
from pipeline.latency.table import latencies_of, latency, read_table
from pipeline.predictor.encoding import Encoding
from pipeline.search.objectives import Objectives, check_table, parse_limits
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.store import save_supernet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.latency.machines import MadeUp, built
from tests.pipeline.supernet.spaces import OPEN
from tests.support.command_line import deps, refused

SPACE = NETWORKS["mobilenet_v3_digits"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the digits' network, on a machine that is made up."""
    folder = tmp_path_factory.mktemp("table")
    built(SPACE, folder, MadeUp()).write(folder / "table.json")
    return folder / "table.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_supernet(folder, SPACE, Supernet(SPACE).state_dict())
    return folder


def test_a_table_is_built_where_networks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the noise: of the real runtime, only what is in the table is looked at."""
    monkeypatch.setattr(command, "StopRule", lambda: StopRule(usable=np.inf, least=2, most=2))
    path = tmp_path / "table.json"
    done = deps("latency", "build", "mobilenet_v3_digits", "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    told, found = json.loads(done.stdout), read_table(path)
    assert (told["pieces"], told["runtime"], told["threads"], told["batch"]) == (28, "onnxruntime", 1, 1)
    assert told["conditions"]["clock"] == "processor time of the one thread"
    assert set(found.pieces) == {"32"}
    assert len(found.subnets) == 70
    assert not path.with_name("table.json.rounds").exists()
    assert refused(deps("latency", "build", "mobilenet_v3_digits", "--output", path)).endswith("is there already")


def test_a_prediction_is_that_of_the_table(table: Path) -> None:
    subnet = SPACE.parse("d1.2-k3-e4-r32")
    expected = latency(latencies_of(read_table(table), table), SPACE, subnet) * 1000
    done = deps("latency", "predict", table, subnet, "--json")
    assert json.loads(done.stdout)["latency_ms"] == pytest.approx(expected)
    assert deps("latency", "predict", table, subnet).stdout == (
        f"{subnet}: {expected:.3f} ms, predicted (onnxruntime 0, 1 thread, batch 1, on a machine)\n"
    )


def test_many_subnets_have_the_latencies_of_each(tmp_path: Path) -> None:
    latencies = latencies_of(built(OPEN, tmp_path, MadeUp()), tmp_path)
    encoding = Encoding(OPEN)
    objectives, rows = Objectives(encoding, latencies), encoding.sample(50, np.random.default_rng(0))
    each = [latency(latencies, OPEN, encoding.decode(row)) * 1000 for row in rows]
    np.testing.assert_allclose(objectives("latency", rows), each)
    least, greatest = objectives.ends("latency")
    found = objectives("latency", encoding.sample_spread(20_000, np.random.default_rng(1)))
    assert least <= found.min()
    assert found.max() <= greatest


def test_the_ends_of_a_space_are_those_of_all_its_subnets(table: Path) -> None:
    small = replace(SPACE, stages=tuple(replace(each, kernels=(3,)) for each in SPACE.stages))
    objectives = Objectives(Encoding(small), latencies_of(read_table(table), table))
    every = objectives.encoding.every()
    for name in objectives.names:
        values = objectives(name, every)
        assert objectives.ends(name) == (values.min(), values.max())


def test_the_profile_has_the_latency_of_a_table(run: Path, table: Path) -> None:
    [*_, last] = json.loads(deps("search", run, "--profile", "--latency", table, "--json").stdout)["measures"]
    assert (last["name"], last["measure"]) == ("latency", "latency, ms")
    assert 0 < last["least"] < last["middle"] < last["greatest"]
    told = deps("search", run, "--profile").stdout
    assert "latency" not in told


def test_limits_of_latency_are_read_in_milliseconds() -> None:
    assert parse_limits(["latency=5ms", "latency=500us", "macs=3M"]) == {"latency": 0.5, "macs": 3e6}
    assert parse_limits(["latency=0.02s"]) == {"latency": 20.0}
    for text in ("latency=5", "latency=5M", "macs=5ms", "latency=0ms"):
        with pytest.raises(UsageError, match="is no limit; one looks like macs=300M"):
            parse_limits([text])
    for against, limits in (("latency", {}), ("macs", {"latency": 1.0})):
        check_table(against, limits, has_table=True)
        with pytest.raises(UsageError, match="add --latency TABLE"):
            check_table(against, limits, has_table=False)


def test_what_cannot_be_is_refused_in_a_line(run: Path, table: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    other = tmp_path / "other.json"
    content = json.loads(table.read_text())
    content["pieces"]["32"] = {
        name.replace("192-10 ", "192-100 "): entry for name, entry in content["pieces"]["32"].items()
    }
    del content["checksum"]
    other.write_text(json.dumps(content))
    published = tmp_path / "published.yaml"
    published.write_text("Conv-input:32x32x3-output:16x16x16: {mean: 1.0}")
    for arguments, message in (
        (("build", "mobilenet_v3_digits", "--runtime", "tpu"), "--runtime 'tpu': is no runtime; legal: onnxruntime"),
        (("build", "mobilenet_v9"), "is no network and no recipe file"),
        (("build", "mobilenet_v3_digits", "--resolutions", "64"), "64 is none of the space's: 32"),
        (("build", "mobilenet_v3_digits", "--resolutions", "a"), "--resolutions 'a': are no sides"),
    ):
        assert message in refused(deps("latency", *arguments, "--output", new))
        assert not any(each.name.startswith("new") for each in tmp_path.iterdir())
    for arguments, message in (
        ((table, "d1-k3-e3-r64"), "has no resolution 64; it has 32"),
        ((table, "d9-k3-e3-r32"), "depth 9 is none of [1, 2]"),
        ((tmp_path / "none.json", "d1-k3-e3-r32"), "No such file or directory; deps latency build makes one"),
        ((published, "d1-k3-e3-r32"), "tells no space; add --space"),
        ((published, "d1-k3-e3-r32", "--space", "mobilenet_v3_digits"), "has no 'expanded_conv-input:16x16x16"),
    ):
        assert message in refused(deps("latency", "predict", *arguments))
    assert "is of another space: it has no 'linear 160-192" in refused(
        deps("search", run, "--profile", "--latency", other)
    )


def test_without_the_runtime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = refused(deps("latency", "build", "mobilenet_v3_digits", "--output", tmp_path / "table.json"))
    assert line.endswith("latency needs onnx: pip install 'delayed-epsilon-shrinking[deploy]'")
