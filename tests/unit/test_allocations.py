"""Does the steady tick leave anything behind? The real loop over a bus in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_loop import Bench
from made_steady import steady_bench

from onboard.allocations import blocks_grown, peak_bytes
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec

TICKS = 10_000
"""A leak of one block per tick would show as many; some dozens are the interpreter's free lists."""
EMPTIED_EVERY = 2_000
"""Ticks between two visits of the agent; the ring has room for twice as many."""
Make = Callable[..., Path]


@pytest.fixture
def steady(furuta: RobotSpec, make_bundle: Make, tmp_path: Path) -> Iterator[Bench]:
    bench = steady_bench(furuta, make_bundle, tmp_path)
    yield bench
    bench.close()


def turn(bench: Bench) -> Callable[[], None]:
    """One tick, and the agent's side of the ring so that it does not fill."""

    def tick() -> None:
        bench.control.tick(bench.schedule.wait())
        if bench.control.counters.ticks % EMPTIED_EVERY == 0:
            bench.reader.release(len(bench.rows()))

    return tick


def test_ten_thousand_ticks_leave_no_block_behind(steady: Bench) -> None:
    grown = blocks_grown(turn(steady), TICKS)
    assert steady.mode is Mode.RUN
    assert steady.control.counters.ticks > TICKS
    assert steady.ring.dropped == 0
    assert grown <= 64, f"{grown} blocks in {TICKS} ticks"


def test_a_tick_never_holds_more_than_a_few_kilobytes(steady: Bench) -> None:
    def tick() -> None:
        steady.control.tick(steady.schedule.wait())

    assert peak_bytes(tick, 1000) < 16_384
    assert steady.ring.dropped == 0
    assert steady.mode is Mode.RUN


def test_growth_is_noticed() -> None:
    kept: list[object] = []
    assert blocks_grown(lambda: kept.append([object()]), TICKS) >= TICKS
    kept.clear()
    assert peak_bytes(lambda: kept.append(bytes(1000)), 100) >= 100_000
