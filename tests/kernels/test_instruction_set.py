"""The form of the C++ is the widest that a processor has all instructions of."""

import pytest

from kernels.cpu.instruction_set import instruction_set

AVX2 = {"sse2", "avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("machine", "features", "name"),
    [
        ("x86_64", AVX512 | {"avx512_vnni", "amx_tile"}, "AVX-512"),
        ("x86_64", AVX512 - {"avx512vl"}, "AVX2"),  # the first with AVX-512, Knights Landing, lacks parts of it
        ("AMD64", AVX2, "AVX2"),
        ("x86_64", AVX2 - {"fma"}, "SSE2"),
        ("x86_64", set(), "SSE2"),  # nothing is listed
        ("aarch64", {"asimd", "sve"}, "aarch64"),
    ],
)
def test_the_widest_that_a_processor_has_is_taken(machine: str, features: set[str], name: str) -> None:
    assert instruction_set(machine, features).name == name


def test_flags_allow_no_instruction_that_was_not_looked_for() -> None:
    for features in (AVX512, AVX2, set[str]()):
        taken = instruction_set("x86_64", features)
        assert {flag.removeprefix("-m") for flag in taken.flags} <= features
