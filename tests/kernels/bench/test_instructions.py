"""Code is read as it is written: widths of accesses from PTX, instructions and their loops from machine code."""

from kernels.bench.compiled.instructions import instructions, loop_depth, widths

PTX = """
    @%p1 ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];
    @%p1 ld.global.L1::evict_last.v2.b64 { %rd4, %rd5 }, [ %rd1 + 0 ];
    ld.global.b16 { %rs1 }, [ %rd2 + 0 ];
    cp.async.cg.shared.global [ %r77 + 0 ], [ %rd56 + 0 ], 0x10, %r78;
    cp.async.ca.shared.global [ %r77 + 0 ], [ %rd56 + 0 ], 0x4, %r78;
    ld.shared.v4.b32 { %r1, %r2, %r3, %r4 }, [ %r5 + 0 ];
    ld.param.b64 %rd1, [_forward_param_0];
    st.global.v2.b32 [ %rd3 + 0 ], { %r5, %r6 };
    st.global.b64 [ %rd3 + 0 ], { %rd7 };
    st.shared.b16 [ %r5 + 0 ], { %rs1 };
"""

# An outer loop that holds an inner one, a jump forward, and the jump to itself behind the end.
ASSEMBLY = """Function:_forward
--:-:-:-:8\tLDC R1, c[0x0][0x28];
--:-:-:-:5\t@P0 EXIT;
LBB0:
02:-:-:Y:6\tLDG.E.128 R4, desc[UR4][R2.64];
--:-:-:-:5\t@!P1 BRA LBB2;
LBB1:
--:-:-:-:1\t@!UP0 FFMA R4, R5, R6, R4;
--:-:-:-:5\t@P2 BRA LBB1;
LBB2:
--:-:-:-:1\tFADD R4, R5, R6;
--:-:-:-:5\tBRA LBB0;
--:-:-:-:5\tEXIT;
LBB3:
--:-:-:Y:0\tBRA LBB3;
--:-:-:Y:0\tNOP;
"""


def test_widths_are_the_bytes_of_a_thread_in_global_memory() -> None:
    found = widths(PTX)
    assert found.loads == {16: 3, 2: 1, 4: 1}
    assert found.stores == {8: 2}


def test_an_instruction_knows_the_loops_around_it() -> None:
    found = instructions(ASSEMBLY)
    assert [(each.name, each.depth) for each in found] == [
        ("LDC", 0),
        ("EXIT", 0),
        ("LDG.E.128", 1),
        ("BRA", 1),
        ("FFMA", 2),
        ("BRA", 2),
        ("FADD", 1),
        ("BRA", 1),
        ("EXIT", 0),
        ("BRA", 0),
    ]
    assert loop_depth(found) == 2
