"""`deps bench kernels --compile`: what it prints, keeps and refuses. The compiler itself: tests/kernels/gpu."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from kernels.bench.cases import Case
from kernels.recorded import Code, Launch, Request
from pipeline.bench import compile as command
from tests.support.command_line import deps, refused

PTX = """
    ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];
    st.global.b64 [ %rd3 + 0 ], { %rd7 };
"""
ASSEMBLY = "Function:_apply\n--:-:-:-:1\tLDG.E.128 R4, desc[UR4][R2.64];\n--:-:-:-:5\tEXIT;\n"
NETWORK = "mobilenet_v3_digits"


def launch(choice: int) -> Launch:
    request = Request(None, str(choice), {}, {}, {}, {"num_warps": 4, "num_stages": 1})
    values = {"positions": 64, "gate": None, "VECTOR": 8, "ACTIVATION": "relu", "BLOCK_M": 32 + choice}
    return Launch("normalise._apply", choice, values, {"x": (64, 16), "y": (64, 16)}, {"x": 2, "y": 2}, (4,), request)


@pytest.fixture
def spilled(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Bytes that each choice of blocks spills; a compiler that does so stands in for Triton's."""
    bytes_by_choice = {0: 0, 1: 8}

    def code_for(asked: Launch, capability: int) -> Code:
        return Code(PTX, b"", 168, bytes_by_choice[asked.choice], 0)

    monkeypatch.setattr(command, "variants", lambda space: [("bfloat16", launch(0)), ("bfloat16", launch(1))])
    monkeypatch.setattr(command, "network_cases", lambda space, batch: [Case("residual", batch, 8, 16, 4)])
    monkeypatch.setattr(command, "case_launches", lambda case, dtype: [launch(0)])
    monkeypatch.setattr(command, "code_for", code_for)
    monkeypatch.setattr(command, "assembly_of", lambda code: ASSEMBLY)
    return bytes_by_choice


def compiled(folder: Path, *more: object) -> Any:
    options = ("--network", NETWORK, "--arch", "sm_80,sm_90", "--batch", 32, "--output", folder)
    return deps("bench", "kernels", "--compile", *options, *more)


@pytest.mark.usefixtures("spilled")
def test_it_keeps_a_row_of_each_variant_and_architecture_and_the_model(tmp_path: Path) -> None:
    done = compiled(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = found["compiled"]
    assert [(row["architecture"], row["choice"]) for row in rows] == [
        ("sm_80", 0),
        ("sm_80", 1),
        ("sm_90", 0),
        ("sm_90", 1),
    ]
    first = rows[0]
    assert (first["registers"], first["spilled_bytes"]) == (168, 0)
    assert (first["programs_per_multiprocessor"], first["occupancy_pct"], first["bound_by"]) == (3, 18.75, "registers")
    assert (first["load_bytes"], first["store_bytes"]) == (16, 8)
    assert first["constants"] == "VECTOR=8 ACTIVATION=relu BLOCK_M=32 no gate"
    h100, h200 = found["model"]
    assert (h100["gpu"], h200["gpu"]) == ("H100", "H200")
    assert h100["moved_bytes"] == 2 * 64 * 16 * 2
    assert math.isclose(h100["memory_seconds"], 4096 / 3.35e12)
    # Each of a multiprocessor's one program has four warps, each of which loads 128 bits a thread once.
    assert h100["bound_by"] == "loads and stores"
    assert math.isclose(h100["seconds"], 4 * 4 / 1.98e9)
    assert found["batch_size"] == 32
    assert {"triton", "torch", "python"} <= set(found["versions"])

    kept = [Path(path) for path in found["files"]]
    assert [path.name[: path.name.rindex("_")] for path in kept] == ["compile_no_gpu", "model_no_gpu"]
    with kept[0].open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["spilled_bytes"] for row in table] == ["0", "8", "0", "8"]
    assert {row["network"] for row in table} == {NETWORK}


@pytest.mark.usefixtures("spilled")
def test_people_are_told_that_the_model_is_one(tmp_path: Path) -> None:
    done = compiled(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "A model, nothing measured" in done.stdout
    lines = [line for line in done.stdout.splitlines() if "normalise._apply" in line]
    assert len(lines) == 3  # two architectures, and the model


def test_blocks_that_are_tried_first_and_spill_are_told_with_exit_code_1(
    tmp_path: Path, spilled: dict[int, int]
) -> None:
    spilled[0] = 16
    told = refused(compiled(tmp_path), code=1)
    assert "normalise._apply for sm_80 in bfloat16" in told


def test_an_unknown_architecture_is_one_line_and_exit_code_2() -> None:
    done = deps("bench", "kernels", "--compile", "--arch", "sm_90,sm_70")
    assert "--arch: 'sm_70' is none; legal: sm_80, sm_90, sm_100" in refused(done)


def test_interpreted_kernels_are_refused() -> None:
    done = deps("bench", "kernels", "--compile", environment={"TRITON_INTERPRET": "1"})
    assert "TRITON_INTERPRET" in refused(done)
