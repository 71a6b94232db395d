"""The Triton kernels keep the contract of every backend: compiled where there is a GPU, else interpreted."""

import pytest
import torch
from triton.runtime.interpreter import GridExecutor
from triton.runtime.jit import JITFunction

from kernels.dispatch import operations_for
from kernels.gpu.primitives import TritonPrimitives
from kernels.operations import Operations
from tests.kernels.contract.batch_norm import BatchNormContract
from tests.kernels.contract.convolutions import ConvolutionsContract
from tests.kernels.contract.launches import Counting, counted
from tests.kernels.contract.normalising import NormalisingContract
from tests.kernels.contract.operations import OperationsContract

COMPILED = torch.cuda.is_available()
pytestmark = [pytest.mark.gpu] if COMPILED else []


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def primitives() -> TritonPrimitives:
    return TritonPrimitives()


@pytest.fixture
def operations(device: str) -> Operations:
    return operations_for("triton", device, torch.float32)


@pytest.fixture
def launches() -> Counting:
    return lambda: counted(JITFunction, "run") if COMPILED else counted(GridExecutor, "__call__")


class TestTriton(ConvolutionsContract, NormalisingContract, BatchNormContract, OperationsContract):
    pass
