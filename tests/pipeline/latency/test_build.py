"""A table: what it is of, that it predicts, how it is kept, and that one which was ended goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunFailure, UsageError
from pipeline.latency.build import HELD_OUT
from pipeline.latency.correction import Features, errors, fit_correction
from pipeline.latency.kept_rounds import KeptRounds
from pipeline.latency.pieces import key, pieces
from pipeline.latency.table import Table, latencies_of, latency, read_table
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.part_sums import covering
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from tests.pipeline.latency.machines import CALL, MadeUp, built
from tests.pipeline.supernet.spaces import OPEN, TOY


def pieces_of(space: Space) -> set[str]:
    return {key(piece) for subnet in covering(Encoding(space)) for piece in pieces(space, subnet)}


def test_mobilenet_v3_has_90_blocks_and_4_other_pieces() -> None:
    found = pieces_of(NETWORKS["mobilenet_v3"])
    assert sum(name.startswith("mbconv") and "no expand" not in name for name in found) == 90
    assert len(found) == 94


@pytest.mark.parametrize("space", [TOY, OPEN, *(NETWORKS[f"{name}_digits"] for name in ("resnet50", "attentive_nas"))])
def test_every_subnet_consists_of_pieces_that_are_timed(space: Space) -> None:
    encoding, found = Encoding(space), pieces_of(space)
    for row in encoding.sample(100, np.random.default_rng(0)):
        assert {key(piece) for piece in pieces(space, encoding.decode(row))} <= found


def test_sums_that_are_corrected_are_whole_subnets(tmp_path: Path) -> None:
    """Here a call, the tensors at the boundaries and the weights account for all, so that nothing is left over."""
    table = built(OPEN, tmp_path, MadeUp())
    assert table.held_out.median_error < 0.01
    assert (table.held_out.within_10_percent, table.held_out.subnets) == (1, HELD_OUT)
    assert table.held_out.kendall_tau > 0.95
    assert table.correction.calls + table.correction.constant != 0
    for each in table.subnets:
        found = latency(latencies_of(table, tmp_path), OPEN, OPEN.parse(each.subnet))
        assert found == pytest.approx(each.predicted_seconds)
    assert sum(each.held_out for each in table.subnets) == HELD_OUT
    assert set(table.pieces) == {"16", "24"}
    largest = sum(table.pieces["24"][key(piece)].seconds for piece in pieces(OPEN, OPEN.largest()))
    assert largest > latency(latencies_of(table, tmp_path), OPEN, OPEN.largest()) + 5 * CALL  # the sum alone


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return built(TOY, tmp_path_factory.mktemp("table"), MadeUp(), batch=2)


def test_a_table_that_is_read_is_the_one_that_was_written(table: Table, tmp_path: Path) -> None:
    table.write(tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table
    assert (table.batch, table.threads, table.machine) == (2, 1, "a machine")
    assert table.conditions.rounds >= 30


def test_one_that_was_killed_goes_on(tmp_path: Path) -> None:
    whole = built(TOY, tmp_path / "whole", MadeUp())
    things = sum(map(len, whole.pieces.values())) + len(whole.subnets)
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        built(TOY, folder, MadeUp(dies_after=10 * things + 5))
    assert not (folder / "table.json").exists()
    assert len((folder / "table.json.rounds").read_text().splitlines()) == 10
    runtime = MadeUp()
    again = built(TOY, folder, runtime)
    assert runtime.ran == (again.conditions.rounds - 10) * things
    finished = MadeUp()
    assert built(TOY, folder, finished).pieces == again.pieces
    assert (finished.ran, finished.prepared) == (0, 0)


def test_rounds_of_another_table_do_not_count(tmp_path: Path) -> None:
    built(TOY, tmp_path, MadeUp())
    for space, runtime in ((replace(TOY, resolutions=(24,)), MadeUp()), (TOY, MadeUp(version="1"))):
        built(space, tmp_path, runtime)
        assert runtime.ran > 0


def test_a_table_that_is_being_built_is_left_to_who_builds_it(tmp_path: Path) -> None:
    with (
        KeptRounds(tmp_path / "table.json", {}),
        pytest.raises(UsageError, match=r"table\.json\.rounds: this table is being built already"),
    ):
        KeptRounds(tmp_path / "table.json", {})


def test_a_busy_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailure, match="too busy"):
        built(TOY, tmp_path, MadeUp(noise=100))


def test_a_space_of_few_subnets_is_refused(tmp_path: Path) -> None:
    few = replace(TOY, stages=tuple(replace(stage, depths=(1,), expands=(2,)) for stage in TOY.stages))
    with pytest.raises(UsageError, match="the space has 2 subnets, of which a table needs 20"):
        built(few, tmp_path, MadeUp())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(runtime="tpu"), "is of the runtime 'tpu'; known: onnxruntime"),
        (lambda content: content.pop("threads"), "is damaged, or no latency table: threads"),
        (lambda content: content["conditions"].update(noise=-1), "latency table: conditions.noise"),
        (lambda content: content.update(more=1), "latency table: more"),
    ],
)
def test_what_is_no_table_is_told_in_a_line(change, message: str, table: Table, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        read_table(path)


def test_a_correction_is_found_again_from_what_it_made() -> None:
    generator = np.random.default_rng(0)
    subnets = [
        [Features(*(generator.random(3) * [1e-3, 1e5, 1e6])) for _ in range(generator.integers(3, 9))]
        for _ in range(40)
    ]
    seconds, elements, parameters, calls, constant = 0.9, -1e-9, 2e-10, -1e-5, 3e-5
    made = [
        constant + sum(calls + seconds * f.seconds + elements * f.elements + parameters * f.parameters for f in found)
        for found in subnets
    ]
    found = fit_correction(subnets, np.array(made))
    assert found.model_dump() == pytest.approx(
        {"seconds": seconds, "elements": elements, "parameters": parameters, "calls": calls, "constant": constant},
        rel=1e-6,
    )


def test_errors_are_those_of_a_calculation_by_hand() -> None:
    measured, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.05, 2.4, 2.9, 2.8])
    found = errors(predicted, measured)
    assert found.median_error == pytest.approx((0.05 + 0.2) / 2)
    assert found.within_10_percent == 0.5
    assert found.kendall_tau == pytest.approx((5 - 1) / 6)  # of six pairs, the last two subnets change places


def test_a_table_says_where_it_was_timed(table: Table) -> None:
    assert latencies_of(table, Path()).source == "onnxruntime 0, 1 thread, batch 2, on a machine"
