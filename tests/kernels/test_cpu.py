"""The C++ keeps the contract of every backend; and what is its own: chunks, planes and threads."""

from itertools import product

import pytest
import torch
from torch import Tensor

from kernels.cpu.build import BuildError, library
from kernels.cpu.instruction_set import instruction_set, of_this_processor
from kernels.cpu.primitives import CpuPrimitives
from kernels.dispatch import operations_for
from kernels.fused import Normalised
from kernels.operations import Operations
from tests.kernels.contract.batch_norm import BatchNormContract
from tests.kernels.contract.convolutions import ConvolutionsContract, check_depthwise, check_pointwise
from tests.kernels.contract.launches import Counting, counted
from tests.kernels.contract.normalising import NormalisingContract
from tests.kernels.contract.operands import ACTIVATIONS, assert_close, images, odd_sixteenths
from tests.kernels.contract.operations import OperationsContract, leaves, raw_scale_shift

try:
    library()
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture
def dtype() -> torch.dtype:
    return torch.float32


@pytest.fixture
def device() -> str:
    return "cpu"


@pytest.fixture
def primitives() -> CpuPrimitives:
    return CpuPrimitives()


@pytest.fixture
def operations() -> Operations:
    return operations_for("cpu", "cpu", torch.float32)


@pytest.fixture
def launches() -> Counting:
    return lambda: counted(CpuPrimitives, "_call")


@pytest.mark.usefixtures("poisoned_memory")
class TestCpu(ConvolutionsContract, NormalisingContract, BatchNormContract, OperationsContract):
    """Its own sizes are those that fill chunks of rows, planes and vectors in part."""

    of_moments = 3e-5  # each is one running sum over a plane, in float32

    @pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
    @pytest.mark.parametrize(
        ("batch", "inputs", "outputs", "side"),
        [
            (1, 8, 8, 1),
            (3, 24, 40, 3),
            (2, 17, 100, 7),
            (1, 160, 960, 3),
            (2, 960, 33, 2),
            (1, 9, 72, 63),
            (5, 40, 24, 14),
        ],
    )
    def test_pointwise_of_other_sizes(
        self, batch: int, inputs: int, outputs: int, side: int, activation: str | None, primitives: CpuPrimitives
    ) -> None:
        x = images(batch, inputs, side, side, seed=0, device="cpu", dtype=torch.float32)
        check_pointwise(primitives, x, activation, outputs, self.of_moments)

    @pytest.mark.parametrize("activation", [None, "relu", "swish"])
    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("kernel", [3, 5, 7])
    @pytest.mark.parametrize(
        ("batch", "channels", "side"),
        [
            (1, 8, 1),
            (3, 24, 3),
            (2, 17, 7),
            (1, 100, 14),
            (1, 9, 63),
            (1, 960, 3),
            (1, 72, 63),  # more planes than are held at once
        ],
    )
    def test_depthwise_of_other_sizes(
        self,
        batch: int,
        channels: int,
        side: int,
        kernel: int,
        stride: int,
        activation: str | None,
        primitives: CpuPrimitives,
    ) -> None:
        x = images(batch, channels, side, side, seed=0, device="cpu", dtype=torch.float32)
        check_depthwise(primitives, x, activation, kernel, stride, self.of_moments)

    @pytest.mark.parametrize("with_shortcut", [False, True])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_the_end_of_a_block_of_many_pixels(
        self, activation: str, with_shortcut: bool, operations: Operations
    ) -> None:
        self.test_the_end_of_a_block(1, 17, 63, activation, with_shortcut, operations, torch.float32, "cpu")


@pytest.mark.skipif(of_this_processor().name != "AVX-512", reason="this processor's own are the narrower ones")
def test_a_processor_without_avx512_computes_the_same() -> None:
    primitives = CpuPrimitives(instruction_set("x86_64", {"avx2", "fma"}))
    for batch, inputs, outputs, side in ((3, 24, 40, 7), (2, 17, 100, 3), (1, 160, 33, 3)):
        for activation in (None, "h_swish"):
            x = images(batch, inputs, side, side, seed=0, device="cpu", dtype=torch.float32)
            check_pointwise(primitives, x, activation, outputs, TestCpu.of_moments)
    for kernel, stride in product((3, 5, 7), (1, 2)):
        for batch, channels, side in ((3, 24, 7), (1, 17, 14), (2, 9, 1)):
            x = images(batch, channels, side, side, seed=0, device="cpu", dtype=torch.float32)
            check_depthwise(primitives, x, "swish", kernel, stride, TestCpu.of_moments)


def test_the_same_number_of_threads_gives_the_same_bits_and_another_one_the_same_values(operations: Operations) -> None:
    def gradients(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        weights = [odd_sixteenths(*shape, seed=0, device="cpu") for shape in ((72, 40, 1, 1), (72, 1, 5, 5))]
        given = leaves(*raw_scale_shift(6, 40, 9, "cpu", torch.float32), *weights)
        y, moments = operations.pointwise_conv(Normalised(*given[:3], "h_swish"), given[3], 72)
        z, more = operations.depthwise_conv(y, given[4], 5, 2, {})
        (z.square().sum() + moments.sum() + more.sum()).backward()
        return [tensor.grad for tensor in given if tensor.grad is not None]

    before = torch.get_num_threads()
    try:
        two, again, one = gradients(2), gradients(2), gradients(1)
    finally:
        torch.set_num_threads(before)
    assert len(two) == 5
    for first, second, third in zip(two, again, one, strict=True):
        assert torch.equal(first, second)
        assert_close(first, third.double(), torch.float32)
