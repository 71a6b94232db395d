"""Contenders checked, then timed in turns over several rounds: rows of figures, whose ratios are of one run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.readers import DECODE, READERS, left_out
from pipeline.bench.reading.turns import Player, Turn


def measure_readers(
    data_sets: Sequence[Photographs], rounds: int, seconds: float, workers: int, advance: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row for each data set and contender; without figures where its check failed, or it was left out.

    Args:
        seconds: of each turn.
        advance: called with what is done next, `parts` times.
    """
    status: dict[tuple[str, str], str] = {}
    turns: dict[tuple[str, str], list[Turn]] = {}
    with ExitStack() as closing:
        players = {name: closing.enter_context(Player(name, workers)) for name in READERS if left_out(name) is None}
        for data in data_sets:
            for name in READERS:
                advance(f"checking {name}, {data.name}")
                status[data.name, name] = _checked(name, players, data)
        for number in range(rounds):
            for data in data_sets:
                for name in READERS:
                    advance(f"round {number + 1}: {name}, {data.name}")
                    if status[data.name, name] == "ok":
                        turns.setdefault((data.name, name), []).append(players[name].turn(data, seconds))
    return [
        {
            "data_set": data,
            "contender": name,
            "workers": 0 if READERS[name].in_process else workers,
            "status": text,
            **_figures(turns.get((data, name), ()), turns.get((data, DECODE), ())),
        }
        for (data, name), text in status.items()
    ]


def parts(data_sets: int, rounds: int) -> int:
    """How often `measure_readers` advances."""
    return data_sets * len(READERS) * (1 + rounds)


def _checked(name: str, players: Mapping[str, Player], data: Photographs) -> str:
    if name not in players:
        return f"left out: {left_out(name)}"
    complaint = players[name].complaint(data)
    return "ok" if complaint is None else f"FAILED: {complaint}"


def _figures(turns: Sequence[Turn], decoding: Sequence[Turn]) -> dict[str, float]:
    if not turns:
        return {}
    rate, cpu = statistics.median(turn.images / turn.seconds for turn in turns), _cpu_us(turns)
    ratio = {"cpu_to_decode_ratio": cpu / _cpu_us(decoding)} if decoding else {}
    return {"images_per_second": rate, "cpu_us_per_image": cpu, **ratio}


def _cpu_us(turns: Sequence[Turn]) -> float:
    return statistics.median(1e6 * turn.cpu_seconds / turn.images for turn in turns)
