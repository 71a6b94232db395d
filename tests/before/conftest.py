"""What the tests of before share: the digits as they were packed then; and one thread of a processor, as then."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.before.recorded import DATA


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the digits' shards."""
    folder = tmp_path_factory.mktemp("before")
    shutil.unpack_archive(DATA / "digits.tar.xz", folder)
    return folder / "digits"


@pytest.fixture(autouse=True)
def one_thread_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
