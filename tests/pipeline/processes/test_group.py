"""What processes agree on: as seen by one of three, told what the others found."""

from collections.abc import Sequence

import pytest
import torch

from pipeline.errors import PeerFailure, RunFailure
from pipeline.processes.group import Processes


class Third(Processes):
    """The last of three processes; the highest figures of the other two are `others`."""

    others: tuple[int, ...] = ()

    def highest(self, values: Sequence[int]) -> list[int]:
        assert len(values) == len(self.others)
        return [max(pair) for pair in zip(values, self.others, strict=True)]


def third(*others: int) -> Third:
    process = Third(2, 3, torch.device("cpu"))
    object.__setattr__(process, "others", others)
    return process


def fail() -> None:
    raise RunFailure("own")


def test_what_fails_here_alone_is_told_here() -> None:
    with pytest.raises(RunFailure, match=r"^own$"):
        third(0).together(fail)


def test_of_what_fails_on_several_processes_the_first_one_tells() -> None:
    for work in (fail, lambda: None):
        with pytest.raises(PeerFailure, match="another process failed"):
            third(2).together(work)


def test_work_of_the_main_process_is_not_done_by_others_who_fail_with_it() -> None:
    done = []
    third(0).on_main(lambda: done.append("others"))
    with pytest.raises(PeerFailure):
        third(3).on_main(lambda: done.append("others"))
    Processes(0, 1, torch.device("cpu")).on_main(lambda: done.append("main"))
    assert done == ["main"]


def test_figures_are_told_as_they_are_after_the_work_and_in_the_same_agreement() -> None:
    found: list[int] = []
    result, highest = third(0, 0, 7).together_telling(lambda: found.append(5) or "result", lambda: (len(found), 3))
    assert (result, highest) == ("result", [1, 7])
